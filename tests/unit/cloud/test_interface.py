"""The JSON interface holds to its own description, whatever it is sent."""

import logging
import threading

import pytest

from cloud.accounts import homes, login

schemathesis = pytest.importorskip("schemathesis", reason="no schemathesis: make setup installs it")

CASES_PER_OPERATION = 12


@pytest.fixture
def interface(pages, app, browser, confirmed):  # noqa: ARG001 - there is something to read and to delete
    with pages.history.transaction() as session:
        user = homes.find_user(session, homes.FIRST_ADMIN)
        token = login.make_api_token(session, user.id, "test", True, pages.now())
    return app, {"Authorization": f"Bearer {token}", "Host": "127.0.0.1"}


def test_it_does_what_it_says(interface, confirmed):
    """Every operation, with made-up values of every kind: no server error, only described statuses and bodies."""
    from hypothesis import HealthCheck, Phase, given, settings

    app, headers = interface
    logging.getLogger("harken").setLevel(logging.ERROR)
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, headers=headers)
    operations = [each.ok() for each in schema.get_all_operations()]
    assert len(operations) >= 11
    tried = 0
    lock = threading.Lock()
    for operation in operations:

        @given(case=operation.as_strategy())
        @settings(
            max_examples=CASES_PER_OPERATION,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def holds(case):
            nonlocal tried
            if "event_id" in case.path_parameters and tried % 2:
                case.path_parameters["event_id"] = confirmed
            case.call_and_validate(headers=headers)
            with lock:
                tried += 1

        holds()
    assert tried >= len(operations) * CASES_PER_OPERATION / 2
