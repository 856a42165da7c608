"""Contacts of a location and their tags."""

import uuid

from django.conf import settings
from django.db import models
from django.utils import timezone

from routing.constraints import SameLocation
from routing.models.accounts import Account
from routing.models.tenancy import Location, LocationScoped


class Tag(models.Model):
    """A word a location puts on contacts. `im: <phone>` chooses the number that messages to them leave from."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    location = models.ForeignKey(Location, on_delete=models.CASCADE, related_name="tags")
    name = models.CharField(max_length=100)

    objects = LocationScoped["Tag"].as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["location", "id"], name="tag_of_location"),
            models.UniqueConstraint(fields=["location", "name"], name="tag_name_once"),
        ]

    def __str__(self) -> str:
        return self.name


class Contact(models.Model):
    """A customer or patient of a location, known by one phone number."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    location = models.ForeignKey(Location, on_delete=models.CASCADE, related_name="contacts")
    name = models.CharField(max_length=200, blank=True)
    phone_number = models.CharField(max_length=16, help_text="E.164, like +15551234567.")
    assigned_user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="assigned_contacts"
    )
    tags = models.ManyToManyField(Tag, through="routing.ContactTag", related_name="contacts", blank=True)
    # None: may be written to. Set by STOP, by a client or in the admin; ended by START or by hand.
    opted_out_at = models.DateTimeField(null=True, blank=True, editable=False)
    # The account whose number the contact last saw, or last wrote to.
    last_account = models.ForeignKey(
        Account,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
        db_constraint=False,
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = LocationScoped["Contact"].as_manager()

    class Meta:
        ordering = ["name", "phone_number"]
        constraints = [
            models.UniqueConstraint(fields=["location", "id"], name="contact_of_location"),
            models.UniqueConstraint(fields=["location", "phone_number"], name="contact_number_once"),
            SameLocation(field="last_account", name="contact_last_account_same_location"),
        ]
        indexes = [
            models.Index(fields=["location", "-created_at", "id"], name="contact_list"),
        ]

    def __str__(self) -> str:
        return self.name or self.phone_number

    @property
    def opted_out(self) -> bool:
        """Whether the contact asked not to be written to."""
        return self.opted_out_at is not None


class ContactTag(models.Model):
    """One tag on one contact."""

    id = models.BigAutoField(primary_key=True)
    location = models.ForeignKey(Location, on_delete=models.CASCADE, related_name="+")
    contact = models.ForeignKey(Contact, on_delete=models.CASCADE, related_name="contact_tags", db_constraint=False)
    tag = models.ForeignKey(Tag, on_delete=models.CASCADE, related_name="contact_tags", db_constraint=False)

    objects = LocationScoped["ContactTag"].as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["contact", "tag"], name="contact_tag_once"),
            SameLocation(field="contact", name="contact_tag_contact_same_location"),
            SameLocation(field="tag", name="contact_tag_tag_same_location"),
        ]

    def __str__(self) -> str:
        return str(self.tag)
