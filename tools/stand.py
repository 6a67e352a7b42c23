"""A test stand: one device with its gateway, before the whole cloud with a broker of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cloud.serve import Server
from cloud.settings import ServeSettings
from edge.contracts import messages
from edge.contracts.messages import DeviceEvent
from edge.errors import HarkenError
from firmware_gen.board import Board
from firmware_gen.build import Image
from tools.device import Device
from tools.gateway import Bridge, Broker
from tools.watch import Said, Watch

HOST = "127.0.0.1"
START_TIMEOUT_S = 20.0
VERDICT_TIMEOUT_S = 60.0


@dataclass
class Stand:
    """The device to speak to, the cloud, and all that was said between them."""

    device: Device
    server: Server
    watch: Watch

    def payloads(self) -> list[tuple[str, bytes]]:
        """What the device sent, as (kind, payload): triggers and clips in order, what it sent again left out."""
        return list(dict.fromkeys((said.topic.kind, said.payload) for said in self.watch.of_kind("trigger", "clip")))

    def triggers(self) -> dict[bytes, messages.Trigger]:
        """The device's triggers by event."""
        return {said.message.event_id: said.message for said in self.watch.of_kind("trigger")}

    def verdicts(self) -> dict[bytes, messages.Verdict]:
        """The cloud's verdicts by event; of several, the last."""
        return {said.message.event_id: said.message for said in self.watch.of_kind("verdict")}

    def wait_for_verdicts(self) -> bool:
        """Wait until every trigger has its verdict; False when the cloud does not answer in time."""
        return self.watch.wait_for(lambda: self.triggers().keys() <= self.verdicts().keys(), VERDICT_TIMEOUT_S)


@contextmanager
def stand(
    board: Board,
    image: Image,
    data_dir: Path,
    config: messages.Config,
    *,
    device_id: str,
    boot_id: bytes | None = None,
    write: Callable[[str], None] = lambda _line: None,
    on_event: Callable[[DeviceEvent], None] | None = None,
    on_said: Callable[[Said], None] | None = None,
) -> Iterator[Stand]:
    """Set up a stand; the device is online when the block begins.

    Args:
        board: where the device runs.
        image: its firmware, of the application `device`.
        data_dir: the cloud's data folder.
        config: what the owner chose; in the device from its first sample on, so that nothing depends on when the
            broker delivers it.
        device_id: the device's name on MQTT.
        boot_id: 8 bytes that make event ids unique; random when None.
        write: prints a line of the server's.
        on_event: called with each event that the device reports over its link.
        on_said: called with each message that passes the broker.

    Raises:
        HarkenError: a part cannot start.
    """
    with ExitStack() as stack:
        settings = ServeSettings(data_dir=data_dir, port=0, mqtt_port=0)
        server = stack.enter_context(Server(settings, write))
        watch = stack.enter_context(Watch(HOST, server.mqtt_port, device_id, on_said))
        watch.publish(device_id, "config", config)
        device = stack.enter_context(
            Device(board, image, device_id=device_id, boot_id=boot_id, config=config, on_event=on_event)
        )
        stack.enter_context(closing(Bridge(device.link, Broker(HOST, server.mqtt_port), write)))
        if not watch.wait_for(lambda: _is_online(watch.said), START_TIMEOUT_S):
            said = "; ".join(device.log[-3:])
            raise HarkenError(f"the {board.name} device did not come online in {START_TIMEOUT_S:.0f} s ({said})")
        yield Stand(device, server, watch)


def _is_online(said: list[Said]) -> bool:
    return any(one.topic.kind == "status" and one.message.is_online for one in said)
