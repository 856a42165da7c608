"""The API answers as its OpenAPI document says: generated requests, good and bad, against a running server."""

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
import schemathesis
from django.core.management import call_command
from django.utils import timezone
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from messaging import services as messaging_services
from messaging.bulk import Recipient, send_bulk
from messaging.models import (
    Attachment,
    EventKind,
    Message,
    MessageBatch,
    MessageEvent,
    WebhookDelivery,
    WebhookEndpoint,
)
from messaging.webhooks_out import endpoints
from provisioning import providers
from provisioning.providers.base import Capability, Credentials
from routing.models import Account, Contact
from tests.factories import Clinic, make_account, make_clinic, make_contact, make_endpoint, make_line, make_message
from tests.provisioning.fake_provider import FakeProvider

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
]
EXAMPLES = 25


class Able(FakeProvider):
    """A provider that can do everything that is asked of it at once."""

    capabilities = FakeProvider.capabilities | Capability.MARK_READ | Capability.TYPING

    def mark_read(self, credentials: Credentials, *, to: str, from_number: str) -> None:
        """Done."""

    def typing(self, credentials: Credentials, *, to: str, from_number: str, is_typing: bool) -> None:
        """Done."""


@pytest.fixture
def furnished(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Clinic:
    """A clinic with one of everything, at a provider in memory."""
    provider = Able()
    for module in (providers, messaging_services):
        monkeypatch.setattr(module, "get_adapter", lambda name: provider)
    clinic = make_clinic()
    make_line(clinic.setup, account=make_account(clinic.location, label="spare"))
    contact = make_contact(
        clinic.location, name="spare", tags=("vip",), assigned_user=clinic.agent, last_account=clinic.account
    )
    received = make_message(contact, account=clinic.account, received=True, text="hello", service="imessage")
    Attachment.objects.create(
        location=clinic.location, message=received, url="https://provider.example/a", content_type="image/png", size=4
    )
    MessageEvent.objects.create(
        location=clinic.location, message=received, kind=EventKind.RECEIPT, at=timezone.now() - timedelta(days=1)
    )
    send_bulk(
        location=clinic.location,
        frame=messaging_services.NewMessage(to="", text="hello"),
        recipients=[Recipient(to=str(contact.pk)), Recipient(to="nobody")],
        by=None,
        now=timezone.now(),
    )
    endpoints.send_test(endpoint=make_endpoint(clinic.location)[0])
    return clinic


@pytest.fixture
def api_schema(furnished: Clinic, live_server: Any) -> Any:
    """The document, as the running server gives it out."""
    schema = schemathesis.openapi.from_url(
        f"{live_server}/api/v1/schema/", headers={"Authorization": f"Bearer {furnished.key}"}
    )
    schema.config.generation.update(with_security_parameters=False)
    return schema


# Every example counts as one request; the bad ones of a request without a body or parameters run out early.
PACE = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_answers_are_as_documented(api_schema: Any, furnished: Clinic, mode: GenerationMode) -> None:
    headers = {"Authorization": f"Bearer {furnished.key}", "Connection": "close"}
    seen: Counter[int] = Counter()

    def ask(case: schemathesis.Case[Any]) -> None:
        if mode is GenerationMode.POSITIVE:
            aim(case, furnished)
        answer = case.call_and_validate(headers=headers, checks=CHECKS)
        seen[answer.status_code] += 1

    failures = []
    for found in api_schema.get_all_operations():
        operation = found.ok()
        try:
            PACE(given(operation.as_strategy(generation_mode=mode))(ask))()
        except Unsatisfiable:
            assert mode is GenerationMode.NEGATIVE  # nothing of this one can be wrong
        except (AssertionError, BaseExceptionGroup) as failure:
            failures.append(f"{operation.label}: {failure}")
    assert not failures, "\n\n".join(failures)
    wanted = {200, 201, 202, 204, 400} if mode is GenerationMode.POSITIVE else {400}
    assert wanted <= set(seen), seen


def aim(case: schemathesis.Case[Any], clinic: Clinic) -> None:
    """Point a good request at what is there; generated ids and numbers never hit anything."""
    resource = case.path.split("/")[3]
    messages = Message.objects.filter(location=clinic.location)
    known = {
        "messages": messages.order_by("position").values_list("pk", flat=True).first(),
        # Those that messages need stay as they are.
        "contacts": Contact.objects.exclude(pk=clinic.contact.pk).earliest("created_at").pk,
        "accounts": Account.objects.get(location=clinic.location, index=2).pk,
        "locations": clinic.location.pk,
        "setups": clinic.setup.pk,
        "batches": MessageBatch.objects.earliest("created_at").pk,
        "webhook-endpoints": WebhookEndpoint.objects.there().values_list("pk", flat=True).last(),
    }
    if "typing" in case.path:
        known["contacts"] = clinic.contact.pk
    if case.path_parameters and "id" in case.path_parameters:
        case.path_parameters["id"] = str(known[resource])
    if case.path_parameters and "delivery" in case.path_parameters:
        case.path_parameters["delivery"] = WebhookDelivery.objects.values_list("pk", flat=True).first()
    if case.query and "location" in case.query:
        case.query["location"] = str(clinic.location.pk)
    if isinstance(case.body, dict):
        if "location" in case.body:
            case.body["location"] = str(clinic.location.pk)
        if "url" in case.body:
            case.body["url"] = "https://crm.example.com/hook"
        if "is_typing" in case.body:
            case.body["account"] = None
        if "to" in case.body:
            case.body |= {"to": clinic.contact.phone_number, "account": None, "scheduled_at": None}
        if "recipients" in case.body:
            case.body |= {"recipients": [{"to": clinic.contact.phone_number}], "account": None, "scheduled_at": None}
        if "media_urls" in case.body:
            case.body["media_urls"] = ["https://example.com/a.png"] if case.body["media_urls"] else []


def test_the_document_is_valid_and_nothing_in_it_was_guessed(tmp_path: Any) -> None:
    call_command("spectacular", validate=True, fail_on_warn=True, file=str(tmp_path / "schema.yml"))


def test_the_document_names_what_clients_depend_on(clinic: Clinic, api: Any) -> None:
    document = api.get("/api/v1/schema/", HTTP_ACCEPT="application/vnd.oai.openapi+json").json()
    assert document["openapi"] == "3.1.0"
    assert document["components"]["securitySchemes"]["apiKey"]["scheme"] == "bearer"
    assert not [path for path in document["paths"] if not path.startswith("/api/v1/")]
    send = document["paths"]["/api/v1/messages/"]["post"]
    assert {"202", "400", "401", "403", "404", "406", "409", "413", "415", "422", "503"} == set(send["responses"])
    assert "Idempotency-Key" in {parameter["name"] for parameter in send["parameters"]}
    assert "Idempotent-Replayed" in send["responses"]["202"]["headers"]
    assert "Idempotent-Replayed" in send["responses"]["422"]["headers"]
    assert send["requestBody"]["content"]["application/json"]["examples"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["description"], (method, path)
            assert {"apiKey": []} in operation["security"]
            for status, answer in operation["responses"].items():
                if status >= "400":
                    assert list(answer["content"]) == ["application/problem+json"], (method, path, status)
