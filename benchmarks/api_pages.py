"""The API's lists, as a program reads them with its location's key."""

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.test import Client
from django.urls import reverse
from django.utils import timezone

from benchmarks.admin_pages import LIMIT_MS
from benchmarks.lists_data import RARE, Filled
from benchmarks.pages import Row


def rows(filled: Filled) -> list[Row]:
    """Lists, filters, a later page."""
    day = timezone.now() - timedelta(days=30)
    asked: dict[str, dict[str, Any]] = {
        "": {},
        ": 200 on a page": {"page_size": 200},
        ": status failed": {"status": "failed"},
        ": received": {"direction": "inbound"},
        ": rule any available": {"rule": "any_available"},
        ": one account": {"account": filled.account.pk},
        ": three days a month ago": {
            "created_after": day.isoformat(),
            "created_before": (day + timedelta(days=3)).isoformat(),
        },
    }
    messages = [_row(f"messages{name}", "message", query, LIMIT_MS) for name, query in asked.items()]
    return [
        *messages,
        Row("API messages: the next page", _next_page(filled), LIMIT_MS, by_key=True),
        _row("messages: a rare name", "message", {"search": RARE}),
        _row("contacts", "contact"),
        _row("contacts: a rare name", "contact", {"search": RARE}),
        _row("accounts", "account"),
        _row("setups", "setup"),
    ]


def _row(name: str, view: str, query: dict[str, Any] | None = None, limit_ms: float | None = None) -> Row:
    address = reverse(f"{view}-list")
    return Row(f"API {name}", f"{address}?{urlencode(query)}" if query else address, limit_ms, by_key=True)


def _next_page(filled: Filled) -> str:
    client = Client(headers={"host": "localhost", "authorization": f"Bearer {filled.key}"})
    address: str = client.get(reverse("message-list"), {"page_size": 200}).json()["next"]
    return address.partition("localhost")[2]
