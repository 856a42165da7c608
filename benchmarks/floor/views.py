"""The floors: an authenticated view that inserts a row, and a webhook that looks up whose it is and inserts one."""

import hmac
from typing import Any

from django.shortcuts import get_object_or_404
from rest_framework import exceptions, serializers, status
from rest_framework.authentication import BaseAuthentication
from rest_framework.generics import CreateAPIView
from rest_framework.parsers import JSONParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from benchmarks.floor.models import FloorEvent, FloorMessage
from messaging.delivery.outbox import token_digest
from messaging.models import Attempt
from provisioning.models import Setup
from routing.models import ApiKey
from routing.services import api_key_digest


class PlainKey(BaseAuthentication):
    """As DRF's own token authentication: one look-up by the ORM, of the same keys as the hub's."""

    def authenticate(self, request: Request) -> tuple[ApiKey, ApiKey] | None:
        """The key of the header."""
        scheme, _, shown = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme != "Bearer":
            return None
        try:
            key = ApiKey.objects.select_related("location").get(digest=api_key_digest(shown), revoked_at=None)
        except ApiKey.DoesNotExist:
            raise exceptions.AuthenticationFailed from None
        return key, key

    def authenticate_header(self, request: Request) -> str:
        """What a 401 asks for."""
        return "Bearer"


class FloorMessageForm(serializers.ModelSerializer[FloorMessage]):
    """What is asked for, and what is answered."""

    class Meta:
        model = FloorMessage
        fields = ["id", "to", "text", "metadata", "created_at"]
        read_only_fields = ["id", "created_at"]


class SendFloor(CreateAPIView[FloorMessage]):
    """Key, validation, one row inserted and committed, answer."""

    authentication_classes = [PlainKey]
    parser_classes = [JSONParser]
    serializer_class = FloorMessageForm

    def perform_create(self, serializer: Any) -> None:
        """The insert."""
        serializer.save(location=self.request.auth.location)  # type: ignore[union-attr]


class HookFloor(APIView):
    """The setup by its key, the secret compared, with a token the attempt by its digest, one row inserted."""

    authentication_classes = []
    permission_classes = []
    parser_classes = [JSONParser]

    def post(self, request: Request, webhook_key: str, token: str | None = None) -> Response:
        """200 once the row is committed."""
        setup = get_object_or_404(Setup, webhook_key=webhook_key)
        attempt = None
        if token is not None:
            attempt = get_object_or_404(Attempt, token_digest=token_digest(token), location=setup.location_id)
        elif not hmac.compare_digest(request.META.get("HTTP_SB_SIGNING_SECRET", ""), setup.webhook_secret.reveal()):
            return Response(status=status.HTTP_401_UNAUTHORIZED)
        FloorEvent(setup=setup, attempt_id=attempt and attempt.pk, body=request.data).save(force_insert=True)
        return Response({})
