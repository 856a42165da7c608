"""What people see before accounts stop, go or lose the default: how many contacts it touches, which, and as a file."""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from routing import impact
from routing.admin_operations import Operation, OperationsAdmin
from routing.contact_files import guarded
from routing.impact import Affected, Change, Impact
from routing.models import Contact, Role
from routing.scoped_admin import may, user_of
from routing.selection import AccountFacts

PER_PAGE = 50
MOST_OBJECTS = 100
"""Objects that one page weighs at most: as many as a list shows."""
CSV_BATCH = 1000
CSV_HEAD = ("Contact", "Phone number", "Leaves now from", "Account now", "Would leave from", "Account then")

Weigh = Callable[[Sequence[Any]], Sequence[Change]]
"""What doing it to these objects means for accounts; [] for nothing."""


class ImpactAdmin(OperationsAdmin):
    """An admin some of whose operations are weighed: where contacts would be affected, a page says so first.

    An operation that asks nothing stays one click where nobody is affected.
    """

    weighed: dict[str, Weigh] = {}
    """Operation → what it would change."""
    impact_template = "admin/impact.html"

    def consequences(self, name: str, objs: Sequence[Any], changes: Sequence[Change]) -> list[str]:
        """Sentences about what else follows; they stand above the numbers."""
        return []

    def get_urls(self) -> list[URLPattern]:
        """With the page of the numbers; before Django's, which would take any path for an id."""
        name = f"{self.opts.app_label}_{self.opts.model_name}_impact"
        return [
            path("impact/<slug:name>/", self.admin_site.admin_view(self.impact_view), name=name),
            *super().get_urls(),
        ]

    def impact_url(self, name: str, objs: Iterable[Any]) -> str:
        """The page that weighs the operation for these objects."""
        door = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_impact", args=[name])
        return f"{door}?{urlencode([('id', str(obj.pk)) for obj in objs])}"

    def touches_contacts(self, name: str, objs: Sequence[Any]) -> bool:
        """Whether contacts would change number or lose their sender."""
        return bool(impact.analyse(self.weighed[name](objs)).affected)

    def operation_named(self, name: str) -> Operation:
        """The operation that is weighed. Raises Http404."""
        operation = next((item for item in self.operations if item.name == name and name in self.weighed), None)
        if operation is None:
            raise Http404
        return operation

    def operation_view(self, request: HttpRequest, object_id: str, name: str) -> HttpResponse:
        """As for any operation, by way of the numbers where there is something to say."""
        obj = self.get_object(request, unquote(object_id)) if name in self.weighed else None
        if obj is not None:
            operation = self.operation_named(name)
            possible = operation.shown(obj) and self._permitted(request, operation, obj)
            if possible and (request.method != "POST" or self.touches_contacts(name, [obj])):
                return HttpResponseRedirect(self.impact_url(name, [obj]))
        return super().operation_view(request, object_id, name)

    def impact_view(self, request: HttpRequest, name: str) -> HttpResponseBase:
        """Shows the numbers; a POST does it. Raises Http404 for objects of other locations as for absent ones."""
        operation = self.operation_named(name)
        objs = self._given(request)
        if not all(self._permitted(request, operation, obj) for obj in objs):
            raise PermissionDenied
        back = self.page_of(objs[0]) if len(objs) == 1 else self.list_url()
        possible = [obj for obj in objs if operation.shown(obj)]
        if not possible:
            self.message_user(request, f"“{operation.label}” is not possible in this state.", messages.WARNING)
            return HttpResponseRedirect(back)
        if request.method == "POST":
            for obj in possible:
                self._done(request, operation, obj, _confirmed())
            return HttpResponseRedirect(back)
        changes = self.weighed[name](possible)
        found = impact.analyse(changes)
        if "csv" in request.GET:
            return self._file(request, operation, possible, found)
        return self._impact_page(request, operation, possible, found, back)

    def _given(self, request: HttpRequest) -> list[Any]:
        ids = list(dict.fromkeys(request.GET.getlist("id")))
        if not 0 < len(ids) <= MOST_OBJECTS:
            raise Http404
        rows = self.get_queryset(request)
        if self.list_select_related:
            rows = rows.select_related(*self.list_select_related)  # type: ignore[misc]
        objs = list(rows.filter(pk__in=ids))
        if len(objs) != len(ids):
            raise Http404
        return objs

    def _impact_page(
        self, request: HttpRequest, operation: Operation, objs: Sequence[Any], found: Impact, back: str
    ) -> HttpResponse:
        page = Paginator(found.affected, PER_PAGE).get_page(request.GET.get("page"))
        request.current_app = self.admin_site.name
        here = self.impact_url(operation.name, objs)
        whom = str(objs[0]) if len(objs) == 1 else f"{len(objs)} {self.opts.verbose_name_plural}"
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"{operation.label}: {whom}",
            "subtitle": None,
            "original": objs[0] if len(objs) == 1 else None,
            "question": operation.question,
            "consequences": self.consequences(operation.name, objs, found.changes),
            "losing": found.losing,
            "switching": found.switching,
            "losing_shown": f"{found.losing:,}",
            "switching_shown": f"{found.switching:,}",
            "rows": list(_rows(list(page.object_list))),
            "page": page,
            "here": here,
            "file": f"{here}&csv" if self._may_download(request, objs) and found.affected else "",
            "submit": operation.label,
            "danger": operation.danger or found.losing > 0,
            "back": back,
            "media": self.media,
        }
        return TemplateResponse(request, self.impact_template, context)

    def _may_download(self, request: HttpRequest, objs: Sequence[Any]) -> bool:
        return all(may(user_of(request), Role.ADMIN, self.location_of(obj)) for obj in objs)

    def _file(self, request: HttpRequest, operation: Operation, objs: Sequence[Any], found: Impact) -> HttpResponseBase:
        if not self._may_download(request, objs):
            raise PermissionDenied
        for obj in objs:
            self.log_change(
                request, obj, f"Downloaded the {len(found.affected):,} contacts that “{operation.label}” would affect."
            )
        response = StreamingHttpResponse(_lines(found.affected), content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = f'attachment; filename="{operation.name}-contacts.csv"'
        response["Cache-Control"] = "no-store"
        return response


def _confirmed() -> forms.Form:
    form = forms.Form({})
    form.is_valid()
    return form


def _rows(affected: Sequence[Affected]) -> Iterator[dict[str, Any]]:
    """Contacts with the account they hear from and the one they would; one that went meanwhile is left out."""
    contacts = Contact.objects.in_bulk([each.contact_id for each in affected])
    for each in affected:
        contact = contacts.get(each.contact_id)
        if contact is not None:
            yield {"contact": contact, "before": each.before, "after": each.after}


def _lines(affected: Sequence[Affected]) -> Iterator[str]:
    writer = csv.writer(_Echo())
    yield writer.writerow(CSV_HEAD)
    for start in range(0, len(affected), CSV_BATCH):
        for row in _rows(affected[start : start + CSV_BATCH]):
            cells = (row["contact"].name, row["contact"].phone_number, *_named(row["before"]), *_named(row["after"]))
            yield writer.writerow([guarded(cell) for cell in cells])


def _named(account: AccountFacts | None) -> tuple[str, str]:
    return ("nobody", "") if account is None else (account.phone_number, f"{account.index} {account.label}")


class _Echo:
    """A file that gives back what is written."""

    def write(self, line: str) -> str:
        """The line itself."""
        return line
