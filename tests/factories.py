"""What tests begin with: one plain function per thing, and a clinic with everybody who may or may not see it."""

import itertools
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone

from messaging.models import Direction, DispatchState, Message, WebhookEndpoint
from messaging.models.messages import NextPosition
from messaging.webhooks_out import endpoints
from provisioning.models import LineStatus, PhoneLine, Setup, SetupStatus
from provisioning.providers.base import Credentials, Health
from routing import services as routing
from routing.models import Account, ApiKey, Contact, Location, Membership, Role, User

PASSWORD = "correct horse battery staple"

_serial = itertools.count(1)


def new_phone() -> str:
    """A fictional number that no other call of this run gave."""
    return f"+1555{next(_serial):07d}"


def make_location(name: str = "", **fields: Any) -> Location:
    """A location in the US with the standard policies; `fields` are columns."""
    return Location.objects.create(name=name or f"Clinic {next(_serial)}", **fields)


def make_user(username: str = "", *, superuser: bool = False, **fields: Any) -> User:
    """A person with PASSWORD who may enter the admin and belongs nowhere; an operator when `superuser`."""
    name = username or f"user{next(_serial)}"
    fields.setdefault("is_staff", True)
    return User.objects.create_user(name, password=PASSWORD, is_superuser=superuser, **fields)


def make_member(
    location: Location,
    role: Role = Role.AGENT,
    *,
    username: str = "",
    crm_user_id: str = "",
    can_set_default: bool = False,
    user: User | None = None,
) -> User:
    """A user with `role` in the location; `user` is one who is there already."""
    user = user or make_user(username)
    Membership.objects.create(
        location=location, user=user, role=role, crm_user_id=crm_user_id, can_set_default=can_set_default
    )
    # `roles` is kept on the object.
    return User.objects.get(pk=user.pk)


def make_account(
    location: Location,
    *,
    label: str = "",
    phone_number: str = "",
    user: User | None = None,
    default: bool = False,
    **columns: Any,
) -> Account:
    """An account with the location's next index that can send, without a phone line; `columns` break it as wished:
    `is_enabled`, `line_state`, `line_blocked`, `credentials_rejected`, `connected`, `retired_at`."""
    number = phone_number or new_phone()
    account = routing.open_account(location=location, label=label or f"Line {number}", phone_number=number, user=user)
    if default:
        # Without a word in the audit trail, which tests read.
        Location.objects.filter(pk=location.pk).update(default_account=account)
    if columns:
        Account.objects.filter(pk=account.pk).update(**columns)
    account.refresh_from_db()
    return account


def make_contact(
    location: Location,
    *,
    phone_number: str = "",
    name: str = "Pat Doe",
    tags: tuple[str, ...] = (),
    assigned_user: User | None = None,
    opted_out: bool = False,
    last_account: Account | None = None,
) -> Contact:
    """A contact of the location."""
    contact = Contact.objects.create(
        location=location,
        phone_number=phone_number or new_phone(),
        name=name,
        assigned_user=assigned_user,
        last_account=last_account,
        opted_out_at=timezone.now() if opted_out else None,
    )
    if tags:
        routing.set_tags(contact=contact, names=tags)
    return contact


def make_message(contact: Contact, *, account: Account | None, received: bool = False, **columns: Any) -> Message:
    """A message of the contact as it stands in the queue, or one that was received; `columns` as wished."""
    state = DispatchState.RECEIVED if received else DispatchState.QUEUED
    return Message.objects.create(
        **{
            "position": NextPosition(),
            "location_id": contact.location_id,
            "contact": contact,
            "contact_number": contact.phone_number,
            "account": account,
            "direction": Direction.INBOUND if received else Direction.OUTBOUND,
            "dispatch_state": state,
            "due_at": None if received else timezone.now(),
        }
        | columns
    )


def make_api_key(
    location: Location | None, *, name: str = "CRM", expires_at: datetime | None = None
) -> tuple[ApiKey, str]:
    """A key of the location (None: of the whole hub) and its clear text."""
    return routing.create_api_key(location=location, name=name, expires_at=expires_at)


def make_setup(
    location: Location,
    *,
    provider: str = "sendblue",
    status: SetupStatus = SetupStatus.ACTIVE,
    business_name: str = "",
    label: str = "",
    credentials: Credentials | str | None = "made",
    **columns: Any,
) -> Setup:
    """A setup as it stands once provisioned and registered: credentials, nothing due, no line.

    `credentials` None: it has none.
    """
    number = next(_serial)
    if isinstance(credentials, str):
        credentials = Credentials(key_id=f"key-{number}", secret=f"secret-{number}")
    now = timezone.now()
    if credentials is not None:
        columns = {
            "credentials_key_id": credentials.key_id,
            "credentials_secret": credentials.secret,
            "credentials_set_at": now,
            "webhooks_registered_at": now,
        } | columns
    setup = Setup.objects.create(
        location=location,
        provider=provider,
        status=status,
        business_name=business_name or f"Business {number}",
        label=label or f"Label {number}",
        **columns,
    )
    # Read back: the secrets are Sealed, as everywhere but in this function.
    return Setup.objects.get(pk=setup.pk)


def make_line(
    setup: Setup,
    *,
    phone_number: str | None = "",
    account: Account | None = None,
    health: Health = Health.ONLINE,
    **columns: Any,
) -> PhoneLine:
    """An assigned line with its account, made unless given; with `phone_number` None a line that is still pending."""
    if phone_number is None:
        return PhoneLine.objects.create(location=setup.location, setup=setup, **columns)
    if account is None:
        account = make_account(setup.location, phone_number=phone_number)
    return PhoneLine.objects.create(
        location=setup.location,
        setup=setup,
        status=LineStatus.ASSIGNED,
        health=health,
        phone_number=phone_number or account.phone_number,
        assigned_at=timezone.now(),
        account=account,
        **columns,
    )


def make_endpoint(
    location: Location, url: str = "https://crm.example.com/hook", *, event_types: tuple[str, ...] = ()
) -> tuple[WebhookEndpoint, str]:
    """A webhook endpoint of the location and its secret; for every type of event unless told."""
    return endpoints.create(location=location, url=url, event_types=event_types)


@dataclass(frozen=True)
class Clinic:
    """A location with its people, an account that can send, a key, and everybody who must not get in."""

    location: Location
    admin: User
    agent: User
    viewer: User
    operator: User
    """A superuser: sees every location."""
    other_admin: User
    """Admin of `other_location` only."""
    stranger: User
    """Signed in, member of nothing."""
    other_location: Location
    setup: Setup
    line: PhoneLine
    account: Account
    """Index 1, the default of the location, on `line`."""
    contact: Contact
    api_key: ApiKey
    key: str
    """The clear text of `api_key`."""
    other_key: str
    """A key of `other_location`."""

    def text(self, text: str = "hello", **fields: Any) -> dict[str, Any]:
        """The body of a POST that sends `text` to the contact; `fields` replace or add."""
        return {"to": self.contact.phone_number, "text": text} | fields


def make_clinic(name: str = "") -> Clinic:
    """A clinic that can send, and another one whose admin and key must see nothing of it."""
    location = make_location(name)
    other = make_location()
    setup = make_setup(location)
    account = make_account(location, label="Front desk", default=True)
    api_key, key = make_api_key(location)
    return Clinic(
        location=Location.objects.get(pk=location.pk),
        admin=make_member(location, Role.ADMIN),
        agent=make_member(location, Role.AGENT),
        viewer=make_member(location, Role.VIEWER),
        operator=make_user(superuser=True),
        other_admin=make_member(other, Role.ADMIN),
        stranger=make_user(),
        other_location=other,
        setup=setup,
        line=make_line(setup, account=account),
        account=account,
        contact=make_contact(location),
        api_key=api_key,
        key=key,
        other_key=make_api_key(other)[1],
    )
