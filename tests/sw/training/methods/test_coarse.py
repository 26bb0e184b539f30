"""Pruning of blocks while training: which stay, that they stay zero, and what an index takes."""

import numpy as np
import pytest

from golden.errors import UserError
from sw.blocks import Blocks
from sw.coding.formats import block_bits, sizes_bits

torch = pytest.importorskip("torch")
nn = torch.nn
torch.set_num_threads(1)

from accel.studies.training.granularity import at_accuracy, equal_accuracy, index_row  # noqa: E402
from sw.training import masks  # noqa: E402
from sw.training.data.batches import Augmentation, ImageBatches  # noqa: E402
from sw.training.loop.session import Session  # noqa: E402
from sw.training.masks import deviation  # noqa: E402
from sw.training.methods import Task, make  # noqa: E402
from sw.training.methods.masking.coarse import Coarse  # noqa: E402
from sw.training.networks import Recipe  # noqa: E402

RECIPE = Recipe(epochs=1, rate=0.05, retrain_rate=0.05)


class Toy(nn.Module):
    """Filters and channels that blocks of 16 and of 4 do not divide; a depthwise layer."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 3)
        self.conv2 = nn.Conv2d(6, 6, 3, groups=2)
        self.depthwise = nn.Conv2d(6, 6, 3, groups=6)
        self.fc = nn.Linear(24, 10)

    def forward(self, images):
        x = self.conv2(self.conv1(images).relu()).relu()
        return self.fc(torch.flatten(self.depthwise(x).relu(), 1))


def toy():
    torch.manual_seed(7)
    return Toy()


def data(count=96):
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 10, count)
    images = rng.integers(0, 60, (count, 8, 8), dtype=np.uint8)
    images[np.arange(count), labels % 8, labels // 2] = 255
    return ImageBatches(images, labels, 32, training=True, augmentation=Augmentation(mirror=True))


def task(folder, epochs=2):
    batches = data()
    session = Session(batches, batches, folder)
    return Task(session=session, recipe=RECIPE, input_shape=(1, 8, 8), epochs=epochs)


def single(weights, **options):
    """Return which weights of one layer a method keeps."""
    layer = nn.Conv2d(weights.shape[1], weights.shape[0], weights.shape[2:], bias=False)
    layer.weight.data = torch.tensor(weights, dtype=torch.float32)
    # What is last can be left alone, so that there is another one.
    model = nn.Sequential(layer, nn.Linear(2, 2))
    return Coarse(rounds=1, **options)._choose(model, 1.0)["0"].numpy()


def test_whole_blocks_are_zero_and_stay_zero_through_training(tmp_path):
    model = toy()
    before = {name: masks.weight(layer).clone() for name, layer in masks.layers(model).items()}
    model = Coarse(block=[1, 2, 1, 1], density=0.4, rounds=2).prune(model, task(tmp_path))
    zeros = {}
    for name, layer in masks.layers(model).items():
        weights = masks.weight(layer)
        assert not torch.equal(weights[weights != 0], before[name][weights != 0])  # was trained
        # conv2 has groups of 3 filters, whose last block is short; depthwise groups have one.
        runs = {"conv2": [(0, 1), (2,), (3, 4), (5,)], "depthwise": [(k,) for k in range(6)]}
        pairs = [(k, k + 1) for k in range(0, len(weights), 2)]
        stays = []
        for filters in runs.get(name, pairs):
            part = weights[list(filters)].flatten(1) != 0
            assert bool((part.all(0) | ~part.any(0)).all())
            stays += part.any(0).tolist()
        assert sum(stays) == round(0.4 * len(stays))
        zeros[name] = weights == 0
    # Also when trained on with a large weight decay and momentum left over.
    optimiser = torch.optim.SGD(model.parameters(), 0.1, 0.9, weight_decay=0.1)
    for images, labels in data():
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimiser.step()
    for name, layer in masks.layers(model).items():
        assert not masks.weight(layer)[zeros[name]].any()
        assert masks.weight(layer)[~zeros[name]].all()


def test_rounds_prune_by_equal_factors(tmp_path):
    method = Coarse(density=0.25, rounds=2, block="fine")
    model = nn.Sequential(nn.Conv2d(1, 4, 4), nn.Linear(2, 2))
    assert int(method._choose(model, 0.5)["0"].sum()) == 32  # of 64
    assert int(method._choose(model, 1.0)["0"].sum()) == 16


@pytest.mark.parametrize(
    ("by", "stays"),
    [("average", [6]), ("max", [6]), ("sum", [2, 3])],
)
def test_scores_choose_different_blocks(by, stays):
    # Pairs (0, 1), (2, 3), (4, 5), and 6 alone: averages 3, 3.5, 2, 5; maxima 3, 4, 4, 5;
    # sums 6, 7, 4, 5.
    weights = np.array([3, -3, 4, -3, 0, -4, 5.0]).reshape(-1, 1, 1, 1)
    kept = single(weights, block=(1, 2, 1, 1), density=0.25, by=by)
    assert np.flatnonzero(kept).tolist() == stays


def test_average_and_max_choose_different_blocks():
    weights = np.array([[3.0, 3, 3, 3], [0, 9, 0, 0]]).reshape(2, 1, 2, 2)
    for by, stays in (("average", 0), ("max", 1)):
        kept = single(weights, block="kernel", density=0.5, by=by)
        assert kept[stays].all()
        assert not kept[1 - stays].any()


def test_axes_are_channels_filters_columns_rows():
    weights = np.ones((4, 3, 2, 5))  # k, c, r, s
    weights[2:, 2:, 1:, 3:] = 2  # the last and shorter block along c and s
    kept = single(weights, block="2,2,3,1", density=1 / 16)
    assert np.array_equal(kept, weights == 2)


@pytest.mark.parametrize(
    ("grain", "axes"), [("vector", (3,)), ("kernel", (2, 3)), ("filter", (1, 2, 3))]
)
def test_grains_keep_those_of_the_largest_norms(grain, axes):
    weights = np.random.default_rng(1).normal(size=(8, 4, 3, 3))
    kept = single(weights, block=grain, density=0.25, by="sum")
    norms = np.broadcast_to(np.abs(weights).sum(axes, keepdims=True), weights.shape)
    assert kept.sum() == weights.size // 4
    assert norms[kept].min() > norms[~kept].max()


def test_whole_filters_go_but_not_classes():
    kept = Coarse(block="filter", density=0.5)._choose(toy(), 1.0)
    of_filter = kept["conv1"].flatten(1)
    assert torch.equal(of_filter.all(1), of_filter.any(1))
    assert int(of_filter.all(1).sum()) == 3
    assert kept["fc"].all()
    stated = Coarse(block="filter", density=0.5, densities={"fc": 0.3})._choose(toy(), 1.0)
    assert int(stated["fc"].all(1).sum()) == 3


def test_connected_blocks_are_inputs_and_outputs():
    model = nn.Sequential(nn.Linear(4, 6))
    model[0].weight.data = torch.ones(6, 4)
    model[0].weight.data[3:, 2:] = 2
    kept = Coarse(block=(2, 3, 9, 9), density=0.25)._choose(model, 1.0)["0"]
    assert torch.equal(kept, model[0].weight == 2)


def test_global_spread_ranks_layers_by_their_own_deviations():
    first, second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    model = nn.Sequential(first, second)
    values = torch.tensor([1.0, 2, 3, 4]).repeat(4, 1)
    first.weight.data, second.weight.data = values.clone(), 100 * values
    kept = Coarse(block="1,4,1,1", density=0.5, spread="global")._choose(model, 1.0)
    for name in ("0", "1"):
        assert kept[name][0].tolist() == [False, False, True, True]


def test_layers_with_hardly_a_weight_still_have_a_deviation():
    assert 0 < deviation(torch.zeros(3)) < 1e-30
    assert deviation(torch.tensor([0, -0.5, 0])) == 0.5


def test_an_interrupted_run_gives_the_same_weights(tmp_path):
    method = make("coarse", {"block": "1,2,1,1", "density": 0.3, "rounds": 2})
    whole = method.prune(toy(), task(tmp_path / "whole"))

    class Interrupted(Exception):
        pass

    broken = task(tmp_path / "broken")
    train, calls = broken.session.train, []

    def stop_in_second_round(model, phase, **arguments):
        calls.append(phase.name)
        if len(calls) == 2:

            def stop(model, share):
                if share >= 0.5:
                    raise Interrupted

            arguments["before_step"] = stop
        train(model, phase, **arguments)

    broken.session.train = stop_in_second_round
    with pytest.raises(Interrupted):
        method.prune(toy(), broken)
    again = method.prune(toy(), task(tmp_path / "broken"))
    for (name, one), other in zip(
        whole.state_dict().items(), again.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other), name
    assert masks.density(whole) < 0.35


@pytest.mark.parametrize(
    ("options", "message"),
    [({"block": "1,16,1"}, "Block must be four positive sizes .* not '1,16,1'"),
     ({"block": "1,0,1,1"}, "Block must be four positive sizes .* not '1,0,1,1'"),
     ({"block": "row"}, "or one of fine, vector, kernel, filter, not 'row'"),
     ({"block": [1, 2.5, 1, 1]}, "must be an integer, not 2.5"),
     ({"block": 16}, "must be a word or a list, not 16"),
     ({"by": "median"}, "must be its average or max or sum, not 'median'"),
     ({"density": 0}, "Density must be above 0 and at most 1, not 0"),
     ({"densities": {"fc": 2}}, "Density of layer fc must be above 0 and at most 1, not 2"),
     ({"spread": "wide"}, "Spread must be global or uniform, not 'wide'"),
     ({"rounds": 0}, "Rounds must be 1 at least, not 0")],
)  # fmt: skip
def test_bad_options_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        make("coarse", options)


def test_unknown_layer_is_refused_before_anything_is_written(tmp_path):
    given = task(tmp_path)
    found = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match=r"Layer to prune must be one of conv1, .* not 'conv9'"):
        Coarse(densities={"conv9": 0.5}).prune(toy(), given)
    assert sorted(tmp_path.iterdir()) == found


# -- index ------------------------------------------------------------------------------------


def test_index_bits_by_hand():
    # 20 blocks of filters 0 and 1, then 20 of filter 2 alone. Stored are the first and the 19th,
    # of two weights each, and the 40th, of one.
    mask = np.zeros((3, 1, 1, 20), dtype=bool)
    mask[0, 0, 0, 0] = mask[1, 0, 0, 18] = mask[2, 0, 0, 19] = True
    bits = block_bits(mask, 8, Blocks(mask.shape, (1, 2, 1, 1)))
    assert bits.value_bits == 5 * 8
    # Runs 0, 17, 20. Four bits reach 15: the 17th block (2 weights) and the 35th (1 weight) are
    # stored zeros. Five bits reach 31.
    assert bits.index_bits == {
        "dense": 55 * 8,
        "bitmask": 40,
        "relative 4": 5 * 4 + 3 * 8,
        "relative 5": 3 * 5,
    }
    assert bits.least == 15


def test_index_of_single_weights_is_that_of_the_formats():
    mask = np.random.default_rng(5).random((7, 3, 3, 20)) < 0.06
    bits = block_bits(mask, 8, Blocks(mask.shape, (1, 1, 1, 1)))
    sizes = sizes_bits(mask, 8)
    for name, index in bits.index_bits.items():
        assert bits.value_bits + index == sizes[name], name


def test_sixteen_filters_take_a_sixteenth_of_the_bits():
    model = nn.Sequential(nn.Conv2d(8, 32, 3, bias=False))
    weights = torch.zeros(32, 8, 3, 3)
    weights[:16, ::2] = 1
    model[0].weight.data = weights
    # 144 blocks: a bit each is as little as runs of 4 bits for the 36 that are stored.
    coarse = index_row(model, Coarse(block="1,16,1,1"))
    fine = index_row(model, Coarse(block="fine"))
    assert coarse == {"index_bits": 144, "storage_bits": 576 * 8 + 144}
    assert fine == {"index_bits": 2304, "storage_bits": 576 * 8 + 2304}


def test_mask_of_another_shape_is_refused():
    with pytest.raises(UserError, match="Mask must have the blocks' shape"):
        block_bits(np.ones((2, 1, 1, 1), dtype=bool), 8, Blocks((4, 1, 1, 1)))


def test_curves_are_read_where_they_first_reach_an_accuracy():
    curve = [
        {"density": density, "accuracy": accuracy, "cycles": 1000 * density}
        for density, accuracy in ((0.4, 0.85), (0.1, 0.5), (0.2, 0.9))
    ]
    assert at_accuracy(curve, 0.7, ["density", "cycles"]) == pytest.approx(
        {"density": 0.15, "cycles": 150}
    )
    assert at_accuracy(curve, 0.5, ["cycles"]) == {"cycles": 100}
    assert at_accuracy(curve, 0.4, ["cycles"]) is None
    assert at_accuracy(curve, 0.95, ["cycles"]) is None


def test_single_weights_as_accurate_as_blocks_are_read_off_the_means():
    def rows(label, grain, density, accuracies, bits):
        return [
            {"network": "n", "label": label, "seed": seed, "grain": grain, "density": density,
             "accuracy": accuracy, "index_bits": bits, "storage_bits": 10 * bits, "cycles": bits}
            for seed, accuracy in enumerate(accuracies)
        ]  # fmt: skip

    found = equal_accuracy(
        rows("fine 0.1", "fine", 0.1, (0.4, 0.6), 100)
        + rows("fine 0.2", "fine", 0.2, (0.8, 1.0), 300)
        + rows("block average 0.1", "block average", 0.1, (0.2, 0.2), 5)
        + rows("block average 0.2", "block average", 0.2, (0.6, 0.8), 7)
    )
    # 0.7 is half way from 0.5 to 0.9; 0.2 is below the line.
    (row,) = found
    assert row["label"] == "fine, as accurate as block average 0.2"
    assert row["grain"] is None
    assert row["seed"] is None
    read = {name: row[name] for name in ("accuracy", "density", "index_bits", "storage_bits")}
    assert read == pytest.approx(
        {"accuracy": 0.7, "density": 0.15, "index_bits": 200, "storage_bits": 2000}
    )
