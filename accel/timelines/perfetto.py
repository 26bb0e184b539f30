"""A timeline as a trace that Perfetto's page opens (ui.perfetto.dev, or one's own copy)."""

from __future__ import annotations

from accel.machines.timeline import Timeline
from golden.errors import UserError

__all__ = ["perfetto_trace"]

#: Perfetto's clock that begins at 0, so that a cycle's number is its time.
_CLOCK = 6  # BOOTTIME
#: Any number, the same for all packets: what one writer wrote.
_SEQUENCE = 1


def perfetto_trace(timeline: Timeline) -> bytes:
    """Return a serialised ``perfetto.protos.Trace``: a track a unit, a slice an interval.

    A cycle is a nanosecond, which the name of the topmost track says too.

    Raises
    ------
    UserError
        The package perfetto is not installed.
    """
    try:
        from perfetto.protos.perfetto.trace import perfetto_trace_pb2
    except ImportError:
        raise UserError(
            "Traces of Perfetto need perfetto, which is not installed: "
            "pip install 'innerjoin[timeline]'; a page does not: -o timeline.html"
        ) from None
    trace = perfetto_trace_pb2.Trace()
    event = perfetto_trace_pb2.TrackEvent
    root = trace.packet.add()
    root.trusted_packet_sequence_id = _SEQUENCE
    root.track_descriptor.uuid = 1
    root.track_descriptor.name = f"{timeline.title} (1 ns = 1 cycle)"
    root.track_descriptor.child_ordering = root.track_descriptor.EXPLICIT
    for number, track in enumerate(timeline.tracks):
        uuid = number + 2
        packet = trace.packet.add()
        packet.trusted_packet_sequence_id = _SEQUENCE
        packet.track_descriptor.uuid = uuid
        packet.track_descriptor.parent_uuid = root.track_descriptor.uuid
        packet.track_descriptor.name = track.name
        packet.track_descriptor.sibling_order_rank = number
        for interval in track.intervals:
            for time, kind in (
                (interval.start, event.TYPE_SLICE_BEGIN),
                (interval.end, event.TYPE_SLICE_END),
            ):
                packet = trace.packet.add()
                packet.trusted_packet_sequence_id = _SEQUENCE
                packet.timestamp = time
                packet.timestamp_clock_id = _CLOCK
                packet.track_event.type = kind
                packet.track_event.track_uuid = uuid
                if kind == event.TYPE_SLICE_BEGIN:
                    packet.track_event.name = interval.counter
    return trace.SerializeToString()
