"""The admin of contacts and their tags."""

import re
from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join

from routing import services
from routing.admin_lists import ChoiceFilter
from routing.admin_look import BAD, GOOD, badge, icon, moment, phone
from routing.admin_operations import Operation
from routing.contact_exchange_admin import ContactExchangeAdmin
from routing.contact_form import ContactForm
from routing.contact_page import page_context
from routing.models import ConsentSource, Contact, Role, User
from routing.number_tags import is_number_tag
from routing.scoped_admin import ScopedRelatedFilter, location_ids, user_of

_NUMBER = re.compile(r"[0-9+().\-/ ]*[0-9][0-9+().\-/ ]*")
MAX_PILLS = 6


class OptOutFilter(ChoiceFilter):
    """Contacts who want to be written to, or do not."""

    title = "consent"
    parameter_name = "opted_out"
    answers = (("no", "allowed"), ("yes", "opted out"))

    def chosen(self, queryset: QuerySet[Any], value: Any) -> QuerySet[Any]:
        """By the day of the opt-out."""
        return queryset.filter(opted_out_at__isnull=value == "no")


def _opt(out: bool) -> Callable[[User, Contact, dict[str, Any]], str]:
    def run(user: User, contact: Contact, data: dict[str, Any]) -> str:
        services.set_opt_out(contact=contact, opted_out=out, source=ConsentSource.PERSON, by=user)
        return "Opted out: nothing is sent to this contact." if out else "Opted in: this contact may be written to."

    return run


def _chips(names: list[str], *, most: int | None = None) -> str:
    """Tags for people to read; those that choose a number carry a sign."""
    shown = names if most is None else names[:most]
    if not names:
        return "–"
    chips = format_html_join(
        " ",
        '<span class="hub-tag">{}{}</span>',
        ((icon("phone") if is_number_tag(name) else "", name) for name in shown),
    )
    more = len(names) - len(shown)
    return format_html('{} <span class="hub-quiet">+{}</span>', chips, more) if more else chips or "–"


@admin.register(Contact)
class ContactAdmin(ContactExchangeAdmin):
    """Contacts: agents keep them up to date, admins add them. Their history keeps them from being deleted."""

    form = ContactForm
    add_by = Role.ADMIN
    change_by = Role.AGENT
    list_display = ("display_name", "number", "location", "tag_list", "assigned_user", "consent_word", "last_number")
    list_select_related = ("location", "assigned_user", "last_account")
    list_filter = (
        ("location", ScopedRelatedFilter),
        ("assigned_user", ScopedRelatedFilter),
        ("tags", ScopedRelatedFilter),
        OptOutFilter,
    )
    lookups = frozenset(
        {
            "location__id__exact",
            "assigned_user__id__exact",
            "assigned_user__isnull",
            "tags__id__exact",
            "tags__isnull",
            "opted_out",
        }
    )
    search_fields = ("name", "phone_number")
    search_help_text = "Name or number"
    # Newest first, because an index of the table has that order, however many contacts there are.
    ordering = ("-created_at", "id")
    autocomplete_fields = ("location",)
    fields = (
        "location",
        "name",
        "phone_number",
        "tag_names",
        "sends_from",
        "assigned_user",
        "consent",
        "last_account_used",
        "created",
    )
    readonly_fields = ("consent", "last_account_used", "created")
    change_form_template = "admin/routing/contact/change_form.html"
    list_words = "Everybody your locations write to: who looks after them, and whether they want to be written to."
    empty_words = "Contacts appear when somebody writes to you. Add one, or import a list."
    add_words = "Add contact"
    operations = (
        Operation(name="opt-out", label="Opt out", run=_opt(True), by=Role.AGENT, shown=lambda c: not c.opted_out),
        Operation(
            name="opt-in",
            label="Opt in again",
            run=_opt(False),
            by=Role.AGENT,
            shown=lambda c: c.opted_out,
            question="Only if the contact asked for it: writing to somebody who opted out is unlawful in many places.",
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With the tags, in one query for the whole page."""
        return super().get_queryset(request).prefetch_related("tags")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """A new contact's location says who may be assigned; where it is still to be chosen, the user comes after."""
        if obj is not None:
            reads_only = not self.has_change_permission(request, obj)
            return [name for name in self.fields if not (reads_only and name == "sends_from")]
        ids = location_ids(user_of(request), self.add_by)
        one = ids is not None and len(ids) == 1
        return ("location", "name", "phone_number", "tag_names", *(("sends_from", "assigned_user") if one else ()))

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """With the decision as it stands, the history of the consent, and the ways to what was said."""
        contact = context.get("original")
        if contact is not None:
            context |= page_context(contact)
        return super().render_change_form(request, context, *args, **kwargs)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """A number is found however it is written."""
        if _NUMBER.fullmatch(search_term):
            search_term = re.sub(r"[^0-9]", "", search_term)
        return super().get_search_results(request, queryset, search_term)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """The contact, and its tags through the service."""
        super().save_model(request, obj, form, change)
        if {"tag_names", "sends_from"} & set(form.changed_data):
            services.set_tags(contact=obj, names=form.all_tags)
        for doubt in form.doubts:
            self.message_user(request, doubt, messages.WARNING)

    def history_name(self, obj: Any) -> str:
        """No name and no number: the log outlives the contact's wish to be forgotten."""
        return f"Contact {obj.pk}"

    @admin.display(description="name", ordering="name")
    def display_name(self, contact: Contact) -> str:
        """The name, or words that say there is none."""
        return contact.name or "(no name)"

    @admin.display(description="number", ordering="phone_number")
    def number(self, contact: Contact) -> str:
        """The number as it is written in its country."""
        return phone(contact.phone_number)

    @admin.display(description="tags")
    def tag_list(self, contact: Contact) -> str:
        """The first tags as chips, and how many more there are."""
        return _chips([tag.name for tag in contact.tags.all()], most=MAX_PILLS)

    @admin.display(description="tags")
    def tag_names(self, contact: Contact) -> str:
        """All of them, for those who only read."""
        return _chips([tag.name for tag in contact.tags.all()])

    @admin.display(description="consent", ordering="opted_out_at")
    def consent_word(self, contact: Contact) -> str:
        """Whether the contact may be written to."""
        return badge("opted out", BAD) if contact.opted_out else badge("allowed", GOOD)

    @admin.display(description="consent")
    def consent(self, contact: Contact) -> str:
        """The same, and since when."""
        word = self.consent_word(contact)
        return format_html("{} {}", word, moment(contact.opted_out_at)) if contact.opted_out else word

    @admin.display(description="last number")
    def last_number(self, contact: Contact) -> str:
        """The number the contact last saw or wrote to."""
        return "–" if contact.last_account is None else phone(contact.last_account.phone_number)

    @admin.display(description="last account used")
    def last_account_used(self, contact: Contact) -> str:
        """The account whose number that is."""
        account = contact.last_account
        if account is None:
            return "none yet"
        return format_html("{} · {} · {}", account.index, account.label, phone(account.phone_number))

    @admin.display(description="created", ordering="created_at")
    def created(self, contact: Contact) -> str:
        """When it was first seen."""
        return moment(contact.created_at)
