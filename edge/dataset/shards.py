"""Features and labels of many scenes, made once per recipe and kept in files."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np

from edge import build_core, native
from edge.dataset import mixtures, rooms, splits
from edge.dataset.manifest import MANIFEST_FILE, Recording, check_audio, read_manifest
from edge.dataset.mixtures import MixtureRule, PlacedEvent, SceneMaker
from edge.dataset.pseudo_labels import PseudoLabels
from edge.dataset.sounds import SoundLibrary
from edge.dataset.splits import SplitRule
from edge.errors import HarkenError

SCENES_PER_SHARD = 45
FRAMES_PER_STEP = 2
# seeds of scenes and rooms differ between parts, so that no part sees what another is made of
_PART_SEED = {splits.TRAIN: 1, splits.VALIDATION: 2, splits.HELD_OUT: 3}


@dataclass(frozen=True)
class Recipe:
    """All that decides what a shard holds.

    Attributes:
        data: folder of recordings with its manifest.
        seed: of every scene and room.
        mixture: what scenes are made of.
        split: which originals belong to which part.
        room_count: simulated rooms per part.
        fold: (index, count) to hold out that fold of `splits.folds` rather than the held-out part of `split`; None for
            `split` alone. To train on everything, give `split` shares of 0.
        has_codec: whether features are those of audio that has gone through the clip codec (IMA-ADPCM), as what the
            verifier hears has. Shards hold both, so this does not change them.
        skip_bad: leave out manifest rows that are wrong.
        pseudo_labels: what a teacher heard in the recordings of the training part; heads are not asked there.
    """

    data: Path
    seed: int = 1
    mixture: MixtureRule = field(default_factory=MixtureRule)
    split: SplitRule = field(default_factory=SplitRule)
    room_count: int = 64
    fold: tuple[int, int] | None = None
    has_codec: bool = False
    skip_bad: bool = False
    pseudo_labels: PseudoLabels = field(default_factory=PseudoLabels)

    def digest(self) -> str:
        """Return 16 hex digits of the recipe, the manifest, and the code that follows it."""
        sha = hashlib.sha256((self.data / MANIFEST_FILE).read_bytes())
        described = asdict(self) | {"data": "", "has_codec": None, "skip_bad": None}
        described["pseudo_labels"] = self.pseudo_labels.digest
        sha.update(json.dumps(described, sort_keys=True, default=str).encode())
        dataset_dir = Path(mixtures.__file__).parent
        sources = [*dataset_dir.glob("*.py"), *(dataset_dir / "synthesis").glob("*.py")]
        for source in sorted(sources):
            sha.update(source.read_bytes())
        sha.update((build_core.CORE_DIR / "frontend.toml").read_bytes())
        return sha.hexdigest()[:16]


@dataclass(frozen=True)
class Shards:
    """Scenes ready for training, in one order.

    Attributes:
        features: int8[scenes, frames, 40].
        labels: uint8[scenes, steps, events], bits of `edge.dataset.labels`.
        events: the events that each scene holds.
        others: near misses and other sounds that are none, in each scene.
    """

    features: np.ndarray
    labels: np.ndarray
    events: tuple[tuple[PlacedEvent, ...], ...]
    others: tuple[tuple[PlacedEvent, ...], ...] = ()

    @property
    def hours(self) -> float:
        """Length of all scenes together."""
        return self.features.shape[0] * self.features.shape[1] / 100 / 3600

    def steps(self) -> np.ndarray:
        """Return the features as the detector takes them: int8[scenes, steps, 80], a view."""
        scenes, frames, bands = self.features.shape
        return self.features.reshape(scenes, frames // FRAMES_PER_STEP, FRAMES_PER_STEP * bands)


def recordings_of_parts(recipe: Recipe) -> dict[str, list[Recording]]:
    """Return the recordings of every part of the recipe's split, each known to hold sound that can be used.

    Raises:
        HarkenError: (without `skip_bad`) a row of the manifest or a recording is wrong, with its line.
    """
    manifest_hash = hashlib.sha256((recipe.data / MANIFEST_FILE).read_bytes()).hexdigest()
    recordings = _usable_recordings(recipe.data, manifest_hash, recipe.skip_bad)
    if recipe.fold is None:
        return splits.split(recordings, recipe.split)
    held_out, count = recipe.fold
    return splits.fold_parts(recordings, count, held_out, recipe.split)


@cache
def _usable_recordings(data: Path, _manifest_hash: str, skip_bad: bool) -> tuple[Recording, ...]:
    """Read and decode all once; the hash tells a manifest that has changed since."""
    return tuple(check_audio(read_manifest(data, skip_bad), skip_bad))


def scene_maker(recipe: Recipe, part: str, recordings: Sequence[Recording]) -> SceneMaker:
    """Return the maker of one part's scenes, from its own recordings and its own rooms."""
    library = SoundLibrary(recordings, pseudo_labels=recipe.pseudo_labels)
    part_rooms = rooms.simulated_rooms(recipe.seed * 100 + _PART_SEED[part], recipe.room_count)
    return SceneMaker(library, [*part_rooms, *rooms.measured_rooms(recordings)], recipe.mixture)


def load(recipe: Recipe, part: str, hours: float, cache_dir: Path, say: Callable[[str], None] | None = None) -> Shards:
    """Return at least `hours` of one part's scenes; those not in `cache_dir` yet are made and stored.

    Args:
        recipe: what to make.
        part: one of `splits.PARTS`.
        hours: how much; rounded up to whole shards of half an hour.
        cache_dir: a folder for files of any recipe; nothing in it is ever changed.
        say: is told of every shard made.
    """
    shard_hours = SCENES_PER_SHARD * recipe.mixture.scene_s / 3600
    count = int(np.ceil(hours / shard_hours - 1e-9))
    folder = make_missing(recipe, part, range(count), cache_dir, say)
    return read(folder, part, count, recipe.has_codec)


def make_missing(
    recipe: Recipe, part: str, indices: Iterable[int], cache_dir: Path, say: Callable[[str], None] | None = None
) -> Path:
    """Make those of a part's shards that are not in `cache_dir` yet, and return the folder of the recipe's shards.

    Shards are independent: processes that are given different `indices` may share the work.
    """
    folder = cache_dir / recipe.digest()
    folder.mkdir(parents=True, exist_ok=True)
    missing = [index for index in indices if not _path(folder, part, index).exists()]
    if missing:
        maker = scene_maker(recipe, part, recordings_of_parts(recipe)[part])
        for made, index in enumerate(missing, 1):
            _make(maker, recipe, part, index, _path(folder, part, index))
            if say:
                say(f"{part}: shard {index} made, {made} of {len(missing)}")
    return folder


def read(folder: Path, part: str, count: int | None = None, has_codec: bool = False) -> Shards:
    """Return the first `count` shards of one part in `folder`, whatever recipe made them; all where None.

    Raises:
        HarkenError: there are not so many, or none at all.
    """
    paths = [_path(folder, part, index) for index in range(count)] if count else sorted(folder.glob(f"{part}_????.npz"))
    absent = [path.name for path in paths if not path.exists()]
    if absent or not paths:
        raise HarkenError(f"{folder} lacks {', '.join(absent) or f'shards of {part}'}: make them with `harken train`")
    features, labels, events, others = [], [], [], []
    for path in paths:
        with np.load(path) as shard:
            features.append(shard["coded_features" if has_codec else "features"])
            labels.append(shard["labels"])
            events += _placed(shard["events"])
            others += _placed(shard["others"])
    return Shards(np.concatenate(features), np.concatenate(labels), tuple(events), tuple(others))


def joined(parts: Sequence[Shards]) -> Shards:
    """Return several sets of scenes of one length as one, in order."""
    return Shards(
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.labels for part in parts]),
        tuple(scene for part in parts for scene in part.events),
        tuple(scene for part in parts for scene in part.others),
    )


def _path(folder: Path, part: str, index: int) -> Path:
    return folder / f"{part}_{index:04d}.npz"


def _placed(stored: np.ndarray) -> list[tuple[PlacedEvent, ...]]:
    return [
        tuple(PlacedEvent(**placed | {"originals": tuple(placed["originals"])}) for placed in listed)
        for listed in json.loads(str(stored))
    ]


def _make(maker: SceneMaker, recipe: Recipe, part: str, index: int, path: Path) -> None:
    features, coded, labels, events, others = [], [], [], [], []
    for scene_index in range(index * SCENES_PER_SHARD, (index + 1) * SCENES_PER_SHARD):
        scene = maker.make((recipe.seed, _PART_SEED[part], scene_index))
        features.append(native.features(scene.pcm))
        coded.append(native.features(through_codec(scene.pcm)))
        labels.append(scene.labels)
        events.append([asdict(placed) for placed in scene.events])
        others.append([asdict(placed) for placed in scene.others])
    # two processes may make the same shard: each writes its own file, and the last one stays
    unfinished = path.with_suffix(f".{os.getpid()}.part.npz")
    np.savez_compressed(
        unfinished,
        features=np.stack(features),
        coded_features=np.stack(coded),
        labels=np.stack(labels),
        events=np.array(json.dumps(events)),
        others=np.array(json.dumps(others)),
    )
    unfinished.replace(path)


def scenes_without_alarms(recipe: Recipe, part: str, seed: int) -> Iterator[mixtures.Scene]:
    """Make scenes without end in which no alarm is, nor any sound that might be one, from one part's recordings.

    For counting false alarms. Everything else is as in training scenes, near misses of alarms among it.

    Args:
        recipe: its `mixture` without alarms is what scenes are made of.
        part: one of `splits.PARTS`.
        seed: of the scenes; their rooms are the part's.
    """
    quiet = replace(recipe, mixture=recipe.mixture.without("smoke_alarm", "co_alarm"))
    maker = scene_maker(quiet, part, recordings_of_parts(quiet)[part])
    for index in itertools.count():
        yield maker.make((seed, _PART_SEED[part], index))


def through_codec(pcm: np.ndarray) -> np.ndarray:
    """Return `pcm` int16[n] as it is after the clip's coding and decoding, int16[n]."""
    decoded = native.adpcm_decode(native.adpcm_encode(pcm), len(pcm))
    return decoded[: len(pcm)]
