"""Finding out what became of messages whose outcome is uncertain. Evidence may confirm; nothing here sends."""

from collections.abc import Sequence
from datetime import timedelta

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Min
from django.db.models.functions import Now
from django.utils import timezone

from messaging.delivery import evidence, outbox
from messaging.models import DispatchState, Message
from provisioning import services as provisioning
from provisioning.duties import lock_some
from provisioning.providers import get_adapter
from provisioning.providers.base import Accepted, Capability, ProviderError, Sought

log = structlog.get_logger("hub.reconcile")

CLOCK_SLACK = timedelta(seconds=60)
"""How far the provider's clock may be from ours."""


def take_due(limit: int) -> list[Message]:
    """Take up to `limit` uncertain messages whose provider is to be asked again; each is asked by one worker."""
    due = Message.objects.filter(dispatch_state=DispatchState.UNCERTAIN, lookup_at__lte=Now()).order_by("lookup_at")
    if not due.exists():
        return []
    with transaction.atomic():
        taken = lock_some(due.select_related("location", "contact", "account__phone_line__setup"), limit=limit)
        Message.objects.filter(pk__in=[message.pk for message in taken]).update(lookup_at=Now() + settings.HUB_LEASE)
    return taken


def look_up(message: Message) -> bool:
    """Ask the provider for one uncertain message; True when it was found there, and is accepted now.

    What is not found, or cannot be told apart, is asked for again, ever more rarely, until the grace period is over;
    then it is left to a person.
    """
    setup = message.sender.phone_line.setup
    adapter = get_adapter(setup.provider)
    found: Sequence[Accepted] = ()
    if adapter.capabilities & Capability.LOOKUP:
        try:
            found = adapter.lookup(provisioning.credentials_of(setup), _sought(message))
        except ProviderError as error:
            log.info("look-up failed", message=str(message.pk), code=error.code)
    if _bind(message, found):
        log.info("uncertain message found", message=str(message.pk))
        return True
    ask_again_later(message)
    return False


def _sought(message: Message) -> Sought:
    first = message.attempts.aggregate(at=Min("started_at"))["at"] or message.created_at
    attachment = message.attachments.order_by("order").first()
    return Sought(
        to=message.contact_number,
        from_number=message.sender.phone_number,
        text=message.text,
        media_url=attachment.url if attachment else None,
        not_before=first - CLOCK_SLACK,
    )


def _bind(message: Message, found: Sequence[Accepted]) -> bool:
    """Take one of the found ids for the message, if it must be its own.

    Ids that other messages have are not. Of several equal texts that are all uncertain, none is told from the others:
    they are bound only when there are as many ids.
    """
    ids = [accepted.provider_id for accepted in found]
    bound = set(
        Message.objects.filter(account=message.account_id, provider_id__in=ids).values_list("provider_id", flat=True)
    )
    free = [accepted for accepted in found if accepted.provider_id not in bound]
    twins = Message.objects.filter(
        account=message.account_id,
        contact=message.contact_id,
        text=message.text,
        dispatch_state__in=[DispatchState.UNCERTAIN, DispatchState.SENDING],
    ).count()
    if not free or len(free) < twins:
        return False
    try:
        with transaction.atomic():
            return evidence.note_accepted(message, free[0])
    except IntegrityError:
        return False


def ask_again_later(message: Message) -> None:
    """Have the provider asked again, ever more rarely; never once the grace period is over."""
    since = timezone.now() - (message.uncertain_at or timezone.now())
    over = since >= settings.HUB_UNCERTAIN_GRACE
    wait = max(outbox.FIRST_LOOKUP, since)
    Message.objects.filter(pk=message.pk, dispatch_state=DispatchState.UNCERTAIN).update(
        lookup_at=None if over else Now() + wait
    )
