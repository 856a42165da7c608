"""Setups over HTTP."""

import pytest

from provisioning.models import LineStatus, PhoneLine, Setup, SetupStatus
from provisioning.providers.base import Line, Rejected, Subaccount, Uncertain
from tests.factories import make_line, make_setup
from tests.provisioning.fake_provider import CREDENTIALS

SETUPS = "/api/v1/setups/"
ASKED = {"business_name": "Bay Dental", "label": "Front desk", "area_code": "415"}
NUMBER = "+14155552671"


def test_a_repetition_that_could_not_be_told_from_a_second_wish_is_refused(clinic, api, provider):
    before = Setup.objects.count()
    answer = api.post(SETUPS, ASKED, headers={"Idempotency-Key": "k1"})
    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_unsupported")
    assert (Setup.objects.count(), provider.created) == (before, [])


def test_a_number_that_comes_later(clinic, api, provider):
    answer = api.post(SETUPS, ASKED)
    assert answer.status_code == 201, answer.content
    body = answer.json()
    setup = Setup.objects.get(pk=body["id"])
    line = PhoneLine.objects.get(setup=setup)
    assert body == {
        "id": str(setup.pk),
        "location": str(clinic.location.pk),
        "business_name": "Bay Dental",
        "label": "Front desk",
        "provider": "sendblue",
        "status": "pending",
        "problem": None,
        "phone_line_count": 1,
        "assigned_line_count": 0,
        "phone_lines": [
            {
                "id": str(line.pk),
                "status": "pending",
                "health": "unknown",
                "phone_number": None,
                "account": None,
                "requested_at": body["phone_lines"][0]["requested_at"],
                "assigned_at": None,
            }
        ],
        "created_at": body["created_at"],
    }
    assert [(new.business_name, new.area_code) for new in provider.created] == [("Bay Dental", "415")]
    assert api.get(f"{SETUPS}{setup.pk}/").json() == body


def test_a_number_that_is_there_at_once(clinic, api, provider):
    provider.answer = Subaccount(CREDENTIALS, lines=(Line(NUMBER),))
    provider.offers(NUMBER)
    body = api.post(SETUPS, {"business_name": "B", "label": "L"}).json()
    assert (body["status"], body["phone_line_count"], body["assigned_line_count"]) == ("active", 1, 1)
    (line,) = body["phone_lines"]
    assert (line["status"], line["phone_number"]) == ("assigned", NUMBER)
    assert line["assigned_at"]
    account = api.get(f"/api/v1/accounts/{line['account']}/").json()
    assert (account["phone_number"], account["can_send"]) == (NUMBER, True)


@pytest.mark.parametrize(
    ("error", "status"),
    [(Rejected("no_such_area", "No numbers there."), "failed"), (Uncertain("timeout", "No answer."), "unknown")],
)
def test_what_the_provider_did_not_do_is_told_in_the_answer(clinic, api, provider, error, status):
    provider.answer = error
    answer = api.post(SETUPS, ASKED)
    assert answer.status_code == 201
    assert answer.json()["status"] == status
    assert answer.json()["problem"]["code"]
    assert len(provider.created) == 1


def test_rows_carry_the_counts_and_no_lines(clinic, api):
    setup = make_setup(clinic.location, status=SetupStatus.PENDING)
    make_line(setup)
    make_line(setup, phone_number=None)
    released = make_line(setup)
    PhoneLine.objects.filter(pk=released.pk).update(status=LineStatus.RELEASED, released_at=released.assigned_at)
    row = next(row for row in api.get(SETUPS).json()["results"] if row["id"] == str(setup.pk))
    assert (row["phone_line_count"], row["assigned_line_count"]) == (2, 1)
    assert "phone_lines" not in row
    detail = api.get(f"{SETUPS}{setup.pk}/").json()
    assert {key: value for key, value in detail.items() if key != "phone_lines"} == row
    assert len(detail["phone_lines"]) == 3


def test_the_newest_comes_first_and_status_filters(clinic, api):
    pending = make_setup(clinic.location, status=SetupStatus.PENDING)
    rows = api.get(SETUPS).json()["results"]
    assert [row["id"] for row in rows] == [str(pending.pk), str(clinic.setup.pk)]
    rows = api.get(f"{SETUPS}?status=pending&provider=sendblue").json()["results"]
    assert [row["id"] for row in rows] == [str(pending.pk)]


def test_no_answer_holds_a_secret(clinic, api, provider):
    made = api.post(SETUPS, ASKED)
    setup = Setup.objects.get(pk=made.json()["id"])
    shown = made.content + api.get(SETUPS).content + api.get(f"{SETUPS}{setup.pk}/").content
    for secret in (
        setup.webhook_key,
        setup.webhook_secret.reveal(),
        setup.credentials_key_id.reveal(),
        setup.credentials_secret.reveal(),
        setup.webhook_secret.token,
        setup.credentials_secret.token,
    ):
        assert secret.encode() not in shown
    assert b"secret" not in shown
    assert b"webhook" not in shown
    assert b"credential" not in shown


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"business_name": ""}, "blank"),
        ({"business_name": "x" * 65}, "max_length"),
        ({"label": None}, "null"),
        ({"label": "x" * 121}, "max_length"),
        ({"area_code": "12"}, "invalid"),
        ({"area_code": "055"}, "invalid"),
        ({"area_code": 415}, "invalid"),
        ({"area_code": "٤١٥"}, "invalid"),
        ({"area_code": "415\n\n"}, None),
        ({"provider": "pigeon"}, "invalid_choice"),
        ({"status": "active"}, "unknown_field"),
        ({"webhook_secret": "mine"}, "unknown_field"),
        ({"credentials_secret": "mine"}, "unknown_field"),
    ],
)
def test_malformed_requests_reach_no_provider(clinic, api, provider, change, code):
    answer = api.post(SETUPS, ASKED | change)
    if code is None:
        assert provider.created[0].area_code == "415"
        return
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert provider.created == []
    assert Setup.objects.filter(location=clinic.location).count() == 1


@pytest.mark.parametrize("method", ["patch", "delete", "put"])
def test_a_setup_is_run_by_people_in_the_admin(clinic, api, method):
    assert getattr(api, method)(f"{SETUPS}{clinic.setup.pk}/", {}).status_code == 405
