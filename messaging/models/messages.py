"""Messages, the attempts to send them, and what became known of them.

Two axes that never share a column: `dispatch_state` is ours, strict and fenced, written by the API and the workers;
the facts (`sent_at`, `delivered_at`, `read_at`, `failed_at`) are the provider's, each written once. `status`, which
people and clients see, is computed from both by the database. Never `save()` a message: conditional updates only.
"""

import uuid
from typing import Any

from django.db import models
from django.db.models import Case, Q, Value, When
from django.utils import timezone

from provisioning.duties import Duty
from provisioning.models import ProviderEvent
from routing.constraints import SameLocation
from routing.models import Account, Contact, Location
from routing.models.tenancy import LocationScoped
from routing.selection import Rule


class Direction(models.TextChoices):
    """Who wrote."""

    OUTBOUND = "outbound", "outbound"
    INBOUND = "inbound", "inbound"


class DispatchState(models.TextChoices):
    """Ours. The table of who may move a message from where to where is in messaging/delivery/outbox.py."""

    SCHEDULED = "scheduled", "scheduled"
    QUEUED = "queued", "queued"
    CLAIMED = "claimed", "claimed"
    SENDING = "sending", "sending"
    ACCEPTED = "accepted", "accepted"
    REJECTED = "rejected", "rejected"
    UNCERTAIN = "uncertain", "uncertain"
    CANCELLED = "cancelled", "cancelled"
    EXPIRED = "expired", "expired"
    RECEIVED = "received", "received"


LIVE_STATES = [DispatchState.QUEUED, DispatchState.CLAIMED, DispatchState.SENDING]
"""States that hold back the later messages of the same conversation; an uncertain one does so for a while."""


class Priority(models.IntegerChoices):
    """What a line sends first of what is due: a person who waits for an answer does not wait for a campaign."""

    SINGLE = 0, "single"
    BULK = 1, "bulk"


class MessageStatus(models.TextChoices):
    """What people and clients see."""

    SCHEDULED = "scheduled", "scheduled"
    QUEUED = "queued", "queued"
    SENDING = "sending", "sending"
    ACCEPTED = "accepted", "accepted"
    SENT = "sent", "sent"
    DELIVERED = "delivered", "delivered"
    READ = "read", "read"
    FAILED = "failed", "failed"
    UNCERTAIN = "uncertain", "uncertain"
    CANCELLED = "cancelled", "cancelled"
    EXPIRED = "expired", "expired"
    RECEIVED = "received", "received"


def _status_expression() -> Case:
    """`status` as a function of both axes: the furthest fact first, then how far we came."""
    facts = [
        When(read_at__isnull=False, then=Value("read")),
        When(delivered_at__isnull=False, then=Value("delivered")),
        When(Q(failed_at__isnull=False) | Q(dispatch_state="rejected"), then=Value("failed")),
        When(sent_at__isnull=False, then=Value("sent")),
    ]
    ours = [
        When(dispatch_state=state, then=Value(state))
        for state in ("accepted", "uncertain", "sending", "cancelled", "expired", "scheduled", "received")
    ]
    return Case(*facts, *ours, default=Value("queued"), output_field=models.CharField())


def _conflict_expression() -> Case:
    """`conflict`: facts that contradict each other or our own state."""
    signs = Q(sent_at__isnull=False) | Q(delivered_at__isnull=False) | Q(read_at__isnull=False)
    arrived = Q(delivered_at__isnull=False) | Q(read_at__isnull=False)
    contradiction = (Q(failed_at__isnull=False) & arrived) | (
        Q(dispatch_state__in=["cancelled", "expired", "rejected"]) & signs
    )
    return Case(When(contradiction, then=Value(True)), default=Value(False), output_field=models.BooleanField())


class NextPosition(models.Expression):
    """The next place in the order of acceptance: a sequence on PostgreSQL, the highest plus one on SQLite, where the
    one writer at a time makes that safe."""

    output_field = models.BigIntegerField()

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[str | int, ...]]:
        """For SQLite."""
        return "(SELECT COALESCE(MAX(position), 0) + 1 FROM messaging_message)", ()

    def as_postgresql(self, compiler: Any, connection: Any) -> tuple[str, tuple[str | int, ...]]:
        """For PostgreSQL."""
        return "nextval('messaging_message_position')", ()


class MessageQuerySet(LocationScoped["Message"]):
    """Messages."""


class Message(models.Model):
    """One message of a location with one contact, in either direction."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    position = models.BigIntegerField(unique=True, editable=False)
    location = models.ForeignKey(Location, on_delete=models.PROTECT, related_name="messages", db_index=False)
    contact = models.ForeignKey(
        Contact, on_delete=models.PROTECT, related_name="messages", db_constraint=False, db_index=False
    )
    # None: no account could be chosen; the message failed and `code` says why.
    account = models.ForeignKey(
        Account,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="messages",
        db_constraint=False,
        db_index=False,
    )
    # The list it was sent with; None: it was sent by itself.
    batch = models.ForeignKey(
        "messaging.MessageBatch",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="messages",
        db_constraint=False,
        db_index=False,
    )
    # The contact's number when the message was accepted; the contact may have another by now.
    contact_number = models.CharField(max_length=16)
    direction = models.CharField(max_length=8, choices=Direction)
    text = models.TextField(blank=True)
    send_style = models.CharField(max_length=32, blank=True)
    # Override patterns were left in the text on purpose.
    literal = models.BooleanField(default=False)
    metadata = models.JSONField(default=dict, blank=True)

    # --- the decision ---
    rule = models.CharField(max_length=20, blank=True, choices=[(rule.value, rule.value) for rule in Rule])
    # The whole decision (design of the trace: routing/selection.py); None for inbound.
    trace = models.JSONField(null=True, blank=True)
    number_switch = models.BooleanField(default=False)
    override_index = models.PositiveIntegerField(null=True, blank=True)
    temporary_override_index = models.PositiveIntegerField(null=True, blank=True)
    # The opt-out's own confirmation, which the opt-out doesn't hold back.
    exempt_from_opt_out = models.BooleanField(default=False)

    # --- dispatch: ours ---
    dispatch_state = models.CharField(max_length=10, choices=DispatchState)
    # Why it was rejected, or what happened at the last try: a stable code and words for people.
    code = models.CharField(max_length=64, blank=True)
    detail = models.TextField(blank=True)
    # What leaves first when a line cannot send all that is due.
    priority = models.PositiveSmallIntegerField(choices=Priority, default=Priority.SINGLE, db_default=Priority.SINGLE)
    scheduled_at = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    # `expires_at` was asked for; else it is counted from when the message is due.
    expiry_given = models.BooleanField(default=False, db_default=False)
    # When its text or its times were last changed by whoever sent it.
    edited_at = models.DateTimeField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    fence = models.PositiveBigIntegerField(default=0)
    attempt_count = models.PositiveIntegerField(default=0)
    # Uncertain only: since when, and when the provider is asked next; None: it is not asked any more.
    uncertain_at = models.DateTimeField(null=True, blank=True)
    lookup_at = models.DateTimeField(null=True, blank=True)
    provider_id = models.CharField(max_length=200, blank=True)
    service = models.CharField(max_length=16, blank=True)
    accepted_at = models.DateTimeField(null=True, blank=True)

    # --- facts: the provider's ---
    sent_at = models.DateTimeField(null=True, blank=True)
    delivered_at = models.DateTimeField(null=True, blank=True)
    read_at = models.DateTimeField(null=True, blank=True)
    failed_at = models.DateTimeField(null=True, blank=True)
    failed_code = models.CharField(max_length=64, blank=True)

    status = models.GeneratedField(
        expression=_status_expression(), output_field=models.CharField(max_length=10), db_persist=True
    )
    conflict = models.GeneratedField(
        expression=_conflict_expression(), output_field=models.BooleanField(), db_persist=True
    )
    created_at = models.DateTimeField(default=timezone.now)

    objects = MessageQuerySet.as_manager()

    class Meta:
        ordering = ["-position"]
        constraints = [
            models.UniqueConstraint(fields=["location", "id"], name="message_of_location"),
            models.UniqueConstraint(
                fields=["account", "provider_id"], condition=~Q(provider_id=""), name="message_provider_id_once"
            ),
            SameLocation(field="contact", name="message_contact_same_location"),
            SameLocation(field="account", name="message_account_same_location"),
            SameLocation(field="batch", name="message_batch_same_location"),
            models.CheckConstraint(condition=~Q(contact_number=""), name="message_contact_number_there"),
            models.CheckConstraint(
                condition=Q(account__isnull=False) | Q(dispatch_state="rejected"), name="message_without_account_failed"
            ),
        ]
        indexes = [
            # What is due on one account, in the order in which it leaves; and which accounts have something queued.
            models.Index(
                fields=["account", "priority", "due_at", "position"],
                condition=Q(dispatch_state="queued"),
                name="message_lane",
            ),
            # What has waited longest.
            models.Index(
                fields=["due_at", "position"],
                condition=Q(dispatch_state__in=["queued", "scheduled"]),
                name="message_due",
            ),
            # What joins the queue next, and what is too late: neither is to be looked for among all that is queued.
            models.Index(
                fields=["due_at", "position"], condition=Q(dispatch_state="scheduled"), name="message_scheduled"
            ),
            models.Index(
                fields=["expires_at"], condition=Q(dispatch_state__in=["queued", "scheduled"]), name="message_expiry"
            ),
            models.Index(
                fields=["account", "contact"],
                condition=Q(dispatch_state__in=["claimed", "sending"]),
                name="message_conversation_in_flight",
            ),
            # Is there an earlier message of the conversation that is still on its way?
            models.Index(
                fields=["account", "contact", "position"],
                condition=Q(dispatch_state__in=["queued", "claimed", "sending", "uncertain"]),
                name="message_conversation_head",
            ),
            models.Index(
                fields=["lease_until"], condition=Q(dispatch_state__in=["claimed", "sending"]), name="message_lease"
            ),
            models.Index(fields=["lookup_at"], condition=Q(lookup_at__isnull=False), name="message_lookup"),
            models.Index(fields=["location", "-position"], name="message_list"),
            models.Index(fields=["location", "status", "-position"], name="message_list_by_status"),
            # What a filter may leave few of, or none, must not be looked for through all the rest.
            models.Index(fields=["location", "rule", "-position"], condition=~Q(rule=""), name="message_list_by_rule"),
            models.Index(
                fields=["location", "-position"], condition=Q(direction="inbound"), name="message_list_of_inbound"
            ),
            models.Index(
                fields=["location", "-position"], condition=Q(number_switch=True), name="message_list_of_switches"
            ),
            models.Index(fields=["location", "created_at"], name="message_day"),
            # The same days in all locations, in the order in which the list shows them.
            models.Index(fields=["created_at", "position"], name="message_day_of_all"),
            models.Index(
                fields=["location", "uncertain_at"], condition=Q(dispatch_state="uncertain"), name="message_desk"
            ),
            models.Index(fields=["contact", "-position"], name="message_list_of_contact"),
            models.Index(fields=["account", "-position"], name="message_list_of_account"),
            models.Index(fields=["batch", "-position"], condition=Q(batch__isnull=False), name="message_list_of_batch"),
            # How far a batch is: counted from the index alone.
            models.Index(fields=["batch", "status"], condition=Q(batch__isnull=False), name="message_batch_progress"),
        ]

    def __str__(self) -> str:
        return f"{self.direction} message {self.id}"

    @property
    def sender(self) -> Account:
        """The account of a message that has one: as every message has that is on its way. Raises ValueError."""
        if self.account is None:
            raise ValueError(f"{self} has no account.")
        return self.account


class Attempt(models.Model):
    """One try to hand a message to the provider, recorded before its first byte.

    `token_digest`: SHA-256 of the token in this attempt's callback URL; any callback there proves that this very
    attempt was accepted. `ended_at` None: how it ended is not known.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    location = models.ForeignKey(Location, on_delete=models.CASCADE, related_name="+")
    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="attempts", db_constraint=False)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+", db_constraint=False)
    fence = models.PositiveBigIntegerField()
    token_digest = models.CharField(max_length=64, unique=True)
    started_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=16, blank=True)
    code = models.CharField(max_length=64, blank=True)
    detail = models.TextField(blank=True)

    objects = LocationScoped["Attempt"].as_manager()

    class Meta:
        ordering = ["started_at"]
        constraints = [
            models.UniqueConstraint(fields=["message", "fence"], name="attempt_once_a_claim"),
            SameLocation(field="message", name="attempt_message_same_location"),
            SameLocation(field="account", name="attempt_account_same_location"),
        ]

    def __str__(self) -> str:
        return f"attempt of {self.started_at:%Y-%m-%d %H:%M:%S}"


class EventKind(models.TextChoices):
    """What a message's timeline can tell."""

    ACCEPTED = "accepted", "accepted by the provider"
    SENT = "sent", "sent"
    DELIVERED = "delivered", "delivered"
    READ = "read", "read"
    FAILED = "failed", "failed"
    REROUTED = "rerouted", "decided anew"
    RECEIPT = "receipt", "read receipt given"


class MessageEvent(models.Model):
    """Something that became known of a message; of each kind the first is kept, whatever the order they come in.

    `at` is the provider's own time where it told one.
    """

    id = models.BigAutoField(primary_key=True)
    location = models.ForeignKey(Location, on_delete=models.CASCADE, related_name="+")
    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="events", db_constraint=False)
    kind = models.CharField(max_length=10, choices=EventKind)
    at = models.DateTimeField()
    code = models.CharField(max_length=64, blank=True)
    detail = models.TextField(blank=True)
    provider_event = models.ForeignKey(
        ProviderEvent, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    recorded_at = models.DateTimeField(default=timezone.now)

    objects = LocationScoped["MessageEvent"].as_manager()

    class Meta:
        ordering = ["at", "id"]
        constraints = [
            models.UniqueConstraint(fields=["message", "kind"], name="message_event_once"),
            SameLocation(field="message", name="message_event_message_same_location"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} at {self.at:%Y-%m-%d %H:%M:%S}"


class Attachment(Duty):
    """A picture or file of a message. Outbound: `url` is what the provider is given; where a person attached the file
    it is in `file`, and `url` is the hub's own address of it, which holds `public_key`. Inbound: fetched from `url` by
    a worker and kept in `file`, because providers delete it; as a duty it is due until then."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    location = models.ForeignKey(Location, on_delete=models.CASCADE, related_name="+")
    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="attachments", db_constraint=False)
    order = models.PositiveSmallIntegerField(default=0)
    url = models.URLField(max_length=2000)
    file = models.FileField(upload_to="attachments/%Y/%m/", blank=True)
    # The unguessable part of the address by which the provider fetches what a person attached.
    public_key = models.CharField(max_length=64, null=True, blank=True, unique=True)
    content_type = models.CharField(max_length=80, blank=True)
    size = models.PositiveIntegerField(null=True, blank=True)
    fetched_at = models.DateTimeField(null=True, blank=True)
    # Why it could not be fetched; "" while it is still tried or when it was.
    problem = models.CharField(max_length=200, blank=True)

    objects = LocationScoped["Attachment"].as_manager()

    class Meta:
        ordering = ["message", "order"]
        constraints = [
            models.UniqueConstraint(fields=["message", "order"], name="attachment_order_once"),
            SameLocation(field="message", name="attachment_message_same_location"),
        ]
        indexes = [models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="attachment_due")]

    def __str__(self) -> str:
        return f"attachment {self.order + 1}"
