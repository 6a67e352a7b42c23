"""What a board ought to have reported, told in seconds of the sound and checked to the sample."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edge.audio import SAMPLE_RATE_HZ
from edge.contracts.messages import DeviceEvent
from hil.connections.bench import Heard


@dataclass(frozen=True)
class Expected:
    """An event, and when its trigger may come, in seconds since the sound began."""

    event: str
    from_s: float
    to_s: float


def expect(heard: Heard, *expected: Expected, also: Iterable[str] = ()) -> None:
    """Fail, listing what came, unless exactly the expected events came, each in its time.

    Args:
        heard: what the board heard and reported.
        expected: in any order; each is met by one event.
        also: names of events that may come besides, at any time.
    """
    allowed = set(also)
    left = list(heard.events)
    missing = []
    for wish in expected:
        found = next((event for event in left if event.event == wish.event and _is_in_time(event, wish, heard)), None)
        if found is None:
            missing.append(f"{wish.event} between {wish.from_s:g} and {wish.to_s:g} s")
        else:
            left.remove(found)
    surplus = [event for event in left if event.event not in allowed]
    if missing or surplus:
        raise AssertionError(
            f"missing: {', '.join(missing) or 'nothing'}; not expected: {_listed(surplus, heard)}; "
            f"all that came: {_listed(heard.events, heard)}"
        )


def times(heard: Heard) -> list[tuple[str, int, int]]:
    """Return each event's name, and its start and trigger in samples since the sound began, to compare boards by."""
    return [
        (event.event, event.event_start_sample - heard.first_sample, event.trigger_sample - heard.first_sample)
        for event in heard.events
    ]


def _is_in_time(event: DeviceEvent, wish: Expected, heard: Heard) -> bool:
    return wish.from_s <= (event.trigger_sample - heard.first_sample) / SAMPLE_RATE_HZ <= wish.to_s


def _listed(events: Sequence[DeviceEvent], heard: Heard) -> str:
    if not events:
        return "nothing"
    first = heard.first_sample
    return ", ".join(f"{event.event} at {(event.trigger_sample - first) / SAMPLE_RATE_HZ:.2f} s" for event in events)
