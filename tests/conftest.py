"""Fixtures that tests of several folders use."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import core_driver
from tools.engines import PostgresServer, S3Address, find_programs, postgres_server, s3_server


@pytest.fixture(scope="session")
def core_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The core's contracts in C, compiled with sanitizers."""
    return core_driver.build(tmp_path_factory.mktemp("core_driver"))


@pytest.fixture(scope="module")
def core(core_program: Path) -> Iterator[core_driver.CoreDriver]:
    """A running core; an overflow in it fails the test that caused it."""
    driver = core_driver.CoreDriver(core_program)
    yield driver
    driver.close()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A PostgreSQL of this test run's own; `postgres.migrated_url()` is a new database with our tables."""
    if find_programs() is None:
        pytest.skip("PostgreSQL is not installed")
    with postgres_server(tmp_path_factory.mktemp("postgres"), is_durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Address]:
    """A store that speaks S3, of this test run's own."""
    pytest.importorskip("moto")
    pytest.importorskip("s3fs")
    with s3_server() as address:
        yield address
