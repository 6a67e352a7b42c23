"""What operators see: metrics, readiness, the log's lines, and what `harken doctor --server` makes of them."""

import io
import json
import logging
import socket
import threading

import pytest
import uvicorn

from cloud.history.models import Rejection
from cloud.observability.logs import JsonLines, Subject, about
from cloud.observability.metrics import Histogram, Metric, exposition, labelled
from edge.errors import HarkenError
from tests.cloud_doubles import Sounds
from tests.unit.cloud.conftest import Browser
from tools import server_doctor
from tools.cli import main


@pytest.fixture
def judged(cloud, kitchen):
    trigger = kitchen.trigger()
    cloud.receive(kitchen, trigger)
    cloud.receive(kitchen, kitchen.clip(trigger))
    cloud.receive_raw("harken/v1/kitchen/trigger", b"\xff")
    cloud.verdict(trigger)
    cloud.until(lambda: cloud.acknowledged == 3)
    return trigger


def test_a_histogram_counts_up_to_each_bound():
    histogram = Histogram((0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7.0):
        histogram.observe(value)
    assert histogram.samples() == ([(0.1, 2), (1.0, 3), (float("inf"), 4)], pytest.approx(7.65))


def test_the_text_is_what_prometheus_reads():
    histogram = Histogram((0.5,))
    histogram.observe(0.25)
    text = exposition(
        [
            labelled("harken_x_total", "counter", "Things.", "cause", {'a "b"\\\n': 2}),
            Metric("harken_s", "histogram", "Seconds.", histogram=histogram),
        ]
    )
    assert text == (
        "# HELP harken_x_total Things.\n# TYPE harken_x_total counter\n"
        'harken_x_total{cause="a \\"b\\"\\\\\\n"} 2\n'
        "# HELP harken_s Seconds.\n# TYPE harken_s histogram\n"
        'harken_s_bucket{le="0.5"} 1\nharken_s_bucket{le="+Inf"} 1\nharken_s_sum 0.25\nharken_s_count 1\n'
    )


@pytest.mark.usefixtures("judged")
def test_metrics_count_verdicts_refusals_and_delays_and_need_no_sign_in(app):
    page = Browser(app).get("/metrics")
    assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = set(page.text.splitlines())
    assert 'harken_verdicts_total{verdict="confirmed"} 1' in lines
    assert 'harken_rejected_messages_total{cause="trigger: malformed"} 1' in lines
    assert "harken_quarantined_messages 1" in lines
    assert "harken_verdict_seconds_count 1" in lines
    assert "harken_receipt_seconds_count 3" in lines
    assert "kitchen" not in page.text  # no word of any home


def test_a_server_without_its_broker_is_not_ready(app, pages):
    assert Browser(app).get("/readyz").json() == {"is_ready": True, "missing": []}
    object.__setattr__(pages, "connection", type("Away", (), {"is_connected": False})())
    answer = Browser(app).get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"is_ready": False, "missing": ["broker"]}


@pytest.mark.usefixtures("judged")
def test_the_quarantine_is_on_the_operations_page(browser):
    page = browser.get("/operations").text
    assert "Quarantine" in page
    assert "harken/v1/kitchen/trigger" in page


@pytest.fixture
def log_lines():
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(Subject())
    handler.setFormatter(JsonLines())
    root = logging.getLogger("harken")
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.removeHandler(handler)
    root.setLevel(level)


def test_log_lines_of_a_verdict_name_their_event(log_lines, cloud, kitchen):
    trigger = kitchen.trigger(clip="none")
    cloud.receive(kitchen, trigger)
    cloud.verdict(trigger)
    (line,) = [line for line in log_lines() if "unverified" in line["message"] and line["logger"] == "harken.steps"]
    assert line["event_id"] == trigger.event_id.hex()
    assert line["device_id"] == "kitchen"
    assert line["level"] == "info"


def test_an_exception_is_one_line_with_its_event(log_lines):
    with about("ab" * 16, "attic"):
        try:
            1 / 0  # noqa: B018
        except ZeroDivisionError:
            logging.getLogger("harken.x").exception("it failed")
    (line,) = log_lines()
    assert line["event_id"] == "ab" * 16
    assert "ZeroDivisionError" in line["exception"]


@pytest.fixture
def address(app):
    """The pages at a port of their own."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            thread.join(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(5)


@pytest.mark.usefixtures("judged")
def test_the_doctor_says_that_a_server_is_well(address, capsys):
    assert main(["doctor", "--server", address]) == 0
    said = capsys.readouterr().out
    assert "ok   readiness: takes triggers" in said
    assert "1 refused, 1 in quarantine, 0 given up" in said


def test_the_doctor_names_what_is_wrong_and_what_to_do(address, cloud, capsys):
    cloud.pipeline.counters.steps_given_up = 2
    for _ in range(10):
        cloud.pipeline.receipt_seconds.observe(20.0)
    assert main(["doctor", "--server", address, "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    wrong = {check["name"]: check for check in report["checks"] if not check["is_well"]}
    assert set(wrong) == {"receipts", "messages"}
    assert all(check["remedy"] for check in wrong.values())


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "ftp://x", "nowhere"])
def test_the_doctor_says_where_no_server_is(url):
    with pytest.raises(HarkenError):
        server_doctor.examine(url)


def test_hostile_causes_stay_one_line_of_metrics(cloud, app):
    with cloud.history.transaction() as session:
        session.add(
            Rejection(cause='x"\n', count=1, last_topic="", last_detail="", last_at=cloud.steps.parts.now())
        )
    cloud.receive(Sounds("attic"), Sounds("attic").status())
    assert 'harken_rejected_messages_total{cause="x\\"\\n"} 1' in Browser(app).get("/metrics").text
