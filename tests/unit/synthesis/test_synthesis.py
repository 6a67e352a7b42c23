"""Made-up sounds: repeatable, within range, and with the times and frequencies that their names promise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edge.dataset.synthesis import (
    acoustics,
    advertisement,
    alarms,
    appliances,
    cadences,
    clatter,
    doors,
    glass,
    impacts,
    noise,
    signals,
    sounders,
    steps,
    tones,
    tunes,
    voices,
)
from edge.dataset.synthesis.tones import SAMPLE_RATE_HZ, Audio

Maker = Callable[[np.random.Generator], Audio]

MAKERS: dict[str, Maker] = {
    "smoke alarm": lambda rng: alarms.smoke_alarm(rng, 6.0).pcm,
    "co alarm": lambda rng: alarms.co_alarm(rng, 6.0).pcm,
    "appliance beep": appliances.appliance_beep,
    "microwave": appliances.microwave,
    "low battery": appliances.low_battery,
    "glass break": impacts.glass_break,
    "footstep": impacts.footstep,
    "walk": impacts.walk,
    "door": impacts.door_thump,
    "knock": impacts.knock,
    "speech": lambda rng: voices.speech(rng, 3.0),
    "baby cry": lambda rng: voices.baby_cry(rng, 3.0),
    "dog bark": voices.dog_bark,
    "music": lambda rng: advertisement.music(rng, 3.0),
    "advertisement": lambda rng: advertisement.make(rng, 8.0, 2.0, 4.0).pcm,
    "alarm on television": lambda rng: advertisement.alarm_on_television(rng, 4.0),
    "room": acoustics.random_room,
    "glass of any kind": glass.glass_break,
    "step": steps.step,
    "walk on any floor": lambda rng: steps.walk(rng, 6)[0],
    "door in layers": lambda rng: doors.door(rng)[0],
    "clatter": clatter.dropped,
    "thud": clatter.thud,
    "claps": clatter.claps,
    "singing": lambda rng: tunes.singing(rng, 3.0),
    "bowed string": lambda rng: tunes.bowed_string(rng, 3.0),
    "whistle": lambda rng: tunes.whistle(rng, 3.0),
    "bird": lambda rng: tunes.bird(rng, 3.0),
    "alarm voice": lambda rng: sounders.render(sounders.alarm_voice(rng), [(0.1, 0.6)], 1.0, rng),
    **{
        maker.__name__: lambda rng, maker=maker: maker(rng).pcm
        for maker in (
            signals.end_of_programme,
            signals.timer,
            signals.keypad,
            signals.melody,
            signals.door_chime,
            signals.telephone,
            signals.monitor,
            signals.reversing_vehicle,
            signals.low_battery,
            signals.emergency_siren,
        )
    },
}


def envelope(pcm: Audio, block_s: float = 0.01) -> np.ndarray:
    """RMS of each block."""
    block = round(block_s * SAMPLE_RATE_HZ)
    whole = pcm[: len(pcm) // block * block].astype(np.float64).reshape(-1, block)
    return np.sqrt(np.mean(whole**2, axis=1))


def strongest_hz(pcm: Audio) -> float:
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm))))
    return float(np.argmax(spectrum) * SAMPLE_RATE_HZ / len(pcm))


@pytest.mark.parametrize("name", MAKERS)
def test_a_seed_determines_every_sample(name: str) -> None:
    first, again, other = (MAKERS[name](np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert len(first) != len(other) or not np.array_equal(first, other)


@pytest.mark.parametrize("name", MAKERS)
def test_audio_is_float32_finite_audible_and_within_full_scale(name: str) -> None:
    for seed in range(4):
        pcm = MAKERS[name](np.random.default_rng(seed))
        assert pcm.dtype == np.float32
        assert pcm.ndim == 1
        assert np.all(np.isfinite(pcm))
        assert 0.05 < np.max(np.abs(pcm)) <= 1.0


def test_t3_and_t4_follow_the_standards_to_a_hundredth_of_a_second() -> None:
    assert cadences.t3().intervals(8.0) == [(0.0, 0.5), (1.0, 1.5), (2.0, 2.5), (4.0, 4.5), (5.0, 5.5), (6.0, 6.5)]
    onsets = [on for on, _ in cadences.t4().intervals(6.0)]
    assert onsets == pytest.approx([0.0, 0.2, 0.4, 0.6, 5.7, 5.9])
    assert cadences.t3().period_s == pytest.approx(4.0)
    assert cadences.t4().period_s == pytest.approx(5.7)
    alarm = alarms.sound(cadences.t3(), tones.piezo(3000.0), 4.0, np.random.default_rng(0))
    is_on = envelope(alarm.pcm) > 0.2
    assert np.flatnonzero(np.diff(is_on.astype(int)) == 1).size == 2  # the first is on from the start
    assert np.sum(is_on) == pytest.approx(150, abs=6)


def test_tolerances_have_nine_corners_and_stay_within_ten_per_cent() -> None:
    assert len(set(cadences.t3_corners())) == len(set(cadences.t4_corners())) == 9
    rng = np.random.default_rng(1)
    for _ in range(50):
        (on, off), (_, _), (_, pause) = cadences.random_t3(rng).pulses_s
        assert 0.45 <= on <= 0.55
        assert 0.45 <= off <= 0.55
        assert 1.35 <= pause <= 1.65


def test_an_alarm_that_was_sounding_before_is_on_at_once() -> None:
    assert cadences.t3().intervals(3.0, start_s=-0.2)[0] == pytest.approx((0.0, 0.3))
    assert len(cadences.even(0.2, 0.2).intervals(10.0, repeats=5)) == 5


@pytest.mark.parametrize(
    ("tone", "hz"), [(tones.piezo(3100.0), 3100.0), (tones.square(520.0), 520.0), (tones.harmonic_rich(), 2150.0)]
)
def test_a_tone_is_strongest_where_it_says(tone: tones.Tone, hz: float) -> None:
    pcm = tones.render(tone, [(0.0, 1.0)], 1.0, np.random.default_rng(2))
    assert strongest_hz(pcm) == pytest.approx(hz, abs=5.0)


def test_partials_stay_below_half_the_sample_rate() -> None:
    pcm = tones.render(tones.piezo(4200.0, 1.0), [(0.0, 1.0)], 1.0, np.random.default_rng(2))
    assert strongest_hz(pcm) == pytest.approx(4200.0, abs=5.0)


def test_a_microwave_beeps_five_times() -> None:
    for seed in range(6):
        level = envelope(appliances.microwave(np.random.default_rng(seed)), 0.02)
        assert np.sum(np.diff((level > 0.15).astype(int)) == 1) == 5


def test_a_walk_has_steps_at_its_rate() -> None:
    for rate in (1.4, 2.4):
        level = envelope(impacts.walk(np.random.default_rng(5), 10.0, rate), 0.05)
        spectrum = np.abs(np.fft.rfft(level - np.mean(level)))
        slow = np.fft.rfftfreq(len(level), 0.05)
        band = (slow > 1.0) & (slow < 3.0)
        assert slow[band][np.argmax(spectrum[band])] == pytest.approx(rate, abs=0.2)


def test_signal_to_noise_ratio_is_that_of_the_loud_moments() -> None:
    rng = np.random.default_rng(6)
    alarm = alarms.sound(cadences.t4(), tones.piezo(3000.0), 6.0, rng)
    bed = noise.colored(rng, len(alarm.pcm))
    mixed = noise.at_snr(alarm.pcm, bed, 10.0).astype(np.float64)
    scale = np.dot(mixed, bed) / np.dot(bed, bed)
    signal = mixed - scale * bed
    loud = np.abs(alarm.pcm) > 0.5
    assert 10 * np.log10(np.mean(signal[loud] ** 2) / np.mean((scale * bed) ** 2)) == pytest.approx(12.0, abs=2.0)


def test_a_room_decays_by_sixty_decibels_in_its_reverberation_time() -> None:
    for rt60_s in (0.3, 0.6):
        for response in (
            acoustics.exponential_response(np.random.default_rng(7), rt60_s, 3.0),
            acoustics.image_source_response(
                np.random.default_rng(7), (5.0, 4.0, 2.5), (1.0, 1.0, 1.5), (4.0, 3.0, 1.2), rt60_s
            ),
        ):
            decay_db = 10 * np.log10(np.cumsum(response[::-1].astype(np.float64) ** 2)[::-1] + 1e-12)
            decay_db -= decay_db[0]
            down10, down30 = (int(np.argmax(decay_db < level)) for level in (-10.0, -30.0))
            assert 3.0 * (down30 - down10) / SAMPLE_RATE_HZ == pytest.approx(rt60_s, rel=0.35)
            assert response[0] == 1.0


def test_a_small_loudspeaker_has_no_bass() -> None:
    rng = np.random.default_rng(8)
    played = acoustics.loudspeaker(noise.colored(rng, SAMPLE_RATE_HZ * 2, 0.0), drive=0.0)
    power = np.abs(np.fft.rfft(played)) ** 2
    hz = np.fft.rfftfreq(len(played), 1.0 / SAMPLE_RATE_HZ)
    below = np.mean(power[(hz > 30) & (hz < 80)])
    assert below < 0.05 * np.mean(power[(hz > 1000) & (hz < 3000)])


def test_the_alarm_in_an_advertisement_lies_outside_the_fingerprints_bands() -> None:
    spot = advertisement.make(np.random.default_rng(9), 14.0, 5.0, 6.0)
    start, end = (round(t * SAMPLE_RATE_HZ) for t in spot.alarm_s)
    assert 2800.0 < strongest_hz(spot.pcm[start : start + SAMPLE_RATE_HZ // 2]) < 3400.0
    during = np.abs(np.fft.rfft(spot.pcm[start:end])) ** 2
    hz = np.fft.rfftfreq(end - start, 1.0 / SAMPLE_RATE_HZ)
    music = np.sum(during[(hz > 300) & (hz < 2000)])
    assert music > 0.05 * np.sum(during)  # what surrounds the tone is there to be recognised


def high_band_share(pcm: Audio) -> float:
    """Part of the energy above 1.5 kHz."""
    power = np.abs(np.fft.rfft(pcm)) ** 2
    return float(power[np.fft.rfftfreq(len(pcm), 1 / SAMPLE_RATE_HZ) > 1500.0].sum() / power.sum())


def test_glass_is_bright_and_doors_are_dull() -> None:
    glasses = [high_band_share(glass.glass_break(np.random.default_rng(seed))) for seed in range(20)]
    leaves = [high_band_share(doors.door(np.random.default_rng(seed))[0]) for seed in range(20)]
    assert np.median(glasses) > 0.6
    assert np.median(leaves) < 0.1


def test_a_walk_has_its_steps_where_it_says_at_a_walking_pace() -> None:
    for seed in range(6):
        pcm, times = steps.walk(np.random.default_rng(seed), 8)
        onsets = np.array([start for start, _ in times])
        assert len(onsets) == 8
        assert 1.3 <= 1.0 / np.median(np.diff(onsets)) <= 2.5
        power = np.square(pcm, dtype=np.float64)
        near = sum(power[round(s * SAMPLE_RATE_HZ) : round((s + 0.25) * SAMPLE_RATE_HZ)].sum() for s in onsets)
        assert near > 0.8 * power.sum()


@pytest.mark.parametrize("maker", [signals.end_of_programme, signals.timer, signals.monitor, signals.telephone])
def test_a_signal_is_loud_when_it_says_and_only_then(maker: Callable[[np.random.Generator], signals.Signal]) -> None:
    for seed in range(6):
        made = maker(np.random.default_rng(seed))
        is_on = np.zeros(len(made.pcm) + SAMPLE_RATE_HZ, bool)
        for start_s, end_s in made.on_s:
            is_on[round(start_s * SAMPLE_RATE_HZ) : round((end_s + 0.1) * SAMPLE_RATE_HZ)] = True
        power = np.square(made.pcm, dtype=np.float64)
        assert power[is_on[: len(power)]].sum() > 0.95 * power.sum()
