"""What a change of accounts would mean for contacts: who would get messages from another number, who from none.

Every contact is decided twice, as things stand and as they would, by the code that decides for a message. A decision
depends on a contact's number tags, assigned user and last account alone, so equal ones are decided once.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from routing.facts import KnownAccounts, account_facts, active_members, policy_of
from routing.models import Account, Contact, ContactTag, Location
from routing.number_tags import is_number_tag, tag_numbers
from routing.overrides import Override
from routing.selection import AccountFacts, Blocker, Facts, Policy, select

BATCH = 2000
"""Contacts read at once, by two queries."""


@dataclass(frozen=True)
class Change:
    """What is about to be done in one location: accounts that stop, accounts that go, the default there would be."""

    location: Location
    default_id: UUID | None
    stopped: Mapping[UUID, Blocker] = field(default_factory=dict)
    retired: frozenset[UUID] = frozenset()

    @property
    def takes_default(self) -> bool:
        """Whether the default that there is would be none any more, or would not send."""
        ends = {*self.stopped, *self.retired}
        return self.location.default_account_id is not None and (
            self.location.default_account_id in ends or self.default_id != self.location.default_account_id
        )


@dataclass(frozen=True, slots=True)
class Affected:
    """One contact whose messages would leave from another number, or from none (`after` None)."""

    contact_id: UUID
    before: AccountFacts
    after: AccountFacts | None


@dataclass(frozen=True)
class Impact:
    """What would come of changes: first the contacts that would lose their sender, then those that change number."""

    changes: Sequence[Change]
    affected: Sequence[Affected]
    losing: int

    @property
    def switching(self) -> int:
        """How many would change number."""
        return len(self.affected) - self.losing


def stopping(accounts: Iterable[Account], blocker: Blocker) -> list[Change]:
    """The accounts can send no more, for that reason; one change a location."""
    by_location: dict[UUID, dict[UUID, Blocker]] = defaultdict(dict)
    for account in accounts:
        by_location[account.location_id][account.pk] = blocker
    locations = Location.objects.in_bulk(by_location)
    return [
        Change(location=locations[key], default_id=locations[key].default_account_id, stopped=stopped)
        for key, stopped in by_location.items()
    ]


def retiring(accounts: Iterable[Account]) -> list[Change]:
    """The accounts go for ever; a default among them leaves the location without one."""
    return [
        Change(
            location=change.location,
            default_id=None if change.default_id in change.stopped else change.default_id,
            retired=frozenset(change.stopped),
        )
        for change in stopping(accounts, Blocker.DISABLED)
    ]


def making_default(account: Account) -> list[Change]:
    """The account becomes its location's default in place of any other."""
    return [Change(location=Location.objects.get(pk=account.location_id), default_id=account.pk)]


def analyse(changes: Sequence[Change]) -> Impact:
    """Who would be affected, of the contacts that may be written to.

    Two queries for each `BATCH` contacts of a location, and three more; nothing is written.
    """
    affected = [each for change in changes for each in _affected(change)]
    losing = [each for each in affected if each.after is None]
    switching = [each for each in affected if each.after is not None]
    return Impact(changes=changes, affected=[*losing, *switching], losing=len(losing))


_Key = tuple[tuple[str, ...], UUID | None, UUID | None]
"""What a decision depends on: number tags, assigned user, last account."""


class _World:
    """The location's accounts in one state of things, and the sender of each kind of contact in it."""

    def __init__(self, location: Location, accounts: Iterable[AccountFacts], default_id: UUID | None) -> None:
        self._region, self._default_id = location.region, default_id
        self._policy: Policy = policy_of(location)
        self._known = KnownAccounts(accounts)
        self._everybody = self._known.first_sendable() | self._known.with_ids([default_id])
        self._senders: dict[_Key, AccountFacts | None] = {}

    def sender(self, key: _Key) -> AccountFacts | None:
        """The account that a message without override would leave from; None if from none."""
        if key not in self._senders:
            tags, user_id, last_id = key
            known = self._known
            facts = Facts(
                region=self._region,
                opted_out=False,
                tags=tags,
                assigned_user_id=user_id,
                default_account_id=self._default_id,
                last_account_id=last_id,
                last_phone_number=None,
                accounts=self._everybody
                | known.with_ids([last_id])
                | known.with_numbers(tag_numbers(tags, region=self._region))
                | known.of_user(user_id),
            )
            self._senders[key] = select(facts, Override(), policy=self._policy).account
        return self._senders[key]


def _affected(change: Change) -> Iterator[Affected]:
    accounts = [account_facts(account) for account in Account.objects.open().filter(location=change.location)]
    before = _World(change.location, accounts, change.location.default_account_id)
    after = _World(change.location, _changed(accounts, change), change.default_id)
    for contact_id, key in _contacts(change.location, accounts):
        now, then = before.sender(key), after.sender(key)
        if now is not None and (then is None or then.phone_number != now.phone_number):
            yield Affected(contact_id, now, then)


def _changed(accounts: Iterable[AccountFacts], change: Change) -> Iterator[AccountFacts]:
    for account in accounts:
        if account.id in change.retired:
            continue
        blocker = change.stopped.get(account.id)
        if blocker is None or blocker in account.blockers:
            yield account
        else:
            yield replace(account, blockers=(*account.blockers, blocker))


def _contacts(location: Location, accounts: Collection[AccountFacts]) -> Iterator[tuple[UUID, _Key]]:
    """Those who may be written to, in the order of their numbers.

    A user without an account here is as nobody, and a last account that was retired as none: so fewer keys differ.
    """
    known = {account.id for account in accounts}
    users = active_members(location) & {account.user_id for account in accounts if account.user_id}
    rows = Contact.objects.filter(location=location, opted_out_at=None).order_by("phone_number")
    last = ""
    while True:
        batch = list(
            rows.filter(phone_number__gt=last).values_list("pk", "phone_number", "assigned_user", "last_account")[
                :BATCH
            ]
        )
        if not batch:
            return
        tags = _number_tags([contact_id for contact_id, *_ in batch])
        for contact_id, _, user_id, last_id in batch:
            key = (
                tags.get(contact_id, ()),
                user_id if user_id in users else None,
                last_id if last_id in known else None,
            )
            yield contact_id, key
        last = batch[-1][1]


def _number_tags(contact_ids: Collection[UUID]) -> dict[UUID, tuple[str, ...]]:
    """The `im:` tags of contacts, in the order they were given; other tags decide nothing."""
    rows = ContactTag.objects.filter(contact__in=contact_ids, tag__name__icontains="im").order_by("pk")
    tags: dict[UUID, tuple[str, ...]] = {}
    for contact_id, name in rows.values_list("contact", "tag__name"):
        if is_number_tag(name):
            tags[contact_id] = (*tags.get(contact_id, ()), name)
    return tags
