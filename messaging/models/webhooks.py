"""Webhooks out: who is told, of what, and what came of each try."""

import uuid
from urllib.parse import urlsplit

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from provisioning.duties import Duty
from provisioning.fields import SecretTextField
from routing.constraints import SameLocation
from routing.models import Location
from routing.models.tenancy import LocationScoped


class EventType(models.TextChoices):
    """What clients can be told."""

    MESSAGE_STATUS = "message.status", "message.status: a message reached another status"
    MESSAGE_RECEIVED = "message.received", "message.received: a contact wrote"
    LINE_ASSIGNED = "line.assigned", "line.assigned: a phone line got its number"
    LINE_HEALTH = "line.health", "line.health: a phone line does better or worse"
    TEST = "webhook.test", "webhook.test: somebody tried the endpoint"


CHOSEN_TYPES = [kind for kind in EventType if kind is not EventType.TEST]
"""What an endpoint can ask for; a test comes to every endpoint that is tested."""


class DisabledReason(models.TextChoices):
    """Why an endpoint gets nothing."""

    PERSON = "person", "switched off"
    GONE = "gone", "it answered 410 Gone"
    FAILING = "failing", "nothing could be delivered for days"


class WebhookEndpointQuerySet(LocationScoped["WebhookEndpoint"]):
    """Endpoints."""

    def there(self) -> "WebhookEndpointQuerySet":
        """Those that nobody has deleted; the rows of the others are being cleared away."""
        return self.filter(deleted_at=None)

    def enabled(self) -> "WebhookEndpointQuerySet":
        """Those that get events."""
        return self.filter(deleted_at=None, disabled_at=None)


class WebhookEndpoint(models.Model):
    """An address of a client's program that wants to be told what happens in a location.

    `event_types`: which; empty means every type, also those to come. `failing_since`: no delivery has succeeded since
    that failure. Disabled it gets nothing new; what was waiting for it stays as it is.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    location = models.ForeignKey(Location, on_delete=models.CASCADE, related_name="webhook_endpoints", db_index=False)
    url = models.CharField("URL", max_length=2000)
    description = models.CharField(max_length=120, blank=True)
    event_types = models.JSONField(default=list, blank=True)
    secret = SecretTextField(editable=False)
    secret_set_at = models.DateTimeField(default=timezone.now, editable=False)
    # Signs beside the new one after a rotation, until its end.
    previous_secret = SecretTextField(null=True, blank=True, editable=False)
    previous_secret_until = models.DateTimeField(null=True, blank=True, editable=False)
    failing_since = models.DateTimeField(null=True, blank=True, editable=False)
    disabled_at = models.DateTimeField(null=True, blank=True, editable=False)
    disabled_reason = models.CharField(max_length=8, choices=DisabledReason, blank=True, editable=False)
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, editable=False, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = WebhookEndpointQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "id"]
        constraints = [
            models.UniqueConstraint(fields=["location", "id"], name="webhook_endpoint_of_location"),
            models.CheckConstraint(
                condition=Q(disabled_at=None, disabled_reason="")
                | Q(disabled_at__isnull=False) & ~Q(disabled_reason=""),
                name="webhook_endpoint_disabled_for_a_reason",
            ),
        ]
        indexes = [
            models.Index(
                fields=["location"], condition=Q(disabled_at=None, deleted_at=None), name="webhook_endpoint_enabled"
            ),
            models.Index(fields=["location", "-created_at", "id"], name="webhook_endpoint_list"),
        ]

    def __str__(self) -> str:
        # Paths and queries of such addresses may be secrets.
        return self.description or urlsplit(self.url).netloc

    @property
    def is_enabled(self) -> bool:
        """Whether it gets events."""
        return self.disabled_at is None and self.deleted_at is None

    def wants(self, kind: EventType) -> bool:
        """Whether it asked for events of the type."""
        return not self.event_types or kind.value in self.event_types


class WebhookEvent(models.Model):
    """Something that happened and of which somebody is told: the very bytes that are signed and sent, kept as they were
    when it happened.

    `id` is the `webhook-id` of every delivery. It is made of what happened, so that the same thing is told once.
    `conversation` keeps order: of one of them, each endpoint gets one event after the other.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    location = models.ForeignKey(Location, on_delete=models.CASCADE, related_name="+", db_index=False)
    type = models.CharField(max_length=32, choices=EventType)
    body = models.TextField()
    conversation = models.UUIDField()
    created_at = models.DateTimeField(default=timezone.now)

    objects = LocationScoped["WebhookEvent"].as_manager()

    class Meta:
        ordering = ["-created_at", "id"]
        constraints = [models.UniqueConstraint(fields=["location", "id"], name="webhook_event_of_location")]
        indexes = [models.Index(fields=["created_at"], name="webhook_event_old")]

    def __str__(self) -> str:
        return f"{self.type} {self.id}"


class DeliveryState(models.TextChoices):
    """Where a delivery is."""

    PENDING = "pending", "pending"
    DELIVERED = "delivered", "delivered"
    FAILED = "failed", "given up"


class WebhookDelivery(Duty):
    """One event on its way to one endpoint. `id` is the order.

    As a duty it is due while it is pending and nobody holds it back: an earlier event of its conversation, or a
    disabled endpoint. `first_tried_at` begins the days after which it is given up; a replay begins them anew.
    """

    id = models.BigAutoField(primary_key=True)
    location = models.ForeignKey(Location, on_delete=models.CASCADE, related_name="+", db_index=False)
    endpoint = models.ForeignKey(
        WebhookEndpoint, on_delete=models.CASCADE, related_name="deliveries", db_constraint=False, db_index=False
    )
    event = models.ForeignKey(
        WebhookEvent, on_delete=models.CASCADE, related_name="deliveries", db_constraint=False, db_index=False
    )
    conversation = models.UUIDField()
    state = models.CharField(max_length=9, choices=DeliveryState, default=DeliveryState.PENDING)
    created_at = models.DateTimeField(default=timezone.now)
    first_tried_at = models.DateTimeField(null=True, blank=True)
    # When it was delivered or given up.
    ended_at = models.DateTimeField(null=True, blank=True)
    # The last answer: its HTTP status, None when there was none.
    status_code = models.PositiveSmallIntegerField(null=True, blank=True)

    objects = LocationScoped["WebhookDelivery"].as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "webhook deliveries"
        constraints = [
            models.UniqueConstraint(fields=["event", "endpoint"], name="webhook_delivery_once"),
            models.UniqueConstraint(fields=["location", "id"], name="webhook_delivery_of_location"),
            SameLocation(field="endpoint", name="webhook_delivery_endpoint_same_location"),
            SameLocation(field="event", name="webhook_delivery_event_same_location"),
        ]
        indexes = [
            # What is due for an endpoint, and what it is busy with.
            models.Index(
                fields=["endpoint", "due_at", "id"], condition=Q(due_at__isnull=False), name="webhook_delivery_lane"
            ),
            models.Index(
                fields=["endpoint", "lease_until"],
                condition=Q(lease_until__isnull=False),
                name="webhook_delivery_in_flight",
            ),
            # The earliest of a conversation that is still to be delivered.
            models.Index(
                fields=["endpoint", "conversation", "id"], condition=Q(state="pending"), name="webhook_delivery_head"
            ),
            models.Index(fields=["endpoint", "-id"], name="webhook_delivery_list"),
            models.Index(fields=["location", "-id"], name="webhook_delivery_list_of_all"),
            # The few that did not arrive must not be looked for through all the rest.
            models.Index(fields=["endpoint", "-id"], condition=~Q(state="delivered"), name="webhook_undelivered"),
            models.Index(
                fields=["location", "-id"], condition=~Q(state="delivered"), name="webhook_undelivered_of_all"
            ),
            models.Index(fields=["ended_at"], condition=Q(ended_at__isnull=False), name="webhook_delivery_old"),
        ]

    def __str__(self) -> str:
        return f"delivery {self.pk}"


class WebhookAttempt(models.Model):
    """One try to deliver, and what came back. `status_code` None: no answer, and `problem` says why. `answer` is the
    beginning of what was answered, cleaned."""

    id = models.BigAutoField(primary_key=True)
    location = models.ForeignKey(Location, on_delete=models.CASCADE, related_name="+", db_index=False)
    delivery = models.ForeignKey(WebhookDelivery, on_delete=models.CASCADE, related_name="tries", db_constraint=False)
    at = models.DateTimeField()
    duration_ms = models.PositiveIntegerField()
    status_code = models.PositiveSmallIntegerField(null=True, blank=True)
    answer = models.CharField(max_length=500, blank=True)
    problem = models.CharField(max_length=200, blank=True)

    objects = LocationScoped["WebhookAttempt"].as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [SameLocation(field="delivery", name="webhook_attempt_delivery_same_location")]

    def __str__(self) -> str:
        return f"attempt of {self.at:%Y-%m-%d %H:%M:%S}"
