"""What of a batch moves while one looks at it: how many messages have come how far, and which rows were refused."""

from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse

from messaging.batches import WAITING, count_by_status
from messaging.message_words import STATUS_TONES
from messaging.models import MessageBatch, MessageStatus

REFUSALS_SHOWN = 50
"""Refused rows that stand on the page; all of them are in the file."""
BEGINNING = (*WAITING, MessageStatus.SENDING)
"""Statuses in which nothing has come of a message yet."""


def live_part(batch: MessageBatch, request: HttpRequest) -> str:
    """The moving part of the batch's page, as HTML; two queries, and none that grows but the count by its index."""
    counts = count_by_status([batch.pk]).get(batch.pk, {})
    rest = sum(counts.get(status, 0) for status in BEGINNING)
    done = batch.accepted_count - rest
    context = {
        "batch": batch,
        "location": batch.location,
        "done": done,
        "said": f"{done:,} of {batch.accepted_count:,} messages are through.",
        "moves": rest > 0,
        "status": "moving" if rest else "over",
        "counts": [_count(batch, status, counts[status]) for status in MessageStatus if status in counts],
        "refusals": [
            {"row": refusal, "place": refusal.index + 1}
            for refusal in batch.refusals.order_by("index")[:REFUSALS_SHOWN]
        ],
        "more": max(batch.refused_count - REFUSALS_SHOWN, 0),
        "file": reverse("admin:messaging_messagebatch_refused", args=[batch.pk]),
        "url": reverse("admin:messaging_messagebatch_live", args=[batch.pk]),
    }
    return render_to_string("admin/messaging/messagebatch/live.html", context, request=request)


def messages_url(batch: MessageBatch, **more: str) -> str:
    """The list of the batch's messages."""
    query = urlencode({"batch__id__exact": str(batch.pk), **more})
    return f"{reverse('admin:messaging_message_changelist')}?{query}"


def _count(batch: MessageBatch, status: MessageStatus, count: int) -> dict[str, Any]:
    return {
        "label": status.label,
        "tone": STATUS_TONES[status],
        "count": f"{count:,}",
        "url": messages_url(batch, status=status.value),
    }
