"""A history in one file: all rows and clips, with checksums; written while the server runs, restored elsewhere.

The archive is a tar file. `manifest.json` comes last and names the format, the shape of the database (Alembic's
revision) and for every other member its size and SHA-256. `tables/<name>.jsonl` holds a row a line,
`clips/<event id>.wav` a sound. It is as private as the history itself: only its owner may read it.
Restoring first checks every byte against the manifest, then loads the rows into a scratch database of the archive's
shape, brings that to today's, and only then writes, in one transaction: a damaged archive changes nothing.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, MetaData, Table, create_engine, func, insert, inspect, select, text
from sqlalchemy.exc import SQLAlchemyError

from cloud.history.clips import ClipStore
from cloud.history.models import Base
from cloud.history.store import History
from edge.errors import HarkenError

FORMAT = 1
_MANIFEST = "manifest.json"
_ROWS_AT_A_TIME = 500
_MOST_MANIFEST_BYTES = 256 << 20
_TRANSIENT_TABLES = frozenset({"login_sessions", "entry_links", "tries"})
"""Tables whose rows are keys to the running server: they are left out, so that an archive opens no session."""


@dataclass(frozen=True)
class Contents:
    """What an archive holds."""

    rows: int
    clips: int
    clips_missing: int
    size_bytes: int


def export(history: History, clips: ClipStore, path: Path) -> Contents:
    """Write an archive. Appears under its name when it is whole.

    Raises:
        HarkenError: it cannot be written.
    """
    aside = path.with_name(path.name + ".part")
    try:
        private = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(private, "wb") as file, tarfile.open(fileobj=file, mode="w") as archive:
            contents = _write(history, clips, archive)
        aside.replace(path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise HarkenError(
            f"the archive {path} cannot be written ({error.strerror or error}): choose another place"
        ) from error
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    return Contents(contents.rows, contents.clips, contents.clips_missing, path.stat().st_size)


def _write(history: History, clips: ClipStore, archive: tarfile.TarFile) -> Contents:
    members: dict[str, dict[str, Any]] = {}

    def put(name: str, content: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mtime = len(content), int(time.time())
        archive.addfile(info, io.BytesIO(content))
        members[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}

    rows = clip_count = missing = 0
    with history.reading() as session:  # one view of all tables
        connection = session.connection()
        revision = _revision(connection)
        event_ids: list[str] = []
        for table in Base.metadata.sorted_tables:
            if table.name in _TRANSIENT_TABLES:
                continue
            with tempfile.TemporaryFile() as lines:
                count = 0
                for row in connection.execute(select(table).execution_options(yield_per=_ROWS_AT_A_TIME)).mappings():
                    lines.write(json.dumps({key: _to_json(value) for key, value in row.items()}).encode() + b"\n")
                    count += 1
                    if table.name == "clips":
                        event_ids.append(row["event_id"])
                lines.seek(0)
                put(f"tables/{table.name}.jsonl", lines.read())
            rows += count
        for event_id in event_ids:
            try:
                put(f"clips/{event_id}.wav", clips.read_file(event_id))
                clip_count += 1
            except FileNotFoundError:  # deleted meanwhile, or lost: its row says that there was one
                missing += 1
    contents = Contents(rows, clip_count, missing, 0)
    manifest = {
        "format": FORMAT,
        "revision": revision,
        "made_at": datetime.now(UTC).isoformat(),
        "contents": asdict(contents),
        "members": members,
    }
    put(_MANIFEST, json.dumps(manifest).encode())
    return contents


def restore(path: Path, history: History, clips: ClipStore) -> Contents:
    """Put an archive into an empty history.

    Raises:
        HarkenError: the archive is damaged, of a newer format or shape, or the history holds events already. Nothing
            was changed then.
    """
    with history.reading() as session:
        if session.scalar(select(func.count()).select_from(Base.metadata.tables["events"])):
            raise HarkenError("the history holds events already: restore into a new one, with another --data-dir")
    with tempfile.TemporaryDirectory(prefix="harken-restore-") as folder:
        try:
            with tarfile.open(path, mode="r:") as archive:
                manifest = _checked(archive, path)
                scratch = _load(archive, manifest, Path(folder), path)
                count = _store_clips(archive, manifest, clips)
        except (OSError, tarfile.TarError) as error:
            raise _damaged(path, str(error)) from error
        rows = _copy(scratch, history)
    return Contents(rows, count, 0, path.stat().st_size)


def _checked(archive: tarfile.TarFile, path: Path) -> dict[str, Any]:
    """The manifest, once every member is what it says."""
    found: dict[str, tuple[int, str]] = {}
    manifest: dict[str, Any] | None = None
    for member in archive:
        content = archive.extractfile(member) if member.isfile() else None
        if content is None:
            raise _damaged(path, f"{member.name!r} is no file")
        if member.name == _MANIFEST:
            if member.size > _MOST_MANIFEST_BYTES:
                raise _damaged(path, "its manifest is too long")
            try:
                manifest = json.loads(content.read())
            except ValueError as error:
                raise _damaged(path, f"its manifest is no JSON: {error}") from error
            continue
        digest = hashlib.file_digest(content, "sha256")  # type: ignore[arg-type]
        if member.name in found:
            raise _damaged(path, f"{member.name} is there twice")
        found[member.name] = (member.size, digest.hexdigest())
    if not isinstance(manifest, dict) or not isinstance(manifest.get("members"), dict):
        raise _damaged(path, "it has no manifest, so its end is missing")
    if manifest.get("format") != FORMAT:
        raise HarkenError(f"{path} is of format {manifest.get('format')!r}, this Harken reads {FORMAT}: update it")
    promised = {name: (each["bytes"], each["sha256"]) for name, each in manifest["members"].items()}
    if promised != found:
        differing = sorted(name for name in promised.keys() | found.keys() if promised.get(name) != found.get(name))
        raise _damaged(path, f"{differing[0]} is not what was written")
    return manifest


def _load(archive: tarfile.TarFile, manifest: dict[str, Any], folder: Path, path: Path) -> str:
    """The rows in a scratch database of today's shape; returns its URL."""
    url = f"sqlite:///{folder / 'scratch.sqlite3'}"
    History.made_at(url, str(manifest["revision"])).close()
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            metadata = MetaData()
            metadata.reflect(connection)
            for name in manifest["members"]:
                if name.startswith("tables/"):
                    _load_table(connection, metadata, archive, name, path)
    except (SQLAlchemyError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, f"its rows do not fit its shape: {str(error).splitlines()[0]}") from error
    finally:
        engine.dispose()
    History(url).close()  # migrates
    return url


def _load_table(connection: Connection, metadata: MetaData, archive: tarfile.TarFile, name: str, path: Path) -> None:
    table = metadata.tables.get(name.removeprefix("tables/").removesuffix(".jsonl"))
    lines = archive.extractfile(name)
    if table is None or lines is None:
        raise _damaged(path, f"there is no table for {name}")
    batch: list[dict[str, Any]] = []
    for line in lines:
        batch.append({key: _from_json(value) for key, value in json.loads(line).items()})
        if len(batch) == _ROWS_AT_A_TIME:
            _insert_plain(connection, table, batch)
            batch = []
    if batch:
        _insert_plain(connection, table, batch)


def _insert_plain(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Insert what SQLite itself keeps: reflection knows no types of ours."""
    names = list(rows[0])
    columns, places = ", ".join(f'"{each}"' for each in names), ", ".join("?" for _ in names)
    statement = f'INSERT INTO "{table.name}" ({columns}) VALUES ({places})'  # names come from a reflected table
    for each in names:
        table.c[each]  # raises KeyError for a column that the shape has not
    values = [tuple(_to_sqlite(row[each]) for each in names) for row in rows]
    connection.exec_driver_sql(statement, values)


def _store_clips(archive: tarfile.TarFile, manifest: dict[str, Any], clips: ClipStore) -> int:
    count = 0
    for name in manifest["members"]:
        if name.startswith("clips/"):
            content = archive.extractfile(name)
            assert content is not None, "checked before"
            clips.write_file(name.removeprefix("clips/").removesuffix(".wav"), content.read())
            count += 1
    return count


def _copy(scratch_url: str, history: History) -> int:
    """Copy all rows from the scratch database, in one transaction."""
    scratch = create_engine(scratch_url)
    rows = 0
    try:
        with scratch.connect() as source, history.transaction() as session:
            target = session.connection()
            tables = [table for table in Base.metadata.sorted_tables if table.name not in _TRANSIENT_TABLES]
            for table in reversed(Base.metadata.sorted_tables):
                target.execute(table.delete())
            for table in tables:
                for part in _parts(source, table):
                    target.execute(insert(table), part)
                    rows += len(part)
                _continue_numbers(target, table)
    finally:
        scratch.dispose()
    return rows


def _parts(source: Connection, table: Table) -> Iterator[list[dict[str, Any]]]:
    result = source.execute(select(table).execution_options(yield_per=_ROWS_AT_A_TIME)).mappings()
    for part in result.partitions():
        yield [dict(row) for row in part]


def _continue_numbers(connection: Connection, table: Table) -> None:
    """Let PostgreSQL number new rows after the restored ones."""
    if connection.dialect.name != "postgresql" or table.autoincrement_column is None:
        return
    column = table.autoincrement_column.name
    greatest = connection.scalar(select(func.max(table.c[column])))
    sequence = connection.scalar(select(func.pg_get_serial_sequence(table.name, column)))
    if greatest is not None and sequence is not None:
        connection.execute(select(func.setval(sequence, greatest)))


def _revision(connection: Connection) -> str:
    if "alembic_version" not in inspect(connection).get_table_names():
        raise HarkenError("the history has no shape: open it with harken serve once")
    return str(connection.scalar(text("SELECT version_num FROM alembic_version")))


def _to_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, datetime):
        return {"time": value.astimezone(UTC).isoformat()}
    if isinstance(value, dict | list):
        return {"json": value}
    return value


def _from_json(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "bytes":
        return base64.b64decode(content, validate=True)
    return datetime.fromisoformat(content) if kind == "time" else content


def _to_sqlite(value: Any) -> Any:
    """A value as SQLAlchemy's SQLite dialect keeps it."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    return json.dumps(value) if isinstance(value, dict | list) else value


def _damaged(path: Path, cause: str) -> HarkenError:
    return HarkenError(f"the archive {path} is damaged ({cause}): nothing was restored; take another copy of it")
