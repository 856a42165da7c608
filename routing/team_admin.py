"""The admin of people: who works in a location, and, for operators, who may sign in at all."""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html
from django.utils.safestring import SafeString

from routing import team
from routing.admin_look import BUSY, GOOD, QUIET, badge, moment
from routing.admin_operations import OperationsAdmin
from routing.errors import Refused
from routing.models import Membership, Role, User
from routing.scoped_admin import LocationScopedAdmin, Reach, ScopedRelatedFilter, choices_of, location_ids, user_of

# What a person may do follows from memberships; permission groups would only look as if they counted.
admin.site.unregister(Group)

ROLE_WORDS: dict[Role, tuple[str, str]] = {
    Role.ADMIN: ("Admin", "does everything here: people, keys, numbers, settings, conversations."),
    Role.AGENT: ("Agent", "reads and converses; marks the default number where that is granted."),
    Role.VIEWER: ("Viewer", "reads everything, writes nothing."),
}
"""Each role in a word, and what it may."""

ROLE_TONES = {Role.ADMIN: BUSY, Role.AGENT: GOOD, Role.VIEWER: QUIET}


def role_badge(role: str) -> SafeString:
    """The role in a word and a colour."""
    return badge(ROLE_WORDS[Role(role)][0].lower(), ROLE_TONES[Role(role)])


def role_choices() -> list[tuple[str, SafeString]]:
    """The roles to choose from, each with what it may."""
    return [
        (role.value, format_html("<strong>{}</strong> <span>{}</span>", word, what))
        for role, (word, what) in ROLE_WORDS.items()
    ]


class MembershipForm(forms.ModelForm):  # type: ignore[type-arg]
    """Keeps a CRM user id to one member of the location, and the location its last admin."""

    by: User
    """Who fills it in; set by the admin on the class of the request."""

    def clean(self) -> dict[str, Any]:
        """Refuses a CRM user id that another member has, and to demote the last admin."""
        data: dict[str, Any] = super().clean() or {}
        location = data.get("location") or getattr(self.instance, "location", None)
        given = data.get("crm_user_id")
        if location is not None and given:
            others = Membership.objects.filter(location=location, crm_user_id=given).exclude(pk=self.instance.pk)
            if others.exists():
                self.add_error("crm_user_id", "Another member of this location has this CRM user id.")
        if "role" in data and not self.instance._state.adding:
            # The admin's view runs in a transaction: the lock that this takes is held until the row is saved.
            try:
                team.check_leaves_admin(membership=self.instance, role=Role(data["role"]), by=self.by)
            except Refused as refused:
                self.add_error("role", refused.detail)
        return data


@admin.register(Membership)
class MembershipAdmin(OperationsAdmin):
    """Who works where.

    A location's admin changes roles, ends memberships, and adds people who work at another location that they
    administer too. Everybody else comes by invitation, or is added by an operator: a form that took any user name
    would tell every location's admin who else is a user of the hub.
    """

    form = MembershipForm
    add_by = change_by = delete_by = Role.ADMIN
    audited_values = frozenset({"role", "can_set_default", "crm_user_id"})
    list_display: tuple[str, ...] = ("person", "location", "role_shown", "default_right", "last_sign_in", "crm_user_id")
    list_select_related = ("user", "location")
    list_filter = (("location", ScopedRelatedFilter), "role")
    lookups = frozenset({"location__id__exact", "role__exact"})
    search_fields = ("user__username", "user__first_name", "user__last_name", "crm_user_id")
    autocomplete_fields = ("location", "user")
    fields = ("location", "user", "role", "can_set_default", "crm_user_id")
    radio_fields = {"role": admin.VERTICAL}
    list_words = "Who works here, and what they may do. People come in by an invitation."
    empty_words = "Invite somebody: they get a link that works once."
    add_words = "Add somebody who has an account"
    change_list_template = "admin/routing/membership/change_list.html"

    class Media:
        css = {"all": ["hub/team.css"]}

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """With the way to invite, and what each role may."""
        may_invite = self.permits(request, Role.ADMIN)
        context = {"title": "Team", "may_invite": may_invite, "role_words": list(ROLE_WORDS.values())} | (
            extra_context or {}
        )
        return super().changelist_view(request, context)

    @admin.display(description="person", ordering="user__username")
    def person(self, membership: Membership) -> str:
        """The person's name, and what they sign in with."""
        user = membership.user
        name = user.get_full_name()
        word = "" if user.is_active else badge("deactivated", QUIET)
        if not name:
            return format_html("{} {}", user.get_username(), word)
        return format_html('{} <span class="hub-quiet">{}</span> {}', name, user.get_username(), word)

    @admin.display(description="role", ordering="role")
    def role_shown(self, membership: Membership) -> str:
        """As a badge."""
        return role_badge(membership.role)

    @admin.display(description="default number")
    def default_right(self, membership: Membership) -> str:
        """Whether they may mark the default account."""
        may = membership.role == Role.ADMIN or (membership.role == Role.AGENT and membership.can_set_default)
        return "may mark it" if may else "–"

    @admin.display(description="last sign-in", ordering="user__last_login")
    def last_sign_in(self, membership: Membership) -> str:
        """On the location's clocks."""
        return moment(membership.user.last_login, membership.location) if membership.user.last_login else "never"

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Operators, and admins of several locations: the only ones who may know somebody to add."""
        ids = location_ids(user_of(request), self.add_by)
        return ids is None or len(ids) > 1

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """A membership stays between the two that it joined."""
        fields = super().get_readonly_fields(request, obj)
        return (*fields, "person") if obj is not None else fields

    def choices_for(self, db_field: Any, request: HttpRequest) -> QuerySet[Any]:
        """People of the locations that the user administers."""
        return choices_of(db_field.remote_field.model, user_of(request), self.add_by)

    def formfield_for_choice_field(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Each role with what it may."""
        kwargs["choices"] = role_choices()
        return super().formfield_for_choice_field(db_field, request, **kwargs)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """The person by name, once the two are joined: their own page is for operators."""
        return ["person" if name == "user" and obj is not None else name for name in self.fields]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """A form that knows who fills it in."""
        form = super().get_form(request, obj, change=change, **kwargs)
        form.by = user_of(request)  # type: ignore[attr-defined]
        return form

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Who is an admin no longer has no invitations open."""
        super().save_model(request, obj, form, change)
        if change and obj.role != Role.ADMIN:
            team.withdraw_invitations_of(user_id=obj.user_id, location_id=obj.location_id)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Ends the membership, in the view's transaction. Raises Refused for a location's last admin."""
        team.check_leaves_admin(membership=obj, role=None, by=user_of(request))
        team.withdraw_invitations_of(user_id=obj.user_id, location_id=obj.location_id)
        super().delete_model(request, obj)

    def response_delete(self, request: HttpRequest, obj_display: str, obj_id: Any) -> HttpResponse:
        """Says what it meant, and goes back to the team."""
        self.message_user(request, "Removed: they have no access here any more.", messages.SUCCESS)
        return HttpResponseRedirect(self.list_url())

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """As Django's; what is refused is told on the member's page."""
        context = {"title": "Remove from the team"} | (extra_context or {})
        try:
            return super().delete_view(request, object_id, context)
        except Refused as refused:
            self.message_user(request, refused.detail, messages.ERROR)
            return HttpResponseRedirect(self.page_of(Membership(pk=UUID(object_id))))


@admin.register(User)
class UserAdmin(LocationScopedAdmin, DjangoUserAdmin):  # type: ignore[type-arg]
    """People, for operators only. Nobody is deleted, because the history names them: they are deactivated."""

    view_by = add_by = change_by = Reach.OPERATORS
    list_display = ("username", "first_name", "last_name", "email", "is_active", "is_staff", "is_superuser")
    list_words = "Everybody who may sign in, of all locations."
    list_filter = ("is_active", "is_staff", "is_superuser")
    lookups = frozenset({"is_active__exact", "is_staff__exact", "is_superuser__exact"})
    search_fields = ("username", "first_name", "last_name", "email")
    filter_horizontal = ()
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        (
            "Access",
            {
                "fields": ("is_active", "is_staff", "is_superuser"),
                "description": (
                    "Staff may sign in here and see their locations, by membership. Superusers are operators of the"
                    " whole hub."
                ),
            },
        ),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    readonly_fields = ("last_login", "date_joined")

    def location_of(self, obj: Any) -> UUID | None:
        """Nobody belongs to one location."""
        return None

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """A user names no location."""
        return self.readonly_fields
