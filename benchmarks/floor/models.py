"""The one row that each of the floors' views inserts: lean tables, so that the floor is as low as it can be."""

import uuid

from django.db import models
from django.utils import timezone

from provisioning.models import Setup
from routing.models import Location


class FloorMessage(models.Model):
    """A message as it was asked for, and nothing decided."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    location = models.ForeignKey(Location, on_delete=models.CASCADE, related_name="+")
    to = models.CharField(max_length=16)
    text = models.TextField()
    metadata = models.JSONField(default=dict)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        app_label = "floor"

    def __str__(self) -> str:
        return str(self.id)


class FloorEvent(models.Model):
    """A provider's event as it came."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    setup = models.ForeignKey(Setup, on_delete=models.CASCADE, related_name="+")
    attempt_id = models.UUIDField(null=True)
    body = models.JSONField()
    received_at = models.DateTimeField(default=timezone.now)

    class Meta:
        app_label = "floor"

    def __str__(self) -> str:
        return str(self.id)
