"""Bugs to plant: each is a line of a module, what to put in its place, and who must notice.

`tests/conformance/test_mutants.py` plants them in a copy of the project, one at a time. A mutant
whose line has gone from its module fails there too: bring it back up to date.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MUTANTS", "Mutant"]


@dataclass(frozen=True)
class Mutant:
    """A planted bug.

    Parameters
    ----------
    name : str
        What is wrong with it.
    module : str
        File, from the project's root.
    old, new : str
        Text that stands exactly once in the file, and its replacement.
    tests : tuple of str
        Test ids of which at least one must fail, without ``tests/``.
    slow : bool
        Planted in ``make test-slow`` only: its part of the project has others.
    """

    name: str
    module: str
    old: str
    new: str
    tests: tuple[str, ...]
    slow: bool = False


_KERNELS = "conformance/test_kernels.py::test_catalogue"
_ORACLE = "conformance/test_oracle.py::test_catalogue"
#: Under Icarus nothing but the Verilog is built, so it is the quickest.
_HARDWARE = "conformance/test_hardware.py::test_icarus[narrow]"
_CHUNK_BALANCE = "conformance/test_hardware.py::test_icarus[chunk-balance-segments]"
_KERNEL_CASES = (f"{_KERNELS}[plain-3x3]", f"{_KERNELS}[density-0]", f"{_KERNELS}[depthwise]")

_EXTENSOR = "arch/test_extensor.py"
_EXTENSOR_HARDWARE = "arch/test_extensor_hardware.py::test_amaranth"

#: Amaranth's simulator needs no build.
_CAMBRICON_S = ("arch/test_cambricon_s_hardware.py::test_amaranth",)

_CHIP = ("chip/test_compiler.py::test_networks",)
_CHIP_TIMING = ("chip/test_timing.py::test_networks[0]",)
_MEMORY_SIDE = "chip/test_memory_side.py::test_every_cycle"
_VECTOR = "chip/test_vector_pipeline.py::test_operations"
_CHIP_HARDWARE = "chip/test_hardware.py::test_networks"
_CHIP_LONG = "chip/test_hardware.py::test_more_networks"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "kernel: the join is a position off",
        "accel/machines/cluster/joins.py",
        "count_byte_ones(load(work.filters, at_filter, tag) & mask)",
        "count_byte_ones(load(work.filters, at_filter, tag) & (mask + mask))",
        _KERNEL_CASES,
    ),
    Mutant(
        "kernel: the second mask word of a chunk is not broadcast",
        "accel/machines/cluster/kernels.py",
        "for first in range(0, words, group)",
        "for first in range(0, 1, group)",
        (f"{_KERNELS}[fifo-4]",),
    ),
    Mutant(
        "kernel: the FIFO is a slot too deep",
        "accel/machines/cluster/program.py",
        "slots=config.slots,",
        "slots=config.slots + 1,",
        _KERNEL_CASES,
        slow=True,
    ),
    Mutant(
        "kernel: a finished position does not wait for the collector",
        "accel/machines/cluster/segments.py",
        "cluster.collector_free = cluster.drained + machine.collector_free",
        "cluster.collector_free = 0",
        _KERNEL_CASES,
    ),
    Mutant(
        "kernel: columns without a unit stay late over a filter load",
        "accel/machines/cluster/kernels.py",
        "for column in range(machine.columns):\n        late",
        "for column in range(work.active):\n        late",
        (f"{_KERNELS}[segments-short-last-tile]",),
    ),
    Mutant(
        "kernel: sums of 16 bits overflow",
        "accel/machines/cluster/arrays.py",
        "ROOM = SHORT_MAX - 2",
        "ROOM = 1000 * SHORT_MAX - 2",
        ("accel/test_simulator.py::test_sums_beyond_16_bits_are_exact",),
    ),
    Mutant(
        "tensor: pointers count the words' bits of one chunk too few",
        "golden/tensor.py",
        "np.cumsum(popcount(masks).ravel(), out=pointers[1:])",
        "np.cumsum(popcount(masks[..., :1]).ravel(), out=pointers[1:])",
        ("golden/test_tensor.py::test_pack_matches_bits_written_by_hand",),
    ),
    Mutant(
        "tensor: unpacking takes values by position, not by prefix count",
        "golden/tensor.py",
        "dense[bits] = tensor.values",
        "dense[bits] = np.sort(tensor.values)",
        ("golden/test_tensor.py::test_unpack_inverts_pack_by_hand",),
    ),
    Mutant(
        "requantisation: halves go up",
        "golden/arithmetic.py",
        "(values + below_half + ((values >> shift) & 1)) >> shift",
        "(values + below_half + 1) >> shift",
        ("golden/test_arithmetic.py::test_halves_go_to_the_even_neighbour",),
    ),
    Mutant(
        "requantisation: the zero point is added before the shift",
        "golden/arithmetic.py",
        "rounded_shift(product, self.shift)",
        "rounded_shift(product + self.zero_point, self.shift)",
        (f"{_ORACLE}[zero-point]", "golden/test_arithmetic.py::test_values_by_hand"),
    ),
    Mutant(
        "reference: stride down is stride across",
        "golden/reference.py",
        "x = q * layer.stride_width + s",
        "x = q * layer.stride_height + s",
        (f"{_ORACLE}[stride-1-by-4]",),
    ),
    Mutant(
        "schedule: the second filter of a unit is the wrong one",
        "golden/machines/cluster/schedule.py",
        "table[holders - (count - holders) :, 1] = members[holders:][::-1]",
        "table[holders - (count - holders) :, 1] = members[holders:]",
        ("golden/test_schedule.py::test_filter_balancing_pairs_heaviest_with_lightest",),
    ),
    Mutant(
        "oracle: prefix count off by one",
        "tests/program.py",
        "if mask >> at & 1:",
        "if mask >> (at ^ 1) & 1:",
        (f"{_ORACLE}[plain-3x3]",),
    ),
    Mutant(
        "oracle: only the last mask word of a chunk is read",
        "tests/program.py",
        "mask |= word << (64 * number)",
        "mask = word << (64 * number)",
        (f"{_ORACLE}[fifo-4]",),
    ),
    Mutant(
        "oracle: a slot is free as soon as its first unit is done",
        "tests/oracle.py",
        "self.users[slot].remove(unit)",
        "self.users[slot].clear()",
        (f"{_ORACLE}[plain-3x3]",),
    ),
    Mutant(
        "oracle: the collector frees its register a position early",
        "tests/oracle.py",
        "self.cluster.collector.registers_freed < step.completes",
        "self.cluster.collector.registers_freed + 1 < step.completes",
        (f"{_ORACLE}[collector-narrow]",),
    ),
    Mutant(
        "hardware join: every weight is taken as stored",
        "rtl/cluster/unit/join.py",
        "steps.p.weight_nonzero.eq((nibble_weights & one).any())",
        "steps.p.weight_nonzero.eq(1)",
        ("rtl/test_join.py::test_amaranth_simulator[0.0-0.0-16]",),
    ),
    Mutant(
        "hardware prefix count: a word's own predecessor is left out",
        "rtl/cluster/loader.py",
        "counts[half if word >= half else 0 : word]",
        "counts[half if word >= half else 0 : word - 1]",
        (_HARDWARE,),
    ),
    Mutant(
        "hardware collector: a code's place counts the code itself",
        "rtl/cluster/collector.py",
        "place.eq(count_ones(mask[:lane]))",
        "place.eq(count_ones(mask[: lane + 1]))",
        ("rtl/test_collector.py::test_passes_and_positions[filter-False-2]",),
    ),
    Mutant(
        "hardware FIFO: a slot is free as soon as the first unit is done",
        "rtl/cluster/holders.py",
        "stays_busy[number].eq(left.any())",
        "stays_busy[number].eq(left[0])",
        (_HARDWARE,),
    ),
    Mutant(
        "hardware pipeline into a FIFO: more enters than has a place",
        "rtl/lib/fifo.py",
        "self.room.eq(next_free.any())",
        "self.room.eq(1)",
        ("rtl/test_fifo.py::test_nothing_is_lost_where_it_is_seldom_emptied[7]",),
    ),
    Mutant(
        "hardware counters: a layer's go on from those of the layer before",
        "rtl/lib/counters.py",
        "m.d.sync += known.eq(0)",
        "m.d.sync += known.eq(known)",
        ("rtl/test_counters.py::test_runs_are_counted_anew_and_cycles_outside_are_not",),
    ),
    Mutant(
        "hardware counters: 16 bits",
        "rtl/lib/registers.py",
        "counts = Signal(data.ArrayLayout(32, len(self.increments)))",
        "counts = Signal(data.ArrayLayout(16, len(self.increments)))",
        ("rtl/test_registers.py::test_counters_count_to_their_last_and_begin_anew",),
    ),
    Mutant(
        "hardware registers: the status bits are swapped",
        "rtl/lib/registers.py",
        "self.running | (self.done << 1)",
        "self.done | (self.running << 1)",
        ("rtl/test_registers.py::test_status_bits",),
    ),
    Mutant(
        "hardware registers: a write of any register begins a row",
        "rtl/lib/registers.py",
        "self.load_begin.eq(chosen[begin])",
        "self.load_begin.eq(chosen.any())",
        (
            "rtl/test_registers.py::test_a_write_of_load_address_begins_a_row_anew_and_no_other_does",
        ),
        slow=True,
    ),
    Mutant(
        "hardware FIFO: clear leaves an item in the register",
        "rtl/lib/fifo.py",
        "m.d.sync += [newest.eq(0), oldest.eq(0), self.valid.eq(0)]",
        "m.d.sync += [newest.eq(0), oldest.eq(0)]",
        ("rtl/test_fifo.py::test_clear_leaves_nothing_behind",),
        slow=True,
    ),
    Mutant(
        "hardware accumulation: sums of 26 bits",
        "rtl/cluster/unit/mac.py",
        "total = Signal(signed(32))",
        "total = Signal(signed(26))",
        ("rtl/test_mac.py::test_sums_reach_the_ends_of_32_bits",),
    ),
    Mutant(
        "hardware accumulation: stored sums of 26 bits",
        "rtl/cluster/unit/mac.py",
        "memory = Memory(shape=signed(32), depth=depth, init=[])",
        "memory = Memory(shape=signed(26), depth=depth, init=[])",
        ("rtl/test_mac.py::test_sums_reach_the_ends_of_32_bits",),
        slow=True,
    ),
    Mutant(
        "hardware chunk balancing: a partial sum goes to another filter, where slot 1 made it",
        "rtl/cluster/unit/unit.py",
        "tag.home.eq(entry.home)",
        "tag.home.eq(entry.home ^ fetched_slot)",
        (_CHUNK_BALANCE,),
    ),
    Mutant(
        "hardware chunk balancing: an inactive unit adds what it held of another layer",
        "rtl/cluster/unit/merging_mac.py",
        "Mux(self._shown[lane] & self.valid, memory.read_data, 0)",
        "Mux(self._shown[lane], memory.read_data, 0)",
        (_CHUNK_BALANCE,),
    ),
    Mutant(
        "hardware chunk balancing: the next tile overwrites the position being drained",
        "rtl/cluster/layouts.py",
        "self.position_slots = 1 + (",
        "self.position_slots = 0 + (",
        (_CHUNK_BALANCE,),
    ),
    Mutant(
        "hardware requantisation: rounds down",
        "rtl/lib/requantise.py",
        "quotient + rounded + self.zero_point",
        "quotient + self.zero_point",
        ("rtl/test_requantise.py::test_extremes_and_ties_by_hand",),
    ),
    Mutant(
        "hardware requantisation: halves go up",
        "rtl/lib/requantise.py",
        "(kept ^ signs)[0] & (dropped | quotient[0])",
        "(kept ^ signs)[0]",
        ("rtl/test_requantise.py::test_extremes_and_ties_by_hand",),
    ),
    Mutant(
        "extensor: an item ends before its last decision on tiles",
        "accel/machines/extensor/kernels.py",
        "loaded = max(loaded, decided, end_before + timing.load_free) + 1",
        "loaded = max(loaded, end_before + timing.load_free) + 1",
        (f"{_EXTENSOR}::test_an_end_waits_for_the_last_decisions_by_hand",),
        slow=True,
    ),
    Mutant(
        "extensor: tiles have a single buffer",
        "accel/machines/extensor/kernels.py",
        "two_before, pair_before = pair_before, finished",
        "two_before = pair_before = finished",
        (f"{_EXTENSOR}::test_tiles_are_double_buffered_by_hand",),
    ),
    Mutant(
        "extensor: an end does not wait for the sums before",
        "accel/machines/extensor/kernels.py",
        "begun = max(arrived, drained)",
        "begun = arrived",
        (f"{_EXTENSOR}::test_an_end_waits_for_the_sums_before_by_hand",),
        slow=True,
    ),
    Mutant(
        "extensor: every tile of a block has all its fibres",
        "accel/machines/extensor/kernels.py",
        "for a in range(rows.fibre[row], rows.fibre[row + 1]):",
        "for a in range(rows.fibre[0], rows.fibre[row + 1]):",
        (f"{_EXTENSOR}::test_one_item_by_hand",),
        slow=True,
    ),
    Mutant(
        "extensor: a successor is not carried across a word",
        "accel/machines/extensor/kernels.py",
        "carry_a = (only_a >> np.uint64(63)) | np.uint64(after_a < gaps)",
        "carry_a = only_a >> np.uint64(63)",
        (f"{_EXTENSOR}::test_decisions_of_masks_are_those_of_two_pointers",),
    ),
    Mutant(
        "extensor: a pixel's channels do not reach into the next word of a window",
        "accel/machines/extensor/kernels.py",
        "if shift and bits >> (width - shift):",
        "if False:",
        (f"{_EXTENSOR}::test_counters_are_those_of_the_page",),
        slow=True,
    ),
    Mutant(
        "sddmm: sums are not multiplied by their samples",
        "accel/machines/extensor/sparse_kernels.py",
        "values * met.data",
        "values",
        ("arch/test_sparse_kernels.py::test_sddmm_by_hand",),
        slow=True,
    ),
    Mutant(
        "hardware Cambricon-S selector: a lane too many is sent",
        "rtl/cambricon_s/windows/selector.py",
        "issuing & (left > lane)",
        "issuing & (left >= lane)",
        _CAMBRICON_S,
    ),
    Mutant(
        "hardware Cambricon-S selector: offsets count selected places, not the mask's",
        "rtl/cambricon_s/windows/selector.py",
        "chain.take, self.windows.p.mask,",
        "chain.take, self.windows.p.mask & nonzero,",
        _CAMBRICON_S,
    ),
    Mutant(
        "hardware Cambricon-S selector: wrapped columns do not count those before them",
        "rtl/cambricon_s/windows/selector.py",
        "base[1].eq(first + sums[-1])",
        "base[1].eq(first)",
        _CAMBRICON_S,
    ),
    Mutant(
        "oracle Cambricon-S: zero neurons are selected",
        "tests/arch/cambricon_s_oracle.py",
        "& (neurons != 0)",
        "& (neurons >= 0)",
        ("arch/test_cambricon_s_oracle.py::test_one_step",),
    ),
    Mutant(
        "hardware ExTensor: a skip goes a coordinate too far",
        "rtl/extensor/intersection/intersect.py",
        "skipped.eq(mine & other_from)",
        "skipped.eq(mine & Cat(0, other_from[:-1]))",
        ("arch/test_extensor_hardware.py::test_intersect_decides_like_two_pointers[8-150]",),
    ),
    Mutant(
        "hardware ExTensor: a fibre pair's sum begins with that of the pair before",
        "rtl/extensor/multiply.py",
        "before.eq(Mux(self.start | now.close, 0, self.total))",
        "before.eq(Mux(self.start, 0, self.total))",
        (_EXTENSOR_HARDWARE,),
        slow=True,
    ),
    Mutant(
        "hardware ExTensor: a sum that grows twice in a row loses the first",
        "rtl/extensor/sums.py",
        "new.eq(Mux(same, written, read) + self.total)",
        "new.eq(read + self.total)",
        ("arch/test_extensor_hardware.py::test_a_sum_grows_twice_in_a_row",),
    ),
    Mutant(
        "hardware ExTensor: sums that were handed out are not set to zero",
        "rtl/extensor/sums.py",
        "ram.write_data.eq(Mux(grows & ~self.clearing, new, 0))",
        "ram.write_data.eq(Mux(grows & ~self.clearing, new, self.sum))",
        (_EXTENSOR_HARDWARE,),
    ),
    Mutant(
        "hardware ExTensor: a fibre's sums are those of its place in the tile, not of its number",
        "rtl/extensor/loader.py",
        "now.number.eq(Mux(stage.first, stage.beat.pairs[0].coordinate, before.number))",
        "now.number.eq(stage.place)",
        (_EXTENSOR_HARDWARE,),
    ),
    Mutant(
        "oracle ExTensor: a skip stops at once",
        "tests/arch/extensor_oracle.py",
        "while self.at_left < len(self.left) and self.left[self.at_left] < right:",
        "if self.left[self.at_left] < right:",
        (
            "arch/test_extensor_oracle.py::test_a_dot_by_hand",
            "arch/test_extensor_oracle.py::test_intersection_by_hand",
        ),
    ),
    Mutant(
        "compiler: a row does not wait for the rows that lie where it goes",
        "golden/chip/order.py",
        "return self._dead",
        "return 0",
        _CHIP,
    ),
    Mutant(
        "compiler: the value ring is taken for endless",
        "golden/chip/order.py",
        "or self._rows[0][1] < self._next[1] - self._sizes[1]",
        "or False",
        _CHIP,
        slow=True,
    ),
    Mutant(
        "compiler: no room is left for rows that nobody reads",
        "golden/chip/order.py",
        "gap = y - y_next",
        "gap = 0",
        _CHIP,
        slow=True,
    ),
    Mutant(
        "compiler: every layer begins at the ring's first place",
        "golden/chip/order.py",
        "ring_rows.append(base % config.input_buffer_chunks)",
        "ring_rows.append(0)",
        _CHIP,
        slow=True,
    ),
    Mutant(
        "hardware chip: a request is made while all is cleared",
        "rtl/chip/memory/memory_side.py",
        "engine.halt.eq(failed | clear)",
        "engine.halt.eq(failed)",
        ("chip/test_stop.py::test_stop",),
    ),
    Mutant(
        "compiler: output channels are in the collector's order",
        "golden/chip/streams.py",
        'channels = np.maximum(order, 0).astype("<u2").tobytes()',
        'channels = np.arange(len(order)).astype("<u2").tobytes()',
        _CHIP,
    ),
    Mutant(
        "compiler: an addition is fused with the operand that is made first",
        "golden/chip/graph.py",
        "latest = max(node.inputs, key=lambda name: made[name])",
        "latest = min(node.inputs, key=lambda name: made[name])",
        _CHIP,
        slow=True,
    ),
    Mutant(
        "compiler: a part of a concatenation begins at its first channel",
        "golden/chip/graph.py",
        "parent[part] = Part(node.output.name, channel)",
        "parent[part] = Part(node.output.name, 0)",
        _CHIP,
    ),
    Mutant(
        "compiler: a part of a row has no padding to its left",
        "golden/chip/tiles.py",
        "left = max(0, q * vector.stride[1] - vector.pads[1])",
        "left = max(0, q * vector.stride[1])",
        _CHIP,
    ),
    Mutant(
        "compiler: what is read does not wait for the write",
        "golden/chip/order.py",
        "entry = replace(entry, writes=max(entry.writes, next(last, 0)))",
        "entry = replace(entry, writes=entry.writes)",
        _CHIP_TIMING,
        slow=True,
    ),
    Mutant(
        "chip: one filter burst more than the FIFO holds",
        "accel/chip/walk.py",
        "at = counts[FILTERS] - k.filter_bursts",
        "at = counts[FILTERS] - k.filter_bursts - 1",
        _CHIP_TIMING,
        slow=True,
    ),
    Mutant(
        "chip: one burst more than may be under way",
        "accel/chip/walk.py",
        "asked = max(asked, bursts[i - k.outstanding].there + k.credit)",
        "asked = max(asked, bursts[i - k.outstanding].there)",
        _CHIP_TIMING,
        slow=True,
    ),
    Mutant(
        "chip: the parser works across chunks",
        "accel/chip/walk.py",
        "at += min(end - at, piece, chunk_end - in_group)",
        "at += min(end - at, piece)",
        _CHIP_TIMING,
        slow=True,
    ),
    Mutant(
        "chip: a burst's data pass while its filters are awaited",
        "accel/chip/walk.py",
        "filters[f].used = begun + filters[f].beats",
        "filters[f].used = begun + 1",
        _CHIP_TIMING,
        slow=True,
    ),
    Mutant(
        "chip: a layer's first tile is set up like any other",
        "accel/chip/sequencer.py",
        "(k.layer if work.tiles[tile].begins else k.tile)",
        "k.tile",
        _CHIP_TIMING,
        slow=True,
    ),
    Mutant(
        "chip: slots are free when their units are",
        "accel/chip/jobs.py",
        "arrived = max(arrived, ring[slot] + release) + taken",
        "arrived = max(arrived, ring[slot]) + taken",
        _CHIP_TIMING,
        slow=True,
    ),
    Mutant(
        "chip: the memory turns round in no time",
        "accel/chip/memory.py",
        "now += turn",
        "now += 0",
        _CHIP_TIMING,
        slow=True,
    ),
    Mutant(
        "chip: an open row is opened again",
        "accel/chip/memory.py",
        "if open_row != row:",
        "if True:",
        _CHIP_TIMING,
        slow=True,
    ),
    Mutant(
        "chip engine: one burst less under way",
        "rtl/chip/memory/engine.py",
        "(in_flight != self._config.outstanding)",
        "(in_flight + 1 != self._config.outstanding)",
        (f"{_MEMORY_SIDE}[8]",),
    ),
    Mutant(
        "chip engine: entries do not wait for writes",
        "rtl/chip/memory/engine.py",
        "~behind.any()",
        "~behind[0]",
        (f"{_MEMORY_SIDE}[8]", f"{_MEMORY_SIDE}[43]"),
        slow=True,
    ),
    Mutant(
        "chip list: the second block is read after the first one",
        "rtl/chip/memory/list_reader.py",
        "due.eq(2)",
        "due.eq(1)",
        (f"{_MEMORY_SIDE}[-1]",),
        slow=True,
    ),
    Mutant(
        "chip FIFO: bursts are there a cycle early",
        "rtl/chip/memory/burst_fifo.py",
        "there.eq(there + late - ends)",
        "there.eq(there + arrives - ends)",
        (f"{_MEMORY_SIDE}[8]",),
        slow=True,
    ),
    Mutant(
        "chip FIFO: the window's rows are those of the next cycle",
        "rtl/chip/memory/burst_fifo.py",
        "odd = place[row_bits]",
        "odd = next_place[row_bits]",
        (f"{_MEMORY_SIDE}[8]",),
        slow=True,
    ),
    Mutant(
        "chip FIFO: a row burst's place is free a cycle early",
        "rtl/chip/memory/memory_side.py",
        "        m.d.sync += fifo.free.eq(fifo.used)",
        "        m.d.comb += fifo.free.eq(fifo.used)",
        (f"{_MEMORY_SIDE}[12]", f"{_MEMORY_SIDE}[43]", f"{_MEMORY_SIDE}[-1]"),
        slow=True,
    ),
    Mutant(
        "chip writes: all that is granted counts as done",
        "rtl/chip/memory/write_count.py",
        "self.written.eq(Mux(under_way.any(), read.data.through, through))",
        "self.written.eq(through)",
        (f"{_MEMORY_SIDE}[8]", f"{_MEMORY_SIDE}[43]"),
        slow=True,
    ),
    Mutant(
        "chip writes: the last beat's strobes are whole",
        "rtl/chip/memory/write_buffer.py",
        "Mux(last_word, end[:bus_bits], config.bus_bytes - 1)",
        "Const(config.bus_bytes - 1)",
        (f"{_MEMORY_SIDE}[8]",),
        slow=True,
    ),
    Mutant(
        "chip rows: a tile's empty entry waits for a burst to come",
        "rtl/chip/memory/closings.py",
        "granted + ~self.empty",
        "granted + 1",
        (f"{_MEMORY_SIDE}[43]",),
        slow=True,
    ),
    Mutant(
        "chip records: words are numbered by beats",
        "rtl/chip/memory/read_router.py",
        "word + words",
        "word + 1",
        (f"{_MEMORY_SIDE}[8]",),
        slow=True,
    ),
    Mutant(
        "chip vector unit: halves round up",
        "rtl/chip/datapath/vector_pipeline.py",
        "(half & (below | quotient[0]))",
        "half",
        (f"{_VECTOR}[1-1]",),
    ),
    Mutant(
        "chip vector unit: padding counts in an average",
        "rtl/chip/datapath/vector_pipeline.py",
        "Mux(taps[2].first, 0, before) + inside[2]",
        "Mux(taps[2].first, 0, before) + 1",
        (f"{_VECTOR}[3-1]",),
        slow=True,
    ),
    Mutant(
        "chip vector unit: a window's largest code is compared as if padding were 0",
        "rtl/chip/datapath/vector_pipeline.py",
        "value = Mux(inside[5], code, -256)",
        "value = Mux(inside[5], code, 0)",
        (f"{_VECTOR}[2-3]",),
        slow=True,
    ),
    Mutant(
        "chip parser: a gap moves masks, not values",
        "rtl/chip/datapath/parser.py",
        "value_now.eq(value_row + skips * layer.row_bytes[: len(value_row)])",
        "value_now.eq(value_row)",
        ("chip/test_parser.py::test_rows[3-5-1]",),
        slow=True,
    ),
    Mutant(
        "chip parser: a tile's operand follows the one before",
        "rtl/chip/datapath/parser.py",
        "base.eq(Mux(same, kept_base, 0))",
        "base.eq(kept_base)",
        ("chip/test_parser.py::test_operands[1]",),
        slow=True,
    ),
    Mutant(
        "chip parser: groups of a pixel follow one another in the ring",
        "rtl/chip/datapath/parser.py",
        "group_base.eq(group_base + layer.line_places)",
        "group_base.eq(group_base + layer.row_chunks)",
        ("chip/test_parser.py::test_rows[4-6-3]",),
    ),
    Mutant(
        "chip registers: a row of positions does not end within a round of clusters",
        "rtl/chip/control/job_registers.py",
        "following.place.eq(window.place + d.column_places + d.wrap_places)",
        "following.place.eq(window.place + d.column_places)",
        ("chip/test_job_registers.py::test_windows_of_positions[3]",),
        slow=True,
    ),
    Mutant(
        "chip sequencer: registers have a cycle less",
        "rtl/chip/control/sequencer.py",
        "self.waited.eq(Mux(job_done, 0, waited))",
        "self.waited.eq(Mux(job_done, 1, waited))",
        (f"{_CHIP_HARDWARE}[52]",),
        slow=True,
    ),
    Mutant(
        "chip scatter: a pass begins where the one before ended",
        "rtl/chip/datapath/scatter.py",
        "m.d.sync += [positions.eq(all_positions), base.eq(0), pass_row.eq(following)]",
        "m.d.sync += [positions.eq(all_positions), pass_row.eq(following)]",
        (f"{_CHIP_LONG}[43]",),
        slow=True,
    ),
    Mutant(
        "chip vector unit: a half is read a cycle late",
        "rtl/chip/datapath/vector_unit.py",
        "range(CHIP_LATENCY.encode - 1)",
        "range(CHIP_LATENCY.encode)",
        (f"{_CHIP_HARDWARE}[52]",),
        slow=True,
    ),
    Mutant(
        "chip counters: the first cycle is of no kind",
        "rtl/chip/control/partition.py",
        "late(self.start | active)",
        "late(active)",
        (f"{_CHIP_HARDWARE}[52]",),
        slow=True,
    ),
    Mutant(
        "chip sequencer: a vector tile does not wait for its operand",
        "rtl/chip/control/sequencer.py",
        "vector_done.eq(view.there & view.is_vector & view.input_ready & ~busy & ~job_done)",
        "vector_done.eq(view.there & view.is_vector & ~busy & ~job_done)",
        (f"{_CHIP_HARDWARE}[0]",),
        slow=True,
    ),
    Mutant(
        "chip sequencer: a layer's first tile keeps what the units hold",
        "rtl/chip/control/sequencer.py",
        "view.descriptor.resident & ~view.record.first",
        "view.descriptor.resident",
        (f"{_CHIP_HARDWARE}[52]",),
        slow=True,
    ),
    Mutant(
        "chip sequencer: a job fills the other half",
        "rtl/chip/control/sequencer.py",
        "self.half.eq(self.done_count[0])",
        "self.half.eq(~self.done_count[0])",
        (f"{_CHIP_HARDWARE}[52]",),
        slow=True,
    ),
    Mutant(
        "chip sequencer: a layer's first tile is set up like any other",
        "rtl/chip/control/sequencer.py",
        "Mux(view.record.first, CHIP_LATENCY.layer, CHIP_LATENCY.tile)",
        "Mux(view.record.first, CHIP_LATENCY.tile, CHIP_LATENCY.tile)",
        (f"{_CHIP_HARDWARE}[52]",),
        slow=True,
    ),
    Mutant(
        "chip writes: a burst's third piece follows its first",
        "rtl/chip/memory/write_buffer.py",
        "after.eq(place + piece.payload.count)",
        "after.eq(piece.payload.offset + piece.payload.count)",
        (f"{_MEMORY_SIDE}[8]",),
        slow=True,
    ),
    Mutant(
        "chip vector unit: one write burst less under way",
        "rtl/chip/datapath/vector_unit.py",
        "places = Signal(range(config.write_bursts + 1), init=config.write_bursts)",
        "places = Signal(range(config.write_bursts + 1), init=config.write_bursts - 1)",
        (f"{_CHIP_HARDWARE}[0]",),
        slow=True,
    ),
    Mutant(
        "chip vector unit: a window has one row",
        "rtl/chip/datapath/vector_unit.py",
        "self.tap.y.eq(place.y + row)",
        "self.tap.y.eq(place.y)",
        (f"{_CHIP_HARDWARE}[0]",),
        slow=True,
    ),
    Mutant(
        "chip vector unit: a residual's zero is added",
        "rtl/chip/datapath/vector_pipeline.py",
        "code - layer.residual_zero",
        "code + layer.residual_zero",
        (f"{_VECTOR}[1-1]",),
        slow=True,
    ),
    Mutant(
        "chip engine: a record may be too long",
        "rtl/chip/memory/engine.py",
        "(entry.length != TILE_BYTES)",
        "(entry.length > TILE_BYTES + 4)",
        ("chip/test_memory_side.py::test_entry_that_can_not_be",),
        slow=True,
    ),
    Mutant(
        "chip writes: the first beat's strobes are whole",
        "rtl/chip/memory/write_buffer.py",
        "first = Mux(begun, 0, offsets.data[:bus_bits])",
        "first = Const(0, bus_bits)",
        (f"{_MEMORY_SIDE}[12]",),
        slow=True,
    ),
)
