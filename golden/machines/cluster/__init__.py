"""The cluster machine of ``docs/machine.md``: configuration, schedule, workload."""
