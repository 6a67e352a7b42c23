"""`harken media import`: a folder of recordings, good and bad, at once and after having been cut off."""

import json
import wave

import numpy as np
import pytest

from cloud.media import bulk
from cloud.media.bulk import import_folder
from cloud.media.index import MediaIndex
from edge.errors import HarkenError
from tests.cloud_doubles import RATE, music, tone
from tools.cli import main


def write(path, pcm):
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, len(pcm), "NONE", ""))
        file.writeframes(pcm.astype("<i2").tobytes())


@pytest.fixture
def folder(tmp_path):
    """Three good recordings, a copy of one and a cut of another, and six that cannot be taken."""
    folder = tmp_path / "spots"
    songs = [music(6, seed=seed) for seed in range(3)]
    for number, song in enumerate(songs):
        write(folder / f"song{number}.wav", song)
    write(folder / "more" / "copy of 1.wav", songs[1])
    write(folder / "silence.wav", np.zeros(5 * RATE, np.int16))
    write(folder / "tone.wav", tone(5))
    write(folder / "clipped.wav", np.clip(songs[0].astype(int) * 60, -32768, 32767))
    write(folder / "frame.wav", songs[0][:320])
    (folder / "empty.wav").write_bytes(b"")
    (folder / "broken.flac").write_bytes(b"fLaC half a file")
    return folder


def last(progress):
    *_, end = progress
    return end


def test_good_files_are_taken_and_bad_ones_named_with_their_reason(tmp_path, folder, capsys):
    arguments = ["media", "import", str(folder), "--without-verifier", "--contains", "smoke_alarm", "--json"]
    assert main([*arguments, "--data-dir", str(tmp_path / "var")]) == 1
    printed = capsys.readouterr().out.splitlines()
    told = json.loads(printed[-1])
    assert (told["files"], told["added"], told["known"]) == (10, 3, 3)
    reasons = dict(line.split(": ", 1) for line in told["left_out"])
    assert set(reasons) == {"silence.wav", "tone.wav", "clipped.wav", "frame.wav", "empty.wav", "broken.flac"}
    for name, cause in (("silence", "silence"), ("tone", "steady tones"), ("clipped", "clipped"), ("frame", "0.0 s")):
        assert cause in reasons[f"{name}.wav"]
    assert told["duplicates"] == ["song1.wav: the same recording as more/copy of 1.wav"]
    assert any(line.startswith("left out: broken.flac: ") for line in printed)
    references = MediaIndex(tmp_path / "var" / "media").references()
    assert [each.title for each in references] == ["more/copy of 1", "song0", "song2"]
    assert references[0].events == {"smoke_alarm": None}


def test_an_import_that_was_cut_off_goes_on_where_it_was(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(bulk, "BATCH_FILES", 1)
    index = MediaIndex(tmp_path / "index")
    for progress in import_folder(index, folder):
        if progress.added == 2:
            break
    assert len(MediaIndex(tmp_path / "index")) == 2
    end = last(import_folder(MediaIndex(tmp_path / "index"), folder))
    assert (end.added, end.known_before, len(end.refused)) == (1, 2, 6)
    assert len(index) == 3


def test_a_file_that_holds_a_cut_of_a_known_recording_is_named_and_kept(tmp_path):
    long = music(12, seed=7)
    index = MediaIndex(tmp_path / "index")
    index.add("The film", long)
    write(tmp_path / "cuts" / "cut.wav", long[3 * RATE + 123 : 9 * RATE])
    write(tmp_path / "cuts" / "other.wav", music(6, seed=8))
    end = last(import_folder(index, tmp_path / "cuts"))
    assert end.duplicates == ["cut.wav: sounds like “The film”; both are kept"]
    assert end.added == 2


def test_no_room_ends_an_import_and_keeps_the_batches_before(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(bulk, "BATCH_FILES", 1)
    index = MediaIndex(tmp_path / "index")
    keep, batches = index.keep, 0

    def keep_two(batch):
        nonlocal batches
        batches += 1
        if batches > 2:
            raise HarkenError("there is no room")
        keep(batch)

    monkeypatch.setattr(index, "keep", keep_two)
    with pytest.raises(HarkenError, match="no room"):
        last(import_folder(index, folder))
    assert len(MediaIndex(tmp_path / "index")) == 2


@pytest.mark.parametrize(("make", "cause"), [(False, "is no folder"), (True, "holds no recording")])
def test_a_folder_without_recordings_is_refused(tmp_path, make, cause):
    folder = tmp_path / "nothing"
    if make:
        folder.mkdir()
        (folder / "notes.txt").write_text("none")
    with pytest.raises(HarkenError, match=cause):
        last(import_folder(MediaIndex(tmp_path / "index"), folder))
