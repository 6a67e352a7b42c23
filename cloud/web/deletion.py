"""Deleting an event everywhere: row, fingerprint, clip, pictures, and what the database's log still holds."""

from __future__ import annotations

import threading

from sqlalchemy.orm import Session

from cloud.history.store import delete_event
from cloud.pipeline import Effects, Step
from cloud.web.site import Pages

_WAIT_S = 10.0


def delete(pages: Pages, event_id: str) -> bool:
    """Delete an event in the pipeline, in its turn with what devices send. False if that takes too long."""
    is_done = threading.Event()

    def run(session: Session, effects: Effects) -> None:
        delete_event(session, event_id, pages.now())
        effects.actions.append(remove_files)
        effects.actions.append(is_done.set)

    def remove_files() -> None:
        pages.clips.delete(event_id)
        for path in pages.pictures.glob(f"{event_id}-*"):
            path.unlink(missing_ok=True)
        pages.history.erase_deleted()

    pages.pipeline.submit(Step("delete", run))
    return is_done.wait(_WAIT_S)
