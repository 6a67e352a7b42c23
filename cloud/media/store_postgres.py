"""The known recordings' fingerprints in PostgreSQL, for servers on several machines: the answers of a `Store`.

A row for each recording holds its words; a row for each key its bucket, its tag, and the line of words around it, in a
table that is hash-partitioned by bucket. A search asks for the buckets that `hk_media_search` would look into, judges
tags and lines here, and fetches the words of the few recordings that are left: every step is the core's own, so that
the answers are those of a `Store` of one segment with as many buckets. A small index is fetched once and compared
whole, as a small segment is.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cloud.media import segment as segments
from cloud.media.segment import Recording
from edge import media_search
from edge.errors import HarkenError

if TYPE_CHECKING:
    import psycopg

FORMAT_VERSION = 1
PARTITIONS = 16
BUCKET_BITS = 22
"""Of a new index: a key in each, on average, with two hundred thousand clips of ten seconds."""
_WRITER_LOCK = 0x4861726B  # any number, the same in every process
_ROWS = len(media_search.PHASES)

WordArray = npt.NDArray[np.uint32]

_SCHEMA = """
CREATE TABLE media_index (
    format int NOT NULL, layout int NOT NULL, bucket_bits int NOT NULL,
    version bigint NOT NULL, recordings bigint NOT NULL, words bigint NOT NULL);
CREATE TABLE media_recordings (
    recording bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    media_id bytea NOT NULL UNIQUE, about jsonb NOT NULL, words bytea NOT NULL);
CREATE TABLE media_keys (
    bucket int NOT NULL, tag int NOT NULL, recording bigint NOT NULL, row smallint NOT NULL, word int NOT NULL,
    line bytea NOT NULL) PARTITION BY HASH (bucket);
CREATE INDEX ON media_keys (bucket);
CREATE INDEX ON media_keys (recording);
""" + "".join(
    f"CREATE TABLE media_keys_{number} PARTITION OF media_keys "
    f"FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {number});\n"
    for number in range(PARTITIONS)
)

# A bucket with more keys than fit says nothing: one more than fit are enough to know. The order is that of a segment.
_FETCH_BUCKETS = f"""
SELECT key.bucket, key.tag, key.recording, key.row, key.word, key.line
FROM unnest(%s::int[]) AS asked (bucket)
CROSS JOIN LATERAL (
    SELECT * FROM media_keys WHERE media_keys.bucket = asked.bucket LIMIT {media_search.BUCKET_MAX + 1}) AS key
ORDER BY key.bucket, key.recording, key.row, key.word
"""

log = logging.getLogger("harken.media")


@dataclass(frozen=True)
class StoredRecording:
    """One recording as it lies in the database."""

    recording: int
    media_id: str
    """16 hexadecimal digits."""
    about: dict[str, Any]
    words: tuple[WordArray, ...]
    """For each of `media_search.PHASES` a word each 80 ms, uint32[n]."""


@dataclass(frozen=True)
class FoundRecording:
    """A recording that a query may come from, and the best place that was looked at."""

    stored: StoredRecording
    phase: int
    place: media_search.Place


@dataclass(frozen=True)
class _Settings:
    bucket_bits: int
    version: int
    recordings: int
    words: int


class PostgresStore:
    """The recordings of one database. Calls may come from several threads; they take turns."""

    def __init__(self, url: str, *, bucket_bits: int = BUCKET_BITS) -> None:
        """Open an index in a database, `postgresql://…`; its tables are made if need be, with 2^`bucket_bits` buckets.

        Raises:
            HarkenError: the database cannot be reached, or holds an index of another version.
        """
        self._url = url.replace("postgresql+psycopg://", "postgresql://", 1)
        self._turn = threading.RLock()
        self._connection: psycopg.Connection[Any] | None = None
        self._small: tuple[int, list[StoredRecording]] | None = None
        with self._transaction() as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_WRITER_LOCK,))
            (is_there,) = _one(connection.execute("SELECT to_regclass('media_index') IS NOT NULL"))
            if not is_there:
                connection.execute(_SCHEMA)
                connection.execute(
                    "INSERT INTO media_index VALUES (%s, %s, %s, 0, 0, 0)",
                    (FORMAT_VERSION, media_search.KEY_LAYOUT, bucket_bits),
                )
            format_version, layout = _one(connection.execute("SELECT format, layout FROM media_index"))
            if (format_version, layout) != (FORMAT_VERSION, media_search.KEY_LAYOUT):
                raise HarkenError(
                    f"the media index in the database has version {format_version}.{layout}, "
                    f"{FORMAT_VERSION}.{media_search.KEY_LAYOUT} is known: use the Harken that wrote it, or drop the "
                    "tables media_index, media_recordings and media_keys and import the recordings again"
                )

    @property
    def backend_pid(self) -> int:
        """The process of the database that serves this connection, on its machine."""
        with self._transaction() as connection:
            return connection.info.backend_pid

    def close(self) -> None:
        """End the connection; the next call makes a new one."""
        with self._turn:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def __len__(self) -> int:
        with self._transaction() as connection:
            return _settings(connection).recordings

    @property
    def version(self) -> int:
        """Differs from what it was if anything was added or removed since, by any server."""
        with self._transaction() as connection:
            return _settings(connection).version

    def entries(self) -> Iterator[StoredRecording]:
        """Every recording."""
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT recording, media_id, about, words FROM media_recordings ORDER BY recording", binary=True
            ).fetchall()
        return map(_stored, rows)

    def listed(self, start: int, count: int) -> list[StoredRecording]:
        """Recordings number `start` and the next ones, those stored last first."""
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT recording, media_id, about, words FROM media_recordings "
                "ORDER BY recording DESC LIMIT %s OFFSET %s",
                (count, start),
                binary=True,
            ).fetchall()
        return [_stored(row) for row in rows]

    def find(self, id_prefix: str) -> list[StoredRecording]:
        """The recordings whose id, in hexadecimal, begins so."""
        if not set(id_prefix) <= set("0123456789abcdefABCDEF"):
            return []
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT recording, media_id, about, words FROM media_recordings "
                "WHERE encode(media_id, 'hex') LIKE %s ORDER BY recording",
                (id_prefix.lower() + "%",),
                binary=True,
            ).fetchall()
        return [_stored(row) for row in rows]

    def add(self, recordings: Sequence[Recording]) -> None:
        """Keep recordings, all or none; one that is there already (by its id) is replaced.

        Raises:
            HarkenError: the database cannot be reached, or has no room; what was stored stays.
        """
        if not recordings:
            return
        with self._writing() as (connection, settings):
            _delete(connection, [recording.media_id for recording in recordings])
            last = {recording.media_id: recording for recording in recordings}
            for recording in last.values():
                number = _one(
                    connection.execute(
                        "INSERT INTO media_recordings (media_id, about, words) VALUES (%s, %s, %s) RETURNING recording",
                        (
                            recording.media_id,
                            json.dumps(dict(recording.about)),
                            np.concatenate(recording.words).astype("<u4").tobytes(),
                        ),
                    )
                )[0]
                with connection.cursor() as cursor, cursor.copy("COPY media_keys FROM STDIN (FORMAT BINARY)") as copy:
                    copy.set_types(("int4", "int4", "int8", "int2", "int4", "bytea"))
                    for key in _keys(recording, settings.bucket_bits):
                        copy.write_row((key.bucket, key.tag, number, key.row, key.word, key.line))

    def remove(self, media_id: bytes) -> bool:
        """Forget a recording; whether it was there.

        Raises:
            HarkenError: as for `add`.
        """
        with self._writing() as (connection, _):
            return _delete(connection, [media_id]) > 0

    def search(
        self, query: media_search.Query, *, most: int = 16, budget: media_search.Budget | None = None
    ) -> list[FoundRecording]:
        """The recordings that a query agrees with best, best first.

        Raises:
            HarkenError: the database cannot be reached.
        """
        with self._transaction() as connection:
            # Keys and words of one moment, whatever other servers add and remove meanwhile.
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            settings = _settings(connection)
            if settings.words <= segments.SEARCHED_WHOLE_WORDS:
                every, looked_in = self._whole(connection, settings), None
            else:
                candidates = _candidates(connection, settings, query, budget or media_search.Budget.of(settings.words))
                every = _fetch(connection, np.unique(candidates.recordings))
                looked_in = candidates
        if not every:
            return []
        segment, starts = _as_segment(every)
        if looked_in is None:
            places = segment.search(query, most=_ROWS * most)
        else:
            place_of = {stored.recording: number for number, stored in enumerate(every)}
            numbers = np.array([place_of[int(recording)] for recording in looked_in.recordings])
            firsts = starts[_ROWS * numbers + looked_in.rows] // media_search.LINE_WORDS * media_search.LINE_WORDS
            places = segment.compare(
                query, (firsts + looked_in.words).astype(np.uint32), looked_in.positions, most=_ROWS * most
            )
        best: dict[int, FoundRecording] = {}
        for place in places:
            number, phase = divmod(place.row, _ROWS)
            if number not in best or best[number].place.z < place.z:
                best[number] = FoundRecording(every[number], phase, place)
        return sorted(best.values(), key=lambda each: each.place.z, reverse=True)[:most]

    def _whole(self, connection: psycopg.Connection[Any], settings: _Settings) -> list[StoredRecording]:
        if self._small is None or self._small[0] != settings.version:
            rows = connection.execute(
                "SELECT recording, media_id, about, words FROM media_recordings ORDER BY recording", binary=True
            ).fetchall()
            self._small = settings.version, [_stored(row) for row in rows]
        return self._small[1]

    @contextmanager
    def _writing(self) -> Iterator[tuple[psycopg.Connection[Any], _Settings]]:
        """A transaction in which no other server writes; at its end the index has another version."""
        with self._transaction() as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_WRITER_LOCK,))
            yield connection, _settings(connection)
            connection.execute(
                "UPDATE media_index SET version = version + 1, recordings = (SELECT count(*) FROM media_recordings), "
                "words = (SELECT coalesce(sum(length(words)), 0) / 4 FROM media_recordings)"
            )

    @contextmanager
    def _transaction(self) -> Iterator[psycopg.Connection[Any]]:
        """A transaction, committed at the end; an error of the database becomes one line, and nothing has changed."""
        try:
            import psycopg
        except ImportError as error:
            raise HarkenError("psycopg is not installed: pip install 'harken[scale]'") from error
        with self._turn:
            try:
                if self._connection is None or self._connection.closed:
                    self._connection = psycopg.connect(self._url, connect_timeout=5)
                with self._connection.transaction():
                    yield self._connection
            except psycopg.Error as error:
                self.close()
                reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                raise HarkenError(
                    f"the media index in PostgreSQL cannot be used ({reason}): is the server up, has its disk room?"
                ) from error


@dataclass(frozen=True)
class _Key:
    bucket: int
    tag: int
    row: int
    word: int
    line: bytes


def _keys(recording: Recording, bucket_bits: int) -> Iterator[_Key]:
    """The keys of a recording, each with the line of words around it, as a segment fills it up."""
    for row, (words, is_key) in enumerate(zip(recording.words, recording.is_key, strict=True)):
        lines = np.zeros(-(-len(words) // media_search.LINE_WORDS) * media_search.LINE_WORDS, "<u4")
        lines[: len(words)] = words
        for word in np.flatnonzero(is_key[: max(0, len(words) - media_search.KEY_SPAN_WORDS)]):
            bucket, tag = media_search.key_of(
                int(words[word]), int(words[word + media_search.KEY_SPAN_WORDS]), bucket_bits
            )
            first = word // media_search.LINE_WORDS * media_search.LINE_WORDS
            yield _Key(bucket, tag, row, int(word), lines[first : first + media_search.LINE_WORDS].tobytes())


@dataclass(frozen=True)
class _Candidates:
    """Where a query may lie: arrays of one length."""

    recordings: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    words: npt.NDArray[np.int64]
    positions: WordArray


def _candidates(
    connection: psycopg.Connection[Any], settings: _Settings, query: media_search.Query, budget: media_search.Budget
) -> _Candidates:
    """What `hk_media_search` would compare fully, in its order."""
    probes = query.probes(settings.bucket_bits, budget)
    # Whatever the planner thinks of the array's length: an index of one partition is what each bucket needs.
    for plan in ("enable_seqscan", "enable_hashjoin", "enable_mergejoin"):
        connection.execute(f"SET LOCAL {plan} = off")
    keys = connection.execute(_FETCH_BUCKETS, (np.unique(probes.buckets).tolist(),), binary=True).fetchall()
    if not keys:
        none = np.zeros(0, np.int64)
        return _Candidates(none, none, none, none.astype(np.uint32))
    columns = np.array([key[:5] for key in keys], np.int64)
    lines = np.frombuffer(b"".join(key[5] for key in keys), "<u4").reshape(-1, media_search.LINE_WORDS)
    buckets, tags = columns[:, 0], columns[:, 1].astype(np.uint32)
    first = np.searchsorted(buckets, probes.buckets)
    counts = np.searchsorted(buckets, probes.buckets, side="right") - first
    counts[counts > media_search.BUCKET_MAX] = 0
    of_probe = np.repeat(np.arange(len(counts)), counts)
    at = np.arange(len(of_probe)) - np.repeat(np.cumsum(counts) - counts, counts) + first[of_probe]
    differing = (tags[at] ^ probes.tags[of_probe]) & probes.tags_reliable[of_probe]
    is_candidate = media_search.count_ones(differing) <= probes.errors_max[of_probe]
    at, of_probe = (each[is_candidate][: budget.candidates] for each in (at, of_probe))
    positions = probes.positions[of_probe]
    words = columns[at, 4]
    is_left = query.judge_lines(lines[at], (words % media_search.LINE_WORDS).astype(np.uint8), positions)
    return _Candidates(columns[at, 2][is_left], columns[at, 3][is_left], words[is_left], positions[is_left])


def _as_segment(recordings: Sequence[StoredRecording]) -> tuple[media_search.Segment, npt.NDArray[np.int64]]:
    """A few recordings side by side in memory, without keys, and where each row begins."""
    rows = [row for recording in recordings for row in recording.words]
    starts = media_search.pack_starts([len(row) for row in rows])
    words = np.zeros(int(starts[-1]), np.uint32)
    for number, row in enumerate(rows):
        words[slice(*media_search.row_bounds(starts, number))] = row
    no_directory, no_postings = np.zeros(0, np.uint8), np.zeros(0, np.uint16)
    return media_search.Segment(words, starts, no_directory, no_postings, bucket_bits=0), starts.astype(np.int64)


def _fetch(connection: psycopg.Connection[Any], recordings: npt.NDArray[np.int64]) -> list[StoredRecording]:
    rows = connection.execute(
        "SELECT recording, media_id, about, words FROM media_recordings WHERE recording = ANY(%s) ORDER BY recording",
        (recordings.tolist(),),
        binary=True,
    ).fetchall()
    return [_stored(row) for row in rows]


def _stored(row: tuple[int, bytes, dict[str, Any], bytes]) -> StoredRecording:
    recording, media_id, about, content = row
    words = np.frombuffer(content, "<u4").reshape(_ROWS, -1)
    return StoredRecording(recording, bytes(media_id).hex(), about, tuple(words))


def _settings(connection: psycopg.Connection[Any]) -> _Settings:
    return _Settings(*_one(connection.execute("SELECT bucket_bits, version, recordings, words FROM media_index")))


def _delete(connection: psycopg.Connection[Any], media_ids: Sequence[bytes]) -> int:
    gone = connection.execute(
        "DELETE FROM media_recordings WHERE media_id = ANY(%s) RETURNING recording", (list(media_ids),)
    ).fetchall()
    if gone:
        connection.execute("DELETE FROM media_keys WHERE recording = ANY(%s)", ([number for (number,) in gone],))
    return len(gone)


def _one(cursor: psycopg.Cursor[Any]) -> tuple[Any, ...]:
    row: tuple[Any, ...] | None = cursor.fetchone()
    if row is None:
        raise HarkenError("the media index in the database has lost its settings: restore it, or drop its tables")
    return row
