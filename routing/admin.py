"""The admin of accounts; those of contacts and of locations with their people stand beside it."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, ClassVar
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html, format_html_join

from routing import (
    audit_admin,
    contact_admin,
    impact,
    invitation_admin,
    key_admin,
    location_admin,
    services,
    team_admin,
)
from routing.admin_lists import ChoiceFilter, HubChangeList
from routing.admin_look import BAD, BUSY, GOOD, QUIET, badge, icon, moment, phone
from routing.admin_operations import Operation
from routing.errors import Refused
from routing.impact import Change
from routing.impact_admin import ImpactAdmin
from routing.models import Account, Membership, Role, User
from routing.scoped_admin import ScopedRelatedFilter, location_ids, offer_members, user_of
from routing.selection import Blocker

__all__ = [
    "AccountAdmin",
    "audit_admin",
    "contact_admin",
    "invitation_admin",
    "key_admin",
    "location_admin",
    "team_admin",
]

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


def locations_to_set_default(user: User) -> Collection[UUID] | None:
    """Where the user may choose the default: as an admin, or as an agent to whom it was granted; None: everywhere."""
    if user.is_superuser:
        return None
    granted = Membership.objects.filter(user=user, location__in=list(user.roles), can_set_default=True)
    agent_in = set(location_ids(user, Role.AGENT) or ()) & set(granted.values_list("location", flat=True))
    return agent_in | set(location_ids(user, Role.ADMIN) or ())


def may_set_default(user: User, account: Account) -> bool:
    """Whether the user may choose the default of the account's location."""
    where = locations_to_set_default(user)
    return where is None or account.location_id in where


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


def _stopping(accounts: Sequence[Account]) -> Sequence[Change]:
    return impact.stopping(accounts, Blocker.DISABLED)


def _replacing_default(accounts: Sequence[Account]) -> Sequence[Change]:
    return [change for account in accounts for change in impact.making_default(account)]


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


class StarredList(HubChangeList):
    """A list whose accounts know whether the user may give them the star."""

    def get_results(self, request: HttpRequest) -> None:
        """One query more, whatever the number of accounts."""
        super().get_results(request)
        accounts: Any = self.model_admin
        accounts.mark_stars(request, self.result_list)


class AccountAdmin(ImpactAdmin):
    """Accounts come from phone lines and are never deleted; here they are named, given to a user, switched, retired.

    Not registered here: messaging adds how much was said from each.
    """

    class Media:
        css = {"all": ("hub/accounts.css",)}

    form = AccountForm
    change_by = Role.ADMIN
    audited_values = frozenset({"label", "user"})
    list_display: tuple[str, ...] = ("default", "index_token", "label", "number", "location", "connection", "user")
    list_display_links = ("label",)
    list_words = "The numbers that messages leave from. The star marks the one that sends when no other rule applies."
    empty_words = "An account comes with the phone line of a setup: add a setup first."
    list_select_related = ("location", "user")
    list_filter = (("location", ScopedRelatedFilter), CanSendFilter, RetiredFilter)
    lookups = frozenset({"location__id__exact", "can_send", "retired"})
    search_fields = ("label", "phone_number")
    ordering = ("location__name", "index")
    actions = ("make_default", "enable", "disable")
    fields: ClassVar[tuple[str, ...]] = (
        "location",
        "index_token",
        "number",
        "label",
        "user",
        "connection",
        "default",
        "created",
    )
    readonly_fields: ClassVar[tuple[str, ...]] = (
        "location",
        "index_token",
        "number",
        "connection",
        "default",
        "created",
    )
    weighed = {
        "make-default": _replacing_default,
        "disable": _stopping,
        "retire": impact.retiring,
    }
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
        word = token(account)
        return format_html(
            '<button type="button" class="hub-copy" data-copy="{0}" aria-label="Copy {0}">{0}{1}</button>',
            word,
            icon("copy"),
        )

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
    def default(self, account: Any) -> str:
        """The star: a word where it is, a button where it can be moved to. It sends the form that it stands in."""
        if account.location.default_account_id == account.pk:
            return format_html('<span class="hub-default">{} default</span>', icon("star"))
        if not getattr(account, "may_get_star", False):
            return ""
        door = reverse("admin:routing_account_operation", args=[account.pk, "make-default"])
        return format_html(
            '<button type="submit" class="hub-star" formaction="{}" formnovalidate title="Make default"'
            ' aria-label="Make {} the default">{}</button>',
            f"{door}{account.star_returns}",
            token(account),
            icon("star"),
        )

    @admin.display(description="created", ordering="created_at")
    def created(self, account: Account) -> str:
        """When it was opened."""
        return moment(account.created_at)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """With the stars."""
        return StarredList

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """With its star."""
        account = super().get_object(request, object_id, from_field)
        if account is not None:
            self.mark_stars(request, [account], returns="")
        return account

    def mark_stars(self, request: HttpRequest, accounts: Sequence[Any], returns: str = "?list") -> None:
        """Note on each account whether this user may make it the default, and where a click leads back to."""
        where = locations_to_set_default(user_of(request))
        for account in accounts:
            account.may_get_star = _is_open(account) and (where is None or account.location_id in where)
            account.star_returns = returns

    def operation_view(self, request: HttpRequest, object_id: str, name: str) -> HttpResponse:
        """As for any; a star of the list leads back to the list."""
        response = super().operation_view(request, object_id, name)
        done = "list" in request.GET and isinstance(response, HttpResponseRedirect)
        return HttpResponseRedirect(self.list_url()) if done and "/impact/" not in response["Location"] else response

    def consequences(self, name: str, objs: Sequence[Any], changes: Sequence[Change]) -> list[str]:
        """What becomes of the default."""
        said = []
        for change in changes:
            old = change.location.default_account_id
            if not change.takes_default or old is None:
                continue
            account = Account.objects.get(pk=old)
            if name == "make-default":
                said.append(f"{token(objs[0])} takes the place of {token(account)} ({account.label}) as the default.")
            elif name == "retire":
                said.append(f"{token(account)} is the default; {change.location} would have none.")
            else:
                said.append(f"{token(account)} is the default of {change.location}; it would be passed over.")
        return said

    def has_make_default_permission(self, request: HttpRequest) -> bool:
        """Whether the user may choose the default anywhere; each account is asked for again."""
        where = locations_to_set_default(user_of(request))
        return where is None or bool(where)

    @admin.action(permissions=["make_default"], description="Make default for its location")
    def make_default(self, request: HttpRequest, queryset: QuerySet[Account]) -> HttpResponse | None:
        """The chosen account becomes its location's default."""
        chosen = list(queryset[:2])
        if len(chosen) != 1:
            self.message_user(request, "Choose one account: a location has one default.", messages.WARNING)
            return None
        return self._weighed_or_done(request, "make-default", chosen, _make_default, may_set_default)

    @admin.action(permissions=["change"], description="Enable")
    def enable(self, request: HttpRequest, queryset: QuerySet[Account]) -> None:
        """The chosen accounts may send again."""
        self._each(request, queryset, _switch(True), lambda user, a: self.has_change_permission(request, a))

    @admin.action(permissions=["change"], description="Disable")
    def disable(self, request: HttpRequest, queryset: QuerySet[Account]) -> HttpResponse | None:
        """Nothing is sent from the chosen accounts."""
        return self._weighed_or_done(
            request, "disable", list(queryset), _switch(False), lambda user, a: self.has_change_permission(request, a)
        )

    def _weighed_or_done(
        self,
        request: HttpRequest,
        name: str,
        accounts: Sequence[Account],
        run: Callable[[User, Account, dict[str, Any]], str],
        permitted: Callable[[User, Account], bool],
    ) -> HttpResponse | None:
        """The page of the numbers where contacts are affected; else it is done, or refused, one after the other."""
        user, operation = user_of(request), self.operation_named(name)
        possible = [account for account in accounts if permitted(user, account) and operation.shown(account)]
        if not possible or not self.touches_contacts(name, possible):
            self._each(request, accounts, run, permitted, audited=operation.audited)
            return None
        for account in accounts:
            if not permitted(user, account):
                self._refuse(request, account)
        return HttpResponseRedirect(self.impact_url(name, possible))

    def _refuse(self, request: HttpRequest, account: Account) -> None:
        self.message_user(request, f"{token(account)} is not yours to change.", messages.WARNING)

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
                self._refuse(request, account)
                continue
            try:
                sentence = run(user, account, {})
            except Refused as refused:
                self.message_user(request, refused.detail, messages.ERROR)
                continue
            if not audited:
                self.log_change(request, account, sentence)
            self.message_user(request, sentence, messages.SUCCESS)
