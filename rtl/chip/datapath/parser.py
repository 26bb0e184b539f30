"""The parser: dense rows become masks and packed values in the rings, operands bytes of a half.

    XR[r] = max(XR[r-1], A[r] + FILL) + pieces(r)

A piece is what the window of the row FIFO shows up to the end of a chunk (of an operand: of a
pixel). What a piece is follows from sizes alone, so it is decided in the cycle in which it stands
there; the codes follow in a pipeline of ``LATENCY`` stages.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from golden.chip.config import CHIP_LATENCY
from rtl.chip.control.payloads import DESCRIPTOR, TILE_BITS, Payloads
from rtl.chip.signatures import Layouts
from rtl.lib.bits import count_ones
from rtl.lib.component import Component
from rtl.lib.widths import bits_for_count

__all__ = ["Parser", "rotate"]


def rotate(octets: list, amount, lanes: int) -> list:
    """Return ``lanes`` places, of which place ``(amount + i) % lanes`` holds octet i."""
    octets = octets + [Const(0, len(octets[0]))] * (lanes - len(octets))
    for bit in range((lanes - 1).bit_length()):
        step = 1 << bit
        octets = [Mux(amount[bit], octets[(at - step) % lanes], octets[at]) for at in range(lanes)]
    return octets


class Parser(Component):
    """Take the row FIFO's bytes.

    Parameters
    ----------
    payloads : Payloads

    Members
    -------
    rows : In(stream of Layouts.rows), taken : Out, closed : In(1)
        As in ``rtl.chip.signatures.core_signature``.
    descriptors, slots : In
        Of ``rtl.chip.control.program_store.ProgramStore``.
    ring : Out(Payloads.ring_write), half : Out(Payloads.half_write)
        What is written at the end of the cycle.
    ready_count : Out(TILE_BITS)
        Tiles whose rows or operands are all there: max(XR, S) + PARSE.
    """

    #: Cycles from a piece's to the one in which it is written.
    LATENCY = 5

    def __init__(self, payloads: Payloads) -> None:
        self._payloads = payloads
        config = payloads.config
        super().__init__(
            {
                "rows": In(stream.Signature(Layouts(config).rows)),
                "taken": Out(range(config.bus_bytes + 1)),
                "closed": In(1),
                "descriptors": In(data.ArrayLayout(DESCRIPTOR, 2)),
                "slots": In(4),
                "ring": Out(payloads.ring_write),
                "half": Out(payloads.half_write),
                "ready_count": Out(TILE_BITS),
            }
        )
        bus = config.bus_bytes
        #: A piece, and where in its pixel and row it ends.
        self._piece = data.StructLayout(
            {
                "valid": 1,
                "operand": 1,
                "slot": 1,
                "tile": TILE_BITS,
                "opens": 1,  # the entry's first
                "gap": 16,
                "data": data.ArrayLayout(8, bus),
                "size": range(bus + 1),
                "chunk_first": 1,
                "chunk_last": 1,
                "group_last": 1,
                "pixel_last": 1,
                "row_last": 1,
            }
        )
        #: What is written where, before its codes are packed.
        self._placed = data.StructLayout(
            {
                "valid": 1,
                "operand": 1,
                "half": 1,
                "data": data.ArrayLayout(8, bus),
                "size": range(bus + 1),
                "mask": bus,
                "chunk_first": 1,
                "chunk_last": 1,
                "row_last": 1,
                "row_opens": 1,
                "index_address": payloads.cluster.input_bits,
                "row_value": payloads.cluster.pointer_bits,  # value place of the row
                "address": payloads.half_bits,  # byte in the half
                "cluster": bits_for_count(config.clusters),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        piece, placed = Signal(self._piece), Signal(self._placed)
        self._cut(m, piece)
        self._place(m, piece, placed)
        self._pack(m, placed)
        # From the closing, a cycle after XR, to XR + PARSE.
        closed = self.closed
        for stage in range(CHIP_LATENCY.parse - 2):
            late = Signal(name=f"closed{stage}")
            m.d.sync += late.eq(closed)
            closed = late
        with m.If(closed):
            m.d.sync += self.ready_count.eq(self.ready_count + 1)
        return m

    def _cut(self, m: Module, piece) -> None:
        """Take a piece a cycle."""
        chunk = self._payloads.config.chunk
        window, valid = self.rows.payload, self.rows.valid
        slot = self.slots.bit_select(window.tile[:2], 1)
        layer = Signal(DESCRIPTOR)
        group, whole, count = Signal(16), Signal(16), Signal(16)
        # Bytes that are left of the chunk, of the group's part of the pixel; groups and pixels that
        # follow in the pixel, in the row.
        fresh = Signal(init=1)  # the row begins
        left = data.StructLayout({"chunk": 16, "group": 16, "groups": 16, "pixels": 16})
        kept, now = Signal(left), Signal(left)
        chunk_first = Signal(init=1)
        m.d.comb += [
            layer.eq(self.descriptors[slot]),
            group.eq(Mux(window.operand, layer.in_channels, layer.group_channels)),
            whole.eq(Mux(window.operand | (group < chunk), group, chunk)),
            now.eq(kept),
        ]
        with m.If(fresh):
            m.d.comb += [
                now.chunk.eq(whole),
                now.group.eq(group),
                now.groups.eq(Mux(window.operand, 0, layer.groups - 1)),
                now.pixels.eq(layer.in_width - 1),
            ]
        chunk_last, group_last, pixel_last, row_last = (Signal() for _ in range(4))
        group_rest = Signal(16)
        m.d.comb += [
            count.eq(Mux(window.count < now.chunk, window.count, now.chunk)),
            self.rows.ready.eq(1),
            self.taken.eq(count),
            chunk_last.eq(count == now.chunk),
            group_last.eq(chunk_last & (now.group == count)),
            pixel_last.eq(group_last & (now.groups == 0)),
            # An operand's pixels are of no row: each is as good as one.
            row_last.eq(pixel_last & (window.operand | (now.pixels == 0))),
            group_rest.eq(now.group - count),
        ]
        with m.If(valid):
            m.d.sync += [
                fresh.eq(row_last),
                chunk_first.eq(chunk_last),
                kept.chunk.eq(now.chunk - count),
                kept.group.eq(group_rest),
                kept.groups.eq(now.groups),
                kept.pixels.eq(now.pixels),
            ]
            with m.If(group_last):
                m.d.sync += [kept.chunk.eq(whole), kept.group.eq(group)]
                m.d.sync += kept.groups.eq(now.groups - 1)
            with m.Elif(chunk_last):
                m.d.sync += kept.chunk.eq(Mux(group_rest < chunk, group_rest, chunk))
            with m.If(pixel_last):
                m.d.sync += kept.groups.eq(layer.groups - 1)
                m.d.sync += kept.pixels.eq(now.pixels - 1)
        m.d.sync += [
            piece.valid.eq(valid),
            piece.operand.eq(window.operand),
            piece.slot.eq(slot),
            piece.tile.eq(window.tile),
            piece.opens.eq(window.first),
            piece.gap.eq(window.gap),
            piece.data.eq(window.data),
            piece.size.eq(count),
            piece.chunk_first.eq(fresh | chunk_first),
            piece.chunk_last.eq(chunk_last),
            piece.group_last.eq(group_last),
            piece.pixel_last.eq(pixel_last),
            piece.row_last.eq(row_last),
        ]

    def _place(self, m: Module, piece, placed) -> None:
        """Say where a piece goes: in the rings by its row, in a half by its pixel."""
        layer = Signal(DESCRIPTOR)
        index_row, group_base, pixel_base, chunk = (
            Signal(self._payloads.cluster.input_bits) for _ in range(4)
        )
        value_row = Signal(self._payloads.cluster.pointer_bits)
        index_now, value_now = Signal.like(index_row), Signal.like(value_row)
        skips = Mux(piece.opens, piece.gap, 0)
        bus, size = len(piece.data), piece.size
        m.d.comb += [
            layer.eq(self.descriptors[piece.slot]),
            index_now.eq(index_row + skips * layer.row_places[: len(index_row)]),
            value_now.eq(value_row + skips * layer.row_bytes[: len(value_row)]),
        ]
        m.d.sync += [
            placed.valid.eq(piece.valid),
            placed.operand.eq(piece.operand),
            placed.half.eq(piece.tile[0]),
            placed.data.eq(piece.data),
            placed.size.eq(size),
            placed.mask.eq(Cat((size > at) & piece.data[at].any() for at in range(bus))),
            placed.chunk_first.eq(piece.chunk_first),
            placed.chunk_last.eq(piece.chunk_last),
            placed.row_last.eq(piece.row_last),
            placed.index_address.eq(index_now + group_base + pixel_base + chunk),
            placed.row_value.eq(value_now),
        ]
        with m.If(piece.valid & ~piece.operand):
            m.d.sync += [index_row.eq(index_now), value_row.eq(value_now)]
            with m.If(piece.chunk_last):
                m.d.sync += chunk.eq(chunk + 1)
            with m.If(piece.group_last):
                m.d.sync += [chunk.eq(0), group_base.eq(group_base + layer.line_places)]
            with m.If(piece.pixel_last):
                m.d.sync += [group_base.eq(0), pixel_base.eq(pixel_base + layer.row_chunks)]
            with m.If(piece.row_last):
                m.d.sync += [
                    pixel_base.eq(0),
                    index_row.eq(index_now + layer.row_places),
                    value_row.eq(value_now + layer.row_bytes),
                ]
        self._place_operand(m, piece, placed, layer)

    def _place_operand(self, m: Module, piece, placed, layer) -> None:
        """Pixel i goes to cluster i mod clusters."""
        clusters = self._payloads.config.clusters
        bits = self._payloads.half_bits
        kept_base, channel, base = (Signal(bits) for _ in range(3))
        kept_cluster, cluster = (Signal(bits_for_count(clusters)) for _ in range(2))
        tile, same = Signal(TILE_BITS), Signal()
        m.d.comb += [
            same.eq(piece.tile == tile),
            base.eq(Mux(same, kept_base, 0)),
            cluster.eq(Mux(same, kept_cluster, 0)),
        ]
        m.d.sync += [placed.address.eq(base + channel), placed.cluster.eq(cluster)]
        with m.If(piece.valid & piece.operand):
            m.d.sync += [
                tile.eq(piece.tile),
                kept_base.eq(base),
                kept_cluster.eq(cluster),
                channel.eq(channel + piece.size),
            ]
            with m.If(piece.pixel_last):
                m.d.sync += [channel.eq(0), kept_cluster.eq(cluster + 1)]
                with m.If(cluster == clusters - 1):
                    m.d.sync += [kept_cluster.eq(0), kept_base.eq(base + layer.in_channels)]

    def _pack(self, m: Module, placed) -> None:
        """Pack the codes that are not zero, turn them to their lanes, and write them."""
        payloads, ring, half = self._payloads, self.ring, self.half
        config = payloads.config
        bus, bits = config.bus_bytes, payloads.cluster.pointer_bits
        packed_before, row_opens = Signal(bits), Signal(init=1)
        before = Mux(row_opens, 0, packed_before)
        ones = Signal(range(bus + 1))
        pointer, chunk_pointer, chunk_mask = Signal(bits), Signal(bits), Signal(config.chunk)
        mask_at = Signal(range(config.chunk + 1))
        mask, at = Signal(config.chunk), Signal(range(config.chunk + 1))
        m.d.comb += [
            ones.eq(count_ones(placed.mask)),
            pointer.eq(placed.row_value + before),
            at.eq(Mux(placed.chunk_first, 0, mask_at)),
            mask.eq(Mux(placed.chunk_first, 0, chunk_mask) | (placed.mask << at)),
        ]
        of_ring = Signal()
        m.d.comb += of_ring.eq(placed.valid & ~placed.operand)
        with m.If(of_ring):
            m.d.sync += [
                packed_before.eq(before + ones),
                row_opens.eq(placed.row_last),
                chunk_mask.eq(mask),
                mask_at.eq(at + placed.size),
            ]
            with m.If(placed.chunk_first):
                m.d.sync += chunk_pointer.eq(pointer)
        m.d.sync += [
            ring.index_valid.eq(of_ring & placed.chunk_last),
            ring.index_address.eq(placed.index_address),
            ring.mask.eq(mask),
            ring.pointer.eq(Mux(placed.chunk_first, pointer, chunk_pointer)),
        ]
        # Codes move down by as many places as there are zeros before them, a bit at a time.
        octets, zeros = [], []
        for place in range(bus):
            zeros.append(count_ones(~placed.mask[:place]) if place else Const(0, 1))
            octets.append(placed.data[place] & placed.mask[place].replicate(8))
        packed, count = self._compress(m, octets, zeros), Signal.like(ones)
        stage = data.StructLayout(
            {"ring": 1, "operand": 1, "half": 1, "cluster": len(placed.cluster),
             "pointer": bits, "address": payloads.half_bits, "size": len(placed.size),
             "data": data.ArrayLayout(8, bus)}
        )  # fmt: skip
        known = Signal(stage)
        m.d.sync += [
            count.eq(ones),
            known.ring.eq(of_ring),
            known.operand.eq(placed.valid & placed.operand),
            known.half.eq(placed.half),
            known.cluster.eq(placed.cluster),
            known.pointer.eq(pointer),
            known.address.eq(placed.address),
            known.size.eq(placed.size),
            known.data.eq(placed.data),
        ]
        self._turn(m, ring, packed, known.ring, count, known.pointer, payloads.ring_lanes)
        octets = [known.data[place] for place in range(bus)]
        self._turn(m, half, octets, known.operand, known.size, known.address, payloads.half_lanes)
        m.d.sync += [half.cluster.eq(known.cluster), half.half.eq(known.half)]

    def _compress(self, m: Module, octets: list, zeros: list) -> list:
        """Return the octets without gaps, one cycle later."""
        width = max(len(amount) for amount in zeros)
        items = [
            Cat(octet, amount)[: 8 + width] for octet, amount in zip(octets, zeros, strict=True)
        ]
        items = [item | Const(0, 8 + width) for item in items]
        for bit in range(width):
            step = 1 << bit
            moved = []
            for at in range(len(items)):
                above = items[at + step] if at + step < len(items) else Const(0, 8 + width)
                comes = above[8 + bit] & above[:8].any()
                stays = ~items[at][8 + bit] & items[at][:8].any()
                item = Signal(8 + width, name=f"move{bit}_{at}")
                m.d.comb += item.eq(Mux(comes, above, Mux(stays, items[at], Const(0, 8 + width))))
                moved.append(item)
            items = moved
        packed = [Signal(8, name=f"packed{at}") for at in range(len(items))]
        m.d.sync += [octet.eq(item[:8]) for octet, item in zip(packed, items, strict=True)]
        return packed

    def _turn(self, m: Module, target, octets: list, valid, count, address, lanes: int) -> None:
        """Write ``count`` octets from a byte's address on, each in its lane."""
        bits = (lanes - 1).bit_length()
        first = address[:bits]
        exists = [(count > at) & valid if at < len(octets) else Const(0) for at in range(lanes)]
        marked = [
            Cat(octets[at], exists[at]) if at < len(octets) else Const(0, 9) for at in range(lanes)
        ]
        for lane, item in enumerate(rotate(marked, first, lanes)):
            row = address[bits:]
            m.d.sync += [
                target.data[lane].eq(item[:8]),
                target.enable[lane].eq(item[8]),
                target.rows[lane].eq(Mux(first > lane, row + 1, row)),
            ]
