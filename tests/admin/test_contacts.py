"""Contacts in the admin: their number, tags, assigned user and consent."""

import pytest
from django.test import Client

from routing.models import Contact, Role
from tests.admin.world import World, operation, sign_in, url
from tests.factories import make_contact, make_location, make_member


@pytest.fixture
def client(ours: World) -> Client:
    """An agent of the location."""
    return sign_in(ours.agent)


def save(client: Client, contact: Contact, **fields: str) -> str:
    """Post the change form; the page that answers when it is refused, else ""."""
    data = {"name": contact.name, "phone_number": contact.phone_number, "assigned_user": "", "tag_names": ""} | fields
    answer = client.post(url("contact", "change", contact.pk), data)
    return "" if answer.status_code == 302 else answer.content.decode()


def test_a_number_is_stored_in_e164_however_it_is_typed(client: Client, ours: World) -> None:
    assert save(client, ours.contact, phone_number=" 1 (415) 555-2671 ") == ""
    ours.contact.refresh_from_db()
    assert ours.contact.phone_number == "+14155552671"
    # The location's region says what a number without its country is.
    type(ours.location).objects.filter(pk=ours.location.pk).update(region="GB")
    assert save(client, ours.contact, phone_number="020 7946 0018") == ""
    ours.contact.refresh_from_db()
    assert ours.contact.phone_number == "+442079460018"


@pytest.mark.parametrize("typed", ["12345", "not a number", "+1 415 555 2671 ext 5", "1-900-555-0100", "‪+14155552671"])
def test_what_is_no_number_is_refused(client: Client, ours: World, typed: str) -> None:
    before = ours.contact.phone_number
    assert "errornote" in save(client, ours.contact, phone_number=typed)
    ours.contact.refresh_from_db()
    assert ours.contact.phone_number == before


def test_a_number_belongs_to_one_contact_of_the_location(client: Client, ours: World) -> None:
    other = make_contact(ours.location)
    assert "Another contact of this location has this number." in save(
        client, ours.contact, phone_number=other.phone_number
    )
    answer = sign_in(ours.admin).post(
        url("contact", "add"),
        {"location": ours.location.pk, "name": "", "phone_number": other.phone_number, "tag_names": ""},
    )
    assert "Another contact of this location has this number." in answer.content.decode()


def test_tags_are_typed_with_commas(client: Client, ours: World) -> None:
    assert save(client, ours.contact, tag_names='vip,  im: (555) 123-4567 , "one, two", vip,, ') == ""
    names = set(ours.contact.tags.values_list("name", flat=True))
    assert names == {"vip", "im: (555) 123-4567", "one, two"}
    # What the form shows, posted again, changes nothing.
    page = client.get(url("contact", "change", ours.contact.pk))
    shown = page.context["adminform"].form.initial["tag_names"]
    assert save(client, ours.contact, tag_names=shown) == ""
    assert set(ours.contact.tags.values_list("name", flat=True)) == names
    assert save(client, ours.contact, tag_names="") == ""
    assert not ours.contact.tags.exists()


def test_a_tag_that_is_too_long_is_refused(client: Client, ours: World) -> None:
    assert "A tag has 1 to 100 characters." in save(client, ours.contact, tag_names="ok, " + "x" * 101)
    assert list(ours.contact.tags.values_list("name", flat=True)) == ["vip ours"]


def test_only_members_are_offered_as_assigned_user(client: Client, ours: World, theirs: World) -> None:
    page = client.get(url("contact", "change", ours.contact.pk)).content.decode()
    options = page.split('name="assigned_user"')[1].split("</select>")[0]
    assert str(ours.viewer.pk) in options
    assert str(theirs.agent.pk) not in options
    assert save(client, ours.contact, assigned_user=str(ours.viewer.pk)) == ""
    assert Contact.objects.get(pk=ours.contact.pk).assigned_user == ours.viewer


def test_an_assigned_user_who_left_may_stay(client: Client, ours: World) -> None:
    """Otherwise nobody could change the name of a contact whose user has left."""
    ours.membership(ours.agent).delete()
    admin = sign_in(ours.admin)
    assert save(admin, ours.contact, name="Renamed", assigned_user=str(ours.agent.pk)) == ""


def test_consent_changes_through_its_buttons_only(client: Client, ours: World) -> None:
    assert save(client, ours.contact, opted_out_at="2026-01-01") == ""
    assert not Contact.objects.get(pk=ours.contact.pk).opted_out
    client.post(operation("contact", ours.contact.pk, "opt-out"))
    assert Contact.objects.get(pk=ours.contact.pk).opted_out
    door = operation("contact", ours.contact.pk, "opt-in")
    assert "Only if the contact asked for it" in client.get(door).content.decode()
    assert Contact.objects.get(pk=ours.contact.pk).opted_out
    client.post(door)
    assert not Contact.objects.get(pk=ours.contact.pk).opted_out


def test_a_new_contact_is_offered_the_users_of_the_one_location(ours: World) -> None:
    data = {
        "location": ours.location.pk,
        "name": "New",
        "phone_number": "(415) 555-2672",
        "tag_names": "a, b",
        "assigned_user": ours.agent.pk,
    }
    admin = sign_in(ours.admin)
    assert 'name="assigned_user"' in admin.get(url("contact", "add")).content.decode()
    assert admin.post(url("contact", "add"), data).status_code == 302
    contact = Contact.objects.get(phone_number="+14155552672")
    assert contact.assigned_user == ours.agent
    assert contact.tags.count() == 2
    # With a second location the user is chosen once the contact is there.
    make_member(make_location("Second"), user=ours.admin, role=Role.ADMIN)
    assert 'name="assigned_user"' not in sign_in(ours.admin).get(url("contact", "add")).content.decode()


def test_contacts_are_found_by_name_and_by_number_however_written(client: Client, ours: World) -> None:
    make_contact(ours.location, name="Zoe Other", phone_number="+14155550123")
    for words, found in (
        ("zoe", True),
        ("(415) 555-0123", True),
        ("5550123", True),
        ("Patient", False),
        ("999", False),
    ):
        assert ("Zoe Other" in client.get(url("contact"), {"q": words}).content.decode()) is found, words
    page = client.get(url("contact"), {"opted_out": "yes"}).content.decode()
    assert "Zoe Other" not in page
    assert "Zoe Other" not in client.get(url("contact"), {"tags__id__exact": str(ours.tag.pk)}).content.decode()
