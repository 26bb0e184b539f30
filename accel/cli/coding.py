"""`accel compress`: containers written, and what weights take, stage by stage and by format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accel.cli import network as cli_network
from accel.cli.output import STANDARD_OUTPUT, check_writable, show, status, write_whole
from golden.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.table import Table

    from golden.network import Network
    from sw.coding.codebook import CodebookOptions
    from sw.coding.stages import LayerCodes, LayerStages
    from sw.training.data import Split

__all__ = ["FineTuning", "compress"]


@dataclass(frozen=True)
class _Coding:
    """A network's weights in one representation."""

    title: str
    layers: list[LayerCodes]


@dataclass(frozen=True)
class _Coded:
    """A network in all its representations, int8 if there are images to calibrate with."""

    codings: list[_Coding]
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
    data : path, optional
        Folder of a data set; without fine-tuning its images calibrate a .pt model.
    images : int, optional
        Training images to use.
    checkpoints : path, optional
        Folder; ``build/compressed/NAME-BITS-BITS``.
    """

    epochs: int | None = None
    rate: float | None = None
    data: Path | None = None
    images: int | None = None
    seed: int = 1
    checkpoints: Path | None = None


def compress(
    name: str,
    *,
    output: Path | None,
    images: Path | None,
    density: float | None,
    codebook: str | None,
    start: str,
    region_filters: int | None,
    entropy: str,
    index_bits: int,
    coded: Path | None,
    fine_tuning: FineTuning,
    json: str | None,
    csv: str | None,
) -> None:
    """Write a container, or report the sizes of a network's weights, or both."""
    outputs = [str(path) for path in (output, coded, json, csv) if path is not None]
    if len(set(outputs)) < len(outputs):
        raise UserError(f"Outputs of -o, --coded, --json and --csv must differ, not {outputs}")
    _check_fine_tuning(fine_tuning, name, codebook, images, density)
    if output is not None and codebook is None and not (coded or json or csv):
        check_writable(output)
        calibration = _calibration(name, images, fine_tuning)
        cli_network.compress(Path(name), output, calibration, density)
        return
    for path in (output, coded):
        if path is not None and path.suffix != ".safetensors":
            raise UserError(f"Output {path} must end in .safetensors")
    for path in (output, coded, json, csv):
        check_writable(path)
    options = None if codebook is None else _options(codebook, start, region_filters)
    _check_coder(entropy, index_bits)
    if fine_tuning.epochs is not None and options is not None:
        found = _fine_tune(Path(name), options, fine_tuning)
    else:
        calibration = _calibration(name, images, fine_tuning)
        with status(f"Compressing {name}"):
            found = _load(name, images, calibration, density, options, output is not None)
    from sw.coding.stages import measure, total

    notes, measured = found.notes, []
    for coding in found.codings:
        layers = [measure(layer, index_bits, entropy) for layer in coding.layers]
        measured.append((coding.title, [*layers, total(layers)]))
    if output is not None and found.network is not None:
        from sw.storage import container

        container.save(found.network, output)
        notes.append(f"{output}: {output.stat().st_size} bytes, int8")
    if coded is not None:
        from sw.coding.coded_file import CodedFile, save

        size = save(
            CodedFile(
                name=Path(name).stem,
                source=found.source,
                index_bits=index_bits,
                entropy=entropy,
                layers=found.codings[0].layers,
            ),
            coded,
        )
        notes.append(
            f"{coded}: {size} bytes of weights ({measured[0][1][-1].coded_bits} bits, each layer "
            f"filled up to bytes) and {coded.stat().st_size - size} of header"
        )
    stated = {"network": name, "entropy": entropy}
    if json is not None:
        write_whole(json, _json_text(stated, measured, notes, found.accuracy))
    if csv is not None:
        from accel.results import csv_text

        rows = [
            {**stated, "weights_as": title, **layer.row()}
            for title, layers in measured
            for layer in layers
        ]
        write_whole(csv, csv_text(rows))
    if STANDARD_OUTPUT in (json, csv):
        return
    tables = [
        table
        for title, layers in measured
        for table in (_stages_table(title, layers, entropy), _formats_table(title, layers))
    ]
    show(f"{name}: shares are of 32-bit weights, {measured[0][1][-1].float_bits} bits.", *tables)
    if found.accuracy:
        show(_accuracy_table(found.accuracy))
    show(*notes)


def _check_fine_tuning(
    how: FineTuning, name: str, codebook: str | None, images: Path | None, density: float | None
) -> None:
    if how.images is not None and how.images < 1:
        raise UserError(f"Option --train-images must be 1 at least, not {how.images}")
    if how.epochs is None:
        return
    if how.epochs < 1:
        raise UserError(f"Epochs of --fine-tune must be 1 at least, not {how.epochs}")
    if how.rate is not None and not how.rate > 0:
        raise UserError(f"Learning rate must be above 0, not {how.rate}")
    if not name.endswith(".pt"):
        raise UserError(f"Model to fine-tune must be a .pt that `accel prune` wrote, not {name}")
    if codebook is None:
        raise UserError("Codebook to fine-tune must be given by --codebook")
    for option, value in (("density", density), ("images", images)):
        if value is not None:
            raise UserError(f"Option --{option} must be left out with --fine-tune, not {value}")


def _options(text: str, start: str, region_filters: int | None) -> CodebookOptions:
    from sw.coding.codebook import CodebookOptions

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


def _check_coder(entropy: str, index_bits: int) -> None:
    from sw.coding.relative_index import check_bits
    from sw.coding.stages import ENTROPY_CODERS

    if entropy not in ENTROPY_CODERS:
        accepted = ", ".join(ENTROPY_CODERS)
        raise UserError(f"Entropy coder must be one of {accepted}, not {entropy!r}")
    check_bits(index_bits)


def _calibration(name: str, images: Path | None, how: FineTuning) -> NDArray[np.float32] | None:
    """Return the images that calibrate a float model's int8: given, or a data set's."""
    if images is not None:
        from sw.images import load_images

        return load_images(images)
    if how.data is None:
        return None
    if not name.endswith(".pt"):
        raise UserError(f"Option --data must be left out for {name}: only a .pt model takes it")
    return _split(how).calibration


def _load(
    name: str,
    images: Path | None,
    calibration: NDArray[np.float32] | None,
    density: float | None,
    options: CodebookOptions | None,
    wanted: bool,
) -> _Coded:
    """Return the weights' representations, and the int8 network where there is one."""
    from sw.coding.sources import int8_layers, share_network

    if name.endswith(cli_network.MODELS) and options is not None:
        return _load_model(Path(name), calibration, density, options, wanted)
    if name.endswith(cli_network.MODELS):
        network = cli_network.compress_model(Path(name), calibration, density)
    else:
        network = _network(name, images, density)
    codings, notes = [], [f"Source: {network.source}"]
    if options is not None:
        network, layers, short = share_network(network, options)
        codings.append(_Coding(f"Codebook of {_bits(options)} bits, of the int8 weights", layers))
        notes += _short_note(short)
    codings.append(_Coding("int8, as the machine holds them", int8_layers(network)))
    return _Coded(codings, notes, network.source, network)


def _network(name: str, images: Path | None, density: float | None) -> Network:
    if not name.endswith(".safetensors"):
        return cli_network.load(name, images, density)[0]
    if density is not None:
        raise UserError(
            f"Density must be left out for {name}: only a float .onnx or .pt model can be pruned"
        )
    from sw.storage import container

    return container.load(name)


def _load_model(
    path: Path,
    calibration: NDArray[np.float32] | None,
    density: float | None,
    options: CodebookOptions,
    wanted: bool,
) -> _Coded:
    if not path.is_file():
        raise UserError(f"Model {path} must be a file")
    data = " or --data" if path.suffix == ".pt" else ""
    if wanted and calibration is None:
        raise UserError(f"Calibration images for {path} must be given by --images{data}")
    from sw.coding.sources import int8_layers, share_model
    from sw.compress import compress
    from sw.onnx.file import is_quantised
    from sw.onnx.prepare import prepare
    from sw.prune import prune

    model = cli_network.load_model(path)
    if is_quantised(model):
        raise UserError(f"Model {path} must be float to get codebooks, not quantised already")
    model, steps = prepare(model), [path.name]
    if density is not None:
        model = prune(model, density)
        steps.append("pruned by magnitude in one shot, without retraining")
    model, layers, short = share_model(model, options)
    source = "; ".join([*steps, options.describe()])
    codings = [_Coding(f"Codebook of {_bits(options)} bits", layers)]
    notes = [f"Source: {source}", *_short_note(short)]
    if calibration is None:
        notes.append(f"int8 weights of the machine need calibration images: --images{data}")
        return _Coded(codings, notes, source)
    network = compress(model, calibration, name=path.stem, source=source)
    codings.append(_Coding("int8, decoded as the machine holds them", int8_layers(network)))
    return _Coded(codings, notes, source, network)


def _fine_tune(path: Path, options: CodebookOptions, how: FineTuning) -> _Coded:
    """Give a .pt model codebooks, train them, and measure what became of its accuracy."""
    import logging

    from sw.coding.sources import int8_layers

    try:
        from sw.training import codebooks
    except ImportError:
        raise UserError(
            "Fine-tuning needs PyTorch, which is not installed: pip install 'innerjoin[train]'"
        ) from None
    if not path.is_file():
        raise UserError(f"Model {path} must be a file")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    place = f"{path.stem}-{options.convolution_bits}-{options.connected_bits}"
    found = codebooks.compress(
        path,
        options,
        _split(how),
        how.checkpoints or Path("build/compressed") / place,
        epochs=how.epochs or 1,
        rate=codebooks.RATE if how.rate is None else how.rate,
        seed=how.seed,
        settings={"images": how.images},
    )
    network = found.network
    title = f"Codebook of {_bits(options)} bits, fine-tuned"
    codings = [
        _Coding(title, found.layers),
        _Coding("int8, decoded as the machine holds them", int8_layers(network)),
    ]
    notes = [f"Source: {network.source}", *_short_note(found.short)]
    return _Coded(codings, notes, network.source, network, found.accuracy)


def _split(how: FineTuning) -> Split:
    try:
        from sw.training.data import split
    except ImportError:
        raise UserError(
            "A data set needs PyTorch, which is not installed: pip install 'innerjoin[train]'"
        ) from None
    from sw.training.dataset import FOLDER, load_dataset

    return split(load_dataset(how.data or FOLDER), how.images)


def _bits(options: CodebookOptions) -> str:
    regions = f", a region {options.region_filters} filters," if options.region_filters else ""
    return f"{options.convolution_bits} and {options.connected_bits}{regions}"


def _short_note(short: Sequence[str]) -> list[str]:
    if not short:
        return []
    return [f"Codebooks smaller than their bits allow, for want of weights: {', '.join(short)}"]


# -- output ---------------------------------------------------------------------------------------


def _json_text(
    stated: dict[str, Any],
    measured: list[tuple[str, list[LayerStages]]],
    notes: list[str],
    accuracy: dict[str, float],
) -> str:
    import json

    representations = [
        {"weights_as": title, "layers": [layer.row() for layer in layers]}
        for title, layers in measured
    ]
    document = {**stated, "notes": notes, "representations": representations}
    if accuracy:
        document["accuracy"] = accuracy
    return json.dumps(document, indent=1) + "\n"


def _percent(bits: float, layer: LayerStages) -> str:
    return f"{100 * bits / layer.float_bits:.2f}"


def _stages_table(title: str, layers: list[LayerStages], entropy: str) -> Table:
    """Return the table in the form of Deep Compression's tables 2 to 5."""
    from rich.table import Table

    coded = entropy != "none"
    table = Table("layer", title=title, title_justify="left")
    heads = ["weights", "kept\n%", "weight\nbits", "index\nbits"]
    heads += ["weight\nbits H", "index\nbits H"] if coded else []
    heads += ["P\nbits", "P\n%", "P+Q\nbits", "P+Q\n%"]
    for head in heads + (["P+Q+H\nbits", "P+Q+H\n%"] if coded else []):
        table.add_column(head, justify="right")
    for layer in layers:
        cells = [
            layer.name,
            str(layer.weights),
            f"{100 * layer.kept / layer.weights:.1f}",
            f"{layer.code_bits:.3g}",
            f"{layer.index_bits:.3g}",
        ]
        if coded:
            cells += [f"{layer.code_word_bits:.1f}", f"{layer.index_word_bits:.1f}"]
        stages = [layer.pruned_bits, layer.quantised_bits, *([layer.coded_bits] * coded)]
        for bits in stages:
            cells += [str(bits), _percent(bits, layer)]
        table.add_row(*cells)
    return table


def _accuracy_table(accuracy: dict[str, float]) -> Table:
    from rich.table import Table

    table = Table("accuracy on test data, %", *accuracy, title_justify="left")
    table.add_row("", *(f"{100 * value:.2f}" for value in accuracy.values()))
    return table


def _formats_table(title: str, layers: list[LayerStages]) -> Table:
    from rich.table import Table

    names = list(layers[0].formats_bits)
    table = Table("layer, %", title=f"{title}: formats", title_justify="left")
    for name in names:
        table.add_column(name, justify="right")
    for layer in layers:
        cells = [_percent(layer.formats_bits[name], layer) for name in names]
        table.add_row(layer.name, *cells)
    table.add_row("total, bits", *(str(layers[-1].formats_bits[name]) for name in names))
    return table
