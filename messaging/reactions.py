"""Reactions that providers tell of as plain texts (“Loved “See you at ten””): put on the message that they speak of.

Only what certainly speaks of one of our messages becomes a reaction; everything else stays the text that it is.
"""

import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta

from messaging.models import Attachment, Direction, DispatchState, Message, Reaction
from routing.models import Account, Contact

LOOK_BACK = 200
"""How many of the contact's last messages are looked through."""
CLOCKS = timedelta(minutes=5)
"""How far the provider's clock and ours may be apart: nobody reacts to what was not sent yet."""
MAX_EMOJI = 16
SHORTEST_BEGINNING = 10
"""Characters of a quote that was cut short: fewer would fit many a message."""
HEART, THUMB_UP, THUMB_DOWN, LAUGH, MARKS, QUESTION = "❤️", "👍", "👎", "😂", "‼️", "❓"

ADDED = {
    "Loved ": HEART,
    "Liked ": THUMB_UP,
    "Disliked ": THUMB_DOWN,
    "Laughed at ": LAUGH,
    "Emphasized ": MARKS,
    "Emphasised ": MARKS,
    "Questioned ": QUESTION,
}
TAKEN_BACK = {
    "a heart": HEART,
    "a like": THUMB_UP,
    "a thumbs up": THUMB_UP,
    "a dislike": THUMB_DOWN,
    "a thumbs down": THUMB_DOWN,
    "a laugh": LAUGH,
    "an exclamation": MARKS,
    "an exclamation mark": MARKS,
    "an exclamation point": MARKS,
    "a question mark": QUESTION,
}
PICTURES = frozenset({"an image", "a photo", "a picture", "a movie", "a video", "an attachment"})
QUOTES = (("“", "”"), ('"', '"'))
LEFT = frozenset({DispatchState.SENDING, DispatchState.ACCEPTED, DispatchState.UNCERTAIN})
"""States of a message that a contact may have before it."""

READ = ("location", "account", "direction", "dispatch_state", "accepted_at", "created_at", "text")
"""All that is asked of a message; its trace may be long."""


@dataclass(frozen=True)
class Tapback:
    """What a text says if it tells of a reaction. `quote`: the words reacted to; None: it was a picture."""

    emoji: str
    quote: str | None
    taken_back: bool = False


@dataclass(frozen=True)
class Notice:
    """A text that may tell of a reaction, and when it was written, as well as that is known."""

    text: str
    provider_id: str
    at: datetime


def read(text: str) -> Tapback | None:
    """The reaction that the text tells of; None when it is a text like any other."""
    text = text.strip()
    for start, emoji in ADDED.items():
        if text.startswith(start):
            return _read_target(emoji, text[len(start) :])
    if text.startswith("Reacted "):
        given, between, target = text[len("Reacted ") :].partition(" to ")
        return _read_target(given, target) if between and _is_emoji(given) else None
    if text.startswith("Removed "):
        given, between, target = text[len("Removed ") :].partition(" from ")
        taken = TAKEN_BACK.get(given) or _bare_emoji(given)
        return _read_target(taken, target, taken_back=True) if between and taken else None
    return None


def _read_target(emoji: str, target: str, *, taken_back: bool = False) -> Tapback | None:
    target = target.strip()
    if target in PICTURES:
        return Tapback(emoji, None, taken_back)
    for opening, closing in QUOTES:
        if len(target) > 2 and target.startswith(opening) and target.endswith(closing):
            quote = target[1:-1].strip()
            return Tapback(emoji, quote, taken_back) if quote else None
    return None


def _bare_emoji(given: str) -> str | None:
    """The emoji in “😀”, “a 😀” or “a 😀 reaction”."""
    words = [word for word in given.split() if word not in ("a", "an", "the", "reaction")]
    return words[0] if len(words) == 1 and _is_emoji(words[0]) else None


def _is_emoji(given: str) -> bool:
    """One sign without letters; marks that enclose a digit make one of it."""
    return (
        0 < len(given) <= MAX_EMOJI
        and not any(sign.isspace() or sign.isalpha() for sign in given)
        and any(unicodedata.category(sign) in ("So", "Me") or sign in "‼⁉" for sign in given)
    )


def note(*, contact: Contact, account: Account, notice: Notice) -> bool:
    """Put the reaction that a received text tells of on the message it speaks of; False, and nothing done, when the
    text tells of none, or of no message for certain.

    In the transaction that would store the text. Repeats change nothing, and an older notice nothing of a newer one.
    """
    tapback = read(notice.text)
    if tapback is None:
        return False
    if Message.objects.filter(account=account, provider_id=notice.provider_id).exists():
        # It came before and was stored as a text; that it stays.
        return False
    message = _find(contact, account, tapback, notice.at)
    if message is None:
        return False
    _put(message, tapback, notice)
    return True


def _find(contact: Contact, account: Account, tapback: Tapback, at: datetime) -> Message | None:
    """The message of ours that the reaction is on. The slice is read from the index before anything is filtered, so
    that the look-back is short however much was said."""
    last = Message.objects.filter(contact=contact).only(*READ).order_by("-position")[:LOOK_BACK]
    ours = [
        message
        for message in last
        if message.direction == Direction.OUTBOUND
        and message.account_id == account.pk
        and message.dispatch_state in LEFT
        and (message.accepted_at or message.created_at) <= at + CLOCKS
    ]
    if tapback.quote is None:
        return _only_picture(ours)
    exact = next((message for message in ours if message.text.strip() == tapback.quote), None)
    return exact or _begins(ours, tapback.quote)


def _only_picture(ours: list[Message]) -> Message | None:
    """The one message with a picture: of several nobody knows which was meant."""
    ids = {message.pk for message in ours}
    found = list(Attachment.objects.filter(message__in=ids).values_list("message", flat=True).distinct()[:2])
    return next((message for message in ours if message.pk == found[0]), None) if len(found) == 1 else None


def _begins(ours: list[Message], quote: str) -> Message | None:
    """The newest message that begins as a quote which was cut short."""
    for cut in ("…", "..."):
        beginning = quote.removesuffix(cut).strip()
        if quote.endswith(cut) and len(beginning) >= SHORTEST_BEGINNING:
            return next((message for message in ours if message.text.strip().startswith(beginning)), None)
    return None


def _put(message: Message, tapback: Tapback, notice: Notice) -> None:
    """What was written last stands, in whatever order they come; one that was taken back stays, to hold back what was
    written before."""
    says = {
        "emoji": tapback.emoji,
        "at": notice.at,
        "removed_at": notice.at if tapback.taken_back else None,
        "provider_id": notice.provider_id,
    }
    first = Reaction(location_id=message.location_id, message_id=message.pk, **says)
    Reaction.objects.bulk_create([first], ignore_conflicts=True)
    Reaction.objects.filter(message=message, at__lte=notice.at).exclude(provider_id=notice.provider_id).update(**says)
