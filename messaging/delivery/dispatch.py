"""Claimed messages on their way: intent, provider call, outcome.

Three steps, so that a worker may do the first and the last for many messages at once and the middle one, which touches
no database, in a thread for each: `prepare`, `call`, `settle`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

import structlog
from django.conf import settings

from messaging.delivery import circuit, outbox, pacing
from messaging.delivery.outbox import Begun
from messaging.delivery.rerouting import decide_anew
from messaging.models import DispatchState, Message
from provisioning import services as provisioning
from provisioning.models import Setup
from provisioning.providers import get_adapter
from provisioning.providers.base import (
    Accepted,
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
from provisioning.providers.connections import now
from routing.models import Account, Contact
from routing.overrides import holds_override
from routing.selection import Code

log = structlog.get_logger("hub.delivery")
Result = TypeVar("Result")

SETTLING_S = 5.0
"""What is left of the lease, at the least, when a provider call is over."""


class NotLeft(Unavailable):
    """We stopped it ourselves before its first byte: that says nothing of the provider."""


@dataclass(frozen=True)
class Departure:
    """A message whose intent is recorded, with all that the call needs."""

    message: Message
    begun: Begun
    setup: Setup
    credentials: Credentials = field(repr=False)
    media_url: str | None
    before_first_byte: Callable[[], None]


@dataclass(frozen=True)
class Outcome:
    """How a call ended: by the provider's acceptance, or by an error that says what may have happened."""

    departure: Departure
    result: Accepted | ProviderError


def deliver(message: Message) -> str:
    """Take one claimed message as far as it goes now; a word for the log on how it ended.

    No transaction is open while the provider is asked. Whatever is raised from here left the row to its lease: the
    sweep finds it.
    """
    departures = prepare([message])
    if isinstance(word := departures[0], str):
        return word
    return settle([call(word)])[0]


def needs_decision(message: Message) -> bool:
    """Whether it is decided anew before it leaves: a scheduled one, when it is due."""
    return message.scheduled_at is not None and message.attempt_count == 0


def prepare(messages: Sequence[Message]) -> list[Departure | str]:
    """Record the intent to send the claimed messages, in one commit: for each, in order, its departure, or a word for
    the log on what became of it instead."""
    words: dict[UUID, str] = {}
    ready: dict[UUID, tuple[Setup, Credentials]] = {}
    for message in messages:
        # Everything that is read is read before the intent: what fails here has not left.
        got = _caught(message, _ready)
        if isinstance(got, str):
            words[message.pk] = got
        else:
            ready[message.pk] = got
    # Before the intent is written, so that a slow database only ever makes the deadline come earlier.
    latest_start = now() + (settings.HUB_LEASE - settings.HUB_CALL_DEADLINE).total_seconds() - SETTLING_S
    begun = outbox.begin([message for message in messages if message.pk in ready], lease=settings.HUB_LEASE)
    departures: list[Departure | str] = []
    for message in messages:
        if message.pk in begun:
            media = next((one.url for one in sorted(message.attachments.all(), key=lambda one: one.order)), None)
            setup, credentials = ready[message.pk]
            departures.append(
                Departure(message, begun[message.pk], setup, credentials, media, lambda: _still_ours(latest_start))
            )
        else:
            departures.append(words[message.pk] if message.pk in words else _caught(message, _not_begun))
    return departures


def _caught(message: Message, step: Callable[[Message], Result]) -> Result | str:
    """What the step gives; a word for the log where it fails: the row's lease brings the message back, and the others
    of the batch leave."""
    try:
        return step(message)
    except Exception:
        log.exception("not prepared", message=str(message.pk))
        return "failed"


def _ready(message: Message) -> tuple[Setup, Credentials] | str:
    """What opens the provider for the message; or a word on why it does not leave now, which is written down."""
    if not message.literal and holds_override(message.text):
        outbox.refuse(
            message, code="override_leak", detail="The text still holds an account override; it was not sent."
        )
        return "refused"
    if needs_decision(message) and not decide_anew(message):
        return "decided anew"
    setup = message.sender.phone_line.setup
    try:
        return setup, provisioning.credentials_of(setup)
    except Unavailable as error:
        wait = outbox.backoff(message.attempt_count + 3)
        outbox.give_back(message, due_in=wait, code=error.code[:64], detail=error.detail)
        return "not sent"


def _still_ours(latest_start: float) -> None:
    """The last look before the first byte: a worker that was held up past its lease sends nothing."""
    if now() > latest_start:
        raise NotLeft("lease_over", "The worker was held up; the message goes back to the queue.")


def call(departure: Departure) -> Outcome:
    """Ask the provider, once. Never raises, and touches no database."""
    try:
        adapter = get_adapter(departure.setup.provider)
        return Outcome(
            departure,
            adapter.send(
                departure.credentials,
                _outgoing(departure, adapter),
                before_first_byte=departure.before_first_byte,
            ),
        )
    except ProviderError as error:
        return Outcome(departure, error)
    except Exception as error:
        # Whatever went wrong in the call, the message may have left.
        log.exception("send failed", message=str(departure.message.pk))
        return Outcome(departure, Uncertain("internal_error", type(error).__name__))


def not_called(departure: Departure) -> Outcome:
    """The worker stops before it asked."""
    return Outcome(departure, NotLeft("worker_stopped", "The worker stopped before it was sent."))


def _outgoing(departure: Departure, adapter: Adapter) -> Outgoing:
    message, callback = departure.message, None
    if adapter.capabilities & Capability.CALLBACK_URL:
        callback = f"{provisioning.webhook_url(departure.setup)}{departure.begun.token}/"
    return Outgoing(
        to=message.contact_number,
        from_number=message.sender.phone_number,
        text=message.text,
        idempotency_key=str(message.pk),
        media_url=departure.media_url,
        send_style=message.send_style or None,
        callback_url=callback,
    )


def settle(outcomes: Sequence[Outcome]) -> list[str]:
    """Write down how the calls ended, those that went well in one commit; a word for the log for each, in order."""
    accepted = [
        (outcome.departure.message, outcome.departure.begun, outcome.result)
        for outcome in outcomes
        if isinstance(outcome.result, Accepted)
    ]
    if accepted:
        outbox.settle_all_accepted(accepted)
        circuit.note_success({message.sender.phone_line.setup_id for message, _, _ in accepted})
    return [
        "accepted" if isinstance(outcome.result, Accepted) else _settle_error(outcome.departure, outcome.result)
        for outcome in outcomes
    ]


def _settle_error(departure: Departure, error: ProviderError) -> str:
    message, begun = departure.message, departure.begun
    match error:
        case AccountRejected():
            if outbox.settle_account_rejected(message, begun, error):
                _stop_account(message, departure.setup, error)
                return "account rejected"
            return "rejected"
        case Rejected():
            outbox.settle_rejected(message, begun, error)
            circuit.note_success({departure.setup.pk})
            return "rejected"
        case Unavailable():
            wait = outbox.settle_not_sent(message, begun, error)
            if error.too_fast:
                pacing.slow_down(message.sender.pk, wait)
            elif not isinstance(error, NotLeft):
                _note_failure(departure, error)
            return "not sent"
        case _:
            outbox.settle_uncertain(message, begun, error)
            _note_failure(departure, error)
            return "uncertain"


def _note_failure(departure: Departure, error: ProviderError) -> None:
    setup = departure.setup
    circuit.note_failure(setup_id=setup.pk, location_id=setup.location_id, code=error.code)


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
