"""Each fault does what the table says: what the sender sees, and whether the message was taken on."""

import contextlib
import socket
import time
from collections import Counter
from collections.abc import Iterator

import phonenumbers
import pytest
import requests

from provisioning.sandbox.faults import SEND_FAULTS, magic_number
from provisioning.sandbox.server import Sandbox
from tests.provisioning.sandbox_rig import CUSTOMER, Child, Receiver, open_child, quick, receiver


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with quick() as running:
        yield running


@pytest.fixture
def child(sandbox: Sandbox) -> Child:
    return open_child(sandbox)


@pytest.fixture
def hub() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


def _taken(sandbox: Sandbox) -> int:
    return len(sandbox.ledger())


@pytest.mark.parametrize(
    ("fault", "status", "header"),
    [
        ("rate_limited", 429, "2"),
        ("rate_limited_bare", 429, None),
        ("error_500_before", 500, None),
        ("unavailable_503", 503, None),
        ("invalid_number", 400, None),
        ("unauthorized", 401, None),
        ("payment_required", 402, None),
        ("line_blocked", 403, None),
    ],
)
def test_refusals_take_nothing_on(sandbox: Sandbox, child: Child, fault: str, status: int, header: str | None) -> None:
    answer = child.send(magic_number(fault))
    assert (answer.status_code, answer.headers.get("retry-after")) == (status, header)
    assert answer.json()["status"] == "ERROR"
    assert _taken(sandbox) == 0
    assert sandbox.faults.landed() == Counter({fault: 1})


def test_rate_limited_twice_is_fine_the_third_time(sandbox: Sandbox, child: Child) -> None:
    number = magic_number("rate_limited_twice")
    assert [child.send(number).status_code for _ in range(4)] == [429, 429, 200, 200]
    assert _taken(sandbox) == 2


@pytest.mark.parametrize(("fault", "taken"), [("timeout_sent", 1), ("timeout_not_sent", 0)])
def test_a_hanging_answer(sandbox: Sandbox, child: Child, fault: str, taken: int) -> None:
    sandbox.faults.hang_s = 5
    body = {"number": magic_number(fault), "from_number": child.line, "content": "x"}
    with pytest.raises(requests.ReadTimeout):
        requests.post(f"{sandbox.url}/api/send-message", json=body, headers=child.headers, timeout=0.2)
    assert _taken(sandbox) == taken


@pytest.mark.parametrize(
    ("fault", "taken"), [("reset_before", 0), ("reset_after", 1), ("reset_untold", 1), ("closed_after", 1)]
)
def test_a_connection_that_breaks(sandbox: Sandbox, child: Child, fault: str, taken: int) -> None:
    with pytest.raises(requests.ConnectionError):
        child.send(magic_number(fault))
    assert _taken(sandbox) == taken


@pytest.mark.parametrize(("fault", "end"), [("reset_after", "reset"), ("closed_after", "end of file")])
def test_a_reset_is_a_reset_and_a_close_is_a_close(sandbox: Sandbox, child: Child, fault: str, end: str) -> None:
    host, _, port = sandbox.url.removeprefix("http://").partition(":")
    body = f'{{"number": "{magic_number(fault)}", "from_number": "{child.line}", "content": "x"}}'
    head = [f"{name}: {value}" for name, value in (child.headers | {"content-length": str(len(body))}).items()]
    with contextlib.closing(socket.create_connection((host, int(port)), timeout=5)) as raw:
        raw.sendall("\r\n".join(["POST /api/send-message HTTP/1.1", "host: x", *head, "", body]).encode())
        try:
            seen = "end of file" if raw.recv(100) == b"" else "answer"
        except ConnectionResetError:
            seen = "reset"
    assert seen == end


def test_500_after_acceptance(sandbox: Sandbox, child: Child) -> None:
    assert child.send(magic_number("error_500_after")).status_code == 500
    assert _taken(sandbox) == 1


def test_a_garbage_answer(sandbox: Sandbox, child: Child) -> None:
    answer = child.send(magic_number("garbage"))
    assert answer.status_code == 200
    with pytest.raises(requests.JSONDecodeError):
        answer.json()
    assert _taken(sandbox) == 1


def test_a_truncated_answer(sandbox: Sandbox, child: Child) -> None:
    with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.ConnectionError)):
        child.send(magic_number("truncated"))
    assert _taken(sandbox) == 1


def test_an_oversize_answer(sandbox: Sandbox, child: Child) -> None:
    answer = child.send(magic_number("oversize"))
    assert len(answer.content) > 4 * 1024 * 1024
    assert answer.json()["status"] == "QUEUED"
    assert _taken(sandbox) == 1


def test_an_answer_without_a_handle(sandbox: Sandbox, child: Child) -> None:
    assert "message_handle" not in child.send(magic_number("no_handle")).json()
    assert _taken(sandbox) == 1


def test_another_from_number_in_answer_and_look_up(sandbox: Sandbox, child: Child) -> None:
    answer = child.send(magic_number("other_from")).json()
    assert answer["from_number"] != child.line
    assert phonenumbers.is_valid_number(phonenumbers.parse(answer["from_number"]))
    (kept,) = sandbox.ledger()
    assert (kept.from_number, kept.shown_from) == (child.line, answer["from_number"])


def test_a_redirect_that_nobody_should_follow(sandbox: Sandbox, child: Child) -> None:
    answer = child.send(magic_number("redirect_307"))
    assert (answer.status_code, answer.headers["location"]) == (307, "/redirected/api/send-message")
    assert _taken(sandbox) == 0
    assert sandbox.requests()["POST /redirected/api/send-message"] == 0
    requests.post(f"{sandbox.url}{answer.headers['location']}", headers=child.headers, timeout=5)
    assert sandbox.requests()["POST /redirected/api/send-message"] == 1


def test_a_slow_drip_outlasts_a_timeout_per_read(sandbox: Sandbox, child: Child) -> None:
    sandbox.faults.hang_s = 1.5
    body = {"number": magic_number("drip"), "from_number": child.line, "content": "x"}
    began = time.monotonic()
    answer = requests.post(f"{sandbox.url}/api/send-message", json=body, headers=child.headers, timeout=(1, 1))
    assert time.monotonic() - began >= 1.5
    assert answer.json()["message_handle"] == sandbox.ledger()[0].handle


@pytest.mark.parametrize(
    ("fault", "statuses", "code"),
    [
        ("undelivered", ["ERROR"], 10001),
        ("unresolved", ["SENT", "ERROR"], 10002),
        ("declined", ["DECLINED"], None),
        ("delivered_then_failed", ["SENT", "DELIVERED", "ERROR"], 10001),
        ("sms", ["SENT"], None),
        ("sent_only", ["SENT"], None),
        ("read", ["SENT", "DELIVERED", "READ"], None),
        ("duplicated", ["SENT"] * 3 + ["DELIVERED"] * 3, None),
        ("reordered", ["DELIVERED", "SENT"], None),
        ("silent", [], None),
    ],
)
def test_what_the_callbacks_tell(
    sandbox: Sandbox, child: Child, hub: Receiver, fault: str, statuses: list[str], code: int | None
) -> None:
    answer = child.send(magic_number(fault), status_callback=f"{hub.url}/callback")
    assert answer.status_code == 200
    sandbox.drain_webhooks()
    assert hub.statuses("/callback") == statuses
    if statuses:
        assert hub.got[-1].body["error_code"] == code
    final = child.call("GET", "/api/status", handle=answer.json()["message_handle"]).json()
    assert final["status"] == ("DELIVERED" if fault in ("reordered", "silent") else statuses[-1])
    assert (final["service"], final["was_downgraded"]) == (("SMS", True) if fault == "sms" else ("iMessage", False))


def test_reordered_statuses_carry_their_own_times(sandbox: Sandbox, child: Child, hub: Receiver) -> None:
    child.send(magic_number("reordered"), status_callback=f"{hub.url}/callback")
    sandbox.drain_webhooks()
    delivered, sent = (one.body["date_updated"] for one in hub.got)
    assert sent < delivered


def test_late_callbacks_wait(sandbox: Sandbox, child: Child, hub: Receiver) -> None:
    began = time.monotonic()
    child.send(magic_number("late"), status_callback=f"{hub.url}/callback")
    assert time.monotonic() - began < 0.2
    sandbox.drain_webhooks()
    assert time.monotonic() - began >= 0.2
    assert hub.statuses("/callback") == ["SENT", "DELIVERED"]


def test_callbacks_come_before_the_answer(sandbox: Sandbox, child: Child, hub: Receiver) -> None:
    answer = child.send(magic_number("early"), status_callback=f"{hub.url}/callback")
    assert hub.statuses("/callback") == ["SENT", "DELIVERED"]
    assert answer.json()["status"] == "QUEUED"


def test_every_magic_number_is_valid_and_chosen_by_one_fault_only() -> None:
    digits = [fault.digits for fault in SEND_FAULTS]
    assert len(set(digits)) == len(digits)
    for fault in SEND_FAULTS:
        for area_code in ("212", "415", "628"):
            parsed = phonenumbers.parse(magic_number(fault.name, area_code=area_code))
            assert phonenumbers.is_valid_number(parsed)
            assert phonenumbers.region_code_for_number(parsed) == "US"


@pytest.mark.parametrize("number", ["+12124449003", "+442075559003", CUSTOMER])
def test_numbers_outside_the_table_meet_no_fault(sandbox: Sandbox, child: Child, number: str) -> None:
    assert child.send(number).status_code == 200
    assert not sandbox.faults.landed()


def test_faults_set_by_hand_come_before_the_digits(sandbox: Sandbox, child: Child) -> None:
    sandbox.faults.set_for(CUSTOMER, "error_500_before")
    sandbox.faults.set_for(magic_number("rate_limited"), None)
    assert child.send().status_code == 500
    assert child.send(magic_number("rate_limited")).status_code == 200
    sandbox.faults.next_sends("unavailable_503", times=2)
    assert [child.send("+12125550177").status_code for _ in range(3)] == [503, 503, 200]
    sandbox.faults.clear()
    assert child.send().status_code == 200
    with pytest.raises(KeyError):
        sandbox.faults.next_sends("no such fault")


def test_a_random_mix_is_repeatable_and_counted(sandbox: Sandbox, child: Child) -> None:
    seen = []
    for _ in range(2):
        sandbox.faults.clear()
        sandbox.faults.mix({"error_500_before": 0.3, "error_500_after": 0.3}, seed=7)
        seen.append([child.send(content=str(index)).status_code for index in range(30)])
        landed = sandbox.faults.landed()
        assert landed["error_500_before"] + landed["error_500_after"] == seen[-1].count(500)
    assert seen[0] == seen[1]
    assert 0 < seen[0].count(500) < 30


def test_a_mix_gives_a_message_the_same_faults_in_whatever_order_they_come(sandbox: Sandbox, child: Child) -> None:
    texts = [str(index) for index in range(30)]
    met = []
    for order in (texts, texts[::-1]):
        sandbox.faults.clear()
        sandbox.faults.mix({"error_500_before": 0.5}, seed=7)
        met.append({text: [child.send(content=text).status_code for _ in range(3)] for text in order})
    assert met[0] == met[1]
    assert any(len(set(statuses)) == 2 for statuses in met[0].values()), "a repeat never meets anything else"


def test_any_endpoint_can_fail_for_a_while(sandbox: Sandbox, child: Child) -> None:
    sandbox.faults.fail_endpoint("GET", "/api/lines", 503, times=2)
    assert [child.call("GET", "/api/lines").status_code for _ in range(3)] == [503, 503, 200]
