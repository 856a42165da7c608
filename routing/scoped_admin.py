"""What every admin page is built on: who may see and do what follows from memberships, and from nothing else.

Django's own permission tables have no say. Rows, choices, filters and log entries are limited here, once, so that the
admins of the apps only say what they show; `ScopedChecks` refuses at start what would get around it.
"""

from collections.abc import Collection, Iterable
from enum import Enum
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin
from django.contrib.admin.checks import ModelAdminChecks
from django.contrib.admin.options import BaseModelAdmin, IncorrectLookupParameters
from django.contrib.admin.utils import get_fields_from_path, quote, unquote
from django.contrib.admin.views.main import ChangeList
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.core.checks import CheckMessage, Error
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import BooleanField, DateTimeField, Field, ForeignKey, ManyToManyField, Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.text import capfirst

from routing import audit
from routing.admin_lists import HubChangeList
from routing.models import AuditAction, AuditEntry, Location, Role, User


class Reach(Enum):
    """Who may do what no role of a location allows."""

    OPERATORS = "operators"
    NOBODY = "nobody"


Least = Role | Reach
"""The least a caller must be: a role in the object's location, or one of `Reach`. Operators may whatever a role may."""

MAX_SEARCH_LENGTH = 100
MAX_SEARCH_WORDS = 5
MAX_FILTER_CHOICES = 50
MAX_HISTORY = 200
"""Entries on one history page; the audit list goes on from there."""


def user_of(request: HttpRequest) -> User:
    """The signed-in user. Raises PermissionDenied when there is none."""
    user = request.user
    if not isinstance(user, User):
        raise PermissionDenied
    return user


def may(user: User, least: Least, location_id: UUID | None) -> bool:
    """Whether the user is at least `least` in the location; what belongs to no location is the operators' alone."""
    if least is Reach.NOBODY:
        return False
    if user.is_superuser:
        return True
    return isinstance(least, Role) and location_id is not None and user.may(least, location_id)


def location_ids(user: User, least: Least) -> Collection[UUID] | None:
    """The locations where the user is at least `least`; None means all of them."""
    if least is Reach.NOBODY:
        return ()
    if user.is_superuser:
        return None
    if not isinstance(least, Role):
        return ()
    return [location_id for location_id in user.roles if user.may(least, location_id)]


def members_of(ids: Collection[UUID] | None) -> QuerySet[User]:
    """The active members of the locations; None: every active user."""
    users = User.objects.filter(is_active=True).order_by("username")
    return users if ids is None else users.filter(memberships__location__in=ids).distinct()


def offer_members(form: "forms.ModelForm[Any]", name: str) -> None:
    """Narrow the field to members of the object's location; whoever stands there already may stay."""
    field: Any = form.fields[name]
    members = members_of([form.instance.location_id])
    stands_there = getattr(form.instance, f"{name}_id")
    field.queryset = User.objects.filter(Q(pk__in=members.values("pk")) | Q(pk=stands_there)).order_by("username")


def choices_of(model: type[Model], user: User, least: Least) -> QuerySet[Any]:
    """The objects of `model` that the user may choose where they are at least `least`; none of a model unknown here."""
    ids = location_ids(user, least)
    if model is User:
        return members_of(ids)
    rows: QuerySet[Any] = model._default_manager.all()
    if not hasattr(rows, "location_path"):
        return rows.none()
    return rows if ids is None else rows.filter(**{f"{rows.location_path}__in": ids})


class ScopedRelatedFilter(admin.RelatedFieldListFilter):
    """A sidebar filter that names only what the user may see.

    Where there are more than MAX_FILTER_CHOICES it shows the chosen one alone: the search and links lead to the others.
    """

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> list[Any]:
        """The choices; raises IncorrectLookupParameters when what is asked for is no id."""
        rows = choices_of(field.remote_field.model, user_of(request), Role.VIEWER)
        few = list(rows[: MAX_FILTER_CHOICES + 1])
        if len(few) > MAX_FILTER_CHOICES:
            try:
                few = list(rows.filter(pk__in=self.lookup_val or ()))
            except (ValidationError, ValueError) as error:
                raise IncorrectLookupParameters from error
        return [(str(row.pk), str(row)) for row in few]

    def has_output(self) -> bool:
        """Whether there is something to choose, or something is chosen; without output Django would not filter."""
        return len(self.lookup_choices) > 1 or bool(self.lookup_val) or bool(self.lookup_val_isnull)


class ByMembership(BaseModelAdmin):  # type: ignore[type-arg]
    """Permissions, rows and choices by the user's role in the object's location."""

    view_by: Least = Role.VIEWER
    add_by: Least = Reach.NOBODY
    change_by: Least = Reach.NOBODY
    delete_by: Least = Reach.NOBODY
    view_on_site = False

    def location_of(self, obj: Any) -> UUID | None:
        """The location that decides who may do what with `obj`."""
        location_id: UUID | None = obj.location_id
        return location_id

    def permits(self, request: HttpRequest, least: Least, obj: Any = None) -> bool:
        """Whether the user is `least` where the object is; without an object, whether in any location at all."""
        user = request.user
        if not isinstance(user, User):
            return False  # the sign-in page asks too
        if obj is not None:
            return may(user, least, self.location_of(obj))
        ids = location_ids(user, least)
        return ids is None or bool(ids)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.permits(request, self.view_by)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.permits(request, self.view_by, obj)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.permits(request, self.add_by, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.permits(request, self.change_by, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.permits(request, self.delete_by, obj)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """The rows of the locations where the user may view them; pages, actions and autocompletes start from these."""
        rows: Any = super().get_queryset(request)
        user = user_of(request)
        ids = location_ids(user, self.view_by)
        if ids is None:
            return rows  # type: ignore[no-any-return]
        if not isinstance(self.view_by, Role):
            return rows.none()  # type: ignore[no-any-return]
        scoped: QuerySet[Any] = rows.visible_to(user).filter(**{f"{rows.location_path}__in": ids})
        return scoped

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Offers, and therefore accepts, only what the user may choose where they may write."""
        kwargs["queryset"] = self.choices_for(db_field, request)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """As for foreign keys."""
        kwargs["queryset"] = self.choices_for(db_field, request)
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def choices_for(self, db_field: Any, request: HttpRequest) -> QuerySet[Any]:
        """What a field of a form may be set to: where it is the location, those the user may add rows to."""
        model = db_field.remote_field.model
        least = self.add_by if model is Location else self.change_by
        return choices_of(model, user_of(request), least)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest | None, **kwargs: Any) -> Any:
        """Without the pencils and crosses that open other objects in pop-ups."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)  # type: ignore[arg-type]
        widget = getattr(field, "widget", None)
        if isinstance(widget, RelatedFieldWidgetWrapper):
            widget.can_add_related = widget.can_change_related = False
            widget.can_delete_related = widget.can_view_related = False
        return field


class ScopedChecks(ModelAdminChecks):
    """Refuses at start what would show or change rows of other locations, or without permission."""

    def check(self, admin_obj: Any, **kwargs: Any) -> list[CheckMessage]:
        """Django's findings and ours."""
        return [*super().check(admin_obj, **kwargs), *_scope_findings(admin_obj)]


def _scope_findings(admin_obj: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []

    def error(number: int, message: str, hint: str) -> None:
        found.append(Error(message, hint=hint, obj=type(admin_obj), id=f"routing.E1{number:02}"))

    if admin_obj.list_editable:
        error(1, "list_editable writes rows without object permissions.", "Use actions.")
    if admin_obj.raw_id_fields:
        error(2, "raw_id_fields print the names of foreign objects.", "Use autocomplete_fields.")
    if not issubclass(admin_obj.checks_class, ScopedChecks) or admin_obj.show_facets is not admin.ShowFacets.NEVER:
        error(3, "Facets count what filters name.", "Leave show_facets at NEVER.")
    for name in admin_obj.actions or ():
        action = getattr(admin_obj, name, None) if isinstance(name, str) else name
        if not getattr(action, "allowed_permissions", None):
            error(4, f"The action {name} names no permissions.", "Use @admin.action(permissions=[…]).")
    for inline in admin_obj.inlines:
        if not issubclass(inline, ByMembership):
            error(5, f"{inline.__name__} is not scoped.", "Derive it from ByMembership.")
    for item in admin_obj.list_filter:
        field = get_fields_from_path(admin_obj.model, item)[-1] if isinstance(item, str) else None
        if isinstance(field, ForeignKey | ManyToManyField):
            error(6, f"The filter {item} names rows of other locations.", "Use ScopedRelatedFilter.")
        elif isinstance(field, Field) and not (isinstance(field, BooleanField) or field.choices):
            error(7, f"The filter {item} reads the table for the values there are.", "Use a ChoiceFilter.")
    return found


class LocalMoment(forms.DateTimeInput):
    """The browser's own picker of a day and a time, on the clocks of the request's zone."""

    input_type = "datetime-local"

    def __init__(self) -> None:
        super().__init__(attrs={"class": "vDateTimeInput"}, format="%Y-%m-%dT%H:%M")


class LocationScopedAdmin(ByMembership, admin.ModelAdmin):  # type: ignore[type-arg]
    """The admin of something that belongs to a location.

    `lookups` is the whole list of what a query string may filter by; `audited_values` names the form fields whose old
    and new values the audit trail keeps, of others it keeps only that they changed. The location is chosen when a row
    is added and never changed afterwards.
    """

    checks_class = ScopedChecks
    lookups: frozenset[str] = frozenset()
    audited_values: frozenset[str] = frozenset()
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    list_max_show_all = 100
    # Without a bar of actions Django's list page carries an inline style, which the content security policy forbids.
    actions_on_top = True

    list_words = ""
    """A line under the title of the list: what these rows are."""
    empty_words = ""
    """What to do when there is no row yet."""
    add_words = ""
    """The button that adds one."""
    formfield_overrides = {DateTimeField: {"form_class": forms.DateTimeField, "widget": LocalMoment}}

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Under its own name instead of "Select … to change"."""
        words = {"list_words": self.list_words, "empty_words": self.empty_words, "add_words": self.add_words}
        context = {"title": capfirst(str(self.opts.verbose_name_plural))} | words | (extra_context or {})
        return super().changelist_view(request, context)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Under the name of the object, or of what is added."""
        obj = context.get("original")
        context["title"] = f"New {self.opts.verbose_name}" if obj is None else str(obj)
        context["subtitle"] = None
        context["adminform"].form.label_suffix = ""
        return super().render_change_form(request, context, *args, **kwargs)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """The hub's list."""
        return HubChangeList

    def get_list_display(self, request: HttpRequest) -> Any:
        """Without the location, for those who have one only."""
        columns = super().get_list_display(request)
        ids = user_of(request).location_ids
        return columns if ids is None or len(ids) != 1 else [name for name in columns if name != "location"]

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Only what is listed: any column that can be compared can be read, one character after the other."""
        return lookup in self.lookups and "\0" not in str(value)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """As Django's, for the first few words of a term of sensible length."""
        words = search_term[:MAX_SEARCH_LENGTH].replace("\0", "").split()[:MAX_SEARCH_WORDS]
        return super().get_search_results(request, queryset, " ".join(words))

    def get_autocomplete_fields(self, request: HttpRequest) -> Any:
        """Operators, who see every location, type the location's name; members choose from their few."""
        return super().get_autocomplete_fields(request) if user_of(request).is_superuser else ()

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """The location is fixed once the row is there."""
        fields = tuple(super().get_readonly_fields(request, obj))
        return (*fields, "location") if obj is not None and "location" not in fields else fields

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Preselects the location of those who may add to one only."""
        initial: dict[str, Any] = super().get_changeform_initial_data(request)
        ids = location_ids(user_of(request), self.add_by)
        if ids is not None and len(ids) == 1:
            initial.setdefault("location", next(iter(ids)))
        return initial

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """As Django's, but a change form is never turned into a copy: that would get around the adding of its admin."""
        if "_saveasnew" in request.POST:
            raise PermissionDenied
        return super().changeform_view(request, object_id, form_url, extra_context)

    def save_model(self, request: HttpRequest, obj: Any, form: "forms.ModelForm[Any]", change: bool) -> None:
        """Writes only what the form changed: the rest of the row may have moved on since the form was drawn.

        Raises PermissionDenied when the row would stand in a location where the user may not write.
        """
        if not may(user_of(request), self.change_by if change else self.add_by, self.location_of(obj)):
            raise PermissionDenied
        if not change:
            obj.save()
            return
        columns = {field.name: field for field in self.opts.concrete_fields}
        changed = [name for name in form.changed_data if name in columns]
        if changed:
            stamps = [name for name, field in columns.items() if getattr(field, "auto_now", False)]
            obj.save(update_fields=[*changed, *stamps])

    # --- audit: who did what, in words that name no person outside the hub and hold no text ---------------------------

    def history_name(self, obj: Any) -> str:
        """How the trail names the object."""
        return str(obj)

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        """What the form changed, for `log_addition` and `log_change`: values only of the fields in `audited_values`."""
        return {} if add else {name: self._change(form, name) for name in form.changed_data}

    def _change(self, form: Any, name: str) -> tuple[str, str] | None:
        if name not in self.audited_values:
            return None
        field = form.fields[name]
        before, after = form.initial.get(name), form.cleaned_data.get(name)
        if isinstance(field, forms.ModelChoiceField):
            before = field.to_python(before) if before else None
        return audit.shown(before), audit.shown(after)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """What the audit trail tells of one object, newest first."""
        obj = self.get_object(request, unquote(object_id))
        if obj is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[no-any-return, attr-defined]
        if not self.has_view_or_change_permission(request, obj):
            raise PermissionDenied
        this = {"object_type": self.opts.label_lower, "object_id": str(obj.pk)}
        rows = AuditEntry.objects.filter(**this).select_related("location").order_by("-id")
        entries = list(rows[: MAX_HISTORY + 1])
        trail = f"{reverse('admin:routing_auditentry_changelist')}?{urlencode(this)}"
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"History of {self.history_name(obj)}",
            "object": obj,
            "back": reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[quote(obj.pk)]),
            "entries": entries[:MAX_HISTORY],
            "has_more": len(entries) > MAX_HISTORY,
            "audit_url": trail if may(user_of(request), Role.ADMIN, self.location_of(obj)) else "",
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/object_history.html", context)

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        return self._record(request, obj, AuditAction.CREATED, message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        return self._record(request, obj, AuditAction.CHANGED, message)

    def log_deletions(self, request: HttpRequest, queryset: Iterable[Any]) -> Any:
        return [self._record(request, obj, AuditAction.DELETED, "") for obj in queryset]

    def _record(self, request: HttpRequest, obj: Any, action: AuditAction, message: Any) -> AuditEntry:
        return audit.record(
            by=user_of(request),
            action=action,
            obj=obj,
            location_id=self.location_of(obj),
            name=self.history_name(obj),
            detail=message if isinstance(message, str) else "",
            changes=None if isinstance(message, str) else message,
        )


class ReadOnlyAdmin(LocationScopedAdmin):
    """The admin of something that is only looked at; workers move these rows, and a form would write over them."""

    add_by: Least = Reach.NOBODY
    change_by: Least = Reach.NOBODY
    delete_by: Least = Reach.NOBODY


class SecretInput(forms.PasswordInput):
    """A field to type a secret into: it is never filled in again, and browsers are asked not to keep it."""

    def __init__(self) -> None:
        super().__init__(
            attrs={"autocomplete": "new-password", "spellcheck": "false", "class": "vTextField"}, render_value=False
        )
