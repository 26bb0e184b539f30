"""How a transfer is cut into bursts, and what the chip's parts need for one."""

from __future__ import annotations

__all__ = ["cut_run", "cut_write"]


def cut_run(address: int, length: int, burst_bytes: int) -> list[tuple[int, int]]:
    """Cut a run of bytes at multiples of ``burst_bytes``; return addresses and lengths."""
    result, end = [], address + length
    while address < end:
        stop = min(end, (address // burst_bytes + 1) * burst_bytes)
        result.append((address, stop - address))
        address = stop
    return result


def cut_write(
    address: int, pixels: int, channels: int, pixel_stride: int, burst_bytes: int
) -> list[tuple[int, int]]:
    """Cut a write of pixels: one run where they lie together, else a run a pixel."""
    if pixel_stride == channels:
        return cut_run(address, pixels * channels, burst_bytes)
    return [
        burst
        for at in range(pixels)
        for burst in cut_run(address + at * pixel_stride, channels, burst_bytes)
    ]
