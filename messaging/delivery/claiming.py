"""Taking messages from the queue: fair to locations, at each line's pace, the first of each conversation only."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, zip_longest
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from messaging import threads
from messaging.delivery import circuit, lanes, pacing
from messaging.delivery.lanes import OpenLane
from messaging.delivery.quiet import put_off_if_quiet
from messaging.models import DispatchState, Lane, Message
from messaging.models.messages import NextPosition
from provisioning.duties import lock_some

Room = Callable[[UUID | None], int]
LANES_AT_LEAST = 16
"""Lanes that are looked at for one message, as some turn out to be empty, taken by another worker or used up."""


@dataclass
class Turn:
    """Where a worker's round of the accounts stands: it looks on from there, so that each gets its turn."""

    after: UUID = lanes.FIRST


def claim_due(*, limit: int, lease: timedelta, turn: Turn | None = None, room: Room | None = None) -> list[Message]:
    """Take up to `limit` due messages for this worker, for `lease` each; fewer or none when less is due.

    Only the earliest unfinished message of each conversation (account and contact) can be taken, and only while none of
    it is in flight; one whose outcome is uncertain holds its conversation back for the grace period. From each account
    only as many as its line's pace and budget allow, in turns between locations and accounts. `room`: how many more of
    a setup the caller takes; None: any number. Locks are held for this short transaction only, never while a provider
    is asked.
    """
    _queue_scheduled(limit)
    turn = turn or Turn()
    found = lanes.find(after=turn.after, limit=max(limit, LANES_AT_LEAST))
    turn.after = found.next_after
    room = room or (lambda _: limit)
    wanted = {lane.account_id: lane for lane in found.lanes if room(lane.setup_id) > 0}
    if not wanted:
        return []
    with transaction.atomic():
        _keep(wanted.values())
        open_at = _hold(wanted)
        quotas = {
            account: min(limit, pacing.tokens(wanted[account].pace, at, found.now)) for account, at in open_at.items()
        }
        heads = lanes.heads({account: quota for account, quota in quotas.items() if quota > 0}, now=found.now)
        taken = put_off_if_quiet(_lock(_share(heads, wanted, limit, room)))
        paces = {account: lane.pace for account, lane in wanted.items()}
        taken = pacing.within_budget(taken, paces, found.now)
        sent = Counter(message.sender.pk for message in taken)
        if taken:
            Message.objects.filter(pk__in=[message.pk for message in taken]).update(
                dispatch_state=DispatchState.CLAIMED, fence=F("fence") + 1, lease_until=Now() + lease
            )
            pacing.keep_open_times(
                {
                    account: pacing.open_after(paces[account], open_at[account], found.now, count)
                    for account, count in sent.items()
                }
            )
    for message in taken:
        message.fence += 1
    return taken


def _keep(found: Iterable[OpenLane]) -> None:
    """Rows for the lanes that have none yet."""
    new = [
        Lane(account_id=lane.account_id, location_id=lane.location_id, open_at=timezone.now() - timedelta(hours=1))
        for lane in found
        if not lane.kept
    ]
    if new:
        Lane.objects.bulk_create(new, ignore_conflicts=True)


def _hold(wanted: dict[UUID, OpenLane]) -> dict[UUID, datetime]:
    """Lock those lanes that nobody else has and that are still open: when each opened."""
    rows = Lane.objects.filter(pk__in=wanted, open_at__lte=Now()).order_by("pk")
    return {lane.pk: lane.open_at for lane in lock_some(rows, limit=len(wanted))}


def _share(heads: dict[UUID, list[UUID]], found: dict[UUID, OpenLane], limit: int, room: Room) -> list[UUID]:
    """At most `limit` of the messages: one of each location in turn, and within a location one of each account."""
    by_location: dict[UUID, list[list[UUID]]] = defaultdict(list)
    of_setup: dict[UUID, UUID | None] = {}
    probes: dict[UUID, bool] = {}
    for account, messages in heads.items():
        lane = found[account]
        if messages and lane.probing and lane.setup_id is not None:
            if probes.setdefault(lane.setup_id, False) or not circuit.take_probe(lane.setup_id):
                continue
            probes[lane.setup_id] = True
            messages = messages[:1]
        of_setup.update(dict.fromkeys(messages, lane.setup_id))
        by_location[lane.location_id].append(messages)
    chosen: list[UUID] = []
    per_setup: Counter[UUID | None] = Counter()
    for message in _in_turn([list(_in_turn(of_accounts)) for of_accounts in by_location.values()]):
        setup = of_setup[message]
        if per_setup[setup] < room(setup):
            per_setup[setup] += 1
            chosen.append(message)
        if len(chosen) == limit:
            break
    return chosen


def _in_turn(rows: Sequence[Sequence[UUID]]) -> Iterator[UUID]:
    """The first of each, then the second of each, and so on."""
    return (one for one in chain.from_iterable(zip_longest(*rows)) if one is not None)


def _lock(chosen: Sequence[UUID]) -> list[Message]:
    """The chosen messages that are still queued, with what their dispatch needs, in their order."""
    rows = (
        Message.objects.filter(pk__in=chosen, dispatch_state=DispatchState.QUEUED)
        .select_related("location", "contact", "account__phone_line__setup")
        .prefetch_related("attachments")
        # Large, and of no use to the dispatch.
        .defer("trace", "metadata")
    )
    order = {pk: place for place, pk in enumerate(chosen)}
    return sorted(lock_some(rows, limit=len(chosen)), key=lambda message: order[message.pk]) if chosen else []


def _queue_scheduled(limit: int) -> None:
    """Scheduled messages whose time has come join the queue, behind what was accepted before, in the order they fell
    due."""
    due = Message.objects.filter(
        dispatch_state=DispatchState.SCHEDULED, due_at__lte=Now(), expires_at__gt=Now()
    ).order_by("due_at", "position")
    if not due.exists():
        return
    with transaction.atomic():
        for message in lock_some(due, limit=limit):
            Message.objects.filter(pk=message.pk).update(dispatch_state=DispatchState.QUEUED, position=NextPosition())
            threads.note_message(message, at=timezone.now())
