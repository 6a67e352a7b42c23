"""What owners said becomes a folder for training, and what is deleted leaves everything that was made of it."""

import pytest

from cloud.accounts.export import export_feedback
from edge.dataset.manifest import check_audio, read_manifest
from tests.cloud_doubles import noise
from tools.cli import main


@pytest.fixture
def judged(browser, cloud, kitchen, confirmed, rejected):
    """Three events that somebody spoke of: right, wrong with a name, wrong without."""
    third = kitchen.trigger("door")
    cloud.receive(kitchen, third)
    cloud.receive(kitchen, kitchen.clip(third, noise(seed=3)))
    cloud.verdict(third)
    browser.post(f"/events/{confirmed}/feedback", {"is_right": "yes"})
    browser.post(f"/events/{rejected}/feedback", {"is_right": "no", "label": "dog_bark"})
    browser.post(f"/events/{third.event_id.hex()}/feedback", {"is_right": "no", "label": "other"})
    return confirmed, rejected, third.event_id.hex()


def test_feedback_becomes_a_manifest_that_training_reads(judged, cloud, tmp_path):
    folder = tmp_path / "lessons"
    assert export_feedback(cloud.history, cloud.clips, folder, 1).sounds == 3
    rows = {row.path.stem.removeprefix("harken-"): row for row in read_manifest(folder)}
    assert [(rows[each].label, rows[each].use) for each in judged] == [
        ("smoke_alarm", "positive"),
        ("dog_bark", "positive"),
        ("other", "negative"),
    ]
    assert {row.original_id.rsplit(":", 1)[0] for row in rows.values()} == {"harken:kitchen"}
    assert len(check_audio(list(rows.values()))) == 3


def test_what_is_deleted_leaves_the_next_export_and_another_home_gets_none(browser, judged, cloud, tmp_path):
    folder = tmp_path / "lessons"
    export_feedback(cloud.history, cloud.clips, folder, 1)
    browser.post(f"/events/{judged[0]}/delete")
    done = export_feedback(cloud.history, cloud.clips, folder, 1)
    assert (done.sounds, done.removed) == (2, 1)
    assert not list(folder.glob(f"*{judged[0]}*"))
    assert export_feedback(cloud.history, cloud.clips, tmp_path / "theirs", 2).sounds == 0


def test_the_command_says_what_it_wrote(judged, cloud, tmp_path, capsys):
    assert judged
    cloud.pipeline.stop()
    assert main(["feedback", "export", str(tmp_path / "out"), "--data-dir", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("3 sounds")
    assert main(["feedback", "export", str(tmp_path / "out"), "--data-dir", str(tmp_path / "nowhere")]) == 1
    assert main(["feedback", "export", str(tmp_path / "out"), "--data-dir", str(tmp_path), "--home", "x"]) == 1


def test_people_and_devices_from_the_command_line(tmp_path, capsys):
    place = ["--data-dir", str(tmp_path)]
    assert main(["user", "add", "ada", "--role", "admin", *place]) == 0
    assert "one-time password" in capsys.readouterr().out
    assert main(["user", "add", "bob", "--home", "next door", *place]) == 0
    assert main(["user", "add", "eve", *place]) == 1
    assert "say which with --home" in capsys.readouterr().err
    assert main(["device", "claim", "kitchen", "--home", "home", *place]) == 0
    assert main(["device", "claim", "hall", *place]) == 0
    assert main(["user", "password", "bob", *place]) == 0
    assert main(["user", "remove", "bob", *place]) == 0
    assert main(["user", "remove", "ada", *place]) == 1
    capsys.readouterr()
    main(["device", "list", *place])
    main(["user", "list", *place])
    printed = capsys.readouterr().out
    assert "kitchen" in printed
    assert "ada" in printed
    assert "bob" not in printed
    assert main(["device", "release", "kitchen", *place]) == 0
