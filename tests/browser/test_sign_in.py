"""Signing in: with the right password to the home page, with a wrong one to a sentence."""

from tests.browser.rig import USERNAME, Hub, People, sign_in


def test_a_location_admin_signs_in_and_out(hub: Hub, people: People) -> None:
    page = people.stranger()
    sign_in(page, hub.clinic["admin"], hub.password)
    assert page.url == f"{hub.url}/admin/"
    assert page.get_by_role("link", name="Conversations").or_(page.get_by_role("link", name="Messages")).count()
    page.get_by_role("button", name="Log out").click()
    page.wait_for_load_state()
    page.goto("/admin/")
    assert page.get_by_label(USERNAME).is_visible()


def test_a_wrong_password_is_told(hub: Hub, people: People) -> None:
    page = people.stranger()
    sign_in(page, hub.clinic["viewer"], "not the password")
    page.get_by_role("alert").wait_for()
    assert page.get_by_label("Password").input_value() == ""
    assert "/admin/login/" in page.url
