"""What a network's weights take, stage by stage and format by format, and its container."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accel import api
from accel.loading import given_images
from accel.studies.data import DataOptions
from golden.errors import UserError
from golden.network import Network
from sw.coding.codebook import CodebookOptions
from sw.coding.coded_file import CodedFile, save
from sw.coding.relative_index import IndexBits, parse_bits
from sw.coding.sources import int8_layers, share_model, share_network
from sw.coding.stages import ENTROPY_CODERS, LayerCodes, LayerStages, measure, total

if TYPE_CHECKING:
    from sw.images import Images
    from sw.training.data.batches import Split

__all__ = [
    "CodedNetwork",
    "FineTuning",
    "Representation",
    "Sizes",
    "Weights",
    "check_coder",
    "code_network",
    "fine_tune",
    "load_calibration",
    "measure_sizes",
    "parse_bits",
    "read_codebook",
    "save_coded",
    "save_container",
]


@dataclass(frozen=True)
class Weights:
    """A network's weights in one representation."""

    title: str
    layers: list[LayerCodes]


@dataclass(frozen=True)
class CodedNetwork:
    """A network in all its representations, int8 if there are images to calibrate with."""

    name: str
    weights: list[Weights]
    notes: list[str]
    source: str
    network: Network | None = None
    accuracy: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """How codebooks are trained, and with what.

    Parameters
    ----------
    epochs : int, optional
        Not at all where None.
    rate : float, optional
        Learning rate; a default of ``sw.training.codebooks``.
    data : DataOptions
        Without fine-tuning its images calibrate a .pt model, where it names a folder.
    checkpoints : path, optional
        Folder; ``build/compressed/NAME-BITS-BITS``.

    Raises
    ------
    UserError
        A number is out of range.
    """

    epochs: int | None = None
    rate: float | None = None
    data: DataOptions = field(default_factory=DataOptions)
    seed: int = 1
    checkpoints: Path | None = None

    def __post_init__(self) -> None:
        if self.epochs is not None and self.epochs < 1:
            raise UserError(f"Epochs of --fine-tune must be at least 1, not {self.epochs}")
        if self.rate is not None and not self.rate > 0:
            raise UserError(f"Learning rate must be above 0, not {self.rate}")


@dataclass(frozen=True)
class Representation:
    """Sizes of one representation: of each layer, and of all."""

    title: str
    layers: list[LayerStages]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What a network's weights take in each representation.

    Parameters
    ----------
    network : str
    entropy : str
        The entropy coder.
    representations : list of Representation
    notes : list of str
        Where the weights come from, and what was written.
    accuracy : dict of str to float
        On test data, where it was measured.
    """

    network: str
    entropy: str
    representations: list[Representation]
    notes: list[str]
    accuracy: dict[str, float]

    def rows(self) -> list[dict[str, Any]]:
        """Return a flat row for each representation and layer."""
        return [
            {
                "network": self.network,
                "entropy": self.entropy,
                "weights_as": each.title,
                **layer.row(),
            }
            for each in self.representations
            for layer in each.layers
        ]

    def to_json(self) -> str:
        """Return all as JSON text."""
        document: dict[str, Any] = {
            "network": self.network,
            "entropy": self.entropy,
            "notes": self.notes,
            "representations": [
                {"weights_as": each.title, "layers": [layer.row() for layer in each.layers]}
                for each in self.representations
            ],
        }
        if self.accuracy:
            document["accuracy"] = self.accuracy
        return json.dumps(document, indent=1) + "\n"

    def to_csv(self) -> str:
        """Return ``rows`` as CSV text."""
        from accel.results import csv_text

        return csv_text(self.rows())


# -- how ------------------------------------------------------------------------------------


def read_codebook(text: str, start: str, region_filters: int | None) -> CodebookOptions:
    """Read ``8,5``: bits in convolutions, and in fully connected layers.

    Raises
    ------
    UserError
        It is not two numbers, or one is out of range.
    """
    try:
        convolution, connected = (int(part) for part in text.split(","))
    except ValueError:
        raise UserError(
            "Codebook must be bits in convolutions and bits in fully connected layers, "
            f"such as 8,5, not {text!r}"
        ) from None
    return CodebookOptions(
        convolution_bits=convolution,
        connected_bits=connected,
        start=start,
        region_filters=region_filters,
    )


def check_coder(entropy: str) -> None:
    """Refuse an entropy coder that does not exist.

    Raises
    ------
    UserError
        There is no such coder.
    """
    if entropy not in ENTROPY_CODERS:
        accepted = ", ".join(ENTROPY_CODERS)
        raise UserError(f"Entropy coder must be one of {accepted}, not {entropy!r}")


def load_calibration(name: str, images: Path | None, how: FineTuning) -> Path | Images | None:
    """Return the images that calibrate a float model's int8: as given, or a data set's.

    Raises
    ------
    UserError
        They can't be read, or the network takes no data set.
    """
    if images is not None or how.data.folder is None:
        return images
    if not name.endswith(".pt"):
        raise UserError(f"Option --data must be left out for {name}: only a .pt model takes it")
    return _split(Path(name), how).calibration


# -- coding ---------------------------------------------------------------------------------


def code_network(
    name: str,
    *,
    images: Path | None = None,
    calibration: Path | Images | None = None,
    density: float | None = None,
    codebook: CodebookOptions | None = None,
    need_int8: bool = False,
    given: Mapping[str, Any] | None = None,
) -> CodedNetwork:
    """Return a network's weights in each representation, and the int8 network if there is one.

    Parameters
    ----------
    name : str
        As ``accel.load`` takes it.
    images : path, optional
        Of the network.
    calibration : path, or ndarray of float32, axes n, c, y, x, optional
        Images for a float model's int8.
    codebook : CodebookOptions, optional
        Share weights so.
    need_int8 : bool
        Refuse a float model that can't be calibrated.
    given : mapping of str to object, optional
        The input's shape, and what becomes of images (``accel.load``).

    Raises
    ------
    UserError
        A file can't be read, or an option does not apply.
    """
    if name.endswith(api.MODELS) and codebook is not None:
        return _code_model(Path(name), calibration, density, codebook, need_int8, given or {})
    if name.endswith(api.MODELS):
        network = api.compress(name, calibration, density, **(given or {}))
    else:
        network = _load(name, images, density, given or {})
    weights, notes = [], [f"Source: {network.source}"]
    if codebook is not None:
        network, layers, short = share_network(network, codebook)
        weights.append(Weights(f"Codebook of {_bits(codebook)} bits, of the int8 weights", layers))
        notes += _short_note(short)
    weights.append(Weights("int8, as the machine holds them", int8_layers(network)))
    return CodedNetwork(name, weights, notes, network.source, network)


def _load(
    name: str, images: Path | None, density: float | None, given: Mapping[str, Any]
) -> Network:
    if not name.endswith(".safetensors"):
        return api.load(name, images, density, **given).network
    if density is not None:
        raise UserError(
            f"Density must be left out for {name}: only a float .onnx or .pt model can be pruned"
        )
    from sw.storage import container

    return container.load(name)


def _code_model(
    path: Path,
    calibration: Path | Images | None,
    density: float | None,
    codebook: CodebookOptions,
    need_int8: bool,
    given: Mapping[str, Any],
) -> CodedNetwork:
    """Give a float model codebooks, and then quantise it."""
    if not path.is_file():
        raise UserError(f"Model {path} must be a file")
    data = " or --data" if path.suffix == ".pt" else ""
    if need_int8 and calibration is None:
        raise UserError(f"Calibration images for {path} must be given by --images{data}")
    from sw.compress import compress
    from sw.onnx.file import is_quantised
    from sw.onnx.prepare import prepare
    from sw.prune import prune

    options = dict(given)
    model = api.load_model(path, options.pop("input_shape", None))
    images = None if calibration is None else given_images(calibration, options, model)
    if is_quantised(model):
        raise UserError(f"Model {path} must be float to get codebooks, not quantised already")
    model, steps = prepare(model), [path.name]
    if density is not None:
        model = prune(model, density)
        steps.append("pruned by magnitude in one shot, without retraining")
    model, layers, short = share_model(model, codebook)
    source = "; ".join([*steps, codebook.describe()])
    weights = [Weights(f"Codebook of {_bits(codebook)} bits", layers)]
    notes = [f"Source: {source}", *_short_note(short)]
    if images is None:
        notes.append(f"int8 weights of the machine need calibration images: --images{data}")
        return CodedNetwork(str(path), weights, notes, source)
    network = compress(model, images, name=path.stem, source=source)
    weights.append(Weights("int8, decoded as the machine holds them", int8_layers(network)))
    return CodedNetwork(str(path), weights, notes, source, network)


def fine_tune(path: Path, codebook: CodebookOptions, how: FineTuning) -> CodedNetwork:
    """Give a .pt model codebooks, train them, and measure what became of its accuracy.

    Raises
    ------
    UserError
        The model or the data set can't be read, or PyTorch is not installed.
    """
    try:
        from sw.training import codebooks
    except ImportError:
        raise UserError(
            "Fine-tuning needs PyTorch, which is not installed: pip install 'innerjoin[train]'"
        ) from None
    if not path.is_file():
        raise UserError(f"Model {path} must be a file")
    place = f"{path.stem}-{codebook.convolution_bits}-{codebook.connected_bits}"
    found = codebooks.compress(
        path,
        codebook,
        _split(path, how),
        how.checkpoints or Path("build/compressed") / place,
        epochs=how.epochs or 1,
        rate=codebooks.RATE if how.rate is None else how.rate,
        seed=how.seed,
        settings=how.data.settings(),
    )
    network = found.network
    weights = [
        Weights(f"Codebook of {_bits(codebook)} bits, fine-tuned", found.layers),
        Weights("int8, decoded as the machine holds them", int8_layers(network)),
    ]
    notes = [f"Source: {network.source}", *_short_note(found.short)]
    return CodedNetwork(str(path), weights, notes, network.source, network, found.accuracy)


def save_container(network: Network, path: Path) -> int:
    """Write a network as a container; return its size in bytes.

    Raises
    ------
    UserError
        The file can't be written.
    """
    from sw.storage import container

    container.save(network, path)
    return path.stat().st_size


def measure_sizes(coded: CodedNetwork, index_bits: IndexBits, entropy: str) -> Sizes:
    """Return the sizes of all representations, a total behind the layers of each."""
    representations = []
    for each in coded.weights:
        layers = [measure(layer, index_bits.of(layer.connected), entropy) for layer in each.layers]
        representations.append(Representation(each.title, [*layers, total(layers)]))
    return Sizes(
        network=coded.name,
        entropy=entropy,
        representations=representations,
        notes=list(coded.notes),
        accuracy=coded.accuracy,
    )


def save_coded(coded: CodedNetwork, path: Path, index_bits: IndexBits, entropy: str) -> int:
    """Write the first representation's coded weights; return their size in bytes.

    Raises
    ------
    UserError
        The file can't be written.
    """
    file = CodedFile(
        name=Path(coded.name).stem,
        source=coded.source,
        index_bits=index_bits,
        entropy=entropy,
        layers=coded.weights[0].layers,
    )
    return save(file, path)


def _split(path: Path, how: FineTuning) -> Split:
    """Return the data for a .pt model's network."""
    try:
        from sw.training.models import load_model
        from sw.training.networks import find
    except ImportError:
        raise UserError(
            "A data set needs PyTorch, which is not installed: pip install 'innerjoin[train]'"
        ) from None
    return how.data.split(find(load_model(path)[1]))


def _bits(options: CodebookOptions) -> str:
    regions = f", a region {options.region_filters} filters," if options.region_filters else ""
    return f"{options.convolution_bits} and {options.connected_bits}{regions}"


def _short_note(short: Sequence[str]) -> list[str]:
    if not short:
        return []
    return [f"Codebooks smaller than their bits allow, for want of weights: {', '.join(short)}"]
