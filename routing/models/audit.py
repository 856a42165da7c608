"""Who changed what: one row for every change that people, programs or the hub itself made to what matters."""

from typing import Any, NoReturn

from django.conf import settings
from django.db import models
from django.utils import timezone

from routing.models.tenancy import ApiKey, Location, LocationScoped


class AuditAction(models.TextChoices):
    """What was done."""

    CREATED = "created", "created"
    CHANGED = "changed", "changed"
    DELETED = "deleted", "deleted"


class AuditQuerySet(LocationScoped["AuditEntry"]):
    """Entries, which are read and added to, and otherwise left alone."""

    def update(self, **kwargs: Any) -> NoReturn:
        """Raises TypeError: what was written down stays as it is."""
        raise TypeError("Entries of the audit trail are not changed.")

    def delete(self) -> NoReturn:
        """Raises TypeError: entries go only with their location."""
        raise TypeError("Entries of the audit trail are not deleted.")


class AuditEntry(models.Model):
    """One change, written by `routing.audit.record` and never changed afterwards.

    It outlives what it speaks of, so it refers to it by words: `object_type` is a model's label, `object_name` names no
    person outside the hub. `changes` maps a field to what it was and is, or to None where the values are nobody's to
    read later. `actor` is who did it as they were called then; without a user and a key it was the hub itself.
    """

    id = models.BigAutoField(primary_key=True)
    # None: it belongs to no location; operators see it.
    location = models.ForeignKey(
        Location, on_delete=models.CASCADE, null=True, blank=True, related_name="+", db_index=False
    )
    at = models.DateTimeField(default=timezone.now)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    api_key = models.ForeignKey(ApiKey, on_delete=models.SET_NULL, null=True, related_name="+")
    actor = models.CharField(max_length=200)
    action = models.CharField(max_length=8, choices=AuditAction)
    object_type = models.CharField(max_length=64)
    object_id = models.CharField(max_length=64)
    object_name = models.CharField(max_length=200)
    detail = models.TextField(blank=True)
    changes = models.JSONField(default=dict, blank=True)

    objects = AuditQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "audit entries"
        indexes = [
            models.Index(fields=["location", "-id"], name="audit_list"),
            models.Index(fields=["object_type", "object_id", "-id"], name="audit_history_of_object"),
        ]

    def __str__(self) -> str:
        return f"{self.actor} {self.action} {self.object_name}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Once. Raises TypeError for a row that is there: the database would refuse it too."""
        if not self._state.adding:
            raise TypeError("Entries of the audit trail are not changed.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises TypeError: entries go only with their location."""
        raise TypeError("Entries of the audit trail are not deleted.")
