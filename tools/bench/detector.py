"""Device and cloud as `harken eval detector` judges them: the C path here or on a board, and the cloud's verdict."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cloud.verdict import CadenceEvidence, MediaFinding, VerifierFinding, decide
from cloud.verifier.model import VerifierModel
from edge import catalogue, native
from edge.evaluation.stages import Hearing
from edge.native import SAMPLE_RATE_HZ, STEP_SAMPLES, DetectedEvent
from firmware_gen.board import load_board
from firmware_gen.build import build_host_library, build_image
from tools.device import runner

QEMU_BOARD = "mps2-an386"


class HostDevice:
    """The device's C code in this process: front end, engine, heads and tracker, every event on and armed."""

    name = "host"

    def __init__(self, model: Path | None = None) -> None:
        self._library = build_host_library(model)

    def hear(self, pcm: np.ndarray) -> Hearing:
        """Hear int16[n] from a fresh start."""
        detector = native.load(self._library)
        detector.set_armed(True)
        for event in catalogue.load().names:
            detector.set_event(event, is_enabled=True)
        events = detector.push(pcm[: len(pcm) // STEP_SAMPLES * STEP_SAMPLES])
        return Hearing(detector.features, detector.scores, tuple(events))


class EmulatedDevice:
    """The same code in an emulated board's replay image."""

    def __init__(self, board: str = QEMU_BOARD, model: Path | None = None) -> None:
        self.name = board
        self._board = load_board(board)
        self._image = build_image(self._board, model, app="replay")

    def hear(self, pcm: np.ndarray) -> Hearing:
        """Hear int16[n] from a fresh start."""
        features, scores, events = runner.replay_events(self._board, self._image, pcm)
        return Hearing(features, scores, tuple(events))


class CloudVerifier:
    """The committed verifier and the cloud's verdict, where no recording in the media index accounts for the sound."""

    def __init__(self) -> None:
        self._model = VerifierModel()
        self._catalogue = catalogue.load()

    def scores(self, pcm: np.ndarray) -> Mapping[str, float]:
        """Return the scores (0-1) by event of a clip as it was sent, int16[n]."""
        return self._model.score(pcm)

    def lets_through(self, event: DetectedEvent, scores: Mapping[str, float]) -> bool:
        """Say whether the verdict on the event notifies."""
        measured = event.cadence
        sounding_s = (event.trigger_sample - event.start_sample) / SAMPLE_RATE_HZ
        cadence = CadenceEvidence(
            measured.kind, measured.periods, measured.confidence, sounding_s, measured.on_ms, measured.off_ms
        )
        model = self._model
        finding = VerifierFinding(scores, model.thresholds, model.version, measured=model.measured)
        decision = decide(self._catalogue.by_name(event.name), cadence, MediaFinding(), finding, self._catalogue)
        return decision.verdict.notifies
