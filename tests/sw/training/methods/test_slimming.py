"""Network Slimming: scales are pushed down, the least channels go for good, training goes on."""

import pytest

torch = pytest.importorskip("torch")

from golden.errors import UserError  # noqa: E402
from sw.training.cost import macs  # noqa: E402
from sw.training.methods import make  # noqa: E402
from sw.training.methods.narrowing.slimming import Slimming, choose, scores  # noqa: E402
from sw.training.models import load_model, save_model  # noqa: E402
from sw.training.networks import find  # noqa: E402
from sw.training.search import channels  # noqa: E402
from tests.sw.training import narrow  # noqa: E402

#: Channels that can go: of the stages and inside the blocks; a stage's count once.
TOTAL = sum(narrow.WIDTHS)


def free_channels(model):
    found = narrow.channels(model)
    names = ("stem", "block2.conv2", "block3.conv2", "block1.conv1", "block2.conv1", "block3.conv1")
    return [found[name] for name in names]


def test_the_largest_stay_and_one_of_each_group():
    given = {
        "a": torch.tensor([0.5, 0.9, 0.1]),
        "b": torch.tensor([0.01, 0.02]),
        "c": torch.tensor([0.6, 0.8, 0.7]),
    }
    kept = {name: each.tolist() for name, each in choose(given, 4).items()}
    assert kept == {"a": [False, True, False], "b": [False, True], "c": [False, True, True]}
    # Fewer than there are groups is one of each.
    kept = {name: each.tolist() for name, each in choose(given, 1).items()}
    assert kept == {"a": [False, True, False], "b": [False, True], "c": [False, True, False]}


def test_a_joined_channel_counts_with_its_largest_scale():
    model = narrow.resnet()
    with torch.no_grad():
        model.stem_norm.weight.copy_(torch.tensor([0.1, -0.5, 0.3, 0.0]))
        model.block1.norm2.weight.copy_(torch.tensor([0.2, 0.4, -0.9, 0.0]))
    found = scores(model, channels.find(model, narrow.INPUT))
    assert found["stem"].tolist() == pytest.approx([0.2, 0.5, 0.9, 0.0])


def test_channels_of_the_smallest_scales_are_gone(tmp_path):
    model = narrow.plain()
    before = model.b.weight.detach().clone()
    with torch.no_grad():
        model.an.weight.copy_(torch.tensor([0.9, 0.01, 0.8, -0.7, 0.02, 0.03]))
        model.bn.weight.fill_(0.5)
        model.bn.weight[3:] = torch.linspace(0.04, 0.1, 7)
    slimmed = Slimming(channels=6 / 16).prune(model, narrow.task(tmp_path, epochs=0))
    assert torch.equal(slimmed.b.weight, before[:3][:, [0, 2, 3]])
    # Multiplications of 3 x 3 filters at 8 x 8 and 4 x 4 places, then 3 x 4 x 4 inputs to 2.
    assert macs(slimmed, narrow.INPUT) == 64 * 9 * 3 + 16 * 9 * 3 * 3 + 48 * 2


def test_a_residual_network_keeps_its_share_and_learns(tmp_path):
    model = narrow.resnet()
    dense = macs(model, narrow.INPUT)
    task = narrow.task(tmp_path, epochs=5)
    slimmed = Slimming(channels=0.5).prune(model, task)
    left = free_channels(slimmed)
    assert sum(left) == round(0.5 * TOTAL)
    assert min(left) >= 1
    found = narrow.channels(slimmed)
    assert found["block1.conv2"] == found["stem"]
    assert found["block2.shortcut"] == found["block2.conv2"]
    assert found["block3.shortcut"] == found["block3.conv2"]
    assert slimmed.block2.conv2.weight.shape[:2] == (left[1], left[4])
    assert macs(slimmed, narrow.INPUT) < 0.6 * dense
    assert task.session.accuracy(slimmed) > 0.9


@pytest.mark.parametrize("name", ["vgg-small", "resnet20"])
def test_tiny_shares_leave_every_layer_a_channel(tmp_path, name):
    definition = find(name)
    torch.manual_seed(0)
    model = definition.make()
    task = narrow.task(tmp_path, epochs=0)
    slimmed = Slimming(channels=0.001).prune(model, task)
    assert set(narrow.channels(slimmed).values()) == {1}
    assert slimmed(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_the_penalty_pushes_scales_down(tmp_path):
    def mean_scale(penalty):
        model = narrow.plain()
        task = narrow.task(tmp_path / str(penalty), epochs=0)
        Slimming(channels=1, penalty=penalty, sparse_epochs=3).prune(model, task)
        found = scores(model, channels.find(model, narrow.INPUT))
        return float(torch.cat(list(found.values())).mean())

    without, little, much = (mean_scale(penalty) for penalty in (0, 0.01, 0.1))
    assert little < without - 0.02
    assert much < little - 0.1


def test_passes_fall_by_equal_factors(tmp_path):
    slimmed = Slimming(channels=0.25, passes=2).prune(narrow.plain(), narrow.task(tmp_path))
    assert sum(narrow.channels(slimmed).values()) == round(0.25 * 16)
    between = torch.load(tmp_path / "sparse-2.pt", weights_only=True)["model"]
    assert len(between["a.weight"]) + len(between["b.weight"]) == round(0.5 * 16)


def test_saved_and_read_it_is_the_same(tmp_path):
    slimmed = Slimming(channels=0.4).prune(narrow.resnet(), narrow.task(tmp_path))
    save_model(slimmed, "resnet8", tmp_path / "model.pt", {})
    read, _, _ = load_model(tmp_path / "model.pt")
    assert sum(free_channels(read)) == round(0.4 * TOTAL)
    assert narrow.same(read, slimmed)
    images = torch.rand(4, *narrow.INPUT)
    assert torch.equal(read(images), slimmed.eval()(images))


# 4 steps an epoch: in the middle of training with the penalty, between phases, of fine-tuning.
@pytest.mark.parametrize("stop_at", [6, 8, 13, 22])
def test_interrupted_it_goes_on_to_the_same_weights(tmp_path, stop_at):
    def run(folder, batches=None):
        task = narrow.task(tmp_path / folder, epochs=2, batches=batches)
        return Slimming(channels=0.5, passes=2).prune(narrow.plain(), task)

    whole = run("whole")
    with pytest.raises(narrow.Interrupted):
        run("broken", narrow.Batches(stop_at))
    again = narrow.Batches()
    assert narrow.same(run("broken", again), whole)
    assert again.epochs < 8


def test_without_batch_normalisation_it_is_refused_before_training(tmp_path):
    task = narrow.task(tmp_path)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
    )
    message = "must have batch normalisation .* not Sequential of Conv2d, ReLU, Flatten, Linear"
    with pytest.raises(UserError, match=message):
        Slimming().prune(model, task)
    model[1] = torch.nn.BatchNorm2d(4, affine=False)
    with pytest.raises(UserError, match="must have batch normalisation with a scale"):
        Slimming().prune(model, task)
    assert list(tmp_path.iterdir()) == []


def test_bad_options_are_refused():
    for options, message in (
        ({"channels": 0}, "Share of channels must be above 0 and at most 1, not 0"),
        ({"penalty": -1}, "Penalty must be 0 at least, not -1"),
        ({"passes": 0}, "Passes must be 1 at least, not 0"),
        ({"sparse_epochs": -1}, "Sparse epochs must be 0 at least, not -1"),
    ):
        with pytest.raises(UserError, match=message):
            make("slimming", options)
