"""What `harken serve` can be told, and where its data lies."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cloud.verifier.model import MODEL_FOLDER
from edge.errors import HarkenError

DEFAULT_DATA_DIR = Path("var")


@dataclass(frozen=True)
class ServeSettings:
    """Settings of one server. Port 0 takes any free port; `broker` is `managed` or an `mqtt(s)://` URL,
    `broker_identity` a folder with `ca.pem`, `cert.pem` and `key.pem` for it.

    `verifier_dir` holds `verifier.tflite` and `manifest.json`. `window` is where workers share the triggers that other
    homes are compared by: empty (this server is alone), or the URL of a Redis. A home bears witness that a sound is
    media once its account is `witness_age_days` old. Pages are served at `listen`, which people reach as `public_url`
    (empty: on this machine only), with TLS where there is a certificate with its key. `home_assistant` is the broker of
    Home Assistant, `own` for ours, empty for none; the devices of `home_assistant_home` appear there.
    """

    data_dir: Path = DEFAULT_DATA_DIR
    port: int = 8460
    mqtt_port: int = 1883
    broker: str = "managed"
    broker_identity: Path | None = None
    clip_timeout_s: float = 30.0
    verifier_dir: Path = MODEL_FOLDER
    window: str = ""
    witness_age_days: float = 14.0
    listen: str = "127.0.0.1"
    public_url: str = ""
    tls_certificate: str | None = None
    tls_key: str | None = None
    home_assistant: str = ""
    home_assistant_home: str = ""


@dataclass(frozen=True)
class DataFolder:
    """The layout of a data folder."""

    root: Path

    @property
    def history_url(self) -> str:
        """SQLAlchemy URL of the history."""
        return f"sqlite:///{self.root / 'history.sqlite3'}"

    @property
    def clips_url(self) -> str:
        """fsspec URL of the clips."""
        return (self.root / "clips").as_uri()

    @property
    def pictures(self) -> Path:
        """Spectrograms, which can be drawn again from the clips."""
        return self.root / "pictures"

    @property
    def media(self) -> Path:
        """Fingerprints of known recordings."""
        return self.root / "media"

    @property
    def discovered(self) -> Path:
        """Broadcasts that several homes heard at once."""
        return self.root / "discovered"

    @property
    def broker(self) -> Path:
        """The managed broker's configuration, state and log."""
        return self.root / "broker"

    @staticmethod
    def opened(path: Path) -> DataFolder:
        """Make the folder if need be and check that files can be written there.

        Raises:
            HarkenError: it is no folder, or may not be written.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
            probe = path / ".writable"
            probe.touch()
            probe.unlink()
            (path / "pictures").mkdir(exist_ok=True)
        except OSError as error:
            raise HarkenError(
                f"the data folder {path} cannot be used ({error.strerror}): choose another with --data-dir"
            ) from error
        return DataFolder(path.resolve())


def data_dir_from_environment() -> Path:
    """`HARKEN_HOME` if set, else `var` in the current folder."""
    return Path(os.environ.get("HARKEN_HOME") or DEFAULT_DATA_DIR)
