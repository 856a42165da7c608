"""The control API and the page: what they show, what they refuse."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from provisioning.sandbox.faults import LINE_FAULTS, SEND_FAULTS
from provisioning.sandbox.server import PAGE, PAGE_FILES, Sandbox
from tests.provisioning.sandbox_rig import CUSTOMER, Child, open_child, quick

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 40


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with quick() as running:
        yield running


@pytest.fixture
def child(sandbox: Sandbox) -> Child:
    return open_child(sandbox)


def _post(sandbox: Sandbox, name: str, body: object, **headers: str) -> requests.Response:
    return requests.post(f"{sandbox.url}/_sandbox/{name}", json=body, headers=headers, timeout=10)


def _state(sandbox: Sandbox, **query: Any) -> dict[str, Any]:
    answer = requests.get(f"{sandbox.url}/_sandbox/state", params=query, timeout=10)
    assert answer.status_code == 200
    return dict(answer.json())


def test_the_state_shows_accounts_lines_conversations_and_no_secret(sandbox: Sandbox, child: Child) -> None:
    child.hook("outbound", "http://127.0.0.1:9/hooks/averyveryverylongkey/", "hook-secret")
    child.send(content="hello")
    sandbox.reply(from_number=CUSTOMER, to_number=child.line, text="hi there")
    sandbox.drain_webhooks()
    state = _state(sandbox)
    (account,) = state["accounts"]
    (line,) = account["lines"]
    (talk,) = line["conversations"]
    assert (account["company_name"], line["number"], talk["number"]) == ("Harbor Dental", child.line, CUSTOMER)
    assert [message["content"] for message in talk["messages"]] == ["hello", "hi there"]
    shown = requests.get(f"{sandbox.url}/_sandbox/state", timeout=5).text
    for secret in (child.data["api_key"], child.data["api_secret"], "hook-secret", "averyveryverylongkey", "agency-"):
        assert secret not in shown


def test_the_state_is_incremental_and_waits_for_news(sandbox: Sandbox, child: Child) -> None:
    child.send(content="old")
    sandbox.drain_webhooks()
    before = _state(sandbox)
    news: list[dict[str, Any]] = []
    waiter = threading.Thread(
        target=lambda: news.append(_state(sandbox, since=before["version"], epoch=before["epoch"]))
    )
    waiter.start()
    assert news == []
    sandbox.reply(from_number=CUSTOMER, to_number=child.line, text="new")
    waiter.join(timeout=5)
    (talk,) = news[0]["accounts"][0]["lines"][0]["conversations"]
    assert [message["content"] for message in talk["messages"]] == ["new"]
    assert (news[0]["full"], before["full"]) == (False, True)


def test_a_page_from_before_a_restart_gets_everything_at_once(sandbox: Sandbox) -> None:
    assert _state(sandbox, since=10**9, epoch="another")["full"] is True


def test_a_person_acts_as_the_customer(sandbox: Sandbox, child: Child) -> None:
    both = {"line": child.line, "customer": CUSTOMER}
    handle = child.send().json()["message_handle"]
    sandbox.drain_webhooks()
    assert _post(sandbox, "reply", both | {"text": "hi"}).status_code == 200
    assert _post(sandbox, "react", {"handle": handle, "reaction": "love"}).status_code == 200
    assert _post(sandbox, "read", both).json() == {"read": 1}
    assert _post(sandbox, "typing", both | {"typing": True}).status_code == 200
    assert _post(sandbox, "line-status", {"line": child.line, "status": "BLOCKED"}).status_code == 200
    (kept, *_) = sandbox.store.messages()
    assert (kept.status, kept.reaction) == ("READ", "love")
    assert [message.content for message in sandbox.store.messages("is_outbound = 0")] == ["hi", "Loved “hello”"]
    assert child.send().status_code == 403


def test_a_person_places_lines(sandbox: Sandbox) -> None:
    child = open_child(sandbox, "415")
    (pending,) = sandbox.store.lines()
    placed = _post(sandbox, "place", {"request_id": pending.request_id}).json()["line"]["number"]
    account = _state(sandbox)["accounts"][0]["id"]
    second = _post(sandbox, "add-line", {"account": account}).json()["line"]
    assert second["number"] is None
    assert child.numbers() == [placed]
    again = _post(sandbox, "place", {"request_id": pending.request_id})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "already_placed")


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("reply", {"line": "+19998887777", "customer": CUSTOMER, "text": "x"}),
        ("reply", {"line": "12", "customer": CUSTOMER, "text": "x"}),
        ("reply", {"line": "LINE", "customer": CUSTOMER, "text": ""}),
        ("reply", {"line": "LINE", "customer": CUSTOMER, "text": ["x"]}),
        ("react", {"handle": "none", "reaction": "love"}),
        ("read", {"handle": "none"}),
        ("place", {"request_id": "none"}),
        ("add-line", {"account": 99}),
        ("line-status", {"line": "LINE", "status": "ON FIRE"}),
        ("trouble", {"mix": {"no such fault": 0.5}}),
        ("trouble", {"mix": ["garbage"]}),
        ("trouble", {"hang_s": -1}),
        ("fail-endpoint", {"method": "GET", "path": "/api/lines", "status": 200}),
        ("nothing", {}),
    ],
)
def test_bad_controls_are_refused_with_a_code(sandbox: Sandbox, child: Child, name: str, body: dict[str, Any]) -> None:
    body = {key: child.line if value == "LINE" else value for key, value in body.items()}
    answer = _post(sandbox, name, body)
    assert answer.status_code in (400, 404)
    assert answer.json()["error"]["code"]
    assert sandbox.store.messages() == []


def test_trouble_is_set_and_counted_from_outside(sandbox: Sandbox, child: Child) -> None:
    trouble = {"mix": {"error_500_after": 1}, "seed": 7, "hang_s": 0.5, "late_s": 1, "answer_delay_s": 0}
    assert _post(sandbox, "trouble", trouble).status_code == 200
    assert child.send(content="one").status_code == 500
    assert _post(sandbox, "trouble", {"mix": {}}).status_code == 200
    assert child.send(content="two").status_code == 200
    assert (sandbox.faults.hang_s, sandbox.faults.late_s) == (0.5, 1)
    body = {"method": "GET", "path": "/api/lines", "status": 503, "times": 1}
    assert _post(sandbox, "fail-endpoint", body).status_code == 200
    assert [child.call("GET", "/api/lines").status_code for _ in range(2)] == [503, 200]
    sandbox.drain_webhooks()
    tally = requests.get(f"{sandbox.url}/_sandbox/tally", timeout=5).json()
    assert tally == {"landed": {"error_500_after": 1}, "pending": 0}


def test_the_ledger_tells_what_was_taken_on_page_by_page(sandbox: Sandbox, child: Child) -> None:
    for text in ("one", "two"):
        child.send(content=text)
    url = f"{sandbox.url}/_sandbox/ledger"
    first, second = requests.get(url, timeout=5).json()["placed"]
    assert first[1:] == [child.line, CUSTOMER, "one", None]
    assert requests.get(url, params={"since": first[0]}, timeout=5).json()["placed"] == [second]


def test_an_undelivered_message_cannot_be_read(sandbox: Sandbox, child: Child) -> None:
    sandbox.faults.next_sends("sent_only")
    handle = child.send().json()["message_handle"]
    sandbox.drain_webhooks()
    assert _post(sandbox, "read", {"handle": handle}).status_code == 409


def test_foreign_pages_cannot_act(sandbox: Sandbox, child: Child) -> None:
    body = f'{{"line": "{child.line}", "customer": "{CUSTOMER}", "text": "x"}}'
    url = f"{sandbox.url}/_sandbox/reply"
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert requests.post(url, data=body, headers={"content-type": kind}, timeout=5).status_code == 415
    for origin in ("https://evil.example", "null", sandbox.url + "1"):
        headers = {"content-type": "application/json", "origin": origin}
        assert requests.post(url, data=body, headers=headers, timeout=5).status_code == 403
    assert sandbox.store.messages() == []
    own = {"content-type": "application/json", "origin": sandbox.url}
    assert requests.post(url, data=body, headers=own, timeout=5).status_code == 200


def test_a_picture_is_kept_and_served_harmlessly(sandbox: Sandbox) -> None:
    upload = f"{sandbox.url}/_sandbox/upload"
    stored = requests.post(upload, data=PNG, headers={"content-type": "image/png"}, timeout=5)
    assert stored.status_code == 201
    picture = requests.get(stored.json()["url"], timeout=5)
    assert (picture.content, picture.headers["content-type"]) == (PNG, "image/png")
    assert picture.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in picture.headers["content-security-policy"]
    page = requests.post(upload, data=b"<html>", headers={"content-type": "image/png"}, timeout=5)
    script = requests.post(upload, data=b"<svg>", headers={"content-type": "image/svg+xml"}, timeout=5)
    assert (page.status_code, script.status_code) == (415, 415)
    assert requests.get(f"{sandbox.url}/media/../server.py", timeout=5).status_code in (403, 404)


def test_a_public_address_is_used_for_pictures() -> None:
    with quick(public_url="https://sandbox.example.com") as sandbox:
        stored = requests.post(
            f"{sandbox.url}/_sandbox/upload", data=PNG, headers={"content-type": "image/png"}, timeout=5
        )
        assert stored.json()["url"].startswith("https://sandbox.example.com/media/")


def test_the_page_allows_its_own_files_only(sandbox: Sandbox) -> None:
    page = requests.get(sandbox.url, timeout=5)
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'self'; img-src 'self' https: http: data:")
    assert "unsafe" not in policy
    assert {path.name for path in PAGE.iterdir()} == PAGE_FILES
    for name in PAGE_FILES:
        answer = requests.get(f"{sandbox.url}/{name}", timeout=5)
        assert answer.status_code == 200
        assert "innerHTML" not in answer.text
        assert "https://" not in answer.text.replace("xmlns='http", "")


def test_the_table_of_faults_is_whole(sandbox: Sandbox) -> None:
    table = requests.get(f"{sandbox.url}/_sandbox/faults", timeout=5).json()
    assert [row["name"] for row in table["numbers"]] == [fault.name for fault in SEND_FAULTS]
    assert [row["area_code"] for row in table["area_codes"]] == [fault.area_code for fault in LINE_FAULTS]


def test_health(sandbox: Sandbox) -> None:
    assert requests.get(f"{sandbox.url}/_sandbox/health", timeout=5).json()["status"] == "ok"
