"""The worst cases of an evaluation, written out so that one can listen to them."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import edge
from edge import catalogue
from edge.errors import HarkenError
from edge.evaluation.clips import EvaluationClip
from edge.evaluation.detector_figures import STAGES, false_triggers, is_hit, negatives
from edge.evaluation.stages import ClipResult
from edge.native import SAMPLE_RATE_HZ

INDEX_FILE = "index.html"
_PER_KIND = 12
_CHECKOUT = Path(str(edge.__file__)).resolve().parent.parent


@dataclass(frozen=True)
class WorstCase:
    """A clip on which an event was missed or falsely reported: what went wrong, and how badly (higher is worse)."""

    event: str
    name: str
    what: str
    badness: float


def worst_cases(results: Sequence[ClipResult], stage: str = STAGES[-1]) -> list[WorstCase]:
    """Return, for each event, what was missed (lowest score first) and falsely reported (highest score first)."""
    cases: list[WorstCase] = []
    for index, event in enumerate(catalogue.load().names):
        missed = [
            WorstCase(event, one.name, _missed(one, event, index), -float(one.highest["int8"][index]))
            for one in results
            if one.event == event and not is_hit(one, event, stage)
        ]
        false = []
        for result in negatives(results, event):
            triggers = false_triggers(result, event, stage)
            if triggers:
                at = ", ".join(f"{trigger.at_s:.1f} s ({trigger.score})" for trigger in triggers)
                highest = max(trigger.score for trigger in triggers)
                false.append(WorstCase(event, result.name, f"{result.label}, reported at {at}", highest))
        for kind in (missed, false):
            cases += sorted(kind, key=lambda case: (-case.badness, case.name))[:_PER_KIND]
    return cases


def write(cases: Sequence[WorstCase], clips: Iterable[EvaluationClip], folder: Path) -> Path:
    """Write the sounds of `cases` as WAV files and a page that plays them into `folder`; return the page.

    Args:
        cases: of `worst_cases`.
        clips: those that were judged, lead-ins included; each is looked at once.
        folder: outside this checkout, which never holds recordings.

    Raises:
        HarkenError: the folder lies inside the checkout.
    """
    import soundfile

    if folder.resolve().is_relative_to(_CHECKOUT) and not folder.resolve().is_relative_to(_CHECKOUT / "build"):
        raise HarkenError(f"{folder} lies in the source tree, which never holds recordings: name a folder outside it")
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {case.name for case in cases}
    files: dict[str, str] = {}
    for clip in clips:
        if clip.name in wanted:
            files[clip.name] = f"{len(files):03d}-{re.sub(r'[^A-Za-z0-9._-]+', '_', clip.name)[-80:]}.wav"
            soundfile.write(folder / files[clip.name], clip.pcm, SAMPLE_RATE_HZ, subtype="PCM_16")
    page = folder / INDEX_FILE
    page.write_text(_page(cases, files), encoding="utf-8")
    return page


def _missed(result: ClipResult, event: str, index: int) -> str:
    instead = sorted({trigger.event for trigger in result.triggers if trigger.event != event})
    heard_as = f", heard as {', '.join(instead)}" if instead else ""
    rejected = ", rejected by the verifier" if is_hit(result, event, STAGES[0]) else ""
    return f"missed: highest score {float(result.highest['int8'][index]):.0f} of 255{rejected}{heard_as}"


def _page(cases: Sequence[WorstCase], files: dict[str, str]) -> str:
    rows = []
    for case in cases:
        cells = (case.event, case.name, case.what)
        said = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
        file = html.escape(files.get(case.name, ""))
        sound = f'<audio controls preload="none" src="{file}"></audio>' if file else ""
        rows.append(f"<tr>{said}<td>{sound}</td></tr>")
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Worst cases</title>'
        "<style>body{font:15px sans-serif;margin:2em}td{padding:.2em .8em;border-top:1px solid #ddd}</style>"
        "<h1>Worst cases</h1><p>Each sound has the lead-in and lead-out that it was judged with.</p>"
        f"<table><tr><th>event<th>recording<th>what went wrong<th>listen</tr>{''.join(rows)}</table></html>\n"
    )
