"""The days before the demo: people, what was said with them, and what became of it, as if the clinic had been open."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.db import transaction

from messaging import threads
from messaging.models import DailyVolume, Direction, DispatchState, Message, Reaction
from messaging.models.messages import NextPosition
from messaging.services import NewMessage, send
from routing.models import Account, Contact, Location, User
from routing.services import get_or_create_contact, set_tags

DAYS = 13
SEED = 7

OUT, IN = Direction.OUTBOUND, Direction.INBOUND


@dataclass(frozen=True)
class Said:
    """One message: which way, how many minutes after the one before, its words, and a reaction to it."""

    way: Direction
    after_min: int
    text: str
    reaction: str = ""
    unread: bool = False


@dataclass(frozen=True)
class Talk:
    """A conversation with somebody that began `days` ago at an hour of the clinic's. `tag`, `mine`: of the contact."""

    name: str
    number: str
    days: int
    hour: int
    said: Sequence[Said]
    tag: str = ""
    mine: bool = False


TALKS = (
    Talk(
        "Harper Ellis",
        "+12125550110",
        2,
        9,
        (
            Said(OUT, 0, "Good morning Harper, this is Maple Street Clinic. Dr. Lee can see you on Thursday at 10:30."),
            Said(IN, 7, "Thursday works. Do I need to come fasting?"),
            Said(OUT, 4, "Yes please: nothing but water after midnight.", reaction="❤️"),
            Said(IN, 1, "Got it, thank you!"),
            Said(OUT, 1440, "A reminder for tomorrow, 10:30, with Dr. Lee. Please bring your insurance card."),
            Said(IN, 12, "I'll be there 😊"),
        ),
        mine=True,
    ),
    Talk(
        "Noah Fischer",
        "+12125550111",
        1,
        11,
        (
            Said(OUT, 0, "Your invoice for 3 November is ready: $42.00. You can pay at the desk or by phone."),
            Said(IN, 35, "Can I pay half now and half next month?"),
            Said(OUT, 9, "Of course. We have split it; nothing else to do for now.", reaction="❤️"),
            Said(IN, 3, "You are the best, thanks", unread=True),
        ),
        tag="Billing",
    ),
    Talk(
        "Mia Thompson",
        "+12125550112",
        0,
        7,
        (
            Said(IN, 0, "Hi, is the flu shot clinic still open on Saturday?"),
            Said(OUT, 6, "It is, 9 to 1, no appointment needed. {IM#4}"),
            Said(IN, 2, "Perfect. Can I bring my two kids?", unread=True),
            Said(IN, 1, "They are 6 and 9", unread=True),
        ),
    ),
    Talk(
        "Oliver Grant",
        "+12125550113",
        4,
        15,
        (
            Said(OUT, 0, "Your blood results are in and all is well. Dr. Lee left a note in your chart."),
            Said(IN, 20, "What a relief! Thank you, Dr. Lee."),
        ),
        mine=True,
    ),
    Talk(
        "Sofia Marin",
        "+12125550114",
        3,
        13,
        (
            Said(OUT, 0, "We moved your cleaning to Monday at 8:15, as you asked."),
            Said(IN, 3, "Great, thank you"),
        ),
    ),
    Talk(
        "Ethan Wu",
        "+12125550115",
        6,
        10,
        (
            Said(OUT, 0, "How is the knee today? The nurse line is open until 6. {TEMP-IM#4}"),
            Said(IN, 50, "Much better, I can take the stairs again"),
            Said(OUT, 5, "That is what we like to hear. Keep icing it in the evening."),
        ),
    ),
    Talk(
        "Isla Romero",
        "+12125550116",
        8,
        16,
        (
            Said(OUT, 0, "Please call us about your referral when you have a minute."),
            Said(IN, 200, "Will do tomorrow morning"),
        ),
    ),
    Talk(
        "Lucas Bennett",
        "+12125550117",
        0,
        8,
        (
            Said(OUT, 0, "Your prescription was sent to the pharmacy on Elm Street."),
            Said(IN, 11, "Picked it up already, thanks!", unread=True),
        ),
    ),
)

ROUTINE = (
    "A reminder of your appointment tomorrow.",
    "Your documents are ready at the front desk.",
    "Please confirm your visit: reply YES.",
    "Thank you for coming in today.",
    "The office is closed on Thursday and Friday.",
)
ROUTINE_PEOPLE = (
    ("Ava Collins", "+12125550121"),
    ("Leo Park", "+12125550122"),
    ("Nora Haddad", "+12125550123"),
    ("Finn O'Connor", "+12125550124"),
    ("Zara Ahmed", "+12125550125"),
)
UNDELIVERED = ("10001", "The provider could not deliver it: the number may have no iMessage.")


@transaction.atomic
def live_through(*, location: Location, doctor: User, accounts: dict[str, Account], now: datetime) -> None:
    """Write it all down, in the order in which it was said. Every decision is made by the rules, as they stand."""
    rng = random.Random(SEED)  # noqa: S311  (no secret)
    today = now.astimezone(ZoneInfo(location.time_zone)).replace(hour=0, minute=0, second=0, microsecond=0)
    lines: list[tuple[datetime, Contact, Said, bool]] = []
    for talk in TALKS:
        contact = _contact(location, talk.name, talk.number)
        if talk.mine:
            Contact.objects.filter(pk=contact.pk).update(assigned_user=doctor)
        if talk.tag:
            set_tags(contact=contact, names=[f"im: {accounts[talk.tag].phone_number}"])
        at = today - timedelta(days=talk.days) + timedelta(hours=talk.hour, minutes=rng.randrange(50))
        at = min(at, now - timedelta(hours=1, minutes=5 * len(talk.said)))
        for said in talk.said:
            at += timedelta(minutes=said.after_min, seconds=rng.randrange(60))
            lines.append((at, contact, said, False))
    people = [_contact(location, name, number) for name, number in ROUTINE_PEOPLE]
    for back in range(DAYS, 0, -1):
        for _ in range(rng.randrange(2, 9)):
            at = today - timedelta(days=back) + timedelta(hours=8, minutes=rng.randrange(9 * 60))
            lines.append((at, rng.choice(people), Said(OUT, 0, rng.choice(ROUTINE)), rng.random() < 0.06))
            if rng.random() < 0.4:
                lines.append((at + timedelta(minutes=9), lines[-1][1], Said(IN, 9, "YES"), False))
    for at, contact, said, fails in sorted(lines, key=lambda line: line[0]):
        if at < now:
            _say(location, contact, said, at, fails)
    # Days that were counted before anything was said in them are counted anew.
    DailyVolume.objects.filter(location=location).delete()


def _contact(location: Location, name: str, number: str) -> Contact:
    contact, _ = get_or_create_contact(location=location, phone_number=number, name=name)
    return contact


def _say(location: Location, contact: Contact, said: Said, at: datetime, fails: bool) -> None:
    if said.way == IN:
        message = _hear(contact, said, at)
    else:
        message = send(location=location, wanted=NewMessage(to=contact.phone_number, text=said.text), now=at)
        soon = at + timedelta(seconds=4)
        done = {"failed_at": soon, "failed_code": UNDELIVERED[0], "detail": UNDELIVERED[1]}
        Message.objects.filter(pk=message.pk).update(
            dispatch_state=DispatchState.ACCEPTED,
            due_at=None,
            attempt_count=1,
            provider_id=f"demo-{message.pk}",
            service="iMessage",
            accepted_at=at + timedelta(seconds=1),
            sent_at=at + timedelta(seconds=2),
            **(done if fails else {"delivered_at": soon, "read_at": at + timedelta(minutes=2)}),
        )
        Contact.objects.filter(pk=contact.pk).update(last_account=message.account_id)
    if said.reaction:
        Reaction.objects.create(location=location, message=message, emoji=said.reaction, at=at + timedelta(minutes=1))


def _hear(contact: Contact, said: Said, at: datetime) -> Message:
    """An answer, to the number that wrote last; else to the location's first."""
    last = Message.objects.filter(contact=contact, account__isnull=False).order_by("-position").first()
    first = Account.objects.filter(location_id=contact.location_id).order_by("index").first()
    message = Message.objects.create(
        position=NextPosition(),
        location_id=contact.location_id,
        contact=contact,
        contact_number=contact.phone_number,
        account_id=last.account_id if last is not None else (first.pk if first is not None else None),
        direction=IN,
        text=said.text,
        dispatch_state=DispatchState.RECEIVED,
        service="iMessage",
        created_at=at,
    )
    message.refresh_from_db()
    threads.note_message(message, at=at, unread=said.unread)
    return message
