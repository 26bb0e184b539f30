"""Drivers, monitors and a scoreboard for benches of the design beside this package, with cocotb.

It needs cocotb only. What registers, streams and vectors mean is in the pages registers.md,
streams.md and verilog.md of innerjoin's docs; ``bench.py`` beside this package shows all of it.
"""

from .coverage import Coverage
from .description import Description
from .drivers import LoadDriver, RegisterPort, Stalls, StreamDriver
from .host import Host
from .monitors import OutputMonitor
from .scoreboard import Scoreboard
from .vectors import Vector, load_vector, vector_names

__all__ = [
    "Coverage",
    "Description",
    "Host",
    "LoadDriver",
    "OutputMonitor",
    "RegisterPort",
    "Scoreboard",
    "Stalls",
    "StreamDriver",
    "Vector",
    "load_vector",
    "vector_names",
]
