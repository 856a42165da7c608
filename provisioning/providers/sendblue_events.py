"""What Sendblue's webhooks and message objects say: tables of its words, and readers that never raise.

Sources and trust: the fields of `receive`, `outbound` and status callbacks are documented (vendor's site 2025, types of
its SDK Aug 2026) and were captured by a third party (May 2026). The bodies of `line_assigned`, `line_blocked`,
`call_log` and `contact_created` are documented nowhere; those of the event stream only as an envelope. So what kind an
event is of comes from the URL it was registered for, and every field may be missing, empty or of another type.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from provisioning.providers.base import (
    Event,
    FactKind,
    InboundEvent,
    LineHint,
    Parsed,
    StatusEvent,
    TypingEvent,
    UnknownEvent,
)
from provisioning.providers.http import clean, error_code

STATUS_WORDS: Mapping[str, FactKind] = {
    # Documented (SDK types, Aug 2026); what each means was observed by third parties.
    "REGISTERED": FactKind.ACCEPTED,
    "PENDING": FactKind.ACCEPTED,
    "QUEUED": FactKind.ACCEPTED,
    "ACCEPTED": FactKind.ACCEPTED,
    "SENT": FactKind.SENT,
    "DELIVERED": FactKind.DELIVERED,
    "DECLINED": FactKind.FAILED,
    "ERROR": FactKind.FAILED,
    # In the vendor's site of 2025, gone from the types of 2026: taken if it comes, never waited for.
    "READ": FactKind.READ,
}
# Codes that say what became of a message. 5509 and SMS_LIMIT_REACHED: third parties quoting the vendor; the others
# documented. 10002 is the vendor not knowing, and the vendor says that not all codes are documented.
FINAL_CODES = frozenset({"4000", "4001", "4002", "5000", "5003", "5509", "10001", "SMS_LIMIT_REACHED"})
UNRESOLVED_CODE = "10002"
# Refused because of pace: the same message can be accepted later.
PACE_CODES = frozenset({"4001", "5003", "5509", "SMS_LIMIT_REACHED"})

RECEIVE, OUTBOUND, TYPING = "receive", "outbound", "typing_indicator"
LINE_ASSIGNED, LINE_BLOCKED = "line_assigned", "line_blocked"
# The classic types are documented; so are the words of the event stream, which are mapped onto them.
KINDS: Mapping[str, str] = {
    "receive": RECEIVE,
    "outbound": OUTBOUND,
    "typing_indicator": TYPING,
    "line_assigned": LINE_ASSIGNED,
    "line_blocked": LINE_BLOCKED,
    "call_log": "call_log",
    "contact_created": "contact_created",
    "message.received": RECEIVE,
    "message.created": OUTBOUND,
    "message.updated": OUTBOUND,
    "typing.changed": TYPING,
    "line.assigned": LINE_ASSIGNED,
    "line.unassigned": LINE_ASSIGNED,
    "line.status.changed": LINE_ASSIGNED,
    "line.blocked": LINE_BLOCKED,
    "contact.created": "contact_created",
}
MAX_TYPE, MAX_KEY, MAX_NUMBER, MAX_ID = 64, 200, 64, 200


def parse(body: Any, *, topic: str) -> Parsed:
    """What a webhook says; see `Adapter.parse`.

    A message's direction is told by `is_outbound`, because own sends come back on the same URLs. An inbound event may
    have the line number "" (a group whose numbers are a list): the setup's only line is meant then, or nobody knows.
    Notices that carry neither an id nor a time of their own repeat under the same key for ever.
    """
    topic = clean(topic, limit=MAX_TYPE)
    if not isinstance(body, dict):
        return _unknown(topic or "unknown", body)
    word, inner, event_id = _word(body), body, ""
    if isinstance(body.get("data"), dict) and ("version" in body or "occurred_at" in body or word in KINDS):
        inner, event_id = body["data"], text(body.get("id"), MAX_ID)
    kind = KINDS.get(word) or KINDS.get(topic) or ("" if word else _guess(inner))
    shown = word if word in KINDS else topic or kind or word or "unknown"
    event, key = _event(kind, inner, body)
    if event is None:
        return _unknown(shown, body, event_id)
    if event_id:
        key = f"id:{event_id}"
    elif not key:
        key = f"digest:{digest(shown, body)}"
    return Parsed(type=shown, dedup_key=_short(key), events=(event,))


def _event(kind: str, inner: dict[Any, Any], body: dict[Any, Any]) -> tuple[Event | None, str]:
    """The event and its key; None where the kind or a field it needs is missing, "" where it has no key of its own."""
    if kind in (RECEIVE, OUTBOUND):
        return _message(kind, inner)
    if kind == TYPING:
        return _typing(inner), ""
    if kind == LINE_ASSIGNED:
        return LineHint(assigned_number=_line_number(inner) or _line_number(body)), ""
    if kind == LINE_BLOCKED:
        return LineHint(blocked_number=_line_number(inner) or _line_number(body)), ""
    return None, ""


def status_event(message: dict[Any, Any]) -> StatusEvent | None:
    """What a message object tells of a message that we sent; None when it names none."""
    handle = text(message.get("message_handle"), MAX_ID)
    if not handle:
        return None
    word = text(message.get("status"), 32).upper()
    code = error_code(message.get("error_code"))
    fact = STATUS_WORDS.get(word, FactKind.UNKNOWN)
    if fact is FactKind.FAILED and word == "ERROR" and code and code not in FINAL_CODES:
        fact = FactKind.UNKNOWN
    words = next(filter(None, (text(message.get(f"error_{key}"), 300) for key in ("message", "detail", "reason"))), "")
    return StatusEvent(
        provider_id=handle,
        fact=fact,
        at=moment(message.get("date_updated")) or moment(message.get("date_sent")),
        code=code,
        detail=clean(words, limit=300),
        service=service_of(message),
        raw_status=word,
    )


def service_of(message: Mapping[Any, Any]) -> str:
    """How it travels, in the provider's word; a downgrade without one is an SMS."""
    return text(message.get("service"), 16) or ("SMS" if message.get("was_downgraded") is True else "")


def _message(kind: str, message: dict[Any, Any]) -> tuple[Event | None, str]:
    handle = text(message.get("message_handle"), MAX_ID)
    if not handle:
        return None, ""
    if _is_outbound(kind, message):
        event = status_event(message)
        word, updated = text(message.get("status"), 32), text(message.get("date_updated"), 64)
        # With the code: an ERROR of an unknown fate is another event than the ERROR that settles it.
        return event, f"status:{handle}:{word.upper()}:{error_code(message.get('error_code'))}:{updated}"
    customer = _number(message, "from_number", "number")
    if not customer:
        return None, ""
    links = message.get("media_urls")
    given = [message.get("media_url"), *(links if isinstance(links, list) else [])]
    media = dict.fromkeys(link for link in (text(value, 2000) for value in given) if link)
    inbound = InboundEvent(
        provider_id=handle,
        from_number=customer,
        line_number=_number(message, "sendblue_number", "to_number"),
        text=text(message.get("content")),
        media_urls=tuple(media),
        at=moment(message.get("date_sent")) or moment(message.get("date_updated")),
        service=service_of(message),
        group_id=text(message.get("group_id"), MAX_ID),
        opted_out=message.get("opted_out") is True,
    )
    return inbound, f"receive:{handle}"


def _is_outbound(kind: str, message: Mapping[Any, Any]) -> bool:
    told = message.get("is_outbound")
    if isinstance(told, bool):
        return told
    if isinstance(told, str) and told.lower() in ("true", "false"):
        return told.lower() == "true"
    word = text(message.get("status"), 32).upper()
    return word in STATUS_WORDS or (kind == OUTBOUND and word != "RECEIVED")


def _typing(body: Mapping[Any, Any]) -> TypingEvent | None:
    """`number`, `is_typing`, `from_number` and `timestamp` are documented; `number` is the customer everywhere else."""
    customer, is_typing = _number(body, "number", "from_number"), body.get("is_typing")
    if not customer or not isinstance(is_typing, bool):
        return None
    line = next(
        (other for other in (_number(body, key) for key in ("sendblue_number", "to_number", "from_number"))
         if other and other != customer),
        "",
    )  # fmt: skip
    return TypingEvent(customer, line, is_typing, moment(body.get("timestamp")))


def _line_number(body: Mapping[Any, Any]) -> str | None:
    """The body is undocumented. `sendblue_number` is our line in every documented object; `number` may not be."""
    return _number(body, "sendblue_number", "line_number", "phone_number", "line", "number") or None


def _word(body: Mapping[Any, Any]) -> str:
    words = (clean(text(body.get(key)), limit=MAX_TYPE) for key in ("event_type", "type", "event"))
    return next(filter(None, words), "")


def _guess(body: Mapping[Any, Any]) -> str:
    if isinstance(body.get("is_typing"), bool):
        return TYPING
    word = text(body.get("status"), 32).upper()
    if "message_handle" not in body or not ("is_outbound" in body or word == "RECEIVED" or word in STATUS_WORDS):
        return ""
    return RECEIVE if word == "RECEIVED" else OUTBOUND


def _number(body: Mapping[Any, Any], *keys: str) -> str:
    """The first of the keys that holds one number; groups have lists there, which name nobody."""
    return next(filter(None, (text(body.get(key), MAX_NUMBER).strip() for key in keys)), "")


def _unknown(kind: str, body: Any, event_id: str = "") -> Parsed:
    key = f"id:{event_id}" if event_id else f"digest:{digest(kind, body)}"
    return Parsed(type=kind, dedup_key=_short(key), events=(UnknownEvent(kind),))


def _short(key: str) -> str:
    return key if len(key) <= MAX_KEY else f"digest:{hashlib.sha256(key.encode()).hexdigest()}"


def text(value: Any, limit: int | None = None) -> str:
    """The string, without what no database keeps (NUL, lone surrogates); "" for anything else, or if it is longer."""
    if not isinstance(value, str):
        return ""
    value = value.replace("\x00", "").encode("utf-8", "replace").decode()
    return value if limit is None or len(value) <= limit else ""


def moment(value: Any) -> datetime | None:
    """A time in ISO 8601 (UTC if it names no zone) or in seconds or milliseconds since 1970; None for anything else."""
    try:
        if isinstance(value, str):
            told = datetime.fromisoformat(value.strip())
            return told.astimezone(UTC) if told.tzinfo else told.replace(tzinfo=UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value / 1000 if value > 1e11 else value, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None


def digest(kind: str, body: Any) -> str:
    """A digest of any decoded JSON, equal for equal values whatever the order of their keys. Without recursion."""
    sha, waiting = hashlib.sha256(kind.encode()), [body]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            sha.update(b"{%d" % len(value))
            for key in sorted(value, key=str, reverse=True):
                waiting += (value[key], key)
        elif isinstance(value, list):
            sha.update(b"[%d" % len(value))
            waiting += reversed(value)
        else:
            sha.update(ascii(value).encode() + b"\n")
    return sha.hexdigest()
