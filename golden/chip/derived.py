"""Words of a descriptor that follow from the others: what hardware would need a divider for."""

from __future__ import annotations

from golden.chip.config import ChipConfig
from golden.chip.streams import Filters

__all__ = ["derived_fields", "slice_bytes"]


def slice_bytes(config: ChipConfig) -> int:
    """Return the bytes of a transfer that is cut in slices: two residual slices fit their FIFO."""
    return (config.residual_bursts // 2 - 1) * config.burst_bytes


def derived_fields(
    config: ChipConfig, d: dict[str, int], filters: Filters | None
) -> dict[str, int]:
    """Return the derived words of a descriptor by name.

    Parameters
    ----------
    d : dict of str to int
        The other words.
    filters : Filters, optional
        Of a convolution.
    """
    group_channels = d["in_channels"] // d["groups"]
    row_chunks = -(-group_channels // config.chunk)
    line = d["in_width"] * row_chunks
    row = d["groups"] * line
    rows, columns = divmod(config.clusters, d["out_width"])
    step_y, step_x = rows * d["stride_height"], columns * d["stride_width"]
    wrap_columns = d["out_width"] * d["stride_width"]
    entries = 0
    if filters is not None:
        entries = len(filters.table_order(config))
    channels = d["out_channels"]
    return {
        "group_channels": group_channels,
        "row_chunks": row_chunks,
        "line_places": line,
        "row_places": row,
        "row_bytes": d["in_width"] * d["in_channels"],
        "filter_chunks": d["kernel_height"] * d["kernel_width"] * row_chunks,
        "step_y": step_y,
        "step_x": step_x,
        "step_places": step_y * row + step_x * row_chunks,
        "wrap_columns": wrap_columns,
        "wrap_places": d["stride_height"] * row - wrap_columns * row_chunks,
        "column_places": d["stride_width"] * row_chunks,
        "line_step": row - d["kernel_width"] * row_chunks + 1,
        "table_entries": entries,
        "write_bytes": max(1, slice_bytes(config) // channels) * channels,
        "window_taps": d["window_height"] * d["window_width"],
    }
