"""Measures fingerprints: how fast they are taken, what an hour of them weighs, how fast and how well they are found.

The recordings of a manifest are split in two by their originals. One half is known, and asked for through a
loudspeaker, a room and noise. The other half, with household sound, is what a million other clips are made of: each is
a stretch of a real recording's words, some bits of which are flipped so that no two are alike: so few of the reliable
ones, which keys are made of, that buckets of the index are as unevenly filled as real sound fills them. The figures of
skew show it beside that of the real words.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cloud.media import segment as segments
from cloud.media.decision import MIN_Z
from cloud.media.index import RecordingStore
from cloud.media.segment import Recording
from cloud.media.store import Store
from edge import media_search, native
from edge.contracts import limits
from edge.dataset.manifest import read_audio, read_manifest
from edge.errors import HarkenError
from edge.evaluation import broadcasts
from edge.evaluation.broadcasts import LEAD_IN_S, NOISE_LABEL, Stretch, Track
from edge.evaluation.metrics import rate_interval
from firmware_gen.board import load_board
from tools.bench import media_check
from tools.bench.cloud_ingest import cpu_s
from tools.engines import find_programs, postgres_server

SIZES = (10_000, 100_000, 1_000_000)
CLIP_SECONDS = 10.0
LENGTHS_S = (3, 5)
SNRS_DB = (10.0, 5.0)
QUERIES = 120
SEED = 6
FLIPPED_RELIABLE, FLIPPED_UNRELIABLE = 0.02, 0.35
"""Of the bits of a made clip. Were as many flipped as a room and noise flip, 0.15 and 0.35, the skew would be lost."""
_WORDS_PER_SECOND = native.SAMPLE_RATE_HZ / native.STEP_SAMPLES / media_search.STEPS_PER_WORD
_STRIDE = media_search.STEPS_PER_WORD // limits.TRIGGER_FINGERPRINT_WORD_STEPS
_WORDS_PER_PHASE = 1 / limits.TRIGGER_FINGERPRINT_WORD_STEPS
"""From a recording's first row of words to its second, in words of a query."""
_MIN_BITS = 100
_ADDED_AT_ONCE = 2000
_QUANTILES = {"p50": 0.5, "p99": 0.99, "max": 1.0}
_PLACE_TOLERANCE_WORDS = 2 * _STRIDE

WordArray = npt.NDArray[np.uint32]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """What to measure on."""

    manifest: Path
    work: Path
    """A folder for the indexes; they are deleted afterwards."""
    sizes: Sequence[int] = SIZES
    clip_seconds: float = CLIP_SECONDS
    queries: int = QUERIES
    with_postgres: bool = False
    """Whether the same recordings are looked for in a PostgreSQL that is started for it as well."""


@dataclass(frozen=True)
class _Query:
    cell: str
    media_ids: tuple[bytes, ...]  # its recording's, and those of others that hold the same sound
    offset: float  # in words of the query's spacing
    wanted: media_search.Query


@dataclass
class SizeFigures:
    """One index."""

    clips: int
    hours: float = 0.0
    words: int = 0
    bytes_per_hour: int = 0
    index_bytes: int = 0
    query_ms: dict[str, float] = field(default_factory=dict)
    """By the clock."""
    query_cpu_ms: dict[str, float] = field(default_factory=dict)
    """While the thread was running: what the clock says on a machine with nothing else to do."""
    recall: dict[str, float] = field(default_factory=dict)
    recall_intervals: dict[str, list[float]] = field(default_factory=dict)
    """95 %."""
    found: dict[str, list[int]] = field(default_factory=dict)
    skew: dict[str, float] = field(default_factory=dict)
    resident_bytes: int = 0
    database_cpu_ms: float = 0.0
    """Of a core for a query, in the mean, in the database's process; 0 for files."""
    filled_s: float = 0.0
    """How long it took to store the recordings in the database; 0 for files, which are written at once."""


@dataclass
class Figures:
    """All that was measured."""

    request: Request
    tracks: int = 0
    times_real_time: float = 0.0
    exhaustive: dict[str, list[int]] = field(default_factory=dict)
    """Queries found, and asked, by comparing every place of the known recordings."""
    real_skew: dict[str, float] = field(default_factory=dict)
    sizes: list[SizeFigures] = field(default_factory=list)
    postgres: list[SizeFigures] = field(default_factory=list)
    chromaprint: dict[str, Any] = field(default_factory=dict)
    device: media_check.Figures | None = None
    no_device: str = ""
    """Why a device's check was not counted."""

    def printed(self) -> dict[str, Any]:
        """Return the figures as the line of JSON has them."""
        largest = self.sizes[-1] if self.sizes else SizeFigures(0)
        return {
            "harken": {
                "times_real_time": round(self.times_real_time, 1),
                "bytes_per_hour": largest.bytes_per_hour,
                "recall": largest.recall,
                "recall_exhaustive": {
                    cell: round(found / asked, 4) for cell, (found, asked) in self.exhaustive.items()
                },
                "recall_exhaustive_intervals": _intervals(self.exhaustive),
                "skew_of_real_keys": self.real_skew,
                "sizes": [asdict(size) for size in self.sizes],
                "postgres": [asdict(size) for size in self.postgres],
            },
            "chromaprint": self.chromaprint,
            "query_p99_ms": {str(size.clips): size.query_ms["p99"] for size in self.sizes},
            "query_cpu_p99_ms": {str(size.clips): size.query_cpu_ms["p99"] for size in self.sizes},
            "device_instructions_per_check": self.device.most_instructions if self.device else None,
            "device_check": asdict(self.device) if self.device else {"skipped": self.no_device},
            "clip_seconds": self.request.clip_seconds,
            "queries": sum(asked for _, asked in self.exhaustive.values()),
            "tracks": self.tracks,
        }


def measure(request: Request, say: Say) -> Figures:
    """Measure everything; `say` gets a line for each step.

    Raises:
        HarkenError: the manifest cannot be read or holds too little; there is no room for the indexes.
    """
    if request.with_postgres and find_programs() is None:
        raise HarkenError("PostgreSQL is not installed: apt-get install postgresql")
    figures = Figures(request)
    recordings = broadcasts.recordings_of(read_manifest(request.manifest), "all")
    known_of, other_of = broadcasts.PARTS[1:]
    known = broadcasts.tracks_of([each for each in recordings if broadcasts.part_of(each.original_id) == known_of])
    others = broadcasts.tracks_of([each for each in recordings if broadcasts.part_of(each.original_id) == other_of])
    household = [each for each in recordings if each.label == NOISE_LABEL]
    figures.tracks = len(known)
    figures.times_real_time = _extraction_speed(known)
    figures.chromaprint = _chromaprint(known, request.work)
    say(f"{len(known)} known recordings; words are taken at {figures.times_real_time:.0f} times real time")
    sources = [native.fingerprint(track.pcm) for track in others]
    sources += [native.fingerprint(broadcasts.as_pcm(read_audio(each))) for each in household]
    references = [_recording(number, track) for number, track in enumerate(known)]
    stretches = list(
        broadcasts.queries_of(
            known, household, count=request.queries, seconds=max(LENGTHS_S), snrs_db=SNRS_DB, seed=SEED
        )
    )
    queries = [query for versions in stretches for query in _queries(versions, known)]
    figures.real_skew = _skew(_real_keys(sources))
    request.work.mkdir(parents=True, exist_ok=True)
    figures.exhaustive = _ask(_whole(references, request.work), queries)[0]
    board = load_board(media_check.BOARD)
    if missing := board.missing_tools():
        figures.no_device = f"{', '.join(missing)} not found: {board.toolchain.remedy}"
    else:
        heard = [native.fingerprint(track.pcm) for track in known]
        sounds = [
            native.fingerprint(stretch.pcm).every(limits.TRIGGER_FINGERPRINT_WORD_STEPS)
            for versions in stretches
            for stretch in versions.values()
        ]
        figures.device = media_check.measure(heard, sounds)
        say(
            f"a check against {figures.device.clips} clips on {figures.device.board}: "
            f"{figures.device.most_instructions:,} instructions at most"
        )
    for clips in request.sizes:
        folder = request.work / f"index-{clips}"
        shutil.rmtree(folder, ignore_errors=True)
        try:
            figures.sizes.append(_measure_size(folder, clips, request.clip_seconds, sources, references, queries))
            _say_size(say, "files", figures.sizes[-1])
            if request.with_postgres:
                figures.postgres.append(_measure_postgres(folder, figures.sizes[-1], queries))
                _say_size(say, "PostgreSQL", figures.postgres[-1])
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return figures


def _say_size(say: Say, place: str, size: SizeFigures) -> None:
    say(
        f"{size.clips:>9,} clips in {place}: p99 {size.query_ms['p99']:.1f} ms by the clock, "
        f"{size.query_cpu_ms['p99']:.1f} ms of a core; {size.bytes_per_hour:,} bytes an hour; {size.recall}"
    )


def _intervals(counts: dict[str, list[int]]) -> dict[str, list[float]]:
    return {cell: [round(end, 4) for end in rate_interval(found, asked)] for cell, (found, asked) in counts.items()}


def _extraction_speed(tracks: Sequence[Track]) -> float:
    seconds = sum(len(track.pcm) for track in tracks) / native.SAMPLE_RATE_HZ
    native.fingerprint(tracks[0].pcm[: native.SAMPLE_RATE_HZ])
    began = time.process_time()
    for track in tracks:
        native.fingerprint(track.pcm)
    return seconds / (time.process_time() - began)


def _chromaprint(tracks: Sequence[Track], work: Path) -> dict[str, Any]:
    """Run `fpcalc` over the same recordings."""
    if shutil.which("fpcalc") is None:
        return {"skipped": "fpcalc is not installed: apt-get install libchromaprint-tools"}
    folder = work / "chromaprint"
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, track in enumerate(tracks):
        paths.append(folder / f"{number}.wav")
        with wave.open(str(paths[-1]), "wb") as file:
            file.setparams((1, 2, native.SAMPLE_RATE_HZ, len(track.pcm), "NONE", ""))
            file.writeframes(track.pcm.tobytes())
    began = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = [
        subprocess.run(["fpcalc", "-raw", "-length", "0", str(path)], capture_output=True, text=True, check=False)
        for path in paths
    ]
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    shutil.rmtree(folder)
    seconds = sum(len(track.pcm) for track in tracks) / native.SAMPLE_RATE_HZ
    took = ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime
    lines = [line for each in said for line in each.stdout.splitlines() if line.startswith("FINGERPRINT=")]
    if len(lines) != len(paths):  # its exit status is 3 at the end of every file that it reads whole
        return {"skipped": f"fpcalc made {len(lines)} fingerprints of {len(paths)}: {said[-1].stderr.strip()[-200:]}"}
    values = sum(line.count(",") + 1 for line in lines)
    return {"times_real_time": round(seconds / took, 1), "bytes_per_hour": round(4 * values / seconds * 3600)}


def _recording(number: int, track: Track) -> Recording:
    return Recording.of(_id(number), {"title": track.title}, native.fingerprint(track.pcm))


def _id(number: int) -> bytes:
    return number.to_bytes(segments.ID_BYTES, "big")


def _queries(versions: dict[float | None, Stretch], known: Sequence[Track]) -> Iterator[_Query]:
    every = limits.TRIGGER_FINGERPRINT_WORD_STEPS
    for snr_db, stretch in versions.items():
        words = native.fingerprint(stretch.pcm).every(every)
        per_second = native.SAMPLE_RATE_HZ / (every * native.STEP_SAMPLES)
        first = int(LEAD_IN_S * per_second)
        group = known[stretch.track].group
        same = [number for number, track in enumerate(known) if track.group == group and number != stretch.track]
        for seconds in LENGTHS_S:
            heard = words.between(first, first + int(seconds * per_second))
            yield _Query(
                f"{seconds}s_{snr_db:.0f}dB",
                tuple(map(_id, [stretch.track, *same])),
                stretch.start_sample / native.SAMPLE_RATE_HZ * per_second,
                media_search.Query(heard.bits, heard.reliable, stride=_STRIDE, min_bits=_MIN_BITS),
            )


def _whole(references: Sequence[Recording], work: Path) -> Callable[[_Query], tuple[bytes, float, float] | None]:
    """Comparing every place."""
    path = work / "known.segment"
    segments.write(path, references, bucket_bits=0)
    known = segments.Segment(path)
    path.unlink()

    def search(query: _Query) -> tuple[bytes, float, float] | None:
        found = known.searchable.search(query.wanted, most=1)
        if not found:
            return None
        number, phase = divmod(found[0].row, len(media_search.PHASES))
        return references[number].media_id, found[0].offset + phase * _WORDS_PER_PHASE, found[0].z

    return search


def _ask(
    search: Callable[[_Query], tuple[bytes, float, float] | None], queries: Sequence[_Query]
) -> tuple[dict[str, list[int]], list[tuple[float, float]]]:
    """Return for each cell how many queries are found, at their place and over the bar, of how many; and seconds.

    Of each query: by the clock, and those that this thread was running.
    """
    counts: dict[str, list[int]] = {}
    times = []
    for query in queries:
        began, began_busy = time.perf_counter(), time.thread_time()
        found = search(query)
        times.append((time.perf_counter() - began, time.thread_time() - began_busy))
        cell = counts.setdefault(query.cell, [0, 0])
        cell[1] += 1
        if found is not None:
            media_id, offset, z = found
            cell[0] += (
                media_id in query.media_ids
                and z >= MIN_Z
                and (media_id != query.media_ids[0] or abs(offset - query.offset) <= _PLACE_TOLERANCE_WORDS)
            )
    return counts, times


def _measure_size(
    folder: Path,
    clips: int,
    clip_seconds: float,
    sources: Sequence[native.Words],
    references: Sequence[Recording],
    queries: Sequence[_Query],
) -> SizeFigures:
    figures = SizeFigures(clips)
    store = Store(folder)
    path = folder / "bulk.part"
    figures.skew = _write(path, clips, round(clip_seconds * _WORDS_PER_SECOND), sources, references)
    store.adopt(path)
    opened = next(store.entries()).segment
    figures.words = len(opened.words)
    figures.index_bytes = store.size_bytes
    seconds = sum(len(each.words[0]) for each in references) / _WORDS_PER_SECOND
    figures.hours = ((clips - len(references)) * clip_seconds + seconds) / 3600
    figures.bytes_per_hour = round(figures.index_bytes / figures.hours)

    _time(figures, store, queries)
    figures.resident_bytes = _resident_bytes()
    return figures


def _time(figures: SizeFigures, store: RecordingStore, queries: Sequence[_Query]) -> None:
    """Ask a store, and note what it finds and how long that takes."""

    def search(query: _Query) -> tuple[bytes, float, float] | None:
        found = store.search(query.wanted)
        if not found:
            return None
        best = found[0]
        return bytes.fromhex(best.stored.media_id), best.place.offset + best.phase * _WORDS_PER_PHASE, best.place.z

    _ask(search, queries[: len(queries) // 4])  # the pages that queries use most are in memory then
    figures.found, times = _ask(search, queries)
    figures.recall = {cell: round(found / asked, 4) for cell, (found, asked) in figures.found.items()}
    figures.recall_intervals = _intervals(figures.found)
    figures.query_ms, figures.query_cpu_ms = (
        {name: round(float(np.quantile(column, q)) * 1000, 3) for name, q in _QUANTILES.items()}
        for column in zip(*times, strict=True)
    )


def _measure_postgres(folder: Path, of_files: SizeFigures, queries: Sequence[_Query]) -> SizeFigures:
    """Take the recordings of an index in files over into a database, and ask it the same."""
    import psycopg

    from cloud.media.store_postgres import PostgresStore

    figures = SizeFigures(of_files.clips, of_files.hours, of_files.words)
    segment = next(Store(folder).entries()).segment
    with postgres_server(folder / "postgres") as server:
        url = server.url()
        store = PostgresStore(url)
        began = time.monotonic()
        for start in range(0, len(segment), _ADDED_AT_ONCE):
            numbers = range(start, min(len(segment), start + _ADDED_AT_ONCE))
            store.add([segment.recording(number) for number in numbers])
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")  # the test cluster has no autovacuum, which does it elsewhere
            figures.filled_s = round(time.monotonic() - began, 1)
            (size,) = connection.execute("SELECT pg_database_size(current_database())").fetchone() or (0,)
        figures.index_bytes, figures.bytes_per_hour = size, round(size / figures.hours)
        before_s = cpu_s(store.backend_pid)
        _time(figures, store, queries)
        asked = len(queries) + len(queries) // 4
        figures.database_cpu_ms = round((cpu_s(store.backend_pid) - before_s) / asked * 1000, 3)
        store.close()
    figures.resident_bytes = _resident_bytes()
    return figures


def _write(
    path: Path, clips: int, length: int, sources: Sequence[native.Words], references: Sequence[Recording]
) -> dict[str, float]:
    """Write a segment of the known recordings and as many made clips as are missing; return the skew of its keys."""
    count = clips - len(references)
    rows = [row for each in references for row in each.words]
    flags = [row for each in references for row in each.is_key]
    phases = len(media_search.PHASES)
    starts = media_search.pack_starts([*map(len, rows), *[length] * (phases * count)])
    words, is_key = np.zeros(int(starts[-1]), np.uint32), np.zeros(int(starts[-1]), bool)
    for number, (row, row_flags) in enumerate(zip(rows, flags, strict=True)):
        where = slice(*media_search.row_bounds(starts, number))
        words[where], is_key[where] = row, row_flags
    first = int(starts[len(rows)]) // media_search.LINE_WORDS * media_search.LINE_WORDS
    shape = (count, phases, -1)
    make_clips(
        words[first:].reshape(shape)[:, :, :length],
        is_key[first:].reshape(shape)[:, :, :length],
        sources,
        np.random.default_rng(SEED),
    )
    segments.write_arrays(
        path,
        words,
        is_key,
        starts,
        b"".join(_id(number) for number in range(clips)),
        [b'{"title":"%d"}' % number for number in range(clips)],
    )
    return _skew(words[is_key])


def make_clips(
    words: WordArray,
    is_key: npt.NDArray[np.bool_],
    sources: Sequence[native.Words],
    rng: np.random.Generator,
) -> None:
    """Fill the words of clips, uint32[clips, 2, length], with real ones, and choose their keys."""
    count, phases, length = words.shape
    steps = media_search.STEPS_PER_WORD * length + phases
    long_enough = [each for each in sources if len(each.bits) >= steps]
    if not long_enough:
        raise HarkenError(f"no recording lasts {length / _WORDS_PER_SECOND:.0f} s: make clips shorter")
    places = np.array([len(each.bits) - steps + 1 for each in long_enough], float)
    of_source = rng.choice(len(long_enough), count, p=places / places.sum())
    within = np.array(media_search.PHASES)[:, None] + media_search.STEPS_PER_WORD * np.arange(length)
    for number in np.unique(of_source):
        clips = np.flatnonzero(of_source == number)
        source = long_enough[number]
        at = rng.integers(0, int(places[number]), len(clips))[:, None, None] + within
        reliable = source.reliable[at]
        words[clips] = source.bits[at] ^ _flips(reliable, rng)
        is_key[clips] = media_search.choose_keys(reliable)


def _flips(reliable: WordArray, rng: np.random.Generator) -> WordArray:
    often, seldom = (_random_bits(p, reliable.shape, rng) for p in (FLIPPED_UNRELIABLE, FLIPPED_RELIABLE))
    return (often & ~reliable) | (seldom & reliable)


def _random_bits(probability: float, shape: tuple[int, ...], rng: np.random.Generator) -> WordArray:
    """Words whose bits are 1 with this probability, to 1/64: a comparison with a random number, bit by bit."""
    bits = np.zeros(shape, np.uint32)
    for digit in range(6):
        random = rng.integers(0, 2**32, shape, dtype=np.uint32)
        bits = bits | random if (round(probability * 64) >> digit) & 1 else bits & random
    return bits


def _real_keys(sources: Sequence[native.Words]) -> WordArray:
    """The words of real recordings that would have a key."""
    rows = [np.stack(segments.rows_of(words.bits)) for words in sources]
    chosen = [media_search.choose_keys(np.stack(segments.rows_of(words.reliable))) for words in sources]
    return np.concatenate([words[is_key] for words, is_key in zip(rows, chosen, strict=True)])


def _skew(words: WordArray) -> dict[str, float]:
    """How unevenly words with a key fill 65,536 buckets, which their lower 16 bits name.

    `fullest_percent`: the share of words in the fullest hundredth of the buckets. `times_even`: how many words share a
    word's bucket, beside how many would if all were filled alike.
    """
    counts = np.bincount(words & np.uint32(0xFFFF), minlength=1 << 16).astype(float)
    total = counts.sum()
    return {
        "fullest_percent": round(float(np.sort(counts)[-len(counts) // 100 :].sum() / total), 4),
        "times_even": round(float((counts * (counts - 1)).sum() / total / (total - 1) * len(counts)), 2),
    }


def _resident_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0
