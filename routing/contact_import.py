"""Does what a file of contacts asks for: through the services, in one transaction, with one line in the audit trail."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from routing import audit, services
from routing.contact_facts import ContactFacts
from routing.contact_files import Sheet
from routing.contact_resource import Draft, Line, plan
from routing.models import AuditAction, ConsentSource, Contact, Location, User

KINDS = ("new", "updated", "unchanged", "wrong")
MANY = 500
"""Rows from which on the database's idea of its tables is brought up to date."""


@dataclass(frozen=True)
class Report:
    """What the file came to. `done`: it was written; otherwise it holds wrong rows and nothing was."""

    lines: list[Line]
    done: bool

    @property
    def counts(self) -> dict[str, int]:
        """How many rows of each kind."""
        return count(self.lines)


def count(lines: Sequence[Line]) -> dict[str, int]:
    """How many rows of each kind."""
    return {kind: sum(line.kind == kind for line in lines) for kind in KINDS}


def preview(*, location: Location, sheet: Sheet) -> list[Line]:
    """What the file would change; nothing is written."""
    return plan(ContactFacts(location, sheet), sheet)


@transaction.atomic
def run(*, location: Location, sheet: Sheet, by: User, leave_out_wrong: bool) -> Report:
    """Write what the file asks for, as things stand now. Where rows are wrong, the good ones are written only if
    `leave_out_wrong` says so.

    Holds the location's row lock, so that two files come one after the other, and those of the contacts.
    """
    locked = Location.objects.select_for_update().get(pk=location.pk)
    lines = plan(ContactFacts(locked, sheet, lock=True), sheet)
    report = Report(lines, done=leave_out_wrong or not any(line.kind == "wrong" for line in lines))
    if not report.done:
        return report
    _write(locked, [line.draft for line in lines if line.draft is not None and line.draft.changed], by)
    counts = report.counts
    audit.record(
        by=by,
        action=AuditAction.CHANGED,
        obj=locked,
        location_id=locked.pk,
        detail=(
            f"Imported contacts: {counts['new']} new, {counts['updated']} changed, {counts['unchanged']} unchanged,"
            f" {counts['wrong']} left out."
        ),
    )
    return report


def _write(location: Location, drafts: Sequence[Draft], by: User) -> None:
    contacts = _stored(location, drafts)
    services.set_tags_of_many(
        location_id=location.pk,
        wanted={contacts[draft.phone_number]: draft.tags for draft in drafts if draft.tags and "tags" in draft.changed},
    )
    for opted_out in (True, False):
        services.set_opt_out_of_many(
            contact_ids=[
                contacts[draft.phone_number]
                for draft in drafts
                if draft.opted_out is opted_out and "opted_out" in draft.changed
            ],
            opted_out=opted_out,
            source=ConsentSource.IMPORT,
            by=by,
        )
    if len(drafts) >= MANY:
        _count_anew()


def _count_anew() -> None:
    """Let PostgreSQL look at the tables before the commit checks each new row's keys.

    While it takes them for small, it reads all contacts of the location for each row: 10,000 rows took 95 s.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE routing_contact, routing_tag")


def _stored(location: Location, drafts: Sequence[Draft]) -> dict[str, UUID]:
    """The ids of the contacts by number, once those that are new are there and the others have name and user."""
    now = timezone.now()
    new = [
        Contact(
            location=location,
            phone_number=draft.phone_number,
            name=draft.name or "",
            assigned_user=draft.assigned_user,
        )
        for draft in drafts
        if draft.contact is None
    ]
    # Somebody with that number may have written in between: then the contact is there, and is given what is missing.
    Contact.objects.bulk_create(new, ignore_conflicts=True, batch_size=services.BATCH)
    ids = _ids_of(location, [contact.phone_number for contact in new])
    for contact in new:
        if ids[contact.phone_number] != contact.pk:
            row = Contact.objects.filter(pk=ids[contact.phone_number])
            row.update(name=contact.name, assigned_user=contact.assigned_user, updated_at=now)
    changed = []
    for draft in drafts:
        if draft.contact is not None and {"name", "assigned_user"} & draft.changed:
            draft.contact.name = draft.contact.name if draft.name is None else draft.name
            draft.contact.assigned_user = draft.assigned_user or draft.contact.assigned_user
            draft.contact.updated_at = now
            changed.append(draft.contact)
    Contact.objects.bulk_update(changed, ["name", "assigned_user", "updated_at"], batch_size=200)
    return ids | {draft.phone_number: draft.contact.pk for draft in drafts if draft.contact is not None}


def _ids_of(location: Location, numbers: Sequence[str]) -> dict[str, UUID]:
    ids: dict[str, UUID] = {}
    for batch in services.batched(numbers, services.BATCH):
        found = Contact.objects.filter(location=location, phone_number__in=batch)
        ids |= dict(found.values_list("phone_number", "pk"))
    return ids
