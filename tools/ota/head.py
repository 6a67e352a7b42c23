"""An update of a head: its blob, and the self-test by which a device knows that it is sound and silences no alarm."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge import catalogue, native, rehearsal
from edge.audio import SAMPLE_RATE_HZ
from edge.dataset.synthesis import alarms, cadences, impacts, noise, tones
from edge.errors import HarkenError
from firmware_gen.compiler.heads import HeadInfo, describe_head
from tools.ota.envelope import Trial, Update

VECTORS = 2  # as many witnesses as a device asks for; more would not fit 2 KB with all of MQTT
_ALARM_S = 6.0
_SOUNDS = 8

TrunkArray = npt.NDArray[np.int8]


def make(blob: bytes, version: int, trial: Trial, library: Path) -> Update:
    """Return the update that gives devices a head.

    Args:
        blob: of `harken head pack`.
        version: of the update, which is not the head's.
        trial: how devices try it.
        library: core and model, from `firmware_gen.build.build_host_library`.

    Raises:
        HarkenError: it is no head for this detector, or it does not hear the alarms that the image's own head hears.
    """
    payload = with_self_test(blob, library)
    info = describe_head(blob)
    return Update("head", info.event, version, info.trunk_hash, payload, trial, VECTORS)


def with_self_test(blob: bytes, library: Path) -> bytes:
    """Return a head as devices take it, over the air and by cable: its blob, then its self-test of VECTORS vectors.

    Args:
        blob: of `harken head pack`.
        library: core and model, from `firmware_gen.build.build_host_library`.

    Raises:
        HarkenError: as `make`.
    """
    info = describe_head(blob)
    trunk_hash = native.load(library).trunk_hash
    if info.trunk_hash != trunk_hash:
        raise HarkenError(
            f"the head of {info.event} was made for trunk {info.trunk_hash.hex()}, the committed detector has "
            f"{trunk_hash.hex()}: train and pack it again"
        )
    vectors = witnesses(info, blob, library)
    promised = rehearsal.scores(library, blob, vectors)
    content = blob + vectors.tobytes() + promised.tobytes()
    return content + bytes(-len(content) % 4)


def read(path: Path) -> bytes:
    """Return the blob in a file. Raises HarkenError where there is none."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise HarkenError(f"there is no head at {path} ({error.strerror}): pack one with `harken head pack`") from None


def withdraw(event: str, version: int, trunk_hash: bytes) -> Update:
    """Return the update that gives an event its own head back, or takes away one that a head has brought."""
    return Update("head", event, version, trunk_hash, b"")


def witnesses(info: HeadInfo, blob: bytes, library: Path) -> TrunkArray:
    """Return the trunk's outputs for a head's self-test, int8[VECTORS, width].

    For a safety event they are of sounds at which the image's own head fires and the new one does too; for others those
    of made sounds at which the new head scores highest and lowest, which tells its numbers best.

    Raises:
        HarkenError: the new head is silent where the image's own fires.
    """
    known = catalogue.load()
    is_safety = info.event in known.names and known.by_name(info.event).is_safety
    own = rehearsal.built_in_head(library, info.event)
    if not is_safety or own is None:
        outputs = _outputs(library, "smoke_alarm", 0)
        scores = rehearsal.scores(library, blob, outputs)
        return outputs[[int(scores.argmax()), int(scores.argmin())]]
    found: list[npt.NDArray[np.int8]] = []
    before, after = describe_head(own).thresholds, info.thresholds
    for seed in range(_SOUNDS):
        outputs = _outputs(library, info.event, seed)
        now, new = rehearsal.scores(library, own, outputs), rehearsal.scores(library, blob, outputs)
        fires = now >= before.normal
        hears = np.ones(len(outputs), bool)
        for name in ("low", "normal", "high"):
            hears &= (now < getattr(before, name)) | (new >= getattr(after, name))
        if fires.any() and not (fires & hears).any():
            raise HarkenError(
                f"the new head is silent where the detector's own head of {info.event} fires: it would make a safety "
                "event harder to hear; train it further, or lower its thresholds"
            )
        if fires.any():
            found.append(outputs[int(np.where(fires & hears, now, 0).argmax())])
    if len(found) < VECTORS:
        raise HarkenError(
            f"the detector's own head of {info.event} fires at {len(found)} of {_SOUNDS} sounds: a new head cannot "
            "be tried against it; deliver it with the detector instead"
        )
    return np.stack(found[:VECTORS])


@cache
def _outputs(library: Path, event: str, seed: int) -> TrunkArray:
    """What the trunk makes of a made sound of a safety event, int8[steps, width]."""
    rng = np.random.default_rng([19, seed])
    if event == "glass_break":
        sound = impacts.glass_break(rng)
    else:
        pattern = cadences.random_t4(rng) if event == "co_alarm" else cadences.random_t3(rng)
        sound = alarms.sound(pattern, tones.piezo(float(rng.uniform(2900, 3300))), _ALARM_S, rng, start_s=0.5).pcm
    room = noise.with_rms(noise.room(rng, len(sound) + SAMPLE_RATE_HZ), 0.001)
    room[: len(sound)] += tones.normalized(sound, 0.4)
    detector = native.load(library)
    detector.push(np.rint(np.clip(room, -1, 1) * 32767).astype(np.int16))
    return detector.trunk
