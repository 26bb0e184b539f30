"""A whole network on a chip's hardware beside the golden model and the simulator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from accel.chip.simulator import ChipImage, choose_chip
from accel.verification.layers import Difference
from golden.chip.compiler import compile_network
from golden.chip.config import ChipConfig
from golden.chip.formats import Kind
from golden.chip.interpreter import run_image
from golden.chip.memory import Memory
from golden.chip.program import ChipProgram
from golden.errors import UserError
from golden.machines.cluster.config import SkipMode

if TYPE_CHECKING:
    from accel.api import LoadedNetwork
    from accel.chip.results import ChipResult
    from rtl.chip.cosim import ChipRun

__all__ = ["ChipVerification", "verify_chip"]

#: Simulators that run a whole network.
_SIMULATORS = ("icarus", "verilator")
#: Cycles beyond those of the simulator after which a chip is not done in time.
_SLACK = 10_000

#: Address, bytes, cycles of request and response.
_Bursts = list[tuple[int, int, int, int]]


@dataclass(frozen=True, kw_only=True)
class ChipVerification:
    """What was compared of a network on a chip.

    Parameters
    ----------
    network, source, chip, memory, simulator : str
    image, multipliers : int
    rows : tuple of Difference
        Codes of all maps that are stored, every counter, every burst's request and response.
    first : tuple of str
        What differs first, in words; empty where nothing does.
    """

    network: str
    source: str
    chip: str
    memory: str
    simulator: str
    image: int
    multipliers: int
    rows: tuple[Difference, ...]
    first: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether every bit and every cycle is the same."""
        return not any(row.differ for row in self.rows)

    def __str__(self) -> str:
        from accel.report.text import chip_verification_report, render

        return render(chip_verification_report(self)).removesuffix("\n")

    __repr__ = __str__


def verify_chip(
    net: LoadedNetwork,
    chip: ChipConfig | str | Path,
    memory: Memory | str,
    simulator: str = "verilator",
    *,
    image: int = 0,
    skip: SkipMode = SkipMode.BOTH,
) -> ChipVerification:
    """Run a network on a chip's hardware, from one start, and compare all.

    Parameters
    ----------
    chip : ChipConfig, str or path
        A chip, its preset's name, or its TOML file.
    memory : Memory or str
    simulator : str
        ``icarus`` or ``verilator``.
    image : int
        Which image, from 0.

    Raises
    ------
    CapacityError
        A layer does not fit the chip.
    HardwareError
        The hardware broke its contract.
    UserError
        The chip can't run the network, there is no such image or simulator, or a package that
        hardware needs is not installed.
    """
    if simulator not in _SIMULATORS:
        raise UserError(
            f"Simulator of a chip must be one of {', '.join(_SIMULATORS)}, not {simulator!r}"
        )
    if not 0 <= image < len(net.images):
        raise UserError(f"Image must be below {len(net.images)}, not {image}")
    try:
        from rtl.chip.cosim import run_chip
    except ModuleNotFoundError as error:
        raise UserError(
            f"Python package {error.name} must be installed: pip install -e '.[hardware]'"
        ) from None
    model = memory if isinstance(memory, Memory) else Memory.parse(memory)
    config, codes = choose_chip(chip), net.images[image]
    program = compile_network(net.network, config, skip)
    compiled = ChipImage(program, codes)
    simulated = compiled.run(model)
    _, _, work = compiled.walk(model)
    run = run_chip(program, codes, model, simulator, simulated.cycles + _SLACK)
    golden = program.memory(codes)
    run_image(config, golden)
    bursts = [tuple(burst[1:]) for burst in work.bursts.tolist()]
    rows, first = _compare_maps(program, golden, run)
    rows += _compare_counters(simulated, run)
    row, words = _compare_bursts(sorted(bursts, key=_by_request), run)
    return ChipVerification(
        network=net.network.name,
        source=net.network.source,
        chip=config.name,
        memory=str(model),
        simulator=simulator,
        image=image,
        multipliers=config.multipliers,
        rows=(*rows, row),
        first=(*first, *words),
    )


def _compare_maps(
    program: ChipProgram, golden: np.ndarray, run: ChipRun
) -> tuple[list[Difference], list[str]]:
    """Compare the codes of every map in memory, the input's too; and all that is no map."""
    first = []
    for compiled in program.layers:
        name = compiled.layer.output.name
        wanted, found = program.read(golden, name), program.read(run.octets, name)
        if not first and len(places := np.argwhere(wanted != found)):
            y, x, c = (int(index) for index in places[0])
            first.append(
                f"First code that differs: {name}, y {y}, x {x}, channel {c}: "
                f"golden {wanted[y, x, c]}, hardware {found[y, x, c]}"
            )
    row = Difference(
        what=f"sum of {golden.size} bytes of memory",
        golden=int(golden.sum(dtype=np.int64)),
        simulator=int(golden.sum(dtype=np.int64)),
        hardware=int(run.octets.sum(dtype=np.int64)),
        differ=int(np.sum(golden != run.octets)),
    )
    return [row], first


def _compare_counters(simulated: ChipResult, run: ChipRun) -> list[Difference]:
    wanted = {"cycles": simulated.cycles, "pairs": simulated.pairs, **simulated.counters}
    for kind in Kind:
        stream = simulated.streams.get(kind.name.lower())
        for what in ("bytes", "bursts"):
            wanted[f"{kind.name.lower()}_{what}"] = getattr(stream, what) if stream else 0
    return [
        Difference(
            what=name.replace("_", " "),
            golden=None,
            simulator=value,
            hardware=run.registers[name],
            differ=int(value != run.registers[name]),
        )
        for name, value in wanted.items()
    ]


def _compare_bursts(wanted: _Bursts, run: ChipRun) -> tuple[Difference, list[str]]:
    """Compare every request and response by its cycle."""
    found = sorted((burst[1:] for burst in run.bursts), key=_by_request)
    differ = [at for at, (a, b) in enumerate(zip(wanted, found, strict=False)) if a != b]
    first = []
    if differ:
        first.append(
            f"First burst that differs (address, bytes, cycles of request and response): "
            f"simulator {wanted[differ[0]]}, hardware {found[differ[0]]}"
        )
    row = Difference(
        what="cycles of requests and responses, summed",
        golden=None,
        simulator=sum(asked + there for _, _, asked, there in wanted),
        hardware=sum(asked + there for _, _, asked, there in found),
        differ=len(differ) + abs(len(wanted) - len(found)),
    )
    return row, first


def _by_request(burst: Sequence[int]) -> int:
    return burst[2]
