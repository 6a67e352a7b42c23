"""Leave for devices with a key to use a set of known media: a signed update that goes before the set itself."""

from __future__ import annotations

import time
from dataclasses import replace

from edge import native
from edge.media_set import MediaSet
from firmware_gen.build import build_host_library
from tools.ota import parts
from tools.ota.push import TOLD_S, States, next_version, publish
from tools.watch import Watch


def sign(watch: Watch, keys: dict[str, bytes], media_set: MediaSet, timeout_s: float) -> None:
    """Give devices leave to use a set, and wait until those that are connected have it. No key, no leave.

    Args:
        watch: a connection to the broker that hears all devices.
        keys: of the devices that need leave.
        media_set: that is pushed next.
        timeout_s: how long to wait. A device that is away finds leave and set with the broker when it is back.
    """
    if not keys:
        return
    states = States(watch)
    watch.wait_for(lambda: all(states.installed(each) is not None for each in keys), TOLD_S)
    leave = parts.media(media_set, 1, native.load(build_host_library()).trunk_hash)
    versions, began_s = {}, time.monotonic()
    for device_id, key in keys.items():
        versions[device_id] = next_version(states.installed(device_id), time.time())
        publish(watch, device_id, key, replace(leave, version=versions[device_id]))
    online = [each for each in keys if states.is_online(each)]

    def has_all() -> bool:
        return all(states.update(each, "media", "", versions[each], began_s) is not None for each in online)

    watch.wait_for(has_all, timeout_s)
