"""The cloud over amqtt, where Mosquitto is not installed."""

import cloud.broker
from cloud.serve import Server
from cloud.settings import ServeSettings
from tests.cloud_doubles import FakeDevice, write_stand_in_verifier


def test_an_event_goes_all_the_way_over_amqtt(tmp_path, monkeypatch):
    monkeypatch.setattr(cloud.broker, "find_mosquitto", lambda: None)
    verifier = write_stand_in_verifier(tmp_path / "verifier")
    lines = []
    settings = ServeSettings(tmp_path / "data", port=0, mqtt_port=0, verifier_dir=verifier)
    with Server(settings, lines.append) as server, FakeDevice(server.mqtt_port) as device:
        trigger = device.sounds.trigger()
        device.deliver("trigger", trigger)
        device.deliver("clip", device.sounds.clip(trigger))
        assert device.wait("verdict", trigger.event_id).verdict == "confirmed"
    assert any(line.startswith("warning: Mosquitto is not installed") for line in lines)
