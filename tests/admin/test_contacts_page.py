"""A contact's page and list: its number tag, where messages leave from, the history of its consent, the ways on."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from messaging.consent import apply as hear
from routing import services
from routing.models import Account, ConsentChange, ConsentSource, Contact, Role
from tests.admin.test_contacts import save
from tests.admin.world import World, operation, sign_in, url
from tests.factories import make_account, make_api_key, make_contact, make_location, make_member


@pytest.fixture
def client(ours: World) -> Client:
    """An agent of the location."""
    return sign_in(ours.agent)


def page(client: Client, contact: Contact) -> str:
    return client.get(url("contact", "change", contact.pk)).content.decode()


def form_of(client: Client, contact: Contact) -> Any:
    return client.get(url("contact", "change", contact.pk)).context["adminform"].form


def tags_of(contact: Contact) -> set[str]:
    return set(contact.tags.values_list("name", flat=True))


def told(client: Client) -> str:
    """What the next page says was done."""
    return " ".join(str(message) for message in client.get(url("contact")).context["messages"])


# --- the number tag ---------------------------------------------------------------------------------------------------
def test_the_picker_offers_the_locations_numbers_alone(client: Client, ours: World, theirs: World) -> None:
    retired = make_account(ours.location, label="Retired")
    services.retire_account(account=retired, by=None)
    choices = dict(form_of(client, ours.contact).fields["sends_from"].choices)
    assert list(choices) == ["", ours.account.phone_number]
    assert choices[ours.account.phone_number].startswith("1 · Desk ours · (")
    assert "Select a valid choice" in save(client, ours.contact, sends_from=theirs.account.phone_number)


def test_a_picked_number_becomes_the_contacts_number_tag(client: Client, ours: World) -> None:
    other = make_account(ours.location, label="Other")
    assert save(client, ours.contact, tag_names="vip", sends_from=other.phone_number) == ""
    assert tags_of(ours.contact) == {"vip", f"im: {other.phone_number}"}
    form = form_of(client, ours.contact)
    assert (form.initial["tag_names"], form.initial["sends_from"]) == ("vip", other.phone_number)
    assert save(client, ours.contact, tag_names="vip", sends_from=ours.account.phone_number) == ""
    assert tags_of(ours.contact) == {"vip", f"im: {ours.account.phone_number}"}
    assert save(client, ours.contact, tag_names="vip", sends_from="") == ""
    assert tags_of(ours.contact) == {"vip"}


def test_a_number_tag_keeps_the_form_it_was_given(client: Client, ours: World) -> None:
    number = ours.account.phone_number
    written = f"IM : ({number[2:5]}) {number[5:8]}-{number[8:]}"
    services.set_tags(contact=ours.contact, names=[written])
    assert form_of(client, ours.contact).initial["sends_from"] == number
    assert save(client, ours.contact, name="Renamed", tag_names="new", sends_from=number) == ""
    assert tags_of(ours.contact) == {"new", written}


def test_a_typed_number_tag_that_holds_no_number_is_refused(client: Client, ours: World) -> None:
    shown = save(client, ours.contact, tag_names="im: the front desk")
    assert "holds no phone number" in shown
    assert f"The location’s numbers: {ours.account.phone_number} (account 1)." in shown
    assert tags_of(ours.contact) == {"vip ours"}


def test_a_wrong_number_tag_that_was_there_does_not_keep_the_form_from_being_saved(client: Client, ours: World) -> None:
    services.set_tags(contact=ours.contact, names=["im: nothing"])
    assert save(client, ours.contact, name="Renamed", tag_names="im: nothing, vip") == ""
    assert tags_of(ours.contact) == {"im: nothing", "vip"}


def test_a_number_tag_that_matches_nothing_now_is_kept_and_warned_of(
    client: Client, ours: World, theirs: World
) -> None:
    for number in ("+14155550000", theirs.account.phone_number):
        assert save(client, ours.contact, tag_names=f"im: {number}") == ""
        said = told(client)
        assert f"“im: {number}” chooses nothing now" in said
        assert ours.account.phone_number in said
    assert save(client, ours.contact, tag_names=f"im: {theirs.account.phone_number}", name="Only the name") == ""
    assert "chooses nothing" not in told(client)


def test_number_tags_of_several_accounts_are_warned_of(client: Client, ours: World) -> None:
    other = make_account(ours.location)
    names = f"im: {ours.account.phone_number}, im: {other.phone_number}"
    assert save(client, ours.contact, tag_names=names) == ""
    assert "The tags name several accounts: 1, 2." in told(client)
    # The picker stands for one number; several are shown among the tags.
    form = form_of(client, ours.contact)
    assert form.initial["sends_from"] == ""
    assert form.initial["tag_names"].count("im:") == 2


def test_the_tag_field_reminds_of_the_locations_tags_alone(client: Client, ours: World, theirs: World) -> None:
    services.set_tags(contact=make_contact(ours.location), names=["colleague's word"])
    options = page(client, ours.contact).split("<datalist")[1].split("</datalist>")[0]
    assert "colleague&#x27;s word" in options
    assert "CANARY" not in options


# --- where messages leave from ----------------------------------------------------------------------------------------
def test_the_page_says_where_a_message_would_leave_from_and_why(client: Client, ours: World) -> None:
    number = ours.account.phone_number
    assert f"Sent from {number} (account 1) because it is an account of the contact&#x27;s" in page(
        client, ours.contact
    )
    other = make_account(ours.location)
    save(client, ours.contact, tag_names="", sends_from=other.phone_number)
    shown = page(client, ours.contact)
    assert f"Sent from {other.phone_number} (account 2) because the contact is tagged im:" in shown
    Account.objects.filter(location=ours.location).update(connected=False)
    assert "Not sent: no account of this location can send" in page(client, ours.contact)
    client.post(operation("contact", ours.contact.pk, "opt-out"))
    assert "Not sent: the contact opted out" in page(client, ours.contact)


def test_the_page_leads_to_what_was_said(client: Client, ours: World) -> None:
    link = f"{url('message')}?contact__id__exact={ours.contact.pk}"
    assert f'href="{link}"' in page(client, ours.contact)
    assert client.get(link).status_code == 200


# --- consent ----------------------------------------------------------------------------------------------------------
def test_the_history_of_the_consent_says_who_when_and_how(
    ours: World, api_as: Callable[[str | None], APIClient]
) -> None:
    contact = ours.contact
    hear(contact=contact, account=ours.account, text="STOP", said_at=None, now=timezone.now())
    key, secret = make_api_key(ours.location, name="Our CRM")
    assert api_as(secret).patch(f"/api/v1/contacts/{contact.pk}/", {"opted_out": False}).status_code == 200
    sign_in(ours.agent).post(operation("contact", contact.pk, "opt-out"))
    changes = [(one.opted_out, one.source, one.user, one.api_key) for one in ConsentChange.objects.all()]
    assert changes == [
        (True, ConsentSource.PERSON, ours.agent, None),
        (False, ConsentSource.API, None, key),
        (True, ConsentSource.MESSAGE, None, None),
    ]
    shown = page(sign_in(ours.viewer), contact).split("Consent, newest first")[1]
    words = (f"by {ours.agent.username}, in the admin", "by API key Our CRM, by API", "by the contact’s own message")
    places = [shown.index(word) for word in words]
    assert places == sorted(places)


def test_what_is_no_change_enters_no_history(ours: World) -> None:
    assert services.set_opt_out(contact=ours.contact, opted_out=False) is False
    assert services.set_opt_out(contact=ours.contact, opted_out=True) is True
    assert services.set_opt_out(contact=ours.contact, opted_out=True) is False
    assert ConsentChange.objects.count() == 1


def test_a_change_and_its_history_are_written_together(ours: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the database went away")

    monkeypatch.setattr(ConsentChange.objects, "bulk_create", fail)
    with pytest.raises(RuntimeError):
        services.set_opt_out(contact=ours.contact, opted_out=True)
    assert not Contact.objects.get(pk=ours.contact.pk).opted_out


# --- the list ---------------------------------------------------------------------------------------------------------
def test_the_list_shows_chips_user_consent_and_last_number(client: Client, ours: World) -> None:
    names = [f"word {i}" for i in range(9)]
    contact = make_contact(ours.location, name="Zoe", tags=tuple(names), last_account=ours.account, opted_out=True)
    contact.assigned_user = ours.viewer
    contact.save()
    row = client.get(url("contact"), {"q": "Zoe"}).content.decode().split('id="result_list"')[1].split("<tbody>")[1]
    for words in ("word 0", "+3", ours.viewer.username, "opted out", ours.account.phone_number):
        assert words in row


def cost(client: Client, address: str) -> int:
    with CaptureQueriesContext(connection) as queries:
        assert client.get(address).status_code == 200
    return len(queries)


def test_list_and_page_cost_the_same_however_much_there_is(client: Client, ours: World) -> None:
    change = url("contact", "change", ours.contact.pk)
    before = cost(client, url("contact")), cost(client, change)
    for i in range(30):
        make_contact(ours.location, tags=(f"tag {i}", "all"), assigned_user=ours.viewer)
        make_account(ours.location)
    services.set_tags(contact=ours.contact, names=[f"tag {i}" for i in range(30)])
    for opted_out in (True, False) * 10:
        services.set_opt_out(contact=ours.contact, opted_out=opted_out, by=ours.agent, source=ConsentSource.PERSON)
    assert (cost(client, url("contact")), cost(client, change)) == before


def test_who_only_reads_sees_the_page_without_a_form(ours: World, theirs: World) -> None:
    shown = page(sign_in(ours.viewer), ours.contact)
    assert "Messages to this contact leave from" in shown
    assert 'name="sends_from"' not in shown
    assert sign_in(theirs.admin).get(url("contact", "change", ours.contact.pk)).status_code == 302


def test_an_admin_of_several_locations_adds_a_contact(ours: World) -> None:
    second = make_location("Second")
    make_member(second, Role.ADMIN, user=ours.admin)
    client = sign_in(ours.admin)
    assert 'name="sends_from"' not in client.get(url("contact", "add")).content.decode()
    data = {"location": second.pk, "name": "", "phone_number": "(415) 555-2671", "tag_names": "im: nothing"}
    assert "holds no phone number" in client.post(url("contact", "add"), data).content.decode()
    data["tag_names"] = f"im: {ours.account.phone_number}"
    assert client.post(url("contact", "add"), data).status_code == 302
    assert "chooses nothing now" in told(client)
