"""A small hub to send through: locations with connected accounts, contacts, a key, and messages that are queued."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from benchmarks.rows import TRACE, insert, unchecked
from messaging.delivery.doorbell import CHANNEL
from messaging.models import Message
from provisioning.models import PhoneLine, Setup
from routing.models import Account, Contact, Location
from routing.services import create_api_key

PACE_PER_SECOND = 1_000
NEW_CONTACTS = 1_000_000
"""Limits of each line: counted as in earnest, and never reached, because it is the hub that is measured."""


@dataclass(frozen=True)
class Place:
    """One location: its accounts, its contacts' numbers, a key to it, and its setup."""

    location: Location
    accounts: Sequence[Account]
    numbers: Sequence[str]
    key: str
    setup: Setup


def make_places(count: int, *, accounts: int, contacts: int) -> list[Place]:
    """So many locations, each with so many accounts and contacts; the first account is the default."""
    return [_place(number, accounts, contacts) for number in range(count)]


def _place(number: int, accounts: int, contacts: int) -> Place:
    location = Location.objects.create(name=f"Clinic {number:02}")
    now = timezone.now()
    setup = Setup.objects.create(
        location=location,
        provider="sendblue",
        business_name=f"Clinic {number:02}",
        status="active",
        credentials_key_id=f"key-{number}",
        credentials_secret=f"secret-{number}",
        credentials_set_at=now,
        webhooks_registered_at=now,
        lines_read_at=now,
    )
    own = [
        Account(location=location, index=index, label=f"Desk {index}", phone_number=_number(646, number, index))
        for index in range(1, accounts + 1)
    ]
    Account.objects.bulk_create(own)
    PhoneLine.objects.bulk_create(
        PhoneLine(
            location=location,
            setup=setup,
            status="assigned",
            health="online",
            phone_number=account.phone_number,
            assigned_at=now,
            account=account,
            pace_per_second=PACE_PER_SECOND,
            pace_burst=PACE_PER_SECOND,
            new_contacts_per_hour=NEW_CONTACTS,
            new_contacts_per_day=NEW_CONTACTS,
        )
        for account in own
    )
    Location.objects.filter(pk=location.pk).update(default_account=own[0], last_account_index=accounts)
    numbers = [_number(212, number, contact) for contact in range(contacts)]
    Contact.objects.bulk_create(
        (Contact(location=location, phone_number=phone, name=f"Contact {phone}") for phone in numbers),
        batch_size=5_000,
    )
    _, key = create_api_key(location=location, name="bench")
    return Place(location, own, numbers, key, setup)


def _number(area: int, place: int, number: int) -> str:
    return f"+1{area}{2_000_000 + place * 100_000 + number}"


def queue(place: Place, count: int, *, tag: str, state: str = "queued") -> None:
    """So many messages as if they had just been accepted, spread evenly over the location's contacts and accounts;
    committed together. Their texts begin with `tag`. `state`: "queued", or "accepted" for some that are done."""
    senders = ", ".join(f"({index}, '{account.pk}'::uuid)" for index, account in enumerate(place.accounts))
    contacts = len(place.numbers)
    source = (
        f"generate_series(0, {count - 1}) n"
        f" JOIN (SELECT id, phone_number, row_number() OVER (ORDER BY phone_number) - 1 AS k FROM routing_contact"
        f" WHERE location_id = '{place.location.pk}') contact ON contact.k = n % {contacts}"
        f" JOIN (VALUES {senders}) sender (k, id) ON sender.k = n % {contacts} % {len(place.accounts)}"
        f" ORDER BY n"
    )
    columns = {
        "id": "gen_random_uuid()",
        "position": "nextval('messaging_message_position')",
        "location_id": f"'{place.location.pk}'::uuid",
        "contact_id": "contact.id",
        "account_id": "sender.id",
        "contact_number": "contact.phone_number",
        "direction": "'outbound'",
        "text": f"'{tag} ' || n",
        "rule": "'default_account'",
        "trace": f"$trace${TRACE}$trace$::jsonb",
        "dispatch_state": f"'{state}'",
        "due_at": "now()" if state == "queued" else "NULL",
        "expires_at": "now() + interval '1 day'",
        "provider_id": "''" if state == "queued" else f"'{tag}-' || n",
        "created_at": "now()",
    }
    with unchecked() as cursor, transaction.atomic():
        insert(cursor, Message, columns, source)
        cursor.execute("ANALYZE messaging_message")
        cursor.execute(f"NOTIFY {CHANNEL}")


def unsettled() -> int:
    """How many messages are still on their way."""
    return Message.objects.filter(dispatch_state__in=["queued", "claimed", "sending"]).count()
