"""The admin of accounts and contacts; that of locations and people is in tenancy_admin.py."""

import csv
import io
import re
from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.widgets import AdminTextInputWidget
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join

from routing import services, tenancy_admin
from routing.admin_lists import BAD, BUSY, GOOD, QUIET, badge, moment, phone
from routing.admin_operations import Operation, OperationsAdmin
from routing.errors import Refused
from routing.models import Account, Contact, Membership, Role, User
from routing.phones import InvalidPhone, parse_phone
from routing.scoped_admin import ScopedRelatedFilter, location_ids, members_of, user_of
from routing.selection import Blocker

__all__ = ["AccountAdmin", "ContactAdmin", "tenancy_admin"]

BLOCKER_WORDS = {
    Blocker.DISABLED: "disabled",
    Blocker.LINE_PENDING: "line pending",
    Blocker.LINE_RELEASED: "line released",
    Blocker.LINE_BLOCKED: "line blocked",
    Blocker.CREDENTIALS_REJECTED: "credentials rejected",
    Blocker.DISCONNECTED: "disconnected",
}
_NUMBER = re.compile(r"[0-9+().\-/ ]*[0-9][0-9+().\-/ ]*")


def token(account: Account) -> str:
    """How a person names the account in a text."""
    return f"{{IM#{account.index}}}"


def may_set_default(user: User, account: Account) -> bool:
    """Admins of the location, and its agents to whom it was granted."""
    if user.may(Role.ADMIN, account.location_id):
        return True
    granted = Membership.objects.filter(user=user, location=account.location_id, can_set_default=True)
    return user.may(Role.AGENT, account.location_id) and granted.exists()


class AccountForm(forms.ModelForm):  # type: ignore[type-arg]
    """Offers the members of the account's own location only."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "user" in self.fields:
            offer_members(self, "user")


def offer_members(form: "forms.ModelForm[Any]", name: str) -> None:
    """Narrow the field to members of the object's location; whoever stands there already may stay."""
    field: Any = form.fields[name]
    members = members_of([form.instance.location_id])
    stands_there = getattr(form.instance, f"{name}_id")
    field.queryset = User.objects.filter(Q(pk__in=members.values("pk")) | Q(pk=stands_there)).order_by("username")


def _make_default(user: User, account: Account, data: dict[str, Any]) -> str:
    services.set_default_account(account=account, by=user)
    return f"{token(account)} is the default now: it sends when no other rule applies."


def _switch(enabled: bool) -> Callable[[User, Account, dict[str, Any]], str]:
    def run(user: User, account: Account, data: dict[str, Any]) -> str:
        Account.objects.open().filter(pk=account.pk).update(is_enabled=enabled)
        return f"{token(account)} is {'enabled' if enabled else 'disabled: nothing is sent from it'}."

    return run


def _retire(user: User, account: Account, data: dict[str, Any]) -> str:
    services.retire_account(account=account, by=user)
    return f"{token(account)} is retired; its index is not given to another account."


def _is_open(account: Account) -> bool:
    return account.retired_at is None


class RetiredFilter(admin.SimpleListFilter):
    """Accounts in use, or out of it for ever."""

    title = "retirement"
    parameter_name = "retired"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Two answers."""
        return [("no", "in use"), ("yes", "retired")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows of the answer."""
        value = self.value()
        return queryset if value not in ("yes", "no") else queryset.filter(retired_at__isnull=value == "no")


@admin.register(Account)
class AccountAdmin(OperationsAdmin):
    """Accounts come from phone lines and are never deleted; here they are named, given to a user, switched, retired."""

    form = AccountForm
    change_by = Role.ADMIN
    list_display = ("index_token", "label", "number", "location", "connection", "default", "user")
    list_display_links = ("index_token", "label")
    list_select_related = ("location", "user")
    list_filter = (("location", ScopedRelatedFilter), "can_send", RetiredFilter)
    lookups = frozenset({"location__id__exact", "can_send__exact", "retired"})
    search_fields = ("label", "phone_number")
    ordering = ("location__name", "index")
    actions = ("make_default", "enable", "disable")
    fields = ("location", "index_token", "number", "label", "user", "connection", "default", "created")
    readonly_fields = ("location", "index_token", "number", "connection", "default", "created")
    operations = (
        Operation(
            name="make-default",
            label="Make default",
            run=_make_default,
            permitted=may_set_default,
            shown=lambda account: _is_open(account) and account.location.default_account_id != account.pk,
        ),
        Operation(name="enable", label="Enable", run=_switch(True), shown=lambda a: _is_open(a) and not a.is_enabled),
        Operation(name="disable", label="Disable", run=_switch(False), shown=lambda a: _is_open(a) and a.is_enabled),
        Operation(
            name="retire",
            label="Retire",
            run=_retire,
            shown=_is_open,
            question=(
                "The account sends nothing any more, for ever. Its index is not given to another account, and its"
                " messages stay."
            ),
            danger=True,
        ),
    )

    @admin.display(description="index", ordering="index")
    def index_token(self, account: Account) -> str:
        """The index as people type it."""
        return format_html('<code class="hub-token">{}</code>', token(account))

    @admin.display(description="number", ordering="phone_number")
    def number(self, account: Account) -> str:
        """The number as it is written in its country."""
        return phone(account.phone_number)

    @admin.display(description="connection", ordering="can_send")
    def connection(self, account: Account) -> str:
        """Whether it can send, and if not why."""
        if account.retired_at is not None:
            return badge("retired", QUIET)
        if not account.blockers:
            return badge("can send", GOOD)
        tones = {Blocker.LINE_PENDING: BUSY, Blocker.DISABLED: QUIET}
        pills = ((badge(BLOCKER_WORDS[blocker], tones.get(blocker, BAD)),) for blocker in account.blockers)
        return format_html_join(" ", "{}", pills)

    @admin.display(description="default")
    def default(self, account: Account) -> str:
        """A star and the word."""
        if account.location.default_account_id != account.pk:
            return ""
        return format_html('<span class="hub-default"><span aria-hidden="true">★</span> {}</span>', "default")

    @admin.display(description="created", ordering="created_at")
    def created(self, account: Account) -> str:
        """When it was opened."""
        return moment(account.created_at)

    def has_make_default_permission(self, request: HttpRequest) -> bool:
        """Whether the user may choose the default anywhere; each account is asked for again."""
        user = user_of(request)
        if self.has_change_permission(request):
            return True
        ids = location_ids(user, Role.AGENT) or ()
        return Membership.objects.filter(user=user, location__in=ids, can_set_default=True).exists()

    @admin.action(permissions=["make_default"], description="Make default for its location")
    def make_default(self, request: HttpRequest, queryset: QuerySet[Account]) -> None:
        """The chosen account becomes its location's default."""
        chosen = list(queryset[:2])
        if len(chosen) != 1:
            self.message_user(request, "Choose one account: a location has one default.", messages.WARNING)
            return
        self._each(request, chosen, _make_default, may_set_default)

    @admin.action(permissions=["change"], description="Enable")
    def enable(self, request: HttpRequest, queryset: QuerySet[Account]) -> None:
        """The chosen accounts may send again."""
        self._each(request, queryset, _switch(True), lambda user, a: self.has_change_permission(request, a))

    @admin.action(permissions=["change"], description="Disable")
    def disable(self, request: HttpRequest, queryset: QuerySet[Account]) -> None:
        """Nothing is sent from the chosen accounts."""
        self._each(request, queryset, _switch(False), lambda user, a: self.has_change_permission(request, a))

    def _each(
        self,
        request: HttpRequest,
        accounts: Any,
        run: Callable[[User, Account, dict[str, Any]], str],
        permitted: Callable[[User, Account], bool],
    ) -> None:
        user = user_of(request)
        for account in accounts:
            if not permitted(user, account):
                self.message_user(request, f"{token(account)} is not yours to change.", messages.WARNING)
                continue
            try:
                sentence = run(user, account, {})
            except Refused as refused:
                self.message_user(request, refused.detail, messages.ERROR)
                continue
            self.log_change(request, account, sentence)
            self.message_user(request, sentence, messages.SUCCESS)


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
        return bool(self.instance._state.adding)  # noqa: SLF001

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


class OptOutFilter(admin.SimpleListFilter):
    """Contacts who want to be written to, or do not."""

    title = "opt-out"
    parameter_name = "opted_out"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Two answers."""
        return [("yes", "opted out"), ("no", "may be written to")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows of the answer."""
        value = self.value()
        return queryset if value not in ("yes", "no") else queryset.filter(opted_out_at__isnull=value == "no")


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
    list_display = ("display_name", "number", "location", "tag_list", "assigned_user", "consent", "last_number")
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
    def consent(self, contact: Contact) -> str:
        """Whether the contact may be written to."""
        if contact.opted_out_at is None:
            return badge("may be written to", GOOD)
        return format_html("{} {}", badge("opted out", BAD), moment(contact.opted_out_at))

    @admin.display(description="last number")
    def last_number(self, contact: Contact) -> str:
        """The number the contact last saw or wrote to."""
        return "–" if contact.last_account is None else phone(contact.last_account.phone_number)

    @admin.display(description="created", ordering="created_at")
    def created(self, contact: Contact) -> str:
        """When it was first seen."""
        return moment(contact.created_at)
