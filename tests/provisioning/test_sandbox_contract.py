"""The sandbox speaks the provider's contract: credentials, sends, look-ups, reactions, typing."""

import contextlib
import http.client
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from provisioning.sandbox.server import Sandbox
from tests.provisioning.sandbox_rig import AGENCY, CUSTOMER, Child, open_child, quick, request_child, wait_until


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with quick() as running:
        yield running


@pytest.fixture
def child(sandbox: Sandbox) -> Child:
    return open_child(sandbox)


def test_missing_credentials_are_403_and_wrong_ones_401_with_the_observed_bodies(sandbox: Sandbox) -> None:
    missing = requests.get(f"{sandbox.url}/api/lines", timeout=5)
    wrong = requests.get(f"{sandbox.url}/api/lines", headers=AGENCY | {"sb-api-secret-key": "x"}, timeout=5)
    unknown = requests.get(f"{sandbox.url}/api/lines", headers=AGENCY | {"sb-api-key-id": "x"}, timeout=5)
    assert (missing.status_code, missing.json()) == (403, {"message": "Did not get inputs for authorization"})
    for answer in (wrong, unknown):
        assert (answer.status_code, answer.json()) == (401, {"status": "ERROR", "message": "Invalid Credentials"})


def test_only_the_agency_creates_accounts(sandbox: Sandbox, child: Child) -> None:
    body = {"company_name": "x", "primary_email": "a@b.c", "provision_line": True}
    assert child.call("POST", "/accounts/lines/request-child-account", body).status_code == 403
    assert len(sandbox.store.accounts()) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"company_name": ""},
        {"primary_email": "nobody"},
        {"provision_line": "yes"},
        {"desired_area_code": "41"},
        {"desired_area_code": "115"},
    ],
)
def test_a_bad_request_for_an_account_creates_none(sandbox: Sandbox, changes: dict[str, Any]) -> None:
    answer = request_child(sandbox, **changes)
    assert answer.status_code == 400
    assert answer.json()["status"] == "ERROR"
    assert len(sandbox.store.accounts()) == 1


def test_a_send_is_answered_like_the_documented_sample_and_stands_in_the_ledger(sandbox: Sandbox, child: Child) -> None:
    answer = child.send(content="Hello world!", send_style="invisible").json()
    assert set(answer) == {
        "accountEmail", "content", "is_outbound", "status", "error_code", "error_message", "message_handle",
        "date_sent", "date_updated", "from_number", "number", "to_number", "was_downgraded", "plan", "media_url",
        "message_type", "group_id", "participants", "send_style", "opted_out", "error_detail",
    }  # fmt: skip
    assert (answer["status"], answer["content"], answer["from_number"]) == ("QUEUED", "Hello world!", child.line)
    assert answer["date_sent"].endswith("Z")
    (kept,) = sandbox.ledger()
    assert (kept.handle, kept.from_number, kept.number) == (answer["message_handle"], child.line, CUSTOMER)
    assert kept.company_name == "Harbor Dental"


def test_the_ledger_keeps_the_order_of_acceptance(sandbox: Sandbox, child: Child) -> None:
    for index in range(5):
        child.send(content=f"text {index}")
    assert [kept.content for kept in sandbox.ledger()] == [f"text {index}" for index in range(5)]
    assert sandbox.requests()["POST /api/send-message"] == 5


@pytest.mark.parametrize(
    "changes",
    [
        {"number": "2125550123"},
        {"number": None},
        {"from_number": "+19998887777"},
        {"from_number": None},
        {"content": ""},
        {"content": "x" * 18_996},
        {"content": 7},
        {"status_callback": "ftp://example.com"},
        {"media_url": "http://[broken"},
    ],
)
def test_a_bad_send_is_400_and_not_taken_on(sandbox: Sandbox, child: Child, changes: dict[str, object]) -> None:
    body = {"number": CUSTOMER, "from_number": child.line, "content": "x"} | changes
    answer = child.call("POST", "/api/send-message", body)
    assert answer.status_code == 400
    assert answer.json()["error_message"]
    assert sandbox.ledger() == []


def test_the_longest_content_is_taken_on(sandbox: Sandbox, child: Child) -> None:
    assert child.send(content="x" * 18_995).status_code == 200


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"number": "\\ud800"}', b"[" * 100_000, b"\xff\xfe"])
def test_unreadable_bodies_are_400(child: Child, raw: bytes) -> None:
    answer = requests.post(f"{child.sandbox.url}/api/send-message", data=raw, headers=child.headers, timeout=10)
    assert answer.status_code == 400


def test_a_body_over_one_mebibyte_is_refused_unread(child: Child) -> None:
    connection = http.client.HTTPConnection(child.sandbox.url.removeprefix("http://"), timeout=10)
    with contextlib.closing(connection):
        connection.request("POST", "/api/send-message", headers=child.headers | {"content-length": str(2**20 + 1)})
        assert connection.getresponse().status == 413


def test_one_account_never_sees_the_other(sandbox: Sandbox, child: Child) -> None:
    other = open_child(sandbox, name="Other")
    handle = child.send().json()["message_handle"]
    assert other.line != child.line
    assert other.numbers() == [other.line]
    assert other.call("GET", "/api/status", handle=handle).status_code == 404
    assert other.call("GET", f"/api/v2/messages/{handle}").status_code == 404
    assert other.call("GET", "/api/v2/messages").json()["data"] == []
    reaction = {"from_number": other.line, "message_handle": handle, "reaction": "love"}
    assert other.call("POST", "/api/send-reaction", reaction).status_code == 404
    stolen = {"number": CUSTOMER, "from_number": child.line, "content": "x"}
    assert other.call("POST", "/api/send-message", stolen).status_code == 400
    assert child.call("GET", "/api/status", handle=handle).json()["message_handle"] == handle


def test_messages_are_listed_filtered_and_paged(sandbox: Sandbox, child: Child) -> None:
    for index in range(3):
        child.send(content=f"text {index}")
    child.send(number="+12125550199", content="elsewhere")
    sandbox.reply(from_number=CUSTOMER, to_number=child.line, text="answer")
    sandbox.drain_webhooks()

    def listed(**query: str) -> list[str]:
        return [one["content"] for one in child.call("GET", "/api/v2/messages", **query).json()["data"]]

    query = {"is_outbound": "true", "number": CUSTOMER, "sendblue_number": child.line}
    assert listed(**query, order_by="createdAt", order_direction="asc") == ["text 0", "text 1", "text 2"]
    assert listed(is_outbound="false") == ["answer"]
    assert listed(from_number=CUSTOMER) == ["answer"]
    assert listed(to_number="+12125550199") == ["elsewhere"]
    assert listed(status="RECEIVED") == ["answer"]
    first = child.call("GET", "/api/v2/messages").json()["data"][-1]["date_sent"]
    assert len(listed(created_at_gte=first)) == 5
    assert listed(created_at_gte="2999-01-01T00:00:00.000Z") == []
    assert listed(created_at_lte="2000-01-01T00:00:00Z") == []
    page = child.call("GET", "/api/v2/messages", limit="2", offset="4").json()
    assert page["pagination"] == {"total": 5, "limit": 2, "offset": 4, "hasMore": False}
    assert len(page["data"]) == 1
    assert child.call("GET", "/api/v2/messages", order_by="secret").status_code == 400
    assert child.call("GET", "/api/v2/messages", created_at_gte="yesterday").status_code == 400


def test_statuses_move_on_by_themselves_and_read_only_when_someone_reads(sandbox: Sandbox, child: Child) -> None:
    handle = child.send().json()["message_handle"]
    sandbox.drain_webhooks()
    delivered = child.call("GET", "/api/status", handle=handle).json()
    assert (delivered["status"], delivered["service"], delivered["was_downgraded"]) == ("DELIVERED", "iMessage", False)
    sandbox.mark_read(handle)
    assert child.call("GET", "/api/status", handle=handle).json()["status"] == "READ"


def test_typing_and_mark_read_need_a_conversation(sandbox: Sandbox, child: Child) -> None:
    body = {"number": CUSTOMER, "from_number": child.line}
    for path in ("/api/send-typing-indicator", "/api/mark-read"):
        answer = child.call("POST", path, body)
        assert answer.json() == {
            "status": "ERROR",
            "status_code": 400,
            "error_message": "No route mapping found for number, have you messaged them before?",
            "number": CUSTOMER,
        }
    sandbox.reply(from_number=CUSTOMER, to_number=child.line, text="hi")
    typing = child.call("POST", "/api/send-typing-indicator", body | {"max_duration_ms": 60_000})
    assert typing.json() == {"status": "QUEUED", "status_code": 200, "error_message": None, "number": CUSTOMER}
    assert [(one["who"], one["customer"]) for one in sandbox.typing_now()] == [("business", CUSTOMER)]
    child.call("POST", "/api/send-typing-indicator", body | {"state": "stop"})
    assert sandbox.typing_now() == []
    child.call("POST", "/api/send-typing-indicator", body | {"max_duration_ms": 30})
    wait_until(lambda: not sandbox.typing_now())
    assert child.call("POST", "/api/mark-read", body).json()["status"] == "OK"
    assert sandbox.store.messages()[0].read_at is not None


def test_a_reaction_is_put_on_the_customers_message(sandbox: Sandbox, child: Child) -> None:
    message = sandbox.reply(from_number=CUSTOMER, to_number=child.line, text="hi")
    body = {"from_number": child.line, "message_handle": message.handle, "reaction": "like"}
    assert child.call("POST", "/api/send-reaction", body).status_code == 200
    assert child.call("POST", "/api/send-reaction", body | {"reaction": "hug"}).status_code == 400
    kept = sandbox.store.message(message.handle)
    assert kept is not None
    assert kept.reaction == "like"


def test_unknown_paths_are_404_and_wrong_methods_405(child: Child) -> None:
    assert child.call("GET", "/api/nothing").status_code == 404
    assert child.call("GET", "/api/send-message").status_code == 405
