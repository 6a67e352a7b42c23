"""Draws one trial of the cadence grid of each kind: what was heard, and what was made of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge import native
from edge.dataset.synthesis import cadence_trials
from edge.evaluation.cadence import EVENT_OF, Outcome

_KINDS = ("t3", "t4", "off")
_FRAME_S = native.HOP_SAMPLES / native.SAMPLE_RATE_HZ


def draw(outcomes: Sequence[Outcome], folder: Path) -> list[Path]:
    """Write ``cadence_<kind>.png`` into ``folder`` for a trial at 0 dB in a simulated room; return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_draw(_typical(outcomes, kind), folder / f"cadence_{kind}.png") for kind in _KINDS]


def _typical(outcomes: Sequence[Outcome], kind: str) -> Outcome:
    """Return the first trial of a kind at 0 dB in a simulated room, else its first."""
    of_kind = [one for one in outcomes if one.trial.kind == kind]
    hard = [one for one in of_kind if one.trial.snr_db == 0.0 and one.trial.room == cadence_trials.SIMULATED]
    return (hard or of_kind)[0]


def _draw(outcome: Outcome, path: Path) -> Path:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    trial = outcome.trial
    frames = native.log_mel_q8(cadence_trials.render(trial)) / 256.0
    figure, axes = pyplot.subplots(2, 1, figsize=(9, 4), sharex=True, height_ratios=(2, 1), layout="constrained")
    seconds = len(frames) * _FRAME_S
    axes[0].imshow(frames.T, origin="lower", aspect="auto", extent=(0, seconds, 0, frames.shape[1]), cmap="magma")
    axes[0].set_ylabel("mel band")
    axes[0].set_title(f"{trial.form}, {trial.tone}, {trial.room}, {trial.background} noise at {trial.snr_db:g} dB")
    sounding = np.zeros(len(frames))
    for start_s, end_s in trial.cadence.intervals(trial.duration_s, trial.onset_s, trial.repeats):
        sounding[round(start_s / _FRAME_S) : round(end_s / _FRAME_S)] = 1.0
    axes[1].fill_between(np.arange(len(frames)) * _FRAME_S, sounding, step="post", color="0.8", label="sounder on")
    if outcome.named_first is not None:
        found = outcome.named_first
        label = f"named {found.kind.upper()}: {found.on_ms} ms on, {found.off_ms} ms off, {found.pause_ms} ms pause"
        axes[1].axvline(found.at_s, color="tab:red", label=label)
    elif trial.kind in EVENT_OF:
        axes[1].plot([], [], " ", label="not named")
    else:
        axes[1].plot([], [], " ", label="named neither T3 nor T4")
    axes[1].set_yticks([])
    axes[1].set_xlabel("seconds")
    axes[1].legend(loc="upper right")
    figure.savefig(path, dpi=90)
    pyplot.close(figure)
    return path
