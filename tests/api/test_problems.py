"""Every refusal is a problem document, whatever goes wrong, and shows nothing of the inside."""

import pytest
from django.db import IntegrityError, InterfaceError, OperationalError
from rest_framework.test import APIClient

from messaging import services

CANARY = "patient-canary-4711"


def assert_problem(answer, status, code):
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert (body["status"], body["code"]) == (status, code)
    assert body["type"] == f"urn:imessage-hub:problem:{code}"
    assert body["title"]
    assert body["detail"]
    assert "Traceback" not in answer.content.decode()


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize(
    "path",
    ["/api/", "/api/v1/", "/api/v1/nope/", "/api/v1/messages", "/api/v2/messages/", "/api/%00", "/api/v1/a/b/c/"],
)
def test_below_api_an_unknown_address_is_a_problem_in_every_mode(settings, api, path, debug):
    settings.DEBUG = debug
    assert_problem(api.get(path), 404, "not_found")


def test_elsewhere_an_unknown_address_is_an_ordinary_page(api):
    assert api.get("/nope").headers["Content-Type"].startswith("text/html")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("delete", "/api/v1/messages/"),
        ("put", "/api/v1/contacts/"),
        ("patch", "/api/v1/setups/"),
        ("get", "/api/v1/messages/preview/"),
        ("options", "/api/v1/messages/"),
        ("trace", "/api/v1/messages/"),
    ],
)
def test_a_method_that_is_not_there_is_405_and_says_which_are(api, method, path):
    answer = api.generic(method.upper(), path)
    assert_problem(answer, 405, "method_not_allowed")
    assert "GET" in answer["Allow"] or "POST" in answer["Allow"]


def test_an_accept_header_without_json_is_406(api):
    assert_problem(api.get("/api/v1/accounts/", HTTP_ACCEPT="text/html"), 406, "not_acceptable")


def test_there_is_no_format_parameter(api):
    assert_problem(api.get("/api/v1/accounts/?format=xml"), 400, "unknown_parameter")


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-7",
        "application/json; charset=utf-16",
        "application/json; charset=latin-1",
        "application/json; charset=unicode_escape",
        "application/json; charset=idna",
        "application/json; profile=x",
        "application/json-patch+json",
        "application/*",
        "nonsense",
    ],
)
def test_a_body_of_another_type_is_415(api, content_type):
    answer = api.generic("POST", "/api/v1/contacts/", b'{"phone_number": "+15559990001"}', content_type)
    assert_problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=UTF-8", 'Application/JSON;charset="utf-8"']
)
def test_json_in_utf8_is_read(api, content_type):
    answer = api.generic("POST", "/api/v1/contacts/", b'{"phone_number": "+15559990001"}', content_type)
    assert answer.status_code == 201


def test_a_body_over_a_mebibyte_is_413(api, clinic):
    body = b'{"to": "+15559990001", "text": "' + b"x" * 1024 * 1024 + b'"}'
    assert_problem(api.generic("POST", "/api/v1/messages/", body, "application/json"), 413, "body_too_large")
    body = b'{"to": "+15559990001", "text": "' + b"x" * 1023 * 1024 + b'"}'
    assert_problem(api.generic("POST", "/api/v1/messages/", body, "application/json"), 400, "text_too_long")


@pytest.mark.parametrize("debug", [True, False])
def test_a_mistake_of_ours_is_500_without_a_trace(settings, api, clinic, monkeypatch, caplog, debug):
    def fail(**kwargs):
        raise RuntimeError(CANARY)

    settings.DEBUG = debug
    monkeypatch.setattr(services, "preview", fail)
    answer = api.post("/api/v1/messages/preview/", clinic.text())
    assert_problem(answer, 500, "internal_error")
    assert CANARY not in answer.content.decode()
    assert "request failed" in caplog.text
    assert "RuntimeError" in caplog.text
    assert CANARY not in caplog.text


@pytest.mark.parametrize("error", [OperationalError(f"database is locked {CANARY}"), InterfaceError(CANARY)])
def test_a_busy_database_is_503_and_says_when_to_come_back(api, clinic, monkeypatch, caplog, error):
    def fail(**kwargs):
        raise error

    monkeypatch.setattr(services, "send", fail)
    answer = api.post("/api/v1/messages/", clinic.text())
    assert_problem(answer, 503, "unavailable")
    assert int(answer["Retry-After"]) >= 1
    assert CANARY not in answer.content.decode() + caplog.text


def test_what_a_constraint_refused_is_409_without_the_row(api, clinic, monkeypatch, caplog):
    def fail(**kwargs):
        raise IntegrityError(f"DETAIL: Failing row contains ({CANARY})")

    monkeypatch.setattr(services, "send", fail)
    answer = api.post("/api/v1/messages/", clinic.text())
    assert_problem(answer, 409, "conflict")
    assert CANARY not in answer.content.decode() + caplog.text


def test_several_errors_are_all_told(api):
    answer = api.post("/api/v1/setups/", {"area_code": "12"})
    assert_problem(answer, 400, "invalid_request")
    told = {(error["field"], error["code"]) for error in answer.json()["errors"]}
    assert told == {("business_name", "required"), ("label", "required"), ("area_code", "invalid")}


def test_unknown_fields_are_told_and_nothing_is_done(api, clinic):
    answer = api.post("/api/v1/messages/", clinic.text(txt="x", status="sent"))
    assert_problem(answer, 400, "unknown_field")
    assert {error["field"] for error in answer.json()["errors"]} == {"txt", "status"}
    assert not clinic.location.messages.exists()


@pytest.mark.parametrize("body", [[], [1], "x", 1, None, True])
def test_a_body_that_is_no_object_is_400(api, body):
    answer = api.post("/api/v1/contacts/", body, format="json")
    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"


def test_answers_are_kept_out_of_caches(api, clinic):
    for path in ("/api/v1/messages/", f"/api/v1/contacts/{clinic.contact.pk}/", "/api/v1/nope/"):
        assert api.get(path)["Cache-Control"] == "no-store"


def test_a_host_that_is_not_ours_gets_nothing(clinic):
    client = APIClient(raise_request_exception=False, HTTP_AUTHORIZATION=f"Bearer {clinic.key}")
    assert_problem(client.get("/api/v1/accounts/", HTTP_HOST="evil.example"), 400, "bad_request")
