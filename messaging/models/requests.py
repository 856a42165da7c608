"""What is remembered beside the messages: answered requests, and who types at this moment."""

from django.db import models
from django.utils import timezone

from messaging.models.messages import Message
from routing.constraints import SameLocation
from routing.models import Account, Contact, Location


class IdempotencyKey(models.Model):
    """A request that was answered, so that its repetition gets the same answer and makes nothing.

    `fingerprint` is the SHA-256 of the request's meaning; `answer` the JSON body that was given with `status_code`.
    """

    id = models.BigAutoField(primary_key=True)
    location = models.ForeignKey(Location, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)
    message = models.ForeignKey(Message, on_delete=models.CASCADE, null=True, related_name="+", db_constraint=False)
    status_code = models.PositiveSmallIntegerField(null=True)
    answer = models.JSONField(null=True)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["location", "key"], name="idempotency_key_once"),
            SameLocation(field="message", name="idempotency_key_message_same_location"),
        ]

    def __str__(self) -> str:
        return f"idempotency key {self.pk}"


class TypingNotice(models.Model):
    """A contact types, until `until`; kept for moments only."""

    id = models.BigAutoField(primary_key=True)
    location = models.ForeignKey(Location, on_delete=models.CASCADE, related_name="+")
    contact = models.ForeignKey(Contact, on_delete=models.CASCADE, related_name="typing_notices", db_constraint=False)
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+", db_constraint=False)
    until = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["contact", "account"], name="typing_notice_once"),
            SameLocation(field="contact", name="typing_contact_same_location"),
            SameLocation(field="account", name="typing_account_same_location"),
        ]

    def __str__(self) -> str:
        return f"typing until {self.until:%H:%M:%S}"
