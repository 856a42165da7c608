"""The audit trail to look at: who did what, to what, and when."""

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.admin.exceptions import NotRegistered
from django.contrib.admin.utils import quote
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import reverse

from routing.admin_lists import ChoiceFilter, CursorChangeList
from routing.admin_look import BAD, BUSY, GOOD, badge, moment
from routing.audit import THE_HUB
from routing.models import AuditAction, AuditEntry, Role
from routing.scoped_admin import ReadOnlyAdmin, ScopedRelatedFilter

SEARCHED = 10_000
"""Entries that a search looks through, the newest first: no index helps it, and the trail only grows."""
LONG_ID = re.compile(r"\b([0-9a-f]{8})(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
ACTION_TONES = {AuditAction.CREATED: GOOD, AuditAction.CHANGED: BUSY, AuditAction.DELETED: BAD}


def words_of(object_type: str) -> str:
    """What kind of thing a model's label names; the label itself for a model that is no more."""
    try:
        return str(apps.get_model(object_type)._meta.verbose_name)
    except (LookupError, ValueError):
        return object_type


def link_objects(site: AdminSite, request: HttpRequest, entries: Iterable[AuditEntry]) -> None:
    """Give each entry `url`: where its object is, if it is there still and this user may see it. One query for each
    kind of object."""
    wanted: dict[str, set[str]] = defaultdict(set)
    entries = list(entries)
    for entry in entries:
        wanted[entry.object_type].add(entry.object_id)
    found = {label: _addresses(site, request, label, ids) for label, ids in wanted.items()}
    for entry in entries:
        entry.url = found[entry.object_type].get(entry.object_id, "")  # type: ignore[attr-defined]


def _addresses(site: AdminSite, request: HttpRequest, label: str, given: Iterable[str]) -> dict[str, str]:
    """The pages of the objects that are there, by id; none of a model that is no more, or that has no pages."""
    try:
        model = apps.get_model(label)
        model_admin: Any = site.get_model_admin(model)
    except (LookupError, ValueError, NotRegistered):
        return {}
    if not model_admin.has_view_permission(request):
        return {}
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}_change"
    rows = model_admin.get_queryset(request).order_by().filter(pk__in=_ids(model, given))
    return {str(pk): reverse(name, args=[quote(pk)]) for pk in rows.values_list("pk", flat=True)}


def _ids(model: Any, given: Iterable[str]) -> list[Any]:
    ids = []
    for text in given:
        try:
            ids.append(model._meta.pk.to_python(text))
        except ValidationError:
            continue
    return ids


class KindFilter(ChoiceFilter):
    """By what was changed."""

    title = "object"
    parameter_name = "object_type"
    answers = tuple(
        (label, words)
        for label, words in (
            ("routing.account", "account"),
            ("routing.apikey", "API key"),
            ("routing.contact", "contact"),
            ("routing.invitation", "invitation"),
            ("routing.location", "location"),
            ("routing.membership", "membership"),
            ("messaging.message", "message"),
            ("provisioning.setup", "setup"),
            ("routing.user", "user"),
        )
    )


class ByFilter(ChoiceFilter):
    """By whether a person did it, a program, or the hub of its own accord."""

    title = "by"
    parameter_name = "by"
    answers = (("people", "people"), ("programs", "programs"), ("hub", "the hub itself"))

    def chosen(self, queryset: QuerySet[Any], value: Any) -> QuerySet[Any]:
        """By who is named; of the deleted only their names are left, so they are among neither."""
        if value == "people":
            return queryset.filter(user__isnull=False)
        if value == "programs":
            return queryset.filter(api_key__isnull=False)
        return queryset.filter(actor=THE_HUB, user=None, api_key=None)


class AuditChangeList(CursorChangeList):
    """The list, with links to what is there still."""

    def get_results(self, request: HttpRequest) -> None:
        """One page."""
        super().get_results(request)
        link_objects(self.model_admin.admin_site, request, self.result_list)


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """Everything that was changed, for a location's admins; what belongs to no location, for operators. No page changes
    or deletes an entry, and the database refuses to."""

    view_by = Role.ADMIN
    list_words = "Who changed what, and when. Entries are kept as they were written."
    empty_words = "As soon as somebody changes something, it stands here."
    list_display = ("when", "who", "what", "details", "location")
    list_display_links = None
    list_select_related = ("location",)
    list_filter = ("action", KindFilter, ByFilter, ("user", ScopedRelatedFilter), ("location", ScopedRelatedFilter))
    lookups = frozenset({"action__exact", "object_type", "object_id", "by", "user__id__exact", "location__id__exact"})
    search_fields = ("object_name", "actor")
    search_help_text = "A name of a person, a program or an object"
    ordering = ("-id",)
    sortable_by = ()
    list_per_page = 50
    fields = readonly_fields = ("when", "who", "what", "details", "location")

    class Media:
        css = {"all": ["hub/audit.css"]}

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Under the name that people know it by."""
        return super().changelist_view(request, {"title": "Audit trail"} | (extra_context or {}))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[CursorChangeList]:
        """Never counted."""
        return AuditChangeList

    def get_object(self, request: HttpRequest, object_id: str, from_field: Any = None) -> Any:
        """With the link to what it speaks of."""
        entry = super().get_object(request, object_id, from_field)
        if entry is not None:
            link_objects(self.admin_site, request, [entry])
        return entry

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Among the newest of those the user may see."""
        if search_term.strip():
            oldest = self.get_queryset(request).order_by("-id").values_list("id", flat=True)[SEARCHED : SEARCHED + 1]
            for entry_id in oldest:
                queryset = queryset.filter(id__gt=entry_id)
        return super().get_search_results(request, queryset, search_term)

    @admin.display(description="when")
    def when(self, entry: AuditEntry) -> str:
        """To the second, on the clocks of its location."""
        return moment(entry.at, entry.location, seconds=True)

    @admin.display(description="who")
    def who(self, entry: AuditEntry) -> str:
        """The person, the program, or the hub, as it was called then."""
        return render_to_string("admin/audit_actor.html", {"entry": entry})

    @admin.display(description="what")
    def what(self, entry: AuditEntry) -> str:
        """What was done to what, with a link to it."""
        context = {
            "action": badge(entry.get_action_display(), ACTION_TONES[AuditAction(entry.action)]),
            "kind": words_of(entry.object_type),
            "entry": entry,
            "name": LONG_ID.sub(lambda found: f"{found[1]}…", entry.object_name),
            # A name that begins with the kind says it already.
            "named": entry.object_name.lower().startswith(words_of(entry.object_type).lower()),
        }
        return render_to_string("admin/audit_what.html", context)

    @admin.display(description="details")
    def details(self, entry: AuditEntry) -> str:
        """The sentence, and the fields with what they were and are."""
        return render_to_string("admin/audit_details.html", {"entry": entry})
