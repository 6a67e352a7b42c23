"""Workers that share their triggers in Redis decide as one process does; without Redis everybody is notified."""

import dataclasses
import shutil
import subprocess
import time
import uuid

import pytest

from cloud.broker import free_port
from cloud.media.discovered import DiscoveredCache, entries_of
from cloud.media.window import OwnTriggers, Window, WindowUnavailableError
from cloud.media.window_redis import PARTITIONS, PAUSE_S, DiscoveredRedis, RedisTriggers, decoded, encoded
from edge.errors import HarkenError
from tests.cloud_doubles import music, tone
from tests.unit.cloud.test_window import heard, in_a_home, of_spot, told

redis = pytest.importorskip("redis", reason="the package redis is not installed")

SLOTS_OF_CLUSTER = 16384
IS_INSTALLED = shutil.which("redis-server") is not None
needs_server = pytest.mark.skipif(not IS_INSTALLED, reason="redis-server is not installed: tools/setup.sh full does")


class Server:
    """A redis-server of its own; in cluster mode its bus takes the port 10,000 above."""

    def __init__(self, folder, *, is_cluster: bool) -> None:
        self.port = next(port for port in iter(free_port, 0) if port < 55000)
        settings = {"port": self.port, "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": folder}
        if is_cluster:
            settings |= {"cluster-enabled": "yes", "cluster-config-file": folder / "nodes.conf"}
        arguments = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
        self._process = subprocess.Popen(
            ["redis-server", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.client = redis.Redis(port=self.port)
        give_up_at = time.monotonic() + 10
        while True:
            try:
                self.client.ping()
                return
            except redis.ConnectionError:
                assert time.monotonic() < give_up_at, "redis-server did not start"
                time.sleep(0.02)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Three nodes, each with a third of the slots."""
    servers = [Server(tmp_path_factory.mktemp("node"), is_cluster=True) for _ in range(3)]
    third = -(-SLOTS_OF_CLUSTER // 3)
    for number, server in enumerate(servers):
        last = min((number + 1) * third, SLOTS_OF_CLUSTER) - 1
        server.client.execute_command("CLUSTER ADDSLOTSRANGE", number * third, last)
        server.client.execute_command("CLUSTER MEET", "127.0.0.1", servers[0].port)
    give_up_at = time.monotonic() + 15
    for server in servers:
        while True:
            info = server.client.execute_command("CLUSTER INFO")
            text = info if isinstance(info, dict) else dict(
                line.split(":") for line in info.decode().split("\r\n") if ":" in line
            )  # fmt: skip
            if text["cluster_state"] == "ok" and text["cluster_known_nodes"] == "3":
                break
            assert time.monotonic() < give_up_at, text
            time.sleep(0.05)
    yield f"redis-cluster://127.0.0.1:{servers[0].port}"
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("redis"), is_cluster=False)
    yield f"redis://127.0.0.1:{server.port}"
    server.stop()


def crowd_of_triggers(at_s: float):
    """A broadcast in seven homes, one account with three devices, strangers and alarms among them."""
    triggers = [of_spot(home, at_s=at_s + home / 10) for home in range(7)]
    triggers += [of_spot(20 + n, account="one", at_s=at_s + 1) for n in range(3)]
    triggers += [
        heard(in_a_home(music(6, seed=200 + n), n), f"stranger {n}", at_s=at_s + n / 10) for n in range(4)
    ]
    triggers += [
        heard(in_a_home(tone(6), 50 + n), f"flat {n}", family="alarm", at_s=at_s + 1.5) for n in range(4)
    ]
    return triggers


def decisions(windows, triggers):
    """The triggers that are told, the windows taking turns as workers do."""
    return {each for number, trigger in enumerate(triggers) for each in told(windows[number % len(windows)], trigger)}


@needs_server
@pytest.mark.parametrize("kind", ["single", "cluster"])
def test_two_workers_decide_as_one_process_does(kind, request):
    url, prefix = request.getfixturevalue(kind), uuid.uuid4().hex
    triggers = crowd_of_triggers(time.time())
    alone = Window(OwnTriggers(), slots=256)
    workers = [Window(RedisTriggers(url, prefix=prefix), slots=256) for _ in range(2)]
    expected = decisions([alone], triggers)
    assert decisions(workers, triggers) == expected
    assert len(expected) == 10  # seven homes and three devices of one more
    late = Window(RedisTriggers(url, prefix=prefix), slots=256)  # a worker that is started later knows the window too
    assert told(late, of_spot(40, at_s=time.time())) != set()
    for window in (*workers, late):
        window.close()


@needs_server
def test_a_cluster_spreads_the_window_over_its_nodes(cluster):
    client = redis.RedisCluster.from_url(cluster.replace("redis-cluster", "redis"))
    nodes = {client.get_node_from_key(f"harken:window:{{{n}}}").name for n in range(PARTITIONS)}
    client.close()
    assert len(nodes) == 3


@needs_server
def test_a_redis_that_goes_away_is_an_error_and_comes_back(tmp_path):
    server = Server(tmp_path, is_cluster=False)
    clock = [0.0]
    window = Window(RedisTriggers(f"redis://127.0.0.1:{server.port}", now=lambda: clock[0]), slots=64)
    window.hear(of_spot(1, at_s=time.time()))
    server.stop()
    with pytest.raises(WindowUnavailableError, match="cannot be reached"):
        window.hear(of_spot(2, at_s=time.time()))
    started = time.monotonic()
    with pytest.raises(WindowUnavailableError):
        window.hear(of_spot(3, at_s=time.time()))
    assert time.monotonic() - started < 0.05  # nobody asks again so soon
    clock[0] += PAUSE_S + 1
    with pytest.raises(WindowUnavailableError):
        window.hear(of_spot(3, at_s=time.time()))
    window.close()


@needs_server
@pytest.mark.parametrize("kind", ["single", "cluster"])
def test_what_one_worker_discovers_all_know_and_one_command_forgets(kind, request):
    url, prefix = request.getfixturevalue(kind), uuid.uuid4().hex
    clock = [0.0]

    def worker():
        cache = DiscoveredCache(DiscoveredRedis(url, prefix=prefix), lambda: clock[0])
        return Window(RedisTriggers(url, prefix=prefix), slots=256, discovered=cache)

    one, other = worker(), worker()
    for home in range(4):
        told(one, of_spot(home, at_s=time.time()))
        clock[0] += 2
    alone = of_spot(7, at_s=time.time() + 86400)
    assert told(other, alone) == {alone.event_id}
    store = DiscoveredRedis(url, prefix=prefix)
    (entry,) = entries_of(store)
    store.forget(entry.media_id)
    clock[0] += 2
    assert told(other, of_spot(8, at_s=time.time() + 2 * 86400)) == set()
    assert entries_of(DiscoveredRedis(url, prefix=prefix)) == []
    for window in (one, other):
        window.close()


def test_triggers_pass_unchanged():
    trigger = of_spot(3, account=None, has_cadence=True)
    back = decoded(encoded(trigger))
    assert dataclasses.replace(back, words=trigger.words, tones=trigger.tones) == trigger
    assert all((one == two).all() for one, two in zip(back.words, trigger.words, strict=True))
    assert (back.tones.own == trigger.tones.own).all()
    assert (back.tones.heard == trigger.tones.heard).all()
    assert decoded(encoded(dataclasses.replace(trigger, tones=None))).tones is None


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x83\x01\x02\x03", encoded(of_spot(1))[:-3]])
def test_what_is_no_trigger_is_passed_over(data):
    assert decoded(data) is None


def test_what_is_no_redis_is_refused():
    with pytest.raises(HarkenError, match="write redis://"):
        RedisTriggers("http://127.0.0.1")
