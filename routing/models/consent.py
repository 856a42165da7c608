"""Consent: each time that a contact's wish to be written to, or not, became known."""

from django.conf import settings
from django.db import models
from django.utils import timezone

from routing.constraints import SameLocation
from routing.models.contacts import Contact
from routing.models.tenancy import ApiKey, Location, LocationScoped


class ConsentSource(models.TextChoices):
    """How it became known."""

    MESSAGE = "message", "the contact's own message"
    PERSON = "person", "a person in the admin"
    API = "api", "a program"
    IMPORT = "import", "an import"


class ConsentChange(models.Model):
    """One change of a contact's consent; `Contact.opted_out_at` says what holds now. `at` is when it was said."""

    id = models.BigAutoField(primary_key=True)
    location = models.ForeignKey(Location, on_delete=models.CASCADE, related_name="+")
    contact = models.ForeignKey(Contact, on_delete=models.CASCADE, related_name="consent_changes", db_constraint=False)
    opted_out = models.BooleanField()
    at = models.DateTimeField()
    source = models.CharField(max_length=8, choices=ConsentSource)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    api_key = models.ForeignKey(ApiKey, on_delete=models.SET_NULL, null=True, related_name="+")
    recorded_at = models.DateTimeField(default=timezone.now)

    objects = LocationScoped["ConsentChange"].as_manager()

    class Meta:
        ordering = ["-recorded_at", "-id"]
        constraints = [SameLocation(field="contact", name="consent_contact_same_location")]

    def __str__(self) -> str:
        return f"{'opted out' if self.opted_out else 'opted in'} at {self.at:%Y-%m-%d %H:%M:%S}"
