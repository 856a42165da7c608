"""How the sandbox places lines: by hand, by the timer, and as the magic area codes say."""

from collections.abc import Iterator

import phonenumbers
import pytest
import requests

from provisioning.sandbox.area_codes import AREA_CODES
from provisioning.sandbox.faults import LINE_FAULTS, magic_area_code
from provisioning.sandbox.server import Sandbox
from provisioning.sandbox.wire import SandboxError
from tests.provisioning.sandbox_rig import (
    CUSTOMER,
    Child,
    Receiver,
    open_child,
    quick,
    receiver,
    request_child,
    wait_until,
)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with quick() as running:
        yield running


@pytest.fixture
def hub() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


def _child(sandbox: Sandbox, hub: Receiver, fault: str) -> Child:
    child = open_child(sandbox, magic_area_code(fault))
    for kind in ("line_assigned", "line_blocked"):
        child.hook(kind, f"{hub.url}/{kind}")
    return child


def test_an_ordinary_line_waits_for_a_person(sandbox: Sandbox, hub: Receiver) -> None:
    child = open_child(sandbox, "415")
    child.hook("line_assigned", f"{hub.url}/line_assigned")
    assert child.data["assigned_number"] is None
    assert child.numbers() == []
    number = sandbox.place_line(company_name="Harbor Dental")
    sandbox.drain_webhooks()
    assert number.startswith("+1415")
    assert child.numbers() == [number]
    (notice,) = hub.got
    assert notice.body == {
        "event_type": "line_assigned",
        "number": number,
        "status": "assigned",
        "accountEmail": "owner@example.com",
    }
    (state,) = child.call("GET", "/api/v2/lines/state").json()["data"]
    assert (state["sendblue_number"], state["assignment"], state["status"]) == (number, "assigned", "ONLINE")


def test_an_ordinary_line_is_placed_by_the_timer_when_there_is_one() -> None:
    with quick(line_delay_s=0.03) as sandbox:
        child = open_child(sandbox, "415")
        wait_until(child.numbers)
        assert len(child.numbers()) == 1


def test_a_line_is_placed_once_and_a_number_given_once(sandbox: Sandbox) -> None:
    for name in ("One", "Two"):
        open_child(sandbox, "415", name=name)
    number = sandbox.place_line(company_name="One", number="+14155550142")
    (placed, pending) = sandbox.store.lines()
    with pytest.raises(SandboxError, match="its number already"):
        sandbox.place_line(request_id=placed.request_id)
    with pytest.raises(SandboxError, match="Another line"):
        sandbox.place_line(request_id=pending.request_id, number=number)
    with pytest.raises(SandboxError, match="company name"):
        sandbox.place_line(company_name="Nobody")


def test_a_company_without_a_pending_line_gets_another_one(sandbox: Sandbox) -> None:
    child = open_child(sandbox)
    second = sandbox.place_line(company_name="Harbor Dental")
    assert child.numbers() == [child.line, second]
    assert len({child.line, second}) == 2


def test_no_line_is_made_when_none_is_wanted(sandbox: Sandbox) -> None:
    assert request_child(sandbox, provision_line=False).status_code == 200
    assert sandbox.store.lines() == []


def test_at_once_carries_the_number_in_the_answer(sandbox: Sandbox) -> None:
    child = open_child(sandbox, magic_area_code("at_once"))
    assert child.line
    assert child.numbers() == [child.line]


def test_placed_soon(sandbox: Sandbox, hub: Receiver) -> None:
    child = _child(sandbox, hub, "placed_soon")
    assert child.data["assigned_number"] is None
    wait_until(lambda: hub.got)
    assert [hub.got[0].body["number"]] == child.numbers()


def test_never_placed_stays_pending_though_others_are_placed_by_the_timer() -> None:
    with quick(line_delay_s=0.01) as sandbox:
        never = open_child(sandbox, magic_area_code("never_placed"), name="Never")
        wait_until(open_child(sandbox, "415").numbers)
        assert never.numbers() == []
        assert sandbox.place_line(company_name="Never") in never.numbers()


def test_the_answer_is_lost_though_the_account_exists(sandbox: Sandbox) -> None:
    with pytest.raises(requests.ConnectionError):
        request_child(sandbox, magic_area_code("answer_reset"), name="Reset")
    assert request_child(sandbox, magic_area_code("error_500_after"), name="Five hundred").status_code == 500
    garbage = request_child(sandbox, magic_area_code("garbage"), name="Garbage")
    assert garbage.status_code == 200
    with pytest.raises(requests.JSONDecodeError):
        garbage.json()
    slow = request_child(sandbox, magic_area_code("answer_timeout"), name="Slow")
    assert slow.elapsed.total_seconds() >= 0.4
    names = [account.company_name for account in sandbox.store.accounts()[1:]]
    assert names == ["Reset", "Five hundred", "Garbage", "Slow"]


@pytest.mark.parametrize(("fault", "status"), [("refused", 400), ("rate_limited", 429)])
def test_a_refusal_creates_nothing(sandbox: Sandbox, fault: str, status: int) -> None:
    assert request_child(sandbox, magic_area_code(fault)).status_code == status
    assert len(sandbox.store.accounts()) == 1
    assert sandbox.store.lines() == []


def test_the_notice_is_doubled_silent_or_odd(sandbox: Sandbox, hub: Receiver) -> None:
    twice = _child(sandbox, hub, "notice_twice")
    wait_until(lambda: len(hub.got) == 3)
    assert {one.body["number"] for one in hub.got} == set(twice.numbers())
    silent = _child(sandbox, hub, "notice_none")
    wait_until(silent.numbers)
    sandbox.drain_webhooks()
    assert len(hub.got) == 3
    odd = _child(sandbox, hub, "notice_odd")
    wait_until(lambda: len(hub.got) == 4)
    assert "number" not in hub.got[3].body
    assert hub.got[3].body["data"]["line"]["e164"] == odd.numbers()[0]


def test_the_line_part_can_be_left_out(sandbox: Sandbox) -> None:
    assert "assigned_number" not in open_child(sandbox, magic_area_code("no_line_part")).data
    with quick(line_part="omitted", line_notice="odd") as other:
        assert "assigned_number" not in open_child(other, "290").data


def test_placed_then_blocked(sandbox: Sandbox, hub: Receiver) -> None:
    child = _child(sandbox, hub, "blocked_soon")
    wait_until(lambda: hub.at("/line_blocked"))
    (child.line,) = child.numbers()
    assert child.call("GET", "/api/v2/lines/state").json()["data"][0]["status"] == "OFFLINE"
    refused = child.send()
    assert (refused.status_code, sandbox.ledger()) == (403, [])
    sandbox.set_line_status(child.line, "ONLINE")
    assert child.send().status_code == 200


def test_false_notices_name_numbers_that_the_list_does_not(sandbox: Sandbox, hub: Receiver) -> None:
    second = _child(sandbox, hub, "second_number")
    wait_until(lambda: len(hub.got) == 2)
    first_told, then_told = (one.body["number"] for one in hub.got)
    assert second.numbers() == [first_told]
    assert then_told != first_told
    false = _child(sandbox, hub, "false_notice")
    wait_until(lambda: len(hub.got) == 3)
    assert false.numbers() == []


def test_sends_from_an_offline_line_are_held_until_it_is_back(sandbox: Sandbox) -> None:
    child = open_child(sandbox)
    sandbox.set_line_status(child.line, "OFFLINE")
    child.send(number=CUSTOMER)
    sandbox.drain_webhooks()
    assert [kept.status for kept in sandbox.ledger()] == ["QUEUED"]
    sandbox.set_line_status(child.line, "ONLINE")
    sandbox.drain_webhooks()
    assert [kept.status for kept in sandbox.ledger()] == ["DELIVERED"]


def test_placed_numbers_are_valid_unique_and_in_the_wished_area(sandbox: Sandbox) -> None:
    numbers = []
    for area_code in [*sorted(AREA_CODES)[::60], "999", "292"]:
        open_child(sandbox, area_code, name=f"In {area_code}")
        numbers.append(sandbox.place_line(company_name=f"In {area_code}"))
        assert area_code not in AREA_CODES or numbers[-1].startswith(f"+1{area_code}")
    assert len(set(numbers)) == len(numbers)
    for number in [*numbers, *(f"+1{area_code}5550100" for area_code in AREA_CODES)]:
        assert phonenumbers.is_valid_number(phonenumbers.parse(number)), number


def test_magic_area_codes_are_no_real_ones_and_differ() -> None:
    codes = [fault.area_code for fault in LINE_FAULTS]
    assert len(set(codes)) == len(codes)
    assert not set(codes) & AREA_CODES
