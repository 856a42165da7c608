"""One Idempotency-Key makes one message, however often and however many at once it is posted."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import requests
import time_machine
from django.utils import timezone

from messaging.models import IdempotencyKey, Message
from routing import services as routing
from routing.models import Contact
from tests.factories import Clinic, make_clinic

SEND = "/api/v1/messages/"


def post(api, body, key="k1"):
    return api.post(SEND, body, HTTP_IDEMPOTENCY_KEY=key)


def test_a_repetition_is_answered_as_the_first(clinic, api):
    body = clinic.text("hi {IM#1}", metadata={"b": 1, "a": 2}, media_urls=["https://example.com/a.png"])
    first, second = post(api, body), post(api, body)
    assert (first.status_code, second.status_code) == (202, 202)
    assert second.json() == first.json()
    assert "Idempotent-Replayed" not in first
    assert second["Idempotent-Replayed"] == "true"
    assert Message.objects.count() == 1


def test_the_same_request_written_otherwise_is_the_same(clinic, api):
    post(api, clinic.text(metadata={"b": 1, "a": {"d": 1, "c": 2}}))
    raw = (
        '{ "metadata": {"a": {"c": 2, "d": 1}, "b": 1}, "scheduled_at": null, "text": "hello",'
        f'"media_urls": [], "parse_overrides": true, "to": "{clinic.contact.phone_number}"}}'
    )
    answer = api.generic("POST", SEND, raw, "application/json", HTTP_IDEMPOTENCY_KEY="k1")
    assert (answer.status_code, answer["Idempotent-Replayed"]) == (202, "true")


CHANGES = [
    {"text": "other"},
    {"to": "+15559990001"},
    {"account": 1},
    {"media_urls": ["https://example.com/b.png"]},
    {"send_style": "love"},
    {"parse_overrides": False},
    {"metadata": {"a": 1}},
    {"scheduled_at": "2027-01-01T00:00:00Z"},
]


@pytest.mark.parametrize("change", CHANGES)
def test_another_request_under_the_key_is_refused(clinic, api, change):
    post(api, clinic.text())
    answer = post(api, clinic.text() | change)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert answer["Content-Type"] == "application/problem+json"
    assert Message.objects.count() == 1


def test_a_failed_decision_is_repeated_too(clinic, api):
    routing.set_opt_out(contact=clinic.contact, opted_out=True)
    first = post(api, clinic.text())
    routing.set_opt_out(contact=clinic.contact, opted_out=False)
    second = post(api, clinic.text())
    assert (first.status_code, second.status_code) == (422, 422)
    assert second.json() == first.json()
    assert second["Content-Type"] == "application/problem+json"
    assert second["Idempotent-Replayed"] == "true"


def test_a_refused_request_uses_no_key_up(clinic, api):
    assert post(api, clinic.text("{IM#}")).status_code == 400
    assert not IdempotencyKey.objects.exists()
    assert post(api, clinic.text("{IM#1} hi")).status_code == 202


def test_a_repetition_is_answered_after_its_time_has_come(clinic, api):
    body = clinic.text(scheduled_at=(timezone.now() + timedelta(minutes=5)).isoformat())
    first = post(api, body)
    with time_machine.travel(timezone.now() + timedelta(hours=1), tick=True):
        second = post(api, body)
    assert (second.status_code, second.json()) == (202, first.json())


def test_a_key_is_its_locations_own(clinic, other_clinic, api, api_as):
    first, other = post(api, clinic.text()), post(api_as(other_clinic.key), other_clinic.text())
    assert (first.status_code, other.status_code) == (202, 202)
    assert first.json()["id"] != other.json()["id"]


def test_255_characters_are_a_key(clinic, api):
    assert post(api, clinic.text(), key="!~" * 127 + "x").status_code == 202


def headers_of(clinic: Clinic) -> dict[str, str]:
    """The clinic's key, on a connection that ends with the answer: an open one would hold one of the database's."""
    return {"Authorization": f"Bearer {clinic.key}", "Connection": "close"}


def at_once(count: int, work: Callable[[int], requests.Response]) -> list[requests.Response]:
    """What `count` clients get that start together; who finds no room or comes while the first runs asks again."""
    gate = threading.Barrier(count)

    def one(number: int) -> requests.Response:
        gate.wait(timeout=30)
        deadline = time.monotonic() + 60
        while True:
            try:
                answer = work(number)
            except requests.ConnectionError:  # more at once than the suite's server takes
                continue
            if answer.status_code not in (409, 503) or time.monotonic() > deadline:
                return answer
            assert answer.status_code == 409 or int(answer.headers["Retry-After"]) >= 1

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


@pytest.mark.postgres
def test_100_at_once_make_one_message(transactional_db, live_server):
    clinic = make_clinic()
    body = {"to": "+14155552671", "text": "hi", "metadata": {"n": 1}}
    headers = headers_of(clinic) | {"Idempotency-Key": "k1"}
    answers = at_once(100, lambda _: requests.post(f"{live_server}{SEND}", json=body, headers=headers, timeout=60))
    assert {answer.status_code for answer in answers} == {202}
    assert {answer.json()["id"] for answer in answers} == {str(Message.objects.get().pk)}
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) <= 1
    assert Contact.objects.filter(phone_number="+14155552671").count() == 1


@pytest.mark.postgres
def test_at_once_under_different_keys_makes_one_each(transactional_db, live_server):
    clinic = make_clinic()
    headers = headers_of(clinic)

    def one(number: int) -> requests.Response:
        return requests.post(
            f"{live_server}{SEND}",
            json={"to": "+14155552671", "text": f"hi {number}"},
            headers=headers | {"Idempotency-Key": f"k{number}"},
            timeout=60,
        )

    assert [answer.status_code for answer in at_once(20, one)] == [202] * 20
    assert Message.objects.count() == 20
    assert Contact.objects.filter(phone_number="+14155552671").count() == 1
