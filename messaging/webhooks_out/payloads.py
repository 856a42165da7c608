"""What each type of event says. Names are those of the HTTP API, so that one reader serves both."""

import json
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.urls import reverse

from messaging.models import EventType, Message
from provisioning.models import LineNotice, NoticeKind
from routing.models import Account

Data = dict[str, Any]


def body(kind: EventType, data: Data, *, at: datetime) -> str:
    """The body that is signed and sent: ASCII, whatever somebody wrote."""
    return json.dumps({"type": kind.value, "timestamp": _moment(at), "data": data}, separators=(",", ":"))


def message_status(message: Message) -> Data:
    """Of an outbound message: where it stands and why. Without its words, which the sender knows."""
    account = message.account
    return {
        **_who(message),
        "to": message.contact_number,
        "from": account.phone_number if account else None,
        "code": message.code or None,
        "detail": message.detail or None,
        "failed_code": message.failed_code or None,
        "conflict": message.conflict,
        "metadata": message.metadata,
        "scheduled_at": _moment(message.scheduled_at),
        "accepted_at": _moment(message.accepted_at),
        "sent_at": _moment(message.sent_at),
        "delivered_at": _moment(message.delivered_at),
        "read_at": _moment(message.read_at),
        "failed_at": _moment(message.failed_at),
        "created_at": _moment(message.created_at),
    }


def message_received(message: Message) -> Data:
    """Of an inbound message: all of it. A file is there once the hub has fetched it; until then its address is 404."""
    account = message.account
    return {
        **_who(message),
        "to": account.phone_number if account else None,
        "from": message.contact_number,
        "text": message.text,
        "attachments": [
            {"order": one.order, "url": _attachment_url(message, one.order)} for one in message.attachments.all()
        ],
        "created_at": _moment(message.created_at),
    }


def line(notice: LineNotice) -> tuple[EventType, Data]:
    """Of a line that got its number, or does better or worse."""
    data = {
        "id": str(notice.line_id),
        "location": str(notice.location_id),
        "setup": str(notice.line.setup_id),
        "account": str(notice.account_id),
        "phone_number": notice.phone_number,
        "health": notice.health,
    }
    if notice.kind == NoticeKind.ASSIGNED:
        return EventType.LINE_ASSIGNED, data
    return EventType.LINE_HEALTH, {**data, "previous_health": notice.previous_health}


def _who(message: Message) -> Data:
    return {
        "id": str(message.pk),
        "location": str(message.location_id),
        "status": message.status,
        "direction": message.direction,
        "contact": str(message.contact_id),
        "account": _account(message.account),
        "service": message.service or None,
    }


def _account(account: Account | None) -> Data | None:
    if account is None:
        return None
    return {
        "id": str(account.pk),
        "index": account.index,
        "label": account.label,
        "phone_number": account.phone_number,
    }


def _attachment_url(message: Message, order: int) -> str:
    return f"{settings.HUB_PUBLIC_URL}{reverse('message-attachment', args=[message.pk, order])}"


def _moment(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")
