"""The one shape in which the HTTP API says no: problem details for HTTP APIs (RFC 9457) with a stable `code`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rest_framework import serializers
from rest_framework.response import Response

PROBLEM_JSON: Final = "application/problem+json"
NOT_FOUND_DETAIL: Final = "There is nothing at this address, or nothing that you may see."


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one part of a request. `field` is a dotted path; "" when it is the whole."""

    field: str
    code: str
    detail: str

    def as_json(self) -> dict[str, str]:
        """The error as the API shows it."""
        return {"field": self.field, "code": self.code, "detail": self.detail}


def problem(
    status: int, code: str, detail: str, *, errors: Sequence[FieldError] = (), more: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The body of a refusal. `errors` is in it only where parts of the request are at fault; `more` adds members."""
    body: dict[str, Any] = {
        "type": f"urn:imessage-hub:problem:{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "detail": detail,
        "code": code,
    }
    if errors:
        body["errors"] = [error.as_json() for error in errors]
    return body | dict(more or {})


def problem_response(body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """The answer with that body, under its own status."""
    return Response(dict(body), status=body["status"], headers=dict(headers or {}), content_type=PROBLEM_JSON)


class FieldErrorForm(serializers.Serializer[Any]):
    """One part of a request and what is wrong with it."""

    field = serializers.CharField(help_text='A dotted path, like `media_urls.0`; "" for the whole request.')
    code = serializers.CharField()
    detail = serializers.CharField()


class ProblemForm(serializers.Serializer[Any]):
    """A refusal, as RFC 9457 shapes it. Programs decide by `code`; `title` and `detail` are for people."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    code = serializers.CharField()
    errors = FieldErrorForm(many=True, required=False)  # type: ignore[assignment]  # the metaclass takes fields away
