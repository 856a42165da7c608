"""One claimed message on its way: intent, provider call, outcome."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from django.conf import settings

from messaging.delivery import outbox
from messaging.delivery.outbox import Begun
from messaging.delivery.rerouting import decide_anew
from messaging.models import DispatchState, Message
from provisioning import services as provisioning
from provisioning.models import Setup
from provisioning.providers import get_adapter
from provisioning.providers.base import (
    AccountRejected,
    Adapter,
    Capability,
    Credentials,
    Outgoing,
    ProviderError,
    Rejected,
    Unavailable,
    Uncertain,
)
from routing.models import Account, Contact
from routing.overrides import holds_override
from routing.selection import Code

log = structlog.get_logger("hub.delivery")

SETTLING_S = 5.0
"""What is left of the lease, at the least, when a provider call is over."""


def deliver(message: Message) -> str:
    """Take one claimed message as far as it goes now; a word for the log on how it ended.

    No transaction is open while the provider is asked. Whatever is raised from here left the row to its lease: the
    sweep finds it.
    """
    if not message.literal and holds_override(message.text):
        outbox.refuse(
            message, code="override_leak", detail="The text still holds an account override; it was not sent."
        )
        return "refused"
    scheduled = message.scheduled_at is not None and message.attempt_count == 0
    if scheduled and not decide_anew(message):
        return "decided anew"
    # Everything that is read is read before the intent: what fails here has not left.
    setup = message.sender.phone_line.setup
    attachment = message.attachments.order_by("order").first()
    try:
        credentials = provisioning.credentials_of(setup)
    except Unavailable as error:
        wait = outbox.backoff(message.attempt_count + 3)
        outbox.give_back(message, due_in=wait, code=error.code[:64], detail=error.detail)
        return "not sent"
    # Before the intent is written, so that a slow database only ever makes the deadline come earlier.
    started = now_s()
    begun = outbox.begin(message, lease=settings.HUB_LEASE)
    if begun is None:
        return _not_begun(message)
    latest_start = started + (settings.HUB_LEASE - settings.HUB_CALL_DEADLINE).total_seconds() - SETTLING_S
    call = _Call(setup, credentials, attachment.url if attachment else None, lambda: _still_ours(latest_start))
    return _call(message, begun, call)


@dataclass(frozen=True)
class _Call:
    setup: Setup
    credentials: Credentials
    media_url: str | None
    before_first_byte: Callable[[], None]


def now_s() -> float:
    """Seconds on a clock that goes on while the machine sleeps, where there is one."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


def _still_ours(latest_start: float) -> None:
    """The last look before the first byte: a worker that was held up past its lease sends nothing."""
    if now_s() > latest_start:
        raise Unavailable("lease_over", "The worker was held up; the message goes back to the queue.")


def _call(message: Message, begun: Begun, call: _Call) -> str:
    try:
        adapter = get_adapter(call.setup.provider)
        accepted = adapter.send(
            call.credentials, _outgoing(message, begun, call, adapter), before_first_byte=call.before_first_byte
        )
    except AccountRejected as error:
        if outbox.settle_account_rejected(message, begun, error):
            _stop_account(message, call.setup, error)
            return "account rejected"
        return "rejected"
    except Rejected as error:
        outbox.settle_rejected(message, begun, error)
        return "rejected"
    except Unavailable as error:
        outbox.settle_not_sent(message, begun, error)
        return "not sent"
    except Uncertain as error:
        outbox.settle_uncertain(message, begun, error)
        return "uncertain"
    except Exception as error:
        # Whatever went wrong in the call, the message may have left.
        log.exception("send failed", message=str(message.pk))
        outbox.settle_uncertain(message, begun, ProviderError("internal_error", type(error).__name__))
        return "uncertain"
    outbox.settle_accepted(message, begun, accepted)
    return "accepted"


def _outgoing(message: Message, begun: Begun, call: _Call, adapter: Adapter) -> Outgoing:
    callback = None
    if adapter.capabilities & Capability.CALLBACK_URL:
        callback = f"{provisioning.webhook_url(call.setup)}{begun.token}/"
    return Outgoing(
        to=message.contact_number,
        from_number=message.sender.phone_number,
        text=message.text,
        idempotency_key=str(message.pk),
        media_url=call.media_url,
        send_style=message.send_style or None,
        callback_url=callback,
    )


def _stop_account(message: Message, setup: Setup, error: AccountRejected) -> None:
    log.warning("account stopped", account=str(message.account_id), setup=str(setup.pk), code=error.code)
    if error.line_blocked:
        provisioning.note_line_blocked(account=message.sender)
    else:
        provisioning.note_credentials_rejected(setup=setup, payment_required=error.payment_required)


def _not_begun(message: Message) -> str:
    """Why `begin` said no, and what follows."""
    fresh = Message.objects.filter(pk=message.pk, fence=message.fence, dispatch_state=DispatchState.CLAIMED).first()
    if fresh is None:
        return "taken back"
    opted_out = Contact.objects.filter(pk=message.contact_id, opted_out_at__isnull=False).exists()
    if opted_out and not message.exempt_from_opt_out:
        outbox.refuse(
            message,
            code=Code.CONTACT_OPTED_OUT.value,
            detail="The contact opted out before the message left.",
        )
        return "refused"
    if not Account.objects.sendable().filter(pk=message.sender.pk).exists():
        # True here: the account came back between the two looks; the queue has it again at once.
        if decide_anew(message):
            outbox.give_back(message)
        return "decided anew"
    # The lease or the message's life is over; the sweep has it next.
    outbox.give_back(message)
    return "given back"
