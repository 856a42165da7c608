"""Messages that are there: list, detail, cancel, read receipts, typing, files."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core.files.base import ContentFile
from django.utils import timezone

from messaging import services
from messaging.models import Attachment, Direction, DispatchState, EventKind, Message, MessageEvent
from provisioning.providers.base import Capability, Rejected, Unavailable
from routing import services as routing
from routing.models import Account
from tests.factories import make_account, make_contact, make_message
from tests.provisioning.fake_provider import FakeProvider

MESSAGES = "/api/v1/messages/"


def queue(clinic, contact=None, account=None, **columns):
    return make_message(contact or clinic.contact, account=account or clinic.account, **columns)


def receive(clinic, text="hello", **columns):
    return make_message(clinic.contact, account=clinic.account, received=True, text=text, **columns)


# --- list and detail --------------------------------------------------------------------------------------------------
def test_a_received_message_shows_who_wrote_to_whom(clinic, api):
    body = api.get(f"{MESSAGES}{receive(clinic).pk}/").json()
    assert (body["direction"], body["status"]) == ("inbound", "received")
    assert body["to"] == clinic.account.phone_number
    assert body["from"] == clinic.contact.phone_number
    assert body["contact"] == str(clinic.contact.pk)
    assert (body["routing"], body["media_urls"], body["attachments"]) == (None, [], [])


def test_facts_and_events_are_told(clinic, api):
    moment = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
    message = queue(
        clinic,
        dispatch_state=DispatchState.ACCEPTED,
        accepted_at=moment,
        sent_at=moment,
        failed_at=moment,
        failed_code="30007",
        delivered_at=moment,
        service="imessage",
    )
    for kind, minutes in ((EventKind.DELIVERED, 2), (EventKind.SENT, 1)):
        at = moment + timedelta(minutes=minutes)
        MessageEvent.objects.create(location=clinic.location, message=message, kind=kind, at=at)
    body = api.get(f"{MESSAGES}{message.pk}/").json()
    assert (body["status"], body["conflict"], body["failed_code"]) == ("delivered", True, "30007")
    assert body["sent_at"] == "2026-11-01T12:00:00Z"
    assert body["service"] == "imessage"
    assert body["events"] == [
        {"kind": "sent", "at": "2026-11-01T12:01:00Z", "code": None, "detail": None},
        {"kind": "delivered", "at": "2026-11-01T12:02:00Z", "code": None, "detail": None},
    ]


def test_the_newest_comes_first(clinic, api):
    made = [queue(clinic) for _ in range(3)]
    ids = [row["id"] for row in api.get(MESSAGES).json()["results"]]
    assert ids == [str(message.pk) for message in reversed(made)]


def test_messages_are_found_by_what_is_known_of_them(clinic, api):
    other = make_contact(clinic.location, name="Zoë Quill", phone_number="+14155552671")
    account = make_account(clinic.location)
    old = timezone.now() - timedelta(days=9)
    wanted = queue(
        clinic,
        contact=other,
        account=account,
        text="Rechnung 100%",
        rule="contact_tag",
        dispatch_state=DispatchState.UNCERTAIN,
        created_at=old,
    )
    receive(clinic)

    def found(**query):
        answer = api.get(MESSAGES, query)
        assert answer.status_code == 200, answer.content
        return [row["id"] for row in answer.json()["results"]]

    for query in (
        {"status": "uncertain"},
        {"direction": "outbound"},
        {"account": str(account.pk)},
        {"contact": str(other.pk)},
        {"rule": "contact_tag"},
        {"created_before": (old + timedelta(seconds=1)).isoformat()},
        {"created_after": old.isoformat(), "created_before": (old + timedelta(hours=1)).isoformat()},
        {"search": "rechnung"},
        {"search": "100%"},
        {"search": "quill"},
        {"search": "(415) 555"},
        {"search": "Rechnung 100"},
    ):
        assert found(**query) == [str(wanted.pk)], query
    for query in ({"search": "Rechnung quill"}, {"search": "__"}, {"created_after": "2999-01-01T00:00:00Z"}):
        assert found(**query) == [], query
    assert len(found(created_after=old.isoformat())) == 2


@pytest.mark.parametrize("method", ["put", "delete"])
def test_a_message_is_never_replaced_or_forgotten(clinic, api, method):
    assert getattr(api, method)(f"{MESSAGES}{queue(clinic).pk}/", {}).status_code == 405


# --- cancel -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("state", [DispatchState.QUEUED, DispatchState.SCHEDULED, DispatchState.CLAIMED])
def test_what_waits_can_be_cancelled_once(clinic, api, state):
    message = queue(clinic, dispatch_state=state)
    answer = api.post(f"{MESSAGES}{message.pk}/cancel/")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    assert api.get(f"{MESSAGES}{message.pk}/").json() == answer.json()
    again = api.post(f"{MESSAGES}{message.pk}/cancel/")
    assert (again.status_code, again.json()["code"]) == (409, "not_cancellable")


@pytest.mark.parametrize("state", ["sending", "accepted", "rejected", "uncertain", "cancelled", "expired", "received"])
def test_what_may_have_left_cannot_be_cancelled(clinic, api, state):
    direction = Direction.INBOUND if state == "received" else Direction.OUTBOUND
    message = queue(clinic, dispatch_state=state, direction=direction)
    answer = api.post(f"{MESSAGES}{message.pk}/cancel/")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_cancellable")
    message.refresh_from_db()
    assert message.dispatch_state == state


# --- read receipts and typing -----------------------------------------------------------------------------------------
class Messenger(FakeProvider):
    """A provider that can do both and keeps what it was asked; `error` is raised instead."""

    capabilities = Capability.MARK_READ | Capability.TYPING

    def __init__(self):
        super().__init__()
        self.asked = []
        self.error = None

    def mark_read(self, credentials, *, to, from_number):
        self._note("read", to, from_number)

    def typing(self, credentials, *, to, from_number, is_typing):
        self._note(is_typing, to, from_number)

    def _note(self, *what):
        self.asked.append(what)
        if self.error:
            raise self.error


@pytest.fixture
def messenger(monkeypatch):
    fake = Messenger()
    monkeypatch.setattr(services, "get_adapter", lambda name: fake)
    return fake


def test_a_received_message_is_marked_as_read_once(clinic, api, messenger):
    message = receive(clinic)
    first, second = (api.post(f"{MESSAGES}{message.pk}/mark-read/") for _ in range(2))
    assert (first.status_code, first.json()) == (200, second.json())
    assert [event["kind"] for event in first.json()["events"]] == ["receipt"]
    assert messenger.asked == [("read", clinic.contact.phone_number, clinic.account.phone_number)]


def test_a_sent_message_cannot_be_marked_as_read(clinic, api, messenger):
    answer = api.post(f"{MESSAGES}{queue(clinic).pk}/mark-read/")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_inbound")
    assert messenger.asked == []


@pytest.fixture(params=["mark-read", "typing"])
def ask(request, clinic, api):
    """Either of the two calls that go to the provider at once."""
    if request.param == "typing":
        return lambda: api.post(f"/api/v1/contacts/{clinic.contact.pk}/typing/", {"is_typing": True})
    message = receive(clinic)
    return lambda: api.post(f"{MESSAGES}{message.pk}/mark-read/")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Rejected("no", "The provider does not want to."), 502, "provider_refused"),
        (Unavailable("busy", "Too many requests."), 503, "provider_unavailable"),
    ],
)
def test_what_the_provider_refuses_is_told(ask, messenger, error, status, code):
    messenger.error = error
    answer = ask()
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert ("Retry-After" in answer) == (status == 503)


def test_what_the_provider_cannot_do_is_told(ask, monkeypatch):
    monkeypatch.setattr(services, "get_adapter", lambda name: FakeProvider())
    answer = ask()
    assert (answer.status_code, answer.json()["code"]) == (409, "not_supported")


def test_typing_is_shown_from_where_a_message_would_come(clinic, api, messenger):
    path = f"/api/v1/contacts/{clinic.contact.pk}/typing/"
    to, own = clinic.contact.phone_number, clinic.account.phone_number
    for given in ({}, {"account": None}, {"account": 1}, {"account": str(clinic.account.pk)}):
        answer = api.post(path, {"is_typing": True} | given)
        assert (answer.status_code, answer.content) == (204, b""), answer.content
    assert api.post(path, {"is_typing": False}).status_code == 204
    assert messenger.asked == [(True, to, own)] * 4 + [(False, to, own)]
    assert not Message.objects.exists()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda clinic: routing.set_opt_out(contact=clinic.contact, opted_out=True), "contact_opted_out"),
        (lambda clinic: Account.objects.update(connected=False), "no_connected_account"),
    ],
)
def test_nobody_sees_typing_from_where_no_message_could_come(clinic, api, messenger, change, code):
    change(clinic)
    answer = api.post(f"/api/v1/contacts/{clinic.contact.pk}/typing/", {"is_typing": True})
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert answer.json()["routing"]["decision"] == "failed"
    assert messenger.asked == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "required"),
        ({"is_typing": "yes"}, "invalid"),
        ({"is_typing": True, "account": "x"}, "invalid_account"),
        ({"is_typing": True, "text": "x"}, "unknown_field"),
    ],
)
def test_malformed_typing_is_refused(clinic, api, messenger, body, code):
    answer = api.post(f"/api/v1/contacts/{clinic.contact.pk}/typing/", body)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


# --- files ------------------------------------------------------------------------------------------------------------
@pytest.fixture
def attach(clinic, settings, tmp_path):
    """Gives a received message a file that was fetched."""
    settings.STORAGES = {
        **settings.STORAGES,
        "default": {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": str(tmp_path)}},
    }

    def make(content=b"\x89PNG", content_type="image/png", order=0, message=None):
        attachment = Attachment(
            location=clinic.location,
            message=message or receive(clinic),
            order=order,
            url="https://provider.example/secret-url",
            content_type=content_type,
            size=len(content),
        )
        attachment.file.save("x.bin", ContentFile(content))
        return attachment

    return make


def test_a_file_comes_to_be_saved_and_not_to_be_shown(clinic, api, attach):
    attachment = attach()
    shown = api.get(f"{MESSAGES}{attachment.message_id}/").json()["attachments"]
    url = f"{MESSAGES}{attachment.message_id}/attachments/0/"
    assert shown == [{"order": 0, "url": url, "content_type": "image/png", "size": 4, "problem": None}]
    for accept in ("*/*", "image/*", "image/avif,image/webp", "application/json"):
        answer = api.get(url, HTTP_ACCEPT=accept)
        assert answer.status_code == 200, accept
        assert b"".join(answer) == b"\x89PNG"
    assert answer["Content-Type"] == "image/png"
    assert answer["Content-Disposition"] == 'attachment; filename="attachment-1.png"'
    assert answer["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "content_type", ["", "text/html; charset=utf-7", "image/png\r\nX-Evil: 1", "<svg>", "TEXT/HTML"]
)
def test_a_type_that_is_none_becomes_plain_bytes(api, attach, content_type):
    attachment = attach(content_type=content_type)
    answer = api.get(f"{MESSAGES}{attachment.message_id}/attachments/0/")
    assert (answer["Content-Type"], b"".join(answer)) == ("application/octet-stream", b"\x89PNG")


def test_a_file_that_is_not_there_is_404(clinic, api, attach):
    attachment = attach()
    Attachment.objects.create(
        location=clinic.location, message=attachment.message, order=1, url="https://provider.example/b"
    )
    shown = api.get(f"{MESSAGES}{attachment.message_id}/").json()["attachments"]
    assert [one["url"] is None for one in shown] == [False, True]
    assert "provider.example" not in str(shown)
    for order in ("1", "2", "-1", "x", "%00", "0x0", "99999999999999999999", "00000", "٠"):
        answer = api.get(f"{MESSAGES}{attachment.message_id}/attachments/{order}/")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), order
    attachment.file.storage.delete(attachment.file.name)
    answer = api.get(f"{MESSAGES}{attachment.message_id}/attachments/0/")
    assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")
