"""How a running server is, by what it says of itself: health, readiness, and its figures since the start."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from typing import Any

from edge.errors import HarkenError

_TIMEOUT_S = 10.0
_SLOW_RECEIPT_S = 1.0
_SLOW_VERDICT_S = 2.5
_LONG_QUEUE = 1000
_SAMPLE = re.compile(r"^(?P<name>\w+)(\{(?P<labels>[^}]*)\})? (?P<value>\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Check:
    """One thing asked. `remedy` says what to do where it is not well."""

    name: str
    is_well: bool
    detail: str
    remedy: str = ""


def examine(url: str) -> list[Check]:
    """Ask the server at `url`.

    Raises:
        HarkenError: nothing of ours answers there.
    """
    base = url.rstrip("/")
    health = _json(base + "/healthz")
    ready = _json(base + "/readyz")
    samples = _samples(_get(base + "/metrics")[1])
    if "is_healthy" not in health or "is_ready" not in ready:
        raise HarkenError(f"what answers at {url} is no Harken server: give its address with --server URL")
    troubles = health["troubles"]
    checks = [
        Check("health", not troubles, "no trouble" if not troubles else " ".join(troubles)),
        Check(
            "readiness",
            bool(ready["is_ready"]),
            "takes triggers" if ready["is_ready"] else f"lacks: {', '.join(ready['missing'])}",
            "" if ready["is_ready"] else "the health check above says what keeps it; devices keep their triggers",
        ),
    ]
    queue = samples.get(("harken_queue_steps", ""), 0.0)
    checks.append(
        Check(
            "queue",
            queue < _LONG_QUEUE,
            f"{queue:.0f} steps wait, {samples.get(('harken_verifier_jobs', ''), 0.0):.0f} clips are with the verifier",
            "" if queue < _LONG_QUEUE else "more comes in than is stored: see docs/operating.md, Sizes",
        )
    )
    checks.append(_speed(samples, "receipt", _SLOW_RECEIPT_S, "the disk or the database is slow: see Sizes"))
    checks.append(_speed(samples, "verdict", _SLOW_VERDICT_S, "start another harken worker: see docs/operating.md"))
    kept = samples.get(("harken_quarantined_messages", ""), 0.0)
    refused = sum(value for (name, _), value in samples.items() if name == "harken_rejected_messages_total")
    given_up = samples.get(("harken_steps_given_up_total", ""), 0.0)
    checks.append(
        Check(
            "messages",
            not given_up,
            f"{refused:.0f} refused, {kept:.0f} in quarantine, {given_up:.0f} given up after three tries",
            "" if not given_up else "the operations page shows them: please report them, with the log",
        )
    )
    return checks


def as_json(checks: list[Check]) -> dict[str, Any]:
    """The report of `harken doctor --server --json`."""
    return {"is_well": all(check.is_well for check in checks), "checks": [asdict(check) for check in checks]}


def _speed(samples: dict[tuple[str, str], float], what: str, limit_s: float, remedy: str) -> Check:
    name = f"harken_{what}_seconds"
    count = samples.get((name + "_count", ""), 0.0)
    if not count:
        return Check(f"{what}s", True, "none yet")
    in_time = samples.get((name + "_bucket", f'le="{limit_s:g}"'), count)
    share = in_time / count
    is_well = share >= 0.99
    detail = f"{in_time:.0f} of {count:.0f} within {limit_s:g} s ({share:.1%})"
    return Check(f"{what}s", is_well, detail, "" if is_well else remedy)


def _samples(text: str) -> dict[tuple[str, str], float]:
    return {
        (match["name"], match["labels"] or ""): float(match["value"])
        for match in _SAMPLE.finditer(text)
        if not match["value"].startswith("+")
    }


def _json(url: str) -> dict[str, Any]:
    _, text = _get(url)
    try:
        answer = json.loads(text)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise HarkenError(f"what answers at {url} is no Harken server: give its address with --server URL")
    return answer


def _get(url: str) -> tuple[int, str]:
    if not url.startswith(("http://", "https://")):
        raise HarkenError(f"{url!r} is no address of a server: write http://host:port")
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:  # a server in trouble answers with 503 and says why
        return error.code, error.read().decode(errors="replace")
    except (OSError, ValueError) as error:
        raise HarkenError(f"no server answers at {url} ({error}): is harken serve running there?") from error
