"""The log of all workers' triggers in Redis or Redis Cluster: streams that each worker writes to and reads.

There are `PARTITIONS` streams, each with a key tag of its own (`harken:window:{3}`), so that a cluster spreads them
over its nodes; a trigger lies in the one that its event id names. A trigger takes 1 kB; streams are trimmed to what the
window needs and vanish a minute after the last trigger. A worker reads, right after it has written, whatever is new in
all of them: so a trigger sees every trigger that was written before it, whichever worker took that.

Nothing is waited for: a Redis that is away or slow for `TIMEOUT_S` makes the window fail, which notifies; for
`PAUSE_S` nobody asks again.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from dataclasses import fields
from typing import Any
from urllib.parse import urlsplit

import cbor2
import numpy as np

from cloud.media.tones import HzArray, Tones
from cloud.media.window import WINDOW_S, Heard, WindowUnavailableError
from edge import native
from edge.errors import HarkenError

PARTITIONS = 8
TIMEOUT_S = 0.3
PAUSE_S = 5.0
_KEPT_MS = int(2 * WINDOW_S * 1000)
_READ_MOST = 5000
_FIELD = b"t"
_FIELDS = tuple(each.name for each in fields(Heard) if each.name not in ("words", "tones"))


def _redis_for(url: str) -> Any:
    """Return the package; see `RedisTriggers` for the errors."""
    try:
        import redis
    except ImportError as error:
        raise HarkenError("a window in Redis needs the package redis: pip install 'harken[scale]'") from error
    if urlsplit(url).scheme not in ("redis", "rediss", "redis-cluster"):
        raise HarkenError(f"{url!r} is no Redis: write redis://HOST:PORT, or redis-cluster://HOST:PORT")
    return redis


def _client(redis: Any, url: str) -> Any:
    options = {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S}
    parts = urlsplit(url)
    if parts.scheme != "redis-cluster":
        return redis.Redis.from_url(url, **options)
    return redis.RedisCluster(
        host=parts.hostname or "127.0.0.1",
        port=parts.port or 6379,
        username=parts.username,
        password=parts.password,
        **options,
    )


class RedisTriggers:
    """A `TriggerLog` that workers share. `prefix` keeps installations apart that share a Redis."""

    def __init__(self, url: str, *, prefix: str = "harken", now: Callable[[], float] = time.monotonic) -> None:
        """Name the Redis: `redis://HOST[:PORT]`, or `redis-cluster://HOST[:PORT]` for any node of a cluster.

        Connects at the first trigger, so that a server starts without its Redis.

        Raises:
            HarkenError: the URL is not understood, or the package `redis` is missing.
        """
        self._redis = _redis_for(url)
        self._url = url
        self._now = now
        self._keys = [f"{prefix}:window:{{{number}}}".encode() for number in range(PARTITIONS)]
        self._client: Any = None
        self._read_to: dict[bytes, bytes] = {}
        self._failed_at: float | None = None
        self._cause = ""

    def exchange(self, heard: Heard) -> list[Heard]:
        """Write a trigger and read what is new; see `TriggerLog`."""
        if self._failed_at is not None and self._now() < self._failed_at + PAUSE_S:
            raise WindowUnavailableError(self._cause)
        try:
            if self._client is None:
                self._connect()
            self._write(heard)
            new = self._read()
        except (self._redis.RedisError, OSError) as error:
            self.close()
            self._failed_at = self._now()
            self._cause = f"the window of other homes' triggers cannot be reached ({error or type(error).__name__})"
            raise WindowUnavailableError(self._cause) from error
        self._failed_at = None
        return new

    def close(self) -> None:
        """Let go of the connection; the next trigger makes a new one and reads the window again."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _connect(self) -> None:
        self._client = _client(self._redis, self._url)
        since_ms = int((time.time() - WINDOW_S) * 1000)
        self._read_to = {key: f"{since_ms}-0".encode() for key in self._keys}

    def _write(self, heard: Heard) -> None:
        key = self._keys[zlib.crc32(heard.event_id.encode()) % PARTITIONS]
        oldest_ms = int(time.time() * 1000) - _KEPT_MS
        pipeline = self._client.pipeline(transaction=False)
        pipeline.xadd(key, {_FIELD: encoded(heard)}, minid=str(oldest_ms), approximate=True)
        pipeline.pexpire(key, _KEPT_MS)
        pipeline.execute()

    def _read(self) -> list[Heard]:
        pipeline = self._client.pipeline(transaction=False)
        for key in self._keys:
            pipeline.xrange(key, min=b"(" + self._read_to[key], count=_READ_MOST)
        entries: list[tuple[int, int, Heard]] = []
        for key, found in zip(self._keys, pipeline.execute(), strict=True):
            for entry_id, content in found:
                self._read_to[key] = entry_id
                heard = decoded(content[_FIELD])
                if heard is not None:
                    written_ms, _, serial = entry_id.partition(b"-")
                    entries.append((int(written_ms), int(serial), heard))
        return [heard for _, _, heard in sorted(entries, key=lambda entry: entry[:2])]


class DiscoveredRedis:
    """A `DiscoveredStore` that workers share: one hash, and a number that changes with it."""

    def __init__(self, url: str, *, prefix: str = "harken") -> None:
        """Name the Redis as for `RedisTriggers`; connects when it is first asked.

        Raises:
            HarkenError: as there.
        """
        self._redis = _redis_for(url)
        self._url = url
        self._entries, self._version = f"{prefix}:{{discovered}}:entries", f"{prefix}:{{discovered}}:version"
        self._client: Any = None
        self._seen: bytes | None = None
        self._has_looked = False

    def load(self, *, only_if_changed: bool = False) -> dict[str, bytes] | None:
        """See `DiscoveredStore`."""
        return self._asked(lambda client: self._load(client, only_if_changed))

    def save(self, media_id: str, content: bytes) -> None:
        """See `DiscoveredStore`."""
        self._asked(lambda client: self._change(client, lambda to: to.hset(self._entries, media_id, content)))

    def forget(self, media_id: str) -> None:
        """See `DiscoveredStore`."""
        self._asked(lambda client: self._change(client, lambda to: to.hdel(self._entries, media_id)))

    def _load(self, client: Any, only_if_changed: bool) -> dict[str, bytes] | None:
        version = client.get(self._version)
        if only_if_changed and self._has_looked and version == self._seen:
            return None
        self._seen, self._has_looked = version, True
        return {name.decode(): content for name, content in client.hgetall(self._entries).items()}

    def _change(self, client: Any, write: Callable[[Any], Any]) -> None:
        write(client)
        client.incr(self._version)

    def _asked(self, ask: Callable[[Any], Any]) -> Any:
        try:
            if self._client is None:
                self._client = _client(self._redis, self._url)
            return ask(self._client)
        except self._redis.RedisError as error:
            self._client = None
            raise OSError(str(error) or type(error).__name__) from error


def encoded(heard: Heard) -> bytes:
    """A trigger as CBOR."""
    words = heard.words
    return cbor2.dumps(
        [
            *(getattr(heard, name) for name in _FIELDS),
            words.bits.astype("<u4").tobytes(),
            words.reliable.astype("<u4").tobytes(),
            np.packbits(words.is_usable, bitorder="little").tobytes(),
            None if heard.tones is None else [_packed(heard.tones.own), _packed(heard.tones.heard)],
        ]
    )


def decoded(data: bytes) -> Heard | None:
    """A trigger from CBOR; None for what another version wrote."""
    try:
        *values, bits, reliable, usable, packed = cbor2.loads(data)
        words = np.frombuffer(bits, "<u4").astype(np.uint32)
        is_usable = np.unpackbits(np.frombuffer(usable, np.uint8), bitorder="little")[: len(words)].astype(bool)
        masks = np.frombuffer(reliable, "<u4").astype(np.uint32)
        tones = None if packed is None else Tones(*(_unpacked(*each) for each in packed))
        return Heard(
            **dict(zip(_FIELDS, values, strict=True)), words=native.Words(words, masks, is_usable), tones=tones
        )
    except (ValueError, TypeError, cbor2.CBORDecodeError):
        return None


def _packed(hz: HzArray) -> list[object]:
    return [hz.shape[1], hz.astype("<u2").tobytes()]


def _unpacked(width: int, data: bytes) -> HzArray:
    return np.frombuffer(data, "<u2").reshape(-1, width).astype(np.uint16)
