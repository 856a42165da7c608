"""Whether this process is up, and whether it can work; for load balancers and people, without a key."""

from datetime import timedelta
from typing import Any

import structlog
from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Min
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from messaging.models import DispatchState, Message

log = structlog.get_logger("hub.health")

_migrated = False


@never_cache
@require_safe
def live(request: HttpRequest) -> JsonResponse:
    """200: the process answers. Nothing else is looked at, so a database that is away restarts no process."""
    return JsonResponse({"status": "live"})


@never_cache
@require_safe
def ready(request: HttpRequest) -> JsonResponse:
    """200 with the state of each part when requests can be served, 503 when not.

    `queue.oldest_due_s` is how many seconds the message that waits longest is overdue, 0 when none is: it grows when
    no worker runs.
    """
    parts: dict[str, Any] = {"database": "unreachable", "migrations": "unknown", "queue": {"oldest_due_s": None}}
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        parts["database"] = "ok"
        parts["migrations"] = "ok" if is_migrated() else "pending"
        if parts["migrations"] == "ok":
            parts["queue"]["oldest_due_s"] = oldest_due().total_seconds()
    except (DatabaseError, InterfaceError) as error:
        log.warning("not ready", error=type(error).__name__)
    able = parts["database"] == parts["migrations"] == "ok" and parts["queue"]["oldest_due_s"] is not None
    return JsonResponse({"status": "ready" if able else "not ready", **parts}, status=200 if able else 503)


def is_migrated() -> bool:
    """Whether the database is as this version's migrations make it; looked up until it is so once."""
    global _migrated
    if not _migrated:
        executor = MigrationExecutor(connection)
        _migrated = not executor.migration_plan(executor.loader.graph.leaf_nodes())
    return _migrated


def oldest_due() -> timedelta:
    """How long the message that waits longest is overdue; zero when none is."""
    now = timezone.now()
    waiting = Message.objects.filter(
        dispatch_state__in=[DispatchState.QUEUED, DispatchState.SCHEDULED], due_at__lte=now
    )
    first = waiting.aggregate(first=Min("due_at"))["first"]
    return now - first if first else timedelta()
