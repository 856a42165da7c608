"""Delivers events to endpoints: in order of each conversation, some at once, again for three days, at least once.

Everything that moves deliveries of an endpoint holds that endpoint's row lock, for one short transaction: taking them,
settling them, and what people do. No transaction is open while an endpoint is asked.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, zip_longest
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Count, Exists, F, Min, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from messaging.models import (
    DeliveryState,
    DisabledReason,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
)
from messaging.outside import Exchange, Refused, TryLater, exchange
from messaging.webhooks_out import signing
from provisioning.duties import finish, lock_some
from provisioning.fields import UndecryptableSecret
from provisioning.providers.http import clean, retry_after
from routing import audit
from routing.models import AuditAction

log = structlog.get_logger("hub.webhooks")

AT_ONCE = 4
"""Deliveries to one endpoint at once, over all workers; one at a time while it fails."""
FIRST_WAIT = timedelta(seconds=5)
LONGEST_WAIT = timedelta(hours=6)
GIVE_UP_AFTER = timedelta(days=3)
"""From the first try of a delivery to its last; and how long an endpoint may fail before it is disabled."""
SCANNED = 100
"""Due deliveries of an endpoint that are looked at together."""
SCANS = 20
"""So often at one look, when all of them wait for others."""
MAX_ANSWER_BYTES = 4 * 1024
MAX_ANSWER_LENGTH = 500
GONE = 410


# --- taken ------------------------------------------------------------------------------------------------------------
def take_due(limit: int) -> Sequence[WebhookDelivery]:
    """Claim up to `limit` due deliveries, each the first of its conversation at its endpoint, and at no endpoint more
    than it is to get at once; of many endpoints each gets its turn."""
    due = _free().filter(endpoint=OuterRef("pk"), due_at__lte=Now())
    lanes = WebhookEndpoint.objects.enabled().filter(Exists(due)).order_by("?")
    if not lanes.exists():
        return []
    with transaction.atomic():
        endpoints = lock_some(lanes, limit=limit)
        busy = _busy(endpoints)
        runs = [_heads(endpoint, room=_room(endpoint) - busy.get(endpoint.pk, 0)) for endpoint in endpoints]
        in_turn = (one for turn in zip_longest(*runs) for one in turn if one is not None)
        ids = list(islice(in_turn, limit))
        WebhookDelivery.objects.filter(pk__in=ids).update(
            lease_until=Now() + settings.HUB_LEASE, fence=F("fence") + 1, attempts=F("attempts") + 1
        )
        # Read back with the new fence.
        return list(WebhookDelivery.objects.filter(pk__in=ids).select_related("endpoint", "event").order_by("id"))


def _free() -> QuerySet[WebhookDelivery]:
    return WebhookDelivery.objects.filter(Q(lease_until=None) | Q(lease_until__lte=Now()))


def _room(endpoint: WebhookEndpoint) -> int:
    return AT_ONCE if endpoint.failing_since is None else 1


def _busy(endpoints: Sequence[WebhookEndpoint]) -> dict[UUID, int]:
    leased = WebhookDelivery.objects.filter(endpoint__in=endpoints, lease_until__gt=Now())
    return dict(leased.values_list("endpoint").annotate(Count("pk")).order_by())


def _heads(endpoint: WebhookEndpoint, *, room: int) -> list[int]:
    """The ids of up to `room` due deliveries that wait for nobody. The others that were looked at are put aside until
    it is their turn: `_settle` wakes the next of a conversation."""
    heads: list[int] = []
    rows = _free().filter(endpoint=endpoint, due_at__lte=Now()).order_by("due_at", "id")
    for _ in range(SCANS if room > 0 else 0):
        seen = lock_some(rows.only("conversation"), limit=SCANNED)
        pending = WebhookDelivery.objects.filter(
            endpoint=endpoint, state=DeliveryState.PENDING, conversation__in={row.conversation for row in seen}
        )
        firsts = set(
            pending.order_by().values("conversation").annotate(first=Min("pk")).values_list("first", flat=True)
        )
        heads = [row.pk for row in seen if row.pk in firsts]
        WebhookDelivery.objects.filter(pk__in=[row.pk for row in seen if row.pk not in firsts]).update(due_at=None)
        if heads or len(seen) < SCANNED:
            break
    return heads[: max(room, 0)]


# --- delivered --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Result:
    """What came of one try. `status` None: no answer, and `problem` says why."""

    started: datetime
    duration: timedelta
    status: int | None = None
    answer: str = ""
    problem: str = ""
    retry_after: timedelta | None = None

    @property
    def is_success(self) -> bool:
        """Any 2xx."""
        return self.status is not None and 200 <= self.status < 300


def deliver(delivery: WebhookDelivery) -> str:
    """Try one claimed delivery and write down what came of it; a word for the log.

    A worker that dies in between leaves its lease: the event is sent again, under the same id.
    """
    result = _post(delivery)
    return _settle(delivery, result)


def _post(delivery: WebhookDelivery) -> Result:
    endpoint, event = delivery.endpoint, delivery.event
    started = timezone.now()

    def over(**found: object) -> Result:
        return Result(started, timezone.now() - started, **found)  # type: ignore[arg-type]

    try:
        signed = signing.headers(
            event_id=event.pk, body=event.body, secrets_now=_secrets(endpoint, started), at=started
        )
        with exchange(
            "POST",
            endpoint.url,
            deadline_s=settings.HUB_CALL_DEADLINE.total_seconds(),
            headers={"Content-Type": "application/json", **signed},
            body=event.body.encode(),
            trusted=settings.HUB_WEBHOOK_TRUSTED_HOSTS,
            any_port=True,
        ) as answer:
            wait = retry_after(answer.response.headers.get("Retry-After"))
            return over(
                status=answer.status, answer=_excerpt(answer), problem=_why_not(answer.status), retry_after=wait
            )
    except (Refused, TryLater, UndecryptableSecret) as error:
        return over(problem=str(error)[:200])


def _secrets(endpoint: WebhookEndpoint, at: datetime) -> list[str]:
    """The secrets that are valid then, the newest first. Raises UndecryptableSecret."""
    sealed = [endpoint.secret]
    until = endpoint.previous_secret_until
    if endpoint.previous_secret is not None and until is not None and until > at:
        sealed.append(endpoint.previous_secret)
    return [one.reveal() for one in sealed]


def _excerpt(answer: Exchange) -> str:
    """The beginning of the body. The status says it all: a body that does not end, or breaks, changes nothing."""
    content = b""
    try:
        for chunk in answer.chunks(MAX_ANSWER_BYTES):
            content += chunk
            if len(content) >= MAX_ANSWER_BYTES:
                break
    except Exception as error:  # noqa: BLE001  (the receiver's nonsense, of any kind)
        log.info("webhook answer broke", error=type(error).__name__)
    return clean(content[:MAX_ANSWER_BYTES].decode("utf-8", "replace"), limit=MAX_ANSWER_LENGTH)


def _why_not(status: int) -> str:
    if 300 <= status < 400:
        return "It answered with a redirect, which is not followed: give the address it leads to."
    return ""


# --- settled ----------------------------------------------------------------------------------------------------------
@transaction.atomic
def _settle(delivery: WebhookDelivery, result: Result) -> str:
    endpoint = lock_endpoint(delivery.endpoint_id)
    WebhookAttempt.objects.create(
        location_id=delivery.location_id,
        delivery=delivery,
        at=result.started,
        duration_ms=round(result.duration.total_seconds() * 1000),
        status_code=result.status,
        answer=result.answer,
        problem=result.problem,
    )
    if result.is_success:
        _note_working(endpoint)
        return _end(delivery, result, DeliveryState.DELIVERED)
    _note_failing(endpoint, result)
    first = delivery.first_tried_at or result.started
    left = first + GIVE_UP_AFTER - result.started
    if result.status == GONE or left <= timedelta(0):
        return _end(delivery, result, DeliveryState.FAILED)
    wait = min(max(backoff(delivery.attempts), result.retry_after or timedelta(0)), left)
    # Of a disabled endpoint it stays pending, and is due when the endpoint is enabled again.
    is_enabled = WebhookEndpoint.objects.enabled().filter(pk=endpoint.pk).exists()
    finish(
        delivery,
        due_in=wait if is_enabled else None,
        attempts=delivery.attempts,
        status_code=result.status,
        first_tried_at=first,
    )
    return "failed"


def _end(delivery: WebhookDelivery, result: Result, state: DeliveryState) -> str:
    ended = finish(
        delivery,
        due_in=None,
        attempts=delivery.attempts,
        state=state,
        ended_at=Now(),
        status_code=result.status,
        first_tried_at=delivery.first_tried_at or result.started,
    )
    if not ended:
        return "taken back"
    following = WebhookDelivery.objects.filter(
        endpoint=delivery.endpoint_id, conversation=delivery.conversation, state=DeliveryState.PENDING
    )
    next_one = following.order_by("id").values("pk")[:1]
    WebhookDelivery.objects.filter(pk__in=next_one, endpoint__disabled_at=None, due_at=None).update(due_at=Now())
    return state.value


def _note_working(endpoint: WebhookEndpoint) -> None:
    """It answers again: what waits for another try need not wait any longer."""
    if endpoint.failing_since is None:
        return
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(failing_since=None)
    if timezone.now() - endpoint.failing_since > LONG_FAILING:
        WebhookDelivery.objects.filter(endpoint=endpoint, due_at__gt=Now()).update(due_at=Now())


LONG_FAILING = timedelta(minutes=10)
"""An endpoint that failed for longer was down; one that fails now and then has trouble with single events."""


def _note_failing(endpoint: WebhookEndpoint, result: Result) -> None:
    since = endpoint.failing_since or result.started
    WebhookEndpoint.objects.filter(pk=endpoint.pk, failing_since=None).update(failing_since=since)
    if result.status == GONE:
        stop(endpoint, DisabledReason.GONE)
    elif result.started - since >= GIVE_UP_AFTER:
        stop(endpoint, DisabledReason.FAILING)


def stop(endpoint: WebhookEndpoint, reason: DisabledReason) -> bool:
    """Send the endpoint nothing any more, by a locked row; what waits for it is kept. False when it was so already."""
    stopped = WebhookEndpoint.objects.filter(pk=endpoint.pk, disabled_at=None).update(
        disabled_at=Now(), disabled_reason=reason
    )
    if not stopped:
        return False
    WebhookDelivery.objects.filter(endpoint=endpoint, due_at__isnull=False).update(due_at=None)
    if reason is not DisabledReason.PERSON:
        audit.record(
            by=None,
            action=AuditAction.CHANGED,
            obj=endpoint,
            location_id=endpoint.location_id,
            detail=f"Disabled: {reason.label}. What waits for it is kept.",
        )
        log.warning("webhook endpoint disabled", endpoint=str(endpoint.pk), reason=reason.value)
    return True


def lock_endpoint(pk: UUID) -> WebhookEndpoint:
    """The endpoint as it stands now, its row locked until the caller's transaction ends."""
    # Not the lock of a key's change: events for it can still be stored meanwhile.
    row: WebhookEndpoint = WebhookEndpoint.objects.select_for_update(no_key=True).get(pk=pk)
    return row


def backoff(attempts: int) -> timedelta:
    """How long to wait after try number `attempts`: full jitter below a doubling bound, 10 s to 6 h."""
    bound: timedelta = min(FIRST_WAIT * 2 ** min(attempts, 16), LONGEST_WAIT)
    return max(FIRST_WAIT, bound * random.random())  # noqa: S311  (no secret)
