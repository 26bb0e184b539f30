"""An LSTM's equations, its matrices under masks, its runs in int8, and one run on the machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from accel import api
from accel.machines.cluster.model import count_layer
from accel.run import count_cycles
from golden import reference
from golden.arithmetic import Requantisation, quantise_scale
from golden.machines.cluster.config import AcceleratorConfig, SkipMode
from golden.machines.cluster.program import ClusterProgram
from golden.program import LayerRun, LayerTask
from tests.case import HARDWARE_CONFIGURATIONS
from tests.oracle import run_layer

torch = pytest.importorskip("torch")

from accel.studies.training.lstm import zero_shares  # noqa: E402
from sw.training import masks, networks, pipeline  # noqa: E402
from sw.training.cost import macs, run_layers  # noqa: E402
from sw.training.data.batches import split  # noqa: E402
from sw.training.data.dataset import Dataset  # noqa: E402
from sw.training.methods.masking.magnitude import Magnitude  # noqa: E402
from sw.training.networks.lstm import Lstm  # noqa: E402
from sw.training.tensors import input_ranges, layer_tensors, rounded  # noqa: E402
from sw.training.unrolled import Unrolled, unroll  # noqa: E402

MACHINE = AcceleratorConfig.preset("toy")


def images(count: int, seed: int = 1) -> np.ndarray:
    """Draw float images with a border of zeros, axes n, c, y, x."""
    result = np.zeros((count, 1, 28, 28), dtype=np.float32)
    result[:, :, 4:24, 6:22] = np.random.default_rng(seed).random((count, 1, 20, 16))
    return result


@pytest.fixture
def model() -> Lstm:
    torch.manual_seed(1)
    return Lstm(hidden=16)


def test_the_cell_is_pytorchs(model: Lstm) -> None:
    theirs = torch.nn.LSTM(28, 16, batch_first=True)
    state = {
        "weight_ih_l0": model.input_gates.weight.detach(),
        "weight_hh_l0": model.hidden_gates.weight.detach(),
        "bias_ih_l0": model.input_gates.bias.detach(),
        "bias_hh_l0": torch.zeros(64),
    }
    theirs.load_state_dict(state)
    x = torch.from_numpy(images(5))
    _, (h, _) = theirs(x[:, 0])
    torch.testing.assert_close(model(x), model.fc(h[0]))


def test_gates_forget_little_at_first(model: Lstm) -> None:
    assert model.input_gates.bias[16:32].tolist() == [1.0] * 16
    assert model.input_gates.bias[:16].abs().max() < 1


def test_every_weight_has_a_gradient_until_it_is_masked(model: Lstm) -> None:
    x = torch.from_numpy(images(8)).clamp(min=0.01)
    model(x).square().sum().backward()
    for name, layer in masks.layers(model).items():
        assert torch.all(layer.weight.grad != 0), name
    kept = {name: torch.rand(masks.weight(each).shape) < 0.3
            for name, each in masks.layers(model).items()}  # fmt: skip
    assert list(kept) == ["input_gates", "hidden_gates", "fc"]
    masks.mask(model, kept)
    optimiser = torch.optim.SGD(model.parameters(), 0.5, 0.9)
    before = {name: masks.weight(each).clone() for name, each in masks.layers(model).items()}
    for _ in range(3):
        optimiser.zero_grad()
        model(x).square().sum().backward()
        optimiser.step()
    for name, layer in masks.layers(model).items():
        assert torch.equal(masks.weight(layer) != 0, kept[name])
        assert torch.all(masks.weight(layer)[kept[name]] != before[name][kept[name]])


def test_each_matrix_runs_once_a_row_with_the_row_and_the_state_before_it(model: Lstm) -> None:
    image = torch.from_numpy(images(1)[0])
    runs = run_layers(model, image)
    assert [run.name for run in runs] == ["input_gates", "hidden_gates"] * 28 + ["fc"]
    states = torch.nn.LSTM(28, 16, batch_first=True)
    states.load_state_dict(
        {
            "weight_ih_l0": model.input_gates.weight.detach(),
            "weight_hh_l0": model.hidden_gates.weight.detach(),
            "bias_ih_l0": model.input_gates.bias.detach(),
            "bias_hh_l0": torch.zeros(64),
        }
    )
    h = states(image)[0][0].detach()
    for t in range(28):
        assert torch.equal(runs[2 * t].inputs, image[0, t])
        before = h[t - 1] if t else torch.zeros(16)
        torch.testing.assert_close(runs[2 * t + 1].inputs, before)
    assert macs(model, (1, 28, 28)) == 28 * (28 * 64 + 16 * 64) + 160


def test_zeros_of_the_runs_are_the_images(model: Lstm) -> None:
    """Rows 4 to 23 have 16 pixels that are not zero, all above half a code; others none."""
    image = torch.from_numpy(images(1)[0].clip(0.2) * (images(1)[0] > 0))
    x = [each for each in layer_tensors(model, image) if each.layer.name == "input_gates"]
    assert [int(np.count_nonzero(each.activations)) for each in x] == [0] * 4 + [16] * 20 + [0] * 4
    shares = zero_shares(model, image[None])
    assert shares["input_gates"] == pytest.approx(1 - 320 / 784)
    # The state is dense, but for the one before the first row.
    assert shares["hidden_gates"] == pytest.approx(1 / 28)


def test_a_threshold_makes_zeros_of_small_hidden_values(model: Lstm) -> None:
    x = torch.from_numpy(images(2))
    free = run_layers(model, x[0])
    model.hidden_threshold = float(free[3].inputs.abs().median())
    runs = run_layers(model, x[0])
    # The first state is not yet changed by what went before.
    small = free[3].inputs.abs().sort().indices[:8]  # the median is the lower middle
    expected = free[3].inputs.index_fill(0, small, 0.0)
    assert torch.equal(runs[3].inputs, expected)
    assert zero_shares(model, x)["hidden_gates"] > 2 / 28
    model.hidden_threshold = 2.0
    assert zero_shares(model, x)["hidden_gates"] == 1


def test_activations_of_all_runs_have_one_scale(model: Lstm) -> None:
    image = torch.from_numpy(images(1)[0])
    runs = run_layers(model, image)
    largest = max(float(run.inputs.abs().max()) for run in runs if run.name == "hidden_gates")
    for run, tensors in zip(runs, layer_tensors(model, image), strict=True):
        if run.name == "hidden_gates":
            expected = np.rint(run.inputs.numpy() / np.float32(largest) * 127)
            assert np.abs(tensors.activations.ravel() - expected).max() <= 1
            assert tensors.activations.shape == (1, 1, 16)


def test_the_rounded_network_multiplies_the_codes(model: Lstm) -> None:
    """Integer sums of the golden model, times the scales, are the copy's gates."""
    x = images(8)
    ranges = input_ranges(model, torch.from_numpy(x[1:]))  # not of the image itself
    network = Unrolled(name="x", source="x", model=rounded(model, ranges), ranges=ranges)
    for run, codes in zip(run_layers(network.model, torch.from_numpy(x[0])), network.run(x[0]),
                          strict=True):  # fmt: skip
        sums = reference.accumulate(codes.weights, codes.activations, codes.layer)
        floats = masks.layers(model)[run.name].weight.detach().numpy()
        scales = np.abs(floats).max(1) / 127 * ranges[run.name] / 127
        bias = 0 if run.layer.bias is None else run.layer.bias.detach().numpy()
        np.testing.assert_allclose(
            sums.ravel() * scales + bias, run.outputs.numpy(), rtol=1e-4, atol=1e-5
        )
        assert np.abs(codes.activations).max(initial=0) <= 127


def test_the_rounded_network_is_near_the_float_one_and_not_equal(model: Lstm) -> None:
    x = torch.from_numpy(images(8))
    copied = rounded(model, input_ranges(model, x))
    difference = (copied(x) - model(x)).detach().abs().max()
    assert 0 < float(difference) < 0.02


def step_runs(hidden: int) -> list[tuple[LayerRun, np.ndarray]]:
    """Return both products of a step of a pruned LSTM, and the reference's codes of each."""
    torch.manual_seed(2)
    model = Lstm(hidden=hidden)
    masks.mask(model, Magnitude()._choose({}, model, 0.5))
    x = images(4)
    step, filters, found = 12, 4 * hidden, []
    for codes in unroll(model, x, "small").run(x[0])[2 * step : 2 * step + 2]:
        assert np.count_nonzero(codes.activations)
        assert 0 < np.count_nonzero(codes.weights) < codes.weights.size
        sums = reference.accumulate(codes.weights, codes.activations, codes.layer)
        multiplier, shift = quantise_scale(np.full(filters, 100 / np.abs(sums).max()))
        bias = np.arange(filters) * 10
        how = Requantisation(bias, multiplier, shift, low=-128, high=127, signed=True)
        expected = reference.convolve(codes.weights, codes.activations, codes.layer, how)
        assert len(np.unique(expected)) > filters // 4
        task = LayerTask(layer=codes.layer, weights=codes.weights)
        run = LayerRun(task=task, activations=codes.activations, requantisation=how)
        found.append((run, expected))
    return found


def test_a_step_in_the_simulator_is_exact() -> None:
    """Codes as the golden model's, every counter as the tick oracle's."""
    for run, expected in step_runs(hidden=24):
        made = ClusterProgram.build(MACHINE, run)
        workload, schedule = made.workload, made.schedule
        for skip in SkipMode:
            codes, counters = run_layer(MACHINE, workload, schedule, skip)
            assert np.array_equal(codes, expected)
            simulated = count_layer(MACHINE, workload, schedule, skip, expected)
            assert counters.difference(simulated) == ""


def test_a_step_on_the_hardware_is_exact() -> None:
    """The same of the hardware itself, under Amaranth's simulator."""
    pytest.importorskip("amaranth")
    from rtl.cluster.hardware import HARDWARE
    from rtl.sim.run import run_layers as run_hardware

    machine = HARDWARE_CONFIGURATIONS["output-major"]
    steps = step_runs(hidden=8)
    found = run_hardware(HARDWARE, machine, [(run, SkipMode.BOTH) for run, _ in steps])
    for (run, expected), (codes, counters) in zip(steps, found, strict=True):
        assert np.array_equal(codes, expected)
        made = ClusterProgram.build(machine, run)
        _, wanted = run_layer(machine, made.workload, made.schedule, SkipMode.BOTH)
        assert counters.difference(wanted) == ""


def test_cycles_are_the_sum_of_the_runs(model: Lstm) -> None:
    x = images(3)
    runs = unroll(model, x, "small").run(x[0])
    machine = api.machine(MACHINE)
    total = count_cycles(machine, runs)
    assert list(total) == ["input_gates", "hidden_gates", "fc"]
    for name in total:
        single = [count_cycles(machine, [run])[name] for run in runs if run.layer.name == name]
        assert len(single) == (1 if name == "fc" else 28)
        assert total[name] == sum(single)
    dense = count_cycles(machine, runs, SkipMode.DENSE)
    assert dense["input_gates"] > total["input_gates"]


def test_prune_trains_writes_and_measures(tmp_path: Path) -> None:
    """Images of two classes, upper and lower half lit, with noise: chance is a half."""
    rng = np.random.default_rng(3)
    labels = np.arange(400) % 2
    lit = (np.arange(28) < 14) == (labels[:, None] == 0)
    pixels = rng.integers(0, 256, (400, 28, 28)) * (rng.random((400, 28, 28)) < 0.3)
    pixels = (pixels * np.where(lit, 1, 0.3)[:, :, None]).astype(np.uint8)
    data = split(
        Dataset(
            pixels[:300], labels[:300], pixels[300:], labels[300:], mirrored=True, shuffled=True
        ),
        batch=32,
    )
    outcome = pipeline.prune(
        networks.find("lstm"), Magnitude(density=0.1, rounds=1), data, tmp_path,
        epochs=3, dense_epochs=4,
    )  # fmt: skip
    assert [path.name for path in outcome.files] == ["lstm-dense.pt", "lstm-magnitude.pt"]
    assert all(path.is_file() for path in outcome.files)
    assert isinstance(outcome.network, Unrolled)
    assert outcome.density == pytest.approx(0.1, abs=1e-4)
    assert outcome.macs == 28 * (28 * 512 + 128 * 512) + 1280
    assert outcome.accuracy["pruned"] > 0.9
    assert outcome.accuracy["int8"] > 0.9
