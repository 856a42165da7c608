"""Messages over HTTP: send, look before sending, read, change, cancel."""

import hashlib
import re
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from mimetypes import guess_extension
from typing import Any, ClassVar, Final
from uuid import UUID

import django_filters
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import FileResponse, Http404
from django.utils import timezone
from django_filters.rest_framework import ChoiceFilter, FilterSet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import mixins
from rest_framework.decorators import action
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from messaging import editing, services
from messaging.api_shapes import (
    MessageAnswer,
    MessageChange,
    MessageDetailAnswer,
    NewMessageForm,
    NotSentProblem,
    PreviewAnswer,
    TypingForm,
    canonical_json,
)
from messaging.editing import Change
from messaging.models import Direction, Message, MessageStatus
from messaging.services import NewMessage
from routing import audit
from routing.models import Account, AuditAction, Contact, Location, Role
from routing.problems import problem, problem_response
from routing.selection import Rule
from routing.tenancy_api import IdFilter, LocationViewSet, MomentFilter, NoBody, matches_digits, wrong

VISIBLE_ASCII: Final = re.compile(r"[!-~]{1,255}")
MEDIA_TYPE: Final = re.compile(r"[a-z]+/[a-z0-9.+-]+")

Problems = Mapping[str, Mapping[int, Any]]


class MessageFilter(FilterSet):  # type: ignore[misc]
    """Which messages."""

    status = ChoiceFilter(choices=MessageStatus.choices, help_text="Only those in this status.")
    direction = ChoiceFilter(choices=Direction.choices, help_text="Only those sent, or those received.")
    account = IdFilter(field_name="account_id", help_text="Only those of this account.")
    contact = IdFilter(field_name="contact_id", help_text="Only those with this contact.")
    batch = IdFilter(field_name="batch_id", help_text="Only those of this batch.")
    rule = ChoiceFilter(
        choices=[(rule.value, rule.value) for rule in Rule], help_text="Only those whose account this rule chose."
    )
    created_after = MomentFilter(field_name="created_at", lookup_expr="gte", help_text="From this moment on.")
    created_before = MomentFilter(field_name="created_at", lookup_expr="lt", help_text="Before this moment.")
    search = django_filters.CharFilter(
        method="by_term",
        max_length=100,
        help_text="Only those with this text in them, or in the contact's name or number.",
    )

    def by_term(self, rows: QuerySet[Message], name: str, value: str) -> QuerySet[Message]:
        """Messages that hold the text, or whose contact does."""
        number = matches_digits("contact__phone_number", value)
        return rows.filter(Q(text__icontains=value) | Q(contact__name__icontains=value) | number)


class AnyRenderer(JSONRenderer):
    """Lets an address answer with a file of any type; its problems are JSON all the same."""

    media_type = "*/*"
    format = ""


SEND_EXAMPLES = [
    OpenApiExample(
        "To a number, from account 2",
        request_only=True,
        value={"to": "+15557654321", "text": "Your results are in {IM#2}", "metadata": {"visit": 4711}},
    ),
    OpenApiExample(
        "Tomorrow, with a picture",
        request_only=True,
        value={
            "to": "(555) 765-4321",
            "text": "See you tomorrow!",
            "media_urls": ["https://cdn.example.com/map.png"],
            "scheduled_at": "2030-01-31T09:30:00Z",
        },
    ),
]
CHANGE_EXAMPLES = [
    OpenApiExample(
        "Another text, an hour later",
        request_only=True,
        value={"text": "See you at eleven!", "scheduled_at": "2030-01-31T10:30:00Z"},
    ),
]
IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    OpenApiParameter.HEADER,
    description=(
        "A text of the caller's own, one for each message. The same request again under the same key makes nothing and"
        " is answered as it was the first time, for 24 hours at least."
    ),
)
REPLAYED = OpenApiParameter(
    "Idempotent-Replayed",
    {"type": "string", "enum": ["true"]},
    OpenApiParameter.HEADER,
    response=[202, 422],
    description="The answer is that of an earlier request under the same Idempotency-Key.",
)


@extend_schema_view(retrieve=extend_schema(responses=MessageDetailAnswer))
class MessageView(mixins.ListModelMixin, mixins.RetrieveModelMixin, LocationViewSet):
    """The messages of the caller's locations, the newest first."""

    queryset = Message.objects.select_related("contact", "account__lane").prefetch_related("attachments")
    serializer_class = MessageAnswer
    filterset_class = MessageFilter
    ordering = ("-position",)
    roles: ClassVar[Mapping[str, Role]] = {"preview": Role.VIEWER}
    problems: ClassVar[Problems] = {
        "create": {
            409: "`idempotency_in_progress`: the first request under this key is still running.",
            422: (
                NotSentProblem,
                "Nothing is sent. `override_account_not_found`, `override_account_not_connected`,"
                " `tag_account_not_connected`, `user_account_not_connected`, `no_connected_account` or"
                " `contact_opted_out`: the message is kept as failed. `idempotency_key_reused`: nothing is kept.",
            ),
        },
        "partial_update": {
            409: "`not_editable`: it may have left already, or will not leave anyway.",
            422: "The account that the change asks for cannot send, or none can; the codes are those of sending.",
        },
        "cancel": {409: "`not_cancellable`: it may have left already, or will not leave anyway."},
        "mark_read": {
            409: "`not_inbound`, `not_supported` by the provider, or `account_not_connected`.",
            502: "`provider_refused`",
            503: "`provider_unavailable`",
        },
    }

    def get_queryset(self) -> QuerySet[Any]:
        """The rows with all that an answer shows."""
        rows = super().get_queryset()
        return rows if self.action == "list" else rows.select_related("reaction").prefetch_related("events")

    def get_serializer_class(self) -> Any:
        """Rows of the list carry no events."""
        return MessageAnswer if self.action == "list" else MessageDetailAnswer

    @extend_schema(
        request=NewMessageForm,
        responses={202: MessageAnswer},
        examples=SEND_EXAMPLES,
        parameters=[IDEMPOTENCY_KEY, REPLAYED],
    )
    def create(self, request: Request) -> Response:
        """Send one message: it is stored with the account that was chosen for it, and leaves when its turn comes."""
        key = idempotency_key(request)
        location = self.require_location()
        asked = self.read_body(NewMessageForm)
        wanted, now = new_message(asked), timezone.now()
        told = partial(render, media_urls=asked["media_urls"])
        replayed = False
        if key is None:
            status, body = told(services.send(location=location, wanted=wanted, now=now))
        else:
            status, body, replayed = services.send_once(
                location=location, key=key, fingerprint=fingerprint(asked), wanted=wanted, now=now, render=told
            )
        response = Response(body, status=status) if status == HTTPStatus.ACCEPTED else problem_response(body)
        if replayed:
            response["Idempotent-Replayed"] = "true"
        return response

    @extend_schema(request=NewMessageForm, responses={200: PreviewAnswer}, examples=SEND_EXAMPLES)
    @action(detail=False, methods=["post"])
    def preview(self, request: Request) -> Response:
        """Decide and explain, and send nothing: what sending the same would choose now. 200 also if that fails."""
        location = self.require_location()
        seen = services.preview(location=location, wanted=new_message(self.read_body(NewMessageForm)))
        return Response({"routing": seen.routing, "text": seen.text})

    @extend_schema(request=MessageChange, responses={200: MessageDetailAnswer}, examples=CHANGE_EXAMPLES)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change the text or the times of a message that is scheduled, or waits and is not due yet."""
        message: Message = self.get_object()
        change = Change(**self.read_body(MessageChange))
        message.location = Location.objects.get(pk=message.location_id)
        editing.edit(message=message, change=change, by=self.caller, now=timezone.now())
        return self._answer(message.pk)

    @extend_schema(request=None, responses={200: MessageDetailAnswer})
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """Keep a queued or scheduled message from being sent."""
        message: Message = self.get_object()
        self.read_body(NoBody)
        with transaction.atomic():
            services.cancel(message=message)
            audit.record(
                by=self.caller,
                action=AuditAction.CHANGED,
                obj=message,
                location_id=message.location_id,
                detail="Cancelled: it is not sent.",
            )
        return self._answer(message.pk)

    @extend_schema(request=None, responses={200: MessageDetailAnswer})
    @action(detail=True, methods=["post"], url_path="mark-read")
    def mark_read(self, request: Request, pk: str) -> Response:
        """Show the contact that its message was read. Again: nothing."""
        message: Message = self.get_object()
        self.read_body(NoBody)
        services.mark_read(message=message)
        return self._answer(message.pk)

    @extend_schema(
        parameters=[OpenApiParameter("order", {"type": "integer", "minimum": 0}, OpenApiParameter.PATH)],
        responses={(200, "*/*"): OpenApiResponse(OpenApiTypes.BINARY, "The file, to be saved and not to be shown.")},
    )
    @action(
        detail=True,
        methods=["get"],
        url_path="attachments/<str:order>",
        renderer_classes=[AnyRenderer],
        pagination_class=None,
        filterset_class=None,
    )
    def attachment(self, request: Request, pk: str, order: str) -> FileResponse:
        """A file that came with a received message, once it was fetched from the provider."""
        message: Message = self.get_object()
        wanted = int(order) if re.fullmatch(r"[0-9]{1,4}", order) else None
        found = next((one for one in message.attachments.all() if one.order == wanted and one.file), None)
        if found is None:
            raise Http404
        content_type = found.content_type if MEDIA_TYPE.fullmatch(found.content_type) else "application/octet-stream"
        try:
            content = found.file.open("rb")
        except FileNotFoundError:
            raise Http404 from None
        name = f"attachment-{found.order + 1}{guess_extension(content_type) or ''}"
        response = FileResponse(content, content_type=content_type, as_attachment=True, filename=name)
        # Whatever a customer sent, a browser neither runs it nor guesses what it is.
        response["Content-Security-Policy"] = "default-src 'none'; sandbox"
        response["X-Content-Type-Options"] = "nosniff"
        return response

    def _answer(self, message_id: UUID) -> Response:
        return Response(MessageDetailAnswer(self.get_queryset().get(pk=message_id)).data)


class TypingView(LocationViewSet):
    """Typing dots at a contact."""

    queryset = Contact.objects.select_related("location")
    serializer_class = TypingForm
    ordering = ("id",)
    problems: ClassVar[Problems] = {
        "create": {
            409: "`not_supported` by the provider, or `account_not_connected`.",
            422: (NotSentProblem, "No account may or can write to the contact now."),
            502: "`provider_refused`",
            503: "`provider_unavailable`",
        },
    }

    @extend_schema(request=TypingForm, responses={204: None})
    def create(self, request: Request, pk: str) -> Response:
        """Show the contact that somebody types, or does no more; the dots go out by themselves after a while."""
        contact: Contact = self.get_object()
        asked = self.read_body(TypingForm)
        # The account a message would leave from: the same rules, the same refusals.
        wanted = NewMessage(to=str(contact.pk), text="…", account=asked["account"], parse_overrides=False)
        trace = services.preview(location=contact.location, wanted=wanted).routing
        if trace["account"] is None:
            return problem_response(not_sent(trace))
        account = Account.objects.select_related("phone_line__setup").get(pk=trace["account"]["id"])
        services.show_typing(contact=contact, account=account, is_typing=asked["is_typing"])
        return Response(status=HTTPStatus.NO_CONTENT)


def idempotency_key(request: Request) -> str | None:
    """The Idempotency-Key header; None when there is none. Raises ValidationError when it is no key."""
    given: str | None = request.META.get("HTTP_IDEMPOTENCY_KEY")
    if given is not None and not VISIBLE_ASCII.fullmatch(given):
        raise wrong("Idempotency-Key", "invalid_idempotency_key", "A key has 1 to 255 visible ASCII characters.")
    return given


def new_message(asked: Mapping[str, Any]) -> NewMessage:
    """The checked request as the service takes it."""
    return NewMessage(
        **{**asked, "media_urls": tuple(asked["media_urls"]), "send_style": asked["send_style"] or ""},
    )


def fingerprint(asked: Mapping[str, Any]) -> str:
    """The SHA-256 of what a checked request means: equal for equal requests, however they were written."""
    moments = {name: asked[name] and asked[name].isoformat() for name in ("scheduled_at", "expires_at")}
    # Keys outlive a release: a field that was not there before counts only where it says something.
    meant = {**asked, **moments}
    if meant["expires_at"] is None:
        del meant["expires_at"]
    return hashlib.sha256(canonical_json(meant)).hexdigest()


def render(message: Message, media_urls: list[str]) -> tuple[int, dict[str, Any]]:
    """The answer to a message that was just stored: it is on its way, or why it cannot be."""
    chosen = (message.trace or {}).get("account")
    if chosen is None:
        body = not_sent(message.trace or {}, message.pk)
        return body["status"], body
    # As the decision saw it, without asking the database again.
    message.account = Account(
        id=UUID(chosen["id"]), index=chosen["index"], label=chosen["label"], phone_number=chosen["phone_number"]
    )
    return HTTPStatus.ACCEPTED, dict(MessageAnswer(message, context={"media_urls": media_urls}).data)


def not_sent(trace: Mapping[str, Any], message_id: UUID | None = None) -> dict[str, Any]:
    """The body of the refusal that a failed decision is."""
    more: dict[str, Any] = {"routing": dict(trace)}
    if message_id is not None:
        more["message"] = str(message_id)
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, trace["code"], trace["sentence"], more=more)
