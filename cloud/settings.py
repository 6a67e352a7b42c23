"""What `harken serve` can be told, and where its data lies."""

from __future__ import annotations

import os
import re
import socket
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cloud.history.clips import ClipStore
from cloud.verifier.model import MODEL_FOLDER
from edge.errors import HarkenError

DEFAULT_DATA_DIR = Path("var")


@dataclass(frozen=True)
class ServeSettings:
    """Settings of one server. Port 0 takes any free port; `broker` is `managed` or an `mqtt(s)://` URL,
    `broker_identity` a folder with `ca.pem`, `cert.pem` and `key.pem` for it.

    `verifier_dir` holds `verifier.tflite` and `manifest.json`. `window` is where workers share the triggers that other
    homes are compared by: empty (this server is alone), or the URL of a Redis. A home bears witness that a sound is
    media once its account is `witness_age_days` old. `media_index` is where known recordings are kept: empty (in the
    data folder), or the URL of a PostgreSQL database, which several servers may share.

    Pages are served at `listen`, which people reach as `public_url` (empty: on this machine only), with TLS where there
    is a certificate with its key. `home_assistant` is the broker of Home Assistant, `own` for ours, empty for none; the
    devices of `home_assistant_home` appear there.

    `history` and `clips` are URLs (`postgresql://…`, `s3://…`) where they do not lie in the data folder;
    `clips_options` goes to fsspec. With PostgreSQL the verifier's jobs lie in the history for workers to lease:
    `workers` is how many clips this process judges at a time itself, 0 leaves them all to others. `share` is the group
    in which several servers share the broker's subscription. `name` tells servers and workers apart; the machine's
    unless given. `keep_days` and `keep_clips_gb` say how much is kept, 0 all.
    """

    data_dir: Path = DEFAULT_DATA_DIR
    port: int = 8460
    mqtt_port: int = 1883
    broker: str = "managed"
    broker_identity: Path | None = None
    clip_timeout_s: float = 30.0
    verifier_dir: Path = MODEL_FOLDER
    window: str = ""
    media_index: str = ""
    witness_age_days: float = 14.0
    listen: str = "127.0.0.1"
    public_url: str = ""
    tls_certificate: str | None = None
    tls_key: str | None = None
    home_assistant: str = ""
    home_assistant_home: str = ""
    history: str = ""
    clips: str = ""
    clips_options: Mapping[str, Any] = field(default_factory=dict)
    share: str = ""
    workers: int = 1
    name: str = ""
    keep_days: float = 0.0
    keep_clips_gb: float = 0.0

    @property
    def history_url(self) -> str:
        """SQLAlchemy URL of the history, with the driver that is installed."""
        if not self.history:
            return DataFolder(self.data_dir.resolve()).history_url
        return re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", self.history)

    @property
    def server_name(self) -> str:
        """The name, or the machine's."""
        return self.name or socket.gethostname()

    @property
    def unique_name(self) -> str:
        """A name that no other process has."""
        return f"{self.server_name}-{os.getpid()}"

    def clip_store(self) -> ClipStore:
        """The store of clips.

        Raises:
            HarkenError: it cannot be reached.
        """
        url = self.clips or DataFolder(self.data_dir.resolve()).clips_url
        try:
            return ClipStore(url, **self.clips_options)
        except ImportError as error:
            raise HarkenError(f"clips at {url} need another package ({error}): pip install 'harken[scale]'") from error
        except Exception as error:
            raise HarkenError(f"the clips at {url} cannot be reached ({error}): check [clips] of --config") from error


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


_CONFIG: dict[str, dict[str, tuple[str, type | tuple[type, ...]]]] = {
    "server": {"name": ("name", str), "data_dir": ("data_dir", str)},
    "pages": {
        "port": ("port", int),
        "listen": ("listen", str),
        "public_url": ("public_url", str),
        "tls_certificate": ("tls_certificate", str),
        "tls_key": ("tls_key", str),
    },
    "home_assistant": {"broker": ("home_assistant", str), "home": ("home_assistant_home", str)},
    "history": {"url": ("history", str), "keep_days": ("keep_days", (int, float))},
    "clips": {"url": ("clips", str), "options": ("clips_options", dict), "keep_gb": ("keep_clips_gb", (int, float))},
    "broker": {
        "url": ("broker", str),
        "port": ("mqtt_port", int),
        "share": ("share", str),
        "identity": ("broker_identity", str),
    },
    "media": {
        "index": ("media_index", str),
        "window": ("window", str),
        "witness_age_days": ("witness_age_days", (int, float)),
    },
    "verifier": {
        "workers": ("workers", int),
        "dir": ("verifier_dir", str),
        "clip_timeout_s": ("clip_timeout_s", (int, float)),
    },
}

_PATHS = ("data_dir", "verifier_dir", "broker_identity")


def read_config(path: Path) -> dict[str, Any]:
    """Settings by their name in `ServeSettings`, from a TOML file.

    Raises:
        HarkenError: the file cannot be read, or holds what is no setting.
    """
    try:
        content = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise HarkenError(f"the configuration {path} cannot be read ({error}): see docs/operating.md") from error
    found: dict[str, Any] = {}
    for section, values in content.items():
        if section not in _CONFIG or not isinstance(values, dict):
            raise HarkenError(f"{path}: there is no section [{section}]: there are {', '.join(_CONFIG)}")
        for key, value in values.items():
            if key not in _CONFIG[section]:
                raise HarkenError(f"{path}: [{section}] has no setting {key!r}: it has {', '.join(_CONFIG[section])}")
            name, kind = _CONFIG[section][key]
            if not isinstance(value, kind) or isinstance(value, bool):
                kinds = kind if isinstance(kind, tuple) else (kind,)
                expected = " or ".join(each.__name__ for each in kinds)
                raise HarkenError(f"{path}: [{section}] {key} is {value!r}: give {expected}")
            found[name] = Path(str(value)) if name in _PATHS else value
    return found
