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

__all__ = [
    "LIVE_STATES",
    "Attachment",
    "Attempt",
    "Direction",
    "DispatchState",
    "EventKind",
    "IdempotencyKey",
    "Message",
    "MessageEvent",
    "MessageStatus",
    "TypingNotice",
]
