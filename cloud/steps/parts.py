"""What the steps of an event work with: stores, the media index, the verifier, the clock and the pipeline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from cloud.history.clips import ClipStore
from cloud.media.index import MediaIndex
from cloud.media.unknown import UnknownMedia
from cloud.pipeline import Pipeline, Step
from cloud.verifier.jobs import JobQueue
from cloud.verifier.pool import VerifierPool
from edge.catalogue import Catalogue


@dataclass(frozen=True)
class Timing:
    """How long an event waits for its clip before a person is told without it."""

    clip_timeout_s: float = 30.0


@dataclass
class Parts:
    """Shared by all steps. Of events they hold only which were found due: the rest is in the history.

    Attributes:
        catalogue: the events.
        clips: where sound is kept.
        media: the index of known recordings.
        verifier: judges clips in processes of this server.
        timing: how long events wait.
        event_url: gives an event's page by its id.
        now: the clock.
        jobs: hands clips to workers elsewhere; None: this server judges them.
        unknown: asks the triggers of other homes; None: nobody does.
        pipeline: where steps that arise later (a verifier's answer) are queued; None until it is attached.
        due: ids of events that were found due and are not concluded yet.
    """

    catalogue: Catalogue
    clips: ClipStore
    media: MediaIndex
    verifier: VerifierPool
    timing: Timing
    event_url: Callable[[str], str]
    now: Callable[[], datetime]
    jobs: JobQueue | None = None
    unknown: UnknownMedia | None = None
    pipeline: Pipeline | None = None
    due: set[str] = field(default_factory=set)

    def submit(self, step: Step) -> None:
        """Queue a step."""
        assert self.pipeline is not None, "attach() comes first"
        self.pipeline.submit(step)

    def is_new(self, event_id: str) -> bool:
        """Whether this event is found due for the first time: a long queue must not be made longer with each look."""
        is_new = event_id not in self.due
        self.due.add(event_id)
        return is_new
