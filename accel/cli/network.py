"""Which network and images a command means, and what it does with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from accel.cli.output import (
    STANDARD_OUTPUT,
    check_writable,
    progress_bar,
    show,
    status,
    write_whole,
)
from golden.counters import CLUSTER_COUNTERS, UNIT_COUNTERS
from golden.errors import UserError
from golden.machines.cluster.config import AcceleratorConfig, SkipMode

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from onnx import ModelProto

    from accel.results import NetworkResult
    from golden.network import Network

__all__ = ["MODELS", "compress", "compress_model", "list_networks", "load", "load_model", "run"]

#: Endings of float models: ONNX, and what `accel prune` writes.
MODELS = (".onnx", ".pt")


def load(
    name: str, images: Path | None, density: float | None
) -> tuple[Network, NDArray[np.int8 | np.uint8]]:
    """Return the network that an argument means, and images for it.

    Parameters
    ----------
    name : str
        A name of ``sw.networks.zoo``, or a path that ends in ``.safetensors``, ``.onnx`` or
        ``.pt``.
    images : path, optional
        A ``.npy`` file with axes n, c, y, x; a network of ``sw.networks.zoo`` brings its own.
    density : float, optional
        Prune a float model to this density.

    Returns
    -------
    network : Network
    codes : ndarray of int8 or uint8, axes n, y, x, channel

    Raises
    ------
    UserError
        A file can't be read or is not what it should be, or an option does not apply.
    """
    from sw.networks import zoo

    is_model, is_container = name.endswith(MODELS), name.endswith(".safetensors")
    if not (is_model or is_container):
        if name not in zoo.names():
            raise UserError(
                f"Network must be one of {', '.join(zoo.names())}, "
                f"or a .safetensors, .onnx or .pt file, not {name!r}"
            )
    elif images is None:
        raise UserError(f"Images for {name} must be given by --images")
    if density is not None and not is_model:
        raise UserError(
            f"Density must be left out for {name}: only a float .onnx or .pt model can be pruned"
        )
    if is_model:
        network = compress_model(Path(name), _images(images), density)
    elif is_container:
        from sw.storage import container

        network = container.load(name)
    else:
        network = zoo.load(name)
    if images is None:
        return network, zoo.images(name)
    from sw.images import image_codes, load_images

    return network, image_codes(load_images(images), network.input)


def _images(path: Path | None) -> NDArray[np.float32] | None:
    if path is None:
        return None
    from sw.images import load_images

    return load_images(path)


def compress_model(
    model: Path, calibration: NDArray[np.float32] | None, density: float | None
) -> Network:
    """Return a float model as an int8 network.

    Raises
    ------
    UserError
        There is no such model, or nothing to calibrate it with.
    """
    if not model.is_file():
        raise UserError(f"Model {model} must be a file")
    if calibration is None:
        data = " or --data" if model.suffix == ".pt" else ""
        raise UserError(f"Calibration images for {model} must be given by --images{data}")
    from sw.compress import compress

    return compress(load_model(model), calibration, density, name=model.stem, source=model.name)


def load_model(path: Path) -> ModelProto:
    """Return a .onnx model, or a .pt one exported as such.

    Raises
    ------
    UserError
        It can't be read, or PyTorch is needed and not installed.
    """
    if path.suffix != ".pt":
        from sw.onnx.file import load_model

        return load_model(path)
    try:
        from sw.training import models, networks
    except ImportError:
        raise UserError(
            f"Model {path} needs PyTorch, which is not installed: pip install 'innerjoin[train]'"
        ) from None
    model, network, _ = models.load_model(path)
    return models.to_onnx(model, networks.find(network).input_shape, path.stem)


def compress(
    model: Path, output: Path, calibration: NDArray[np.float32] | None, density: float | None
) -> None:
    """Turn a float model into a container on disk."""
    if output.suffix != ".safetensors":
        raise UserError(f"Output {output} must end in .safetensors")
    check_writable(output)
    network = compress_model(model, calibration, density)
    from sw.storage import container

    container.save(network, output)
    weights = sum(node.weights.size for node in network.convolutions)
    kept = sum(int((node.weights != 0).sum()) for node in network.convolutions)
    show(
        f"{output}: {len(network.convolutions)} layers, {kept} of {weights} weights "
        f"({100 * kept / max(weights, 1):.1f} %), {output.stat().st_size} bytes",
        f"Source: {network.source}",
    )


def list_networks() -> None:
    """Print the names of the shipped networks."""
    from sw.networks import zoo

    show(*zoo.names())


def run(
    name: str,
    *,
    machine: AcceleratorConfig,
    images: Path | None,
    limit: int,
    density: float | None,
    skips: tuple[SkipMode, ...],
    per_unit: bool,
    json: str | None,
    csv: str | None,
) -> None:
    """Simulate a network and print its tables, or write them as JSON and CSV."""
    if json is not None and json == csv:
        raise UserError(f"Outputs of --json and --csv must differ, not be both {json!r}")
    for path in (json, csv):
        check_writable(path)
    with status(f"Loading {name}"):
        network, codes = load(name, images, density)
    from accel.simulator import simulate

    with progress_bar(f"Simulating {network.name}") as progress:
        result = simulate(machine, network, codes[:limit], skips, progress, keep_counters=per_unit)
    if json is not None:
        write_whole(json, _json_text(result))
    if csv is not None:
        write_whole(csv, _csv_text(result))
    if STANDARD_OUTPUT in (json, csv):
        return
    from accel.report import network as report

    tables = [report.speed_table(result), report.time_table(result)]
    if len(result.skips) > 1:
        tables.append(report.modes_table(result))
    show(*report.heading(result), *tables)


def _json_text(result: NetworkResult) -> str:
    """Return the result as JSON, with every unit's counters where they were kept."""
    import json

    document = json.loads(result.to_json())
    units = {
        layer.name: {
            skip.value: {"clusters": kept.clusters.tolist(), "units": kept.units.tolist()}
            for skip, mode in layer.modes.items()
            if (kept := mode.counters) is not None
        }
        for layer in result.layers
    }
    if any(units.values()):
        document["counters"] = {
            "cluster_axes": ["cluster", list(CLUSTER_COUNTERS)],
            "unit_axes": ["cluster", "unit", list(UNIT_COUNTERS)],
            "layers": units,
        }
    return json.dumps(document, indent=1) + "\n"


def _csv_text(result: NetworkResult) -> str:
    """Return a row for each layer and mode; each says where its network comes from."""
    from accel.results import csv_text

    stated = {"network": result.network, "source": result.source, "machine": result.config.name}
    return csv_text([{**stated, **row} for row in result.rows()])
