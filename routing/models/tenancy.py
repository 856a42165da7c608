"""Locations, the people of them, and the keys of their programs."""

import uuid
import zoneinfo
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from functools import cached_property
from typing import Protocol, Self, TypeVar

from django.contrib.auth.models import AbstractUser
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils import timezone
from phonenumbers import SUPPORTED_REGIONS

from routing.constraints import SameLocation
from routing.quiet_hours import validate_quiet_hours

Row = TypeVar("Row", bound=models.Model)


class Caller(Protocol):
    """Whoever asks: a signed-in user or an API key."""

    @property
    def location_ids(self) -> Collection[uuid.UUID] | None:
        """The locations the caller may see; None means every one (operators)."""


class LocationScoped(models.QuerySet[Row]):
    """Rows of locations; the one place that says who sees which."""

    location_path = "location"

    def visible_to(self, caller: Caller) -> Self:
        """Only the rows of the caller's locations; another location's rows are as if they were not there."""
        ids = caller.location_ids
        return self if ids is None else self.filter(**{f"{self.location_path}__in": ids})


class LocationQuerySet(LocationScoped["Location"]):
    """Locations themselves."""

    location_path = "pk"


class Unavailable(models.TextChoices):
    """What a standing preference does when its account cannot send."""

    NEXT = "next", "go on to the next rule"
    FAIL = "fail", "fail, and say why"


class SecondFactorPolicy(models.TextChoices):
    """Of whom a location asks a code from their phone when they sign in."""

    NOBODY = "nobody", "nobody has to"
    ADMINS = "admins", "its admins have to"
    EVERYBODY = "everybody", "everybody has to"


def validate_time_zone(name: str) -> None:
    """Refuses what the time zone database does not know."""
    if name not in zoneinfo.available_timezones():
        raise ValidationError("“%(name)s” is not a time zone. Example: America/New_York.", params={"name": name})


def validate_region(code: str) -> None:
    """Refuses what is no two-letter region that phone numbers belong to."""
    if code not in SUPPORTED_REGIONS:
        raise ValidationError("“%(code)s” is not a region. Use two capital letters, like US.", params={"code": code})


class Location(models.Model):
    """One business or clinic: the tenant that everything else belongs to."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=120)
    time_zone = models.CharField(max_length=64, default="America/New_York", validators=[validate_time_zone])
    region = models.CharField(
        max_length=2,
        default="US",
        validators=[validate_region],
        help_text="Where a phone number without a country code is taken to be from. Two letters, like US.",
    )
    unavailable_tag_account = models.CharField(
        "when the tagged account cannot send", max_length=8, choices=Unavailable, default=Unavailable.NEXT
    )
    unavailable_user_account = models.CharField(
        "when the assigned user's account cannot send", max_length=8, choices=Unavailable, default=Unavailable.NEXT
    )
    manual_override_persists = models.BooleanField(
        "{IM#N} changes the contact's tag",
        default=False,
        help_text="After a message with {IM#N} was accepted by the provider, the contact is tagged with that number.",
    )
    second_factor = models.CharField(
        "second factor at sign-in",
        max_length=9,
        choices=SecondFactorPolicy,
        default=SecondFactorPolicy.NOBODY,
        help_text="A code from an authenticator app, beside the password.",
    )
    # Windows of the week, as routing/quiet_hours.py reads them.
    quiet_hours = models.JSONField(default=list, blank=True, validators=[validate_quiet_hours])
    # A pointer, not a flag on the account: one default by construction, and no update can trip over an index.
    default_account = models.ForeignKey(
        "routing.Account",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="default_of",
        db_constraint=False,
    )
    last_account_index = models.PositiveIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = LocationQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            SameLocation(field="default_account", location_field="id", name="location_default_is_its_own"),
            models.CheckConstraint(
                condition=Q(unavailable_tag_account__in=["next", "fail"])
                & Q(unavailable_user_account__in=["next", "fail"]),
                name="location_policies_known",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class User(AbstractUser):
    """A person who signs in. Superusers are operators of the whole hub; everybody else is a member of locations."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # One more, and every session of the user is over.
    session_epoch = models.PositiveIntegerField(default=0, editable=False)

    def get_session_auth_hash(self) -> str:
        """What a session must hold to go on: it changes with the password and with `session_epoch`."""
        return self._of_this_epoch(super().get_session_auth_hash())

    def get_session_auth_fallback_hash(self) -> Iterator[str]:
        """As the former signing keys would have it."""
        for former in super().get_session_auth_fallback_hash():
            yield self._of_this_epoch(former)

    def _of_this_epoch(self, digest: str) -> str:
        return f"{digest}.{self.session_epoch}" if self.session_epoch else digest

    @cached_property
    def roles(self) -> dict[uuid.UUID, "Role"]:
        """The user's role in each location they are a member of."""
        return {m.location_id: Role(m.role) for m in self._memberships}

    @cached_property
    def _memberships(self) -> list["Membership"]:
        """With their locations; one query for the life of this object."""
        return list(self.memberships.select_related("location"))

    @property
    def only_location_name(self) -> str:
        """The name of the user's location, where they have just one; "" otherwise."""
        return self._memberships[0].location.name if len(self._memberships) == 1 else ""

    @property
    def time_zone(self) -> str:
        """The zone that all of the user's locations keep; UTC where there are several, or none."""
        zones = {membership.location.time_zone for membership in self._memberships}
        return zones.pop() if len(zones) == 1 else "UTC"

    @property
    def location_ids(self) -> Collection[uuid.UUID] | None:
        """The locations this user may see; None (all) for operators."""
        return None if self.is_superuser else self.roles.keys()

    @property
    def must_have_second_factor(self) -> bool:
        """Whether one of the user's locations asks a second factor of them."""
        return any(
            membership.location.second_factor == SecondFactorPolicy.EVERYBODY
            or (membership.location.second_factor == SecondFactorPolicy.ADMINS and membership.role == Role.ADMIN)
            for membership in self._memberships
        )

    def may(self, least: "Role", location_id: uuid.UUID) -> bool:
        """Whether the user's role in the location is at least `least`; operators may everything."""
        if self.is_superuser:
            return True
        role = self.roles.get(location_id)
        return role is not None and role.rank >= least.rank


class Role(models.TextChoices):
    """What a member may do in a location; each may what the one before it may."""

    VIEWER = "viewer", "viewer: reads"
    AGENT = "agent", "agent: reads and converses"
    ADMIN = "admin", "admin: everything in the location"

    @property
    def rank(self) -> int:
        """Higher may more."""
        return list(Role).index(self)


class Membership(models.Model):
    """A user in a location, with a role."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    location = models.ForeignKey(Location, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=8, choices=Role, default=Role.AGENT)
    can_set_default = models.BooleanField(
        "may mark the default account",
        default=False,
        help_text="Admins always may; for agents it is granted here.",
    )
    crm_user_id = models.CharField(
        "CRM user id", max_length=120, blank=True, help_text="How the location's CRM names this user."
    )

    objects = LocationScoped["Membership"].as_manager()

    class Meta:
        ordering = ["location__name", "user__username"]
        constraints = [
            models.UniqueConstraint(fields=["location", "user"], name="membership_once"),
            models.UniqueConstraint(
                fields=["location", "crm_user_id"], condition=~Q(crm_user_id=""), name="membership_crm_user_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} ({self.role})"


class ApiKeyQuerySet(LocationScoped["ApiKey"]):
    """API keys."""

    def usable(self, now: datetime) -> Self:
        """Keys that open the door at `now`: not revoked, not expired."""
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None)


class ApiKey(models.Model):
    """A program's key to the API: of one location, or of the whole hub where `location` is None.

    Only a digest is kept; the key itself is shown once, by `routing.services.create_api_key`.
    """

    LAST_USED_RESOLUTION = timedelta(minutes=1)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    location = models.ForeignKey(
        Location,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="api_keys",
        help_text="Empty: a key to every location, for operators.",
    )
    name = models.CharField(max_length=120)
    prefix = models.CharField(max_length=16, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, editable=False, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        verbose_name = "API key"

    # DRF's permissions ask the caller.
    is_authenticated = True

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @property
    def location_ids(self) -> Collection[uuid.UUID] | None:
        """The key's one location; None (all) for an operator's key."""
        return None if self.location_id is None else (self.location_id,)
