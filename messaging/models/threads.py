"""What the conversations page reads: one thread per contact, the reactions in it, and how much was said each day."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from messaging.models.messages import Message
from routing.constraints import SameLocation
from routing.models import Contact, Location
from routing.models.tenancy import LocationScoped


class ThreadQuerySet(LocationScoped["Thread"]):
    """Threads."""


class Thread(models.Model):
    """Everything said with one contact, from whichever number: what a list of conversations shows without reading the
    messages. Kept up to date by `messaging.threads` in the transaction that stores a message.

    Not to be confused with what delivery keeps in order, which is one contact *and* one account.
    """

    contact = models.OneToOneField(
        Contact, on_delete=models.CASCADE, primary_key=True, related_name="thread", db_constraint=False
    )
    location = models.ForeignKey(Location, on_delete=models.CASCADE, related_name="+", db_index=False)
    last_message = models.ForeignKey(
        Message, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    # `position` of the last message: the order of the list.
    last_position = models.BigIntegerField()
    last_at = models.DateTimeField()
    # Received messages that nobody who may answer has looked at.
    unread_count = models.PositiveIntegerField(default=0)

    objects = ThreadQuerySet.as_manager()

    class Meta:
        ordering = ["-last_position"]
        verbose_name = "conversation"
        constraints = [
            SameLocation(field="contact", name="thread_contact_same_location"),
            SameLocation(field="last_message", name="thread_last_message_same_location"),
        ]
        indexes = [
            models.Index(fields=["location", "-last_position"], name="thread_list"),
            models.Index(fields=["-last_position"], name="thread_list_of_all"),
            models.Index(
                fields=["location", "-last_position"], condition=Q(unread_count__gt=0), name="thread_list_of_unread"
            ),
        ]

    def __str__(self) -> str:
        return f"conversation with {self.contact}"


class Reaction(models.Model):
    """A heart, a thumb or a smile that a contact put on one of our messages; one contact has one on a message.

    `removed_at`: it was taken back. `provider_id` is that of the text by which the provider told of it.
    """

    id = models.BigAutoField(primary_key=True)
    location = models.ForeignKey(Location, on_delete=models.CASCADE, related_name="+")
    message = models.OneToOneField(Message, on_delete=models.CASCADE, related_name="reaction", db_constraint=False)
    emoji = models.CharField(max_length=16)
    at = models.DateTimeField(default=timezone.now)
    removed_at = models.DateTimeField(null=True)
    provider_id = models.CharField(max_length=200)

    objects = LocationScoped["Reaction"].as_manager()

    class Meta:
        constraints = [SameLocation(field="message", name="reaction_message_same_location")]

    def __str__(self) -> str:
        return self.emoji


class DailyVolume(models.Model):
    """How much was said at a location on one of its days that are over; days are those of its time zone."""

    id = models.BigAutoField(primary_key=True)
    location = models.ForeignKey(Location, on_delete=models.CASCADE, related_name="+", db_index=False)
    day = models.DateField()
    sent = models.PositiveIntegerField()
    received = models.PositiveIntegerField()
    failed = models.PositiveIntegerField()

    objects = LocationScoped["DailyVolume"].as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["location", "day"], name="daily_volume_once")]

    def __str__(self) -> str:
        return f"{self.day}"
