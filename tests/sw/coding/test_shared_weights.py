"""Fine-tuning of codebooks: gradients by hand, and weights that stay shared."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from golden.errors import UserError  # noqa: E402
from sw.coding.codebook import CodedWeights, share_values  # noqa: E402
from sw.coding.shared_weights import coded_weights, share_weights  # noqa: E402


def linear(coded):
    layer = torch.nn.Linear(coded.codes.shape[1], coded.codes.shape[0], bias=False)
    model = torch.nn.Sequential(layer)
    share_weights(model, {"0": coded})
    return model, layer


def test_a_values_gradient_is_the_sum_of_its_weights():
    """Figure 3 of Deep Compression's rule, on two regions of two filters."""
    coded = CodedWeights(
        2,
        np.array([[1, 2, 0], [1, 0, 1], [0, 1, 1], [0, 0, 0]], dtype=np.uint8),
        (np.array([-1, 3], dtype=np.float32), np.array([5], dtype=np.float32)),
        2,
    )
    model, layer = linear(coded)
    assert layer.weight.tolist() == [[-1, 3, 0], [-1, 0, -1], [0, 5, 5], [0, 0, 0]]
    (values,) = model.parameters()
    gradient = torch.arange(12.0).reshape(4, 3)
    (layer.weight * gradient).sum().backward()
    # Value -1 at 0, 3 and 5; 3 at 1; 5 at 7 and 8.
    assert values.grad.tolist() == [0 + 3 + 5, 1, 7 + 8]


@pytest.mark.parametrize("filters", [None, 2])
def test_fine_tuning_lowers_the_loss_and_weights_stay_shared(filters):
    generator = torch.Generator().manual_seed(1)
    wanted = torch.randn(6, 20, generator=generator)
    wanted[wanted.abs() < 0.8] = 0
    coded = share_values(wanted.numpy(), 2, "linear", filters)
    model, layer = linear(coded)
    # Inputs that stress some weights: the mean of a group is then not its best value.
    inputs = torch.randn(200, 20, generator=generator) * torch.linspace(0.1, 3, 20)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.02)
    losses = []
    for _ in range(150):
        optimiser.zero_grad()
        loss = torch.nn.functional.mse_loss(model(inputs), inputs @ wanted.T)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.99 * losses[0]
    tuned = coded_weights(model)["0"]
    np.testing.assert_array_equal(tuned.codes, coded.codes)
    weights = layer.weight.detach().numpy()
    np.testing.assert_array_equal(tuned.decode(), weights)
    np.testing.assert_array_equal(weights == 0, wanted.numpy() == 0)
    for region, values in enumerate(tuned.values):
        part = slice(region * coded.region_filters, (region + 1) * coded.region_filters)
        assert set(weights[part].ravel()) - {0.0} == set(values.tolist())
    assert any(
        not np.array_equal(new, old) for new, old in zip(tuned.values, coded.values, strict=True)
    )


def test_what_does_not_fit_is_refused():
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU())
    coded = share_values(np.ones((2, 3), dtype=np.float32), 1)
    for name in ("1", "nothing"):
        with pytest.raises(UserError, match=f"Layer {name} must be a module with a weight"):
            share_weights(model, {name: coded})
    with pytest.raises(UserError, match=r"shape \(2, 3\), not \(3, 2\)"):
        share_weights(model, {"0": share_values(np.ones((3, 2), dtype=np.float32), 1)})
    share_weights(model, {"0": coded})
    with pytest.raises(UserError, match="parametrised"):
        share_weights(model, {"0": coded})
