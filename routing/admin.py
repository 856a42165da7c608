"""The admin of accounts; those of contacts and of locations with their people stand beside it."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join

from routing import audit_admin, contact_admin, services, tenancy_admin
from routing.admin_lists import ChoiceFilter
from routing.admin_look import BAD, BUSY, GOOD, QUIET, badge, moment, phone
from routing.admin_operations import Operation, OperationsAdmin
from routing.errors import Refused
from routing.models import Account, Membership, Role, User
from routing.scoped_admin import ScopedRelatedFilter, location_ids, offer_members, user_of
from routing.selection import Blocker

__all__ = ["AccountAdmin", "audit_admin", "contact_admin", "tenancy_admin"]

BLOCKER_WORDS = {
    Blocker.DISABLED: "disabled",
    Blocker.LINE_PENDING: "line pending",
    Blocker.LINE_RELEASED: "line released",
    Blocker.LINE_BLOCKED: "line blocked",
    Blocker.CREDENTIALS_REJECTED: "credentials rejected",
    Blocker.DISCONNECTED: "disconnected",
}


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


class CanSendFilter(ChoiceFilter):
    """Accounts that can send now, or not."""

    title = "connection"
    parameter_name = "can_send"
    answers = (("True", "can send"), ("False", "cannot send"))


class RetiredFilter(ChoiceFilter):
    """Accounts in use, or out of it for ever."""

    title = "retirement"
    parameter_name = "retired"
    answers = (("no", "in use"), ("yes", "retired"))

    def chosen(self, queryset: QuerySet[Any], value: Any) -> QuerySet[Any]:
        """By the day of the retirement."""
        return queryset.filter(retired_at__isnull=value == "no")


@admin.register(Account)
class AccountAdmin(OperationsAdmin):
    """Accounts come from phone lines and are never deleted; here they are named, given to a user, switched, retired."""

    form = AccountForm
    change_by = Role.ADMIN
    audited_values = frozenset({"label", "user"})
    list_display = ("index_token", "label", "number", "location", "connection", "default", "user")
    list_display_links = ("index_token", "label")
    list_select_related = ("location", "user")
    list_filter = (("location", ScopedRelatedFilter), CanSendFilter, RetiredFilter)
    lookups = frozenset({"location__id__exact", "can_send", "retired"})
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
            audited=True,
            permitted=may_set_default,
            shown=lambda account: _is_open(account) and account.location.default_account_id != account.pk,
        ),
        Operation(name="enable", label="Enable", run=_switch(True), shown=lambda a: _is_open(a) and not a.is_enabled),
        Operation(name="disable", label="Disable", run=_switch(False), shown=lambda a: _is_open(a) and a.is_enabled),
        Operation(
            name="retire",
            label="Retire",
            run=_retire,
            audited=True,
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
        self._each(request, chosen, _make_default, may_set_default, audited=True)

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
        *,
        audited: bool = False,
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
            if not audited:
                self.log_change(request, account, sentence)
            self.message_user(request, sentence, messages.SUCCESS)
