"""`accel compress`: containers written, and what weights take, stage by stage and by format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accel import cli_network
from accel.cli_output import STANDARD_OUTPUT, check_writable, show, status, write_whole
from golden.errors import UserError

if TYPE_CHECKING:
    from rich.table import Table

    from golden.network import Network
    from sw.coding.codebook import CodebookOptions
    from sw.coding.stages import LayerCodes, LayerStages

__all__ = ["compress"]


@dataclass(frozen=True)
class _Coding:
    """A network's weights in one representation."""

    title: str
    layers: list[LayerCodes]


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
    json: str | None,
    csv: str | None,
) -> None:
    """Write a container, or report the sizes of a network's weights, or both."""
    outputs = [str(path) for path in (output, json, csv) if path is not None]
    if len(set(outputs)) < len(outputs):
        raise UserError(f"Outputs of -o, --json and --csv must differ, not {outputs}")
    if output is not None and codebook is None and json is None and csv is None:
        cli_network.compress(Path(name), output, images, density)
        return
    if output is not None and output.suffix != ".safetensors":
        raise UserError(f"Output {output} must end in .safetensors")
    for path in (output, json, csv):
        check_writable(path)
    options = None if codebook is None else _options(codebook, start, region_filters)
    _check_coder(entropy, index_bits)
    with status(f"Compressing {name}"):
        network, codings, notes = _load(name, images, density, options, output is not None)
    from sw.coding.stages import measure, total

    measured = []
    for coding in codings:
        layers = [measure(layer, index_bits, entropy) for layer in coding.layers]
        measured.append((coding.title, [*layers, total(layers)]))
    if output is not None and network is not None:
        from sw import container

        container.save(network, output)
        notes.append(f"{output}: {output.stat().st_size} bytes, int8")
    stated = {"network": name, "entropy": entropy}
    if json is not None:
        write_whole(json, _json_text(stated, measured, notes))
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
    show(*notes)


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


def _load(
    name: str,
    images: Path | None,
    density: float | None,
    options: CodebookOptions | None,
    wanted: bool,
) -> tuple[Network | None, list[_Coding], list[str]]:
    """Return the int8 network where there is one, its weights' representations, and notes."""
    from sw.coding.sources import int8_layers, share_network

    if name.endswith(".onnx") and options is not None:
        return _load_model(Path(name), images, density, options, wanted)
    network = _network(name, images, density)
    codings, notes = [], [f"Source: {network.source}"]
    if options is not None:
        network, layers, short = share_network(network, options)
        codings.append(_Coding(f"Codebook of {_bits(options)} bits, of the int8 weights", layers))
        notes += _short_note(short)
    codings.append(_Coding("int8, as the machine holds them", int8_layers(network)))
    return network, codings, notes


def _network(name: str, images: Path | None, density: float | None) -> Network:
    if not name.endswith(".safetensors"):
        return cli_network.load(name, images, density)[0]
    if density is not None:
        raise UserError(
            f"Density must be left out for {name}: only a float .onnx model can be pruned"
        )
    from sw import container

    return container.load(name)


def _load_model(
    path: Path,
    images: Path | None,
    density: float | None,
    options: CodebookOptions,
    wanted: bool,
) -> tuple[Network | None, list[_Coding], list[str]]:
    if not path.is_file():
        raise UserError(f"Model {path} must be a file")
    if wanted and images is None:
        raise UserError(f"Calibration images for {path} must be given by --images")
    from sw.coding.sources import int8_layers, share_model
    from sw.compress import compress
    from sw.images import load_images
    from sw.onnx_file import is_quantised, load_model
    from sw.prepare import prepare
    from sw.prune import prune

    calibration = None if images is None else load_images(images)
    model = load_model(path)
    if is_quantised(model):
        raise UserError(f"Model {path} must be float to get codebooks, not quantised already")
    model, steps = prepare(model), [path.name]
    if density is not None:
        model = prune(model, density)
        steps.append("pruned by magnitude in one shot, without retraining")
    model, layers, short = share_model(model, options)
    steps.append(options.describe())
    codings = [_Coding(f"Codebook of {_bits(options)} bits", layers)]
    notes = [f"Source: {'; '.join(steps)}", *_short_note(short)]
    if calibration is None:
        notes.append("int8 weights of the machine need calibration images: --images")
        return None, codings, notes
    network = compress(model, calibration, name=path.stem, source="; ".join(steps))
    codings.append(_Coding("int8, decoded as the machine holds them", int8_layers(network)))
    return network, codings, notes


def _bits(options: CodebookOptions) -> str:
    regions = f", a region {options.region_filters} filters," if options.region_filters else ""
    return f"{options.convolution_bits} and {options.connected_bits}{regions}"


def _short_note(short: Sequence[str]) -> list[str]:
    if not short:
        return []
    return [f"Codebooks smaller than their bits allow, for want of weights: {', '.join(short)}"]


# -- output ---------------------------------------------------------------------------------------


def _json_text(
    stated: dict[str, Any], measured: list[tuple[str, list[LayerStages]]], notes: list[str]
) -> str:
    import json

    representations = [
        {"weights_as": title, "layers": [layer.row() for layer in layers]}
        for title, layers in measured
    ]
    document = {**stated, "notes": notes, "representations": representations}
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
