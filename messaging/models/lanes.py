"""What delivery keeps of each line and each setup: how far a line is with its pace and budget, and who is not asked."""

from django.db import models
from django.utils import timezone

from provisioning.models import Setup
from routing.constraints import SameLocation
from routing.models import Account, Contact, Location
from routing.models.tenancy import LocationScoped


class Lane(models.Model):
    """The way out of one account. Whoever takes messages from it holds its row lock: so two workers never take two
    messages of one conversation, and together they keep its pace.

    `open_at`: when the next message may leave; in the past by as much as the line has rested.
    """

    account = models.OneToOneField(
        Account, on_delete=models.CASCADE, primary_key=True, related_name="lane", db_constraint=False
    )
    location = models.ForeignKey(Location, on_delete=models.CASCADE, related_name="+", db_index=False)
    open_at = models.DateTimeField(default=timezone.now)

    objects = LocationScoped["Lane"].as_manager()

    class Meta:
        constraints = [SameLocation(field="account", name="lane_account_same_location")]

    def __str__(self) -> str:
        return f"open at {self.open_at:%Y-%m-%d %H:%M:%S}"


class Opening(models.Model):
    """A line began a conversation with a contact who was new to it: what its budget of new contacts counts."""

    id = models.BigAutoField(primary_key=True)
    location = models.ForeignKey(Location, on_delete=models.CASCADE, related_name="+", db_index=False)
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+", db_constraint=False)
    contact = models.ForeignKey(Contact, on_delete=models.CASCADE, related_name="+", db_constraint=False)
    at = models.DateTimeField(default=timezone.now)

    objects = LocationScoped["Opening"].as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "contact"], name="opening_once"),
            SameLocation(field="account", name="opening_account_same_location"),
            SameLocation(field="contact", name="opening_contact_same_location"),
        ]
        indexes = [models.Index(fields=["account", "-at"], name="opening_of_account")]

    def __str__(self) -> str:
        return f"opened at {self.at:%Y-%m-%d %H:%M:%S}"


class Circuit(models.Model):
    """The breaker between the hub and a setup's account at the provider: after failures in a row it is left alone for a
    while, then asked with one message.

    `open_until`: not before then; None: closed, all is well.
    """

    setup = models.OneToOneField(
        Setup, on_delete=models.CASCADE, primary_key=True, related_name="circuit", db_constraint=False
    )
    location = models.ForeignKey(Location, on_delete=models.CASCADE, related_name="+", db_index=False)
    failures = models.PositiveIntegerField(default=0)
    open_until = models.DateTimeField(null=True)
    code = models.CharField(max_length=64, blank=True)

    objects = LocationScoped["Circuit"].as_manager()

    class Meta:
        constraints = [SameLocation(field="setup", name="circuit_setup_same_location")]

    def __str__(self) -> str:
        return "closed" if self.open_until is None else f"open until {self.open_until:%Y-%m-%d %H:%M:%S}"
