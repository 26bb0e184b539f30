"""What the tests of single machines share."""

import pytest

from golden.extensor import Latency


@pytest.fixture
def extensor_latencies(monkeypatch):
    """Fix the latencies that figures by hand were worked out with."""
    for name, cycles in {"LOAD": 3, "LOAD_FREE": 2, "MATCH": 2, "TAIL": 6}.items():
        monkeypatch.setattr(Latency, name, cycles)
