"""What the Sendblue adapter asks for and what it makes of the answers, odd ones included."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import responses
from hypothesis import given
from hypothesis import strategies as st

from provisioning.providers.base import (
    Accepted,
    AccountRejected,
    Capability,
    Credentials,
    Health,
    Line,
    NewSubaccount,
    Outgoing,
    ProviderError,
    Rejected,
    Sought,
    Subaccount,
    Unavailable,
    Uncertain,
)
from provisioning.providers.http import Answer, ProviderHTTP
from provisioning.providers.sendblue import SendblueAdapter, SendblueConfig, company_name, reference_tag
from provisioning.providers.sendblue_accounts import credentials_in, lines_in, numbers_in, request_id_in, states_in

PAYLOADS = Path(__file__).parent / "payloads" / "sendblue"
BASE = "https://api.sendblue.test"
CREATE = f"{BASE}/accounts/lines/request-child-account"
SEND = f"{BASE}/api/send-message"
LINES = f"{BASE}/api/lines"
STATE = f"{BASE}/api/v2/lines/state"
HOOKS = f"{BASE}/api/account/webhooks"
MESSAGES = f"{BASE}/api/v2/messages"
REFERENCE = "3f2a6c1e-0b1d-4c55-9a57-2f6c1d9e8b70"
CONFIG = SendblueConfig(
    BASE, "agency-id", "agency-secret", "/accounts/lines/request-child-account", "ops@hub.test", timedelta(seconds=5)
)
KEY = Credentials("child-id-1", "child-secret-1")
TEXT = "See you at three."
CALLBACK = "https://hub.test/hooks/sendblue/key/attempt-token/"
MESSAGE = Outgoing(to="+19998887777", from_number="+16468528190", text=TEXT, idempotency_key="k", callback_url=CALLBACK)
HOOK = "https://hub.test/hooks/sendblue/webhook-key/"
NOT_BEFORE = datetime(2026, 9, 1, 12, tzinfo=UTC)
SOUGHT = Sought("+19998887777", "+16468528190", TEXT, None, NOT_BEFORE)

adapter = SendblueAdapter(CONFIG)


@pytest.fixture(autouse=True)
def upstream() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


def payload(name: str) -> Any:
    return json.loads((PAYLOADS / f"{name}.json").read_text())


def bodies(upstream: responses.RequestsMock) -> list[tuple[str, str, Any]]:
    return [
        (str(call.request.method), urlsplit(str(call.request.url)).path, json.loads(call.request.body or "null"))
        for call in upstream.calls
    ]


def create(**wanted: Any) -> Subaccount:
    return adapter.create_subaccount(NewSubaccount("Sunny Smiles Dental", REFERENCE, **wanted))


# --- creating a subaccount --------------------------------------------------------------------------------------------
def test_creation_asks_once_with_the_agencys_credentials(upstream):
    upstream.post(CREATE, json=payload("docs.request-child-account.response.TRUNCATED"))
    made = create(area_code="415")
    assert made == Subaccount(Credentials("child_api_key_here", "child_api_secret_here"))
    [call] = upstream.calls
    assert call.request.headers["sb-api-key-id"] == "agency-id"
    assert call.request.headers["sb-api-secret-key"] == "agency-secret"
    assert json.loads(call.request.body) == {
        "company_name": f"sunny-smiles-dental-{REFERENCE}",
        "primary_email": f"ops+{REFERENCE}@hub.test",
        "provision_line": True,
        "desired_area_code": "415",
    }
    assert "child_api" not in repr(made)


def test_no_area_code_is_asked_for_unless_one_is_wanted(upstream):
    upstream.post(CREATE, json={"data": {"api_key": "a", "api_secret": "b"}})
    create()
    assert "desired_area_code" not in bodies(upstream)[0][2]


@pytest.mark.parametrize("missing", ["agency_key_id", "agency_secret", "contact_email"])
def test_without_configuration_nothing_is_asked(upstream, missing):
    fields = {name: getattr(CONFIG, name) for name in SendblueConfig.__dataclass_fields__}
    bare = SendblueAdapter(SendblueConfig(**{**fields, missing: ""}))
    with pytest.raises(Rejected) as caught:
        bare.create_subaccount(NewSubaccount("Sunny", REFERENCE))
    assert caught.value.code == "not_configured"
    assert len(upstream.calls) == 0


LINE_PARTS: list[tuple[dict[str, Any], list[str], str | None]] = [
    ({}, [], None),
    ({"assigned_number": None}, [], None),
    ({"assigned_number": "+15550000002"}, ["+15550000002"], None),
    ({"assigned_numbers": ["+15550000002", "+15550000003"]}, ["+15550000002", "+15550000003"], None),
    ({"assignedLine": {"id": 5, "phone_number": "+15550000002"}}, ["+15550000002"], None),
    ({"assignment": {"status": "OPEN", "id": 12345}}, [], "12345"),
    ({"assignment": {"ticket": {"id": "t-1"}}}, [], "t-1"),
    ({"assignment": {"id": 9, "ticket": {"id": "t-1"}}}, [], "t-1"),
    ({"assigned_line": "pending"}, [], None),
    ({"assign_line_status": "Assigned +15550000002."}, ["+15550000002"], None),
    ({"lines": [{"sendblue_number": "+15550000002"}]}, ["+15550000002"], None),
    ({"line_request": {"id": 7, "status": "OPEN"}}, [], "7"),
    ({"ticket_id": "abc"}, [], "abc"),
    ({"user": {"phone_number": "+15550009999"}}, [], None),
    ({"assigned_number": 15550000002}, [], None),
    ({"assigned": [[{"a": {"b": "+15550000002"}}]]}, ["+15550000002"], None),
]


@pytest.mark.parametrize(("part", "numbers", "request_id"), LINE_PARTS)
@pytest.mark.parametrize("nested", [True, False])
def test_the_unknown_line_part_is_taken_as_it_comes(upstream, part, numbers, request_id, nested):
    data = {"company_name": "c", "api_key": "a", "api_secret": "b", **part}
    upstream.post(CREATE, json={"status": "OK", "data": data} if nested else data)
    made = create()
    assert [line.phone_number for line in made.lines] == numbers
    assert made.request_id == request_id
    assert made.credentials == Credentials("a", "b")


@pytest.mark.parametrize(
    "data",
    [
        {"apiKey": "a", "apiSecret": "b"}, {"api_key_id": "a", "api_secret_key": "b"}, {"keyId": "a", "secretKey": "b"},
        {"account": {"credentials": {"api_key": "a", "api_secret": "b"}}}, [{"api_key": "a", "api_secret": "b"}],
        {"api_key": None, "credentials": {"api_key": "a", "api_secret": "b"}},
    ],
)  # fmt: skip
def test_credentials_are_found_wherever_they_are(upstream, data):
    upstream.post(CREATE, json={"status": "OK", "data": data})
    assert create().credentials == Credentials("a", "b")


@pytest.mark.parametrize(
    "body",
    [
        "{}", "[]", "null", '"ok"', "7", '{"data": null}', '{"data": {"api_key": "a"}}', "<html>", "",
        '{"data": {"api_key": "a", "api_secret": ""}}', '{"data": {"api_key": "a", "api_secret": 5}}',
        '{"data": {"api_key": "a", "api_secret": "b\\n"}}', '{"status": "ERROR", "message": "no"}',
    ],
)  # fmt: skip
def test_an_answer_without_readable_credentials_is_uncertain(upstream, body):
    upstream.post(CREATE, body=body)
    with pytest.raises(Uncertain):
        create()
    assert len(upstream.calls) == 1


@pytest.mark.parametrize(
    ("status", "expected"),
    [(400, Rejected), (401, AccountRejected), (403, AccountRejected), (429, Unavailable), (500, Uncertain)],
)
def test_refusals_of_creation(upstream, status, expected):
    upstream.post(CREATE, json={"status": "ERROR", "message": "agency-secret is wrong"}, status=status)
    with pytest.raises(ProviderError) as caught:
        create()
    assert type(caught.value) is expected
    assert "agency-secret" not in str(caught.value)
    assert len(upstream.calls) == 1


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("Sunny Smiles", "sunny-smiles-"), ("Zahnärzte Größe & Söhne!", "zahnarzte-groe-sohne-"), ("歯科", "business-"),
        ("  --  ", "business-"), ("x" * 200, "x" * 27 + "-"), ("a" * 26 + " b", "a" * 26 + "-"),
    ],
)  # fmt: skip
def test_company_names_fit_the_providers_rule_and_end_with_the_reference(name, start):
    made = company_name(name, REFERENCE)
    assert made == start + REFERENCE
    assert re.fullmatch(r"[a-z0-9-]{3,64}", made)


@given(name=st.text(), reference=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_name_and_reference_make_a_company_name(name, reference):
    tag = reference_tag(reference)
    assert re.fullmatch(r"[a-z0-9-]{3,64}", company_name(name, tag))
    assert tag != reference_tag(reference + "A")


# --- lines ------------------------------------------------------------------------------------------------------------
def test_numbers_come_from_one_list_and_health_from_the_other(upstream):
    upstream.get(LINES, json={"numbers": ["+15550000001", "+15550000002", "+15550000003"]})
    rows = [
        {"sendblue_number": "+15550000002", "assignment": "assigned", "status": "DEGRADED"},
        {"sendblue_number": "+15550000004", "assignment": "grace_period", "status": "OFFLINE"},
        {"sendblue_number": "+15550000005", "assignment": "shared", "status": "ONLINE"},
        {"sendblue_number": "1 (555) 000-0001", "assignment": "assigned", "status": "online"},
    ]
    upstream.get(STATE, json={"status": "OK", "data": rows})
    assert adapter.list_lines(KEY) == [
        Line("+15550000001", Health.ONLINE),
        Line("+15550000002", Health.DEGRADED),
        Line("+15550000003", Health.UNKNOWN),
        Line("+15550000004", Health.OFFLINE),
    ]
    assert {call.request.headers["sb-api-key-id"] for call in upstream.calls} == {"child-id-1"}


def test_the_documented_state_alone_is_enough(upstream):
    upstream.get(LINES, status=404, body="<html>")
    upstream.get(STATE, json=payload("schema.lines-state.response"))
    assert adapter.list_lines(KEY) == [Line("+15550000002", Health.ONLINE)]


@pytest.mark.parametrize("status", [404, 405, 429, 500, 200])
def test_the_numbers_alone_are_enough(upstream, status):
    upstream.get(LINES, json={"numbers": ["+15550000002"]})
    upstream.get(STATE, status=status, body="<html>")
    assert adapter.list_lines(KEY) == [Line("+15550000002", Health.UNKNOWN)]


def test_an_account_without_lines(upstream):
    upstream.get(LINES, json={"numbers": []})
    upstream.get(STATE, json={"data": []})
    assert adapter.list_lines(KEY) == []


@pytest.mark.parametrize(
    ("lines", "state", "expected"),
    [
        ((404, "{}"), (404, "{}"), Uncertain),
        ((200, '{"status": "OK"}'), (200, '{"x": 1}'), Uncertain),
        ((401, "{}"), (200, '{"data": []}'), AccountRejected),
        ((200, '{"numbers": []}'), (403, "{}"), AccountRejected),
        ((500, "{}"), (200, '{"data": []}'), Uncertain),
        ((429, "{}"), (200, '{"data": []}'), Unavailable),
        ((404, "{}"), (429, "{}"), Unavailable),
    ],
)
def test_lists_that_could_be_incomplete_are_not_believed(upstream, lines, state, expected):
    upstream.get(LINES, status=lines[0], body=lines[1])
    upstream.get(STATE, status=state[0], body=state[1])
    with pytest.raises(ProviderError) as caught:
        adapter.list_lines(KEY)
    assert type(caught.value) is expected


@pytest.mark.parametrize(
    ("data", "numbers"),
    [
        ({"numbers": ["+15550000002"]}, ["+15550000002"]),
        ({"numbers": None}, []),
        (["+15550000002"], ["+15550000002"]),
        ({"data": [{"phone_number": "+15550000002"}, {"line": " +15550000003 "}]}, ["+15550000002", "+15550000003"]),
        ({"numbers": ["", None, 5, {}, [], "none", "x" * 100]}, []),
        ({"numbers": {"a": 1}}, None),
        ({}, None), (None, None), ("+15550000002", None),
    ],
)  # fmt: skip
def test_shapes_of_the_list_of_numbers(data, numbers):
    assert numbers_in(data) == numbers


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.just("+15550000002"),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["data", "numbers", "api_key", "api_secret", "assigned", "id", "status", "ticket", "x"]
                ),
                inner,
            )
        ),
        max_leaves=15,
    )
)
def test_no_answer_makes_the_readers_stumble(data):
    for read in (credentials_in, lines_in, request_id_in, numbers_in, states_in):
        read(data)


# --- registering webhooks ---------------------------------------------------------------------------------------------
def ours(kind: str, held: str = "whsec-1", host: str = "https://hub.test") -> dict[str, str]:
    return {"url": f"{host}/hooks/sendblue/webhook-key/?topic={kind}", "secret": held}


KINDS = ("receive", "outbound", "line_assigned", "line_blocked")
FOREIGN = {"url": "https://else.test/hook", "secret": "theirs"}


class Registry:
    """The provider's webhooks, as far as the tests need them; `drops` are types that are lost in silence."""

    def __init__(self, upstream: responses.RequestsMock, there: dict[str, Any], drops: tuple[str, ...] = ()) -> None:
        self.there, self.drops = there, drops
        upstream.add_callback(responses.GET, HOOKS, self.answer)
        upstream.add_callback(responses.POST, HOOKS, self.post)
        upstream.add_callback(responses.PUT, HOOKS, self.put)

    def answer(self, request: Any) -> tuple[int, dict[str, str], str]:
        return 200, {}, json.dumps({"status": "OK", "webhooks": self.there})

    def post(self, request: Any) -> tuple[int, dict[str, str], str]:
        body = json.loads(request.body)
        if body["type"] not in self.drops:
            self.there.setdefault(body["type"], []).extend(body["webhooks"])
        return self.answer(request)

    def put(self, request: Any) -> tuple[int, dict[str, str], str]:
        wanted = json.loads(request.body)["webhooks"]
        self.there = {kind: entries for kind, entries in wanted.items() if kind not in self.drops}
        return self.answer(request)


def register() -> None:
    adapter.register_webhooks(KEY, url=HOOK, secret="whsec-1")


def test_the_first_registration_appends_and_touches_nothing_else(upstream):
    registry = Registry(upstream, {"receive": [FOREIGN], "call_log": [], "globalSecret": "global"})
    register()
    assert registry.there == {
        "receive": [FOREIGN, ours("receive")],
        "outbound": [ours("outbound")],
        "line_assigned": [ours("line_assigned")],
        "line_blocked": [ours("line_blocked")],
        "call_log": [],
        "globalSecret": "global",
    }
    assert [method for method, _, _ in bodies(upstream)] == ["GET", "POST", "POST", "POST", "POST", "GET"]


def test_a_repeat_changes_nothing(upstream):
    Registry(upstream, {kind: [ours(kind)] for kind in KINDS})
    register()
    assert [method for method, _, _ in bodies(upstream)] == ["GET"]


@pytest.mark.parametrize(
    "there",
    [
        {kind: [ours(kind, "whsec-0")] for kind in KINDS},
        {kind: [ours(kind), ours(kind)] for kind in KINDS},
        {kind: [ours(kind, host="https://old.test")] for kind in KINDS},
        {kind: [HOOK] for kind in KINDS},
        {"receive": [ours("receive")]},
        {"receive": [ours("receive", "whsec-0")], "call_log": [ours("call_log")]},
        {"receive": [ours("outbound")]},
        {**{kind: [ours(kind)] for kind in KINDS}, "call_log": [ours("call_log")]},
    ],
)
def test_rotation_and_leftovers_end_with_exactly_one_entry_a_type(upstream, there):
    foreign: dict[str, list[Any]] = {
        "receive": [FOREIGN, "https://plain.test/"],
        "contact_created": ["https://else.test/c"],
    }
    merged = {kind: [*foreign.get(kind, []), *there.get(kind, [])] for kind in {*foreign, *there}}
    registry = Registry(upstream, {**merged, "globalSecret": "global", "odd": 5})
    register()
    assert registry.there.get("call_log", []) == []
    assert {kind: registry.there[kind] for kind in KINDS} == {
        "receive": [FOREIGN, "https://plain.test/", ours("receive")],
        "outbound": [ours("outbound")],
        "line_assigned": [ours("line_assigned")],
        "line_blocked": [ours("line_blocked")],
    }
    assert registry.there["contact_created"] == ["https://else.test/c"]
    assert (registry.there["globalSecret"], registry.there["odd"]) == ("global", 5)


@pytest.mark.parametrize("there", [{}, {"receive": [ours("receive", "whsec-0")]}])
def test_entries_that_the_provider_drops_in_silence_are_noticed(upstream, there):
    Registry(upstream, there, drops=("line_assigned",))
    with pytest.raises(Unavailable) as caught:
        register()
    assert caught.value.code == "webhooks_missing"


def test_a_masked_secret_and_an_address_made_https_count_as_registered(upstream):
    entries = {kind: [{"url": ours(kind)["url"], "secret": "wh****"}] for kind in KINDS}
    Registry(upstream, entries)
    adapter.register_webhooks(KEY, url=HOOK.replace("https", "http"), secret="whsec-1")
    assert len(upstream.calls) == 1


@pytest.mark.parametrize("body", ["[]", "null", '{"webhooks": []}', "{}"])
def test_an_unreadable_list_of_webhooks_is_never_overwritten(upstream, body):
    upstream.get(HOOKS, body=body)
    with pytest.raises(Uncertain):
        register()
    assert len(upstream.calls) == 1


def test_a_refused_registration_tells_no_secret(upstream):
    upstream.get(HOOKS, json={"webhooks": {}})
    upstream.post(HOOKS, json={"message": f"bad {HOOK}?topic=receive with whsec-1 by child-secret-1"}, status=400)
    with pytest.raises(Rejected) as caught:
        register()
    for hidden in ("webhook-key", "whsec-1", "child-secret-1"):
        assert hidden not in str(caught.value)


# --- sending ----------------------------------------------------------------------------------------------------------
def send(message: Outgoing = MESSAGE) -> Accepted:
    return adapter.send(KEY, message)


def test_a_send_is_one_request_and_its_handle_comes_back(upstream):
    upstream.post(SEND, json=payload("docs.send-message.response"))
    assert send() == Accepted("dfd747ba-5600-4a8a-804a-a614a0fbc1c5", "+16468528190", "")
    assert bodies(upstream) == [
        (
            "POST",
            "/api/send-message",
            {"number": "+19998887777", "from_number": "+16468528190", "content": TEXT, "status_callback": CALLBACK},
        )
    ]


def test_media_style_and_what_is_missing(upstream):
    upstream.post(SEND, json={"message_handle": "h", "status": "QUEUED", "service": "SMS"})
    picture = Outgoing("+1", "+2", "", "k", media_url="https://cdn.test/a.png", send_style="slam")
    assert send(picture) == Accepted("h", None, "SMS")
    assert bodies(upstream)[0][2] == {
        "number": "+1", "from_number": "+2", "media_url": "https://cdn.test/a.png", "send_style": "slam",
    }  # fmt: skip


def test_the_number_it_was_sent_from_is_the_providers_word(upstream):
    upstream.post(SEND, json={**payload("docs.send-message.response"), "from_number": "+15550000009"})
    assert send().from_number == "+15550000009"


@pytest.mark.parametrize(
    "body",
    [
        {}, [], None, "ok", 5, {"status": "QUEUED"}, {"message_handle": None}, {"message_handle": ""},
        {"message_handle": 5}, {"message_handle": "x" * 201}, {"data": [{"message_handle": "h"}]},
        {"status": "ERROR", "message_handle": "h", "error_code": 5000}, {"status": "ERROR", "error_code": 777},
        {"status": "ERROR", "message": "no"}, {"status": "error", "message_handle": "h"},
        {"status": "ERROR", "error_code": 10002},
    ],
)  # fmt: skip
def test_a_200_that_does_not_say_plainly_what_happened_is_uncertain(upstream, body):
    upstream.post(SEND, json=body)
    with pytest.raises(Uncertain):
        send()
    assert len(upstream.calls) == 1


@pytest.mark.parametrize(
    ("body", "expected", "code"),
    [
        ({"status": "ERROR", "message_handle": "h", "error_code": 4000}, Rejected, "4000"),
        ({"status": "ERROR", "message_handle": "h", "error_code": "4002"}, Rejected, "4002"),
        ({"status": "ERROR", "message_handle": "h", "error_code": 10001}, Rejected, "10001"),
        ({"status": "DECLINED", "message_handle": "h"}, Rejected, "declined"),
        ({"status": "ERROR", "error_code": "SMS_LIMIT_REACHED"}, Unavailable, "SMS_LIMIT_REACHED"),
        ({"status": "ERROR", "error_code": 5003, "message_handle": "h"}, Unavailable, "5003"),
    ],
)
def test_a_200_that_reports_a_known_error(upstream, body, expected, code):
    upstream.post(SEND, json={**body, "error_message": f"about {TEXT}"})
    with pytest.raises(ProviderError) as caught:
        send()
    assert (type(caught.value), caught.value.code) == (expected, code)
    assert TEXT not in str(caught.value)


def test_a_message_that_the_provider_has_but_cannot_resolve_is_accepted(upstream):
    upstream.post(SEND, json={"status": "ERROR", "message_handle": "h", "error_code": 10002})
    assert send().provider_id == "h"


@pytest.mark.parametrize(
    ("status", "body", "expected", "code"),
    [
        (400, {"status": "ERROR", "status_code": 400, "error_message": "no"}, Rejected, "http_400"),
        (400, {"error_code": 4001}, Unavailable, "4001"),
        (400, {"error_code": "SMS_LIMIT_REACHED"}, Unavailable, "SMS_LIMIT_REACHED"),
        (429, {"error_code": 4001}, Unavailable, "4001"),
        (401, payload("observed.auth.wrong.401"), AccountRejected, "http_401"),
        (403, payload("observed.auth.missing.403"), AccountRejected, "http_403"),
        (402, {}, AccountRejected, "http_402"),
        (500, {"error_code": 5003}, Uncertain, "http_500"),
        (503, {}, Uncertain, "http_503"),
        (307, {}, Uncertain, "http_307"),
    ],
)
def test_refused_sends(upstream, status, body, expected, code):
    upstream.post(SEND, json=body, status=status)
    with pytest.raises(ProviderError) as caught:
        send()
    assert (type(caught.value), caught.value.code) == (expected, code)
    assert len(upstream.calls) == 1


@pytest.mark.parametrize(
    ("status", "words", "blocked"),
    [(403, "This line has been blocked", True), (403, "Forbidden", False), (401, "Invalid Credentials", False)],
)
def test_a_blocked_line_is_told_from_bad_credentials(upstream, status, words, blocked):
    upstream.post(SEND, json={"message": words}, status=status)
    with pytest.raises(AccountRejected) as caught:
        send()
    assert caught.value.line_blocked is blocked


def test_a_refusal_quotes_neither_text_nor_token_nor_credentials(upstream):
    words = f"cannot send {TEXT} to {CALLBACK} by child-id-1/child-secret-1"
    upstream.post(SEND, json={"error_message": words}, status=400)
    with pytest.raises(Rejected) as caught:
        send()
    assert caught.value.detail == "cannot send [hidden] to [hidden] by [hidden]/[hidden]"


# --- looking up -------------------------------------------------------------------------------------------------------
def listed(**fields: Any) -> dict[str, Any]:
    sent = {"date_sent": "2026-09-01T12:00:05.000Z", "media_url": "", "service": "iMessage", "status": "SENT"}
    numbers = {"number": SOUGHT.to, "from_number": SOUGHT.from_number, "sendblue_number": SOUGHT.from_number}
    return {"message_handle": "h1", "content": TEXT, "is_outbound": True, **numbers, **sent, **fields}


def test_a_look_up_asks_with_all_it_knows_and_relies_on_no_order(upstream):
    upstream.get(MESSAGES, json={"status": "OK", "data": [listed()], "pagination": {"hasMore": False}})
    assert adapter.lookup(KEY, SOUGHT) == [Accepted("h1", SOUGHT.from_number, "iMessage")]
    query = parse_qs(urlsplit(upstream.calls[0].request.url).query)
    assert query == {
        "is_outbound": ["true"],
        "number": ["+19998887777"],
        "sendblue_number": ["+16468528190"],
        "created_at_gte": ["2026-09-01T11:59:00.000Z"],
        "limit": ["25"],
        "offset": ["0"],
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"content": TEXT + " "}, {"content": None}, {"media_url": "https://cdn.test/a.png"}, {"is_outbound": False},
        {"is_outbound": None}, {"number": "+19998880000", "to_number": "+19998880000"}, {"message_handle": ""},
        {"from_number": "+15550000009"}, {"sendblue_number": "+15550000009"}, {"date_sent": "2026-09-01T11:58:59Z"},
        {"date_sent": None}, {"number": [SOUGHT.to], "to_number": [SOUGHT.to]},
        {"from_number": None, "sendblue_number": None},
    ],
)  # fmt: skip
def test_a_look_up_takes_only_what_could_be_the_message(upstream, fields):
    upstream.get(MESSAGES, json={"data": [listed(**fields), 5, None, [], {}]})
    assert adapter.lookup(KEY, SOUGHT) == []


def test_a_look_up_tells_of_several_that_fit_each_once(upstream):
    upstream.get(MESSAGES, json={"data": [listed(), listed(message_handle="h2"), listed()]})
    assert [found.provider_id for found in adapter.lookup(KEY, SOUGHT)] == ["h1", "h2"]


def test_a_picture_without_text_is_found_by_its_address(upstream):
    sought = Sought(SOUGHT.to, SOUGHT.from_number, "", "https://cdn.test/a.png", NOT_BEFORE)
    upstream.get(MESSAGES, json={"data": [listed(content=None, media_url="https://cdn.test/a.png"), listed()]})
    assert len(adapter.lookup(KEY, sought)) == 1


def test_a_look_up_turns_pages_until_there_are_no_more(upstream):
    for page, more in enumerate((True, True, False)):
        upstream.get(
            MESSAGES,
            json={"data": [listed(message_handle=f"h{page}")], "pagination": {"hasMore": more}},
            match=[responses.matchers.query_param_matcher({"offset": str(page * 25)}, strict_match=False)],
        )
    assert [found.provider_id for found in adapter.lookup(KEY, SOUGHT)] == ["h0", "h1", "h2"]


def test_a_list_that_never_ends_is_left(upstream):
    upstream.get(MESSAGES, json={"data": [listed()], "pagination": {"hasMore": True}})
    assert len(adapter.lookup(KEY, SOUGHT)) == 1
    assert len(upstream.calls) == 20


@pytest.mark.parametrize("body", ["{}", '{"data": {}}', "null", "5", '{"data": null}'])
def test_a_list_of_another_shape_is_not_taken_for_empty(upstream, body):
    upstream.get(MESSAGES, body=body)
    with pytest.raises(Uncertain):
        adapter.lookup(KEY, SOUGHT)


# --- read receipts and dots -------------------------------------------------------------------------------------------
def test_mark_read_and_typing_say_who_and_where(upstream):
    upstream.post(f"{BASE}/api/mark-read", json={"status": "OK", "message": "Mark read request sent"})
    upstream.post(f"{BASE}/api/send-typing-indicator", json=payload("docs.typing-indicator.send.response"))
    adapter.mark_read(KEY, to="+1", from_number="+2")
    adapter.typing(KEY, to="+1", from_number="+2", is_typing=True)
    adapter.typing(KEY, to="+1", from_number="+2", is_typing=False)
    assert [body for _, _, body in bodies(upstream)] == [
        {"number": "+1", "from_number": "+2"},
        {"number": "+1", "from_number": "+2", "state": "start"},
        {"number": "+1", "from_number": "+2", "state": "stop"},
    ]


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, payload("docs.typing-indicator.send.error-no-route"), Rejected),
        (200, payload("docs.typing-indicator.send.error-no-route"), Rejected),
        (402, {}, Rejected),
        (403, {"message": "not enabled"}, Rejected),
        (401, {}, AccountRejected),
        (429, {}, Unavailable),
        (500, {}, Uncertain),
    ],
)
def test_a_missing_feature_does_not_stop_the_account(upstream, status, body, expected):
    upstream.post(f"{BASE}/api/mark-read", json=body, status=status)
    with pytest.raises(ProviderError) as caught:
        adapter.mark_read(KEY, to="+1", from_number="+2")
    assert type(caught.value) is expected


# --- the whole --------------------------------------------------------------------------------------------------------
def test_what_it_can_do():
    assert Capability.IDEMPOTENT_SEND not in adapter.capabilities
    assert Capability.CALLBACK_URL | Capability.LOOKUP | Capability.CREATE_SUBACCOUNT in adapter.capabilities


def test_the_configuration_shows_no_secret_when_printed():
    assert "agency-" not in repr(CONFIG)
    assert "child-" not in repr(KEY)


@pytest.mark.parametrize("changed", [{"base_url": "ftp://x"}, {"create_subaccount_path": "no-slash"}])
def test_a_wrong_address_is_told_at_once(changed):
    fields = {name: getattr(CONFIG, name) for name in SendblueConfig.__dataclass_fields__}
    with pytest.raises(ValueError, match="provider"):
        SendblueAdapter(SendblueConfig(**{**fields, **changed}))


def test_the_requests_of_one_operation_share_its_deadline(upstream, monkeypatch):
    ends: list[float | None] = []
    request = ProviderHTTP.request

    def noting(self: ProviderHTTP, *args: Any, **kwargs: Any) -> Answer:
        ends.append(kwargs["until"])
        return request(self, *args, **kwargs)

    monkeypatch.setattr(ProviderHTTP, "request", noting)
    registry = Registry(upstream, {})
    upstream.get(LINES, json={"numbers": []})
    upstream.get(STATE, json={"data": []})
    upstream.get(MESSAGES, json={"data": [listed()], "pagination": {"hasMore": True}})
    for operation, requests in (
        (register, 6),
        (lambda: registry.there.update(receive=[ours("receive", "whsec-0")]), 0),
        (register, 3),
        (lambda: adapter.list_lines(KEY), 2),
        (lambda: adapter.lookup(KEY, SOUGHT), 20),
    ):
        ends.clear()
        operation()
        assert len(ends) == requests
        assert len(set(ends)) <= 1
        assert None not in ends
