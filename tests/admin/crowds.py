"""Ten thousand of everything, within seconds: rows like one that is there, written in bulk."""

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from django.db.models import Model
from django.utils import timezone

from messaging.models import BatchRefusal, DailyVolume, Direction, DispatchState, Message, Thread
from routing.models import (
    AuditEntry,
    ConsentChange,
    Contact,
    ContactTag,
    Invitation,
    Role,
    User,
)
from tests.admin.world import World

BATCH = 1000
FIRST_POSITION = 1_000_000
"""Of messages in bulk: out of the way of those that are sent."""

M = TypeVar("M", bound=Model)
Columns = dict[str, Callable[[int], Any]]


def copies(one: M, numbers: range, columns: Columns) -> list[M]:
    """Rows like `one`, one for each number, with what `columns` says of it."""
    model = type(one)
    fixed = {
        field.attname: getattr(one, field.attname)
        for field in model._meta.concrete_fields
        if not field.generated and not field.primary_key
    }
    key = model._meta.pk
    if key is not None and key.get_internal_type() == "UUIDField":
        fixed_key: Columns = {key.attname: lambda _: uuid.uuid4()}
    else:
        fixed_key = {}
    columns = fixed_key | columns
    rows = [model(**fixed | {name: value(number) for name, value in columns.items()}) for number in numbers]
    model._default_manager.bulk_create(rows, batch_size=BATCH)
    return rows


def fill(world: World, numbers: range) -> None:
    """One more of everything in the world for each number."""
    now, location = timezone.now(), world.location
    users = copies(
        world.viewer,
        numbers,
        {"username": lambda n: f"{world.viewer.username}-{n}", "email": lambda n: f"{n}@example.com"},
    )
    membership = world.membership(world.viewer)
    copies(membership, numbers, {"user_id": lambda n: users[n - numbers.start].pk, "crm_user_id": lambda n: f"crm-{n}"})
    _numbers(world, numbers, users)
    contacts = copies(
        world.contact, numbers, {"phone_number": lambda n: f"+1556{n:07d}", "name": lambda n: f"Somebody {n}"}
    )
    tags = copies(world.tag, numbers, {"name": lambda n: f"tag {n}"})
    ContactTag.objects.bulk_create(
        [
            ContactTag(location=location, contact=contact, tag=tag)
            for contact, own in zip(contacts, tags, strict=True)
            for tag in (world.tag, own)
        ],
        batch_size=BATCH,
    )
    ConsentChange.objects.bulk_create(
        [
            ConsentChange(location=location, contact=contact, opted_out=True, at=now, source="admin", user=world.agent)
            for contact in contacts
        ],
        batch_size=BATCH,
    )
    _messages(world, numbers, contacts)
    copies(world.api_key, numbers, {"name": lambda n: f"Key {n}", "digest": lambda n: f"{n:064d}"})
    copies(world.event, numbers, {"dedup_key": lambda n: f"bulk-{n}"})
    _kept(world, numbers, users)


def _numbers(world: World, numbers: range, users: list[User]) -> None:
    """Setups with a line and an account each."""
    setups = copies(
        world.setup,
        numbers,
        {
            "label": lambda n: f"Setup {n}",
            "business_name": lambda n: f"Business {n}",
            "webhook_key": lambda n: f"bulk-{world.location.pk.hex}-{n}",
        },
    )
    accounts = copies(
        world.account,
        numbers,
        {
            "index": lambda n: n + 1000,
            "label": lambda n: f"Desk {n}",
            "phone_number": lambda n: f"+1557{n:07d}",
            "user_id": lambda n: users[n - numbers.start].pk,
        },
    )
    copies(
        world.line,
        numbers,
        {
            "setup_id": lambda n: setups[n - numbers.start].pk,
            "account_id": lambda n: accounts[n - numbers.start].pk,
            "phone_number": lambda n: f"+1557{n:07d}",
            "request_id": lambda n: f"bulk-{n}",
        },
    )


def _messages(world: World, numbers: range, contacts: list[Contact]) -> None:
    """One for each contact, with its thread, and as many with the world's own contact; one in ten received."""
    start = numbers.start
    shared: Columns = {
        "direction": lambda n: Direction.INBOUND if n % 10 == 0 else Direction.OUTBOUND,
        "dispatch_state": lambda n: DispatchState.RECEIVED if n % 10 == 0 else DispatchState.ACCEPTED,
        "due_at": lambda _: None,
        "lease_until": lambda _: None,
        "idempotency_key": lambda _: None,
    }
    columns = {field.attname for field in Message._meta.concrete_fields}
    shared = {name: value for name, value in shared.items() if name in columns}
    messages = copies(
        world.message,
        numbers,
        shared
        | {
            "position": lambda n: FIRST_POSITION + 2 * n,
            "contact_id": lambda n: contacts[n - start].pk,
            "contact_number": lambda n: contacts[n - start].phone_number,
        },
    )
    in_batch: Columns = {"position": lambda n: FIRST_POSITION + 2 * n + 1, "batch_id": lambda _: world.batch.pk}
    copies(world.message, numbers, shared | in_batch)
    copies(world.batch, numbers, {"label": lambda n: f"Batch {n}"})
    BatchRefusal.objects.bulk_create(
        [BatchRefusal(location=world.location, batch=world.batch, index=n, code="c", detail="d") for n in numbers],
        batch_size=BATCH,
    )
    Thread.objects.bulk_create(
        [
            Thread(
                contact=contact,
                location=world.location,
                last_message=message,
                last_position=message.position,
                last_at=message.created_at,
                unread_count=1,
            )
            for contact, message in zip(contacts, messages, strict=True)
        ],
        batch_size=BATCH,
    )


def _kept(world: World, numbers: range, users: list[User]) -> None:
    """What is written down of it all, and locations of which the admin is an admin as well."""
    now, location = timezone.now(), world.location
    AuditEntry.objects.bulk_create(
        [
            AuditEntry(
                location=location,
                user=user,
                actor=user.username,
                action="changed",
                object_type="routing.contact",
                object_id=str(world.contact.pk),
                object_name="A contact",
                detail="Changed.",
            )
            for user in users
        ],
        batch_size=BATCH,
    )
    Invitation.objects.bulk_create(
        [
            Invitation(
                location=location,
                name=f"Guest {n}",
                role=Role.AGENT,
                token_digest=f"{location.pk.hex}{n:032d}",
                created_by=world.admin,
                expires_at=now + timedelta(days=7),
            )
            for n in numbers
        ],
        batch_size=BATCH,
    )
    today = now.date()
    DailyVolume.objects.bulk_create(
        [DailyVolume(location=location, day=today - timedelta(days=n), sent=n, received=n, failed=0) for n in numbers],
        batch_size=BATCH,
    )
