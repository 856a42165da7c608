"""The admin of contacts and their tags."""

import csv
import io
import re
from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AdminTextInputWidget
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join

from routing import services
from routing.admin_lists import ChoiceFilter
from routing.admin_look import BAD, GOOD, badge, moment, phone
from routing.admin_operations import Operation, OperationsAdmin
from routing.errors import Refused
from routing.models import Contact, Role, User
from routing.phones import InvalidPhone, parse_phone
from routing.scoped_admin import ScopedRelatedFilter, location_ids, members_of, offer_members, user_of

_NUMBER = re.compile(r"[0-9+().\-/ ]*[0-9][0-9+().\-/ ]*")


def join_tags(names: list[str]) -> str:
    """Names with commas between them; one that holds a comma stands in quotes."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(names)
    return line.getvalue().replace(",", ", ") if not any("," in name for name in names) else line.getvalue()


def split_tags(text: str) -> list[str]:
    """The names in `text`, as `join_tags` writes them and as people type them. Raises ValidationError."""
    try:
        rows = list(csv.reader([text], skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise forms.ValidationError("Put commas between the tags.") from error
    names = [name.strip() for name in (rows[0] if rows else [])]
    try:
        return services.clean_tag_names(name for name in names if name)
    except Refused as refused:
        raise forms.ValidationError(refused.detail) from refused


class ContactForm(forms.ModelForm):  # type: ignore[type-arg]
    """A contact with its tags typed out and its number read in the location's region."""

    phone_number = forms.CharField(max_length=32, widget=AdminTextInputWidget, label="Phone number")
    tag_names = forms.CharField(
        label="Tags",
        required=False,
        max_length=4000,
        widget=AdminTextInputWidget,
        help_text="With commas between them. “im: (555) 123-4567” chooses the number that messages leave from.",
    )

    class Meta:
        model = Contact
        fields = ("location", "name", "phone_number", "assigned_user")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.is_new:
            return
        if "assigned_user" in self.fields:
            offer_members(self, "assigned_user")
        self.initial["tag_names"] = join_tags([tag.name for tag in self.instance.tags.all()])

    @property
    def is_new(self) -> bool:
        """Whether it is still to be stored; a new one has its id already."""
        return bool(self.instance._state.adding)

    def clean_tag_names(self) -> list[str]:
        """The names, each once."""
        return split_tags(self.cleaned_data["tag_names"])

    def clean(self) -> dict[str, Any]:
        """Refuses numbers that are none, and numbers that another contact of the location has."""
        data: dict[str, Any] = super().clean() or {}
        location = data.get("location") if self.is_new else self.instance.location
        raw = data.get("phone_number")
        if location is None or not raw:
            return data
        try:
            data["phone_number"] = parse_phone(raw, region=location.region)
        except InvalidPhone as invalid:
            self.add_error("phone_number", invalid.detail)
            return data
        same = Contact.objects.filter(location=location, phone_number=data["phone_number"])
        if same.exclude(pk=self.instance.pk).exists():
            self.add_error("phone_number", "Another contact of this location has this number.")
        user = data.get("assigned_user")
        if user is not None and self.is_new and not members_of([location.pk]).filter(pk=user.pk).exists():
            self.add_error("assigned_user", "Choose a member of this location.")
        return data


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
        services.set_opt_out(contact=contact, opted_out=out)
        return "Opted out: nothing is sent to this contact." if out else "Opted in: this contact may be written to."

    return run


@admin.register(Contact)
class ContactAdmin(OperationsAdmin):
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
    fields = ("location", "name", "phone_number", "tag_names", "assigned_user", "consent", "last_number", "created")
    readonly_fields = ("consent", "last_number", "created")
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
            return self.fields
        ids = location_ids(user_of(request), self.add_by)
        one = ids is not None and len(ids) == 1
        return ("location", "name", "phone_number", "tag_names", *(("assigned_user",) if one else ()))

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
        if "tag_names" in form.changed_data:
            services.set_tags(contact=obj, names=form.cleaned_data["tag_names"])

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
        """The tags as pills."""
        pills = ((tag.name,) for tag in contact.tags.all())
        return format_html_join(" ", '<span class="hub-tag">{}</span>', pills) or "–"

    @admin.display(description="tags")
    def tag_names(self, contact: Contact) -> str:
        """For those who only read."""
        return self.tag_list(contact)

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

    @admin.display(description="created", ordering="created_at")
    def created(self, contact: Contact) -> str:
        """When it was first seen."""
        return moment(contact.created_at)
