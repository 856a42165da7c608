"""Reading the fields of requests; each function raises SandboxError when the value is none of its kind."""

from __future__ import annotations

import re
from datetime import datetime
from urllib.parse import urlsplit

from .store import Webhook
from .wire import SandboxError

_E164 = re.compile(r"\+[1-9]\d{6,14}")


def is_e164(value: object) -> bool:
    """Whether it is a phone number like +12125550123; asks no further whether the number is in use."""
    return isinstance(value, str) and _E164.fullmatch(value) is not None


def listed(value: object) -> list[object]:
    if not isinstance(value, list):
        raise SandboxError("webhooks", "webhooks must be an array")
    return value


def webhook(kind: str, entry: object) -> Webhook:
    if isinstance(entry, str):
        return Webhook(kind, checked_url(entry), None)
    if kind == "contact_created" or not isinstance(entry, dict) or not isinstance(entry.get("url"), str):
        raise SandboxError("webhooks", "Invalid webhook URL")
    given = entry.get("secret")
    return Webhook(kind, checked_url(entry["url"]), secret(given) if given else None)


def secret(value: object) -> str:
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        raise SandboxError("secret", "A secret must be a string of printable characters")
    return value


def checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1) and len(url) <= 2048
    except ValueError:
        usable = False
    if not usable or not url.isascii() or not url.isprintable() or " " in url:
        raise SandboxError("url", "Invalid URL")
    return url


def moment_of(value: str) -> float:
    try:
        moment = datetime.fromisoformat(value.replace(" ", "+"))
    except ValueError:
        raise SandboxError("time", "Times must be ISO 8601") from None
    if moment.tzinfo is None:
        raise SandboxError("time", "Times must carry a zone")
    return moment.timestamp()


def whole_number(query: dict[str, str], name: str, default: int) -> int:
    value = query.get(name, str(default))
    if not re.fullmatch(r"\d{1,9}", value):
        raise SandboxError(name, f"{name} must be a whole number")
    return int(value)
