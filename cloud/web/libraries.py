"""The front-end libraries, which the set-up installs from npm by `frontend/package-lock.json`; pages work without."""

from __future__ import annotations

from pathlib import Path

from edge.build_core import build_root

SERVED = {
    "htmx.js": "htmx.org/dist/htmx.min.js",
    "wavesurfer.js": "wavesurfer.js/dist/wavesurfer.esm.js",
}
"""What pages may load, by the name under `/lib/`; nothing else of the packages is served."""


def find_libraries() -> Path | None:
    """The folder that the packages were installed into; None when they were not."""
    folder = build_root() / "web" / "node_modules"
    return folder if all((folder / path).is_file() for path in SERVED.values()) else None
