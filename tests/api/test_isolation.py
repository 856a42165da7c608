"""A key sees nothing of another location: every address of the URL map, every method, every id in a body."""

import re
from dataclasses import dataclass

import pytest
from django.core.files.base import ContentFile
from django.urls import URLPattern, URLResolver, get_resolver

from messaging import services as messaging_services
from messaging.models import Attachment, Message, MessageBatch, WebhookDelivery, WebhookEndpoint
from messaging.webhooks_out import endpoints
from routing.models import Account, Contact, Location
from tests.factories import make_api_key, make_clinic, make_contact, make_endpoint, make_location, make_message
from tests.provisioning.fake_provider import FakeProvider

CANARY = "CANARY"
ABSENT = "00000000-0000-0000-0000-000000000000"


@dataclass
class Theirs:
    """Another location, with the canary in everything that can hold it."""

    clinic: object
    sent: Message
    received: Message
    endpoint: WebhookEndpoint
    delivery: WebhookDelivery
    batch: MessageBatch


@pytest.fixture
def theirs(db, settings, tmp_path):
    settings.STORAGES = {
        **settings.STORAGES,
        "default": {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": str(tmp_path)}},
    }
    clinic = make_clinic(f"{CANARY} clinic")
    Account.objects.filter(pk=clinic.account.pk).update(label=f"{CANARY} desk", user=clinic.agent)
    contact = make_contact(clinic.location, name=f"{CANARY} Doe", tags=(CANARY,))
    sent = make_message(contact, account=clinic.account, text=CANARY, trace={"sentence": CANARY})
    received = make_message(contact, account=clinic.account, text=CANARY, received=True)
    attachment = Attachment(location=clinic.location, message=received, url="https://example.com/a")
    attachment.file.save("canary.txt", ContentFile(CANARY.encode()))
    endpoint, _ = make_endpoint(clinic.location, f"https://{CANARY}.example.com/hook")
    event = endpoints.send_test(endpoint=endpoint)
    delivery = WebhookDelivery.objects.get(event=event)
    counts = {"recipient_count": 1, "accepted_count": 0, "refused_count": 1}
    batch = MessageBatch.objects.create(location=clinic.location, label=CANARY, actor=CANARY, **counts)
    return Theirs(clinic, sent, received, endpoint, delivery, batch)


def routes(patterns=None, prefix=""):
    """Every address below /api/v1/, as a template, from the URL map itself."""
    for entry in patterns if patterns is not None else get_resolver().url_patterns:
        path = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from routes(entry.url_patterns, path)
        elif isinstance(entry, URLPattern) and path.startswith("api/v1/"):
            yield "/" + path


ROUTES = sorted(set(routes()))
WITH_ID = [route for route in ROUTES if "<str:pk>" in route]
METHODS = ["get", "post", "patch", "delete", "put"]


def test_the_walk_finds_the_whole_contract():
    shapes = {re.sub(r"<str:(\w+)>", r"{\1}", route) for route in ROUTES}
    assert shapes == {
        "/api/v1/schema/",
        "/api/v1/docs/",
        "/api/v1/messages/",
        "/api/v1/messages/bulk/",
        "/api/v1/messages/preview/",
        "/api/v1/messages/{pk}/",
        "/api/v1/messages/{pk}/cancel/",
        "/api/v1/messages/{pk}/mark-read/",
        "/api/v1/messages/{pk}/attachments/{order}/",
        "/api/v1/batches/",
        "/api/v1/batches/{pk}/",
        "/api/v1/batches/{pk}/cancel/",
        "/api/v1/contacts/",
        "/api/v1/contacts/{pk}/",
        "/api/v1/contacts/{pk}/typing/",
        "/api/v1/accounts/",
        "/api/v1/accounts/{pk}/",
        "/api/v1/accounts/{pk}/set-default/",
        "/api/v1/locations/",
        "/api/v1/locations/{pk}/",
        "/api/v1/setups/",
        "/api/v1/setups/{pk}/",
        "/api/v1/webhook-endpoints/",
        "/api/v1/webhook-endpoints/{pk}/",
        "/api/v1/webhook-endpoints/{pk}/rotate/",
        "/api/v1/webhook-endpoints/{pk}/test/",
        "/api/v1/webhook-endpoints/{pk}/replay-failed/",
        "/api/v1/webhook-endpoints/{pk}/deliveries/",
        "/api/v1/webhook-endpoints/{pk}/deliveries/{delivery}/replay/",
    }


def id_in(theirs, route):
    clinic = theirs.clinic
    return {
        "messages": theirs.received if "attachments" in route or "mark-read" in route else theirs.sent,
        "contacts": theirs.sent.contact,
        "accounts": clinic.account,
        "locations": clinic.location,
        "setups": clinic.setup,
        "webhook-endpoints": theirs.endpoint,
        "batches": theirs.batch,
    }[route.split("/")[3]].pk


def without_parts(theirs, route):
    """The address with everything but its id filled in."""
    return route.replace("<str:order>", "0").replace("<str:delivery>", str(theirs.delivery.pk))


SEEN = (Message, Contact, Account, Location, WebhookEndpoint, WebhookDelivery, MessageBatch)


def snapshot():
    return [list(model.objects.order_by("pk").values()) for model in SEEN]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("route", WITH_ID)
def test_anothers_object_is_as_one_that_is_not_there(clinic, theirs, api, route, method):
    path = without_parts(theirs, route)
    body = {"is_typing": True} if "typing" in route else {}
    api.get("/api/v1/locations/")
    before = snapshot()
    foreign = getattr(api, method)(path.replace("<str:pk>", str(id_in(theirs, route))), body)
    absent = getattr(api, method)(path.replace("<str:pk>", ABSENT), body)
    assert foreign.status_code in (404, 405)
    assert (foreign.status_code, foreign.content) == (absent.status_code, absent.content)
    assert {name: value for name, value in foreign.items() if name != "X-Request-Id"} == {
        name: value for name, value in absent.items() if name != "X-Request-Id"
    }
    assert snapshot() == before


@pytest.mark.parametrize("route", WITH_ID)
def test_the_walk_would_notice(theirs, api_as, monkeypatch, route):
    """With their own key the same addresses are there, so the test above can fail."""
    monkeypatch.setattr(messaging_services, "get_adapter", lambda name: FakeProvider())
    path = without_parts(theirs, route).replace("<str:pk>", str(id_in(theirs, route)))
    api = api_as(theirs.clinic.key)
    seen = set()
    for method in METHODS:
        answer = getattr(api, method)(path, {})
        b"".join(answer)  # to the end, so that a file is closed
        seen.add(answer.status_code)
    assert seen & {200, 202, 204, 400, 409}


@pytest.mark.parametrize("route", [route for route in ROUTES if "<" not in route and "docs" not in route])
def test_no_list_and_no_error_shows_anything_of_another_location(clinic, theirs, api, route):
    for method in METHODS:
        for query in ("", f"?location={theirs.clinic.location.pk}"):
            answer = getattr(api, method)(route + query, {})
            assert CANARY not in answer.content.decode()
            assert str(theirs.sent.pk) not in answer.content.decode()


@pytest.mark.parametrize(
    "query",
    [
        "messages/?contact={contact}",
        "messages/?account={account}",
        "messages/?search=CANARY",
        "contacts/?search=CANARY",
        "contacts/?tag=CANARY",
        "contacts/?assigned_user={user}",
        "contacts/?phone_number=%2B{digits}",
        "accounts/?user={user}",
    ],
)
def test_filters_find_only_ones_own(clinic, theirs, api, api_as, query):
    path = "/api/v1/" + query.format(
        contact=theirs.sent.contact_id,
        account=theirs.clinic.account.pk,
        user=theirs.clinic.agent.pk,
        digits=theirs.sent.contact.phone_number[1:],
    )
    Contact.objects.filter(pk=theirs.sent.contact_id).update(assigned_user=theirs.clinic.agent)
    assert api.get(path).json()["results"] == []
    assert api_as(theirs.clinic.key).get(path).json()["results"]


def test_naming_anothers_location_is_naming_none(clinic, theirs, api):
    answers = []
    for location in (theirs.clinic.location.pk, ABSENT):
        body = clinic.text(location=str(location))
        answers.append(
            [
                (answer.status_code, answer.content)
                for answer in (
                    api.get(f"/api/v1/messages/?location={location}"),
                    api.get(f"/api/v1/accounts/{clinic.account.pk}/?location={location}"),
                    api.post("/api/v1/messages/", body),
                    api.post("/api/v1/messages/preview/", body),
                    api.post(f"/api/v1/messages/?location={location}", clinic.text()),
                    api.post("/api/v1/contacts/", {"phone_number": "+15559990001", "location": str(location)}),
                    api.post("/api/v1/setups/", {"business_name": "B", "label": "L", "location": str(location)}),
                    api.patch(f"/api/v1/contacts/{clinic.contact.pk}/", {"name": "X", "location": str(location)}),
                )
            ]
        )
    assert answers[0] == answers[1]
    assert {status for status, _ in answers[0]} == {404}


def test_naming_ones_own_location_changes_nothing(clinic, api):
    own = str(clinic.location.pk)
    assert api.get(f"/api/v1/messages/?location={own}").status_code == 200
    assert api.post("/api/v1/messages/", clinic.text(location=own)).status_code == 202
    assert api.post(f"/api/v1/messages/?location={own}", clinic.text(location=own)).status_code == 202


def test_ids_in_a_body_reach_no_other_location(clinic, theirs, api):
    send = "/api/v1/messages/"

    def same(foreign, absent):
        assert (foreign.status_code, foreign.json()["code"]) == (absent.status_code, absent.json()["code"])
        assert CANARY not in foreign.content.decode()
        return foreign.status_code

    contact = str(theirs.sent.contact_id)
    assert same(api.post(send, clinic.text(to=contact)), api.post(send, clinic.text(to=ABSENT))) == 400
    account = str(theirs.clinic.account.pk)
    assert same(api.post(send, clinic.text(account=account)), api.post(send, clinic.text(account=ABSENT))) == 422
    typing = f"/api/v1/contacts/{clinic.contact.pk}/typing/"
    assert (
        same(
            api.post(typing, {"is_typing": True, "account": account}),
            api.post(typing, {"is_typing": True, "account": ABSENT}),
        )
        == 422
    )
    contact = f"/api/v1/contacts/{clinic.contact.pk}/"
    agent = str(theirs.clinic.agent.pk)
    assert same(api.patch(contact, {"assigned_user": agent}), api.patch(contact, {"assigned_user": ABSENT})) == 400
    own = f"/api/v1/accounts/{clinic.account.pk}/"
    assert same(api.patch(own, {"user": agent}), api.patch(own, {"user": ABSENT})) == 400


def test_a_number_of_another_location_is_free_here(clinic, theirs, api):
    number = theirs.sent.contact.phone_number
    answer = api.post("/api/v1/contacts/", {"phone_number": number})
    assert (answer.status_code, answer.json()["name"]) == (201, "")


# --- hub-wide keys ----------------------------------------------------------------------------------------------------
@pytest.fixture
def hub_wide(api_as, db):
    return api_as(make_api_key(None)[1])


def test_a_hub_wide_key_sees_all_and_narrows_by_location(clinic, theirs, hub_wide):
    ids = {row["id"] for row in hub_wide.get("/api/v1/accounts/").json()["results"]}
    assert ids == {str(clinic.account.pk), str(theirs.clinic.account.pk)}
    rows = hub_wide.get(f"/api/v1/accounts/?location={clinic.location.pk}").json()["results"]
    assert [row["id"] for row in rows] == [str(clinic.account.pk)]
    account = f"/api/v1/accounts/{clinic.account.pk}/"
    assert hub_wide.get(account).status_code == 200
    assert hub_wide.get(f"{account}?location={clinic.location.pk}").status_code == 200
    assert hub_wide.get(f"{account}?location={theirs.clinic.location.pk}").status_code == 404


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("messages/", {"to": "+15559990001", "text": "hi"}),
        ("messages/preview/", {"to": "+15559990001", "text": "hi"}),
        ("contacts/", {"phone_number": "+15559990001"}),
        ("setups/", {"business_name": "B", "label": "L"}),
        ("webhook-endpoints/", {"url": "https://crm.example.com/hook"}),
    ],
)
def test_a_hub_wide_key_says_where_something_is_made(clinic, hub_wide, path, body):
    answer = hub_wide.post(f"/api/v1/{path}", body)
    assert (answer.status_code, answer.json()["code"]) == (400, "location_required")
    assert answer.json()["errors"][0]["field"] == "location"


def test_it_says_so_in_the_body_or_in_the_query(clinic, hub_wide):
    own, other = str(clinic.location.pk), str(clinic.other_location.pk)
    assert hub_wide.post("/api/v1/messages/", clinic.text(location=own)).status_code == 202
    assert hub_wide.post(f"/api/v1/messages/?location={own}", clinic.text()).status_code == 202
    answer = hub_wide.post(f"/api/v1/messages/?location={other}", clinic.text(location=own))
    assert (answer.status_code, answer.json()["code"]) == (400, "location_conflict")
    assert Message.objects.filter(location=clinic.location).count() == 2


def test_a_key_never_outlives_its_location(api_as, db):
    """Without its location it would open every one."""
    location = make_location()
    _, key = make_api_key(location)
    location.delete()
    assert api_as(key).get("/api/v1/accounts/").status_code == 401
