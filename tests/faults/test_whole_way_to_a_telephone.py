"""From a device over a real broker through `harken serve`'s own parts to a service's web address, picture and all."""

import base64
import io
import re
import threading

import pytest
from PIL import Image

from cloud.broker import find_mosquitto
from cloud.serve import Server
from cloud.settings import ServeSettings
from tests.cloud_doubles import FakeDevice, Sounds, write_stand_in_verifier
from tests.faults.people import Person

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.skipif(find_mosquitto() is None, reason="Mosquitto is not installed"),
]


def test_from_the_printed_password_to_a_message_with_the_sounds_picture(tmp_path, telephone):
    lines = []
    settings = ServeSettings(
        data_dir=tmp_path / "data", port=0, mqtt_port=0, verifier_dir=write_stand_in_verifier(tmp_path / "verifier")
    )
    with Server(settings, lines.append) as server:
        password = re.search(r"one-time password ([\w-]+)", "\n".join(lines)).group(1)
        person = Person(server.url)
        assert "It is quiet" in person.sign_in(password)
        number = person.be_told_at(telephone.url)
        page = person.get("/settings/notifications")
        assert "A message went to telephone" in person.post(f"/settings/notifications/{number}/try", page)
        assert telephone.wait(1)["title"] == "Harken reaches you"

        with FakeDevice(server.mqtt_port, "kitchen") as device:
            device.publish("status", Sounds.status())
            trigger = device.sounds.trigger()
            device.deliver("trigger", trigger)
            device.deliver("clip", device.sounds.clip(trigger))
            told = telephone.wait(2)
            assert told["title"] == "Smoke alarm · kitchen"
            link = f"{server.url}/events/{trigger.event_id.hex()}"
            assert told["message"].startswith("Confirmed, heard at ")
            assert link in told["message"]
            (attached,) = told["attachments"]
            picture = Image.open(io.BytesIO(base64.b64decode(attached["base64"])))
            assert picture.size == (800, 560)
            assert "What was heard" in person.get(f"/events/{trigger.event_id.hex()}")

            page = person.get("/devices")
            person.post("/devices/kitchen/arm", page, armed="yes")
            give_up = threading.Event()
            for _ in range(100):
                configs = [answer for kind, answer in device.answers if kind == "config"]
                if configs and configs[-1].is_armed:
                    break
                give_up.wait(0.1)
            assert configs[-1].is_armed
