"""What the HTTP API does the same way everywhere: read JSON, say no, hand out lists page by page."""

import math
import traceback
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import structlog
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import DataError, IntegrityError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.views import defaults
from django.views.decorators.csrf import csrf_exempt
from rest_framework import exceptions
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response

from imessage_hub.bodies import BodyTooLarge, StrictJSONParser
from imessage_hub.pages import Pages
from routing.errors import Refused
from routing.problems import NOT_FOUND_DETAIL, PROBLEM_JSON, FieldError, problem, problem_response

__all__ = ["Pages", "StrictJSONParser", "problem_for"]

log = structlog.get_logger("hub.api")

RETRY_AFTER_S: Final = 1
API_ROOT: Final = "/api/"


def problem_for(exc: Exception, context: Mapping[str, Any]) -> Response:
    """The answer to whatever a view raised; there is always one, so no trace is ever shown.

    An error that is nobody's fault but ours is logged with where it was raised and without its text, which can hold
    what somebody wrote.
    """
    if isinstance(exc, Http404 | exceptions.NotFound):
        return problem_response(not_found_body())
    if isinstance(exc, Refused):
        return _refused(exc)
    if isinstance(exc, exceptions.ValidationError):
        return problem_response(_invalid_body(exc))
    if isinstance(exc, PermissionDenied):
        exc = exceptions.PermissionDenied()
    if isinstance(exc, RequestDataTooBig):
        exc = BodyTooLarge()
    if isinstance(exc, exceptions.APIException):
        return _api_exception(exc)
    return _unexpected(exc)


REMEDIES = {
    "forbidden": "You may see this, but not do this.",
    "not_authenticated": "Show an API key: Authorization: Bearer <key>.",
    "not_acceptable": "Answers are JSON: leave Accept out, or accept application/json.",
}
"""Codes whose own words do not say what to do."""


def not_found_body() -> dict[str, Any]:
    """The one body of every 404: absent, not the caller's to see, or no address at all."""
    return problem(HTTPStatus.NOT_FOUND, "not_found", NOT_FOUND_DETAIL)


def _refused(exc: Refused) -> Response:
    errors = [FieldError(exc.field, exc.code, exc.detail)] if exc.field else []
    headers = {"Retry-After": str(RETRY_AFTER_S)} if exc.status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    return problem_response(problem(exc.status, exc.code, exc.detail, errors=errors), headers)


def _invalid_body(exc: exceptions.ValidationError) -> dict[str, Any]:
    """One code if all errors share it, else `invalid_request`."""
    errors = list(_flatten(exc.detail, ""))
    codes = {error.code for error in errors}
    code = codes.pop() if len(codes) == 1 else "invalid_request"
    only = errors[0]
    detail = f"{len(errors)} parts of the request are wrong; `errors` tells which and why."
    if len(errors) == 1:
        detail = f"{only.field}: {only.detail}" if only.field else only.detail
    return problem(HTTPStatus.BAD_REQUEST, code, detail, errors=errors)


def _flatten(detail: Any, path: str) -> Iterator[FieldError]:
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            whole = name in ("non_field_errors", "__all__")
            yield from _flatten(inner, path if whole else f"{path}.{name}".lstrip("."))
    elif isinstance(detail, Sequence) and not isinstance(detail, str):
        for inner in detail:
            yield from _flatten(inner, path)
    else:
        yield FieldError(path, str(getattr(detail, "code", None) or "invalid"), str(detail))


def _api_exception(exc: exceptions.APIException) -> Response:
    code = str(exc.get_codes())
    code = {"permission_denied": "forbidden", "error": "internal_error"}.get(code, code)
    detail = REMEDIES.get(code, str(exc.detail))
    headers = {}
    if getattr(exc, "auth_header", None):
        headers["WWW-Authenticate"] = str(exc.auth_header)  # type: ignore[attr-defined]  # set by the view
    if getattr(exc, "wait", None):
        headers["Retry-After"] = str(math.ceil(exc.wait))  # type: ignore[attr-defined]  # of Throttled
    return problem_response(problem(exc.status_code, code, detail), headers)


def _unexpected(exc: Exception) -> Response:
    if isinstance(exc, OperationalError | InterfaceError):
        log.warning("database unavailable", error=type(exc).__name__, cause=type(exc.__cause__).__name__)
        body = problem(
            HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", "The database is busy or away; send the same request again."
        )
        return problem_response(body, {"Retry-After": str(RETRY_AFTER_S)})
    where = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(exc.__traceback__)]
    log.error("request failed", error=type(exc).__name__, where=where)
    if isinstance(exc, IntegrityError):
        detail = "Something this request depends on was changed at the same time; read it again."
        return problem_response(problem(HTTPStatus.CONFLICT, "conflict", detail))
    if isinstance(exc, DataError):
        return problem_response(problem(HTTPStatus.BAD_REQUEST, "invalid_request", "A value cannot be stored."))
    return problem_response(_internal_body())


def _internal_body() -> dict[str, Any]:
    detail = "The hub made a mistake; the request id finds it in the log."
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", detail)


def _plain(body: Mapping[str, Any]) -> HttpResponse:
    answer = HttpResponse(JSONRenderer().render(body), status=body["status"], content_type=PROBLEM_JSON)
    answer["Cache-Control"] = "no-store"
    return answer


@csrf_exempt
def unknown_address(request: HttpRequest) -> HttpResponse:
    """The answer below /api/ where nothing is; as a route of its own, so that it is the same in every mode."""
    return _plain(not_found_body())


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Django's answer to a request it does not take, as a problem below /api/."""
    if not request.path_info.startswith(API_ROOT):
        return defaults.bad_request(request, exception)
    return _plain(problem(HTTPStatus.BAD_REQUEST, "bad_request", "The request cannot be read."))


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Django's 404, as a problem below /api/."""
    if not request.path_info.startswith(API_ROOT):
        return defaults.page_not_found(request, exception)
    return _plain(not_found_body())


def server_error(request: HttpRequest) -> HttpResponseBase:
    """Django's 500, as a problem below /api/."""
    if not request.path_info.startswith(API_ROOT):
        return defaults.server_error(request)
    return _plain(_internal_body())
