"""What a setup needs again and again: its webhooks registered, its lines read, and its troubles noted.

No transaction is open while a provider is asked. As a duty a setup comes back by itself while something is missing:
webhooks, a line's number, working credentials, a line that is up.
"""

import random
from datetime import timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from provisioning.duties import finish, wake
from provisioning.fields import UndecryptableSecret
from provisioning.models import PENDING_LONG, EventOutcome, LineStatus, PhoneLine, ProviderEvent, Setup, SetupStatus
from provisioning.providers.base import AccountRejected, Health, LineHint, ProviderError, Unavailable
from provisioning.services.lines import (
    Reading,
    add_pending_line,
    apply_listing,
    assigned_lines,
    lock_setup,
    note_block,
    note_health,
)
from provisioning.services.upstream import adapter_for, credentials_of, reference_of, refusal, webhook_url
from routing import audit
from routing import services as routing
from routing.errors import Refused
from routing.models import Account, AuditAction
from routing.phones import InvalidPhone, parse_phone

log = structlog.get_logger("hub.provisioning")

RUNNING = (SetupStatus.PENDING, SetupStatus.ACTIVE)
"""States in which a setup has a subaccount that can be asked."""
SECRET_OVERLAP = timedelta(hours=24)
"""How long the secret before a rotation still opens the door."""

FIRST_RETRY = timedelta(seconds=30)
LAST_RETRY = timedelta(hours=1)
LATE_POLLS = 20
# Whether credentials work again, or a blocked line is back: asked less often, for a person has to do something first.
TROUBLE_POLLS = 5

LINE_CONFLICT, NOT_REGISTERED, CREDENTIALS_REJECTED = "line_conflict", "webhooks_not_registered", "credentials_rejected"
PAYMENT_REQUIRED = "payment_required"

_rng = random.SystemRandom()


# --- the duty ---------------------------------------------------------------------------------------------------------
def run_setup_duty(*, setup: Setup) -> None:
    """Do what a claimed setup is due for, and say when it is due again: register the webhooks that are missing, then
    read the lines.

    Two provider calls at most. A setup that is still `provisioning` now lost its caller: what the provider did is
    unknown, and it is never called again by itself.
    """
    if setup.status == SetupStatus.PROVISIONING:
        _give_up_waiting(setup)
        return
    if setup.status not in RUNNING or setup.credentials_key_id is None:
        finish(setup, due_in=None)
        return
    trouble = _register(setup) if setup.webhooks_registered_at is None else None
    if not isinstance(trouble, AccountRejected):
        trouble = _try_reading(setup) or trouble
    due_in = next_due(setup, trouble)
    finish(setup, due_in=due_in, **({} if trouble else {"attempts": 0}))


def next_due(setup: Setup, trouble: ProviderError | None = None) -> timedelta | None:
    """When the setup is to be looked at again; None when it lacks nothing. `trouble` is why the last look failed."""
    row = Setup.objects.get(pk=setup.pk)
    if row.status not in RUNNING:
        return None
    poll: timedelta = settings.HUB_LINE_POLL
    waits: list[timedelta] = []
    if row.credentials_rejected_at is not None:
        return _spread(poll * TROUBLE_POLLS)
    if trouble is not None or row.webhooks_registered_at is None:
        waits.append(_backoff(setup.attempts, trouble))
    lines = PhoneLine.objects.filter(setup=row)
    oldest = lines.filter(status=LineStatus.PENDING).first()
    if oldest is not None:
        late = timezone.now() - oldest.requested_at > PENDING_LONG
        waits.append(poll * LATE_POLLS if late else poll)
    down = set(lines.filter(status=LineStatus.ASSIGNED).values_list("health", flat=True))
    if Health.OFFLINE in down:
        waits.append(poll)
    if Health.BLOCKED in down:
        waits.append(poll * TROUBLE_POLLS)
    return _spread(min(waits)) if waits else None


def _backoff(attempts: int, trouble: ProviderError | None) -> timedelta:
    doublings = min(max(attempts - 1, 0), 10)
    wait = min(FIRST_RETRY * (1 << doublings), LAST_RETRY)
    if isinstance(trouble, Unavailable) and trouble.retry_after is not None:
        wait = max(wait, min(trouble.retry_after, LAST_RETRY))
    return wait


def _spread(wait: timedelta) -> timedelta:
    """Around `wait`, so that setups of one moment don't stay together for ever."""
    return wait * _rng.uniform(0.75, 1.25)


def _give_up_waiting(setup: Setup) -> None:
    given_up = finish(
        setup,
        due_in=None,
        status=SetupStatus.UNKNOWN,
        problem_code="answer_lost",
        problem="The hub stopped while the provider was asked to create the subaccount. It may exist there: look for "
        f"{reference_of(setup)}, then attach its credentials, try again as new, or abandon.",
    )
    if given_up:
        log.error("setup unknown", setup=str(setup.pk), reference=reference_of(setup))


# --- webhooks ---------------------------------------------------------------------------------------------------------
def _register(setup: Setup) -> ProviderError | None:
    """Register the setup's webhooks; returns what went wrong, noted on the setup."""
    try:
        outside_transactions()
        adapter_for(setup).register_webhooks(credentials_of(setup), url=webhook_url(setup), secret=_secret_of(setup))
    except ProviderError as error:
        log.warning("webhooks not registered", setup=str(setup.pk), code=error.code)
        if not _note_rejection(setup, error):
            _note_problem(setup, NOT_REGISTERED, f"The webhooks could not be registered yet: {error.detail}")
        # The provider goes on with the secret it has.
        Setup.objects.filter(pk=setup.pk, previous_webhook_secret__isnull=False).update(
            previous_webhook_secret_until=Now() + SECRET_OVERLAP
        )
        return error
    # Not when the secret was rotated meanwhile: that one is not there yet.
    Setup.objects.filter(pk=setup.pk, webhook_secret_set_at=setup.webhook_secret_set_at).update(
        webhooks_registered_at=Now()
    )
    _clear_problem(setup, NOT_REGISTERED)
    log.info("webhooks registered", setup=str(setup.pk))
    return None


def _secret_of(setup: Setup) -> str:
    try:
        secret: str = setup.webhook_secret.reveal()
    except UndecryptableSecret as error:
        raise Unavailable(error.code, str(error)) from None
    return secret


# --- lines ------------------------------------------------------------------------------------------------------------
def read_lines(*, setup: Setup) -> Setup:
    """Ask the provider for the lines now, because a person wants to know; returns the setup as it is then.

    Numbers that no line waits for become further lines of the setup: a person asked. Raises Refused: 409 when the setup
    has no subaccount to ask, 502 and 503 when the provider says no or nothing.
    """
    setup = Setup.objects.get(pk=setup.pk)
    if setup.status not in RUNNING or setup.credentials_key_id is None:
        raise Refused("no_subaccount", "This setup has no subaccount that could be asked.", status=409)
    try:
        _read(setup, adopt=True)
    except ProviderError as error:
        if _note_rejection(setup, error):
            _come_back(setup)
        raise refusal(error) from error
    _come_back(setup)
    return Setup.objects.get(pk=setup.pk)


def _try_reading(setup: Setup) -> ProviderError | None:
    try:
        _read(setup)
    except ProviderError as error:
        log.warning("lines not read", setup=str(setup.pk), code=error.code)
        _note_rejection(setup, error)
        return error
    return None


def _read(setup: Setup, *, adopt: bool = False) -> Reading:
    """Ask for the lines and write down what is new. Raises the three provider errors.

    The first reading with these credentials shows what the subaccount has: all of it becomes lines. An answer proves
    that the credentials work, and ends what was noted against them.
    """
    outside_transactions()
    blocked = set(assigned_lines(setup).filter(health=Health.BLOCKED).values_list("pk", flat=True))
    listed = adapter_for(setup).list_lines(credentials_of(setup))
    with transaction.atomic():
        row = lock_setup(setup)
        if row.status not in RUNNING or row.credentials_set_at != setup.credentials_set_at:
            # It was closed, or another account was attached, while we asked.
            return Reading()
        first = row.lines_read_at is None
        reading = apply_listing(row, listed, adopt=adopt or first, first=first, were_blocked=blocked)
        if not PhoneLine.objects.filter(setup=row).exclude(status=LineStatus.RELEASED).exists():
            add_pending_line(row)
        Setup.objects.filter(pk=row.pk).update(lines_read_at=Now())
        _clear_rejection(row)
        if reading.conflicts:
            _note_problem(row, LINE_CONFLICT, " ".join(reading.conflicts[:5]))
        else:
            _clear_problem(row, LINE_CONFLICT)
    return reading


def apply_line_hint(*, event: ProviderEvent, hint: LineHint) -> EventOutcome:
    """Read the setup's lines because a notice said that something about them changed; words go to `event.detail`.

    The notice itself is believed in one thing only: that a number of this setup is blocked, which listings do not show.
    So a forged or odd one does nothing. Raises Unavailable or Uncertain when the lines could not be read: the event is
    to be applied again later.
    """
    setup = Setup.objects.get(pk=event.setup_id)
    if setup.status not in RUNNING or setup.credentials_key_id is None:
        return _told(event, EventOutcome.IGNORED, "The setup has no subaccount that could be asked.")
    reading = Reading()
    trouble: ProviderError | None = None
    try:
        reading = _read(setup)
    except ProviderError as error:
        trouble = error
    if hint.blocked_number is not None:
        # After the reading, which does not know of the block and would end it.
        _block_number(setup, hint.blocked_number, reading)
    if trouble is not None and not _note_rejection(setup, trouble):
        raise trouble
    _come_back(setup)
    if trouble is None and hint.assigned_number is not None:
        _compare_announced(setup, hint.assigned_number, reading)
    if reading.conflicts:
        return _told(event, EventOutcome.CONFLICT, " ".join(reading.conflicts))
    if reading.assigned or reading.changed:
        return _told(event, EventOutcome.APPLIED, "")
    if trouble is not None:
        return _told(event, EventOutcome.IGNORED, "The credentials are refused; the lines are read once they work.")
    return _told(event, EventOutcome.IGNORED, "The provider lists nothing new.")


def _compare_announced(setup: Setup, given: str, reading: Reading) -> None:
    """A notice that names a number which the provider does not list, while no line waits for one, contradicts what we
    know. While one waits, the list may only be late: it is read again."""
    try:
        number = parse_phone(given, region=setup.location.region)
    except InvalidPhone as error:
        reading.conflicts.append(f"The notice names no phone number: {error.detail}")
        return
    lines = PhoneLine.objects.filter(setup=setup)
    if not lines.filter(Q(status=LineStatus.ASSIGNED, phone_number=number) | Q(status=LineStatus.PENDING)).exists():
        reading.conflicts.append(f"The notice names {number}, which the provider does not list for this setup.")


def _told(event: ProviderEvent, outcome: EventOutcome, detail: str) -> EventOutcome:
    event.detail = detail
    ProviderEvent.objects.filter(pk=event.pk).update(detail=detail)
    return outcome


def _block_number(setup: Setup, given: str, reading: Reading) -> None:
    try:
        number = parse_phone(given, region=setup.location.region)
    except InvalidPhone as error:
        reading.conflicts.append(f"The notice of a block names no phone number: {error.detail}")
        return
    with transaction.atomic():
        line = assigned_lines(lock_setup(setup)).filter(phone_number=number).first()
        if line is None:
            reading.conflicts.append(f"The notice of a block names {number}, which is no line of this setup.")
        else:
            reading.changed += note_health(line, Health.BLOCKED)


def note_line_blocked(*, account: Account) -> None:
    """The provider refused a message because the account's line is blocked: the account stops until the line is listed
    as online again. An account without a line stops until a person changes that."""
    line = PhoneLine.objects.filter(account=account, status=LineStatus.ASSIGNED).select_related("setup").first()
    if line is None:
        with transaction.atomic():
            is_new = Account.objects.filter(pk=account.pk, line_blocked=False).exists()
            routing.update_connection(account_ids=[account.pk], line_blocked=True)
            if is_new:
                note_block(account)
        return
    with transaction.atomic():
        row = lock_setup(line.setup)
        for locked in assigned_lines(row).filter(pk=line.pk):
            note_health(locked, Health.BLOCKED)
    _come_back(line.setup)


# --- troubles ---------------------------------------------------------------------------------------------------------
def note_credentials_rejected(*, setup: Setup, payment_required: bool = False) -> None:
    """The provider refused the credentials `setup` was loaded with, or wants to be paid: every account of it stops.

    That ends when new ones are attached, or when the same ones work again (the account was paid), which is looked for
    by itself now and then.
    """
    detail = "The provider refuses the credentials, or the account there is suspended."
    if payment_required:
        detail = "The account has to be paid at the provider; sending goes on by itself once it is."
    if _stop_accounts(setup, detail, payment_required=payment_required):
        _come_back(setup)


def _note_rejection(setup: Setup, error: ProviderError) -> bool:
    """Whether the error is one of the credentials; if so it is noted."""
    if not isinstance(error, AccountRejected) or error.line_blocked:
        return False
    _stop_accounts(setup, error.detail, payment_required=error.payment_required)
    return True


def _stop_accounts(setup: Setup, detail: str, *, payment_required: bool) -> bool:
    with transaction.atomic():
        row = lock_setup(setup)
        if row.credentials_set_at != setup.credentials_set_at or row.status == SetupStatus.CLOSED:
            return False
        if Setup.objects.filter(pk=row.pk, credentials_rejected_at=None).update(credentials_rejected_at=Now()):
            why = "wants to be paid" if payment_required else "refuses its credentials"
            _record(row, f"The provider {why}: its accounts send nothing.")
        _note_problem(row, PAYMENT_REQUIRED if payment_required else CREDENTIALS_REJECTED, detail)
        routing.update_connection(account_ids=_account_ids(row), credentials_rejected=True)
    log.warning("credentials rejected", setup=str(setup.pk))
    return True


def _clear_rejection(row: Setup) -> None:
    if row.credentials_rejected_at is None:
        return
    Setup.objects.filter(pk=row.pk).update(credentials_rejected_at=None)
    _record(row, "Its credentials work again.")
    _clear_problem(row, CREDENTIALS_REJECTED, PAYMENT_REQUIRED)
    routing.update_connection(account_ids=_account_ids(row), credentials_rejected=False)


def _record(setup: Setup, sentence: str) -> None:
    audit.record(by=None, action=AuditAction.CHANGED, obj=setup, location_id=setup.location_id, detail=sentence)


def _account_ids(setup: Setup) -> list[UUID]:
    return [line.account_id for line in assigned_lines(setup) if line.account_id is not None]


def _note_problem(setup: Setup, code: str, detail: str) -> None:
    Setup.objects.filter(pk=setup.pk).update(problem_code=code, problem=detail)


def _clear_problem(setup: Setup, *codes: str) -> None:
    Setup.objects.filter(pk=setup.pk, problem_code__in=codes).update(problem_code="", problem="")


def _come_back(setup: Setup) -> None:
    """Have the duty look again when something is missing; sooner than it would, never later."""
    due_in = next_due(setup)
    if due_in is not None:
        wake(Setup.objects.filter(pk=setup.pk), after=due_in)


def outside_transactions() -> None:
    """Raises RuntimeError inside a transaction: a provider is never asked while rows are locked."""
    with transaction.atomic(durable=True):
        pass
