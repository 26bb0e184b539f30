"""What both programs of SCNN count alike: *Counters* of ``docs/scnn.md``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from accel.machines.machine import Access
from accel.machines.scnn.columns import BROADCAST, COLLECTOR, FINISH, SIBLINGS
from golden.counters import UNIT_COUNTERS
from golden.machines.scnn import ACCUMULATOR_BITS, STORED_BITS, ScnnConfig

__all__ = ["accesses", "spilt_bytes", "stored_bytes", "unit_counters"]


def stored_bytes(stored: int) -> int:
    """Return the bytes of stored values with their zero runs."""
    return -(-stored * STORED_BITS // 8)


def spilt_bytes(stored: NDArray[np.int64], capacity: int) -> int:
    """Return the bytes over each PE's capacity, summed; ``stored`` are values, axis PE."""
    return int(np.maximum(-(-stored * STORED_BITS // 8) - capacity, 0).sum())


def accesses(
    config: ScnnConfig,
    *,
    input_reads: int,
    output_writes: int,
    fifo_vectors: int,
    pairs: int,
    drained: int,
) -> tuple[Access, ...]:
    """Return the traffic of all PEs' buffers, from stored values, vectors, products and sums."""
    fifo_bytes = stored_bytes(config.fifo_vectors * config.weight_lanes)
    bank_bytes = 2 * config.bank_entries * ACCUMULATOR_BITS // 8  # a bank has two halves
    fifo_bits = fifo_vectors * config.weight_lanes * STORED_BITS
    sums_bits = (2 * pairs + drained) * ACCUMULATOR_BITS
    return (
        Access(buffer="IARAM", capacity_bytes=config.iaram_bytes, bits=input_reads * STORED_BITS),
        Access(buffer="OARAM", capacity_bytes=config.oaram_bytes, bits=output_writes * STORED_BITS),
        Access(buffer="weight FIFO", capacity_bytes=fifo_bytes, bits=fifo_bits),
        Access(buffer="accumulators", capacity_bytes=bank_bytes, bits=sums_bits),
    )


def unit_counters(
    pes: int,
    cycles: int,
    active: NDArray[np.int64],
    busy: NDArray[np.int64],
    cost: NDArray[np.int64],
    waits: NDArray[np.int64],
    slowest: int,
) -> NDArray[np.int64]:
    """Return ``LayerCounts.units``.

    Parameters
    ----------
    active : ndarray of int64, axis active PE
        Their numbers; the others are idle.
    busy, cost : ndarray of int64, axis active PE
        Busy cycles, and c summed.
    waits : ndarray of int64, axes active PE, column from ``SIBLINGS`` on
    slowest : int
        Last F of any PE.
    """
    units = np.zeros((pes, len(UNIT_COUNTERS)), dtype=np.int64)
    siblings = waits[:, SIBLINGS] + slowest - waits[:, FINISH]
    of = {
        "busy_cycles": busy,
        "bubble_cycles": cost - busy,
        "wait_siblings_cycles": siblings,
        "wait_broadcast_cycles": waits[:, BROADCAST],
        "wait_collector_cycles": waits[:, COLLECTOR],
    }
    for name, values in of.items():
        units[active, UNIT_COUNTERS.index(name)] = values
    units[:, UNIT_COUNTERS.index("idle_cycles")] = cycles - units.sum(axis=1)
    return units
