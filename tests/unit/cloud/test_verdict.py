from dataclasses import replace

import pytest

from cloud.verdict import CadenceEvidence, Measured, MediaFinding, Verdict, VerifierFinding, decide
from edge import catalogue

CATALOGUE = catalogue.load()
SMOKE, CO, DOG = (CATALOGUE.by_name(name) for name in ("smoke_alarm", "co_alarm", "dog_bark"))
THRESHOLDS = dict.fromkeys(CATALOGUE.names, 0.5)
NO_MEDIA = MediaFinding(note="No recordings are known.")
NO_CADENCE = CadenceEvidence()
CERTAIN_T3 = CadenceEvidence("t3", periods=3, confidence=240)


def heard(**scores: float) -> VerifierFinding:
    return VerifierFinding({**dict.fromkeys(CATALOGUE.names, 0.02), **scores}, THRESHOLDS, "v1")


def judge(spec=SMOKE, cadence=NO_CADENCE, media=NO_MEDIA, finding=None):
    return decide(spec, cadence, media, finding or heard(), CATALOGUE)


def test_a_score_at_the_threshold_confirms():
    decision = judge(finding=heard(smoke_alarm=0.5))
    assert decision.verdict is Verdict.CONFIRMED
    assert "50 %" in decision.reason


def test_a_score_under_the_threshold_rejects_and_says_what_was_needed():
    decision = judge(finding=heard(smoke_alarm=0.49))
    assert decision.verdict is Verdict.REJECTED
    assert "(49 %, needed 50 %)" in decision.reason


@pytest.mark.parametrize(
    ("score", "threshold", "said"),
    [
        (0.91, 0.002, "(91 %, needed 0.20 %)"),
        (0.0012, 0.002, "(0.12 %, needed 0.20 %)"),
        (0.0, 0.002, "(0 %, needed 0.20 %)"),
        (0.49996, 0.5, "(49.996 %, needed 50.000 %)"),
        (0.0271, 0.0271, "(2.7 %, needed 2.7 %)"),
        (1e-9, 0.3, "(under 0.0001 %, needed 30 %)"),
        (1.0, 0.3, "(100 %, needed 30 %)"),
    ],
)
def test_a_score_is_said_in_percent_with_the_digits_that_tell_it_from_what_was_needed(score, threshold, said):
    finding = VerifierFinding({"smoke_alarm": score}, {"smoke_alarm": threshold})
    assert said in judge(finding=finding).reason


def test_a_rejection_names_what_is_heard_instead():
    assert "dog" in judge(finding=heard(dog_bark=0.9)).reason.lower()


@pytest.mark.parametrize(("spec", "other"), [(SMOKE, "co_alarm"), (CO, "smoke_alarm")])
def test_one_alarm_vouches_for_the_other(spec, other):
    decision = judge(spec, finding=heard(**{other: 0.8}))
    assert decision.verdict is Verdict.CONFIRMED
    assert CATALOGUE.by_name(other).title.lower() in decision.reason


def test_an_alarm_does_not_vouch_for_a_dog():
    assert judge(DOG, finding=heard(smoke_alarm=0.9)).verdict is Verdict.REJECTED


def test_a_measured_alarm_cadence_is_never_rejected():
    decision = judge(cadence=CERTAIN_T3)
    assert decision.verdict is Verdict.UNVERIFIED
    assert "temporal-three" in decision.reason


@pytest.mark.parametrize(
    "cadence",
    [
        CadenceEvidence("other", 5, 255),
        CadenceEvidence("t3", 1, 200),
        CadenceEvidence("t3", 3, 100),
        CadenceEvidence("t4", 1, 200),
    ],
    ids=["no alarm's", "one period", "unsure", "one unclear period"],
)
def test_weak_cadence_does_not_overrule_the_verifier(cadence):
    assert judge(cadence=cadence).verdict is Verdict.REJECTED


@pytest.mark.parametrize("kind", ["t3", "t4"])
def test_one_period_suffices_where_it_is_clear(kind):
    assert judge(CO, CadenceEvidence(kind, periods=1, confidence=230)).verdict is Verdict.UNVERIFIED


def test_the_threshold_of_what_was_reported_counts_whichever_alarm_is_heard():
    finding = replace(heard(smoke_alarm=0.05), thresholds={**THRESHOLDS, "co_alarm": 0.01, "smoke_alarm": 0.1})
    assert judge(CO, finding=finding).verdict is Verdict.CONFIRMED
    finding = replace(finding, scores={**finding.scores, "co_alarm": 0.05})
    assert judge(SMOKE, finding=finding).verdict is Verdict.REJECTED


MEASURED = Measured(
    longest_on_ms=300,
    shortest_period_ms=400,
    highest_duty=0.3,
    least_periods=2,
    machine=0.3,
    even=0.05,
    continuous=0.04,
)
MACHINES = CadenceEvidence("other", periods=4, confidence=212, on_ms=100, off_ms=700)
EVEN = replace(MACHINES, on_ms=500, off_ms=500)


def measured(**scores: float) -> VerifierFinding:
    return replace(heard(**scores), thresholds=dict.fromkeys(CATALOGUE.names, 0.01), measured=MEASURED)


@pytest.mark.parametrize("spec", [SMOKE, CO])
@pytest.mark.parametrize(
    ("cadence", "needed", "said"),
    [(MACHINES, 0.3, "30 %"), (EVEN, 0.05, "5.0 %"), (CadenceEvidence("continuous", 1, 250), 0.04, "4.0 %")],
    ids=["machine's", "even", "held"],
)
def test_where_another_beat_was_measured_the_verifier_must_be_surer(spec, cadence, needed, said):
    low = dict.fromkeys(("smoke_alarm", "co_alarm"), needed - 0.02)
    decision = judge(spec, cadence, finding=measured(**low))
    assert decision.verdict is Verdict.REJECTED
    assert f"needed {said}" in decision.reason
    decision = judge(spec, cadence, finding=measured(**(low | {"smoke_alarm": needed})))
    assert decision.verdict is Verdict.CONFIRMED
    assert f"needed {said}" in decision.reason
    assert judge(spec, finding=measured(**low)).verdict is Verdict.CONFIRMED, "nothing was measured"


def test_a_machine_may_beep_for_half_a_minute_but_what_sounds_for_a_whole_one_is_told():
    lasting, stubborn = replace(MACHINES, sounding_s=59.0), replace(MACHINES, sounding_s=60.0)
    assert judge(cadence=lasting, finding=measured(smoke_alarm=0.1)).verdict is Verdict.REJECTED
    assert judge(cadence=lasting, finding=heard()).verdict is Verdict.UNVERIFIED, "its manifest says nothing of beats"
    decision = judge(cadence=stubborn, finding=measured(smoke_alarm=0.1))
    assert decision.verdict is Verdict.UNVERIFIED
    assert "60 s" in decision.reason
    even = replace(EVEN, sounding_s=20.0)
    assert judge(cadence=even, finding=measured(smoke_alarm=0.02)).verdict is Verdict.UNVERIFIED


@pytest.mark.parametrize(
    "changed",
    [{"on_ms": 310}, {"on_ms": 250, "off_ms": 500}, {"on_ms": 80, "off_ms": 240}, {"on_ms": 0}],
    ids=["long beeps", "short silences", "fast", "nothing measured"],
)
def test_what_may_be_an_alarms_beat_is_no_machines(changed):
    assert judge(cadence=replace(MACHINES, **changed), finding=measured(smoke_alarm=0.1)).verdict is Verdict.CONFIRMED


@pytest.mark.parametrize("changed", [{"kind": "t3"}, {"kind": "t4"}, {"kind": "none"}, {"periods": 1}])
def test_an_alarms_cadence_or_none_at_all_asks_for_no_more(changed):
    beat = replace(MACHINES, **changed)
    assert judge(CO, cadence=beat, finding=measured(co_alarm=0.02)).verdict is Verdict.CONFIRMED


def test_a_failed_media_check_leaves_a_machines_beat_unverified():
    decision = judge(cadence=MACHINES, media=MediaFinding(error="index is damaged"), finding=measured(smoke_alarm=0.2))
    assert decision.verdict is Verdict.UNVERIFIED


def test_a_dog_may_bark_as_evenly_as_a_machine():
    assert judge(DOG, MACHINES, finding=measured(dog_bark=0.02)).verdict is Verdict.CONFIRMED


@pytest.mark.parametrize("spec", [SMOKE, CO])
def test_an_alarm_that_goes_on_is_never_rejected(spec):
    decision = judge(spec, CadenceEvidence(sounding_s=61.0))
    assert decision.verdict is Verdict.UNVERIFIED
    assert "61 s" in decision.reason
    assert judge(spec, CadenceEvidence(sounding_s=8.0)).verdict is Verdict.REJECTED


def test_a_dog_that_goes_on_may_be_rejected():
    assert judge(DOG, CadenceEvidence(sounding_s=61.0)).verdict is Verdict.REJECTED


def test_an_alarm_cadence_says_nothing_for_an_event_without_one():
    assert judge(DOG, cadence=CERTAIN_T3).verdict is Verdict.REJECTED


def test_a_known_recording_makes_it_media_and_is_named():
    decision = judge(media=MediaFinding("ab12", "Blaze spot", 0.2, 3.2), finding=VerifierFinding.failed("not asked"))
    assert decision.verdict is Verdict.MEDIA
    assert "Blaze spot" in decision.reason


@pytest.mark.parametrize("spec", list(CATALOGUE), ids=CATALOGUE.names)
@pytest.mark.parametrize("cause", ["no clip came within 30 s", "the verifier process died"])
def test_whatever_fails_leaves_every_event_unverified_and_that_notifies(spec, cause):
    decision = judge(spec, finding=VerifierFinding.failed(cause))
    assert decision.verdict is Verdict.UNVERIFIED
    assert cause in decision.reason.lower()
    assert decision.verdict.notifies


def test_a_failed_media_check_turns_a_rejection_into_unverified():
    decision = judge(media=MediaFinding(error="index is damaged"))
    assert decision.verdict is Verdict.UNVERIFIED
    assert "index is damaged" in decision.reason


def test_a_failed_media_check_leaves_a_confirmation():
    failed = MediaFinding(error="index is damaged")
    assert judge(media=failed, finding=heard(smoke_alarm=0.9)).verdict is Verdict.CONFIRMED


def test_a_failed_media_check_is_no_match_even_if_it_names_a_recording():
    assert not MediaFinding("ab12", "Blaze spot", error="cut off").is_media


def test_a_verifier_that_lacks_the_event_leaves_it_unverified():
    finding = VerifierFinding({"dog_bark": 0.9}, {"dog_bark": 0.5})
    assert judge(finding=finding).verdict is Verdict.UNVERIFIED


def test_rejected_and_media_do_not_notify():
    assert [verdict for verdict in Verdict if verdict.notifies] == [Verdict.CONFIRMED, Verdict.UNVERIFIED]
