"""One log line a request, and an id that ties together what was logged while it was answered."""

import time
import uuid
from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone

from routing.models import User

log = structlog.get_logger("hub.request")


class RequestLog:
    """Logs method, route, status and milliseconds; gives each answer an `X-Request-Id`.

    The route is the pattern and never the path: paths hold webhook keys, and query strings what people searched for.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request_id = uuid.uuid4().hex
        started = time.monotonic()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            response = self.get_response(request)
            match = request.resolver_match
            log.info(
                "answered",
                method=request.method if request.method in KNOWN_METHODS else "other",
                route=match.route if match else None,
                status=response.status_code,
                ms=round((time.monotonic() - started) * 1000, 1),
            )
        if match is None or not match.route.startswith("hooks/"):
            # The door for webhooks answers the same bytes to all whom it does not let in; nothing there may differ.
            response["X-Request-Id"] = request_id
        return response


class LocationTime:
    """Times that belong to no particular location are told, and read, in the zone that the user's locations keep."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        user = request.user if request.path.startswith("/admin/") else None
        if not isinstance(user, User):
            return self.get_response(request)
        with timezone.override(user.time_zone):
            return self.get_response(request)


KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
