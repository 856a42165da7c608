"""What the provider lists, and what becomes of the lines: hints, polls, conflicts."""

import uuid

import pytest
from django.db import connection

from provisioning.models import EventOutcome, LineStatus, PhoneLine, ProviderEvent, Setup, SetupStatus
from provisioning.providers.base import AccountRejected, Health, Line, LineHint, Rejected, Unavailable, Uncertain
from provisioning.services import apply_line_hint, close_setup, read_lines
from routing.errors import Refused
from tests.factories import make_line, make_setup
from tests.provisioning.fake_provider import FakeProvider, let_worker_look, make_due

NUMBER, SECOND = "+15558880001", "+15558880002"


def make_event(setup: Setup) -> ProviderEvent:
    return ProviderEvent.objects.create(
        location=setup.location, setup=setup, type="line_assigned", dedup_key=uuid.uuid4().hex, body=b"{}"
    )


def hint(setup: Setup, blocked: str | None = None, announced: str | None = None) -> tuple[EventOutcome, str]:
    event = make_event(setup)
    outcome = apply_line_hint(event=event, hint=LineHint(blocked_number=blocked, assigned_number=announced))
    assert ProviderEvent.objects.get(pk=event.pk).detail == event.detail
    return outcome, event.detail


@pytest.fixture
def waiting(clinic) -> Setup:
    """A setup with one pending line, which was read before."""
    setup = make_setup(clinic.location, status=SetupStatus.PENDING, lines_read_at=clinic.setup.created_at)
    make_line(setup, phone_number=None, request_id="ticket")
    return setup


def numbers_of(setup: Setup) -> set[str | None]:
    return set(setup.phone_lines.values_list("phone_number", flat=True))


def everything(setup: Setup) -> list[object]:
    with connection.cursor():
        lines = list(PhoneLine.objects.order_by("pk").values())
    return [lines, list(setup.location.accounts.order_by("pk").values())]


# --- assignment -------------------------------------------------------------------------------------------------------
def test_a_hint_makes_the_line_read_and_assigned(waiting, provider: FakeProvider):
    provider.offers(NUMBER)
    assert hint(waiting) == (EventOutcome.APPLIED, "")
    line = waiting.phone_lines.get()
    assert (line.status, line.phone_number) == (LineStatus.ASSIGNED, NUMBER)
    assert line.account.can_send
    waiting.refresh_from_db()
    assert waiting.status == SetupStatus.ACTIVE


def test_a_notice_of_another_number_than_the_one_assigned_is_a_conflict(waiting, provider: FakeProvider):
    provider.offers(NUMBER)
    assert hint(waiting, announced=NUMBER)[0] == EventOutcome.APPLIED
    before = everything(waiting)
    for announced in (SECOND, "no number"):
        assert hint(waiting, announced=announced)[0] == EventOutcome.CONFLICT
    assert hint(waiting, announced=NUMBER)[0] == EventOutcome.IGNORED
    assert everything(waiting) == before


def test_a_notice_of_a_number_that_is_not_listed_yet_is_no_conflict_while_a_line_waits(waiting, provider: FakeProvider):
    assert hint(waiting, announced=NUMBER)[0] == EventOutcome.IGNORED
    provider.offers(NUMBER)
    assert hint(waiting, announced=NUMBER)[0] == EventOutcome.APPLIED


def test_a_health_that_cannot_be_read_lets_nobody_send_again(waiting, provider: FakeProvider):
    for health, can_send in ((Health.ONLINE, True), (Health.OFFLINE, False), (Health.UNKNOWN, False)):
        provider.offers(NUMBER, health=health)
        hint(waiting)
        account = waiting.phone_lines.get().account
        account.refresh_from_db()
        assert account.can_send is can_send


def test_the_same_hint_again_changes_nothing(waiting, provider: FakeProvider):
    provider.offers(NUMBER)
    hint(waiting)
    before = everything(waiting)
    for _ in range(3):
        assert hint(waiting)[0] == EventOutcome.IGNORED
    assert everything(waiting) == before


def test_a_forged_hint_does_nothing(waiting, provider: FakeProvider):
    before = everything(waiting)
    assert hint(waiting)[0] == EventOutcome.IGNORED
    assert everything(waiting) == before


def test_the_line_that_waited_longest_is_served_first(waiting, provider: FakeProvider):
    later = make_line(waiting, phone_number=None)
    provider.offers(NUMBER)
    hint(waiting)
    later.refresh_from_db()
    assert later.status == LineStatus.PENDING
    provider.offers(NUMBER, SECOND)
    hint(waiting)
    later.refresh_from_db()
    assert (later.status, later.phone_number) == (LineStatus.ASSIGNED, SECOND)


def test_a_number_is_understood_however_the_provider_writes_it(waiting, provider: FakeProvider):
    provider.offers("1 (555) 888-0001")
    hint(waiting)
    provider.offers(NUMBER)
    assert hint(waiting)[0] == EventOutcome.IGNORED
    assert numbers_of(waiting) == {NUMBER}


# --- conflicts --------------------------------------------------------------------------------------------------------
def test_another_number_for_an_assigned_line_is_a_conflict_and_overwrites_nothing(waiting, provider: FakeProvider):
    provider.offers(NUMBER)
    hint(waiting)
    provider.offers(SECOND)
    outcome, detail = hint(waiting)
    assert outcome == EventOutcome.CONFLICT
    assert SECOND in detail
    assert numbers_of(waiting) == {NUMBER}
    waiting.refresh_from_db()
    assert waiting.problem_code == "line_conflict"
    assert waiting.location.accounts.count() == 2

    provider.offers(NUMBER)
    hint(waiting)
    waiting.refresh_from_db()
    assert waiting.problem_code == ""


def test_a_further_number_is_a_conflict_until_a_person_asks_for_the_lines(waiting, provider: FakeProvider):
    provider.offers(NUMBER)
    hint(waiting)
    provider.offers(NUMBER, SECOND)
    assert hint(waiting)[0] == EventOutcome.CONFLICT
    assert numbers_of(waiting) == {NUMBER}

    setup = read_lines(setup=waiting)
    assert numbers_of(setup) == {NUMBER, SECOND}
    assert setup.problem_code == ""


def test_not_even_a_person_s_reading_adds_a_number_that_may_have_replaced_ours(waiting, provider: FakeProvider):
    provider.offers(NUMBER)
    hint(waiting)
    provider.offers(SECOND)
    setup = read_lines(setup=waiting)
    assert numbers_of(setup) == {NUMBER}
    assert setup.problem_code == "line_conflict"


def test_a_number_of_another_setup_is_a_conflict_in_whichever_location(waiting, other_clinic, provider: FakeProvider):
    provider.offers(other_clinic.account.phone_number)
    outcome, _ = hint(waiting)
    assert outcome == EventOutcome.CONFLICT
    assert waiting.phone_lines.get().status == LineStatus.PENDING
    assert waiting.location.accounts.count() == 1
    waiting.location.refresh_from_db()
    assert waiting.location.last_account_index == 1, "an index was used up by what was undone"
    other_clinic.line.refresh_from_db()
    assert other_clinic.line.account == other_clinic.account


def test_a_number_of_another_line_of_the_location_is_a_conflict(waiting, clinic, provider: FakeProvider):
    provider.offers(clinic.account.phone_number)
    assert hint(waiting)[0] == EventOutcome.CONFLICT
    clinic.line.refresh_from_db()
    assert (clinic.line.account, waiting.phone_lines.get().account) == (clinic.account, None)


@pytest.mark.parametrize("number", ["", "12", "+1999", "not a number", "+1 555 888 0001 ext 3", "+19005550100", "\x00"])
def test_what_is_no_phone_number_is_a_conflict(waiting, provider: FakeProvider, number):
    provider.offers(number)
    assert hint(waiting)[0] == EventOutcome.CONFLICT
    assert waiting.phone_lines.get().status == LineStatus.PENDING


def test_a_good_number_beside_a_bad_one_is_taken(waiting, provider: FakeProvider):
    provider.offers("12", NUMBER)
    assert hint(waiting)[0] == EventOutcome.CONFLICT
    assert numbers_of(waiting) == {NUMBER}


# --- numbers that vanish, setups that ended ---------------------------------------------------------------------------
def test_a_number_that_is_not_listed_is_kept_and_goes_on_sending(clinic, provider: FakeProvider):
    assert hint(clinic.setup)[0] == EventOutcome.APPLIED
    clinic.line.refresh_from_db()
    clinic.account.refresh_from_db()
    assert (clinic.line.status, clinic.line.health) == (LineStatus.ASSIGNED, Health.UNKNOWN)
    assert clinic.account.can_send


@pytest.mark.parametrize("health", [Health.OFFLINE, Health.BLOCKED])
def test_a_line_that_is_down_does_not_come_up_by_not_being_listed(clinic, provider: FakeProvider, health):
    provider.offers(clinic.account.phone_number, health=health)
    hint(clinic.setup)
    provider.offers()
    hint(clinic.setup)
    clinic.account.refresh_from_db()
    assert not clinic.account.can_send


def test_a_closed_setup_reads_nothing(waiting, provider: FakeProvider):
    close_setup(setup=waiting)
    provider.offers(NUMBER)
    assert hint(waiting)[0] == EventOutcome.IGNORED
    assert provider.listed == []


def test_a_setup_without_credentials_reads_nothing(clinic, provider: FakeProvider):
    setup = make_setup(clinic.location, status=SetupStatus.UNKNOWN, credentials=None)
    assert hint(setup)[0] == EventOutcome.IGNORED
    assert provider.listed == []


# --- when the provider does not answer --------------------------------------------------------------------------------
@pytest.mark.parametrize("error", [Unavailable("down", "Down."), Uncertain("timeout", "Late."), Rejected("no", "No.")])
def test_a_hint_that_could_not_be_followed_is_to_be_applied_again(waiting, provider: FakeProvider, error):
    provider.lines = error
    with pytest.raises(type(error)):
        hint(waiting)
    provider.offers(NUMBER)
    assert hint(waiting)[0] == EventOutcome.APPLIED


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Rejected("no", "No."), 502),
        (AccountRejected("unauthorized", "No."), 502),
        (Unavailable("down", "Down."), 503),
        (Uncertain("timeout", "Late."), 503),
    ],
)
def test_a_person_who_asks_is_told_why_there_is_no_answer(waiting, provider: FakeProvider, error, status):
    provider.lines = error
    with pytest.raises(Refused) as refused:
        read_lines(setup=waiting)
    assert (refused.value.code, refused.value.status) == (error.code, status)
    waiting.refresh_from_db()
    assert (waiting.credentials_rejected_at is not None) == isinstance(error, AccountRejected)


def test_a_closed_setup_is_not_asked(waiting, provider: FakeProvider):
    close_setup(setup=waiting)
    with pytest.raises(Refused, match=r"^no_subaccount:"):
        read_lines(setup=waiting)


def test_an_answer_for_credentials_that_were_replaced_is_dropped(waiting, provider: FakeProvider):
    from django.utils import timezone

    def replaced_meanwhile() -> list[Line]:
        Setup.objects.filter(pk=waiting.pk).update(credentials_set_at=timezone.now())
        return [Line(NUMBER)]

    provider.lines = replaced_meanwhile
    assert hint(waiting)[0] == EventOutcome.IGNORED
    assert waiting.phone_lines.get().status == LineStatus.PENDING


def test_a_line_that_has_waited_for_days_is_asked_for_less_often(waiting, provider: FakeProvider):
    from datetime import timedelta

    from django.utils import timezone

    PhoneLine.objects.filter(setup=waiting).update(requested_at=timezone.now() - timedelta(days=3))
    Setup.objects.filter(pk=waiting.pk).update(due_at=waiting.created_at)
    make_due(waiting)
    let_worker_look()
    waiting.refresh_from_db()
    assert waiting.due_at > timezone.now() + timedelta(minutes=40)
