"""The admin's side bar: what there is, in the order in which a location's people need it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.urls import reverse

from messaging.admin_counts import uncertain_count, unread_count
from routing.models import User


@dataclass(frozen=True)
class Place:
    """One entry: the list of a model, or the page that `view` names. `count(user)` stands beside it, with `words`."""

    model: str
    icon: str
    label: str
    view: str = ""
    count: Callable[[User], str] | None = None
    words: str = ""


SECTIONS: tuple[tuple[str, tuple[Place, ...]], ...] = (
    (
        "Messaging",
        (
            Place("messaging.thread", "messages-square", "Conversations", count=unread_count, words="unread"),
            Place("messaging.message", "send", "Messages"),
            Place("messaging.messagebatch", "inbox", "Batches"),
            Place(
                "messaging.message",
                "circle-help",
                "Desk",
                view="messaging_message_desk",
                count=uncertain_count,
                words="to decide",
            ),
            Place("routing.contact", "users", "Contacts"),
        ),
    ),
    (
        "Numbers",
        (
            Place("routing.account", "smartphone", "Accounts"),
            Place("provisioning.setup", "layout-grid", "Setups"),
            Place("provisioning.providerevent", "webhook", "Provider events"),
        ),
    ),
    (
        "Administration",
        (
            Place("routing.membership", "user", "Team"),
            Place("routing.invitation", "user-plus", "Invitations"),
            Place("routing.apikey", "key-round", "API keys"),
            Place("routing.location", "building-2", "Locations"),
            Place("routing.user", "shield-check", "Users"),
            Place("routing.auditentry", "scroll-text", "Audit"),
        ),
    ),
)


def navigation(site: AdminSite, request: HttpRequest) -> Sequence[dict[str, Any]]:
    """The sections with what this user may open; `current` marks where they are."""
    home = {"label": "Home", "icon": "house", "url": reverse("admin:index")}
    home["current"] = request.path == home["url"]  # type: ignore[assignment]
    sections: list[dict[str, Any]] = [{"title": "", "items": [home]}]
    registered = {model._meta.label_lower: admin for model, admin in site._registry.items()}  # noqa: SLF001  (no other way)
    for title, places in SECTIONS:
        items = [
            _item(place, request)
            for place in places
            if place.model in registered and registered[place.model].has_module_permission(request)
        ]
        if items:
            sections.append({"title": title, "items": items})
    _mark_current(sections, request.path)
    return sections


def _item(place: Place, request: HttpRequest) -> dict[str, Any]:
    name = place.view or f"{place.model.replace('.', '_')}_changelist"
    count = place.count(request.user) if place.count and isinstance(request.user, User) else ""
    return {
        "label": place.label,
        "icon": place.icon,
        "url": reverse(f"admin:{name}"),
        "count": count,
        "count_words": place.words if count else "",
        "current": False,
    }


def _mark_current(sections: Sequence[dict[str, Any]], path: str) -> None:
    """The entry whose address begins this page's, the longest of them."""
    items = [item for section in sections[1:] for item in section["items"] if path.startswith(item["url"])]
    if items:
        max(items, key=lambda item: len(item["url"]))["current"] = True
