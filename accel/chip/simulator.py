"""A network on a chip: compiled once, and its cycles counted under any memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from accel.activations.trace import Trace
from accel.chip.arrange import arrange_clusters, arrange_tensors, arrange_walk
from accel.chip.arrays import TILE_COUNTERS, Work
from accel.chip.results import ChipLayerResult, ChipResult, Stream
from accel.chip.walk import walk_list
from golden.chip.compiler import compile_network
from golden.chip.config import CHIP_LATENCY, ChipConfig, ChipLatency
from golden.chip.formats import Kind
from golden.chip.memory import Memory
from golden.chip.program import ChipProgram
from golden.machines.cluster.config import SkipMode
from golden.network import Network
from golden.program import Codes

if TYPE_CHECKING:
    from accel.api import LoadedNetwork

__all__ = ["ChipImage", "choose_chip", "simulate_chip"]


class ChipImage:
    """One image of a compiled network, ready to be counted under any memory.

    Parameters
    ----------
    program : ChipProgram
    codes : ndarray of int8 or uint8, axes y, x, channel
        The network's input.
    """

    def __init__(self, program: ChipProgram, codes: Codes) -> None:
        self.program = program
        read = {
            step.node.layer.name: step.activations for step in Trace(program.network, codes[None])
        }
        self._tensors = arrange_tensors(program, read)

    def walk(self, memory: Memory, latency: ChipLatency = CHIP_LATENCY) -> tuple[int, int, Work]:
        """Return cycles, pairs, and every event and burst.

        Raises
        ------
        RuntimeError
            The transfer list would make the engine wait for ever.
        """
        work = arrange_walk(self.program, memory, latency)
        clusters = arrange_clusters(self.program.config)
        cycles = int(walk_list(work, self._tensors, clusters))
        if cycles < 0:
            raise RuntimeError(f"the transfer list of {self.program.network.name} hangs")
        return cycles, int(clusters.scalars[:, 4].sum()), work

    def run(self, memory: Memory) -> ChipResult:
        """Count every cycle under a memory."""
        cycles, pairs, work = self.walk(memory)
        program, config = self.program, self.program.config
        layers = []
        for compiled in program.layers:
            mine = slice(compiled.first_tile, compiled.first_tile + len(compiled.tiles))
            sums = work.counters[mine].sum(axis=0).tolist()
            layers.append(
                ChipLayerResult(
                    name=compiled.layer.name,
                    tile_ends=tuple(work.tiles["done"][mine].tolist()),
                    cycles=sum(sums),
                    counters=dict(zip(TILE_COUNTERS, sums, strict=True)),
                )
            )
        streams = {}
        for kind in Kind:
            of_kind = work.bursts["kind"] == kind
            if of_kind.any():
                streams[kind.name.lower()] = Stream(
                    bytes=int(work.bursts["length"][of_kind].sum()), bursts=int(of_kind.sum())
                )
        return ChipResult(
            network=program.network.name,
            source=program.network.source,
            chip=config.name,
            memory=str(memory),
            multipliers=config.multipliers,
            cycles=cycles,
            pairs=pairs,
            dma_busy_cycles=int(work.memory_state[3]),
            layers=tuple(layers),
            streams=streams,
        )


def choose_chip(chip: ChipConfig | str | Path) -> ChipConfig:
    """Return a chip by its preset's name or its TOML file.

    Raises
    ------
    ConfigError
        There is none of this name, or the file is none of a chip.
    """
    if isinstance(chip, ChipConfig):
        return chip
    if str(chip).endswith(".toml"):
        return ChipConfig.from_toml(chip)
    return ChipConfig.preset(str(chip))


def simulate_chip(
    network: LoadedNetwork | Network,
    chip: ChipConfig | str | Path = "board",
    memory: Memory | str = "rate:16,30",
    *,
    codes: Codes | None = None,
    skip: SkipMode = SkipMode.BOTH,
) -> ChipResult:
    """Run a whole network from memory on a chip, in one start, and count every cycle.

    Parameters
    ----------
    network : LoadedNetwork or Network
        As ``accel.load`` returns it.
    chip : ChipConfig, str or path
        A chip, its preset's name, or its TOML file.
    memory : Memory or str
        ``ideal``, ``rate:BYTES,LATENCY``, ``sdram``, or ``sdram:`` with all its parameters.
    codes : ndarray of int8 or uint8, axes y, x, channel, optional
        The network's input; the loaded network's first image where None.
    skip : SkipMode
        Which zeros the clusters skip.

    Returns
    -------
    ChipResult
        It prints as a table.

    Raises
    ------
    CapacityError
        A layer does not fit the chip.
    UserError
        The chip can't run the network, or an argument is not what it should be.
    """
    if not isinstance(network, Network):
        codes = network.images[0] if codes is None else codes
        network = network.network
    if codes is None:
        raise TypeError("codes must be given with a network that has no images")
    if not isinstance(memory, Memory):
        memory = Memory.parse(memory)
    program = compile_network(network, choose_chip(chip), skip)
    return ChipImage(program, codes).run(memory)
