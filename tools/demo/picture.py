"""Takes a picture of a page with Chromium, for the documentation."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from edge.errors import HarkenError

WIDTH_PX = 1200
TIMEOUT_S = 60.0


def take(url: str, file: Path, height_px: int) -> None:
    """Write what a browser window of 1200 by `height_px` pixels shows of `url` to a PNG file.

    Raises:
        HarkenError: there is no Chromium, or it shows nothing.
    """
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise HarkenError("a picture needs Chromium: apt-get install chromium, or leave --picture out")
    file.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as profile:
        command = [
            chromium,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            f"--user-data-dir={profile}",
            f"--window-size={WIDTH_PX},{height_px}",
            f"--screenshot={file.resolve()}",
            url,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode != 0 or not file.is_file():
        raise HarkenError(f"Chromium took no picture of {url}: {done.stderr.strip().splitlines()[-1:]}")
