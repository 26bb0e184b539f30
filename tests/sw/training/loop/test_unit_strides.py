"""Strided 1 x 1 convolutions of few channels: gradients by hand, weights equal from run to run.

What trains them runs in a process of its own, as processors without AVX-512 would: without the
mend it gives wrong weights, dies or never ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from sw.training.loop.session import Phase, Session  # noqa: E402
from sw.training.loop.unit_strides import UnitStrides  # noqa: E402
from tests.sw.training import narrow  # noqa: E402

ROOT = Path(__file__).parents[4]
RATE = 0.001


class _Functional(nn.Module):
    """A user's module: its convolutions are calls, in the layout that a picture in grey has."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(outputs, inputs, 1, 1))

    def forward(self, x):
        return nn.functional.conv2d(x, self.weight, stride=2)


def check_gradients(folder: str) -> None:
    """Train one step; the loss is a sum of outputs times ``shares``, so its gradient is a sum."""
    random = np.random.default_rng(0)
    for inputs, outputs in ((1, 3), (2, 3), (4, 8), (7, 9), (8, 4), (9, 5)):
        x = random.normal(size=(8, inputs, 14, 14))
        shares = random.normal(size=(8, outputs, 7, 7))
        picture = torch.tensor(x, dtype=torch.float32).contiguous(memory_format=torch.channels_last)
        batch = [(picture, torch.tensor(shares, dtype=torch.float32))]
        model = _Functional(inputs, outputs)
        session = Session(batch, batch, Path(folder) / f"{inputs}-{outputs}")
        phase = Phase(name="step", epochs=1, rate=RATE, momentum=0, weight_decay=0)
        session.train(model, phase, loss=lambda found, wanted: (found * wanted).sum())
        gradient = np.einsum("nkyx,ncyx->kc", shares, x[:, :, ::2, ::2])
        found = model.weight.detach().numpy()[:, :, 0, 0]
        np.testing.assert_allclose((1 - found) / RATE, gradient, rtol=1e-3, atol=2e-2)


def check_runs_agree(folder: str) -> None:
    """Train a narrow residual network three times from one seed."""
    models = []
    for run in range(3):
        torch.manual_seed(0)
        models.append(narrow.RESNET.make((2, 3, 4, 2, 3, 4)))
        narrow.task(Path(folder) / str(run)).session.train(
            models[-1], Phase(name="dense", epochs=3, rate=0.1)
        )
    assert all(narrow.same(model, models[0]) for model in models)


@pytest.mark.parametrize("check", [check_gradients, check_runs_agree])
def test_training_on_a_processor_without_avx_512(check, tmp_path: Path) -> None:
    code = f"import {__name__} as tests; tests.{check.__name__}({str(tmp_path)!r})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("inputs", "kernel", "options"),
    [
        (3, 1, {"stride": 2}),
        (3, 1, {"stride": (2, 1)}),
        (3, 1, {"stride": [1, 3], "padding": (0, 0)}),
        (3, 1, {"stride": [2], "padding": "valid"}),
        (4, 1, {"stride": 2, "groups": 2}),
        (3, 1, {"stride": 2, "padding": 1}),
        (3, 1, {"stride": 2, "padding": (0, 1)}),
        (3, 1, {"stride": 1}),
        (3, 3, {"stride": 2, "padding": 1, "dilation": 2}),
    ],
)
def test_outputs_are_the_strided_convolutions(inputs, kernel, options) -> None:
    generator = torch.Generator().manual_seed(0)
    groups = options.get("groups", 1)
    x = torch.randn(2, inputs, 7, 8, generator=generator)
    weight = torch.randn(6, inputs // groups, kernel, kernel, generator=generator)
    bias = torch.randn(6, generator=generator)
    wanted = torch.conv2d(x.double(), weight.double(), bias.double(), **options)
    with UnitStrides():
        found = torch.conv2d(x, weight, bias, **options)
        unbatched = nn.functional.conv2d(x[0], weight, bias, **options)
    torch.testing.assert_close(found, wanted.float())
    torch.testing.assert_close(unbatched, wanted[0].float())


@pytest.mark.parametrize("capability", ["AVX2", "AVX512"])
def test_a_pruner_warns_of_a_loop_that_is_not_protected(monkeypatch, capability: str) -> None:
    from sw.training import Pruner
    from sw.training.pruner.pruner import PruningWarning

    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    model = torch.nn.Sequential(torch.nn.Conv2d(2, 4, 1, stride=2), torch.nn.Conv2d(4, 9, 1))
    images = torch.rand(2, 2, 4, 4)
    Pruner(model, images, density=0.5, steps=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with UnitStrides():
            model(images)
        model.eval()(images)
    model.train()
    if capability == "AVX2":
        with pytest.warns(PruningWarning, match=r"Gradients of 0, a strided .* may be wrong"):
            model(images)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(images)  # said once
