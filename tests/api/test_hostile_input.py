"""Whatever bytes come in, the answer is a clear 4xx, at once, and nothing is stored."""

import json
import time

import pytest

from messaging.models import Message
from routing.models import Contact

NUL, HALF = "\\u0000", "\\ud800"


def body(**raw: str) -> bytes:
    """A message whose fields are given as raw JSON."""
    fields = {"to": '"+15559990001"', "text": '"hi"'} | raw
    return ("{" + ", ".join(f'"{name}": {value}' for name, value in fields.items()) + "}").encode()


CORPUS = {
    "empty": (b"", "required"),
    "white space": (b" ", "invalid_json"),
    "no JSON": (b"{", "invalid_json"),
    "trailing": (body() + b"x", "invalid_json"),
    "byte order mark": (b"\xef\xbb\xbf" + body(), "invalid_json"),
    "broken UTF-8": (b'{"to": "\xff"}', "invalid_json"),
    "overlong UTF-8": (b'{"to": "\xc0\x80"}', "invalid_json"),
    "UTF-16": (body().decode().encode("utf-16"), "invalid_json"),
    "raw NUL": (b'{"to": "\x00"}', "invalid_json"),
    "NUL in the text": (body(text=f'"a{NUL}b"'), "invalid_characters"),
    "NUL deep in metadata": (body(metadata=f'{{"a": [{{"b": "{NUL}"}}]}}'), "invalid_characters"),
    "NUL in a name of metadata": (body(metadata=f'{{"{NUL}": 1}}'), "invalid_characters"),
    "half a pair in the text": (body(text=f'"{HALF}"'), "invalid_characters"),
    "half a pair in metadata": (body(metadata=f'{{"k": "{HALF}"}}'), "invalid_characters"),
    "half a pair in a name": (body(**{HALF: "1"}), "invalid_characters"),
    "NaN": (body(metadata='{"a": NaN}'), "invalid_json"),
    "Infinity": (body(metadata='{"a": -Infinity}'), "invalid_json"),
    "a float without end": (body(metadata='{"a": 1e400}'), "invalid_json"),
    "5,000 digits": (body(metadata='{"a": ' + "9" * 5000 + "}"), "invalid_json"),
    "21 digits": (body(metadata='{"a": ' + "9" * 21 + "}"), "invalid_json"),
    "a name twice": (body()[:-1] + b', "to": "+15559990002"}', "invalid_json"),
    "a name twice in metadata": (body(metadata='{"a": 1, "a": 2}'), "invalid_json"),
    "100,000 brackets": (b"[" * 100_000, "invalid_json"),
    "100,000 objects": (b'{"a":' * 100_000, "invalid_json"),
    "33 levels": (body(metadata='{"a": ' + "[" * 31 + "]" * 31 + "}"), "invalid_json"),
    "500,000 escaped quotes": (b'"' + b'\\"' * 500_000, "invalid_json"),
    "escaped quotes outside": (b'\\"' * 500_000, "invalid_json"),
    "one string without end": (b'{"a": "' + b"x" * 1_000_000, "invalid_json"),
    "a million commas": (b"[" + b"," * 1_000_000, "invalid_json"),
    "to is a number": (body(to="15559990001"), "invalid"),
    "to is null": (body(to="null"), "null"),
    "to is a list": (body(to='["+15559990001"]'), "invalid"),
    "to is long": (body(to='"' + "1" * 5000 + '"'), "max_length"),
    "to is no number": (body(to='"call me"'), "invalid_phone"),
    "to is in other digits": (body(to='"+١٥٥٥٩٩٩٠٠٠١"'), "invalid_phone"),
    "to has an extension": (body(to='"+15559990001;ext=5"'), "invalid_phone"),
    "text is a number": (body(text="5"), "invalid"),
    "text is null": (body(text="null"), "null"),
    "parse_overrides is a word": (body(parse_overrides='"yes"'), "invalid"),
    "parse_overrides is 1": (body(parse_overrides="1"), "invalid"),
    "account is true": (body(account="true"), "invalid_account"),
    "account is negative": (body(account="-1"), "invalid_account"),
    "account is huge": (body(account="99999999999999999999"), "invalid_account"),
    "account is a fraction": (body(account="1.5"), "invalid_account"),
    "account is digits in a string": (body(account='"1"'), "invalid_account"),
    "metadata is a list": (body(metadata="[]"), "invalid"),
    "metadata is null": (body(metadata="null"), "invalid_or_null"),
    "metadata is large": (body(metadata=json.dumps({"a": "x" * 4096})), "metadata_too_large"),
    "media is a string": (body(media_urls='"https://example.com/a.png"'), "not_a_list"),
    "eleven media": (body(media_urls=json.dumps(["https://example.com/a.png"] * 11)), "max_length"),
    "media is long": (body(media_urls=json.dumps(["https://example.com/" + "a" * 2000])), "max_length"),
    "media over http": (body(media_urls='["http://example.com/a.png"]'), "invalid_media_url"),
    "media with a user": (body(media_urls='["https://a:b@example.com/"]'), "invalid_media_url"),
    "media with a backslash": (body(media_urls='["https://127.0.0.1\\\\.example.com/"]'), "invalid_media_url"),
    "media with a line": (body(media_urls='["https://example.com/\\n"]'), "invalid_media_url"),
    "media with a tab inside": (body(media_urls='["https://example.com/a\\tb"]'), "invalid_media_url"),
    "media is a file": (body(media_urls='["file:///etc/passwd"]'), "invalid_media_url"),
    "media is javascript": (body(media_urls='["javascript:alert(1)"]'), "invalid_media_url"),
    "media percent host": (body(media_urls='["https://%31%32%37.0.0.1/"]'), "invalid_media_url"),
    "media non-ASCII host": (body(media_urls='["https://еxample.com/"]'), "invalid_media_url"),
    "no time zone": (body(scheduled_at='"2030-01-01T10:00:00"'), "invalid"),
    "the start of time": (body(scheduled_at='"0001-01-01T00:00:00+14:00"'), "invalid"),
    "the end of time": (body(scheduled_at='"9999-12-31T23:59:59-14:00"'), "invalid"),
    "yesterday": (body(scheduled_at='"2020-01-01T00:00:00Z"'), "scheduled_in_past"),
    "in a hundred years": (body(scheduled_at='"2126-01-01T00:00:00Z"'), "scheduled_too_far"),
    "a day that is none": (body(scheduled_at='"2030-02-30T00:00:00Z"'), "invalid"),
    "a number as time": (body(scheduled_at="1900000000"), "invalid"),
    "an unknown style": (body(send_style='"explode"'), "invalid_choice"),
    "a style that is a list": (body(send_style="[]"), "invalid_choice"),
    "nothing to say": (body(text='""'), "empty_message"),
    "a near miss": (body(text='"hi {IM#}"'), "override_malformed"),
    "two accounts": (body(text='"{IM#1}{IM#2}"'), "override_conflict"),
    "location is a number": (body(location="5"), "invalid"),
    "location is null": (body(location="null"), "invalid"),
}


@pytest.mark.parametrize("case", CORPUS)
def test_a_hostile_body_is_refused_with_a_reason(api, clinic, case):
    raw, code = CORPUS[case]
    started = time.process_time()
    answer = api.generic("POST", "/api/v1/messages/", raw, "application/json")
    took = time.process_time() - started
    assert answer.status_code == 400, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    codes = ("invalid", "null") if code == "invalid_or_null" else (code,)
    assert answer.json()["code"] in codes, answer.content
    assert took < 2
    assert not Message.objects.exists()
    assert Contact.objects.filter(location=clinic.location).count() == 1


def test_32_levels_are_read(api, clinic):
    deep = '{"a": ' + "[" * 30 + "]" * 30 + "}"
    answer = api.generic("POST", "/api/v1/messages/", body(metadata=deep), "application/json")
    assert answer.status_code == 202, answer.content
    assert answer.json()["metadata"] == json.loads(deep)


def test_brackets_inside_strings_are_text(api, clinic):
    text = '[{"' * 40
    answer = api.generic("POST", "/api/v1/messages/", body(text=json.dumps(text)), "application/json")
    assert answer.json()["text"] == text


IDS = ["x", "1", "%00", "%0A", "..%2F", "%F0%9F%98%80", "0" * 5000, "None"]
IDS += ["{id}%20", "{hex}", "urn:uuid:{id}", "{{{id}}}"]  # other ways to write one that is there


@pytest.mark.parametrize("given", IDS)
@pytest.mark.parametrize("resource", ["messages", "contacts", "accounts", "locations", "setups"])
def test_a_malformed_id_is_answered_as_an_absent_one(api, clinic, resource, given):
    own = clinic.contact.pk
    absent = api.get(f"/api/v1/{resource}/00000000-0000-0000-0000-000000000000/")
    answer = api.get(f"/api/v1/{resource}/{given.format(id=own, hex=own.hex)}/")
    assert (answer.status_code, answer.content) == (404, absent.content)


QUERIES = {
    "messages/?status=nope": "invalid_choice",
    "messages/?status=": "invalid_parameter",
    "messages/?status=sent&status=read": "invalid_parameter",
    "messages/?direction=sideways": "invalid_choice",
    "messages/?rule=%00": "invalid_choice",
    "messages/?account=1": "invalid",
    "messages/?contact=%00": "invalid",
    "messages/?created_after=yesterday": "invalid",
    "messages/?created_after=0001-01-01T00:00:00%2B14:00": "invalid",
    "messages/?created_before=9999-12-31T23:59:59-14:00": "invalid",
    "messages/?created_before=2030-01-01": "invalid",
    "messages/?search=" + "x" * 101: "max_length",
    "messages/?search=%00": "null_characters_not_allowed",
    "messages/?ordering=text": "unknown_parameter",
    "messages/?text=hi": "unknown_parameter",
    "messages/?location__name=x": "unknown_parameter",
    "messages/?%00=x": "unknown_parameter",
    "messages/?page_size=0": "invalid_parameter",
    "messages/?page_size=201": "invalid_parameter",
    "messages/?page_size=-1": "invalid_parameter",
    "messages/?page_size=abc": "invalid_parameter",
    "messages/?page_size=%D9%A1": "invalid_parameter",
    "messages/?page_size=1e1": "invalid_parameter",
    "messages/?location=x": "invalid",
    "accounts/?can_send=maybe": "invalid",
    "accounts/?user=x": "invalid",
    "contacts/?opted_out=1": "invalid",
    "contacts/?assigned_user=x": "invalid",
    "setups/?status=nope": "invalid_choice",
    "locations/?search=x": "unknown_parameter",
}


@pytest.mark.parametrize("query", QUERIES)
def test_a_hostile_query_is_refused_with_a_reason(api, query):
    answer = api.get(f"/api/v1/{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, QUERIES[query])


def test_detail_addresses_know_their_parameters_too(api, clinic):
    answer = api.get(f"/api/v1/contacts/{clinic.contact.pk}/?page_size=2")
    assert (answer.status_code, answer.json()["code"]) == (400, "unknown_parameter")


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "x" * 256, "a\tb", "\x7f"])
def test_an_idempotency_key_that_is_none_is_refused(api, clinic, key):
    answer = api.post("/api/v1/messages/", clinic.text(), HTTP_IDEMPOTENCY_KEY=key)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_idempotency_key")
    assert not Message.objects.exists()


@pytest.mark.parametrize("path", ["cancel", "mark-read"])
def test_an_action_without_a_body_takes_none(api, clinic, path):
    sent = api.post("/api/v1/messages/", clinic.text()).json()
    answer = api.post(f"/api/v1/messages/{sent['id']}/{path}/", {"force": True})
    assert (answer.status_code, answer.json()["code"]) == (400, "unknown_field")
