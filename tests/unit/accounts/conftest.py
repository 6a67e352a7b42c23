from datetime import UTC, datetime

import pytest

from cloud.accounts import homes, secrets
from cloud.history.store import History

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="session", autouse=True)
def _quick_hashes():
    """Argon2 with its smallest parameters: what is tested here is not how slow it is."""
    before = secrets._hasher
    secrets._hasher = secrets.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    yield
    secrets._hasher = before


@pytest.fixture
def history(tmp_path):
    opened = History(f"sqlite:///{tmp_path / 'history.sqlite3'}")
    yield opened
    opened.close()


@pytest.fixture
def first(history):
    with history.transaction() as session:
        return homes.first_run(session, NOW)
