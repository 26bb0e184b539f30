"""Machines side by side: one file each behind the protocol of ``accel.arch.machine``."""
