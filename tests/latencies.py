"""Machines with other latencies than their kind's, so that figures by hand outlive the hardware."""

from dataclasses import fields, replace
from typing import Any

__all__ = ["EXTENSOR_LATENCIES", "OTHER_LATENCIES", "with_latencies"]

#: Of the cluster; machines that are not ours, so that no constant hides another one.
OTHER_LATENCIES: dict[str, dict[str, int]] = {
    "none": {"start": 0, "release": 0, "load": 0, "load_free": 0, "deliver": 0,
             "collector_free": 0, "tail": 0},
    "short": {"start": 4, "release": 4, "load": 3, "load_free": 2, "deliver": 4,
              "collector_free": 1, "tail": 8},
    "long": {"start": 40, "release": 1, "load": 9, "load_free": 13, "deliver": 7,
             "collector_free": 3, "tail": 1},
    "slow-release": {"release": 11, "collector_free": 17},
}  # fmt: skip
#: Those that figures by hand were worked out with.
EXTENSOR_LATENCIES = {"lists": 1, "load": 3, "load_free": 2, "drain": 5, "tail": 7}


def with_latencies(config: Any, **cycles: int) -> Any:
    """Return the configuration as one of a kind whose pipelines take so long."""
    kind = type(config)
    named = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    latency = replace(kind.LATENCY, **cycles)
    changed = type(kind.__name__, (kind,), named | {"LATENCY": latency})
    return changed(**{field.name: getattr(config, field.name) for field in fields(config)})
