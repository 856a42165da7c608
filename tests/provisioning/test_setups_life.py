"""What operators do with setups: connect, attach, retry, rotate, abandon, close."""

# Columns that may be NULL are known to be set here, and change under a row that is read again.
# mypy: disable-error-code="union-attr, operator, unreachable, comparison-overlap"

from datetime import timedelta

import pytest
from django.utils import timezone

from provisioning.models import LineStatus, PhoneLine, Setup, SetupStatus
from provisioning.providers.base import AccountRejected, Credentials, Line, Subaccount, Unavailable, Uncertain
from provisioning.services import (
    abandon_setup,
    attach_credentials,
    close_setup,
    connect_setup,
    create_setup,
    reference_of,
    retry_setup,
    rotate_webhook_secret,
)
from routing.errors import Refused
from tests.factories import make_line, make_setup
from tests.provisioning.fake_provider import CREDENTIALS, FakeProvider, let_worker_look, make_due

NUMBER, SECOND = "+15558880001", "+15558880002"
TYPED = Credentials(key_id="typed-key", secret="typed-secret")


def connect(clinic, credentials: Credentials = TYPED) -> Setup:
    return connect_setup(
        location=clinic.location, business_name="Sunrise", label="Desk", credentials=credentials, by=clinic.admin
    )


def refused_with(code: str):
    return pytest.raises(Refused, match=f"^{code}:")


# --- connect ----------------------------------------------------------------------------------------------------------
def test_an_existing_account_is_connected_with_all_its_lines(clinic, provider: FakeProvider):
    provider.offers(NUMBER, SECOND)
    setup = connect(clinic)
    assert provider.created == []
    assert (setup.status, setup.due_at) == (SetupStatus.ACTIVE, None)
    assert set(setup.phone_lines.values_list("phone_number", flat=True)) == {NUMBER, SECOND}
    assert all(line.account.can_send for line in setup.phone_lines.all())
    assert provider.registered[0].credentials == TYPED
    assert setup.credentials_secret.reveal() == TYPED.secret


def test_an_existing_account_without_a_line_waits_for_one(clinic, provider: FakeProvider):
    setup = connect(clinic)
    assert (setup.status, setup.phone_lines.get().status) == (SetupStatus.PENDING, LineStatus.PENDING)
    assert setup.due_at is not None
    provider.offers(NUMBER)
    make_due(setup)
    let_worker_look()
    assert setup.phone_lines.get().phone_number == NUMBER


def test_a_first_reading_that_fails_is_made_up_for_by_the_worker_with_all_lines(clinic, provider: FakeProvider):
    provider.lines = provider.registering = Unavailable("down", "Down.")
    setup = connect(clinic)
    assert (setup.status, setup.phone_lines.count()) == (SetupStatus.PENDING, 0)
    provider.registering = None
    provider.offers(NUMBER, SECOND)
    make_due(setup)
    let_worker_look()
    assert setup.phone_lines.filter(status=LineStatus.ASSIGNED).count() == 2


def test_a_reading_that_fails_alone_comes_back_too(clinic, provider: FakeProvider):
    provider.lines = Unavailable("down", "Down.")
    setup = connect(clinic)
    assert setup.webhooks_registered_at is not None
    assert setup.due_at is not None


def test_credentials_that_the_provider_refuses_are_told_and_can_be_replaced(clinic, provider: FakeProvider):
    provider.lines = provider.registering = AccountRejected("unauthorized", "Invalid credentials.")
    setup = connect(clinic)
    assert (setup.problem_code, setup.problem) == ("credentials_rejected", "Invalid credentials.")
    assert setup.credentials_rejected_at is not None

    provider.registering = None
    provider.offers(NUMBER)
    setup = attach_credentials(setup=setup, credentials=CREDENTIALS, by=clinic.admin)
    assert (setup.status, setup.problem_code, setup.credentials_rejected_at) == (SetupStatus.ACTIVE, "", None)
    assert provider.registered[-1].credentials == CREDENTIALS


@pytest.mark.parametrize(
    ("credentials", "field"),
    [
        (Credentials("", "s"), "key_id"),
        (Credentials("k", "  "), "secret"),
        (Credentials("k\r\nX-Other: 1", "s"), "key_id"),
        (Credentials("k", "s" * 501), "secret"),
        (Credentials("k", "sécret"), "secret"),
    ],
)
def test_credentials_that_no_header_can_carry_are_refused(clinic, provider, credentials, field):
    before = Setup.objects.count()
    with pytest.raises(Refused) as refused:
        connect(clinic, credentials)
    assert refused.value.field == field
    assert Setup.objects.count() == before


def test_spaces_that_came_along_with_pasting_are_dropped(clinic, provider: FakeProvider):
    setup = connect(clinic, Credentials(" typed-key\n", "\ttyped-secret "))
    assert setup.credentials_key_id.reveal() == "typed-key"
    assert setup.credentials_secret.reveal() == "typed-secret"


# --- after a lost answer ----------------------------------------------------------------------------------------------
@pytest.fixture
def unknown(clinic) -> Setup:
    return make_setup(clinic.location, status=SetupStatus.UNKNOWN, credentials=None, problem_code="timeout")


@pytest.fixture
def failed(clinic) -> Setup:
    return make_setup(clinic.location, status=SetupStatus.FAILED, credentials=None, problem_code="no", problem="No.")


def test_credentials_that_were_found_bring_an_unknown_setup_to_life(clinic, provider, unknown):
    provider.offers(NUMBER)
    setup = attach_credentials(setup=unknown, credentials=TYPED, by=clinic.admin)
    assert (setup.status, setup.problem_code) == (SetupStatus.ACTIVE, "")
    assert setup.phone_lines.get().account.can_send
    assert provider.created == []


@pytest.mark.parametrize("state", ["unknown", "failed"])
def test_a_retry_is_a_new_call_under_a_new_reference(clinic, provider, request, state):
    setup = request.getfixturevalue(state)
    before = reference_of(setup), setup.webhook_key, setup.webhook_secret.reveal()
    provider.answer = Subaccount(CREDENTIALS, lines=(Line(NUMBER),))
    provider.offers(NUMBER)
    again = retry_setup(setup=setup, by=clinic.admin)
    assert again.pk == setup.pk
    assert (again.status, again.problem_code, again.problem) == (SetupStatus.ACTIVE, "", "")
    after = reference_of(again), again.webhook_key, again.webhook_secret.reveal()
    assert all(old != new for old, new in zip(before, after, strict=True))
    assert provider.created[0].reference == after[0]


@pytest.mark.parametrize(
    "status", [SetupStatus.PROVISIONING, SetupStatus.PENDING, SetupStatus.ACTIVE, SetupStatus.CLOSED]
)
def test_a_setup_that_has_an_outcome_is_neither_retried_nor_abandoned(clinic, provider, status):
    setup = make_setup(clinic.location, status=status)
    with refused_with("not_retryable"):
        retry_setup(setup=setup, by=clinic.admin)
    with refused_with("not_abandonable"):
        abandon_setup(setup=setup, by=clinic.admin)
    assert provider.created == []
    setup.refresh_from_db()
    assert setup.status == status


@pytest.mark.parametrize("state", ["unknown", "failed"])
def test_an_abandoned_setup_is_closed(clinic, request, state):
    setup = abandon_setup(setup=request.getfixturevalue(state), by=clinic.admin)
    assert setup.status == SetupStatus.CLOSED
    assert setup.closed_at is not None
    with refused_with("setup_closed"):
        attach_credentials(setup=setup, credentials=TYPED)


@pytest.mark.parametrize("second", [Subaccount(TYPED), Uncertain("timeout", "Late.")], ids=["answered", "lost"])
def test_a_late_answer_to_the_first_call_does_not_touch_a_retried_setup(clinic, provider: FakeProvider, second):
    def slow() -> Subaccount:
        setup = Setup.objects.get(status=SetupStatus.PROVISIONING)
        Setup.objects.filter(pk=setup.pk).update(status=SetupStatus.UNKNOWN)
        provider.answer = second
        retry_setup(setup=setup)
        return Subaccount(CREDENTIALS)

    provider.answer = slow
    setup = create_setup(location=clinic.location, business_name="B", label="L")
    if isinstance(second, Subaccount):
        assert setup.credentials_secret.reveal() == TYPED.secret
    else:
        assert (setup.status, setup.credentials_secret) == (SetupStatus.UNKNOWN, None)
    assert len(provider.created) == 2


@pytest.mark.parametrize("status", [SetupStatus.PROVISIONING, SetupStatus.CLOSED])
def test_credentials_are_attached_neither_during_a_call_nor_after_the_end(clinic, provider, status):
    setup = make_setup(clinic.location, status=status, credentials=None)
    with refused_with("setup_busy" if status == SetupStatus.PROVISIONING else "setup_closed"):
        attach_credentials(setup=setup, credentials=TYPED)
    assert Setup.objects.get(pk=setup.pk).credentials_key_id is None


# --- close ------------------------------------------------------------------------------------------------------------
def test_closing_releases_the_lines_and_stops_the_accounts(clinic):
    pending = make_line(clinic.setup, phone_number=None)
    setup = close_setup(setup=clinic.setup, by=clinic.admin)
    assert (setup.status, setup.due_at) == (SetupStatus.CLOSED, None)
    clinic.account.refresh_from_db()
    assert (clinic.account.can_send, clinic.account.blockers) == (False, ("line_released",))
    clinic.line.refresh_from_db()
    pending.refresh_from_db()
    assert {clinic.line.status, pending.status} == {LineStatus.RELEASED}
    assert clinic.line.account == clinic.account
    assert clinic.line.phone_number is not None
    closed_at = setup.closed_at
    assert close_setup(setup=setup, by=clinic.admin).closed_at == closed_at


def test_a_released_number_can_be_had_again(clinic, provider: FakeProvider):
    close_setup(setup=clinic.setup)
    provider.offers(clinic.account.phone_number)
    setup = connect(clinic)
    clinic.account.refresh_from_db()
    assert clinic.account.can_send
    assert setup.phone_lines.get().account == clinic.account
    assert PhoneLine.objects.get(pk=clinic.line.pk).status == LineStatus.RELEASED


def test_a_setup_is_not_closed_during_its_call(clinic):
    setup = make_setup(clinic.location, status=SetupStatus.PROVISIONING, credentials=None)
    with refused_with("setup_busy"):
        close_setup(setup=setup)
    setup.refresh_from_db()
    assert (setup.status, setup.closed_at) == (SetupStatus.PROVISIONING, None)


def test_a_reading_that_was_on_its_way_does_not_revive_a_closed_setup(clinic, provider: FakeProvider):
    setup = make_setup(clinic.location, status=SetupStatus.PENDING, due_at=clinic.setup.created_at, lines_read_at=None)
    make_line(setup, phone_number=None)

    def closed_meanwhile() -> list[Line]:
        close_setup(setup=setup)
        return [Line(NUMBER)]

    provider.lines = closed_meanwhile
    let_worker_look()
    setup.refresh_from_db()
    assert (setup.status, setup.due_at) == (SetupStatus.CLOSED, None)
    assert not PhoneLine.objects.filter(phone_number=NUMBER).exists()


# --- rotate -----------------------------------------------------------------------------------------------------------
def test_a_rotation_registers_the_new_secret_and_keeps_the_old_one_for_a_day(clinic, provider: FakeProvider):
    provider.offers(clinic.account.phone_number)
    old = clinic.setup.webhook_secret.reveal()
    setup = rotate_webhook_secret(setup=clinic.setup, by=clinic.admin)
    new = setup.webhook_secret.reveal()
    assert new != old
    assert provider.registered[-1].secret == new
    assert setup.webhooks_registered_at is not None
    assert setup.previous_webhook_secret.reveal() == old
    left = setup.previous_webhook_secret_until - timezone.now()
    assert timedelta(hours=23, minutes=59) < left <= timedelta(hours=24)
    assert setup.webhook_key == clinic.setup.webhook_key


def test_a_rotation_that_does_not_get_through_is_finished_by_the_worker(clinic, provider: FakeProvider):
    provider.offers(clinic.account.phone_number)
    provider.registering = Unavailable("down", "Down.")
    old = clinic.setup.webhook_secret.reveal()
    setup = rotate_webhook_secret(setup=clinic.setup)
    assert setup.webhooks_registered_at is None
    with refused_with("rotation_in_progress"):
        rotate_webhook_secret(setup=setup)

    # However long that takes, the provider's secret goes on to open the door.
    Setup.objects.filter(pk=setup.pk).update(previous_webhook_secret_until=timezone.now())
    make_due(setup)
    let_worker_look()
    setup.refresh_from_db()
    assert setup.previous_webhook_secret_until > timezone.now() + timedelta(hours=23)
    assert setup.previous_webhook_secret.reveal() == old

    provider.registering = None
    make_due(setup)
    let_worker_look()
    setup.refresh_from_db()
    assert setup.webhooks_registered_at is not None
    assert provider.registered[-1].secret == setup.webhook_secret.reveal()
    rotate_webhook_secret(setup=setup)


def test_a_registration_of_the_old_secret_does_not_count_for_the_new_one(clinic, provider: FakeProvider):
    provider.offers(clinic.account.phone_number)
    Setup.objects.filter(pk=clinic.setup.pk).update(webhooks_registered_at=None, due_at=clinic.setup.created_at)

    def rotated_meanwhile() -> None:
        provider.registering = Unavailable("down", "Down.")
        rotate_webhook_secret(setup=clinic.setup)

    provider.registering = rotated_meanwhile
    let_worker_look()
    setup = Setup.objects.get(pk=clinic.setup.pk)
    assert setup.webhooks_registered_at is None
    assert setup.due_at is not None


@pytest.mark.parametrize("status", [SetupStatus.UNKNOWN, SetupStatus.CLOSED])
def test_without_a_subaccount_there_is_nothing_to_rotate(clinic, provider, status):
    setup = make_setup(clinic.location, status=status, credentials=None)
    with pytest.raises(Refused):
        rotate_webhook_secret(setup=setup)
    assert provider.registered == []
