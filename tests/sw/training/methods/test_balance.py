"""Balanced pruning: as many weights in each filter or chunk, and what that does to cycles."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from accel.api import machine  # noqa: E402
from accel.run import count_cycles  # noqa: E402
from golden.arithmetic import Requantisation  # noqa: E402
from golden.errors import UserError  # noqa: E402
from golden.layer import LayerShape  # noqa: E402
from golden.machines.cluster.workload import LayerWorkload  # noqa: E402
from golden.tensor import popcount  # noqa: E402
from sw.training import masks, methods  # noqa: E402
from sw.training.loop.session import Session  # noqa: E402
from sw.training.methods.masking.balance import Balance, by_chunk, by_filter, chunk_numbers  # noqa: E402
from sw.training.methods.masking.magnitude import Magnitude  # noqa: E402
from sw.training.tensors import layer_tensors  # noqa: E402
from tests.sw.training.small_pictures import MACHINE, Small, task  # noqa: E402


def test_each_filter_keeps_its_own_largest():
    weights = torch.tensor([[90.0, -80, 70, 60], [0.1, 0.4, -0.3, 0.2]])
    assert by_filter(weights, 0.5).tolist() == [
        [True, True, False, False],
        [False, True, True, False],
    ]
    assert by_filter(weights, 0.01).sum(1).tolist() == [1, 1]


def test_each_chunk_keeps_what_it_would_on_average():
    # The largest 8 of 16: 6 of chunk 0 and 2 of chunk 1, so 3 and 1 of each filter.
    weights = torch.tensor(
        [
            [9.0, -9, 9, 9, 1, 2, 1, 0.5],
            [8.0, 7, 1, 3, 6, -5, 2, 1],
        ]
    )
    numbers = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    assert by_chunk(weights, 0.5, numbers).tolist() == [
        [True, True, True, False, False, True, False, False],
        [True, True, False, True, True, False, False, False],
    ]


def test_chunks_never_take_back_a_zero():
    weights = torch.zeros(2, 8)
    weights[:, 5] = 1
    kept = by_chunk(weights, 0.5, torch.arange(8) // 4)
    assert kept.nonzero().tolist() == [[0, 5], [1, 5]]


@pytest.mark.parametrize(
    "shape", [(1, 3, 3), (2, 3, 3), (4, 3, 3), (5, 2, 3), (20, 2, 2), (32, 3, 1), (70, 1, 1)]
)
def test_chunks_are_those_of_the_machine(shape):
    channels, rows, columns = shape
    size = channels * rows * columns
    # Filter i has a weight at place i only, in PyTorch's order: where is it on the machine?
    weights = np.eye(size, dtype=np.int8).reshape(size, *shape).transpose(0, 2, 3, 1)
    layer = LayerShape(
        name="one", in_channels=channels, in_height=rows, in_width=columns,
        out_channels=size, kernel_height=rows, kernel_width=columns,
    )  # fmt: skip
    ones = np.ones(size, dtype=np.int64)
    workload = LayerWorkload.build(
        MACHINE,
        layer,
        np.ascontiguousarray(weights),
        np.ones((rows, columns, channels), np.int8),
        Requantisation(0 * ones, ones << 23, ones, -128, 127, signed=True),
    )
    counts = popcount(workload.weights.masks).reshape(size, -1)
    assert chunk_numbers(shape, MACHINE.chunk).tolist() == counts.argmax(1).tolist()


class Watched(Session):
    """Keeps the masks that each phase began with."""

    def train(self, model, phase, **more):
        self.__dict__.setdefault("seen", []).append(
            {name: kept.clone() for name, kept in masks.masks(model).items()}
        )
        super().train(model, phase, **more)


def chunks_of(layer, weights):
    """Count weights of each filter's chunks of 32 by hand: tap by tap, or the whole window."""
    if layer == "conv1":  # one channel of 9 taps: a window of 9, one chunk
        return weights.flatten(1).count_nonzero(1)[:, None]
    if layer == "conv2":  # 8 channels of a chunk's 32 are more than an eighth: a chunk a tap
        return weights.flatten(2).count_nonzero(1)
    return weights.reshape(2, 8, 16).count_nonzero(1)


@pytest.mark.parametrize("per", ["filter", "chunk"])
def test_counts_are_equal_after_retraining(tmp_path, per):
    torch.manual_seed(2)
    model = Small()
    # Filters of unlike size, which magnitude would prune unlike.
    for layer in masks.layers(model).values():
        layer.weight.data *= torch.logspace(-1, 0, len(layer.weight)).reshape(
            -1, *[1] * (layer.weight.ndim - 1)
        )
    start = {name: masks.weight(layer).clone() for name, layer in masks.layers(model).items()}
    job = task(tmp_path, kind=Watched)
    Balance(density=0.3, per=per, chunk=32, rounds=3).prune(model, job)
    assert len(job.session.seen) == 3
    for name, layer in masks.layers(model).items():
        weights = masks.weight(layer)
        counts = weights.flatten(1).count_nonzero(1)
        assert counts.min() == counts.max()
        assert int(counts[0]) == pytest.approx(0.3 * weights[0].numel(), abs=1)
        if per == "chunk":
            each = chunks_of(name, weights)
            assert torch.equal(each, each[:1].expand_as(each))
        earlier = torch.ones_like(weights, dtype=torch.bool)
        for seen in job.session.seen:
            assert not (seen[name] & ~earlier).any()
            assert seen[name].sum() < earlier.sum()
            earlier = seen[name]
        assert not weights[~earlier].any()
        assert not torch.equal(weights[earlier], start[name][earlier])


class Unequal(nn.Module):
    """A 1 x 1 convolution of 4 filters and 32 channels: 68 large weights, 32 in filter 0."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(32, 4, 1, bias=False)
        weights = torch.ones(4, 32)
        weights[0] = 10
        weights[1:, :12] = 5
        self.conv.weight.data = weights.reshape(4, 32, 1, 1)

    def forward(self, x):
        return self.conv(x)


@pytest.mark.parametrize("per", ["filter", "chunk"])
def test_equal_filters_take_the_mean_and_not_the_largest(tmp_path, per):
    def pruned(method, folder):
        batches = [(torch.ones(1, 32, 4, 4), torch.zeros(1, dtype=torch.int64))]
        job = task(folder, data=batches, shape=(32, 4, 4), epochs=0)
        return method.prune(Unequal(), job)

    def counts_and_cycles(model):
        image = torch.ones(32, 4, 4)
        (cycles,) = count_cycles(machine(MACHINE), layer_tensors(model, image)).values()
        return masks.weight(model.conv).flatten(1).count_nonzero(1).tolist(), cycles

    share = 68 / 128
    unequal = pruned(Magnitude(density=share, spread="uniform", rounds=1), tmp_path / "m")
    equal = pruned(Balance(density=share, per=per, chunk=32, rounds=1), tmp_path / "b")
    # 4 units, one filter each, 16 positions of one chunk: the slowest unit has 32 pairs a
    # position, or all have 17. Filters load in 4 + 8 + 3 * 3 beats, or in 4 + 4 * 5.
    (most, before), (mean, after) = counts_and_cycles(unequal), counts_and_cycles(equal)
    assert most == [32, 12, 12, 12]
    assert mean == [17, 17, 17, 17]
    assert before - after == 16 * (32 - 17) - 3


def test_bad_options_are_refused():
    for options, message in (
        ({"density": 1.5}, "Density must be above 0 and at most 1, not 1.5"),
        ({"per": "unit"}, "Per must be filter or chunk, not 'unit'"),
        ({"chunk": 0}, "Chunk must be 1 at least, not 0"),
        ({"rounds": 0}, "Rounds must be 1 at least, not 0"),
    ):
        with pytest.raises(UserError, match=message):
            methods.make("balance", options)
