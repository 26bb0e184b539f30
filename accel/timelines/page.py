"""A timeline as one HTML file: it needs no network and nothing installed."""

from __future__ import annotations

import html
import json
from importlib import resources
from typing import Any

import numpy as np

from accel.machines.timeline import Timeline
from golden.counters import UNIT_COUNTERS

__all__ = ["timeline_page"]

#: Colours of states (Okabe and Ito's, which colour-blind readers tell apart), in their order.
_COLOURS = ("#009e73", "#f0e442", "#d55e00", "#cc79a7", "#0072b2", "#e69f00", "#999999")


def timeline_page(timeline: Timeline) -> str:
    """Return the page: a row for each unit, a legend with each state's share, zoom and hover."""
    data: dict[str, Any] = {
        "cycles": timeline.cycles,
        "states": UNIT_COUNTERS,
        "colours": _COLOURS,
        "tracks": [
            {
                "name": track.name,
                "states": "".join(map(str, track.states.tolist())),
                "lengths": np.diff(track.ends, prepend=0).tolist(),
            }
            for track in timeline.tracks
        ],
    }
    template = resources.files("accel.timelines").joinpath("page.html").read_text("utf-8")
    # No title or name can end the script that it stands in.
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    return template.replace("{{title}}", html.escape(timeline.title)).replace("{{data}}", text)
