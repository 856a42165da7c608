"""docs/webhooks.md says what is so: its example verifies what is sent, its events have the fields of real ones."""

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from messaging.models import Attachment, EventType, WebhookEndpoint, WebhookEvent
from messaging.webhooks_out import endpoints, outbox, retention, sending, signing
from provisioning.models import LineNotice, NoticeKind
from provisioning.providers.base import Health
from tests.factories import Clinic, make_endpoint, make_message

TEXT = (Path(settings.BASE_DIR) / "docs" / "webhooks.md").read_text()


def happen(clinic: Clinic, endpoint: WebhookEndpoint) -> dict[str, WebhookEvent]:
    """One event of every type."""
    sent = make_message(
        clinic.contact, account=clinic.account, dispatch_state="accepted", due_at=None, metadata={"visit": 4711}
    )
    received = make_message(clinic.contact, account=clinic.account, received=True, text="hello")
    Attachment.objects.create(location=clinic.location, message=received, url="https://provider.example/a")
    notices = [
        LineNotice.objects.create(
            location=clinic.location,
            line=clinic.line,
            kind=kind,
            phone_number=clinic.account.phone_number,
            account_id=clinic.account.pk,
            health=Health.ONLINE,
            previous_health=previous,
        )
        for kind, previous in ((NoticeKind.ASSIGNED, ""), (NoticeKind.HEALTH, Health.OFFLINE))
    ]
    with transaction.atomic():
        outbox.note_statuses([sent.pk, received.pk])
        outbox.note_lines(notices)
    endpoints.send_test(endpoint=endpoint)
    return {event.type: event for event in WebhookEvent.objects.all()}


def shape(value: Any) -> Any:
    """The names in it, all the way down."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    return [shape(inner) for inner in value] if isinstance(value, list) else None


def test_every_type_is_shown_with_the_fields_that_it_has(clinic: Clinic) -> None:
    happened = happen(clinic, make_endpoint(clinic.location)[0])
    shown = {event["type"]: event for event in map(json.loads, re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL))}
    assert set(shown) == set(happened) == {kind.value for kind in EventType}
    for kind, event in happened.items():
        assert shape(shown[kind]) == shape(json.loads(event.body)), kind
        assert f"### {kind}\n" in TEXT


def test_the_example_takes_what_is_signed_once_and_refuses_what_is_not(clinic: Clinic) -> None:
    endpoint, secret = make_endpoint(clinic.location)
    event = happen(clinic, endpoint)["message.received"]
    [example] = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    names: dict[str, Any] = {}
    exec(example, names)  # noqa: S102  (our own document)
    receive = names["receive"]
    headers = signing.headers(event_id=event.pk, body=event.body, secrets_now=[secret], at=timezone.now())
    seen: set[str] = set()
    work: list[Any] = []
    for _ in range(2):
        assert receive(secret, headers, event.body.encode(), seen, work) == 204
    assert [one["type"] for one in work] == ["message.received"]
    assert receive(secret, headers, event.body.replace("hello", "hullo").encode(), set(), work) == 400
    assert receive(signing.new_secret(), headers, event.body.encode(), set(), work) == 400


@pytest.mark.parametrize(
    ("sentence", "so"),
    [
        ("up to 20 endpoints", endpoints.MAX_ENDPOINTS == 20),
        ("For 24 hours both sign", timedelta(hours=24) == endpoints.SECRET_OVERLAP),
        ("Up to 4 requests", sending.AT_ONCE == 4),
        ("at least 5 seconds", timedelta(seconds=5) == sending.FIRST_WAIT),
        ("to 6 hours", timedelta(hours=6) == sending.LONGEST_WAIT),
        ("Three days after the first try", timedelta(days=3) == sending.GIVE_UP_AFTER),
        ("for 30 days; others for 90", (retention.DELIVERED_KEPT.days, retention.UNDELIVERED_KEPT.days) == (30, 90)),
    ],
)
def test_its_figures_are_those_of_the_code(sentence: str, so: bool) -> None:
    assert sentence in TEXT
    assert so
