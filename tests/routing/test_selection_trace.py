"""The trace that is stored and shown: its shape, and a sentence a receptionist understands."""

import json

import pytest

from tests.routing.selection_facts import ANNA, FAIL, account, account_id, decide, facts, phone

TAG_2 = f"im: {phone(2)}"


def test_the_shape_of_a_selected_decision():
    trace = decide(facts(account(1), account(2), tags=(TAG_2,), last=1)).trace()
    assert json.loads(json.dumps(trace)) == trace
    assert trace == {
        "decision": "selected",
        "rule": "contact_tag",
        "account": {"id": str(account_id(2)), "index": 2, "label": "Desk 2", "phone_number": phone(2)},
        "sentence": f"Sent from {phone(2)} (account 2) because the contact is tagged im: {phone(2)}.",
        "code": None,
        "steps": [
            {"rule": "manual_override", "outcome": "not_applicable"},
            {"rule": "temporary_override", "outcome": "not_applicable"},
            {"rule": "contact_tag", "outcome": "selected", "account_index": 2},
            {"rule": "assigned_user", "outcome": "not_reached"},
            {"rule": "default_account", "outcome": "not_reached"},
            {"rule": "any_available", "outcome": "not_reached"},
        ],
        "warnings": [{"code": "number_switch", "detail": f"This contact last saw {phone(1)}."}],
    }
    assert list(trace) == ["decision", "rule", "account", "sentence", "code", "steps", "warnings"]


def test_the_shape_of_a_failed_decision():
    trace = decide(facts(account(2, "disabled", "disconnected")), 2, 1).trace()
    assert (trace["decision"], trace["account"]) == ("failed", None)
    assert (trace["rule"], trace["code"]) == ("manual_override", "override_account_not_connected")
    assert trace["steps"][:2] == [
        {
            "rule": "manual_override",
            "outcome": "unavailable",
            "account_index": 2,
            "blockers": ["disabled", "disconnected"],
        },
        {"rule": "temporary_override", "outcome": "not_reached"},
    ]


def test_an_absent_account_has_no_blockers():
    step = decide(facts(), 0).trace()["steps"][0]
    assert step == {"rule": "manual_override", "outcome": "unavailable", "account_index": 0, "blockers": []}


def test_a_trace_holds_plain_values_only():
    trace = decide(facts(account(1, "disabled"), account(2), default=1)).trace()
    for value in (trace["rule"], trace["steps"][4]["outcome"], trace["steps"][4]["blockers"][0]):
        assert type(value) is str


OFF_2 = account(2, "disconnected")


@pytest.mark.parametrize(
    ("decision", "sentence"),
    [
        (
            decide(facts(account(2)), 2),
            f"Sent from {phone(2)} (account 2) because this message asks for account 2.",
        ),
        (
            decide(facts(account(2)), None, 2),
            f"Sent from {phone(2)} (account 2) because this message asks for account 2, for this once.",
        ),
        (
            decide(facts(account(2, user=ANNA), user=ANNA)),
            f"Sent from {phone(2)} (account 2) because it is an account of the contact's assigned user.",
        ),
        (
            decide(facts(account(2), default=2)),
            f"Sent from {phone(2)} (account 2) because it is the location's default account.",
        ),
        (
            decide(facts(account(2))),
            f"Sent from {phone(2)} (account 2) because no other rule chose and it is the first account that can send.",
        ),
        (
            decide(facts(account(1), account(2), last=2)),
            f"Sent from {phone(2)} (account 2) because no other rule chose and this contact was last in touch with it.",
        ),
        (
            decide(facts(account(1), OFF_2, tags=(TAG_2,), default=1)),
            f"Sent from {phone(1)} (account 1) because it is the location's default account; "
            f"the contact is tagged im: {phone(2)}, but account 2 is not connected.",
        ),
        (
            decide(facts(account(1), OFF_2, default=2)),
            f"Sent from {phone(1)} (account 1) because no other rule chose and it is the first account that can send; "
            "the default, account 2, is not connected.",
        ),
        (
            decide(facts(), 7),
            "Not sent: this message asks for account 7, which this location does not have; name another.",
        ),
        (
            decide(facts(account(2, "disabled", "line_pending")), None, 2),
            "Not sent: this message asks for account 2, which is switched off and has a line that is still pending; "
            "restore it or name another.",
        ),
        (
            decide(facts(account(1), account(2, "line_blocked"), tags=(TAG_2,)), policy=FAIL),
            f"Not sent: the contact is tagged im: {phone(2)}, but account 2 has a blocked line; "
            "restore the account or change the tag.",
        ),
        (
            decide(facts(account(1), account(2, "credentials_rejected", user=ANNA), user=ANNA), policy=FAIL),
            "Not sent: account 2 of the contact's assigned user has credentials the provider rejects; "
            "restore the account or assign the contact to somebody else.",
        ),
        (
            decide(facts()),
            "Not sent: no account of this location can send; connect one and send again.",
        ),
        (
            decide(facts(account(2, "line_released"), default=2)),
            "Not sent: no account of this location can send; the default, account 2, has a line that was released; "
            "connect one and send again.",
        ),
        (
            decide(facts(account(1), opted_out=True)),
            "Not sent: the contact opted out; it can be written to again once it has opted in.",
        ),
    ],
)
def test_the_sentence_says_why_and_what_to_do(decision, sentence):
    assert decision.sentence == sentence


def test_warnings_name_what_to_repair():
    tags = ("im: desk", f"im: {phone(9)}", TAG_2, f"im: {phone(1)}")
    decision = decide(facts(account(1), OFF_2, account(3, "disabled"), tags=tags, default=3))
    assert [(warning.code, warning.detail) for warning in decision.warnings] == [
        ("tag_invalid", 'The tag "im: desk" holds no phone number.'),
        ("tag_unmatched", f"No account of this location has {phone(9)}."),
        ("tag_ambiguous", "The contact's tags name several accounts: 1, 2."),
    ]
    skipped = decide(facts(account(1), OFF_2, default=2)).warnings
    assert [(warning.code, warning.detail) for warning in skipped] == [
        ("default_skipped", "The default, account 2, is not connected."),
    ]
