"""A broker and its fleet in one archive: made while it runs, checked before anything is put back."""

import hashlib
import io
import json
import tarfile
import time
from pathlib import Path

from edge.errors import HarkenError
from tools.broker.folder import BrokerFolder
from tools.provision.authority import write_private

VERSION = 1
_CONTENTS = "contents.json"
_SAVE_TIMEOUT_S = 10.0
# What a running broker writes for itself, and locks.
_LEFT_OUT = {"mosquitto.pid", "broker.log", ".lock"}


def back_up(broker: BrokerFolder, archive: Path) -> int:
    """Write the broker's and the fleet's folders to `archive`; return how many files it holds.

    A running broker saves its state first. The archive holds every private key: only its owner may read it.

    Raises:
        HarkenError: the archive exists, cannot be written, or the broker did not save in time.
    """
    if archive.exists():
        raise HarkenError(f"{archive} exists: a backup is never written over another; name a new file")
    _save(broker)
    files = {f"broker/{name}": path for name, path in _files(broker.folder).items()}
    if not broker.settings.is_open:
        nested = set(files.values())
        fleet = {f"fleet/{name}": path for name, path in _files(broker.fleet_folder).items() if path not in nested}
        files |= fleet
    data = {name: path.read_bytes() for name, path in sorted(files.items())}
    contents = {
        "version": VERSION,
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in data.items()},
    }
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        _add(tar, _CONTENTS, json.dumps(contents, indent=1).encode())
        for name, content in data.items():
            _add(tar, name, content)
    try:
        write_private(archive, stream.getvalue())
    except OSError as error:
        raise HarkenError(f"{archive} cannot be written ({error.strerror}): name another place") from None
    return len(data)


def restore(archive: Path, folder: Path, fleet_folder: Path) -> int:
    """Put the broker of `archive` into `folder` and its fleet into `fleet_folder`, both new; return the file count.

    Raises:
        HarkenError: the archive is damaged or not one of ours, or a folder holds something. Then nothing is written.
    """
    for place in (folder, fleet_folder):
        if place.exists() and any(place.iterdir()):
            raise HarkenError(f"{place} is not empty: a backup is put into new folders only")
    data = _read(archive)
    for name, content in data.items():
        part, _, rest = name.partition("/")
        root = folder if part == "broker" else fleet_folder
        write_private(root / rest, content)
    (folder / "data").mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    (folder / "fleet").write_text(f"{fleet_folder.resolve()}\n")
    BrokerFolder(folder).generate()
    return len(data)


def _save(broker: BrokerFolder) -> None:
    database = broker.folder / "data" / "mosquitto.db"
    before = database.stat().st_mtime_ns if database.exists() else 0
    if not broker.save():
        return
    deadline = time.monotonic() + _SAVE_TIMEOUT_S
    while not database.exists() or database.stat().st_mtime_ns == before:
        if time.monotonic() > deadline:
            raise HarkenError(f"the broker did not save its state in {_SAVE_TIMEOUT_S:g} s: see {broker.log}")
        time.sleep(0.02)


def _files(folder: Path) -> dict[str, Path]:
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and path.name not in _LEFT_OUT and not path.name.endswith(".new"):
            found[path.relative_to(folder).as_posix()] = path
    return found


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = len(content), 0o600, int(time.time())
    tar.addfile(info, io.BytesIO(content))


def _read(archive: Path) -> dict[str, bytes]:
    """Return the archive's files by name, every one checked. Names are only looked up, never followed as paths."""
    try:
        with tarfile.open(archive, "r:gz") as tar:
            members = {member.name: tar.extractfile(member) for member in tar.getmembers() if member.isfile()}
            data = {name: stream.read() for name, stream in members.items() if stream is not None}
        contents = json.loads(data.pop(_CONTENTS))
        version, sums = contents["version"], contents["sha256"]
    except FileNotFoundError:
        raise HarkenError(f"there is no backup at {archive}") from None
    except (OSError, EOFError, tarfile.TarError, ValueError, KeyError) as error:
        raise HarkenError(f"{archive} is no whole backup of ours ({error}): use another") from None
    if version != VERSION:
        raise HarkenError(f"{archive} is of version {version}, this is for {VERSION}: use the Harken that wrote it")
    actual = {name: hashlib.sha256(content).hexdigest() for name, content in data.items()}
    if actual != sums or any(".." in Path(name).parts or name.startswith("/") for name in data):
        raise HarkenError(f"{archive} is damaged: what it holds is not what was written; use another")
    return data
