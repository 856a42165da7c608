"""With the keyboard alone: past the menu, the menu of narrow pages, the focus where it was."""

from playwright.sync_api import expect

from tests.browser.rig import NARROW, Hub, People


def test_the_first_tab_leads_past_the_menu(hub: Hub, people: People) -> None:
    page = people.as_("admin")
    page.goto("/admin/routing/contact/")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to main content")
    expect(skip).to_be_focused()
    box = skip.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["y"] >= 0
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.getElementById('content-start').contains(document.activeElement)")


def test_the_menu_of_a_phone_opens_and_closes(hub: Hub, people: People) -> None:
    page = people.as_("admin", width=NARROW)
    page.goto("/admin/routing/contact/")
    opener = page.get_by_role("button", name="Menu")
    expect(page.get_by_role("navigation", name="Main")).not_to_be_in_viewport()
    opener.focus()
    page.keyboard.press("Enter")
    expect(opener).to_have_attribute("aria-expanded", "true")
    expect(page.get_by_role("navigation", name="Main")).to_be_in_viewport()
    assert page.evaluate("document.getElementById('hub-side').contains(document.activeElement)")
    page.keyboard.press("Escape")
    expect(opener).to_have_attribute("aria-expanded", "false")
    expect(opener).to_be_focused()


def test_what_has_the_focus_can_be_seen(hub: Hub, people: People) -> None:
    page = people.as_("admin")
    for address in ("/admin/", "/admin/routing/account/", "/admin/routing/contact/"):
        page.goto(address)
        for _ in range(25):
            page.keyboard.press("Tab")
            seen = page.evaluate(
                """() => {
                  const at = document.activeElement, style = getComputedStyle(at), box = at.getBoundingClientRect();
                  if (at === document.body) return "";
                  const ring = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
                  const shadow = style.boxShadow !== "none";
                  return ring || shadow || box.width * box.height < 4 ? "" : at.outerHTML.slice(0, 120);
                }"""
            )
            assert seen == "", f"{address}: no ring around {seen}"
