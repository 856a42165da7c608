"""Invitations: one-time links by which people come to work for a location."""

import uuid
from datetime import datetime
from typing import Self

from django.conf import settings
from django.db import models
from django.utils import timezone

from routing.models.tenancy import Location, LocationScoped, Role


class InvitationQuerySet(LocationScoped["Invitation"]):
    """Invitations."""

    def open(self, now: datetime) -> Self:
        """Those whose link still works at `now`: not accepted, not withdrawn, not expired."""
        return self.filter(accepted_at=None, withdrawn_at=None, expires_at__gt=now)


class Invitation(models.Model):
    """A link that makes whoever opens it first a member of the location, with the role that stands here.

    Only a digest of its token is kept; the link is shown once, when it is made.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    location = models.ForeignKey(Location, on_delete=models.CASCADE, related_name="invitations")
    name = models.CharField("for whom", max_length=120)
    role = models.CharField(max_length=8, choices=Role, default=Role.AGENT)
    can_set_default = models.BooleanField("may mark the default account", default=False)
    token_digest = models.CharField(max_length=64, unique=True, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, editable=False, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(editable=False)
    withdrawn_at = models.DateTimeField(null=True, editable=False)
    accepted_at = models.DateTimeField(null=True, editable=False)
    accepted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, editable=False, related_name="+"
    )

    objects = InvitationQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        indexes = [models.Index(fields=["location", "-created_at"], name="invitation_list")]

    def __str__(self) -> str:
        return f"invitation for {self.name}"
