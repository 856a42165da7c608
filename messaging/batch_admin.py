"""The admin of batches: how far each is, what was refused and why, and the end of what has not begun."""

import csv
from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString

from messaging.batch_live import live_part, messages_url
from messaging.batches import cancel_rest, count_waiting
from messaging.models import MessageBatch
from routing.admin_lists import CursorChangeList
from routing.admin_look import QUIET, badge, moment
from routing.admin_operations import Operation, OperationsAdmin
from routing.contact_files import guarded
from routing.models import Role, User
from routing.scoped_admin import ReadOnlyAdmin, ScopedRelatedFilter

CHUNK = 1000
COLUMNS = ("row", "code", "reason", "message")


def _cancel(user: User, batch: MessageBatch, data: dict[str, Any]) -> str:
    cancelled = cancel_rest(batch=batch, by=user)
    return "1 message is not sent." if cancelled == 1 else f"{cancelled:,} messages are not sent."


def _waits(batch: MessageBatch) -> bool:
    return bool(count_waiting([batch.pk]))


class BatchChangeList(CursorChangeList):
    """Each batch of the page with how many of its messages wait, counted for all of them at once."""

    def get_results(self, request: HttpRequest) -> None:
        """One page, and its counts."""
        super().get_results(request)
        waiting = count_waiting(batch.pk for batch in self.result_list)
        for batch in self.result_list:
            batch.waiting = waiting.get(batch.pk, 0)


@admin.register(MessageBatch)
class MessageBatchAdmin(OperationsAdmin, ReadOnlyAdmin):
    """Batches, newest first; made over the API and at the command line."""

    class Media:
        css = {"all": ("hub/setups.css", "hub/batches.css")}

    list_display = ("name", "created", "progress", "refused", "made_by", "location")
    list_filter = (("location", ScopedRelatedFilter),)
    lookups = frozenset({"location__id__exact"})
    list_words = "Messages that went to many recipients at once, newest first."
    empty_words = "A batch shows up here when one message is sent to many: by a program, or at the command line."
    search_fields = ("label",)
    search_help_text = "Label"
    ordering = ("-created_at", "-id")
    sortable_by = ()
    list_per_page = 50
    list_select_related = ("location",)
    actions = ()
    fieldsets = ((None, {"fields": ()}),)
    change_form_template = "admin/messaging/messagebatch/page.html"
    operations = (
        Operation(
            name="cancel",
            label="Cancel the rest",
            run=_cancel,
            by=Role.AGENT,
            shown=_waits,
            question="What has not begun to be sent is not sent; what is on its way stays. This cannot be undone.",
            danger=True,
            audited=True,
        ),
    )

    def get_urls(self) -> list[URLPattern]:
        """With the moving part of a page and the file of what was refused; before Django's, which would take any path
        for an id."""
        wrap = self.admin_site.admin_view
        return [
            path("<path:object_id>/live/", wrap(self.live_view), name="messaging_messagebatch_live"),
            path("<path:object_id>/refused/", wrap(self.refused_view), name="messaging_messagebatch_refused"),
            *super().get_urls(),
        ]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[BatchChangeList]:
        """Never counted."""
        return BatchChangeList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With their location, whose clocks they are told by."""
        return super().get_queryset(request).select_related("location")

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """With the part that moves."""
        batch = context.get("original")
        if batch is not None:
            context["live"] = live_part(batch, request)
            context["messages_url"] = messages_url(batch)
        return super().render_change_form(request, context, *args, **kwargs)

    def live_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The moving part alone. Raises Http404 for batches of other locations as for absent ones."""
        return HttpResponse(live_part(self._batch(request, object_id), request))

    def refused_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Every refused row with its reason, as CSV; it names nobody. Raises Http404 as `live_view` does."""
        batch = self._batch(request, object_id)
        response = StreamingHttpResponse(_lines(batch), content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = f'attachment; filename="refused-{batch.created_at:%Y-%m-%d-%H%M}.csv"'
        response["Cache-Control"] = "no-store"
        return response

    def _batch(self, request: HttpRequest, object_id: str) -> MessageBatch:
        batch: MessageBatch | None = self.get_object(request, unquote(object_id))
        if batch is None:
            raise Http404
        return batch

    # --- list ---------------------------------------------------------------------------------------------------------

    @admin.display(description="batch")
    def name(self, batch: MessageBatch) -> str:
        """What people call it."""
        return str(batch)

    @admin.display(description="created")
    def created(self, batch: MessageBatch) -> str:
        """When it was handed over."""
        return moment(batch.created_at, batch.location)

    @admin.display(description="through")
    def progress(self, batch: Any) -> SafeString:
        """How many of the accepted ones have begun or are over, as a figure and a bar."""
        done = batch.accepted_count - batch.waiting
        bar = format_html(
            '<span class="hub-lines"><progress value="{}" max="{}" aria-hidden="true"></progress><span>{} of {}</span>'
            "</span>",
            done,
            max(batch.accepted_count, 1),
            f"{done:,}",
            f"{batch.accepted_count:,}",
        )
        return format_html("{} {}", bar, badge("cancelled", QUIET)) if batch.cancelled_at else bar

    @admin.display(description="refused")
    def refused(self, batch: MessageBatch) -> str:
        """How many rows are not sent."""
        return f"{batch.refused_count:,}" if batch.refused_count else "–"

    @admin.display(description="by")
    def made_by(self, batch: MessageBatch) -> str:
        """Who asked for it; no link, because users are the operators' affair."""
        return batch.actor


def _lines(batch: MessageBatch) -> Iterator[str]:
    writer = csv.writer(_Echo())
    yield writer.writerow(COLUMNS)
    for refusal in batch.refusals.order_by("index").iterator(chunk_size=CHUNK):
        cells = (str(refusal.index + 1), refusal.code, refusal.detail, str(refusal.message_id or ""))
        yield writer.writerow([guarded(cell) for cell in cells])


class _Echo:
    """A file that gives back what is written."""

    def write(self, line: str) -> str:
        """The line itself."""
        return line
