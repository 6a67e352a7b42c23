"""`harken listen`: a virtual device hears a file or the microphone, and every event is printed as it comes."""

import argparse
import contextlib
import queue
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from edge.contracts.messages import DeviceEvent
    from tools.device import Device
    from tools.watch import Watch

BLOCK_SAMPLES = 1600
# Room for what an event's evidence needs after the last sound: trackers name an alarm up to 3 s after it.
TAIL_SECONDS = 4
ANSWER_TIMEOUT_S = 60.0


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command `listen`."""
    parser = subparsers.add_parser("listen", help="hear a recording or the microphone on a virtual device")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--wav", type=Path, help="a recording: WAV, FLAC or Ogg of any rate")
    source.add_argument("--alarm", action="store_true", help="a smoke alarm that is made for it: no recording needed")
    source.add_argument("--mic", action="store_true", help="the default microphone, until interrupted")
    parser.add_argument("--board", default="host", help="host (default) or an emulated board such as mps2-an386")
    parser.add_argument("--model", type=Path, help="a detector's .tflite (default: the committed one)")
    parser.add_argument("--broker", metavar="HOST[:PORT]", help="be a device of the server there (harken serve)")
    parser.add_argument("--device", default="virtual", metavar="ID", help="… by this name (default: %(default)s)")
    parser.add_argument("--all", action="store_true", help="every event, also those that are off by default")
    parser.add_argument("--armed", action="store_true", help="as if nobody were at home: footsteps too")
    parser.set_defaults(func=_listen)


def _listen(args: argparse.Namespace) -> int:
    from edge import catalogue
    from edge.audio import SAMPLE_RATE_HZ, read_recording
    from edge.contracts.messages import Config, EventSetting
    from firmware_gen.build import build_image
    from tools.device import Device
    from tools.made_alarm import smoke_alarm

    recording = read_recording(args.wav) if args.wav else None  # a bad file is refused before anything is built
    microphone = _microphone() if args.mic else None
    image = build_image(args.board, args.model)
    every = {event.name: EventSetting(True, event.default_sensitivity) for event in catalogue.load()}
    config = Config(is_armed=args.armed, events=every if args.all else {})
    with contextlib.ExitStack() as stack:
        device = stack.enter_context(
            Device(args.board, image, device_id=args.device, config=config, on_event=print_event, on_log=print)
        )
        watch = _join(stack, device, args.broker, args.device) if args.broker else None
        if microphone is None:
            if recording is not None and recording.note:
                print(recording.note)
            pcm, what = (smoke_alarm(), "a smoke alarm") if recording is None else (recording.pcm, args.wav)
            print(f"hearing {what} ({len(pcm) / SAMPLE_RATE_HZ:.1f} s) on {device.board.title}")
            _hear(device, pcm)
            if watch is not None:
                _await_verdicts(device, watch)
        else:
            print(f"listening on {device.board.title}; end with Ctrl-C")
            try:
                for block in microphone:
                    device.inject(block, settle=False)
            except KeyboardInterrupt:
                print()
        count = len(device.events)
        print(f"heard {device.samples_heard / SAMPLE_RATE_HZ:.1f} s: {count} event{'' if count == 1 else 's'}")
    return 0


def _join(stack: contextlib.ExitStack, device: "Device", address: str, device_id: str) -> "Watch":
    """Connect a device with a server's broker; what the server answers is printed.

    Raises:
        HarkenError: nobody answers there.
    """
    from edge.errors import HarkenError
    from tools.gateway import Bridge, Broker
    from tools.watch import Said, Watch

    def show(said: Said) -> None:
        if said.topic.kind == "verdict":
            print(f"          {said.message.verdict}: {said.message.reason}", flush=True)

    broker = Broker.parse(address, None)
    watch = stack.enter_context(Watch(broker.host, broker.port, device_id, show))
    stack.enter_context(contextlib.closing(Bridge(device.link, broker, print)))

    def is_online() -> bool:
        return any(said.topic.kind == "status" and said.message.is_online for said in watch.said)

    if not watch.wait_for(is_online, ANSWER_TIMEOUT_S):
        raise HarkenError(f"the device did not come online at {address}: is harken serve running there?")
    print(f"{device_id} is a device of the server at {address}")
    return watch


def _await_verdicts(device: "Device", watch: "Watch") -> None:
    """Stay until the server has said what it thinks of everything that was heard."""

    def is_settled() -> bool:
        heard = {event.event_id for event in device.events}
        return heard <= {said.message.event_id for said in watch.of_kind("verdict")}

    watch.wait_for(is_settled, ANSWER_TIMEOUT_S)


def _hear(device: "Device", pcm: "np.ndarray") -> None:
    import numpy as np

    from edge.audio import SAMPLE_RATE_HZ

    device.inject(np.concatenate([pcm, np.zeros(TAIL_SECONDS * SAMPLE_RATE_HZ, np.int16)]), settle=False)


def print_event(event: "DeviceEvent") -> None:
    """Print one line of an event that a device has reported."""
    from edge import catalogue
    from edge.audio import SAMPLE_RATE_HZ

    titles = {spec.name: spec.title for spec in catalogue.load()}
    cadence = "" if event.cadence.kind == "none" else f", cadence {event.cadence.kind} x{event.cadence.periods}"
    print(
        f"{event.trigger_sample / SAMPLE_RATE_HZ:8.2f} s  {titles.get(event.event, event.event)}"
        f"  (score {event.score}/255, since {event.event_start_sample / SAMPLE_RATE_HZ:.2f} s{cadence})",
        flush=True,
    )


def _microphone() -> "Iterator[np.ndarray]":
    """Return int16 blocks of 0.1 s from the default microphone; raises HarkenError where there is none."""
    import numpy as np

    from edge.audio import SAMPLE_RATE_HZ
    from edge.errors import HarkenError

    try:
        import sounddevice
    except (ImportError, OSError) as error:
        raise HarkenError(
            f"no microphone can be used ({error}): install sounddevice (pip install 'harken[mic]', and "
            "sudo apt-get install libportaudio2), or give a file by --wav"
        ) from None
    blocks: queue.Queue[np.ndarray] = queue.Queue()
    try:
        stream = sounddevice.RawInputStream(
            samplerate=SAMPLE_RATE_HZ,
            channels=1,
            dtype="int16",
            blocksize=BLOCK_SAMPLES,
            callback=lambda data, _frames, _time, _status: blocks.put(np.frombuffer(bytes(data), np.int16)),
        )
    except sounddevice.PortAudioError as error:
        raise HarkenError(f"the microphone cannot be opened ({error}): connect one, or give a file by --wav") from None

    def read() -> "Iterator[np.ndarray]":
        with stream:
            while True:
                yield blocks.get()

    return read()
