"""Webhook endpoints over HTTP: make and change them, rotate their secrets, see what was delivered, deliver it again."""

import re
from collections.abc import Mapping
from functools import cached_property
from http import HTTPStatus
from typing import Any, ClassVar, Final

from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404
from django_filters.rest_framework import ChoiceFilter, FilterSet
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import mixins
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from messaging.models import DeliveryState, EventType, WebhookDelivery, WebhookEndpoint
from messaging.webhook_shapes import (
    NewWebhookEndpoint,
    ReplayedAnswer,
    ReplayFailedForm,
    RotationForm,
    WebhookDeliveryAnswer,
    WebhookEndpointAnswer,
    WebhookEndpointChange,
    WebhookSecretAnswer,
)
from messaging.webhooks_out import endpoints
from routing import audit
from routing.errors import Refused
from routing.models import AuditAction, Role, User
from routing.tenancy_api import LocationViewSet, NoBody, read_id

DELIVERY_ID: Final = re.compile(r"[0-9]{1,18}")
DISABLED: Final = "`endpoint_disabled`: enable it first."
EXAMPLES = [
    OpenApiExample(
        "Everything that becomes of messages",
        request_only=True,
        value={
            "url": "https://crm.example.com/hooks/imessage",
            "description": "CRM",
            "event_types": ["message.status", "message.received"],
        },
    )
]


class AdminsOnly(LocationViewSet):
    """Rows that keys and the location's admins see and change, and no other member."""

    def get_queryset(self) -> QuerySet[Any]:
        """The rows of locations that the caller administers. Raises PermissionDenied for a person who administers
        none, or not the one that the request names."""
        rows = super().get_queryset()
        caller = None if getattr(self, "swagger_fake_view", False) else self.caller
        if not isinstance(caller, User) or caller.is_superuser:
            return rows
        if self.named_location is not None:
            self.require_role(self.named_location.pk)
        administered = [pk for pk in caller.roles if caller.may(Role.ADMIN, pk)]
        if not administered:
            raise PermissionDenied
        return rows.filter(location__in=administered)

    def require_role(self, location_id: Any) -> None:
        """Raises PermissionDenied for everybody who is no admin of the location."""
        if isinstance(self.caller, User) and not self.caller.may(Role.ADMIN, location_id):
            raise PermissionDenied


class WebhookEndpointView(mixins.ListModelMixin, mixins.RetrieveModelMixin, AdminsOnly):
    """The webhook endpoints of the caller's locations, the newest first; for keys and admins."""

    # No secret is even read.
    queryset = WebhookEndpoint.objects.there().defer("secret", "previous_secret")
    serializer_class = WebhookEndpointAnswer
    ordering = ("-created_at", "id")
    problems: ClassVar[Mapping[str, Mapping[int, str]]] = {
        "create": {409: f"`too_many_endpoints`: a location has at most {endpoints.MAX_ENDPOINTS}."},
        "rotate": {409: "`rotation_under_way`: the secret before still signs."},
        "test": {409: DISABLED},
        "replay_failed": {409: DISABLED},
    }

    @extend_schema(request=NewWebhookEndpoint, responses={201: WebhookSecretAnswer}, examples=EXAMPLES)
    def create(self, request: Request) -> Response:
        """Make an endpoint. The answer holds its secret, which is not shown again.

        Whether its name leads to a public address is seen with every delivery.
        """
        if "Idempotency-Key" in request.headers:
            raise Refused(
                "idempotency_key_unsupported",
                "An endpoint's secret is answered once only: read the list before asking again, delete what is double.",
                field="Idempotency-Key",
            )
        location = self.require_location()
        given = self.read_body(NewWebhookEndpoint)
        with transaction.atomic():
            endpoint, secret = endpoints.create(location=location, by=self.caller, **given)
            audit.record(by=self.caller, action=AuditAction.CREATED, obj=endpoint, location_id=location.pk)
        return self._with_secret(endpoint, secret, HTTPStatus.CREATED)

    @extend_schema(request=WebhookEndpointChange, responses=WebhookEndpointAnswer)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change what is given of an endpoint, and nothing else; `is_enabled` switches it.

        Another address gets what waits for the old one.
        """
        endpoint: WebhookEndpoint = self.get_object()
        changes = self.read_body(WebhookEndpointChange)
        is_enabled = changes.pop("is_enabled", None)
        with transaction.atomic():
            changed = endpoints.change(endpoint=endpoint, changes=changes)
            differing = [name for name in changes if getattr(endpoint, name) != getattr(changed, name)]
            if differing:
                # Addresses may hold secrets: that they changed is told, not to what.
                audit.record(
                    by=self.caller,
                    action=AuditAction.CHANGED,
                    obj=changed,
                    location_id=changed.location_id,
                    changes=dict.fromkeys(differing),
                )
            if is_enabled is not None:
                switch = endpoints.enable if is_enabled else endpoints.disable
                switch(endpoint=endpoint, by=self.caller)
        return Response(WebhookEndpointAnswer(self._as_it_stands(endpoint)).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Delete an endpoint, and what waits for it."""
        endpoint: WebhookEndpoint = self.get_object()
        self.read_body(NoBody)
        endpoints.delete(endpoint=endpoint, by=self.caller)
        return Response(status=HTTPStatus.NO_CONTENT)

    @extend_schema(request=RotationForm, responses={200: WebhookSecretAnswer})
    @action(detail=True, methods=["post"])
    def rotate(self, request: Request, pk: str) -> Response:
        """Make a new secret, which is in this answer and not shown again. Both sign until the old one ends."""
        endpoint: WebhookEndpoint = self.get_object()
        asked = self.read_body(RotationForm)
        secret = endpoints.rotate(endpoint=endpoint, end_previous=asked["end_previous"], by=self.caller)
        return self._with_secret(endpoint, secret, HTTPStatus.OK)

    @extend_schema(request=None, responses={202: WebhookDeliveryAnswer})
    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: str) -> Response:
        """Have a `webhook.test` event delivered to it; its deliveries tell what came of that."""
        endpoint: WebhookEndpoint = self.get_object()
        self.read_body(NoBody)
        event = endpoints.send_test(endpoint=endpoint)
        delivery = DELIVERIES.get(endpoint=endpoint, event=event)
        return Response(WebhookDeliveryAnswer(delivery).data, status=HTTPStatus.ACCEPTED)

    @extend_schema(request=ReplayFailedForm, responses={202: ReplayedAnswer})
    @action(detail=True, methods=["post"], url_path="replay-failed")
    def replay_failed(self, request: Request, pk: str) -> Response:
        """Deliver again what was given up, each event under its own id."""
        endpoint: WebhookEndpoint = self.get_object()
        asked = self.read_body(ReplayFailedForm)
        count = endpoints.replay_failed(endpoint=endpoint, since=asked["since"], by=self.caller)
        return Response({"replayed": count}, status=HTTPStatus.ACCEPTED)

    def _with_secret(self, endpoint: WebhookEndpoint, secret: str, status: HTTPStatus) -> Response:
        answer = WebhookSecretAnswer(self._as_it_stands(endpoint), context={"secret": secret})
        return Response(answer.data, status=status)

    def _as_it_stands(self, endpoint: WebhookEndpoint) -> WebhookEndpoint:
        found: WebhookEndpoint | None = self.get_queryset().filter(pk=endpoint.pk).first()
        if found is None:  # deleted meanwhile
            raise Http404
        return found


DELIVERIES: Final = WebhookDelivery.objects.select_related("event").defer("event__body").prefetch_related("tries")


class WebhookDeliveryFilter(FilterSet):  # type: ignore[misc]
    """Which deliveries."""

    state = ChoiceFilter(choices=DeliveryState.choices, help_text="Only those in this state.")
    event_type = ChoiceFilter(
        field_name="event__type", choices=EventType.choices, help_text="Only those of events of this type."
    )


class WebhookDeliveryView(mixins.ListModelMixin, AdminsOnly):
    """What an endpoint was told, the newest first; for keys and admins."""

    queryset = DELIVERIES
    serializer_class = WebhookDeliveryAnswer
    filterset_class = WebhookDeliveryFilter
    ordering = ("-id",)
    problems: ClassVar[Mapping[str, Mapping[int, str]]] = {"replay": {409: DISABLED}}

    @cached_property
    def endpoint(self) -> WebhookEndpoint:
        """The endpoint in the address. Raises Http404, the same for absent, foreign and malformed ids."""
        wanted = read_id(self.kwargs["pk"])
        rows = WebhookEndpoint.objects.there().visible_to(self.caller)
        found: WebhookEndpoint | None = rows.filter(pk=wanted).first() if wanted else None
        if found is None:
            raise Http404
        return found

    def get_queryset(self) -> QuerySet[Any]:
        """The deliveries to the endpoint in the address."""
        rows = super().get_queryset()
        return rows if getattr(self, "swagger_fake_view", False) else rows.filter(endpoint=self.endpoint)

    def list(self, request: Request, pk: str) -> Response:
        """What the endpoint was told, with every try, the newest first. Kept for 30 days; what failed, for 90."""
        return super().list(request)

    @extend_schema(
        request=None,
        responses={202: WebhookDeliveryAnswer},
        parameters=[OpenApiParameter("delivery", {"type": "integer", "minimum": 1}, OpenApiParameter.PATH)],
    )
    def replay(self, request: Request, pk: str, delivery: str) -> Response:
        """Deliver it again, under the same id and as it was, whatever came of it; one that waits is tried now."""
        rows = self.get_queryset()
        found = rows.filter(pk=int(delivery)).first() if DELIVERY_ID.fullmatch(delivery) else None
        if found is None:
            raise Http404
        self.read_body(NoBody)
        endpoints.replay(delivery=found)
        return Response(WebhookDeliveryAnswer(rows.get(pk=found.pk)).data, status=HTTPStatus.ACCEPTED)
