"""What pruning would come to, of networks of torchvision or timm: ``sw.training.check``.

    python -m benchmarks.preflight [--from timm] [--preset small] [--side 64] [NETWORK ...]

Networks have fresh weights; the density is a tenth. The package must be installed beside; where
torchvision's compiled operators don't fit the build of PyTorch, its networks, which need none, are
taken all the same.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import accel
from golden.errors import UserError
from golden.network import Network
from sw.images import image_codes
from sw.training import check

#: Ten of torchvision, small ones.
NETWORKS = (
    "squeezenet1_1", "mobilenet_v2", "mobilenet_v3_small", "shufflenet_v2_x0_5", "mnasnet0_5",
    "resnet18", "googlenet", "efficientnet_b0", "densenet121", "regnet_y_400mf",
)  # fmt: skip
DENSITY = 0.1


def torchvision() -> Callable[[str], torch.nn.Module]:
    """Return what makes a network of torchvision by name, without its compiled operators."""
    register = torch.library.register_fake

    def without_operators(name: Any, *arguments: Any, **named: Any) -> Any:
        if str(name).startswith("torchvision::"):
            return lambda function: function
        return register(name, *arguments, **named)

    torch.library.register_fake = without_operators
    try:
        models = importlib.import_module("torchvision.models")
    finally:
        torch.library.register_fake = register
    extra = {"googlenet": {"aux_logits": False, "init_weights": True}}
    return lambda name: getattr(models, name)(weights=None, **extra.get(name, {}))


def timm() -> Callable[[str], torch.nn.Module]:
    """Return what makes a network of timm by name."""
    return importlib.import_module("timm").create_model


def row(name: str, model: torch.nn.Module, side: int, preset: str) -> list[str]:
    """Return what the report says of a network, and the seconds of CPU that it took."""

    def cycles(network: Network, images: NDArray[np.float32]) -> float:
        loaded = accel.LoadedNetwork(network, image_codes(images[:1], network.input))
        return accel.simulate(loaded, preset).total.cycles

    example = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    start = time.process_time()
    report = check(model.eval(), example, DENSITY, cycles=cycles)
    seconds = time.process_time() - start
    weights = sum(each.size for each in (*report.layers, *report.left_alone))
    notes = [each for each in (report.refused, report.unconvertible, *report.warnings) if each]
    return [
        name,
        f"{weights / 1e6:.2f}",
        f"{len(report.layers)}",
        f"{len(report.left_alone)}",
        f"{100 * report.density:.1f}",
        "yes" if report.ready else "no",
        f"{report.cycles:,.0f}" if report.cycles else "-",
        f"{seconds:.1f}",
        "; ".join(notes),
    ]


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.preflight")
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    packages = {"torchvision": torchvision, "timm": timm}
    parser.add_argument("--from", dest="package", choices=packages, default="torchvision")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--side", type=int, default=64)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        make = packages[options.package]()
    except ImportError as error:
        raise UserError(f"Package {options.package} must be installed: {error}") from None
    heads = (
        "network",
        "millions",
        "layers",
        "left alone",
        "kept, %",
        "ready",
        "cycles",
        "seconds",
        "notes",
    )
    table = Table(*heads)
    for name in options.networks:
        torch.manual_seed(0)
        table.add_row(*row(name, make(name), options.side, options.preset))
    Console(width=240).print(table)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
