"""What holds of every decision, whatever the facts."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from routing.number_tags import tag_numbers
from routing.overrides import Override
from routing.selection import Blocker, Facts, OnUnavailable, Policy, Rule, select
from tests.routing.selection_facts import ANNA, BEN, account, account_id, facts, phone

INDEXES = st.integers(1, 6)
MAYBE = st.none() | INDEXES
USERS = st.sampled_from([None, ANNA, BEN])
BLOCKED = st.lists(st.sampled_from(list(Blocker)), max_size=2, unique=True)
ACCOUNTS = st.lists(
    st.builds(lambda i, b, u: account(i, *b, user=u), INDEXES, BLOCKED, USERS), unique_by=lambda a: a.index
)
TAGS = st.lists(
    st.sampled_from(["vip", "im: desk", *(f"im: {phone(i)}" for i in range(1, 8))]), max_size=3, unique=True
)
OVERRIDES = st.builds(Override, st.none() | st.integers(0, 7), st.none() | st.integers(0, 7))
POLICIES = st.builds(Policy, st.sampled_from(OnUnavailable), st.sampled_from(OnUnavailable))


@st.composite
def all_facts(draw: st.DrawFn) -> Facts:
    """Facts that may hold anything, a default or last account that is gone included."""
    return facts(
        *draw(ACCOUNTS),
        tags=tuple(draw(TAGS)),
        user=draw(USERS),
        default=draw(MAYBE),
        last=draw(MAYBE),
        opted_out=draw(st.sampled_from([False, False, False, True])),
    )


def that_matter(given: Facts, override: Override) -> Facts:
    """The same facts with the fewest accounts a loader may bring."""
    accounts = given.accounts.values()
    able = [each.index for each in accounts if each.can_send]
    indexes = {override.manual, override.temporary, min(able, default=None)}
    ids = {given.default_account_id, given.last_account_id}
    numbers = tag_numbers(given.tags, region=given.region)
    kept = {
        each.id: each
        for each in accounts
        if each.index in indexes
        or each.id in ids
        or each.phone_number in numbers
        or (each.user_id is not None and each.user_id == given.assigned_user_id)
    }
    return replace(given, accounts=kept)


@given(all_facts(), OVERRIDES, POLICIES)
def test_a_decision_names_an_account_that_can_send_or_a_code(given, override, policy):
    decision = select(given, override, policy=policy)
    assert (decision.account is None) is (decision.code is not None)
    if decision.account:
        assert decision.account.can_send
        assert given.accounts[decision.account.id] == decision.account
        assert decision.sentence.startswith(f"Sent from {decision.account.phone_number} ")
    else:
        assert decision.sentence.startswith("Not sent: ")


@given(all_facts(), OVERRIDES, POLICIES)
def test_the_steps_tell_one_story(given, override, policy):
    decision = select(given, override, policy=policy)
    outcomes = [str(step.outcome) for step in decision.steps]
    assert [step.rule for step in decision.steps] == list(Rule)
    assert outcomes.count("selected") == (decision.account is not None)
    reached = [outcome for outcome in outcomes if outcome != "not_reached"]
    assert outcomes == reached + ["not_reached"] * (6 - len(reached))
    assert "selected" not in reached[:-1]
    if decision.rule:
        assert decision.rule == decision.steps[len(reached) - 1].rule
    for step in decision.steps:
        assert not step.blockers or step.outcome == "unavailable"


@given(all_facts(), OVERRIDES, POLICIES, st.randoms(use_true_random=False))
def test_the_same_facts_give_the_same_answer_in_any_order_of_accounts(given, override, policy, rng):
    shuffled = list(given.accounts.items())
    rng.shuffle(shuffled)
    again = replace(given, accounts=dict(shuffled))
    assert select(again, override, policy=policy).trace() == select(given, override, policy=policy).trace()


@given(all_facts(), OVERRIDES, POLICIES)
def test_accounts_that_do_not_matter_change_nothing(given, override, policy):
    few = select(that_matter(given, override), override, policy=policy)
    assert few.trace() == select(given, override, policy=policy).trace()


@given(all_facts(), OVERRIDES, POLICIES, BLOCKED)
def test_a_further_account_behind_one_that_can_send_changes_nothing(given, override, policy, blockers):
    newcomer = account(100, *blockers)
    if not blockers and not any(each.can_send for each in given.accounts.values()):
        return
    more = replace(given, accounts={**given.accounts, newcomer.id: newcomer})
    assert select(more, override, policy=policy).trace() == select(given, override, policy=policy).trace()


@given(all_facts(), OVERRIDES, POLICIES)
def test_an_override_is_obeyed_or_fails(given, override, policy):
    named = override.temporary if override.manual is None else override.manual
    decision = select(given, override, policy=policy)
    if named is None or decision.account is None:
        return
    assert decision.account.id == account_id(named)


@given(all_facts(), OVERRIDES, POLICIES)
def test_nothing_is_sent_to_who_opted_out(given, override, policy):
    decision = select(replace(given, opted_out=True), override, policy=policy)
    assert decision.account is None
    assert decision.code == "contact_opted_out"
