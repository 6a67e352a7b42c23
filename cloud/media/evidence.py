"""What is known of an event's sound by now: the words of its trigger, and those that came after it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from sqlalchemy.orm import Session

from cloud.history.models import Fingerprint, FurtherWords
from cloud.history.store import further_words
from cloud.media.index import QUERY_STEP_SAMPLES
from edge.contracts import limits, messages
from edge.native import Words

WORDS_MAX = limits.TRIGGER_FINGERPRINT_WORDS + limits.FURTHER_WORDS_SECONDS * limits.FURTHER_WORDS_MAX
"""As much as a device ever sends of one event."""


@dataclass(frozen=True)
class Evidence:
    """The words of an event, one every `QUERY_STEP_SAMPLES` from `first_sample` on.

    What was lost on the way is there as words without reliable bits. `seconds_after` is how far it goes beyond the
    words that came with the trigger.
    """

    words: Words
    first_sample: int
    seconds_after: float
    error: str | None = None
    """Why the words cannot be compared; then there are none."""


def words_so_far(session: Session, event_id: str) -> Evidence | None:
    """Join what came with an event's trigger and after it, in whatever order and however often; None before it."""
    trigger = session.get(Fingerprint, event_id)
    if trigger is None:
        return None
    further = further_words(session, event_id)
    if trigger.step_samples != QUERY_STEP_SAMPLES or len(trigger.masks) != len(trigger.words):
        wrong = "the device's fingerprint is of another version: update its firmware"
        return Evidence(_empty(0), trigger.first_sample, 0.0, wrong)
    of_trigger = len(trigger.words) // 4
    joined = _empty(WORDS_MAX)
    end = 0
    for place, words in _placed(trigger, [trigger, *further]):
        stop = min(place + len(words.bits), WORDS_MAX)
        joined.bits[place:stop], joined.reliable[place:stop] = (
            words.bits[: stop - place],
            words.reliable[: stop - place],
        )
        joined.is_usable[place:stop] = words.is_usable[: stop - place]
        end = max(end, stop)
    seconds_after = max(0, end - of_trigger) / (limits.STEPS_PER_SECOND / limits.TRIGGER_FINGERPRINT_WORD_STEPS)
    return Evidence(joined.between(0, end), trigger.first_sample, seconds_after)


def _placed(trigger: Fingerprint, rows: list[Fingerprint | FurtherWords]) -> Iterator[tuple[int, Words]]:
    """Where each row's words lie among the trigger's; rows that do not lie on its grid are left out."""
    for row in rows:
        place, rest = divmod(row.first_sample - trigger.first_sample, QUERY_STEP_SAMPLES)
        if rest == 0 and 0 <= place < WORDS_MAX and row.step_samples == QUERY_STEP_SAMPLES:
            sent = messages.Fingerprint(row.first_sample, row.step_samples, row.words, row.usable, row.masks)
            yield place, Words(sent.word_array, sent.mask_array, sent.usable_array)


def _empty(count: int) -> Words:
    return Words(np.zeros(count, np.uint32), np.zeros(count, np.uint32), np.zeros(count, bool))
