"""A new setup: made on a page, its line comes while the page is open."""

import re

from playwright.sync_api import Page, expect

from provisioning.sandbox.faults import magic_area_code
from tests.browser.rig import Hub, People


def wish(page: Page, area_code: str) -> None:
    """Ask for an area code; the field may be folded away."""
    field = page.get_by_label("Area code")
    if not field.is_visible():
        page.locator("details", has=field).locator("summary").click()
    field.fill(area_code)


def test_a_pending_line_becomes_assigned_before_ones_eyes(hub: Hub, people: People) -> None:
    page = people.as_("admin")
    page.goto("/admin/provisioning/setup/add/")
    page.get_by_label("Business name").fill("maple-weekend")
    page.get_by_label("Label").fill("Weekend desk")
    wish(page, magic_area_code("placed_soon"))
    page.get_by_role("button", name=re.compile("Create|Save")).first.click()
    page.wait_for_url(re.compile(r"/admin/provisioning/setup/[0-9a-f-]{36}/change/"))

    lines = page.get_by_role("region", name="Phone lines")
    expect(lines.get_by_text("pending", exact=True)).to_be_visible()
    expect(lines.get_by_text("to come")).to_be_visible()
    page.evaluate("window.stayed = true")
    expect(lines.get_by_text("assigned", exact=True)).to_be_visible(timeout=30_000)
    assert page.evaluate("window.stayed"), "the page was loaded again"
    number = hub.number_of("Weekend desk")
    expect(lines.locator(f'[title="{number}"]')).to_be_visible()


def test_what_is_wrong_is_said_at_its_field(hub: Hub, people: People) -> None:
    page = people.as_("admin")
    page.goto("/admin/provisioning/setup/add/")
    page.get_by_label("Business name").fill("maple-odd")
    page.get_by_label("Label").fill("Odd")
    wish(page, "11")
    page.get_by_role("button", name=re.compile("Create|Save")).first.click()
    expect(page.get_by_text("An area code has three digits, like 415.")).to_be_visible()
    expect(page.get_by_label("Business name")).to_have_value("maple-odd")
