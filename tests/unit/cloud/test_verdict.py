import pytest

from cloud.verdict import CadenceEvidence, MediaFinding, Verdict, VerifierFinding, decide
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
        CadenceEvidence("t3", 1, 255),
        CadenceEvidence("t3", 3, 100),
        CadenceEvidence("t4", 1, 200),
    ],
    ids=["no alarm's", "one period", "unsure", "one unclear period"],
)
def test_weak_cadence_does_not_overrule_the_verifier(cadence):
    assert judge(cadence=cadence).verdict is Verdict.REJECTED


def test_one_period_of_t4_suffices_where_it_is_clear():
    assert judge(CO, CadenceEvidence("t4", periods=1, confidence=230)).verdict is Verdict.UNVERIFIED


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
