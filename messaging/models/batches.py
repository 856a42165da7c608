"""Messages to many at once: what was asked for, how much of it was taken, and the rows that were refused."""

import uuid
from collections.abc import Sequence

from django.conf import settings
from django.db import connection, models
from django.db.models import Q
from django.utils import timezone

from messaging.models.messages import Message
from routing.constraints import SameLocation
from routing.models import ApiKey, Location
from routing.models.tenancy import LocationScoped


class MessageBatch(models.Model):
    """One list of recipients that was handed over in one go. What each of them gets is a message like any other, with
    `batch` set; how far they are is counted from their statuses.

    `recipient_count` is how many rows the list had, `accepted_count` how many messages were to be sent; `refused_count`
    are the others, each with its `BatchRefusal`. Numbers of the beginning: they never change.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    location = models.ForeignKey(Location, on_delete=models.PROTECT, related_name="batches", db_index=False)
    # What people call it; it goes to the audit trail, so it names nobody.
    label = models.CharField(max_length=100, blank=True)
    # Who asked for it, as in the audit trail; neither: somebody at the hub's own command line.
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    api_key = models.ForeignKey(ApiKey, on_delete=models.SET_NULL, null=True, related_name="+")
    actor = models.CharField(max_length=200)
    # What it was made from, where that is never to be sent twice: a digest of a file and of a part of it.
    origin = models.CharField(max_length=64, blank=True, editable=False)
    recipient_count = models.PositiveIntegerField()
    accepted_count = models.PositiveIntegerField()
    refused_count = models.PositiveIntegerField()
    # Somebody decided that what had not begun by then is not sent.
    cancelled_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=timezone.now)

    objects = LocationScoped["MessageBatch"].as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        verbose_name = "batch"
        verbose_name_plural = "batches"
        constraints = [
            models.UniqueConstraint(fields=["location", "id"], name="batch_of_location"),
            models.UniqueConstraint(fields=["location", "origin"], condition=~Q(origin=""), name="batch_origin_once"),
            models.CheckConstraint(
                condition=Q(recipient_count=models.F("accepted_count") + models.F("refused_count")),
                name="batch_counts_add_up",
            ),
        ]
        indexes = [
            models.Index(fields=["location", "-created_at", "-id"], name="batch_list"),
            models.Index(fields=["-created_at", "-id"], name="batch_list_of_all"),
        ]

    def __str__(self) -> str:
        return self.label or f"Batch of {self.created_at:%Y-%m-%d %H:%M} UTC"


class BatchRefusal(models.Model):
    """A row of the list that is not sent, and why. `index` counts from 0, as programs do.

    `message`: the one that was kept as failed, where a decision said no; None where the row itself was at fault.
    Neither `code` nor `detail` holds a name, a number of a contact, or a text.
    """

    id = models.BigAutoField(primary_key=True)
    location = models.ForeignKey(Location, on_delete=models.CASCADE, related_name="+", db_index=False)
    batch = models.ForeignKey(
        MessageBatch, on_delete=models.CASCADE, related_name="refusals", db_constraint=False, db_index=False
    )
    index = models.PositiveIntegerField()
    code = models.CharField(max_length=64)
    detail = models.TextField()
    message = models.ForeignKey(
        Message, on_delete=models.SET_NULL, null=True, related_name="+", db_constraint=False, db_index=False
    )

    objects = LocationScoped["BatchRefusal"].as_manager()

    class Meta:
        ordering = ["index"]
        constraints = [
            models.UniqueConstraint(fields=["batch", "index"], name="batch_refusal_once"),
            SameLocation(field="batch", name="batch_refusal_batch_same_location"),
            SameLocation(field="message", name="batch_refusal_message_same_location"),
        ]

    def __str__(self) -> str:
        return f"row {self.index}: {self.code}"


def next_positions(count: int) -> Sequence[int]:
    """As `NextPosition`, the next `count` places in their order; on SQLite inside the transaction that uses them."""
    if not count:
        return ()
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT nextval('messaging_message_position') FROM generate_series(1, %s)", [count])
            return sorted(position for (position,) in cursor.fetchall())
        cursor.execute("SELECT COALESCE(MAX(position), 0) + 1 FROM messaging_message")
        (first,) = cursor.fetchone()
        return range(first, first + count)
