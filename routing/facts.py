"""Loads what a decision needs to know, for one contact or for ten thousand, in the same number of queries."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet, Subquery

from routing.models import Account, Contact, ContactTag, Location, Membership
from routing.number_tags import tag_numbers
from routing.overrides import Override
from routing.selection import AccountFacts, Facts, OnUnavailable, Policy

Found = dict[UUID, AccountFacts]


def policy_of(location: Location) -> Policy:
    """The location's word on preferences whose account cannot send."""
    return Policy(
        unavailable_tag_account=OnUnavailable(location.unavailable_tag_account),
        unavailable_user_account=OnUnavailable(location.unavailable_user_account),
    )


def load(*, location: Location, contact: Contact, override: Override) -> Facts:
    """The facts for one message to one contact, which may not be stored yet."""
    return load_many(location=location, contacts=[contact], overrides=[override])[0]


def load_many(*, location: Location, contacts: Sequence[Contact], overrides: Sequence[Override]) -> list[Facts]:
    """The facts for one message to each of the contacts, in their order; `overrides` holds what each message asks for,
    in the same order.

    Three queries, however many contacts and accounts there are, where the contacts were fetched with their
    `last_account`.
    """
    tags = _tags_of(contacts)
    numbers = {contact.pk: set(tag_numbers(tags[contact.pk], region=location.region)) for contact in contacts}
    users = active_members(location, {contact.assigned_user_id for contact in contacts if contact.assigned_user_id})
    known = KnownAccounts(
        account_facts(account)
        for account in Account.objects.open()
        .filter(
            Q(pk__in={contact.last_account_id for contact in contacts} - {None})
            | Q(pk=location.default_account_id)
            | Q(phone_number__in=set().union(*numbers.values()))
            | Q(index__in={n for override in overrides for n in (override.manual, override.temporary) if n})
            | Q(user__in=users)
            | Q(pk=Subquery(_lowest_sendable(location))),
            location=location,
        )
        .order_by()
    )
    everybody = known.first_sendable() | known.with_ids([location.default_account_id])
    return [
        Facts(
            region=location.region,
            opted_out=contact.opted_out,
            tags=tuple(tags[contact.pk]),
            assigned_user_id=contact.assigned_user_id if contact.assigned_user_id in users else None,
            default_account_id=location.default_account_id,
            last_account_id=contact.last_account_id,
            last_phone_number=contact.last_account.phone_number if contact.last_account else None,
            accounts=everybody
            | known.with_indexes(override)
            | known.with_ids([contact.last_account_id])
            | known.with_numbers(numbers[contact.pk])
            | known.of_user(contact.assigned_user_id),
        )
        for contact, override in zip(contacts, overrides, strict=True)
    ]


class KnownAccounts:
    """The accounts that were loaded, found by what contacts and overrides name; each contact is given only its own, so
    that a decision takes no longer when a location has many."""

    def __init__(self, accounts: Iterable[AccountFacts]) -> None:
        self._by_id = {account.id: account for account in accounts}
        self._by_number: dict[str, AccountFacts] = {}
        self._by_index: dict[int, AccountFacts] = {}
        self._by_user: dict[UUID | None, Found] = defaultdict(dict)
        for account in self._by_id.values():
            self._by_number[account.phone_number] = account
            self._by_index[account.index] = account
            self._by_user[account.user_id][account.id] = account

    def with_ids(self, ids: Iterable[UUID | None]) -> Found:
        """Those of the ids."""
        return {found.id: found for wanted in ids if wanted and (found := self._by_id.get(wanted))}

    def with_numbers(self, numbers: Iterable[str]) -> Found:
        """Those that have one of the numbers."""
        return {found.id: found for number in numbers if (found := self._by_number.get(number))}

    def with_indexes(self, override: Override) -> Found:
        """Those that an override names."""
        indexes = {index for index in (override.manual, override.temporary) if index}
        return {found.id: found for index in indexes if (found := self._by_index.get(index))}

    def of_user(self, user_id: UUID | None) -> Found:
        """Those that are the user's own."""
        return self._by_user.get(user_id, {}) if user_id else {}

    def first_sendable(self) -> Found:
        """The one with the lowest index of those that can send."""
        able = [index for index, account in self._by_index.items() if account.can_send]
        return {(first := self._by_index[min(able)]).id: first} if able else {}


def _lowest_sendable(location: Location) -> "QuerySet[Account, Any]":
    # Of no row of the query around it, so that it is looked for once and not for each account.
    return Account.objects.sendable().filter(location=location).order_by("index").values("pk")[:1]


def account_facts(account: Account) -> AccountFacts:
    """What a decision knows of an account."""
    return AccountFacts(
        id=account.pk,
        index=account.index,
        label=account.label,
        phone_number=account.phone_number,
        user_id=account.user_id,
        blockers=account.blockers,
    )


def _tags_of(contacts: Sequence[Contact]) -> dict[UUID, list[str]]:
    """Tag names by contact, in the order they were given."""
    rows = ContactTag.objects.filter(contact__in=[contact.pk for contact in contacts]).order_by("pk")
    tags: dict[UUID, list[str]] = defaultdict(list)
    for contact_id, name in rows.values_list("contact", "tag__name"):
        tags[contact_id].append(name)
    return tags


def active_members(location: Location, user_ids: set[UUID] | None = None) -> set[UUID]:
    """Those of the users, or of all (None), who are members of the location and may sign in."""
    members = Membership.objects.filter(location=location, user__is_active=True)
    if user_ids is not None:
        members = members.filter(user__in=user_ids)
    return set(members.values_list("user", flat=True))
