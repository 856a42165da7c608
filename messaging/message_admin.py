"""The admin of messages: to read, to understand why a number was chosen, and to cancel what has not left."""

import re
from contextlib import suppress
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from messaging import services
from messaging.attachment_pages import AttachmentPages
from messaging.desk_admin import DESK_OPERATIONS, DeskPages
from messaging.message_changes_admin import ChangePages
from messaging.message_filters import DayFilter, MessageChangeList, RuleFilter, StatusFilter, SwitchFilter
from messaging.message_page import page_of, title_of
from messaging.message_words import SHORT_RULES, account_token, status_badge
from messaging.models import Direction, DispatchState, Message, MessageStatus
from messaging.waiting import scheduled_for, why_waiting
from routing.admin_look import icon, moment, phone
from routing.admin_operations import Operation
from routing.errors import Refused
from routing.models import Account, Contact, Role, User
from routing.scoped_admin import MAX_SEARCH_LENGTH, ReadOnlyAdmin, ScopedRelatedFilter, may, user_of
from routing.selection import Rule

MAX_FOUND_CONTACTS = 200
EXCERPT_LENGTH = 90
_NUMBER = re.compile(r"[0-9+().\-/ ]*[0-9][0-9+().\-/ ]*")


def _cancel(user: User, message: Message, data: dict[str, Any]) -> str:
    services.cancel(message=message)
    return "Cancelled: it is not sent."


def _waits(message: Message) -> bool:
    waiting = (DispatchState.QUEUED, DispatchState.SCHEDULED, DispatchState.CLAIMED)
    return message.direction == Direction.OUTBOUND and message.dispatch_state in waiting


@admin.register(Message)
class MessageAdmin(AttachmentPages, ChangePages, DeskPages, ReadOnlyAdmin):
    """Messages, newest first. Workers move them, so nothing here is a form."""

    list_display = ("when", "who", "excerpt", "from_account", "rule_words", "state", "location")
    list_filter = (
        StatusFilter,
        DayFilter,
        "direction",
        ("account", ScopedRelatedFilter),
        ("batch", ScopedRelatedFilter),
        RuleFilter,
        SwitchFilter,
        ("location", ScopedRelatedFilter),
    )
    lookups = frozenset(
        {
            "status",
            "date",
            "from",
            "to",
            "direction__exact",
            "rule",
            "number_switch__exact",
            "location__id__exact",
            "account__id__exact",
            "account__isnull",
            "batch__id__exact",
            "contact__id__exact",
        }
    )
    search_fields = ("id",)
    search_help_text = "Contact, number or id"
    list_words = "Everything that was sent and received, newest first."
    empty_words = "Messages show up here as soon as one is sent or comes in."
    ordering = ("-position",)
    sortable_by = ()
    list_per_page = 50
    actions = ("cancel",)
    fieldsets = ((None, {"fields": ()}),)
    change_form_template = "admin/messaging/message/page.html"
    change_list_template = "admin/messaging/message/list.html"
    operations = (
        *DESK_OPERATIONS,
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

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[MessageChangeList]:
        """Never counted."""
        return MessageChangeList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With all that list and page name."""
        return super().get_queryset(request).select_related("contact", "account__lane", "location")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """By contact first, through the contacts of the user's locations: the texts themselves are not searched."""
        term = search_term.replace("\0", "").strip()[:MAX_SEARCH_LENGTH]
        if not term:
            return queryset, False
        digits = re.sub(r"[^0-9]", "", term) if _NUMBER.fullmatch(term) else ""
        named = Q(phone_number__contains=digits) if digits else Q(name__icontains=term)
        user = user_of(request)
        contacts = Contact.objects.visible_to(user).filter(named).values_list("pk", flat=True)[:MAX_FOUND_CONTACTS]
        # By account, as the index has it; in one condition with the others it would be looked for in every row.
        accounts = Account.objects.visible_to(user).values("pk")
        of_provider = Message.objects.filter(account__in=accounts, provider_id=term)
        ids = list(of_provider.values_list("pk", flat=True)[:MAX_FOUND_CONTACTS])
        with suppress(ValueError):
            ids.append(UUID(term))
        return queryset.filter(Q(contact__in=list(contacts)) | Q(pk__in=ids)), False

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """The message as a page of its own."""
        message = context.get("original")
        if message is not None:
            context["page"] = page_of(message)
        response = super().render_change_form(request, context, *args, **kwargs)
        if message is not None:
            response.context_data["title"] = title_of(message)
        return response

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
        return moment(message.created_at, message.location)

    @admin.display(description="contact")
    def who(self, message: Message) -> SafeString:
        """Which way it went, and with whom."""
        outbound = message.direction == Direction.OUTBOUND
        name = message.contact.name
        return format_html(
            '<span class="msg-who"><span class="msg-way msg-way-{}" title="{}">{}'
            '<span class="visually-hidden">{}</span></span><span>{}</span>{}</span>',
            message.direction,
            "sent" if outbound else "received",
            icon("arrow-up-right" if outbound else "arrow-down-left"),
            "to" if outbound else "from",
            name or phone(message.contact_number),
            format_html('<span class="quiet">{}</span>', phone(message.contact_number)) if name else "",
        )

    @admin.display(description="account")
    def from_account(self, message: Message) -> str:
        """As people type it, and its label; the number in the tooltip."""
        return account_token(message.account)

    @admin.display(description="rule")
    def rule_words(self, message: Message) -> str:
        """Which rule chose the number."""
        return SHORT_RULES[Rule(message.rule)] if message.rule else "–"

    @admin.display(description="status")
    def state(self, message: Message) -> SafeString:
        """The status; until when it waits and why, or why it failed, below."""
        note: SafeString | str = ""
        until = scheduled_for(message)
        if until is not None and (message.code or message.status != MessageStatus.SCHEDULED):
            note = format_html(
                '<span class="msg-note">{} {}</span>', why_waiting(message), moment(until, message.location)
            )
        elif message.status == MessageStatus.SCHEDULED and message.scheduled_at:
            note = format_html('<span class="msg-note">for {}</span>', moment(message.scheduled_at, message.location))
        elif message.status == MessageStatus.FAILED:
            why = message.detail or message.failed_code or message.code
            shown = Truncator(why).chars(EXCERPT_LENGTH)
            note = format_html('<span class="msg-note" title="{}">{}</span>', why, shown)
        return format_html("<div>{}{}</div>", status_badge(message), note)

    @admin.display(description="text")
    def excerpt(self, message: Message) -> str:
        """The beginning of the text."""
        return Truncator(message.text).chars(EXCERPT_LENGTH) or "–"
