"""The real adapter against the emulated provider, over real HTTP: every call, and every fault the sandbox knows."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from provisioning.providers.base import (
    Accepted,
    AccountRejected,
    Credentials,
    FactKind,
    Health,
    InboundEvent,
    Line,
    LineHint,
    NewSubaccount,
    Outgoing,
    ProviderError,
    Rejected,
    Sought,
    StatusEvent,
    Unavailable,
    Uncertain,
)
from provisioning.providers.sendblue import SendblueAdapter, SendblueConfig
from provisioning.sandbox.faults import SEND_FAULTS, magic_area_code, magic_number
from provisioning.sandbox.server import Sandbox

DEADLINE_S = 0.6
PATIENT = "+14155550123"
SECRET = "whsec-current"
_REFERENCES = iter(range(10**6))


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(delivery_delay_s=0.01, line_delay_s=0.01, retry_waits_s=(0.05,)) as running:
        running.faults.hang_s = 5
        yield running


@pytest.fixture(autouse=True)
def _no_faults_left(sandbox: Sandbox) -> Iterator[None]:
    yield
    sandbox.faults.clear()


def adapter_for(sandbox: Sandbox, deadline_s: float = DEADLINE_S, is_agency: bool = True) -> SendblueAdapter:
    return SendblueAdapter(
        SendblueConfig(
            base_url=sandbox.url,
            agency_key_id="agency-key",
            agency_secret="agency-secret" if is_agency else "wrong",
            create_subaccount_path="/accounts/lines/request-child-account",
            contact_email="ops@hub.test",
            deadline=timedelta(seconds=deadline_s),
        )
    )


@pytest.fixture(scope="module")
def adapter(sandbox: Sandbox) -> SendblueAdapter:
    return adapter_for(sandbox)


@pytest.fixture
def reference() -> str:
    return f"setup-{next(_REFERENCES)}"


@pytest.fixture(scope="module")
def account(sandbox: Sandbox, adapter: SendblueAdapter) -> tuple[Credentials, str]:
    """An account with one line: its credentials and the number."""
    made = adapter.create_subaccount(NewSubaccount("Line Clinic", "with-line", magic_area_code("at_once")))
    return made.credentials, made.lines[0].phone_number


def outgoing(account: tuple[Credentials, str], to: str, text: str = "hello", **more: Any) -> Outgoing:
    return Outgoing(to=to, from_number=account[1], text=text, idempotency_key="k", **more)


# --- subaccounts and lines --------------------------------------------------------------------------------------------
def test_a_line_that_is_placed_at_once(adapter, reference):
    made = adapter.create_subaccount(NewSubaccount("Clinic", reference, magic_area_code("at_once")))
    [line] = made.lines
    assert made.request_id is None
    assert adapter.list_lines(made.credentials) == [Line(line.phone_number, Health.ONLINE)]


@pytest.mark.parametrize("fault", ["never_placed", "no_line_part"])
def test_a_line_that_comes_later(sandbox, adapter, reference, fault):
    made = adapter.create_subaccount(NewSubaccount("Clinic", reference, magic_area_code(fault)))
    assert made.lines == ()
    if fault == "never_placed":
        assert adapter.list_lines(made.credentials) == []
        number = sandbox.place_line(company_name=f"clinic-{reference}")
        assert adapter.list_lines(made.credentials) == [Line(number, Health.ONLINE)]


@pytest.mark.parametrize("fault", ["answer_reset", "answer_timeout", "error_500_after", "garbage"])
def test_a_lost_answer_is_uncertain_and_the_account_can_be_found_by_the_reference(sandbox, adapter, reference, fault):
    asked = sandbox.requests()["POST /accounts/lines/request-child-account"]
    with pytest.raises(Uncertain):
        adapter.create_subaccount(NewSubaccount("Clinic", reference, magic_area_code(fault)))
    assert sandbox.requests()["POST /accounts/lines/request-child-account"] == asked + 1
    found = [one for one in sandbox.store.accounts() if one.company_name == f"clinic-{reference}"]
    assert [one.email for one in found] == [f"ops+{reference}@hub.test"]


@pytest.mark.parametrize(("fault", "expected"), [("refused", Rejected), ("rate_limited", Unavailable)])
def test_a_refused_creation_leaves_nothing(sandbox, adapter, reference, fault, expected):
    with pytest.raises(ProviderError) as caught:
        adapter.create_subaccount(NewSubaccount("Clinic", reference, magic_area_code(fault)))
    assert type(caught.value) is expected
    assert all(reference not in one.company_name for one in sandbox.store.accounts())


def test_wrong_credentials_stop_the_account(sandbox, adapter, reference):
    with pytest.raises(AccountRejected):
        adapter_for(sandbox, is_agency=False).create_subaccount(NewSubaccount("Clinic", reference))
    for call in (
        lambda: adapter.list_lines(Credentials("nobody", "nothing")),
        lambda: adapter.register_webhooks(Credentials("", ""), url="https://hub.test/h/", secret="s"),
    ):
        with pytest.raises(AccountRejected):
            call()


@pytest.mark.parametrize(("status", "health"), [("OFFLINE", Health.OFFLINE), ("DEGRADED", Health.DEGRADED)])
def test_the_health_of_a_line(sandbox, adapter, account, status, health):
    sandbox.set_line_status(account[1], status)
    assert adapter.list_lines(account[0]) == [Line(account[1], health)]
    sandbox.set_line_status(account[1], "ONLINE")
    sandbox.faults.fail_endpoint("GET", "/api/v2/lines/state", 500)
    assert adapter.list_lines(account[0]) == [Line(account[1], Health.UNKNOWN)]
    sandbox.faults.fail_endpoint("GET", "/api/lines", 404)
    assert adapter.list_lines(account[0]) == [Line(account[1], Health.ONLINE)]


# --- webhooks ---------------------------------------------------------------------------------------------------------
def registered(sandbox: Sandbox, credentials: Credentials) -> list[tuple[str, str, str | None]]:
    number = sandbox.store.authenticate(credentials.key_id, credentials.secret)
    assert number is not None
    return sorted((hook.type, hook.url, hook.secret) for hook in sandbox.store.webhooks(number))


def expected_hooks(url: str, secret: str) -> list[tuple[str, str, str | None]]:
    return [(kind, f"{url}?topic={kind}", secret) for kind in ("line_assigned", "line_blocked", "outbound", "receive")]


def test_webhooks_are_registered_repeated_and_rotated(sandbox, adapter, reference):
    made = adapter.create_subaccount(NewSubaccount("Clinic", reference, magic_area_code("never_placed")))
    url = f"https://hub.test/hooks/sendblue/{reference}/"
    for secret in ("first", "first", "second"):
        adapter.register_webhooks(made.credentials, url=url, secret=secret)
        assert registered(sandbox, made.credentials) == expected_hooks(url, secret)
    other = f"https://hub.test/hooks/sendblue/{reference}-other/"
    adapter.register_webhooks(made.credentials, url=other, secret="third")
    adapter.register_webhooks(made.credentials, url=url.replace("hub.test", "moved.test"), secret="second")
    moved = expected_hooks(url.replace("hub.test", "moved.test"), "second")
    assert registered(sandbox, made.credentials) == sorted([*expected_hooks(other, "third"), *moved])


@pytest.mark.parametrize("failing", ["GET", "POST"])
def test_a_registration_that_fails_half_way_is_told_and_can_be_repeated(sandbox, adapter, reference, failing):
    made = adapter.create_subaccount(NewSubaccount("Clinic", reference, magic_area_code("never_placed")))
    url = f"https://hub.test/hooks/sendblue/{reference}/"
    sandbox.faults.fail_endpoint(failing, "/api/account/webhooks", 503)
    with pytest.raises(Uncertain):
        adapter.register_webhooks(made.credentials, url=url, secret=SECRET)
    adapter.register_webhooks(made.credentials, url=url, secret=SECRET)
    assert registered(sandbox, made.credentials) == expected_hooks(url, SECRET)


class Receiver(ThreadingHTTPServer):
    """Takes webhooks and keeps them: path, lower-case headers, body."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receiving)
        self.received: list[tuple[str, dict[str, str], bytes]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/hooks/"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def events(self, adapter: SendblueAdapter) -> list[Any]:
        parsed = (
            adapter.parse(json.loads(body), topic=parse_qs(urlsplit(path).query).get("topic", [""])[0])
            for path, _, body in self.received
        )
        return [event for one in parsed for event in one.events]


class _Receiving(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.received.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    yield server
    server.shutdown()
    server.server_close()


def wait_for(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        threading.Event().wait(0.005)


@pytest.mark.parametrize("fault", ["placed_soon", "notice_odd"])
def test_webhooks_that_arrive_are_verified_and_understood(sandbox, adapter, receiver, reference, fault):
    sandbox.faults.place_after_s = 3600
    made = adapter.create_subaccount(NewSubaccount("Clinic", reference, magic_area_code(fault)))
    adapter.register_webhooks(made.credentials, url=receiver.url, secret=SECRET)
    number = sandbox.place_line(company_name=f"clinic-{reference}")
    sandbox.reply(from_number=PATIENT, to_number=number, text="Hi, it's me")
    adapter.send(
        made.credentials, outgoing((made.credentials, number), PATIENT, callback_url=f"{receiver.url}attempt/")
    )
    sandbox.drain_webhooks()
    sandbox.set_line_status(number, "BLOCKED")
    sandbox.drain_webhooks()
    for path, headers, body in receiver.received:
        signed = not path.endswith("/attempt/")
        assert adapter.verify(headers, body, secrets=["other", SECRET]) is signed
        assert not adapter.verify(headers, body, secrets=["other"])
    events = receiver.events(adapter)
    assert LineHint(assigned_number=number if fault == "placed_soon" else None) in events
    assert LineHint(blocked_number=number) in events
    [inbound] = {event for event in events if isinstance(event, InboundEvent)}
    assert (inbound.from_number, inbound.line_number, inbound.text) == (PATIENT, number, "Hi, it's me")
    facts = {event.fact for event in events if isinstance(event, StatusEvent)}
    assert {FactKind.SENT, FactKind.DELIVERED} <= facts


# --- sending ----------------------------------------------------------------------------------------------------------
LOST, ACCEPTED = Uncertain, Accepted
OUTCOMES: dict[str, type] = {
    "timeout_sent": LOST, "timeout_not_sent": LOST, "reset_before": LOST, "reset_after": LOST, "closed_after": LOST,
    "reset_untold": LOST, "drip": LOST, "error_500_after": LOST, "error_500_before": LOST, "unavailable_503": LOST,
    "garbage": LOST, "truncated": LOST, "oversize": LOST, "no_handle": LOST, "redirect_307": LOST,
    "rate_limited": Unavailable, "rate_limited_bare": Unavailable, "rate_limited_twice": Unavailable,
    "invalid_number": Rejected, "unauthorized": AccountRejected, "payment_required": AccountRejected,
    "line_blocked": AccountRejected,
}  # fmt: skip


@pytest.mark.parametrize("fault", SEND_FAULTS, ids=lambda fault: fault.name)
def test_every_send_fault_is_told_for_what_it_is(sandbox, adapter, account, fault):
    expected = OUTCOMES.get(fault.name, ACCEPTED)
    assert (fault.group == "After acceptance" or fault.name == "other_from") == (expected is ACCEPTED), (
        "a fault without an outcome here"
    )
    text, begun = f"{fault.name} {datetime.now(UTC)}", time.monotonic()
    message = outgoing(account, magic_number(fault.name), text)
    if expected is ACCEPTED:
        accepted = adapter_for(sandbox, 10).send(account[0], message)
        [entry] = [one for one in sandbox.ledger() if one.content == text]
        assert accepted.provider_id == entry.handle
        assert accepted.from_number == (entry.shown_from or account[1])
        assert (accepted.from_number != account[1]) == (fault.name == "other_from")
        return
    with pytest.raises(ProviderError) as caught:
        adapter.send(account[0], message)
    assert time.monotonic() - begun < DEADLINE_S + 0.6
    assert type(caught.value) is expected
    accepted_there = [one for one in sandbox.ledger() if one.content == text]
    assert len(accepted_there) == (1 if fault.accepted else 0)
    if expected is not Uncertain:
        assert accepted_there == [], "what is not uncertain must not have been accepted"
    if isinstance(caught.value, Unavailable):
        wish = timedelta(seconds=sandbox.faults.retry_after_s) if fault.retry_after else None
        assert caught.value.retry_after == wish
    if isinstance(caught.value, AccountRejected):
        assert caught.value.line_blocked is (fault.name == "line_blocked")


def test_a_hook_that_raises_leaves_the_provider_without_a_request(sandbox, adapter, account):
    asked, sent = sandbox.requests()["POST /api/send-message"], len(sandbox.ledger())

    def fenced() -> None:
        raise RuntimeError("lost the lease")

    with pytest.raises(RuntimeError, match="lease"):
        adapter.send(account[0], outgoing(account, PATIENT), before_first_byte=fenced)
    assert sandbox.requests()["POST /api/send-message"] == asked
    assert len(sandbox.ledger()) == sent


def test_a_server_that_is_gone_is_unavailable(reference):
    with Sandbox() as gone:
        adapter = adapter_for(gone)
        adapter.create_subaccount(NewSubaccount("Clinic", reference))
    with pytest.raises(Unavailable):
        adapter.list_lines(Credentials("a", "b"))


# --- looking up, reading, typing --------------------------------------------------------------------------------------
@pytest.mark.parametrize(("fault", "found"), [("timeout_sent", 1), ("reset_after", 1), ("timeout_not_sent", 0)])
def test_a_look_up_finds_what_was_accepted(sandbox, adapter, account, fault, found):
    begun, text = datetime.now(UTC), f"sought {fault} {datetime.now(UTC)}"
    to = magic_number(fault)
    with pytest.raises(Uncertain):
        adapter.send(account[0], outgoing(account, to, text))
    matches = adapter.lookup(account[0], Sought(to, account[1], text, None, begun))
    assert [match.provider_id for match in matches] == [one.handle for one in sandbox.ledger() if one.content == text]
    assert len(matches) == found
    assert adapter.lookup(account[0], Sought(to, account[1], text + "!", None, begun)) == []
    assert adapter.lookup(account[0], Sought(to, account[1], text, None, begun + timedelta(minutes=5))) == []


def test_two_equal_messages_cannot_be_told_apart(adapter, account):
    begun, text = datetime.now(UTC), f"twice {datetime.now(UTC)}"
    handles = {adapter.send(account[0], outgoing(account, PATIENT, text)).provider_id for _ in range(2)}
    matches = adapter.lookup(account[0], Sought(PATIENT, account[1], text, None, begun))
    assert {match.provider_id for match in matches} == handles


def test_a_look_up_reads_every_page(adapter, account):
    begun, to = datetime.now(UTC), "+14155550177"
    for _ in range(30):
        adapter.send(account[0], outgoing(account, to, "again"))
    assert len(adapter.lookup(account[0], Sought(to, account[1], "again", None, begun))) == 30


def test_the_patient_sees_dots_and_that_it_was_read(sandbox, adapter, account):
    sandbox.reply(from_number=PATIENT, to_number=account[1], text="are you there?")
    adapter.typing(account[0], to=PATIENT, from_number=account[1], is_typing=True)
    assert [one["who"] for one in sandbox.typing_now()] == ["business"]
    adapter.typing(account[0], to=PATIENT, from_number=account[1], is_typing=False)
    assert sandbox.typing_now() == []
    adapter.mark_read(account[0], to=PATIENT, from_number=account[1])
    inbound = sandbox.store.messages("number = ? AND is_outbound = 0", [PATIENT])
    assert inbound
    assert all(message.read_at for message in inbound if message.line == account[1])


def test_dots_for_a_stranger_are_refused(adapter, account):
    with pytest.raises(Rejected):
        adapter.typing(account[0], to="+14155550999", from_number=account[1], is_typing=True)
