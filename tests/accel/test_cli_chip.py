"""`accel run --memory`: a whole network from memory, on a chip."""

import pytest


def test_a_network_runs_from_memory(accel):
    status, out, err = accel("run", "lenet5", "--memory", "rate:16,30")
    assert (status, err) == (0, "")
    assert out.startswith("lenet5 on board, 8 multipliers, memory rate:16,30: ")
    assert max(map(len, out.splitlines())) <= 80
    totals = [line.split()[1:] for line in out.splitlines() if line.startswith("total")]
    _, cycles, *waits = [int(cell) for cells in totals for cell in cells]
    # The counters partition the cycles.
    assert sum(waits) == cycles


def test_a_slower_memory_takes_longer(accel):
    def cycles(memory):
        _, out, _ = accel("run", "lenet5", "--preset", "chip-64", "--memory", memory)
        return int(out.partition(" cycles")[0].rpartition(" ")[2])

    assert cycles("ideal") < cycles("rate:8,30") < cycles("rate:2,30")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--memory", "nosuch"], ["Memory must be one of ideal, rate, sdram", "nosuch"]),
        (["--memory", "rate:0,1"], ["Memory parameter bytes must be at least 1, not 0"]),
        (["--memory", "sdram", "--preset", "small"], ["Preset must be one of board", "small"]),
        (["--memory", "sdram", "--json", "x.json"], ["--json must be left out with --memory"]),
        (["--memory", "sdram", "--machine", "scnn"], ["--machine must be left out"]),
        (["--memory", "sdram", "--skip", "some"], ["Skip mode of a chip must be one of dense"]),
    ],
)
def test_what_does_not_fit_is_refused(refuses, arguments, words):
    refuses(["run", "lenet5", *arguments], *words)
