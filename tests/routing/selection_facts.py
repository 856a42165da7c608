"""Facts for the tests of selection, made in one line each."""

import uuid

from routing.overrides import Override
from routing.selection import AccountFacts, Blocker, Decision, Facts, OnUnavailable, Policy, select

ANNA, BEN = uuid.UUID(int=1001), uuid.UUID(int=1002)
FAIL = Policy(unavailable_tag_account=OnUnavailable.FAIL, unavailable_user_account=OnUnavailable.FAIL)


def account_id(index: int) -> uuid.UUID:
    """The id of account `index` in these tests."""
    return uuid.UUID(int=index)


def phone(index: int) -> str:
    """The number of account `index` in these tests."""
    return f"+1415555{index:04}"


def account(index: int, *blockers: str, user: uuid.UUID | None = None) -> AccountFacts:
    """Account `index`; it can send if there are no blockers."""
    return AccountFacts(
        id=account_id(index),
        index=index,
        label=f"Desk {index}",
        phone_number=phone(index),
        user_id=user,
        blockers=tuple(Blocker(blocker) for blocker in blockers),
    )


def facts(
    *accounts: AccountFacts,
    tags: tuple[str, ...] = (),
    user: uuid.UUID | None = None,
    default: int | None = None,
    last: int | None = None,
    last_phone: str | None = None,
    opted_out: bool = False,
) -> Facts:
    """A contact of a location with these accounts; `default` and `last` are indexes."""
    return Facts(
        region="US",
        opted_out=opted_out,
        tags=tags,
        assigned_user_id=user,
        default_account_id=account_id(default) if default else None,
        last_account_id=account_id(last) if last else None,
        last_phone_number=last_phone or (phone(last) if last else None),
        accounts={each.id: each for each in accounts},
    )


def decide(
    facts: Facts, manual: int | None = None, temporary: int | None = None, policy: Policy | None = None
) -> Decision:
    """The decision for a message with these overrides."""
    return select(facts, Override(manual=manual, temporary=temporary), policy=policy or Policy())


def outline(decision: Decision) -> str:
    """The steps in short: one letter each, with the account's index: `- - s2 . . .`; `u` is unavailable."""
    letters = {"selected": "s", "not_applicable": "-", "unavailable": "u", "not_reached": "."}
    return " ".join(
        f"{letters[step.outcome]}{'' if step.account_index is None else step.account_index}" for step in decision.steps
    )


def warned(decision: Decision) -> list[str]:
    """The codes of the warnings."""
    return [warning.code for warning in decision.warnings]
