"""Creating a setup: one call to the provider, and nothing of its answer lost."""

# Columns that may be NULL are known to be set here, and change under a row that is read again.
# mypy: disable-error-code="union-attr, operator, unreachable, comparison-overlap"

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from provisioning.models import LineStatus, PhoneLine, Setup, SetupStatus
from provisioning.providers.base import (
    AccountRejected,
    Health,
    Line,
    Rejected,
    Subaccount,
    Unavailable,
    Uncertain,
)
from provisioning.services import create_setup, reference_of, run_setup_duty
from provisioning.services import setups as setups_module
from routing.errors import Refused
from routing.models import Account
from tests.factories import Clinic, make_clinic, make_line, make_location, make_setup
from tests.provisioning.fake_provider import CREDENTIALS, FakeProvider, let_worker_look, make_due

NUMBER = "+15558880001"


def create(clinic: Clinic, **fields) -> Setup:
    given: dict[str, Any] = {"business_name": "Sunrise Dental", "label": "Front desk", "by": clinic.admin}
    return create_setup(location=clinic.location, **(given | fields))


def test_a_number_that_comes_at_once_makes_an_active_setup_with_its_account(clinic, provider: FakeProvider):
    provider.answer = Subaccount(CREDENTIALS, lines=(Line("(555) 888-0001", Health.ONLINE),))
    provider.offers(NUMBER)

    setup = create(clinic, area_code="415")

    assert (setup.status, setup.problem_code, setup.due_at) == (SetupStatus.ACTIVE, "", None)
    line = setup.phone_lines.get()
    assert (line.status, line.phone_number, line.health) == (LineStatus.ASSIGNED, NUMBER, Health.ONLINE)
    account = line.account
    assert (account.index, account.label, account.can_send) == (2, "Front desk", True)
    assert (account.phone_number, account.location_id) == (NUMBER, clinic.location.pk)
    assert len(provider.created) == 1
    wanted = provider.created[0]
    assert (wanted.business_name, wanted.area_code) == ("Sunrise Dental", "415")
    assert wanted.reference == reference_of(setup)
    assert setup.created_by == clinic.admin
    clinic.location.refresh_from_db()
    assert clinic.location.default_account_id == clinic.account.pk


def test_the_first_account_of_a_location_is_not_made_its_default(db, provider: FakeProvider):
    location = make_location()
    provider.answer = Subaccount(CREDENTIALS, lines=(Line(NUMBER),))
    provider.offers(NUMBER)
    create_setup(location=location, business_name="B", label="L")
    location.refresh_from_db()
    assert location.accounts.get().can_send
    assert location.default_account is None


def test_the_answer_s_credentials_are_kept_and_used(clinic, provider: FakeProvider, settings):
    settings.HUB_PUBLIC_URL = "https://hub.example"
    setup = create(clinic)
    assert setup.credentials_key_id.reveal() == CREDENTIALS.key_id
    assert setup.credentials_secret.reveal() == CREDENTIALS.secret
    (registered,) = provider.registered
    assert registered.credentials == CREDENTIALS
    assert registered.url == f"https://hub.example/hooks/sendblue/{setup.webhook_key}/"
    assert registered.secret == setup.webhook_secret.reveal()
    assert provider.listed == [CREDENTIALS]
    assert setup.webhooks_registered_at is not None


def test_a_number_that_comes_later_is_found_by_the_poll(clinic, provider: FakeProvider):
    provider.answer = Subaccount(CREDENTIALS, request_id="ticket-7")
    setup = create(clinic)

    line = setup.phone_lines.get()
    assert (setup.status, line.status, line.request_id) == (SetupStatus.PENDING, LineStatus.PENDING, "ticket-7")
    assert line.phone_number is None
    assert clinic.location.accounts.count() == 1
    wait = setup.due_at - timezone.now()
    assert timedelta(seconds=180 * 0.7) < wait < timedelta(seconds=180 * 1.3)
    assert let_worker_look() == []

    make_due(setup)
    let_worker_look()
    setup.refresh_from_db()
    assert setup.status == SetupStatus.PENDING
    assert setup.due_at > timezone.now()

    provider.offers(NUMBER)
    make_due(setup)
    let_worker_look()
    setup.refresh_from_db()
    assert (setup.status, setup.due_at, setup.lease_until) == (SetupStatus.ACTIVE, None, None)
    line.refresh_from_db()
    assert (line.status, line.phone_number, line.request_id) == (LineStatus.ASSIGNED, NUMBER, "ticket-7")
    assert len(provider.created) == 1


def test_the_gap_before_the_registration_is_closed_by_reading_once(clinic, provider: FakeProvider):
    def comes_with_the_registration() -> None:
        provider.offers(NUMBER)

    provider.registering = comes_with_the_registration
    setup = create(clinic)
    assert setup.status == SetupStatus.ACTIVE
    assert setup.phone_lines.get().phone_number == NUMBER


def test_several_lines_become_accounts_of_their_own(clinic, provider: FakeProvider):
    provider.answer = Subaccount(CREDENTIALS, lines=(Line(NUMBER), Line("+15558880002")), request_id="third")
    provider.offers(NUMBER, "+15558880002")
    setup = create(clinic)
    labels = [line.account.label for line in setup.phone_lines.filter(status=LineStatus.ASSIGNED)]
    assert sorted(labels) == ["Front desk", "Front desk 2"]
    assert setup.phone_lines.get(status=LineStatus.PENDING).request_id == "third"
    assert setup.due_at is not None


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (Rejected("area_code_taken", "No numbers there."), SetupStatus.FAILED, "No numbers there."),
        (AccountRejected("unpaid", "Pay first."), SetupStatus.FAILED, "Pay first."),
        (Unavailable("refused", "Connection refused."), SetupStatus.FAILED, "It can be tried again."),
        (Uncertain("timeout", "No answer in time."), SetupStatus.UNKNOWN, "may exist"),
    ],
)
def test_what_the_provider_says_decides_the_status_and_is_asked_once(clinic, provider, error, status, words):
    provider.answer = error
    setup = create(clinic)
    assert (setup.status, setup.problem_code) == (status, error.code)
    assert words in setup.problem
    assert (setup.due_at, setup.credentials_key_id, setup.phone_lines.count()) == (None, None, 0)
    assert let_worker_look() == []
    assert len(provider.created) == 1
    assert provider.registered == provider.listed == []


def test_an_unknown_setup_names_the_reference_to_look_for(clinic, provider: FakeProvider):
    provider.answer = Uncertain("timeout", "No answer in time.")
    setup = create(clinic)
    assert provider.created[0].reference in setup.problem


class Killed(BaseException):
    """The process ended here."""


def test_a_crash_during_the_call_leaves_an_unknown_setup_that_is_not_called_again(clinic, provider: FakeProvider):
    provider.answer = Killed()
    with pytest.raises(Killed):
        create(clinic)
    setup = Setup.objects.get(business_name="Sunrise Dental")
    assert setup.status == SetupStatus.PROVISIONING
    assert let_worker_look() == [], "the caller may still be waiting for its answer"

    Setup.objects.filter(pk=setup.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    let_worker_look()
    setup.refresh_from_db()
    assert (setup.status, setup.problem_code, setup.due_at) == (SetupStatus.UNKNOWN, "answer_lost", None)
    assert reference_of(setup) in setup.problem
    assert len(provider.created) == 1


def test_an_answer_that_comes_after_all_is_kept(clinic, provider: FakeProvider):
    def slow() -> Subaccount:
        Setup.objects.filter(status=SetupStatus.PROVISIONING).update(lease_until=timezone.now() - timedelta(seconds=1))
        (taken,) = let_worker_look()
        assert Setup.objects.get(pk=taken.pk).status == SetupStatus.UNKNOWN
        return Subaccount(CREDENTIALS, lines=(Line(NUMBER),))

    provider.answer = slow
    provider.offers(NUMBER)
    setup = create(clinic)
    assert (setup.status, setup.problem_code) == (SetupStatus.ACTIVE, "")
    assert setup.credentials_secret.reveal() == CREDENTIALS.secret


@pytest.mark.parametrize("refused", [False, True])
def test_a_worker_that_is_about_to_give_up_does_not_undo_an_answer(clinic, provider: FakeProvider, refused):
    stale: list[Setup] = []

    def slow() -> Subaccount:
        stale.append(Setup.objects.get(status=SetupStatus.PROVISIONING))
        if refused:
            raise Rejected("no", "No.")
        return Subaccount(CREDENTIALS)

    provider.answer = slow
    setup = create(clinic)
    run_setup_duty(setup=stale[0])
    setup.refresh_from_db()
    assert setup.status == (SetupStatus.FAILED if refused else SetupStatus.PENDING)


def test_an_answer_whose_setup_was_settled_meanwhile_changes_nothing(clinic, provider: FakeProvider):
    def slow() -> Subaccount:
        Setup.objects.filter(status=SetupStatus.PROVISIONING).update(status=SetupStatus.CLOSED)
        return Subaccount(CREDENTIALS, lines=(Line(NUMBER),))

    provider.answer = slow
    setup = create(clinic)
    assert (setup.status, setup.credentials_key_id) == (SetupStatus.CLOSED, None)
    assert provider.registered == []


def test_a_crash_after_the_answer_is_taken_up_by_the_worker(clinic, provider: FakeProvider):
    provider.answer = Subaccount(CREDENTIALS, lines=(Line(NUMBER),))
    provider.registering = Killed()
    with pytest.raises(Killed):
        create(clinic)
    setup = Setup.objects.get(business_name="Sunrise Dental")
    assert setup.status == SetupStatus.ACTIVE
    assert setup.credentials_secret.reveal() == CREDENTIALS.secret

    provider.registering = None
    provider.offers(NUMBER)
    make_due(setup)
    let_worker_look()
    setup.refresh_from_db()
    assert setup.webhooks_registered_at is not None
    assert setup.due_at is None


def test_webhooks_that_cannot_be_registered_are_tried_again_ever_more_slowly(clinic, provider: FakeProvider):
    provider.answer = Subaccount(CREDENTIALS, lines=(Line(NUMBER),))
    provider.offers(NUMBER)
    provider.registering = Unavailable("down", "The provider is down.")
    setup = create(clinic)
    assert (setup.status, setup.problem_code) == (SetupStatus.ACTIVE, "webhooks_not_registered")
    waits = []
    for _ in range(6):
        waits.append(setup.due_at - timezone.now())
        make_due(setup)
        let_worker_look()
        setup.refresh_from_db()
    assert waits[0] < timedelta(seconds=40)
    assert waits[5] > timedelta(seconds=600)
    assert setup.webhooks_registered_at is None

    provider.registering = None
    make_due(setup)
    let_worker_look()
    setup.refresh_from_db()
    assert setup.webhooks_registered_at is not None
    assert (setup.problem_code, setup.due_at, setup.attempts) == ("", None, 0)


def test_looks_that_went_well_do_not_count_as_failures(clinic, provider: FakeProvider):
    setup = create(clinic)
    for _ in range(8):
        make_due(setup)
        let_worker_look()
    provider.lines = Unavailable("down", "Down.")
    make_due(setup)
    let_worker_look()
    setup.refresh_from_db()
    assert setup.due_at - timezone.now() < timedelta(seconds=40)


def test_a_provider_s_own_wish_to_wait_is_obeyed_and_capped(clinic, provider: FakeProvider):
    provider.registering = Unavailable("slow_down", "Later.", retry_after=timedelta(minutes=2))
    provider.answer = Subaccount(CREDENTIALS, lines=(Line(NUMBER),))
    provider.offers(NUMBER)
    setup = create(clinic)
    assert setup.due_at - timezone.now() > timedelta(seconds=85)
    provider.registering = Unavailable("slow_down", "Later.", retry_after=timedelta(days=9))
    make_due(setup)
    let_worker_look()
    setup.refresh_from_db()
    assert setup.due_at - timezone.now() < timedelta(minutes=76)


def test_a_number_that_another_line_has_leaves_the_line_pending_and_is_told(clinic, provider: FakeProvider):
    provider.answer = Subaccount(CREDENTIALS, lines=(Line(clinic.account.phone_number),))
    setup = create(clinic)
    assert (setup.status, setup.phone_lines.get().status) == (SetupStatus.PENDING, LineStatus.PENDING)
    assert clinic.location.accounts.count() == 1
    assert PhoneLine.objects.get(phone_number=clinic.account.phone_number) == clinic.line


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"business_name": "  "}, "invalid_business_name", "business_name"),
        ({"business_name": "x" * 65}, "invalid_business_name", "business_name"),
        ({"business_name": "a\x00b"}, "invalid_business_name", "business_name"),
        ({"label": ""}, "invalid_label", "label"),
        ({"area_code": "41"}, "invalid_area_code", "area_code"),
        ({"area_code": "٤١٥"}, "invalid_area_code", "area_code"),
        ({"area_code": "115"}, "invalid_area_code", "area_code"),
    ],
)
def test_unusable_input_is_refused_and_stores_nothing(clinic, provider, fields, code, field):
    before = Setup.objects.count()
    with pytest.raises(Refused) as refused:
        create(clinic, **fields)
    assert (refused.value.code, refused.value.field) == (code, field)
    assert Setup.objects.count() == before
    assert provider.created == []


def test_a_provider_that_is_not_known_is_refused(clinic):
    with pytest.raises(Refused) as refused:
        create(clinic, provider="pigeon")
    assert (refused.value.code, refused.value.field) == ("unknown_provider", "provider")


def test_a_provider_that_cannot_create_is_refused(clinic, provider, monkeypatch):
    monkeypatch.setattr(FakeProvider, "capabilities", type(FakeProvider.capabilities).NONE)
    with pytest.raises(Refused) as refused:
        create(clinic)
    assert (refused.value.code, refused.value.status) == ("provider_cannot_create", 422)


@pytest.mark.django_db(transaction=True)
def test_the_row_is_committed_before_the_call_and_no_transaction_is_open_during_any(provider: FakeProvider):
    clinic = make_clinic()
    seen: list[tuple[str, bool]] = []

    def from_another_connection() -> None:
        try:
            setup = Setup.objects.get(business_name="Sunrise Dental")
            seen.append((setup.status, bool(setup.webhook_secret.reveal())))
        finally:
            connection.close()

    def answer() -> Subaccount:
        thread = threading.Thread(target=from_another_connection)
        thread.start()
        thread.join()
        return Subaccount(CREDENTIALS)

    provider.answer = answer
    create(clinic)
    assert seen == [(SetupStatus.PROVISIONING, True)]
    assert provider.in_transaction == [False, False, False]


@pytest.mark.django_db(transaction=True)
def test_inside_a_transaction_it_is_refused_before_anything_happens(provider: FakeProvider):
    clinic = make_clinic()
    with pytest.raises(RuntimeError), transaction.atomic():
        create(clinic)
    assert provider.created == []


@pytest.mark.django_db(transaction=True)
def test_a_database_that_is_away_for_a_moment_does_not_lose_the_answer(provider: FakeProvider, monkeypatch):
    clinic = make_clinic()
    store, calls = setups_module._store, []

    def away_twice(*args):
        calls.append(args)
        if len(calls) < 3:
            raise OperationalError("server closed the connection")
        return store(*args)

    monkeypatch.setattr(setups_module, "_store", away_twice)
    monkeypatch.setattr(setups_module, "STORE_AGAIN_AFTER_S", (0, 0, 0))
    setup = create(clinic)
    assert setup.credentials_secret.reveal() == CREDENTIALS.secret
    assert len(provider.created) == 1


def test_two_setups_have_keys_secrets_and_references_of_their_own(clinic, provider: FakeProvider):
    provider.answer = lambda: Subaccount(CREDENTIALS)
    first, second = create(clinic), create(clinic, label="Second")
    assert first.webhook_key != second.webhook_key
    assert first.webhook_secret.reveal() != second.webhook_secret.reveal()
    assert provider.created[0].reference != provider.created[1].reference
    assert len(first.webhook_key) >= 43


def test_an_account_without_a_line_that_has_the_number_is_connected_again(clinic, provider: FakeProvider):
    closed = make_setup(clinic.location, status=SetupStatus.CLOSED)
    old = make_line(closed, phone_number=NUMBER)
    account = old.account
    PhoneLine.objects.filter(pk=old.pk).update(status=LineStatus.RELEASED, released_at=timezone.now())
    Account.objects.filter(pk=account.pk).update(line_state="released", credentials_rejected=True)
    provider.answer = Subaccount(CREDENTIALS, lines=(Line(NUMBER),))
    provider.offers(NUMBER)

    setup = create(clinic)

    assert setup.phone_lines.get().account == account
    account.refresh_from_db()
    assert account.can_send
    assert clinic.location.accounts.count() == 2


def test_a_retired_account_is_not_connected_again(clinic, provider: FakeProvider):
    account = make_line(make_setup(clinic.location), phone_number=NUMBER).account
    PhoneLine.objects.filter(account=account).update(status=LineStatus.RELEASED, released_at=timezone.now())
    Account.objects.filter(pk=account.pk).update(retired_at=timezone.now())
    provider.answer = Subaccount(CREDENTIALS, lines=(Line(NUMBER),))
    setup = create(clinic)
    new = setup.phone_lines.get().account
    assert new != account
    assert new.index == account.index + 1
