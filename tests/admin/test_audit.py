"""The audit trail: who changed what, for those who may know, without a secret or a word about a customer in it."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib import admin
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from provisioning import services as provisioning
from provisioning.models import Setup, SetupStatus
from provisioning.providers.base import AccountRejected, Health, Line, LineHint
from routing import audit, audit_admin, services
from routing.models import Account, AuditAction, AuditEntry, Contact, Location, Membership, Role, User
from tests.admin.world import World, make_event, operation, send_message, sign_in, url
from tests.factories import (
    make_account,
    make_api_key,
    make_contact,
    make_line,
    make_location,
    make_member,
    make_setup,
    make_user,
    new_phone,
)
from tests.provisioning.fake_provider import FakeProvider

LIST = "/admin/routing/auditentry/"


def write(
    world: World | None, name: str = "Thing", *, by: Any = None, obj: Any = None, detail: str = "", **fields: Any
) -> AuditEntry:
    """An entry of the world's location, or of none."""
    about = obj or (world.account if world else make_user())
    fields.setdefault("action", AuditAction.CHANGED)
    location_id = world.location.pk if world else None
    return audit.record(by=by, obj=about, location_id=location_id, name=name, detail=detail, **fields)


def page(user: User, **query: Any) -> str:
    """The list as the user sees it."""
    answer = sign_in(user).get(LIST, query)
    assert answer.status_code == 200, answer.status_code
    return str(answer.content.decode())


def told() -> list[tuple[str, str, str, str]]:
    """Who did what to what kind of thing, and how that is told; the oldest first."""
    return list(AuditEntry.objects.order_by("id").values_list("actor", "action", "object_type", "detail"))


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_list_tells_who_did_what_with_the_values(ours: World) -> None:
    write(ours, "Front desk", by=ours.agent, changes={"label": ("Old", "New <b>"), "secret_field": None})
    write(ours, "By a program", by=ours.api_key, detail="It was done.")
    write(ours, "By nobody")
    shown = page(ours.admin)
    for words in (
        "Audit trail",
        "agent-ours",
        "API key Key ours",
        "iMessage Hub",
        ">Label<",
        "<del>Old</del>",
        "<ins>New &lt;b&gt;</ins>",
        ">Secret field<",
        "It was done.",
        f'href="{url("account", "change", ours.account.pk)}"',
    ):
        assert words in shown, words
    assert shown.index("By nobody") < shown.index("By a program") < shown.index("Front desk")


def test_only_admins_see_the_trail_and_only_that_of_their_location(ours: World, theirs: World) -> None:
    write(ours, "Ours alone")
    write(theirs, "CANARY thing", by=theirs.admin, detail="CANARY")
    write(None, "Of no location")
    for user in (ours.agent, ours.viewer):
        assert sign_in(user).get(LIST).status_code == 403
        assert LIST not in sign_in(user).get("/admin/").content.decode()
    queries: list[dict[str, Any]] = [
        {},
        {"q": "CANARY"},
        {"location__id__exact": theirs.location.pk},
        {"object_type": "routing.account"},
    ]
    for query in queries:
        shown = page(ours.admin, **query)
        assert "CANARY thing" not in shown, query
        assert "admin-CANARY" not in shown, query
        assert "Of no location" not in shown
    assert "Ours alone" in page(ours.admin)


def test_an_admin_here_and_a_viewer_there_sees_what_is_here(ours: World, theirs: World) -> None:
    make_member(theirs.location, Role.VIEWER, user=ours.admin)
    write(ours, "Ours alone")
    write(theirs, "CANARY thing")
    shown = page(User.objects.get(pk=ours.admin.pk))
    assert "Ours alone" in shown
    assert "CANARY thing" not in shown
    client = sign_in(ours.admin)
    entry = AuditEntry.objects.get(object_name="CANARY thing")
    assert client.get(url("auditentry", "change", entry.pk)).status_code == 302


def test_operators_see_all_of_it(ours: World, theirs: World, operator: User) -> None:
    for world, name in ((ours, "One"), (theirs, "Another"), (None, "Of no location")):
        write(world, name)
    shown = page(operator)
    assert all(name in shown for name in ("One", "Another", "Of no location"))


def test_only_what_is_there_and_may_be_seen_is_a_link(ours: World, theirs: World) -> None:
    gone = make_contact(ours.location)
    write(ours, f"Contact {gone.pk}", obj=gone)
    gone_page, short = url("contact", "change", gone.pk), f"{str(gone.pk)[:8]}…"
    assert gone_page in page(ours.admin)
    gone.delete()
    write(ours, "A person", obj=ours.agent)
    write(ours, "Elsewhere", obj=theirs.contact)
    for kind, pk in (("no.model", "1"), ("odd", "1"), ("routing.account", "no id")):
        AuditEntry.objects.create(
            location=ours.location, actor="x", action="changed", object_type=kind, object_id=pk, object_name="Odd"
        )
    shown = page(ours.admin)
    assert gone_page not in shown
    assert url("user", "change", ours.agent.pk) not in shown
    assert url("contact", "change", theirs.contact.pk) not in shown
    assert short in shown


def test_filters_narrow_the_list(ours: World) -> None:
    write(ours, "First thing", by=ours.agent, action=AuditAction.CREATED)
    write(ours, "Second thing", by=ours.api_key, obj=ours.contact)
    write(ours, "Third thing", action=AuditAction.DELETED, obj=ours.setup)
    names = {"First", "Second", "Third"}
    for query, wanted in (
        ({"action__exact": "created"}, {"First"}),
        ({"object_type": "routing.contact"}, {"Second"}),
        ({"object_type": "nonsense"}, names),
        ({"by": "people"}, {"First"}),
        ({"by": "programs"}, {"Second"}),
        ({"by": "hub"}, {"Third"}),
        ({"user__id__exact": str(ours.agent.pk)}, {"First"}),
        ({"object_type": "provisioning.setup", "object_id": str(ours.setup.pk)}, {"Third"}),
        ({"q": "second"}, {"Second"}),
        ({"q": "agent-ours first"}, {"First"}),
        ({"q": "nothing at all"}, set()),
    ):
        shown = page(ours.admin, **query)
        assert {name for name in names if f"{name} thing" in shown} == wanted, query


def test_a_search_looks_through_the_newest_only(ours: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_admin, "SEARCHED", 2)
    for name in ("Needle old", "Hay", "Needle new"):
        write(ours, name)
    shown = page(ours.admin, q="needle")
    assert "Needle new" in shown
    assert "Needle old" not in shown


def test_the_list_goes_on_and_counts_nothing_and_costs_the_same(ours: World, monkeypatch: pytest.MonkeyPatch) -> None:
    model_admin: Any = admin.site.get_model_admin(AuditEntry)
    monkeypatch.setattr(model_admin, "list_per_page", 3)
    for number in range(3):
        write(ours, f"Entry {number}", by=ours.agent, obj=[ours.account, ours.contact, ours.setup][number])

    def cost() -> int:
        client = sign_in(User.objects.get(pk=ours.admin.pk))
        with CaptureQueriesContext(connection) as queries:
            client.get(LIST)
        assert not [one["sql"] for one in queries if "COUNT(" in one["sql"] and "routing_auditentry" in one["sql"]]
        return len(queries)

    few = cost()
    for number in range(3, 12):
        write(ours, f"Entry {number}", by=ours.agent, obj=[ours.account, ours.contact, ours.setup][number % 3])
    assert cost() == few
    client, address = sign_in(ours.admin), LIST
    seen: list[str] = []
    assert client.get(LIST, {"before": "9" * 40}).status_code == 200
    for _ in range(4):
        answer = client.get(address)
        seen += [row.object_name for row in answer.context["cl"].result_list]
        address = LIST + str(answer.context["cl"].older)
    assert seen == [f"Entry {number}" for number in reversed(range(12))]


def test_the_history_leads_to_the_trail_for_those_who_may_see_it(ours: World) -> None:
    write(ours, "Front desk", by=ours.agent, detail="It was renamed.")
    history = url("account", "history", ours.account.pk)
    link = f"{LIST}?object_type=routing.account&amp;object_id={ours.account.pk}"
    shown = sign_in(ours.admin).get(history).content.decode()
    assert "It was renamed." in shown
    assert link in shown
    assert "It was renamed." in page(ours.admin, object_type="routing.account", object_id=str(ours.account.pk))
    assert link not in sign_in(ours.viewer).get(history).content.decode()


# --- kept as they were written ----------------------------------------------------------------------------------------


def test_no_code_changes_or_deletes_an_entry_by_accident(ours: World) -> None:
    entry = write(ours)
    entry.detail = "forged"
    for attempt in (
        entry.save,
        entry.delete,
        lambda: AuditEntry.objects.update(detail="forged"),
        lambda: AuditEntry.objects.all().delete(),
        lambda: AuditEntry.objects.filter(pk=entry.pk).update(actor="x"),
        lambda: AuditEntry.objects.bulk_update([entry], ["detail"]),
    ):
        with pytest.raises(TypeError), transaction.atomic():
            attempt()
    entry.refresh_from_db()
    assert entry.detail == ""


@pytest.mark.parametrize(
    "change",
    [
        "detail = 'forged'",
        "actor = 'forged'",
        "object_name = 'forged'",
        "location_id = NULL",
        "changes = '{\"a\": null}'",
        "object_id = '1'",
        "action = 'deleted'",
    ],
)
def test_the_database_refuses_to_change_an_entry(ours: World, change: str) -> None:
    write(ours, by=ours.agent)
    with pytest.raises(DatabaseError, match="not changed"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"UPDATE routing_auditentry SET {change}")  # noqa: S608


def test_the_database_refuses_to_put_it_on_somebody_else(ours: World) -> None:
    write(ours, by=ours.agent)
    forged = ours.viewer.pk.hex if connection.vendor == "sqlite" else ours.viewer.pk
    with pytest.raises(DatabaseError, match="not changed"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE routing_auditentry SET user_id = %s", [forged])


def test_entries_outlive_the_people_and_keys_and_go_with_the_location(db: None) -> None:
    location = make_location()
    key, _ = make_api_key(location, name="Robot")
    person = make_user("gone-soon")
    for by in (key, person):
        audit.record(by=by, action=AuditAction.CHANGED, obj=location, location_id=location.pk)
    key.delete()
    person.delete()
    left: list[Any] = list(AuditEntry.objects.order_by("id").values_list("actor", "user", "api_key"))
    assert left == [("API key Robot", None, None), ("gone-soon", None, None)]
    location.delete()
    assert not AuditEntry.objects.exists()


def test_no_page_takes_a_change(ours: World, operator: User) -> None:
    entry = write(ours, "As it was")
    client = sign_in(operator)
    form = {"action": "delete_selected", "_selected_action": [entry.pk], "post": "yes"}
    for address, data in (
        (url("auditentry", "add"), {"actor": "x"}),
        (url("auditentry", "change", entry.pk), {"actor": "x"}),
        (url("auditentry", "delete", entry.pk), {"post": "yes"}),
    ):
        assert client.post(address, data).status_code == 403, address
    client.post(LIST, form)
    assert AuditEntry.objects.get().object_name == "As it was"


# --- programs ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def program(ours: World, api_as: Callable[[str | None], APIClient]) -> APIClient:
    """A program with a key of the location."""
    return api_as(make_api_key(ours.location, name="Robot")[1])


def test_what_a_program_does_is_written_down_under_its_name(ours: World, program: APIClient) -> None:
    made = program.post("/api/v1/contacts/", {"phone_number": new_phone(), "name": "Secret Name", "tags": ["secret"]})
    contact = f"/api/v1/contacts/{made.json()['id']}/"
    assert program.patch(contact, {"name": "Other Secret", "opted_out": True}).status_code == 200
    assert program.delete(contact).status_code == 204
    account = f"/api/v1/accounts/{make_account(ours.location, label='Old').pk}/"
    assert program.patch(account, {"label": "New", "is_enabled": False}).status_code == 200
    assert program.patch(account, {"label": "New"}).status_code == 200  # as it is: no change
    assert program.post(f"{account}set-default/").status_code == 200
    assert program.post(f"{account}set-default/").status_code == 200  # as it is
    later = (timezone.now() + timedelta(hours=1)).isoformat()
    sent = program.post("/api/v1/messages/", {"to": ours.contact.phone_number, "text": "hi", "scheduled_at": later})
    assert program.post(f"/api/v1/messages/{sent.json()['id']}/cancel/").status_code == 200
    robot = "API key Robot"
    assert told() == [
        (robot, "created", "routing.contact", ""),
        (robot, "changed", "routing.contact", ""),
        (robot, "deleted", "routing.contact", ""),
        (robot, "changed", "routing.account", ""),
        (robot, "changed", "routing.account", "It is the default of its location now."),
        (robot, "changed", "messaging.message", "Cancelled: it is not sent."),
    ]
    changes = list(AuditEntry.objects.order_by("id").values_list("changes", flat=True))
    assert changes[1] == {"name": None, "opted_out": None}
    assert changes[3] == {"label": ["Old", "New"], "is_enabled": ["yes", "no"]}
    assert all(entry.location_id == ours.location.pk and entry.api_key for entry in AuditEntry.objects.all())


def test_what_is_refused_is_not_written_down(ours: World, theirs: World, program: APIClient) -> None:
    retired = make_account(ours.location, retired_at=timezone.now())
    for answer in (
        program.post("/api/v1/contacts/", {"phone_number": ours.contact.phone_number}),
        program.patch(f"/api/v1/contacts/{ours.contact.pk}/", {"assigned_user": "nobody"}),
        program.delete(f"/api/v1/contacts/{ours.contact.pk}/"),
        program.patch(f"/api/v1/accounts/{theirs.account.pk}/", {"label": "x"}),
        program.post(f"/api/v1/accounts/{retired.pk}/set-default/"),
        program.post(f"/api/v1/messages/{uuid4()}/cancel/"),
    ):
        assert answer.status_code >= 400
    assert told() == []


def test_nothing_is_done_that_cannot_be_written_down(
    ours: World, program: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**fields: Any) -> None:
        raise ImproperlyConfigured

    monkeypatch.setattr(audit, "record", fail)
    second = make_account(ours.location, label="Old")
    later = timezone.now() + timedelta(hours=1)
    message = send_message(ours.location, ours.contact, scheduled_at=later)
    spare = make_contact(ours.location, name="Old")
    for answer in (
        program.post("/api/v1/contacts/", {"phone_number": new_phone(), "name": "New"}),
        program.patch(f"/api/v1/contacts/{spare.pk}/", {"name": "New"}),
        program.delete(f"/api/v1/contacts/{spare.pk}/"),
        program.patch(f"/api/v1/accounts/{second.pk}/", {"label": "New"}),
        program.post(f"/api/v1/accounts/{second.pk}/set-default/"),
        program.post(f"/api/v1/messages/{message.pk}/cancel/"),
    ):
        assert answer.status_code == 500
    for attempt in (
        lambda: services.retire_account(account=ours.account, by=None),
        lambda: services.clear_default_account(location=ours.location, by=None),
        lambda: provisioning.close_setup(setup=ours.setup),
    ):
        with pytest.raises(ImproperlyConfigured):
            attempt()
    assert set(Contact.objects.filter(location=ours.location).values_list("name", flat=True)) == {"Old", "Patient ours"}
    assert Account.objects.get(pk=second.pk).label == "Old"
    assert Account.objects.get(pk=ours.account.pk).retired_at is None
    assert Location.objects.get(pk=ours.location.pk).default_account_id == ours.account.pk
    message.refresh_from_db()
    assert message.status == "scheduled"
    assert Setup.objects.get(pk=ours.setup.pk).status == SetupStatus.ACTIVE


@pytest.mark.django_db(transaction=True)
def test_a_setup_that_a_program_asks_for_and_the_line_that_comes(
    ours: World, program: APIClient, provider: FakeProvider
) -> None:
    provider.offers(new_phone())
    body = {"business_name": "Harbor", "label": "Desk"}
    assert program.post("/api/v1/setups/", body).status_code == 201
    assert told() == [
        ("API key Robot", "created", "provisioning.setup", "The provider is asked for an account."),
        ("iMessage Hub", "created", "routing.account", "Opened for a phone line that got its number."),
    ]


# --- services, and the hub of its own accord --------------------------------------------------------------------------


def test_services_write_down_a_change_once(ours: World) -> None:
    second = make_account(ours.location)
    for _ in range(2):
        services.set_default_account(account=second, by=ours.admin)
        services.clear_default_account(location=ours.location, by=ours.api_key)
    for _ in range(2):
        services.retire_account(account=second, by=ours.admin)
        services.clear_default_account(location=ours.location, by=None)
    default = ("admin-ours", "changed", "routing.account", "It is the default of its location now.")
    none = ("API key Key ours", "changed", "routing.location", "It has no default account any more.")
    retired = ("admin-ours", "changed", "routing.account", "Retired: it sends nothing any more.")
    assert told() == [default, none, default, none, retired]


@pytest.mark.django_db(transaction=True)
def test_the_hub_tells_of_blocked_lines_and_refused_credentials_once(ours: World, provider: FakeProvider) -> None:
    number, lineless = ours.account.phone_number, make_account(ours.location)
    for _ in range(2):
        provisioning.note_line_blocked(account=ours.account)
    provider.offers(number)
    for _ in range(2):
        provisioning.read_lines(setup=ours.setup)
    for _ in range(2):
        provisioning.note_credentials_rejected(setup=Setup.objects.get(pk=ours.setup.pk))
    for _ in range(2):
        provisioning.read_lines(setup=ours.setup)
    for _ in range(2):
        provisioning.note_line_blocked(account=lineless)
    # A line that goes away for a while is no event for the trail.
    provider.offers(number, health=Health.OFFLINE)
    provisioning.read_lines(setup=ours.setup)
    hub = "iMessage Hub"
    assert told() == [
        (hub, "changed", "routing.account", "The provider blocked its line: nothing is sent from it."),
        (hub, "changed", "routing.account", "Its line is no longer blocked."),
        (hub, "changed", "provisioning.setup", "The provider refuses its credentials: its accounts send nothing."),
        (hub, "changed", "provisioning.setup", "Its credentials work again."),
        (hub, "changed", "routing.account", "The provider blocked its line: nothing is sent from it."),
    ]
    assert {entry.location_id for entry in AuditEntry.objects.all()} == {ours.location.pk}


# --- without secrets, without words of people -------------------------------------------------------------------------

CANARY = "canary"


@pytest.mark.django_db(transaction=True)
def test_every_operation_is_written_down_once_without_a_secret(ours: World, provider: FakeProvider) -> None:
    """Operations, each in a state that allows it; all that is typed and all that is kept is a canary."""
    client = sign_in(ours.admin)
    typed = {"key_id": f"{CANARY}-key", "secret": f"{CANARY}-secret"}
    later = timezone.now() + timedelta(hours=1)

    def contact(**fields: Any) -> Contact:
        return make_contact(ours.location, name=f"{CANARY} name", tags=(f"{CANARY} tag",), **fields)

    def setup(status: SetupStatus = SetupStatus.ACTIVE, **fields: Any) -> Setup:
        return make_setup(ours.location, status=status, webhook_secret=f"{CANARY}-hook", **fields)

    subjects: dict[tuple[str, str], Callable[[], Any]] = {
        ("account", "make-default"): lambda: make_account(ours.location),
        ("account", "enable"): lambda: make_account(ours.location, is_enabled=False),
        ("account", "disable"): lambda: make_account(ours.location),
        ("account", "retire"): lambda: make_account(ours.location),
        ("contact", "opt-out"): contact,
        ("contact", "opt-in"): lambda: contact(opted_out=True),
        ("apikey", "revoke"): lambda: make_api_key(ours.location)[0],
        ("setup", "refresh"): setup,
        ("setup", "retry"): lambda: setup(SetupStatus.FAILED, credentials=None),
        ("setup", "attach-credentials"): lambda: setup(SetupStatus.UNKNOWN, credentials=None),
        ("setup", "rotate-webhook-secret"): setup,
        ("setup", "abandon"): lambda: setup(SetupStatus.FAILED, credentials=None),
        ("setup", "close"): setup,
        ("message", "cancel"): lambda: send_message(ours.location, contact(), f"{CANARY} words", scheduled_at=later),
    }
    offered: set[tuple[str, str]] = set()
    for kind, model_admin in admin.site._registry.items():
        offered |= {(str(kind._meta.model_name), item.name) for item in getattr(model_admin, "operations", ())}
    assert set(subjects) <= offered
    for (model, name), make in subjects.items():
        subject = make()
        before = AuditEntry.objects.count()
        assert client.post(operation(model, subject.pk, name), typed).status_code == 302, (model, name)
        written = list(AuditEntry.objects.order_by("id")[before:])
        about = [entry for entry in written if entry.object_id == str(subject.pk)]
        assert [entry.user_id for entry in about] == [ours.admin.pk], (model, name)
        assert written == about, (model, name)
    _holds_no_canary(*(subject for subject in Contact.objects.values_list("phone_number", flat=True)))


@pytest.mark.django_db(transaction=True)
def test_every_form_is_written_down_without_a_secret(ours: World, provider: FakeProvider) -> None:
    client = sign_in(ours.admin)
    number, other = new_phone(), new_phone()
    here = {"location": ours.location.pk}
    person = {"name": f"{CANARY} name", "phone_number": number, "tag_names": f"{CANARY} tag"}
    lines = {"phone_lines-TOTAL_FORMS": "0", "phone_lines-INITIAL_FORMS": "0"}
    assert client.post(url("contact", "add"), person | here).status_code == 302
    made = Contact.objects.get(phone_number=number)
    assert client.post(url("contact", "change", made.pk), person | {"phone_number": other}).status_code == 302
    assert client.post(url("account", "change", ours.account.pk), {"label": "Renamed", "user": ""}).status_code == 302
    assert client.post(url("setup", "change", ours.setup.pk), lines | {"label": "Renamed"}).status_code == 302
    assert client.post(url("apikey", "add"), here | {"name": "New key"}).status_code == 200
    connect = here | {"business_name": "B", "label": "L", "provider": "sendblue"}
    secrets = {"key_id": f"{CANARY}-key", "secret": f"{CANARY}-secret"}
    assert client.post("/admin/provisioning/setup/connect/", connect | secrets).status_code == 302
    membership = ours.membership(ours.agent)
    assert client.post(url("membership", "change", membership.pk), {"role": "viewer"}).status_code == 302
    assert client.post(url("membership", "delete", membership.pk), {"post": "yes"}).status_code == 302
    assert not Membership.objects.filter(pk=membership.pk).exists()
    kinds = [(action, kind) for _, action, kind, _ in told()]
    assert kinds == [
        ("created", "routing.contact"),
        ("changed", "routing.contact"),
        ("changed", "routing.account"),
        ("changed", "provisioning.setup"),
        ("created", "routing.apikey"),
        ("created", "provisioning.setup"),
        ("changed", "routing.membership"),
        ("deleted", "routing.membership"),
    ]
    _holds_no_canary(number, other)


def test_the_notices_of_the_provider_leave_no_words_in_the_trail(ours: World, provider: FakeProvider) -> None:
    event = make_event(ours.setup, body=f'{{"content": "{CANARY}"}}'.encode())
    blocked = LineHint(blocked_number=ours.account.phone_number)
    provider.lines = AccountRejected(f"{CANARY}_code", f"{CANARY} detail")
    make_line(ours.setup, phone_number=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("provisioning.services.upkeep.outside_transactions", lambda: None)
        provisioning.apply_line_hint(event=event, hint=blocked)
        provider.lines = [Line(ours.account.phone_number, Health.ONLINE), Line(new_phone(), Health.ONLINE)]
        provisioning.read_lines(setup=ours.setup)
    assert AuditEntry.objects.count() >= 4
    _holds_no_canary()


def _holds_no_canary(*numbers: str) -> None:
    for entry in AuditEntry.objects.values():
        written = json.dumps(entry, default=str)
        assert CANARY not in written, written
        assert not [number for number in numbers if number in written], written
