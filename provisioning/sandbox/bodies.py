"""The JSON bodies of the emulated provider: messages, receipts, notices about lines."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from .store import Account, Line, Message

_ANSWER_KEYS = (
    "accountEmail", "content", "is_outbound", "status", "error_code", "error_message", "message_handle", "date_sent",
    "date_updated", "from_number", "number", "to_number", "was_downgraded", "plan", "media_url", "message_type",
    "group_id", "participants", "send_style", "opted_out", "error_detail",
)  # fmt: skip


def iso(moment: float) -> str:
    """Epoch seconds as the provider writes them: milliseconds and Z."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def message_object(message: Message, account: Account) -> dict[str, Any]:
    """The message as callbacks, webhooks and look-ups show it: the keys of the vendor's captured `receive` events."""
    line = message.shown_from or message.line
    return {
        "accountEmail": account.email,
        "content": message.content,
        "is_outbound": message.is_outbound,
        "status": message.status,
        "error_code": message.error_code,
        "error_message": message.error_message,
        "error_reason": None,
        "message_handle": message.handle,
        "date_sent": iso(message.created_at),
        "date_updated": iso(message.updated_at),
        "from_number": line if message.is_outbound else message.number,
        "number": message.number,
        "to_number": message.number if message.is_outbound else line,
        "was_downgraded": message.was_downgraded,
        "plan": "dedicated",
        "media_url": message.media_url,
        "message_type": "message",
        "group_id": "",
        "participants": [],
        "send_style": message.send_style,
        "opted_out": False,
        "error_detail": None,
        "sendblue_number": line,
        "service": message.service,
        "group_display_name": "",
    }


def send_answer(message: Message, account: Account) -> dict[str, Any]:
    """The answer to a send: the keys of the vendor's documented sample, which has neither service nor line."""
    whole = message_object(message, account)
    return {key: whole[key] for key in _ANSWER_KEYS}


def line_assigned(number: str, account: Account) -> dict[str, Any]:
    """Notice that a number was placed. The vendor documents no body; these keys follow a published invented sample."""
    return {"event_type": "line_assigned", "number": number, "status": "assigned", "accountEmail": account.email}


def odd_line_assigned(number: str, moment: float) -> dict[str, Any]:
    """The same notice in a quite different shape, near the vendor's event stream, to see who relies on the first."""
    return {
        "version": 1,
        "id": f"evt_{uuid.uuid4().hex}",
        "type": "line.assigned",
        "occurred_at": iso(moment),
        "data": {"line": {"e164": number, "state": "active"}},
    }


def line_blocked(number: str, account: Account) -> dict[str, Any]:
    """Notice that a line was blocked; undocumented by the vendor as well."""
    return {
        "event_type": "line_blocked",
        "number": number,
        "sendblue_number": number,
        "status": "blocked",
        "accountEmail": account.email,
    }


def line_state(line: Line) -> dict[str, Any]:
    """One row of the lines' state. How the vendor shows a blocked line isn't known: here it is OFFLINE."""
    changed = iso(line.changed_at)
    return {
        "worker_id": f"worker-{line.id}",
        "sendblue_number": line.number,
        "assignment": "assigned",
        "status": "OFFLINE" if line.status == "BLOCKED" else line.status,
        "degraded_since": changed if line.status == "DEGRADED" else None,
        "effective_until": None,
        "status_changed_at": changed,
    }
