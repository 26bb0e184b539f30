"""The equations of ``docs/machine.md``, *Timing* and *Counters*, evaluated to the letter.

A second model beside the tick oracle: the two agree only where the page means one thing.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from golden.counters import CLUSTER_COUNTERS, UNIT_COUNTERS, LayerCounters
from golden.machines.cluster.config import AcceleratorConfig
from golden.reference import Codes
from tests.program import Layer, Program, deal

__all__ = ["evaluate"]


@dataclass
class Timing:
    """Counters of one cluster, and E of its last completion."""

    units: list[Counter[str]]
    cluster: Counter[str] = field(default_factory=Counter)
    last_end: int = 0


def evaluate(layer: Layer, codes: Codes) -> LayerCounters:
    """Return all counters; ``codes`` (axes p, q, k) give the non-zero outputs."""
    flat = codes.reshape(-1, codes.shape[-1])
    lists = deal(layer, lambda program: _timing(layer.config, program).last_end)
    timings = []
    for positions in lists:
        program = layer.program(positions)
        timing = _timing(layer.config, program)
        for index, position in program.completions:
            outputs = flat[position, layer.schedule.outputs(index)]
            timing.cluster["outputs"] += outputs.size
            timing.cluster["output_nonzeros"] += int(np.count_nonzero(outputs))
        timings.append(timing)
    return LayerCounters(
        np.array([[t.cluster[name] for name in CLUSTER_COUNTERS] for t in timings]),
        np.array([[[u[name] for name in UNIT_COUNTERS] for u in t.units] for t in timings]),
    )


def _timing(config: AcceleratorConfig, program: Program) -> Timing:
    result = Timing([Counter() for _ in range(config.units)])
    if not program.steps:
        return result
    buffers = 2 if config.filter_double_buffer else 1
    last_finish = [0] * config.units  # F'[u, previous delivered step of u]
    finish: list[dict[int, int]] = []  # F'[u, n] of delivered step n
    loaded: list[int] = []  # LD[j]
    load_end: list[int] = []  # max over u of F'[u, last step of load segment j]
    arrived, collector_free = config.LATENCY.start, 0
    for k, step in enumerate(program.steps):
        if step.load == len(loaded):
            j = step.load
            free = load_end[j - buffers] + config.LATENCY.load_free if j >= buffers else 0
            loaded.append(max(loaded[-1] if loaded else 0, free) + program.loads[j].beats)
            result.cluster["filter_beats"] += program.loads[j].beats
        ready = loaded[step.load] + config.LATENCY.load
        n, released = len(finish), 0
        if step.delivered and n >= config.slots:
            released = max(finish[n - config.slots].values()) + config.LATENCY.release
        left = 0 if k == 0 else arrived
        arrived = max(arrived, ready, released) + step.chunk.words
        for u in step.units:
            _count_wait(result.units[u], max(left, last_finish[u]), ready, released, arrived)
        if not step.delivered:
            result.cluster["steps_skipped"] += 1
            continue
        result.cluster["steps_delivered"] += 1
        result.cluster["broadcast_words"] += step.chunk.words
        for u, jobs in step.chunk.jobs.items():
            counters = result.units[u]
            end = max(arrived, last_finish[u])
            for job in jobs:
                end += job.cycles
                counters["busy_cycles" if job.pairs else "bubble_cycles"] += job.cycles
                result.cluster["pairs"] += job.pairs
            last_finish[u] = end
            if step.completes is not None:
                last_finish[u] = max(end, collector_free)
                counters["wait_collector_cycles"] += last_finish[u] - end
        finish.append({u: last_finish[u] for u in step.units})
        if step.ends_load:
            load_end.append(max(finish[-1].values()))
        if step.completes is not None:
            outputs = sum(len(jobs) for jobs in step.chunk.jobs.values())
            drain = math.ceil(outputs / config.collector_width)
            result.last_end = max(finish[-1].values()) + config.LATENCY.deliver + drain
            collector_free = result.last_end + config.LATENCY.collector_free
    result.cluster["cycles"] = result.last_end + config.LATENCY.tail
    for counters in result.units:
        counters["idle_cycles"] = result.cluster["cycles"] - sum(counters.values())
    return result


def _count_wait(counters: Counter[str], left: int, ready: int, released: int, arrived: int) -> None:
    """Split [left, arrived): memory up to ``ready``, siblings up to ``released``, broadcast."""
    left = min(left, arrived)
    memory = min(max(left, ready), arrived)
    siblings = min(max(memory, released), arrived)
    counters["wait_memory_cycles"] += memory - left
    counters["wait_siblings_cycles"] += siblings - memory
    counters["wait_broadcast_cycles"] += arrived - siblings
