"""What may stand in a log: ids, routes, types and places in the code; never a value that somebody sent or stored."""

import logging
import sys
import traceback
from typing import Any


def exception_without_values(logger: Any, name: str, event: dict[str, Any]) -> dict[str, Any]:
    """A structlog processor: an exception becomes its type and where it came from, with those that caused it.

    Its words are left out: the database's hold whole rows, and those of HTTP clients hold addresses.
    """
    given = event.pop("exc_info", None)
    if given is True:
        given = sys.exc_info()
    error = given[1] if isinstance(given, tuple) else given
    if isinstance(error, BaseException):
        event["exception"] = "\n".join(_described(error))
    return event


def _described(error: BaseException) -> list[str]:
    described: list[str] = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        frames = "".join(traceback.format_tb(current.__traceback__)).rstrip()
        described.insert(0, f"{frames}\n{type(current).__module__}.{type(current).__qualname__}")
        current = current.__cause__ or current.__context__
    return described


class WithoutPath(logging.Filter):
    """Takes the path out of Django's own words about a request: paths hold webhook keys and tokens."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep every record."""
        record.msg, record.args = "request answered with an error", ()
        if record.name.startswith("django.security"):
            # A stranger's odd request; where in Django it was refused says nothing.
            record.exc_info = None
        return True
