"""Quiet hours at the last moment: what is being claimed and may not leave now goes back to wait for the end of them."""

from collections.abc import Sequence
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Case, F, Q, Value, When
from django.utils import timezone

from messaging.models import DispatchState, Message, MessageStatus
from messaging.scheduling import Due, due_of
from provisioning.duties import lock_some

PUT_OFF_AT_ONCE = 1000
"""Due messages of quiet locations that are put off together with those that somebody was about to send."""


def put_off_if_quiet(messages: Sequence[Message]) -> list[Message]:
    """Those of the messages that may leave now, in their order: claimed ones, or queued ones whose rows are locked.

    The others are due when the quiet hours of their location are over; where nobody can tell, in a while. So is what
    else is due in those locations, up to a number. Like `outbox.give_back`, this moves only what is as the caller saw
    it: a row that was claimed anew since is another's. `messages` come with their locations; a SELECT and an UPDATE,
    and none where nothing is quiet.
    """
    now = timezone.now()
    waits: dict[UUID, Due] = {}
    for message in messages:
        if message.location_id not in waits:
            waits[message.location_id] = due_of(message.location, now, now=now)
    quiet = {location_id: due for location_id, due in waits.items() if due.code}
    held = {m.pk: m for m in messages if m.location_id in quiet and not m.exempt_from_opt_out}
    if held:
        with transaction.atomic():
            others = Message.objects.filter(
                location__in=quiet,
                status=MessageStatus.QUEUED,
                dispatch_state=DispatchState.QUEUED,
                due_at__lte=now,
                exempt_from_opt_out=False,
            ).exclude(pk__in=held)
            _put_off([*held.values(), *lock_some(others.only("fence"), limit=PUT_OFF_AT_ONCE)], quiet)
    return [message for message in messages if message.pk not in held]


def _put_off(messages: Sequence[Message], quiet: dict[UUID, Due]) -> None:
    by_fence: dict[int, list[UUID]] = {}
    for message in messages:
        by_fence.setdefault(message.fence, []).append(message.pk)
    unchanged = Q()
    for fence, ids in by_fence.items():
        unchanged |= Q(fence=fence, pk__in=ids)

    def each(column: str) -> Case:
        return Case(*[When(location=pk, then=Value(getattr(due, column))) for pk, due in quiet.items()])

    over = [
        When(
            location=pk, expiry_given=False, expires_at__lte=due.at, then=Value(due.at + settings.HUB_MESSAGE_LIFETIME)
        )
        for pk, due in quiet.items()
    ]
    Message.objects.filter(unchanged, dispatch_state__in=[DispatchState.CLAIMED, DispatchState.QUEUED]).update(
        dispatch_state=DispatchState.QUEUED,
        lease_until=None,
        due_at=each("at"),
        code=each("code"),
        detail=each("detail"),
        expires_at=Case(*over, default=F("expires_at")),
    )
