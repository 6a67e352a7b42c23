import pytest

from tests.faults.people import Telephone


@pytest.fixture
def telephone():
    told = Telephone()
    yield told
    told.close()
