"""The devices of a fleet as a roll-out sees them: through the broker, with a connection for each act.

A roll-out runs for days: no connection has to last as long.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from edge.contracts.error_texts import error_text
from edge.errors import HarkenError
from tools.ota.envelope import Update
from tools.ota.push import TOLD_S, States, publish
from tools.watch import Watch


class FleetDevices:
    """Gives devices an update and takes it back.

    Args:
        connect: opens a connection to the broker that hears all devices.
        keys: of the fleet's devices.
        update: that is rolled out.
        before: what takes it back.
        tell: takes a line for whoever looks on.
    """

    def __init__(
        self,
        connect: Callable[[], Watch],
        keys: Mapping[str, bytes],
        update: Update,
        before: Update,
        tell: Callable[[str], None],
    ) -> None:
        self._connect, self._keys, self._tell = connect, keys, tell
        self._update, self._before = update, before
        self._failures: dict[str, str] = {}

    def give(self, device_ids: Sequence[str]) -> None:
        """Send devices the update."""
        self._send(device_ids, self._update)

    def take_back(self, device_ids: Sequence[str]) -> None:
        """Send devices what takes it back."""
        self._send(device_ids, self._before)

    def failures(self, device_ids: Sequence[str]) -> dict[str, str]:
        """Return those that refused the update or rolled it back, and why; as known before while no broker answers."""
        try:
            with self._connect() as watch:
                states = States(watch)
                watch.wait_for(lambda: all(states.installed(each) is not None for each in device_ids), TOLD_S)
                told = {each: states.installed(each) for each in device_ids}
        except HarkenError as error:
            self._tell(f"{error}; looking again later")
            return self._failures
        self._failures = {
            device_id: error_text(update.update_code)
            for device_id, installed in told.items()
            for update in (installed.updates if installed is not None else ())
            if update.fate in ("refused", "rolled_back")
            and (update.event, update.update_version) in ((self._update.event, self._update.version), ("", 0))
        }
        return self._failures

    def _send(self, device_ids: Sequence[str], update: Update) -> None:
        with self._connect() as watch:
            for device_id in device_ids:
                publish(watch, device_id, self._keys[device_id], update)
