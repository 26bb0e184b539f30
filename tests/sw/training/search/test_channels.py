"""Removing channels: all that depends on them goes with them, and nothing that matters."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from golden.errors import UserError  # noqa: E402
from sw.training import masks  # noqa: E402
from sw.training.networks import find  # noqa: E402
from sw.training.search import channels  # noqa: E402
from tests.sw.training import narrow  # noqa: E402


def scramble(model):
    """Draw normalisations' values, so that no channel is like another or passes unchanged."""
    random = torch.Generator().manual_seed(5)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean):
                tensor.copy_(torch.randn(len(tensor), generator=random))
            module.running_var.copy_(torch.rand(module.num_features, generator=random) + 0.5)
    return model.eval()


def images(shape, count=3):
    return torch.randn((count, *shape), generator=torch.Generator().manual_seed(9))


def all_but(size, *gone):
    kept = torch.ones(size, dtype=torch.bool)
    kept[list(gone)] = False
    return kept


def test_layers_that_a_residual_addition_joins_are_one_group():
    found = channels.find(narrow.resnet(), narrow.INPUT)
    assert [group.layers for group in found] == [
        ("stem", "block1.conv2"),
        ("block1.conv1",),
        ("block2.conv1",),
        ("block2.conv2", "block2.shortcut"),
        ("block3.conv1",),
        ("block3.conv2", "block3.shortcut"),
    ]
    assert found[0].norms == ("stem_norm", "block1.norm2")
    assert found[0].name == "stem"


def test_zero_channels_of_a_residual_network_leave_without_a_trace():
    model = scramble(narrow.resnet())
    with torch.no_grad():
        for norm in (model.stem_norm, model.block1.norm2):  # stage 1: channels 0 and 2
            norm.weight[[0, 2]] = norm.bias[[0, 2]] = 0
        for norm in (model.block3.norm2, model.block3.shortcut_norm):
            norm.weight[7] = norm.bias[7] = 0
        inner = model.block2.norm1
        inner.weight[1:] = inner.bias[1:] = 0
        before = model(images(narrow.INPUT))
        channels.remove(
            model,
            narrow.INPUT,
            {
                "stem": all_but(4, 0, 2),
                "block3.conv2": all_but(8, 7),
                "block2.conv1": all_but(7, 1, 2, 3, 4, 5, 6),
            },
        )
        after = model(images(narrow.INPUT))
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5)
    shapes = {name: tuple(layer.weight.shape) for name, layer in masks.layers(model).items()}
    assert shapes == {
        "stem": (2, 1, 3, 3),
        "block1.conv1": (5, 2, 3, 3),
        "block1.conv2": (2, 5, 3, 3),
        "block2.conv1": (1, 2, 3, 3),
        "block2.conv2": (6, 1, 3, 3),
        "block2.shortcut": (6, 2, 1, 1),
        "block3.conv1": (9, 6, 3, 3),
        "block3.conv2": (7, 9, 3, 3),
        "block3.shortcut": (7, 6, 1, 1),
        "fc": (10, 7),
    }
    assert model.block3.shortcut_norm.running_var.shape == (7,)


def test_channels_that_are_not_zero_do_matter():
    model = scramble(narrow.resnet())
    with torch.no_grad():
        before = model(images(narrow.INPUT))
        channels.remove(model, narrow.INPUT, {"stem": all_but(4, 0)})
        assert not torch.allclose(model(images(narrow.INPUT)), before, rtol=1e-2)


def test_what_stays_is_what_was_there():
    model = scramble(narrow.plain())
    wanted = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    channels.remove(model, narrow.INPUT, {"a": all_but(6, 1, 4), "b": all_but(10, 0)})
    rows, inner = [0, 2, 3, 5], list(range(1, 10))
    assert torch.equal(model.a.weight, wanted["a.weight"][rows])
    assert torch.equal(model.a.bias, wanted["a.bias"][rows])
    assert torch.equal(model.an.running_mean, wanted["an.running_mean"][rows])
    assert torch.equal(model.b.weight, wanted["b.weight"][inner][:, rows])
    # Channel 0 of b is the first 4 x 4 columns of the flattened picture.
    assert torch.equal(model.out.weight, wanted["out.weight"][:, 16:])
    assert (model.a.out_channels, model.b.in_channels, model.out.in_features) == (4, 4, 9 * 16)


def test_zero_filters_without_normalisation_leave_without_a_trace():
    torch.manual_seed(1)
    model = find("lenet5").make((4, 5, 6)).eval()
    with torch.no_grad():
        for layer, gone in ((model.conv1, 3), (model.conv2, 0), (model.fc1, 2)):
            layer.weight[gone] = layer.bias[gone] = 0
        before = model(images((1, 28, 28)))
        kept = {"conv1": all_but(4, 3), "conv2": all_but(5, 0), "fc1": all_but(6, 2)}
        channels.remove(model, (1, 28, 28), kept)
        torch.testing.assert_close(model(images((1, 28, 28))), before)
    assert model.fc1.weight.shape == (5, 16 * 4)


def test_depthwise_convolutions_go_with_the_layer_before():
    torch.manual_seed(2)
    model = nn.Sequential(
        nn.Conv2d(1, 6, 3, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 6, 3, groups=6, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 2, 1),
    )
    assert channels.find(model, narrow.INPUT) == [channels.Group(("0", "3"), ("1", "4"))]
    channels.remove(model, narrow.INPUT, {"0": all_but(6, 1, 2)})
    assert (model[3].groups, model[3].weight.shape) == (4, (4, 1, 3, 3))
    assert model(images(narrow.INPUT)).shape == (3, 2, 4, 4)


class Awkward(nn.Module):
    """Whatever can't be removed: what is added to the input, a sigmoid, groups, outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.added = nn.Conv2d(4, 4, 3, padding=1)
        self.sigmoid = nn.Conv2d(4, 4, 1)
        self.free = nn.Conv2d(4, 6, 1)
        self.grouped = nn.Conv2d(6, 4, 1)
        self.groups = nn.Conv2d(4, 4, 1, groups=2)
        self.alone = nn.Conv2d(4, 1, 1)
        self.outputs = nn.Conv2d(1, 3, 1)

    def forward(self, x):
        x = self.free(self.sigmoid(x + self.added(x)).sigmoid()).relu()
        return self.outputs(self.alone(self.groups(self.grouped(x)).relu()).relu())


def test_channels_that_the_rest_needs_are_left_out():
    torch.manual_seed(0)
    found = channels.find(Awkward(), (4, 8, 8))
    assert [group.layers for group in found] == [("free",)]
    assert found[0].norms == ()


def test_memory_format_stays():
    model = narrow.resnet()
    assert model.block3.conv1.weight.is_contiguous(memory_format=torch.channels_last)
    channels.remove(model, narrow.INPUT, {"block3.conv1": all_but(9, 1)})
    weight = model.block3.conv1.weight
    assert weight.shape[0] == 8
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_bad_requests_are_refused_and_nothing_is_removed():
    model = narrow.plain()
    for name, kept, message in (
        ("c", all_but(6, 0), "Layer to prune must be one of a, b, out, not 'c'"),
        ("a", all_but(5, 0), r"Channels of layer a must be told by 6 values, not \(5,\)"),
        ("a", all_but(6, *range(6)), "Layer a must keep a channel at least, not 0 of 6"),
    ):
        with pytest.raises(UserError, match=message):
            channels.remove(model, narrow.INPUT, {"b": all_but(10, 0), name: kept})
    with pytest.raises(UserError, match="Plain must run on an input of shape"):
        channels.find(model, (3, 8, 8))
    masks.mask(model, {"b": torch.ones(10, 6, 3, 3, dtype=torch.bool)})
    with pytest.raises(UserError, match="must have no masks, not masks on b"):
        channels.find(model, narrow.INPUT)
    assert narrow.channels(model) == {"a": 6, "b": 10}
