"""What people and programs do with webhook endpoints: make, change, rotate, try, switch, replay."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from messaging import outside
from messaging.delivery.doorbell import doorbell
from messaging.models import (
    DeliveryState,
    DisabledReason,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
)
from messaging.models.webhooks import CHOSEN_TYPES
from messaging.webhooks_out import outbox, sending, signing
from provisioning.fields import Sealed
from routing import audit
from routing.errors import Refused
from routing.models import ApiKey, AuditAction, Location, User

MAX_ENDPOINTS = 20
"""Of one location: each gets everything it asks for, and nobody needs as many."""
SECRET_OVERLAP = timedelta(hours=24)
"""How long the secret before a rotation signs as well."""

Caller = User | ApiKey | None


def create(
    *,
    location: Location,
    url: str,
    event_types: Sequence[str] = (),
    description: str = "",
    by: Caller = None,
    id: uuid.UUID | None = None,  # noqa: A002  (what it is)
) -> tuple[WebhookEndpoint, str]:
    """A new endpoint, and its secret in clear: nobody is shown it again.

    Raises Refused: ("invalid_url", 400), ("invalid_event_type", 400), ("too_many_endpoints", 409), ("made_already",
    409) when `id` is that of one which is there.
    """
    check_url(url)
    secret = signing.new_secret()
    with transaction.atomic():
        # Two at once count one after the other.
        Location.objects.select_for_update(no_key=True).get(pk=location.pk)
        if WebhookEndpoint.objects.there().filter(location=location).count() >= MAX_ENDPOINTS:
            raise Refused(
                "too_many_endpoints", f"A location has at most {MAX_ENDPOINTS} endpoints; delete one.", status=409
            )
        try:
            with transaction.atomic():
                endpoint = WebhookEndpoint.objects.create(
                    id=id or uuid.uuid4(),
                    location=location,
                    url=url,
                    event_types=check_types(event_types),
                    description=description,
                    secret=secret,
                    created_by=by if isinstance(by, User) else None,
                )
        except IntegrityError:
            raise Refused("made_already", "This was made already.", status=409) from None
    return endpoint, secret


def check_url(url: str) -> None:
    """Raises Refused("invalid_url") for an address that is no plain https address, or lies in a private network as far
    as its text tells; the name is looked up with every delivery."""
    try:
        parsed = outside.checked(url, trusted=settings.HUB_WEBHOOK_TRUSTED_HOSTS, any_port=True)
    except outside.Refused:
        parsed = None
    if parsed is None or parsed.fragment is not None:
        raise Refused(
            "invalid_url",
            "Give a plain https address on the public internet, without a user name and without #.",
            field="url",
        )


def check_types(names: Sequence[str]) -> list[str]:
    """The types in their own order, each once. Raises Refused("invalid_event_type")."""
    if unknown := set(names) - set(CHOSEN_TYPES):
        raise Refused("invalid_event_type", f"There is no event type {min(unknown)}.", field="event_types")
    return [kind.value for kind in CHOSEN_TYPES if kind.value in names]


def change(*, endpoint: WebhookEndpoint, changes: Mapping[str, Any]) -> WebhookEndpoint:
    """Set `url`, `description`, `event_types` as far as `changes` names them. Raises Refused as `create` does."""
    columns = dict(changes)
    if "url" in columns:
        check_url(columns["url"])
    if "event_types" in columns:
        columns["event_types"] = check_types(columns["event_types"])
    if columns:
        WebhookEndpoint.objects.filter(pk=endpoint.pk).update(**columns)
    return WebhookEndpoint.objects.get(pk=endpoint.pk)


@transaction.atomic
def rotate(*, endpoint: WebhookEndpoint, end_previous: bool, by: Caller) -> str:
    """A new secret, in clear, for this once. The one so far signs beside it for SECRET_OVERLAP, or no more at all when
    `end_previous`: it is known to somebody.

    Raises Refused("rotation_under_way", 409) while the one before still signs: it would end without a word.
    """
    row = sending.lock_endpoint(endpoint.pk)
    until = row.previous_secret_until
    if not end_previous and until is not None and until > timezone.now():
        raise Refused(
            "rotation_under_way",
            f"The secret was rotated less than {SECRET_OVERLAP.total_seconds() // 3600:.0f} hours ago, and the one "
            "before still signs. Wait until that is over, or end it at once.",
            status=409,
        )
    secret = signing.new_secret()
    WebhookEndpoint.objects.filter(pk=row.pk).update(
        secret=Sealed.of(secret),
        secret_set_at=Now(),
        previous_secret=None if end_previous else row.secret,
        previous_secret_until=None if end_previous else Now() + SECRET_OVERLAP,
    )
    _record(row, by, "Secret rotated; the old one ended." if end_previous else "Secret rotated.")
    return secret


@transaction.atomic
def enable(*, endpoint: WebhookEndpoint, by: Caller) -> bool:
    """Let it get events again, at first what waits for it; False when it did already."""
    row = sending.lock_endpoint(endpoint.pk)
    enabled = WebhookEndpoint.objects.filter(pk=row.pk, disabled_at__isnull=False).update(
        disabled_at=None, disabled_reason="", failing_since=None
    )
    if enabled:
        _of(row, DeliveryState.PENDING).update(due_at=Now(), first_tried_at=None, attempts=0)
        _record(row, by, "Enabled.")
        doorbell().ring()
    return bool(enabled)


@transaction.atomic
def disable(*, endpoint: WebhookEndpoint, by: Caller) -> bool:
    """Send it nothing any more, until it is enabled; what happens meanwhile is not kept for it. False when it was so
    already."""
    row = sending.lock_endpoint(endpoint.pk)
    disabled = sending.stop(row, DisabledReason.PERSON)
    if disabled:
        _record(row, by, "Disabled: what happens from now on is not told.")
    return disabled


@transaction.atomic
def delete(*, endpoint: WebhookEndpoint, by: Caller) -> None:
    """Forget it: at once for everybody who looks, and its rows as housekeeping comes to them."""
    row = sending.lock_endpoint(endpoint.pk)
    sending.stop(row, DisabledReason.PERSON)
    # Not the row itself: somebody may be storing an event for it at this moment.
    WebhookEndpoint.objects.filter(pk=row.pk).update(deleted_at=Now(), previous_secret=None)
    audit.record(by=by, action=AuditAction.DELETED, obj=row, location_id=row.location_id)


@transaction.atomic
def send_test(*, endpoint: WebhookEndpoint) -> WebhookEvent:
    """Have a `webhook.test` event delivered to it. Raises Refused("endpoint_disabled", 409)."""
    row = sending.lock_endpoint(endpoint.pk)
    _require_enabled(row)
    return outbox.note_test(row)


@transaction.atomic
def replay(*, delivery: WebhookDelivery) -> None:
    """Deliver it again, under the same id and as it was, whatever came of it; one that waits is tried now.

    Raises Refused("endpoint_disabled", 409).
    """
    row = sending.lock_endpoint(delivery.endpoint_id)
    _require_enabled(row)
    _again(WebhookDelivery.objects.filter(pk=delivery.pk, endpoint=row))


@transaction.atomic
def replay_failed(*, endpoint: WebhookEndpoint, since: datetime, by: Caller) -> int:
    """Deliver again what was given up and happened at `since` or later; how many that is. Raises
    Refused("endpoint_disabled", 409)."""
    row = sending.lock_endpoint(endpoint.pk)
    _require_enabled(row)
    count = _again(_of(row, DeliveryState.FAILED).filter(created_at__gte=since))
    _record(row, by, f"{count} given-up deliveries replayed.")
    return count


def _again(rows: QuerySet[WebhookDelivery]) -> int:
    free = rows.exclude(lease_until__gt=Now())
    count = free.update(
        state=DeliveryState.PENDING,
        due_at=Now(),
        lease_until=None,
        fence=F("fence") + 1,
        attempts=0,
        first_tried_at=None,
        ended_at=None,
    )
    if count:
        doorbell().ring()
    return count


def _of(endpoint: WebhookEndpoint, state: DeliveryState) -> QuerySet[WebhookDelivery]:
    return WebhookDelivery.objects.filter(endpoint=endpoint, state=state)


def _require_enabled(endpoint: WebhookEndpoint) -> None:
    if not endpoint.is_enabled:
        raise Refused("endpoint_disabled", "The endpoint is disabled: enable it first.", status=409)


def _record(endpoint: WebhookEndpoint, by: Caller, sentence: str) -> None:
    audit.record(by=by, action=AuditAction.CHANGED, obj=endpoint, location_id=endpoint.location_id, detail=sentence)
