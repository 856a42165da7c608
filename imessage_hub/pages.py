"""Lists, page by page."""

import base64
import json
import re
from collections.abc import Sequence
from datetime import UTC
from typing import Any

from django.core.exceptions import ValidationError as InvalidValue
from django.db.models import Q, QuerySet
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import remove_query_param, replace_query_param

from imessage_hub.bodies import is_storable


class Pages(BasePagination):
    """Pages `{next, previous, results}` along the view's `ordering`, whose columns together are unique and never NULL.

    A cursor names the row a page begins behind, so rows that come or go meanwhile neither repeat nor hide others, and
    the last page costs what the first one costs.
    """

    PAGE_SIZE = 50
    MAX_PAGE_SIZE = 200

    def paginate_queryset(  # type: ignore[override]
        self, queryset: QuerySet[Any], request: Request, view: Any = None
    ) -> list[Any]:
        """The rows of the page that was asked for. Raises ValidationError for a cursor or size that is none."""
        self.keys: tuple[str, ...] = view.ordering
        self.url = request.build_absolute_uri()
        size = self._size(request)
        backward, position = self._position(request, queryset)
        keys = tuple(_reversed(key) for key in self.keys) if backward else self.keys
        if position:
            queryset = queryset.filter(_behind(keys, position))
        rows = list(queryset.order_by(*keys)[: size + 1])
        more = len(rows) > size
        rows = rows[:size]
        if backward:
            rows.reverse()
        self.has_next = bool(rows) if backward else more
        self.has_previous = more if backward else bool(rows) and position is not None
        self.rows = rows
        return rows

    def get_paginated_response(self, data: Any) -> Response:
        """The page as JSON."""
        following = self._link("f", self.rows[-1]) if self.has_next else None
        previous = self._link("b", self.rows[0]) if self.has_previous else None
        return Response({"next": following, "previous": previous, "results": data})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """The page in the OpenAPI document."""
        link = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {
                "next": {**link, "description": "Address of the page after this one; null on the last."},
                "previous": {**link, "description": "Address of the page before this one; null on the first."},
                "results": schema,
            },
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """The parameters in the OpenAPI document."""
        size = {"type": "integer", "minimum": 1, "maximum": self.MAX_PAGE_SIZE, "default": self.PAGE_SIZE}
        return [
            {
                "name": "cursor",
                "in": "query",
                "required": False,
                "schema": {"type": "string"},
                "description": "Where the page begins: taken from `next` or `previous`.",
            },
            {
                "name": "page_size",
                "in": "query",
                "required": False,
                "schema": size,
                "description": "How many rows a page has.",
            },
        ]

    def _size(self, request: Request) -> int:
        given = request.query_params.get("page_size")
        if given is None:
            return self.PAGE_SIZE
        if not re.fullmatch(r"[0-9]{1,3}", given) or not 1 <= int(given) <= self.MAX_PAGE_SIZE:
            detail = f"A page has 1 to {self.MAX_PAGE_SIZE} rows."
            raise ValidationError({"page_size": [ErrorDetail(detail, "invalid_parameter")]})
        return int(given)

    def _position(self, request: Request, queryset: QuerySet[Any]) -> tuple[bool, tuple[Any, ...] | None]:
        """Whether to go backward, and the values of the ordering to go on from; None: from the very start."""
        given = request.query_params.get("cursor")
        if given is None:
            return False, None
        try:
            packed = json.loads(base64.b64decode(given.encode("ascii"), altchars=b"-_", validate=True))
            way, *values = packed
            if way not in ("f", "b") or len(values) != len(self.keys):
                raise ValueError
            fields = [queryset.model._meta.get_field(key.lstrip("-")) for key in self.keys]
            return way == "b", tuple(_clean(field, value) for field, value in zip(fields, values, strict=True))
        except (ValueError, TypeError, OverflowError, RecursionError, InvalidValue):
            detail = "This is no cursor that the hub gave."
            raise ValidationError({"cursor": [ErrorDetail(detail, "invalid_cursor")]}) from None

    def _link(self, way: str, row: Any) -> str:
        values = [_plain_value(getattr(row, key.lstrip("-"))) for key in self.keys]
        packed = json.dumps([way, *values], separators=(",", ":"))
        cursor = base64.b64encode(packed.encode(), altchars=b"-_").decode()
        return replace_query_param(remove_query_param(self.url, "cursor"), "cursor", cursor)


def _reversed(key: str) -> str:
    return key[1:] if key.startswith("-") else f"-{key}"


def _behind(keys: Sequence[str], position: Sequence[Any]) -> Q:
    """The rows that come behind `position` in the order of `keys`."""
    found = Q()
    same = Q()
    for key, value in zip(keys, position, strict=True):
        column = key.lstrip("-")
        found |= same & Q(**{f"{column}__{'lt' if key.startswith('-') else 'gt'}": value})
        same &= Q(**{column: value})
    # Says nothing new, but gives the index a range to begin with.
    first = keys[0]
    return found & Q(**{f"{first.lstrip('-')}__{'lte' if first.startswith('-') else 'gte'}": position[0]})


def _plain_value(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _clean(field: Any, value: Any) -> Any:
    """The column's value that stands in a cursor. Raises one of the errors that make it none."""
    if not isinstance(value, str) or not is_storable(value):
        raise ValueError
    cleaned = field.to_python(value)
    field.run_validators(cleaned)
    if hasattr(cleaned, "utcoffset"):
        if cleaned.utcoffset() is None:
            raise ValueError
        cleaned.astimezone(UTC)  # OverflowError at the ends of time, here and not inside the database driver
    return cleaned
