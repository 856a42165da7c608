"""The whole of provisioning over real HTTP: our adapter, the sandbox as the provider, its webhooks at our door."""

# Columns that may be NULL are known to be set here.
# mypy: disable-error-code="union-attr, operator"

from datetime import timedelta

import pytest

from messaging import events
from provisioning.models import EventOutcome, LineStatus, ProviderEvent, Setup, SetupStatus
from provisioning.providers.base import Credentials
from provisioning.sandbox.faults import magic_area_code
from provisioning.sandbox.server import Sandbox
from provisioning.sandbox.store import Account
from provisioning.services import (
    attach_credentials,
    close_setup,
    connect_setup,
    create_setup,
    credentials_of,
    read_lines,
    reference_of,
    retry_setup,
    rotate_webhook_secret,
)
from routing.models import Location
from tests.conftest import wait_until
from tests.factories import make_location
from tests.provisioning.fake_provider import let_worker_look, make_due
from tests.provisioning.sandbox_rig import Child, open_child

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def location(transactional_db, sandbox: Sandbox, live_server, settings) -> Location:
    """A location of a hub that the sandbox can reach."""
    settings.HUB_PUBLIC_URL = live_server.url
    # Not before the webhooks are registered, however busy the machine is.
    sandbox.faults.place_after_s = 1.0
    return make_location()


def create(location: Location, fault: str = "", **fields) -> Setup:
    area = magic_area_code(fault) if fault else "415"
    return create_setup(location=location, business_name="Harbor Dental", label="Desk", area_code=area, **fields)


def apply_events(setup: Setup, count: int = 1) -> list[str]:
    """Wait for `count` stored events of the setup, apply them as the worker does, and tell their outcomes."""
    wait_until(lambda: ProviderEvent.objects.filter(setup=setup).count() >= count)
    waiting = ProviderEvent.objects.filter(setup=setup, outcome=EventOutcome.WAITING)
    while waiting.exists():
        for event in wait_until(lambda: events.take_due(10)):
            events.apply(event)
    return sorted(ProviderEvent.objects.filter(setup=setup).values_list("outcome", flat=True))


def creations(sandbox: Sandbox) -> int:
    return sum(count for request, count in sandbox.requests().items() if "request-child-account" in request)


def children(sandbox: Sandbox) -> list[Account]:
    return [account for account in sandbox.store.accounts() if not account.is_agency]


def place(sandbox: Sandbox) -> str:
    """Have the only line's number placed, which sends the notice; returns it."""
    (line,) = sandbox.store.lines()
    return sandbox.place_line(request_id=line.request_id)


def credentials_from(child: Child) -> Credentials:
    return Credentials(child.data["api_key"], child.data["api_secret"])


def test_a_number_at_once(location, sandbox: Sandbox):
    setup = create(location, "at_once")
    line = setup.phone_lines.get()
    assert (setup.status, line.status, setup.due_at) == (SetupStatus.ACTIVE, LineStatus.ASSIGNED, None)
    assert line.phone_number == sandbox.store.lines()[0].number
    assert line.account.can_send
    assert setup.webhooks_registered_at is not None
    assert creations(sandbox) == 1


def test_a_number_that_comes_later_is_told_by_the_webhook(location, sandbox: Sandbox):
    setup = create(location)
    line = setup.phone_lines.get()
    assert (setup.status, line.status) == (SetupStatus.PENDING, LineStatus.PENDING)

    number = place(sandbox)
    assert apply_events(setup) == [EventOutcome.APPLIED]
    line.refresh_from_db()
    setup.refresh_from_db()
    assert (setup.status, line.phone_number) == (SetupStatus.ACTIVE, number)
    assert line.account.can_send


def test_a_notice_that_comes_three_times_makes_one_account(location, sandbox: Sandbox):
    setup = create(location, "notice_twice")
    apply_events(setup)
    sandbox.drain_webhooks()
    apply_events(setup)
    assert setup.phone_lines.get().status == LineStatus.ASSIGNED
    assert location.accounts.count() == 1


def test_a_number_without_a_notice_is_found_by_the_worker(location, sandbox: Sandbox):
    setup = create(location, "notice_none")
    assert setup.phone_lines.get().status == LineStatus.PENDING
    number = wait_until(lambda: sandbox.store.lines()[0].number)
    sandbox.drain_webhooks()
    assert not ProviderEvent.objects.filter(setup=setup).exists()
    make_due(setup)
    let_worker_look()
    setup.refresh_from_db()
    assert (setup.status, setup.due_at) == (SetupStatus.ACTIVE, None)
    assert setup.phone_lines.get().phone_number == number


def test_an_answer_that_does_not_speak_of_a_line_means_a_pending_one(location, sandbox: Sandbox):
    setup = create(location, "no_line_part")
    assert (setup.status, setup.phone_lines.get().status) == (SetupStatus.PENDING, LineStatus.PENDING)
    assert apply_events(setup) == [EventOutcome.APPLIED]
    assert setup.phone_lines.get().phone_number == sandbox.store.lines()[0].number


@pytest.mark.parametrize("fault", ["notice_odd", "second_number"])
def test_what_a_notice_says_does_not_matter(location, sandbox: Sandbox, fault):
    setup = create(location, fault)
    held = wait_until(lambda: sandbox.store.lines()[0].number)
    sandbox.drain_webhooks()
    apply_events(setup)
    assert setup.phone_lines.get().phone_number == held
    assert location.accounts.get().phone_number == held


def test_a_false_notice_assigns_nothing(location, sandbox: Sandbox):
    setup = create(location, "false_notice")
    assert apply_events(setup) == [EventOutcome.IGNORED]
    assert setup.phone_lines.get().status == LineStatus.PENDING
    assert location.accounts.count() == 0


def test_a_line_that_is_blocked_stops_its_account(location, sandbox: Sandbox):
    setup = create(location, "blocked_soon")
    wait_until(lambda: ProviderEvent.objects.filter(setup=setup).count() == 2)
    apply_events(setup, 2)
    assert location.accounts.get().blockers == ("line_blocked",)


@pytest.mark.parametrize("fault", ["answer_reset", "answer_timeout", "error_500_after", "garbage"])
def test_a_lost_answer_is_unknown_until_a_person_finds_the_credentials(location, sandbox: Sandbox, settings, fault):
    settings.HUB_CALL_DEADLINE = timedelta(seconds=2)
    setup = create(location, fault)
    assert (setup.status, setup.credentials_key_id, setup.due_at) == (SetupStatus.UNKNOWN, None, None)
    assert let_worker_look() == []
    assert creations(sandbox) == 1
    assert reference_of(setup) in setup.problem

    # By that reference a person finds it there.
    assert reference_of(setup) in children(sandbox)[0].company_name
    found = open_child(sandbox)
    setup = attach_credentials(setup=setup, credentials=credentials_from(found))
    assert (setup.status, setup.phone_lines.get().phone_number) == (SetupStatus.ACTIVE, found.line)


@pytest.mark.parametrize("fault", ["refused", "rate_limited"])
def test_a_refusal_is_told_and_can_be_retried(location, sandbox: Sandbox, fault):
    setup = create(location, fault)
    assert (setup.status, setup.phone_lines.count()) == (SetupStatus.FAILED, 0)
    assert setup.problem != ""
    assert children(sandbox) == []
    Setup.objects.filter(pk=setup.pk).update(area_code=magic_area_code("at_once"))
    assert retry_setup(setup=setup).status == SetupStatus.ACTIVE
    assert creations(sandbox) == 2


def test_wrong_agency_credentials_fail_the_setup(location, sandbox: Sandbox, settings):
    settings.SENDBLUE = settings.SENDBLUE | {"agency_secret": "wrong"}
    setup = create(location)
    assert setup.status == SetupStatus.FAILED
    assert "wrong" not in setup.problem


def test_a_provider_that_is_down_fails_the_setup_and_created_nothing(location, sandbox: Sandbox, settings):
    settings.SENDBLUE = settings.SENDBLUE | {"base_url": "http://127.0.0.1:1"}
    setup = create(location)
    assert setup.status == SetupStatus.FAILED
    assert "tried again" in setup.problem


def test_an_existing_account_is_connected(location, sandbox: Sandbox):
    child = open_child(sandbox)
    typed = credentials_from(child)
    setup = connect_setup(location=location, business_name="Elsewhere", label="Old", credentials=typed)
    assert (setup.status, setup.problem, setup.due_at) == (SetupStatus.ACTIVE, "", None)
    assert setup.phone_lines.get().phone_number == child.line
    assert credentials_of(setup) == typed
    assert setup.webhook_key in child.call("GET", "/api/account/webhooks").text


def test_wrong_credentials_are_told(location, sandbox: Sandbox):
    setup = connect_setup(
        location=location, business_name="E", label="L", credentials=Credentials("no-such-key", "typed-secret")
    )
    assert setup.problem_code == "credentials_rejected"
    assert "typed-secret" not in setup.problem


def test_after_a_rotation_events_come_with_the_new_secret(location, sandbox: Sandbox):
    setup = rotate_webhook_secret(setup=create(location))
    Setup.objects.filter(pk=setup.pk).update(previous_webhook_secret=None)
    place(sandbox)
    assert apply_events(setup) == [EventOutcome.APPLIED]


def test_a_line_that_goes_off_line_and_comes_back(location, sandbox: Sandbox):
    setup = create(location, "at_once")
    account = location.accounts.get()
    sandbox.set_line_status(account.phone_number, "OFFLINE")
    setup = read_lines(setup=setup)
    account.refresh_from_db()
    assert (account.blockers, setup.due_at is not None) == (("disconnected",), True)
    sandbox.set_line_status(account.phone_number, "ONLINE")
    make_due(setup)
    let_worker_look()
    account.refresh_from_db()
    assert account.can_send


def test_a_closed_setup_hears_nothing_more(location, sandbox: Sandbox):
    setup = create(location)
    close_setup(setup=setup)
    place(sandbox)
    sandbox.drain_webhooks()
    assert not ProviderEvent.objects.filter(setup=setup).exists()
    assert location.accounts.count() == 0
