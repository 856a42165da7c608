"""Webhooks of the sandbox: registration, secrets, order, repeats, tapbacks."""

import socket
from collections.abc import Iterator

import pytest

from provisioning.sandbox.server import Sandbox
from tests.provisioning.sandbox_rig import CUSTOMER, Child, Receiver, open_child, quick, receiver, wait_until


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


def test_registrations_are_appended_listed_replaced_and_deleted(child: Child) -> None:
    child.hook("receive", "https://example.com/1", None)
    added = child.hook("receive", "https://example.com/2", "own").json()
    assert added["message"] == "Webhooks added successfully"
    child.hook("receive", "https://example.com/2", "own")
    assert child.call("GET", "/api/account/webhooks").json()["webhooks"]["receive"] == [
        "https://example.com/1",
        {"url": "https://example.com/2", "secret": "own"},
    ]
    wanted = {"outbound": ["https://example.com/3"], "typing_indicator": ["https://x.example"], "globalSecret": "all"}
    child.call("PUT", "/api/account/webhooks", {"webhooks": wanted})
    shown = child.call("GET", "/api/account/webhooks").json()["webhooks"]
    assert (shown["receive"], shown["outbound"], shown["globalSecret"]) == ([], ["https://example.com/3"], "all")
    assert "typing_indicator" not in shown
    child.call("DELETE", "/api/account/webhooks", {"webhooks": ["https://example.com/3"], "type": "outbound"})
    assert child.call("GET", "/api/account/webhooks").json()["webhooks"]["outbound"] == []


def test_the_typing_indicator_is_refused_as_observed(child: Child) -> None:
    refused = child.hook("typing_indicator", "https://example.com/")
    assert refused.status_code == 400
    types = "receive, call_log, line_blocked, line_assigned, outbound, contact_created"
    assert refused.json() == {"status": "ERROR", "message": f"Invalid webhook type. Must be one of: {types}"}


def test_the_typing_indicator_is_taken_where_that_is_switched_on(hub: Receiver) -> None:
    with quick(allow_typing_webhook=True) as sandbox:
        child = open_child(sandbox)
        assert child.hook("typing_indicator", f"{hub.url}/typing").status_code == 200
        sandbox.typing(from_number=CUSTOMER, to_number=child.line)
        sandbox.drain_webhooks()
        assert hub.got[0].body["is_typing"] is True


@pytest.mark.parametrize("url", ["", "nonsense", "ftp://host", "http://", "http://host:no/", "http://a b/"])
def test_bad_addresses_are_refused(child: Child, url: str) -> None:
    assert child.hook("receive", url, None).status_code == 400


def test_contact_created_takes_addresses_without_a_secret_only(child: Child) -> None:
    assert child.hook("contact_created", "https://example.com/", "own").status_code == 400
    assert child.hook("contact_created", "https://example.com/", None).status_code == 200


def test_statuses_come_in_order_signed_for_the_account_and_bare_for_the_callback(
    sandbox: Sandbox, child: Child, hub: Receiver
) -> None:
    child.hook("outbound", f"{hub.url}/outbound", "own")
    handle = child.send(status_callback=f"{hub.url}/callback?token=t").json()["message_handle"]
    sandbox.drain_webhooks()
    assert hub.statuses("/outbound") == hub.statuses("/callback?token=t") == ["SENT", "DELIVERED"]
    assert {one.headers["sb-signing-secret"] for one in hub.at("/outbound")} == {"own"}
    for bare in hub.at("/callback?token=t"):
        assert not [name for name in bare.headers if name.startswith("sb-")]
        assert (bare.body["message_handle"], bare.body["is_outbound"]) == (handle, True)


def test_the_global_secret_stands_in_where_an_address_has_none(sandbox: Sandbox, child: Child, hub: Receiver) -> None:
    child.call(
        "POST", "/api/account/webhooks", {"webhooks": [f"{hub.url}/in"], "type": "receive", "globalSecret": "all"}
    )
    sandbox.reply(from_number=CUSTOMER, to_number=child.line, text="hi", media_url="https://example.com/a.png")
    sandbox.drain_webhooks()
    (got,) = hub.got
    assert got.headers["sb-signing-secret"] == "all"
    assert set(got.body) == {
        "accountEmail", "content", "is_outbound", "status", "error_code", "error_message", "error_reason",
        "message_handle", "date_sent", "date_updated", "from_number", "number", "to_number", "was_downgraded", "plan",
        "media_url", "message_type", "group_id", "participants", "send_style", "opted_out", "error_detail",
        "sendblue_number", "service", "group_display_name",
    }  # fmt: skip
    assert (got.body["from_number"], got.body["to_number"]) == (CUSTOMER, child.line)
    assert (got.body["status"], got.body["media_url"]) == ("RECEIVED", "https://example.com/a.png")


def test_each_account_gets_its_own_webhooks_only(sandbox: Sandbox, child: Child, hub: Receiver) -> None:
    other = open_child(sandbox, name="Other")
    child.hook("receive", f"{hub.url}/mine")
    other.hook("receive", f"{hub.url}/theirs")
    sandbox.reply(from_number=CUSTOMER, to_number=other.line, text="hi")
    sandbox.drain_webhooks()
    assert [one.path for one in hub.got] == ["/theirs"]


def test_a_tapback_comes_as_plain_text(sandbox: Sandbox, child: Child, hub: Receiver) -> None:
    child.hook("receive", f"{hub.url}/in")
    handle = child.send(content="See you on Thursday").json()["message_handle"]
    sandbox.drain_webhooks()
    sandbox.react(handle, "love")
    sandbox.drain_webhooks()
    assert [one.body["content"] for one in hub.got] == ["Loved “See you on Thursday”"]


def test_a_5xx_is_tried_again_three_times_and_then_given_up(sandbox: Sandbox, child: Child, hub: Receiver) -> None:
    child.hook("receive", f"{hub.url}/in")
    hub.answers = [500, 503, 200]
    sandbox.reply(from_number=CUSTOMER, to_number=child.line, text="first")
    sandbox.drain_webhooks()
    assert len(hub.got) == 3
    hub.answers = [500] * 9
    sandbox.reply(from_number=CUSTOMER, to_number=child.line, text="second")
    sandbox.drain_webhooks()
    assert len(hub.got) == 3 + 4
    assert [entry["attempt"] for entry in sandbox.webhook_log()] == [1, 2, 3, 1, 2, 3, 4]


def test_a_4xx_is_not_tried_again(sandbox: Sandbox, child: Child, hub: Receiver) -> None:
    child.hook("receive", f"{hub.url}/in")
    hub.answers = [401]
    sandbox.reply(from_number=CUSTOMER, to_number=child.line, text="hi")
    sandbox.drain_webhooks()
    assert len(hub.got) == 1


def test_a_refused_connection_is_tried_again_and_logged_without_the_key(sandbox: Sandbox, child: Child) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    child.hook("receive", f"http://127.0.0.1:{port}/hooks/averyveryverylongkey/?token=t", "hidden-secret")
    sandbox.reply(from_number=CUSTOMER, to_number=child.line, text="hi")
    sandbox.drain_webhooks()
    log = sandbox.webhook_log()
    assert [entry["error"] for entry in log] == ["ConnectionRefusedError"] * 4
    assert log[0]["url"] == f"http://127.0.0.1:{port}/hooks/aver…/"
    assert "hidden-secret" not in str(log)


def test_draining_tells_when_it_takes_too_long(sandbox: Sandbox, child: Child) -> None:
    sandbox.faults.late_s = 30
    sandbox.faults.next_sends("late")
    child.send()
    with pytest.raises(TimeoutError):
        sandbox.drain_webhooks(0.05)


def test_a_customers_typing_is_shown_until_he_sends(sandbox: Sandbox, child: Child) -> None:
    sandbox.typing(from_number=CUSTOMER, to_number=child.line)
    assert [one["who"] for one in sandbox.typing_now()] == ["customer"]
    sandbox.reply(from_number=CUSTOMER, to_number=child.line, text="hi")
    wait_until(lambda: sandbox.typing_now() == [])
