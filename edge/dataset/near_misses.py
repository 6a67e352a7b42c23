"""Sounds that are no event but are taken for one, recorded and made."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edge.dataset import recorded
from edge.dataset.manifest import SAMPLE_RATE_HZ, Recording
from edge.dataset.pool import RecordingPool
from edge.dataset.sounding import (
    Sound,
    Unasked,
    active_intervals,
    alarm_not_asked,
    at_speed,
    machine_knowable_s,
    respeed,
)
from edge.dataset.synthesis import cadences, clatter, impacts, signals, sounders, steps, tunes

# recordings whose label says one thing and may hold another: events that they are no evidence about, in any figure
ALSO_HOLDS: dict[tuple[str, str], tuple[str, ...]] = {
    ("household", "kitchen_microwave"): ("appliance_beep",),
    ("door_knock", ""): ("door",),
    ("siren", ""): ("smoke_alarm", "co_alarm"),
}
# the same while training only
UNCERTAIN_IN_TRAINING: dict[tuple[str, str], tuple[str, ...]] = {
    ("household", "ambience"): ("appliance_beep",),
}
# labels of recordings that are taken for an event: what beeps, rings and knocks
LABELS = ("medical_beep", "phone_ring", "doorbell", "door_knock", "siren")
_GOING_ON = ("medical_beep", "phone_ring")
# household recordings most often taken for an event: like glass, steps and doors; like a crying child or a dog
IMPACT_SUBS = (
    "kitchen_cutlery", "kitchen_plates", "keys_drop", "ceramic_break", "glass_hit_not_break", "impact",
    "kitchen_clean-dishes", "kitchen_cupboard", "kitchen_drawer", "drawer", "kitchen_fridge", "kitchen_chopping",
    "clock_tick", "keyboard", "pageturn", "kitchen_book", "misc",
)  # fmt: skip
# cupboards, drawers and fridges that shut: the door's own near misses, as figures count them as no door
SHUT_SUBS = ("kitchen_cupboard", "kitchen_drawer", "kitchen_fridge", "drawer")
# what a device hears most of all that goes on: looped or let ring for so long
_GOES_ON_S = (12.0, 36.0)
VOICE_SUBS = ("laugh", "sneeze", "cough", "clearthroat", "rooster")


def not_asked_of(recording: Recording) -> tuple[str, ...]:
    """Return the events that nothing is asked of while this recording sounds in a scene for training."""
    key = (recording.label, recording.sub)
    return ALSO_HOLDS.get(key, ()) + UNCERTAIN_IN_TRAINING.get(key, ())


def draw(pool: RecordingPool, rng: np.random.Generator) -> Sound:
    """Draw a near miss: recorded or made, of every kind."""
    makers: list[tuple[float, Callable[[], Sound]]] = [
        (weight, lambda make=make: make(rng))  # type: ignore[misc]
        for weight, make in _MADE
    ]
    makers += [
        (1.0, lambda label=label: _labelled(pool, label, rng))  # type: ignore[misc]
        for label in LABELS
        if pool.has(label)
    ]
    if pool.has("medical_beep"):  # of the most originals, and of the most false alarms
        makers.append((1.0, lambda: _labelled(pool, "medical_beep", rng)))
    if pool.has_any("household", IMPACT_SUBS):
        makers.append((2.5, lambda: _household(pool, IMPACT_SUBS, rng)))
    if pool.has_any("household", SHUT_SUBS):
        makers.append((1.2, lambda: _household(pool, SHUT_SUBS, rng)))
    if pool.has_any("household", VOICE_SUBS):
        makers.append((1.0, lambda: _household(pool, VOICE_SUBS, rng)))
    if pool.has("speech"):
        makers.append((1.2, lambda: _high_speech(pool, rng)))
    if pool.has("footsteps"):
        makers.append((0.6, lambda: _recorded_step(pool, rng)))
    if pool.has("smoke_alarm"):
        makers.append((0.5, lambda: _one_recorded_beep(pool, rng)))
    weights = np.array([weight for weight, _ in makers])
    return makers[int(rng.choice(len(makers), p=weights / weights.sum()))][1]()


def draw_sounder(pool: RecordingPool, rng: np.random.Generator) -> Sound:
    """Draw what a device takes for a smoke alarm most often: what beeps on, is held on, or begins like T3."""
    makers: list[tuple[float, Callable[[], Sound]]] = [
        (weight, lambda make=make: make(rng))  # type: ignore[misc]
        for weight, make in _SOUNDERS
    ]
    makers += [
        (weight, lambda label=label: _going_on(pool, label, rng))  # type: ignore[misc]
        for weight, label in ((4.0, "medical_beep"), (1.0, "phone_ring"))
        if pool.has(label)
    ]
    weights = np.array([weight for weight, _ in makers])
    return makers[int(rng.choice(len(makers), p=weights / weights.sum()))][1]()


def _going_on(pool: RecordingPool, label: str, rng: np.random.Generator) -> Sound:
    """A recorded monitor or telephone that goes on for half a minute."""
    recording = pool.recording(label, rng)
    pcm = respeed(pool.audio(recording), rng, 0.15)
    pcm = np.tile(pcm, max(1, int(rng.uniform(*_GOES_ON_S) * SAMPLE_RATE_HZ / len(pcm))))
    return Sound(pcm, None, active_intervals(pcm), not_asked_of(recording), kind=label)


def _labelled(pool: RecordingPool, label: str, rng: np.random.Generator) -> Sound:
    recording = pool.recording(label, rng)
    pcm = respeed(pool.audio(recording), rng, 0.1)
    if label in _GOING_ON and rng.random() < 0.5:
        pcm = np.tile(pcm, max(1, int(rng.uniform(*_GOES_ON_S) * SAMPLE_RATE_HZ / len(pcm))))
    return Sound(pcm, None, active_intervals(pcm), not_asked_of(recording), kind=label)


def _household(pool: RecordingPool, subs: tuple[str, ...], rng: np.random.Generator) -> Sound:
    recording = pool.recording_of("household", subs, rng)
    whole = pool.audio(recording)
    pcm = respeed(whole, rng, 0.15)
    on_s = active_intervals(pcm)
    unasked = pool.also_heard(recording, 0.0, len(whole) / SAMPLE_RATE_HZ, len(whole) / len(pcm), on_s[0][0])
    return Sound(pcm, None, on_s, not_asked_of(recording), unasked, kind=recording.sub)


def _high_speech(pool: RecordingPool, rng: np.random.Generator) -> Sound:
    """Speech at a child's pitch: no crying baby."""
    pieces = [at_speed(pool.audio(pool.recording("speech", rng)), float(rng.uniform(1.2, 1.75)))]
    while sum(map(len, pieces)) < 3 * SAMPLE_RATE_HZ:
        pieces.append(at_speed(pool.audio(pool.recording("speech", rng)), float(rng.uniform(1.2, 1.75))))
    pcm = np.concatenate(pieces)
    return Sound(pcm, None, active_intervals(pcm), kind="high speech")


def _recorded_step(pool: RecordingPool, rng: np.random.Generator) -> Sound:
    pcm = recorded.single_step(respeed(pool.audio(pool.recording("footsteps", rng)), rng, 0.2))
    return Sound(pcm, None, active_intervals(pcm), kind="single step")


def _one_recorded_beep(pool: RecordingPool, rng: np.random.Generator) -> Sound:
    """One to three beeps in the tone of a recorded alarm, and no more: the test button, or a machine with its pitch."""
    pcm = respeed(pool.audio(pool.recording("smoke_alarm", rng)), rng, 0.1)
    length, gap = float(rng.uniform(0.05, 0.5)), float(rng.uniform(0.05, 0.8))
    on_s = [(0.05 + k * (length + gap), 0.05 + k * (length + gap) + length) for k in range(int(rng.integers(1, 4)))]
    sounding = recorded.retimed(pcm, on_s, on_s[-1][1] + 0.3, rng)
    if sounding is None:
        return _low_battery(rng)
    return Sound(sounding, None, tuple(on_s), ("appliance_beep",), alarm_not_asked(on_s), kind="alarm's beep")


def _from(made: signals.Signal, kind: str, ignored: tuple[str, ...] = ()) -> Sound:
    return Sound(made.pcm, None, made.on_s, ignored, alarm_not_asked(made.on_s), kind=f"made {kind}")


def _machine(rng: np.random.Generator) -> Sound:
    """A machine's beeps at the pitch of an alarm: an appliance beep for its own head, no alarm for the others."""
    made = signals.end_of_programme(rng) if rng.random() < 0.7 else signals.timer(rng)
    known_s, unasked = machine_knowable_s(made.on_s), alarm_not_asked(made.on_s)
    return Sound(made.pcm, "appliance_beep", made.on_s, unasked=unasked, knowable_s=known_s, kind="made machine")


def _monitor(rng: np.random.Generator) -> Sound:
    return _from(signals.monitor(rng), "monitor", ("appliance_beep",))


def _steady_beeper(rng: np.random.Generator) -> Sound:
    return _from(signals.steady_beeper(rng), "steady beeper", ("appliance_beep",))


def _alarm_clock(rng: np.random.Generator) -> Sound:
    return _from(signals.alarm_clock(rng), "alarm clock", ("appliance_beep",))


def _alarm_voiced_beeper(rng: np.random.Generator) -> Sound:
    return _from(signals.steady_beeper(rng, has_alarm_voice=True), "steady beeper", ("appliance_beep",))


def _alarm_voiced_clock(rng: np.random.Generator) -> Sound:
    return _from(signals.alarm_clock(rng, has_alarm_voice=True), "alarm clock", ("appliance_beep",))


def _hurrying_clock(rng: np.random.Generator) -> Sound:
    return _from(signals.hurrying_clock(rng), "alarm clock", ("appliance_beep",))


def _single_burst(rng: np.random.Generator) -> Sound:
    return _from(signals.single_burst(rng), "single burst", ("appliance_beep",))


def _steady_tone(rng: np.random.Generator) -> Sound:
    made = signals.steady_tone(rng)
    return Sound(made.pcm, None, made.on_s, ("appliance_beep",), kind="made steady tone")


def _ringing_on(rng: np.random.Generator) -> Sound:
    return _from(signals.telephone(rng, longest_rings=14), "telephone")


def _vehicle(rng: np.random.Generator) -> Sound:
    return _from(signals.reversing_vehicle(rng), "reversing vehicle", ("appliance_beep",))


def _telephone(rng: np.random.Generator) -> Sound:
    return _from(signals.telephone(rng), "telephone")


def _door_chime(rng: np.random.Generator) -> Sound:
    return _from(signals.door_chime(rng), "door chime")


def _low_battery(rng: np.random.Generator) -> Sound:
    return _from(signals.low_battery(rng), "low battery", ("appliance_beep",))


def _siren(rng: np.random.Generator) -> Sound:
    made = signals.emergency_siren(rng)
    return Sound(made.pcm, None, made.on_s, kind="made siren")


def _off_cadence(rng: np.random.Generator) -> Sound:
    """An alarm's tone in a rhythm of no standard: some alarms have such, so their heads are not asked for long."""
    duration_s = float(rng.uniform(3, 14))
    on_s = cadences.off_cadence(rng).intervals(duration_s)
    pcm = sounders.render(sounders.alarm_voice(rng), on_s, duration_s, rng)
    unasked = (Unasked("smoke_alarm", 2.5, duration_s + 2.0), Unasked("co_alarm", 6.0, duration_s + 6.0))
    return Sound(pcm, None, tuple(on_s), ("appliance_beep",), unasked, kind="off cadence", is_doubtful=True)


def _knock(rng: np.random.Generator) -> Sound:
    pcm = impacts.knock(rng, int(rng.integers(2, 6)))
    return Sound(pcm, None, active_intervals(pcm), ("door",), kind="made knock")


def _single_step(rng: np.random.Generator) -> Sound:
    pcm = steps.step(rng)
    return Sound(pcm, None, active_intervals(pcm), kind="made single step")


def _dropped(rng: np.random.Generator) -> Sound:
    pcm = clatter.dropped(rng)
    return Sound(pcm, None, active_intervals(pcm), kind="made clatter")


def _blows(rng: np.random.Generator) -> Sound:
    """A thud, or hands that clap."""
    pcm = clatter.thud(rng) if rng.random() < 0.5 else clatter.claps(rng)
    return Sound(pcm, None, active_intervals(pcm), kind="made blow")


def _tune(rng: np.random.Generator) -> Sound:
    maker = (tunes.singing, tunes.singing, tunes.bowed_string, tunes.whistle, tunes.bird)[int(rng.integers(5))]
    pcm = maker(rng, float(rng.uniform(2.5, 9.0)))
    return Sound(pcm, None, active_intervals(pcm), kind=f"made {maker.__name__}")


_MADE: tuple[tuple[float, Callable[[np.random.Generator], Sound]], ...] = (
    (1.6, _machine),
    (1.2, _monitor),
    (1.4, _steady_beeper),
    (0.9, _alarm_clock),
    (0.8, _steady_tone),
    (0.5, _ringing_on),
    (0.6, _vehicle),
    (0.6, _telephone),
    (0.9, _door_chime),
    (0.9, _low_battery),
    (0.6, _siren),
    (0.4, _off_cadence),
    (0.4, _knock),
    (0.6, _single_step),
    (1.6, _dropped),
    (0.8, _blows),
    (2.2, _tune),
)
# what steady beepers, clocks, monitors, held tones and single bursts are to a smoke alarm's head: drawn besides, by a
# rule that says so, in scenes to learn from
_SOUNDERS: tuple[tuple[float, Callable[[np.random.Generator], Sound]], ...] = (
    (3.0, _steady_beeper),
    (1.5, _alarm_voiced_beeper),
    (2.5, _alarm_clock),
    (1.2, _alarm_voiced_clock),
    (1.0, _hurrying_clock),
    (2.5, _monitor),
    (2.0, _steady_tone),
    (1.5, _single_burst),
    (0.8, _machine),
    (0.6, _ringing_on),
)
