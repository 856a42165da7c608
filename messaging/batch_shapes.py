"""What batches look like over HTTP: the request to send to many, its answer, and how far a batch is."""

from typing import Any, Final

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from messaging.api_shapes import ClientObject, NewMessageForm
from messaging.bulk import MAX_RECIPIENTS
from messaging.models import BatchRefusal, MessageBatch, MessageStatus
from routing.tenancy_api import StrictSerializer, Text

MAX_LABEL: Final = 100
MAX_ROW_ERRORS: Final = 20
"""Malformed rows that one answer tells."""


class RecipientForm(StrictSerializer):
    """One of those who get it."""

    to = Text(
        max_length=64, help_text="A phone number, in any form that can be read in the location, or a contact's id."
    )
    text = Text(
        default=None,
        allow_null=True,
        allow_blank=True,
        trim_whitespace=False,
        help_text="This recipient's own text, overrides and all; null or left out: the text of all.",
    )
    metadata = ClientObject(default=dict, help_text="The client's own object, up to 4 KiB; answered as it came.")


@extend_schema_field(
    serializers.ListField(child=RecipientForm(), min_length=1, max_length=MAX_RECIPIENTS, allow_empty=False)
)
class Recipients(serializers.ListField):
    """The list. How long it is comes first, and of its malformed rows the first few are told."""

    child = RecipientForm()

    def to_internal_value(self, data: Any) -> list[Any]:
        if not isinstance(data, list):
            self.fail("not_a_list", input_type=type(data).__name__)
        if not data:
            raise ValidationError("Name at least one recipient.", code="no_recipients")
        if len(data) > MAX_RECIPIENTS:
            detail = f"A batch has at most {MAX_RECIPIENTS:,} recipients; send the rest in another one."
            raise ValidationError(detail, code="too_many_recipients")
        read: list[Any] = []
        errors: dict[str, Any] = {}
        for index, row in enumerate(data):
            try:
                read.append(self.child.run_validation(row))
            except ValidationError as error:
                errors[str(index)] = error.detail
                if len(errors) == MAX_ROW_ERRORS:
                    break
        if errors:
            raise ValidationError(errors)
        return read


class BulkForm(NewMessageForm):
    """A message to many: what all have in common, and who gets it."""

    to = None  # type: ignore[assignment]  # each recipient's own
    metadata = None  # type: ignore[assignment]
    text = Text(
        default="",
        allow_blank=True,
        trim_whitespace=False,
        help_text="What everybody gets who has no text of their own.",
    )
    label = Text(  # type: ignore[assignment]
        default="",
        allow_blank=True,
        max_length=MAX_LABEL,
        help_text="What people call the batch. It stands in the audit trail: no names and no numbers, please.",
    )
    recipients = Recipients(help_text="Who gets it, in the order in which the messages leave.")


class RefusalAnswer(serializers.Serializer[BatchRefusal]):
    """A row that is not sent."""

    index = serializers.IntegerField(help_text="Its place in `recipients`, from 0.")
    code = serializers.CharField()
    detail = serializers.CharField()
    message = serializers.UUIDField(
        source="message_id",
        allow_null=True,
        help_text="The message that was kept as failed, where no account could be chosen; null otherwise.",
    )


class BulkAnswer(serializers.Serializer[Any]):
    """What became of the list."""

    batch = serializers.UUIDField()
    accepted = serializers.IntegerField()
    rejected = RefusalAnswer(many=True)


@extend_schema_field({"type": "object", "additionalProperties": {"type": "integer", "minimum": 1}})
class Counts(serializers.Field[Any, Any, Any, Any]):
    """How many messages have which status."""

    def to_representation(self, value: Any) -> Any:
        return {status: value[status] for status in MessageStatus.values if status in value}


class BatchAnswer(serializers.Serializer[MessageBatch]):
    """A batch, and how far it is."""

    # In the context: `counts`, by batch and status.

    id = serializers.UUIDField()
    location = serializers.UUIDField(source="location_id")
    label = serializers.CharField()  # type: ignore[assignment]
    recipients = serializers.IntegerField(source="recipient_count", help_text="Rows that the list had.")
    accepted = serializers.IntegerField(source="accepted_count", help_text="Messages that were to be sent.")
    rejected = serializers.IntegerField(source="refused_count", help_text="Rows that were not.")
    counts = serializers.SerializerMethodField(
        help_text="How many messages have which status now, those kept as failed among them."
    )
    created_at = serializers.DateTimeField()
    cancelled_at = serializers.DateTimeField(allow_null=True, help_text="When the rest was cancelled.")

    @extend_schema_field(Counts)
    def get_counts(self, batch: MessageBatch) -> Any:
        """How many messages have which status now."""
        return Counts().to_representation(self.context["counts"].get(batch.pk, {}))


class CancelledBatchAnswer(BatchAnswer):
    """A batch whose rest was cancelled."""

    cancelled = serializers.SerializerMethodField(help_text="How many messages this request kept from being sent.")

    def get_cancelled(self, batch: MessageBatch) -> int:
        """How many messages this request kept from being sent."""
        return int(self.context["cancelled"])
