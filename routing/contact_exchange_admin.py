"""Contacts in and out of files: the pages of an import, and the export of what the list shows."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.db.models import Count, Prefetch, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt, csrf_protect

from routing import audit, contact_import, contact_staging
from routing.admin_operations import OperationsAdmin
from routing.contact_files import COLUMNS, MAX_BYTES, MAX_ROWS, UnreadableFile, read, write_csv, write_xlsx
from routing.contact_resource import Line, shown
from routing.models import AuditAction, Contact, ContactTag, Location, Role, User
from routing.scoped_admin import choices_of, location_ids, may, user_of

ROWS_SHOWN = 100
MAX_XLSX_ROWS = 50_000
CHUNK = 1000
XLSX_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
USED = "This import was done already, or its hour is over. Choose the file again."
KIND_WORDS = {"wrong": "wrong", "new": "new", "updated": "changed", "unchanged": "unchanged"}


class ImportForm(forms.Form):
    """A file, and the location whose contacts it holds."""

    location = forms.ModelChoiceField(queryset=Location.objects.none(), help_text="Only this location is changed.")
    file = forms.FileField(
        label="File",
        widget=forms.FileInput(attrs={"accept": ".csv,.xlsx"}),
        help_text=f"CSV or XLSX, up to {MAX_BYTES // 1024 // 1024} MB and {MAX_ROWS:,} rows.",
    )

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["location"]
        field.queryset = choices_of(Location, user, Role.ADMIN)
        only = list(field.queryset[:2])
        if len(only) == 1:
            field.initial = only[0].pk

    def clean_file(self) -> bytes:
        """Its content, once it was read for a try. Raises ValidationError with what to do."""
        upload = self.cleaned_data["file"]
        if upload.size > MAX_BYTES:
            raise ValidationError(f"The file has more than {MAX_BYTES // 1024 // 1024} MB; split it.")
        content: bytes = upload.read()
        try:
            read(content)
        except UnreadableFile as refused:
            raise ValidationError(refused.detail) from refused
        return content


class ContactExchangeAdmin(OperationsAdmin):
    """The pages. Only admins of a location bring contacts into it or take them out."""

    exchange_by = Role.ADMIN
    change_list_template = "admin/routing/contact/change_list.html"

    def get_urls(self) -> list[URLPattern]:
        """Before Django's, which would take any path for an id."""
        wrap = self.admin_site.admin_view
        return [
            path("import/", self._bounded(wrap(self.import_view)), name="routing_contact_import"),
            path("import/<str:word>/", wrap(self.preview_view), name="routing_contact_import_preview"),
            path("export/", wrap(self.export_view), name="routing_contact_export"),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """With the doors to files, for those who may use them; the export keeps the list's search and filters."""
        query = request.GET.urlencode()
        doors = {
            "can_exchange": self._may_exchange(request),
            "export_url": f"{reverse('admin:routing_contact_export')}{'?' if query else ''}{query}",
        }
        return super().changelist_view(request, doors | (extra_context or {}))

    def _may_exchange(self, request: HttpRequest) -> bool:
        return self.permits(request, self.exchange_by)

    def _bounded(self, view: Callable[..., Any]) -> Callable[..., Any]:
        """Refuses too large a body by its announced length, before any of it is read."""
        protected = csrf_protect(view)

        def bounded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            length = request.META.get("CONTENT_LENGTH") or "0"
            if request.method == "POST" and (not length.isdigit() or int(length) > MAX_BYTES + 100_000):
                messages.error(request, f"The file has more than {MAX_BYTES // 1024 // 1024} MB; split it.")
                return HttpResponseRedirect(reverse("admin:routing_contact_import"))
            answer: HttpResponse = protected(request, *args, **kwargs)
            return answer

        return csrf_exempt(bounded)

    # --- in -----------------------------------------------------------------------------------------------------------
    def import_view(self, request: HttpRequest) -> HttpResponse:
        """Asks for the file."""
        if not self._may_exchange(request):
            raise PermissionDenied
        user = user_of(request)
        form = ImportForm(user, request.POST or None, request.FILES or None)
        if request.method == "POST" and form.is_valid():
            word = contact_staging.keep(
                content=form.cleaned_data["file"], location=form.cleaned_data["location"], by=user
            )
            return HttpResponseRedirect(reverse("admin:routing_contact_import_preview", args=[word]))
        return self._page(request, "import", {"title": "Import contacts", "form": form, "columns": COLUMNS, "step": 1})

    def preview_view(self, request: HttpRequest, word: str) -> HttpResponse:
        """Shows what would change; by POST it is done."""
        user = user_of(request)
        staged = contact_staging.find(word, by=user)
        location = Location.objects.filter(pk=staged.location_id).first() if staged else None
        if staged is None or location is None or not may(user, self.exchange_by, location.pk):
            if not self._may_exchange(request):
                raise PermissionDenied
            return self._again(request)
        if request.method == "POST":
            return self._run(request, staged, location)
        content = staged.content()
        if content is None:
            return self._again(request)
        sheet = read(content)
        lines = contact_import.preview(location=location, sheet=sheet)
        return self._lines_page(request, location, lines, {"title": "Look before you import", "notes": sheet.notes})

    def _run(self, request: HttpRequest, staged: contact_staging.Staged, location: Location) -> HttpResponse:
        content = staged.take()
        if content is None:
            return self._again(request)
        leave_out = request.POST.get("rows") == "good"
        try:
            report = contact_import.run(
                location=location, sheet=read(content), by=user_of(request), leave_out_wrong=leave_out
            )
        except BaseException:
            staged.put_back()
            raise
        if not report.done:
            staged.put_back()
            messages.warning(request, "Some rows are wrong by now, so nothing was imported. Look again.")
            return HttpResponseRedirect(request.get_full_path())
        staged.forget()
        counts = report.counts
        words = f"{counts['new']} new, {counts['updated']} changed, {counts['unchanged']} unchanged"
        messages.success(request, f"Imported into {location}: {words}.")
        context = {"title": "Import report", "done": True}
        return self._lines_page(request, location, report.lines, context)

    def _again(self, request: HttpRequest) -> HttpResponse:
        messages.error(request, USED)
        return HttpResponseRedirect(reverse("admin:routing_contact_import"))

    def _lines_page(
        self, request: HttpRequest, location: Location, lines: Sequence[Line], context: dict[str, Any]
    ) -> HttpResponse:
        counts = contact_import.count(lines)
        done = context.get("done", False)
        kind = request.GET.get("show", "")
        if kind not in KIND_WORDS or done:
            kind = "wrong" if done else next((one for one in KIND_WORDS if counts[one]), "wrong")
        page = Paginator([line for line in lines if line.kind == kind], ROWS_SHOWN).get_page(request.GET.get("page"))
        context |= {
            "location": location,
            "counts": counts,
            "tabs": [(one, words, counts[one]) for one, words in KIND_WORDS.items()],
            "kind": kind,
            "page": page,
            "columns": COLUMNS,
            "good": counts["new"] + counts["updated"],
            "doubtful": sum(bool(line.doubts) for line in lines),
            "step": 3 if done else 2,
        }
        return self._page(request, "import_lines", context)

    def _page(self, request: HttpRequest, name: str, context: dict[str, Any]) -> HttpResponse:
        request.current_app = self.admin_site.name
        basis = {**self.admin_site.each_context(request), "opts": self.opts, "subtitle": None, "media": self.media}
        return TemplateResponse(request, f"admin/routing/contact/{name}.html", basis | context)

    # --- out ----------------------------------------------------------------------------------------------------------
    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """The contacts that the list shows with this query string, of the locations where the user is an admin."""
        if not self._may_exchange(request):
            raise PermissionDenied
        kind = request.POST.get("format")
        if request.method != "POST" or kind not in ("csv", "xlsx"):
            raise Http404
        rows = self._rows_of(request)
        by_location = list(rows.order_by().values_list("location").annotate(count=Count("pk")))
        total = sum(count for _, count in by_location)
        if kind == "xlsx" and total > MAX_XLSX_ROWS:
            messages.error(request, f"An XLSX holds at most {MAX_XLSX_ROWS:,} contacts; take CSV, or filter the list.")
            return HttpResponseRedirect(f"{self.list_url()}?{request.GET.urlencode()}")
        self._note_export(request, kind, by_location)
        name = f"contacts-{timezone.localdate():%Y-%m-%d}.{kind}"
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store, private"}
        cells = _cells(rows)
        if kind == "xlsx":
            return HttpResponse(write_xlsx(cells), content_type=XLSX_TYPE, headers=headers)
        return StreamingHttpResponse(write_csv(cells), content_type="text/csv; charset=utf-8", headers=headers)

    def _rows_of(self, request: HttpRequest) -> QuerySet[Contact]:
        try:
            changes: Any = self.get_changelist_instance(request)
        except IncorrectLookupParameters as error:
            raise Http404 from error
        rows: QuerySet[Contact] = changes.get_queryset(request)
        ids = location_ids(user_of(request), self.exchange_by)
        return rows if ids is None else rows.filter(location__in=ids)

    def _note_export(self, request: HttpRequest, kind: str, by_location: Sequence[tuple[Any, int]]) -> None:
        counts = dict(by_location)
        for location in Location.objects.filter(pk__in=counts):
            audit.record(
                by=user_of(request),
                action=AuditAction.CHANGED,
                obj=location,
                location_id=location.pk,
                detail=f"Exported {counts[location.pk]} contacts as {kind.upper()}.",
            )


def _cells(rows: QuerySet[Contact]) -> Iterator[list[str]]:
    tags = ContactTag.objects.select_related("tag").order_by("pk")
    rows = rows.select_related(None).select_related("assigned_user").prefetch_related(None)
    rows = rows.prefetch_related(Prefetch("contact_tags", queryset=tags))
    for contact in rows.iterator(chunk_size=CHUNK):
        names = [row.tag.name for row in contact.contact_tags.all()]
        yield list(shown(contact, names).values())
