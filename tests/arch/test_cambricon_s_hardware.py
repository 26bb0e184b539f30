"""The hardware of Cambricon-S against the reference operators (bits) and the oracle (counters).

All cases of a machine run one after another in one build, so that builds stay few.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from numpy.typing import NDArray

pytest.importorskip("amaranth")
pytest.importorskip("cocotb")

from golden import reference
from golden.arithmetic import Requantisation
from golden.errors import CapacityError, HardwareError
from golden.layer import LayerShape
from golden.machines.cambricon_s import CORE_COUNTERS, CambriconSConfig
from golden.machines.cluster.config import SkipMode
from golden.program import Codes, LayerRun, LayerTask
from rtl.cambricon_s.core import latencies
from rtl.cambricon_s.driver import CoreLayer, decode_outputs, make_program
from rtl.cambricon_s.hardware import HARDWARE
from rtl.sim.run import SimulatorName, run_layers
from tests.arch.cambricon_s_cases import CATALOGUE, CONFIGURATIONS, CambriconSCase, cases, layer_of
from tests.arch.cambricon_s_oracle import run_layer as run_oracle

#: Cases that take few cycles, for the slow simulators.
_SHORT = ("one-weight", "few-windows", "short-positions")
_DRAWN = 4
_DRAWN_SHORT = 2
_MACHINES = ("toy", "codes-4-bits", "narrow")


@cache
def machine_cases(name: str, short: bool, drawn: int = _DRAWN) -> tuple[CambriconSCase, ...]:
    """Return the catalogue's and some drawn cases of one machine."""
    config = CONFIGURATIONS[name]
    result = [
        case
        for case in CATALOGUE
        if case.config is config and (not short or case.name.removeprefix(f"{name}-") in _SHORT)
    ]

    @seed(sorted(CONFIGURATIONS).index(name))
    @settings(
        max_examples=max(1, drawn),
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(cases(config, steps_max=20 if short else 100))
    def draw(case: CambriconSCase) -> None:
        result.append(case)

    if drawn:
        draw()
    return tuple(result)


@cache
def expected(case: CambriconSCase):
    """Return the right codes and counters."""
    layer, weights, activations, requantisation = case.arguments
    codes = reference.convolve(weights, activations, layer, requantisation)
    return codes, run_oracle(case.config, *case.arguments)[1]


def layer_run(
    layer: LayerShape,
    weights: NDArray[np.int8],
    activations: Codes,
    requantisation: Requantisation,
) -> LayerRun:
    task = LayerTask(layer=layer, weights=weights)
    return LayerRun(task=task, activations=activations, requantisation=requantisation)


def run(chosen: tuple[CambriconSCase, ...], simulator: SimulatorName, stalls: int | None = None):
    runs = [(layer_run(*case.arguments), SkipMode.BOTH) for case in chosen]
    ran = run_layers(HARDWARE, chosen[0].config, runs, simulator, stalls)
    return zip(chosen, ran, strict=True)


def check(chosen: tuple[CambriconSCase, ...], simulator: SimulatorName) -> None:
    for case, (codes, counters) in run(chosen, simulator):
        wanted, oracle = expected(case)
        np.testing.assert_array_equal(codes, wanted, err_msg=case.name)
        assert codes.dtype == wanted.dtype
        assert counters.difference(oracle) == "", f"hardware and oracle, {case!r}"


def test_latencies_are_the_blocks_sums():
    assert latencies() == CambriconSConfig.LATENCY


@pytest.mark.parametrize("name", [*_MACHINES, pytest.param("wide", marks=pytest.mark.slow)])
def test_verilator(name):
    check(machine_cases(name, short=False), "verilator")


@pytest.mark.parametrize("name", _MACHINES)
def test_icarus(name):
    check(machine_cases(name, short=True, drawn=_DRAWN_SHORT), "icarus")


def test_amaranth():
    check(machine_cases("codes-4-bits", short=True, drawn=1), "amaranth")


@pytest.mark.parametrize(
    ("simulator", "name"),
    [("verilator", "toy"), ("icarus", "narrow"), ("amaranth", "codes-4-bits")],
)
def test_stalls_change_no_bit(simulator, name):
    """Idle and back-pressure on every stream; that nothing extra comes out, the driver checks."""
    chosen = machine_cases(name, short=True, drawn=0)
    if simulator == "verilator":
        chosen = machine_cases(name, short=False)
    lost = 0
    for case, (codes, counters) in run(chosen, simulator, stalls=77):
        wanted, oracle = expected(case)
        np.testing.assert_array_equal(codes, wanted, err_msg=case.name)
        for counter in CORE_COUNTERS[1:]:
            np.testing.assert_array_equal(counters.core(counter), oracle.core(counter))
        assert counters.cycles >= oracle.cycles
        lost += counters.cycles - oracle.cycles
        total = counters.units.sum(axis=2)
        np.testing.assert_array_equal(
            total, np.broadcast_to(counters.core("cycles")[:, None], total.shape)
        )
    assert lost > 0  # the stalls were felt


# -- the driver -------------------------------------------------------------------------------

_TOY = CONFIGURATIONS["toy"]
_LAYER = layer_of(20, (3, 4), 5, (3, 3), pad=(1, 1, 1, 1))


def made(config=_TOY, weight: int | None = None) -> CoreLayer:
    rng = np.random.default_rng(3)
    weights = rng.integers(-40, 40, _LAYER.weights_shape).astype(np.int8)
    if weight is not None:
        weights[:] = weight
    how = Requantisation(
        bias=np.zeros(5, dtype=np.int64), multiplier=np.full(5, 1 << 23), shift=np.full(5, 30),
        low=0, high=255,
    )  # fmt: skip
    activations = np.ones((3, 4, 20), dtype=np.uint8)
    return CoreLayer(config, layer_run(_LAYER, weights, activations, how))


def test_weight_stream_by_hand():
    # 3 runs of 60 places: windows of 32 and 28; blocks of 4 and 1 filters; all codes are 0.
    program = make_program(made(weight=7), 0)
    assert program is not None
    window, short = (1 << 32) - 1, (1 << 28) - 1
    whole = [window, *[0] * (4 * 4), short, *[0] * (4 * 4)] * 3
    # 6 windows are 2 segments, 12 positions 2 tiles of 8.
    rest = [window, *[0] * 4, short, *[0] * 4] * 3
    beats = program.beats.view("<u8").reshape(-1).tolist()
    assert beats == whole * 2 + rest * 2
    assert program.loads["codebook"].tolist() == [7]
    # Padded 5 x 6 x 20: a line is 120 neurons.
    assert program.loads["windows"].tolist() == [0, 32, 120, 152, 240, 272] * 2
    assert program.loads["blocks"].tolist() == [5 | 3 << 16, 5 | 1 << 31]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"neuron_buffer_bytes": 599}, "neuron buffer must hold 600 bytes, it has 599"),
        ({"code_bits": 4}, "codebook must hold 80 weights, it has 16"),
    ],
)
def test_layer_that_does_not_fit(changes, words):
    with pytest.raises(CapacityError, match=f"Layer layer: the {words}"):
        made(_TOY.replace(**changes))


def test_output_beats_by_hand():
    layer = made()
    # Two codes a beat: the first block has two beats a position, the second one of one code.
    ends = 1 << 18
    beats = [1 | 2 << 8 | 3 << 16, 3 | 4 << 8 | 3 << 16 | ends] * 12
    beats += [5 | 1 << 16 | ends] * 12
    codes = decode_outputs(layer, [beats])
    np.testing.assert_array_equal(codes, np.broadcast_to([1, 2, 3, 4, 5], (3, 4, 5)))
    for wrong in (beats[:-1], [*beats, beats[0]], beats[::-1]):
        with pytest.raises(HardwareError, match="Core 0 gave"):
            decode_outputs(layer, [wrong])
