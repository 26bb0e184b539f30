"""Columns of the arrays of SCNN's kernels, by name.

They are plain integers, because those are constants to Numba.
"""

#: Where a lane's value belongs: ``place`` of `accel.machines.scnn.kernels.Vectors`.
RESIDUE, ROW, COLUMN, PHASE, TAP = range(5)
#: A tap: quotients by the stride, and the phase that their remainders are.
TAP_ROW, TAP_COLUMN, TAP_PHASE = range(3)
#: Largest quotients that fall on an output, those of a tap, whether a block has one phase only.
ROW_MAX, COLUMN_MAX, TAP_ROW_MAX, TAP_COLUMN_MAX, ONE_PHASE = range(5)
#: A PE's waits, and F: the end of its last block.
SIBLINGS, BROADCAST, COLLECTOR, FINISH = range(4)
#: A PE's sums; ``COST`` is c, which a block without an activation has too.
PAIRS, STRAY, BUSY, VECTOR_PAIRS, VECTOR_CYCLES, COST = range(6)
#: What a round hands to the next one: T, Q of the next pass, E, B, F of the last block of any PE,
#: blocks so far, e + 1, weight vectors of the blocks after e.
SENT, START, DRAINED, BARRIER, SLOWEST, BLOCK, OLDEST, WAITING = range(8)
#: A block of a layer that was run: F of the slowest PE, v.
BLOCK_FINISH, BLOCK_VECTORS = range(2)
#: A block's weights: channel and phase, first vector, vectors.
SEGMENT, FIRST, VECTORS = range(3)
