"""Elastic pipelines: every stage moves where the next one is free, so that gaps close.

With a gap closed wherever there is one, what waits behind a long step is at the head when that
step ends: S[k] = max(F'[k-1], G[k]).
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal

__all__ = ["Pipeline", "oldest"]


class Pipeline:
    """Handshakes of a chain of registers.

    Parameters
    ----------
    m : Module
    stages : int
        Registers in the chain.
    valid, ready : Signal
        Handshake of what enters: ``valid`` is read, ``ready`` driven.
    """

    def __init__(self, m: Module, stages: int, valid, ready) -> None:
        #: Per stage: whether it holds something.
        self.valid = [Signal(name=f"valid{at + 1}") for at in range(stages)]
        #: Per stage: it takes what the one before gives, valid or not.
        self.take = [Signal(name=f"take{at + 1}") for at in range(stages)]
        #: Driven by the user: what is in the last stage leaves.
        self.leave = Signal()
        leaves = [*self.take[1:], self.leave]
        before = [valid, *self.valid[:-1]]
        m.d.comb += ready.eq(self.take[0])
        for at in range(stages):
            m.d.comb += self.take[at].eq(~self.valid[at] | leaves[at])
            with m.If(self.take[at]):
                m.d.sync += self.valid[at].eq(before[at])


def oldest(stages, otherwise):
    """Return the value of the first of (valid, value) that is valid, or another one."""
    for valid, value in reversed(stages):
        otherwise = Mux(valid, value, otherwise)
    return otherwise
