"""Signing in by password: who guesses is locked out, and learns nothing; sessions end."""

import logging
import os
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from axes.models import AccessAttempt
from django.conf import LazySettings
from django.contrib.auth import SESSION_KEY
from django.core.checks import run_checks
from django.db import connection
from django.http import HttpRequest
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from imessage_hub.sign_in.attempts import client_address
from imessage_hub.sign_in.sessions import SEEN
from routing.models import User
from tests.admin.world import World, sign_in, url
from tests.factories import PASSWORD, make_user

LOGIN = "/admin/login/"
WRONG = "wrong"


def attempt(username: str, password: str = WRONG, *, address: str = "203.0.113.7", **headers: str) -> Any:
    """One try from the address, in a browser of its own."""
    data = {"username": username, "password": password}
    return Client().post(LOGIN, data, REMOTE_ADDR=address, headers=headers)


def lock(username: str, *, address: str = "203.0.113.7") -> Any:
    """Five wrong tries; the answer to the last."""
    return [attempt(username, address=address) for _ in range(5)][-1]


# --- the lock ---------------------------------------------------------------------------------------------------------


def test_the_fifth_failure_locks_and_says_for_how_long(ours: World) -> None:
    for _ in range(4):
        answer = attempt(ours.agent.username)
        assert answer.status_code == 200
        assert b"Too many" not in answer.content
    answer = attempt(ours.agent.username)
    assert answer.status_code == 429
    assert b"Too many tries. Wait 15 minutes, then try again." in answer.content
    assert 895 <= int(answer["Retry-After"]) <= 900
    assert b'name="password"' in answer.content
    right = attempt(ours.agent.username, PASSWORD)
    assert right.status_code == 429
    assert SESSION_KEY not in right.client.session


def test_the_lock_is_on_the_name_and_the_address_together(ours: World) -> None:
    lock(ours.agent.username)
    assert attempt(ours.viewer.username, PASSWORD).status_code == 302
    assert attempt(ours.agent.username, PASSWORD, address="203.0.113.8").status_code == 302


def test_an_absent_user_is_locked_like_one_that_exists(ours: World) -> None:
    for name in (ours.agent.username, "nobody-at-all"):
        told = [attempt(name) for _ in range(6)]
        assert [answer.status_code for answer in told] == [200, 200, 200, 200, 429, 429], name
    words = {str(attempt(name).context["form"].non_field_errors()) for name in (ours.agent.username, "nobody-at-all")}
    assert len(words) == 1


def test_spelling_and_browser_make_no_new_attempts(ours: World) -> None:
    spellings = [ours.agent.username, ours.agent.username.upper(), f" {ours.agent.username}", "ａgent-ours"]
    for number, name in enumerate([*spellings, ours.agent.username]):
        answer = attempt(name, **{"User-Agent": f"browser {number}"})
    assert answer.status_code == 429


def test_a_right_password_of_who_may_not_come_in_counts_like_a_wrong_one(db: None) -> None:
    user = make_user(is_staff=False)
    statuses = [attempt(user.username, PASSWORD).status_code for _ in range(6)]
    assert statuses == [200, 200, 200, 200, 429, 429]


def test_the_lock_ends_and_tries_during_it_prolong_nothing(ours: World) -> None:
    now = timezone.now()
    with time_machine.travel(now, tick=False):
        lock(ours.agent.username)
    with time_machine.travel(now + timedelta(minutes=10), tick=False):
        assert b"Wait 5 minutes" in attempt(ours.agent.username, PASSWORD).content
    with time_machine.travel(now + timedelta(minutes=15, seconds=1), tick=False):
        assert attempt(ours.agent.username, PASSWORD).status_code == 302


def test_a_sign_in_forgets_the_failures_before_it(ours: World) -> None:
    for _ in range(3):
        for _ in range(4):
            assert attempt(ours.agent.username).status_code == 200
        assert attempt(ours.agent.username, PASSWORD).status_code == 302


def test_spraying_from_one_address_is_locked_whatever_the_name(ours: World, settings: LazySettings) -> None:
    settings.HUB_SIGN_IN_WIDE_LIMIT = 8
    for number in range(7):
        assert attempt(f"guess{number}").status_code == 200
    # One's own right password between them does not reset what the address did.
    assert attempt(ours.viewer.username, PASSWORD).status_code == 302
    assert attempt("guess7").status_code == 429
    assert attempt(ours.agent.username, PASSWORD).status_code == 429
    assert attempt(ours.agent.username, PASSWORD, address="203.0.113.8").status_code == 302


def test_guessing_one_name_from_many_addresses_is_locked(ours: World, settings: LazySettings) -> None:
    settings.HUB_SIGN_IN_WIDE_LIMIT = 8
    for number in range(8):
        answer = attempt(ours.agent.username, address=f"203.0.113.{number}")
    assert answer.status_code == 429
    assert attempt(ours.agent.username, PASSWORD, address="198.51.100.1").status_code == 429
    assert attempt(ours.viewer.username, PASSWORD, address="198.51.100.1").status_code == 302


def test_what_was_typed_is_kept_nowhere(ours: World, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        Client().post(f"{LOGIN}?next=/secret-query/", {"username": "my-pass-phrase", "password": "typed-password"})
        lock(ours.agent.username)
    rows = repr(list(AccessAttempt.objects.values()))
    told = rows + "".join(record.getMessage() for record in caplog.records if "db.backends" not in record.name)
    for word in ("my-pass-phrase", "typed-password", "secret-query", ours.agent.username):
        assert word not in told


def test_old_failures_are_cleared_away(ours: World) -> None:
    with time_machine.travel(timezone.now() - timedelta(minutes=16)):
        attempt("somebody")
    attempt("another")
    assert AccessAttempt.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_the_lock_holds_in_every_process(ours: World) -> None:
    lock(ours.agent.username, address="127.0.0.1")
    script = (
        "import django; django.setup()\n"
        "from django.db import connection\n"
        f"connection.settings_dict['NAME'] = {str(connection.settings_dict['NAME'])!r}\n"
        "from django.test import Client\n"
        f"data = {{'username': {ours.agent.username!r}, 'password': {PASSWORD!r}}}\n"
        f"print(Client(headers={{'host': 'localhost'}}).post('{LOGIN}', data).status_code)\n"
    )
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings", "HUB_LOG_LEVEL": "ERROR"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "429"


# --- whose address ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("proxies", "forwarded", "expected"),
    [
        (0, "198.51.100.9", "10.0.0.1"),
        (1, "198.51.100.9", "198.51.100.9"),
        (1, "6.6.6.6, 198.51.100.9", "198.51.100.9"),  # what the client wrote itself is not believed
        (2, "6.6.6.6, 198.51.100.9, 10.0.0.2", "198.51.100.9"),
        (2, "198.51.100.9", "10.0.0.1"),
        (1, "", "10.0.0.1"),
        (1, "odd", None),
        (1, "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        (1, "::ffff:198.51.100.9", "198.51.100.9"),
    ],
)
def test_the_address_is_what_the_outermost_proxy_saw(
    proxies: int, forwarded: str, expected: str | None, settings: LazySettings
) -> None:
    settings.HUB_PROXY_COUNT = proxies
    request = HttpRequest()
    request.META = {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": forwarded}
    assert client_address(request) == expected


def test_a_request_without_an_address_is_counted_too(ours: World) -> None:
    assert lock(ours.agent.username, address="").status_code == 429


@pytest.mark.parametrize(
    ("name", "value", "finding"),
    [("HUB_PROXY_COUNT", -1, "hub.E005"), ("HUB_SESSION_IDLE", timedelta(), "hub.E004")],
)
def test_odd_settings_are_told_at_start(name: str, value: Any, finding: str, settings: LazySettings) -> None:
    setattr(settings, name, value)
    assert finding in {check.id for check in run_checks()}


# --- sessions ---------------------------------------------------------------------------------------------------------


def at(minutes: float) -> Any:
    """The clock so many minutes from now."""
    return time_machine.travel(timezone.now() + timedelta(minutes=minutes))


def test_a_session_ends_when_nothing_is_done(ours: World) -> None:
    client = sign_in(ours.agent)
    for minutes in (25, 50, 75):  # each within the limit of the one before
        with at(minutes):
            assert client.get(url("contact")).status_code == 200
    with at(106):
        answer = client.get(url("contact"), follow=True)
    assert answer.redirect_chain[0][0].startswith(LOGIN)
    assert b"Nothing was done for 30 minutes" in answer.content
    assert SESSION_KEY not in client.session


def test_a_session_ends_after_half_a_day_whatever_is_done(ours: World) -> None:
    client = sign_in(ours.agent)
    for minutes in range(20, 12 * 60, 20):
        with at(minutes):
            assert client.get(url("contact")).status_code == 200
    with at(12 * 60):
        answer = client.get(url("contact"), follow=True)
    assert b"half a day" in answer.content


def test_a_page_that_asks_by_itself_keeps_nobody_signed_in(ours: World) -> None:
    client = sign_in(ours.agent)
    for minutes in (10, 20, 29):
        with at(minutes):
            assert client.get(url("contact"), headers={"X-Hub-Background": "1"}).status_code == 200
    with at(31):
        assert client.get(url("contact")).status_code == 302


def test_a_session_is_written_once_a_minute_at_most(ours: World) -> None:
    client = sign_in(ours.agent)

    def writes() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert client.get(url("contact")).status_code == 200
        return sum('UPDATE "django_session"' in query["sql"] for query in queries)

    assert [writes() for _ in range(3)] == [0, 0, 0]
    with at(2):
        assert [writes(), writes()] == [1, 0]


def test_the_docs_session_ends_too(ours: World) -> None:
    client = sign_in(ours.agent)
    assert client.get("/api/v1/contacts/").status_code == 200
    with at(31):
        assert client.get("/api/v1/contacts/").status_code == 401


def test_requests_of_programs_look_at_no_session(ours: World) -> None:
    with CaptureQueriesContext(connection) as queries:
        Client().get("/api/v1/contacts/", headers={"Authorization": "Bearer nothing"})
    assert not any("django_session" in query["sql"] for query in queries)


def test_signing_out_everywhere_ends_every_session(ours: World) -> None:
    here, there, other = sign_in(ours.agent), sign_in(ours.agent), sign_in(ours.viewer)
    answer = here.post("/admin/account/sign-out/", follow=True)
    assert b"signed out everywhere" in answer.content
    assert there.get(url("contact")).status_code == 302
    assert here.get(url("contact")).status_code == 302
    assert other.get(url("contact")).status_code == 200
    assert sign_in(User.objects.get(pk=ours.agent.pk)).get(url("contact")).status_code == 200
    assert sign_in(ours.viewer).get("/admin/account/sign-out/").status_code == 405


def test_a_new_password_ends_the_other_sessions(ours: World) -> None:
    here, there = sign_in(ours.agent), sign_in(ours.agent)
    data = {"old_password": PASSWORD, "new_password1": "another long phrase", "new_password2": "another long phrase"}
    assert here.post("/admin/password_change/", data).status_code == 302
    assert here.get(url("contact")).status_code == 200
    assert there.get(url("contact")).status_code == 302


def test_a_session_without_a_beginning_gets_one(ours: World) -> None:
    client = sign_in(ours.agent)
    session = client.session
    del session[SEEN]
    session.save()
    assert client.get("/admin/account/").status_code == 200
    assert SEEN in client.session


# --- one's own account ------------------------------------------------------------------------------------------------


def test_ones_own_name_and_address_are_changed_and_nothing_else(ours: World) -> None:
    client = sign_in(ours.agent)
    assert b'href="/admin/account/"' in client.get("/admin/").content
    good = {"first_name": "Morgan", "last_name": "Lee", "email": "m@example.com"}
    forged = {"is_superuser": "on", "username": "root", "session_epoch": "7", "is_staff": ""}
    assert client.post("/admin/account/", good | forged).status_code == 302
    user = User.objects.get(pk=ours.agent.pk)
    assert (user.first_name, user.last_name, user.email) == ("Morgan", "Lee", "m@example.com")
    assert (user.username, user.is_superuser, user.is_staff, user.session_epoch) == ("agent-ours", False, True, 0)
    assert b"errorlist" in client.post("/admin/account/", good | {"email": "no address"}).content
    assert Client().get("/admin/account/")["Location"].startswith(LOGIN)
