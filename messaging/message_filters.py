"""How the list of messages is narrowed: by status, by rule, by the days of the user's location."""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from messaging.message_words import SHORT_RULES
from messaging.models import MessageStatus
from routing.admin_lists import ChoiceFilter, CursorChangeList

DAY_PARAMETERS = ("date", "from", "to")
PERIODS = {
    "today": ("Today", 0, 0),
    "yesterday": ("Yesterday", 1, 1),
    "7": ("Last 7 days", 6, 0),
    "30": ("Last 30 days", 29, 0),
}
"""Value in the query string → what is shown, the first day and the last, in days before today."""
FIRST_YEAR, LAST_YEAR = 2000, 2999


class StatusFilter(ChoiceFilter):
    """By what people see; one index has this order."""

    title = "status"
    parameter_name = "status"
    answers = tuple((status.value, str(status.label)) for status in MessageStatus)


class RuleFilter(ChoiceFilter):
    """By the rule that chose the number."""

    title = "rule"
    parameter_name = "rule"
    answers = tuple((rule.value, words) for rule, words in SHORT_RULES.items())


class SwitchFilter(ChoiceFilter):
    """Whether the message left from another number than the one before."""

    title = "number switch"
    parameter_name = "number_switch__exact"
    answers = (("1", "Another number than before"), ("0", "Same number"))


class DayFilter(admin.ListFilter):
    """By the day a message was accepted or came in: a period up to today, or from one day to another.

    Days are those of the request's zone, which is the user's location's.
    """

    title = "date"
    template = "admin/messaging/message/day_filter.html"

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        for name in DAY_PARAMETERS:
            if name in params:
                self.used_parameters[name] = params.pop(name)[-1]
        given = {name: str(value) for name, value in self.used_parameters.items()}
        self.period = given.get("date", "")
        self.first = _read_day(given.get("from", ""))
        self.last = _read_day(given.get("to", ""))
        self.kept: list[tuple[str, str]] = []

    def has_output(self) -> bool:
        """Always."""
        return True

    def expected_parameters(self) -> list[str | None]:
        """All three; a choice takes the others away."""
        return list(DAY_PARAMETERS)

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Any time, then the periods; the template adds the two days."""
        remove = list(DAY_PARAMETERS)
        self.kept = [(name, value) for name, value in changelist.params.items() if name not in DAY_PARAMETERS]
        yield {
            "selected": not self.label,
            "query_string": changelist.get_query_string(remove=remove),
            "display": "Any time",
        }
        for value, (words, _, _) in PERIODS.items():
            query = changelist.get_query_string({"date": value}, remove=["from", "to"])
            yield {"selected": self.period == value, "query_string": query, "display": words}

    @property
    def label(self) -> str:
        """What is chosen, in words; "" for any time."""
        if self.period in PERIODS:
            return PERIODS[self.period][0]
        if self.first and self.last:
            return f"{_told(self.first)} – {_told(self.last)}"
        if self.first:
            return f"since {_told(self.first)}"
        return f"until {_told(self.last)}" if self.last else ""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The messages of the days, both included."""
        first, last = self.first, self.last
        if self.period in PERIODS:
            today = timezone.localdate()
            _, begin, end = PERIODS[self.period]
            first, last = today - timedelta(days=begin), today - timedelta(days=end)
        if first is not None:
            queryset = queryset.filter(created_at__gte=_midnight(first))
        if last is not None:
            queryset = queryset.filter(created_at__lt=_midnight(last + timedelta(days=1)))
        return queryset


class MessageChangeList(CursorChangeList):
    """Newest first: in the order of acceptance, or, where days are asked for, by the time that has an index."""

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        """A query string has no say but for the days."""
        return list(self._order())

    def _columns(self) -> list[tuple[str, bool]]:
        return [(name.lstrip("-"), name.startswith("-")) for name in self._order()]

    def _order(self) -> tuple[str, ...]:
        by_day = any(self.params.get(name) for name in DAY_PARAMETERS)
        return ("-created_at", "-position") if by_day else ("-position",)


def _read_day(text: str) -> date | None:
    """The day that a date input sends; None for an empty one. Raises IncorrectLookupParameters."""
    if not text:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise IncorrectLookupParameters from error
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise IncorrectLookupParameters
    return day


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, tzinfo=timezone.get_current_timezone())


def _told(day: date) -> str:
    this_year = day.year == timezone.localdate().year
    return f"{day:%b} {day.day}" + ("" if this_year else f", {day.year}")
