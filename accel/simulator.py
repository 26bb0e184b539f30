"""Every cycle of a layer, or of a network with the activations that it really has."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from accel.functional import quantise_images, run_nodes
from accel.machines.cluster.capacity import check_filters, check_inputs
from accel.machines.cluster.packing import activation_masks, pack_filters
from accel.machines.cluster.program import LayerProgram, prepare_layer, run_layer
from accel.results import LayerResult, ModeResult, NetworkResult
from golden.counters import LayerCounters
from golden.errors import UserError
from golden.machines.cluster.config import AcceleratorConfig, SkipMode
from golden.machines.cluster.schedule import Schedule, make_schedule, window_density
from golden.machines.cluster.workload import LayerWorkload
from golden.network import Convolution, Network
from golden.tensor import BitmaskTensor

__all__ = ["simulate", "simulate_layer", "window_density"]

Progress = Callable[[int, int, str], None]

#: Threads that count cycles at most: one for each skip mode.
THREADS_MAX = len(SkipMode)


def simulate_layer(
    config: AcceleratorConfig,
    workload: LayerWorkload,
    schedule: Schedule,
    skip: SkipMode,
    output: NDArray[np.integer] | None = None,
) -> LayerCounters:
    """Count every cycle of one layer.

    Parameters
    ----------
    output : ndarray of int8 or uint8, axes p, q, k, optional
        Codes of the layer's output, for ``output_nonzeros``; None counts them as 0.
    """
    program = prepare_layer(
        config,
        workload.layer,
        workload.weights,
        workload.activations.masks,
        schedule,
        output,
    )
    return run_layer(program, skip)


def simulate(
    config: AcceleratorConfig,
    network: Network,
    images: NDArray,
    skips: tuple[SkipMode, ...] = tuple(SkipMode),
    progress: Progress | None = None,
    *,
    keep_counters: bool = False,
) -> NetworkResult:
    """Simulate a network layer after layer, each with its real activations.

    Parameters
    ----------
    images : ndarray, axes n, y, x, channel
        Codes of the network's input, or floats, which are quantised.
    skips : tuple of SkipMode
        Modes to simulate; figures that compare modes need both of them.
    progress : callable, optional
        Called with layers done, layers in all, and the next layer's name.
    keep_counters : bool
        Keep every unit's counters in ``ModeResult.counters``.

    Raises
    ------
    CapacityError
        A layer does not fit a buffer.
    UserError
        Images or modes are not what they should be.
    """
    skips = tuple(dict.fromkeys(SkipMode(skip) for skip in skips))
    if not skips:
        raise UserError("Skip modes must be at least one, not ()")
    if not network.convolutions:
        raise UserError(f"Network {network.name} must have a convolution or linear layer")
    codes = quantise_images(network, images)
    plans = {
        node.layer.name: _Plan(config, node, network.channel_density.get(node.input))
        for node in network.convolutions
    }
    by_layer: dict[str, list[LayerResult]] = {name: [] for name in plans}
    total, done = len(codes) * len(plans), 0
    # Threads of the linear algebra would wait for one another at the cost of everything else.
    with (
        threadpool_limits(limits=1, user_api="blas"),
        ThreadPoolExecutor(min(THREADS_MAX, os.cpu_count() or 1)) as pool,
    ):
        pending: _Pending | None = None
        for image in codes:
            for node, inputs, output in run_nodes(network, image):
                if not isinstance(node, Convolution):
                    continue
                if progress:
                    progress(done, total, node.layer.name)
                plan = plans[node.layer.name]
                begun = plan.begin(pool, inputs[0], output, skips, keep_counters)
                # One layer is counted while the next one's activations are computed.
                if pending:
                    by_layer[pending.name].append(pending.result())
                pending = begun
                done += 1
        if pending:
            by_layer[pending.name].append(pending.result())
    if progress:
        progress(done, total, "done")
    layers = tuple(_sum_images(parts) for parts in by_layer.values())
    return NetworkResult(
        network=network.name,
        source=network.source,
        config=config,
        images=len(codes),
        skips=skips,
        layers=layers,
        total=_sum_layers(layers),
    )


class _Plan:
    """What all images share of one layer: packed weights and schedule."""

    def __init__(
        self, config: AcceleratorConfig, node: Convolution, density: NDArray[np.float64] | None
    ) -> None:
        layer = node.layer
        self.config = config
        self.node = node
        self.weights: BitmaskTensor = pack_filters(config, layer, node.weights)
        self.schedule = make_schedule(
            config, layer, self.weights, window_density(config, layer, density)
        )
        check_filters(config, layer, self.weights, self.schedule)

    def begin(
        self,
        pool: ThreadPoolExecutor,
        activations: NDArray,
        output: NDArray,
        skips: tuple[SkipMode, ...],
        keep_counters: bool,
    ) -> _Pending:
        """Start counting the cycles of one image."""
        layer = self.node.layer
        masks = activation_masks(self.config, layer, activations)
        input_bytes = check_inputs(self.config, layer, masks)
        program = prepare_layer(self.config, layer, self.weights, masks, self.schedule, output)

        def count(skip: SkipMode) -> ModeResult:
            return ModeResult.from_counters(
                self.config,
                skip,
                run_layer(program, skip),
                input_bytes=input_bytes,
                keep_counters=keep_counters,
            )

        return _Pending(
            program,
            float(np.count_nonzero(self.node.weights)) / self.node.weights.size,
            float(np.count_nonzero(activations)) / activations.size,
            {skip: pool.submit(count, skip) for skip in skips},
        )


class _Pending:
    """A layer of one image whose cycles are being counted."""

    def __init__(
        self,
        program: LayerProgram,
        weight_density: float,
        activation_density: float,
        modes: dict[SkipMode, Future[ModeResult]],
    ) -> None:
        self.name = program.layer.name
        self._program = program
        self._weight_density = weight_density
        self._activation_density = activation_density
        self._modes = modes

    def result(self) -> LayerResult:
        """Wait for all modes."""
        layer = self._program.layer
        return LayerResult(
            name=layer.name,
            shape=layer,
            weight_density=self._weight_density,
            activation_density=self._activation_density,
            dense_macs=layer.dense_macs,
            multipliers=self._program.config.multipliers,
            modes={skip: mode.result() for skip, mode in self._modes.items()},
        )


def _sum_images(parts: list[LayerResult]) -> LayerResult:
    """Add up one layer's results over images."""
    first = parts[0]
    return LayerResult(
        name=first.name,
        shape=first.shape,
        weight_density=first.weight_density,
        activation_density=sum(part.activation_density for part in parts) / len(parts),
        dense_macs=sum(part.dense_macs for part in parts),
        multipliers=first.multipliers,
        modes={skip: ModeResult.sum(part.modes[skip] for part in parts) for skip in first.modes},
    )


def _sum_layers(layers: tuple[LayerResult, ...]) -> LayerResult:
    """Add up a network's layers."""
    shapes = [layer.shape for layer in layers if layer.shape is not None]
    weights = [int(np.prod(shape.weights_shape)) for shape in shapes]
    inputs = [shape.in_channels * shape.in_height * shape.in_width for shape in shapes]
    return LayerResult(
        name="total",
        shape=None,
        weight_density=float(np.average([x.weight_density for x in layers], weights=weights)),
        activation_density=float(
            np.average([x.activation_density for x in layers], weights=inputs)
        ),
        dense_macs=sum(layer.dense_macs for layer in layers),
        multipliers=layers[0].multipliers,
        modes={
            skip: ModeResult.sum(
                # A network has many units' counters; only its layers keep them.
                replace(layer.modes[skip], counters=None)
                for layer in layers
            )
            for skip in layers[0].modes
        },
    )
