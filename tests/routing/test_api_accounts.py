"""Accounts and locations over HTTP."""

import pytest

from routing import services
from routing.models import Account, LineState, Location, Role
from tests.factories import make_account, make_member

ACCOUNTS = "/api/v1/accounts/"


def test_an_account_shows_what_a_client_chooses_by(clinic, api):
    body = api.get(f"{ACCOUNTS}{clinic.account.pk}/").json()
    assert body == {
        "id": str(clinic.account.pk),
        "location": str(clinic.location.pk),
        "index": 1,
        "label": "Front desk",
        "phone_number": clinic.account.phone_number,
        "user": None,
        "is_enabled": True,
        "is_default": True,
        "can_send": True,
        "blockers": [],
        "created_at": body["created_at"],
    }


def test_blockers_say_why_it_cannot_send(clinic, api):
    account = make_account(
        clinic.location, line_state=LineState.PENDING, credentials_rejected=True, connected=False, is_enabled=False
    )
    body = api.get(f"{ACCOUNTS}{account.pk}/").json()
    assert body["can_send"] is False
    assert body["blockers"] == ["disabled", "line_pending", "credentials_rejected", "disconnected"]


def test_accounts_come_in_the_order_of_their_index(clinic, api):
    for _ in range(11):
        make_account(clinic.location)
    rows = api.get(ACCOUNTS).json()["results"]
    assert [row["index"] for row in rows] == list(range(1, 13))


def test_accounts_are_found_by_state_and_user(clinic, api):
    mute = make_account(clinic.location, connected=False, user=clinic.agent)
    by = lambda query: [row["id"] for row in api.get(ACCOUNTS, query).json()["results"]]  # noqa: E731
    assert by({"can_send": "false"}) == [str(mute.pk)]
    assert by({"can_send": "true"}) == [str(clinic.account.pk)]
    assert by({"user": str(clinic.agent.pk)}) == [str(mute.pk)]


def test_a_change_is_shown_at_once(clinic, api):
    member = make_member(clinic.location, Role.AGENT, crm_user_id="crm-7")
    path = f"{ACCOUNTS}{clinic.account.pk}/"
    answer = api.patch(path, {"label": "Desk 2", "user": "crm-7", "is_enabled": False})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["label"], body["user"]) == ("Desk 2", str(member.pk))
    assert (body["is_enabled"], body["can_send"], body["blockers"]) == (False, False, ["disabled"])
    assert api.get(path).json() == body
    body = api.patch(path, {"user": None, "is_enabled": True}).json()
    assert (body["label"], body["user"], body["can_send"]) == ("Desk 2", None, True)
    assert api.patch(path, {}).json() == body


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"label": ""}, "blank"),
        ({"label": "x" * 121}, "max_length"),
        ({"label": None}, "null"),
        ({"user": "nobody"}, "user_not_found"),
        ({"is_enabled": "no"}, "invalid"),
        ({"is_default": True}, "unknown_field"),
        ({"phone_number": "+15559990001"}, "unknown_field"),
        ({"index": 7}, "unknown_field"),
        ({"can_send": True}, "unknown_field"),
        ({"connected": True}, "unknown_field"),
    ],
)
def test_what_belongs_to_the_line_cannot_be_changed(clinic, api, body, code):
    before = api.get(f"{ACCOUNTS}{clinic.account.pk}/").json()
    answer = api.patch(f"{ACCOUNTS}{clinic.account.pk}/", body)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert api.get(f"{ACCOUNTS}{clinic.account.pk}/").json() == before


def test_exactly_one_default_remains(clinic, api):
    second = make_account(clinic.location)
    for _ in range(2):
        answer = api.post(f"{ACCOUNTS}{second.pk}/set-default/")
        assert (answer.status_code, answer.json()["is_default"]) == (200, True)
    rows = api.get(ACCOUNTS).json()["results"]
    assert [row["id"] for row in rows if row["is_default"]] == [str(second.pk)]
    assert Location.objects.get(pk=clinic.location.pk).default_account_id == second.pk


def test_a_retired_account_is_not_there(clinic, api):
    services.retire_account(account=clinic.account, by=None)
    path = f"{ACCOUNTS}{clinic.account.pk}/"
    assert api.get(ACCOUNTS).json()["results"] == []
    assert {api.get(path).status_code, api.patch(path, {}).status_code} == {404}
    assert api.post(f"{path}set-default/").status_code == 404
    assert Account.objects.get(pk=clinic.account.pk).retired_at is not None


@pytest.mark.parametrize("method", ["post", "delete", "put"])
def test_accounts_come_from_lines_alone(clinic, api, method):
    path = ACCOUNTS if method == "post" else f"{ACCOUNTS}{clinic.account.pk}/"
    assert getattr(api, method)(path, {}).status_code == 405


def test_a_location_shows_its_policies(clinic, api):
    body = api.get(f"/api/v1/locations/{clinic.location.pk}/").json()
    assert body == {
        "id": str(clinic.location.pk),
        "name": clinic.location.name,
        "time_zone": "America/New_York",
        "region": "US",
        "unavailable_tag_account": "next",
        "unavailable_user_account": "next",
        "manual_override_persists": False,
        "quiet_hours": [],
        "default_account": str(clinic.account.pk),
        "created_at": body["created_at"],
    }
    assert api.get("/api/v1/locations/").json()["results"] == [body]


@pytest.mark.parametrize("method", ["post", "patch", "delete", "put"])
def test_locations_are_read_only(clinic, api, method):
    for path in ("/api/v1/locations/", f"/api/v1/locations/{clinic.location.pk}/"):
        assert getattr(api, method)(path, {}).status_code == 405
