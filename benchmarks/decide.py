"""Deciding which number a message leaves from: one decision as the hub grows, and many at once."""

import random
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from django.db import connection

from benchmarks.bench import Bench, Cost, cost, middle, ratio, say
from benchmarks.goals import Found, Goal, Growth
from benchmarks.pages import Stopwatch
from benchmarks.rows import insert, know_tables, unchecked
from routing import facts
from routing.models import Account, Contact, ContactTag, Location, Membership, Tag, User
from routing.overrides import Override
from routing.selection import Decision, select

AGENTS = 5


@dataclass(frozen=True)
class Size:
    """How many contacts and accounts the location has."""

    contacts: int
    accounts: int

    @property
    def database(self) -> str:
        """The name of the database for it."""
        return f"decide_{self.contacts}_{self.accounts}"


def run(bench: Bench) -> Found:
    """One decision at each size, in turns; then many at the largest."""
    contacts = bench.size((1_000, 100_000, 1_000_000), (1_000, 10_000, 100_000))
    accounts = (10, 10_000)
    few, many = Size(contacts[0], accounts[0]), Size(contacts[-1], accounts[-1])
    sizes = [*(Size(count, accounts[0]) for count in contacts), Size(contacts[0], accounts[-1]), many]
    decisions = bench.size(400, 150)
    costs: dict[Size, list[Cost]] = {size: [] for size in sizes}
    with ExitStack() as stack:
        for size in sizes:
            say(f"decide: making {size.contacts:,} contacts and {size.accounts:,} accounts …")
            stack.enter_context(bench.database(size.database))
            _fill(size)
        for number in range(bench.rounds + 1):
            say(f"decide: round {number}: {decisions} decisions at each size …")
            for size in sizes:
                bench.cluster.use(size.database)
                one = _one_by_one(bench, size, decisions)
                if number:  # the first fills caches
                    costs[size].append(one)
        found = _in_bulk(bench, many, bench.size(1_000, 200))
    found.goals.insert(
        0,
        Goal(
            f"decide at {many.contacts:,} contacts and {many.accounts:,} accounts"
            f" ÷ at {few.contacts:,} and {few.accounts:,}",
            ratio([one.cpu_us for one in costs[many]], [one.cpu_us for one in costs[few]]),
            must=1.3,
            goal=1.1,
            beside=f"{middle(costs[many])} ÷ {middle(costs[few])}",
        ),
    )
    found.growth[:0] = [
        Growth(name, "µs of CPU to decide once", counts, [middle(costs[size]).cpu_us for size in these])
        for name, counts, these in (
            (f"contacts, of {accounts[0]} accounts", contacts, sizes[:3]),
            (f"accounts, of {contacts[0]:,} contacts", accounts, [sizes[0], sizes[3]]),
        )
    ]
    return found


def _fill(size: Size) -> None:
    location = Location.objects.create(name="Clinic")
    agents = [User.objects.create(username=f"agent{number}") for number in range(AGENTS)]
    for agent in agents:
        Membership.objects.create(user=agent, location=location)
    of_location = {"location_id": f"'{location.pk}'::uuid", "id": "gen_random_uuid()"}
    with unchecked() as cursor:
        own = {
            **of_location,
            "index": "n",
            "label": "'Desk ' || n",
            "phone_number": "'+1646' || 2000000 + n",
            "user_id": "CASE n " + " ".join(f"WHEN {n} THEN '{agent.pk}'::uuid" for n, agent in enumerate(agents, 2)),
        }
        own["user_id"] += " END"
        insert(cursor, Account, own, f"generate_series(1, {size.accounts}) n")
        assigned = " ".join(f"WHEN {n} THEN '{agent.pk}'::uuid" for n, agent in enumerate(agents))
        people = {
            **of_location,
            "name": "'Contact ' || k",
            "phone_number": "'+1212' || 2000000 + k",
            "assigned_user_id": f"CASE k % 20 {assigned} END",
            "last_account_id": "CASE WHEN k % 3 = 0 THEN sender.id END",
            "created_at": "now()",
            "updated_at": "now()",
        }
        source = (
            f"generate_series(0, {size.contacts - 1}) k LEFT JOIN routing_account sender ON sender.index = 1 + k % 10"
        )
        insert(cursor, Contact, people, source)
        names = {**of_location, "name": "'im: +1646' || 2000000 + n"}
        insert(cursor, Tag, names, "generate_series(1, 10) n")
        tags = {"location_id": of_location["location_id"], "contact_id": "contact.id", "tag_id": "tag.id"}
        source = (
            "(SELECT id, row_number() OVER () AS k FROM routing_contact) contact"
            " JOIN (SELECT id, row_number() OVER () AS k FROM routing_tag) tag"
            " ON contact.k % 10 = 0 AND tag.k = 1 + contact.k / 10 % 10"
        )
        insert(cursor, ContactTag, tags, source)
    Location.objects.filter(pk=location.pk).update(
        default_account=Account.objects.get(index=1), last_account_index=size.accounts
    )
    know_tables()


def _one_by_one(bench: Bench, size: Size, count: int) -> Cost:
    """Decide so many times, each for a contact that is found by its number, as for a message that is sent to one."""
    location = Location.objects.get()
    numbers = _numbers(size, count)
    meter = bench.cpu_of(size.database, time.process_time)
    for number in numbers:
        contact = Contact.objects.select_related("last_account").filter(location=location, phone_number=number).get()
        known = facts.load(location=location, contact=contact, override=Override())
        _selected(select(known, Override(), policy=facts.policy_of(location)))
    return cost(meter.read(), count)


def _bulk(bench: Bench, size: Size, count: int) -> tuple[Cost, int]:
    """The same for all at once, and the queries that it took."""
    location = Location.objects.get()
    numbers = _numbers(size, count)
    watch = Stopwatch()
    meter = bench.cpu_of(size.database, time.process_time)
    with connection.execute_wrapper(watch):
        contacts = list(
            Contact.objects.select_related("last_account").filter(location=location, phone_number__in=numbers)
        )
        known = facts.load_many(location=location, contacts=contacts, overrides=[Override()] * len(contacts))
        policy = facts.policy_of(location)
        for one in known:
            _selected(select(one, Override(), policy=policy))
    if len(known) != count:
        raise RuntimeError(f"{len(known)} instead of {count} contacts were found.")
    return cost(meter.read(), count), len(watch.statements)


def _in_bulk(bench: Bench, size: Size, sample: int) -> Found:
    """10,000 at once against one by one, of which a sample is done."""
    amounts = (100, 1_000, 10_000)
    bulk: dict[int, list[Cost]] = {amount: [] for amount in amounts}
    singly: list[Cost] = []
    queries = 0
    bench.cluster.use(size.database)
    for number in range(bench.rounds + 1):
        say(f"decide: round {number}: {amounts[-1]:,} in bulk, {sample:,} one by one …")
        one = _one_by_one(bench, size, sample)
        for amount in amounts:
            together, queries = _bulk(bench, size, amount)
            if number:
                bulk[amount].append(together)
        if number:
            singly.append(one)
    largest = bulk[amounts[-1]]
    return Found(
        [
            Goal(
                f"{amounts[-1]:,} decisions in bulk ÷ {amounts[-1]:,} one by one",
                ratio([one.cpu_us for one in largest], [one.cpu_us for one in singly]),
                must=0.1,
                goal=0.05,
                beside=f"{middle(largest)} ÷ {middle(singly)} (of {sample:,})",
            ),
            Goal(f"queries for {amounts[-1]:,} decisions in bulk", queries, goal=10),
        ],
        [
            Growth(
                "decisions at once",
                "µs of CPU to decide once",
                amounts,
                [middle(bulk[amount]).cpu_us for amount in amounts],
            )
        ],
    )


def _numbers(size: Size, count: int) -> Sequence[str]:
    """Numbers of contacts, the same ones each time."""
    chosen = random.Random(count).sample(range(size.contacts), min(count, size.contacts))  # noqa: S311  (no secret)
    return [f"+1212{2_000_000 + number}" for number in chosen]


def _selected(decision: Decision) -> None:
    if decision.account is None:
        raise RuntimeError(f"Nothing was selected: {decision.sentence}")
