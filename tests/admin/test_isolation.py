"""Another tenant does not exist: not in lists, choices, filters, searches, histories, forms or actions."""

import itertools
import uuid
from typing import Any
from uuid import uuid4

import pytest
from django.contrib import admin
from django.http import HttpRequest
from django.test import Client

from messaging.models import Message
from routing.models import Account, ApiKey, AuditEntry, Contact, Invitation, Location, Membership, Role, User
from tests.admin.world import MODELS, World, operation, sign_in, url
from tests.factories import make_member, make_user

MARK = b"CANARY"


def pages_of(world: World) -> list[str]:
    """Every page about the world's rows."""
    found = ["/admin/", "/admin/routing/", "/admin/provisioning/", "/admin/messaging/"]
    for model, row in world.rows.items():
        found += [url(model), url(model, "add"), *(url(model, page, row) for page in ("change", "history", "delete"))]
    return found


@pytest.fixture(params=["admin", "agent", "viewer"])
def client(request: pytest.FixtureRequest, ours: World, theirs: World) -> Client:
    """A browser of each of ours; the other tenant is there."""
    return sign_in(getattr(ours, request.param))


def test_the_canary_is_seen_by_its_own_admin(theirs: World) -> None:
    """Without this the tests below could pass on blank pages."""
    client = sign_in(theirs.admin)
    for model, row in theirs.rows.items():
        if model == "user":
            continue
        assert MARK in client.get(url(model)).content, model
        assert MARK in client.get(url(model, "change", row)).content, model


def test_no_page_of_ours_shows_them(client: Client, ours: World) -> None:
    for page in pages_of(ours):
        answer = client.get(page, follow=True)
        assert MARK not in answer.content, page


def test_lists_searched_and_filtered_by_their_words_and_ids_are_empty(
    client: Client, ours: World, theirs: World
) -> None:
    for model, label in MODELS.items():
        model_admin: Any = admin.site.get_model_admin(_model(label, model))
        for words in ("CANARY", theirs.contact.phone_number, str(theirs.message.pk)):
            assert MARK not in client.get(url(model), {"q": words}).content.replace(words.encode(), b""), model
        for lookup, (name, row) in itertools.product(sorted(model_admin.lookups), theirs.rows.items()):
            answer = client.get(url(model), {lookup: str(row)}, follow=True)
            assert MARK not in answer.content, (model, lookup, name)
        assert MARK not in client.get(url(model), {"_facets": "True", "_popup": "1", "all": ""}).content


def test_their_rows_are_answered_as_absent_ones(client: Client, theirs: World) -> None:
    absent = uuid.uuid4()
    for model, row in theirs.rows.items():
        for page in ("change", "history", "delete"):
            seen, unseen = (client.get(url(model, page, pk)) for pk in (row, absent))
            assert (seen.status_code, seen.get("Location")) == (unseen.status_code, unseen.get("Location")), model
            posted, unposted = (client.post(url(model, page, pk), {"post": "yes"}) for pk in (row, absent))
            assert posted.status_code == unposted.status_code != 200, (model, page)
            told = client.get("/admin/", follow=True).content
            assert MARK not in told


def test_operations_on_their_rows_are_not_there(client: Client, theirs: World) -> None:
    before = _state(theirs)
    for model in ("account", "contact", "setup", "message", "apikey", "invitation", "membership"):
        model_admin: Any = admin.site.get_model_admin(_model(MODELS[model], model))
        for item in model_admin.operations:
            door = operation(model, theirs.rows[model], item.name)
            assert client.get(door).status_code == 404, door
            assert client.post(door, {"key_id": "k", "secret": "s"}).status_code == 404, door
    assert client.get(url("message", "attachment", theirs.message.pk, 0)).status_code == 404
    assert _state(theirs) == before


def test_actions_on_their_rows_do_nothing(client: Client, theirs: World) -> None:
    before = _state(theirs)
    for model, action in (
        ("account", "make_default"),
        ("account", "enable"),
        ("account", "disable"),
        ("message", "cancel"),
        ("contact", "delete_selected"),
        ("membership", "delete_selected"),
    ):
        data = {"action": action, "_selected_action": [str(theirs.rows[model])], "select_across": "1", "post": "yes"}
        answer = client.post(url(model), data, follow=True)
        assert MARK not in answer.content, (model, action)
    assert _state(theirs) == before
    assert not AuditEntry.objects.filter(object_id__in=[str(row) for row in theirs.rows.values()]).exists()


def test_every_autocomplete_is_limited(client: Client, ours: World, theirs: World) -> None:
    tried = 0
    for label, model in [(label, model) for model, label in MODELS.items()]:
        for field in _model(label, model)._meta.get_fields():
            if not field.is_relation or not getattr(field, "concrete", False):
                continue
            tried += 1
            query = {"app_label": label, "model_name": model, "field_name": field.name, "term": ""}
            assert MARK not in client.get("/admin/autocomplete/", query).content, (model, field.name)
            assert MARK not in client.get("/admin/autocomplete/", query | {"term": "CANARY"}).content
    assert tried > 10


def test_the_autocomplete_of_operators_works(operator: User, theirs: World) -> None:
    query = {"app_label": "provisioning", "model_name": "setup", "field_name": "location", "term": "CANARY"}
    assert MARK in sign_in(operator).get("/admin/autocomplete/", query).content


# --- forged ids in forms ----------------------------------------------------------------------------------------------


def test_a_contact_with_forged_ids_is_not_made(ours: World, theirs: World) -> None:
    client = sign_in(ours.admin)
    good = {"location": ours.location.pk, "name": "New", "phone_number": "+15558880001", "tag_names": ""}
    for forged in (
        {"location": theirs.location.pk},
        {"location": uuid.uuid4()},
        {"assigned_user": theirs.agent.pk},
        {"assigned_user": make_user().pk},
    ):
        answer = client.post(url("contact", "add"), good | forged)
        assert answer.status_code == 200
        assert b"errornote" in answer.content
        assert MARK not in answer.content
    assert not Contact.objects.filter(phone_number="+15558880001").exists()
    assert client.post(url("contact", "add"), good).status_code == 302
    assert Contact.objects.get(phone_number="+15558880001").location == ours.location


def test_a_contact_is_not_moved_or_given_to_a_stranger(ours: World, theirs: World) -> None:
    client = sign_in(ours.admin)
    good = {"name": "Pat", "phone_number": ours.contact.phone_number, "tag_names": ""}
    client.post(url("contact", "change", ours.contact.pk), good | {"location": theirs.location.pk})
    answer = client.post(url("contact", "change", ours.contact.pk), good | {"assigned_user": theirs.agent.pk})
    assert b"errornote" in answer.content
    contact = Contact.objects.get(pk=ours.contact.pk)
    assert (contact.name, contact.location_id, contact.assigned_user_id) == ("Pat", ours.location.pk, None)


def test_a_number_of_theirs_is_free_for_us(ours: World, theirs: World) -> None:
    """A refusal would tell that another tenant knows this person."""
    data = {"location": ours.location.pk, "name": "", "phone_number": theirs.contact.phone_number, "tag_names": ""}
    assert sign_in(ours.admin).post(url("contact", "add"), data).status_code == 302


def test_an_account_is_not_given_to_a_stranger(ours: World, theirs: World) -> None:
    client = sign_in(ours.admin)
    answer = client.post(url("account", "change", ours.account.pk), {"label": "x", "user": theirs.agent.pk})
    assert b"errornote" in answer.content
    forged = {"label": "x", "user": "", "location": theirs.location.pk, "index": 9, "phone_number": "+15550000000"}
    assert client.post(url("account", "change", ours.account.pk), forged).status_code == 302
    now = Account.objects.get(pk=ours.account.pk)
    assert (now.label, now.user_id) == ("x", None)
    assert (now.location_id, now.index, now.phone_number) == (
        ours.account.location_id,
        ours.account.index,
        ours.account.phone_number,
    )


def test_a_member_of_two_locations_chooses_members_of_the_accounts_own(ours: World, theirs: World) -> None:
    make_member(theirs.location, user=ours.admin, role=Role.ADMIN)
    client = sign_in(User.objects.get(pk=ours.admin.pk))
    shown = client.get(url("account", "change", ours.account.pk)).content
    assert str(ours.viewer.pk).encode() in shown
    assert str(theirs.viewer.pk).encode() not in shown
    data = {"label": "x", "user": theirs.viewer.pk}
    assert b"errornote" in client.post(url("account", "change", ours.account.pk), data).content


def test_a_setup_or_key_for_another_location_is_refused(ours: World, theirs: World) -> None:
    client = sign_in(ours.admin)
    setup = {"location": theirs.location.pk, "business_name": "B", "label": "L", "provider": "sendblue"}
    for page in (url("setup", "add"), "/admin/provisioning/setup/connect/"):
        answer = client.post(page, setup | {"key_id": "k", "secret": "s"})
        assert b"errornote" in answer.content
        assert MARK not in answer.content
    assert b"errornote" in client.post(url("apikey", "add"), {"location": theirs.location.pk, "name": "n"}).content
    # Without a location it would be a key to every tenant.
    assert b"errornote" in client.post(url("apikey", "add"), {"location": "", "name": "n"}).content
    assert theirs.location.setups.count() == 1
    assert ApiKey.objects.count() == 2


def test_a_change_form_is_not_posted_as_a_copy(ours: World) -> None:
    data = {"label": "copy", "_saveasnew": "1"}
    assert sign_in(ours.admin).post(url("setup", "change", ours.setup.pk), data).status_code == 403
    assert ours.location.setups.count() == 1


# --- histories --------------------------------------------------------------------------------------------------------


def test_the_history_of_contacts_holds_no_name_and_no_number(ours: World) -> None:
    client = sign_in(ours.admin)
    data = {"name": "Secret Name", "phone_number": "+15558880002", "tag_names": "vip, secret tag"}
    assert client.post(url("contact", "change", ours.contact.pk), data).status_code == 302
    entry = AuditEntry.objects.get()
    told = f"{entry.object_name} {entry.detail} {entry.changes}"
    assert not any(word in told for word in ("Secret", "+1555", "secret tag", "Patient"))
    assert {"name", "phone_number", "tag_names"} <= set(entry.changes)
    assert b"Tag names" in client.get(url("contact", "history", ours.contact.pk)).content


def test_the_index_shows_no_recent_actions(ours: World) -> None:
    client = sign_in(ours.admin)
    data = {"label": "Renamed desk", "user": ""}
    assert b"Renamed desk" in client.post(url("account", "change", ours.account.pk), data, follow=True).content
    Membership.objects.filter(user=ours.admin).delete()
    answer = client.get("/admin/")
    assert b"Renamed desk" not in answer.content
    assert b"Recent actions" not in answer.content


# --- query strings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "lookup"),
    [
        ("apikey", "digest__startswith"),
        ("apikey", "digest"),
        ("user", "password__startswith"),
        ("membership", "user__password__startswith"),
        ("setup", "webhook_key__startswith"),
        ("setup", "webhook_secret__isnull"),
        ("setup", "credentials_secret__startswith"),
        ("account", "location__api_keys__digest__startswith"),
        ("contact", "location__setups__webhook_key__startswith"),
        ("message", "text__startswith"),
        ("message", "account__phone_line__setup__webhook_key__startswith"),
        ("providerevent", "body__contains"),
        ("location", "memberships__user__password__startswith"),
    ],
)
def test_query_strings_compare_only_what_is_listed(model: str, lookup: str, operator: User) -> None:
    assert sign_in(operator).get(url(model), {lookup: "a"}).status_code == 400


def test_broken_query_strings_are_answered(operator: User, ours: World) -> None:
    client = sign_in(operator)
    for model, label in MODELS.items():
        model_admin: Any = admin.site.get_model_admin(_model(label, model))
        for lookup in sorted(model_admin.lookups):
            for value in ("", "x", "\0", "é" * 5000, "1,2", "True"):
                assert client.get(url(model), {lookup: value}).status_code in (200, 302, 400), (model, lookup, value)
        for query in (
            {"q": "\0"},
            {"q": "a " * 10_000},
            {"o": "1.-2.99.x"},
            {"p": "9e9"},
            {"before": "x_y"},
            {"before": f"0001-01-01T00:00:00+23:59_{uuid4()}"},
            {"before": f"2030-01-01_{uuid4()}"},
            {"_to_field": "id"},
        ):
            assert client.get(url(model), query).status_code in (200, 302, 400), (model, query)
        for odd in ("0", "x", "%00", "../..", "☃"):
            assert client.get(f"/admin/{label}/{model}/{odd}/change/").status_code in (200, 302, 404), (model, odd)
        if model_admin.has_add_permission(_request_of(operator)):
            for field in ("location", "user", "contact"):
                assert client.get(f"/admin/{label}/{model}/add/", {field: "x"}).status_code in (200, 400), (
                    model,
                    field,
                )
        for action in model_admin.get_actions(_request_of(operator)):
            form = {"action": action, "_selected_action": "x"}
            assert client.post(url(model), form).status_code in (200, 302, 400), (model, action)


def _request_of(user: User) -> HttpRequest:
    request = HttpRequest()
    request.user = user
    return request


def _model(label: str, name: str) -> Any:
    from django.apps import apps

    return apps.get_model(label, name)


def _state(world: World) -> list[Any]:
    location = Location.objects.get(pk=world.location.pk)
    return [
        location.default_account_id,
        list(Account.objects.filter(location=location).values()),
        list(Contact.objects.filter(location=location).values()),
        list(Message.objects.filter(location=location).values("id", "status")),
        list(Membership.objects.filter(location=location).values()),
        list(ApiKey.objects.filter(location=location).values()),
        list(Invitation.objects.filter(location=location).values()),
        list(location.setups.values("id", "status", "webhook_key", "credentials_set_at")),
    ]
