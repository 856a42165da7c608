"""Accounts in the admin: named, given to a user, made default, switched, retired."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from routing.models import Account, AuditEntry
from tests.admin.world import World, operation, sign_in, url
from tests.factories import make_account


@pytest.fixture
def client(ours: World) -> Client:
    """The location's admin."""
    return sign_in(ours.admin)


def default_of(world: World) -> object:
    """The default's id, as it is stored."""
    world.location.refresh_from_db()
    return world.location.default_account_id


def act(client: Client, action: str, *accounts: Account) -> str:
    """What the page says after an action."""
    data = {"action": action, "_selected_action": [str(account.pk) for account in accounts]}
    return client.post(url("account"), data, follow=True).content.decode()


def test_the_list_says_index_number_connection_and_default(client: Client, ours: World) -> None:
    make_account(ours.location, label="Broken", line_blocked=True, credentials_rejected=True)
    make_account(ours.location, label="Off", is_enabled=False)
    make_account(ours.location, label="Waiting", line_state="pending")
    page = client.get(url("account")).content.decode()
    number = ours.account.phone_number
    assert "{IM#1}" in page
    assert f'title="{number}">({number[2:5]}) {number[5:8]}-{number[8:]}<' in page
    for words in ("can send", "line blocked", "credentials rejected", "disabled", "line pending"):
        assert f">{words}</span>" in page, words
    assert page.count('class="hub-default"') == 1
    assert 'data-copy="{IM#1}"' in page


def test_the_button_makes_it_the_default(client: Client, ours: World) -> None:
    second = make_account(ours.location)
    assert operation("account", ours.account.pk, "make-default") not in _page(client, ours.account)
    door = operation("account", second.pk, "make-default")
    assert door in _page(client, second)
    client.get(door)
    assert default_of(ours) == ours.account.pk
    answer = client.post(door, follow=True)
    assert default_of(ours) == second.pk
    assert "{IM#2} is the default now" in answer.content.decode()
    entry = AuditEntry.objects.get()
    assert (entry.user_id, entry.object_id) == (ours.admin.pk, str(second.pk))


def test_the_action_makes_one_the_default(client: Client, ours: World) -> None:
    second, third = make_account(ours.location), make_account(ours.location)
    assert "Choose one account" in act(client, "make_default", second, third)
    assert default_of(ours) == ours.account.pk
    assert "{IM#3} is the default now" in act(client, "make_default", third)
    assert default_of(ours) == third.pk


def test_a_retired_account_is_not_made_the_default(client: Client, ours: World) -> None:
    second = make_account(ours.location)
    assert client.post(operation("account", second.pk, "retire")).status_code == 302
    assert "was retired" in act(client, "make_default", second)
    assert default_of(ours) == ours.account.pk
    assert ">retired</span>" in _page(client, second)


def test_actions_switch_several(client: Client, ours: World) -> None:
    second = make_account(ours.location)
    data = {"action": "disable", "_selected_action": [str(ours.account.pk), str(second.pk)]}
    weighed = client.post(url("account"), data)
    assert Account.objects.filter(location=ours.location, is_enabled=True).count() == 2
    client.post(weighed["Location"])
    assert not Account.objects.filter(location=ours.location, is_enabled=True).exists()
    act(client, "enable", second)
    assert Account.objects.get(location=ours.location, is_enabled=True) == second
    assert AuditEntry.objects.count() == 3


def test_retiring_asks_first_and_leaves_the_location_without_a_default(client: Client, ours: World) -> None:
    door = operation("account", ours.account.pk, "retire")
    page = client.get(door, follow=True)
    assert "for ever" in page.content.decode()
    assert "Clinic ours would have none" in page.content.decode()
    weighed = client.post(door)  # a contact is affected: even so it asks
    assert default_of(ours) == ours.account.pk
    client.post(weighed["Location"])
    assert default_of(ours) is None
    ours.account.refresh_from_db()
    assert ours.account.retired_at is not None


def test_saving_the_form_writes_only_what_it_changed(client: Client, ours: World) -> None:
    """A worker may move the connection on between the reading of the row and its writing."""
    Account.objects.filter(pk=ours.account.pk).update(line_blocked=True)
    with CaptureQueriesContext(connection) as queries:
        answer = client.post(url("account", "change", ours.account.pk), {"label": "New name", "user": ours.agent.pk})
    assert answer.status_code == 302
    (written,) = [query["sql"] for query in queries if query["sql"].startswith('UPDATE "routing_account"')]
    assert written.split("SET")[1].split("WHERE")[0].strip() == "\"label\" = 'New name'"
    row = Account.objects.get(pk=ours.account.pk)
    assert (row.label, row.line_blocked, row.is_enabled) == ("New name", True, True)


def test_filters_narrow_the_list(client: Client, ours: World) -> None:
    make_account(ours.location, label="Broken one", line_blocked=True)
    retired = make_account(ours.location, label="Retired one")
    client.post(operation("account", retired.pk, "retire"))
    for query, shown in (
        ({"can_send": "False"}, {"Broken one", "Retired one"}),
        ({"retired": "yes"}, {"Retired one"}),
        ({"retired": "no", "can_send": "True"}, {"Desk ours"}),
        ({"location__id__exact": str(ours.location.pk), "q": "broken"}, {"Broken one"}),
    ):
        page = client.get(url("account"), query).content.decode()
        assert {label for label in ("Broken one", "Retired one", "Desk ours") if f">{label}<" in page} == shown, query


def _page(client: Client, account: Account) -> str:
    return client.get(url("account", "change", account.pk)).content.decode()
