"""How the admin says what a message is: its status, the rule that chose its number, the trace in words."""

from typing import Any

from messaging.models import MessageStatus
from routing.admin import BLOCKER_WORDS
from routing.admin_look import BAD, BUSY, GOOD, QUIET, WARN, badge
from routing.selection import Outcome, Rule

STATUS_TONES = {
    MessageStatus.SCHEDULED: BUSY,
    MessageStatus.QUEUED: BUSY,
    MessageStatus.SENDING: BUSY,
    MessageStatus.ACCEPTED: BUSY,
    MessageStatus.SENT: GOOD,
    MessageStatus.DELIVERED: GOOD,
    MessageStatus.READ: GOOD,
    MessageStatus.FAILED: BAD,
    MessageStatus.UNCERTAIN: WARN,
    MessageStatus.CANCELLED: QUIET,
    MessageStatus.EXPIRED: WARN,
    MessageStatus.RECEIVED: GOOD,
}
SHORT_RULES = {
    Rule.MANUAL_OVERRIDE: "override",
    Rule.TEMPORARY_OVERRIDE: "one-time override",
    Rule.CONTACT_TAG: "tag",
    Rule.ASSIGNED_USER: "assigned user",
    Rule.DEFAULT_ACCOUNT: "default",
    Rule.ANY_AVAILABLE: "any available",
}
RULE_WORDS = {
    Rule.MANUAL_OVERRIDE: "{IM#N} in the text, or an account in the request",
    Rule.TEMPORARY_OVERRIDE: "{TEMP-IM#N} in the text",
    Rule.CONTACT_TAG: "im: tag of the contact",
    Rule.ASSIGNED_USER: "account of the assigned user",
    Rule.DEFAULT_ACCOUNT: "default of the location",
    Rule.ANY_AVAILABLE: "any account that can send",
}
OUTCOME_WORDS = {
    Outcome.SELECTED: ("chosen", GOOD),
    Outcome.NOT_APPLICABLE: ("does not apply", QUIET),
    Outcome.UNAVAILABLE: ("cannot send", WARN),
    Outcome.NOT_REACHED: ("not reached", QUIET),
}


def told(step: dict[str, Any]) -> dict[str, Any]:
    """One line of a trace in words; rules and outcomes of another version stand as they are."""
    rule, outcome = step.get("rule", ""), step.get("outcome", "")
    words, tone = OUTCOME_WORDS.get(outcome, (outcome, QUIET))
    blockers = [BLOCKER_WORDS.get(blocker, blocker) for blocker in step.get("blockers", [])]
    return {
        "rule": RULE_WORDS.get(rule, rule),
        "badge": badge(words, tone),
        "account": step.get("account_index"),
        "blockers": ", ".join(blockers),
        "chosen": outcome == Outcome.SELECTED,
    }
