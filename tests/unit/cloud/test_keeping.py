"""What is kept: archives that come back whole or not at all, and limits by age and size."""

import json
import tarfile
from datetime import timedelta

import pytest
import sqlalchemy

from cloud.history.archive import export, restore
from cloud.history.clips import ClipStore
from cloud.history.models import AuditLine, Base, Clip, Event
from cloud.history.retention import SOUND_EXPIRED, Retention, prune
from cloud.history.store import History
from edge.errors import HarkenError
from tools.cli import main


@pytest.fixture
def filled(cloud, kitchen):
    """Three events with sound, one refused message."""
    triggers = [kitchen.trigger() for _ in range(3)]
    for trigger in triggers:
        cloud.receive(kitchen, trigger)
        cloud.receive(kitchen, kitchen.clip(trigger))
    cloud.receive_raw("harken/v1/kitchen/trigger", b"\xff")
    for trigger in triggers:
        cloud.until(lambda trigger=trigger: cloud.verdict(trigger).notified_at)
    cloud.until(lambda: cloud.acknowledged == 7)
    cloud.until(lambda: cloud.pipeline.depth == 0)
    return cloud


def rows(history):
    with history.reading() as session:
        return {
            table.name: sorted(map(repr, session.execute(sqlalchemy.select(table)).all()))
            for table in Base.metadata.sorted_tables
        }


@pytest.fixture
def target(tmp_path, request):
    url = f"sqlite:///{tmp_path / 'other.sqlite3'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres").migrated_url()
    history = History(url)
    yield history, ClipStore((tmp_path / "other-clips").as_uri())
    history.close()


BOTH = pytest.mark.parametrize(
    "target", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True
)


@BOTH
def test_an_archive_comes_back_with_every_row_and_sound(filled, target, tmp_path):
    history, clips = target
    archive = tmp_path / "archive.tar"
    contents = export(filled.history, filled.clips, archive)
    assert contents.clips == 3
    assert archive.stat().st_mode & 0o077 == 0
    assert restore(archive, history, clips).rows == contents.rows
    assert rows(history) == rows(filled.history)
    for event_id in filled.clips.event_ids():
        assert clips.read_file(event_id) == filled.clips.read_file(event_id)
    with history.transaction() as session:  # new rows are numbered after the restored ones
        audit = session.query(AuditLine).count()
        session.add(
            AuditLine(
                at=filled.steps.parts.now(), action="x", event_id="", device_id="", event_name="", account_id=None
            )
        )
        session.flush()
        assert session.query(AuditLine).count() == audit + 1


def flip(path):
    content = bytearray(path.read_bytes())
    with tarfile.open(path) as archive:
        place = next(member for member in archive if member.name.startswith("clips/")).offset_data + 100
    content[place] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-16000])


def empty(path):
    path.write_bytes(b"")


def no_archive(path):
    path.write_bytes(b"x" * 5000)


def newer(path):
    content = path.read_bytes().replace(b'{"format": 1', b'{"format": 9')
    path.write_bytes(content)


@pytest.mark.parametrize("target", ["sqlite"], indirect=True)
@pytest.mark.parametrize("harm", [flip, cut, empty, no_archive, newer])
def test_a_damaged_archive_is_refused_and_nothing_is_changed(filled, target, tmp_path, harm):
    history, clips = target
    archive = tmp_path / "archive.tar"
    export(filled.history, filled.clips, archive)
    harm(archive)
    before = rows(history)
    with pytest.raises(HarkenError, match=r"damaged|format 9"):
        restore(archive, history, clips)
    assert rows(history) == before
    assert clips.event_ids() == set()


@pytest.mark.parametrize("target", ["sqlite"], indirect=True)
def test_an_archive_of_an_older_shape_is_brought_to_today_s(target, tmp_path):
    history, clips = target
    old = History.made_at(f"sqlite:///{tmp_path / 'old.sqlite3'}", "0001")
    with old.transaction() as session:
        session.execute(
            sqlalchemy.text(
                "INSERT INTO rejections (cause, count, last_topic, last_detail, last_at) "
                "VALUES ('topic', 3, 't', 'd', '2026-01-01 00:00:00.000000')"
            )
        )
    rejection = {
        "cause": "topic",
        "count": 3,
        "last_topic": "t",
        "last_detail": "d",
        "last_at": {"time": "2026-01-01T00:00:00+00:00"},
    }
    archive = tmp_path / "old.tar"
    _write_archive(archive, "0001", {"tables/rejections.jsonl": json.dumps(rejection).encode() + b"\n"})
    assert restore(archive, history, clips).rows == 1
    assert "'topic', 3" in rows(history)["rejections"][0]


def _write_archive(path, revision, members):
    import hashlib
    import io

    manifest = {
        "format": 1,
        "revision": revision,
        "members": {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in members.items()
        },
    }
    with tarfile.open(path, "w") as archive:
        for name, content in {**members, "manifest.json": json.dumps(manifest).encode()}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def test_a_history_with_events_is_not_written_over(filled, tmp_path):
    export(filled.history, filled.clips, tmp_path / "archive.tar")
    before = rows(filled.history)
    with pytest.raises(HarkenError, match="holds events"):
        restore(tmp_path / "archive.tar", filled.history, filled.clips)
    assert rows(filled.history) == before


def test_old_events_go_with_their_sound_and_do_not_come_back(filled, kitchen, tmp_path):
    now = filled.steps.parts.now() + timedelta(days=31)
    pruned = prune(filled.history, filled.clips, tmp_path, Retention(keep_days=30), now)
    assert (pruned.events, pruned.sounds) == (3, 0)
    assert filled.clips.event_ids() == set()
    with filled.history.reading() as session:
        assert session.query(Event).count() == session.query(Clip).count() == 0
        assert {line.action for line in session.query(AuditLine)} == {"expired"}
        gone = session.query(AuditLine).first().event_id
    late = kitchen.trigger(event_id=bytes.fromhex(gone))
    filled.receive(kitchen, late)
    filled.until(lambda: filled.acknowledged == 8)
    assert filled.row(late) is None


def test_young_and_undecided_events_stay(filled, kitchen, tmp_path):
    undecided = kitchen.trigger()
    filled.receive(kitchen, undecided)
    filled.until(lambda: filled.row(undecided))
    now = filled.steps.parts.now()
    assert prune(filled.history, filled.clips, tmp_path, Retention(keep_days=30), now).events == 0
    assert prune(filled.history, filled.clips, tmp_path, Retention(keep_days=30), now + timedelta(days=60)).events == 3
    assert filled.row(undecided) is not None


def test_beyond_a_size_the_oldest_sounds_go_and_their_events_stay(filled, tmp_path):
    with filled.history.reading() as session:
        clips = session.query(Clip).order_by(Clip.received_at).all()
    keep_gb = (clips[1].size_bytes + clips[2].size_bytes) / 1e9
    pruned = prune(filled.history, filled.clips, tmp_path, Retention(keep_clips_gb=keep_gb), filled.steps.parts.now())
    assert (pruned.events, pruned.sounds, pruned.freed_bytes) == (0, 1, clips[0].size_bytes)
    assert filled.clips.event_ids() == {clip.event_id for clip in clips[1:]}
    with filled.history.reading() as session:
        assert session.query(Event).count() == 3
        assert [line.action for line in session.query(AuditLine)] == [SOUND_EXPIRED]


def test_the_commands_export_restore_and_prune(filled, tmp_path, capsys):
    archive, other = tmp_path / "archive.tar", tmp_path / "other"
    assert main(["history", "export", str(archive), "--data-dir", str(filled.folder)]) == 0
    assert main(["history", "restore", str(archive), "--data-dir", str(other)]) == 0
    assert main(["history", "prune", "--gb", "0.00001", "--data-dir", str(other), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["sounds"] == 3
    assert main(["history", "prune", "--data-dir", str(other)]) == 1
    assert "--days" in capsys.readouterr().err
    assert main(["history", "export", str(archive), "--data-dir", str(tmp_path / "nowhere")]) == 1
