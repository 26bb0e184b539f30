"""Papers' headline figures beside what the same comparison gives here.

Networks are the nearest that public facts allow: exact layers at published densities, masks
drawn at random. Nothing is tuned to a headline; where a figure is far off, ``Claim.differs`` says
which fact is not public or which effect is not modelled.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from accel import api
from accel.results import MachineResult
from accel.run import Progress
from golden.errors import UserError
from golden.machines.extensor import ExTensorConfig

__all__ = ["CLAIMS", "Claim", "Finding", "Workbench", "papers", "reproduce"]


class Workbench:
    """Runs machines on networks, each pair once.

    Parameters
    ----------
    progress : callable, optional
        Called with layers done, layers in all, and what is next.
    """

    def __init__(self, progress: Progress | None = None) -> None:
        self.load = cache(api.load)
        self._progress = progress
        self._done: dict[tuple[str, str, int], MachineResult] = {}

    def run(self, network: str, machine: str, multipliers: int) -> MachineResult:
        """Return a machine's results on one image of a network."""
        key = network, machine, multipliers
        if key not in self._done:
            found = api.compare(
                self.load(network), [machine], multipliers=multipliers, progress=self._progress
            )
            (self._done[key],) = found.machines
        return self._done[key]

    def convolution_cycles(self, network: str, machine: str, multipliers: int) -> list[int]:
        """Return a machine's cycles on each convolution that is no fully connected layer."""
        layers = self.run(network, machine, multipliers).layers
        return [layer.cycles for layer in layers if layer.name.startswith("conv")]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A paper's figure and how it is measured here.

    Parameters
    ----------
    paper : str
        Key of ``accel reproduce``.
    what : str
        What is compared with what, and on what.
    figure : float
        The paper's.
    source : str
        Where it stands.
    measure : callable
        Takes a ``Workbench`` and returns this project's figure.
    differs : str
        What is not public, or not modelled.
    """

    paper: str
    what: str
    figure: float
    source: str
    measure: Callable[[Workbench], float]
    differs: str


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A claim with what was found."""

    claim: Claim
    ours: float

    @property
    def ratio(self) -> float:
        """Ours over the paper's."""
        return self.ours / self.claim.figure


def papers() -> list[str]:
    """Return the papers that can be reproduced."""
    return list(dict.fromkeys(claim.paper for claim in CLAIMS))


def reproduce(paper: str, bench: Workbench) -> list[Finding]:
    """Measure every claim of a paper.

    Raises
    ------
    UserError
        There is no such paper.
    """
    if paper not in papers():
        raise UserError(f"Paper must be one of {', '.join(papers())}, not {paper!r}")
    return [
        Finding(claim=claim, ours=claim.measure(bench)) for claim in CLAIMS if claim.paper == paper
    ]


_HAN = ("alexnet-published", "vgg16-published")
#: Of SparTen's large configuration and of SCNN.
_MULTIPLIERS = 1024
#: ExTensor's 68.256 GB/s at 1 GHz.
_DRAM_BYTES_PER_CYCLE = 68.256


def _layers_mean(
    machine: str, over: str, multipliers: int = _MULTIPLIERS, suffix: str = ""
) -> Callable[[Workbench], float]:
    """Measure the geometric mean of the speed-ups on AlexNet's and VGG-16's convolutions.

    The first machine takes the networks whose names end in ``suffix``.
    """

    def measure(bench: Workbench) -> float:
        ratios = [
            theirs / mine
            for network in _HAN
            for theirs, mine in zip(
                bench.convolution_cycles(network, over, multipliers),
                bench.convolution_cycles(network + suffix, machine, multipliers),
                strict=True,
            )
        ]
        return float(np.exp(np.mean(np.log(ratios))))

    return measure


def _tiled(network: str) -> Callable[[Workbench], float]:
    """Measure SCNN's speed-up over a dense machine with its tiles, like the paper's DCNN."""

    def measure(bench: Workbench) -> float:
        loaded = bench.load(network).network
        shapes = [node.layer for node in loaded.convolutions if node.layer.name.startswith("conv")]
        # 8 x 8 PEs of 16 multipliers, each with its own tile of the output.
        dense = sum(
            math.ceil(
                math.ceil(shape.out_height / 8)
                * math.ceil(shape.out_width / 8)
                * shape.out_channels
                * shape.taps
                * shape.group_channels
                / 16
            )
            for shape in shapes
        )
        return dense / sum(bench.convolution_cycles(network, "scnn", _MULTIPLIERS))

    return measure


def _squared(size: int, nonzeros: int) -> Callable[[Workbench], float]:
    """Measure the cycles of a random square matrix times itself on the paper's ExTensor."""

    def measure(bench: Workbench) -> float:
        from accel.machines.extensor.sparse_kernels import scipy_sparse, spmspm

        draws = np.random.default_rng(1).integers(0, size, (2, nonzeros))
        matrix = scipy_sparse().coo_array((np.ones(nonzeros), tuple(draws)), shape=(size, size))
        config = ExTensorConfig.preset("paper")
        return float(spmspm(config, matrix, matrix, _DRAM_BYTES_PER_CYCLE).cycles)

    return measure


def _whole(machine: str, over: str, network: str) -> Callable[[Workbench], float]:
    """Measure the speed-up on all convolutions of a network."""

    def measure(bench: Workbench) -> float:
        mine, theirs = (
            sum(bench.convolution_cycles(network, each, _MULTIPLIERS)) for each in (machine, over)
        )
        return theirs / mine

    return measure


_SPARTEN_LAYERS = "geometric mean over the 18 convolutions of AlexNet and VGG-16"
_SPARTEN_UNKNOWN = (
    "The paper's table of densities, its third network (a pruned GoogLeNet) and how its mean is "
    "formed are not public; masks here are random at Han et al.'s densities"
)

_CONVOLUTIONS = _SPARTEN_LAYERS
_EXTENSOR_UNKNOWN = (
    "The abstract's 3.4 times a server CPU can't be measured: no CPU of its kind, and its "
    "bandwidth scaling is not public; so cycles are compared. Non-zeros here are evenly random, "
    "so that hardly a pair of a tile's rows and columns, a cycle each at least, has a product; "
    "those of the real matrix are not. Tiles of 128 coordinates are one model's, others have 32. "
    "The paper spreads the reduction axis over PEs, this machine blocks of the output"
)
_SCNN_UNKNOWN = (
    "The paper gives no densities in numbers; masks here are random at Han et al.'s. Depth of "
    "the queues before the accumulator banks and the storage by stride are ours (docs/scnn.md)"
)

CLAIMS: tuple[Claim, ...] = (
    Claim(
        paper="sparten",
        what=f"SparTen (GB-H) over dense, 1024 multipliers, {_SPARTEN_LAYERS}",
        figure=4.7,
        source="Gondimalla et al., MICRO'19, abstract",
        measure=_layers_mean("sparten", "dense"),
        differs=(
            f"{_SPARTEN_UNKNOWN}. At those densities no machine can exceed 4.77 times an ideal "
            "dense one, and the dense machine here is nearly ideal, each layer with the best "
            "mapping; the paper's is not described"
        ),
    ),
    Claim(
        paper="sparten",
        what=f"SparTen (GB-H) over one-sided (weights), 1024 multipliers, {_SPARTEN_LAYERS}",
        figure=1.8,
        source="Gondimalla et al., MICRO'19, abstract",
        measure=_layers_mean("sparten", "one-sided-weights"),
        differs=(
            f"{_SPARTEN_UNKNOWN}. Which side its one-sided machine skips is not said; "
            "here it skips weights, output-major and balanced"
        ),
    ),
    Claim(
        paper="sparten",
        what=f"SparTen (GB-H) over SCNN, 1024 multipliers, {_SPARTEN_LAYERS}",
        figure=3.0,
        source="Gondimalla et al., MICRO'19, abstract",
        measure=_layers_mean("sparten", "scnn"),
        differs=(
            f"{_SPARTEN_UNKNOWN}. SCNN here has queues before its accumulator banks and stores "
            "channels by stride, which its paper leaves open; without queues it takes 1.67 times "
            "the cycles on VGG-16. SparTen's configuration of SCNN is not public"
        ),
    ),
    Claim(
        paper="cambricon-s",
        what="Cambricon-S on networks pruned in blocks over Cambricon-X on the same layers pruned "
        f"weight by weight, 256 multipliers, {_CONVOLUTIONS}",
        figure=1.71,
        source="Zhou et al., MICRO'18, abstract",
        measure=_layers_mean("cambricon-s", "cambricon-x", 256, "-blocks"),
        differs=(
            "The paper's blocks reach other densities than pruning by weight, layer by layer; "
            "they are not public, nor is the mean's form. Here both have Han et al.'s densities "
            "and random masks, which leave Cambricon-X's PEs well balanced, and values of 8 bits"
        ),
    ),
    Claim(
        paper="extensor",
        what="Cycles of A x A, A random with the size and non-zeros of wiki-Vote "
        "(8,297; 103,689), 128 PEs",
        figure=681_000,
        source="TeAAL's artefact (MICRO'23), figures of ExTensor's authors' simulator",
        measure=_squared(8297, 103_689),
        differs=_EXTENSOR_UNKNOWN,
    ),
    Claim(
        paper="extensor",
        what="Cycles of A x A, A random with the size and non-zeros of poisson3Da "
        "(13,514; 352,762), 128 PEs",
        figure=6_086_000,
        source="TeAAL's artefact (MICRO'23), figures of ExTensor's authors' simulator",
        measure=_squared(13_514, 352_762),
        differs=_EXTENSOR_UNKNOWN,
    ),
    *(
        Claim(
            paper="scnn",
            what=f"SCNN over {over}, 1024 multipliers, {title}'s convolutions",
            figure=figure,
            source="Parashar et al., ISCA'17, section 6.2",
            measure=measure,
            differs=differs,
        )
        for title, network, figure in (
            ("AlexNet", "alexnet-published", 2.37),
            ("VGG-16", "vgg16-published", 3.52),
        )
        for over, measure, differs in (
            ("a dense machine with its tiles", _tiled(network), _SCNN_UNKNOWN),
            (
                "dense",
                _whole("scnn", "dense", network),
                "The paper's dense machine tiles the output over 8 x 8 PEs as SCNN does, and "
                "loses much of small maps; the one here takes the best mapping of each layer",
            ),
        )
    ),
)
