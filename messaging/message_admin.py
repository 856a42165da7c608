"""The admin of messages: to read, to understand why a number was chosen, and to cancel what has not left."""

import json
import re
from contextlib import suppress
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.text import Truncator

from messaging import services
from messaging.attachment_pages import AttachmentPages, attachment_row
from messaging.message_words import SHORT_RULES, STATUS_TONES, told
from messaging.models import Direction, DispatchState, Message, MessageStatus
from routing.admin_lists import ChoiceFilter, CursorChangeList
from routing.admin_look import WARN, badge, moment, phone
from routing.admin_operations import Operation, OperationsAdmin
from routing.errors import Refused
from routing.models import Contact, Role, User
from routing.scoped_admin import MAX_SEARCH_LENGTH, ReadOnlyAdmin, ScopedRelatedFilter, may, user_of
from routing.selection import Rule

MAX_FOUND_CONTACTS = 200
_NUMBER = re.compile(r"[0-9+().\-/ ]*[0-9][0-9+().\-/ ]*")


class StatusFilter(ChoiceFilter):
    """By what people see; one index has this order."""

    title = "status"
    parameter_name = "status"
    answers = tuple((status.value, str(status.label)) for status in MessageStatus)


class RuleFilter(ChoiceFilter):
    """By the rule that chose the number."""

    title = "rule"
    parameter_name = "rule"
    answers = tuple((rule.value, words) for rule, words in SHORT_RULES.items())


def _cancel(user: User, message: Message, data: dict[str, Any]) -> str:
    services.cancel(message=message)
    return "Cancelled: it is not sent."


def _waits(message: Message) -> bool:
    waiting = (DispatchState.QUEUED, DispatchState.SCHEDULED, DispatchState.CLAIMED)
    return message.direction == Direction.OUTBOUND and message.dispatch_state in waiting


@admin.register(Message)
class MessageAdmin(AttachmentPages, OperationsAdmin, ReadOnlyAdmin):
    """Messages, newest first. Workers move them, so nothing here is a form."""

    list_display = ("when", "direction", "contact", "from_account", "rule_words", "state", "excerpt", "location")
    list_select_related = ("contact", "account", "location")
    list_filter = (
        StatusFilter,
        "direction",
        RuleFilter,
        "number_switch",
        ("location", ScopedRelatedFilter),
        ("account", ScopedRelatedFilter),
    )
    lookups = frozenset(
        {
            "status",
            "direction__exact",
            "rule",
            "number_switch__exact",
            "location__id__exact",
            "account__id__exact",
            "account__isnull",
            "contact__id__exact",
        }
    )
    search_fields = ("id",)
    search_help_text = "The contact's name or number, or an id of ours or the provider's"
    ordering = ("-position",)
    sortable_by = ()
    list_per_page = 50
    actions = ("cancel",)
    fieldsets = (
        (None, {"fields": ("direction", "contact", "account", "location", "state", "problem")}),
        ("Message", {"fields": ("content", "media_list")}),
        ("Why this number", {"fields": ("decision",)}),
        ("What happened", {"fields": ("attempt_list", "event_list")}),
        (
            "Times",
            {"fields": ("created", "scheduled", "accepted", "sent", "delivered", "read", "failed", "expires")},
        ),
        ("More", {"fields": ("id", "provider_id", "service", "send_style", "extra"), "classes": ("collapse",)}),
    )
    readonly_fields = tuple(name for _, options in fieldsets for name in options["fields"])  # type: ignore[misc]
    operations = (
        Operation(
            name="cancel",
            label="Cancel message",
            run=_cancel,
            by=Role.AGENT,
            shown=_waits,
            question="It is not sent. This cannot be undone.",
            danger=True,
        ),
    )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[CursorChangeList]:
        """Never counted."""
        return CursorChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """By contact first, through the contacts of the user's locations: the texts themselves are not searched."""
        term = search_term.replace("\0", "").strip()[:MAX_SEARCH_LENGTH]
        if not term:
            return queryset, False
        digits = re.sub(r"[^0-9]", "", term) if _NUMBER.fullmatch(term) else ""
        named = Q(phone_number__contains=digits) if digits else Q(name__icontains=term)
        contacts = Contact.objects.visible_to(user_of(request)).filter(named)
        found = Q(contact__in=list(contacts.values_list("pk", flat=True)[:MAX_FOUND_CONTACTS])) | Q(provider_id=term)
        with suppress(ValueError):
            found |= Q(pk=UUID(term))
        return queryset.filter(found), False

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Whether the user may cancel anywhere; each message is asked for again."""
        return self.permits(request, Role.AGENT)

    @admin.action(permissions=["cancel"], description="Cancel what has not left yet")
    def cancel(self, request: HttpRequest, queryset: QuerySet[Message]) -> None:
        """Cancels the queued and scheduled ones among the chosen."""
        user = user_of(request)
        done = left = 0
        for message in queryset:
            try:
                if not may(user, Role.AGENT, message.location_id):
                    left += 1
                    continue
                sentence = _cancel(user, message, {})
            except Refused:
                left += 1
                continue
            self.log_change(request, message, sentence)
            done += 1
        if done:
            self.message_user(request, f"{done} cancelled.", messages.SUCCESS)
        if left:
            words = f"{left} left alone: already on the way, over, or not yours to cancel."
            self.message_user(request, words, messages.WARNING)

    # --- list ---------------------------------------------------------------------------------------------------------

    @admin.display(description="when")
    def when(self, message: Message) -> str:
        """When it was accepted or came in."""
        return moment(message.created_at)

    @admin.display(description="account")
    def from_account(self, message: Message) -> str:
        """Index and label; the number in the tooltip."""
        account = message.account
        if account is None:
            return "–"
        return format_html('<span title="{}">{} · {}</span>', account.phone_number, account.index, account.label)

    @admin.display(description="rule")
    def rule_words(self, message: Message) -> str:
        """Which rule chose the number."""
        return SHORT_RULES[Rule(message.rule)] if message.rule else "–"

    @admin.display(description="status")
    def state(self, message: Message) -> str:
        """The status, and whether what the provider said contradicts itself."""
        status = MessageStatus(message.status)
        pill = badge(status.label, STATUS_TONES[status])
        return format_html("{} {}", pill, badge("contradicted", WARN)) if message.conflict else pill

    @admin.display(description="text")
    def excerpt(self, message: Message) -> str:
        """The beginning of the text."""
        return Truncator(message.text).chars(60) or "–"

    # --- page ---------------------------------------------------------------------------------------------------------

    @admin.display(description="text")
    def content(self, message: Message) -> str:
        """The whole text, with its line breaks."""
        return format_html('<div class="hub-text hub-text-{}">{}</div>', message.direction, message.text or "–")

    @admin.display(description="problem")
    def problem(self, message: Message) -> str:
        """Why it failed, or what happened at the last try."""
        code = message.failed_code or message.code
        if not code and not message.detail:
            return "–"
        return format_html('<span class="hub-problem">{}</span> <code>{}</code>', message.detail, code)

    @admin.display(description="attachments")
    def media_list(self, message: Message) -> str:
        """Pictures, files and links."""
        rows = [attachment_row(message, attachment) for attachment in message.attachments.order_by("order")]
        return render_to_string("admin/messaging/message/attachments.html", {"rows": rows}) if rows else "–"

    @admin.display(description="decision")
    def decision(self, message: Message) -> str:
        """The stored decision, told."""
        if not message.trace:
            return "The contact wrote; nothing had to be chosen." if message.direction == Direction.INBOUND else "–"
        trace: dict[str, Any] = message.trace
        context = {
            "sentence": trace.get("sentence", ""),
            "code": trace.get("code") or "",
            "failed": trace.get("decision") != "selected",
            "steps": [told(step) for step in trace.get("steps", [])],
            "warnings": trace.get("warnings", []),
        }
        return render_to_string("admin/messaging/message/trace.html", context)

    @admin.display(description="attempts")
    def attempt_list(self, message: Message) -> str:
        """Each try to hand it to the provider."""
        rows = [
            {
                "at": moment(attempt.started_at),
                "ended": moment(attempt.ended_at),
                "outcome": attempt.outcome or "not known",
                "account": phone(attempt.account.phone_number),
                "detail": attempt.detail,
                "code": attempt.code,
            }
            for attempt in message.attempts.select_related("account")
        ]
        return render_to_string("admin/messaging/message/attempts.html", {"rows": rows}) if rows else "none"

    @admin.display(description="events")
    def event_list(self, message: Message) -> str:
        """What became known of it, in order."""
        rows = [
            {"at": moment(event.at), "what": event.get_kind_display(), "detail": event.detail, "code": event.code}
            for event in message.events.all()
        ]
        return render_to_string("admin/messaging/message/events.html", {"rows": rows}) if rows else "none"

    @admin.display(description="created")
    def created(self, message: Message) -> str:
        """When it was stored."""
        return moment(message.created_at)

    @admin.display(description="scheduled for")
    def scheduled(self, message: Message) -> str:
        """When it is to be sent."""
        return moment(message.scheduled_at)

    @admin.display(description="accepted by the provider")
    def accepted(self, message: Message) -> str:
        """When the provider took it."""
        return moment(message.accepted_at)

    @admin.display(description="sent")
    def sent(self, message: Message) -> str:
        """The provider's word."""
        return moment(message.sent_at)

    @admin.display(description="delivered")
    def delivered(self, message: Message) -> str:
        """The provider's word."""
        return moment(message.delivered_at)

    @admin.display(description="read")
    def read(self, message: Message) -> str:
        """The provider's word."""
        return moment(message.read_at)

    @admin.display(description="failed")
    def failed(self, message: Message) -> str:
        """The provider's word."""
        return moment(message.failed_at)

    @admin.display(description="expires")
    def expires(self, message: Message) -> str:
        """After this it is not sent any more."""
        return moment(message.expires_at)

    @admin.display(description="metadata")
    def extra(self, message: Message) -> str:
        """What the client wanted kept with it."""
        if not message.metadata:
            return "–"
        return format_html('<pre class="hub-body">{}</pre>', json.dumps(message.metadata, indent=2, ensure_ascii=False))
