"""Which account of a location sends one message to one contact: facts in, decision with its trace out."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from operator import attrgetter
from typing import Any, Final
from uuid import UUID

from routing.number_tags import is_number_tag, tag_phone
from routing.overrides import Override


class Blocker(StrEnum):
    """Why an account cannot send now."""

    DISABLED = "disabled"
    LINE_PENDING = "line_pending"
    LINE_RELEASED = "line_released"
    LINE_BLOCKED = "line_blocked"
    CREDENTIALS_REJECTED = "credentials_rejected"
    DISCONNECTED = "disconnected"


class Rule(StrEnum):
    """The six rules, strongest first."""

    MANUAL_OVERRIDE = "manual_override"
    TEMPORARY_OVERRIDE = "temporary_override"
    CONTACT_TAG = "contact_tag"
    ASSIGNED_USER = "assigned_user"
    DEFAULT_ACCOUNT = "default_account"
    ANY_AVAILABLE = "any_available"


class Code(StrEnum):
    """Why a decision failed."""

    OVERRIDE_ACCOUNT_NOT_FOUND = "override_account_not_found"
    OVERRIDE_ACCOUNT_NOT_CONNECTED = "override_account_not_connected"
    TAG_ACCOUNT_NOT_CONNECTED = "tag_account_not_connected"
    USER_ACCOUNT_NOT_CONNECTED = "user_account_not_connected"
    NO_CONNECTED_ACCOUNT = "no_connected_account"
    CONTACT_OPTED_OUT = "contact_opted_out"


class Outcome(StrEnum):
    """What a rule came to: `unavailable` means that it names an account which cannot send, or is not there."""

    SELECTED = "selected"
    NOT_APPLICABLE = "not_applicable"
    UNAVAILABLE = "unavailable"
    NOT_REACHED = "not_reached"


class OnUnavailable(StrEnum):
    """What a standing preference does when its account cannot send: leave it to the next rule, or fail."""

    NEXT = "next"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Policy:
    """A location's choice for its two standing preferences; overrides always fail, the default never does."""

    unavailable_tag_account: OnUnavailable = OnUnavailable.NEXT
    unavailable_user_account: OnUnavailable = OnUnavailable.NEXT


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """One account as it stands now. `phone_number` is E.164; `user_id` None: nobody's own."""

    id: UUID
    index: int
    label: str
    phone_number: str
    user_id: UUID | None
    blockers: tuple[Blocker, ...]

    @property
    def can_send(self) -> bool:
        """Whether nothing stands in its way."""
        return not self.blockers


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a decision depends on, of one contact in one location.

    `region` is the location's (ISO 3166); `tags` are raw names in a stable order. `assigned_user_id` is None also for a
    user who is inactive or no member of the location. `last_account_id` is the account this contact last saw; it may be
    retired and then is no candidate, but `last_phone_number` still is the number the contact knows. `accounts` holds no
    retired one, and at least: the ones an override could name, the tagged ones, the assigned user's, the default, the
    last used, and of those that can send the lowest index. More of them change nothing but the time a decision takes.
    """

    region: str
    opted_out: bool
    tags: tuple[str, ...]
    assigned_user_id: UUID | None
    default_account_id: UUID | None
    last_account_id: UUID | None
    last_phone_number: str | None
    accounts: Mapping[UUID, AccountFacts]


@dataclass(frozen=True, slots=True)
class Step:
    """One rule's line in the trace. `account_index` is None where the rule names no account."""

    rule: Rule
    outcome: Outcome
    account_index: int | None = None
    blockers: tuple[Blocker, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The step as the API shows it; `blockers` only, and always, where the outcome is `unavailable`."""
        shown: dict[str, Any] = {"rule": self.rule.value, "outcome": self.outcome.value}
        if self.account_index is not None:
            shown["account_index"] = self.account_index
        if self.outcome is Outcome.UNAVAILABLE:
            shown["blockers"] = [blocker.value for blocker in self.blockers]
        return shown


@dataclass(frozen=True, slots=True)
class RoutingWarning:
    """What a person should know though the decision stands: `tag_invalid`, `tag_unmatched`, `tag_ambiguous`,
    `default_skipped` or `number_switch`."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The account that sends, or the code that says why none does; exactly one of `account` and `code` is None.

    `rule` is the one that ended the search, also by failing; None if none did. `sentence` is for people.
    """

    account: AccountFacts | None
    rule: Rule | None
    code: Code | None
    steps: tuple[Step, ...]
    warnings: tuple[RoutingWarning, ...]
    sentence: str

    @property
    def number_switch(self) -> bool:
        """Whether the contact gets this message from another number than the last one."""
        return any(warning.code == "number_switch" for warning in self.warnings)

    def trace(self) -> dict[str, Any]:
        """The decision as plain JSON values: what is stored with the message and shown by the API."""
        account = self.account
        return {
            "decision": "selected" if account else "failed",
            "rule": self.rule.value if self.rule else None,
            "account": account
            and {
                "id": str(account.id),
                "index": account.index,
                "label": account.label,
                "phone_number": account.phone_number,
            },
            "sentence": self.sentence,
            "code": self.code.value if self.code else None,
            "steps": [step.as_json() for step in self.steps],
            "warnings": [{"code": warning.code, "detail": warning.detail} for warning in self.warnings],
        }


def select(facts: Facts, override: Override, *, policy: Policy, exempt_from_opt_out: bool = False) -> Decision:
    """The account for one message by the six rules, the first that resolves; the trace tells every step.

    Pure: no query, no clock, no chance. Never raises; a failed decision carries its code. `exempt_from_opt_out` is for
    the message that confirms an opt-out, and for nothing else.
    """
    if facts.opted_out and not exempt_from_opt_out:
        return Steps().decision(facts, closed=Code.CONTACT_OPTED_OUT)
    steps = Steps()
    for rule, evaluate in RULES:
        verdict = evaluate(facts, override, policy)
        steps.add(rule, verdict)
        if verdict.ends:
            break
    return steps.decision(facts)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one rule says. `why` completes "because …" for a choice; for a failure it is the whole sentence."""

    outcome: Outcome = Outcome.NOT_APPLICABLE
    account: AccountFacts | None = None
    account_index: int | None = None
    code: Code | None = None
    why: str = ""
    warnings: tuple[RoutingWarning, ...] = ()

    @property
    def ends(self) -> bool:
        """Whether no further rule is asked."""
        return self.outcome is Outcome.SELECTED or self.code is not None


class Steps:
    """Collects what the rules say and makes the decision of it."""

    def __init__(self) -> None:
        self._verdicts: dict[Rule, Verdict] = {}

    def add(self, rule: Rule, verdict: Verdict) -> None:
        """The next rule's word."""
        self._verdicts[rule] = verdict

    def decision(self, facts: Facts, *, closed: Code | None = None) -> Decision:
        """The decision; rules that did not speak count as not reached. `closed`: none of them was asked, and why."""
        ending = next(((rule, verdict) for rule, verdict in self._verdicts.items() if verdict.ends), None)
        rule, last = ending or (None, Verdict(code=closed or Code.NO_CONNECTED_ACCOUNT))
        chosen = last.account if last.outcome is Outcome.SELECTED else None
        warnings = [warning for verdict in self._verdicts.values() for warning in verdict.warnings]
        if chosen:
            warnings += _number_switch(facts, chosen)
        return Decision(
            account=chosen,
            rule=rule,
            code=last.code,
            steps=tuple(self._step(each) for each in Rule),
            warnings=tuple(warnings),
            sentence=self._sentence(chosen, last),
        )

    def _step(self, rule: Rule) -> Step:
        verdict = self._verdicts.get(rule)
        if verdict is None:
            return Step(rule, Outcome.NOT_REACHED)
        blockers = verdict.account.blockers if verdict.account else ()
        return Step(rule, verdict.outcome, verdict.account_index, blockers)

    def _sentence(self, chosen: AccountFacts | None, last: Verdict) -> str:
        passed_over = "".join(
            f"; {verdict.why}" for verdict in self._verdicts.values() if verdict.outcome is Outcome.UNAVAILABLE
        )
        if chosen:
            return f"Sent from {chosen.phone_number} (account {chosen.index}) because {last.why}{passed_over}."
        if last.why:
            return last.why
        if last.code is Code.CONTACT_OPTED_OUT:
            return "Not sent: the contact opted out; it can be written to again once it has opted in."
        return f"Not sent: no account of this location can send{passed_over}; connect one and send again."


def _manual_override(facts: Facts, override: Override, _: Policy) -> Verdict:
    return _explicit(facts, override.manual, "this message asks for account {}")


def _temporary_override(facts: Facts, override: Override, _: Policy) -> Verdict:
    return _explicit(facts, override.temporary, "this message asks for account {}, for this once")


def _explicit(facts: Facts, index: int | None, chosen_because: str) -> Verdict:
    """The word about this very message: the account it names, or failure."""
    if index is None:
        return Verdict()
    account = next((account for account in facts.accounts.values() if account.index == index), None)
    if account is None:
        why = f"Not sent: this message asks for account {index}, which this location does not have; name another."
        return Verdict(Outcome.UNAVAILABLE, None, index, Code.OVERRIDE_ACCOUNT_NOT_FOUND, why)
    if account.can_send:
        return _selected(account, chosen_because.format(index))
    why = f"Not sent: this message asks for account {index}, which {_reasons(account)}; restore it or name another."
    return _unavailable(account, why, Code.OVERRIDE_ACCOUNT_NOT_CONNECTED)


def _contact_tag(facts: Facts, _: Override, policy: Policy) -> Verdict:
    """The accounts whose numbers the contact's `im:` tags name.

    Where several are named and none can send, the step shows the one with the lowest index.
    """
    named: dict[str, list[AccountFacts]] = {}
    warnings = []
    for tag in facts.tags:
        if not is_number_tag(tag):
            continue
        number = tag_phone(tag, region=facts.region)
        if number is None:
            warnings.append(RoutingWarning("tag_invalid", f'The tag "{tag.strip()}" holds no phone number.'))
        elif number not in named:
            named[number] = [account for account in facts.accounts.values() if account.phone_number == number]
            if not named[number]:
                warnings.append(RoutingWarning("tag_unmatched", f"No account of this location has {number}."))
    tagged = [account for accounts in named.values() for account in accounts]
    if len({account.phone_number for account in tagged}) > 1:
        indexes = ", ".join(str(index) for index in sorted(account.index for account in tagged))
        warnings.append(RoutingWarning("tag_ambiguous", f"The contact's tags name several accounts: {indexes}."))
    return _standing(
        facts,
        tagged,
        why="the contact is tagged im: {0.phone_number}",
        missed="the contact is tagged im: {0.phone_number}, but account {0.index}",
        code=Code.TAG_ACCOUNT_NOT_CONNECTED if policy.unavailable_tag_account == OnUnavailable.FAIL else None,
        remedy="restore the account or change the tag",
        warnings=tuple(warnings),
    )


def _assigned_user(facts: Facts, _: Override, policy: Policy) -> Verdict:
    """The accounts of the contact's assigned user; where none can send, the step shows the lowest index."""
    user = facts.assigned_user_id
    own = [account for account in facts.accounts.values() if user is not None and account.user_id == user]
    return _standing(
        facts,
        own,
        why="it is an account of the contact's assigned user",
        missed="account {0.index} of the contact's assigned user",
        code=Code.USER_ACCOUNT_NOT_CONNECTED if policy.unavailable_user_account == OnUnavailable.FAIL else None,
        remedy="restore the account or assign the contact to somebody else",
    )


def _standing(
    facts: Facts,
    candidates: Sequence[AccountFacts],
    *,
    why: str,
    missed: str,
    code: Code | None,
    remedy: str,
    warnings: tuple[RoutingWarning, ...] = (),
) -> Verdict:
    """A preference that outlives the message; with a `code` it fails where none of its accounts can send."""
    if not candidates:
        return Verdict(warnings=warnings)
    if account := _preferred(facts, candidates):
        return _selected(account, why.format(account), warnings)
    first = min(candidates, key=attrgetter("index"))
    reason = f"{missed.format(first)} {_reasons(first)}"
    return _unavailable(first, f"Not sent: {reason}; {remedy}." if code else reason, code, warnings)


def _default_account(facts: Facts, _: Override, __: Policy) -> Verdict:
    account = facts.accounts.get(facts.default_account_id) if facts.default_account_id else None
    if account is None:
        return Verdict()
    if account.can_send:
        return _selected(account, "it is the location's default account")
    reason = f"the default, account {account.index}, {_reasons(account)}"
    return _unavailable(account, reason, warnings=(RoutingWarning("default_skipped", f"{reason.capitalize()}."),))


def _any_available(facts: Facts, _: Override, __: Policy) -> Verdict:
    account = _preferred(facts, facts.accounts.values())
    if account is None:
        return Verdict()
    used = account.id == facts.last_account_id
    reason = "this contact was last in touch with it" if used else "it is the first account that can send"
    return _selected(account, f"no other rule chose and {reason}")


RULES: Final[tuple[tuple[Rule, Callable[[Facts, Override, Policy], Verdict]], ...]] = (
    (Rule.MANUAL_OVERRIDE, _manual_override),
    (Rule.TEMPORARY_OVERRIDE, _temporary_override),
    (Rule.CONTACT_TAG, _contact_tag),
    (Rule.ASSIGNED_USER, _assigned_user),
    (Rule.DEFAULT_ACCOUNT, _default_account),
    (Rule.ANY_AVAILABLE, _any_available),
)

_IN_WORDS: Final = {
    Blocker.DISABLED: "is switched off",
    Blocker.LINE_PENDING: "has a line that is still pending",
    Blocker.LINE_RELEASED: "has a line that was released",
    Blocker.LINE_BLOCKED: "has a blocked line",
    Blocker.CREDENTIALS_REJECTED: "has credentials the provider rejects",
    Blocker.DISCONNECTED: "is not connected",
}


def _preferred(facts: Facts, candidates: Iterable[AccountFacts]) -> AccountFacts | None:
    """Of those that can send: the last one used with this contact, else the lowest index; None if none can."""
    able = [account for account in candidates if account.can_send]
    return min(able, key=lambda account: (account.id != facts.last_account_id, account.index), default=None)


def _selected(account: AccountFacts, why: str, warnings: tuple[RoutingWarning, ...] = ()) -> Verdict:
    return Verdict(Outcome.SELECTED, account, account.index, None, why, warnings)


def _unavailable(
    account: AccountFacts, why: str, code: Code | None = None, warnings: tuple[RoutingWarning, ...] = ()
) -> Verdict:
    return Verdict(Outcome.UNAVAILABLE, account, account.index, code, why, warnings)


def _number_switch(facts: Facts, chosen: AccountFacts) -> list[RoutingWarning]:
    last = facts.accounts.get(facts.last_account_id) if facts.last_account_id else None
    seen = facts.last_phone_number or (last.phone_number if last else None)
    if not seen or seen == chosen.phone_number:
        return []
    return [RoutingWarning("number_switch", f"This contact last saw {seen}.")]


def _reasons(account: AccountFacts) -> str:
    return " and ".join(_IN_WORDS[blocker] for blocker in account.blockers)
