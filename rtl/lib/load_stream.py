"""The load stream: words of 32 bits are gathered into a row of a buffer or table.

A full row is written, and the address goes on.
"""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Signal

__all__ = ["gather_rows"]


def gather_rows(m: Module, stream_in, target, first, begin, words: list[int]):
    """Gather the words of a load stream into rows.

    Parameters
    ----------
    stream_in : stream of 32 bits
        It is always ready.
    target, first, begin
        What is filled; its first row, taken at the pulse ``begin``.
    words : list of int
        Words of a row of each target.

    Returns
    -------
    (list of (row, write pulse) by target, address of the row)
    """
    longest = max(words)
    row = Signal(32 * longest)  # the newest word is the highest
    count, last = (Signal(range(longest + 1)) for _ in range(2))
    address, write = Signal(32), Signal()
    m.d.comb += stream_in.ready.eq(1)
    m.d.comb += last.eq(Array(number - 1 for number in words)[target])
    m.d.sync += write.eq(stream_in.valid & (count == last))
    with m.If(stream_in.valid):
        m.d.sync += [row.eq(Cat(row, stream_in.payload)[32:]), count.eq(count + 1)]
        with m.If(count == last):
            m.d.sync += count.eq(0)
    with m.If(write):
        m.d.sync += address.eq(address + 1)
    with m.If(begin):
        m.d.sync += [count.eq(0), address.eq(first)]
    rows = []
    for number, size in enumerate(words):
        pulse = Signal(name=f"write_target{number}")
        m.d.comb += pulse.eq(write & (target == number))
        rows.append((row[32 * (longest - size) :], pulse))
    return rows, address
