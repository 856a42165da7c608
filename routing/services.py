"""Writes that touch more than one row of a location: keys, accounts, contacts, tags, consent."""

import contextlib
import hashlib
import secrets
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from django.db import transaction
from django.db.models import Model, Q
from django.utils import timezone

from routing import audit
from routing.errors import Refused
from routing.models import (
    Account,
    ApiKey,
    AuditAction,
    ConsentChange,
    ConsentSource,
    Contact,
    ContactTag,
    Location,
    Membership,
    Tag,
    User,
)
from routing.number_tags import is_number_tag, tag_phone

KEY_PREFIX = "imh_"
BATCH = 1000
"""Rows that one statement names."""

Item = TypeVar("Item")

Row = TypeVar("Row", bound=Model)


def api_key_digest(key: str) -> str:
    """What is kept of a key: its SHA-256; the key itself is 256 random bits, so nothing slower is needed."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def create_api_key(
    *,
    location: Location | None,
    name: str,
    expires_at: datetime | None = None,
    by: User | None = None,
    id: UUID | None = None,  # noqa: A002
) -> tuple[ApiKey, str]:
    """A new key and, this once, its clear text. `location` None: a key to every location, for operators.

    `id`, if given, is the row's. Raises Refused("made_already", 409) when there is a key with it: a form sent twice.
    """
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    row = made_once(
        ApiKey,
        id,
        location=location,
        created_by=by,
        name=name,
        prefix=key[: len(KEY_PREFIX) + 6],
        digest=api_key_digest(key),
        expires_at=expires_at,
    )
    return row, key


def made_once(model: type[Row], id: UUID | None, **columns: Any) -> Row:  # noqa: A002
    """A new row, with `id` if given. Raises Refused("made_already", 409) when there is a row with that id."""
    if id is None:
        return model._default_manager.create(**columns)
    row, made = model._default_manager.get_or_create(pk=id, defaults=columns)
    if not made:
        raise Refused("made_already", "This form was sent before, and did what it is for.", status=409)
    return row


@transaction.atomic
def set_default_account(*, account: Account, by: User | ApiKey | None) -> None:
    """Make `account` the default of its location, in place of any other, and write that down.

    Holds the location's row lock, so that it and the retirement of an account come one after the other. Raises
    Refused("account_retired", 409).
    """
    location = Location.objects.select_for_update().get(pk=account.location_id)
    if not Account.objects.open().filter(pk=account.pk).exists():
        raise Refused("account_retired", "This account was retired; choose another as the default.", status=409)
    if location.default_account_id != account.pk:
        Location.objects.filter(pk=location.pk).update(default_account=account)
        _note_account(account, by, "It is the default of its location now.")


@transaction.atomic
def clear_default_account(*, location: Location, by: User | ApiKey | None) -> None:
    """Leave the location without a default, and write that down."""
    if Location.objects.filter(pk=location.pk, default_account__isnull=False).update(default_account=None):
        audit.record(
            by=by,
            action=AuditAction.CHANGED,
            obj=location,
            location_id=location.pk,
            detail="It has no default account any more.",
        )


@transaction.atomic
def open_account(*, location: Location, label: str, phone_number: str, user: User | None = None) -> Account:
    """A new account with the location's next index, which no account had before.

    Holds the location's row lock. Raises Refused("account_exists", 409) when an open account has that number.
    """
    locked = Location.objects.select_for_update().get(pk=location.pk)
    if Account.objects.open().filter(location=locked, phone_number=phone_number).exists():
        raise Refused("account_exists", "An account of this location has that number already.", status=409)
    locked.last_account_index += 1
    locked.save(update_fields=["last_account_index"])
    return Account.objects.create(
        location=locked, index=locked.last_account_index, label=label, phone_number=phone_number, user=user
    )


def update_connection(
    *,
    account_ids: Iterable[UUID],
    line_state: str | None = None,
    line_blocked: bool | None = None,
    credentials_rejected: bool | None = None,
    connected: bool | None = None,
) -> int:
    """Write down what provisioning learned of the accounts' connections; None leaves a part as it is.

    Returns how many accounts there were.
    """
    given = {
        "line_state": line_state,
        "line_blocked": line_blocked,
        "credentials_rejected": credentials_rejected,
        "connected": connected,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    accounts = Account.objects.filter(pk__in=list(account_ids))
    return accounts.update(**changes) if changes else accounts.count()


@transaction.atomic
def retire_account(*, account: Account, by: User | ApiKey | None) -> None:
    """Take an account out of use for ever, and write that down; its index and its history stay. Again: nothing.

    Holds the location's row lock; a default that is retired leaves the location without one.
    """
    location = Location.objects.select_for_update().get(pk=account.location_id)
    retired = Account.objects.open().filter(pk=account.pk).update(retired_at=timezone.now())
    Location.objects.filter(pk=location.pk, default_account=account.pk).update(default_account=None)
    if retired:
        _note_account(account, by, "Retired: it sends nothing any more.")


def _note_account(account: Account, by: User | ApiKey | None, sentence: str) -> None:
    audit.record(by=by, action=AuditAction.CHANGED, obj=account, location_id=account.location_id, detail=sentence)


def get_or_create_contact(*, location: Location, phone_number: str, name: str = "") -> tuple[Contact, bool]:
    """The location's contact with that number, made if there is none; the second value tells whether it was made."""
    return Contact.objects.get_or_create(location=location, phone_number=phone_number, defaults={"name": name})


def clean_tag_names(names: Iterable[str]) -> list[str]:
    """The names without outer and doubled spaces, each once, in the order given. Raises Refused("invalid_tag")."""
    cleaned = list(dict.fromkeys(" ".join(name.split()) for name in names))
    longest = Tag._meta.get_field("name").max_length or 0
    for name in cleaned:
        if not name or len(name) > longest:
            raise Refused("invalid_tag", f"A tag has 1 to {longest} characters.", field="tags")
    return cleaned


def set_tags(*, contact: Contact, names: Sequence[str]) -> None:
    """Give the contact exactly these tags; new words become tags of the location. Raises Refused("invalid_tag")."""
    set_tags_of_many(location_id=contact.location_id, wanted={contact.pk: names})


@transaction.atomic
def set_tags_of_many(*, location_id: UUID, wanted: Mapping[UUID, Sequence[str]]) -> None:
    """Give each of the location's contacts (by id) exactly the tags named; in the same number of queries for every
    `BATCH` of them. Raises Refused("invalid_tag")."""
    clean = {contact_id: clean_tag_names(names) for contact_id, names in wanted.items()}
    tags = _tag_ids(location_id, list(dict.fromkeys(name for names in clean.values() for name in names)))
    for batch in batched(list(clean), BATCH):
        rows = ContactTag.objects.filter(location=location_id, contact__in=batch)
        there: dict[tuple[UUID, UUID], int] = {
            (row.contact_id, row.tag_id): row.pk for row in rows.only("contact_id", "tag_id")
        }
        meant = list(dict.fromkeys((contact_id, tags[name]) for contact_id in batch for name in clean[contact_id]))
        gone = [there[pair] for pair in there.keys() - set(meant)]
        if gone:
            ContactTag.objects.filter(pk__in=gone).delete()
        new = [
            ContactTag(location_id=location_id, contact_id=contact_id, tag_id=tag_id)
            for contact_id, tag_id in meant
            if (contact_id, tag_id) not in there
        ]
        ContactTag.objects.bulk_create(new, ignore_conflicts=True, batch_size=BATCH)


def _tag_ids(location_id: UUID, names: Sequence[str]) -> dict[str, UUID]:
    ids: dict[str, UUID] = {}
    for batch in batched(names, BATCH):
        Tag.objects.bulk_create([Tag(location_id=location_id, name=name) for name in batch], ignore_conflicts=True)
        ids |= dict(Tag.objects.filter(location=location_id, name__in=batch).values_list("name", "pk"))
    return ids


@transaction.atomic
def replace_number_tag(*, contact: Contact, phone_number: str) -> bool:
    """Make `phone_number` the only number the contact's `im:` tags name. False when it was so already."""
    region = contact.location.region
    names = list(contact.tags.order_by("contact_tags__id").values_list("name", flat=True))
    others = [name for name in names if not is_number_tag(name)]
    numbers = {tag_phone(name, region=region) for name in names if is_number_tag(name)}
    if numbers == {phone_number}:
        return False
    set_tags(contact=contact, names=[*others, f"im: {phone_number}"])
    return True


def set_opt_out(
    *,
    contact: Contact,
    opted_out: bool,
    at: datetime | None = None,
    source: ConsentSource = ConsentSource.API,
    by: User | ApiKey | None = None,
) -> bool:
    """Record that the contact does not want to be written to, or wants to again, and how that became known. True when
    that was a change; only a change enters the history. `at`: when it was said, now by default."""
    changed = set_opt_out_of_many(contact_ids=[contact.pk], opted_out=opted_out, at=at, source=source, by=by)
    if changed:
        contact.refresh_from_db(fields=["opted_out_at"])
    elif opted_out and source == ConsentSource.MESSAGE:
        _note_own_word(contact, at or timezone.now())
    return bool(changed)


def _note_own_word(contact: Contact, at: datetime) -> None:
    last = ConsentChange.objects.filter(contact=contact).first()
    if last is None or last.source != ConsentSource.MESSAGE:
        ConsentChange.objects.create(
            location_id=contact.location_id, contact=contact, opted_out=True, at=at, source=ConsentSource.MESSAGE
        )


@transaction.atomic
def set_opt_out_of_many(
    *,
    contact_ids: Sequence[UUID],
    opted_out: bool,
    at: datetime | None = None,
    source: ConsentSource,
    by: User | ApiKey | None = None,
) -> int:
    """As `set_opt_out`, for many contacts. Returns for how many it was a change. Takes their row locks."""
    now = timezone.now()
    said_at = at or now
    changed = 0
    for batch in batched(contact_ids, BATCH):
        # Locked first: the history gets a line for each that really changes, and none for the others.
        rows = Contact.objects.select_for_update().filter(pk__in=batch, opted_out_at__isnull=opted_out).order_by("pk")
        found = list(rows.values_list("pk", "location"))
        if not found:
            continue
        ids = [contact_id for contact_id, _ in found]
        Contact.objects.filter(pk__in=ids).update(opted_out_at=said_at if opted_out else None)
        ConsentChange.objects.bulk_create(
            ConsentChange(
                location_id=location_id,
                contact_id=contact_id,
                opted_out=opted_out,
                at=said_at,
                source=source,
                user=by if isinstance(by, User) else None,
                api_key=by if isinstance(by, ApiKey) else None,
                recorded_at=now,
            )
            for contact_id, location_id in found
        )
        changed += len(ids)
    return changed


def batched(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """The items in runs of `size`: no statement has more parameters than a database takes."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def note_last_account(*, contact_id: UUID, account_id: UUID) -> None:
    """Remember the account whose number the contact last saw or wrote to."""
    note_last_accounts({contact_id: account_id})


def note_last_accounts(accounts: Mapping[UUID, UUID]) -> None:
    """As `note_last_account`, for each of the contacts its account, in the caller's transaction; takes the row locks of
    those that change, in one order."""
    known = Contact.objects.filter(pk__in=accounts).values_list("pk", "last_account")
    changed: dict[UUID, list[UUID]] = defaultdict(list)
    for contact, last in known:
        if last != accounts[contact]:
            changed[accounts[contact]].append(contact)
    moving = [contact for contacts in changed.values() for contact in contacts]
    if len(moving) > 1:
        list(Contact.objects.filter(pk__in=moving).select_for_update(no_key=True).order_by("pk").values("pk"))
    for account, contacts in changed.items():
        Contact.objects.filter(pk__in=contacts).update(last_account=account)


def resolve_user(*, location: Location, given: str, field: str = "assigned_user") -> User:
    """The location's member whose id, or whose CRM user id there, is `given`. Raises Refused("user_not_found")."""
    named = Q(crm_user_id=given) & ~Q(crm_user_id="")
    with contextlib.suppress(ValueError):
        named |= Q(user=UUID(given))
    membership = Membership.objects.filter(named, location=location).select_related("user").first()
    if membership is None:
        raise Refused("user_not_found", "No member of this location has that id.", field=field)
    return membership.user
