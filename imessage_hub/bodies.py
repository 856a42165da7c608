"""Reading request bodies: JSON, strictly."""

import json
import math
import re
from http import HTTPStatus
from typing import Any, Final, NoReturn

from django.conf import settings
from django.http import UnreadablePostError
from rest_framework.exceptions import APIException, ErrorDetail, ParseError, UnsupportedMediaType, ValidationError
from rest_framework.parsers import BaseParser


class BodyTooLarge(APIException):
    """The request's body is larger than the hub reads."""

    status_code = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    default_detail = "The body may have 1 MiB at most."
    default_code = "body_too_large"

    def __init__(self, limit: int | None = None) -> None:
        super().__init__(f"The body may have {limit // 1024 // 1024} MiB at most." if limit else None)


class StrictJSONParser(BaseParser):
    """`application/json` in UTF-8, and nothing that means one thing here and another thing elsewhere.

    Refused besides broken JSON: another charset, more than DATA_UPLOAD_MAX_MEMORY_SIZE bytes or the `max_bytes` that a
    view gave it, nesting deeper than MAX_DEPTH, a name twice in one object, NaN and infinities, integers of more than
    MAX_DIGITS digits, and characters that no database stores (NUL, halves of a surrogate pair).
    """

    media_type = "application/json"
    MAX_DEPTH = 32
    MAX_DIGITS = 20
    max_bytes: int | None = None

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        """The value. Raises UnsupportedMediaType, BodyTooLarge, ParseError, ValidationError."""
        if not _JSON_TYPE.fullmatch((media_type or "").strip()):
            raise UnsupportedMediaType(media_type or "", "Send application/json in UTF-8.")
        limit = self.max_bytes or settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        declared = parser_context["request"].META.get("CONTENT_LENGTH") if parser_context else None
        if declared and int(declared) > limit:
            raise BodyTooLarge(limit)
        try:
            raw = stream.read(limit + 1)
        except UnreadablePostError as error:
            raise ParseError("The body ended early.", code="invalid_json") from error
        if len(raw) > limit:
            raise BodyTooLarge(limit)
        value = self._decode(raw)
        refuse_unstorable(value)
        return value

    def _decode(self, raw: bytes) -> Any:
        if _depth(raw) > self.MAX_DEPTH:
            _not_json(f"It is nested deeper than {self.MAX_DEPTH} levels.")
        try:
            return json.loads(
                raw.decode("utf-8"),
                object_pairs_hook=_object,
                parse_constant=_refuse_constant,
                parse_float=_float,
                parse_int=self._int,
            )
        except UnicodeDecodeError:
            _not_json("It is not UTF-8.")
        except json.JSONDecodeError as error:
            _not_json(f"{error.msg} at line {error.lineno}, column {error.colno}.")

    def _int(self, digits: str) -> int:
        if len(digits.lstrip("-")) > self.MAX_DIGITS:
            _not_json(f"A whole number has more than {self.MAX_DIGITS} digits.")
        return int(digits)


_JSON_TYPE: Final = re.compile(r'application/json\s*(?:;\s*charset\s*=\s*(?:utf-8|"utf-8")\s*)?', re.IGNORECASE)
# A string, to its end or to the end of the body; or one bracket outside of strings. Nothing is gone over twice.
_STRING_OR_BRACKET: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|([\[{])|([\]}])', re.DOTALL)


def _depth(raw: bytes) -> int:
    """How deep the brackets nest, found without recursion and before anything is decoded."""
    depth = deepest = 0
    for token in _STRING_OR_BRACKET.finditer(raw):
        if token[1]:
            depth += 1
            deepest = max(deepest, depth)
        elif token[2]:
            depth -= 1
    return deepest


def _not_json(why: str) -> NoReturn:
    raise ParseError(f"The body cannot be read as JSON. {why}", code="invalid_json")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        _not_json("A name stands twice in one object.")
    return found


def _refuse_constant(word: str) -> NoReturn:
    _not_json("NaN and infinities are no JSON.")


def _float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        _not_json("A number is too large.")
    return number


def refuse_unstorable(value: Any, field: str | None = None) -> None:
    """Raises ValidationError, on the top-level field at fault, for text that no database stores; in names, too."""
    if isinstance(value, str):
        if not is_storable(value):
            detail = "Text must not hold NUL or half of a surrogate pair."
            raise ValidationError({field or "non_field_errors": [ErrorDetail(detail, "invalid_characters")]})
    elif isinstance(value, dict):
        for name, inner in value.items():
            refuse_unstorable(name, field)
            refuse_unstorable(inner, field or name)
    elif isinstance(value, list):
        for inner in value:
            refuse_unstorable(inner, field)


def is_storable(text: str) -> bool:
    """Whether a database takes the text: no NUL, no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in text
