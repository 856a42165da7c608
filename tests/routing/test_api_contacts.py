"""Contacts over HTTP: make, read, change, forget."""

import pytest
import requests

from messaging.models import Message
from routing import services
from routing.models import Contact, Role
from tests.factories import make_account, make_clinic, make_contact, make_member

CONTACTS = "/api/v1/contacts/"


def test_a_contact_is_made_with_all_that_is_said_of_it(clinic, api):
    member = make_member(clinic.location, Role.AGENT, crm_user_id="crm-7")
    answer = api.post(
        CONTACTS,
        {
            "name": "  Ada ",
            "phone_number": "(415) 555-2671",
            "tags": ["vip", "im: +15551234567", "vip "],
            "assigned_user": "crm-7",
            "opted_out": True,
        },
    )
    assert answer.status_code == 201, answer.content
    body = answer.json()
    stored = Contact.objects.get(pk=body["id"])
    assert body == {
        "id": str(stored.pk),
        "location": str(clinic.location.pk),
        "name": "Ada",
        "phone_number": "+14155552671",
        "tags": ["im: +15551234567", "vip"],
        "assigned_user": str(member.pk),
        "opted_out": True,
        "opted_out_at": body["opted_out_at"],
        "last_account": None,
        "created_at": body["created_at"],
        "updated_at": body["updated_at"],
    }
    assert body["opted_out_at"].endswith("Z")
    assert api.get(f"{CONTACTS}{stored.pk}/").json() == body


def test_the_number_alone_is_enough(api):
    body = api.post(CONTACTS, {"phone_number": "+15559990001"}).json()
    assert (body["name"], body["tags"], body["assigned_user"], body["opted_out"]) == ("", [], None, False)


def test_a_number_is_read_in_the_locations_region(clinic, api):
    clinic.location.region = "GB"
    clinic.location.save()
    assert api.post(CONTACTS, {"phone_number": "020 7946 0018"}).json()["phone_number"] == "+442079460018"


def test_a_number_that_is_taken_is_409_and_changes_nothing(clinic, api):
    answer = api.post(CONTACTS, {"phone_number": clinic.contact.phone_number, "name": "Other", "tags": ["x"]})
    assert (answer.status_code, answer.json()["code"]) == (409, "contact_exists")
    assert api.get(f"{CONTACTS}{clinic.contact.pk}/").json()["name"] == clinic.contact.name


def test_a_change_touches_what_it_names_only(clinic, api):
    services.set_tags(contact=clinic.contact, names=["old"])
    before = api.get(f"{CONTACTS}{clinic.contact.pk}/").json()
    answer = api.patch(f"{CONTACTS}{clinic.contact.pk}/", {"name": "New"})
    assert answer.status_code == 200
    after = answer.json()
    assert after["updated_at"] > before["updated_at"]
    assert after == {**before, "name": "New", "updated_at": after["updated_at"]}


def test_everything_can_be_changed_and_taken_back(clinic, api):
    path = f"{CONTACTS}{clinic.contact.pk}/"
    changed = api.patch(
        path,
        {
            "phone_number": "+15559990001",
            "tags": ["b", "a"],
            "assigned_user": str(clinic.agent.pk),
            "opted_out": True,
        },
    ).json()
    assert (changed["phone_number"], changed["tags"]) == ("+15559990001", ["a", "b"])
    assert (changed["assigned_user"], changed["opted_out"]) == (str(clinic.agent.pk), True)
    back = api.patch(path, {"tags": [], "assigned_user": None, "opted_out": False}).json()
    assert (back["tags"], back["assigned_user"], back["opted_out"], back["opted_out_at"]) == ([], None, False, None)


def test_the_time_of_an_opt_out_is_the_first(clinic, api):
    path = f"{CONTACTS}{clinic.contact.pk}/"
    first = api.patch(path, {"opted_out": True}).json()["opted_out_at"]
    assert api.patch(path, {"opted_out": True}).json()["opted_out_at"] == first


def test_the_number_of_another_contact_is_409(clinic, api):
    other = make_contact(clinic.location)
    answer = api.patch(f"{CONTACTS}{clinic.contact.pk}/", {"phone_number": other.phone_number, "name": "Lost"})
    assert (answer.status_code, answer.json()["code"]) == (409, "contact_exists")
    clinic.contact.refresh_from_db()
    assert clinic.contact.name != "Lost"


def test_its_own_number_is_no_conflict(clinic, api):
    answer = api.patch(f"{CONTACTS}{clinic.contact.pk}/", {"phone_number": clinic.contact.phone_number})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"tags": "vip"}, "not_a_list"),
        ({"tags": [1]}, "invalid"),
        ({"tags": [""]}, "blank"),
        ({"tags": ["x" * 101]}, "max_length"),
        ({"tags": [f"t{n}" for n in range(51)]}, "max_length"),
        ({"tags": None}, "null"),
        ({"assigned_user": "nobody"}, "user_not_found"),
        ({"assigned_user": ""}, "blank"),
        ({"assigned_user": 5}, "invalid"),
        ({"opted_out": "true"}, "invalid"),
        ({"name": "x" * 201}, "max_length"),
        ({"name": None}, "null"),
        ({"phone_number": "nonsense"}, "invalid_phone"),
        ({"phone_number": ""}, "blank"),
        ({"phone_number": "+19005551234"}, "invalid_phone"),
        ({"id": "00000000-0000-0000-0000-000000000000"}, "unknown_field"),
        ({"opted_out_at": None}, "unknown_field"),
        ({"last_account": None}, "unknown_field"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_changed(clinic, api, body, code):
    before = api.get(f"{CONTACTS}{clinic.contact.pk}/").json()
    for answer in (
        api.patch(f"{CONTACTS}{clinic.contact.pk}/", body),
        api.post(CONTACTS, {"phone_number": "+15559990001"} | body),
    ):
        assert (answer.status_code, answer.json()["code"]) == (400, code), answer.content
        assert answer.json()["errors"][0]["field"].split(".")[0] == next(iter(body))
    assert api.get(f"{CONTACTS}{clinic.contact.pk}/").json() == before
    assert Contact.objects.filter(location=clinic.location).count() == 1


def test_a_user_who_is_no_member_cannot_be_assigned(clinic, api):
    answer = api.patch(f"{CONTACTS}{clinic.contact.pk}/", {"assigned_user": str(clinic.other_admin.pk)})
    assert (answer.status_code, answer.json()["code"]) == (400, "user_not_found")


def test_a_contact_without_messages_is_forgotten(clinic, api):
    services.set_tags(contact=clinic.contact, names=["x"])
    answer = api.delete(f"{CONTACTS}{clinic.contact.pk}/")
    assert (answer.status_code, answer.content) == (204, b"")
    assert api.get(f"{CONTACTS}{clinic.contact.pk}/").status_code == 404


def test_a_contact_with_messages_is_kept(clinic, api):
    api.post("/api/v1/messages/", clinic.text())
    answer = api.delete(f"{CONTACTS}{clinic.contact.pk}/")
    assert (answer.status_code, answer.json()["code"]) == (409, "contact_has_messages")
    assert Message.objects.filter(contact=clinic.contact).exists()


def test_put_is_not_there(clinic, api):
    assert api.put(f"{CONTACTS}{clinic.contact.pk}/", {"name": "x"}).status_code == 405


def test_contacts_are_found_by_what_is_known_of_them(clinic, api):
    zoe = make_contact(
        clinic.location,
        name="Zoë O'Neil 50%",
        phone_number="+14155552671",
        tags=("vip",),
        assigned_user=clinic.agent,
        opted_out=True,
    )

    def found(**query):
        return [row["id"] for row in api.get(CONTACTS, query).json()["results"]]

    for query in (
        {"search": "o'neil"},
        {"search": "50%"},
        {"search": "(415) 555-26"},
        {"search": "14155552671"},
        {"phone_number": "+14155552671"},
        {"tag": "vip"},
        {"assigned_user": str(clinic.agent.pk)},
        {"opted_out": "true"},
        {"search": "zo", "tag": "vip", "opted_out": "true"},
    ):
        assert found(**query) == [str(zoe.pk)], query
    assert found(opted_out="false") == [str(clinic.contact.pk)]
    for query in (
        {"search": "%%"},
        {"search": "_" * 20},
        {"tag": "other"},
        {"search": "zo", "opted_out": "false"},
    ):
        assert found(**query) == [], query


def test_the_account_a_contact_last_saw_is_shown(clinic, api):
    account = make_account(clinic.location)
    services.note_last_account(contact_id=clinic.contact.pk, account_id=account.pk)
    assert api.get(f"{CONTACTS}{clinic.contact.pk}/").json()["last_account"] == str(account.pk)


@pytest.mark.postgres
def test_one_number_posted_at_once_makes_one_contact(clinic_everybody_sees, in_threads, live_server):
    headers = {"Authorization": f"Bearer {clinic_everybody_sees.key}", "Connection": "close"}

    def post(_):
        answer = requests.post(
            f"{live_server}{CONTACTS}", json={"phone_number": "+15559990001"}, headers=headers, timeout=30
        )
        return answer.status_code

    assert sorted(in_threads(20, post)) == [201] + [409] * 19


@pytest.fixture
def clinic_everybody_sees(transactional_db):
    return make_clinic()
