"""The one door for provider webhooks: verify, store, answer. What they say is applied by the workers.

`/hooks/{provider}/{webhook_key}/` is a setup's address, opened by its webhook secret; below it, every attempt to send
has an address of its own, opened by the attempt's token, because providers send those callbacks unsigned.
"""

import hashlib
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent
from django.db import Error, connection
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse, UnreadablePostError
from django.urls import path
from django.utils import timezone
from encrypted_model_fields.fields import encrypt_str
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.viewsets import ViewSet

from messaging import raw_sql
from messaging.delivery.doorbell import doorbell
from messaging.delivery.outbox import token_digest
from messaging.events import storable
from provisioning.duties import wake
from provisioning.fields import Sealed, UndecryptableSecret
from provisioning.models import EventOutcome, ProviderEvent, SetupStatus
from provisioning.providers import ADAPTERS, get_adapter
from provisioning.providers.base import LineHint, Parsed, StatusEvent, TypingEvent

log = structlog.get_logger("hub.hooks")

MAX_BODY = 1024 * 1024
MAX_DEPTH = 32
MAX_KEY = 200
NOBODY = "nobody"
"""Stands in for keys and tokens that cannot be: it is nobody's."""
NOBODYS_ID = UUID(int=0)


@dataclass(frozen=True)
class _Caller:
    """Who knocked; `known` tells whether an open setup has that address, and the ids are nobody's otherwise."""

    known: bool
    setup_id: UUID
    location_id: UUID
    secrets: tuple[str, ...]
    attempt_id: UUID | None


def _unknown_secret() -> str:
    """A sealed secret that nobody knows, to do the same work with when there is none."""
    sealed: str = encrypt_str(secrets.token_urlsafe(32)).decode()
    return sealed


_DUMMY = _unknown_secret()

_CALLER_SQL = """
    SELECT setup.id, setup.location_id, setup.webhook_secret,
           CASE WHEN setup.previous_webhook_secret_until > %s THEN setup.previous_webhook_secret END,
           attempt.id
    FROM (SELECT 1 AS one) AS always
    LEFT JOIN provisioning_setup AS setup
        ON setup.webhook_key = %s AND setup.provider = %s AND setup.status <> %s
    LEFT JOIN messaging_attempt AS attempt
        ON attempt.token_digest = %s AND attempt.account_id IN
            (SELECT line.account_id FROM provisioning_phoneline AS line WHERE line.setup_id = setup.id)
"""


class AnyAccept(BaseContentNegotiation):
    """What a provider says that it would like to read does not keep its event out."""

    def select_parser(self, request: Request, parsers: Iterable[Any]) -> Any:
        """The body is read raw."""
        return None

    def select_renderer(self, request: Request, renderers: Iterable[Any], format_suffix: str | None = None) -> Any:
        """The first, whatever was asked for."""
        first = next(iter(renderers))
        return first, first.media_type


class HookDoor(ViewSet):
    """Takes a provider's POST. Whoever is not let in gets one answer, the same bytes after the same work."""

    authentication_classes = ()
    permission_classes = ()
    content_negotiation_class = AnyAccept

    def create(self, request: Request, provider: str, webhook_key: str, token: str | None = None) -> HttpResponse:
        """200 once the event is stored, 400 for what is no JSON (stored as well), 401, 413, 503 when nothing was."""
        django_request = request._request
        try:
            if _declared_length(django_request.META) > MAX_BODY:
                raise RequestDataTooBig
            body = django_request.body
        except RequestDataTooBig:
            return _answer(413, "too_large", f"At most {MAX_BODY} bytes.")
        except (ValueError, UnreadablePostError):
            return _answer(400, "invalid_body", "The body is not there as it was announced.")
        try:
            caller = _find_caller(provider, webhook_key, token, now=timezone.now())
            if not _let_in(caller, provider, django_request.META, body, by_token=token is not None):
                return _answer(401, "unauthorized", "Unknown address or wrong secret.")
            return _store(caller, provider, body, topic=_topic(django_request))
        except (Error, UndecryptableSecret) as error:
            # The kind only: what a database says may quote the row, and with it a person's words.
            log.error("webhook not stored", error=type(error).__name__)
            response = _answer(503, "unavailable", "Not stored; send it again.")
            response["Retry-After"] = "5"
            return response


def _declared_length(meta: dict[str, Any]) -> int:
    """How long the body is said to be. Raises ValueError for what is no number."""
    return int(meta.get("CONTENT_LENGTH") or 0)


def _topic(request: HttpRequest) -> str:
    """What kind of event the address was registered for; "" when it is not told."""
    try:
        return str(request.GET.get("topic", ""))[:64]
    except TooManyFieldsSent:
        return ""


def _find_caller(provider: str, webhook_key: str, token: str | None, *, now: datetime) -> _Caller:
    """One query that always gives one row, and two decryptions, whoever asks."""
    key = webhook_key if webhook_key.isascii() and webhook_key.isprintable() else NOBODY
    name = provider if provider in ADAPTERS else NOBODY
    digest = token_digest(token or NOBODY)
    with connection.cursor() as cursor:
        cursor.execute(_CALLER_SQL, [raw_sql.moment_parameter(now), key, name, SetupStatus.CLOSED, digest])
        setup_id, location_id, secret, previous, attempt_id = cursor.fetchone()
    candidates = tuple(Sealed(sealed or _DUMMY).reveal() for sealed in (secret, previous))
    return _Caller(
        known=setup_id is not None,
        setup_id=NOBODYS_ID if setup_id is None else raw_sql.read_id(setup_id),
        location_id=NOBODYS_ID if location_id is None else raw_sql.read_id(location_id),
        secrets=candidates,
        attempt_id=None if attempt_id is None else raw_sql.read_id(attempt_id),
    )


def _let_in(caller: _Caller, provider: str, meta: dict[str, Any], body: bytes, *, by_token: bool) -> bool:
    headers = {name[5:].replace("_", "-").lower(): value for name, value in meta.items() if name.startswith("HTTP_")}
    adapter = get_adapter(provider if provider in ADAPTERS else next(iter(ADAPTERS)))
    verified = adapter.verify(headers, body, secrets=caller.secrets)
    return caller.known and (caller.attempt_id is not None if by_token else verified)


def _store(caller: _Caller, provider: str, body: bytes, *, topic: str) -> HttpResponse:
    """Keep the event once, and answer."""
    try:
        decoded = decode(body)
    except ValueError:
        parsed = Parsed(type="unreadable", dedup_key=f"unreadable:{hashlib.sha256(body).hexdigest()}", events=())
        _insert(caller, parsed, body, topic=topic, outcome=EventOutcome.UNREADABLE)
        return _answer(400, "invalid_json", "The body is not JSON.")
    parsed = get_adapter(provider).parse(decoded, topic=topic)
    _insert(caller, parsed, body, topic=topic, outcome=EventOutcome.WAITING)
    return HttpResponse(b"{}", content_type="application/json")


def _insert(caller: _Caller, parsed: Parsed, body: bytes, *, topic: str, outcome: EventOutcome) -> None:
    statuses = [event.provider_id for event in parsed.events if isinstance(event, StatusEvent)]
    waiting = outcome is EventOutcome.WAITING
    dedup_key = _dedup_key(caller, parsed)
    ProviderEvent.objects.bulk_create(
        [
            ProviderEvent(
                location_id=caller.location_id,
                setup_id=caller.setup_id,
                type=storable(parsed.type)[:64],
                dedup_key=dedup_key,
                provider_id=storable(statuses[0])[:200] if statuses else "",
                attempt_id=caller.attempt_id,
                topic=storable(topic),
                body=body,
                outcome=outcome,
                due_at=Now() if waiting else None,
            )
        ],
        ignore_conflicts=True,
    )
    if waiting:
        doorbell().ring()
    if waiting and all(isinstance(event, LineHint | TypingEvent) for event in parsed.events):
        # These have no id, and often no time, of their own: a line that is blocked a second time is told of in the same
        # words. Kept once, they are looked into again each time they come after they were applied.
        applied = ProviderEvent.objects.filter(setup=caller.setup_id, dedup_key=dedup_key, due_at=None)
        wake(applied, after=timedelta(0))


def _dedup_key(caller: _Caller, parsed: Parsed) -> str:
    """The event's own key. The same status may come by the setup's address and by the attempt's: two events, one
    fact."""
    key = storable(f"{caller.attempt_id}:{parsed.dedup_key}" if caller.attempt_id else parsed.dedup_key)
    return key if len(key) <= MAX_KEY else f"digest:{hashlib.sha256(key.encode()).hexdigest()}"


def decode(body: bytes) -> Any:
    """The JSON value of a body in UTF-8. Raises ValueError for what is none, and for nesting that is deeper than
    sense."""
    text = body.decode("utf-8-sig")
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _depth(body) > MAX_DEPTH:
        raise ValueError("nested too deeply")
    return json.loads(text)


def _depth(body: bytes) -> int:
    """How deep arrays and objects are nested; strings do not count."""
    depth = deepest = 0
    in_string = escaped = False
    for byte in body:
        if in_string:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def _answer(status: int, code: str, detail: str) -> HttpResponse:
    problem = {"type": "about:blank", "title": code, "status": status, "detail": detail, "code": code}
    response = HttpResponse(json.dumps(problem).encode(), status=status, content_type="application/problem+json")
    if status == 401:
        response["WWW-Authenticate"] = "Webhook"
    return response


_door = HookDoor.as_view({"post": "create"})

urlpatterns = [
    path("<str:provider>/<str:webhook_key>/", _door, name="hook"),
    path("<str:provider>/<str:webhook_key>/<str:token>/", _door, name="hook-attempt"),
]
