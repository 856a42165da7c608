"""Webhook endpoints over HTTP: made, changed, rotated, tried, read and replayed by who may, seen by nobody else."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import transaction
from django.utils import timezone
from rest_framework.test import APIClient
from standardwebhooks import Webhook

from messaging.models import WebhookDelivery, WebhookEndpoint
from messaging.webhooks_out import endpoints, sending
from messaging.webhooks_out.outbox import note_statuses
from routing.models import AuditEntry, User
from tests.factories import Clinic, make_api_key, make_contact, make_endpoint, make_message
from tests.messaging.webhook_receiver import Receiver, receiver

ENDPOINTS = "/api/v1/webhook-endpoints/"
URL = "https://crm.example.com/hook?token=sesame"
ABSENT = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def program(settings: LazySettings) -> Iterator[Receiver]:
    """A receiver that is trusted although it is here."""
    with receiver() as running:
        settings.HUB_WEBHOOK_TRUSTED_HOSTS = [running.netloc]
        yield running


def make(api: APIClient, url: str = URL, **fields: Any) -> dict[str, Any]:
    """The answer to a POST that makes an endpoint."""
    answer = api.post(ENDPOINTS, {"url": url, **fields})
    assert answer.status_code == 201, answer.content
    return dict(answer.json())


def happen(clinic: Clinic, count: int = 1) -> None:
    """So many messages are accepted, each with a contact of its own."""
    for _ in range(count):
        message = make_message(
            make_contact(clinic.location), account=clinic.account, dispatch_state="accepted", due_at=None
        )
        with transaction.atomic():
            note_statuses([message.pk])


def work() -> None:
    """Deliver what is due."""
    while taken := sending.take_due(50):
        for one in taken:
            sending.deliver(one)


def signed_in(user: User) -> APIClient:
    """A person at the documentation page."""
    client = APIClient(raise_request_exception=False)
    client.force_login(user)
    return client


# --- made -------------------------------------------------------------------------------------------------------------
def test_an_endpoint_that_was_made_is_told_what_happens_and_verifies_it(
    clinic: Clinic, api: APIClient, program: Receiver
) -> None:
    made = make(api, program.url(), event_types=["message.status"], description="CRM")
    assert (made["is_enabled"], made["event_types"]) == (True, ["message.status"])
    happen(clinic)
    work()
    [got] = program.got
    assert Webhook(made["secret"]).verify(got.body, got.headers)["type"] == "message.status"


def test_the_secret_is_in_the_first_answer_and_in_no_other(clinic: Clinic, api: APIClient) -> None:
    made = make(api)
    secret = made.pop("secret")
    own = f"{ENDPOINTS}{made['id']}/"
    assert api.get(own).json() == made
    for answer in (api.get(ENDPOINTS), api.patch(own, {"description": "x"}), api.post(f"{own}test/", {})):
        assert answer.status_code < 300
        assert secret not in answer.content.decode()
        assert "secret" not in answer.json()
    assert secret not in str(list(AuditEntry.objects.values()))


@pytest.mark.parametrize(
    "url",
    [
        "http://crm.example.com/hook",
        "https://127.0.0.1/hook",
        "https://10.1.2.3/hook",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/hook",
        "https://[::ffff:10.0.0.1]/hook",
        "https://user:password@crm.example.com/hook",
        "https://crm.example.com/hook#part",
        "ftp://crm.example.com/",
        "crm.example.com/hook",
    ],
)
def test_addresses_that_are_not_called_are_refused(clinic: Clinic, api: APIClient, url: str) -> None:
    answer = api.post(ENDPOINTS, {"url": url})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_url")
    assert answer.json()["errors"][0]["field"] == "url"
    assert not WebhookEndpoint.objects.exists()
    own = f"{ENDPOINTS}{make(api)['id']}/"
    assert api.patch(own, {"url": url}).json()["code"] == "invalid_url"
    assert api.get(own).json()["url"] == URL


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "required"),
        ({"url": 5}, "invalid"),
        ({"url": f"https://example.com/{'x' * 2000}"}, "max_length"),
        ({"url": URL, "event_types": ["message.sent"]}, "invalid_choice"),
        ({"url": URL, "event_types": ["webhook.test"]}, "invalid_choice"),
        ({"url": URL, "event_types": "message.status"}, "not_a_list"),
        ({"url": URL, "secret": "whsec_mine"}, "unknown_field"),
        ({"url": URL, "is_enabled": False}, "unknown_field"),
        ({"url": URL, "description": "x" * 121}, "max_length"),
    ],
)
def test_what_is_wrong_with_a_new_one_is_told(clinic: Clinic, api: APIClient, body: Any, code: str) -> None:
    answer = api.post(ENDPOINTS, body)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert not WebhookEndpoint.objects.exists()


def test_a_location_has_so_many_and_no_more(clinic: Clinic, api: APIClient) -> None:
    for _ in range(endpoints.MAX_ENDPOINTS):
        last = make(api)
    answer = api.post(ENDPOINTS, {"url": URL})
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_endpoints")
    assert api.delete(f"{ENDPOINTS}{last['id']}/").status_code == 204
    make(api)


def test_a_key_for_repeats_is_refused(clinic: Clinic, api: APIClient) -> None:
    answer = api.post(ENDPOINTS, {"url": URL}, HTTP_IDEMPOTENCY_KEY="once")
    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_unsupported")


def test_a_hub_wide_key_names_the_location(clinic: Clinic, api_as: Callable[[str | None], APIClient]) -> None:
    hub_wide = api_as(make_api_key(None)[1])
    assert hub_wide.post(ENDPOINTS, {"url": URL}).json()["code"] == "location_required"
    assert make(hub_wide, location=str(clinic.location.pk))["location"] == str(clinic.location.pk)


# --- changed ----------------------------------------------------------------------------------------------------------
def test_what_is_given_is_changed_and_the_trail_tells_no_address(clinic: Clinic, api: APIClient) -> None:
    made = make(api, description="CRM")
    own = f"{ENDPOINTS}{made['id']}/"
    changed = api.patch(own, {"url": "https://new.example.com/?token=open", "event_types": ["line.health"]}).json()
    assert (changed["url"], changed["event_types"]) == ("https://new.example.com/?token=open", ["line.health"])
    assert changed["description"] == "CRM"
    created, entry = AuditEntry.objects.filter(object_id=made["id"]).order_by("id")
    assert (created.action, created.api_key) == ("created", clinic.api_key)
    assert entry.changes == {"url": None, "event_types": None}
    assert "token" not in str(list(AuditEntry.objects.values()))
    api.patch(own, {"event_types": ["line.health"]})
    assert AuditEntry.objects.filter(object_id=made["id"]).count() == 2


def test_switched_off_it_gets_nothing_and_switched_on_what_waits(
    clinic: Clinic, api: APIClient, program: Receiver
) -> None:
    own = f"{ENDPOINTS}{make(api, program.url())['id']}/"
    happen(clinic)
    off = api.patch(own, {"is_enabled": False}).json()
    assert (off["is_enabled"], off["disabled_reason"]) == (False, "person")
    assert off["disabled_at"]
    happen(clinic)
    work()
    assert program.got == []
    for path in ("test", "replay-failed"):
        answer = api.post(f"{own}{path}/", {"since": "2026-01-01T00:00:00Z"} if path == "replay-failed" else {})
        assert (answer.status_code, answer.json()["code"]) == (409, "endpoint_disabled")
    on = api.patch(own, {"is_enabled": True}).json()
    assert (on["is_enabled"], on["disabled_reason"], on["disabled_at"]) == (True, None, None)
    work()
    assert len(program.got) == 1


def test_deleted_it_is_not_there_and_gets_nothing(clinic: Clinic, api: APIClient, program: Receiver) -> None:
    own = f"{ENDPOINTS}{make(api, program.url())['id']}/"
    happen(clinic)
    assert api.delete(own).status_code == 204
    work()
    happen(clinic)
    work()
    assert program.got == []
    assert api.get(ENDPOINTS).json()["results"] == []
    for answer in (api.get(own), api.patch(own, {}), api.delete(own), api.get(f"{own}deliveries/")):
        assert answer.status_code == 404


def test_a_rotation_answers_the_new_secret_and_both_sign(clinic: Clinic, api: APIClient, program: Receiver) -> None:
    made = make(api, program.url())
    own = f"{ENDPOINTS}{made['id']}/"
    rotated = api.post(f"{own}rotate/", {}).json()
    assert rotated["previous_secret_until"]
    happen(clinic)
    work()
    for secret in (made["secret"], rotated["secret"]):
        Webhook(secret).verify(program.got[0].body, program.got[0].headers)
    again = api.post(f"{own}rotate/", {})
    assert (again.status_code, again.json()["code"]) == (409, "rotation_under_way")
    ended = api.post(f"{own}rotate/", {"end_previous": True}).json()
    assert ended["previous_secret_until"] is None
    assert len({made["secret"], rotated["secret"], ended["secret"]}) == 3
    assert api.post(f"{own}rotate/", {"end_previous": "yes"}).status_code == 400


# --- delivered --------------------------------------------------------------------------------------------------------
def test_a_test_is_delivered_whatever_types_were_chosen(clinic: Clinic, api: APIClient, program: Receiver) -> None:
    own = f"{ENDPOINTS}{make(api, program.url(), event_types=['line.health'])['id']}/"
    answer = api.post(f"{own}test/", {})
    assert (answer.status_code, answer.json()["state"]) == (202, "pending")
    assert answer.json()["event_type"] == "webhook.test"
    work()
    assert [got.id for got in program.got] == [answer.json()["event"]]
    [row] = api.get(f"{own}deliveries/").json()["results"]
    assert (row["id"], row["state"], row["status_code"]) == (answer.json()["id"], "delivered", 204)


def test_deliveries_tell_every_try(clinic: Clinic, api: APIClient, program: Receiver) -> None:
    own = f"{ENDPOINTS}{make(api, program.url())['id']}/"
    program.answers.append(program.say(500, b"out of paper"))
    happen(clinic)
    work()
    [row] = api.get(f"{own}deliveries/?state=pending").json()["results"]
    assert row["next_attempt_at"]
    assert [(one["status_code"], one["answer"]) for one in row["attempts"]] == [(500, "out of paper")]
    assert api.get(own).json()["failing_since"]
    replayed = api.post(f"{own}deliveries/{row['id']}/replay/", {})
    assert (replayed.status_code, replayed.json()["id"]) == (202, row["id"])
    work()
    assert api.get(f"{own}deliveries/?state=pending").json()["results"] == []
    [row] = api.get(f"{own}deliveries/?state=delivered&event_type=message.status").json()["results"]
    assert [one["status_code"] for one in row["attempts"]] == [500, 204]
    assert api.get(f"{own}deliveries/?event_type=line.health").json()["results"] == []
    assert {got.id for got in program.got} == {row["event"]}


def test_what_was_given_up_is_replayed_from_a_moment_on(clinic: Clinic, api: APIClient, program: Receiver) -> None:
    own = f"{ENDPOINTS}{make(api, program.url())['id']}/"
    happen(clinic, 3)
    old = WebhookDelivery.objects.earliest("id")
    WebhookDelivery.objects.update(state="failed", due_at=None, ended_at=timezone.now())
    WebhookDelivery.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=2))
    since = (timezone.now() - timedelta(days=1)).isoformat()
    answer = api.post(f"{own}replay-failed/", {"since": since})
    assert (answer.status_code, answer.json()) == (202, {"replayed": 2})
    work()
    assert len(program.got) == 2
    assert api.post(f"{own}replay-failed/", {}).json()["code"] == "required"
    assert api.post(f"{own}replay-failed/", {"since": "yesterday"}).json()["code"] == "invalid"


@pytest.mark.parametrize("count", [2, 12])
def test_lists_cost_the_same_however_long_they_are(
    clinic: Clinic, api: APIClient, program: Receiver, django_assert_num_queries: Any, count: int
) -> None:
    own = f"{ENDPOINTS}{make(api, program.url())['id']}/"
    for _ in range(count):
        make_endpoint(clinic.location)
    WebhookEndpoint.objects.exclude(url=program.url()).update(disabled_at=timezone.now(), disabled_reason="person")
    happen(clinic, count)
    work()
    api.get(ENDPOINTS)  # notes the use of the key
    with django_assert_num_queries(2):
        assert len(api.get(ENDPOINTS).json()["results"]) == count + 1
    with django_assert_num_queries(4):  # the key, the endpoint, the deliveries, their tries
        assert len(api.get(f"{own}deliveries/").json()["results"]) == count


def test_deliveries_come_in_pages(clinic: Clinic, api: APIClient) -> None:
    url = f"{ENDPOINTS}{make(api)['id']}/deliveries/?page_size=2"
    happen(clinic, 5)
    seen: list[int] = []
    while url:
        page = api.get(url).json()
        seen += [row["id"] for row in page["results"]]
        url = page["next"]
    assert seen == list(WebhookDelivery.objects.order_by("-id").values_list("id", flat=True))


# --- whose ------------------------------------------------------------------------------------------------------------
ADDRESSES = [
    ("get", ""),
    ("patch", ""),
    ("delete", ""),
    ("post", "rotate/"),
    ("post", "test/"),
    ("post", "replay-failed/"),
    ("get", "deliveries/"),
    ("post", "deliveries/{delivery}/replay/"),
]
BODIES = {"replay-failed/": {"since": "2026-01-01T00:00:00Z"}}


@pytest.mark.parametrize(("method", "path"), ADDRESSES)
def test_anothers_endpoint_is_as_one_that_is_not_there(
    clinic: Clinic,
    other_clinic: Clinic,
    api_as: Callable[[str | None], APIClient],
    method: str,
    path: str,
) -> None:
    endpoint, _ = make_endpoint(clinic.location)
    happen(clinic)
    before = list(WebhookEndpoint.objects.values()), list(WebhookDelivery.objects.values())
    tail = path.format(delivery=WebhookDelivery.objects.get().pk)
    stranger = api_as(other_clinic.key)
    foreign, absent = (
        getattr(stranger, method)(f"{ENDPOINTS}{pk}/{tail}", BODIES.get(path, {})) for pk in (endpoint.pk, ABSENT)
    )
    assert foreign.status_code == 404
    assert foreign.content == absent.content
    assert before == (list(WebhookEndpoint.objects.values()), list(WebhookDelivery.objects.values()))
    own = getattr(api_as(clinic.key), method)(f"{ENDPOINTS}{endpoint.pk}/{tail}", BODIES.get(path, {}))
    assert own.status_code < 300


def test_a_delivery_is_found_at_its_own_endpoint_only(clinic: Clinic, api: APIClient) -> None:
    endpoint, _ = make_endpoint(clinic.location)
    other, _ = make_endpoint(clinic.location, event_types=("line.health",))
    happen(clinic)
    delivery = WebhookDelivery.objects.get()
    assert api.post(f"{ENDPOINTS}{other.pk}/deliveries/{delivery.pk}/replay/", {}).status_code == 404
    for wrong in ("0", "x", "-1", "9" * 18, "9" * 30, "1.0", "%D9%A1"):
        assert api.post(f"{ENDPOINTS}{endpoint.pk}/deliveries/{wrong}/replay/", {}).status_code == 404
    assert api.post(f"{ENDPOINTS}{endpoint.pk}/deliveries/{delivery.pk}/replay/", {"force": 1}).status_code == 400


@pytest.mark.parametrize(("method", "path"), [("get", "/"), ("post", "/"), *ADDRESSES])
@pytest.mark.parametrize(
    ("who", "statuses"),
    [("operator", {200, 201, 202, 204}), ("admin", {200, 201, 202, 204}), ("agent", {403}), ("viewer", {403})],
)
def test_people_below_admins_see_and_change_nothing(
    clinic: Clinic, who: str, statuses: set[int], method: str, path: str
) -> None:
    endpoint, _ = make_endpoint(clinic.location)
    happen(clinic)
    tail = path.format(delivery=WebhookDelivery.objects.get().pk)
    body: dict[str, Any] = dict(BODIES.get(path, {}))
    url = f"{ENDPOINTS}{endpoint.pk}/{tail}"
    if path == "/":
        url, body = f"{ENDPOINTS}?location={clinic.location.pk}", {"url": URL} if method == "post" else {}
    answer = getattr(signed_in(getattr(clinic, who)), method)(url, body)
    assert answer.status_code in statuses


@pytest.mark.parametrize("who", ["other_admin", "stranger"])
def test_admins_of_other_locations_find_nothing(clinic: Clinic, who: str) -> None:
    endpoint, _ = make_endpoint(clinic.location)
    client = signed_in(getattr(clinic, who))
    assert client.get(f"{ENDPOINTS}{endpoint.pk}/").status_code in (403, 404)
    assert str(endpoint.pk) not in client.get(ENDPOINTS).content.decode()
    assert client.get(f"{ENDPOINTS}?location={clinic.location.pk}").status_code == 404
