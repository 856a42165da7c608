"""What every HTTP resource shares: strict requests, the caller's location, and whose rows are whose."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from types import SimpleNamespace
from typing import Any, ClassVar, Final, cast
from uuid import UUID

import django_filters
from django import forms
from django.db import models
from django.db.models import QuerySet
from django.http import Http404
from django.http.response import HttpResponseBase
from django_filters.rest_framework import FilterSet
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, PermissionDenied, ValidationError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from routing.models import ApiKey, Location, Role, User
from routing.models.tenancy import LocationScoped

UUID_FORM: Final = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
RFC3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def read_id(given: object) -> UUID | None:
    """The id that `given` is in its usual form of 36 characters; None for anything else."""
    return UUID(given) if isinstance(given, str) and UUID_FORM.fullmatch(given) else None


def read_moment(given: object) -> datetime | None:
    """The moment, in UTC, that an RFC 3339 text with its offset names; None for anything else."""
    if not isinstance(given, str) or not RFC3339.fullmatch(given):
        return None
    try:
        return datetime.fromisoformat(given.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def wrong(field: str, code: str, detail: str) -> ValidationError:
    """The refusal of one part of a request."""
    return ValidationError({field: [ErrorDetail(detail, code=code)]})


# --- fields: JSON types are meant, nothing is turned from one into another --------------------------------------------
class Text(serializers.CharField):
    """A string; a number or a boolean is none. Outer white space goes unless `trim_whitespace=False`."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Flag(serializers.BooleanField):
    """true or false and no other word for them."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class Id(serializers.UUIDField):
    """An id in its usual form of 36 characters."""

    def to_internal_value(self, data: Any) -> UUID:
        found = read_id(data)
        if found is None:
            raise serializers.ValidationError("This is no id.", code="invalid")
        return found


class Moment(serializers.DateTimeField):
    """A moment as RFC 3339 writes it. Without an offset it could be any of a day's, so it is refused."""

    def to_internal_value(self, value: Any) -> datetime:
        found = read_moment(value)
        if found is None:
            raise serializers.ValidationError(
                "Write the moment with its offset, like 2030-01-31T09:30:00Z.", code="invalid"
            )
        return found


class Word(serializers.ChoiceField):
    """One of a closed list of words, named `component` in the schema."""

    def __init__(self, choices: Iterable[str], *, component: str, **kwargs: Any) -> None:
        self.component = component
        super().__init__([str(choice) for choice in choices], **kwargs)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str) or data not in self.choices:
            raise serializers.ValidationError(
                f"Use one of: {', '.join(str(choice) for choice in self.choices)}.", code="invalid_choice"
            )
        return data


MOST_ERRORS = 20
"""Unknown names that an answer tells; a request may hold any number of them."""


class StrictSerializer(serializers.Serializer[Any]):
    """A request body: a field that is not one of its writable ones is an error, never ignored."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            known = {str(field.field_name) for field in self._writable_fields}
            unknown = [name for name in data if name not in known]
            if unknown:
                detail = f"There is no such field to be set here; there are: {', '.join(sorted(known))}."
                raise ValidationError(
                    {str(name)[:100]: [ErrorDetail(detail, "unknown_field")] for name in unknown[:MOST_ERRORS]}
                )
        return super().to_internal_value(data)


class LocatedSerializer(StrictSerializer):
    """A request body in which a caller with several locations says which one is meant."""

    location = Id(
        required=False,
        write_only=True,
        help_text="Which location is meant. Needed with a hub-wide key; may also stand in the query.",
    )


class NoBody(StrictSerializer):
    """A request that has nothing to say beyond its address; it may name the location."""

    location = Id(required=False, write_only=True)


# --- filters ----------------------------------------------------------------------------------------------------------
class _MomentField(forms.CharField):
    def to_python(self, value: Any) -> Any:
        if value in self.empty_values:
            return None
        found = read_moment(value)
        if found is None:
            raise forms.ValidationError("Write the moment with its offset, like 2030-01-31T09:30:00Z.", code="invalid")
        return found


class _IdField(forms.CharField):
    def to_python(self, value: Any) -> Any:
        if value in self.empty_values:
            return None
        found = read_id(value)
        if found is None:
            raise forms.ValidationError("This is no id.", code="invalid")
        return found


class _FlagField(forms.CharField):
    def to_python(self, value: Any) -> Any:
        if value in self.empty_values:
            return None
        if value not in ("true", "false"):
            raise forms.ValidationError("Use true or false.", code="invalid")
        return value == "true"


class MomentFilter(django_filters.IsoDateTimeFilter):  # type: ignore[misc]
    """Compares with a moment."""

    field_class = _MomentField


class IdFilter(django_filters.UUIDFilter):  # type: ignore[misc]
    """Compares with an id; one that is not there, or not the caller's to see, finds nothing."""

    field_class = _IdField


class FlagFilter(django_filters.BooleanFilter):  # type: ignore[misc]
    """true or false."""

    field_class = _FlagField


# --- views ------------------------------------------------------------------------------------------------------------
class ByAcceptOnly(DefaultContentNegotiation):
    """What the caller accepts is said by the Accept header alone, not by a `format` parameter."""

    settings = SimpleNamespace(URL_FORMAT_OVERRIDE=None)  # type: ignore[assignment]  # all that it reads of them


class LocationViewSet(GenericViewSet[Any]):
    """Rows of the caller's locations; another location's are as if they were not there.

    `roles` says what a signed-in person must at least be for an action; what it does not name is for viewers when it
    reads and for agents when it writes. Keys may do everything in their location.
    """

    lookup_value_converter = "str"
    http_method_names = ["get", "head", "post", "patch", "delete"]
    metadata_class = None
    content_negotiation_class = ByAcceptOnly
    filterset_class: type[FilterSet] | None = None
    ordering: ClassVar[tuple[str, ...]]
    roles: ClassVar[Mapping[str, Role]] = {}

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse what the address does not know before anything is looked up."""
        super().initial(request, *args, **kwargs)
        if self.action is not None:  # None: no such method here
            self._check_parameters()

    def finalize_response(  # type: ignore[override]
        self, request: Request, response: HttpResponseBase, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        """Keep answers out of every cache: they hold what people wrote."""
        done = super().finalize_response(request, cast(Response, response), *args, **kwargs)
        done["Cache-Control"] = "no-store"
        return done

    @property
    def caller(self) -> User | ApiKey:
        """Who asks."""
        return cast(User | ApiKey, self.request.user)

    def get_queryset(self) -> QuerySet[Any]:
        """The rows the caller may see; only those of one location if the request names one."""
        rows = cast("LocationScoped[Any]", super().get_queryset())
        if getattr(self, "swagger_fake_view", False):
            return rows.none()
        rows = rows.visible_to(self.caller)
        return rows if self.named_location is None else rows.filter(**{rows.location_path: self.named_location.pk})

    def get_object(self) -> Any:
        """The row in the address. Raises Http404, the same for absent, foreign and malformed ids."""
        wanted = read_id(self.kwargs["pk"])
        found = self.get_queryset().filter(pk=wanted).first() if wanted else None
        if found is None:
            raise Http404
        if self.request.method not in SAFE_METHODS:
            self.require_role(found.location_id)
        return found

    @cached_property
    def named_location(self) -> Location | None:
        """The location that the request names, in its query or body; None when it names none. Raises Http404 when that
        is none of the caller's, ValidationError when it is no id or two different ones."""
        given = self._given_locations()
        if not given:
            return None
        if len(given) > 1:
            raise wrong("location", "location_conflict", "The query and the body name different locations.")
        wanted = given.pop()
        if isinstance(self.caller, ApiKey) and self.caller.location_id == wanted:
            return self.caller.location
        found: Location | None = Location.objects.visible_to(self.caller).filter(pk=wanted).first()
        if found is None:
            raise Http404
        return found

    def require_location(self) -> Location:
        """The one location that something is to be made in. Raises ValidationError when the caller has several and
        names none, PermissionDenied when a person's role there is not enough."""
        location = self.named_location or self._only_location()
        if location is None:
            raise wrong("location", "location_required", "Say which location is meant.")
        self.require_role(location.pk)
        return location

    def require_role(self, location_id: UUID) -> None:
        """Raises PermissionDenied when a signed-in person may not do this in the location."""
        reads = self.request.method in SAFE_METHODS
        least = self.roles.get(self.action, Role.VIEWER if reads else Role.AGENT)
        if isinstance(self.caller, User) and not self.caller.may(least, location_id):
            raise PermissionDenied

    def read_body(self, form: type[StrictSerializer], **context: Any) -> dict[str, Any]:
        """The checked content of the request; `context` is what the form needs to know. Raises ValidationError."""
        serializer = form(
            data=self.request.data,
            partial=self.request.method == "PATCH",
            context={**self.get_serializer_context(), **context},
        )
        serializer.is_valid(raise_exception=True)
        content = dict(serializer.validated_data)
        content.pop("location", None)
        return content

    def _given_locations(self) -> set[UUID]:
        given: list[object] = []
        if "location" in self.request.query_params:
            given.append(self.request.query_params["location"])
        if self.request.method not in SAFE_METHODS:
            data = self.request.data
            if isinstance(data, dict) and "location" in data:
                given.append(data["location"])
        found = {read_id(one) for one in given}
        if None in found:
            raise wrong("location", "invalid", "This is no id.")
        return cast(set[UUID], found)

    def _only_location(self) -> Location | None:
        if isinstance(self.caller, ApiKey):
            return self.caller.location
        found = list(Location.objects.visible_to(self.caller)[:2])
        if not found and not self.caller.is_superuser:
            raise PermissionDenied
        return found[0] if len(found) == 1 else None

    def _check_parameters(self) -> None:
        known = {"location"}
        if self.action == "list":
            known |= {"cursor", "page_size"}
            known |= set(self.filterset_class.base_filters) if self.filterset_class else set()
        for name, values in self.request.query_params.lists():
            if name not in known:
                raise wrong(name[:100], "unknown_parameter", "There is no such parameter here.")
            if len(values) > 1 or not values[0]:
                raise wrong(name, "invalid_parameter", "Give this parameter once, with a value.")


def matches_digits(column: str, term: str) -> models.Q:
    """Whether a phone number holds the digits of a search term, however these are written; never for fewer than 3."""
    digits = re.sub(r"[^0-9]", "", term) if re.fullmatch(r"[0-9+().\-/ ]+", term) else ""
    return models.Q(**{f"{column}__contains": digits}) if len(digits) >= 3 else models.Q(pk__in=[])
