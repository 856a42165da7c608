"""The OpenAPI document: what the views say of themselves, and the refusals that every address may answer."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiSerializerFieldExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse

from routing.problems import NOT_FOUND_DETAIL, PROBLEM_JSON, ProblemForm, problem
from routing.tenancy_api import LocationViewSet, StrictSerializer

API_PREFIX = "/api/v1/"
EVERYWHERE = {
    401: "No key, or one that opens nothing.",
    403: "`forbidden`: a signed-in person whose role is not enough. `csrf_failed`: a session without its CSRF token.",
    404: "Not there, or in a location that is not the caller's: the same answer.",
    406: "The Accept header takes no JSON.",
    503: "The database is busy or away: send the same request again.",
}
WITH_PARAMETERS = {400: "Something in the request is wrong or unknown; `errors` tells what."}
WITH_BODY = {
    413: "The body is larger than 1 MiB.",
    415: "The body is not application/json in UTF-8.",
}


class HubSchema(AutoSchema):
    """One operation of the document."""

    def is_excluded(self) -> bool:
        """The document is of the API: webhooks come from providers, by their own contracts."""
        return not self.path.startswith(API_PREFIX) or bool(super().is_excluded())

    def get_summary(self) -> str:
        """The operation in one line: the first sentence of what is said of it."""
        return str(self.get_description()).split(".")[0].split(":")[0].replace("\n", " ").strip()

    def get_serializer_name(self, serializer: Any, direction: Any) -> str:
        """The component's name: what it is, without what it is to us."""
        name: str = super().get_serializer_name(serializer, direction)
        return name.removesuffix("Answer").removesuffix("Form")

    def _map_basic_serializer(self, serializer: Any, direction: Any) -> dict[str, Any]:
        schema: dict[str, Any] = super()._map_basic_serializer(serializer, direction)  # type: ignore[no-untyped-call]
        if isinstance(serializer, StrictSerializer):
            schema["additionalProperties"] = False
        return schema

    def get_override_parameters(self) -> list[Any]:
        """Besides the operation's own: the location, which any request may name."""
        parameters = list(super().get_override_parameters())
        if isinstance(self.view, LocationViewSet):
            parameters.append(
                OpenApiParameter(
                    "location",
                    OpenApiTypes.UUID,
                    OpenApiParameter.QUERY,
                    description="Only this location. A caller with several needs it where something is made.",
                )
            )
        if "{id}" in self.path:
            parameters.append(OpenApiParameter("id", OpenApiTypes.UUID, OpenApiParameter.PATH))
        return parameters

    def _get_response_bodies(self, direction: Any = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        for status, (form, description) in sorted(self._problems().items()):
            examples = NOT_FOUND_EXAMPLES if status == HTTPStatus.NOT_FOUND else []
            response = OpenApiResponse(form, description, examples)
            said = self._get_response_for_code(response, str(status), [PROBLEM_JSON], direction)  # type: ignore[no-untyped-call]
            bodies[str(status)] = said
        return bodies

    def _problems(self) -> dict[int, tuple[Any, str]]:
        found: dict[int, Any] = dict(EVERYWHERE) | WITH_PARAMETERS
        if self.method in ("POST", "PATCH", "DELETE"):
            found |= WITH_BODY
        own: Mapping[int, Any] = getattr(self.view, "problems", {}).get(getattr(self.view, "action", None), {})
        for status, said in own.items():
            both = isinstance(said, str) and status in found
            found[status] = f"{found[status]} Or: {said}" if both else said
        return {status: said if isinstance(said, tuple) else (ProblemForm, said) for status, said in found.items()}


NOT_FOUND_EXAMPLES = [
    OpenApiExample(
        "Not found", response_only=True, status_codes=["404"], value=problem(404, "not_found", NOT_FOUND_DETAIL)
    )
]


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Keys in the document."""

    target_class = "imessage_hub.authentication.ApiKeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        """The scheme."""
        return {"type": "http", "scheme": "bearer", "description": "A key of one location, or of the whole hub."}


class DocsSessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """The session in the document."""

    target_class = "imessage_hub.authentication.DocsSession"
    name = "session"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        """The scheme."""
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": settings.SESSION_COOKIE_NAME,
            "description": "Of somebody who is signed in to the admin, for this page; with the X-CSRFToken header.",
        }


class WordExtension(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    """A closed list of words is a component of its own, named where the list is."""

    target_class = "routing.tenancy_api.Word"

    def get_name(self) -> str:
        """The component's name."""
        return str(self.target.component)

    def map_serializer_field(self, auto_schema: AutoSchema, direction: Any) -> dict[str, Any]:
        """The component."""
        return {"type": "string", "enum": list(self.target.choices)}
