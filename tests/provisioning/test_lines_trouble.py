"""Lines that are down or blocked, credentials that are refused: who stops, and how they come back."""

# Columns that may be NULL are known to be set here.
# mypy: disable-error-code="union-attr, operator"

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from provisioning.models import EventOutcome, ProviderEvent, Setup
from provisioning.providers.base import AccountRejected, Credentials, Health, LineHint, Unavailable
from provisioning.services import (
    apply_line_hint,
    attach_credentials,
    credentials_of,
    note_credentials_rejected,
    note_line_blocked,
    read_lines,
    upkeep,
)
from tests.factories import make_account, make_line, make_setup
from tests.provisioning.fake_provider import CREDENTIALS, FakeProvider, let_worker_look, make_due

REFUSED = AccountRejected("unauthorized", "Invalid credentials.")


def blockers(clinic) -> tuple[str, ...]:
    clinic.account.refresh_from_db()
    assert clinic.account.can_send == (not clinic.account.blockers)
    return tuple(clinic.account.blockers)


def hint(setup: Setup, blocked: str | None = None) -> EventOutcome:
    event = ProviderEvent.objects.create(
        location=setup.location, setup=setup, type="line_blocked", dedup_key=uuid.uuid4().hex, body=b"{}"
    )
    return apply_line_hint(event=event, hint=LineHint(blocked_number=blocked))


def look_again(setup: Setup) -> Setup:
    make_due(setup)
    assert let_worker_look() != [], "the setup does not come back by itself"
    setup.refresh_from_db()
    return setup


# --- health -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("health", "stopped_by"),
    [
        (Health.OFFLINE, ("disconnected",)),
        (Health.BLOCKED, ("line_blocked",)),
        (Health.DEGRADED, ()),
    ],
)
def test_health_decides_whether_the_account_can_send_and_comes_back(clinic, provider, health, stopped_by):
    number = clinic.account.phone_number
    provider.offers(number, health=health)
    assert hint(clinic.setup) == EventOutcome.APPLIED
    assert blockers(clinic) == stopped_by
    assert hint(clinic.setup) == EventOutcome.IGNORED
    clinic.setup.refresh_from_db()
    assert (clinic.setup.due_at is not None) == bool(stopped_by)

    provider.offers(number)
    if stopped_by:
        assert look_again(clinic.setup).due_at is None
    else:
        hint(clinic.setup)
    assert blockers(clinic) == ()


def test_one_line_that_is_down_does_not_stop_the_others(clinic, provider: FakeProvider):
    other = make_line(clinic.setup)
    provider.offers(clinic.account.phone_number, health=Health.OFFLINE)
    provider.lines += [type(provider.lines[0])(other.phone_number, Health.ONLINE)]
    hint(clinic.setup)
    assert blockers(clinic) == ("disconnected",)
    other.account.refresh_from_db()
    assert other.account.can_send


# --- blocked ----------------------------------------------------------------------------------------------------------
def test_a_notice_of_a_block_is_not_undone_by_the_reading_that_follows_it(clinic, provider: FakeProvider):
    provider.offers(clinic.account.phone_number)
    assert hint(clinic.setup, blocked=clinic.account.phone_number) == EventOutcome.APPLIED
    assert blockers(clinic) == ("line_blocked",)
    clinic.setup.refresh_from_db()
    assert clinic.setup.due_at > timezone.now() + timedelta(minutes=10)


@pytest.mark.parametrize("health", [Health.UNKNOWN, Health.DEGRADED, Health.OFFLINE])
def test_a_blocked_line_stays_blocked_until_it_is_listed_as_online(clinic, provider: FakeProvider, health):
    provider.offers(clinic.account.phone_number)
    hint(clinic.setup, blocked=clinic.account.phone_number)
    provider.offers(clinic.account.phone_number, health=health)
    look_again(clinic.setup)
    assert blockers(clinic) == ("line_blocked",)
    provider.offers(clinic.account.phone_number)
    look_again(clinic.setup)
    assert blockers(clinic) == ()


def test_a_block_is_noted_even_when_the_lines_cannot_be_read(clinic, provider: FakeProvider):
    provider.lines = Unavailable("down", "Down.")
    with pytest.raises(Unavailable):
        hint(clinic.setup, blocked=clinic.account.phone_number)
    assert blockers(clinic) == ("line_blocked",)


@pytest.mark.parametrize("number", ["+15559990000", "nonsense"])
def test_a_notice_of_a_block_of_somebody_else_s_number_is_a_conflict(clinic, provider: FakeProvider, number):
    provider.offers(clinic.account.phone_number)
    assert hint(clinic.setup, blocked=number) == EventOutcome.CONFLICT
    assert blockers(clinic) == ()


def test_a_notice_for_one_setup_cannot_block_the_number_of_another(clinic, other_clinic, provider: FakeProvider):
    provider.offers(clinic.account.phone_number)
    assert hint(clinic.setup, blocked=other_clinic.account.phone_number) == EventOutcome.CONFLICT
    assert blockers(other_clinic) == ()


def test_a_refused_message_blocks_the_line_until_it_is_online_again(clinic, provider: FakeProvider):
    note_line_blocked(account=clinic.account)
    clinic.line.refresh_from_db()
    assert (blockers(clinic), clinic.line.health) == (("line_blocked",), Health.BLOCKED)
    provider.offers(clinic.account.phone_number)
    look_again(clinic.setup)
    assert blockers(clinic) == ()


def test_an_account_without_a_line_can_be_blocked_too(clinic):
    account = make_account(clinic.location)
    note_line_blocked(account=account)
    account.refresh_from_db()
    assert account.blockers == ("line_blocked",)


# --- credentials ------------------------------------------------------------------------------------------------------
def test_refused_credentials_stop_every_account_of_the_setup_and_no_other(clinic, other_clinic):
    second = make_line(clinic.setup).account
    elsewhere = make_line(make_setup(clinic.location)).account
    note_credentials_rejected(setup=clinic.setup)
    clinic.setup.refresh_from_db()
    assert clinic.setup.credentials_rejected_at is not None
    assert clinic.setup.problem_code == "credentials_rejected"
    second.refresh_from_db()
    elsewhere.refresh_from_db()
    assert blockers(clinic) == second.blockers == ("credentials_rejected",)
    assert elsewhere.can_send
    assert blockers(other_clinic) == ()


def test_credentials_that_work_again_are_found_by_the_worker(clinic, provider: FakeProvider):
    note_credentials_rejected(setup=clinic.setup)
    provider.lines = REFUSED
    assert look_again(clinic.setup).due_at > timezone.now() + timedelta(minutes=10)
    assert blockers(clinic) == ("credentials_rejected",)
    provider.offers(clinic.account.phone_number)
    setup = look_again(clinic.setup)
    assert (setup.credentials_rejected_at, setup.problem_code, setup.due_at) == (None, "", None)
    assert blockers(clinic) == ()


def test_new_credentials_start_the_accounts_again(clinic, provider: FakeProvider):
    note_credentials_rejected(setup=clinic.setup)
    provider.offers(clinic.account.phone_number)
    setup = attach_credentials(setup=clinic.setup, credentials=CREDENTIALS)
    assert setup.credentials_rejected_at is None
    assert blockers(clinic) == ()
    assert provider.registered[-1].credentials == CREDENTIALS


def test_a_refusal_of_credentials_that_were_replaced_meanwhile_stops_nobody(clinic, provider: FakeProvider):
    stale = Setup.objects.get(pk=clinic.setup.pk)
    provider.offers(clinic.account.phone_number)
    attach_credentials(setup=clinic.setup, credentials=CREDENTIALS)
    note_credentials_rejected(setup=stale)
    assert blockers(clinic) == ()


def test_credentials_of_another_subaccount_do_not_bring_its_number(clinic, provider: FakeProvider):
    provider.offers("+15558889999")
    setup = attach_credentials(setup=clinic.setup, credentials=CREDENTIALS)
    assert setup.problem_code == "line_conflict"
    assert setup.phone_lines.get().phone_number == clinic.account.phone_number


def test_a_refusal_at_the_registration_of_webhooks_stops_the_accounts(clinic, provider: FakeProvider):
    Setup.objects.filter(pk=clinic.setup.pk).update(webhooks_registered_at=None, due_at=clinic.setup.created_at)
    provider.registering = REFUSED
    let_worker_look()
    assert blockers(clinic) == ("credentials_rejected",)
    assert provider.listed == []
    provider.registering = None
    provider.offers(clinic.account.phone_number)
    look_again(clinic.setup)
    assert blockers(clinic) == ()


def test_a_hint_whose_reading_is_refused_stops_the_accounts_and_is_done(clinic, provider: FakeProvider):
    provider.lines = REFUSED
    assert hint(clinic.setup) == EventOutcome.IGNORED
    assert blockers(clinic) == ("credentials_rejected",)


def test_a_trouble_noted_while_the_worker_has_the_setup_is_not_forgotten(clinic, provider: FakeProvider):
    Setup.objects.filter(pk=clinic.setup.pk).update(due_at=clinic.setup.created_at)

    def blocked_meanwhile():
        provider.offers(clinic.account.phone_number)
        answer = provider.lines
        note_line_blocked(account=clinic.account)
        return answer

    provider.lines = blocked_meanwhile
    let_worker_look()
    clinic.setup.refresh_from_db()
    assert clinic.setup.due_at is not None
    assert blockers(clinic) == ("line_blocked",), "an answer from before the block ended it"


def test_nor_one_that_is_noted_at_the_last_moment(clinic, provider: FakeProvider, monkeypatch):
    provider.offers(clinic.account.phone_number)
    Setup.objects.filter(pk=clinic.setup.pk).update(due_at=clinic.setup.created_at)
    decide = upkeep.next_due

    def decide_then_be_overtaken(*args):
        decided = decide(*args)
        monkeypatch.setattr(upkeep, "next_due", decide)
        note_line_blocked(account=clinic.account)
        return decided

    monkeypatch.setattr(upkeep, "next_due", decide_then_be_overtaken)
    let_worker_look()
    clinic.setup.refresh_from_db()
    assert clinic.setup.due_at is not None


def test_a_setup_without_credentials_asks_nobody(clinic):
    setup = make_setup(clinic.location, credentials=None)
    with pytest.raises(Unavailable) as error:
        credentials_of(setup)
    assert error.value.code == "no_credentials"


def test_a_person_s_reading_clears_a_refusal(clinic, provider: FakeProvider):
    note_credentials_rejected(setup=clinic.setup)
    provider.offers(clinic.account.phone_number)
    assert read_lines(setup=clinic.setup).credentials_rejected_at is None
    assert blockers(clinic) == ()


def test_credentials_of_another_subaccount_stop_the_accounts_before_anything_is_read(clinic, provider: FakeProvider):
    provider.lines = provider.registering = Unavailable("down", "Not now.")
    attach_credentials(setup=clinic.setup, credentials=CREDENTIALS)
    assert blockers(clinic) == ("disconnected",)


@pytest.mark.parametrize("health", [Health.ONLINE, Health.UNKNOWN])
def test_numbers_that_the_other_subaccount_lists_go_on(clinic, provider: FakeProvider, health: Health):
    provider.offers(clinic.account.phone_number, health=health)
    attach_credentials(setup=clinic.setup, credentials=CREDENTIALS)
    assert blockers(clinic) == ()


def test_a_number_that_the_other_subaccount_does_not_list_stays_stopped(clinic, provider: FakeProvider):
    provider.offers("+15558889998")
    attach_credentials(setup=clinic.setup, credentials=CREDENTIALS)
    assert blockers(clinic) == ("disconnected",)


def test_a_new_secret_of_the_same_subaccount_stops_nothing(clinic, provider: FakeProvider):
    key_id = Setup.objects.get(pk=clinic.setup.pk).credentials_key_id.reveal()
    provider.lines = Unavailable("down", "Not now.")
    attach_credentials(setup=clinic.setup, credentials=Credentials(key_id=key_id, secret="new"))
    assert blockers(clinic) == ()


def test_an_account_that_has_to_be_paid_is_told_as_that_and_goes_on_once_it_is(clinic, provider: FakeProvider):
    note_credentials_rejected(setup=clinic.setup, payment_required=True)
    assert "paid" in Setup.objects.get(pk=clinic.setup.pk).problem
    provider.lines = AccountRejected("http_402", "Payment required.", payment_required=True)
    setup = look_again(clinic.setup)
    assert (setup.problem_code, blockers(clinic)) == ("payment_required", ("credentials_rejected",))
    provider.offers(clinic.account.phone_number)
    setup = look_again(clinic.setup)
    assert (setup.problem_code, blockers(clinic)) == ("", ())
