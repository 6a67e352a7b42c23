"""The front-end libraries, which the set-up installs from npm by `frontend/package-lock.json`; pages work without."""

from __future__ import annotations

from pathlib import Path

from edge.build_core import CHECKOUT_DIR, build_root

SERVED = {
    "htmx.js": "htmx.org/dist/htmx.min.js",
    "wavesurfer.js": "wavesurfer.js/dist/wavesurfer.esm.js",
}
"""What pages may load, by the name under `/lib/`; nothing else of the packages is served."""


def find_libraries() -> Path | None:
    """The folder that the packages were installed into; None when they were not."""
    places = (build_root(), CHECKOUT_DIR / "build")  # a service may not write where it was installed
    folders = [place / "web" / "node_modules" for place in places]
    return next((each for each in folders if all((each / path).is_file() for path in SERVED.values())), None)
