"""The star: another account becomes the location's default."""

from playwright.sync_api import expect

from tests.browser.rig import Hub, People


def test_an_admin_moves_the_star(hub: Hub, people: People) -> None:
    page = people.as_("admin")
    page.goto("/admin/routing/account/")
    row = page.get_by_role("row").filter(has_text="Nurse line")
    row.get_by_role("button", name="default").click()
    page.wait_for_load_state()
    if "/impact/" in page.url or "/do/" in page.url:
        # Contacts would change their number: they are counted first.
        expect(page.get_by_role("main")).to_contain_text("contact")
        page.get_by_role("main").locator("form").get_by_role("button").first.click()
        page.wait_for_load_state()
    page.goto("/admin/routing/account/")
    expect(page.get_by_role("row").filter(has_text="Nurse line")).to_contain_text("default")
    expect(page.get_by_role("row").filter(has_text="Front desk").get_by_role("button", name="default")).to_be_visible()
    accounts = {account["label"]: account for account in hub.api.get("accounts/")["results"]}
    assert accounts["Nurse line"]["is_default"]
    hub.api.post(f"accounts/{hub.clinic['default_account']}/set-default/")


def test_an_agent_without_the_right_has_no_star_to_move(hub: Hub, people: People) -> None:
    page = people.as_("agent")
    page.goto("/admin/routing/account/")
    expect(page.get_by_role("row").filter(has_text="Nurse line")).to_be_visible()
    expect(page.get_by_role("button", name="default")).to_have_count(0)
