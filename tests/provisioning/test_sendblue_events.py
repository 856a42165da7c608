"""What the Sendblue adapter reads out of webhooks, and that nothing makes it stumble."""

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st

from provisioning.providers.base import (
    FactKind,
    InboundEvent,
    LineHint,
    Parsed,
    StatusEvent,
    TypingEvent,
    UnknownEvent,
)
from provisioning.providers.sendblue import WEBHOOK_TYPES, SendblueAdapter, SendblueConfig

PAYLOADS = Path(__file__).parent / "payloads" / "sendblue"
NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)

adapter = SendblueAdapter(SendblueConfig("http://127.0.0.1:9", "", "", "/x", "", timedelta(seconds=1)))


def payload(name: str) -> Any:
    """A sample's body; captures hold it beside the headers."""
    data = json.loads((PAYLOADS / f"{name}.json").read_text())
    return data.get("body", data)


def parse(body: Any, topic: str = "") -> Parsed:
    return adapter.parse(body, topic=topic)


def only(body: Any, topic: str = "") -> Any:
    [event] = parse(body, topic).events
    return event


def status(**fields: Any) -> Any:
    return only({**payload("fixture.status-delivered"), **fields})


# --- messages that came in --------------------------------------------------------------------------------------------
def test_an_observed_message():
    parsed = parse(payload("observed.receive.basic-text"), "receive")
    assert parsed.type == "receive"
    assert parsed.dedup_key == "receive:observed-basic-text-001"
    assert parsed.events == (
        InboundEvent(
            provider_id="observed-basic-text-001",
            from_number="+15550000001",
            line_number="+15550000002",
            text="Observed basic text [sendblue-capture:redacted:basic-text]",
            media_urls=(),
            at=datetime(2026, 5, 6, 4, tzinfo=UTC),
            service="iMessage",
        ),
    )


def test_a_documented_message_with_media():
    event = only(payload("docs.receive"), "receive")
    assert (event.media_urls, event.line_number, event.service) == (("some_cdn_link.png",), "+15122164639", "")


def test_a_tapback_is_text_with_typographic_quotes():
    assert only(payload("observed.receive.tapback-heart")).text.startswith("Loved “")


@pytest.mark.parametrize("topic", ["", "receive", "outbound", "status"])
def test_direction_is_told_by_is_outbound_and_not_by_the_url(topic):
    assert isinstance(only(payload("observed.receive.basic-text"), topic), InboundEvent)
    assert isinstance(only(payload("fixture.status-delivered"), topic), StatusEvent)


def test_without_is_outbound_the_status_tells():
    inbound, outbound = payload("observed.receive.basic-text"), payload("fixture.status-delivered")
    del inbound["is_outbound"], outbound["is_outbound"]
    for topic in ("", "receive", "outbound"):
        assert isinstance(only(inbound, topic), InboundEvent)
        assert isinstance(only(outbound, topic), StatusEvent)


def test_a_downgraded_message_without_a_service_is_an_sms():
    assert status(service="", was_downgraded=True).service == "SMS"
    assert status(service="SMS", was_downgraded=None).service == "SMS"
    assert status(service=None, was_downgraded=None).service == ""


def test_a_group_message_with_lists_of_numbers_has_no_single_line():
    body = {
        **payload("observed.receive.basic-text"),
        "number": ["+15550000001", "+15550000003"],
        "to_number": ["+15550000002", "+15550000003"],
        "sendblue_number": None,
        "group_id": "g-1",
    }
    event = only(body, "receive")
    assert (event.from_number, event.line_number, event.group_id) == ("+15550000001", "", "g-1")
    assert only({**body, "sendblue_number": "+15550000002"}, "receive").line_number == "+15550000002"
    assert only({**body, "from_number": ["+15550000001"]}, "receive") == UnknownEvent("receive")


def test_the_answer_to_a_group_message_is_a_status():
    assert only(payload("docs.send-group-message.response")).fact is FactKind.ACCEPTED


def test_what_no_database_keeps_is_taken_out_of_texts():
    body = {**payload("observed.receive.basic-text"), "content": "a\x00b\ud800c\n"}
    assert only(body, "receive").text == "ab?c\n"


def test_a_message_without_a_handle_is_kept_as_unknown():
    for handle in (None, "", 5, "x" * 201):
        body = {**payload("observed.receive.basic-text"), "message_handle": handle}
        assert only(body, "receive") == UnknownEvent("receive")


def test_opting_out_is_handed_on_only_when_it_is_said_plainly():
    body = payload("observed.receive.basic-text")
    assert [only({**body, "opted_out": said}).opted_out for said in (True, False, None, "false", 1)] == [
        True, False, False, False, False,
    ]  # fmt: skip


# --- what became of a message -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("word", "fact"),
    [
        ("REGISTERED", FactKind.ACCEPTED), ("PENDING", FactKind.ACCEPTED), ("QUEUED", FactKind.ACCEPTED),
        ("ACCEPTED", FactKind.ACCEPTED), ("SENT", FactKind.SENT), ("DELIVERED", FactKind.DELIVERED),
        ("delivered", FactKind.DELIVERED), ("READ", FactKind.READ), ("DECLINED", FactKind.FAILED),
        ("ERROR", FactKind.FAILED), ("SUCCESS", FactKind.UNKNOWN), ("RECEIVED", FactKind.UNKNOWN),
        ("BOUNCED", FactKind.UNKNOWN), ("", FactKind.UNKNOWN), (None, FactKind.UNKNOWN), (7, FactKind.UNKNOWN),
    ],
)  # fmt: skip
def test_every_status_word_has_a_fact_and_unknown_ones_change_nothing(word, fact):
    event = status(status=word)
    assert event.fact is fact
    assert event.raw_status == (word.upper() if isinstance(word, str) else "")


@pytest.mark.parametrize(
    ("code", "fact", "kept"),
    [
        (None, FactKind.FAILED, ""), (0, FactKind.FAILED, ""), ("0", FactKind.FAILED, ""), ("", FactKind.FAILED, ""),
        (4000, FactKind.FAILED, "4000"), ("4002", FactKind.FAILED, "4002"), (10001, FactKind.FAILED, "10001"),
        ("SMS_LIMIT_REACHED", FactKind.FAILED, "SMS_LIMIT_REACHED"), (5509, FactKind.FAILED, "5509"),
        (10002, FactKind.UNKNOWN, "10002"), ("10002", FactKind.UNKNOWN, "10002"), (777, FactKind.UNKNOWN, "777"),
        ([4000], FactKind.FAILED, ""), (True, FactKind.FAILED, ""),
    ],
)  # fmt: skip
def test_error_codes_say_failed_or_that_nobody_knows(code, fact, kept):
    event = status(status="ERROR", error_code=code, error_message=None, error_detail=" why\nso ")
    assert (event.fact, event.code, event.detail) == (fact, kept, "why so")


def test_declined_is_final_whatever_its_code():
    assert status(status="DECLINED", error_code=777).fact is FactKind.FAILED


def test_a_status_counts_from_its_last_change():
    assert status().at == datetime(2026, 5, 4, 19, 0, 3, tzinfo=UTC)
    assert status(date_updated=None).at == datetime(2026, 5, 4, 19, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "at"),
    [
        ("2026-05-04T19:00:03.000Z", datetime(2026, 5, 4, 19, 0, 3, tzinfo=UTC)),
        ("2026-05-04T21:00:03+02:00", datetime(2026, 5, 4, 19, 0, 3, tzinfo=UTC)),
        ("2026-05-04 19:00:03", datetime(2026, 5, 4, 19, 0, 3, tzinfo=UTC)),
        (1777921203, datetime(2026, 5, 4, 19, 0, 3, tzinfo=UTC)),
        (1777921203000, datetime(2026, 5, 4, 19, 0, 3, tzinfo=UTC)),
        ("soon", None), (10**30, None), (float("inf"), None), (True, None), ([], None),
        ("0001-01-01T00:00:00+14:00", None),
    ],
)  # fmt: skip
def test_times_in_several_forms(written, at):
    assert status(date_updated=written, date_sent=None).at == at


# --- the same event again ---------------------------------------------------------------------------------------------
def test_deliveries_of_one_status_share_a_key_and_other_statuses_do_not():
    body = payload("fixture.status-delivered")
    again = {**dict(reversed(body.items())), "service": "SMS"}
    assert parse(body).dedup_key == parse(again, "outbound").dedup_key
    keys = {
        parse({**body, "status": word, "date_updated": at}).dedup_key
        for word in ("SENT", "DELIVERED")
        for at in ("2026-05-04T19:00:03.000Z", "2026-05-04T19:00:04.000Z")
    }
    assert len(keys) == 4


def test_a_message_that_came_in_is_one_event_by_its_handle_alone():
    body = payload("observed.receive.basic-text")
    assert parse(body).dedup_key == parse({**body, "date_updated": "later", "content": "edited"}).dedup_key
    assert parse(body).dedup_key != parse({**body, "message_handle": "another"}).dedup_key


def test_an_event_without_a_key_of_its_own_is_known_by_its_content_in_any_order():
    body = {"b": [1, {"y": 1, "x": 2}], "a": None}
    same = {"a": None, "b": [1, {"x": 2, "y": 1}]}
    assert parse(body, "line_assigned").dedup_key == parse(same, "line_assigned").dedup_key
    others = [{**body, "a": 1}, {**body, "b": [{"y": 1, "x": 2}, 1]}, {**body, "b": [1, {"y": 2, "x": 1}]}]
    keys = {parse(one, "line_assigned").dedup_key for one in (body, *others)}
    assert len(keys | {parse(body, "line_blocked").dedup_key, parse(body, "call_log").dedup_key}) == 6


def test_long_handles_still_make_short_and_different_keys():
    body = payload("fixture.status-delivered")
    keys = {parse({**body, "message_handle": "x" * 199 + end}).dedup_key for end in "ab"}
    assert len(keys) == 2
    assert all(len(key) <= 200 for key in keys)


def test_the_id_of_an_envelope_is_the_key():
    parsed = parse({**payload("schema.account-event.line-assigned"), "id": "evt_1"})
    assert parsed.dedup_key == "id:evt_1"
    assert parsed.type == "line.assigned"


# --- lines ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "body",
    [{}, {"anything": [1, {"else": None}]}, {"type": "phone", "number": 5}],
)
def test_a_notice_about_lines_is_a_hint_whatever_its_body(body):
    parsed = parse(body, "line_assigned")
    assert parsed.events == (LineHint(),)
    assert parsed.type == "line_assigned"


def test_line_events_are_known_by_their_own_word_without_a_topic():
    assert only(payload("synthetic.line-assigned")) == LineHint(assigned_number="+15550000002")
    assert only(payload("schema.account-event.line-assigned")) == LineHint()
    assert only({"event_type": "line_blocked"}, "line_assigned") == LineHint(blocked_number=None)
    assert parse({"event_type": "line_blocked", "number": "+15550000002"}, "line_assigned").type == "line_blocked"


@pytest.mark.parametrize(
    ("body", "number"),
    [
        (payload("synthetic.line-blocked"), "+15550000002"),
        ({"number": "+15550000002"}, "+15550000002"),
        ({"phone_number": "+15550000002", "number": "+1"}, "+15550000002"),
        ({"data": {"sendblue_number": "+15550000002"}, "version": 1}, "+15550000002"),
        ({"number": ["+15550000002"]}, None),
        ({}, None),
    ],
)
def test_a_blocked_line_names_its_number_if_it_can_be_found(body, number):
    assert only(body, "line_blocked") == LineHint(blocked_number=number)


# --- the rest ---------------------------------------------------------------------------------------------------------
def test_typing():
    body = {"number": "+15550000001", "from_number": "+15550000002", "is_typing": True, "timestamp": 1777921203}
    at = datetime(2026, 5, 4, 19, 0, 3, tzinfo=UTC)
    assert only(body, "typing_indicator") == TypingEvent("+15550000001", "+15550000002", True, at)
    assert only({**body, "from_number": "+15550000001"}).line_number == ""
    assert parse(body).dedup_key != parse({**body, "is_typing": False}).dedup_key
    assert only({**body, "is_typing": "yes"}, "typing_indicator") == UnknownEvent("typing_indicator")


def test_an_envelope_holds_its_message_in_data():
    inbound = {"version": 1, "id": "e1", "type": "message.received", "data": payload("observed.receive.basic-text")}
    assert isinstance(only(inbound), InboundEvent)
    outbound = {"version": 1, "id": "e2", "type": "message.updated", "data": payload("fixture.status-delivered")}
    assert only(outbound).fact is FactKind.DELIVERED


@pytest.mark.parametrize("name", ["synthetic.call-log", "synthetic.contact-created"])
@pytest.mark.parametrize("topic", ["", "receive"])
def test_kinds_that_nobody_acts_on_are_kept_under_their_word(name, topic):
    word = payload(name)["event_type"]
    assert only(payload(name), topic) == UnknownEvent(word)


def test_an_unknown_word_is_kept_and_not_guessed_at():
    body = {"event_type": "message_recalled", **payload("fixture.status-delivered")}
    assert only(body) == UnknownEvent("message_recalled")


@pytest.mark.parametrize("body", [None, [], [payload("fixture.status-delivered")], 0, 3.5, True, "", "text", {}])
@pytest.mark.parametrize("topic", ["", "receive"])
def test_what_is_no_event_is_unknown(body, topic):
    parsed = parse(body, topic)
    assert parsed.events == (UnknownEvent(topic or "unknown"),)
    assert parsed.dedup_key.startswith("digest:")


def test_every_sample_is_understood_or_kept():
    for path in PAYLOADS.glob("*.json"):
        assert parse(payload(path.stem)).events


def test_a_body_nested_as_deeply_as_json_can_be_decoded():
    body: Any = []
    for _ in range(100_000):
        body = [body]
    assert parse(body).dedup_key == parse(body).dedup_key
    while body:  # taken apart by hand: the interpreter would do it by recursion
        body = body.pop()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters()), inner, max_size=4),
    max_leaves=12,
)
FIELDS = sorted({*payload("observed.receive.basic-text"), "event_type", "type", "event", "data", "is_typing", "id",
                 "version", "timestamp", "media_urls", "line"})  # fmt: skip
WORDS = ["RECEIVED", "SENT", "ERROR", "DELIVERED", "receive", "line_blocked", "message.received", "typing.changed", "x"]
objects = st.dictionaries(st.sampled_from(FIELDS), json_values | st.sampled_from(WORDS) | st.booleans())


@given(
    body=json_values | objects | st.builds(lambda outer, inner: {**outer, "data": inner}, objects, objects),
    topic=st.sampled_from(["", *WEBHOOK_TYPES, "typing_indicator", "x" * 300]) | st.text(st.characters()),
)
def test_any_json_is_parsed_to_something_that_can_be_kept(body, topic):
    parsed = parse(body, topic)
    assert 0 < len(parsed.type) <= 64
    assert 0 < len(parsed.dedup_key) <= 200
    assert len(parsed.events) == 1
    assert parse(json.loads(json.dumps(body)), topic).dedup_key == parsed.dedup_key
    for word in (parsed.type, parsed.dedup_key, *(value for value in strings_of(parsed.events[0]))):
        assert "\x00" not in word
        word.encode()


def strings_of(event: Any) -> list[str]:
    values = [getattr(event, name) for name in event.__dataclass_fields__]
    return [value for value in values if isinstance(value, str)]


# --- who sent it ------------------------------------------------------------------------------------------------------
def signature(secret: str, body: bytes, at: datetime) -> str:
    stamp = str(int(at.timestamp()))
    digest = hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"t={stamp},v1={digest}"


def verify(headers: Any, *secrets: str, body: bytes = b"{}") -> bool:
    return adapter.verify(headers, body, secrets=secrets)


def test_either_of_two_secrets_opens_and_nothing_else():
    assert verify({"sb-signing-secret": "new"}, "new", "old")
    assert verify({"sb-signing-secret": "old"}, "new", "old")
    for told in ("", "ne", "new ", "NEW", "new,old"):
        assert not verify({"sb-signing-secret": told}, "new", "old")
    assert not verify({}, "new")


def test_an_empty_or_missing_secret_opens_nothing():
    for secrets in ((), ("",), ("", "")):
        for told in ("", "None", "null"):
            assert not verify({"sb-signing-secret": told}, *secrets)
        assert not verify({"x-sendblue-signature": signature("", b"{}", datetime.now(UTC))}, *secrets)


@time_machine.travel(NOW, tick=False)
def test_a_signature_binds_secret_time_and_body():
    header = signature("secret", b"{}", NOW)
    assert verify({"x-sendblue-signature": header}, "other", "secret")
    assert not verify({"x-sendblue-signature": header}, "other")
    assert not verify({"x-sendblue-signature": header}, "secret", body=b"{ }")
    moved = header.replace("t=", "t=1", 1)
    assert not verify({"x-sendblue-signature": moved}, "secret")


@pytest.mark.parametrize(("seconds", "opens"), [(-301, False), (-300, True), (0, True), (300, True), (301, False)])
@time_machine.travel(NOW, tick=False)
def test_a_signature_is_good_for_five_minutes_both_ways(seconds, opens):
    header = signature("secret", b"{}", NOW + timedelta(seconds=seconds))
    assert verify({"x-sendblue-signature": header}, "secret") is opens


@time_machine.travel(NOW, tick=False)
def test_a_bad_signature_is_not_made_good_by_the_plain_secret_nor_the_other_way_round():
    good = signature("secret", b"{}", NOW)
    assert verify({"sb-signing-secret": "secret", "x-sendblue-signature": good}, "secret")
    for bad in ("", "junk", "t=,v1=", good[:-1] + "g", good.split(",")[1], good.split(",")[0], good + ",t=5"):
        assert not verify({"sb-signing-secret": "secret", "x-sendblue-signature": bad}, "secret")
    assert not verify({"sb-signing-secret": "wrong", "x-sendblue-signature": good}, "secret")


@given(
    headers=st.dictionaries(
        st.sampled_from(["sb-signing-secret", "x-sendblue-signature", "other"]),
        st.none() | st.text(st.characters()) | st.from_regex(r"t=[0-9]{0,14},v1=[0-9a-f]{0,64}", fullmatch=True),
    ),
    secrets=st.lists(st.just("") | st.text(st.characters())),
    body=st.binary(),
)
def test_no_header_makes_verification_stumble_or_opens_without_the_secret(headers, secrets, body):
    opened = adapter.verify(headers, body, secrets=secrets)
    assert not opened or headers["sb-signing-secret"] in [secret for secret in secrets if secret]
    assert not adapter.verify(headers, body, secrets=["", ""])
