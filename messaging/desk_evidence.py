"""What speaks for and against that an uncertain message was sent, gathered for a page of them at once."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from messaging.attachment_pages import attachment_row
from messaging.message_page import attempt_row, conversation_url
from messaging.models import Attachment, Attempt, Direction, DispatchState, Message
from provisioning.models import EventOutcome, PhoneLine, ProviderEvent
from provisioning.providers import get_adapter
from provisioning.providers.base import Capability
from routing.models import User

BEFORE_IT = timedelta(minutes=2)
"""How long before a message became uncertain its last attempt began, at the most."""
SHOWN_EVENTS = ("first_event", "second_event", "third_event")


@dataclass(frozen=True)
class Case:
    """One uncertain message and its evidence."""

    message: Message
    attempts: Sequence[dict[str, Any]]
    attachments: Sequence[dict[str, Any]]
    asking_until: datetime | None
    """Until when the provider is asked; None once it is not any more."""
    next_lookup: datetime | None
    can_be_asked: bool
    unexplained: Sequence[ProviderEvent]
    """Notices of its setup from that time which belong to no message that the hub knows."""
    others_told: bool
    """Whether notices of other messages came through in that time."""
    arrived: Message | None
    """The first later message to the contact, from the same account, that surely arrived."""
    reply: Message | None
    """The first that the contact wrote afterwards."""
    conversation_url: str


def uncertain_messages(user: User) -> QuerySet[Message]:
    """The uncertain messages that the user may see, the longest first: those that are still asked after come last."""
    return (
        Message.objects.visible_to(user)
        .filter(dispatch_state=DispatchState.UNCERTAIN)
        .order_by(F("uncertain_at").asc(nulls_first=True), "position")
    )


def cases(rows: QuerySet[Message], *, begin: int, end: int) -> list[Case]:
    """The evidence for the rows from `begin` to before `end`, in the same number of queries however many there are."""
    messages = list(_with_clues(rows.select_related("contact", "location", "account"))[begin:end])
    ids = [message.pk for message in messages]
    attempts, attachments = defaultdict(list), defaultdict(list)
    for attempt in Attempt.objects.filter(message__in=ids).select_related("account"):
        attempts[attempt.message_id].append(attempt_row(attempt))
    for attachment in Attachment.objects.filter(message__in=ids).order_by("order"):
        attachments[attachment.message_id].append(attachment)
    events = _by_id(ProviderEvent.objects.defer("body"), messages, *SHOWN_EVENTS)
    others = _by_id(Message.objects.select_related("location"), messages, "arrived_id", "reply_id")
    lines = PhoneLine.objects.select_related("setup").filter(account__in={message.account_id for message in messages})
    providers = {line.account_id: line.setup.provider for line in lines}
    return [
        _case(
            message,
            attempts=attempts[message.pk],
            attachments=attachments[message.pk],
            events=events,
            others=others,
            provider=providers.get(message.account_id),
        )
        for message in messages
    ]


def _case(
    message: Any,
    *,
    attempts: Sequence[dict[str, Any]],
    attachments: Sequence[Attachment],
    events: Mapping[UUID, Any],
    others: Mapping[UUID, Any],
    provider: str | None,
) -> Case:
    grace_over = (message.uncertain_at or message.created_at) + settings.HUB_UNCERTAIN_GRACE
    return Case(
        message=message,
        attempts=attempts,
        attachments=[attachment_row(message, attachment) for attachment in attachments],
        asking_until=grace_over if grace_over > timezone.now() else None,
        next_lookup=message.lookup_at,
        can_be_asked=provider is not None and bool(get_adapter(provider).capabilities & Capability.LOOKUP),
        unexplained=[events[pk] for name in SHOWN_EVENTS if (pk := getattr(message, name)) in events],
        others_told=message.others_told,
        arrived=others.get(message.arrived_id),
        reply=others.get(message.reply_id),
        conversation_url=conversation_url(message),
    )


def _with_clues(rows: QuerySet[Message]) -> QuerySet[Any]:
    """The rows with the ids of what else is known of those minutes and of the conversation; each a walk of an index."""
    rows = rows.annotate(
        clues_from=F("uncertain_at") - BEFORE_IT, clues_until=F("uncertain_at") + settings.HUB_UNCERTAIN_GRACE
    )
    told = ProviderEvent.objects.filter(
        location=OuterRef("location"),
        setup__phone_lines__account=OuterRef("account"),
        received_at__gte=OuterRef("clues_from"),
        received_at__lte=OuterRef("clues_until"),
    )
    in_vain = Q(outcome__in=[EventOutcome.WAITING, EventOutcome.CONFLICT]) | Q(
        outcome=EventOutcome.IGNORED, detail__startswith="Given up"
    )
    unexplained = told.filter(in_vain).exclude(provider_id="").order_by("received_at", "id").values("pk")
    later = Message.objects.filter(contact=OuterRef("contact"), position__gt=OuterRef("position")).order_by("position")
    arrived = later.filter(
        Q(delivered_at__isnull=False) | Q(read_at__isnull=False),
        account=OuterRef("account"),
        direction=Direction.OUTBOUND,
    )
    return rows.annotate(
        **{name: Subquery(unexplained[place : place + 1]) for place, name in enumerate(SHOWN_EVENTS)},
        others_told=Exists(told.filter(outcome=EventOutcome.APPLIED).exclude(provider_id="")),
        arrived_id=Subquery(arrived.values("pk")[:1]),
        reply_id=Subquery(later.filter(direction=Direction.INBOUND).values("pk")[:1]),
    )


def _by_id(rows: QuerySet[Any], messages: Sequence[Any], *names: str) -> dict[UUID, Any]:
    wanted = {getattr(message, name) for message in messages for name in names} - {None}
    return rows.in_bulk(list(wanted)) if wanted else {}
