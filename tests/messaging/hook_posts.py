"""Webhooks as the provider posts them, and the work that follows."""

import itertools
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from django.test import Client
from django.utils import timezone

from messaging import events, services
from messaging.delivery import claiming, outbox
from messaging.delivery.outbox import Begun
from messaging.models import Message
from provisioning.models import ProviderEvent, Setup
from provisioning.providers.base import Accepted
from tests.factories import Clinic

SECRET = "HTTP_SB_SIGNING_SECRET"
CUSTOMER = "+12125550177"
LEASE = timedelta(seconds=60)

_serial = itertools.count(1)


def door(setup: Setup, *, token: str | None = None, topic: str = "") -> str:
    """The address of a setup, or of one attempt below it."""
    path = f"/hooks/{setup.provider}/{setup.webhook_key}/"
    if token is not None:
        path += f"{quote(token, safe='')}/"
    return f"{path}?topic={topic}" if topic else path


def secret_of(setup: Setup) -> str:
    """The webhook secret in clear."""
    secret: str = Setup.objects.get(pk=setup.pk).webhook_secret.reveal()
    return secret


def knock(path: str, body: Any = None, **environ: Any) -> Any:
    """The answer to a POST of `body` (JSON unless bytes); `environ` holds headers as WSGI names them."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    client = Client(raise_request_exception=False)
    return client.generic("POST", path, content, content_type="application/json", **environ)


def tell(setup: Setup, body: Any, *, topic: str = "") -> Any:
    """The answer to an event with the setup's secret."""
    return knock(door(setup, topic=topic), body, **{SECRET: secret_of(setup)})


def new_handle() -> str:
    """An id at the provider that nothing else has."""
    return f"handle-{next(_serial):06d}"


def received(line_number: str, text: str = "hello", **fields: Any) -> dict[str, Any]:
    """The body of `receive`: a customer wrote to a line; `fields` replace or add."""
    return {
        "accountEmail": "clinic@example.com",
        "content": text,
        "is_outbound": False,
        "status": "RECEIVED",
        "message_handle": new_handle(),
        "date_sent": iso(timezone.now()),
        "date_updated": iso(timezone.now()),
        "from_number": CUSTOMER,
        "number": CUSTOMER,
        "to_number": line_number,
        "sendblue_number": line_number,
        "media_url": "",
        "group_id": "",
        "service": "iMessage",
    } | fields


def status(handle: str, word: str, **fields: Any) -> dict[str, Any]:
    """The body of a status: something became known of a message we sent."""
    return {
        "is_outbound": True,
        "status": word,
        "message_handle": handle,
        "date_updated": iso(timezone.now()),
        "error_code": None,
        "error_message": None,
        "service": "iMessage",
    } | fields


def iso(moment: datetime) -> str:
    """A time as the provider writes it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def apply_due() -> int:
    """Apply the events that are due now; how many there were."""
    taken = events.take_due(1000)
    for event in taken:
        events.apply(event)
    return len(taken)


def make_due() -> None:
    """Let the events that wait be due now."""
    ProviderEvent.objects.filter(due_at__isnull=False).update(
        due_at=timezone.now() - timedelta(seconds=1), lease_until=None
    )


def only_event() -> ProviderEvent:
    """The one event that is stored."""
    event: ProviderEvent = ProviderEvent.objects.get()
    return event


def sending(clinic: Clinic, text: str = "hello", to: str | None = None) -> tuple[Message, Begun]:
    """A message of the clinic whose first byte may be on its way."""
    wanted = services.NewMessage(to=to or clinic.contact.phone_number, text=text)
    message = services.send(location=clinic.location, wanted=wanted, now=timezone.now())
    [taken] = [one for one in claiming.claim_due(limit=1000, lease=LEASE) if one.pk == message.pk]
    begun = outbox.begin([taken], lease=LEASE).get(taken.pk)
    assert begun is not None
    return taken, begun


def accepted(clinic: Clinic, handle: str = "", text: str = "hello") -> Message:
    """A message of the clinic that the provider took on under `handle`."""
    message, begun = sending(clinic, text)
    outbox.settle_accepted(message, begun, Accepted(provider_id=handle or new_handle()))
    return Message.objects.get(pk=message.pk)
