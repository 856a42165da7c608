"""Many at the same moment: one transition, one account, one owner of a number. Real connections, real row locks."""

import threading
import uuid
from typing import Any

import pytest
from django.db import connection

from provisioning.models import EventOutcome, LineStatus, PhoneLine, ProviderEvent, Setup, SetupStatus
from provisioning.providers.base import Line, LineHint, Subaccount
from provisioning.services import apply_line_hint, close_setup, connect_setup, retry_setup
from routing.errors import Refused
from routing.models import Account
from tests.factories import make_line, make_location, make_setup
from tests.provisioning.fake_provider import CREDENTIALS, FakeProvider

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]

NUMBER = "+15558880001"
MANY = 50


@pytest.fixture
def waiting(transactional_db) -> Setup:
    """A setup with one pending line."""
    setup = make_setup(make_location(), status=SetupStatus.PENDING)
    make_line(setup, phone_number=None)
    return setup


def make_events(setup: Setup, count: int) -> list[ProviderEvent]:
    return [
        ProviderEvent.objects.create(
            location=setup.location, setup=setup, type="line_assigned", dedup_key=uuid.uuid4().hex, body=b"{}"
        )
        for _ in range(count)
    ]


def outcomes(results: list[Any]) -> dict[str, int]:
    errors = [result for result in results if isinstance(result, BaseException)]
    assert errors == []
    return {outcome: results.count(outcome) for outcome in set(results)}


def test_fifty_notices_at_once_make_one_transition_and_one_account(waiting, provider: FakeProvider, in_threads):
    events = make_events(waiting, MANY)
    gate = threading.Barrier(MANY)

    def listed() -> list[Line]:
        # Nobody writes before everybody has read.
        gate.wait(timeout=60)
        return [Line(NUMBER)]

    provider.lines = listed
    results = in_threads(MANY, lambda i: apply_line_hint(event=events[i], hint=LineHint()))
    assert outcomes(results) == {EventOutcome.APPLIED: 1, EventOutcome.IGNORED: MANY - 1}
    line = waiting.phone_lines.get()
    assert (line.status, line.phone_number) == (LineStatus.ASSIGNED, NUMBER)
    assert waiting.location.accounts.get() == line.account
    assert line.account.index == 1
    waiting.refresh_from_db()
    assert waiting.status == SetupStatus.ACTIVE


def test_fifty_numbers_for_one_line_leave_one_and_forty_nine_conflicts(waiting, provider: FakeProvider, in_threads):
    Setup.objects.filter(pk=waiting.pk).update(lines_read_at=waiting.created_at)
    events = make_events(waiting, MANY)
    gate, mine = threading.Barrier(MANY), threading.local()

    def listed() -> list[Line]:
        gate.wait(timeout=60)
        return [Line(mine.number)]

    def notice(i: int) -> EventOutcome:
        mine.number = f"+155588800{i:02}"
        return apply_line_hint(event=events[i], hint=LineHint())

    provider.lines = listed
    results = in_threads(MANY, notice)
    assert outcomes(results) == {EventOutcome.APPLIED: 1, EventOutcome.CONFLICT: MANY - 1}
    winner = f"+155588800{results.index(EventOutcome.APPLIED):02}"
    assert waiting.phone_lines.get().phone_number == winner
    assert waiting.location.accounts.get().phone_number == winner


def test_one_number_for_many_setups_goes_to_one(provider: FakeProvider, in_threads):
    setups = [make_setup(make_location(), status=SetupStatus.PENDING) for _ in range(20)]
    for setup in setups:
        make_line(setup, phone_number=None)
    events = [make_events(setup, 1)[0] for setup in setups]
    gate = threading.Barrier(len(setups))

    def listed() -> list[Line]:
        gate.wait(timeout=60)
        return [Line(NUMBER)]

    provider.lines = listed
    results = in_threads(len(setups), lambda i: apply_line_hint(event=events[i], hint=LineHint()))
    assert outcomes(results) == {EventOutcome.APPLIED: 1, EventOutcome.CONFLICT: len(setups) - 1}
    holder = PhoneLine.objects.get(phone_number=NUMBER)
    assert holder.setup == setups[results.index(EventOutcome.APPLIED)]
    assert holder.location.accounts.get() == holder.account
    assert sum(setup.location.accounts.count() for setup in setups) == 1


@pytest.mark.parametrize("shared", [True, False], ids=["one location", "many locations"])
def test_setups_that_connect_the_same_numbers_at_once_do_not_block_each_other(
    provider: FakeProvider, in_threads, shared
):
    one = make_location()
    locations = [one if shared else make_location() for _ in range(10)]
    numbers = [f"+155588800{i:02}" for i in range(8)]
    orders = [numbers, numbers[::-1]]
    mine, gate = threading.local(), threading.Barrier(10)

    def listed() -> list[Line]:
        gate.wait(timeout=60)
        return [Line(number) for number in mine.order]

    def connect(i: int) -> Setup:
        mine.order = orders[i % 2]
        return connect_setup(location=locations[i], business_name="B", label=f"L{i}", credentials=CREDENTIALS)

    provider.lines = listed
    results = in_threads(10, connect)
    assert [result for result in results if isinstance(result, BaseException)] == []
    assigned = PhoneLine.objects.filter(status=LineStatus.ASSIGNED)
    assert list(assigned.order_by("phone_number").values_list("phone_number", flat=True)) == numbers
    accounts = Account.objects.all()
    assert sorted(accounts.values_list("phone_number", flat=True)) == numbers
    for location in locations:
        indexes = sorted(location.accounts.values_list("index", flat=True))
        assert indexes == list(range(1, len(indexes) + 1))


def test_of_many_who_retry_at_once_one_does(provider: FakeProvider, in_threads):
    setup = make_setup(make_location(), status=SetupStatus.UNKNOWN, credentials=None)
    provider.answer = Subaccount(CREDENTIALS, lines=(Line(NUMBER),))
    provider.offers(NUMBER)
    results = in_threads(10, lambda i: retry_setup(setup=setup))
    done = [result for result in results if isinstance(result, Setup)]
    assert len(done) == 1
    assert {result.code for result in results if isinstance(result, Refused)} == {"not_retryable"}
    assert len(provider.created) == 1


def test_a_close_beside_notices_leaves_no_line_that_can_send(waiting, provider: FakeProvider, in_threads):
    events = make_events(waiting, 10)
    provider.offers(NUMBER)

    def work(i: int) -> object:
        return close_setup(setup=waiting) if i == 5 else apply_line_hint(event=events[i], hint=LineHint())

    results = in_threads(10, work)
    assert [result for result in results if isinstance(result, BaseException)] == []
    waiting.refresh_from_db()
    assert waiting.status == SetupStatus.CLOSED
    assert waiting.phone_lines.get().status == LineStatus.RELEASED
    assert not waiting.location.accounts.filter(can_send=True).exists()
    assert connection.in_atomic_block is False
