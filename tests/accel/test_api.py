"""The front door: one import, any network, any machine, one kind of result."""

from __future__ import annotations

import subprocess
import sys

import pytest

import accel
from accel.activations.trace import Trace
from golden.errors import CapacityError, ConfigError, UserError
from golden.machines import registry


@pytest.fixture(scope="module")
def net():
    return accel.load("lenet5")


def test_import_takes_nothing_heavy():
    heavy = "{'numpy', 'numba', 'pandas', 'onnx', 'torch', 'rich', 'amaranth'}"
    program = f"import accel, sys; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_every_public_name_is_there():
    for name in accel.__all__:
        assert getattr(accel, name).__doc__ or isinstance(getattr(accel, name), dict), name
    assert set(accel.__all__) <= set(dir(accel))
    with pytest.raises(AttributeError, match="no attribute 'simulat'"):
        accel.simulat  # noqa: B018


def test_machines_are_described_in_many_ways():
    small = accel.AcceleratorConfig.preset("small")
    for described in ("small", "innerjoin:small", small, accel.machine("small")):
        found = accel.machine(described)
        assert (found.name, found.config) == ("innerjoin", small)
    assert accel.machine("sparten").config.name == "sparten-1k"
    assert accel.machine("sparten:small").config == small
    assert accel.machine("sparten", 64).config.name == "sparten"
    assert accel.machine("cambricon-s:toy").config == accel.CambriconSConfig.preset("toy")
    assert accel.machine(accel.ScnnConfig.preset("toy")).name == "scnn"
    # A preset says its own size.
    assert accel.machine("small", 64).multipliers == small.multipliers


@pytest.mark.parametrize("name", registry.MACHINES)
def test_every_line_of_the_registry_holds(name):
    kind = registry.find(name)
    model, config = kind.load_model(), kind.load_config()
    assert model.name == name
    machine = model(config.preset(model.preset))
    assert machine.multipliers > 0
    assert machine.units > 0
    assert machine.parameters() == machine.config.to_dict() or name == "cambricon-x"
    assert model.modes
    assert registry.kind_of(model.with_multipliers(64).config) in registry.MACHINES
    assert model.with_multipliers(64).config.name == name


@pytest.mark.parametrize(
    ("described", "words"),
    [("nosuch", "Machine must be one of dense"), ("scnn:nosuch", "Preset must be one of"),
     ("innerjoin:", None), ("", "Machine must be one of")],
)  # fmt: skip
def test_machines_that_are_not_there(described, words):
    if words is None:
        assert accel.machine(described).name == "innerjoin"
        return
    with pytest.raises(ConfigError, match=words):
        accel.machine(described)


def test_modes_are_the_machines(net):
    assert accel.simulate(net, "toy").machines[0].modes == tuple(accel.SkipMode)
    assert [m.value for m in accel.simulate(net, "scnn").machines[0].modes] == ["both"]
    assert accel.simulate(net, "toy", modes="static").machines[0].modes == (accel.SkipMode.STATIC,)
    with pytest.raises(UserError, match="Skip mode of scnn must be one of both, not 'dense'"):
        accel.simulate(net, "scnn", modes=["dense"])
    with pytest.raises(UserError, match="must be one or more of dense, static, dynamic, both"):
        accel.simulate(net, "toy", modes=[])


def test_a_run_again_is_equal_and_another_is_not(net):
    run = accel.simulate(net, "toy")
    assert accel.simulate("lenet5", "innerjoin:toy") == run
    assert accel.simulate(net, "toy", images=2) != run
    assert accel.simulate(net, "small") != run
    assert accel.simulate(net, "toy", technology_node="7nm") != run


def test_one_machine_counts_as_among_many(net):
    many = accel.compare(net, ["sparten", "scnn", accel.AcceleratorConfig.preset("small")],
                         multipliers=64)  # fmt: skip
    assert [machine.name for machine in many.machines] == ["sparten", "scnn", "small"]
    alone = accel.simulate(net, "small", modes=["both"])
    assert many["small"].layers == alone.layers
    assert many.baseline.name == "sparten"
    rows = many.to_dataframe()
    assert set(rows["machine"]) == {"sparten", "scnn", "small"}
    assert (rows[rows.machine == "sparten"]["speed_up"] == 1).all()


def test_machines_of_one_name_are_refused(net):
    with pytest.raises(UserError, match="each once, not 'sparten, sparten'"):
        accel.compare(net, ["sparten", "sparten"], multipliers=64)
    with pytest.raises(UserError, match="at least one"):
        accel.compare(net, [])


def test_effectual_pairs_are_what_a_two_sided_machine_multiplies(net):
    run = accel.compare(net, ["innerjoin", "sparten", "extensor"], multipliers=64)
    for machine in run.machines:
        for layer in machine.layers:
            assert layer.timings[layer.mode].pairs == layer.effectual_pairs, layer.name


def test_a_layer_that_does_not_fit_is_named(net):
    tiny = accel.AcceleratorConfig.preset("toy").replace(filter_buffer_chunks=1)
    words = r"must hold layers conv2 \(filter_buffer_chunks 25, not 1\)"
    with pytest.raises(CapacityError, match=words):
        accel.simulate(net, tiny)


def test_networks_that_are_not_there(tmp_path):
    with pytest.raises(UserError, match="Network must be one of"):
        accel.load("nosuch")
    with pytest.raises(UserError, match=r"Images for .* must be given"):
        accel.load(tmp_path / "net.onnx")
    with pytest.raises(UserError, match="Density must be left out"):
        accel.load("lenet5", density=0.5)
    with pytest.raises(UserError, match="Layer of lenet5 must be one of conv1"):
        accel.verify("lenet5", "nosuch", "toy")


def test_images_may_be_arrays():
    net = accel.load("resnet8")
    assert repr(net).startswith("<resnet8: 10 layers, ")
    trace = Trace(net.network, net.images[:1], keep=False)
    assert len(trace) == 10
