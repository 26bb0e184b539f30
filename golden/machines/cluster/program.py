"""A layer as a cluster runs it, packed and scheduled: the recipe is here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass

from golden.machines.cluster.config import AcceleratorConfig
from golden.machines.cluster.schedule import Schedule, make_schedule, window_density
from golden.machines.cluster.workload import LayerWorkload
from golden.program import LayerRun, LayerTask
from golden.tensor import BitmaskTensor

__all__ = ["ClusterProgram", "schedule_task"]


def schedule_task(config: AcceleratorConfig, task: LayerTask, weights: BitmaskTensor) -> Schedule:
    """Return the schedule of a layer.

    Parameters
    ----------
    weights : BitmaskTensor
        The task's weights in chunks, as ``golden.machines.cluster.workload.pack_weights`` packs
        them.
    """
    density = window_density(config, task.layer, task.channel_density)
    return make_schedule(config, task.layer, weights, density)


@dataclass(frozen=True, eq=False)
class ClusterProgram:
    """A layer with one image's input, packed and scheduled.

    Parameters
    ----------
    workload : LayerWorkload
    schedule : Schedule
    """

    workload: LayerWorkload
    schedule: Schedule

    @classmethod
    def build(cls, config: AcceleratorConfig, run: LayerRun) -> ClusterProgram:
        """Pack and schedule a layer."""
        task = run.task
        workload = LayerWorkload.build(
            config, task.layer, task.weights, run.activations, run.requantisation
        )
        return cls(workload, schedule_task(config, task, workload.weights))
