"""Faults that no scene notices, by machine: with the reason, or as what is left to be done."""

from __future__ import annotations

__all__ = ["MUTANTS", "OPEN", "WIDTHS"]

#: The reason of those for which there is none: a scene is missing.
OPEN = "not driven to its end: no scene of this machine is so large, or none tells the difference"

#: Widths by machine and reason.
WIDTHS: dict[str, dict[str, tuple[str, ...]]] = {
    "cluster": {
        "addresses of registers and of rows are wider than any there is": (
            "registers.address",
            "registers.late_address",
            "registers.layer.load_address",
            "registers.write_data",
            "buffer.address",
            "buffer.count",
        ),
        "counts of 32 bits, which no scene fills; tests/rtl/test_registers.py fills some": (
            "registers.count",
            "registers.counts[0]",
            "registers.late",
            "registers.late'",
            "registers.late''",
            "registers.late'''",
            "registers.late''''",
            "registers.late'''''",
            "registers.late''''''",
            "registers.late'''''''",
            "registers.read_data",
            "registers.unit_count",
            "registers.unit0.count",
            "registers.unit0.count'",
            "registers.unit0.counts.row",
        ),
        "written, and not read: the output's reader knows the sign": (
            "registers.layer.signed_outputs",
        ),
        "addresses are as wide as the largest machine's buffers": (
            "registers.layer.ragged_length",
            "registers.layer.first_address",
            "registers.layer.step_address",
            "registers.layer.wrap_address",
            "registers.layer.line_address",
            "registers.layer.group_address",
        ),
        "a start is held by ExTensor's sums only": ("registers.waiting",),
        OPEN: (
            "core.reason_held1",
            "core.sequencer.added.x",
            "core.sequencer.added.r",
            "core.sequencer.added.s",
            "core.sequencer.added.offset",
            "core.sequencer.added.segment_last",
            "core.sequencer.back_x",
            "core.sequencer.down_y",
            "core.sequencer.end_back",
            "core.sequencer.end_step",
            "core.sequencer.state.index",
            "core.sequencer.was.y",
            "core.sequencer.was.x",
            "core.sequencer.was.segment_last",
            "core.sequencer.passes.rows.free",
            "core.broadcaster.arrived",
            "core.broadcaster.at_shifted",
            "core.broadcaster.at_swapped",
            "core.broadcaster.chunk.single",
            "core.broadcaster.explanation1.held",
            "core.broadcaster.first_held",
            "core.broadcaster.following",
            "core.broadcaster.loads",
            "core.broadcaster.tail",
            "core.broadcaster.sent.free",
            "core.broadcaster.sent.head.mask_words",
            "core.broadcaster.sent.popped",
            "core.broadcaster.sent.room",
            "core.loader.again",
            "core.loader.keeps",
            "core.loader.left.left",
            "core.loader.passes.rows.free",
            "core.collector.pass_row",
            "core.collector.rank0",
            "core.collector.passes.rows.free",
            "core.unit0._late_load.entry_unit",
            "core.unit0._late_load.row_unit",
            "core.unit0.bus.mask_words",
            "core.unit0.fetched.mask_words",
            "core.unit0.fetched.held",
            "core.unit0.fetched.filters[0]",
            "core.unit0.pair.activation_words",
            "core.unit0.pair.keep_zero_weights",
            "core.unit0.read_address",
            "core.unit0.read_address'",
            "core.unit0.join.chunk.activation_words",
            "core.unit0.join.next_chunk.activation_words",
            "core.broadcaster.sent.items.row.mask_words",
            "core.collector.queue.items.row.final",
            "core.unit0.queue.row.mask_words",
        ),
        "travels in a payload and is not read from there on": (
            "core.sequencer.added.sequenced.inside",
            "core.sequencer.was.sequenced.inside",
            "core.broadcaster.chunk.sequenced.inside",
            "core.broadcaster.chunk.sequenced.address",
            "core.broadcaster.fetched.address",
            "core.broadcaster.found.inside",
            "core.broadcaster.found.address",
            "core.broadcaster.chunks.head.sequenced.inside",
            "core.broadcaster.chunks.head.sequenced.address",
            "core.loader.below[0]",
            "core.loader.load.entry.prefixes[0]",
            "core.loader.passes.rows.head.last_of_group",
            "core.collector.passes.rows.head.last_of_group",
            "core.unit0._late_load.entry.prefixes[0]",
            "core.unit0.pair.activation_filled",
            "core.unit0.pair.weight_prefix[0]",
            "core.unit0.join.chunk.activation_filled",
            "core.unit0.join.chunk.weight_prefix[0]",
            "core.unit0.join.next_chunk.activation_filled",
            "core.unit0.join.next_chunk.weight_prefix[0]",
            "core.unit0.join.nibble.filled",
            "core.unit0.join.steps__payload.activation_nonzero",
            "core.unit0.join.word.filled",
            "core.broadcaster.chunks.items.row.sequenced.inside",
            "core.broadcaster.chunks.items.row.sequenced.address",
            "core.loader.passes.rows.items.row.last_of_group",
            "core.collector.passes.rows.items.row.last_of_group",
            "core.unit0.entries.write_data.prefixes[0]",
        ),
        "a walk that ends at another time waits for its twin: sequencer and loader": (
            "core.sequencer.count.left",
            "core.sequencer.count.last",
            "core.sequencer.count''.last",
            "core.sequencer.count''''.left",
            "core.sequencer.count''''.last",
            "core.sequencer.count'''''.left",
            "core.sequencer.pass_count.left",
            "core.sequencer.segment_start.row.left",
            "core.sequencer.state.chunk.left",
            "core.loader.count.left",
            "core.loader.count.last",
            "core.loader.count''.left",
            "core.loader.count'''.last",
            "core.loader.pass_count.left",
            "core.loader.pass_count.last",
            "core.loader.segment.left",
        ),
        "sums near 2**31: tests/rtl/test_mac.py has them for the cluster, without most faults": (
            "core.loader.before",
            "core.unit0.mac.product",
            "core.unit0.mac.results[0]",
            "core.unit0.mac.sums[0]",
            "core.unit0.mac.psums.row",
        ),
        "of requantisation: the extremes are in tests/rtl/test_requantise.py, without faults": (
            "core.collector.requantise0.above_coarse",
            "core.collector.requantise0.above_fine",
            "core.collector.requantise0.product",
            "core.collector.requantise0.taken",
        ),
    },
    "cambricon-s": {
        OPEN: (
            "arrived1",
            "pairs",
            "registers.layer.clamp_low",
            "registers.layer.tile_last",
            "registers.layer.first_q",
            "registers.layer.step_q",
            "registers.layer.end_q",
            "sequencer.position.address",
            "sequencer.position.q",
            "sequencer.state.group",
            "sequencer.state.tile",
            "sequencer.state.segment_start",
            "sequencer.state.index",
            "sequencer.state.window",
            "sequencer.tile_start.address",
            "sequencer.tile_start.q",
            "loader.index",
            "loader.segment_start",
            "loader.tile",
            "fetch.found.address",
            "fetch.found.step.load_first",
            "fetch.loads",
            "fetch.located.address",
            "fetch.middle.address",
            "fetch.middle.step.load_first",
            "fetch.windows__payload.step.load_first",
            "fetch.windows__payload.wrapped",
            "fetch.wrapped",
            "selector.items[0].distance",
            "selector.kept_below[0]",
            "selector.masked_below[0]",
            "selector.reserved",
            "selector.sent",
            "selector.squeezed[0].distance",
            "selector.step1.load_first",
            "selector.unselected_below[0]",
            "selector.wrapped1",
            "pe0.running",
            "buffers.even.write_address",
            "buffers.even.read_address",
            "buffers.odd.write_address",
            "buffers.odd.read_address",
            "buffers.windows.write_address",
            "buffers.windows.read_address",
            "buffers.windows.write_data",
            "buffers.blocks0.write_data.windows_last",
        ),
        "travels in a payload and is not read from there on": (
            "filled",
            "pe0.issue1.valid",
            "pe0.issue1.row",
            "pe0.issue1.first",
            "pe0.issue1.from_zero",
            "pe0.issue1.store",
            "pe0.issue1.psum",
            "pe0.issue1.commit",
        ),
        "addresses of registers and of rows are wider than any there is": (
            "registers.address",
            "registers.late_address",
            "registers.layer.load_address",
            "registers.write_data",
            "buffers.address",
            "buffers.count",
        ),
        "counts of 32 bits, which no scene fills; tests/rtl/test_registers.py fills some": (
            "registers.count",
            "registers.counts[0]",
            "registers.late",
            "registers.late'",
            "registers.late''",
            "registers.late'''",
            "registers.late''''",
            "registers.late'''''",
            "registers.read_data",
            "registers.unit_count",
            "registers.unit0.count",
            "registers.unit0.count'",
            "registers.unit0.counts.row",
        ),
        "written, and not read: the output's reader knows the sign": (
            "registers.layer.signed_outputs",
        ),
        "addresses are as wide as the largest machine's buffers": (
            "registers.layer.first_address",
            "registers.layer.step_address",
            "registers.layer.wrap_address",
            "registers.layer.group_address",
        ),
        "a start is held by ExTensor's sums only": ("registers.waiting",),
        "of requantisation: the extremes are in tests/rtl/test_requantise.py, without faults": (
            "collector.requantise0.above_coarse",
            "collector.requantise0.above_fine",
            "collector.requantise0.product",
            "collector.requantise0.taken",
        ),
        "sums near 2**31: tests/rtl/test_mac.py has them for the cluster, without most faults": (
            "pe0.product0",
            "pe0.result",
            "pe0.sum0_0",
            "pe0.psums.row",
        ),
    },
    "extensor": {
        "addresses of registers and of rows are wider than any there is": (
            "registers.address",
            "registers.late_address",
            "registers.layer.load_address",
            "registers.write_data",
            "tables.address",
            "tables.count",
        ),
        "counts of 32 bits, which no scene fills; tests/rtl/test_registers.py fills some": (
            "registers.count",
            "registers.counts[0]",
            "registers.late",
            "registers.late'",
            "registers.late''",
            "registers.late'''",
            "registers.late''''",
            "registers.late'''''",
            "registers.late''''''",
            "registers.read_data",
            "registers.unit_count",
            "registers.unit0.count",
            "registers.unit0.count'",
            "registers.unit0.counts.row",
        ),
        "a start is held by ExTensor's sums only": ("registers.waiting",),
        OPEN: (
            "loader.left",
            "loader.now.mask",
            "loader.stage.pairs",
            "tiles.matches",
            "tiles.next_place",
            "fetch.fetched.row",
            "fetch.fetched.column",
            "scalars.work_now.row.mask",
            "scalars.work_now.column.mask",
            "multiply.column_counts[0]",
            "multiply.column_lower",
            "multiply.row_counts[0]",
            "multiply.row_lower",
            "sums.item.channel",
            "sums.same",
        ),
        "travels in a payload and is not read from there on": ("loader.stage.beat.unused",),
        "sums near 2**31: tests/rtl/test_mac.py has them for the cluster, without most faults": (
            "tiles.before",
            "multiply.before",
            "multiply.product",
            "sums.written",
            "sums.half0.write_data",
        ),
        "of requantisation: the extremes are in tests/rtl/test_requantise.py, without faults": (
            "output.requantise.above_coarse",
            "output.requantise.above_fine",
            "output.requantise.product",
            "output.requantise.taken",
        ),
    },
}

#: Mutants by machine, named by module, text and kind: none has a reason yet, but that some have no
#: effect at all.
MUTANTS: dict[str, tuple[str, ...]] = {
    "cluster": (
        (
            "rtl/lib/countdown.py: return [result.left.eq(count.left - 1), result.l"
            "ast.eq(count.left == 1)]: nothing goes to state"
        ),
        "rtl/cluster/broadcaster.py: sent.enter.eq(push),: nothing goes to enter",
        (
            "rtl/cluster/broadcaster.py: m.d.sync += tail.eq(Cat(layer.ragged_lengt"
            "h > at for at in range(config.chunk))): '>' is '>='"
        ),
        ("rtl/cluster/loader.py: result.first.eq(only_lowest(left)),: nothing goes to new"),
        ("rtl/cluster/loader.py: m.d.sync += [number.eq(number + 1), before.eq(ones)]: '+' is '-'"),
        (
            "rtl/cluster/loader.py: m.d.sync += may_go.eq(~self.start & (filled | e"
            "nabled) & ~waits): '&' is '|'"
        ),
        (
            "rtl/cluster/loader.py: m.d.sync += self.done.eq(load_end | (keeps & (f"
            "illed | both))): '|' is '&'"
        ),
        (
            "rtl/cluster/loader.py: m.d.sync += below[word].eq(add_up(counts[half i"
            "f word >= half else 0 : word])): nothing goes to below"
        ),
        (
            "rtl/lib/countdown.py: return [result.left.eq(count.left - 1), result.l"
            "ast.eq(count.left == 1)]: nothing goes to beats"
        ),
        (
            "rtl/cluster/collector.py: with m.If(held[place] & (known == beat * lan"
            "es + lane)):: '&' is '|'"
        ),
        (
            "rtl/cluster/unit/unit.py: pair.activation_filled.eq(~0),  # rows have "
            "flags of their own: nothing goes to pair"
        ),
        (
            "rtl/cluster/unit/unit.py: mac.issue.live.eq(step.pair & sent & step.we"
            "ight_nonzero),: '&' is '|'"
        ),
        (
            "rtl/cluster/unit/unit.py: store = step.last & tag.step.last & ~tag.ste"
            "p.complete: '&' is '|'"
        ),
        ("rtl/cluster/core.py: self.starved.eq(broadcaster.starved),: nothing goes to starved"),
        ("rtl/cluster/core.py: works = unit.busy | unit.bubble | unit.blocked: '|' is '&'"),
    ),
    "cambricon-s": (
        (
            "rtl/cambricon_s/windows/sequencer.py: single.eq(row.windows_last < seg"
            "ment_windows),: '<' is '<='"
        ),
        (
            "rtl/cambricon_s/loader.py: m.d.sync += [half.eq(0), index.eq(0), fresh"
            ".eq(1), codes.eq(0), in_use.eq(0)]: nothing goes to in_use"
        ),
        (
            "rtl/cambricon_s/windows/selector.py: self.bubble.eq(issuing & ~count.a"
            "ny()),: 'r|' is 'r&'"
        ),
        ("rtl/cambricon_s/windows/selector.py: self.blocked.eq(valid & sent),: '&' is '|'"),
        (
            "rtl/cambricon_s/windows/selector.py: reserved.eq(Mux(self.finish, beat"
            "s_last, reserved - reserved.any())),: 'r|' is 'r&'"
        ),
        (
            "rtl/cambricon_s/collector.py: self.room.eq(promised <= self._depth - s"
            "elf._layouts.beats),: '<=' is '<'"
        ),
        "rtl/cambricon_s/core.py: filled.eq(~start & (filled | arrived)),: '|' is '&'",
    ),
    "extensor": (
        (
            "rtl/extensor/loader.py: here = (stage.pairs > lane) & (~stage.first if"
            " lane == 0 else 1): '>' is '>='"
        ),
        (
            "rtl/extensor/loader.py: m.d.sync += [buffer.eq(0), busy.eq(0), end_bus"
            "y.eq(0)]: nothing goes to busy"
        ),
        (
            "rtl/extensor/intersection/intersect.py: ends.append(Mux(self.match, ~f"
            "rom_matched[-1], ~from_skipped[-1])): the choice is the other one"
        ),
        (
            "rtl/extensor/sums.py: m.d.sync += [begun.eq(0), busy.eq(0), self.sum_v"
            "alid.eq(0), clears.eq(0)]: nothing goes to begun"
        ),
    ),
}
