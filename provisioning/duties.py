"""Work that waits in a row: what is due, who has taken it, and until when.

A row with `due_at` in the past wants a worker. A worker takes it under a lease by the database's clock and raises the
fence; whoever comes back later with an older fence changes nothing. A worker that dies leaves a lease that runs out.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, TypeVar

from django.db import models, transaction
from django.db.models import F, Q
from django.db.models.functions import Now

Model = TypeVar("Model", bound=models.Model)
Row = TypeVar("Row", bound="Duty")


class Duty(models.Model):
    """The columns of a row that may want a worker. `due_at` None: nothing to do."""

    due_at = models.DateTimeField(null=True, blank=True, editable=False)
    lease_until = models.DateTimeField(null=True, blank=True, editable=False)
    fence = models.PositiveBigIntegerField(default=0, editable=False)
    attempts = models.PositiveIntegerField(default=0, editable=False)

    class Meta:
        abstract = True


def claim_due(rows: "models.QuerySet[Row]", *, limit: int, lease: timedelta) -> Sequence[Row]:
    """Take up to `limit` of the due `rows` for `lease` each; fewer or none when less is due; the longest waiting
    first.

    The row locks are held for this short transaction only. The returned objects carry the fence to finish with.
    """
    free = Q(lease_until=None) | Q(lease_until__lte=Now())
    due = rows.filter(free, due_at__lte=Now()).order_by("due_at")
    # Idle workers look without a transaction: on SQLite each one waits for the only writer.
    if not due.exists():
        return []
    with transaction.atomic():
        taken = lock_some(due, limit=limit)
        if taken:
            rows.model._default_manager.filter(pk__in=[row.pk for row in taken]).update(
                lease_until=Now() + lease, fence=F("fence") + 1, attempts=F("attempts") + 1
            )
    for row in taken:
        row.fence += 1
        row.attempts += 1
    return taken


def lock_some(rows: "models.QuerySet[Model]", *, limit: int) -> list[Model]:
    """The first of `rows` that nobody has locked, at most `limit`, locked for the rest of the transaction."""
    # Not the lock of a key's change, which would pass over every row that something is just being added to.
    return list(rows.select_for_update(skip_locked=True, no_key=True, of=("self",))[:limit])


def finish(row: Duty, *, due_in: timedelta | None, **changes: Any) -> bool:
    """Give the row back: due again after `due_in`, or never when None, with `changes` written in the same statement.

    False, and nothing written, when another worker has taken the row since.
    """
    due_at = None if due_in is None else Now() + due_in
    if due_in is None:
        changes.setdefault("attempts", 0)
    return bool(
        type(row)._default_manager.filter(pk=row.pk, fence=row.fence).update(due_at=due_at, lease_until=None, **changes)
    )


def take(rows: "models.QuerySet[Row]", *, lease: timedelta, **changes: Any) -> int:
    """Take `rows` at once for `lease`, whoever holds them, with `changes` in the same statement; returns how many.

    For a caller that begins the work itself: when it dies, a worker goes on once the lease is over. The caller has to
    read the row again for its new fence. `rows` may carry the condition under which they may be taken.
    """
    return rows.update(due_at=Now(), lease_until=Now() + lease, fence=F("fence") + 1, attempts=1, **changes)


def wake(rows: "models.QuerySet[Row]", *, after: timedelta) -> int:
    """Make `rows` due in `after` at the latest; a worker that has one now does not undo it when it finishes."""
    at = Now() + after
    later = rows.filter(Q(due_at=None) | Q(due_at__gt=at)).update(due_at=at, fence=F("fence") + 1)
    # Due sooner already: only its worker, if it has one, must not say that nothing is left to do.
    return later + rows.filter(due_at__lt=at, lease_until__gt=Now()).update(fence=F("fence") + 1)
