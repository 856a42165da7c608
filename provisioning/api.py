"""Setups over HTTP: ask for a number, follow it until it is there."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

from django.core.validators import RegexValidator
from django.db.models import QuerySet
from django_filters.rest_framework import ChoiceFilter, FilterSet
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_field, extend_schema_view
from rest_framework import mixins, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from provisioning import services
from provisioning.models import LineStatus, PhoneLine, Setup, SetupStatus
from provisioning.providers import ADAPTERS
from provisioning.providers.base import Health
from routing.errors import Refused
from routing.models import Role
from routing.tenancy_api import LocatedSerializer, LocationViewSet, Text, Word


class PhoneLineAnswer(serializers.Serializer[PhoneLine]):
    """One phone line of a setup."""

    id = serializers.UUIDField()
    status = Word(LineStatus.values, component="LineStatus")
    health = Word(Health, component="LineHealth")
    phone_number = serializers.CharField(allow_null=True, help_text="E.164; null while the line is pending.")
    account = serializers.UUIDField(source="account_id", allow_null=True, help_text="The account that sends from here.")
    requested_at = serializers.DateTimeField()
    assigned_at = serializers.DateTimeField(allow_null=True)


class SetupProblem(serializers.Serializer[Any]):
    """Why a setup failed, or why nobody knows whether it did."""

    code = serializers.CharField()
    detail = serializers.CharField()


class SetupAnswer(serializers.Serializer[Setup]):
    """One iMessage channel of a location."""

    id = serializers.UUIDField()
    location = serializers.UUIDField(source="location_id")
    business_name = serializers.CharField(help_text="What recipients see.")
    label = serializers.CharField(help_text="For the people who run it.")  # type: ignore[assignment]
    provider = serializers.CharField()
    status = Word(SetupStatus.values, component="SetupStatus")
    problem = serializers.SerializerMethodField()
    phone_line_count = serializers.IntegerField(help_text="Pending and assigned lines.")
    assigned_line_count = serializers.IntegerField()
    created_at = serializers.DateTimeField()

    @extend_schema_field(SetupProblem(allow_null=True))
    def get_problem(self, setup: Setup) -> dict[str, str] | None:
        """Why it failed or is unknown; null when all is well."""
        return {"code": setup.problem_code, "detail": setup.problem} if setup.problem_code else None


class SetupDetailAnswer(SetupAnswer):
    """One iMessage channel of a location, with its lines."""

    phone_lines = PhoneLineAnswer(many=True)


AREA_CODE = RegexValidator(r"\A[2-9][0-9]{2}\Z", "Give the three digits of an area code.")


class NewSetup(LocatedSerializer):
    """What is needed for a number, and all that is."""

    business_name = Text(max_length=64, help_text="What recipients see; cannot be changed later.")
    label = Text(max_length=120, help_text="For the people who run it; can be changed.")  # type: ignore[assignment]
    area_code = Text(required=False, help_text="A wish for the number: three digits.", validators=[AREA_CODE])
    provider = Word(
        ADAPTERS,
        component="Provider",
        required=False,
        help_text="Where the line comes from; the hub's own choice if not given.",
    )


class SetupFilter(FilterSet):  # type: ignore[misc]
    """Which setups."""

    status = ChoiceFilter(choices=SetupStatus.choices, help_text="Only those in this status.")
    provider = ChoiceFilter(choices=[(name, name) for name in ADAPTERS], help_text="Only those at this provider.")


@extend_schema_view(retrieve=extend_schema(responses=SetupDetailAnswer))
class SetupView(mixins.ListModelMixin, mixins.RetrieveModelMixin, LocationViewSet):
    """The setups of the caller's locations."""

    queryset = Setup.objects.all()
    serializer_class = SetupAnswer
    filterset_class = SetupFilter
    ordering = ("-created_at", "id")
    roles: ClassVar[Mapping[str, Role]] = {"create": Role.ADMIN}
    problems: ClassVar[Mapping[str, Mapping[int, str]]] = {
        "create": {409: "The provider cannot make setups, or is not configured."},
    }

    def get_queryset(self) -> QuerySet[Any]:
        """The setups with their two counts; for a single one, its lines too. No secret is even read."""
        rows = super().get_queryset().with_line_counts()  # type: ignore[attr-defined]
        shown: QuerySet[Any] = rows.only(*SHOWN)
        return shown if self.action == "list" else shown.prefetch_related("phone_lines")

    def get_serializer_class(self) -> type[serializers.Serializer[Setup]]:
        """Rows of the list carry no lines."""
        return SetupAnswer if self.action == "list" else SetupDetailAnswer

    @extend_schema(
        request=NewSetup,
        responses={201: SetupDetailAnswer},
        examples=[
            OpenApiExample(
                "A number in San Francisco",
                request_only=True,
                value={"business_name": "Bay Dental", "label": "Front desk", "area_code": "415"},
            )
        ],
    )
    def create(self, request: Request) -> Response:
        """Ask the provider for a number.

        A number that is available at once is in the answer. Otherwise the setup is `pending`, and its line gets its
        number later. `unknown` means that the provider's answer was lost: a person looks into it; asking again could
        make a second account.
        """
        if "Idempotency-Key" in request.headers:
            raise Refused(
                "idempotency_key_unsupported",
                "A setup cannot be asked for twice with one key: read the list before asking again.",
                field="Idempotency-Key",
            )
        location = self.require_location()
        given = self.read_body(NewSetup)
        setup = services.create_setup(location=location, by=self.caller, **given)
        return Response(SetupDetailAnswer(self.get_queryset().get(pk=setup.pk)).data, status=HTTPStatus.CREATED)


SHOWN = (
    "id",
    "location",
    "business_name",
    "label",
    "provider",
    "status",
    "problem_code",
    "problem",
    "created_at",
)
"""The columns an answer is made of."""
