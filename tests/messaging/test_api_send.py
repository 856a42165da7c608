"""POST messages/ and its preview, by the contract."""

from datetime import timedelta

import pytest
from django.utils import timezone

from messaging.models import Attachment, IdempotencyKey, Message
from routing import services as routing
from routing.models import Account, Contact, Location
from tests.factories import make_account, make_contact

SEND = "/api/v1/messages/"
PREVIEW = "/api/v1/messages/preview/"


def test_the_answer_is_the_contract(clinic, api):
    answer = api.post(SEND, clinic.text("Your results are in {IM#1}"))
    assert answer.status_code == 202
    body = answer.json()
    brief = {
        "id": str(clinic.account.pk),
        "index": 1,
        "label": "Front desk",
        "phone_number": clinic.account.phone_number,
    }
    assert body["status"] == "queued"
    assert body["direction"] == "outbound"
    assert body["to"] == clinic.contact.phone_number
    assert body["contact"] == str(clinic.contact.pk)
    assert body["text"] == "Your results are in"
    assert body["account"] == brief
    assert body["scheduled_at"] is None
    assert body["routing"]["decision"] == "selected"
    assert body["routing"]["rule"] == "manual_override"
    assert body["routing"]["account"] == brief
    assert len(body["routing"]["steps"]) == 6
    assert body["metadata"] == {}
    assert body["created_at"].endswith("Z")
    stored = Message.objects.get(pk=body["id"])
    assert (stored.text, stored.trace) == ("Your results are in", body["routing"])


def test_list_detail_and_send_show_the_same(clinic, api):
    media = ["https://cdn.example.com:8443/a.png?x=1#y"]
    sent = api.post(SEND, clinic.text(media_urls=media, metadata={"visit": 7}, send_style="confetti")).json()
    assert (sent["media_urls"], sent["attachments"], sent["send_style"]) == (media, [], "confetti")
    detail = api.get(f"{SEND}{sent['id']}/").json()
    assert (detail.pop("events"), detail.pop("reaction")) == ([], None)
    assert detail == sent
    assert api.get(SEND).json()["results"] == [sent]


def test_nullable_fields_may_be_null_or_left_out(clinic, api):
    full = {
        "to": clinic.contact.phone_number,
        "text": "hi",
        "media_urls": [],
        "account": None,
        "scheduled_at": None,
        "expires_at": None,
        "send_style": None,
        "parse_overrides": True,
        "metadata": {},
    }
    first, second = api.post(SEND, full), api.post(SEND, {"to": full["to"], "text": "hi"})
    assert (first.status_code, second.status_code) == (202, 202)
    varying = {"id", "created_at", "expires_at"}
    assert {key: value for key, value in first.json().items() if key not in varying} == {
        key: value for key, value in second.json().items() if key not in varying
    }


@pytest.mark.parametrize("written", ["+1 (415) 555-2671", "415-555-2671", "4155552671", "+14155552671"])
def test_a_number_in_any_form_is_one_contact(clinic, api, written):
    contact = make_contact(clinic.location, phone_number="+14155552671")
    body = api.post(SEND, {"to": written, "text": "hi"}).json()
    assert (body["to"], body["contact"]) == ("+14155552671", str(contact.pk))


def test_an_unknown_number_becomes_a_contact_once(clinic, api):
    ids = {api.post(SEND, {"to": "+14155552671", "text": "hi"}).json()["contact"] for _ in range(2)}
    assert {str(contact.pk) for contact in Contact.objects.filter(phone_number="+14155552671")} == ids


def test_a_contact_is_named_by_its_id(clinic, api):
    assert api.post(SEND, {"to": str(clinic.contact.pk), "text": "hi"}).json()["to"] == clinic.contact.phone_number


def test_an_account_is_named_by_index_or_id(clinic, api):
    second = make_account(clinic.location)
    for given in (2, str(second.pk), str(second.pk).upper()):
        body = api.post(SEND, clinic.text(account=given)).json()
        assert (body["account"]["index"], body["routing"]["rule"]) == (2, "manual_override")
    assert api.post(SEND, clinic.text("x {IM#2}", account=2)).status_code == 202
    answer = api.post(SEND, clinic.text("x {IM#1}", account=2))
    assert (answer.status_code, answer.json()["code"]) == (400, "override_conflict")


def test_braces_are_text_when_asked(clinic, api):
    body = api.post(SEND, clinic.text("{IM#2} {IM#}", parse_overrides=False)).json()
    assert (body["text"], body["routing"]["rule"]) == ("{IM#2} {IM#}", "default_account")


def test_media_alone_is_a_message(clinic, api):
    body = api.post(SEND, {"to": clinic.contact.phone_number, "media_urls": ["https://example.com/a.png"]}).json()
    assert (body["text"], body["media_urls"]) == ("", ["https://example.com/a.png"])
    assert Attachment.objects.get().url == "https://example.com/a.png"


def test_http_media_only_from_trusted_hosts(clinic, api, settings):
    settings.HUB_MEDIA_TRUSTED_HOSTS = ["127.0.0.1:9000"]
    assert api.post(SEND, clinic.text(media_urls=["http://127.0.0.1:9000/a.png"])).status_code == 202
    for url in ("http://127.0.0.1:9001/a.png", "http://127.0.0.1/a.png", "http://127.0.0.1:9000@evil.example/"):
        answer = api.post(SEND, clinic.text(media_urls=[url]))
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_media_url")
        assert answer.json()["errors"][0]["field"] == "media_urls.0"


def test_metadata_comes_back_as_it_came(clinic, api):
    given = {"ü": [1, 2.5, None, True, {"deep": ["x"]}], "": "😀", "big": 12345678901234567890}
    sent = api.post(SEND, clinic.text(metadata=given)).json()
    assert sent["metadata"] == given
    assert api.get(f"{SEND}{sent['id']}/").json()["metadata"] == given


def test_metadata_of_exactly_four_kibibytes_is_kept(clinic, api):
    fits = {"a": "x" * (4096 - len('{"a":""}'))}
    assert api.post(SEND, clinic.text(metadata=fits)).status_code == 202
    assert api.post(SEND, clinic.text(metadata={"a": fits["a"] + "x"})).json()["code"] == "metadata_too_large"


def test_a_scheduled_message_waits(clinic, api):
    when = timezone.now() + timedelta(days=2)
    body = api.post(SEND, clinic.text(scheduled_at=when.isoformat())).json()
    assert body["status"] == "scheduled"
    assert body["scheduled_at"] == when.isoformat().replace("+00:00", "Z")
    body = api.post(SEND, clinic.text(scheduled_at="2027-01-31T09:30:00+05:30")).json()
    assert body["scheduled_at"] == "2027-01-31T04:00:00Z"


# --- 422 --------------------------------------------------------------------------------------------------------------
def opted_out(clinic):
    routing.set_opt_out(contact=clinic.contact, opted_out=True)
    return {}


def disconnected(clinic):
    Account.objects.filter(pk=clinic.account.pk).update(connected=False)
    return {}


def tag_fails(clinic):
    disconnected(clinic)
    make_account(clinic.location)
    routing.set_tags(contact=clinic.contact, names=[f"im: {clinic.account.phone_number}"])
    Location.objects.filter(pk=clinic.location.pk).update(unavailable_tag_account="fail")
    return {}


def user_fails(clinic):
    disconnected(clinic)
    make_account(clinic.location)
    Account.objects.filter(pk=clinic.account.pk).update(user=clinic.agent)
    Contact.objects.filter(pk=clinic.contact.pk).update(assigned_user=clinic.agent)
    Location.objects.filter(pk=clinic.location.pk).update(unavailable_user_account="fail")
    return {}


REFUSALS = {
    "contact_opted_out": opted_out,
    "no_connected_account": disconnected,
    "tag_account_not_connected": tag_fails,
    "user_account_not_connected": user_fails,
    "override_account_not_found": lambda clinic: {"text": "x {IM#9}"},
    "override_account_not_connected": lambda clinic: disconnected(clinic) or {"account": 1},
}


@pytest.mark.parametrize("code", REFUSALS)
def test_a_failed_decision_is_422_and_the_message_is_kept(clinic, api, code):
    body = clinic.text() | REFUSALS[code](clinic)
    seen = api.post(PREVIEW, body)
    answer = api.post(SEND, body)
    assert answer.status_code == 422
    assert answer["Content-Type"] == "application/problem+json"
    told = answer.json()
    assert (told["code"], told["routing"]["code"], told["routing"]["decision"]) == (code, code, "failed")
    assert told["routing"]["account"] is None
    assert told["detail"] == told["routing"]["sentence"]
    kept = api.get(f"{SEND}{told['message']}/").json()
    assert (kept["status"], kept["code"], kept["detail"]) == ("failed", code, told["detail"])
    assert (kept["account"], kept["routing"]) == (None, told["routing"])
    assert (seen.status_code, seen.json()["routing"]) == (200, told["routing"])


# --- preview ----------------------------------------------------------------------------------------------------------
def test_preview_equals_what_sending_stores_and_writes_nothing(clinic, api):
    make_account(clinic.location)
    body = clinic.text("Hello  {TEMP-IM#2} there", metadata={"a": 1})
    before = (Contact.objects.count(), Message.objects.count())
    seen = api.post(PREVIEW, body).json()
    assert (Contact.objects.count(), Message.objects.count()) == before
    sent = api.post(SEND, body).json()
    assert seen == {"routing": sent["routing"], "text": sent["text"]}


def test_preview_of_an_unknown_number_makes_no_contact(clinic, api):
    assert api.post(PREVIEW, {"to": "+14155552671", "text": "hi"}).status_code == 200
    assert not Contact.objects.filter(phone_number="+14155552671").exists()


def test_preview_refuses_what_sending_refuses(clinic, api):
    for change in (
        {"text": ""},
        {"to": "x"},
        {"text": "{IM#}"},
        {"extra": 1},
        {"scheduled_at": "2020-01-01T00:00:00Z"},
    ):
        seen, sent = api.post(PREVIEW, clinic.text() | change), api.post(SEND, clinic.text() | change)
        assert (seen.status_code, seen.content) == (sent.status_code, sent.content)
        assert sent.status_code == 400
    assert not Message.objects.exists()


# --- cost -------------------------------------------------------------------------------------------------------------
def test_a_send_costs_the_same_for_any_number_of_accounts(clinic, api, django_assert_max_num_queries):
    api.post(SEND, clinic.text())
    for _ in range(30):
        make_account(clinic.location)
        make_contact(clinic.location)
    with django_assert_max_num_queries(8):  # one the key, one the thread, two the savepoint of this test
        assert api.post(SEND, clinic.text()).status_code == 202
    assert not IdempotencyKey.objects.exists()
