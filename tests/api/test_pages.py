"""Lists come in pages that neither repeat nor lose a row, at the same cost for any number of rows."""

import base64
import json
from datetime import timedelta

import pytest
from django.utils import timezone

from messaging.models import Attachment, DispatchState, EventKind, Message, MessageEvent
from routing.models import Contact
from tests.factories import make_account, make_contact, make_line, make_message, make_setup


def fill(clinic, count):
    """`count` rows of everything, each with all that hangs on it."""
    for number in range(count):
        contact = make_contact(clinic.location, name=f"Pat {number}", tags=("vip", f"tag {number}"))
        account = make_account(clinic.location, user=clinic.agent)
        setup = make_setup(clinic.location)
        make_line(setup, account=account)
        make_line(setup, phone_number=None)
        message = make_message(
            contact,
            account=account,
            text=f"hello {number}",
            dispatch_state=DispatchState.ACCEPTED,
            trace={"decision": "selected"},
        )
        Attachment.objects.create(location=clinic.location, message=message, url="https://example.com/a.png")
        MessageEvent.objects.create(location=clinic.location, message=message, kind=EventKind.SENT, at=timezone.now())


# One for the key, one for the rows, and one for each kind of thing that hangs on them.
BUDGETS = {"messages": 3, "contacts": 3, "accounts": 2, "locations": 2, "setups": 2}


@pytest.mark.parametrize("resource", BUDGETS)
@pytest.mark.parametrize("count", [3, 30])
def test_a_list_costs_the_same_however_long_it_is(clinic, api, django_assert_num_queries, resource, count):
    fill(clinic, count)
    api.get("/api/v1/locations/")  # notes the use of the key
    with django_assert_num_queries(BUDGETS[resource]):
        answer = api.get(f"/api/v1/{resource}/?page_size=200")
    assert len(answer.json()["results"]) >= (1 if resource == "locations" else count)


@pytest.mark.parametrize("resource", ["messages", "contacts", "accounts", "setups"])
def test_forward_and_back_again_every_row_once(clinic, api, resource):
    fill(clinic, 7)
    everything = [row["id"] for row in api.get(f"/api/v1/{resource}/").json()["results"]]
    assert len(everything) >= 7
    pages = []
    url = f"/api/v1/{resource}/?page_size=3"
    while url:
        page = api.get(url).json()
        pages.append([row["id"] for row in page["results"]])
        last, url = page, page["next"]
    assert [row for page in pages for row in page] == everything
    assert {len(page) for page in pages[:-1]} == {3}
    back = [pages[-1]]
    while last["previous"]:
        last = api.get(last["previous"]).json()
        back.insert(0, [row["id"] for row in last["results"]])
    assert back == pages
    assert last["next"]


def test_rows_of_one_moment_are_kept_apart(clinic, api):
    """A bulk import gives thousands of contacts one `created_at`."""
    moment = timezone.now() - timedelta(days=1)
    Contact.objects.bulk_create(
        Contact(location=clinic.location, phone_number=f"+1555888{number:04d}", created_at=moment)
        for number in range(1200)
    )
    seen = []
    url = "/api/v1/contacts/?page_size=200"
    while url:
        page = api.get(url).json()
        seen += [row["id"] for row in page["results"]]
        url = page["next"]
    assert len(seen) == len(set(seen)) == 1201


def test_rows_that_come_or_go_meanwhile_shift_nothing(clinic, api):
    fill(clinic, 6)
    first = api.get("/api/v1/messages/?page_size=3").json()
    everything = [row["id"] for row in api.get("/api/v1/messages/").json()["results"]]
    api.post("/api/v1/messages/", clinic.text())
    Attachment.objects.all().delete()
    MessageEvent.objects.all().delete()
    Message.objects.filter(pk=first["results"][-1]["id"]).delete()
    second = api.get(first["next"]).json()
    assert [row["id"] for row in second["results"]] == everything[3:6]


def test_filters_stay_on_the_links(clinic, api):
    fill(clinic, 4)
    page = api.get("/api/v1/messages/?page_size=2&search=hello&direction=outbound").json()
    assert "search=hello" in page["next"]
    assert "direction=outbound" in page["next"]
    assert len(api.get(page["next"]).json()["results"]) == 2


def test_an_empty_list_has_no_links(api_as, clinic):
    assert api_as(clinic.other_key).get("/api/v1/messages/").json() == {"next": None, "previous": None, "results": []}


def packed(*parts):
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode()


MOMENT, ID = "2030-01-01T00:00:00+00:00", "00000000-0000-0000-0000-000000000000"
CURSORS = [
    "x",
    "é",
    "%00",
    "AAAA",
    packed(),
    packed("f"),
    packed("f", MOMENT),
    packed("x", MOMENT, ID),
    packed("f", MOMENT, ID, ID),
    packed("f", "yesterday", ID),
    packed("f", "2030-01-01", ID),
    packed("f", "2030-01-01T00:00:00", ID),
    packed("f", "0001-01-01T00:00:00+14:00", ID),
    packed("f", "9999-12-31T23:59:59-14:00", ID),
    packed("f", 5, ID),
    packed("f", [MOMENT], ID),
    packed("f", None, ID),
    packed("f", MOMENT, "x"),
    packed("f", MOMENT, "\x00"),
    packed("f", MOMENT, {"a": 1}),
    base64.urlsafe_b64encode(b"[" * 100_000).decode(),
    base64.urlsafe_b64encode(b'"f"').decode(),
    base64.urlsafe_b64encode(b'{"f": 1, "a": 2, "b": 3}').decode(),
    base64.urlsafe_b64encode(b"\xff\xfe").decode(),
]


@pytest.mark.parametrize("cursor", CURSORS)
def test_a_cursor_that_the_hub_did_not_give_is_400(api, cursor):
    answer = api.get("/api/v1/contacts/", {"cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor")


@pytest.mark.parametrize("number", ["9" * 30, "-" + "9" * 30, "1.5", "x", "NaN"])
def test_a_cursor_with_a_number_that_is_none_is_400(api, number):
    answer = api.get("/api/v1/messages/", {"cursor": packed("f", number)})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor")


def test_a_forged_cursor_shows_nothing_of_others(clinic, api_as):
    make_contact(clinic.location)
    cursor = packed("f", "2999-01-01T00:00:00+00:00", ID)
    assert api_as(clinic.other_key).get("/api/v1/contacts/", {"cursor": cursor}).json()["results"] == []


def test_page_size_is_50_unless_asked_for(clinic, api):
    Contact.objects.bulk_create(
        Contact(location=clinic.location, phone_number=f"+1555888{number:04d}") for number in range(60)
    )
    assert len(api.get("/api/v1/contacts/").json()["results"]) == 50
    assert len(api.get("/api/v1/contacts/?page_size=1").json()["results"]) == 1
