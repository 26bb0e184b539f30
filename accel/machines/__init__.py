"""Simulators of the machines, behind the protocol of ``accel.machines.machine``."""
