"""What is said: messages with their attempts, events and media."""

from messaging.models.messages import (
    LIVE_STATES,
    Attachment,
    Attempt,
    Direction,
    DispatchState,
    EventKind,
    Message,
    MessageEvent,
    MessageStatus,
)
from messaging.models.requests import IdempotencyKey, TypingNotice
from messaging.models.threads import DailyVolume, Reaction, Thread

__all__ = [
    "LIVE_STATES",
    "Attachment",
    "Attempt",
    "DailyVolume",
    "Direction",
    "DispatchState",
    "EventKind",
    "IdempotencyKey",
    "Message",
    "MessageEvent",
    "MessageStatus",
    "Reaction",
    "Thread",
    "TypingNotice",
]
