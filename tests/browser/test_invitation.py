"""Inviting somebody by a link, and what an agent may not do."""

import re

from playwright.sync_api import expect

from tests.browser.rig import USERNAME, Hub, People

ADMINS_ONLY = ("/admin/provisioning/setup/add/", "/admin/routing/apikey/", "/admin/routing/invitation/add/")


def test_an_agent_comes_by_the_link_and_may_not_administer(hub: Hub, people: People) -> None:
    page = people.as_("admin")
    page.goto("/admin/routing/membership/")
    page.get_by_role("link", name="Invite somebody").click()
    page.get_by_label("For whom").fill("Sam Newcomer")
    page.locator("[name=role][value=agent]").check()
    page.get_by_role("button", name=re.compile("Invite|Save|Make|Create")).first.click()
    link = page.locator("code", has_text="/join/").inner_text().strip()

    guest = people.stranger()
    guest.goto(link)
    guest.get_by_label(USERNAME).fill("sam")
    guest.get_by_label(re.compile("^Password$|^Password:$|^Password ", re.IGNORECASE)).first.fill(
        "violet-harbour-lamp-7"
    )
    guest.get_by_label(re.compile("confirmation|again", re.IGNORECASE)).fill("violet-harbour-lamp-7")
    guest.get_by_role("button", name="Join").click()
    guest.wait_for_url(re.compile(r"/admin/"))
    if "/login/" in guest.url:
        guest.get_by_label(USERNAME).fill("sam")
        guest.get_by_label("Password").fill("violet-harbour-lamp-7")
        guest.get_by_role("button", name="Sign in").click()
    menu = guest.get_by_role("navigation", name="Main")
    expect(menu.get_by_role("link", name="Contacts")).to_be_visible()

    # What an agent may not.
    expect(menu.get_by_role("link", name="API keys")).to_have_count(0)
    expect(menu.get_by_role("link", name="Users")).to_have_count(0)
    for address in ADMINS_ONLY:
        answer = guest.goto(address)
        assert answer is not None
        assert answer.status == 403, address
    guest.goto("/admin/routing/account/")
    expect(guest.get_by_role("button", name="default")).to_have_count(0)

    # The link worked once.
    late = people.stranger()
    late.goto(link)
    expect(late.get_by_role("button", name="Join")).to_have_count(0)
