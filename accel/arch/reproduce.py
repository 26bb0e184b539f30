"""Papers' headline figures beside what the same comparison gives here.

Networks are the nearest that public facts allow: exact layers at published densities, masks
drawn at random. Nothing is tuned to a headline; where a figure is far off, ``Claim.differs`` says
which fact is not public or which effect is not modelled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from accel.arch import registry
from accel.arch.compare import Comparison, compare
from accel.arch.energy import EnergyTable
from golden.errors import UserError
from golden.network import Network

__all__ = ["CLAIMS", "Claim", "Finding", "Workbench", "papers", "reproduce"]

#: Returns a network and images for it by name: the command line gives that of ``sw.zoo``.
Loader = Callable[[str], tuple[Network, NDArray[np.int8 | np.uint8]]]
Progress = Callable[[int, int, str], None]


class Workbench:
    """Runs machines on networks, each pair once.

    Parameters
    ----------
    load : callable
        Returns a network and images by name.
    progress : callable, optional
        Called with layers done, layers in all, and what is next.
    """

    def __init__(self, load: Loader, progress: Progress | None = None) -> None:
        self._load = load
        self._progress = progress
        self._done: dict[tuple[str, str, int], Comparison] = {}

    @cached_property
    def _table(self) -> EnergyTable:
        return EnergyTable.load("45nm")

    def run(self, network: str, machine: str, multipliers: int) -> Comparison:
        """Return a machine's results on one image of a network."""
        key = network, machine, multipliers
        if key not in self._done:
            loaded, images = self._load(network)
            chosen = registry.load(machine).with_multipliers(multipliers)
            self._done[key] = compare([chosen], loaded, images[:1], self._table, self._progress)
        return self._done[key]

    def convolution_cycles(self, network: str, machine: str, multipliers: int) -> list[int]:
        """Return a machine's cycles on each convolution that is no fully connected layer."""
        layers = self.run(network, machine, multipliers).layers[machine]
        return [layer.cycles for layer in layers if layer.layer.startswith("conv")]


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


def _layers_mean(machine: str, over: str) -> Callable[[Workbench], float]:
    """Measure the geometric mean of the speed-ups on AlexNet's and VGG-16's convolutions."""

    def measure(bench: Workbench) -> float:
        ratios = [
            theirs / mine
            for network in _HAN
            for theirs, mine in zip(
                bench.convolution_cycles(network, over, _MULTIPLIERS),
                bench.convolution_cycles(network, machine, _MULTIPLIERS),
                strict=True,
            )
        ]
        return float(np.exp(np.mean(np.log(ratios))))

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
        differs=_SPARTEN_UNKNOWN,
    ),
    Claim(
        paper="scnn",
        what="SCNN over dense, 1024 multipliers, AlexNet's convolutions",
        figure=2.37,
        source="Parashar et al., ISCA'17, section 6.2",
        measure=_whole("scnn", "dense", "alexnet-published"),
        differs="",
    ),
    Claim(
        paper="scnn",
        what="SCNN over dense, 1024 multipliers, VGG-16's convolutions",
        figure=3.52,
        source="Parashar et al., ISCA'17, section 6.2",
        measure=_whole("scnn", "dense", "vgg16-published"),
        differs="",
    ),
)
