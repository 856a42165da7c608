"""The admin's home, lists and searches, as a location admin opens them."""

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from benchmarks.lists_data import RARE, Filled
from benchmarks.pages import Row
from messaging.models import Message

LIMIT_MS = 150.0
"""What a page of messages or conversations may cost the database."""

OF_TWO = frozenset(
    {
        "messages",
        "messages: status failed",
        "messages: status sending (none)",
        "messages: received",
        "messages: rule any available",
        "messages: today",
        "messages: a rare name",
    }
)
"""Rows that are measured for somebody with two locations as well, which no single index has in order."""


def rows(filled: Filled) -> list[Row]:
    """The pages, those that this hub has."""
    return [
        Row("home", reverse("admin:index"), LIMIT_MS),
        *_messages(filled),
        *_conversations(),
        Row("contacts", _list("routing_contact")),
        Row("contacts: a rare name", _list("routing_contact", q=RARE)),
        Row("contacts: a number", _list("routing_contact", q="0000014")),
        Row("accounts", _list("routing_account")),
        Row("setups", _list("provisioning_setup")),
    ]


def _messages(filled: Filled) -> list[Row]:
    day = timezone.localdate() - timedelta(days=30)
    middle = Message.objects.order_by("position")[filled.messages // 2].position
    asked: dict[str, dict[str, Any]] = {
        "messages": {},
        "messages: a page in the middle": {"before": middle},
        "messages: status delivered": {"status": "delivered"},
        "messages: status failed": {"status": "failed"},
        "messages: status uncertain": {"status": "uncertain"},
        "messages: status sending (none)": {"status": "sending"},
        "messages: received": {"direction__exact": "inbound"},
        "messages: sent": {"direction__exact": "outbound"},
        "messages: one account": {"account__id__exact": filled.account.pk},
        "messages: one account, failed": {"account__id__exact": filled.account.pk, "status": "failed"},
        "messages: rule default account": {"rule": "default_account"},
        "messages: rule any available": {"rule": "any_available"},
        "messages: rule one-time override": {"rule": "temporary_override"},
        "messages: rule override, failed": {"rule": "manual_override", "status": "failed"},
        "messages: rule one-time, failed (none)": {"rule": "temporary_override", "status": "failed"},
        "messages: number switched": {"number_switch__exact": "1"},
        "messages: today": {"date": "today"},
        "messages: three days a month ago": {"from": day, "to": day + timedelta(days=2)},
        "messages: three days, failed": {"from": day, "to": day + timedelta(days=2), "status": "failed"},
        "messages: three days, a rare rule": {"from": day, "to": day + timedelta(days=2), "rule": "any_available"},
        "messages: a rare name": {"q": RARE},
        "messages: a common name": {"q": "Castro"},
        "messages: a number": {"q": "0000014"},
        "messages: no such name": {"q": "Nobody of that name"},
    }
    known = admin.site.get_model_admin(Message).lookups | {"q", "before"}  # type: ignore[attr-defined]
    return [
        Row(f"{name}{', of two locations' * of_two}", _list("messaging_message", **query), LIMIT_MS, of_two)
        for name, query in asked.items()
        for of_two in (False, True)
        if known >= set(query) and (not of_two or name in OF_TWO)
    ]


def _conversations() -> list[Row]:
    try:
        return [
            Row("conversations", _list("messaging_thread"), LIMIT_MS),
            Row("conversations: unread", _list("messaging_thread", unread="yes"), LIMIT_MS),
            Row("conversations: a rare name", _list("messaging_thread", q=RARE), LIMIT_MS),
            Row("conversations: a common name", _list("messaging_thread", q="Castro"), LIMIT_MS),
            Row("conversations: a number", _list("messaging_thread", q="0000014"), LIMIT_MS),
        ]
    except NoReverseMatch:
        return []


def _list(model: str, **query: Any) -> str:
    address = reverse(f"admin:{model}_changelist")
    return f"{address}?{urlencode(query)}" if query else address
