"""The admin of locations, their people and their programs' keys."""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AdminTextInputWidget
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.html import format_html

from routing import services
from routing.admin_look import BAD, GOOD, QUIET, badge, moment
from routing.admin_operations import Operation, OperationsAdmin
from routing.models import ApiKey, Location, Membership, Role, User
from routing.scoped_admin import (
    LocationScopedAdmin,
    Reach,
    ReadOnlyAdmin,
    ScopedRelatedFilter,
    choices_of,
    location_ids,
    may,
    user_of,
)

# What a person may do follows from memberships; permission groups would only look as if they counted.
admin.site.unregister(Group)


@admin.register(Location)
class LocationAdmin(LocationScopedAdmin):
    """Operators open locations; their admins set the policies."""

    add_by = Reach.OPERATORS
    change_by = Role.ADMIN
    audited_values = frozenset(
        {
            "name",
            "region",
            "time_zone",
            "unavailable_tag_account",
            "unavailable_user_account",
            "manual_override_persists",
            "second_factor",
        }
    )
    list_display = ("name", "region", "time_zone", "default_account", "created_at")
    list_select_related = ("default_account",)
    search_fields = ("name",)
    fieldsets = (
        (None, {"fields": ("name", "region", "time_zone")}),
        (
            "Choosing the number",
            {
                "fields": (
                    "default_account",
                    "unavailable_tag_account",
                    "unavailable_user_account",
                    "manual_override_persists",
                )
            },
        ),
        ("Signing in", {"fields": ("second_factor",)}),
        (None, {"fields": ("created_at",)}),
    )
    readonly_fields = ("default_account", "created_at")

    def location_of(self, obj: Any) -> UUID | None:
        """The location itself; a new one belongs to no member yet."""
        return obj.pk if isinstance(obj, Location) else None

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """A location names no location."""
        return self.readonly_fields


class MembershipForm(forms.ModelForm):  # type: ignore[type-arg]
    """Keeps a CRM user id to one member of the location."""

    def clean(self) -> dict[str, Any]:
        """Refuses a CRM user id that another member has."""
        data: dict[str, Any] = super().clean() or {}
        location = data.get("location") or getattr(self.instance, "location", None)
        given = data.get("crm_user_id")
        if location is not None and given:
            others = Membership.objects.filter(location=location, crm_user_id=given).exclude(pk=self.instance.pk)
            if others.exists():
                self.add_error("crm_user_id", "Another member of this location has this CRM user id.")
        return data


@admin.register(Membership)
class MembershipAdmin(LocationScopedAdmin):
    """Who works where.

    A location's admin changes roles, ends memberships, and adds people who work at another location that they
    administer too. Anybody else is added by an operator: a form that took any user name would tell every location's
    admin who else is a user of the hub.
    """

    form = MembershipForm
    add_by = change_by = delete_by = Role.ADMIN
    audited_values = frozenset({"role", "can_set_default", "crm_user_id"})
    list_display = ("user", "full_name", "location", "role", "can_set_default", "crm_user_id")
    list_select_related = ("user", "location")
    list_filter = (("location", ScopedRelatedFilter), "role")
    lookups = frozenset({"location__id__exact", "role__exact"})
    search_fields = ("user__username", "user__first_name", "user__last_name", "crm_user_id")
    autocomplete_fields = ("location", "user")
    fields = ("location", "user", "role", "can_set_default", "crm_user_id")

    @admin.display(description="name")
    def full_name(self, membership: Membership) -> str:
        """The person's name."""
        return membership.user.get_full_name() or "–"

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Operators, and admins of several locations: the only ones who may know somebody to add."""
        ids = location_ids(user_of(request), self.add_by)
        return ids is None or len(ids) > 1

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """A membership stays between the two that it joined."""
        fields = super().get_readonly_fields(request, obj)
        return (*fields, "user") if obj is not None else fields

    def choices_for(self, db_field: Any, request: HttpRequest) -> QuerySet[Any]:
        """People of the locations that the user administers."""
        return choices_of(db_field.remote_field.model, user_of(request), self.add_by)


@admin.register(User)
class UserAdmin(LocationScopedAdmin, DjangoUserAdmin):  # type: ignore[type-arg]
    """People, for operators only. Nobody is deleted, because the history names them: they are deactivated."""

    view_by = add_by = change_by = Reach.OPERATORS
    list_display = ("username", "first_name", "last_name", "email", "is_active", "is_staff", "is_superuser")
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


class ApiKeyForm(forms.ModelForm):  # type: ignore[type-arg]
    """What a new key is made from."""

    class Meta:
        model = ApiKey
        fields = ("location", "name", "expires_at")
        widgets = {"name": AdminTextInputWidget}

    def clean_expires_at(self) -> Any:
        """Refuses a key that would never open anything."""
        at = self.cleaned_data["expires_at"]
        if at is not None and at <= timezone.now():
            raise forms.ValidationError("Choose a time in the future.")
        return at


def _revoke(user: User, key: ApiKey, data: dict[str, Any]) -> str:
    ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now())
    return "Revoked: the key opens nothing any more."


@admin.register(ApiKey)
class ApiKeyAdmin(OperationsAdmin, ReadOnlyAdmin):
    """Keys of programs: made here, shown once, revoked here. A key without a location is the operators' affair."""

    form = ApiKeyForm
    view_by = add_by = Role.ADMIN
    list_display = ("name", "key", "location", "state", "created", "last_used")
    list_select_related = ("location",)
    list_filter = (("location", ScopedRelatedFilter),)
    lookups = frozenset({"location__id__exact"})
    search_fields = ("name",)
    ordering = ("-created_at",)
    autocomplete_fields = ("location",)
    operations = (
        Operation(
            name="revoke",
            label="Revoke",
            run=_revoke,
            shown=lambda key: key.revoked_at is None,
            question="Programs that use this key are refused from now on. This cannot be undone.",
            danger=True,
        ),
    )

    @admin.display(description="begins with")
    def key(self, key: ApiKey) -> str:
        """As much as tells keys apart."""
        return format_html("<code>{}…</code>", key.prefix)

    @admin.display(description="state")
    def state(self, key: ApiKey) -> str:
        """Whether it opens the door."""
        if key.revoked_at is not None:
            return badge("revoked", BAD)
        expired = key.expires_at is not None and key.expires_at <= timezone.now()
        return badge("expired", QUIET) if expired else badge("valid", GOOD)

    @admin.display(description="created", ordering="created_at")
    def created(self, key: ApiKey) -> str:
        """When it was made."""
        return moment(key.created_at)

    @admin.display(description="last used", ordering="last_used_at")
    def last_used(self, key: ApiKey) -> str:
        """To the minute."""
        return moment(key.last_used_at)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Three to make one; all but the digest to look at."""
        if obj is None:
            return ("location", "name", "expires_at")
        return ("name", "key", "location", "state", "created", "last_used", "expires_at", "revoked_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Everything, once it is made."""
        return () if obj is None else self.get_fields(request, obj)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Makes the key and shows it on the answer itself: a message would carry it through a cookie."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form_class = self.get_form(request)
        initial = self.get_changeform_initial_data(request)
        form: Any = form_class(request.POST) if request.method == "POST" else form_class(initial=initial)
        operator = user_of(request).is_superuser
        form.fields["location"].required = not operator
        if request.method == "POST" and form.is_valid():
            data = form.cleaned_data
            location = data["location"]
            if not may(user_of(request), self.add_by, location.pk if location else None):
                raise PermissionDenied
            row, key = services.create_api_key(location=location, name=data["name"], expires_at=data["expires_at"])
            self.log_addition(request, row, "Made.")
            return self._shown_once(request, row, key)
        return self.form_page(request, title="Add API key", form=form, submit="Make the key")

    def _shown_once(self, request: HttpRequest, row: ApiKey, key: str) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"The key of “{row.name}”",
            "key": key,
            "url": self.page_of(row),
        }
        return TemplateResponse(request, "admin/routing/apikey/made.html", context)
