"""Before accounts stop, go or lose the default: the page that says which contacts it touches, and its file."""

import csv
import io
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from messaging.models import Message
from routing.models import Account, AuditEntry, Contact, Location, Membership
from tests.admin.world import World, operation, sign_in, url
from tests.factories import make_account, make_contact, make_message


@pytest.fixture
def client(ours: World) -> Client:
    """The location's admin."""
    return sign_in(ours.admin)


def weigh(name: str, *accounts: Account) -> str:
    """The page of the numbers."""
    door = reverse("admin:routing_account_impact", args=[name])
    return f"{door}?{'&'.join(f'id={account.pk}' for account in accounts)}"


def default_of(world: World) -> object:
    """The default's id, as it is stored."""
    return Location.objects.get(pk=world.location.pk).default_account_id


def star(account: Account) -> str:
    """The star's button, as the list shows it."""
    return f'formaction="{operation("account", account.pk, "make-default")}?list"'


# --- the star ---------------------------------------------------------------------------------------------------------


def test_the_star_moves_in_one_click_when_nobody_is_touched(client: Client, ours: World) -> None:
    Contact.objects.filter(location=ours.location).update(opted_out_at=timezone.now())
    second = make_account(ours.location)
    page = client.get(url("account")).content.decode()
    assert star(second) in page
    assert star(ours.account) not in page
    answer = client.post(f"{operation('account', second.pk, 'make-default')}?list", follow=True)
    assert answer.redirect_chain == [(url("account"), 302)]
    assert default_of(ours) == second.pk
    assert "{IM#2} is the default now" in answer.content.decode()


def test_the_star_asks_when_contacts_would_change_number(client: Client, ours: World) -> None:
    second = make_account(ours.location)
    contact = make_contact(ours.location, name="Changes Number")
    answer = client.post(f"{operation('account', second.pk, 'make-default')}?list", follow=True)
    page = answer.content.decode()
    assert default_of(ours) == ours.account.pk
    assert answer.context["losing"] == 0
    assert answer.context["switching"] == 1  # the world's own contact has its user's account
    assert "Changes Number" in page
    assert "{IM#2} takes the place of {IM#1} (Desk ours) as the default." in page
    client.post(answer.redirect_chain[-1][0])
    assert default_of(ours) == second.pk
    assert AuditEntry.objects.get().object_id == str(second.pk)
    assert contact.name in page


def test_who_may_not_move_the_star_sees_it_only(ours: World) -> None:
    second = make_account(ours.location)
    make_contact(ours.location)
    for user in (ours.agent, ours.viewer):
        client = sign_in(user)
        page = client.get(url("account")).content.decode()
        assert 'class="hub-default"' in page
        assert "hub-star" not in page
        assert client.get(weigh("make-default", second)).status_code == 403
        assert client.post(weigh("make-default", second)).status_code == 403
    Membership.objects.filter(user=ours.viewer).update(can_set_default=True)
    assert "hub-star" not in sign_in(ours.viewer).get(url("account")).content.decode()
    assert default_of(ours) == ours.account.pk


def test_an_agent_with_that_right_moves_the_star_and_nothing_else(ours: World) -> None:
    second = make_account(ours.location)
    make_contact(ours.location)
    Membership.objects.filter(user=ours.agent).update(can_set_default=True)
    client = sign_in(ours.agent)
    assert star(second) in client.get(url("account")).content.decode()
    assert "hub-star" in client.get(url("account", "change", second.pk)).content.decode()
    page = client.get(weigh("make-default", second))
    assert page.status_code == 200
    assert "Download CSV" not in page.content.decode()
    assert client.get(f"{weigh('make-default', second)}&csv").status_code == 403
    for name in ("disable", "retire"):
        assert client.post(weigh(name, second)).status_code == 403
    client.post(weigh("make-default", second))
    assert default_of(ours) == second.pk
    second.refresh_from_db()
    assert second.can_send


# --- the numbers ------------------------------------------------------------------------------------------------------


def test_disabling_the_last_account_says_that_nobody_would_send(client: Client, ours: World) -> None:
    answer = client.post(operation("account", ours.account.pk, "disable"), follow=True)
    assert (answer.context["losing"], answer.context["switching"]) == (1, 0)
    page = answer.content.decode()
    assert "it would be passed over" in page
    assert ">nobody</span>" in page
    assert "Disable all the same" in page
    assert Account.objects.get(pk=ours.account.pk).is_enabled
    client.post(answer.redirect_chain[-1][0])
    assert not Account.objects.get(pk=ours.account.pk).is_enabled


def test_an_account_that_nobody_hears_from_is_switched_off_at_once(client: Client, ours: World) -> None:
    second = make_account(ours.location)
    client.post(operation("account", second.pk, "disable"))
    assert not Account.objects.get(pk=second.pk).is_enabled
    # What cannot be undone asks all the same.
    assert "for ever" in client.get(operation("account", second.pk, "retire"), follow=True).content.decode()


def test_the_list_is_paged(client: Client, ours: World) -> None:
    for number in range(55):
        make_contact(ours.location, name=f"Person {number:02}")
    door = weigh("disable", ours.account)
    first, second = (client.get(f"{door}&page={page}") for page in (1, 2))
    assert [len(answer.context["rows"]) for answer in (first, second)] == [50, 6]
    assert client.get(f"{door}&page=x").status_code == 200


def test_the_page_runs_the_same_queries_for_any_number_of_contacts(client: Client, ours: World) -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert client.get(weigh("disable", ours.account)).status_code == 200
        return len(queries)

    few = count()
    for _ in range(60):
        make_contact(ours.location, assigned_user=ours.agent, tags=("im: +15550000000",))
    assert count() == few


def test_the_file_is_the_admins_and_safe_to_open(client: Client, ours: World) -> None:
    evil = make_contact(ours.location, name='=HYPERLINK("http://x")')
    answer = client.get(f"{weigh('disable', ours.account)}&csv")
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    rows = list(csv.reader(io.StringIO(b"".join(answer).decode())))
    assert rows[0][0] == "Contact"
    found = {row[0]: row[1:] for row in rows[1:]}
    assert found[f"'{evil.name}"] == [
        f"'{evil.phone_number}",
        f"'{ours.account.phone_number}",
        "1 Desk ours",
        "nobody",
        "",
    ]
    assert len(rows) == 3
    entry = AuditEntry.objects.get()
    assert "Downloaded the 2 contacts" in entry.detail
    assert evil.phone_number not in entry.detail
    assert Account.objects.get(pk=ours.account.pk).is_enabled


def test_other_tenants_and_odd_ids_are_not_there(client: Client, ours: World, theirs: World) -> None:
    for accounts in ((theirs.account,), (ours.account, theirs.account)):
        for answer in (client.get(weigh("disable", *accounts)), client.post(weigh("disable", *accounts))):
            assert answer.status_code == 404
            assert b"CANARY" not in answer.content
    door = reverse("admin:routing_account_impact", args=["disable"])
    assert client.get(door).status_code == 404
    assert client.get(f"{door}?id={uuid4()}").status_code == 404
    assert client.get(f"{door}?id=x").status_code == 400
    assert client.get(weigh("enable", ours.account)).status_code == 404
    assert Account.objects.filter(is_enabled=False).count() == 0


# --- today's volume ---------------------------------------------------------------------------------------------------


def test_todays_volume_is_counted_on_the_locations_day(client: Client, ours: World) -> None:
    Message.objects.all().update(dispatch_state="accepted")  # the world's own
    make_message(ours.contact, account=ours.account, received=True)
    make_message(ours.contact, account=ours.account)  # still waits: not sent
    old = make_message(ours.contact, account=ours.account, received=True)
    Message.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=2))
    account = client.get(url("account")).context["cl"].result_list[0]
    assert (account.sent_today, account.received_today) == (1, 1)
    assert "sent today" in client.get(url("account", "change", ours.account.pk)).content.decode()


def test_the_list_runs_the_same_queries_for_any_number_of_accounts(client: Client, ours: World) -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            client.get(url("account"))
        return len(queries)

    few = count()
    for _ in range(20):
        make_account(ours.location, user=ours.agent)
    assert count() == few
