"""Locations, accounts and contacts over HTTP."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar
from uuid import UUID

import django_filters
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError, Q, QuerySet
from django.utils import timezone
from django_filters.rest_framework import FilterSet
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from routing import audit, services
from routing.errors import Refused
from routing.models import (
    Account,
    ApiKey,
    AuditAction,
    ConsentSource,
    Contact,
    Location,
    Membership,
    Role,
    Unavailable,
    User,
)
from routing.phones import InvalidPhone, parse_phone
from routing.quiet_hours import DAYS
from routing.selection import Blocker
from routing.tenancy_api import (
    Flag,
    FlagFilter,
    IdFilter,
    LocatedSerializer,
    LocationViewSet,
    NoBody,
    Text,
    Word,
    matches_digits,
)

MAX_TAGS = 50


# --- locations --------------------------------------------------------------------------------------------------------
class QuietWindow(serializers.Serializer[Any]):
    """A time of the week at which nothing leaves, on the location's own clocks."""

    days = serializers.ListField(child=Word(DAYS, component="Weekday"), help_text="The days it starts on.")
    to = serializers.CharField(help_text="Like 08:00; not later than `from`: on the next day.")

    def get_fields(self) -> dict[str, Any]:
        """With `from` before `to`; the word is taken in Python."""
        fields: dict[str, Any] = super().get_fields()
        begins = serializers.CharField(help_text="Like 21:00.")
        return {"days": fields["days"], "from": begins, "to": fields["to"]}


class LocationAnswer(serializers.Serializer[Location]):
    """One business or clinic and its policies."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    time_zone = serializers.CharField()
    region = serializers.CharField(help_text="Where a number without country code is taken to be from, like US.")
    unavailable_tag_account = Word(
        Unavailable.values, component="UnavailablePolicy", help_text="When the tagged account cannot send."
    )
    unavailable_user_account = Word(
        Unavailable.values, component="UnavailablePolicy", help_text="When the assigned user's account cannot send."
    )
    manual_override_persists = serializers.BooleanField(
        help_text="Whether {IM#N} replaces the contact's `im:` tag once the provider accepted the message."
    )
    quiet_hours = serializers.SerializerMethodField(
        help_text="When messages wait instead of leaving, by the clocks of `time_zone`."
    )
    default_account = serializers.UUIDField(source="default_account_id", allow_null=True)
    created_at = serializers.DateTimeField()

    @extend_schema_field(QuietWindow(many=True))
    def get_quiet_hours(self, location: Location) -> Any:
        """The windows as they are stored."""
        return location.quiet_hours


class LocationView(mixins.ListModelMixin, mixins.RetrieveModelMixin, LocationViewSet):
    """The caller's locations."""

    queryset = Location.objects.all()
    serializer_class = LocationAnswer
    ordering = ("name", "id")


# --- accounts ---------------------------------------------------------------------------------------------------------
class AccountAnswer(serializers.Serializer[Account]):
    """One sending identity of a location."""

    id = serializers.UUIDField()
    location = serializers.UUIDField(source="location_id")
    index = serializers.IntegerField(help_text="The N of {IM#N}; given once, never used for another account.")
    label = serializers.CharField()  # type: ignore[assignment]
    phone_number = serializers.CharField(help_text="E.164.")
    user = serializers.UUIDField(source="user_id", allow_null=True)
    is_enabled = serializers.BooleanField()
    is_default = serializers.SerializerMethodField()
    can_send = serializers.BooleanField()
    blockers = serializers.ListField(
        child=Word(Blocker, component="Blocker"), help_text="Why it cannot send now; empty when it can."
    )
    created_at = serializers.DateTimeField()

    def get_is_default(self, account: Account) -> bool:
        """Whether the location's messages leave from here when no stronger rule chooses."""
        return account.location.default_account_id == account.pk


class AccountChange(LocatedSerializer):
    """What of an account can be changed; the rest comes from its phone line."""

    label = Text(required=False, max_length=120)  # type: ignore[assignment]
    user = Text(
        required=False, allow_null=True, max_length=120, help_text="A member's id or CRM user id; null for nobody."
    )
    is_enabled = Flag(required=False)


class AccountFilter(FilterSet):  # type: ignore[misc]
    """Which accounts."""

    can_send = FlagFilter(help_text="Only those that can, or cannot, send now.")
    user = IdFilter(field_name="user_id", help_text="Only those of this user.")


class AccountView(mixins.ListModelMixin, mixins.RetrieveModelMixin, LocationViewSet):
    """The accounts of the caller's locations; those that were retired are not there."""

    queryset = Account.objects.open().select_related("location")
    serializer_class = AccountAnswer
    filterset_class = AccountFilter
    ordering = ("location_id", "index")
    roles: ClassVar[Mapping[str, Role]] = {"partial_update": Role.ADMIN, "set_default": Role.AGENT}

    @extend_schema(request=AccountChange, responses=AccountAnswer)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Rename an account, give it to a user, switch it on or off."""
        account: Account = self.get_object()
        changes = self.read_body(AccountChange)
        if changes.get("user") is not None:
            changes["user"] = services.resolve_user(location=account.location, given=changes["user"], field="user")
        told = {
            name: (audit.shown(getattr(account, name)), audit.shown(value))
            for name, value in changes.items()
            if getattr(account, name) != value
        }
        if told:
            with transaction.atomic():
                Account.objects.filter(pk=account.pk).update(**changes)
                audit.record(
                    by=self.caller,
                    action=AuditAction.CHANGED,
                    obj=account,
                    location_id=account.location_id,
                    changes=told,
                )
        return Response(AccountAnswer(self.get_queryset().get(pk=account.pk)).data)

    @extend_schema(request=None, responses=AccountAnswer)
    @action(detail=True, methods=["post"], url_path="set-default")
    def set_default(self, request: Request, pk: str) -> Response:
        """Make the account its location's default, in place of any other."""
        account: Account = self.get_object()
        self.read_body(NoBody)
        self._require_may_set_default(account.location_id)
        services.set_default_account(account=account, by=self.caller)
        return Response(AccountAnswer(self.get_queryset().get(pk=account.pk)).data)

    def _require_may_set_default(self, location_id: UUID) -> None:
        caller = self.caller
        if not isinstance(caller, User) or caller.may(Role.ADMIN, location_id):
            return
        if not Membership.objects.filter(user=caller.pk, location=location_id, can_set_default=True).exists():
            raise PermissionDenied


# --- contacts ---------------------------------------------------------------------------------------------------------
class ContactAnswer(serializers.Serializer[Contact]):
    """A customer or patient of a location."""

    id = serializers.UUIDField()
    location = serializers.UUIDField(source="location_id")
    name = serializers.CharField()
    phone_number = serializers.CharField(help_text="E.164.")
    tags = serializers.SerializerMethodField()
    assigned_user = serializers.UUIDField(source="assigned_user_id", allow_null=True)
    opted_out = serializers.BooleanField()
    opted_out_at = serializers.DateTimeField(allow_null=True)
    last_account = serializers.UUIDField(
        source="last_account_id", allow_null=True, help_text="The account whose number the contact last saw."
    )
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()

    def get_tags(self, contact: Contact) -> list[str]:
        """The names of the contact's tags, in alphabetical order."""
        return [tag.name for tag in contact.tags.all()]


class ContactFields(LocatedSerializer):
    """What can be said of a contact."""

    name = Text(required=False, allow_blank=True, max_length=200)
    tags = serializers.ListField(
        child=Text(max_length=100), required=False, max_length=MAX_TAGS, help_text="All of them: others are taken off."
    )
    assigned_user = Text(
        required=False, allow_null=True, max_length=120, help_text="A member's id or CRM user id; null for nobody."
    )
    opted_out = Flag(required=False, help_text="true: nothing is sent to the contact, whatever the override.")
    phone_number = Text(
        max_length=32, help_text="Any form that can be read in the location's region; stored and answered as E.164."
    )

    def validate_phone_number(self, given: str) -> str:
        """The number in E.164."""
        location: Location = self.context["contact_location"]
        try:
            return parse_phone(given, region=location.region)
        except InvalidPhone as error:
            raise serializers.ValidationError(error.detail, code=error.code) from error


class ContactFilter(FilterSet):  # type: ignore[misc]
    """Which contacts."""

    phone_number = django_filters.CharFilter(max_length=32, help_text="Only the one with this number, as E.164.")
    tag = django_filters.CharFilter(
        field_name="tags__name", max_length=100, help_text="Only those with this tag, letter by letter."
    )
    assigned_user = IdFilter(field_name="assigned_user_id", help_text="Only those assigned to this user.")
    opted_out = FlagFilter(method="by_opt_out", help_text="Only those that did, or did not, opt out.")
    search = django_filters.CharFilter(
        method="by_term", max_length=100, help_text="Only those whose name or number holds this text."
    )

    def by_opt_out(self, rows: QuerySet[Contact], name: str, value: bool) -> QuerySet[Contact]:
        """Contacts that opted out, or the others."""
        return rows.filter(opted_out_at__isnull=not value)

    def by_term(self, rows: QuerySet[Contact], name: str, value: str) -> QuerySet[Contact]:
        """Contacts whose name or number holds the text."""
        return rows.filter(Q(name__icontains=value) | matches_digits("phone_number", value))


class ContactView(mixins.ListModelMixin, mixins.RetrieveModelMixin, LocationViewSet):
    """The contacts of the caller's locations."""

    queryset = Contact.objects.prefetch_related("tags")
    serializer_class = ContactAnswer
    filterset_class = ContactFilter
    ordering = ("-created_at", "id")
    roles: ClassVar[Mapping[str, Role]] = {"destroy": Role.ADMIN}
    problems: ClassVar[Mapping[str, Mapping[int, str]]] = {
        "create": {409: "`contact_exists`: the location has a contact with that number already."},
        "partial_update": {409: "`contact_exists`: another contact of the location has that number."},
        "destroy": {409: "`contact_has_messages`: what was said is kept, and so is with whom."},
    }

    @extend_schema(request=ContactFields, responses={201: ContactAnswer})
    def create(self, request: Request) -> Response:
        """Make a contact."""
        location = self.require_location()
        given = self.read_body(ContactFields, contact_location=location)
        with transaction.atomic():
            contact, made = services.get_or_create_contact(
                location=location, phone_number=given.pop("phone_number"), name=given.pop("name", "")
            )
            if not made:
                raise contact_exists()
            self._write(contact, location, given)
            self._note(contact, AuditAction.CREATED)
        return self._answer(contact.pk, HTTPStatus.CREATED)

    @extend_schema(request=ContactFields, responses=ContactAnswer)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change what is given of a contact, and nothing else."""
        contact: Contact = self.get_object()
        location = Location.objects.get(pk=contact.location_id)
        given = self.read_body(ContactFields, contact_location=location)
        try:
            with transaction.atomic():
                self._write(contact, location, given)
                self._note(contact, AuditAction.CHANGED, [name for name in given if name != "location"])
        except IntegrityError:
            number = given.get("phone_number")
            if Contact.objects.filter(location=location, phone_number=number).exclude(pk=contact.pk).exists():
                raise contact_exists() from None
            raise
        return self._answer(contact.pk, HTTPStatus.OK)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Forget a contact that nothing was ever said with."""
        contact: Contact = self.get_object()
        self.read_body(NoBody)
        try:
            with transaction.atomic():
                self._note(contact, AuditAction.DELETED)
                contact.delete()
        except (ProtectedError, IntegrityError):
            raise Refused(
                "contact_has_messages",
                "There are messages with this contact; set opted_out to write to it no more.",
                status=HTTPStatus.CONFLICT,
            ) from None
        return Response(status=HTTPStatus.NO_CONTENT)

    def _write(self, contact: Contact, location: Location, given: dict[str, Any]) -> None:
        changes = {name: given[name] for name in ("name", "phone_number", "assigned_user") if name in given}
        if changes.get("assigned_user") is not None:
            changes["assigned_user"] = services.resolve_user(location=location, given=changes["assigned_user"])
        Contact.objects.filter(pk=contact.pk).update(**changes, updated_at=timezone.now())
        if "tags" in given:
            services.set_tags(contact=contact, names=given["tags"])
        if "opted_out" in given:
            by = self.request.user
            services.set_opt_out(
                contact=contact,
                opted_out=given["opted_out"],
                source=ConsentSource.PERSON if isinstance(by, User) else ConsentSource.API,
                by=by if isinstance(by, User | ApiKey) else None,
            )

    def _note(self, contact: Contact, action: AuditAction, fields: Sequence[str] = ()) -> None:
        """Into the audit trail, without a word about the person."""
        audit.record(
            by=self.caller,
            action=action,
            obj=contact,
            location_id=contact.location_id,
            name=f"Contact {contact.pk}",
            changes=dict.fromkeys(fields),
        )

    def _answer(self, contact_id: UUID, status: HTTPStatus) -> Response:
        return Response(ContactAnswer(self.get_queryset().get(pk=contact_id)).data, status=status)


def contact_exists() -> Refused:
    """The refusal of a number that another contact of the location has."""
    return Refused(
        "contact_exists",
        "The location has a contact with this number already.",
        status=HTTPStatus.CONFLICT,
        field="phone_number",
    )
