"""Clips for the verifier, made once per recipe and kept in files: features, truth, and what a teacher says of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import numpy as np

from edge import catalogue
from edge.dataset import clips as clip_cuts
from edge.dataset import rooms, shards, splits
from edge.dataset.labels import STEPS_PER_SECOND
from edge.dataset.manifest import SAMPLE_RATE_HZ, Recording, read_manifest
from edge.dataset.shards import Recipe, Shards
from edge.dataset.sounds import SoundLibrary
from edge.errors import HarkenError
from edge.training import clip_mixtures
from edge.training.clip_mixtures import ClipMaker, ClipRule
from edge.training.teacher import CLASSES, Teacher

CLIPS_PER_SHARD = 500
# this share of them is made anew, the others are put together of two that are there: that is three times as fast, and
# what a teacher says of them is worth as much
_MADE_SHARE = 0.4
_JOINED_SEED = 4
# the teacher's windows in a clip: one each second
TEACHER_WINDOWS = clip_mixtures.CLIP_S
# the teacher's logits are kept as int8, eight to one; nothing beyond +-15.9 is told apart
LOGIT_SCALE = 8.0
# events whose originals are so few that figures come from folds, and the shipped model hears all of them
FEW_ORIGINALS = ("glass_break", "footsteps", "door", "appliance_beep")
FOLDS = 4
# clips of each scene
PER_SCENE = 8
_SCENE_SEED = 1000
_SET_FILE = "clips.json"
_PART_SEED = {splits.TRAIN: 31, splits.VALIDATION: 32, splits.HELD_OUT: 33}


@dataclass(frozen=True)
class ClipRecipe:
    """All that decides what the clips are.

    Attributes:
        scenes: data, split, seed and rooms, as for scenes.
        rule: what clips are made of.
        has_all_of_few: whether the training part's clips also hold the few-originals events' recordings of the other
            parts; each clip says which, so that a training can leave them out.
    """

    scenes: Recipe
    rule: ClipRule = field(default_factory=ClipRule)
    has_all_of_few: bool = True

    def digest(self, teacher: Teacher | None) -> str:
        """Return 16 hex digits of the recipe, the code that follows it, and the teacher."""
        described = json.dumps(asdict(self.rule) | {"all": self.has_all_of_few}, sort_keys=True, default=str)
        code = Path(__file__).read_bytes() + Path(clip_mixtures.__file__).read_bytes()
        named = f"{self.scenes.digest()}:{described}:{teacher.digest if teacher else ''}"
        return hashlib.sha256(named.encode() + code).hexdigest()[:16]


@dataclass(frozen=True)
class Clips:
    """Clips ready for training.

    Attributes:
        features: int8[n, 400, 40], through the clip codec.
        target: bool[n, events].
        asked: bool[n, events].
        groups: int32[n], bits of the groups of originals heard (`group_of`).
        teacher_logits: int8[n, 4, 521], `LOGIT_SCALE` to one, a second apart; 0 where no teacher was asked.
        is_taught: bool[n], where one was.
    """

    features: np.ndarray
    target: np.ndarray
    asked: np.ndarray
    groups: np.ndarray
    teacher_logits: np.ndarray
    is_taught: np.ndarray

    def __len__(self) -> int:
        """How many clips there are."""
        return len(self.features)

    def of(self, chosen: np.ndarray) -> Clips:
        """Return the clips at indices or of a mask."""
        return Clips(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})

    def __add__(self, other: Clips) -> Clips:
        """Return these clips, then the other ones."""
        return _joined([self, other])


def group_of(part: str, fold: int) -> int:
    """Return the number of the group of originals that are in a part and a fold."""
    return splits.PARTS.index(part) * FOLDS + fold


def bits_of_parts(parts: Sequence[str]) -> int:
    """Return the bits of all groups of `parts`."""
    return sum(1 << group_of(part, fold) for part in parts for fold in range(FOLDS))


def bits_of_fold(fold: int) -> int:
    """Return the bits of one fold in all parts."""
    return sum(1 << group_of(part, fold) for part in splits.PARTS)


def fold_of_originals(recordings: Sequence[Recording], event: str, salt: str) -> dict[str, int]:
    """Return the fold of every original of an event, as even as can be, by a hash of its name."""
    originals = {recording.original_id for recording in recordings if recording.label == event}
    ranked = sorted(originals, key=lambda name: hashlib.sha256(f"{salt}:fold:{name}".encode()).hexdigest())
    return {name: index % FOLDS for index, name in enumerate(ranked)}


def clip_maker(recipe: ClipRecipe, part: str, recordings_of: dict[str, list[Recording]]) -> ClipMaker:
    """Return the maker of one part's clips."""
    own = recordings_of[part]
    seed = recipe.scenes.seed * 100 + _PART_SEED[part]
    part_rooms = [*rooms.simulated_rooms(seed, recipe.scenes.room_count), *rooms.measured_rooms(own)]
    groups: dict[str, list[tuple[int, int, SoundLibrary]]] = {}
    if recipe.has_all_of_few and part == splits.TRAIN:
        everything = [recording for recordings in recordings_of.values() for recording in recordings]
        for event in FEW_ORIGINALS:
            folds = fold_of_originals(everything, event, recipe.scenes.split.salt)
            for other, recordings in recordings_of.items():
                for fold in range(FOLDS):
                    grouped = [r for r in recordings if r.label == event and folds[r.original_id] == fold]
                    usable = [r for r in grouped if r.use not in ("ambiguous", "augmentation")]
                    if usable:
                        count = len({r.original_id for r in usable})
                        groups.setdefault(event, []).append((group_of(other, fold), count, SoundLibrary(usable)))
    library = SoundLibrary(own, pseudo_labels=recipe.scenes.pseudo_labels)
    return ClipMaker(library, part_rooms, recipe.rule, groups)


def make_missing(
    recipe: ClipRecipe,
    part: str,
    count: int,
    cache_dir: Path,
    teacher: Teacher | None,
    say: Callable[[str], None] | None = None,
) -> list[Path]:
    """Make those shards of at least `count` clips of one part that are not in `cache_dir` yet; return all of them.

    Several processes may fill one cache at a time: each shard is written whole.
    """
    folder = cache_dir / recipe.digest(teacher)
    folder.mkdir(parents=True, exist_ok=True)
    maker: ClipMaker | None = None
    paths = [folder / f"{part}_{index:04d}.npz" for index in range(-(-count // CLIPS_PER_SHARD))]
    for index, path in enumerate(paths):
        if not path.exists():
            if maker is None:
                maker = clip_maker(recipe, part, shards.recordings_of_parts(recipe.scenes))
            _make(maker, (recipe.scenes.seed, _PART_SEED[part]), index, path, teacher)
            if say:
                say(f"{part}: clips {index + 1} of {len(paths)} made")
    return paths


def read(paths: Sequence[Path]) -> Clips:
    """Return the clips of stored shards, in order."""
    total = len(paths) * CLIPS_PER_SHARD
    clips = empty(total)
    for index, path in enumerate(paths):
        here = slice(index * CLIPS_PER_SHARD, (index + 1) * CLIPS_PER_SHARD)
        with np.load(path) as shard:
            for name in shard.files:
                getattr(clips, name)[here] = shard[name]
            clips.is_taught[here] = "teacher_logits" in shard.files
    return clips


def read_mined(path: Path) -> Clips:
    """Return the clips of one shard that was mined; no teacher has heard them."""
    with np.load(path) as shard:
        clips = empty(len(shard["features"]))
        for name in ("features", "target", "asked", "groups"):
            getattr(clips, name)[:] = shard[name]
    return clips


def from_scenes(
    scenes: Shards, recordings: Sequence[Recording], recipe: Recipe, part: str, rng: np.random.Generator
) -> Clips:
    """Return `PER_SCENE` clips of each scene, at moments at which a detector may fire; no teacher has heard them.

    Args:
        scenes: through the clip codec.
        recordings: all of the data, for the folds.
        recipe: of the scenes.
        part: that the scenes are of.
        rng: draws the moments.
    """
    return with_groups([clip_cuts.around_triggers(scenes, rng, PER_SCENE)], scenes, recordings, recipe, part)


def with_groups(
    cuts: Sequence[clip_cuts.Clips], scenes: Shards, recordings: Sequence[Recording], recipe: Recipe, part: str
) -> Clips:
    """Return what was cut out of scenes, one cut after the other, with the groups of originals in each clip."""
    clips = empty(sum(len(cut.features) for cut in cuts))
    clips.features[:] = np.concatenate([cut.features for cut in cuts])
    clips.target[:] = np.concatenate([cut.target for cut in cuts])
    clips.asked[:] = np.concatenate([cut.asked for cut in cuts])
    fold_of = {event: fold_of_originals(recordings, event, recipe.split.salt) for event in FEW_ORIGINALS}
    moments = [moment for cut in cuts for moment in zip(cut.scenes, cut.trigger_steps, strict=True)]
    for row, (scene, step) in enumerate(moments):
        from_s = (step - clip_cuts.LEAD_STEPS) / STEPS_PER_SECOND
        for placed in scenes.events[scene]:
            if placed.start_s < from_s + clip_mixtures.CLIP_S and placed.end_s > from_s:
                for original in placed.originals if placed.name in fold_of else ():
                    clips.groups[row] |= 1 << group_of(part, fold_of[placed.name][original])
    return clips


@dataclass(frozen=True)
class ClipSet:
    """The files that a training's clips come from.

    Attributes:
        made: shards of clips, by part.
        scenes: folder of shards of scenes and how many of them, by part.
        mined: shards of clips around a detector's triggers (`clip_mining`), by part. Where there are any, no others are
            cut out of the scenes.
    """

    made: dict[str, list[Path]]
    scenes: dict[str, tuple[Path, int]]
    mined: dict[str, list[Path]] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Note the files in `folder`, a training's."""
        folder.mkdir(parents=True, exist_ok=True)
        content = {
            "made": {part: [str(path) for path in paths] for part, paths in self.made.items()},
            "scenes": {part: [str(path), count] for part, (path, count) in self.scenes.items()},
            "mined": {part: [str(path) for path in paths] for part, paths in self.mined.items()},
        }
        (folder / _SET_FILE).write_text(json.dumps(content, indent=1))

    @staticmethod
    def of(folder: Path) -> ClipSet:
        """Return what a training heard; raises HarkenError where that is not noted."""
        try:
            content = json.loads((folder / _SET_FILE).read_text())
        except FileNotFoundError as error:
            raise HarkenError(f"{folder} holds no training: run `harken train --stage verifier` first") from error
        made = {part: [Path(path) for path in paths] for part, paths in content["made"].items()}
        mined = {part: [Path(path) for path in paths] for part, paths in content.get("mined", {}).items()}
        scenes = {part: (Path(path), count) for part, (path, count) in content["scenes"].items()}
        return ClipSet(made, scenes, mined)

    def clips(self, part: str, recipe: Recipe) -> Clips:
        """Return all clips of a part.

        Args:
            part: of the split.
            recipe: of the scenes.
        """
        clips = read(self.made.get(part, []))
        if self.mined.get(part):
            return _joined([clips, *(read_mined(path) for path in self.mined[part])])
        folder, count = self.scenes.get(part, (Path(), 0))
        if not count:
            return clips
        recordings = read_manifest(recipe.data, recipe.skip_bad)
        scenes = shards.read(folder, part, count, has_codec=True)
        parts = [clips]
        # shard by shard, so that a shard's clips do not hang on how many follow it
        for index in range(count):
            rng = np.random.default_rng((_SCENE_SEED + index, _PART_SEED[part]))
            here = slice(index * shards.SCENES_PER_SHARD, (index + 1) * shards.SCENES_PER_SHARD)
            shard = Shards(scenes.features[here], scenes.labels[here], scenes.events[here], scenes.others[here])
            parts.append(from_scenes(shard, recordings, recipe, part, rng))
        return _joined(parts)


def gather(
    recipe: ClipRecipe,
    hours: float,
    count: int,
    cache_dir: Path,
    teacher: Teacher | None,
    say: Callable[[str], None] | None = None,
) -> ClipSet:
    """Return the files of a training, those made that are not there yet.

    Args:
        recipe: of clips and scenes.
        hours: of scenes of the training part; a tenth of it, and half an hour at least, of the validation part.
        count: clips of the training part; a tenth of it of the validation part.
        cache_dir: for scenes (`scenes`) and clips (`clips`).
        teacher: asked about each clip, or None.
        say: is told of every file made.
    """
    made: dict[str, list[Path]] = {}
    scenes: dict[str, tuple[Path, int]] = {}
    shard_hours = shards.SCENES_PER_SHARD * recipe.scenes.mixture.scene_s / 3600
    for part, share in ((splits.TRAIN, 1.0), (splits.VALIDATION, 0.1)):
        made[part] = make_missing(recipe, part, round(count * share), cache_dir / "clips", teacher, say)
        wanted = max(1, round(hours * share / shard_hours)) if hours else 0
        folder = shards.make_missing(recipe.scenes, part, range(wanted), cache_dir / "scenes", say)
        scenes[part] = (folder, wanted)
    return ClipSet(made, scenes)


def _joined(parts: Sequence[Clips]) -> Clips:
    return Clips(**{field.name: np.concatenate([getattr(one, field.name) for one in parts]) for field in fields(Clips)})


def empty(count: int) -> Clips:
    """Return so many clips of zeros, to be filled."""
    events = len(catalogue.load())
    return Clips(
        features=np.zeros((count, clip_cuts.CLIP_FRAMES, 40), np.int8),
        target=np.zeros((count, events), bool),
        asked=np.zeros((count, events), bool),
        groups=np.zeros(count, np.int32),
        teacher_logits=np.zeros((count, TEACHER_WINDOWS, CLASSES), np.int8),
        is_taught=np.zeros(count, bool),
    )


def teacher_logits(teacher: Teacher, pcm: np.ndarray) -> np.ndarray:
    """Return what the teacher says of a clip int16[64000]: int8[4, 521], logits times `LOGIT_SCALE`."""
    scores = teacher.scores(pcm.astype(np.float32) / 32768, SAMPLE_RATE_HZ)[:TEACHER_WINDOWS].astype(np.float64)
    scores = np.clip(scores, 1e-7, 1 - 1e-7)
    return np.clip(np.round(LOGIT_SCALE * np.log(scores / (1 - scores))), -128, 127).astype(np.int8)


def _make(maker: ClipMaker, seed: tuple[int, int], index: int, path: Path, teacher: Teacher | None) -> None:
    count = max(2, round(_MADE_SHARE * CLIPS_PER_SHARD))
    made = [maker.make((*seed, number)) for number in range(index * count, (index + 1) * count)]
    rng = np.random.default_rng((*seed, index, _JOINED_SEED))
    # half of the pairs hold no recording of few originals, or hardly any clip would be left that a fold may hear
    free = [clip for clip in made if not clip.groups]
    for pair in range(CLIPS_PER_SHARD - count):
        of = made if pair % 2 or len(free) < 2 else free
        one, other = rng.choice(len(of), 2, replace=False)
        made.append(maker.joined(of[one], of[other], rng))
    content = {
        "features": np.stack([clip.features() for clip in made]),
        "target": np.stack([clip.target for clip in made]),
        "asked": np.stack([clip.asked for clip in made]),
        "groups": np.array([clip.groups for clip in made], np.int32),
    }
    if teacher is not None:
        content["teacher_logits"] = np.stack([teacher_logits(teacher, clip.pcm) for clip in made])
    unfinished = path.with_suffix(".part.npz")
    np.savez(unfinished, **content)  # type: ignore[arg-type]  # numpy's stub takes the keyword allow_pickle for all
    unfinished.replace(path)
