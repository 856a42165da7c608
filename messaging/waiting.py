"""Until when a message waits, as things stand now, and why: the one answer that the API and the admin show."""

from datetime import datetime

from django.utils import timezone

from messaging.delivery.pacing import BUDGET_CODE
from messaging.models import Direction, DispatchState, Message
from messaging.scheduling import QUIET, UNCLEAR
from routing.models import Account

WAITING = (DispatchState.QUEUED, DispatchState.SCHEDULED)


def scheduled_for(message: Message, *, now: datetime | None = None) -> datetime | None:
    """The earliest moment at which the message can leave; None when it may leave now, has left, or never will.

    What stands before it on its line may make it later. How far the line is with its pace counts where the account was
    read with its lane (`account__lane`).
    """
    if message.direction != Direction.OUTBOUND or message.dispatch_state not in WAITING or message.due_at is None:
        return None
    account = message.account
    lane = getattr(account, "lane", None) if account and Account.lane.is_cached(account) else None
    moment: datetime = max(message.due_at, lane.open_at) if lane else message.due_at
    return moment if moment > (now or timezone.now()) else None


def why_waiting(message: Message) -> str:
    """Why a message for which `scheduled_for` gives a moment waits until then, in a few words before that moment."""
    scheduled = message.dispatch_state == DispatchState.SCHEDULED
    if message.code == QUIET:
        return "Scheduled; quiet hours until" if scheduled else "Quiet hours: waits until"
    if message.code == UNCLEAR:
        return "Quiet hours cannot be read; looked at again"
    if scheduled:
        return "Scheduled for"
    if message.code == BUDGET_CODE:
        return "New contacts of its line are used up: waits until"
    return "Tried again" if message.attempt_count or message.code else "Waits until"
