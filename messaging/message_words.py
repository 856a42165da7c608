"""How the admin says what a message is: its status, the rule that chose its number, the trace in words."""

from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString

from messaging.models import EventKind, Message, MessageStatus
from routing.admin import BLOCKER_WORDS
from routing.admin_look import BAD, BUSY, GOOD, QUIET, WARN, badge
from routing.models import Account
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

ATTEMPT_WORDS = {
    "": ("how it ended is not known", WARN),
    "accepted": ("accepted", GOOD),
    "rejected": ("rejected", BAD),
    "account_rejected": ("account refused", BAD),
    "not_sent": ("surely not sent", QUIET),
    "uncertain": ("no clear answer", WARN),
}
EVENT_TONES = {
    EventKind.ACCEPTED: BUSY,
    EventKind.SENT: GOOD,
    EventKind.DELIVERED: GOOD,
    EventKind.READ: GOOD,
    EventKind.FAILED: BAD,
    EventKind.REROUTED: WARN,
    EventKind.RECEIPT: QUIET,
}


def status_badge(message: Message) -> SafeString:
    """The status, and whether what the provider said contradicts itself."""
    status = MessageStatus(message.status)
    pill = badge(status.label, STATUS_TONES[status])
    return format_html("{} {}", pill, badge("contradicted", WARN)) if message.conflict else pill


def account_token(account: Account | None) -> SafeString | str:
    """The account as people type it in a text, with its label; the number in the tooltip."""
    if account is None:
        return "–"
    return format_html(
        '<span title="{} · {}"><span class="hub-token">{{IM#{}}}</span> <span class="msg-account">{}</span></span>',
        account.label,
        account.phone_number,
        account.index,
        account.label,
    )


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
