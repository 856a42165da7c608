"""Every case of the six rules: who sends, by which rule, with which steps and warnings."""

from dataclasses import replace

import pytest

from routing.number_tags import tag_numbers, tag_phone
from routing.overrides import Override
from routing.selection import Code, OnUnavailable, Policy, Rule, select
from tests.routing.selection_facts import (
    ANNA,
    BEN,
    FAIL,
    account,
    account_id,
    decide,
    facts,
    outline,
    phone,
    warned,
)

BLOCKERS = ["disabled", "line_pending", "line_released", "line_blocked", "credentials_rejected", "disconnected"]
TAG_2 = f"im: {phone(2)}"
TAG_3 = f"im: {phone(3)}"

# A location in which every rule names an account of its own.
EVERYTHING = facts(
    account(1),
    account(2),
    account(3),
    account(4, user=ANNA),
    account(5),
    account(6),
    tags=(TAG_3,),
    user=ANNA,
    default=5,
    last=6,
)


def without(base, *indexes, **changes):
    """The same facts without these accounts."""
    gone = {account_id(index) for index in indexes}
    return replace(base, accounts={key: each for key, each in base.accounts.items() if key not in gone}, **changes)


@pytest.mark.parametrize(
    ("given", "manual", "temporary", "rule", "steps"),
    [
        (EVERYTHING, 1, 2, Rule.MANUAL_OVERRIDE, "s1 . . . . ."),
        (EVERYTHING, 1, None, Rule.MANUAL_OVERRIDE, "s1 . . . . ."),
        (EVERYTHING, None, 2, Rule.TEMPORARY_OVERRIDE, "- s2 . . . ."),
        (EVERYTHING, None, None, Rule.CONTACT_TAG, "- - s3 . . ."),
        (replace(EVERYTHING, tags=()), None, None, Rule.ASSIGNED_USER, "- - - s4 . ."),
        (replace(EVERYTHING, tags=(), assigned_user_id=None), None, None, Rule.DEFAULT_ACCOUNT, "- - - - s5 ."),
        (
            replace(EVERYTHING, tags=(), assigned_user_id=None, default_account_id=None),
            None,
            None,
            Rule.ANY_AVAILABLE,
            "- - - - - s6",
        ),
    ],
)
def test_the_rules_speak_in_order(given, manual, temporary, rule, steps):
    decision = decide(given, manual, temporary)
    assert (decision.rule, decision.code, outline(decision)) == (rule, None, steps)
    assert decision.account is not None
    assert decision.account.index == next(step.account_index for step in decision.steps if step.account_index)


@pytest.mark.parametrize("policy", [Policy(), FAIL])
@pytest.mark.parametrize(
    ("override", "steps"),
    [
        (Override(manual=0), "u0 . . . . ."),
        (Override(manual=9), "u9 . . . . ."),
        (Override(manual=999_999), "u999999 . . . . ."),
        (Override(manual=9, temporary=1), "u9 . . . . ."),
        (Override(temporary=0), "- u0 . . . ."),
        (Override(temporary=9), "- u9 . . . ."),
    ],
)
def test_an_override_that_names_no_account_fails_whatever_the_policy(override, steps, policy):
    decision = select(EVERYTHING, override, policy=policy)
    assert (decision.account, decision.code) == (None, Code.OVERRIDE_ACCOUNT_NOT_FOUND)
    assert outline(decision) == steps
    assert all(step.blockers == () for step in decision.steps)


@pytest.mark.parametrize("policy", [Policy(), FAIL])
@pytest.mark.parametrize("blocker", BLOCKERS)
def test_an_override_whose_account_cannot_send_fails_whatever_the_policy(blocker, policy):
    given = facts(account(1), account(2, blocker), tags=(f"im: {phone(1)}",), default=1)
    manual, temporary = decide(given, 2, policy=policy), decide(given, None, 2, policy=policy)
    assert outline(manual) == "u2 . . . . ."
    assert outline(temporary) == "- u2 . . . ."
    for decision in (manual, temporary):
        assert (decision.account, decision.code) == (None, Code.OVERRIDE_ACCOUNT_NOT_CONNECTED)
        assert [step.blockers for step in decision.steps if step.outcome == "unavailable"] == [(blocker,)]


def test_a_failing_manual_override_does_not_try_the_temporary_one():
    decision = decide(facts(account(1, "disconnected"), account(2)), 1, 2)
    assert (decision.code, outline(decision)) == (Code.OVERRIDE_ACCOUNT_NOT_CONNECTED, "u1 . . . . .")


@pytest.mark.parametrize(
    "tag",
    [
        "im:+14155550002",
        "im: +14155550002",
        "IM: (415) 555-0002",
        "Im:415-555-0002",
        "  im  :  1 415 555 0002  ",
        "im:\u00a0+14155550002",
        "im:\t4155550002",
    ],
)
def test_forms_of_the_tag(tag):
    assert tag_phone(tag, region="US") == "+14155550002"
    assert outline(decide(facts(account(1), account(2), tags=("vip", tag), default=1))) == "- - s2 . . ."


def test_the_examples_with_fictional_numbers_are_equal():
    assert tag_numbers(["im:+15551234567", "IM: (555) 123-4567"], region="US") == ("+15551234567",)


def test_a_tag_is_read_in_the_locations_region():
    assert tag_phone("im: 020 7946 0958", region="GB") == "+442079460958"
    assert tag_phone("im: 020 7946 0958", region="US") is None


@pytest.mark.parametrize(
    "tag", ["vip", "im", "im +14155550002", "imx: +14155550002", "sim: +14155550002", "İm: 1", "im:"]
)
def test_other_tags_are_no_business_of_ours(tag):
    decision = decide(facts(account(1), account(2), tags=(tag,), default=1))
    assert (outline(decision), warned(decision)) == ("- - - - s1 .", [])


@pytest.mark.parametrize(
    "tag", ["im: front desk", "im: 12", "im: +14155550002 x5", "im: ", "im: 555-0002", "im: +1415555000٢"]
)
def test_a_tag_that_holds_no_number_is_passed_over_with_a_warning(tag):
    assert tag_phone(tag, region="US") is None
    decision = decide(facts(account(1), account(2), tags=(tag,), default=1), policy=FAIL)
    assert (outline(decision), warned(decision)) == ("- - - - s1 .", ["tag_invalid"])


def test_a_tag_with_a_number_of_no_account_here_is_passed_over_with_a_warning():
    decision = decide(facts(account(1), account(2), tags=(TAG_3, TAG_3.upper()), default=1), policy=FAIL)
    assert (outline(decision), warned(decision)) == ("- - - - s1 .", ["tag_unmatched"])
    assert phone(3) in decision.warnings[0].detail


def test_one_good_tag_among_bad_ones_decides():
    decision = decide(facts(account(1), account(2), tags=("im: x", TAG_3, TAG_2), default=1))
    assert (outline(decision), warned(decision)) == ("- - s2 . . .", ["tag_invalid", "tag_unmatched"])


def test_several_tags_for_one_account_are_fine():
    decision = decide(facts(account(1), account(2), tags=(TAG_2, "IM: (415) 555-0002"), default=1))
    assert (outline(decision), warned(decision)) == ("- - s2 . . .", [])


@pytest.mark.parametrize("tags", [(TAG_2, TAG_3), (TAG_3, TAG_2)])
@pytest.mark.parametrize(
    ("accounts", "last", "steps"),
    [
        pytest.param([account(1), account(2), account(3)], None, "- - s2 . . .", id="lowest index"),
        pytest.param([account(3), account(1), account(2)], None, "- - s2 . . .", id="whatever the order of accounts"),
        pytest.param([account(1), account(2), account(3)], 3, "- - s3 . . .", id="last used"),
        pytest.param([account(1), account(2), account(3)], 2, "- - s2 . . .", id="last used is the lowest"),
        pytest.param([account(1), account(2), account(3)], 1, "- - s2 . . .", id="last used is not tagged"),
        pytest.param([account(1), account(2), account(3, "disabled")], 3, "- - s2 . . .", id="last used cannot send"),
        pytest.param([account(1), account(2, "disabled"), account(3)], None, "- - s3 . . .", id="lowest cannot send"),
        pytest.param([account(1), account(2, "disabled"), account(3)], 2, "- - s3 . . .", id="lowest and last cannot"),
        pytest.param(
            [account(1), account(2, "disabled", "disconnected"), account(3, "line_pending")],
            3,
            "- - u2 - s1 .",
            id="none can send: the lowest index is shown",
        ),
    ],
)
def test_several_tagged_accounts(accounts, last, steps, tags):
    decision = decide(facts(*accounts, tags=tags, last=last, default=1))
    assert outline(decision) == steps
    assert warned(decision)[0] == "tag_ambiguous"
    if "u2" in steps:
        assert decision.steps[2].blockers == ("disabled", "disconnected")


@pytest.mark.parametrize("blocker", BLOCKERS)
def test_a_tagged_account_that_cannot_send_gives_way_or_fails_by_policy(blocker):
    given = facts(account(1), account(2, blocker), account(4, user=ANNA), tags=(TAG_2,), user=ANNA, default=1)
    on = decide(given)
    assert (on.rule, outline(on), on.steps[2].blockers) == (Rule.ASSIGNED_USER, "- - u2 s4 . .", (blocker,))
    fails = decide(given, policy=Policy(unavailable_tag_account=OnUnavailable.FAIL))
    assert (fails.account, fails.code) == (None, Code.TAG_ACCOUNT_NOT_CONNECTED)
    assert (fails.rule, outline(fails), fails.steps[2].blockers) == (Rule.CONTACT_TAG, "- - u2 . . .", (blocker,))


@pytest.mark.parametrize("blocker", BLOCKERS)
def test_an_assigned_users_account_that_cannot_send_gives_way_or_fails_by_policy(blocker):
    given = facts(account(1), account(4, blocker, user=ANNA), user=ANNA, default=1)
    on = decide(given)
    assert (on.rule, outline(on), on.steps[3].blockers) == (Rule.DEFAULT_ACCOUNT, "- - - u4 s1 .", (blocker,))
    fails = decide(given, policy=Policy(unavailable_user_account=OnUnavailable.FAIL))
    assert (fails.account, fails.code) == (None, Code.USER_ACCOUNT_NOT_CONNECTED)
    assert (fails.rule, outline(fails)) == (Rule.ASSIGNED_USER, "- - - u4 . .")


def test_the_two_policies_are_independent():
    given = facts(account(1), account(2, "disabled"), account(4, "disabled", user=ANNA), tags=(TAG_2,), user=ANNA)
    by_tag = decide(given, policy=Policy(unavailable_tag_account=OnUnavailable.FAIL))
    by_user = decide(given, policy=Policy(unavailable_user_account=OnUnavailable.FAIL))
    assert (by_tag.code, outline(by_tag)) == (Code.TAG_ACCOUNT_NOT_CONNECTED, "- - u2 . . .")
    assert (by_user.code, outline(by_user)) == (Code.USER_ACCOUNT_NOT_CONNECTED, "- - u2 u4 . .")
    assert outline(decide(given)) == "- - u2 u4 - s1"


def test_policies_do_not_matter_while_accounts_can_send():
    assert decide(EVERYTHING, policy=FAIL) == decide(EVERYTHING)


@pytest.mark.parametrize(
    ("accounts", "last", "steps"),
    [
        ([account(5, user=ANNA), account(4, user=ANNA)], None, "- - - s4 . ."),
        ([account(4, user=ANNA), account(5, user=ANNA)], 5, "- - - s5 . ."),
        ([account(4, user=ANNA), account(5, "disconnected", user=ANNA)], 5, "- - - s4 . ."),
        ([account(4, "disconnected", user=ANNA), account(5, user=ANNA)], 4, "- - - s5 . ."),
        ([account(4, user=ANNA), account(6, user=BEN)], 6, "- - - s4 . ."),
        ([account(4, "disabled", user=ANNA), account(5, "disconnected", user=ANNA)], 5, "- - - u4 s1 ."),
    ],
)
def test_several_accounts_of_the_assigned_user(accounts, last, steps):
    assert outline(decide(facts(account(1), *accounts, user=ANNA, last=last, default=1))) == steps


@pytest.mark.parametrize("user", [None, BEN])
def test_without_a_user_with_an_account_here_the_rule_does_not_apply(user):
    decision = decide(facts(account(1), account(4, user=ANNA), user=user, default=1), policy=FAIL)
    assert outline(decision) == "- - - - s1 ."


@pytest.mark.parametrize("policy", [Policy(), FAIL])
@pytest.mark.parametrize("blocker", BLOCKERS)
def test_a_default_that_cannot_send_is_always_passed_over_with_a_warning(blocker, policy):
    decision = decide(facts(account(1, blocker), account(2), default=1), policy=policy)
    assert (decision.rule, outline(decision)) == (Rule.ANY_AVAILABLE, "- - - - u1 s2")
    assert (warned(decision), decision.steps[4].blockers) == (["default_skipped"], (blocker,))


def test_a_default_that_was_retired_does_not_apply():
    decision = decide(facts(account(2), default=1))
    assert (outline(decision), warned(decision)) == ("- - - - - s2", [])


@pytest.mark.parametrize(
    ("accounts", "last", "steps"),
    [
        ([account(3), account(2)], None, "- - - - - s2"),
        ([account(2), account(3)], 3, "- - - - - s3"),
        ([account(2), account(3, "disconnected")], 3, "- - - - - s2"),
        ([account(1, "disabled"), account(2), account(3)], None, "- - - - - s2"),
        ([account(2), account(3)], 7, "- - - - - s2"),
    ],
)
def test_any_available_takes_the_last_used_else_the_lowest(accounts, last, steps):
    assert outline(decide(facts(*accounts, last=last))) == steps


@pytest.mark.parametrize(
    ("given", "steps"),
    [
        (facts(), "- - - - - -"),
        (facts(default=1, last=1, user=ANNA), "- - - - - -"),
        (facts(account(1, "disabled"), account(2, "line_pending")), "- - - - - -"),
        (facts(account(1, "disabled"), default=1, last=1), "- - - - u1 -"),
        (facts(account(2, "disabled", user=ANNA), tags=(TAG_2,), user=ANNA, default=2), "- - u2 u2 u2 -"),
    ],
)
def test_nobody_can_send(given, steps):
    decision = decide(given)
    assert (decision.account, decision.rule, decision.code) == (None, None, Code.NO_CONNECTED_ACCOUNT)
    assert outline(decision) == steps


@pytest.mark.parametrize("override", [Override(), Override(manual=1), Override(temporary=2), Override(manual=9)])
def test_no_override_reaches_a_contact_that_opted_out(override):
    given = replace(EVERYTHING, opted_out=True)
    decision = select(given, override, policy=FAIL)
    assert (decision.account, decision.rule, decision.code) == (None, None, Code.CONTACT_OPTED_OUT)
    assert (outline(decision), decision.warnings) == (". . . . . .", ())
    assert select(given, override, policy=FAIL, exempt_from_opt_out=True) == select(EVERYTHING, override, policy=FAIL)


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        (facts(account(1), account(2), default=1), None),
        (facts(account(1), account(2), default=1, last=1), None),
        (facts(account(1), account(2), default=1, last=2), phone(2)),
        (facts(account(1), account(2, "disconnected"), last=2), phone(2)),
        (facts(account(1), default=1, last=7), phone(7)),
        # A retired account's number that came back with a new account: the contact sees no change.
        (facts(account(1), default=1, last=7, last_phone=phone(1)), None),
        (replace(facts(account(1), account(2), default=1, last=2), last_phone_number=None), phone(2)),
    ],
)
def test_a_switch_of_number_is_told(given, seen):
    decision = decide(given)
    assert decision.number_switch is (seen is not None)
    assert [warning.detail for warning in decision.warnings] == ([f"This contact last saw {seen}."] if seen else [])


def test_an_override_may_switch_the_number_too_but_a_failure_switches_nothing():
    given = facts(account(1), account(2), account(3, "disabled"), last=1)
    assert warned(decide(given, 2)) == ["number_switch"]
    assert warned(decide(given, 3)) == []


def test_a_foreign_account_is_as_an_absent_one():
    # Facts hold one location only; what another one has is named here by override, tag, user, default and last use.
    given = facts(account(1), tags=(TAG_2,), user=BEN, default=2, last=2)
    assert decide(given, 2).code is Code.OVERRIDE_ACCOUNT_NOT_FOUND
    assert outline(decide(given, policy=FAIL)) == "- - - - - s1"
