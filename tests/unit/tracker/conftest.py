"""One compiled copy of the tracker for all tests of a run."""

import pytest

from tests.unit.tracker import library


@pytest.fixture(scope="session")
def core(tmp_path_factory: pytest.TempPathFactory) -> library.Core:
    return library.build(tmp_path_factory.mktemp("tracker"))
