"""A session for a batch of steps: reads what they will ask for in a few queries, and writes in few statements."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

from sqlalchemy import BindParameter, Insert, Select, Table, Update, bindparam, insert, select
from sqlalchemy.orm import Session

from cloud.history.models import AuditLine, Base, Clip, Device, Event, Fingerprint, FurtherWords

FINAL_ACTIONS = ("deleted", "expired")
"""After one of these in the audit an event is gone for good: a late copy of it must not bring it back."""
_ASKED: BindParameter[Any] = bindparam("keys", expanding=True)
# Made once: to put a statement together costs as much as to run it.
_BY_KEY: dict[type[Base], Select[Any]] = {
    model: select(model).where(model.__mapper__.primary_key[0].in_(_ASKED))
    for model in (Event, Fingerprint, Clip, Device)
}
_INSERTS: dict[type[Base], Insert] = {model: insert(cast(Table, model.__table__)) for model in (Event, Fingerprint)}
_GONE = select(AuditLine.event_id).where(AuditLine.event_id.in_(_ASKED), AuditLine.action.in_(FINAL_ACTIONS))
_FURTHER = select(FurtherWords).where(FurtherWords.event_id.in_(_ASKED))


Reads = Mapping[type[Base], Collection[str]]
"""Tables, and of each the keys of what will be asked for: devices' ids for devices, events' ids for all others."""


class BatchSession(Session):
    """A session in which `get` answers from what `preload` has read, and from what was added or deleted since.

    Sixty steps that each ask for three rows and write two would be three hundred statements. Preloaded, they are a
    query for each table, and because nothing is queried in between, the rows of all steps are written together at the
    end. Rows that were not preloaded are read once. Any other query first writes what is waiting, as in any session.

    Rows that are only written (`put`) or given one value (`update_later`) are made no objects of: that would cost
    several times what writing them does.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._rows: dict[tuple[type[Base], Any], Base | None] = {}
        self._gone: dict[str, bool] = {}
        self._further: dict[str, list[FurtherWords]] = {}
        self._put: dict[type[Base], dict[str, dict[str, Any]]] = {}
        self._later: dict[Update, list[dict[str, Any]]] = {}

    def preload(self, reads: Reads) -> None:
        """Read rows; those that are not there are known to be absent."""
        for model, keys in reads.items():
            asked = {"keys": keys}
            if model is AuditLine:
                self._gone.update(dict.fromkeys(keys, False))
                self._gone.update(dict.fromkeys(self.scalars(_GONE, asked), True))
            elif model is FurtherWords:
                self._further.update((event_id, []) for event_id in keys)
                for words in self.scalars(_FURTHER, asked):
                    self._further[words.event_id].append(words)
            else:
                self._rows.update(((model, key), None) for key in keys)
                for row in self.scalars(_BY_KEY[model], asked):
                    self._rows[_identity(row)] = row

    def get(self, entity: Any, ident: Any, **options: Any) -> Any:
        """The row with this key, or None."""
        if (values := self._put.get(entity, {}).pop(ident, None)) is not None:
            self.add(entity(**values))
        if (entity, ident) not in self._rows:
            if self._later:
                self.flush()
            with self.no_autoflush:  # a row with this key that waits to be written would be known
                self._rows[(entity, ident)] = super().get(entity, ident, **options)
        return self._rows[(entity, ident)]

    def put(self, model: type[Base], key: str, values: dict[str, Any]) -> None:
        """Write a new row with the others; `values` by column, each row of a table with the same ones."""
        self._put.setdefault(model, {})[key] = values
        self._rows.pop((model, key), None)

    def is_loaded(self, model: type[Base], key: str) -> bool:
        """Whether a row has been read, or put."""
        return self._rows.get((model, key)) is not None or key in self._put.get(model, {})

    def update_later(self, statement: Update, values: dict[str, Any]) -> None:
        """Run an update of rows that are not loaded, with these parameters, together with others of its kind."""
        self._later.setdefault(statement, []).append(values)

    def flush(self, objects: Sequence[Any] | None = None) -> None:
        """Write all that waits."""
        put, later = self._put, self._later
        self._put, self._later = {}, {}
        with self.no_autoflush:
            for model, rows in put.items():
                if rows:
                    self.connection().execute(_INSERTS[model], list(rows.values()))
            super().flush(objects)
            for statement, values in later.items():
                self.connection().execute(statement, values)

    def add(self, instance: object, *, _warn: bool = True) -> None:
        """Write a row with the others; `get` finds it at once."""
        super().add(instance, _warn=_warn)
        if isinstance(instance, AuditLine):
            if instance.action in FINAL_ACTIONS:
                self._gone[instance.event_id] = True
        elif isinstance(instance, FurtherWords):
            if instance.event_id in self._further:
                self._further[instance.event_id].append(instance)
        elif isinstance(instance, Base):
            self._rows[_identity(instance)] = instance

    def delete(self, instance: object) -> None:
        """Delete a row with the others; `get` misses it at once."""
        super().delete(instance)
        if isinstance(instance, Base):
            self._rows[_identity(instance)] = None

    def forget(self) -> None:
        """Read again what is asked for next: a savepoint was undone, and with it what had been added and changed."""
        self._rows.clear()
        self._gone.clear()
        self._further.clear()
        self._put.clear()
        self._later.clear()

    def further_words(self, event_id: str) -> list[FurtherWords]:
        """All words that came after an event's trigger, in the order of their time."""
        rows = self._further.get(event_id)
        if rows is None:
            rows = list(self.scalars(select(FurtherWords).where(FurtherWords.event_id == event_id)))
        return sorted(rows, key=lambda row: row.first_sample)

    def is_gone(self, event_id: str) -> bool | None:
        """Whether the event was deleted for good; None when it was not preloaded."""
        return self._gone.get(event_id)


def _identity(row: Base) -> tuple[type[Base], Any]:
    key = row.__mapper__.primary_key_from_instance(row)
    return type(row), key[0] if len(key) == 1 else tuple(key)
