"""From the chip's streams to AXI4: lists of transfers, reads, writes, and their counters."""
