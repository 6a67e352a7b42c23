"""What a server does by the clock: retention, and what other servers of its fleet left behind."""

from datetime import timedelta
from pathlib import Path

import pytest

from cloud.history.models import Event
from cloud.history.retention import Retention
from cloud.housekeeping import LEFT_BEHIND_S, Housekeeping
from cloud.settings import ServeSettings, read_config
from edge.errors import HarkenError
from tests.unit.cloud.conftest import Cloud


def keep(cloud, folder, retention=None):
    pictures = folder / "pictures"
    pictures.mkdir(exist_ok=True)
    keeping = Housekeeping(cloud.history, cloud.clips, pictures, retention or Retention(), cloud.steps.parts.now)
    for step in keeping.due(cloud.steps.resumption):
        cloud.pipeline.submit(step)
    return pictures


@pytest.mark.postgres
def test_what_a_dead_server_had_committed_is_taken_up_by_another(tmp_path, postgres, kitchen):
    url = postgres.migrated_url()
    dead = Cloud(tmp_path / "dead", url)
    trigger = kitchen.trigger(clip="none")
    dead.steps.media_checks.media_check = lambda *_: type("Lost", (), {})()  # it ends between the receipt and the check
    dead.pipeline._cause = lambda _effects: None
    dead.start()
    dead.receive(kitchen, trigger)
    dead.until(lambda: dead.acknowledged == 1)
    dead.close()
    other = Cloud(tmp_path / "other", url)
    other.pipeline.start()
    try:
        keep(other, tmp_path)
        other.until(lambda: other.pipeline.counters.steps >= 1)
        assert other.row(trigger).verdict is None  # the other may still be at it
        other.skew = timedelta(seconds=LEFT_BEHIND_S + 1)
        keep(other, tmp_path)
        assert other.verdict(trigger).verdict == "unverified"
        assert len(other.notified) == 1
    finally:
        other.close()


@pytest.mark.postgres
def test_pictures_of_events_deleted_through_another_server_go(tmp_path, postgres):
    cloud = Cloud(tmp_path, postgres.migrated_url()).start()
    try:
        pictures = tmp_path / "pictures"
        pictures.mkdir()
        (pictures / f"{'ab' * 16}-thumbnail.png").touch()
        (pictures / "notes.txt").touch()
        keep(cloud, tmp_path)
        assert [path.name for path in pictures.iterdir()] == ["notes.txt"]
    finally:
        cloud.close()


def test_a_server_prunes_by_itself(cloud, kitchen, tmp_path):
    triggers = [kitchen.trigger(clip="none") for _ in range(3)]
    for trigger in triggers:
        cloud.receive(kitchen, trigger)
    for trigger in triggers:
        cloud.verdict(trigger)
    cloud.skew = timedelta(days=40)
    keep(cloud, tmp_path, Retention(keep_days=30))

    def left():
        with cloud.history.reading() as session:
            return session.query(Event).count()

    cloud.until(lambda: left() == 0)


def test_a_configuration_is_read_and_the_example_is_one():
    example = Path(__file__).parents[3] / "deploy" / "fleet.toml"
    settings = ServeSettings(**read_config(example))
    assert settings.history_url.startswith("postgresql+psycopg://")
    assert settings.share == "harken"
    assert settings.clips_options["key"] == "harken"
    assert settings.workers == 0


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("[histroy]\nurl = 'x'", "no section"),
        ("[history]\nurls = 'x'", "no setting 'urls'"),
        ("[history]\nurl = 3", "give str"),
        ("[verifier]\nworkers = true", "give int"),
        ("nonsense", "cannot be read"),
    ],
)
def test_a_configuration_that_is_wrong_is_one_line(tmp_path, text, cause):
    path = tmp_path / "fleet.toml"
    path.write_text(text)
    with pytest.raises(HarkenError, match=cause):
        read_config(path)
