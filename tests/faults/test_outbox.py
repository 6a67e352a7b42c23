"""What the outbox keeps, drops and counts when things go wrong."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.contracts import limits
from tests.core_driver import CoreDriver, CoreError

SAFETY, OTHER = True, False
FULL, NOT_FOUND, TOO_LARGE = -11, -12, -7


def _id(n: int) -> bytes:
    return n.to_bytes(16, "big")


class Outbox:
    """The core's outbox with small numbers for event ids."""

    def __init__(self, core: CoreDriver) -> None:
        self._core = core
        core.ask("outbox_init")

    def put(self, n: int, is_safety: bool) -> int | None:
        """Put trigger `n`; return which one was displaced for it."""
        (displaced,) = self._core.ask("outbox_put", _id(n), is_safety, b"payload %d" % n)
        return None if displaced == "-" else int(displaced, 16)

    def next(self) -> int | None:
        words = self._core.ask("outbox_next")
        if words == ["-"]:
            return None
        n = int(words[0], 16)
        assert bytes.fromhex(words[1]) == b"payload %d" % n
        return n

    def send_all(self) -> list[int]:
        """Take everything on offer, in order."""
        sent = []
        while (n := self.next()) is not None:
            self._core.ask("outbox_sent", _id(n))
            sent.append(n)
        return sent

    def receipt(self, n: int) -> None:
        self._core.ask("outbox_receipt", _id(n))

    def hold(self, n: int) -> None:
        self._core.ask("outbox_hold", _id(n))

    def release(self) -> None:
        self._core.ask("outbox_release")

    def reconnected(self) -> None:
        self._core.ask("outbox_reconnected")

    def counts(self) -> tuple[int, int, int]:
        """Depth, dropped, unknown receipts."""
        depth, dropped, unknown = map(int, self._core.ask("outbox_counts"))
        return depth, dropped, unknown


@pytest.fixture
def outbox(core: CoreDriver) -> Outbox:
    return Outbox(core)


def test_a_full_outbox_drops_the_oldest_that_is_no_safety_event(outbox: Outbox) -> None:
    for n in range(limits.OUTBOX_TRIGGERS):
        assert outbox.put(n, SAFETY if n == 0 else OTHER) is None
    assert outbox.put(100, OTHER) == 1
    assert outbox.put(101, SAFETY) == 2
    assert outbox.counts() == (limits.OUTBOX_TRIGGERS, 2, 0)


def test_among_safety_events_only_a_newer_one_makes_the_oldest_go(outbox: Outbox) -> None:
    for n in range(limits.OUTBOX_TRIGGERS):
        outbox.put(n, SAFETY)
    with pytest.raises(CoreError) as error:
        outbox.put(100, OTHER)
    assert error.value.code == FULL
    assert outbox.put(101, SAFETY) == 0
    assert outbox.counts() == (limits.OUTBOX_TRIGGERS, 2, 0)
    assert outbox.send_all() == [*range(1, limits.OUTBOX_TRIGGERS), 101]


def test_safety_events_are_sent_first_then_the_oldest(outbox: Outbox) -> None:
    for n, is_safety in enumerate((OTHER, SAFETY, OTHER, SAFETY)):
        outbox.put(n, is_safety)
    assert outbox.send_all() == [1, 3, 0, 2]


def test_what_was_sent_stays_until_its_receipt(outbox: Outbox) -> None:
    outbox.put(1, OTHER)
    assert outbox.send_all() == [1]
    assert outbox.counts() == (1, 0, 0)
    outbox.receipt(1)
    assert outbox.counts() == (0, 0, 0)


def test_a_reconnect_offers_again_what_has_no_receipt(outbox: Outbox) -> None:
    for n in range(3):
        outbox.put(n, OTHER)
    assert outbox.send_all() == [0, 1, 2]
    outbox.receipt(1)
    assert outbox.next() is None
    outbox.reconnected()
    assert outbox.send_all() == [0, 2]


def test_a_receipt_that_comes_twice_late_or_for_nothing_is_counted_and_harmless(outbox: Outbox) -> None:
    outbox.put(1, OTHER)
    outbox.put(2, OTHER)
    outbox.receipt(1)
    for unknown in (1, 1, 77):
        with pytest.raises(CoreError) as error:
            outbox.receipt(unknown)
        assert error.value.code == NOT_FOUND
    assert outbox.counts() == (1, 0, 3)
    assert outbox.send_all() == [2]


def test_a_receipt_before_sending_ends_the_matter(outbox: Outbox) -> None:
    outbox.put(1, SAFETY)
    outbox.receipt(1)
    assert outbox.next() is None


def test_a_trigger_over_the_limit_or_without_content_is_refused(outbox: Outbox, core: CoreDriver) -> None:
    core.ask("outbox_put", _id(1), OTHER, bytes(limits.TRIGGER_MAX_BYTES))
    with pytest.raises(CoreError) as error:
        core.ask("outbox_put", _id(2), OTHER, bytes(limits.TRIGGER_MAX_BYTES + 1))
    assert error.value.code == TOO_LARGE
    with pytest.raises(CoreError):
        core.ask("outbox_put", _id(2), OTHER, b"")
    assert outbox.counts() == (1, 0, 0)


class _Model:
    """What the outbox promises, in the plainest Python."""

    def __init__(self) -> None:
        self.held: list[tuple[int, bool]] = []
        self.sent: set[int] = set()
        self.dropped = 0
        self.unknown = 0

    def put(self, n: int, is_safety: bool) -> None:
        if len(self.held) == limits.OUTBOX_TRIGGERS:
            self.dropped += 1
            others = [entry for entry in self.held if not entry[1]]
            if not others and not is_safety:
                return
            self.held.remove((others or self.held)[0])
        self.held.append((n, is_safety))
        self.sent.discard(n)

    def offer(self) -> list[int]:
        waiting = [entry for entry in self.held if entry[0] not in self.sent]
        return [n for n, _ in sorted(waiting, key=lambda entry: not entry[1])]


_PUT = st.tuples(st.just("put"), st.booleans())
_STEP = st.one_of(
    _PUT, _PUT, st.tuples(st.sampled_from(["receipt"]), st.integers(0, 30)), st.just(("send", 0)), st.just(("again", 0))
)


@settings(max_examples=40, deadline=None)
@given(st.lists(_STEP, max_size=30))
def test_any_sequence_leaves_what_the_rules_say(core: CoreDriver, steps: list[tuple[str, int]]) -> None:
    outbox, model = Outbox(core), _Model()
    for number, (action, value) in enumerate(steps):
        if action == "put":
            model.put(number, bool(value))
            with contextlib.suppress(CoreError):  # refused: the counts below tell whether it should be
                outbox.put(number, bool(value))
        elif action == "receipt":
            is_known = value in [n for n, _ in model.held]
            model.held = [entry for entry in model.held if entry[0] != value]
            model.unknown += not is_known
            try:
                outbox.receipt(value)
                assert is_known
            except CoreError:
                assert not is_known
        elif action == "send":
            expected = model.offer()
            assert outbox.send_all() == expected
            model.sent.update(expected)
        else:
            outbox.reconnected()
            model.sent.clear()
        assert outbox.counts() == (len(model.held), model.dropped, model.unknown)
    assert outbox.send_all() == model.offer()


def test_what_is_on_its_way_out_is_displaced_by_nothing_and_free_only_afterwards(outbox: Outbox) -> None:
    places = limits.OUTBOX_TRIGGERS
    for n in range(places):
        outbox.put(n, OTHER)
    outbox.hold(0)
    assert outbox.put(100, SAFETY) == 1
    outbox.receipt(0)
    assert outbox.put(101, OTHER) == 2, "its place is still being read"
    outbox.release()
    assert outbox.put(102, OTHER) is None
    assert outbox.counts()[0] == places


def test_nothing_that_is_not_held_can_be_read(outbox: Outbox) -> None:
    with pytest.raises(CoreError) as error:
        outbox.hold(7)
    assert error.value.code == NOT_FOUND
