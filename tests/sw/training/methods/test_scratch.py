"""Training from scratch: the shape is kept, the weights are not; narrow networks as a baseline."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from golden.errors import UserError  # noqa: E402
from sw.training.cost import macs  # noqa: E402
from sw.training.methods import make  # noqa: E402
from sw.training.methods.narrowing.fresh import reinitialise  # noqa: E402
from sw.training.methods.narrowing.scratch import ScratchB, ScratchE  # noqa: E402
from sw.training.methods.narrowing.slimming import Slimming  # noqa: E402
from sw.training.methods.narrowing.uniform import Uniform  # noqa: E402
from tests.sw.training import narrow  # noqa: E402


def shapes(model):
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def session(folder, seed=1):
    return narrow.task(folder, seed=seed).session


def test_fresh_weights_are_drawn_as_a_constructor_draws_them(tmp_path):
    model = narrow.resnet()
    old = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.fill_(3)
                module.running_mean.fill_(7)
    reinitialise(model, session(tmp_path))
    norm = model.block2.norm1
    assert torch.equal(norm.weight, torch.ones(7))
    assert torch.equal(norm.running_mean, torch.zeros(7))
    weight = model.block3.conv2.weight
    assert not torch.isclose(weight, old["block3.conv2.weight"]).any(dim=(1, 2, 3))[0]
    # Uniform up to 1 / sqrt(inputs of a filter), whose deviation is that over sqrt(3).
    bound = (9 * 3 * 3) ** -0.5
    assert weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)


def test_fresh_weights_follow_from_the_seed_alone(tmp_path):
    models = []
    for index, seed in enumerate((1, 1, 2)):
        model = narrow.resnet(seed=index)
        torch.manual_seed(100 + index)
        reinitialise(model, session(tmp_path / str(index), seed))
        models.append(model)
    assert narrow.same(models[0], models[1])
    assert not torch.equal(models[0].fc.weight, models[2].fc.weight)
    # Not those of the dense network, which draws from the seed itself.
    assert not torch.equal(models[0].fc.weight, narrow.resnet(seed=1).fc.weight)


def test_the_generator_goes_on_as_if_nothing_was_drawn(tmp_path):
    torch.manual_seed(3)
    wanted = torch.rand(1)
    torch.manual_seed(3)
    model = narrow.plain()
    torch.manual_seed(3)
    reinitialise(model, session(tmp_path))
    assert torch.equal(torch.rand(1), wanted)


def test_a_module_that_cannot_be_drawn_again_is_named(tmp_path):
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(2))

    model = nn.Sequential(nn.Linear(3, 2), Scaled())
    before = model[0].weight.detach().clone()
    with pytest.raises(UserError, match=r"Module 1 must have reset_parameters .* Scaled has none"):
        reinitialise(model, session(tmp_path))
    assert torch.equal(model[0].weight, before)


def test_slimmings_shape_is_trained_afresh(tmp_path):
    options = {"channels": 0.5, "sparse_epochs": 1}
    slimmed = Slimming(**options).prune(narrow.resnet(), narrow.task(tmp_path / "slim"))
    task = narrow.task(tmp_path / "scratch")
    scratch = ScratchE(options=options, epochs=5).prune(narrow.resnet(), task)
    assert shapes(scratch) == shapes(slimmed)
    assert shapes(scratch) != shapes(narrow.resnet())
    assert not torch.equal(scratch.fc.weight, slimmed.fc.weight)
    assert task.session.accuracy(scratch) > 0.9
    # The penalty's epoch and five from scratch: no fine-tuning of weights that are dropped.
    assert task.session.train_batches.epochs == 6


def test_given_shape_is_trained_from_weights_that_do_not_matter(tmp_path):
    results = []
    for index in range(2):
        task = narrow.task(tmp_path / str(index), definition=narrow.RESNET)
        torch.manual_seed(index)
        model = narrow.RESNET.make((2, 3, 4, 2, 3, 4))
        results.append(ScratchE(finder="given").prune(model, task))
    assert narrow.same(*results)
    assert task.session.train_batches.epochs == 2  # the recipe's


@pytest.mark.parametrize(
    ("widths", "epochs"),
    [
        (narrow.WIDTHS, 4),
        ((3, 5, 6, 4, 6, 7), 6),
        ((2, 3, 4, 3, 4, 5), 8),
    ],
)
def test_scratch_b_computes_as_much_as_the_dense_network(tmp_path, widths, epochs):
    def multiplications(widths):
        """Places x 9 x inputs x outputs, 1 x 1 shortcuts, the classifier."""
        a, b, c, x, y, z = widths
        first = 64 * 9 * (a + a * x + x * a)
        second = 16 * (9 * (a * y + y * b) + a * b)
        return first + second + 4 * (9 * (b * z + z * c) + b * c) + 10 * c

    torch.manual_seed(0)
    model = narrow.RESNET.make(widths)
    assert macs(model, narrow.INPUT) == multiplications(widths)
    ratio = multiplications(narrow.WIDTHS) / multiplications(widths)
    assert epochs == round(4 * min(2, ratio))
    task = narrow.task(tmp_path, definition=narrow.RESNET)
    ScratchB(finder="given", epochs=4).prune(model, task)
    assert task.session.train_batches.epochs == epochs


def test_uniform_scales_every_width(tmp_path):
    task = narrow.task(tmp_path, definition=narrow.RESNET)
    model = Uniform(channels=0.5, epochs=5).prune(narrow.resnet(), task)
    assert narrow.channels(model) == {
        "stem": 2,
        "block1.conv1": 2,  # half of 5, to the even one
        "block1.conv2": 2,
        "block2.conv1": 4,  # half of 7
        "block2.conv2": 3,
        "block2.shortcut": 3,
        "block3.conv1": 4,  # half of 9
        "block3.conv2": 4,
        "block3.shortcut": 4,
    }
    assert task.session.accuracy(model) > 0.9
    shape = ScratchE(finder="uniform", options={"channels": 0.01}).prune(
        narrow.resnet(), narrow.task(tmp_path / "tiny", definition=narrow.RESNET)
    )
    assert set(narrow.channels(shape).values()) == {1}


# 4 steps an epoch: in the finder's epoch, in the first from scratch, in the last.
@pytest.mark.parametrize("stop_at", [2, 6, 15])
def test_interrupted_it_goes_on_to_the_same_weights(tmp_path, stop_at):
    def run(folder, batches=None):
        task = narrow.task(tmp_path / folder, batches=batches)
        return ScratchB(options={"channels": 0.5}, epochs=2).prune(narrow.plain(), task)

    whole = run("whole")
    with pytest.raises(narrow.Interrupted):
        run("broken", narrow.Batches(stop_at))
    assert narrow.same(run("broken"), whole)


def test_bad_options_are_refused(tmp_path):
    accepted = "Finder must be given or one of slimming, .*uniform.*, not"
    for options, message in (
        ({"finder": "magnitude"}, f"{accepted} 'magnitude'"),
        ({"finder": "scratch-b"}, f"{accepted} 'scratch-b'"),
        ({"options": {"chanels": 0.5}}, "Options of method slimming must be among .*'chanels'"),
        ({"options": {"channels": 2}}, "Share of channels must be above 0 and at most 1, not 2"),
        ({"finder": "given", "options": {"channels": 1}}, "given must have no options, not chan"),
        ({"epochs": 0}, "Epochs must be 1 at least, not 0"),
    ):
        for method in ("scratch-e", "scratch-b"):
            with pytest.raises(UserError, match=message):
                make(method, options)
    with pytest.raises(UserError, match=r"Finder given needs a network of ours .* not Plain"):
        make("scratch-b", {"finder": "given"}).prune(narrow.plain(), narrow.task(tmp_path))
