"""Setups, their phone lines, and what providers told about them."""

import secrets
import uuid
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Self

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Count, Exists, Min, OuterRef, Q
from django.utils import timezone

from provisioning.duties import Duty
from provisioning.fields import SecretTextField
from provisioning.providers import get_adapter, provider_choices
from provisioning.providers.base import Health, Pace
from routing.constraints import SameLocation
from routing.models import Account, Location
from routing.models.tenancy import LocationScoped

PENDING_LONG = timedelta(days=1)
"""After that a pending line is no matter of minutes any more: it is polled less often, and people are told."""


def new_key() -> str:
    """An unguessable key for a URL: 256 bits, URL-safe."""
    return secrets.token_urlsafe(32)


class SetupStatus(models.TextChoices):
    """Where a setup is in its life."""

    PROVISIONING = "provisioning", "provisioning"
    PENDING = "pending", "pending"
    ACTIVE = "active", "active"
    UNKNOWN = "unknown", "unknown"
    FAILED = "failed", "failed"
    CLOSED = "closed", "closed"


class SetupQuerySet(LocationScoped["Setup"]):
    """Setups."""

    def with_line_counts(self) -> Self:
        """Adds `phone_line_count` (pending and assigned), `assigned_line_count` and `oldest_pending_at` (None without a
        pending line), without a query a row."""
        return self.annotate(
            phone_line_count=Count("phone_lines", filter=~Q(phone_lines__status=LineStatus.RELEASED)),
            assigned_line_count=Count("phone_lines", filter=Q(phone_lines__status=LineStatus.ASSIGNED)),
            oldest_pending_at=Min("phone_lines__requested_at", filter=Q(phone_lines__status=LineStatus.PENDING)),
        )

    def needing_attention(self, now: datetime) -> Self:
        """Those where a person has to do something: the provider's answer was lost or a no, it rejects the credentials,
        or a line has been pending for longer than PENDING_LONG."""
        late = PhoneLine.objects.filter(
            setup=OuterRef("pk"), status=LineStatus.PENDING, requested_at__lt=now - PENDING_LONG
        )
        return self.exclude(status=SetupStatus.CLOSED).filter(
            Q(status__in=[SetupStatus.UNKNOWN, SetupStatus.FAILED])
            | Q(credentials_rejected_at__isnull=False)
            | Exists(late)
        )


class Setup(Duty):
    """One iMessage channel of a location: a business identity, realised as a subaccount at a provider.

    As a duty it is due when its webhooks are still to be registered or its lines are to be read.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    location = models.ForeignKey(Location, on_delete=models.PROTECT, related_name="setups")
    provider = models.CharField(max_length=32, choices=provider_choices)
    business_name = models.CharField(max_length=64, help_text="What recipients see; cannot be changed later.")
    label = models.CharField(max_length=120, help_text="For the people who run it; can be changed.")
    area_code = models.CharField(max_length=3, blank=True, help_text="A wish for the number; three digits.")
    status = models.CharField(max_length=12, choices=SetupStatus, default=SetupStatus.PROVISIONING, editable=False)
    # Why a setup failed or is unknown: a stable code and a sentence for people.
    problem_code = models.CharField(max_length=64, blank=True, editable=False)
    problem = models.TextField(blank=True, editable=False)
    webhook_key = models.CharField(max_length=64, unique=True, default=new_key, editable=False)
    webhook_secret = SecretTextField(default=new_key, editable=False)
    # Still accepted after a rotation, until its end.
    previous_webhook_secret = SecretTextField(null=True, blank=True, editable=False)
    previous_webhook_secret_until = models.DateTimeField(null=True, blank=True, editable=False)
    webhook_secret_set_at = models.DateTimeField(default=timezone.now, editable=False)
    webhooks_registered_at = models.DateTimeField(null=True, blank=True, editable=False)
    credentials_key_id = SecretTextField(null=True, blank=True, editable=False)
    credentials_secret = SecretTextField(null=True, blank=True, editable=False)
    credentials_set_at = models.DateTimeField(null=True, blank=True, editable=False)
    credentials_rejected_at = models.DateTimeField(null=True, blank=True, editable=False)
    lines_read_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, editable=False, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    closed_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = SetupQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(fields=["location", "id"], name="setup_of_location"),
            models.CheckConstraint(
                condition=Q(credentials_key_id__isnull=True, credentials_secret__isnull=True)
                | Q(credentials_key_id__isnull=False, credentials_secret__isnull=False),
                name="setup_credentials_together",
            ),
        ]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="setup_due"),
            models.Index(fields=["location", "-created_at", "id"], name="setup_list"),
        ]

    def __str__(self) -> str:
        return f"{self.business_name} ({self.label})"


class LineStatus(models.TextChoices):
    """Where a phone line is in its life; it only ever moves down this list."""

    PENDING = "pending", "pending"
    ASSIGNED = "assigned", "assigned"
    RELEASED = "released", "released"


class PhoneLine(models.Model):
    """One phone line of a setup. Pending: requested, no number yet. Assigned: backs exactly one account."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    location = models.ForeignKey(Location, on_delete=models.PROTECT, related_name="phone_lines")
    setup = models.ForeignKey(Setup, on_delete=models.CASCADE, related_name="phone_lines", db_constraint=False)
    status = models.CharField(max_length=8, choices=LineStatus, default=LineStatus.PENDING)
    health = models.CharField(
        max_length=8, choices=[(health.value, health.value) for health in Health], default=Health.UNKNOWN
    )
    phone_number = models.CharField(max_length=16, null=True, blank=True)  # noqa: DJ001  (no number is not "")
    request_id = models.CharField(max_length=120, blank=True)
    requested_at = models.DateTimeField(default=timezone.now)
    assigned_at = models.DateTimeField(null=True, blank=True)
    released_at = models.DateTimeField(null=True, blank=True)
    # Limits of this very line; None: the provider's. See `providers.base.Pace` for what each means.
    pace_per_second = models.FloatField(
        "messages per second", null=True, blank=True, validators=[MinValueValidator(0.01), MaxValueValidator(1000)]
    )
    pace_burst = models.PositiveIntegerField(
        "messages at once", null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(1000)]
    )
    new_contacts_per_hour = models.PositiveIntegerField(null=True, blank=True, validators=[MaxValueValidator(2000)])
    new_contacts_per_day = models.PositiveIntegerField(null=True, blank=True, validators=[MaxValueValidator(2000)])
    account = models.OneToOneField(
        Account, on_delete=models.PROTECT, null=True, blank=True, related_name="phone_line", db_constraint=False
    )

    objects = LocationScoped["PhoneLine"].as_manager()

    class Meta:
        ordering = ["requested_at", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["phone_number"], condition=Q(status="assigned"), name="line_number_on_one_assigned_line"
            ),
            models.CheckConstraint(
                condition=Q(status="pending", phone_number=None, assigned_at=None, account=None)
                | Q(status="assigned", phone_number__isnull=False, assigned_at__isnull=False, account__isnull=False)
                | Q(status="released", released_at__isnull=False),
                name="line_state_complete",
            ),
            models.CheckConstraint(
                condition=(Q(pace_per_second=None) | Q(pace_per_second__gt=0))
                & (Q(pace_burst=None) | Q(pace_burst__gte=1)),
                name="line_pace_moves",
            ),
            models.UniqueConstraint(fields=["location", "id"], name="line_of_location"),
            SameLocation(field="setup", name="line_setup_same_location"),
            SameLocation(field="account", name="line_account_same_location"),
        ]

    def __str__(self) -> str:
        return self.phone_number or f"pending since {self.requested_at:%Y-%m-%d}"

    @property
    def pace(self) -> Pace:
        """What it may bear: its own limits, and for the rest its provider's. Reads the setup."""
        pace = get_adapter(self.setup.provider).pace
        return replace(
            pace,
            per_second=self.pace_per_second or pace.per_second,
            burst=self.pace_burst or pace.burst,
            new_contacts_per_hour=_first_given(self.new_contacts_per_hour, pace.new_contacts_per_hour),
            new_contacts_per_day=_first_given(self.new_contacts_per_day, pace.new_contacts_per_day),
        )


def _first_given(own: int | None, common: int | None) -> int | None:
    return common if own is None else own


class NoticeKind(models.TextChoices):
    """What a notice tells of a line."""

    ASSIGNED = "assigned", "assigned"
    HEALTH = "health", "health"


class LineNotice(Duty):
    """That a line got its number, or does better or worse: written in the transaction of the change and never changed
    but for what makes it a duty. It is due until whoever has to be told of it was; who that is, is not known here.

    The columns hold what was so then. `previous_health`: of `kind` health.
    """

    id = models.BigAutoField(primary_key=True)
    location = models.ForeignKey(Location, on_delete=models.CASCADE, related_name="+")
    line = models.ForeignKey(PhoneLine, on_delete=models.CASCADE, related_name="notices", db_constraint=False)
    kind = models.CharField(max_length=8, choices=NoticeKind)
    phone_number = models.CharField(max_length=16)
    account_id = models.UUIDField()
    health = models.CharField(max_length=8)
    previous_health = models.CharField(max_length=8, blank=True)
    at = models.DateTimeField(default=timezone.now)

    objects = LocationScoped["LineNotice"].as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [SameLocation(field="line", name="line_notice_line_same_location")]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="line_notice_due"),
            models.Index(fields=["at"], name="line_notice_old"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.at:%Y-%m-%d %H:%M:%S}"


class EventOutcome(models.TextChoices):
    """What became of a provider event."""

    WAITING = "waiting", "waiting"
    APPLIED = "applied", "applied"
    IGNORED = "ignored", "ignored: nothing to do"
    CONFLICT = "conflict", "conflict: contradicts what we know"
    UNREADABLE = "unreadable", "unreadable"
    UNKNOWN = "unknown", "unknown type"


class ProviderEvent(Duty):
    """A verified webhook, kept once, as it came. As a duty it is due until it was applied."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    location = models.ForeignKey(Location, on_delete=models.CASCADE, related_name="provider_events")
    setup = models.ForeignKey(Setup, on_delete=models.CASCADE, related_name="events", db_constraint=False)
    type = models.CharField(max_length=64)
    # The provider's event id, or a digest of what makes the event this one.
    dedup_key = models.CharField(max_length=200)
    # The message at the provider that it speaks of; "" when none. Events that come before our own answer wait on it.
    provider_id = models.CharField(max_length=200, blank=True)
    # Of a message's own callback: the attempt it proves; see messaging.Attempt.
    attempt_id = models.UUIDField(null=True, blank=True)
    topic = models.CharField(max_length=64, blank=True)
    body = models.BinaryField()
    outcome = models.CharField(max_length=10, choices=EventOutcome, default=EventOutcome.WAITING)
    detail = models.TextField(blank=True)
    received_at = models.DateTimeField(default=timezone.now)
    applied_at = models.DateTimeField(null=True, blank=True)

    objects = LocationScoped["ProviderEvent"].as_manager()

    class Meta:
        ordering = ["-received_at"]
        constraints = [
            models.UniqueConstraint(fields=["setup", "dedup_key"], name="provider_event_once"),
            SameLocation(field="setup", name="provider_event_setup_same_location"),
        ]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="provider_event_due"),
            models.Index(fields=["setup", "provider_id"], condition=~Q(provider_id=""), name="provider_event_message"),
            models.Index(fields=["location", "-received_at", "id"], name="provider_event_list"),
            models.Index(fields=["-received_at", "id"], name="provider_event_list_of_all"),
        ]

    def __str__(self) -> str:
        return f"{self.type} of {self.received_at:%Y-%m-%d %H:%M:%S}"


class SecretCanary(models.Model):
    """A known text under the encryption keys: whether it can be read tells at start whether the keys are right."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    sealed = SecretTextField()

    class Meta:
        verbose_name_plural = "secret canaries"
        constraints = [models.CheckConstraint(condition=Q(id=1), name="one_secret_canary")]

    def __str__(self) -> str:
        return "secret canary"
