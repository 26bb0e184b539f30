"""Quantisation-aware training with masks, and the QDQ model that it leads to."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from onnx import numpy_helper  # noqa: E402
from torch import nn  # noqa: E402

from golden.errors import UserError  # noqa: E402
from sw.onnx.runtime import load_session, run_session  # noqa: E402
from sw.training import Pruner, QuantisedTraining  # noqa: E402
from tests.sw.training.toys import toy_images, toy_loader, toy_net  # noqa: E402


def test_what_was_trained_is_what_the_qdq_model_computes() -> None:
    model, loader = toy_net(), toy_loader()
    images, labels = toy_images()
    optimiser = torch.optim.SGD(model.parameters(), 0.05, 0.9)
    pruner = Pruner(model, images[:4], density=0.2, steps=12 * len(loader))
    rounding = QuantisedTraining(model, images)
    for _ in range(12):
        for inputs, targets in loader:
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(inputs), targets).backward()
            optimiser.step()
            pruner.step()
    model.eval()
    with torch.no_grad():
        wanted = model(images)
        rounding.finish()
        plain = model(images)
    assert not torch.equal(wanted, plain)
    assert float((wanted.argmax(1) == labels).float().mean()) > 0.8

    qdq = pruner.finish(images.numpy()).qdq
    codes = {each.name: numpy_helper.to_array(each) for each in qdq.graph.initializer}
    kept = sum(np.count_nonzero(x) for x in codes.values() if x.dtype == np.int8 and x.ndim > 1)
    assert 0.9 * 0.2 * 998 < kept <= round(0.2 * 998)
    session = load_session(qdq)
    found = np.concatenate(
        [run_session(session, None, {"images": image[None].numpy()})[0] for image in images]
    )
    step = float(wanted.abs().max()) / 127  # of the code of the outputs, rounded once more
    assert np.abs(found - wanted.numpy()).max() < 3 * step
    assert np.abs(found - wanted.numpy()).mean() < np.abs(found - plain.numpy()).mean()


def test_weights_are_rounded_by_filter_and_gradients_pass() -> None:
    layer = nn.Conv2d(1, 2, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([127.4, 0.1]).reshape(2, 1, 1, 1))
    rounding = QuantisedTraining(layer, torch.tensor([[[[255.0]]], [[[1.4]]]]))
    assert rounding.ranges == {"": (0.0, 255.0)}
    x = torch.tensor([[[[1.4]]]], requires_grad=True)
    out = layer(x)
    # The input's code is 1 of a scale of 1; each weight is its filter's largest.
    assert out.flatten().tolist() == pytest.approx([127.4, 0.1])
    out.sum().backward()
    assert layer.weight.grad.flatten().tolist() == pytest.approx([1.0, 1.0])
    assert float(x.grad) == pytest.approx(127.5)
    rounding.finish()
    assert layer(x).flatten().tolist() == pytest.approx([127.4 * 1.4, 0.14])


def test_ranges_are_kept_in_a_checkpoint() -> None:
    images = toy_images(8)[0]
    first, second = (QuantisedTraining(toy_net(), scale * images) for scale in (1, 2))
    assert first.ranges != second.ranges
    second.load_state_dict(first.state_dict())
    assert first.ranges == second.ranges
    with pytest.raises(UserError, match="must be those of this model's layers"):
        first.load_state_dict({"ranges": {"other": [0, 1]}})


def test_a_model_without_such_layers_is_refused() -> None:
    with pytest.raises(UserError, match="must have a Conv2d or Linear layer to quantise"):
        QuantisedTraining(nn.LSTM(2, 2), torch.zeros(1, 2))
