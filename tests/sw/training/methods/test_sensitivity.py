"""Layers pruned one by one: what is measured, and the studies that tabulate it."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from accel.studies.study import StudyTask, summarise  # noqa: E402
from accel.studies.training import find, hardware, sensitivity  # noqa: E402
from golden.errors import UserError  # noqa: E402
from sw.training import masks  # noqa: E402
from sw.training.loop.objective import accuracy  # noqa: E402
from sw.training.methods.masking.sensitivity import first, scan, score  # noqa: E402
from tests.sw.training.small_pictures import SMALL, Small, split  # noqa: E402


def counts(model):
    return [int(masks.weight(layer).count_nonzero()) for layer in masks.layers(model).values()]


def test_one_layer_is_pruned_at_a_time_and_the_model_stays():
    torch.manual_seed(0)
    model = Small()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    found = scan(model, (1.0, 0.5, 0.25), lambda each, name: (name, counts(each)))
    # 8 filters of 9 weights, 8 of 72, 2 of 128.
    assert found == {
        "conv1": [("conv1", [n, 576, 256]) for n in (72, 36, 18)],
        "conv2": [("conv2", [72, n, 256]) for n in (576, 288, 144)],
        "fc": [("fc", [72, 576, n]) for n in (256, 128, 64)],
    }
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_the_largest_stay_and_zeros_do_not_come_back():
    model = nn.Sequential(nn.Linear(4, 1, bias=False))
    model[0].weight.data = torch.tensor([[4.0, -3, 2, 1]])
    masks.mask(model, {"0": torch.tensor([[True, True, True, False]])})
    seen = scan(model, (1.0, 0.5), lambda each, _: masks.weight(each[0]).tolist())
    assert seen == {"0": [[[4, -3, 2, 0]], [[4, -3, 0, 0]]]}


def test_layer_that_matters_is_told_from_one_that_does_not():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(6, 3), nn.Linear(6, 3)

        def forward(self, x):
            return self.used(x) + 0 * self.unused(x)

    torch.manual_seed(0)
    model, inputs = Sum(), torch.randn(50, 6)
    data = [(inputs, model(inputs).argmax(1))]
    found = scan(model, (1.0, 0.1), lambda each, _: score(each, data))
    assert found["used"][0] == found["unused"][0] == found["unused"][1]
    assert found["used"][0].accuracy == 1
    assert found["used"][1].accuracy < 0.9
    assert found["used"][1].loss > found["used"][0].loss


def test_score_is_a_mean_over_batches_of_any_size():
    model = nn.Identity()
    outputs = torch.log(torch.tensor([[0.5, 0.5], [0.25, 0.75], [0.9, 0.1]]))
    labels = torch.tensor([0, 1, 1])
    halves = [(outputs[:1], labels[:1]), (outputs[1:], labels[1:])]
    found = score(model, halves)
    expected = -sum(torch.log(torch.tensor(p)) for p in (0.5, 0.75, 0.1)) / 3
    assert found.loss == pytest.approx(float(expected))
    assert found.accuracy == pytest.approx(2 / 3)


def test_only_the_first_images_are_used():
    batches = [(torch.arange(4.0), torch.arange(4)), (torch.arange(4.0, 8), torch.arange(4, 8))]
    assert [len(labels) for _, labels in first(batches, 5)] == [4, 1]
    assert first(batches, 5)[1][1].tolist() == [4]
    assert sum(len(labels) for _, labels in first(batches, 100)) == 8
    with pytest.raises(UserError, match="must not be empty"):
        first([], 5)


# -- studies ----------------------------------------------------------------------------------


def study_task(folder, **changes):
    return StudyTask(
        data=split(),
        folder=folder,
        seeds=(1,),
        measure=lambda network: {"cycles": 10.0, "utilisation": 0.5},
        cost=lambda model: float(sum(counts(model))),
        layer_cost=lambda model: dict(zip(masks.layers(model), counts(model), strict=True)),
        **changes,
    )


def test_sensitivity_has_a_row_a_layer_and_density(tmp_path, monkeypatch):
    monkeypatch.setattr(sensitivity, "NETWORKS", (SMALL,))
    monkeypatch.setattr(sensitivity, "DENSITIES", (1.0, 0.25))
    task = study_task(tmp_path)
    study = find("sensitivity")
    rows = study.rows(task)
    assert [(row["layer"], row["density"], row["cycles"]) for row in rows] == [
        ("small conv1", 1.0, 72), ("small conv1", 0.25, 18),
        ("small conv2", 1.0, 576), ("small conv2", 0.25, 144),
        ("small fc", 1.0, 256), ("small fc", 0.25, 64),
    ]  # fmt: skip
    dense = accuracy(task.dense(SMALL, 1), task.data.validation)
    assert {row["accuracy"] for row in rows if row["density"] == 1} == {dense}
    assert len(summarise(rows, study.columns)) == 6


def test_hardware_compares_at_equal_cycles_and_at_equal_density(tmp_path, monkeypatch):
    monkeypatch.setattr(hardware, "EPOCHS", 1)
    asked, quantised = [], []
    monkeypatch.setattr("sw.training.pipeline.to_network", lambda *given: quantised.append(given))

    def measure_on(**changes):
        asked.append(changes)
        return lambda network: {"cycles": 20.0, "utilisation": 0.25}

    case = {"definition": SMALL, "densities": (0.5,), "budgets": (0.4,)}
    rows = hardware.rows(study_task(tmp_path, measure_on=measure_on), **case)
    assert asked == [{"balance": "none"}]
    assert len(quantised) == len(rows)  # once for both machines
    found = {row["label"]: row for row in rows}
    assert found.keys() == {
        "dense", "magnitude global 0.5", "magnitude uniform 0.5", "balance filter 0.5",
        "balance chunk 0.5", "cycles by weights 0.4", "cycles by cycles 0.4",
    }  # fmt: skip
    for name, row in found.items():
        wanted = 904 if name == "dense" else 904 * (0.4 if name.startswith("cycles") else 0.5)
        assert row["nonzero_weights"] == pytest.approx(wanted, abs=10), name
        assert (row["cycles"], row["cycles_unsorted"]) == (10, 20)
    study = find("hardware")
    summarise(rows, study.columns)
    with pytest.raises(UserError, match="must be given measure_on"):
        study.rows(study_task(tmp_path))
