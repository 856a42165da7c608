"""Accounts: the sending identities of a location."""

import uuid
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from routing.models.tenancy import Location, LocationScoped
from routing.selection import Blocker


class LineState(models.TextChoices):
    """Where the account's phone line is in its life, as provisioning reports it."""

    PENDING = "pending", "pending"
    ASSIGNED = "assigned", "assigned"
    RELEASED = "released", "released"


class AccountQuerySet(LocationScoped["Account"]):
    """Accounts."""

    def open(self) -> Self:
        """Accounts that were not retired; a retired one is as if it were not there, but keeps its index."""
        return self.filter(retired_at=None)

    def sendable(self) -> Self:
        """Accounts that can send now."""
        return self.filter(can_send=True)


class Account(models.Model):
    """One sending identity of a location: an index, a label, one phone number, a connection.

    What the connection is made of (`line_state`, `line_blocked`, `credentials_rejected`, `connected`) is written by
    provisioning through `routing.services`; `can_send` is computed from it by the database itself.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    location = models.ForeignKey(Location, on_delete=models.CASCADE, related_name="accounts")
    index = models.PositiveIntegerField(
        editable=False, help_text="The N of {IM#N}; given once, never used for another account."
    )
    label = models.CharField(max_length=120)
    phone_number = models.CharField(max_length=16, help_text="E.164, like +15551234567.")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="accounts",
        help_text="Messages to contacts that are assigned to this user leave from here.",
    )
    is_enabled = models.BooleanField("enabled", default=True)
    line_state = models.CharField(max_length=8, choices=LineState, default=LineState.ASSIGNED, editable=False)
    line_blocked = models.BooleanField(default=False, editable=False)
    credentials_rejected = models.BooleanField(default=False, editable=False)
    connected = models.BooleanField(default=True, editable=False)
    retired_at = models.DateTimeField(null=True, blank=True, editable=False)
    can_send = models.GeneratedField(
        expression=models.Case(
            models.When(
                Q(
                    is_enabled=True,
                    line_state="assigned",
                    line_blocked=False,
                    credentials_rejected=False,
                    connected=True,
                    retired_at__isnull=True,
                ),
                then=models.Value(True),
            ),
            default=models.Value(False),
        ),
        output_field=models.BooleanField(),
        db_persist=True,
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = AccountQuerySet.as_manager()

    class Meta:
        ordering = ["location", "index"]
        constraints = [
            models.UniqueConstraint(fields=["location", "id"], name="account_of_location"),
            models.UniqueConstraint(fields=["location", "index"], name="account_index_once"),
            models.UniqueConstraint(
                fields=["location", "phone_number"], condition=Q(retired_at=None), name="account_number_once"
            ),
            models.CheckConstraint(condition=Q(index__gte=1), name="account_index_from_one"),
        ]
        indexes = [
            # The last rule: the lowest index that can send, whatever the number of accounts.
            models.Index(fields=["location", "index"], condition=Q(can_send=True), name="account_any_available"),
            models.Index(fields=["location", "user"], name="account_of_user"),
        ]

    def __str__(self) -> str:
        return f"{self.index} · {self.label} ({self.phone_number})"

    @property
    def blockers(self) -> tuple[Blocker, ...]:
        """Why the account cannot send now; empty when it can."""
        found = {
            Blocker.DISABLED: not self.is_enabled or self.retired_at is not None,
            Blocker.LINE_PENDING: self.line_state == LineState.PENDING,
            Blocker.LINE_RELEASED: self.line_state == LineState.RELEASED,
            Blocker.LINE_BLOCKED: self.line_blocked,
            Blocker.CREDENTIALS_REJECTED: self.credentials_rejected,
            Blocker.DISCONNECTED: not self.connected,
        }
        return tuple(blocker for blocker, applies in found.items() if applies)
