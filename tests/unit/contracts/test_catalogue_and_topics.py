"""Names that travel: events, topics, device ids."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import catalogue
from edge.contracts import limits, messages, topics
from edge.errors import HarkenError
from tests.core_driver import CoreDriver, CoreError, unhex


def test_the_events_keep_their_numbers() -> None:
    events = catalogue.load()
    assert {event.name: event.id for event in events} == {
        "smoke_alarm": 1,
        "co_alarm": 2,
        "glass_break": 3,
        "footsteps": 4,
        "door": 5,
        "appliance_beep": 6,
        "dog_bark": 7,
        "baby_cry": 8,
    }
    assert [event.name for event in events if event.is_safety] == ["smoke_alarm", "co_alarm", "glass_break"]
    assert [event.name for event in events if event.is_armed_only] == ["glass_break", "footsteps", "door"]
    assert all(event.clip == "always" for event in events if event.is_safety)


def test_an_alarm_is_heard_whether_armed_or_not() -> None:
    for name in ("smoke_alarm", "co_alarm"):
        event = catalogue.load().by_name(name)
        assert event.is_enabled_by_default
        assert not event.is_armed_only


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("id = 2", "id = 1"), "id 1 is used twice"),
        (("id = 2", "id = 9"), "ids must rise"),
        (('name = "door"', 'name = "Door!"'), "event 5: name is 'Door!'"),
        (('cadence = "t4"', 'cadence = "t5"'), "event 2: cadence is 't5': write one of none, t3, t4"),
        (("is_safety = false", "is_safety = 1"), "event 4: is_safety is 1: write true or false"),
        (('title = "Footsteps"', 'headline = "Footsteps"'), "event 4: title missing"),
        (('title = "Footsteps"', 'title = "Footsteps"\ncolour = 1'), "event 4: unknown field colour"),
        (("id = 5", "id = 500"), "event 5: id is 500: write a number from 1 to 255"),
        (("[[event]]", "[[events]]"), "no events can be read"),
    ],
)
def test_a_faulty_catalogue_is_told_by_event_and_field(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    path = tmp_path / "catalogue.toml"
    text = catalogue.CATALOGUE_PATH.read_text()
    assert change[0] in text
    path.write_text(text.replace(*change) if change[0] == "[[event]]" else text.replace(*change, 1))
    with pytest.raises(HarkenError) as error:
        catalogue.read(path)
    assert says in str(error.value)


def test_an_unknown_event_is_told_with_the_known_ones() -> None:
    with pytest.raises(HarkenError, match="no event is called 'doorbell': choose one of smoke_alarm, co_alarm"):
        catalogue.load().by_name("doorbell")
    with pytest.raises(HarkenError, match="no event has the number 99"):
        catalogue.load().by_id(99)


@pytest.mark.parametrize("kind", [*topics.FROM_DEVICE, *topics.TO_DEVICE])
def test_a_topic_is_the_same_in_both_languages(core: CoreDriver, kind: str) -> None:
    topic = topics.build("kitchen-1", kind)
    number = (*topics.FROM_DEVICE, *topics.TO_DEVICE).index(kind)
    assert topic == f"harken/v1/kitchen-1/{kind}"
    assert unhex(core.ask("topic_build", "kitchen-1", number)[0]).decode() == topic
    assert core.ask("topic_kind", "kitchen-1", topic) == [str(number)]
    parsed = topics.parse(topic)
    assert (parsed.device_id, parsed.kind, str(parsed)) == ("kitchen-1", kind, topic)


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "harken/v1/d1",
        "harken/v1/d1/trigger/more",
        "harken/v2/d1/trigger",
        "harken/v1/../trigger",
        "harken/v1/d1/../d2/trigger",
        "harken/v1//trigger",
        "harken/v1/D1/trigger",
        "harken/v1/d1/secrets",
        "harken/v1/d1\n/trigger",
        "harken/v1/" + "a" * 33 + "/trigger",
        "$SYS/broker/uptime",
    ],
)
def test_a_topic_that_is_not_ours_is_refused(core: CoreDriver, topic: str) -> None:
    with pytest.raises(topics.TopicError) as error:
        topics.parse(topic)
    assert "\n" not in str(error.value)
    with pytest.raises(CoreError) as refusal:
        core.ask("topic_kind", "d1", topic)
    assert refusal.value.code == -8


def test_another_devices_topic_is_not_taken_for_ones_own(core: CoreDriver) -> None:
    with pytest.raises(CoreError) as error:
        core.ask("topic_kind", "d1", topics.build("d2", "receipt"))
    assert error.value.code == -8


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.text(max_size=40), st.from_regex(r"[a-z0-9-]{0,34}", fullmatch=True)))
def test_both_languages_admit_the_same_device_ids(core: CoreDriver, device_id: str) -> None:
    if "\0" in device_id:
        return
    try:
        topic: str | None = topics.build(device_id, "trigger")
    except topics.TopicError:
        topic = None
    try:
        in_c: str | None = unhex(core.ask("topic_build", device_id, 0)[0]).decode()
    except CoreError:
        in_c = None
    assert in_c == topic


@settings(max_examples=30, deadline=None)
@given(st.binary(min_size=8, max_size=8), st.integers(0, 2**32 - 1), st.from_regex(r"[a-z0-9-]{1,32}", fullmatch=True))
def test_an_event_id_is_the_same_in_both_languages(core: CoreDriver, boot: bytes, seq: int, device: str) -> None:
    event_id = messages.make_event_id(boot, seq, device)
    assert len(event_id) == limits.EVENT_ID_BYTES
    assert unhex(core.ask("event_id", boot, seq, device)[0]) == event_id
