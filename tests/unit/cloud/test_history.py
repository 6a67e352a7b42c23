import errno
import io
import os
from datetime import UTC, datetime, timedelta

import fsspec
import numpy as np
import pytest
import soundfile
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from cloud.history.clips import ClipStore, StoredClip
from cloud.history.models import AuditLine, Base, Clip, Device, Event, Fingerprint
from cloud.history.store import History, delete_event, first_cause, is_deleted, is_storage_failure
from edge import native
from edge.errors import HarkenError
from tests.cloud_doubles import RATE, tone

EVENT_ID = "0123456789abcdef0123456789abcdef"
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def event_row(event_id: str = EVENT_ID) -> Event:
    values = {"device_seq": 0, "event_start_sample": 1, "trigger_sample": 2, "score": 200, "head_version": 1}
    return Event(
        event_id=event_id,
        device_id="kitchen",
        name="smoke_alarm",
        scores={"smoke_alarm": 200},
        sensitivity="normal",
        armed=False,
        cadence=None,
        model_hash="00" * 8,
        clip_policy="always",
        received_at=NOW,
        stage="received",
        **values,
    )


@pytest.fixture
def history(tmp_path):
    opened = History(f"sqlite:///{tmp_path / 'history.sqlite3'}")
    yield opened
    opened.close()


def test_migrations_make_the_tables_that_the_models_describe(history):
    with history._engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_the_database_is_durable_and_overwrites_what_is_deleted(history):
    with history._engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "secure_delete")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1}


def test_an_error_undoes_the_whole_transaction(history):
    def add_and_fail():
        with history.transaction() as session:
            session.add(event_row())
            session.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        add_and_fail()
    with history.reading() as session:
        assert session.get(Event, EVENT_ID) is None


def test_times_keep_their_zone(history):
    with history.transaction() as session:
        session.add(event_row())
    with history.reading() as session:
        assert session.get(Event, EVENT_ID).received_at == NOW


def test_deletion_leaves_an_audit_line_and_no_byte_of_the_fingerprint(history, tmp_path):
    secret = bytes(range(64, 104)) * 4
    with history.transaction() as session:
        session.add(event_row())
        session.add(Fingerprint(event_id=EVENT_ID, first_sample=0, step_samples=320, words=secret, usable=b"\xff"))
    files = [tmp_path / "history.sqlite3", tmp_path / "history.sqlite3-wal"]
    assert any(secret in file.read_bytes() for file in files if file.exists())
    with history.transaction() as session:
        assert delete_event(session, EVENT_ID, NOW)
    history.erase_deleted()
    assert not any(secret in file.read_bytes() for file in files if file.exists())
    with history.reading() as session:
        assert is_deleted(session, EVENT_ID)
        assert session.get(Event, EVENT_ID) is session.get(Fingerprint, EVENT_ID) is session.get(Clip, EVENT_ID) is None
        assert session.query(AuditLine).one().event_name == "smoke_alarm"


def test_deleting_what_is_not_there_leaves_no_line(history):
    with history.transaction() as session:
        assert not delete_event(session, EVENT_ID, NOW)
        assert not is_deleted(session, EVENT_ID)


def test_a_full_disk_is_told_apart_from_a_fault_of_ours(history):
    def add(row, pages=10_000):
        with history.transaction() as session:
            session.connection().exec_driver_sql(f"PRAGMA max_page_count = {pages}")
            session.add(row)

    big = Fingerprint(event_id=EVENT_ID, first_sample=0, step_samples=320, words=b"x" * 300_000, usable=b"")
    with pytest.raises(sqlalchemy.exc.OperationalError) as full:
        add(big, pages=30)
    assert is_storage_failure(full.value)
    assert "full" in first_cause(full.value)
    with pytest.raises(sqlalchemy.exc.IntegrityError) as fault:
        add(Device(device_id="kitchen", first_seen_at=NOW))
    assert not is_storage_failure(fault.value)


def test_a_history_from_a_newer_harken_is_refused_with_the_remedy(history, tmp_path):
    with history.transaction() as session:
        session.execute(sqlalchemy.text("UPDATE alembic_version SET version_num = '9999'"))
    history.close()
    with pytest.raises(HarkenError, match="newer Harken"):
        History(f"sqlite:///{tmp_path / 'history.sqlite3'}")


def test_a_file_that_is_no_database_is_refused_with_one_line(tmp_path):
    (tmp_path / "history.sqlite3").write_bytes(b"not a database at all" * 100)
    with pytest.raises(HarkenError, match="cannot be opened"):
        History(f"sqlite:///{tmp_path / 'history.sqlite3'}")


@pytest.fixture
def clips(tmp_path):
    return ClipStore((tmp_path / "clips").as_uri())


def stored(pcm: np.ndarray) -> StoredClip:
    return StoredClip(RATE, len(pcm), native.BLOCK_BYTES, native.adpcm_encode(pcm))


def read(clips: ClipStore, clip: StoredClip) -> StoredClip:
    return clips.read(EVENT_ID, sample_count=clip.sample_count, sample_rate_hz=RATE, block_bytes=clip.block_bytes)


@pytest.fixture(params=["file", "s3"])
def anywhere(request, clips):
    """A store in a folder, and one that speaks S3."""
    if request.param == "file":
        return clips
    address = request.getfixturevalue("s3")
    return ClipStore(f"{address.bucket_url}/{os.urandom(4).hex()}", **address.options)


def test_a_clip_comes_back_as_it_was(anywhere):
    clips = anywhere
    clip = stored(tone())
    clips.write(EVENT_ID, clip)
    assert read(clips, clip) == clip


def test_any_audio_tool_opens_a_stored_clip(clips, tmp_path):
    clips.write(EVENT_ID, stored(tone()))
    (file,) = (tmp_path / "clips").rglob("*.wav")
    pcm, rate = soundfile.read(io.BytesIO(file.read_bytes()), dtype="int16")
    assert rate == RATE
    assert np.array_equal(pcm[: len(tone())], native.adpcm_decode(stored(tone()).data, len(tone())))


def test_a_full_disk_leaves_no_half_clip(clips, tmp_path, monkeypatch):
    def refuse(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(OSError, match="No space left"):
        clips.write(EVENT_ID, stored(tone()))
    assert [path for path in (tmp_path / "clips").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "ABCDEF", EVENT_ID + "/x", EVENT_ID.upper()])
def test_only_event_ids_become_paths(clips, name):
    with pytest.raises(ValueError, match="no event id"):
        clips.write(name, stored(tone()))


def test_a_store_that_is_away_is_an_os_error_as_a_disk_would_be(s3):
    options = {**s3.options, "endpoint_url": "http://127.0.0.1:1", "config_kwargs": {"retries": {"max_attempts": 0}}}
    clips = ClipStore.__new__(ClipStore)
    clips._fs, clips._root = fsspec.core.url_to_fs("s3://harken-clips/away", **options)
    clips._is_local = False
    with pytest.raises(OSError, match=r"127\.0\.0\.1"):
        clips.write(EVENT_ID, stored(tone()))


def test_what_was_written_just_now_can_be_told_from_what_is_old(anywhere):
    anywhere.write(EVENT_ID, stored(tone()))
    now = datetime.now(UTC)
    assert anywhere.event_ids(before=now - timedelta(hours=1)) == set()
    assert anywhere.event_ids(before=now + timedelta(hours=1)) == {EVENT_ID}


def test_deleting_twice_is_no_error(anywhere):
    clips = anywhere
    clips.write(EVENT_ID, stored(tone()))
    assert clips.event_ids() == {EVENT_ID}
    clips.delete(EVENT_ID)
    clips.delete(EVENT_ID)
    assert clips.event_ids() == set()
