"""Phone lines: what a listing of the provider means for them, and for the accounts they back.

Everything here is done under the setup's row lock; the location's comes next and the unique index of numbers last, and
numbers are taken in sorted order: so two setups never wait for each other in a circle.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from uuid import UUID

import structlog
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from provisioning.models import LineNotice, LineStatus, NoticeKind, PhoneLine, Setup, SetupStatus
from provisioning.providers.base import Health, Line
from routing import audit
from routing import services as routing
from routing.errors import Refused
from routing.models import Account, AuditAction, LineState
from routing.phones import InvalidPhone, parse_phone

log = structlog.get_logger("hub.provisioning")


@dataclass
class Reading:
    """What came of a listing: lines that got their number, lines whose health changed, and what could not be, in words
    for operators."""

    assigned: int = 0
    changed: int = 0
    conflicts: list[str] = field(default_factory=list)


def lock_setup(setup: Setup) -> Setup:
    """The setup as it stands now, its row locked until the caller's transaction ends."""
    # Not the lock of a key's change: events of the setup can still be stored meanwhile.
    row: Setup = Setup.objects.select_for_update(no_key=True).get(pk=setup.pk)
    return row


def apply_listing(
    setup: Setup,
    listed: Iterable[Line],
    *,
    adopt: bool,
    first: bool = False,
    were_blocked: Collection[UUID] = frozenset(),
) -> Reading:
    """Bring the lines of `setup`, whose row lock the caller holds, in step with what the provider lists.

    - A number we know: its health is noted, and with it whether its account can send; a health that could not be read
      changes nothing, but for the `first` listing of an account, where being named is enough to be there. Only one of
      `were_blocked`, the lines that were blocked before the provider was asked, can be unblocked by what it answered.
    - A new number goes to the line that has been pending longest. With none pending it becomes a further line only when
      `adopt`, and when no number of ours is missing in the list, for then one may have replaced the other; else it is a
      conflict.
    - A number of ours that is not listed is kept: one odd answer releases nothing. Its health is unknown then.
    - A number that is none, or that another line holds: a conflict; nothing is changed.
    """
    reading = Reading()
    numbers = _numbers(setup, listed, reading)
    ours = {line.phone_number: line for line in assigned_lines(setup)}
    missing = [line for number, line in ours.items() if number not in numbers]
    for line in missing:
        if line.health in (Health.ONLINE, Health.DEGRADED):
            reading.changed += note_health(line, Health.UNKNOWN)
    for number in sorted(numbers):
        if number in ours:
            line = ours[number]
            told = first or numbers[number] is not Health.UNKNOWN
            if told and (line.health != Health.BLOCKED or line.pk in were_blocked):
                reading.changed += note_health(line, numbers[number])
            continue
        waiting: PhoneLine | None = PhoneLine.objects.filter(setup=setup, status=LineStatus.PENDING).first()
        if waiting is not None or (adopt and not missing):
            assign(setup, waiting, number, numbers[number], reading)
        else:
            reading.conflicts.append(f"The provider lists {number}, but no line of this setup waits for a number.")
    return reading


def place_answered(setup: Setup, listed: Iterable[Line], request_id: str) -> Reading:
    """The first lines of a setup, whose row lock the caller holds: those the answer named, and one that is pending when
    it named none, or a request that is outstanding. A number that cannot be leaves its line pending."""
    reading = Reading()
    numbers = _numbers(setup, listed, reading)
    if request_id or not numbers:
        add_pending_line(setup, request_id)
    for number in sorted(numbers):
        assign(setup, add_pending_line(setup), number, numbers[number], reading)
    return reading


def add_pending_line(setup: Setup, request_id: str = "") -> PhoneLine:
    """A line that waits for its number; `request_id` is the provider's, "" when it names none."""
    return PhoneLine.objects.create(location_id=setup.location_id, setup=setup, request_id=request_id)


def assign(setup: Setup, line: PhoneLine | None, number: str, health: Health, reading: Reading) -> None:
    """Give the pending `line` its number and its account, a new one or the one that had this number before.

    `line` None: a further line of the setup. A line that has a number keeps it. A number that is in use is a conflict,
    and whatever was begun for it is undone.
    """
    try:
        with transaction.atomic():
            line = line or add_pending_line(setup)
            account, opened = _account_for(setup, number)
            moved = PhoneLine.objects.filter(pk=line.pk, status=LineStatus.PENDING).update(
                status=LineStatus.ASSIGNED, phone_number=number, assigned_at=Now(), account=account, health=health
            )
            if not moved:
                raise Refused("line_not_pending", "The line has its number already.", status=409)
            _notice(line, NoticeKind.ASSIGNED, number, account.pk, health)
            if opened:
                _record(account, AuditAction.CREATED, "Opened for a phone line that got its number.")
            else:
                _record(account, AuditAction.CHANGED, "A phone line has its number again.")
    except (IntegrityError, Refused):
        # What the database says holds the whole row: it goes nowhere.
        reading.conflicts.append(f"The provider lists {number}, which another line or account has.")
        log.warning("line conflict", setup=str(setup.pk))
        return
    _connect(account, health, credentials_rejected=False)
    Setup.objects.filter(pk=setup.pk, status=SetupStatus.PENDING).update(status=SetupStatus.ACTIVE)
    reading.assigned += 1
    log.info("line assigned", setup=str(setup.pk), line=str(line.pk), account=str(account.pk))


def note_health(line: PhoneLine, health: Health) -> bool:
    """Note how an assigned line does, and whether its account can send with it; True when that was new.

    Unknown and degraded lines can send. A blocked line comes back when it is listed as online, by nothing less.
    """
    if line.health == Health.BLOCKED and health is not Health.ONLINE:
        return False
    assigned = PhoneLine.objects.filter(pk=line.pk, status=LineStatus.ASSIGNED)
    if not assigned.exclude(health=health).update(health=health):
        return False
    if line.account is not None:
        _notice(line, NoticeKind.HEALTH, line.phone_number or "", line.account.pk, health, previous=line.health)
        _connect(line.account, health)
        if Health.BLOCKED in (line.health, health):
            note_block(line.account, blocked=health == Health.BLOCKED)
    log.info("line health", line=str(line.pk), health=str(health))
    return True


def release_lines(setup: Setup) -> None:
    """End every line of a setup; their accounts stop and keep their history. The numbers are free for other lines."""
    accounts = [line.account_id for line in assigned_lines(setup) if line.account_id]
    PhoneLine.objects.filter(setup=setup).exclude(status=LineStatus.RELEASED).update(
        status=LineStatus.RELEASED, released_at=Now()
    )
    routing.update_connection(account_ids=accounts, line_state=LineState.RELEASED)


def assigned_lines(setup: Setup) -> "QuerySet[PhoneLine]":
    """The setup's lines that have a number, with their accounts."""
    return PhoneLine.objects.filter(setup=setup, status=LineStatus.ASSIGNED).select_related("account")


def _numbers(setup: Setup, listed: Iterable[Line], reading: Reading) -> dict[str, Health]:
    """The listed numbers in E.164, each once; what is no number is told in the reading."""
    numbers: dict[str, Health] = {}
    for line in listed:
        try:
            numbers.setdefault(parse_phone(line.phone_number, region=setup.location.region), line.health)
        except InvalidPhone as error:
            reading.conflicts.append(f"The provider lists something that is no phone number: {error.detail}")
    return numbers


def _account_for(setup: Setup, number: str) -> tuple[Account, bool]:
    """The location's account with that number, if no line backs it now; else a new one, and then True.

    Raises Refused or IntegrityError when a line backs it.
    """
    account: Account | None = Account.objects.open().filter(location=setup.location_id, phone_number=number).first()
    if account is not None:
        # A line that ended gives its account on; one that did not keeps it, by the unique column.
        PhoneLine.objects.filter(account=account, status=LineStatus.RELEASED).update(account=None)
        return account, False
    others = PhoneLine.objects.filter(setup=setup, account__isnull=False).count()
    suffix = f" {others + 1}" if others else ""
    longest = Account._meta.get_field("label").max_length or 0
    label = setup.label[: longest - len(suffix)] + suffix
    return routing.open_account(location=setup.location, label=label, phone_number=number), True


def note_block(account: Account, *, blocked: bool = True) -> None:
    """Write into the audit trail that the account's line was blocked, or no longer is."""
    blocks, frees = "The provider blocked its line: nothing is sent from it.", "Its line is no longer blocked."
    _record(account, AuditAction.CHANGED, blocks if blocked else frees)


def _record(account: Account, action: AuditAction, sentence: str) -> None:
    audit.record(by=None, action=action, obj=account, location_id=account.location_id, detail=sentence)


def _notice(
    line: PhoneLine, kind: NoticeKind, number: str, account_id: UUID, health: Health, *, previous: str = ""
) -> None:
    """Note what happened to the line, in the transaction in which it does, for who wants to be told of it."""
    LineNotice.objects.create(
        location_id=line.location_id,
        line=line,
        kind=kind,
        phone_number=number,
        account_id=account_id,
        health=health,
        previous_health=previous,
        due_at=Now(),
    )


def _connect(account: Account, health: Health, *, credentials_rejected: bool | None = None) -> None:
    routing.update_connection(
        account_ids=[account.pk],
        line_state=LineState.ASSIGNED,
        line_blocked=health == Health.BLOCKED,
        connected=health != Health.OFFLINE,
        credentials_rejected=credentials_rejected,
    )
