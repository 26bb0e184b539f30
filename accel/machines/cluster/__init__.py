"""The simulator of the cluster machine of ``docs/machine.md``."""
