"""A device that runs here, on the host or under QEMU: started, given an identity, and made to hear."""

import contextlib
import secrets
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

import numpy as np

from edge.audio import SAMPLE_RATE_HZ, Int16Array
from edge.contracts import limits, messages
from edge.contracts.error_texts import error_code, error_text
from edge.contracts.messages import (
    DeviceError,
    DeviceEvent,
    DeviceHead,
    DeviceHeard,
    DeviceMedia,
    DeviceOutput,
    DeviceStats,
)
from edge.errors import HarkenError
from firmware_gen.board import Board, load_board
from firmware_gen.build import Image
from tools.device import runner
from tools.link import Channel, Link, LinkClosedError
from tools.link.streams import Stream, UnixSocketStream

START_TIMEOUT_S = 20.0
STALL_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 5.0

_HEAD_REMEDY = "train and pack it for the very detector that the device runs"
_HEAD_REMEDIES = {
    error_code("unsafe"): "a head of a safety event is taken with its self-test only (`harken head load` sends it), "
    "and where it fires wherever the detector's own does: train it further, or lower its thresholds",
    error_code("signature"): "it has a key: sign the head and send it over the air with `harken ota head push`",
}

# While nothing is suspected the device is given this much at a time; after a trigger single steps, so that it stops at
# the very step at which its clip is captured, on every board alike.
CHUNK_SAMPLES = 8 * runner.STEP_SAMPLES
WATCHFUL_SAMPLES = (limits.CLIP_AFTER_TRIGGER_SECONDS + 1) * SAMPLE_RATE_HZ


class Device:
    """One running device. Use it as a context manager.

    Attributes:
        link: the link to it; `link.on_frame[Channel.SCORES]` and others may be set.
        events: what it has reported, oldest first.
        on_event: called with each event, in the link's thread; must return soon.
        on_log: called with each line of its console likewise.
        log: those lines.
        errors: the faults it has reported.
        outputs: what it has switched, siren or lamp by the contract's names, and whether on, oldest first.
        media: what it last said of its known media and of the triggers that they explained.
        console: after its end, the last lines that the program or QEMU printed itself.
    """

    def __init__(
        self,
        board: str | Board,
        image: Image,
        device_id: str = "virtual",
        boot_id: bytes | None = None,
        config: messages.Config | None = None,
        on_event: Callable[[DeviceEvent], None] | None = None,
        on_log: Callable[[str], None] | None = None,
        cable: Callable[[Stream], Stream] = lambda stream: stream,
    ) -> None:
        """Prepare a device; `start` or `with` runs it.

        Args:
            board: where `image` runs.
            image: of the application `device`.
            device_id: its name on MQTT.
            boot_id: 8 bytes that make event ids unique; random when None. The same audio under the same ids gives
                the same bytes on every board.
            config: settings that it finds saved, as if the cloud had sent them in an earlier run.
            on_event: as the attribute.
            on_log: as the attribute.
            cable: what lies between its link and this side: a test's cable may be a bad one.
        """
        self.board = load_board(board) if isinstance(board, str) else board
        self.image = image
        self.device_id = device_id
        self.boot_id = secrets.token_bytes(limits.BOOT_ID_BYTES) if boot_id is None else boot_id
        self.events: list[DeviceEvent] = []
        self.errors: list[DeviceError] = []
        self.outputs: list[tuple[str, bool]] = []
        self.media: DeviceMedia | None = None
        self.log: list[str] = []
        self.console = ""
        self.on_event = on_event
        self.on_log = on_log
        self._config = config
        self._cable = cable
        self._changed = threading.Condition()
        self._heard = DeviceHeard(0, 0)
        self._announced = 0
        self._last_trigger_sample: int | None = None
        self._folder: TemporaryDirectory[str] | None = None
        self._running: runner.RunningDevice | None = None
        self._link: Link | None = None

    # --- Life ---

    def __enter__(self) -> "Device":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> "Device":
        """Start it, say hello and tell it who it is; raises HarkenError with what it said itself when it fails."""
        self._folder = TemporaryDirectory(prefix="harken-")
        folder = Path(self._folder.name)
        if self._config is not None:
            (folder / runner.SETTINGS_NAME).write_bytes(messages.encode(self._config))
        try:
            self._running = runner.start(self.board, self.image, folder)
            self._link = self._connect(self._running)
            self._link.send_control(messages.HostConfigure(self.device_id, self.boot_id, int(time.time() * 1000)))
        except HarkenError as error:
            console = self._running.console() if self._running else ""
            self.stop()
            raise HarkenError(f"the {self.board.name} device did not start: {console or error}") from error
        return self

    def _connect(self, running: runner.RunningDevice) -> Link:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not running.link_path.exists() and time.monotonic() < deadline:
            if running.process.poll() is not None:
                raise HarkenError(f"it ended with exit code {running.process.returncode}: {running.console()}")
            time.sleep(0.005)
        link = Link(self._cable(UnixSocketStream(running.link_path, START_TIMEOUT_S)))
        link.on_control = self._take_control
        link.on_frame[Channel.LOG] = self._take_log
        link.on_closed = self._take_end
        link.hello(START_TIMEOUT_S)
        return link

    def reconnect(self) -> None:
        """Take hold of the link again after it was cut; the device has gone on. Raises HarkenError."""
        if self._running is None:
            raise HarkenError(f"the {self.board.name} device does not run: start it first")
        self.link.close()
        self._link = self._connect(self._running)

    def stop(self) -> int | None:
        """Shut it down in good order, or end it; return its exit code, None when it never ran."""
        exit_code = None
        if self._link is not None:
            with contextlib.suppress(LinkClosedError):
                self._link.send_control(messages.HostShutdown())
        if self._running is not None:
            process = self._running.process
            # Before the device is configured and greeted it has no way to hear of a shutdown.
            patience_s = STOP_TIMEOUT_S if self._link is not None and self._link.device is not None else 0.0
            try:
                exit_code = process.wait(patience_s)
            except subprocess.TimeoutExpired:
                process.kill()
                exit_code = process.wait()
            self.console = self._running.console()
        if self._link is not None:
            self._link.close()
        if self._folder is not None:
            self._folder.cleanup()
        self._link, self._running, self._folder = None, None, None
        return exit_code

    @property
    def link(self) -> Link:
        """The link to the device; raises HarkenError unless it runs."""
        if self._link is None:
            raise HarkenError(f"the {self.board.name} device does not run: start it first")
        return self._link

    # --- What it says ---

    @property
    def samples_heard(self) -> int:
        """Samples heard since its start, as it last said."""
        return self._heard.samples_heard

    @property
    def pending(self) -> int:
        """Triggers and clips that it last said the cloud has not settled."""
        return self._heard.pending

    def stats(self) -> DeviceStats:
        """Return its counters."""
        return self.link.stats()

    def load_head(self, head: bytes, timeout_s: float = 10.0) -> DeviceHead:
        """Send it a head over the link while it listens; return what it has in use now.

        Args:
            head: the blob; a safety event's with its self-test, as `tools.ota.head.with_self_test` gives them.
            timeout_s: how long its answer may take.

        Raises:
            HarkenError: it refuses the head, and goes on with those it has.
        """
        after = self.link.position
        for offset in range(0, len(head), messages.HEAD_PIECE_BYTES):
            piece = head[offset : offset + messages.HEAD_PIECE_BYTES]
            self.link.send_control(messages.HostHead(piece, offset, len(head)))
        answer = self.link.wait_for(DeviceHead, timeout_s, after=after)
        if answer.code != 0:
            raise HarkenError(
                f"the {self.board.name} device refuses the head ({error_text(answer.code)}) and goes on with those it "
                f"has: {_HEAD_REMEDIES.get(answer.code, _HEAD_REMEDY)}"
            )
        return answer

    def load_media(self, blob: bytes, timeout_s: float = 10.0) -> DeviceMedia:
        """Send it a set of known media over the link; return what it holds now.

        Raises:
            HarkenError: it refuses the set, and goes on with the one it has.
        """
        after = self.link.position
        version, total, seal = struct.unpack_from("<II8s", blob, 8)
        for offset in range(0, len(blob), limits.MEDIA_PIECE_BYTES):
            piece = blob[offset : offset + limits.MEDIA_PIECE_BYTES]
            self.link.send_control(messages.HostMedia(piece, version, seal, offset, total))
        answer = self.link.wait_for(DeviceMedia, timeout_s, after=after)
        if answer.set_code != 0:
            raise HarkenError(
                f"the {self.board.name} device refuses the known media ({error_text(answer.set_code)}) and goes on "
                f"with its set {answer.set_version}: make one of a later version"
            )
        return answer

    def _take_control(self, message: object) -> None:
        with self._changed:
            if isinstance(message, DeviceHeard):
                self._heard = message
            elif isinstance(message, DeviceEvent):
                self.events.append(message)
                self._last_trigger_sample = message.trigger_sample
            elif isinstance(message, DeviceError):
                self.errors.append(message)
            elif isinstance(message, DeviceOutput):
                self.outputs.append((message.output, message.is_on))
            elif isinstance(message, DeviceMedia):
                self.media = message
            self._changed.notify_all()
        if isinstance(message, DeviceEvent) and self.on_event is not None:
            self.on_event(message)

    def _take_log(self, payload: bytes) -> None:
        line = payload.decode("utf-8", "replace")
        self.log.append(line)
        if self.on_log is not None:
            self.on_log(line)

    def _take_end(self, _error: LinkClosedError) -> None:
        with self._changed:
            self._changed.notify_all()

    # --- What it hears ---

    def inject(
        self,
        pcm: Int16Array,
        settle: bool = True,
        settle_timeout_s: float = 60.0,
        speed: float | None = None,
    ) -> None:
        """Let the device hear `pcm` (int16[n], 16 kHz); return when it has.

        Args:
            pcm: what follows on what it heard before.
            settle: hold the audio while the device waits for the cloud, so that what it sends does not depend on how
                fast anything is. Needs a gateway and a cloud that answers.
            settle_timeout_s: how long the cloud may take each time.
            speed: at most so many times real time; None: as fast as the device can.

        Raises:
            HarkenError: the device ends, stalls, or the cloud does not settle in time.
        """
        if pcm.dtype != np.int16 or pcm.ndim != 1:
            raise HarkenError(f"audio is {pcm.dtype}{list(pcm.shape)}: give int16[n] of 16 kHz mono")
        assert self._running is not None or self.link  # the link's own error says that it does not run
        assert self._running is not None
        with self._running.microphone_path.open("ab") as microphone:
            microphone.write(pcm.astype("<i2").tobytes())
        started_s, first = time.monotonic(), self._announced
        end = self._announced + len(pcm)
        while self._announced < end:
            self._announced = min(self._announced + self._next_chunk(settle), end)
            if speed is not None:
                due_s = started_s + (self._announced - first) / SAMPLE_RATE_HZ / speed
                time.sleep(max(0.0, due_s - time.monotonic()))
            self.link.send_control(messages.HostMicrophone(self._announced))
            self._wait_until_heard(self._announced)
            if settle:
                self._wait_until_settled(settle_timeout_s)

    def inject_over_link(self, pcm: Int16Array) -> None:
        """Let the device hear `pcm` as PCM frames on the link, as a board with a cable and no other way hears it."""
        first = self.samples_heard
        self.link.send_pcm(first, pcm)
        whole_steps = len(pcm) // runner.STEP_SAMPLES * runner.STEP_SAMPLES
        self._announced = first + len(pcm)
        self._wait_until_heard(first + whole_steps)

    def _next_chunk(self, settle: bool) -> int:
        if not settle:
            return SAMPLE_RATE_HZ
        last = self._last_trigger_sample
        is_watchful = last is not None and self._announced - last <= WATCHFUL_SAMPLES
        return runner.STEP_SAMPLES if is_watchful else CHUNK_SAMPLES

    def _wait_until_heard(self, samples: int) -> None:
        # What does not fill a step stays with the device until more comes.
        whole_steps = samples // runner.STEP_SAMPLES * runner.STEP_SAMPLES
        with self._changed:
            while self._heard.samples_heard < whole_steps:
                before = self._heard.samples_heard
                self._changed.wait_for(lambda: self._is_gone() or self.samples_heard > before, STALL_TIMEOUT_S)  # noqa: B023
                if self._is_gone() or self._heard.samples_heard == before:
                    raise self._failure(f"heard {before:,} of {whole_steps:,} samples and then no more")

    def _wait_until_settled(self, timeout_s: float) -> None:
        with self._changed:
            is_settled = self._changed.wait_for(lambda: self._is_gone() or self.pending == 0, timeout_s)
            if self._is_gone():
                raise self._failure("ended while it waited for the cloud")
            if not is_settled:
                raise self._failure(
                    f"has waited {timeout_s:g} s for the cloud with {self.pending} messages pending "
                    "(is `harken serve` running, and the gateway?)"
                )

    def _is_gone(self) -> bool:
        return self._link is None or self._link.is_closed

    def _failure(self, what: str) -> HarkenError:
        hints = [self._running.console() if self._running else "", self.errors[-1].text if self.errors else ""]
        said = "; ".join(hint for hint in hints if hint)
        return HarkenError(f"the {self.board.name} device {what}{f' ({said})' if said else ''}: start it again")
