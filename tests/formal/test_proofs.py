"""Each property is proved, and its proof fails where a bug is planted in the block."""

from __future__ import annotations

import importlib
import inspect
import types
from collections.abc import Callable

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("pyosys")

from tests.formal import join, properties
from tests.formal.prove import Proof, missing_tools, prove

#: Bugs by proof: module, a line of it, what stands there instead.
BUGS = {
    "bus: requests": ("rtl.chip.memory.engine", "free = ~self.requests.valid | self.requests.ready",
                      "free = self.requests.valid | self.requests.ready"),
    "bus: write data": ("rtl.chip.memory.write_buffer", "moves.eq(~self.wvalid | self.wready)",
                        "moves.eq(1)"),
    "FIFO: room": ("rtl.lib.fifo", "self.room.eq(next_free.any())", "self.room.eq(1)"),
    "FIFO: order": (
        "rtl.lib.fifo",
        "self.head.eq(Mux(stored, read.data, self.item))",
        "self.head.eq(self.item)",
    ),
    "countdown": ("rtl.lib.countdown", "result.last.eq(count.left == 1)",
                  "result.last.eq(count.left <= 1)"),
    "holders": ("rtl.cluster.holders", "left | Mux(begin, units, 0)", "Mux(begin, units, left)"),
    "register port": ("rtl.lib.registers", "waiting.eq(asked & self.hold)", "waiting.eq(asked)"),
    "join": ("rtl.cluster.unit.join", "one_pair.eq(~(first & ~single).any())", "one_pair.eq(1)"),
    "loader": ("rtl.cluster.loader", "waits.eq(fresh & ~go & stays_busy.bit_select(buffer, 1))",
               "waits.eq(0)"),
    "collector": ("rtl.cluster.collector", "queue.pop.eq(accepted)",
                  "queue.pop.eq(self.outputs.valid)"),
}  # fmt: skip
#: Proved in `make test`; the others by `make formal`.
QUICK = ("countdown", "register port", "join")


def _mark(proof: Proof):
    return pytest.param(proof, id=proof.name, marks=() if proof.name in QUICK else pytest.mark.slow)


def planted(proof: Proof) -> Callable[[], None]:
    """Plant the bug of a proof in the module that the properties use; return what removes it."""
    name, old, new = BUGS[proof.name]
    module = importlib.import_module(name)
    source = inspect.getsource(module)
    assert source.count(old) == 1, f"{name} no longer holds the bug's text once"
    twin = types.ModuleType(name)
    twin.__dict__.update(__file__=module.__file__, __package__=module.__package__)
    exec(compile(source.replace(old, new), str(module.__file__), "exec"), twin.__dict__)
    kept = []
    for user in (properties, join):
        for key, value in list(vars(user).items()):
            if getattr(value, "__module__", None) == name and hasattr(twin, key):
                kept.append((user, key, value))
                setattr(user, key, getattr(twin, key))

    def remove() -> None:
        for user, key, value in kept:
            setattr(user, key, value)

    return remove


@pytest.fixture(autouse=True)
def _tools():
    if missing := missing_tools():
        pytest.skip(f"{', '.join(missing)} not installed")


@pytest.mark.parametrize("proof", [_mark(proof) for proof in properties.PROOFS])
def test_it_is_proved_and_a_bug_is_found(proof: Proof):
    verdict = prove(proof)
    assert verdict.status == "pass", verdict.log
    remove = planted(proof)
    try:
        assert prove(proof).status != "pass"
    finally:
        remove()


def test_every_proof_has_a_bug():
    assert {proof.name for proof in properties.PROOFS} == set(BUGS)
