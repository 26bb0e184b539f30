"""The compute side of a chip: clusters with their rings and assembly buffers, and what drives them.

The memory side is behind ``rtl.chip.signatures.core_signature``.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import Out

from golden.chip.config import ChipConfig
from golden.counters import CLUSTER_COUNTERS
from rtl.chip.control.job_registers import JobRegisters
from rtl.chip.control.partition import COUNTERS, Partition
from rtl.chip.control.payloads import Payloads
from rtl.chip.control.program_store import ProgramStore
from rtl.chip.control.sequencer import Sequencer
from rtl.chip.datapath.assembly import Assembly
from rtl.chip.datapath.parser import Parser
from rtl.chip.datapath.ring import Ring
from rtl.chip.datapath.scatter import Scatter
from rtl.chip.datapath.vector_pipeline import VectorPipeline
from rtl.chip.datapath.vector_unit import VectorUnit
from rtl.chip.signatures import core_signature
from rtl.cluster.core import Core as ClusterCore
from rtl.lib.bits import add_up
from rtl.lib.component import Component

__all__ = ["Core"]

#: Cycles from P - 1, a burst's last tap, to ``bursts``.
_BURST = 11


class Core(Component):
    """Clusters, parser, vector unit, sequencer.

    Parameters
    ----------
    config : ChipConfig

    Members
    -------
    memory : Out(rtl.chip.signatures.core_signature)
    counters : Out(ArrayLayout(32, len(COUNTERS)))
        In the order of ``COUNTERS``; they stay until the next start.
    """

    #: What each counter counts, by its name.
    COUNTERS = COUNTERS

    def __init__(self, config: ChipConfig) -> None:
        self._config = config
        super().__init__(
            {
                "memory": Out(core_signature(config)),
                "counters": Out(data.ArrayLayout(32, len(COUNTERS))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        self._payloads = payloads = Payloads(self._config)
        memory = self.memory
        m.submodules.store = store = ProgramStore(payloads)
        m.submodules.parser = parser = Parser(payloads)
        m.submodules.sequencer = sequencer = Sequencer()
        m.submodules.vector = vector = VectorUnit(payloads)
        m.submodules.pipeline = pipeline = VectorPipeline(payloads)
        m.submodules.registers = registers = JobRegisters(payloads)
        m.submodules.partition = partition = Partition()
        wiring.connect(m, wiring.flipped(memory.control), store.control)
        wiring.connect(m, wiring.flipped(memory.rows), parser.rows)
        for block in (store, parser, sequencer, vector, pipeline):
            block.also_reset = memory.clear
        for block in (parser, sequencer, vector, pipeline, partition):
            m.d.comb += block.descriptors.eq(store.descriptors)
        for block in (sequencer, vector, pipeline, partition):
            m.d.comb += block.records.eq(store.records)
        for block in (parser, sequencer, vector, partition):
            m.d.comb += block.slots.eq(store.slots)
        for block in (sequencer, vector, partition):
            m.d.comb += block.record_count.eq(store.record_count)
        m.d.comb += [
            memory.rows_taken.eq(parser.taken),
            parser.closed.eq(memory.rows_closed),
            sequencer.table_count.eq(store.table_count),
            sequencer.ready_count.eq(parser.ready_count),
            sequencer.half_read.eq(vector.half_read),
            memory.tile_done.eq(sequencer.tile_done),
            memory.half_read.eq(vector.half_read),
            registers.descriptor.eq(sequencer.descriptor),
            registers.record.eq(sequencer.record),
            registers.waited.eq(sequencer.waited),
            pipeline.table.eq(store.table),
        ]
        self._connect_vector(m, vector, pipeline, sequencer)
        cores = self._place_clusters(m, store, parser, pipeline, sequencer, registers)
        self._feed(m, cores, sequencer, registers)
        running, starved = Signal(), Signal()
        active = registers.active
        m.d.comb += [
            running.eq(Cat(core.running for core in cores).any()),
            starved.eq((Cat(core.starved for core in cores) | ~active).all()),
            sequencer.running.eq(running),
        ]
        self._count(m, partition, store, parser, sequencer, vector, running, starved, cores)
        return m

    def _connect_vector(self, m: Module, vector, pipeline, sequencer) -> None:
        memory = self.memory
        m.d.comb += [
            vector.done_count.eq(sequencer.done_count),
            vector.residual_arrived.eq(memory.residual_arrived),
            memory.residual.ready.eq(vector.residual_ready),
            memory.residual_taken.eq(vector.residual_taken),
            memory.residual_release.eq(vector.residual_release),
            vector.write_free.eq(memory.write_free),
            pipeline.tap.eq(vector.tap),
            pipeline.residual.eq(memory.residual.payload),
            memory.pieces.valid.eq(pipeline.piece_valid),
            memory.pieces.payload.eq(pipeline.piece),
        ]
        burst = data.StructLayout({"valid": 1, "burst": memory.bursts.payload.shape()})
        stage = Signal(burst)
        m.d.comb += [
            stage.valid.eq(vector.burst),
            stage.burst.bytes.eq(vector.burst_bytes),
            stage.burst.step.eq(vector.burst_step),
            stage.burst.last.eq(vector.burst_last),
        ]
        for number in range(_BURST):
            late = Signal(burst, name=f"burst{number}")
            m.d.sync += late.eq(stage)
            with m.If(memory.clear):
                m.d.sync += late.valid.eq(0)
            stage = late
        m.d.comb += [
            memory.bursts.valid.eq(stage.valid),
            memory.bursts.payload.eq(stage.burst),
        ]

    def _place_clusters(
        self, m: Module, store, parser, pipeline, sequencer, registers
    ) -> list[ClusterCore]:
        cores = []
        for number in range(self._config.clusters):
            m.submodules[f"cluster{number}"] = core = ClusterCore(self._payloads.cluster)
            m.submodules[f"ring{number}"] = ring = Ring(self._payloads)
            m.submodules[f"scatter{number}"] = scatter = Scatter(self._payloads)
            m.submodules[f"assembly{number}"] = assembly = Assembly(self._payloads)
            core.also_reset = self.memory.clear
            cores.append(core)
            wiring.connect(m, core.buffers, ring.core)
            wiring.connect(m, core.outputs, scatter.outputs)
            layer = registers.layers[number]
            starts = sequencer.start & registers.active[number]
            m.d.comb += [
                core.start.eq(starts),
                core.layer.eq(layer),
                core.keep.eq(sequencer.keep),
                ring.write.eq(parser.ring),
                ring.table.eq(store.table),
                ring.channel_row.eq(scatter.channel_row),
                scatter.channels.eq(ring.channels),
                scatter.start.eq(starts),
                scatter.layer.eq(layer),
                scatter.pixel_bytes.eq(sequencer.descriptor.out_channels),
                scatter.half.eq(sequencer.half),
                assembly.codes.eq(scatter.codes),
                assembly.operand.eq(parser.half),
                assembly.mine.eq(parser.half.cluster == number),
                assembly.rows.eq(pipeline.rows),
                assembly.half.eq(pipeline.half),
                pipeline.octets[number].eq(assembly.octets),
            ]
        return cores

    def _feed(self, m: Module, cores, sequencer, registers) -> None:
        """One filter stream: all clusters with a position take each beat together."""
        beats, active = self.memory.filters, registers.active
        kept, loads, gate = Signal(16), Signal(16), Signal()  # loads of the job that have not begun
        roomy, wanted, goes = Signal(), Signal(), Signal()
        m.d.comb += [
            roomy.eq((Cat(core.filters.ready for core in cores) | ~active).all()),
            wanted.eq((Cat(core.wants for core in cores) | ~active).all()),
            gate.eq(~beats.payload.first | loads.any()),
            beats.ready.eq(roomy & gate),
            goes.eq(beats.valid & beats.ready),
        ]
        m.d.comb += loads.eq(kept)
        with m.If(sequencer.launch & ~sequencer.keep):
            m.d.comb += loads.eq(sequencer.descriptor.passes)
        m.d.sync += kept.eq(loads - (goes & beats.payload.first))
        with m.If(self.memory.clear):
            m.d.sync += kept.eq(0)
        m.d.sync += self.memory.filters_used.eq((Cat(core.beat for core in cores) & active).any())
        for number, core in enumerate(cores):
            m.d.comb += [
                core.filters.payload.eq(beats.payload.data),
                core.filters.valid.eq(goes & active[number]),
                core.allowed.eq(wanted),
            ]

    def _count(
        self, m: Module, partition, store, parser, sequencer, vector, running, starved, cores
    ) -> None:
        pairs = list(CLUSTER_COUNTERS).index("pairs")
        m.d.comb += [
            partition.start.eq(self.memory.start),
            partition.ended.eq(self.memory.ended),
            partition.table_count.eq(store.table_count),
            partition.ready_count.eq(parser.ready_count),
            partition.done_count.eq(sequencer.done_count),
            partition.tables_used.eq(sequencer.tables_used),
            partition.tables_taken.eq(sequencer.tables_taken),
            partition.halves.eq(sequencer.halves),
            partition.launching.eq(sequencer.launch | sequencer.start),
            partition.running.eq(running),
            partition.starved.eq(starved),
            partition.stalled.eq(vector.stalled),
            partition.pairs.eq(add_up([core.increments[pairs] for core in cores])),
            self.counters.eq(partition.counts),
        ]
