"""Writes down what clients are to be told, in the transaction in which it happens: rolled back with it, never lost.

An event's id is made of what happened. So the same status of the same message is told once, whoever notes it and how
often; a status that is reached again later is not told again.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from django.db import transaction
from django.db.models import QuerySet, prefetch_related_objects
from django.db.models.functions import Now
from django.utils import timezone

from messaging.delivery.doorbell import doorbell
from messaging.models import (
    Direction,
    EventType,
    Message,
    MessageStatus,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
)
from messaging.webhooks_out import payloads
from provisioning.models import LineNotice

NAMESPACE = UUID("6f1d3d34-5b0a-4b7c-9d0e-3c0d9b6a7f52")
"""Of the ids of events; another one would tell everything anew."""

TOLD = frozenset(
    {
        MessageStatus.ACCEPTED,
        MessageStatus.SENT,
        MessageStatus.DELIVERED,
        MessageStatus.READ,
        MessageStatus.FAILED,
        MessageStatus.UNCERTAIN,
        MessageStatus.CANCELLED,
        MessageStatus.EXPIRED,
        MessageStatus.RECEIVED,
    }
)
"""Statuses that something follows from. Scheduled and queued is what the answer to the request said; sending lasts for
moments."""


def note_statuses(message_ids: Sequence[UUID]) -> None:
    """Tell of the status that each of the messages has now; of a received message, that it came.

    To be called inside the transaction that changed them, after the change: a few statements for any number, and one
    where no endpoint of their locations is enabled. Raises RuntimeError outside a transaction.
    """
    if not transaction.get_connection().in_atomic_block:
        raise RuntimeError("What happened and that it is told are one transaction.")
    if not message_ids:
        return
    messages = Message.objects.filter(pk__in=message_ids)
    endpoints = _endpoints(messages.values("location"))
    if not endpoints:
        return
    wanted = _wanted_kinds(endpoints) & {EventType.MESSAGE_STATUS, EventType.MESSAGE_RECEIVED}
    found = messages.filter(location__in=endpoints.keys(), status__in=TOLD)
    if EventType.MESSAGE_RECEIVED not in wanted:
        found = found.filter(direction=Direction.OUTBOUND)
    if EventType.MESSAGE_STATUS not in wanted:
        found = found.filter(direction=Direction.INBOUND)
    now = timezone.now()
    rows = list(found.select_related("account").order_by("position"))
    prefetch_related_objects([row for row in rows if row.direction == Direction.INBOUND], "attachments")
    _store([_of_message(row, now) for row in rows], endpoints)


def note_lines(notices: Sequence[LineNotice]) -> None:
    """Tell of what was noted of lines, in that order; each of `notices` with its line. In the caller's transaction."""
    locations = {notice.location_id for notice in notices}
    endpoints = _endpoints(locations)
    if endpoints:
        _store([_of_line(notice) for notice in notices], endpoints)


def note_test(endpoint: WebhookEndpoint) -> WebhookEvent:
    """Send the endpoint, and no other, an event that says nothing. In the caller's transaction."""
    now = timezone.now()
    data = {"location": str(endpoint.location_id), "endpoint": str(endpoint.pk)}
    # Each is a conversation of its own: it waits for nobody.
    event = _Happened(
        id=uuid5(endpoint.pk, now.isoformat()),
        location_id=endpoint.location_id,
        kind=EventType.TEST,
        data=data,
        conversation=uuid5(endpoint.pk, now.isoformat()),
        at=now,
    )
    _store([event], {endpoint.location_id: [endpoint]})
    return WebhookEvent.objects.get(pk=event.id)


@dataclass(frozen=True)
class _Happened:
    id: UUID
    location_id: UUID
    kind: EventType
    data: Mapping[str, Any]
    conversation: UUID
    at: datetime


Endpoints = Mapping[UUID, Sequence[WebhookEndpoint]]


def _endpoints(locations: "Collection[UUID] | QuerySet[Any, Any]") -> Endpoints:
    """The enabled endpoints of each of the locations that have any."""
    found: dict[UUID, list[WebhookEndpoint]] = defaultdict(list)
    for endpoint in WebhookEndpoint.objects.enabled().filter(location__in=locations).only("location", "event_types"):
        found[endpoint.location_id].append(endpoint)
    return found


def _wanted_kinds(endpoints: Endpoints) -> set[EventType]:
    every = [endpoint for some in endpoints.values() for endpoint in some]
    return {kind for kind in EventType if any(endpoint.wants(kind) for endpoint in every)}


def _of_message(message: Message, now: datetime) -> _Happened:
    received = message.direction == Direction.INBOUND
    return _Happened(
        id=uuid5(NAMESPACE, f"message:{message.pk}:{message.status}"),
        location_id=message.location_id,
        kind=EventType.MESSAGE_RECEIVED if received else EventType.MESSAGE_STATUS,
        data=payloads.message_received(message) if received else payloads.message_status(message),
        conversation=message.contact_id,
        at=now,
    )


def _of_line(notice: LineNotice) -> _Happened:
    kind, data = payloads.line(notice)
    return _Happened(
        id=uuid5(NAMESPACE, f"line:{notice.line_id}:{notice.pk}"),
        location_id=notice.location_id,
        kind=kind,
        data=data,
        conversation=notice.line_id,
        at=notice.at,
    )


def _store(happened: Iterable[_Happened], endpoints: Endpoints) -> None:
    """The events that somebody wants, and a delivery to each who does; nothing for what is there already."""
    told = [
        (one, wanting)
        for one in happened
        if (wanting := [to for to in endpoints.get(one.location_id, ()) if _gets(to, one.kind)])
    ]
    if not told:
        return
    WebhookEvent.objects.bulk_create(
        [
            WebhookEvent(
                id=one.id,
                location_id=one.location_id,
                type=one.kind,
                body=payloads.body(one.kind, dict(one.data), at=one.at),
                conversation=one.conversation,
                created_at=one.at,
            )
            for one, _ in told
        ],
        ignore_conflicts=True,
    )
    WebhookDelivery.objects.bulk_create(
        [
            WebhookDelivery(
                location_id=one.location_id,
                endpoint=endpoint,
                event_id=one.id,
                conversation=one.conversation,
                due_at=Now(),
            )
            for one, wanting in told
            for endpoint in wanting
        ],
        ignore_conflicts=True,
    )
    doorbell().ring()


def _gets(endpoint: WebhookEndpoint, kind: EventType) -> bool:
    return kind is EventType.TEST or endpoint.wants(kind)
