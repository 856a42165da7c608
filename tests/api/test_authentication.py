"""Who gets in: keys, sessions, roles."""

import json
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from routing.models import ApiKey, Location, Membership, Role, User
from tests.factories import Clinic, make_account, make_api_key, make_contact, make_location, make_member

ACCOUNTS = "/api/v1/accounts/"


def signed_in(user: User, *, csrf: bool = False) -> APIClient:
    client = APIClient(enforce_csrf_checks=csrf, raise_request_exception=False)
    client.force_login(user)
    return client


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer imh_wrong",
        "Basic dTpw",
        "Token {key}",
        "{key}",
        "Bearer {key} {key}",
        "Bearer {key}x",
        "Bearer " + "k" * 5000,
        "Bearer \x00",
        "Bearer ключ",
    ],
)
def test_without_a_good_key_it_is_401_and_says_what_is_wanted(clinic, header):
    client = APIClient(raise_request_exception=False)
    extra = {} if header is None else {"HTTP_AUTHORIZATION": header.format(key=clinic.key)}
    answer = client.get(ACCOUNTS, **extra)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Bearer")
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == ("not_authenticated" if header is None else "authentication_failed")


def test_revoked_expired_and_unknown_keys_are_told_apart_by_nothing(clinic, api_as):
    _, expired = make_api_key(clinic.location, expires_at=timezone.now() - timedelta(seconds=1))
    row, revoked = make_api_key(clinic.location)
    ApiKey.objects.filter(pk=row.pk).update(revoked_at=timezone.now())
    answers = [api_as(key).get(ACCOUNTS) for key in (expired, revoked, "imh_nobodys")]
    assert [answer.status_code for answer in answers] == [401, 401, 401]
    assert len({answer.content for answer in answers}) == 1


def test_a_key_that_expires_later_opens(clinic, api_as):
    _, key = make_api_key(clinic.location, expires_at=timezone.now() + timedelta(hours=1))
    assert api_as(key).get(ACCOUNTS).status_code == 200


def test_the_scheme_is_read_in_any_case(clinic):
    assert APIClient().get(ACCOUNTS, HTTP_AUTHORIZATION=f"bearer {clinic.key}").status_code == 200


def test_key_and_location_are_one_query(clinic, api, django_assert_num_queries):
    api.get(ACCOUNTS)
    with django_assert_num_queries(2):
        assert api.get(f"{ACCOUNTS}?location={clinic.location.pk}").status_code == 200


def test_last_use_is_written_at_most_once_a_minute(clinic, api, django_assert_num_queries):
    before = timezone.now()
    api.get(ACCOUNTS)
    first = ApiKey.objects.get(pk=clinic.api_key.pk).last_used_at
    assert first is not None
    assert before <= first <= timezone.now()
    with django_assert_num_queries(2):
        api.get(ACCOUNTS)
    assert ApiKey.objects.get(pk=clinic.api_key.pk).last_used_at == first
    ApiKey.objects.filter(pk=clinic.api_key.pk).update(last_used_at=first - timedelta(seconds=61))
    api.get(ACCOUNTS)
    again = ApiKey.objects.get(pk=clinic.api_key.pk).last_used_at
    assert again is not None
    assert again >= first


def test_a_refused_key_is_not_noted_as_used(clinic, api_as):
    ApiKey.objects.filter(pk=clinic.api_key.pk).update(revoked_at=timezone.now())
    api_as(clinic.key).get(ACCOUNTS)
    assert ApiKey.objects.get(pk=clinic.api_key.pk).last_used_at is None


# --- sessions ---------------------------------------------------------------------------------------------------------
def test_a_session_reads_its_locations(clinic):
    answer = signed_in(clinic.viewer).get(ACCOUNTS)
    assert [row["id"] for row in answer.json()["results"]] == [str(clinic.account.pk)]
    assert signed_in(clinic.other_admin).get(ACCOUNTS).json()["results"] == []
    assert signed_in(clinic.stranger).get(ACCOUNTS).json()["results"] == []


@pytest.mark.parametrize("column", ["is_staff", "is_active"])
def test_a_session_that_may_not_enter_the_admin_is_none(clinic, column):
    client = signed_in(clinic.admin)
    User.objects.filter(pk=clinic.admin.pk).update(**{column: False})
    assert client.get(ACCOUNTS).status_code == 401


def test_a_session_writes_only_with_its_csrf_token(clinic):
    client = signed_in(clinic.agent, csrf=True)
    answer = client.post("/api/v1/messages/", clinic.text())
    assert (answer.status_code, answer.json()["code"]) == (403, "csrf_failed")
    page = client.get("/api/v1/docs/")
    token = page.content.decode().split('data-csrf-token="')[1].split('"')[0]
    answer = client.post("/api/v1/messages/", clinic.text(), HTTP_X_CSRFTOKEN=token)
    assert answer.status_code == 202


def test_a_key_needs_no_csrf_token(clinic):
    client = APIClient(enforce_csrf_checks=True, HTTP_AUTHORIZATION=f"Bearer {clinic.key}")
    assert client.post("/api/v1/messages/", clinic.text()).status_code == 202


def writes(clinic: Clinic) -> dict[str, tuple[str, str, dict[str, object]]]:
    spare = make_contact(clinic.location)
    return {
        "send": ("post", "/api/v1/messages/", clinic.text()),
        "contact": ("post", "/api/v1/contacts/", {"phone_number": "+15559990001"}),
        "edit contact": ("patch", f"/api/v1/contacts/{clinic.contact.pk}/", {"name": "X"}),
        "forget contact": ("delete", f"/api/v1/contacts/{spare.pk}/", {}),
        "edit account": ("patch", f"/api/v1/accounts/{clinic.account.pk}/", {"label": "X"}),
        "default": ("post", f"/api/v1/accounts/{clinic.account.pk}/set-default/", {}),
        "setup": ("post", "/api/v1/setups/", {"business_name": "B", "label": "L", "area_code": "x"}),
    }


@pytest.mark.parametrize(
    ("who", "allowed"),
    [
        ("viewer", set()),
        ("agent", {"send", "contact", "edit contact"}),
        ("admin", {"send", "contact", "edit contact", "forget contact", "edit account", "default", "setup"}),
    ],
)
def test_each_role_does_what_it_may_and_no_more(clinic, who, allowed):
    client = signed_in(getattr(clinic, who))
    done = set()
    for name, (method, path, body) in writes(clinic).items():
        answer = getattr(client, method)(path, body)
        if answer.status_code == 403:
            assert answer.json()["code"] == "forbidden"
        else:
            assert answer.status_code in (200, 201, 202, 204, 400), (name, answer.content)
            done.add(name)
    assert done == allowed


def test_a_viewer_may_look_before_sending(clinic):
    assert signed_in(clinic.viewer).post("/api/v1/messages/preview/", clinic.text()).status_code == 200


def test_an_agent_who_was_granted_it_marks_the_default(clinic):
    Membership.objects.filter(user=clinic.agent).update(can_set_default=True)
    second = make_account(clinic.location)
    assert signed_in(clinic.agent).post(f"{ACCOUNTS}{second.pk}/set-default/").status_code == 200
    assert Location.objects.get(pk=clinic.location.pk).default_account_id == second.pk


def test_granted_elsewhere_is_not_granted_here(clinic):
    elsewhere = make_location()
    make_member(elsewhere, Role.AGENT, user=clinic.agent, can_set_default=True)
    assert signed_in(clinic.agent).post(f"{ACCOUNTS}{clinic.account.pk}/set-default/").status_code == 403


def test_a_stranger_and_another_admin_find_nothing(clinic):
    for user in (clinic.stranger, clinic.other_admin):
        client = signed_in(user)
        for method, path, body in writes(clinic).values():
            answer = getattr(client, method)(path, body)
            if str(clinic.account.pk) in path or str(clinic.contact.pk) in path:
                assert answer.status_code == 404
    assert signed_in(clinic.stranger).post("/api/v1/messages/", clinic.text()).status_code == 403


def test_a_person_of_several_locations_names_the_one_that_is_meant(clinic):
    make_member(clinic.other_location, Role.AGENT, user=clinic.agent)
    client = signed_in(clinic.agent)
    answer = client.post("/api/v1/messages/", clinic.text())
    assert (answer.status_code, answer.json()["code"]) == (400, "location_required")
    answer = client.post("/api/v1/messages/", clinic.text(location=str(clinic.location.pk)))
    assert answer.status_code == 202
    assert len(client.get("/api/v1/locations/").json()["results"]) == 2
    answer = client.get(f"/api/v1/locations/?location={clinic.location.pk}")
    assert [row["id"] for row in answer.json()["results"]] == [str(clinic.location.pk)]


def test_a_role_counts_in_its_location_only(clinic):
    make_member(clinic.other_location, Role.ADMIN, user=clinic.viewer)
    client = signed_in(clinic.viewer)
    here, there = (
        client.post("/api/v1/messages/", clinic.text(location=str(location.pk)))
        for location in (clinic.location, clinic.other_location)
    )
    assert (here.status_code, there.status_code) == (403, 422)


# --- the docs ---------------------------------------------------------------------------------------------------------
def test_the_schema_is_for_callers_only(clinic, api):
    for accept in ("*/*", "application/vnd.oai.openapi"):
        answer = APIClient().get("/api/v1/schema/", headers={"Accept": accept})
        assert (answer.status_code, json.loads(answer.content)["code"]) == (401, "not_authenticated")
    assert api.get("/api/v1/schema/").status_code == 200
    assert signed_in(clinic.viewer).get("/api/v1/schema/").status_code == 200


def test_the_docs_page_asks_to_sign_in_and_holds_no_inline_script(clinic):
    assert Client().get("/api/v1/docs/").status_code == 302
    page = signed_in(clinic.viewer).get("/api/v1/docs/")
    text = page.content.decode()
    assert page.status_code == 200
    assert "<script>" not in text
    assert "<style" not in text
    assert "style=" not in text
    assert "'unsafe" not in page["Content-Security-Policy"]
