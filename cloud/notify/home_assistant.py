"""Home Assistant: a home's devices appear there by MQTT discovery, with what they hear, and can be armed from there.

For each device: an event entity for everything that was confirmed or could not be settled, a binary sensor for each
safety event, a switch for arming, a number for the sensitivity (1 low, 2 normal, 3 high), the siren, and a button that
asks for one clip. The siren can be silenced from there but not sounded: devices sound it for an intruder that was
confirmed and for nothing else. Payloads are those of https://www.home-assistant.io/integrations/mqtt/, all keys written
out.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from cloud.accounts.choices import SENSITIVITIES, choices_of, event_choices, has_siren_on
from cloud.accounts.reach import Reach
from cloud.broker import BrokerAddress
from cloud.history.models import Device
from cloud.history.store import History
from cloud.notify.controls import Controls
from cloud.notify.notifier import Notification
from edge.catalogue import Catalogue
from edge.errors import HarkenError

PREFIX = "homeassistant"
BASE = "harken/ha"
BIRTH = f"{PREFIX}/status"
OFF_DELAY_S = 120
_LOOK_EVERY_S = 2.0
_OBEYED = ("armed", "sensitivity", "siren", "clip")
_DEVICE_CLASSES = {"smoke_alarm": "smoke", "co_alarm": "carbon_monoxide"}

log = logging.getLogger("harken.home_assistant")


def discovery(device: Device, title: str, catalogue: Catalogue, event_types: list[str]) -> dict[str, dict[str, Any]]:
    """The retained discovery messages of one device, by topic."""
    node = f"harken_{device.device_id}"
    place = f"{BASE}/{device.device_id}"
    shared = {
        "device": {
            "identifiers": [node],
            "name": title,
            "manufacturer": "Harken",
            "model": device.board or "sound detector",
            "sw_version": device.firmware or "unknown",
        },
        "origin": {"name": "Harken"},
        "availability": [{"topic": f"{BASE}/status"}, {"topic": f"{place}/status"}],
        "availability_mode": "all",
        "qos": 1,
    }

    def entity(component: str, key: str, **values: Any) -> tuple[str, dict[str, Any]]:
        own = {"unique_id": f"{node}_{key}", "default_entity_id": f"{component}.{node}_{key}".replace("-", "_")}
        return f"{PREFIX}/{component}/{node}/{key}/config", {**own, **values, **shared}

    entities = [
        entity("event", "sound", name="Sound", state_topic=f"{place}/event", event_types=event_types),
        entity(
            "switch",
            "armed",
            name="Armed",
            icon="mdi:shield-home",
            state_topic=f"{place}/armed",
            command_topic=f"{place}/armed/set",
            payload_on="ON",
            payload_off="OFF",
        ),
        entity(
            "number",
            "sensitivity",
            name="Sensitivity",
            icon="mdi:ear-hearing",
            entity_category="config",
            state_topic=f"{place}/sensitivity",
            command_topic=f"{place}/sensitivity/set",
            min=1,
            max=len(SENSITIVITIES),
            step=1,
            mode="slider",
        ),
        entity(
            "siren",
            "siren",
            name="Siren",
            state_topic=f"{place}/siren",
            command_topic=f"{place}/siren/set",
            command_template="{{ value }}",  # not JSON, which it would be otherwise
            payload_on="ON",
            payload_off="OFF",
            support_duration=False,
            support_volume_set=False,
            optimistic=False,
        ),
        entity(
            "button",
            "clip",
            name="One clip now",
            icon="mdi:microphone-message",
            command_topic=f"{place}/clip/set",
            payload_press="PRESS",
        ),
    ]
    entities += [
        entity(
            "binary_sensor",
            spec.name,
            name=spec.title,
            device_class=_DEVICE_CLASSES.get(spec.name, "safety"),
            state_topic=f"{place}/{spec.name}",
            payload_on="ON",
            payload_off="OFF",
            off_delay=OFF_DELAY_S,
        )
        for spec in catalogue
        if spec.is_safety
    ]
    return dict(entities)


class HomeAssistant:
    """A connection to the broker that Home Assistant uses, for one home."""

    def __init__(
        self,
        address: BrokerAddress,
        history: History,
        catalogue: Catalogue,
        controls: Controls,
        reach: Reach,
        event_url: Callable[[str], str],
    ) -> None:
        """Prepare it; `start` connects."""
        self._address = address
        self._history = history
        self._catalogue = catalogue
        self._controls = controls
        self._reach = reach
        self._event_url = event_url
        self._said: dict[str, str] = {}
        self._lock = threading.Lock()
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="home assistant", daemon=True)
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"harken-home-assistant-{reach.account_id}")
        if address.username:
            client.username_pw_set(address.username, address.password)
        client.will_set(f"{BASE}/status", "offline", qos=1, retain=True)
        client.on_connect = self._connected
        client.on_message = self._received
        self._client = client

    def start(self) -> None:
        """Connect, and go on trying."""
        self._client.connect_async(self._address.host, self._address.port, 30)
        self._client.loop_start()
        self._thread.start()

    def stop(self) -> None:
        """Say good-bye and disconnect."""
        self._is_stopping.set()
        self._thread.join(5)
        self._client.publish(f"{BASE}/status", "offline", qos=1, retain=True).wait_for_publish(2)
        self._client.disconnect()
        self._client.loop_stop()

    def notify(self, notification: Notification) -> None:
        """Pass a verdict on: the event entity fires, and a safety event's sensor is on for two minutes."""
        with self._history.reading() as session:
            event = self._reach.event(session, notification.event_id)
        if event is None:
            return
        place = f"{BASE}/{event.device_id}"
        told = {
            "event_type": event.name,
            "verdict": event.verdict,
            "reason": event.reason,
            "event_id": event.event_id,
            "url": self._event_url(event.event_id),
        }
        self._client.publish(f"{place}/event", json.dumps(told), qos=1)
        if notification.is_safety:
            self._client.publish(f"{place}/{event.name}", "ON", qos=1)

    def _connected(self, client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            log.error("Home Assistant's broker refuses us (%s): check its address, user and password", reason)
            return
        client.subscribe([(BIRTH, 1), *((f"{BASE}/+/{what}/set", 1) for what in _OBEYED)])
        self._say_all()

    def _say_all(self) -> None:
        with self._lock:
            self._said.clear()
        self._client.publish(f"{BASE}/status", "online", qos=1, retain=True)

    def _received(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        payload = bytes(message.payload[:32]).decode(errors="replace").strip()
        if message.topic == BIRTH:
            if payload == "online":  # Home Assistant has started again and knows nothing
                self._say_all()
            return
        try:
            _, _, device_id, what, _ = message.topic.split("/")
            self._obey(device_id, what, payload)
        except Exception:
            log.exception("a message of Home Assistant's was not understood: %s", message.topic[:200])

    def _obey(self, device_id: str, what: str, payload: str) -> None:
        if what == "armed" and payload in ("ON", "OFF"):
            self._controls.choose(self._reach, device_id, is_armed=payload == "ON")
        elif what == "sensitivity" and payload in {str(number + 1) for number in range(len(SENSITIVITIES))}:
            self._controls.set_sensitivity(self._reach, device_id, SENSITIVITIES[int(payload) - 1])
        elif what == "siren" and payload == "OFF":
            self._controls.silence(self._reach, device_id)
        elif what == "siren" and payload == "ON":
            log.warning("Home Assistant asks %s for its siren, which sounds for a confirmed intruder only", device_id)
            self._say_again(f"{BASE}/{device_id}/siren")
        elif what == "clip" and payload == "PRESS":
            try:
                self._controls.ask_for_clip(self._reach, device_id, "Home Assistant")
            except HarkenError as error:
                log.warning("%s", error)
        else:
            log.warning("Home Assistant asks for %s %r, which is none", what, payload)

    def _say_again(self, topic: str) -> None:
        with self._lock:
            self._said.pop(topic, None)

    def _watch(self) -> None:
        while not self._is_stopping.wait(_LOOK_EVERY_S):
            try:
                self.say_changes()
            except Exception:
                log.exception("Home Assistant was not told of changes; it is tried again")

    def say_changes(self) -> None:
        """Publish what has changed since it was last said: devices and their states, all retained."""
        if not self._client.is_connected():
            return
        for topic, payload in self._wanted().items():
            with self._lock:
                is_said = self._said.get(topic) == payload
                self._said[topic] = payload
            if not is_said:
                self._client.publish(topic, payload, qos=1, retain=True)

    def _wanted(self) -> dict[str, str]:
        wanted: dict[str, str] = {}
        with self._history.reading() as session:
            for device in self._reach.devices(session):
                row = choices_of(session, device, device.last_seen_at)
                place = f"{BASE}/{device.device_id}"
                title = row.title or device.device_id
                for topic, payload in discovery(device, title, self._catalogue, list(self._catalogue.names)).items():
                    wanted[topic] = json.dumps(payload, sort_keys=True)
                levels = [SENSITIVITIES.index(each.sensitivity) + 1 for each in event_choices(row, self._catalogue)]
                wanted[f"{place}/status"] = "online" if device.is_online else "offline"
                wanted[f"{place}/armed"] = "ON" if row.is_armed else "OFF"
                wanted[f"{place}/siren"] = "ON" if has_siren_on(row, device, datetime.now(UTC)) else "OFF"
                wanted[f"{place}/sensitivity"] = str(max(set(levels), key=levels.count))
        return wanted
