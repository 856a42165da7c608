"""What messages look like over HTTP: the request to send one, the message, its trace."""

import json
import re
from typing import Any, Final

from django.conf import settings
from django.urls import reverse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from messaging.models import Attachment, Direction, EventKind, Message, MessageEvent, MessageStatus, Reaction
from messaging.waiting import scheduled_for
from routing.problems import ProblemForm
from routing.selection import Blocker, Outcome, Rule
from routing.tenancy_api import UUID_FORM, Flag, LocatedSerializer, Moment, Text, Word

MAX_MEDIA: Final = 10
MAX_METADATA_BYTES: Final = 4096
MAX_INDEX: Final = 999_999
SEND_STYLES: Final = (
    "celebration",
    "shooting_star",
    "fireworks",
    "lasers",
    "love",
    "confetti",
    "balloons",
    "spotlight",
    "echo",
    "invisible",
    "gentle",
    "loud",
    "slam",
)
"""Effects an iMessage can come with, as Sendblue names them."""

# A plain web address, in one reading only: no name or password, no backslash, no control character, nothing non-ASCII.
_WEB_ADDRESS: Final = re.compile(
    r"(?P<scheme>https?)://(?P<netloc>[A-Za-z0-9.-]+(?::[0-9]{1,5})?)(?:[/?#][!-\[\]-~]*)?"
)


# --- asking -----------------------------------------------------------------------------------------------------------
class WebAddress(Text):
    """An https address that a provider can fetch; http only on the hosts of HUB_MEDIA_TRUSTED_HOSTS."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(trim_whitespace=False, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        given = super().to_internal_value(data)
        found = _WEB_ADDRESS.fullmatch(given)
        if found is None or (found["scheme"] != "https" and found["netloc"] not in settings.HUB_MEDIA_TRUSTED_HOSTS):
            raise ValidationError("Give a plain https address, without a user name.", code="invalid_media_url")
        return given


@extend_schema_field(
    {"oneOf": [{"type": "string", "format": "uuid"}, {"type": "integer", "minimum": 0, "maximum": MAX_INDEX}]}
)
class AccountName(serializers.Field[Any, Any, Any, Any]):
    """An account by its id or by its index."""

    def to_internal_value(self, data: Any) -> str | int:
        if isinstance(data, str) and UUID_FORM.fullmatch(data):
            return data.lower()
        if isinstance(data, int) and not isinstance(data, bool) and 0 <= data <= MAX_INDEX:
            return data
        raise ValidationError("Give the account's id, or its index as a number.", code="invalid_account")

    def to_representation(self, value: Any) -> Any:
        return value


@extend_schema_field(OpenApiTypes.OBJECT)
class ClientObject(serializers.Field[Any, Any, Any, Any]):
    """A JSON object of the client's own, answered as it came."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            raise ValidationError("Give a JSON object.", code="invalid")
        if len(canonical_json(data)) > MAX_METADATA_BYTES:
            raise ValidationError("An object of up to 4 KiB is kept.", code="metadata_too_large")
        return data

    def to_representation(self, value: Any) -> Any:
        return value


class NewMessageForm(LocatedSerializer):
    """A message to send, or to look at before sending."""

    to = Text(
        max_length=64, help_text="A phone number, in any form that can be read in the location, or a contact's id."
    )
    text = Text(
        default="",
        allow_blank=True,
        trim_whitespace=False,
        help_text="Up to 18,996 characters; {IM#2} and {TEMP-IM#2} choose the account and are taken out.",
    )
    media_urls = serializers.ListField(
        child=WebAddress(max_length=2000),
        default=list,
        max_length=MAX_MEDIA,
        help_text="Where the provider fetches the file from. One file a message: several are `too_many_media`.",
    )
    account = AccountName(
        default=None, allow_null=True, help_text="The account to send from, by id or index: the same as {IM#N}."
    )
    scheduled_at = Moment(
        default=None,
        allow_null=True,
        help_text="When to send it, within a year; null: now. In quiet hours of the location it waits for their end.",
    )
    expires_at = Moment(
        default=None,
        allow_null=True,
        help_text=(
            "Until when it may leave: later than it is due, within a year. null: 24 hours after it is due."
            " What could not leave by then is never sent."
        ),
    )
    send_style = Word(
        SEND_STYLES, component="SendStyle", default=None, allow_null=True, help_text="The effect it comes with."
    )
    parse_overrides = Flag(default=True, help_text="false: braces in the text are text.")
    metadata = ClientObject(default=dict, help_text="The client's own object, up to 4 KiB; answered as it came.")


class MessageChange(LocatedSerializer):
    """What is to be changed of a message that has not left; what is not named stays."""

    text = Text(
        required=False,
        allow_blank=True,
        trim_whitespace=False,
        help_text="As for a new message. {IM#2} or {TEMP-IM#2} in it replaces the override it had; else that stays.",
    )
    scheduled_at = Moment(
        required=False, allow_null=True, help_text="When to send it, within a year; null: as soon as it may leave."
    )
    expires_at = Moment(
        required=False,
        allow_null=True,
        help_text="Until when it may leave; null: 24 hours after it is due. One that was given stays when it is moved.",
    )


class TypingForm(LocatedSerializer):
    """Whether the contact sees that somebody types."""

    is_typing = Flag()
    account = AccountName(
        default=None,
        allow_null=True,
        help_text="From which account, by id or index; null: the one a message would take.",
    )


def canonical_json(value: Any) -> bytes:
    """The same bytes for the same value, whatever the order of names and the white space it came with."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


# --- the trace --------------------------------------------------------------------------------------------------------
class AccountBrief(serializers.Serializer[Any]):
    """An account, as far as a message shows it."""

    id = serializers.UUIDField()
    index = serializers.IntegerField()
    label = serializers.CharField()  # type: ignore[assignment]
    phone_number = serializers.CharField()


class TraceStep(serializers.Serializer[Any]):
    """What one rule came to."""

    rule = Word(Rule, component="Rule")
    outcome = Word(Outcome, component="RuleOutcome")
    account_index = serializers.IntegerField(required=False)
    blockers = serializers.ListField(child=Word(Blocker, component="Blocker"), required=False)


class TraceWarning(serializers.Serializer[Any]):
    """What a person should know though the decision stands."""

    code = serializers.CharField()
    detail = serializers.CharField()


class Trace(serializers.Serializer[Any]):
    """How the account was chosen, rule by rule."""

    decision = Word(["selected", "failed"], component="DecisionOutcome")
    rule = Word(Rule, component="Rule", allow_null=True, help_text="The rule that decided, also by failing.")
    account = AccountBrief(allow_null=True)
    sentence = serializers.CharField(help_text="The decision in words.")
    code = serializers.CharField(allow_null=True, help_text="Why the decision failed; null when it did not.")
    steps = TraceStep(many=True)
    warnings = TraceWarning(many=True)


class PreviewAnswer(serializers.Serializer[Any]):
    """What would happen."""

    routing = Trace()
    text = serializers.CharField(help_text="The text as it would be sent.")


class NotSentProblem(ProblemForm):
    """No account may or can send this: why, and what was looked at."""

    routing = Trace(required=False, help_text="Not with idempotency_key_reused.")
    message = serializers.UUIDField(required=False, help_text="The message that was kept as failed.")


# --- messages ---------------------------------------------------------------------------------------------------------
class TextOrNull(serializers.CharField):
    """A text that is null where there is none."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_null=True, **kwargs)

    def to_representation(self, value: Any) -> str | None:  # type: ignore[override]
        return str(value) or None


class ScheduledFor(serializers.DateTimeField):
    """Until when a message waits; null where it need not."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(source="*", read_only=True, allow_null=True, **kwargs)

    def to_representation(self, value: Any) -> Any:
        at = scheduled_for(value)
        return None if at is None else super().to_representation(at)


class AttachmentAnswer(serializers.Serializer[Attachment]):
    """A file that a contact sent."""

    order = serializers.IntegerField()
    url = serializers.SerializerMethodField()
    content_type = TextOrNull()
    size = serializers.IntegerField(allow_null=True, help_text="Bytes.")
    problem = TextOrNull(help_text="Why it could not be fetched from the provider.")

    def get_url(self, attachment: Attachment) -> str | None:
        """Where the file is, below this host; null until it was fetched from the provider."""
        if not attachment.file:
            return None
        return reverse("message-attachment", args=[attachment.message_id, attachment.order])


class MessageAnswer(serializers.Serializer[Message]):
    """One message, in either direction."""

    # In the context, where whoever stored the message knows them still: `media_urls`.

    id = serializers.UUIDField()
    location = serializers.UUIDField(source="location_id")
    status = Word(MessageStatus.values, component="MessageStatus")
    direction = Word(Direction.values, component="Direction")
    to = serializers.SerializerMethodField()
    contact = serializers.UUIDField(source="contact_id")
    batch = serializers.UUIDField(
        source="batch_id", allow_null=True, help_text="The batch it was sent with; null when it was sent by itself."
    )
    text = serializers.CharField()
    media_urls = serializers.SerializerMethodField()
    attachments = serializers.SerializerMethodField()
    account = AccountBrief(allow_null=True)
    routing = serializers.SerializerMethodField()
    send_style = TextOrNull()
    metadata = ClientObject()
    code = TextOrNull(help_text="Why it failed, or what happened at the last try; null when there is nothing to say.")
    detail = TextOrNull(help_text="The same for people.")
    conflict = serializers.BooleanField(help_text="Whether the provider's facts contradict each other or the status.")
    service = TextOrNull(help_text="What it went by, as the provider says.")
    scheduled_at = serializers.DateTimeField(allow_null=True, help_text="When it was asked to leave; null: at once.")
    scheduled_for = ScheduledFor(
        help_text=(
            "The earliest moment at which it can leave, as things stand now; null when it may leave, left, or never"
            " will. `code` and `detail` say what it waits for: `quiet_hours`, say."
        )
    )
    expires_at = serializers.DateTimeField(
        allow_null=True, help_text="Until when it may leave; null for a received message."
    )
    edited_at = serializers.DateTimeField(allow_null=True, help_text="When it was last changed before it left.")
    accepted_at = serializers.DateTimeField(allow_null=True)
    sent_at = serializers.DateTimeField(allow_null=True)
    delivered_at = serializers.DateTimeField(allow_null=True)
    read_at = serializers.DateTimeField(allow_null=True)
    failed_at = serializers.DateTimeField(allow_null=True)
    failed_code = TextOrNull(help_text="The provider's code for why it failed.")
    created_at = serializers.DateTimeField()

    def get_fields(self) -> dict[str, Any]:
        """With `from` beside `to`; the word is taken in Python."""
        fields: dict[str, Any] = super().get_fields()
        ordered = {}
        for name, field in fields.items():
            if name == "to":
                ordered["from"] = serializers.SerializerMethodField(method_name="get_from")
            ordered[name] = field
        return ordered

    def get_from(self, message: Message) -> str | None:
        """The number it left from; null where no account was found."""
        if message.direction == Direction.INBOUND:
            return message.contact_number
        return message.account.phone_number if message.account else None

    def get_to(self, message: Message) -> str:
        """The number it went to: the contact's, or our own for a received message."""
        if message.direction == Direction.INBOUND and message.account is not None:
            return message.account.phone_number
        return message.contact_number

    def get_media_urls(self, message: Message) -> list[str]:
        """The addresses that were given with it."""
        if message.direction == Direction.INBOUND:
            return []
        given: list[str] | None = self.context.get("media_urls")
        return given if given is not None else [attachment.url for attachment in message.attachments.all()]

    @extend_schema_field(AttachmentAnswer(many=True))
    def get_attachments(self, message: Message) -> list[dict[str, Any]]:
        """The files that came with a received message."""
        if message.direction == Direction.OUTBOUND:
            return []
        return [dict(AttachmentAnswer(attachment).data) for attachment in message.attachments.all()]

    @extend_schema_field(Trace(allow_null=True))
    def get_routing(self, message: Message) -> Any:
        """How the account was chosen, as it was stored then; null for a received message."""
        return message.trace


class EventAnswer(serializers.Serializer[MessageEvent]):
    """Something that became known of a message."""

    kind = Word(EventKind.values, component="EventKind")
    at = serializers.DateTimeField(help_text="When it happened, by the provider's clock where it told.")
    code = TextOrNull()
    detail = TextOrNull()


class MessageDetailAnswer(MessageAnswer):
    """One message, with what became known of it."""

    events = EventAnswer(many=True)
    reaction = serializers.SerializerMethodField(
        help_text="The emoji that the contact put on the message; null without one, or when it was taken back."
    )

    def get_reaction(self, message: Message) -> str | None:
        """The emoji that the contact put on the message; null without one, or when it was taken back."""
        found: Reaction | None = getattr(message, "reaction", None)
        return found.emoji if found is not None and found.removed_at is None else None
