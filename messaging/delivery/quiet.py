"""Quiet hours at the last moment: what was claimed and may not leave now goes back to wait for the end of them."""

from collections.abc import Sequence
from uuid import UUID

from django.conf import settings
from django.db.models import Case, F, Q, Value, When
from django.utils import timezone

from messaging.models import DispatchState, Message
from messaging.scheduling import Due, due_of


def put_off_if_quiet(messages: Sequence[Message]) -> list[Message]:
    """Those of the claimed messages that may leave now, in their order.

    The others go back to the queue, due when the quiet hours of their location are over; where nobody can tell, in a
    while. Like `outbox.give_back`, this moves only what is still claimed under the caller's fence. `messages` come with
    their locations; one UPDATE, and none where nothing is quiet.
    """
    now = timezone.now()
    waits: dict[UUID, Due] = {}
    for message in messages:
        if message.location_id not in waits:
            waits[message.location_id] = due_of(message.location, now, now=now)
    quiet = {location_id: due for location_id, due in waits.items() if due.code}
    if not quiet:
        return list(messages)
    held = [message for message in messages if message.location_id in quiet and not message.exempt_from_opt_out]
    if held:
        _give_back(held, quiet)
    held_ids = {message.pk for message in held}
    return [message for message in messages if message.pk not in held_ids]


def _give_back(messages: Sequence[Message], quiet: dict[UUID, Due]) -> None:
    by_fence: dict[int, list[UUID]] = {}
    for message in messages:
        by_fence.setdefault(message.fence, []).append(message.pk)
    mine = Q()
    for fence, ids in by_fence.items():
        mine |= Q(fence=fence, pk__in=ids)

    def each(column: str) -> Case:
        return Case(*[When(location=pk, then=Value(getattr(due, column))) for pk, due in quiet.items()])

    over = [
        When(
            location=pk, expiry_given=False, expires_at__lte=due.at, then=Value(due.at + settings.HUB_MESSAGE_LIFETIME)
        )
        for pk, due in quiet.items()
    ]
    Message.objects.filter(mine, dispatch_state=DispatchState.CLAIMED).update(
        dispatch_state=DispatchState.QUEUED,
        lease_until=None,
        due_at=each("at"),
        code=each("code"),
        detail=each("detail"),
        expires_at=Case(*over, default=F("expires_at")),
    )
