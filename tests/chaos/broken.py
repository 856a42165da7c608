"""`python -m tests.chaos.broken NAME deliver …`: the worker with one promise broken on purpose.

So it is seen that the fault run is not blind. Nothing of this is in the product.
"""

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any


def sweep_requeues() -> None:
    """What a dead worker was sending goes back to the queue."""
    from django.db.models import F
    from django.db.models.functions import Now

    from messaging.delivery import outbox
    from messaging.models import DispatchState, Message

    proper = outbox.sweep

    def sweep() -> dict[str, int]:
        Message.objects.filter(dispatch_state=DispatchState.SENDING, lease_until__lte=Now()).update(
            dispatch_state=DispatchState.QUEUED, due_at=Now(), lease_until=None, fence=F("fence") + 1
        )
        return proper()

    outbox.sweep = sweep


def no_fence() -> None:
    """A worker settles what another holds by now."""
    from messaging.delivery import outbox
    from messaging.models import Message

    def mine(message: Any, state: str) -> Any:
        return Message.objects.filter(pk=message.pk, dispatch_state=state)

    outbox._mine = mine


def any_order() -> None:
    """Any message of a conversation may leave, whatever came before it."""
    from messaging.delivery import lanes

    lanes._HEADS = """
        SELECT m.id AS id, m.priority AS priority, m.due_at AS due_at, m.position AS position
        FROM messaging_message m
        WHERE m.dispatch_state = 'queued' AND m.account_id = {account} AND m.priority = {priority}
          AND m.due_at <= {now} AND m.expires_at > {now}
        ORDER BY m.due_at, m.position LIMIT {quota}
    """


def uncertain_is_not_sent() -> None:
    """A lost answer counts as a refusal: it is tried again."""
    from messaging.delivery import outbox

    def settle_uncertain(message: Any, begun: Any, error: Any) -> None:
        outbox.settle_not_sent(message, begun, error)

    outbox.settle_uncertain = settle_uncertain


BROKEN: Mapping[str, Callable[[], None]] = {
    "sweep-requeues": sweep_requeues,
    "no-fence": no_fence,
    "any-order": any_order,
    "uncertain-is-not-sent": uncertain_is_not_sent,
}


def main() -> None:
    """Run a command of `manage.py` so."""
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "imessage_hub.settings")
    django.setup()
    BROKEN[sys.argv[1]]()
    from django.core.management import execute_from_command_line

    execute_from_command_line(["manage.py", *sys.argv[2:]])


if __name__ == "__main__":
    main()
