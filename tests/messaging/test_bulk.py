"""Messages to many in one request: good rows go, bad ones are told, and nothing else happens than one by one."""

import json
import random
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import pytest
import requests
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from messaging import bulk, services, threads
from messaging.bulk import MAX_RECIPIENTS, Recipient, send_bulk
from messaging.models import BatchRefusal, Message, MessageBatch, Priority, Thread
from messaging.services import NewMessage
from routing.errors import Refused
from routing.models import AuditEntry, Contact, Unavailable
from tests.factories import Clinic, make_account, make_clinic, make_contact, make_member, new_phone

SEND, LIST, BATCHES = "/api/v1/messages/bulk/", "/api/v1/messages/", "/api/v1/batches/"


def post(api: APIClient, recipients: Any, key: str | None = None, **fields: Any) -> Any:
    """The answer to a bulk request with the text "hello"."""
    headers: dict[str, Any] = {} if key is None else {"HTTP_IDEMPOTENCY_KEY": key}
    return api.post(SEND, {"text": "hello", "recipients": recipients} | fields, **headers)


def to(numbers: Sequence[str]) -> list[dict[str, Any]]:
    return [{"to": number} for number in numbers]


def in_order(batch_id: str) -> list[Message]:
    return list(Message.objects.filter(batch=UUID(batch_id)).order_by("position"))


def test_each_recipient_gets_a_message_in_the_order_of_the_list(clinic: Clinic, api: APIClient) -> None:
    numbers = [new_phone() for _ in range(20)][::-1]
    rows = [{"to": number, "metadata": {"n": n}} for n, number in enumerate(numbers)]
    rows[3]["text"] = "your own {IM#1}"
    answer = post(api, rows, label="Flu shots")
    assert answer.status_code == 202
    assert answer.json() == {"batch": answer.json()["batch"], "accepted": 20, "rejected": []}
    messages = in_order(answer.json()["batch"])
    assert [message.contact_number for message in messages] == numbers
    assert [message.metadata for message in messages] == [{"n": n} for n in range(20)]
    assert [message.text for message in messages[:5]] == ["hello", "hello", "hello", "your own", "hello"]
    assert messages[3].override_index == 1
    assert {message.priority for message in messages} == {Priority.BULK}
    assert {message.status for message in messages} == {"queued"}
    # As the list of conversations shows it.
    assert {thread.last_message_id for thread in Thread.objects.all()} == {message.pk for message in messages}
    assert Contact.objects.filter(phone_number__in=numbers).count() == 20


def test_good_rows_go_and_bad_ones_are_told(clinic: Clinic, api: APIClient) -> None:
    out = make_contact(clinic.location, opted_out=True)
    good, other = new_phone(), new_phone()
    rows = [
        {"to": good},
        {"to": "12"},
        {"to": other, "text": "{IM#two}"},
        {"to": out.phone_number},
        {"to": "00000000-0000-4000-8000-000000000000"},
        {"to": new_phone(), "text": " "},
        {"to": new_phone(), "text": "{IM#9} hi"},
        {"to": other},
    ]
    answer = post(api, rows).json()
    assert answer["accepted"] == 2
    told = [(row["index"], row["code"]) for row in answer["rejected"]]
    assert told == [
        (1, "invalid_phone"),
        (2, "override_malformed"),
        (3, "contact_opted_out"),
        (4, "contact_not_found"),
        (5, "empty_message"),
        (6, "override_account_not_found"),
    ]
    # A decision that said no is kept, as it is for a single message; a row that is wrong is not.
    kept = {row["index"]: row["message"] for row in answer["rejected"] if row["message"]}
    assert kept.keys() == {3, 6}
    failed = Message.objects.get(pk=kept[3])
    assert (failed.status, failed.code, failed.contact_id) == ("failed", "contact_opted_out", out.pk)
    assert failed.trace is not None
    assert failed.trace["decision"] == "failed"
    assert [message.contact_number for message in in_order(answer["batch"]) if message.status == "queued"] == [
        good,
        other,
    ]
    assert BatchRefusal.objects.filter(batch=answer["batch"]).count() == 6
    batch = MessageBatch.objects.get(pk=answer["batch"])
    assert (batch.recipient_count, batch.accepted_count, batch.refused_count) == (8, 2, 6)


def test_a_recipient_who_stands_there_again_is_refused(clinic: Clinic, api: APIClient) -> None:
    number = clinic.contact.phone_number
    national = f"({number[2:5]}) {number[5:8]}-{number[8:]}"
    answer = post(api, to([number, national, str(clinic.contact.pk), new_phone()])).json()
    assert (answer["accepted"], [(row["index"], row["code"]) for row in answer["rejected"]]) == (
        2,
        [(1, "duplicate_recipient"), (2, "duplicate_recipient")],
    )
    assert "index 0" in answer["rejected"][0]["detail"]


def test_nothing_of_all_is_accepted_and_that_is_an_answer_too(clinic: Clinic, api: APIClient) -> None:
    answer = post(api, to(["1", "2"]))
    assert (answer.status_code, answer.json()["accepted"], len(answer.json()["rejected"])) == (202, 0, 2)
    assert not Message.objects.exists()


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({"recipients": []}, "recipients", "no_recipients"),
        ({"recipients": "all"}, "recipients", "not_a_list"),
        ({"recipients": [{"to": "+15557654321"}, {}]}, "recipients.1.to", "required"),
        ({"recipients": [{"to": 15557654321}]}, "recipients.0.to", "invalid"),
        ({"recipients": [{"to": "+15557654321", "account": 1}]}, "recipients.0.account", "unknown_field"),
        ({"recipients": [{"to": "+15557654321", "metadata": []}]}, "recipients.0.metadata", "invalid"),
        ({"to": "+15557654321"}, "to", "unknown_field"),
        ({"media_urls": ["https://example.com/a", "https://example.com/b"]}, "media_urls", "too_many_media"),
        ({"scheduled_at": "2020-01-01T00:00:00Z"}, "scheduled_at", "scheduled_in_past"),
        ({"account": "no-such-account"}, "account", "invalid_account"),
        ({"label": "x" * 101}, "label", "max_length"),
    ],
)
def test_what_is_not_of_the_form_makes_nothing(
    clinic: Clinic, api: APIClient, body: dict[str, Any], field: str, code: str
) -> None:
    answer = post(
        api, body.get("recipients", to([new_phone()])), **{k: v for k, v in body.items() if k != "recipients"}
    )
    assert answer.status_code == 400
    assert (answer.json()["errors"][0]["field"], answer.json()["errors"][0]["code"]) == (field, code)
    assert not MessageBatch.objects.exists()
    assert not Message.objects.exists()


def test_of_many_malformed_rows_the_first_are_told(clinic: Clinic, api: APIClient) -> None:
    answer = post(api, [{} for _ in range(500)])
    assert (answer.status_code, len(answer.json()["errors"])) == (400, 20)


def test_ten_thousand_fit_and_one_more_is_refused(clinic: Clinic, api: APIClient) -> None:
    numbers = [f"+1555{n:07d}" for n in range(2_000_000, 2_000_000 + MAX_RECIPIENTS + 1)]
    rows = [{"to": number, "text": f"{number} " + "x" * 300, "metadata": {"ref": number}} for number in numbers]
    assert len(json.dumps(rows)) > 3 * 1024 * 1024
    answer = post(api, rows)
    assert (answer.status_code, answer.json()["code"]) == (400, "too_many_recipients")
    assert not Message.objects.exists()
    answer = post(api, rows[:-1])
    assert (answer.status_code, answer.json()["accepted"]) == (202, MAX_RECIPIENTS)
    assert Message.objects.count() == MAX_RECIPIENTS


def test_a_body_that_is_too_large_is_refused(clinic: Clinic, api: APIClient) -> None:
    answer = api.generic("POST", SEND, " " * (16 * 1024 * 1024 + 1), "application/json")
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert "16 MiB" in answer.json()["detail"]
    # The larger limit is this address's alone.
    answer = api.generic("POST", LIST, " " * (1024 * 1024 + 1), "application/json")
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_the_frame_holds_for_all(clinic: Clinic, api: APIClient) -> None:
    other = make_account(clinic.location)
    answer = post(
        api,
        to([new_phone(), new_phone()]),
        text="{IM#2} braces stay",
        parse_overrides=False,
        account=str(other.pk),
        media_urls=["https://example.com/a.png"],
        send_style="love",
        scheduled_at="2027-01-01T00:00:00Z",
    )
    for message in in_order(answer.json()["batch"]):
        assert (message.text, message.account_id, message.status) == ("{IM#2} braces stay", other.pk, "scheduled")
        assert (message.literal, message.send_style) == (True, "love")
        assert [file.url for file in message.attachments.all()] == ["https://example.com/a.png"]


def test_all_or_nothing(clinic: Clinic, api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fall(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(threads, "note_new_messages", fall)
    assert post(api, to([new_phone()]), key="k1").status_code == 500
    assert not Message.objects.exists()
    assert not MessageBatch.objects.exists()
    assert not Contact.objects.exclude(pk=clinic.contact.pk).exists()


def test_the_bell_rings_once(clinic: Clinic, api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    rings: list[int] = []

    class Bell:
        def ring(self) -> None:
            rings.append(1)

    monkeypatch.setattr(bulk, "doorbell", Bell)
    post(api, to([new_phone() for _ in range(50)]))
    assert rings == [1]
    post(api, to([new_phone()]), scheduled_at="2027-01-01T00:00:00Z")
    assert rings == [1]


# --- the same as one by one -------------------------------------------------------------------------------------------
OWN = {"id", "position", "batch", "priority", "contact"}
"""What tells two messages apart that are the same otherwise; a new number's contact is a new one each time."""


def columns(message: Message) -> dict[str, Any]:
    fields = [field for field in Message._meta.concrete_fields if field.name not in OWN]
    return {field.name: getattr(message, field.attname) for field in fields} | {
        "attachments": [file.url for file in message.attachments.all()]
    }


def furnished(chance: random.Random) -> tuple[Clinic, list[Contact]]:
    """A clinic with accounts in every state, and contacts with every preference."""
    clinic = make_clinic()
    location = clinic.location
    location.unavailable_tag_account = chance.choice(Unavailable.values)
    location.save()
    accounts = [clinic.account] + [
        make_account(location, is_enabled=chance.random() < 0.75, line_blocked=chance.random() < 0.25) for _ in range(4)
    ]
    users = [make_member(location) for _ in range(2)]
    accounts.append(make_account(location, user=users[0]))
    tags = ["vip", "im: nobody", "im: +15550009999", *(f"im: {account.phone_number}" for account in accounts)]
    contacts = [
        make_contact(
            location,
            tags=tuple(dict.fromkeys(chance.choices(tags, k=chance.randrange(3)))),
            assigned_user=chance.choice([None, *users]),
            opted_out=chance.random() < 0.15,
            last_account=chance.choice([None, *accounts]),
        )
        for _ in range(40)
    ]
    return clinic, contacts


TEXTS = (
    None,
    None,
    "hi",
    "hi {IM#1}",
    "{IM#3} hi",
    "{TEMP-IM#4}hi",
    "{IM#77}",
    "{IM#}",
    "",
    "x {im # 2} y",
    "y" * 20_000,
)


@pytest.mark.parametrize("seed", range(4))
def test_each_row_comes_to_what_sending_it_by_itself_does(db: None, seed: int) -> None:
    chance = random.Random(seed)
    clinic, contacts = furnished(chance)
    choices = [contact.phone_number for contact in contacts] + [str(contact.pk) for contact in contacts]
    choices += [new_phone() for _ in range(15)] + ["12", "+19005550100", "212 555 0199", str(clinic.other_location.pk)]
    rows = [
        Recipient(to=given, text=chance.choice(TEXTS), metadata=chance.choice([{"a": 1}, {"a": True}, {"a": 1.0}, {}]))
        for given in chance.sample(choices, len(choices))
    ]
    frame = NewMessage(
        to="",
        text="for all",
        media_urls=chance.choice([(), ("https://example.com/a.png",)]),
        account=chance.choice([None, None, 2]),
        send_style="love",
    )
    now = timezone.now()
    sent = send_bulk(location=clinic.location, frame=frame, recipients=rows, by=None, now=now)
    refused = {refusal.index: refusal for refusal in sent.refusals}
    messages = iter(in_order(str(sent.batch.pk)))
    seen: set[str] = set()
    for index, row in enumerate(rows):
        wanted = NewMessage(
            to=row.to,
            text=frame.text if row.text is None else row.text,
            metadata=row.metadata,
            media_urls=frame.media_urls,
            account=frame.account,
            send_style=frame.send_style,
        )
        refusal = refused.get(index)
        said: tuple[str, str, None] | None = None
        try:
            single = services.send(location=clinic.location, wanted=wanted, now=now)
        except Refused as no:
            said = (no.code, no.detail, None)
        if said is not None:
            assert refusal is not None
            assert (refusal.code, refusal.detail, refusal.message_id) == said
            continue
        if single.contact_number in seen:
            assert refusal is not None
            assert refusal.code == "duplicate_recipient"
            continue
        seen.add(single.contact_number)
        message = next(messages)
        assert columns(message) == columns(Message.objects.get(pk=single.pk))
        assert json.dumps(message.metadata) == json.dumps(row.metadata)
        assert message.contact_id == single.contact_id
        assert (refusal is None) == (single.status != "failed")
        if refusal is not None:
            assert (refusal.code, refusal.detail, refusal.message_id) == (single.code, single.detail, message.pk)
    assert next(messages, None) is None
    assert {message.status for message in in_order(str(sent.batch.pk))} == {"queued", "failed"}


def test_objects_that_python_takes_for_equal_stay_what_they_are(clinic: Clinic, api: APIClient) -> None:
    given = ['{"a": 1}', '{"a": true}', '{"a": 1.0}']
    rows = [{"to": new_phone(), "metadata": json.loads(one)} for one in given]
    batch = post(api, rows).json()["batch"]
    assert [json.dumps(message.metadata) for message in in_order(batch)][:2] == given[:2]


def test_2000_take_as_many_queries_as_100(clinic: Clinic) -> None:
    for n in range(40):
        make_account(clinic.location, label=f"Line {n}")
    base = 3_000_000

    def cost(count: int) -> int:
        nonlocal base
        base += 10_000
        known = [make_contact(clinic.location, tags=("vip",), last_account=clinic.account) for _ in range(20)]
        rows = [Recipient(to=contact.phone_number) for contact in known]
        rows += [Recipient(to="12")]
        rows += [
            Recipient(to=f"+1555{base + n}", text=f"hi {{IM#{n % 41 + 1}}}", metadata={"n": n})
            for n in range(count - 21)
        ]
        frame = NewMessage(to="", text="hi", media_urls=("https://example.com/a.png",))
        with CaptureQueriesContext(connection) as asked:
            sent = send_bulk(location=clinic.location, frame=frame, recipients=rows, by=None, now=timezone.now())
        assert sent.batch.accepted_count == count - 1
        statistics = [
            query for query in asked.captured_queries if "pg_class" in query["sql"] or "ANALYZE" in query["sql"]
        ]
        assert len(statistics) <= 2
        return len(asked) - len(statistics)

    cost(100)
    few = cost(100)
    assert cost(2000) == few
    assert few <= 20


# --- whose is whose ---------------------------------------------------------------------------------------------------
def test_other_tenants_see_and_reach_nothing(
    clinic: Clinic, api: APIClient, api_as: Callable[[str | None], APIClient]
) -> None:
    theirs = api_as(clinic.other_key)
    batch = post(api, to([new_phone()])).json()["batch"]
    absent = theirs.get(f"{BATCHES}00000000-0000-4000-8000-000000000000/")
    for answer in (theirs.get(f"{BATCHES}{batch}/"), theirs.post(f"{BATCHES}{batch}/cancel/", {})):
        assert (answer.status_code, answer.content) == (404, absent.content)
    assert theirs.get(BATCHES).json()["results"] == []
    assert theirs.get(LIST, {"batch": batch}).json()["results"] == []
    assert [row["code"] for row in post(theirs, to([str(clinic.contact.pk)])).json()["rejected"]] == [
        "contact_not_found"
    ]
    # An account of somebody else's is one that is not there.
    answer = post(theirs, to([new_phone()]), account=str(clinic.account.pk))
    assert [row["code"] for row in answer.json()["rejected"]] == ["override_account_not_found"]
    assert Message.objects.get(batch=batch).status == "queued"


def test_viewers_may_look_and_not_send(clinic: Clinic, api: APIClient) -> None:
    batch = post(api, to([new_phone()])).json()["batch"]
    client = APIClient(raise_request_exception=False)
    client.force_login(clinic.viewer)
    assert client.get(f"{BATCHES}{batch}/").status_code == 200
    assert post(client, to([new_phone()])).status_code == 403
    assert client.post(f"{BATCHES}{batch}/cancel/", {}).status_code == 403
    client.force_login(clinic.agent)
    assert post(client, to([new_phone()])).status_code == 202
    assert MessageBatch.objects.latest("created_at").actor == clinic.agent.get_username()


def test_it_is_written_down_without_names_numbers_or_words(clinic: Clinic, api: APIClient) -> None:
    number = new_phone()
    post(api, [{"to": number, "text": "secret words"}], label="Flu shots")
    entry = AuditEntry.objects.get(object_type="messaging.messagebatch")
    assert (entry.object_name, entry.api_key) == ("Flu shots", clinic.api_key)
    assert entry.detail == "1 messages to be sent, 0 refused."


# --- how far it is ----------------------------------------------------------------------------------------------------
def test_a_batch_tells_how_far_it_is(clinic: Clinic, api: APIClient) -> None:
    batch = post(api, to([*(new_phone() for _ in range(5)), "12"]), label="Flu shots").json()["batch"]
    post(api, to([new_phone()]))
    moved = in_order(batch)
    Message.objects.filter(pk=moved[0].pk).update(dispatch_state="accepted", sent_at=timezone.now())
    Message.objects.filter(pk=moved[1].pk).update(dispatch_state="rejected")
    told = api.get(f"{BATCHES}{batch}/").json()
    assert told == {
        "id": batch,
        "location": str(clinic.location.pk),
        "label": "Flu shots",
        "recipients": 6,
        "accepted": 5,
        "rejected": 1,
        "counts": {"queued": 3, "sent": 1, "failed": 1},
        "created_at": told["created_at"],
        "cancelled_at": None,
    }
    listed = api.get(BATCHES).json()["results"]
    assert [row["counts"] for row in listed] == [{"queued": 1}, {"queued": 3, "sent": 1, "failed": 1}]
    followed = api.get(LIST, {"batch": batch}).json()["results"]
    assert [row["id"] for row in followed] == [str(message.pk) for message in reversed(moved)]
    assert {row["batch"] for row in followed} == {batch}


def test_the_list_costs_the_same_for_many(clinic: Clinic, api: APIClient) -> None:
    def cost() -> int:
        with CaptureQueriesContext(connection) as asked:
            assert api.get(BATCHES).status_code == 200
        return len(asked)

    post(api, to([new_phone()]))
    few = cost()
    for _ in range(10):
        post(api, to([new_phone(), new_phone()]))
    assert cost() == few


# --- once -------------------------------------------------------------------------------------------------------------
def test_the_same_request_under_its_key_makes_one_batch(clinic: Clinic, api: APIClient) -> None:
    rows = to([new_phone(), "12"])
    first, second = post(api, rows, key="k1"), post(api, rows, key="k1")
    assert (first.status_code, second.status_code) == (202, 202)
    assert second.json() == first.json()
    assert second["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first
    assert MessageBatch.objects.count() == Message.objects.count() == 1


@pytest.mark.parametrize("change", [{"label": "other"}, {"text": "other"}, {"recipients": to(["+15550001111"])}])
def test_another_request_under_the_key_is_refused(clinic: Clinic, api: APIClient, change: dict[str, Any]) -> None:
    body = {"text": "hello", "recipients": to([new_phone()])}
    assert api.post(SEND, body, HTTP_IDEMPOTENCY_KEY="k1").status_code == 202
    answer = api.post(SEND, body | change, HTTP_IDEMPOTENCY_KEY="k1")
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    # Nor do single messages and batches share one.
    single = api.post(LIST, clinic.text(), HTTP_IDEMPOTENCY_KEY="k1")
    assert (single.status_code, single.json()["code"]) == (422, "idempotency_key_reused")
    assert MessageBatch.objects.count() == 1


@pytest.mark.postgres
def test_twenty_at_once_under_one_key_make_one_batch(in_threads: Callable[..., list[Any]], live_server: Any) -> None:
    clinic = make_clinic()
    body = {"text": "hi", "recipients": to([f"+1555{n}" for n in range(4_000_000, 4_000_200)])}
    headers = {"Authorization": f"Bearer {clinic.key}", "Idempotency-Key": "k1", "Connection": "close"}

    def work(_: int) -> Any:
        while True:
            try:
                answer = requests.post(f"{live_server}{SEND}", json=body, headers=headers, timeout=60)
            except requests.ConnectionError:  # more at once than the suite's server takes
                continue
            if answer.status_code not in (409, 503):
                return answer.status_code, answer.json()["batch"]

    assert set(in_threads(20, work)) == {(202, str(MessageBatch.objects.get().pk))}
    assert Message.objects.count() == 200


@pytest.mark.postgres
def test_batches_to_the_same_new_contacts_at_once_do_not_block_each_other_for_good(
    in_threads: Callable[..., list[Any]],
) -> None:
    clinic = make_clinic()
    numbers = [f"+1555{n}" for n in range(5_000_000, 5_000_300)]

    def work(i: int) -> int:
        rows = [Recipient(to=number) for number in random.Random(i).sample(numbers, len(numbers))]
        frame = NewMessage(to="", text=f"hi {i}")
        sent = send_bulk(location=clinic.location, frame=frame, recipients=rows, by=None, now=timezone.now())
        return sent.batch.accepted_count

    assert in_threads(6, work) == [300] * 6
    assert Contact.objects.filter(phone_number__in=numbers).count() == 300
    for thread in Thread.objects.select_related("last_message"):
        newest = Message.objects.filter(contact=thread.contact_id).order_by("position").last()
        assert thread.last_message == newest
