"""Importing contacts: what would change is shown first, two bad rows are said and left out."""

from pathlib import Path

from playwright.sync_api import expect

from tests.browser.rig import Hub, People

ROWS = """phone_number,name,tags,assigned_user
+12125550161,Ada Import,vip,lee
12345,Bob Short,,
+12125550162,Cleo Import,,
+12125550163,Dot Stranger,,nobody-of-this-name
+12125550101,Avery B. Brooks,,
"""


def test_two_bad_rows_are_left_out(hub: Hub, people: People, tmp_path: Path) -> None:
    file = tmp_path / "contacts.csv"
    file.write_text(ROWS)
    page = people.as_("admin")
    page.goto("/admin/routing/contact/")
    page.get_by_role("link", name="Import", exact=True).click()
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_role("button", name="Show what would change").click()
    expect(page.get_by_role("main")).to_contain_text("2 rows are wrong")
    page.get_by_role("navigation", name="Rows of the file").get_by_role("link", name="wrong").click()
    table = page.get_by_role("table")
    expect(table.get_by_role("row").filter(has_text="Bob Short")).to_contain_text("3")
    expect(table.get_by_role("row").filter(has_text="Dot Stranger")).to_contain_text("5")
    assert not named(hub, "Ada Import"), "nothing is written before it was shown"

    page.get_by_role("button", name="Import the 3 good rows, leave out 2").click()
    expect(page.get_by_role("main")).to_contain_text("2 rows are wrong and were left out")
    assert named(hub, "Ada Import")
    assert named(hub, "Cleo Import")
    assert named(hub, "Avery B. Brooks")
    assert not named(hub, "Bob Short")
    assert not named(hub, "Dot Stranger")


def named(hub: Hub, name: str) -> bool:
    """Whether a contact of the clinic is called so."""
    found = hub.api.get("contacts/?page_size=200")["results"]
    return any(contact["name"] == name for contact in found)
