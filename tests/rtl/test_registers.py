"""Registers from one source: SystemRDL, the C header, the page in docs, as other tools see them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("systemrdl")
pytest.importorskip("peakrdl_cheader")

from golden.machines.cambricon_s import CambriconSConfig
from golden.machines.cluster.config import AcceleratorConfig
from golden.machines.extensor import ExTensorConfig
from rtl.cambricon_s.hardware import HARDWARE as CAMBRICON_S
from rtl.cluster.hardware import HARDWARE as CLUSTER
from rtl.extensor.hardware import HARDWARE as EXTENSOR
from rtl.host import Design
from rtl.verilog.registers_page import registers_page
from rtl.verilog.systemrdl import c_header, compile_rdl, system_rdl

DESIGNS = {
    "cluster": CLUSTER.design(AcceleratorConfig.preset("toy")),
    "cambricon-s": CAMBRICON_S.design(CambriconSConfig.preset("toy")),
    "extensor": EXTENSOR.design(ExTensorConfig.preset("toy")),
}


def elaborated(design: Design) -> dict[str, tuple[int, int]]:
    """Return byte address and bits of each register, as PeakRDL's compiler sees them."""
    found = {}
    for node in compile_rdl(design).children(unroll=True):
        prefix, registers = "", [node]
        if not hasattr(node, "fields"):
            prefix, registers = f"unit{node.current_idx[0]}.", node.registers()
        for register in registers:
            bits = max(field.high for field in register.fields()) + 1
            found[f"{prefix}{register.inst_name}"] = register.absolute_address, bits
    return found


@pytest.mark.parametrize("machine", DESIGNS)
def test_compiler_sees_the_addresses_of_the_register_port(machine):
    design = DESIGNS[machine]
    addresses = {name: 4 * address for name, address in design.registers.addresses.items()}
    assert {name: place for name, (place, _) in elaborated(design).items()} == addresses


def test_places_and_widths_by_hand():
    """From docs: layer registers from 16 on, counters from 96, units from 128, 8 apart."""
    found = elaborated(DESIGNS["cluster"])
    assert found["control"] == (0, 1)
    assert found["status"] == (4, 2)
    assert found["zero_point"] == (4 * 22, 9)
    assert found["filter_beats"] == (4 * 101, 32)
    assert found["unit3.idle_cycles"] == (4 * (128 + 3 * 8 + 6), 32)


def test_a_host_may_write_layer_registers_and_read_counters():
    access = {}
    for node in compile_rdl(DESIGNS["cluster"]).children():
        if hasattr(node, "fields"):
            access[node.inst_name] = [
                (field.is_sw_readable, field.is_sw_writable) for field in node.fields()
            ]
    assert access["status"] == [(True, False)] * 2
    assert access["pairs"] == [(True, False)]
    assert access["control"] == access["height"] == [(False, True)]


@pytest.mark.parametrize("machine", DESIGNS)
def test_header_compiles_and_has_the_places(machine, tmp_path):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("No C compiler is installed")
    design = DESIGNS[machine]
    (tmp_path / f"{design.top}.h").write_text(c_header(design))
    struct = f"{design.top}_t"
    (tmp_path / "check.c").write_text(
        f'#include <stddef.h>\n#include "{design.top}.h"\n'
        f"static_assert(offsetof({struct}, clamp_high) == 4 * "
        f'{design.registers.addresses["clamp_high"]}, "");\n'
        f'static_assert(offsetof({struct}, cycles) == 384, "");\n'
        f'static_assert(offsetof({struct}, unit[0].bubble_cycles) == 516, "");\n'
        f'static_assert({design.top.upper()}__STATUS__DONE_bm == 2, "");\n'
    )
    command = [compiler, "-std=c11", "-Wall", "-Werror", "-fsyntax-only", "check.c"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_page_in_docs_is_what_the_source_gives():
    page = Path(__file__).parents[2] / "docs/registers.md"
    assert page.read_text(encoding="utf-8") == registers_page()


def test_page_names_every_register():
    page = registers_page()
    for design in DESIGNS.values():
        table = page[page.index(f"\n## {design.top}\n") + 1 :].partition("\n## ")[0]
        for name, address in design.registers.addresses.items():
            if not name.startswith("unit"):
                assert f"\n| {address} | `{name}" in table, name


@pytest.mark.parametrize(
    ("kind", "output", "made", "text"),
    [
        ("html", "html", "html/index.html", "<title>"),
        ("markdown", "page.md", "page.md", "### tile_decisions register"),
    ],
)
def test_peakrdl_makes_pages_of_it(tmp_path, kind, output, made, text):
    pytest.importorskip(f"peakrdl_{kind}")
    (tmp_path / "extensor_pe.rdl").write_text(system_rdl(DESIGNS["extensor"]))
    command = [sys.executable, "-m", "peakrdl", kind, "extensor_pe.rdl", "-o", output]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert text in (tmp_path / made).read_text(encoding="utf-8")


def test_text_is_the_same_each_time_and_quotes_what_must_be():
    design = DESIGNS["extensor"]
    assert system_rdl(design) == system_rdl(design)
    odd = Design(**{**vars(design), "summary": 'a "b" \\ c'})
    assert compile_rdl(odd).get_property("desc") == 'a "b" \\ c'
