"""Messages to many over HTTP: send them, see how far they are, cancel the rest."""

from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, ClassVar, Final

from django.utils import timezone
from django_filters.rest_framework import FilterSet
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import mixins
from rest_framework.decorators import action
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from messaging.api import IDEMPOTENCY_KEY, REPLAYED, Problems, fingerprint, idempotency_key, new_message
from messaging.batch_shapes import BatchAnswer, BulkAnswer, BulkForm, CancelledBatchAnswer
from messaging.batches import cancel_rest, count_by_status
from messaging.bulk import Recipient, Sent, send_bulk, send_bulk_once
from messaging.models import MessageBatch
from routing.problems import ProblemForm
from routing.tenancy_api import LocationViewSet, MomentFilter, NoBody

MAX_BODY_BYTES: Final = 16 * 1024 * 1024
"""So that 10,000 recipients fit with a text of a few hundred characters and some metadata each."""

EXAMPLES = [
    OpenApiExample(
        "A reminder, and one person's own text",
        request_only=True,
        value={
            "label": "Flu shots",
            "text": "Your flu shot is due. Reply to this message to make an appointment.",
            "recipients": [
                {"to": "+15557654321", "metadata": {"patient": 4711}},
                {"to": "(555) 765-4322", "text": "Dr. Lee has time for your flu shot on Monday. {IM#2}"},
            ],
        },
    )
]


class BulkView(LocationViewSet):
    """Messages to many."""

    queryset = MessageBatch.objects.all()
    serializer_class = BulkForm
    ordering = ("-created_at", "-id")
    problems: ClassVar[Problems] = {
        "create": {
            409: "`idempotency_in_progress`: the first request under this key is still running.",
            413: (ProblemForm, f"The body is larger than {MAX_BODY_BYTES // 1024 // 1024} MiB."),
            422: "`idempotency_key_reused`: nothing is kept.",
        },
    }

    def get_parsers(self) -> list[BaseParser]:
        """As everywhere, for a longer body."""
        parsers: list[BaseParser] = super().get_parsers()
        for parser in parsers:
            parser.max_bytes = MAX_BODY_BYTES  # type: ignore[attr-defined]
        return parsers

    @extend_schema(
        request=BulkForm, responses={202: BulkAnswer}, examples=EXAMPLES, parameters=[IDEMPOTENCY_KEY, REPLAYED]
    )
    def create(self, request: Request) -> Response:
        """Send to up to 10,000 recipients at once: good rows are stored and leave in their turn, bad ones are told.

        Each row comes to what `POST /messages/` would have made of it. A row whose number, text or contact is wrong
        keeps nothing; one for which no account can be chosen (`contact_opted_out`, `no_connected_account` and the other
        codes of a single message's 422) is kept as a failed message. A recipient who stands in the list again is
        refused as `duplicate_recipient`. What is not of this form at all makes nothing: 400. `GET /messages/?batch=`
        lists the messages.
        """
        key = idempotency_key(request)
        location = self.require_location()
        asked = self.read_body(BulkForm)
        digest = fingerprint(asked)
        label, rows = asked.pop("label"), asked.pop("recipients")
        act = partial(
            send_bulk,
            location=location,
            frame=new_message({**asked, "to": "", "metadata": {}}),
            recipients=[Recipient(**row) for row in rows],
            by=self.caller,
            now=timezone.now(),
            label=label,
        )
        if key is None:
            status, body = told(act())
            return Response(body, status=status)
        status, body, replayed = send_bulk_once(location=location, key=key, fingerprint=digest, act=act, render=told)
        return Response(body, status=status, headers={"Idempotent-Replayed": "true"} if replayed else None)


def told(sent: Sent) -> tuple[int, dict[str, Any]]:
    """The answer to a batch that was just stored."""
    return HTTPStatus.ACCEPTED, {
        "batch": str(sent.batch.pk),
        "accepted": sent.batch.accepted_count,
        "rejected": [
            {
                "index": row.index,
                "code": row.code,
                "detail": row.detail,
                "message": str(row.message_id) if row.message_id else None,
            }
            for row in sent.refusals
        ],
    }


class BatchFilter(FilterSet):  # type: ignore[misc]
    """Which batches."""

    created_after = MomentFilter(field_name="created_at", lookup_expr="gte", help_text="From this moment on.")
    created_before = MomentFilter(field_name="created_at", lookup_expr="lt", help_text="Before this moment.")


class BatchView(mixins.ListModelMixin, mixins.RetrieveModelMixin, LocationViewSet):
    """The batches of the caller's locations, the newest first."""

    queryset = MessageBatch.objects.all()
    serializer_class = BatchAnswer
    filterset_class = BatchFilter
    ordering = ("-created_at", "-id")

    def list(self, request: Request) -> Response:
        """The batches, each with how far it is."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset())) or []
        return self.get_paginated_response(self._answer(BatchAnswer, page, many=True))

    def retrieve(self, request: Request, pk: str) -> Response:
        """One batch, and how far it is."""
        return Response(self._answer(BatchAnswer, self.get_object()))

    @extend_schema(request=None, responses={200: CancelledBatchAnswer})
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """Keep the rest of a batch from being sent: whatever has not begun. Again: whatever has not begun by then."""
        batch: MessageBatch = self.get_object()
        self.read_body(NoBody)
        cancelled = cancel_rest(batch=batch, by=self.caller)
        return Response(self._answer(CancelledBatchAnswer, batch, cancelled=cancelled))

    def _answer(self, form: type[BatchAnswer], found: Any, *, many: bool = False, **context: Any) -> Any:
        counts: Mapping[Any, Any] = count_by_status(batch.pk for batch in (found if many else [found]))
        return form(found, many=many, context={"counts": counts, **context}).data
