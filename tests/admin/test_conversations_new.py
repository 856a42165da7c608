"""Beginning a conversation: by a number or by a contact's name, in a location where one may answer."""

from django.test import Client

from messaging.models import Thread
from routing.models import AuditEntry, Contact, Role, User
from tests.admin.world import World, sign_in, url
from tests.factories import make_contact, make_location, make_member

NEW = "/admin/messaging/thread/new/"


def page_of(contact: Contact) -> str:
    """The contact's conversation."""
    return url("thread", "change", contact.pk)


def test_a_known_number_opens_its_conversation(ours: World) -> None:
    answer = sign_in(ours.agent).post(NEW, {"to": ours.contact.phone_number})
    assert (answer.status_code, answer["Location"]) == (302, page_of(ours.contact))


def test_a_new_number_becomes_a_contact_that_nothing_was_said_to(ours: World) -> None:
    client = sign_in(ours.agent)
    answer = client.post(NEW, {"to": "(555) 888-0001"}, follow=True)
    contact = Contact.objects.get(phone_number="+15558880001")
    assert contact.location == ours.location
    assert answer.redirect_chain == [(page_of(contact), 302)]
    assert b"Nothing said yet" in answer.content
    assert not Thread.objects.filter(pk=contact.pk).exists()
    entry = AuditEntry.objects.get(object_id=str(contact.pk))
    assert "8880001" not in f"{entry.object_name} {entry.detail} {entry.changes}"

    client.post(url("thread", "send", contact.pk), {"text": "hello", "token": "a" * 32})
    assert Thread.objects.get(pk=contact.pk).last_message.text == "hello"


def test_a_number_that_is_none_is_refused_in_words(ours: World) -> None:
    answer = sign_in(ours.agent).post(NEW, {"to": "12345"})
    assert b"too few or too many digits" in answer.content
    assert Contact.objects.count() == 1


def test_a_name_finds_contacts_of_this_location_alone(ours: World, theirs: World) -> None:
    client = sign_in(ours.agent)
    assert page_of(ours.contact).encode() in client.post(NEW, {"to": "patient"}).content
    answer = client.post(NEW, {"to": "Patient CANARY"}).content
    assert str(theirs.contact.pk).encode() not in answer
    assert b"No contact has that name" in answer


def test_a_number_of_theirs_is_a_new_one_here(ours: World, theirs: World) -> None:
    answer = sign_in(ours.agent).post(NEW, {"to": theirs.contact.phone_number}, follow=True)
    assert b"CANARY" not in answer.content
    assert Contact.objects.filter(location=ours.location, phone_number=theirs.contact.phone_number).count() == 1


def test_only_locations_where_one_may_answer_are_offered(ours: World, theirs: World) -> None:
    make_member(theirs.location, Role.VIEWER, user=ours.agent)
    third = make_location("Third")
    agent = make_member(third, Role.AGENT, user=User.objects.get(pk=ours.agent.pk))
    client = sign_in(agent)
    content = client.get(NEW).content
    assert b"Third" in content
    assert b"Clinic CANARY" not in content
    for forged in (theirs.location.pk, ours.contact.pk, "x", ""):
        assert client.post(NEW, {"to": "+15558880002", "location": str(forged)}).status_code == 200
    assert not Contact.objects.filter(phone_number="+15558880002").exists()
    assert client.post(NEW, {"to": "+15558880002", "location": str(third.pk)}).status_code == 302


def test_viewers_begin_nothing(ours: World) -> None:
    client: Client = sign_in(ours.viewer)
    assert client.get(NEW).status_code == 403
    assert client.post(NEW, {"to": "+15558880003"}).status_code == 403
    assert b"New conversation" not in client.get(url("thread")).content
    make_contact(ours.location)
    assert not Contact.objects.filter(phone_number="+15558880003").exists()
