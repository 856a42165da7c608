"""STOP and START: whether a contact may be written to, by the contact's own word."""

import enum
import unicodedata
from datetime import datetime

import structlog

from messaging import services
from routing.models import Account, ConsentSource, Contact
from routing.services import set_opt_out

log = structlog.get_logger("hub.consent")

STOP_WORDS = frozenset(
    {"stop", "stopall", "unsubscribe", "cancel", "end", "quit", "revoke", "opt out", "optout", "opt-out"}
)
START_WORDS = frozenset({"start", "unstop"})
STOPPED = "You will get no more messages from {name}. Reply START to get them again."
STARTED = "You will get messages from {name} again. Reply STOP to end them."


LONGEST = 200
"""Characters. A longer message is no single word, whatever surrounds it."""


class Word(enum.Enum):
    """What a message as a whole can say about consent."""

    STOP = "stop"
    START = "start"


def read_word(text: str) -> Word | None:
    """The word that the whole message is, whatever its case, spacing and punctuation around it; None for anything else.

    A sentence that merely holds one of the words says nothing about consent.
    """
    if len(text) > LONGEST:
        return None
    shown = (mark for mark in unicodedata.normalize("NFKC", text).casefold() if unicodedata.category(mark) != "Cf")
    plain = " ".join("".join(shown).split())
    outer = {mark for mark in plain if unicodedata.category(mark)[0] in "PZC"}
    plain = plain.strip("".join(outer))
    if plain in STOP_WORDS:
        return Word.STOP
    return Word.START if plain in START_WORDS else None


def apply(*, contact: Contact, account: Account, text: str, said_at: datetime | None, now: datetime) -> None:
    """Do what an inbound text says about consent, and confirm a change from the account that was written to.

    `said_at`: when it was written, by the provider's clock; None: now. Events come in any order: a START that was
    written before the STOP that we know of lifts nothing.
    """
    word = read_word(text)
    if word is None:
        return
    at = min(said_at or now, now)
    if word is Word.START and contact.opted_out_at is not None and at < contact.opted_out_at:
        log.info("consent unchanged: said before", contact=str(contact.pk), word=word.value)
        return
    if set_opt_out(contact=contact, opted_out=word is Word.STOP, at=at, source=ConsentSource.MESSAGE):
        log.info("consent changed", contact=str(contact.pk), word=word.value)
        answer = STOPPED if word is Word.STOP else STARTED
        services.send_confirmation(
            contact=contact, account=account, text=answer.format(name=contact.location.name), now=now
        )
