"""A setup's life: created or connected, retried, given credentials, rotated, abandoned, closed."""

import time
from datetime import timedelta
from uuid import UUID, uuid4

import structlog
from django.conf import settings
from django.db import IntegrityError, InterfaceError, OperationalError, connection, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from provisioning.duties import take
from provisioning.fields import UndecryptableSecret
from provisioning.models import Setup, SetupStatus, new_key
from provisioning.providers.base import (
    Capability,
    Credentials,
    Health,
    NewSubaccount,
    ProviderError,
    Subaccount,
    Unavailable,
    Uncertain,
)
from provisioning.services.inputs import (
    check_area_code,
    checked_credentials,
    checked_texts,
    known_provider,
    refuse_taken_id,
)
from provisioning.services.lines import assigned_lines, lock_setup, note_health, place_answered, release_lines
from provisioning.services.upkeep import LINE_CONFLICT, RUNNING, SECRET_OVERLAP, run_setup_duty
from provisioning.services.upstream import adapter_for, reference_of
from routing import audit
from routing import services as routing
from routing.errors import Refused
from routing.models import ApiKey, AuditAction, Location, User

log = structlog.get_logger("hub.provisioning")

Caller = User | ApiKey | None

SETTLING = timedelta(minutes=1)
"""What is left, after the call's own deadline, to write its answer down before the caller is taken for dead."""
STORE_AGAIN_AFTER_S = (0.2, 1.0, 3.0, 10.0, 20.0)


# --- made -------------------------------------------------------------------------------------------------------------
def create_setup(
    *,
    location: Location,
    business_name: str,
    label: str,
    provider: str | None = None,
    area_code: str = "",
    setup_id: UUID | None = None,
    by: Caller = None,
) -> Setup:
    """Have a subaccount with a line created at the provider, and return the setup as far as it has come.

    The provider is called once, outside of any transaction (RuntimeError inside one). Its answer decides the status:
    `active` with a number, `pending` without one yet, `failed` when it surely created nothing, `unknown` when it may
    have. Raises Refused when the input is not usable; nothing is stored then.

    `setup_id`: an id of the caller's own for the new setup, so that a request that comes twice makes one subaccount.
    Refused then: "setup_exists" (409) where the location has that setup already, "invalid_setup_id" where another has.
    """
    name = known_provider(provider, Capability.CREATE_SUBACCOUNT)
    check_area_code(area_code)
    texts = checked_texts(business_name, label)
    wanted = setup_id or uuid4()
    try:
        with transaction.atomic(durable=True):
            setup = Setup.objects.create(
                id=wanted,
                location=location,
                provider=name,
                area_code=area_code,
                created_by=by if isinstance(by, User) else None,
                due_at=Now(),
                lease_until=Now() + _call_lease(),
                **texts,
            )
            _record(setup, by, "The provider is asked for an account.", action=AuditAction.CREATED)
    except IntegrityError:
        refuse_taken_id(wanted, location)
        raise
    log.info("setup begun", setup=str(setup.pk), reference=reference_of(setup), by=_name_of(by))
    return _provision(setup)


def connect_setup(
    *,
    location: Location,
    business_name: str,
    label: str,
    credentials: Credentials,
    provider: str | None = None,
    by: Caller = None,
) -> Setup:
    """Take over a subaccount that exists: no subaccount is created, its webhooks are registered and every line it has
    becomes one of ours. Credentials that the provider refuses are told by `problem_code` and `credentials_rejected_at`.

    Raises Refused when the input is not usable; RuntimeError inside a transaction.
    """
    name = known_provider(provider)
    texts = checked_texts(business_name, label)
    given = checked_credentials(credentials)
    with transaction.atomic(durable=True):
        setup = Setup.objects.create(
            location=location,
            provider=name,
            created_by=by if isinstance(by, User) else None,
            status=SetupStatus.PENDING,
            **texts,
        )
        take(
            Setup.objects.filter(pk=setup.pk),
            lease=settings.HUB_LEASE,
            credentials_key_id=given.key_id,
            credentials_secret=given.secret,
            credentials_set_at=Now(),
        )
        _record(setup, by, "Connected to an account that was there.", action=AuditAction.CREATED)
    log.info("setup connected", setup=str(setup.pk), by=_name_of(by))
    return _look_after(setup)


def retry_setup(*, setup: Setup, by: Caller = None) -> Setup:
    """Ask the provider for a subaccount once more, as new: another reference, webhook address and secret.

    Only a person may want this: after `unknown` there may be two subaccounts then. Raises Refused("not_retryable", 409)
    unless the setup is `failed` or `unknown`; RuntimeError inside a transaction.
    """
    with transaction.atomic(durable=True):
        row = _locked_in(setup, (SetupStatus.FAILED, SetupStatus.UNKNOWN), "not_retryable")
        take(
            Setup.objects.filter(pk=row.pk),
            lease=_call_lease(),
            status=SetupStatus.PROVISIONING,
            problem_code="",
            problem="",
            webhook_key=new_key(),
            webhook_secret=new_key(),
            webhook_secret_set_at=timezone.now(),
            previous_webhook_secret=None,
            previous_webhook_secret_until=None,
        )
        _record(row, by, "The provider is asked again, as new.")
    log.info("setup retried", setup=str(setup.pk), by=_name_of(by))
    return _provision(setup)


def attach_credentials(*, setup: Setup, credentials: Credentials, by: Caller = None) -> Setup:
    """Give the setup the credentials of its subaccount: after a lost answer, or in place of those it has.

    Webhooks are registered and lines read with them at once. Credentials of another account stop the setup's accounts
    until their numbers are listed there. Raises Refused: "setup_closed" and "setup_busy" (409), or
    on unusable input; RuntimeError inside a transaction.
    """
    given = checked_credentials(credentials)
    with transaction.atomic(durable=True):
        row = _locked_open(setup)
        if not _is_same_account(row, given):
            # Whether that account has these numbers at all is not known before its lines are read.
            for line in assigned_lines(row):
                note_health(line, Health.OFFLINE)
        take(
            Setup.objects.filter(pk=row.pk),
            lease=settings.HUB_LEASE,
            status=row.status if row.status in RUNNING else SetupStatus.PENDING,
            credentials_key_id=given.key_id,
            credentials_secret=given.secret,
            credentials_set_at=Now(),
            credentials_rejected_at=None,
            webhooks_registered_at=None,
            lines_read_at=None,
            problem_code="",
            problem="",
        )
        accounts = assigned_lines(row).values_list("account_id", flat=True)
        routing.update_connection(account_ids=accounts, credentials_rejected=False)
        _record(row, by, "Credentials attached.")
    log.info("credentials attached", setup=str(setup.pk), by=_name_of(by))
    return _look_after(setup)


def _is_same_account(row: Setup, given: Credentials) -> bool:
    """Whether the credentials are of the account that the setup has; not so when that cannot be told."""
    try:
        return row.credentials_key_id is not None and row.credentials_key_id.reveal() == given.key_id
    except UndecryptableSecret:
        return False


def _provision(setup: Setup) -> Setup:
    """The one call to the provider for a setup in `provisioning`, and what follows from its answer."""
    setup = Setup.objects.select_related("location").get(pk=setup.pk)
    wanted = NewSubaccount(
        business_name=setup.business_name, reference=reference_of(setup), area_code=setup.area_code or None
    )
    try:
        answer = adapter_for(setup).create_subaccount(wanted)
    except Uncertain as error:
        _settle(
            setup,
            SetupStatus.UNKNOWN,
            error,
            f"The provider's answer was lost ({error.detail}). The subaccount may exist: look for {wanted.reference} "
            "there, then attach its credentials, try again as new, or abandon.",
        )
    except Unavailable as error:
        _settle(setup, SetupStatus.FAILED, error, f"Nothing was created: {error.detail} It can be tried again.")
    except ProviderError as error:
        _settle(setup, SetupStatus.FAILED, error, f"The provider refused: {error.detail}")
    else:
        if _keep(setup, answer):
            return _look_after(setup)
    return Setup.objects.get(pk=setup.pk)


def _settle(setup: Setup, status: SetupStatus, error: ProviderError, problem: str) -> None:
    """The end of a call that brought nothing; also when its caller was taken for dead meanwhile."""
    Setup.objects.filter(
        pk=setup.pk,
        webhook_key=setup.webhook_key,
        status__in=(SetupStatus.PROVISIONING, SetupStatus.UNKNOWN),
        credentials_key_id__isnull=True,
    ).update(
        status=status,
        problem_code=error.code[:64],
        problem=problem,
        due_at=None,
        lease_until=None,
        fence=F("fence") + 1,
    )
    log.warning("setup not provisioned", setup=str(setup.pk), status=str(status), code=error.code)


def _keep(setup: Setup, answer: Subaccount) -> bool:
    """Store an answer whose credentials are shown only once: a database that is away for a moment does not lose it."""
    for wait_s in STORE_AGAIN_AFTER_S:
        try:
            return _store(setup, answer)
        except (OperationalError, InterfaceError):
            log.warning("answer not stored yet", setup=str(setup.pk))
            connection.close()
            time.sleep(wait_s)
    return _store(setup, answer)


def _store(setup: Setup, answer: Subaccount) -> bool:
    """Credentials, lines and request id in one transaction. False when the setup was settled otherwise meanwhile."""
    with transaction.atomic():
        row = lock_setup(setup)
        waits = row.status in (SetupStatus.PROVISIONING, SetupStatus.UNKNOWN) and row.credentials_key_id is None
        if not waits or row.webhook_key != setup.webhook_key:
            log.error("answer came too late", setup=str(setup.pk), reference=reference_of(setup))
            return False
        take(
            Setup.objects.filter(pk=row.pk),
            lease=settings.HUB_LEASE,
            status=SetupStatus.PENDING,
            credentials_key_id=answer.credentials.key_id,
            credentials_secret=answer.credentials.secret,
            credentials_set_at=Now(),
            problem_code="",
            problem="",
        )
        reading = place_answered(row, answer.lines, answer.request_id or "")
        if reading.conflicts:
            Setup.objects.filter(pk=row.pk).update(problem_code=LINE_CONFLICT, problem=" ".join(reading.conflicts[:5]))
    log.info("setup provisioned", setup=str(setup.pk))
    return True


def _look_after(setup: Setup) -> Setup:
    """Register and read at once, as the worker would that takes over when this process dies here."""
    run_setup_duty(setup=Setup.objects.select_related("location").get(pk=setup.pk))
    return Setup.objects.get(pk=setup.pk)


# --- changed ----------------------------------------------------------------------------------------------------------
def rotate_webhook_secret(*, setup: Setup, by: Caller = None) -> Setup:
    """A new webhook secret, registered at once or by the worker; the one before opens the door for 24 hours more.

    Raises Refused (409): "setup_closed", "setup_busy", "no_subaccount", and "rotation_in_progress" while the provider
    still has the secret before the last rotation, which a further one would shut out; RuntimeError inside a
    transaction.
    """
    with transaction.atomic(durable=True):
        row = _locked_open(setup)
        if row.credentials_key_id is None:
            raise Refused("no_subaccount", "This setup has no subaccount whose webhooks have a secret.", status=409)
        if row.webhooks_registered_at is None and row.previous_webhook_secret is not None:
            raise Refused(
                "rotation_in_progress",
                "The secret of the last rotation has not reached the provider yet; try again when it has.",
                status=409,
            )
        take(
            Setup.objects.filter(pk=row.pk),
            lease=settings.HUB_LEASE,
            webhook_secret=new_key(),
            webhook_secret_set_at=timezone.now(),
            previous_webhook_secret=row.webhook_secret,
            previous_webhook_secret_until=Now() + SECRET_OVERLAP,
            webhooks_registered_at=None,
        )
        _record(row, by, "Webhook secret rotated.")
    log.info("webhook secret rotated", setup=str(setup.pk), by=_name_of(by))
    return _look_after(setup)


# --- ended ------------------------------------------------------------------------------------------------------------
@transaction.atomic
def abandon_setup(*, setup: Setup, by: Caller = None) -> Setup:
    """Give up a setup that never came to be. A subaccount that may exist at the provider is left alone.

    Raises Refused("not_abandonable", 409) unless it is `failed` or `unknown`.
    """
    row = _locked_in(setup, (SetupStatus.FAILED, SetupStatus.UNKNOWN), "not_abandonable")
    _close(row)
    _record(row, by, "Abandoned.")
    log.info("setup abandoned", setup=str(setup.pk), by=_name_of(by))
    return Setup.objects.get(pk=row.pk)


@transaction.atomic
def close_setup(*, setup: Setup, by: Caller = None) -> Setup:
    """Retire a setup: its lines are released, its accounts stop, its webhooks are refused; the history stays.

    The subaccount at the provider is not touched. Again: nothing. Raises Refused("setup_busy", 409) while the provider
    is being called.
    """
    row = lock_setup(setup)
    if row.status == SetupStatus.CLOSED:
        return row
    _locked_open(row)
    release_lines(row)
    _close(row)
    _record(row, by, "Closed: its lines are released and its accounts send nothing any more.")
    log.info("setup closed", setup=str(setup.pk), by=_name_of(by))
    return Setup.objects.get(pk=row.pk)


def _close(row: Setup) -> None:
    Setup.objects.filter(pk=row.pk).update(
        status=SetupStatus.CLOSED, closed_at=Now(), due_at=None, lease_until=None, fence=F("fence") + 1
    )


def _record(setup: Setup, by: Caller, sentence: str, *, action: AuditAction = AuditAction.CHANGED) -> None:
    audit.record(by=by, action=action, obj=setup, location_id=setup.location_id, detail=sentence)


# --- checked ----------------------------------------------------------------------------------------------------------
def _locked_in(setup: Setup, states: tuple[SetupStatus, ...], code: str) -> Setup:
    row = lock_setup(setup)
    if row.status not in states:
        raise Refused(code, f"This cannot be done with a setup that is {row.status}.", status=409)
    return row


def _locked_open(setup: Setup) -> Setup:
    row = lock_setup(setup)
    if row.status == SetupStatus.CLOSED:
        raise Refused("setup_closed", "This setup was closed.", status=409)
    if row.status == SetupStatus.PROVISIONING:
        raise Refused("setup_busy", "The provider is being called for this setup; wait for the answer.", status=409)
    return row


def _call_lease() -> timedelta:
    deadline: timedelta = settings.HUB_CALL_DEADLINE
    return deadline + SETTLING


def _name_of(by: Caller) -> str | None:
    return None if by is None else str(by.pk)
