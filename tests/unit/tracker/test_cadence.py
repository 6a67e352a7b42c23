"""Cadence on made-up alarms: standards told from each other and from what is neither, in noise and in rooms."""

from __future__ import annotations

import numpy as np
import pytest

from edge.dataset.synthesis import acoustics, alarms, cadences, noise, tones
from edge.dataset.synthesis.cadences import Cadence as Pattern
from tests.unit.tracker.library import CONTINUOUS, NONE, OTHER, T3, T4, Cadence, Core, Evidence, frames_of

SNRS_DB = (0, 10, 20)


def heard(
    core: Core, pattern: Pattern, duration_s: float, seed: int, snr_db: float, in_room: bool
) -> list[tuple[float, Evidence]]:
    """An alarm of `pattern` with a tone drawn by `seed`, first sounding after 1.0-1.5 s, over noise."""
    rng = np.random.default_rng([seed, int(snr_db), int(in_room)])
    start_s = 1.0 + float(rng.uniform(0.0, 0.5))
    pcm = alarms.sound(pattern, tones.random_alarm_tone(rng), duration_s, rng, start_s).pcm
    if in_room:
        pcm = acoustics.through(pcm, acoustics.random_room(rng))
    bed = (noise.room, lambda r, n: noise.colored(r, n, 0.0), lambda r, n: noise.colored(r, n, -3.0))[seed % 3]
    return Cadence(core).run(frames_of(noise.at_snr(pcm, bed(rng, len(pcm)), snr_db, 0.3)))


def findings(evidence: list[tuple[float, Evidence]]) -> set[int]:
    """The standards' patterns that were found over two periods."""
    return {e.kind for _, e in evidence if e.kind in (T3, T4) and e.periods >= 2}


@pytest.mark.parametrize(
    ("kind", "corners", "duration_s", "least_dry", "least_in_room"),
    [(T3, cadences.t3_corners(), 11.5, 1.0, 0.98), (T4, cadences.t4_corners(), 14.5, 1.0, 0.85)],
    ids=["t3", "t4"],
)
def test_the_standards_are_found_at_every_corner_of_their_tolerances(
    core: Core, kind: int, corners: list[Pattern], duration_s: float, least_dry: float, least_in_room: float
) -> None:
    found = {False: 0, True: 0}
    trials = 0
    for in_room in (False, True):
        for corner, pattern in enumerate(corners):
            for snr_db in SNRS_DB:
                kinds = findings(heard(core, pattern, duration_s, corner * 7 + snr_db, snr_db, in_room))
                assert kinds <= {kind}, f"{pattern} at {snr_db} dB was called {kinds}"
                found[in_room] += kind in kinds
                trials += not in_room
    print(f"\n{corners[0].kind}: found {found[False]} of {trials} dry, {found[True]} of {trials} in rooms, 0-20 dB")
    assert found[False] >= least_dry * trials
    assert found[True] >= least_in_room * trials


def test_what_is_a_quarter_off_is_never_called_by_a_standards_name(core: Core) -> None:
    trials = accepted = 0
    for seed in range(24):
        pattern = cadences.off_cadence(np.random.default_rng(seed))
        for snr_db in (0, 20):
            trials += 1
            accepted += bool(findings(heard(core, pattern, 14.0, seed, snr_db, seed % 2 == 1)))
    print(f"\noff cadence: {accepted} of {trials} accepted")
    assert accepted == 0


def test_a_washing_machine_lacks_the_pause_of_t3(core: Core) -> None:
    for snr_db in SNRS_DB:
        evidence = heard(core, cadences.even(0.5, 0.5), 12.0, 1, snr_db, in_room=False)
        assert findings(evidence) == set()
        assert evidence[-1][1].kind == OTHER
        assert evidence[-1][1].on_ms == pytest.approx(500, abs=60)
        assert evidence[-1][1].off_ms == pytest.approx(500, abs=60)


@pytest.mark.parametrize(("pattern", "within_s"), [(cadences.t3(), 8.0), (cadences.t4(), 11.4)], ids=["t3", "t4"])
def test_a_finding_comes_within_two_periods(core: Core, pattern: Pattern, within_s: float) -> None:
    for seed in range(4):
        evidence = heard(core, pattern, 14.0, seed, 10.0, in_room=False)
        first = min(t for t, e in evidence if e.periods >= 2 and e.kind in (T3, T4))
        assert first <= 1.5 + within_s


def test_times_are_measured_to_a_step(core: Core) -> None:
    rng = np.random.default_rng(5)
    pattern = cadences.t3(0.46, 0.53, 1.6)
    pcm = alarms.sound(pattern, tones.piezo(3000.0), 11.5, rng, 1.0).pcm
    mixed = noise.at_snr(pcm, noise.colored(rng, len(pcm)), 15.0, 0.3)
    best = max((e for _, e in Cadence(core).run(frames_of(mixed))), key=lambda e: (e.periods, e.confidence))
    assert best.kind == T3
    assert best.on_ms == pytest.approx(460, abs=25)
    assert best.off_ms == pytest.approx(530, abs=25)
    assert best.pause_ms == pytest.approx(1600, abs=30)


def test_a_tone_without_gaps_is_continuous_and_steady_noise_is_not(core: Core) -> None:
    for pattern in (cadences.unbroken(), cadences.even(0.27, 0.06)):
        assert heard(core, pattern, 12.0, 4, 10.0, in_room=False)[-1][1].kind == CONTINUOUS
    rng = np.random.default_rng(3)
    for slope in (0.0, -3.0, -6.0):
        bed = noise.colored(rng, 12 * tones.SAMPLE_RATE_HZ, slope)
        assert {e.kind for _, e in Cadence(core).run(frames_of(bed))} == {NONE}


def test_one_burst_alone_is_a_hint_and_no_finding(core: Core) -> None:
    rng = np.random.default_rng(6)
    for pattern, kind in ((cadences.t3(), T3), (cadences.t4(), T4)):
        alarm = alarms.sound(pattern, tones.piezo(3100.0), 6.0, rng, 1.0, repeats=1)
        mixed = noise.at_snr(alarm.pcm, noise.colored(rng, len(alarm.pcm)), 15.0, 0.3)
        last = Cadence(core).run(frames_of(mixed))[-1][1]
        assert (last.kind, last.periods, last.pause_ms) == (kind, 1, 0)


def test_digital_silence_and_full_scale_noise_are_no_pattern(core: Core) -> None:
    rng = np.random.default_rng(7)
    for pcm in (np.zeros(160_000), rng.uniform(-1.0, 1.0, 160_000)):
        assert {e.kind for _, e in Cadence(core).run(frames_of(pcm))} == {NONE}


def test_levels_do_not_matter(core: Core) -> None:
    rng = np.random.default_rng(8)
    alarm = alarms.sound(cadences.t3(), tones.piezo(3100.0), 11.0, rng, 1.0)
    mixed = noise.at_snr(alarm.pcm, noise.colored(rng, len(alarm.pcm)), 10.0, 0.9)
    for gain in (1.0, 0.1, 0.01):
        assert findings(Cadence(core).run(frames_of(mixed * gain))) == {T3}
