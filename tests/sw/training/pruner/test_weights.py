"""Which tensors are weights, how they lie, and what is refused."""

from __future__ import annotations

import warnings

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch.nn.utils import parametrizations, prune  # noqa: E402

from golden.errors import UserError  # noqa: E402
from sw.training import Pruner, masks  # noqa: E402
from sw.training.pruner.weights import check_model, find  # noqa: E402
from tests.sw.training.toys import SHAPE, toy_net  # noqa: E402

IMAGES = torch.zeros(1, *SHAPE)


class Many(nn.Module):
    """A layer of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.conv1 = nn.Conv1d(4, 6, 3, groups=2)
        self.conv3 = nn.Conv3d(1, 2, 3)
        self.up = nn.ConvTranspose2d(4, 6, 3, groups=2)
        self.lstm = nn.LSTM(4, 3, bidirectional=True)
        self.cell = nn.GRUCell(4, 3)
        self.attention = nn.MultiheadAttention(4, 2, kdim=3, vdim=3)
        self.norm = nn.LayerNorm((4, 4))
        self.fixed = nn.Linear(4, 4).requires_grad_(False)
        self.normed = parametrizations.weight_norm(nn.Linear(4, 4))
        self.own = nn.Parameter(torch.ones(2, 2))
        self.scale = nn.Parameter(torch.ones(4))


def test_weights_of_all_kinds_are_known_and_the_others_are_named_with_a_reason() -> None:
    weights, left_alone = find(Many())
    assert [each.name for each in weights] == [
        "conv1.weight",
        "conv3.weight",
        "up.weight",
        "lstm.weight_ih_l0",
        "lstm.weight_hh_l0",
        "lstm.weight_ih_l0_reverse",
        "lstm.weight_hh_l0_reverse",
        "cell.weight_ih",
        "cell.weight_hh",
        "attention.q_proj_weight",
        "attention.k_proj_weight",
        "attention.v_proj_weight",
        "attention.out_proj.weight",
    ]
    assert {each.name: each.reason for each in left_alone} == {
        "own": "of Many",
        "embedding.weight": "of Embedding",
        "norm.weight": "of LayerNorm",
        "norm.bias": "of LayerNorm",
        "fixed.weight": "frozen",
        "normed.parametrizations.weight.original0": "of ParametrizationList",
        "normed.parametrizations.weight.original1": "of ParametrizationList",
    }


def test_a_weight_that_a_layer_shares_with_an_embedding_is_left_alone() -> None:
    model = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 3), nn.Linear(4, 5, bias=False))
    model[2].weight = model[0].weight
    weights, left_alone = find(model)
    assert [each.name for each in weights] == ["1.weight"]
    assert [(each.name, each.size) for each in left_alone] == [("0.weight", 20)]


def test_layers_can_be_ignored_by_name_and_unknown_names_are_refused() -> None:
    weights, left_alone = find(toy_net(), ["features"])
    assert [each.name for each in weights] == ["fc.weight"]
    assert [each.reason for each in left_alone] == ["as was asked"] * 2
    with pytest.raises(UserError, match=r"to leave alone must be one of .*, not 'conv9'"):
        find(toy_net(), ["conv9"])


@pytest.mark.parametrize("groups", [1, 2])
def test_a_transposed_convolution_lies_as_the_convolution_that_it_is(groups: int) -> None:
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(4, 6, (3, 2), groups=groups, bias=False)
    (weight,), _ = find(layer)
    krsc = weight.to_krsc(layer.weight.detach())
    assert krsc.shape == (6, 3, 2, 4 // groups)
    images = torch.randn(1, 4, 5, 5)
    flipped = krsc.permute(0, 3, 1, 2).flip(2, 3)
    expected = functional.conv2d(images, flipped, padding=(2, 1), groups=groups)
    assert torch.allclose(layer(images), expected, atol=1e-5)
    assert torch.equal(weight.from_krsc(krsc), layer.weight)


@pytest.mark.parametrize("layer", [nn.Conv1d(4, 6, 3, groups=2), nn.Conv3d(2, 3, (2, 3, 4))])
def test_convolutions_of_other_axes_have_channels_last(layer: nn.Module) -> None:
    (weight,), _ = find(layer)
    tensor = torch.arange(weight.size).reshape(weight.parameter.shape)
    krsc = weight.to_krsc(tensor)
    assert krsc[0, 0, 0].tolist() == tensor[0].flatten(1)[:, 0].tolist()
    assert krsc[1, 0, 1].tolist() == tensor[1].flatten(1)[:, 1].tolist()
    assert torch.equal(weight.from_krsc(krsc), tensor)


def test_masks_of_pytorchs_own_pruning_are_kept_and_its_names_are_plain_again() -> None:
    model = toy_net()
    optimiser = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    prune.l1_unstructured(model.fc, "weight", 0.75)
    zeros = model.fc.weight == 0
    pruner = Pruner(model, IMAGES, density=0.3, schedule="one-shot")
    assert dict(model.named_parameters()).keys() >= {"fc.weight"}
    for _ in range(3):
        model(torch.rand(4, *SHAPE)).square().sum().backward()
        optimiser.step()
        pruner.step()
    assert not torch.any(model.fc.weight[zeros])
    assert int(zeros.sum()) == 384
    assert pruner.density == pytest.approx(0.3, abs=0.001)


def test_masks_of_this_project_are_kept() -> None:
    model = toy_net()
    kept = torch.rand(model.fc.weight.shape) < 0.2
    masks.mask(model, {"fc": kept})
    Pruner(model, IMAGES, density=0.3, schedule="one-shot").step()
    assert not torch.any(model.fc.weight[~kept])
    assert not masks.masks(model)


def scripted() -> nn.Module:
    with pytest.warns(DeprecationWarning, match="trace"):
        return torch.jit.trace(toy_net().eval(), IMAGES)


def prepared() -> nn.Module:
    from torch.ao import quantization

    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()).train()
    model.qconfig = quantization.get_default_qat_qconfig("x86")  # type: ignore[assignment]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return quantization.prepare_qat(model)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: toy_net().state_dict(), "must be a torch.nn.Module, not a dict of weights"),
        (lambda: "resnet18", "must be a torch.nn.Module, not str"),
        (lambda: nn.Sequential(nn.ReLU(), nn.BatchNorm2d(4)), "must have weights, not none"),
        (lambda: nn.LazyLinear(3), "Parameter weight must have a shape"),
        (scripted, "must be one of Python, not compiled by torch.jit"),
        (prepared, "must not be prepared for quantisation, as 0.weight_fake_quant is"),
    ],
)
def test_what_cannot_be_pruned_is_refused_in_one_line(make: object, words: str) -> None:
    model = make()  # type: ignore[operator]
    with pytest.raises(UserError, match=words) as caught:
        check_model(model)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=words):
        Pruner(model, IMAGES)
