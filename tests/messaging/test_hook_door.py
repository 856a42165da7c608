"""The door for webhooks: who is let in, and that nobody else learns anything."""

import http.client
import io
import json
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import time_machine
from cryptography.fernet import Fernet
from django.db import InterfaceError, OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django.live_server_helper import LiveServer

from messaging import hooks
from provisioning import services as provisioning
from provisioning.fields import Sealed
from provisioning.models import EventOutcome, ProviderEvent, Setup, SetupStatus
from tests.factories import Clinic, make_line, make_location, make_setup
from tests.messaging.conftest import Hub
from tests.messaging.hook_posts import (
    CUSTOMER,
    SECRET,
    apply_due,
    door,
    knock,
    only_event,
    received,
    secret_of,
    sending,
    status,
    tell,
)

MIB = 1024 * 1024
Knock = tuple[str, dict[str, Any]]


def reference() -> Any:
    """The one answer for whoever is not let in: here, for an address that nobody has."""
    return knock("/hooks/sendblue/" + "A" * 43 + "/", received(CUSTOMER), **{SECRET: "B" * 43})


def shown(response: Any) -> tuple[int, bytes, list[tuple[str, str]]]:
    """Everything of an answer that a caller sees."""
    return response.status_code, response.content, sorted(response.items())


def closed(clinic: Clinic) -> Setup:
    """A setup of the clinic that was closed."""
    setup = make_setup(clinic.location)
    Setup.objects.filter(pk=setup.pk).update(status=SetupStatus.CLOSED, closed_at=timezone.now())
    return setup


def signed_with(setup: Setup, secret: str) -> None:
    """Make `secret` the webhook secret."""
    Setup.objects.filter(pk=setup.pk).update(webhook_secret=secret)


def empty_secret(clinic: Clinic) -> Knock:
    signed_with(clinic.setup, "")
    return door(clinic.setup), {SECRET: ""}


def other_setup(clinic: Clinic) -> Setup:
    return make_setup(clinic.other_location)


def token_of_nobody(clinic: Clinic) -> Knock:
    sending(clinic)
    return door(clinic.setup, token="C" * 43), {}


def token_at_another_setup(clinic: Clinic) -> Knock:
    _, begun = sending(clinic)
    return door(other_setup(clinic), token=begun.token), {}


def token_at_a_sibling_setup(clinic: Clinic) -> Knock:
    _, begun = sending(clinic)
    sibling = make_setup(clinic.location)
    make_line(sibling)
    return door(sibling, token=begun.token), {}


def token_of_a_closed_setup(clinic: Clinic) -> Knock:
    _, begun = sending(clinic)
    provisioning.close_setup(setup=clinic.setup, by=None)
    return door(clinic.setup, token=begun.token), {}


def token_and_secret_of_another(clinic: Clinic) -> Knock:
    sending(clinic)
    return door(clinic.setup, token="C" * 43), {SECRET: secret_of(clinic.setup)}


def overdue_rotation(clinic: Clinic) -> Knock:
    old = secret_of(clinic.setup)
    Setup.objects.filter(pk=clinic.setup.pk).update(
        webhook_secret="new",
        previous_webhook_secret=old,
        previous_webhook_secret_until=timezone.now() - timedelta(seconds=1),
    )
    return door(clinic.setup), {SECRET: old}


def at(path: str, **environ: Any) -> Callable[[Clinic], Knock]:
    return lambda clinic: (path.format(key=clinic.setup.webhook_key), environ or {SECRET: secret_of(clinic.setup)})


NOT_LET_IN: dict[str, Callable[[Clinic], Knock]] = {
    "wrong secret": lambda clinic: (door(clinic.setup), {SECRET: "wrong"}),
    "missing secret": lambda clinic: (door(clinic.setup), {}),
    "empty secret": lambda clinic: (door(clinic.setup), {SECRET: ""}),
    "empty secret on both sides": empty_secret,
    "no header where the secret is empty": lambda clinic: (empty_secret(clinic)[0], {}),
    "the word None": lambda clinic: (door(clinic.setup), {SECRET: "None"}),
    "secret with a space": lambda clinic: (door(clinic.setup), {SECRET: f"{secret_of(clinic.setup)} "}),
    "secret twice": lambda clinic: (door(clinic.setup), {SECRET: ",".join([secret_of(clinic.setup)] * 2)}),
    "secret cut": lambda clinic: (door(clinic.setup), {SECRET: secret_of(clinic.setup)[:-1]}),
    "secret in other case": lambda clinic: (door(clinic.setup), {SECRET: secret_of(clinic.setup).swapcase()}),
    "4 KB secret": lambda clinic: (door(clinic.setup), {SECRET: "x" * 4096}),
    "non-ASCII secret": lambda clinic: (door(clinic.setup), {SECRET: "ÿ\xa0\udcff"}),
    "the secret that stands in for none": lambda clinic: (
        "/hooks/sendblue/nobody-has-this/",
        {SECRET: Sealed(hooks._DUMMY).reveal()},
    ),
    "secret in another header": lambda clinic: (
        door(clinic.setup),
        {"HTTP_AUTHORIZATION": f"Bearer {secret_of(clinic.setup)}"},
    ),
    "secret in the query": lambda clinic: (
        f"{door(clinic.setup)}?sb-signing-secret={secret_of(clinic.setup)}",
        {},
    ),
    "the sealed secret": lambda clinic: (
        door(clinic.setup),
        {SECRET: Setup.objects.get(pk=clinic.setup.pk).webhook_secret.token},
    ),
    "the shown secret": lambda clinic: (door(clinic.setup), {SECRET: "[secret]"}),
    "right secret and bad signature": lambda clinic: (
        door(clinic.setup),
        {SECRET: secret_of(clinic.setup), "HTTP_X_SENDBLUE_SIGNATURE": "t=1,v1=00"},
    ),
    "closed setup": lambda clinic: (door(one := closed(clinic)), {SECRET: secret_of(one)}),
    "another setup's secret": lambda clinic: (door(clinic.setup), {SECRET: secret_of(other_setup(clinic))}),
    "secret after the rotation's overlap": overdue_rotation,
    "unknown provider": at("/hooks/unheard-of/{key}/"),
    "provider in other case": at("/hooks/SENDBLUE/{key}/"),
    "provider with NUL": at("/hooks/sendblue%00/{key}/"),
    "provider that is a wildcard": at("/hooks/%25/{key}/"),
    "key with NUL": at("/hooks/sendblue/{key}%00/"),
    "key of NUL": at("/hooks/sendblue/%00/"),
    "overlong key": at("/hooks/sendblue/" + "k" * 20_000 + "/"),
    "key that is no UTF-8": at("/hooks/sendblue/%ff%fe/"),
    "non-ASCII key": at("/hooks/sendblue/kl%C3%BCngel/"),
    "key with a newline": at("/hooks/sendblue/{key}%0A/"),
    "key with a space": at("/hooks/sendblue/{key}%20/"),
    "key in other case": lambda clinic: (
        f"/hooks/sendblue/{clinic.setup.webhook_key.swapcase()}/",
        {SECRET: secret_of(clinic.setup)},
    ),
    "key that is SQL": at("/hooks/sendblue/'%20OR%201=1--/"),
    "key that is nobody's name": at("/hooks/sendblue/nobody/"),
    "token that nobody has": token_of_nobody,
    "token with NUL": at("/hooks/sendblue/{key}/%00/"),
    "overlong token": at("/hooks/sendblue/{key}/" + "t" * 20_000 + "/"),
    "token that is no UTF-8": at("/hooks/sendblue/{key}/%ff/"),
    "token that is nobody's name": at("/hooks/sendblue/{key}/nobody/"),
    "token at another location's setup": token_at_another_setup,
    "token at a sibling setup": token_at_a_sibling_setup,
    "token of a closed setup": token_of_a_closed_setup,
    "wrong token with the right secret": token_and_secret_of_another,
}


@pytest.mark.parametrize("case", NOT_LET_IN)
@pytest.mark.parametrize("body", [b"{}", b"no JSON", b""], ids=["json", "no json", "empty"])
def test_whoever_is_not_let_in_gets_one_answer(clinic: Clinic, case: str, body: bytes) -> None:
    path, environ = NOT_LET_IN[case](clinic)
    answer = knock(path, body, **environ)
    assert shown(answer) == shown(reference())
    assert answer.status_code == 401
    assert answer.json()["code"] == "unauthorized"
    assert not ProviderEvent.objects.exists()


@pytest.mark.parametrize("case", NOT_LET_IN)
def test_whoever_is_not_let_in_costs_one_query(clinic: Clinic, case: str) -> None:
    path, environ = NOT_LET_IN[case](clinic)
    with CaptureQueriesContext(connection) as made:
        knock(path, received(CUSTOMER), **environ)
    assert len(made) == 1


@pytest.mark.parametrize("case", ["wrong secret", "closed setup", "unknown provider", "key with NUL", "overlong key"])
@pytest.mark.parametrize("accept", ["text/html", "application/xml", "", "\xff"])
def test_what_a_caller_would_like_to_read_changes_nothing(clinic: Clinic, case: str, accept: str) -> None:
    path, environ = NOT_LET_IN[case](clinic)
    assert shown(knock(path, b"{}", **environ, HTTP_ACCEPT=accept)) == shown(reference())


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_other_methods_tell_known_from_unknown_no_more(clinic: Clinic, method: str) -> None:
    client = Client(raise_request_exception=False)
    known = client.generic(method, door(clinic.setup), b"{}", headers={"sb-signing-secret": secret_of(clinic.setup)})
    unknown = client.generic(method, f"/hooks/unheard-of/{'A' * 43}/", b"{}", headers={"sb-signing-secret": "wrong"})
    assert shown(known) == shown(unknown)
    assert known.status_code < 500
    assert not ProviderEvent.objects.exists()


def test_over_http_the_headers_are_the_same_to_their_order(live_server: LiveServer, transactional_db: None) -> None:
    setup = make_setup(make_location())
    address = urlsplit(live_server.url)

    def raw(path: str, headers: dict[str, str]) -> tuple[int, bytes, list[tuple[str, str]]]:
        link = http.client.HTTPConnection(address.hostname or "", address.port)
        link.request("POST", path, b"{}", {"Content-Type": "application/json", **headers})
        answer = link.getresponse()
        seen = answer.status, answer.read(), [pair for pair in answer.getheaders() if pair[0] != "Date"]
        link.close()
        return seen

    wrong = {"sb-signing-secret": "wrong"}
    answers = [
        raw(door(setup), wrong),
        raw(door(setup), {}),
        raw(door(setup, token="T" * 43), wrong),
        raw(f"/hooks/sendblue/{'A' * 43}/", wrong),
        raw("/hooks/unheard-of/x/", {}),
        raw("/hooks/sendblue/%00/", {}),
    ]
    assert {answer[0] for answer in answers} == {401}
    assert all(answer == answers[0] for answer in answers)
    assert raw(door(setup), {"sb-signing-secret": secret_of(setup)})[0] == 200


# --- let in -----------------------------------------------------------------------------------------------------------
def test_the_right_secret_opens_and_the_event_is_kept_as_it_came(clinic: Clinic) -> None:
    body = json.dumps(received(clinic.account.phone_number, "Grüße 👋")).encode()
    answer = knock(door(clinic.setup, topic="receive"), body, **{SECRET: secret_of(clinic.setup)})
    assert (answer.status_code, answer.content) == (200, b"{}")
    event = only_event()
    assert bytes(event.body) == body
    assert (event.setup, event.location, event.topic) == (clinic.setup, clinic.location, "receive")
    assert event.outcome == EventOutcome.WAITING
    assert event.due_at is not None


def test_an_attempts_own_token_opens_its_address_without_a_secret(clinic: Clinic) -> None:
    message, begun = sending(clinic)
    answer = knock(door(clinic.setup, token=begun.token), status("h-1", "SENT"))
    assert (answer.status_code, answer.content) == (200, b"{}")
    assert only_event().attempt_id == begun.attempt.pk
    apply_due()
    message.refresh_from_db()
    assert (message.status, message.provider_id) == ("sent", "h-1")


def test_both_secrets_open_during_a_rotation_until_the_old_one_ends(hub: Hub) -> None:
    setup = hub.setups[0]
    old = secret_of(setup)
    rotated = provisioning.rotate_webhook_secret(setup=setup, by=None)
    new = secret_of(setup)
    assert new != old
    for secret in (old, new):
        answer = knock(door(setup), received(hub.accounts[0].phone_number), **{SECRET: secret})
        assert answer.status_code == 200
    assert rotated.previous_webhook_secret_until is not None
    for moment, expected in ((-1, 200), (1, 401)):
        with time_machine.travel(rotated.previous_webhook_secret_until + timedelta(seconds=moment), tick=False):
            answer = knock(door(setup), received(hub.accounts[0].phone_number), **{SECRET: old})
        assert answer.status_code == expected
    assert knock(door(setup), received(hub.accounts[0].phone_number), **{SECRET: new}).status_code == 200


# --- size and form ----------------------------------------------------------------------------------------------------
class Untouched(io.BytesIO):
    """A body that must not be read."""

    def read(self, *args: Any) -> bytes:
        raise AssertionError("the body was read")

    readline = read


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("length", [MIB + 1, 10**12, 10**30])
def test_what_says_that_it_is_too_large_is_refused_unread(clinic: Clinic, known: bool, length: int) -> None:
    path = door(clinic.setup) if known else "/hooks/sendblue/nobody-has-this/"
    environ = {SECRET: secret_of(clinic.setup), "CONTENT_LENGTH": str(length), "wsgi.input": Untouched()}
    with CaptureQueriesContext(connection) as made:
        answer = knock(path, b"{}", **environ)
    assert answer.status_code == 413
    assert answer.json()["code"] == "too_large"
    assert not made.captured_queries


def test_a_body_of_exactly_the_limit_is_taken(clinic: Clinic) -> None:
    body = json.dumps(received(clinic.account.phone_number, "")).encode()
    assert knock(door(clinic.setup), body.ljust(MIB), **{SECRET: secret_of(clinic.setup)}).status_code == 200
    assert knock(door(clinic.setup), body.ljust(MIB + 1), **{SECRET: secret_of(clinic.setup)}).status_code == 413


@pytest.mark.parametrize("length", ["2", "0", "", "-1", "abc", "١٢", "1e3", "0x10", "9" * 5000])
def test_a_false_length_lets_no_more_in_than_it_says(clinic: Clinic, length: str) -> None:
    answer = knock(door(clinic.setup), b"x" * 4096, **{SECRET: secret_of(clinic.setup), "CONTENT_LENGTH": length})
    assert answer.status_code in (400, 413)
    assert all(len(bytes(event.body)) <= 16 for event in ProviderEvent.objects.all())


def test_over_http_a_declared_flood_is_refused_before_it_comes(live_server: LiveServer, transactional_db: None) -> None:
    address = urlsplit(live_server.url)
    link = http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)
    link.putrequest("POST", "/hooks/sendblue/whatever/")
    link.putheader("Content-Length", str(50 * MIB))
    link.endheaders()
    # Not one byte of the body was sent.
    assert link.getresponse().status == 413
    link.close()


UNREADABLE = {
    "nothing": b"",
    "words": b"hello",
    "half": b'{"a": ',
    "two": b"{} {}",
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "UTF-32": '{"a": 1}'.encode("utf-32"),
    "Latin-1": '{"a": "é"}'.encode("latin-1"),
    "depth bomb": b"[" * 100_000 + b"]" * 100_000,
    "open depth bomb": b"[" * (MIB - 1),
    "object bomb": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "depth bomb behind a string": b'["[[[[\\"", ' + b"[" * 50_000 + b"]" * 50_000 + b"]",
    # Read byte by byte, the first character would open a string that hides the brackets.
    "depth bomb in UTF-16": ("[\u2200\u0022" + "[" * 50_000).encode("utf-16-le"),
    "long integer": b'{"error_code": ' + b"9" * 5000 + b"}",
    "raw NUL": b'{"a": "\x00"}',
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_is_no_json_is_kept_as_unreadable_once_let_in(clinic: Clinic, case: str) -> None:
    refused = knock(door(clinic.setup), UNREADABLE[case], **{SECRET: "wrong"})
    assert shown(refused) == shown(reference())
    for _ in range(2):
        answer = tell(clinic.setup, UNREADABLE[case])
        assert answer.status_code == 400
        assert answer.json()["code"] == "invalid_json"
    event = only_event()
    assert event.outcome == EventOutcome.UNREADABLE
    assert event.due_at is None
    assert bytes(event.body) == UNREADABLE[case]
    assert apply_due() == 0


READABLE = {
    "null": b"null",
    "list": b"[]",
    "list of events": b'[{"message_handle": "a", "status": "SENT"}]',
    "number": b"17",
    "large number": b"9" * 4000,
    "string": b'"receive"',
    "NaN": b'{"date_updated": NaN, "message_handle": "h", "status": "SENT", "is_outbound": true}',
    "infinity": b'{"date_updated": -Infinity, "message_handle": "h", "status": "SENT", "is_outbound": true}',
    "float overflow": b'{"timestamp": 1e400, "is_typing": true, "number": "+12125550100"}',
    "long code": b'{"message_handle": "h", "status": "ERROR", "error_code": ' + b"9" * 4000 + b"}",
    "NUL in text": rb'{"message_handle": "h\u0000", "content": "\u0000", "status": "RECEIVED", "number": "\u0000"}',
    "NUL in the type": rb'{"event_type": "\u0000\u0000"}',
    "NUL as a name": rb'{"\u0000": {"\u0000": []}}',
    "lone surrogate": rb'{"message_handle": "\ud800", "status": "SENT", "is_outbound": true, "error_reason": "\udfff"}',
    "lone surrogate as a type": rb'{"type": "\ud83d"}',
    "endless id": b'{"message_handle": "' + b"x" * 5000 + b'", "status": "SENT", "is_outbound": true}',
    "endless type": b'{"type": "' + b"t" * 100_000 + b'"}',
    "every field a list": json.dumps({name: [[]] for name in received("x")}).encode(),
    "every field an object": json.dumps({name: {"a": 1} for name in received("x")}).encode(),
    "every field true": json.dumps(dict.fromkeys(received("x"), True)).encode(),
    "twice the same name": b'{"status": "SENT", "status": "DELIVERED", "message_handle": "h", "is_outbound": true}',
    "32 deep": b"[" * 32 + b"]" * 32,
    "byte order mark": b"\xef\xbb\xbf{}",
    "brackets in a string": json.dumps({"content": "[" * 1000 + '"{\\'}).encode(),
}


@pytest.mark.parametrize("case", READABLE)
@pytest.mark.parametrize("topic", ["", "receive", "outbound", "typing_indicator", "nonsense%00%FF"])
def test_odd_json_is_stored_and_does_no_harm_later(clinic: Clinic, case: str, topic: str) -> None:
    answer = tell(clinic.setup, READABLE[case], topic=topic)
    assert (answer.status_code, answer.content) == (200, b"{}")
    assert apply_due() == 1
    assert only_event().outcome != EventOutcome.APPLIED


def test_too_many_fields_in_the_query_break_nothing(clinic: Clinic) -> None:
    path = f"{door(clinic.setup)}?{'&'.join(f'a{n}=1' for n in range(2000))}"
    assert knock(path, b"{}", **{SECRET: "wrong"}).status_code == 401
    assert knock(path, b"{}", **{SECRET: secret_of(clinic.setup)}).status_code < 500


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from([*sorted(received("x")), "type", "id", "data", "is_typing"]), inner, max_size=8
        )
    ),
    max_leaves=12,
)
header_values = st.none() | st.text(st.characters(max_codepoint=255), max_size=80)


@hypothesis_settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    body=json_values, told=header_values, signature=header_values, topic=st.sampled_from(["", "receive", "outbound"])
)
def test_any_json_with_any_headers(
    clinic: Clinic, body: Any, told: str | None, signature: str | None, topic: str
) -> None:
    raw = json.dumps(body).encode()
    environ = {SECRET: told, "HTTP_X_SENDBLUE_SIGNATURE": signature, "HTTP_ACCEPT": told, "HTTP_X_FORWARDED_FOR": told}
    stored = ProviderEvent.objects.count()
    refused = knock(
        door(clinic.setup, topic=topic), raw, **{name: value for name, value in environ.items() if value is not None}
    )
    assert refused.status_code == 401
    assert ProviderEvent.objects.count() == stored
    assert tell(clinic.setup, raw, topic=topic).status_code == 200
    apply_due()


# --- what goes wrong here ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
@pytest.mark.parametrize("statement", ["SELECT", "INSERT"])
def test_without_the_database_the_provider_is_asked_to_come_again(
    transactional_db: None, clinic: Clinic, error: type[Exception], statement: str
) -> None:
    body = received(clinic.account.phone_number)
    environ = {SECRET: secret_of(clinic.setup)}

    def fail(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if statement in sql:
            raise error("the server is gone: host=10.1.2.3 password=hunter2")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(fail):
        answer = knock(door(clinic.setup), body, **environ)
        refused = knock(door(clinic.setup), body, **{SECRET: "wrong"})
    assert answer.status_code == 503
    assert int(answer["Retry-After"]) > 0
    assert b"hunter2" not in answer.content
    # Whether the address is known is not told then either.
    assert refused.status_code == (503 if statement == "SELECT" else 401)
    assert knock(door(clinic.setup), body, **environ).status_code == 200
    assert ProviderEvent.objects.count() == 1


def test_a_secret_whose_key_is_lost_lets_nobody_in_and_asks_to_come_again(clinic: Clinic) -> None:
    secret = secret_of(clinic.setup)
    foreign = Fernet(Fernet.generate_key()).encrypt(secret.encode()).decode()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE provisioning_setup SET webhook_secret = %s", [foreign])
    for told in (secret, foreign, ""):
        answer = knock(door(clinic.setup), b"{}", **{SECRET: told})
        assert answer.status_code == 503
    assert not ProviderEvent.objects.exists()


def test_no_secret_no_address_and_no_word_is_logged(
    transactional_db: None, clinic: Clinic, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    _, begun = sending(clinic)
    secret = secret_of(clinic.setup)
    Setup.objects.filter(pk=clinic.setup.pk).update(
        previous_webhook_secret="the one before", previous_webhook_secret_until=timezone.now() + timedelta(hours=1)
    )
    caplog.set_level(logging.DEBUG)
    body = received(clinic.account.phone_number, "my result is positive")
    for headers in ({SECRET: "a guess"}, {SECRET: secret}, {SECRET: "the one before"}, {}):
        for raw in (json.dumps(body).encode(), b"my result is positive"):
            knock(door(clinic.setup), raw, **headers)
            knock(door(clinic.setup, token=begun.token), raw, **headers)
            knock(door(clinic.setup, token="a guessed token"), raw, **headers)

    def fail(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        raise OperationalError(f"Failing row contains ({body['content']}, {CUSTOMER}).")

    with connection.execute_wrapper(fail):
        knock(door(clinic.setup), body, **{SECRET: secret})
    apply_due()
    logged = caplog.text + capfd.readouterr().err
    assert "webhook not stored" in logged
    assert "request answered with an error" in logged
    hidden = [secret, "the one before", "a guess", begun.token, "a guessed token", clinic.setup.webhook_key,
              CUSTOMER, clinic.account.phone_number, "positive"]  # fmt: skip
    assert [word for word in hidden if word in logged] == []
