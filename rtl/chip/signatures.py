"""What the parts of a chip say to one another: the memory side to the compute side, and AXI4.

The memory side (`rtl.chip.memory.memory_side`) walks the transfer list, and owns the FIFOs and the
write buffer; the compute side parses rows, runs the clusters and the vector unit. Symbols are those
of ``docs/chip.md``, *Timing*. In the cycle of an event stand the strobes that the compute side
gives; those that the memory side gives stand in the cycle after it."""

from __future__ import annotations

from amaranth.hdl import unsigned
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.chip.config import ChipConfig
from golden.chip.formats import Kind as ListKind

__all__ = ["Kind", "Layouts", "axi_signature", "core_signature"]


class Kind(enum.Enum, shape=4):
    """What an entry moves: ``golden.chip.formats.Kind``."""

    LIST = ListKind.LIST.value
    DESCRIPTOR = ListKind.DESCRIPTOR.value
    TABLES = ListKind.TABLES.value
    TILE = ListKind.TILE.value
    FILTERS = ListKind.FILTERS.value
    ROWS = ListKind.ROWS.value
    OPERAND = ListKind.OPERAND.value
    RESIDUAL = ListKind.RESIDUAL.value
    WRITE = ListKind.WRITE.value


class Layouts:
    """Payloads between the two sides of a chip.

    Attributes
    ----------
    control
        A beat of a descriptor, tables or a tile's record: ``kind``; ``word``, the number within
        the entry of the 32-bit word in the lowest lane of ``data``; ``last`` of the entry.
    filters
        ``data``; ``first`` beat of a load.
    rows
        The next bytes of the oldest burst: ``data``, of which ``count`` bytes (1 to ``bus_bytes``)
        belong to the burst; ``operand``: of a vector tile; ``first``: nothing of the entry has
        been taken yet; ``gap`` of the entry; ``tile``, the number modulo 16 of the tile that it is
        for, counted over both kinds.
    residual
        The next ``vector_lanes`` bytes, over the ends of bursts.
    piece
        Bytes of a write burst from the vector unit: ``data``, of which ``count`` belong to it;
        ``offset``: the burst's address modulo ``burst_bytes``, the same with all its pieces;
        ``last`` of the burst.
    burst
        A write burst: its ``bytes``; the ``step`` from its address to the next one's, within the
        entry; ``last`` of the entry.
    """

    def __init__(self, config: ChipConfig) -> None:
        bus, lanes = config.bus_bytes, config.vector_lanes
        offset = unsigned((config.burst_bytes - 1).bit_length())
        octets = unsigned(config.burst_bytes.bit_length())
        self.config = config
        self.control = data.StructLayout(
            {"kind": Kind, "word": 16, "last": 1, "data": data.ArrayLayout(32, bus // 4)}
        )
        self.filters = data.StructLayout({"data": 8 * config.filter_bus_bytes, "first": 1})
        self.rows = data.StructLayout(
            {
                "data": data.ArrayLayout(8, bus),
                "count": range(bus + 1),
                "operand": 1,
                "first": 1,
                "gap": 16,
                "tile": 4,
            }
        )
        self.residual = data.ArrayLayout(8, lanes)
        self.piece = data.StructLayout(
            {
                "data": data.ArrayLayout(8, lanes),
                "count": range(lanes + 1),
                "offset": offset,
                "last": 1,
            }
        )
        self.burst = data.StructLayout({"bytes": octets, "step": 17, "last": 1})


def core_signature(config: ChipConfig) -> wiring.Signature:
    """Return the compute side's view of the memory side.

    Members
    -------
    clear : In(1)
        A network has ended, by itself or by an error: all is as after a reset from the next cycle.
    start : In(1)
        Cycle 0 of a network.
    control : In(stream of control, always ready)
        Beats of descriptors, tables and records; the last of A in cycle A + 1.
    filters : In(stream of filters)
        The first beat of a burst from A + FILL on.
    filters_used : Out(1)
        The units' loaders have taken a beat; a burst's last one: X + FEED.
    rows : In(stream of rows), rows_taken : Out(range(bus_bytes + 1))
        The oldest burst from A + FILL on. Where ``ready``, so many bytes of it are taken, at most
        ``count``: a piece.
    rows_closed : In(1)
        All rows or operands of the next tile have been taken: max(XR, S of the entry) + 1.
    residual : In(stream of residual), residual_taken : Out(range(vector_lanes + 1))
        As rows are, but bytes of several bursts come together.
    residual_arrived : In(24)
        Residual bytes of all bursts that are there, counted modulo 2**24 from the start on: from
        A + 1. Nothing in ``residual`` is valid but what it counts.
    residual_release : Out(1)
        P: residual bursts whose last byte has been taken before this cycle are used up.
    pieces : Out(stream of piece, always ready)
        Bytes of write bursts; the last one of a burst up to P + 9.
    bursts : Out(stream of burst, always ready)
        A write burst is made: in P + 10, so that it is asked for in P + VECTOR at the earliest.
    write_free : In(1)
        A write burst has been answered: A + 1. The buffer has ``write_bursts`` places.
    tile_done : Out(1)
        done[t], in the order of tiles.
    half_read : Out(1)
        Z[t], in the order of tiles.
    fault : Out(8)
        Not 0: the compute side can't go on, and why (`rtl.chip.status.Code`).
    ended : In(1)
        The network's last cycle: counters are complete in the next one.
    """
    layouts = Layouts(config)
    return wiring.Signature(
        {
            "clear": In(1),
            "start": In(1),
            "control": In(stream.Signature(layouts.control)),
            "filters": In(stream.Signature(layouts.filters)),
            "filters_used": Out(1),
            "rows": In(stream.Signature(layouts.rows)),
            "rows_taken": Out(range(config.bus_bytes + 1)),
            "rows_closed": In(1),
            "residual": In(stream.Signature(layouts.residual)),
            "residual_taken": Out(range(config.vector_lanes + 1)),
            "residual_arrived": In(24),
            "residual_release": Out(1),
            "pieces": Out(stream.Signature(layouts.piece)),
            "bursts": Out(stream.Signature(layouts.burst)),
            "write_free": In(1),
            "tile_done": Out(1),
            "half_read": Out(1),
            "fault": Out(8),
            "ended": In(1),
        }
    )


def axi_signature(config: ChipConfig) -> wiring.Signature:
    """Return AXI4 as the chip, its master, sees it: one ID, INCR, 32-bit addresses.

    ``aruser`` and ``awuser`` give the burst's bytes less one: a memory narrower than the bus need
    not move the rest of the first and last beat. Memories that know nothing of them may.
    """
    user = (config.burst_bytes - 1).bit_length()
    bus = config.bus_bytes
    address = {"addr": 32, "len": 8, "size": 3, "burst": 2, "user": user}
    members: dict[str, wiring.Member] = {}
    for channel in ("ar", "aw"):
        members |= {f"{channel}{name}": Out(width) for name, width in address.items()}
        members |= {f"{channel}valid": Out(1), f"{channel}ready": In(1)}
    members |= {"rdata": In(8 * bus), "rresp": In(2), "rlast": In(1), "rvalid": In(1)}
    members |= {"rready": Out(1), "wdata": Out(8 * bus), "wstrb": Out(bus), "wlast": Out(1)}
    members |= {"wvalid": Out(1), "wready": In(1), "bresp": In(2), "bvalid": In(1)}
    return wiring.Signature(members | {"bready": Out(1)})
