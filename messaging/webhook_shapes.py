"""What webhook endpoints and their deliveries look like over HTTP."""

from datetime import datetime

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from messaging.models import DeliveryState, DisabledReason, WebhookAttempt, WebhookDelivery, WebhookEndpoint
from messaging.models.webhooks import CHOSEN_TYPES, EventType
from messaging.webhooks_out.endpoints import SECRET_OVERLAP
from routing.tenancy_api import Flag, LocatedSerializer, Moment, StrictSerializer, Text, Word

MAX_URL = 2000
MAX_DESCRIPTION = 120
MAX_TYPES = 50
OVERLAP_HOURS = int(SECRET_OVERLAP.total_seconds() // 3600)


# --- asking -----------------------------------------------------------------------------------------------------------
class EndpointFields(LocatedSerializer):
    """What is said of an endpoint."""

    url = Text(
        max_length=MAX_URL, help_text="A plain https address on the public internet. Redirects are not followed."
    )
    description = Text(
        required=False, allow_blank=True, max_length=MAX_DESCRIPTION, help_text="For the people who run it."
    )
    event_types = serializers.ListField(
        child=Word(CHOSEN_TYPES, component="ChosenEventType"),
        required=False,
        max_length=MAX_TYPES,
        help_text="What it is told; an empty list means everything, also types that are yet to come.",
    )


class NewWebhookEndpoint(EndpointFields):
    """An endpoint to be made; it is enabled at once."""


class WebhookEndpointChange(EndpointFields):
    """What of an endpoint is to be changed."""

    is_enabled = Flag(
        required=False,
        help_text="false: it gets nothing, and what happens meanwhile is not kept for it. true: it gets what waits.",
    )


class RotationForm(LocatedSerializer):
    """How the old secret ends."""

    end_previous = Flag(
        default=False,
        help_text=f"true: the old secret ends at once, since somebody knows it. Else both sign for {OVERLAP_HOURS} h.",
    )


class ReplayFailedForm(LocatedSerializer):
    """From when on."""

    since = Moment(help_text="What was given up and happened at this moment or later is delivered again.")


# --- answers ----------------------------------------------------------------------------------------------------------
class WebhookEndpointAnswer(serializers.Serializer[WebhookEndpoint]):
    """An address that is told what happens in a location. Its secret is shown once, where it is made."""

    id = serializers.UUIDField()
    location = serializers.UUIDField(source="location_id")
    url = serializers.CharField()
    description = serializers.CharField()
    event_types = serializers.ListField(
        child=Word(CHOSEN_TYPES, component="ChosenEventType"), help_text="Empty: everything."
    )
    is_enabled = serializers.BooleanField()
    disabled_reason = serializers.SerializerMethodField()
    disabled_at = serializers.DateTimeField(allow_null=True)
    failing_since = serializers.DateTimeField(
        allow_null=True, help_text="No delivery has succeeded since then; null while all is well."
    )
    secret_set_at = serializers.DateTimeField()
    previous_secret_until = serializers.DateTimeField(
        allow_null=True, help_text="Until then the secret before signs as well."
    )
    created_at = serializers.DateTimeField()

    @extend_schema_field(Word(DisabledReason.values, component="WebhookDisabledReason", allow_null=True))
    def get_disabled_reason(self, endpoint: WebhookEndpoint) -> str | None:
        """`person` switched it off, it is `gone` by its own word (410), or was `failing` for days; null: enabled."""
        return endpoint.disabled_reason or None


class WebhookSecretAnswer(WebhookEndpointAnswer):
    """The endpoint with its new secret, which is not shown again."""

    secret = serializers.SerializerMethodField(help_text="Verifies the signatures. Keep it: nobody is shown it again.")

    def get_secret(self, endpoint: WebhookEndpoint) -> str:
        """In clear, for this once."""
        return str(self.context["secret"])


class WebhookAttemptAnswer(serializers.Serializer[WebhookAttempt]):
    """One try to deliver."""

    at = serializers.DateTimeField()
    duration_ms = serializers.IntegerField()
    status_code = serializers.IntegerField(allow_null=True, help_text="null: no answer came.")
    answer = serializers.CharField(help_text="The beginning of what was answered.")
    problem = serializers.CharField(help_text='Why it failed, where the status does not say it; "" otherwise.')


class WebhookDeliveryAnswer(serializers.Serializer[WebhookDelivery]):
    """One event on its way to one endpoint."""

    id = serializers.IntegerField()
    endpoint = serializers.UUIDField(source="endpoint_id")
    event = serializers.UUIDField(source="event_id", help_text="The `webhook-id` header of every try.")
    event_type = Word(EventType, component="WebhookEventType", source="event.type")
    state = Word(DeliveryState, component="WebhookDeliveryState")
    status_code = serializers.IntegerField(allow_null=True, help_text="Of the last try; null: no answer came yet.")
    next_attempt_at = serializers.SerializerMethodField()
    created_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True, help_text="When it was delivered or given up.")
    attempts = WebhookAttemptAnswer(many=True, source="tries", help_text="The earliest first.")

    def get_next_attempt_at(self, delivery: WebhookDelivery) -> datetime | None:
        """Null when it has ended, or waits for the endpoint to be enabled or for the event before it."""
        return delivery.due_at


class ReplayedAnswer(StrictSerializer):
    """What is delivered again."""

    replayed = serializers.IntegerField(help_text="How many deliveries.")
