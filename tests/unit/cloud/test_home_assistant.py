"""Discovery messages hold to what Home Assistant publishes of its MQTT integration, and it is obeyed and told."""

import json
import threading
from datetime import UTC, datetime

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from cloud.accounts.reach import Reach
from cloud.broker import BrokerAddress, find_mosquitto, free_port, managed_broker
from cloud.history.models import Device
from cloud.notify.home_assistant import BASE, BIRTH, HomeAssistant, discovery
from edge import catalogue
from tests.unit.cloud.test_notices import Home

# The keys of https://www.home-assistant.io/integrations/{event,switch,number,binary_sensor,siren,button}.mqtt/, and
# which of them must be.
EVERYWHERE = {
    "availability", "availability_mode", "availability_template", "availability_topic", "default_entity_id", "device",
    "enabled_by_default", "encoding", "entity_category", "entity_picture", "icon", "json_attributes_template",
    "json_attributes_topic", "name", "origin", "payload_available", "payload_not_available", "platform", "qos",
    "unique_id",
}  # fmt: skip
OWN = {
    "event": {"device_class", "event_types", "state_topic", "value_template"},
    "switch": {
        "command_template", "command_topic", "device_class", "optimistic", "payload_off", "payload_on", "retain",
        "state_off", "state_on", "state_topic", "value_template",
    },
    "number": {
        "command_template", "command_topic", "device_class", "max", "min", "mode", "optimistic", "payload_reset",
        "retain", "state_topic", "step", "unit_of_measurement", "value_template",
    },
    "binary_sensor": {
        "device_class", "expire_after", "force_update", "off_delay", "payload_off", "payload_on", "state_topic",
        "value_template",
    },
    "siren": {
        "available_tones", "command_off_template", "command_template", "command_topic", "optimistic", "payload_off",
        "payload_on", "retain", "state_off", "state_on", "state_topic", "state_value_template", "support_duration",
        "support_volume_set",
    },
    "button": {"command_template", "command_topic", "device_class", "payload_press", "retain"},
}  # fmt: skip
REQUIRED = {
    "event": {"state_topic", "event_types"},
    "switch": {"command_topic"},
    "number": {"command_topic"},
    "binary_sensor": {"state_topic"},
    "siren": {"command_topic"},
    "button": {"command_topic"},
}
DEVICE_KEYS = {
    "configuration_url", "connections", "hw_version", "identifiers", "manufacturer", "model", "model_id", "name",
    "serial_number", "suggested_area", "sw_version", "via_device",
}  # fmt: skip


def test_every_key_is_one_that_home_assistant_takes():
    known = catalogue.load()
    device = Device(device_id="hall-2", board="esp32s3", firmware="0.1.0")
    messages = discovery(device, "Hall", known, list(known.names))
    assert {topic.split("/")[1] for topic in messages} == set(OWN)
    ids = set()
    for topic, payload in messages.items():
        prefix, component, node, key, last = topic.split("/")
        assert (prefix, node, last) == ("homeassistant", "harken_hall-2", "config")
        assert set(payload) <= EVERYWHERE | OWN[component], set(payload) - EVERYWHERE - OWN[component]
        assert REQUIRED[component] <= set(payload)
        assert set(payload["device"]) <= DEVICE_KEYS
        assert payload["device"]["identifiers"]
        assert all(set(each) == {"topic"} for each in payload["availability"])
        assert payload["availability_mode"] in ("all", "any", "latest")
        assert payload["default_entity_id"].startswith(f"{component}.")
        assert "#" not in topic
        assert key
        ids.add(payload["unique_id"])
    assert len(ids) == len(messages)
    classes = {payload["device_class"] for topic, payload in messages.items() if "/binary_sensor/" in topic}
    assert classes == {"smoke", "carbon_monoxide", "safety"}


class Listener:
    """What stands for Home Assistant: hears everything, and says what it is told to."""

    def __init__(self, port):
        self.heard = {}
        self._changed = threading.Condition()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self.client.on_message = self._take
        self.client.on_connect = lambda client, *_: client.subscribe([("homeassistant/#", 1), (f"{BASE}/#", 1)])
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def _take(self, _client, _data, message):
        with self._changed:
            self.heard[message.topic] = message.payload.decode()
            self._changed.notify_all()

    def wait(self, topic, payload=None):
        with self._changed:
            assert self._changed.wait_for(
                lambda: topic in self.heard and payload in (None, self.heard[topic]), 15
            ), f"never heard {topic} {payload}; there was {sorted(self.heard)}"
            return self.heard[topic]


@pytest.mark.mosquitto
@pytest.mark.skipif(find_mosquitto() is None, reason="Mosquitto is not installed")
def test_it_is_told_and_obeyed_over_a_real_broker(tmp_path):
    home = Home(tmp_path, datetime.now(UTC))
    broker = managed_broker(free_port(), tmp_path / "broker", print)
    broker.start()
    listener = Listener(broker.address.port)
    address = BrokerAddress("127.0.0.1", broker.address.port)
    bridge = HomeAssistant(
        address, home.history, catalogue.load(), home.controls, Reach(1), lambda key: f"https://h.example/{key}"
    )
    bridge.start()
    try:
        config = json.loads(listener.wait("homeassistant/switch/harken_kitchen/armed/config"))
        listener.wait(f"{BASE}/status", "online")
        listener.wait(f"{BASE}/kitchen/armed", "OFF")
        listener.wait(f"{BASE}/kitchen/sensitivity", "2")
        listener.client.publish(config["command_topic"], "ON", qos=1)
        listener.wait(config["state_topic"], "ON")
        listener.client.publish(f"{BASE}/kitchen/sensitivity/set", "3", qos=1)
        listener.wait(f"{BASE}/kitchen/sensitivity", "3")
        listener.client.publish(f"{BASE}/stranger/armed/set", "ON", qos=1)
        listener.client.publish(f"{BASE}/kitchen/sensitivity/set", "11", qos=1)
        sent = [each.message for each in home.published if each.kind == "config"]
        assert {each.device_id for each in home.published} == {"kitchen"}
        assert sent[0].is_armed
        assert {each.sensitivity for each in sent[-1].events.values()} == {"high"}

        home.sound_siren()
        listener.wait(f"{BASE}/kitchen/siren", "ON")
        siren = json.loads(listener.wait("homeassistant/siren/harken_kitchen/siren/config"))
        listener.client.publish(siren["command_topic"], "OFF", qos=1)
        listener.wait(siren["state_topic"], "OFF")
        listener.heard.pop(siren["state_topic"])
        listener.client.publish(siren["command_topic"], "ON", qos=1)  # for no intruder
        listener.wait(siren["state_topic"], "OFF")
        button = json.loads(listener.wait("homeassistant/button/harken_kitchen/clip/config"))
        listener.client.publish(button["command_topic"], button["payload_press"], qos=1)
        home.wait_for_command("clip_now")
        commands = [each.message.command for each in home.published if each.kind == "command"]
        assert commands == ["siren_on", "siren_off", "clip_now"]

        bridge.notify(home.event(name="smoke_alarm"))
        told = json.loads(listener.wait(f"{BASE}/kitchen/event"))
        assert (told["event_type"], told["verdict"]) == ("smoke_alarm", "confirmed")
        listener.wait(f"{BASE}/kitchen/smoke_alarm", "ON")
        bridge.notify(home.event(1, name="dog_bark", account_id=2))  # a neighbour's

        listener.heard.clear()
        listener.client.publish(BIRTH, "online", qos=1)  # Home Assistant has started again
        listener.wait("homeassistant/event/harken_kitchen/sound/config")
        assert f"{BASE}/kitchen/event" not in listener.heard
    finally:
        bridge.stop()
        listener.wait(f"{BASE}/status", "offline")
        listener.client.disconnect()
        listener.client.loop_stop()
        broker.stop()
        home.history.close()
