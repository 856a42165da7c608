"""The queue: the message rows themselves. Who takes one, who may move it on, and what an outcome does to it.

| from → to                              | by                          | guard                                        |
|----------------------------------------|-----------------------------|----------------------------------------------|
| scheduled → queued                     | `claiming.claim_due`        | due, not expired                             |
| queued → claimed                       | `claiming.claim_due`        | due, head of its conversation, pace, budget  |
| claimed → queued                       | `give_back`, `sweep`        | fence; or the lease is over                  |
| claimed → sending                      | `begin`                     | fence, lease, expiry, account, consent       |
| sending → accepted, rejected, queued   | `settle_*`                  | fence                                        |
| sending → uncertain                    | `settle_uncertain`, `sweep` | fence; or the lease is over                  |
| uncertain (queued, …) → accepted       | `evidence.note_accepted`    | none: evidence only ever adds                |
| uncertain → accepted                   | messaging.desk, a person    | state                                        |
| uncertain → queued                     | messaging.desk, a person    | state, nothing known of it at the provider   |
| scheduled, queued, claimed → cancelled | messaging.services, batches | state                                        |
| scheduled, queued → expired            | `sweep`                     | state                                        |

Each is one conditional UPDATE whose row count is checked. Leases run by the database's clock. Only where a person has
an uncertain message queued again can a second text be born.
"""

import hashlib
import random
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import F, Min, Q
from django.db.models.functions import Coalesce, Now

from messaging.delivery import evidence
from messaging.models import Attempt, Direction, DispatchState, Message
from messaging.webhooks_out.outbox import note_statuses
from provisioning.duties import lock_some
from provisioning.providers.base import Accepted, AccountRejected, ProviderError, Rejected, Unavailable

FIRST_WAIT = timedelta(seconds=2)
LONGEST_WAIT = timedelta(minutes=10)
FIRST_LOOKUP = timedelta(seconds=5)
SWEPT = 1000
WAITING = [DispatchState.SCHEDULED, DispatchState.QUEUED]
ACCOUNT_TRIES = 3
"""After so many refusals that blamed the account, while it serves others, a message is taken to be at fault itself."""


@dataclass(frozen=True)
class Begun:
    """The intent to send: recorded and committed. `token` is in this attempt's callback URL, and only there."""

    attempt: Attempt
    token: str


def give_back(message: Message, *, due_in: timedelta | None = None, **changes: Any) -> bool:
    """A claimed message that was not begun goes back to the queue, at once or after `due_in`."""
    if due_in is not None:
        changes["due_at"] = Now() + due_in
    return _move(message, DispatchState.CLAIMED, dispatch_state=DispatchState.QUEUED, lease_until=None, **changes)


def begin(messages: Sequence[Message], *, lease: timedelta) -> dict[UUID, Begun]:
    """Record the intent to send claimed messages, in one commit before the first byte of any; by message, those that
    may be sent: the others may not, or not any more.

    The last point where a cancellation, the expiry, an opt-out or a stopped account wins.
    """
    fences = {message.pk: message.fence for message in messages}
    with transaction.atomic():
        free = Message.objects.filter(
            Q(exempt_from_opt_out=True) | Q(contact__opted_out_at=None),
            pk__in=fences,
            dispatch_state=DispatchState.CLAIMED,
            account__can_send=True,
            lease_until__gt=Now(),
            expires_at__gt=Now(),
        )
        locked = free.select_for_update(of=("self",), no_key=True).order_by("pk").values_list("pk", "fence")
        mine = {pk for pk, fence in locked if fence == fences[pk]}
        begun = {message.pk: _intent(message) for message in messages if message.pk in mine}
        Message.objects.filter(pk__in=mine).update(
            dispatch_state=DispatchState.SENDING, attempt_count=F("attempt_count") + 1, lease_until=Now() + lease
        )
        Attempt.objects.bulk_create([one.attempt for one in begun.values()])
    return begun


def _intent(message: Message) -> Begun:
    token = secrets.token_urlsafe(32)
    attempt = Attempt(
        location_id=message.location_id,
        message_id=message.pk,
        account=message.sender,
        fence=message.fence,
        token_digest=token_digest(token),
    )
    return Begun(attempt=attempt, token=token)


def token_digest(token: str) -> str:
    """What is kept of a callback token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def refuse(message: Message, *, code: str, detail: str, **changes: Any) -> bool:
    """A claimed message that must not be sent is rejected, with the reason."""
    with transaction.atomic():
        refused = _move(
            message,
            DispatchState.CLAIMED,
            dispatch_state=DispatchState.REJECTED,
            code=code,
            detail=detail,
            due_at=None,
            lease_until=None,
            **changes,
        )
        if refused:
            note_statuses([message.pk])
    return refused


def settle_all_accepted(taken: Sequence[tuple[Message, Begun, Accepted]]) -> None:
    """As `settle_accepted`, for many in few statements and one commit."""
    try:
        with transaction.atomic():
            closed = evidence.note_all_accepted([(message, accepted) for message, _, accepted in taken])
            for message, _, accepted in taken:
                if message.pk not in closed:
                    evidence.note_second_id(message, accepted.provider_id)
            _close([begun for _, begun, _ in taken], outcome="accepted")
    except IntegrityError:
        for message, begun, accepted in taken:
            settle_accepted(message, begun, accepted)


def settle_accepted(message: Message, begun: Begun, accepted: Accepted) -> None:
    """The provider took it. An id that another message has proves nothing of this one: that is uncertain. A second id
    of this one is told: it may have been sent twice."""
    try:
        with transaction.atomic():
            if not evidence.note_accepted(message, accepted):
                evidence.note_second_id(message, accepted.provider_id)
            _close([begun], outcome="accepted")
    except IntegrityError:
        settle_uncertain(
            message,
            begun,
            ProviderError("provider_id_reused", "The provider answered with the id of another message."),
        )


def settle_rejected(message: Message, begun: Begun, error: Rejected) -> None:
    """The provider will never take it."""
    with transaction.atomic():
        _close([begun], outcome="rejected", code=error.code, detail=error.detail)
        _move(
            message,
            DispatchState.SENDING,
            dispatch_state=DispatchState.REJECTED,
            code=error.code[:64],
            detail=error.detail,
            due_at=None,
            lease_until=None,
        )
        note_statuses([message.pk])


def settle_not_sent(message: Message, begun: Begun, error: ProviderError) -> timedelta:
    """Surely nothing left: back to the queue after a while; how long that is."""
    retry_after = error.retry_after if isinstance(error, Unavailable) else None
    wait = max(backoff(message.attempt_count), min(retry_after or timedelta(0), timedelta(hours=1)))
    _back_to_queue(message, begun, error, outcome="not_sent", wait=wait)
    return wait


def settle_account_rejected(message: Message, begun: Begun, error: AccountRejected) -> bool:
    """Refused because of the account: the message waits for it, and the try does not count. False when this was refused
    again and again while the account served others: then it is the message's fault, it is rejected, and its account
    need not stop."""
    refused = Attempt.objects.filter(message=message.pk, outcome="account_rejected", code=error.code[:64])
    tries = refused.count()
    since = refused.aggregate(at=Min("started_at"))["at"]
    others = Attempt.objects.filter(account=message.sender, outcome="accepted", started_at__gt=since) if since else None
    if tries + 1 >= ACCOUNT_TRIES and others is not None and others.exists():
        settle_rejected(message, begun, error)
        return False
    wait = backoff(message.attempt_count + tries)
    _back_to_queue(message, begun, error, outcome="account_rejected", wait=wait, attempt_count=F("attempt_count") - 1)
    return True


def _back_to_queue(
    message: Message, begun: Begun, error: ProviderError, *, outcome: str, wait: timedelta, **changes: Any
) -> None:
    with transaction.atomic():
        _close([begun], outcome=outcome, code=error.code, detail=error.detail)
        _move(
            message,
            DispatchState.SENDING,
            dispatch_state=DispatchState.QUEUED,
            code=error.code[:64],
            detail=error.detail,
            due_at=Now() + wait,
            lease_until=None,
            **changes,
        )


def settle_uncertain(message: Message, begun: Begun, error: ProviderError) -> None:
    """It may have left: it is asked after, and never sent again by itself."""
    with transaction.atomic():
        _close([begun], outcome="uncertain", code=error.code, detail=error.detail)
        moved = _move(message, DispatchState.SENDING, code=error.code[:64], detail=error.detail, **_uncertain())
        if not moved:
            # Late: the sweeper gave it to another meanwhile. A retry that has not begun is pulled back.
            Message.objects.filter(
                pk=message.pk,
                fence__gte=message.fence,
                dispatch_state__in=[DispatchState.QUEUED, DispatchState.CLAIMED],
            ).update(code=error.code[:64], detail=error.detail, fence=F("fence") + 1, **_uncertain())
        note_statuses([message.pk])


def _uncertain() -> dict[str, Any]:
    return {
        "dispatch_state": DispatchState.UNCERTAIN,
        "uncertain_at": Coalesce(F("uncertain_at"), Now()),
        "lookup_at": Now() + FIRST_LOOKUP,
        "due_at": None,
        "lease_until": None,
    }


def sweep() -> dict[str, int]:
    """Bring back what dead workers held, and end what is too late; how many of each.

    Claimed goes back to the queue: nothing can have left. Sending becomes uncertain, never queued: it may have.
    """
    over = Message.objects.filter(lease_until__lte=Now())
    outbound = Message.objects.filter(direction=Direction.OUTBOUND)
    return {
        "requeued": over.filter(dispatch_state=DispatchState.CLAIMED).update(
            dispatch_state=DispatchState.QUEUED, lease_until=None, fence=F("fence") + 1
        ),
        "uncertain": _end(
            over.filter(dispatch_state=DispatchState.SENDING),
            code="worker_lost",
            detail="The worker that was sending this ended before it wrote down how it went.",
            fence=F("fence") + 1,
            **_uncertain(),
        ),
        "expired": _end(
            outbound.filter(dispatch_state__in=WAITING, expires_at__lte=Now()),
            dispatch_state=DispatchState.EXPIRED,
            code="expired",
            detail="It could not be sent before its expiry.",
            due_at=None,
        ),
    }


def _end(rows: Any, **changes: Any) -> int:
    """Change all of the `rows`, up to SWEPT, and tell of it; how many that is."""
    if not rows.exists():
        return 0
    with transaction.atomic():
        ids = [row.pk for row in lock_some(rows.only("pk"), limit=SWEPT)]
        changed = Message.objects.filter(pk__in=ids).update(**changes)
        note_statuses(ids)
    return int(changed)


def backoff(attempts: int) -> timedelta:
    """How long to wait before try number `attempts` + 2: full jitter below a doubling bound, 2 s to 10 min."""
    bound = min(FIRST_WAIT * 2 ** min(attempts, 10), LONGEST_WAIT)
    return max(FIRST_WAIT, timedelta(seconds=bound.total_seconds() * random.random()))  # noqa: S311  (no secret)


def _mine(message: Message, state: DispatchState) -> Any:
    return Message.objects.filter(pk=message.pk, fence=message.fence, dispatch_state=state)


def _move(message: Message, state: DispatchState, **changes: Any) -> bool:
    return bool(_mine(message, state).update(**changes))


def _close(begun: Sequence[Begun], *, outcome: str, code: str = "", detail: str = "") -> None:
    # One that its own callback proved stays accepted.
    Attempt.objects.filter(pk__in=[one.attempt.pk for one in begun]).exclude(outcome="accepted").update(
        ended_at=Now(), outcome=outcome, code=code[:64], detail=detail
    )
