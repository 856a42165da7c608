"""What a change of accounts would mean for contacts: counted as the messages themselves would be decided."""

import random
from collections.abc import Callable, Sequence
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from routing import facts, impact, services
from routing.impact import Affected, Change
from routing.models import Account, Contact, Location, Membership, User
from routing.overrides import Override
from routing.selection import Blocker, select
from tests.factories import make_account, make_contact, make_location, make_member

pytestmark = pytest.mark.django_db

Doing = tuple[Callable[[Account], Sequence[Change]], Callable[[Account], object]]


def senders(location: Location) -> dict[UUID, str | None]:
    """The number of each contact's next message, one decision after the other."""
    fresh = Location.objects.get(pk=location.pk)
    found: dict[UUID, str | None] = {}
    for contact in Contact.objects.filter(location=location, opted_out_at=None).select_related("last_account"):
        known = facts.load(location=fresh, contact=contact, override=Override())
        account = select(known, Override(), policy=facts.policy_of(fresh)).account
        found[contact.pk] = account.phone_number if account else None
    return found


def told(affected: Sequence[Affected]) -> dict[UUID, tuple[str, str | None]]:
    """Contact → its number now and then."""
    return {
        each.contact_id: (each.before.phone_number, each.after.phone_number if each.after else None)
        for each in affected
    }


def disable(account: Account) -> None:
    Account.objects.filter(pk=account.pk).update(is_enabled=False)


def release(account: Account) -> None:
    services.update_connection(account_ids=[account.pk], line_state="released")


DOINGS: dict[str, Doing] = {
    "disable": (lambda account: impact.stopping([account], Blocker.DISABLED), disable),
    "release": (lambda account: impact.stopping([account], Blocker.LINE_RELEASED), release),
    "retire": (lambda account: impact.retiring([account]), lambda a: services.retire_account(account=a, by=None)),
    "default": (impact.making_default, lambda a: services.set_default_account(account=a, by=None)),
}


@pytest.mark.parametrize("doing", list(DOINGS))
@pytest.mark.parametrize("seed", range(6))
def test_it_foretells_what_then_is_decided(doing: str, seed: int) -> None:
    rng = random.Random(seed)
    location = make_location(
        unavailable_tag_account=rng.choice(["next", "fail"]), unavailable_user_account=rng.choice(["next", "fail"])
    )
    users = [make_member(location) for _ in range(3)]
    accounts = _some_accounts(rng, location, users)
    _some_contacts(rng, location, accounts, users)
    Membership.objects.filter(user=users[2]).delete()
    foresee, do = DOINGS[doing]
    for account in accounts[:3]:
        before = senders(location)
        result = impact.analyse(foresee(account))
        do(account)
        after = senders(location)
        moved = {pk: (old, after[pk]) for pk, old in before.items() if old is not None and after[pk] != old}
        assert told(result.affected) == moved
        assert result.losing == sum(new is None for _, new in moved.values())
        assert result.switching == len(moved) - result.losing


def test_who_opted_out_and_other_locations_are_not_counted() -> None:
    location, other = make_location(), make_location()
    account = make_account(location, default=True)
    make_account(other, default=True)
    make_contact(location)
    make_contact(location, opted_out=True)
    make_contact(other)
    result = impact.analyse(impact.stopping([account], Blocker.DISABLED))
    assert (result.losing, result.switching) == (1, 0)


def test_those_without_a_sender_come_first() -> None:
    location = make_location(unavailable_tag_account="fail")
    first, _ = make_account(location, default=True), make_account(location)
    make_contact(location, phone_number="+15550000001")
    tagged = make_contact(location, phone_number="+15550000002", tags=(f"im: {first.phone_number}",))
    result = impact.analyse(impact.stopping([first], Blocker.DISABLED))
    assert result.affected[0].contact_id == tagged.pk
    assert (result.losing, result.switching) == (1, 1)


def test_several_accounts_at_once_are_no_way_out_for_each_other() -> None:
    location = make_location()
    accounts = [make_account(location, default=True), make_account(location)]
    make_contact(location)
    assert impact.analyse(impact.stopping(accounts[:1], Blocker.DISABLED)).losing == 0
    assert impact.analyse(impact.stopping(accounts, Blocker.DISABLED)).losing == 1


def test_whether_the_default_is_taken_is_told() -> None:
    location = make_location()
    default, second = make_account(location, default=True), make_account(location)
    assert impact.stopping([default], Blocker.DISABLED)[0].takes_default
    assert impact.retiring([default])[0].takes_default
    assert impact.making_default(second)[0].takes_default
    assert not impact.stopping([second], Blocker.DISABLED)[0].takes_default
    assert not impact.making_default(default)[0].takes_default


@pytest.mark.parametrize("count", [3, 60])
def test_the_queries_do_not_grow_with_the_contacts(count: int) -> None:
    location = make_location()
    account = make_account(location, default=True)
    for _ in range(count):
        make_contact(location, tags=("im: +15550001111", "vip"))
    change = impact.stopping([account], Blocker.DISABLED)
    with CaptureQueriesContext(connection) as queries:
        assert len(impact.analyse(change).affected) == count
    assert len(queries) == 5  # accounts, members, a batch of contacts, their tags, and that there is no further batch


def test_contacts_of_several_batches_are_each_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(impact, "BATCH", 2)
    location = make_location()
    account = make_account(location, default=True)
    contacts = {make_contact(location).pk for _ in range(5)}
    affected = impact.analyse(impact.stopping([account], Blocker.DISABLED)).affected
    assert {each.contact_id for each in affected} == contacts
    assert len(affected) == 5


def _some_accounts(rng: random.Random, location: Location, users: Sequence[User]) -> list[Account]:
    return [
        make_account(
            location,
            user=rng.choice([None, *users]),
            default=number == 0,
            is_enabled=rng.random() < 0.8,
            line_blocked=rng.random() < 0.2,
        )
        for number in range(5)
    ]


def _some_contacts(rng: random.Random, location: Location, accounts: Sequence[Account], users: Sequence[User]) -> None:
    words = [f"im: {account.phone_number}" for account in accounts] + ["im: +15559999999", "im: what", "swimmer"]
    for _ in range(25):
        make_contact(
            location,
            tags=tuple(rng.sample(words, rng.choice([0, 0, 1, 2]))),
            assigned_user=rng.choice([None, None, *users]),
            last_account=rng.choice([None, *accounts]),
            opted_out=rng.random() < 0.1,
        )
