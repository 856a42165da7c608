"""One of everything in a location, and the pages that show it."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.test import Client
from django.urls import reverse
from django.utils import timezone

from messaging.models import BatchRefusal, Message, MessageBatch
from messaging.services import NewMessage, send
from provisioning.models import EventOutcome, PhoneLine, ProviderEvent, Setup
from routing.invitations import create_invitation
from routing.models import (
    Account,
    ApiKey,
    AuditAction,
    AuditEntry,
    Contact,
    Invitation,
    Location,
    Membership,
    Role,
    Tag,
    User,
)
from tests.factories import (
    make_account,
    make_api_key,
    make_contact,
    make_line,
    make_member,
    make_setup,
    make_user,
)

MODELS = {
    "location": "routing",
    "membership": "routing",
    "user": "routing",
    "invitation": "routing",
    "apikey": "routing",
    "auditentry": "routing",
    "account": "routing",
    "contact": "routing",
    "setup": "provisioning",
    "providerevent": "provisioning",
    "message": "messaging",
    "messagebatch": "messaging",
    "thread": "messaging",
}


def sign_in(user: User) -> Client:
    """A browser of the user's."""
    client = Client()
    client.force_login(user)
    return client


def url(model: str, page: str = "changelist", *args: Any) -> str:
    """The address of an admin page."""
    return reverse(f"admin:{MODELS[model]}_{model}_{page}", args=[str(arg) for arg in args])


def operation(model: str, pk: Any, name: str) -> str:
    """The door of an operation."""
    return url(model, "operation", pk, name)


def make_event(setup: Setup, *, body: bytes = b'{"a": 1}', type: str = "line_assigned", **fields: Any) -> ProviderEvent:  # noqa: A002
    """A provider event of the setup."""
    fields.setdefault("outcome", EventOutcome.APPLIED)
    fields.setdefault("dedup_key", f"event-{ProviderEvent.objects.count()}")
    return ProviderEvent.objects.create(location=setup.location, setup=setup, type=type, body=body, **fields)


def send_message(location: Location, contact: Contact, text: str = "hello", **wanted: Any) -> Message:
    """An outbound message, decided and stored as the API does it."""
    return send(location=location, wanted=NewMessage(to=contact.phone_number, text=text, **wanted), now=timezone.now())


def make_batch(location: Location, label: str, *, actor: str = "CRM", detail: str = "why") -> MessageBatch:
    """A batch of one row, which was refused."""
    counts = {"recipient_count": 1, "accepted_count": 0, "refused_count": 1}
    batch = MessageBatch.objects.create(location=location, label=label, actor=actor, **counts)
    BatchRefusal.objects.create(location=location, batch=batch, index=0, code="invalid_phone", detail=detail)
    return batch


@dataclass(frozen=True)
class World:
    """One of everything in a location."""

    location: Location
    admin: User
    agent: User
    viewer: User
    setup: Setup
    line: PhoneLine
    account: Account
    contact: Contact
    tag: Tag
    api_key: ApiKey
    invitation: Invitation
    event: ProviderEvent
    message: Message
    batch: MessageBatch

    def membership(self, user: User) -> Membership:
        """The user's membership here."""
        return Membership.objects.get(location=self.location, user=user)

    @property
    def audit_entry(self) -> AuditEntry:
        """An entry about a tag; made when it is asked for, so that what a test does stands alone in the trail."""
        about = {"location": self.location, "object_type": "routing.tag", "object_id": str(self.tag.pk)}
        mark = self.tag.name.removeprefix("vip ")
        words = {"actor": f"Somebody {mark}", "object_name": self.tag.name, "detail": f"Done {mark}"}
        found = AuditEntry.objects.filter(**about).first()
        # A number that stands nowhere else on a page.
        number = 10**12 + self.tag.pk.int % 10**12
        return found or AuditEntry.objects.create(pk=number, **about, **words, action=AuditAction.CREATED)

    @property
    def rows(self) -> dict[str, UUID | int]:
        """A row of each model."""
        return {
            "auditentry": self.audit_entry.pk,
            "location": self.location.pk,
            "membership": self.membership(self.agent).pk,
            "user": self.agent.pk,
            "apikey": self.api_key.pk,
            "invitation": self.invitation.pk,
            "account": self.account.pk,
            "contact": self.contact.pk,
            "setup": self.setup.pk,
            "providerevent": self.event.pk,
            "message": self.message.pk,
            "messagebatch": self.batch.pk,
            "thread": self.contact.pk,
        }


def make_world(mark: str) -> World:
    """One of everything, with `mark` in every word that a page could show."""
    location = Location.objects.create(name=f"Clinic {mark}")
    admin, agent, viewer = (
        make_member(location, role, user=make_user(f"{role}-{mark}", first_name=f"First {mark}", last_name="Last"))
        for role in (Role.ADMIN, Role.AGENT, Role.VIEWER)
    )
    setup = make_setup(location, business_name=f"Business {mark}", label=f"Label {mark}")
    account = make_account(location, label=f"Desk {mark}", default=True, user=agent)
    location = Location.objects.get(pk=location.pk)  # it has a default now
    line = make_line(setup, account=account, request_id=f"request-{mark}")
    contact = make_contact(location, name=f"Patient {mark}", tags=(f"vip {mark}",), assigned_user=agent)
    event = make_event(setup, body=f'{{"content": "body {mark}"}}'.encode(), detail=f"detail {mark}")
    message = send_message(location, contact, f"words {mark}", metadata={"ref": f"meta {mark}"})
    return World(
        location=location,
        admin=admin,
        agent=agent,
        viewer=viewer,
        setup=setup,
        line=line,
        account=account,
        contact=contact,
        tag=Tag.objects.get(location=location),
        api_key=make_api_key(location, name=f"Key {mark}")[0],
        invitation=create_invitation(location=location, name=f"Guest {mark}", role=Role.AGENT, by=admin)[0],
        event=event,
        message=message,
        batch=make_batch(location, f"Batch {mark}", actor=f"Sender {mark}", detail=f"why {mark}"),
    )
