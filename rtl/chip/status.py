"""Why a network ended: codes of the status register."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Code"]


class Code(IntEnum):
    """Codes below 16 are the memory side's, the others the compute side's."""

    #: The network is done, or none has been started.
    NONE = 0
    #: The memory answered a read with an error.
    READ = 1
    #: The memory answered a write with an error.
    WRITE = 2
    #: An entry's kind is none.
    KIND = 3
    #: An entry's length can't be.
    LENGTH = 4
    #: An entry of a write begins elsewhere in a burst than what the vector unit has made.
    WRITE_PLACE = 5
    #: The host stopped it.
    STOPPED = 6
