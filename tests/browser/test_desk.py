"""The desk: a message of which nobody knows whether it was sent is settled by a person."""

import re

from playwright.sync_api import Page, expect

from provisioning.sandbox.faults import magic_number
from tests.browser.rig import Hub, People

DESK = "/admin/messaging/message/desk/"


def uncertain(hub: Hub, page: Page, text: str, fault: str) -> str:
    """The id of a message whose outcome nobody knows."""
    sent = hub.api.post("messages/", {"to": magic_number(fault), "text": text})
    for _ in range(120):
        if hub.api.get(f"messages/{sent['id']}/")["status"] == "uncertain":
            return str(sent["id"])
        page.wait_for_timeout(250)
    raise AssertionError(hub.api.get(f"messages/{sent['id']}/"))


def case_of(page: Page, text: str):
    """The card of the message."""
    page.goto(DESK)
    return page.get_by_role("article").filter(has_text=text)


def test_an_uncertain_message_is_settled(hub: Hub, people: People) -> None:
    page = people.as_("agent")
    message = uncertain(hub, page, "Did this arrive?", "timeout_not_sent")
    case = case_of(page, "Did this arrive?")
    expect(case.get_by_role("region", name="Evidence")).to_contain_text("Attempt 1")
    case.get_by_label(re.compile("Reason")).fill("The patient said so on the phone")
    case.get_by_role("button", name="It was sent").click()
    expect(page.get_by_role("status").first).to_be_attached()
    expect(case_of(page, "Did this arrive?")).to_have_count(0)
    assert hub.api.get(f"messages/{message}/")["status"] not in ("uncertain", "failed")

    admin = people.as_("admin")
    admin.goto(f"/admin/messaging/message/{message}/history/")
    expect(admin.get_by_role("main")).to_contain_text("The patient said so on the phone")


def test_sending_again_asks_first(hub: Hub, people: People) -> None:
    page = people.as_("agent")
    message = uncertain(hub, page, "Perhaps once more?", "reset_before")
    case_of(page, "Perhaps once more?").get_by_role("link", name="Send again").click()
    page.wait_for_load_state()
    assert hub.api.get(f"messages/{message}/")["status"] == "uncertain"
    page.get_by_role("main").locator("form").get_by_role("button", name=re.compile("[Ss]end")).click()
    page.wait_for_load_state()
    tries = 0
    for _ in range(40):
        tries = len(hub.api.get(f"messages/{message}/").get("attempts", [])) or tries
        if tries != 1 or hub.api.get(f"messages/{message}/")["status"] != "uncertain":
            break
        page.wait_for_timeout(250)
    assert tries != 1 or hub.api.get(f"messages/{message}/")["status"] != "uncertain"


def test_a_viewer_decides_nothing(hub: Hub, people: People) -> None:
    page = people.as_("viewer")
    uncertain(hub, page, "Not for viewers", "timeout_not_sent")
    case = case_of(page, "Not for viewers")
    expect(case).to_be_visible()
    expect(case.get_by_role("button", name="It was sent")).to_have_count(0)
