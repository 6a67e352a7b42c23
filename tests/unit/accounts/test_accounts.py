from datetime import timedelta

import pytest
from sqlalchemy import func, select

from cloud.accounts import homes, login, secrets
from cloud.accounts.models import ADMIN, USER, Account, ApiToken, EntryLink, LoginSession, User
from cloud.accounts.reach import Filter, Place, Reach
from cloud.history.models import AuditLine, Device, Event
from cloud.history.store import delete_event
from edge.errors import HarkenError
from tests.unit.accounts.conftest import NOW
from tests.unit.cloud.test_history import event_row


def test_the_first_run_makes_an_admin_once(history, first):
    assert first.user == "admin"
    with history.transaction() as session:
        user = login.check_password(session, "admin", first.password)
        assert (user.role, user.must_change_password) == (ADMIN, True)
        assert homes.first_run(session, NOW) is None


def test_what_there_was_before_accounts_belongs_to_the_first_home(history):
    with history.transaction() as session:
        session.add(event_row())
        session.add(Device(device_id="kitchen", first_seen_at=NOW, last_seen_at=NOW))
    with history.transaction() as session:
        homes.first_run(session, NOW)
    with history.reading() as session:
        (home,) = session.scalars(select(Account.id))
        assert session.scalar(select(Event.account_id)) == home
        assert session.get(Device, "kitchen").account_id == home


@pytest.mark.parametrize("password", ["", "wrong", "admin"])
def test_a_wrong_password_signs_nobody_in(history, first, password):
    with history.reading() as session:
        assert login.check_password(session, "admin", password) is None
        assert login.check_password(session, "nobody", first.password) is None


def test_no_secret_is_kept_as_it_is(history, first):
    with history.transaction() as session:
        user = homes.find_user(session, "admin")
        tokens = [
            login.open_session(session, user, NOW),
            homes.make_entry_link(session, user, NOW),
            login.make_api_token(session, user.id, "script", False, NOW),
            homes.make_claim_code(session, "kitchen", NOW),
            first.password,
        ]
    with history._engine.connect() as connection:
        kept = "\n".join(connection.connection.driver_connection.iterdump())
    assert "argon2id" in kept
    assert not [token for token in tokens if token in kept]


def test_a_session_ends_when_it_is_closed_or_old(history, first):
    assert first
    with history.transaction() as session:
        user = homes.find_user(session, "admin")
        token, other = login.open_session(session, user, NOW), login.open_session(session, user, NOW)
        assert login.viewer_of_session(session, token, NOW).name == "admin"
        assert login.viewer_of_session(session, token, NOW + login.SESSION_LIFE + timedelta(seconds=1)) is None
        assert login.viewer_of_session(session, "", NOW) is None
        login.close_session(session, token)
        assert login.viewer_of_session(session, token, NOW) is None
        login.close_other_sessions(session, user.id, "another")
        assert login.viewer_of_session(session, other, NOW) is None


def test_a_link_signs_in_once_and_soon(history, first):
    assert first
    with history.transaction() as session:
        user = homes.find_user(session, "admin")
        soon, late = homes.make_entry_link(session, user, NOW), homes.make_entry_link(session, user, NOW)
        assert login.use_entry_link(session, soon, NOW).name == "admin"
        assert login.use_entry_link(session, soon, NOW) is None
        assert login.use_entry_link(session, late, NOW + homes.LINK_LIFE * 2) is None


def test_removing_a_person_takes_their_keys_with_them(history, first):
    assert first
    with history.transaction() as session:
        home = homes.find_home(session, homes.FIRST_HOME)
        homes.add_user(session, "ada", home, USER, NOW)
        ada = homes.find_user(session, "ada")
        login.open_session(session, ada, NOW)
        homes.make_entry_link(session, ada, NOW)
        login.make_api_token(session, ada.id, "script", True, NOW)
        homes.remove_user(session, ada)
    with history.reading() as session:
        for table in (LoginSession, EntryLink, ApiToken):
            assert session.scalar(select(func.count()).select_from(table)) == 0
        with pytest.raises(HarkenError, match="last admin"):
            homes.remove_user(session, homes.find_user(session, "admin"))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda session, home: homes.add_user(session, "admin", home, USER, NOW), "already"),
        (lambda session, home: homes.add_user(session, "", home, USER, NOW), "cannot be used"),
        (lambda session, home: homes.add_user(session, "<b>", home, USER, NOW), "cannot be used"),
        (lambda session, home: homes.add_user(session, "ada", home, "king", NOW), "no role"),
        (lambda session, _: homes.add_home(session, homes.FIRST_HOME, NOW), "already"),
        (lambda session, _: homes.find_home(session, "elsewhere"), "there are home"),
        (lambda session, _: homes.find_user(session, "nobody"), "nobody called"),
        (lambda *_: secrets.hash_password("short"), "5 characters"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(history, first, make, said):
    assert first
    with history.reading() as session, pytest.raises(HarkenError, match=said):
        make(session, homes.find_home(session, homes.FIRST_HOME))


def test_a_device_is_the_only_homes_until_there_is_a_second(history, first):
    assert first
    with history.transaction() as session:
        home = homes.find_home(session, homes.FIRST_HOME)
        assert homes.sole_home(session) == home.id
        homes.add_home(session, "next door", NOW)
        assert homes.sole_home(session) is None


def test_a_code_claims_one_device_once(history, first):
    assert first
    with history.transaction() as session:
        home, other = homes.find_home(session, homes.FIRST_HOME), homes.add_home(session, "next door", NOW)
        code = homes.make_claim_code(session, "kitchen", NOW)
        with pytest.raises(HarkenError, match="does not claim"):
            homes.claim_device(session, "attic", code, home, NOW)
        with pytest.raises(HarkenError, match="does not claim"):
            homes.claim_device(session, "kitchen", code, home, NOW + homes.CLAIM_LIFE * 2)
        assert homes.claim_device(session, "kitchen", code.upper(), home, NOW).account_id == home.id
        with pytest.raises(HarkenError, match="does not claim"):
            homes.claim_device(session, "kitchen", code, other, NOW)
        with pytest.raises(HarkenError, match="release it first"):
            homes.make_claim_code(session, "kitchen", NOW)


def test_a_new_owner_does_not_reach_what_was_heard_before(history, first):
    assert first
    with history.transaction() as session:
        mine, theirs = homes.find_home(session, homes.FIRST_HOME), homes.add_home(session, "next door", NOW)
        homes.assign_device(session, "kitchen", mine, NOW)
        row = event_row()
        row.account_id = mine.id
        session.add(row)
        session.flush()
        homes.assign_device(session, "kitchen", theirs, NOW)
        assert Reach(theirs.id).device(session, "kitchen") is not None
        assert Reach(theirs.id).event(session, row.event_id) is None
        assert Reach(mine.id).event(session, row.event_id) is row
        assert Reach(mine.id).device(session, "kitchen") is None


def test_nobody_reaches_what_belongs_to_nobody(history, first):
    assert first
    with history.transaction() as session:
        session.add(event_row())
        session.flush()
        home = session.scalar(select(User.account_id))
        assert Reach(home).events(session, Filter(), limit=9) == []
        assert Reach(home).event(session, event_row().event_id) is None


def rows_of(session, account_id, count):
    for number in range(count):
        row = event_row(f"{number:032x}")
        row.account_id = account_id
        row.received_at = NOW + timedelta(seconds=number // 3)  # three share each time
        row.verdict = "confirmed" if number % 2 else None
        session.add(row)
    session.flush()


def test_pages_by_place_hold_every_row_once_in_both_directions(history, first):
    assert first
    with history.transaction() as session:
        rows_of(session, 1, 25)
        reach, seen, after = Reach(1), [], None
        while rows := reach.events(session, Filter(), after=after, limit=4):
            seen += [row.event_id for row in rows]
            after = Place(rows[-1].received_at, rows[-1].event_id)
        assert seen == [f"{number:032x}" for number in reversed(range(25))]
        before = Place(NOW + timedelta(seconds=4), f"{12:032x}")
        assert [row.event_id for row in reach.events(session, Filter(), before=before, limit=3)] == [
            f"{number:032x}" for number in (15, 14, 13)
        ]


def test_filters_stay_inside_a_home(history, first):
    assert first
    with history.transaction() as session:
        rows_of(session, 1, 10)
        chosen = Filter(verdict="confirmed", since=NOW + timedelta(seconds=1), until=NOW + timedelta(seconds=3))
        assert [int(row.event_id, 16) for row in Reach(1).events(session, chosen, limit=99)] == [7, 5, 3]
        assert Reach(1).count(session, chosen) == 3
        assert Reach(2).count(session, Filter()) == 0
        assert Reach(1).verdict_counts(session) == {"confirmed": 5, "pending": 5}
        assert Reach(2).verdict_counts(session) == {}


def test_the_line_of_a_deletion_is_its_homes_own(history, first):
    assert first
    with history.transaction() as session:
        rows_of(session, 1, 1)
        delete_event(session, f"{0:032x}", NOW)
        session.flush()
        assert [line.account_id for line in Reach(1).audit_lines(session, 9)] == [1]
        assert Reach(2).audit_lines(session, 9) == []
        assert session.scalar(select(func.count()).select_from(AuditLine)) == 1
