"""The command line of the training scripts."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from golden.errors import UserError
from sw.training.dataset import FOLDER, load_dataset
from sw.training.loop import Recipe, train_and_prune

__all__ = ["main"]

log = logging.getLogger(__name__)


def main(
    name: str,
    make: Callable[[], nn.Module],
    to_onnx: Callable[[Any, dict[str, str]], Any],
    recipe: Recipe,
) -> None:
    """Train, prune, export and compress one network; exit status 2 on bad input.

    Runs on one thread with fixed seeds: on the same machine and libraries the result is
    the same, bit for bit.
    """
    parser = argparse.ArgumentParser(description=f"Train, prune and quantise {name}.")
    parser.add_argument("--data", type=Path, default=FOLDER, help="folder of Fashion-MNIST")
    parser.add_argument("--output", type=Path, default=Path("build/networks"))
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        data = load_dataset(arguments.data)
        arguments.output.mkdir(parents=True, exist_ok=True)
    except (UserError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(recipe.seed)
    begin = time.process_time()
    model = make()
    dense, pruned = train_and_prune(model, data, recipe)
    metadata = {
        "accuracy_float": f"{dense:.4f}",
        "accuracy_pruned": f"{pruned:.4f}",
        "training_cpu_seconds": f"{time.process_time() - begin:.0f}",
    }
    path = arguments.output / f"{name}.onnx"
    partial = path.with_suffix(".partial")
    partial.write_bytes(to_onnx(model.eval(), metadata).SerializeToString())
    partial.replace(path)
    log.info("wrote %s after %s s of CPU", path, metadata["training_cpu_seconds"])

    from sw.training.compress import compress_network

    compress_network(path, data, path.with_suffix(".safetensors"))
