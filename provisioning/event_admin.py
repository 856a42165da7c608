"""The admin of provider events: verified webhooks as they came."""

import json
import re
from contextlib import suppress
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from provisioning.models import EventOutcome, ProviderEvent
from routing.admin_lists import CursorChangeList
from routing.admin_look import BAD, BUSY, GOOD, QUIET, WARN, badge, moment
from routing.scoped_admin import ReadOnlyAdmin, ScopedRelatedFilter

MAX_SHOWN_BODY = 64 * 1024

OUTCOME_TONES = {
    EventOutcome.WAITING: BUSY,
    EventOutcome.APPLIED: GOOD,
    EventOutcome.IGNORED: QUIET,
    EventOutcome.CONFLICT: BAD,
    EventOutcome.UNREADABLE: BAD,
    EventOutcome.UNKNOWN: WARN,
}
_SECRET_NAME = re.compile(r"secret|token|password|api[-_]?key|credential|authorization", re.IGNORECASE)


def outcome_badge(event: ProviderEvent) -> str:
    """What became of the event, in words."""
    return badge(event.get_outcome_display(), OUTCOME_TONES[EventOutcome(event.outcome)])


def masked(value: Any) -> Any:
    """The value without whatever stands under a name that sounds like a secret."""
    if isinstance(value, dict):
        return {
            name: "[not shown]" if _SECRET_NAME.search(str(name)) and inner not in (None, "") else masked(inner)
            for name, inner in value.items()
        }
    return [masked(inner) for inner in value] if isinstance(value, list) else value


def readable(body: bytes) -> str:
    """A webhook's body for people: indented where it is JSON; at most MAX_SHOWN_BODY characters."""
    text = body.decode("utf-8", "replace")
    with suppress(ValueError, RecursionError):
        text = json.dumps(masked(json.loads(text)), indent=2, ensure_ascii=False)
    return text if len(text) <= MAX_SHOWN_BODY else f"{text[:MAX_SHOWN_BODY]}\n… ({len(text):,} characters in all)"


@admin.register(ProviderEvent)
class ProviderEventAdmin(ReadOnlyAdmin):
    """Verified webhooks, as they came and what became of them."""

    list_display = ("received", "type", "setup", "location", "state", "applied")
    list_select_related = ("setup", "location")
    list_filter = ("outcome", ("location", ScopedRelatedFilter), ("setup", ScopedRelatedFilter))
    lookups = frozenset({"outcome__exact", "location__id__exact", "setup__id__exact"})
    search_fields = ("type", "provider_id")
    search_help_text = "Type or the provider's id of the message"
    ordering = ("-received_at", "id")
    list_per_page = 50
    fields = ("received", "type", "setup", "location", "state", "detail", "applied", "provider_id", "topic", "content")
    readonly_fields = fields

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[CursorChangeList]:
        """Never counted."""
        return CursorChangeList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Without the bodies, which a list has no use for."""
        return super().get_queryset(request).defer("body")

    @admin.display(description="received")
    def received(self, event: ProviderEvent) -> str:
        """When it came in."""
        return moment(event.received_at)

    @admin.display(description="outcome")
    def state(self, event: ProviderEvent) -> str:
        """What became of it."""
        return outcome_badge(event)

    @admin.display(description="applied")
    def applied(self, event: ProviderEvent) -> str:
        """When it was worked off."""
        return moment(event.applied_at)

    @admin.display(description="body")
    def content(self, event: ProviderEvent) -> str:
        """What the provider sent."""
        return format_html('<pre class="hub-body" tabindex="0" aria-label="Body">{}</pre>', readable(bytes(event.body)))
