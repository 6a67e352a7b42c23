"""A board under test, with one face for those that run here and those on a cable."""

import hashlib
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from edge.audio import SAMPLE_RATE_HZ, Int16Array
from edge.contracts import limits, messages
from edge.errors import HarkenError
from firmware_gen.board import load_board
from firmware_gen.build import DEFAULT_MODEL, Image, build_image
from hil.connections.cable import Cable
from hil.registry import BoardEntry
from tools.device import Device
from tools.device.runner import STEP_SAMPLES
from tools.flash import find_port, load_target, plan_flash, run_plan
from tools.flash.plan import FlashRequest
from tools.link import Channel, Link, open_stream
from tools.link.identity import check_board, check_model
from tools.link.streams import Stream
from tools.link.vault import id_for

HEARD_TIMEOUT_S = 20.0


@dataclass
class Heard:
    """What a board reported while it heard something.

    Attributes:
        pcm: int16[n] at 16 kHz, what it was made to hear.
        first_sample: the board's number of `pcm[0]`; events count from the same zero.
        events: in order.
        took_s: how long it took, by the wall clock.
    """

    pcm: Int16Array
    first_sample: int
    events: list[messages.DeviceEvent] = field(default_factory=list)
    took_s: float = 0.0

    @property
    def times_real_time(self) -> float:
        """Seconds of audio for each second of the wall clock."""
        return len(self.pcm) / SAMPLE_RATE_HZ / self.took_s if self.took_s else float("inf")


class Bench(ABC):
    """One board: flashed, linked, heard. Tests get it as the fixture `bench`.

    Attributes:
        entry: of the registry.
        cable: what its link runs over, which a test may damage; new after each `relink`.
        history: everything that it heard in this test, for the report of a failure.
        log: lines of its console.
    """

    def __init__(self, entry: BoardEntry) -> None:
        self.entry = entry
        self.cable: Cable | None = None
        self.history: list[Heard] = []
        self.log: list[str] = []

    @property
    @abstractmethod
    def link(self) -> Link:
        """The link to the board; raises HarkenError while there is none."""

    @abstractmethod
    def flash(self) -> None:
        """Bring the image onto the board, or build it where the board runs here."""

    @abstractmethod
    def open(self) -> None:
        """Start it or reset it, and say hello."""

    @abstractmethod
    def relink(self) -> None:
        """Take hold of its link again after the cable was out, without a restart."""

    @abstractmethod
    def close(self) -> None:
        """Let go of it."""

    @abstractmethod
    def _hear(self, pcm: Int16Array) -> list[messages.DeviceEvent]:
        """Let it hear `pcm` and return the events that it reported meanwhile."""

    def hear(self, pcm: Int16Array) -> Heard:
        """Let the board hear `pcm` (int16[n], 16 kHz); return what it reported. Raises HarkenError where it stalls."""
        heard = Heard(pcm, self.samples_heard)
        self.history.append(heard)
        started_s = time.monotonic()
        heard.events = self._hear(pcm)
        heard.took_s = time.monotonic() - started_s
        return heard

    @property
    @abstractmethod
    def samples_heard(self) -> int:
        """Samples heard since it started."""

    def need(self, *capabilities: str) -> None:
        """Skip the test, with the reason, where the board lacks one of `capabilities`."""
        import pytest

        for capability in capabilities:
            if capability in self.entry.lacks:
                pytest.skip(f"{self.entry.name} lacks {capability}")


class LocalBench(Bench):
    """The host's virtual device, or a board under QEMU."""

    def __init__(self, entry: BoardEntry) -> None:
        super().__init__(entry)
        self._image: Image | None = None
        self._device: Device | None = None

    @property
    def link(self) -> Link:
        """The link to the board; raises HarkenError while there is none."""
        return self._running.link

    @property
    def _running(self) -> Device:
        if self._device is None:
            raise HarkenError(f"{self.entry.name} does not run: open the bench first")
        return self._device

    def flash(self) -> None:
        """Build its image. Raises HarkenError where a tool is missing."""
        missing = load_board(self.entry.board).missing_tools()
        if missing:
            raise HarkenError(f"{self.entry.name} needs {', '.join(missing)}: make setup installs it")
        self._image = build_image(self.entry.board)

    def open(self) -> None:
        """Start it and say hello."""
        assert self._image is not None
        self._device = Device(
            self.entry.board, self._image, "bench", bytes(8), on_log=self.log.append, cable=self._with_cable
        )
        self._device.start()

    def relink(self) -> None:
        """Connect with its link again."""
        self._running.reconnect()

    def close(self) -> None:
        """Stop it."""
        if self._device is not None:
            self._device.stop()
        self._device = None

    @property
    def samples_heard(self) -> int:
        """Samples heard since it started."""
        return self._running.samples_heard

    def _hear(self, pcm: Int16Array) -> list[messages.DeviceEvent]:
        before = len(self._running.events)
        self._running.inject(pcm, settle=False)
        return self._running.events[before:]

    def _with_cable(self, stream: Stream) -> Stream:
        self.cable = Cable(stream)
        return self.cable


class SerialBench(Bench):
    """A board on a USB cable, flashed by its programmer, heard through PCM frames with credits."""

    def __init__(self, entry: BoardEntry) -> None:
        super().__init__(entry)
        self._link: Link | None = None
        self._events: list[messages.DeviceEvent] = []
        self._heard = messages.DeviceHeard(0, 0)

    @property
    def link(self) -> Link:
        """The link to the board; raises HarkenError while there is none."""
        if self._link is None:
            raise HarkenError(f"{self.entry.name} is not linked: open the bench first")
        return self._link

    def flash(self) -> None:
        """Write and verify its image."""
        target = load_target(self.entry.board)
        port = find_port(target, serial_number=self.entry.serial_number).device if not self.entry.probe else None
        run_plan(plan_flash(target, FlashRequest(port=port, probe=self.entry.probe or None)), print)

    def open(self) -> None:
        """Say hello to it, and tell it who it is; refuses a board that runs another model than this tree's."""
        self.relink()
        hello = self.link.hello()
        expected = hashlib.sha256(DEFAULT_MODEL.read_bytes()).digest()[: limits.MODEL_HASH_BYTES]
        where = f"{self.entry.name} of boards.yaml"
        check_board(hello, where, self.entry.board)
        check_model(hello, where, expected)
        device_id = id_for(self.link, "bench")
        self.link.send_control(messages.HostConfigure(device_id, secrets.token_bytes(limits.BOOT_ID_BYTES)))

    def relink(self) -> None:
        """Open its serial port."""
        self.close()
        port = find_port(load_target(self.entry.board), serial_number=self.entry.serial_number)
        self.cable = Cable(open_stream(f"serial:{port.device}@{self.entry.baud_rate}"))
        self._link = Link(self.cable)
        self._link.on_control = self._take
        self._link.on_frame[Channel.LOG] = lambda payload: self.log.append(payload.decode("utf-8", "replace"))

    def close(self) -> None:
        """Let go of the port; the board goes on as it is."""
        if self._link is not None:
            self._link.close()
        self._link = None

    @property
    def samples_heard(self) -> int:
        """Samples heard since it started, as it last said."""
        return self._heard.samples_heard

    def _take(self, message: object) -> None:
        if isinstance(message, messages.DeviceHeard):
            self._heard = message
        elif isinstance(message, messages.DeviceEvent):
            self._events.append(message)

    def _hear(self, pcm: Int16Array) -> list[messages.DeviceEvent]:
        before, first = len(self._events), self.samples_heard
        self.link.send_pcm(first, np.asarray(pcm, np.int16))
        end = (first + len(pcm)) // STEP_SAMPLES * STEP_SAMPLES
        self.link.wait_for(messages.DeviceHeard, HEARD_TIMEOUT_S, lambda heard: heard.samples_heard >= end)
        return self._events[before:]


_KINDS: dict[str, Callable[[BoardEntry], Bench]] = {"local": LocalBench, "serial": SerialBench}


def open_bench(entry: BoardEntry) -> Bench:
    """Return the bench of a registry's entry, not yet flashed."""
    return _KINDS[entry.connection](entry)
