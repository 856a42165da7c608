"""What is said: messages with their attempts, events and media."""

from messaging.models.batches import BatchRefusal, MessageBatch
from messaging.models.lanes import Circuit, Lane, Opening
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
    Priority,
)
from messaging.models.requests import IdempotencyKey, TypingNotice
from messaging.models.threads import DailyVolume, Reaction, Thread
from messaging.models.webhooks import (
    DeliveryState,
    DisabledReason,
    EventType,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
)

__all__ = [
    "LIVE_STATES",
    "Attachment",
    "Attempt",
    "BatchRefusal",
    "Circuit",
    "DailyVolume",
    "DeliveryState",
    "Direction",
    "DisabledReason",
    "DispatchState",
    "EventKind",
    "EventType",
    "IdempotencyKey",
    "Lane",
    "Message",
    "MessageBatch",
    "MessageEvent",
    "MessageStatus",
    "Opening",
    "Priority",
    "Reaction",
    "Thread",
    "TypingNotice",
    "WebhookAttempt",
    "WebhookDelivery",
    "WebhookEndpoint",
    "WebhookEvent",
]
