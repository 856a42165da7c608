"""Deciding a waiting message anew: when a scheduled one falls due, and when its account cannot send any more."""

from django.utils import timezone

from messaging.delivery import outbox
from messaging.models import EventKind, Message, MessageEvent
from routing import facts
from routing.models import Contact
from routing.overrides import Override
from routing.selection import Code, Decision, select


def decide_anew(message: Message) -> bool:
    """Run the hierarchy again for a claimed message. True when it is to be sent now, from the account that it has.

    Otherwise it was written down what happens: it waits in the queue for its new account; or, where the location has
    none that can send, until one comes back or it expires; or it is rejected, where an override or a policy says so.
    """
    contact = Contact.objects.select_related("last_account").get(pk=message.contact_id)
    override = Override(manual=message.override_index, temporary=message.temporary_override_index)
    known = facts.load(location=message.location, contact=contact, override=override)
    decision = select(
        known, override, policy=facts.policy_of(message.location), exempt_from_opt_out=message.exempt_from_opt_out
    )
    if decision.account is None:
        _without_account(message, decision)
        return False
    if decision.account.id == message.account_id:
        return True
    moved = outbox.give_back(
        message,
        account=decision.account.id,
        rule=decision.rule or "",
        trace=decision.trace(),
        number_switch=decision.number_switch,
    )
    if moved:
        _record(message, decision)
    return False


def _without_account(message: Message, decision: Decision) -> None:
    code = decision.code or Code.NO_CONNECTED_ACCOUNT
    if code == Code.NO_CONNECTED_ACCOUNT:
        outbox.give_back(
            message, due_in=outbox.backoff(message.attempt_count + 3), code=code.value, detail=decision.sentence
        )
        return
    outbox.refuse(
        message, code=code.value, detail=decision.sentence, trace=decision.trace(), rule="", number_switch=False
    )


def _record(message: Message, decision: Decision) -> None:
    MessageEvent.objects.bulk_create(
        [
            MessageEvent(
                location_id=message.location_id,
                message_id=message.pk,
                kind=EventKind.REROUTED,
                at=timezone.now(),
                detail=decision.sentence,
            )
        ],
        ignore_conflicts=True,
    )
