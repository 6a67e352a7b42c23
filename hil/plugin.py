"""The pytest plugin: `--board`, the fixture `bench`, quarantine, and the page of failures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hil.connections import Bench
    from hil.report import Report
    from hil.strategy import Strategy

DEFAULT_BOARDS = ("host", "qemu:mps2-an386")
BENCH_FIXTURE = "bench"

_strategies = pytest.StashKey[dict[str, "Strategy"]]()
_report = pytest.StashKey["Report"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of a bench."""
    group = parser.getgroup("harken", "hardware in the loop")
    group.addoption(
        "--board",
        action="append",
        default=[],
        metavar="NAME",
        help="a board of the registry: host, qemu:mps2-an386, usb:SERIAL; may be repeated; `all` takes every one "
        f"(default: {', '.join(DEFAULT_BOARDS)})",
    )
    group.addoption("--boards", type=Path, metavar="FILE", help="the bench's registry (default: hil/boards.yaml)")
    group.addoption("--hil-report", type=Path, metavar="DIR", help="where failures' page goes (default: build/hil)")


def pytest_configure(config: pytest.Config) -> None:
    """Begin with no bench open."""
    config.stash[_strategies] = {}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that asks for `bench` on every chosen board."""
    if BENCH_FIXTURE in metafunc.fixturenames:
        metafunc.parametrize("board_name", _chosen(metafunc.config), scope="session")


def _chosen(config: pytest.Config) -> list[str]:
    from edge.errors import HarkenError
    from hil.registry import DEFAULT_REGISTRY, load_registry, select

    try:
        entries = load_registry(config.getoption("--boards") or DEFAULT_REGISTRY)
        names = config.getoption("--board") or list(DEFAULT_BOARDS)
        if names == ["all"]:
            return list(entries)
        return [select(entries, name).name for name in names]
    except HarkenError as error:
        raise pytest.UsageError(str(error)) from None


@pytest.fixture
def bench(board_name: str, request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A board, flashed, linked and with nothing heard yet; see `hil.connections.Bench`."""
    from edge.errors import HarkenError
    from firmware_gen.board import load_board
    from hil.connections import open_bench
    from hil.registry import DEFAULT_REGISTRY, load_registry
    from hil.strategy import QuarantinedError, State, Strategy

    config = request.config
    strategies = config.stash[_strategies]
    if board_name not in strategies:
        entry = load_registry(config.getoption("--boards") or DEFAULT_REGISTRY)[board_name]
        if entry.connection == "local" and (missing := load_board(entry.board).missing_tools()):
            pytest.skip(f"{board_name} needs {', '.join(missing)}: make setup installs it")
        strategies[board_name] = Strategy(open_bench(entry))
    strategy = strategies[board_name]
    try:
        ready = strategy.transition(State.LINKED)
    except QuarantinedError as error:
        pytest.fail(str(error), pytrace=False)
    ready.history.clear()
    ready.log.clear()
    yield ready
    try:
        strategy.off()  # each test begins with a board that has heard nothing
    except HarkenError as error:
        strategy.quarantined = str(error)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Keep the sound and the log of a failure before the bench is let go."""
    report: pytest.TestReport = yield  # type: ignore[misc, assignment]
    if BENCH_FIXTURE in getattr(item, "fixturenames", ()) and (report.when == "call" or report.outcome != "passed"):
        from hil.report import Outcome

        bench = getattr(item, "funcargs", {}).get(BENCH_FIXTURE)
        name = item.callspec.params["board_name"] if hasattr(item, "callspec") else ""
        outcome = Outcome(item.originalname, name, report.outcome, call.duration, report.longreprtext)  # type: ignore[attr-defined]
        _report_of(item.config).add(outcome, bench)
    return report  # type: ignore[return-value]


def _report_of(config: pytest.Config) -> Report:
    from edge import build_core
    from hil.report import Report

    if _report not in config.stash:
        config.stash[_report] = Report(config.getoption("--hil-report") or build_core.build_root() / "hil")
    return config.stash[_report]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let go of every bench and write the page."""
    for strategy in session.config.stash[_strategies].values():
        strategy.off()
    if _report in session.config.stash:
        session.config.stash[_report].write()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say where the page of failures is."""
    if _report in config.stash and any(one.result == "failed" for one in config.stash[_report].outcomes):
        terminalreporter.write_line(f"what the boards heard: {config.stash[_report].folder / 'index.html'}")
