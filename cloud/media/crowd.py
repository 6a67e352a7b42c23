"""When other homes account for a sound: pure rules, stricter for safety events.

A trigger is media when those of at least two *other accounts* agree with it. One account counts once however many
devices it has; a device without an account counts for nobody; an account younger than `witness_age_days` counts for
nobody either, so that a crowd made for the purpose silences no one. Each of the two must pass all of this:

- *It is one sound.* Both sides are noisy, so that only bits on which both rely are compared, and
  `z = (agreeing - differing bits) / sqrt(bits)` must pass the bar of the media index. Impulses share the slope of their
  spectra, so that one bang agrees with another: without the second that speaks most for a match, much must remain.
  Regular sounds agree with others of their rhythm: z must exceed what either side reaches against itself.
- *It is one moment.* The broadcast reaches homes within seconds of each other, by the cloud's clock and by where in
  the sound each device's words lie.
- *They suspected the same at the same place.* A dog barks at home while the television shows what everybody watches:
  the sound around agrees, but the others suspected nothing there. So the other device must have suspected the same
  event (the two alarms count as one), and both must say that it began at the same place of the common sound.

For safety events the alarm's own tone is no evidence (`Words.is_usable`), three other accounts have to agree, and two
things more are asked:

- *The tones are theirs too.* Fingerprints are deaf to a tone that stays, and an alarm may go off while the broadcast's
  alarm sounds. So nothing is decided before the clips have come, and every tone that stands out in this one must be
  audible in theirs at the same place (`cloud.media.tones`). Nor may a steady tone dominate here where none does there.
- *No cadence was measured.* Two whole periods of T3 or T4 stand against any crowd: a building's alarms that all flats
  hear at once, with a spoken message between the tones, are no broadcast, and advertisements show less.

Doubt is no match.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

MIN_Z = 9.0
MIN_REST_Z = 6.0
"""Without the second that speaks most for the match."""
MIN_SECONDS, MIN_SECONDS_SAFETY = 1.0, 1.6
ABOVE_SELF_MATCH, ABOVE_SELF_MATCH_SAFETY = 1.2, 1.5
MAX_BIT_ERROR_RATE, MAX_BIT_ERROR_RATE_SAFETY = 0.40, 0.35
MAX_CLOCK_LAG_S = 12.0
"""Between two homes that hear one broadcast: transmission, buffering, the way to the cloud."""
MAX_START_LAG_S, MAX_START_LAG_SAFETY_S = 1.0, 0.6
"""Between the places at which two devices say that the event began, in the time of the common sound."""
MAX_OWN_TONE_S = 0.0
"""A single frame of a tone that another home does not hear may be an alarm of one's own."""
MAX_DOMINATED_S = 0.4
MIN_WITNESSES, MIN_WITNESSES_SAFETY = 2, 3


@dataclass(frozen=True)
class Agreement:
    """How a trigger agrees with one of another device."""

    z: float
    rest_z: float
    """The same without the second that speaks most for the match."""
    bit_error_rate: float
    seconds: float
    """Of words in which evidence was compared."""
    self_z: float
    """The larger of what the two reach against themselves a moment later."""
    is_same_suspicion: bool
    start_lag_s: float
    clock_lag_s: float
    dominated_s: float
    """How long a steady tone dominates here and not there."""
    own_tone_s: float | None
    """How long tones sound here that the other home does not hear; None: the two clips cannot be compared (yet)."""


def doubt(is_safety: bool, agreement: Agreement) -> str | None:
    """Why another home's trigger does not account for this one; None: it does."""
    seconds, above_self, max_errors, max_start_lag_s = (
        (MIN_SECONDS_SAFETY, ABOVE_SELF_MATCH_SAFETY, MAX_BIT_ERROR_RATE_SAFETY, MAX_START_LAG_SAFETY_S)
        if is_safety
        else (MIN_SECONDS, ABOVE_SELF_MATCH, MAX_BIT_ERROR_RATE, MAX_START_LAG_S)
    )
    reason = None
    if agreement.seconds < seconds:
        reason = f"only {agreement.seconds:.1f} s of usable sound in common, {seconds:.1f} s needed"
    elif agreement.z < MIN_Z:
        reason = f"the agreement is {agreement.z:.1f} deviations from chance, {MIN_Z:.1f} would be a match"
    elif agreement.rest_z < MIN_REST_Z:
        reason = "only one moment agrees"
    elif agreement.bit_error_rate > max_errors:
        reason = f"bit error rate {agreement.bit_error_rate:.2f}, at most {max_errors:.2f} would be a match"
    elif agreement.z <= above_self * agreement.self_z:
        reason = "the sound repeats itself, so that others of its kind agree as well"
    elif abs(agreement.clock_lag_s) > MAX_CLOCK_LAG_S:
        reason = f"they were {abs(agreement.clock_lag_s):.0f} s apart"
    elif not agreement.is_same_suspicion:
        reason = "the other home hears the same programme, but suspected something else"
    elif abs(agreement.start_lag_s) > max_start_lag_s:
        reason = "the other home hears the same programme, but suspected it at another place"
    elif is_safety and agreement.dominated_s > MAX_DOMINATED_S:
        reason = f"{agreement.dominated_s:.1f} s of a steady tone that does not dominate in the other home"
    elif is_safety and agreement.own_tone_s is None:
        reason = "the clips cannot be compared yet"
    elif is_safety and agreement.own_tone_s is not None and agreement.own_tone_s > MAX_OWN_TONE_S:
        reason = f"{agreement.own_tone_s:.1f} s of a tone that the other home does not hear"
    return reason


def is_media(witnesses: Iterable[str], *, is_safety: bool) -> bool:
    """Whether the accounts of those who agree are enough."""
    return len(set(witnesses)) >= (MIN_WITNESSES_SAFETY if is_safety else MIN_WITNESSES)
