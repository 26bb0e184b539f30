"""What the tests of single machines share."""

import pytest

from golden.machines.extensor import Latency


@pytest.fixture
def extensor_latencies(monkeypatch):
    """Fix the latencies that figures by hand were worked out with."""
    latencies = {"LISTS": 1, "LOAD": 3, "LOAD_FREE": 2, "DRAIN": 5, "TAIL": 7}
    for name, cycles in latencies.items():
        monkeypatch.setattr(Latency, name, cycles)
