"""A conversation with a phone of the sandbox: both sides are real pages, and nothing is loaded again."""

import re
import zlib
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.rig import Hub, People

SLOW = 20_000


def open_conversation(page: Page, contact: str, name: str) -> None:
    """The page of the conversation with the contact."""
    page.goto(f"/admin/messaging/thread/{contact}/change/")
    expect(page.get_by_role("heading", level=1)).to_contain_text(name)
    page.evaluate("window.stayed = true")


def composer(page: Page):
    """Where one types."""
    return page.get_by_label(re.compile("^Message to"))


def bubble(page: Page, text: str):
    """The bubble with the text."""
    return page.locator("#bubbles > li").filter(has_text=text)


def test_a_conversation_with_a_phone(hub: Hub, people: People) -> None:
    """Sent, delivered, read, typing, an answer and a reaction come by themselves."""
    contact = hub.contact("Robin Talker", "+12125550141")
    page = people.as_("agent")
    open_conversation(page, contact, "Robin Talker")
    composer(page).fill("Are you coming today?")
    composer(page).press("Enter")
    ours = bubble(page, "Are you coming today?")
    expect(ours).to_contain_text("Delivered", ignore_case=True, timeout=SLOW)

    # The other side, on the page of phones.
    phones = people.stranger()
    phones.goto(hub.phones)
    line = hub.number_of("Front desk")
    expect(phones.get_by_text("Are you coming today?").first).to_be_visible(timeout=SLOW)
    hub.control("read", line=line, customer="+12125550141")
    expect(ours).to_contain_text("Read", ignore_case=True, timeout=SLOW)

    hub.control("typing", line=line, customer="+12125550141", typing=True)
    expect(page.get_by_text("Robin Talker is typing")).to_be_attached(timeout=SLOW)
    reply = hub.control("reply", line=line, customer="+12125550141", text="Yes, at nine.")
    expect(bubble(page, "Yes, at nine.")).to_be_visible(timeout=SLOW)
    assert reply["message"]["content"] == "Yes, at nine."

    state = hub.sandbox_messages(line, "+12125550141")
    handle = next(message["handle"] for message in state if message["content"] == "Are you coming today?")
    hub.control("react", handle=handle, reaction="love")
    expect(ours).to_contain_text("❤", timeout=SLOW)
    assert page.evaluate("window.stayed"), "the page was loaded again"


def test_enter_sends_and_shift_enter_breaks_the_line(hub: Hub, people: People) -> None:
    contact = hub.contact("Kit Keys", "+12125550142")
    page = people.as_("agent")
    open_conversation(page, contact, "Kit Keys")
    composer(page).press_sequentially("first line")
    composer(page).press("Shift+Enter")
    composer(page).press_sequentially("second line")
    expect(composer(page)).to_have_value("first line\nsecond line")
    composer(page).press("Enter")
    expect(bubble(page, "second line")).to_have_count(1)
    expect(composer(page)).to_have_value("")
    expect(composer(page)).to_be_focused()


def test_the_preview_says_the_number_and_why(hub: Hub, people: People) -> None:
    contact = hub.contact("Pia Preview", "+12125550143")
    page = people.as_("agent")
    open_conversation(page, contact, "Pia Preview")
    outlook = page.locator("#outlook")
    expect(outlook).to_contain_text("Front desk")
    composer(page).fill("From billing {IM#2}")
    expect(outlook).to_contain_text("Billing")
    expect(outlook).to_contain_text("From billing")
    composer(page).fill("Nobody has this {IM#99}")
    expect(outlook).to_contain_text("99")
    composer(page).fill("Nearly {IM 2}")
    expect(outlook.locator("p").nth(0)).to_be_visible()


def test_a_picture_is_sent(hub: Hub, people: People, tmp_path: Path) -> None:
    contact = hub.contact("Olga Ophoto", "+12125550144")
    page = people.as_("agent")
    open_conversation(page, contact, "Olga Ophoto")
    file = tmp_path / "map.png"
    file.write_bytes(png())
    page.locator("input[type=file]").set_input_files(file)
    expect(page.get_by_text("map.png")).to_be_visible()
    composer(page).fill("Here is the way")
    composer(page).press("Enter")
    ours = bubble(page, "Here is the way")
    expect(ours).to_contain_text("Delivered", ignore_case=True, timeout=SLOW)
    shown = ours.locator("img")
    expect(shown).to_be_visible()
    assert shown.evaluate("image => image.decode().then(() => image.naturalWidth)") == 8
    sent = hub.sandbox_messages(hub.number_of("Front desk"), "+12125550144")
    assert sent[-1]["media_url"]


def test_a_failed_message_says_why(hub: Hub, people: People) -> None:
    number = "+12125559031"  # undelivered: see provisioning/sandbox/faults.py
    contact = hub.contact("Fay Failing", number)
    page = people.as_("agent")
    open_conversation(page, contact, "Fay Failing")
    composer(page).fill("Will not arrive")
    composer(page).press("Enter")
    ours = bubble(page, "Will not arrive")
    expect(ours).to_contain_text(re.compile("failed|not delivered", re.IGNORECASE), timeout=SLOW)
    expect(ours.get_by_role("button", name="Try again")).to_be_visible()


@pytest.mark.parametrize("who", ["viewer"])
def test_who_only_reads_has_no_composer(hub: Hub, people: People, who: str) -> None:
    contact = hub.contact("Vera Viewed", "+12125550145")
    page = people.as_(who)
    open_conversation(page, contact, "Vera Viewed")
    expect(composer(page)).to_have_count(0)


def png() -> bytes:
    """A picture, 8 by 8."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)

    header = (8).to_bytes(4) * 2 + bytes([8, 2, 0, 0, 0])
    rows = zlib.compress((b"\0" + b"\x20\x80\xf0" * 8) * 8)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
