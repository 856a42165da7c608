"""How admin lists filter and page: by fixed answers, and by pages that never count the table."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django.contrib.admin import SimpleListFilter
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest

BEFORE = "before"


class ChoiceFilter(SimpleListFilter):
    """A sidebar filter with a fixed set of answers: no query looks for the values there are."""

    answers: Sequence[tuple[str, str]] = ()
    """Value in the query string, and what is shown."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The answers."""
        return list(self.answers)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows of the chosen answer; all of them for a value that is none."""
        value = self.value()
        return self.chosen(queryset, value) if value in dict(self.answers) else queryset

    def chosen(self, queryset: QuerySet[Any], value: Any) -> QuerySet[Any]:
        """The rows of the answer: those whose column `parameter_name` holds it."""
        return queryset.filter(**{str(self.parameter_name): value})


class HubChangeList(ChangeList):
    """Django's list, which says how many results there are only where something was searched for."""

    def get_results(self, request: HttpRequest) -> None:
        """As Django's."""
        super().get_results(request)
        if not self.query:
            self.full_result_count = self.result_count


class CursorChangeList(ChangeList):
    """A list in one fixed order that goes on with "older", for tables that only grow.

    The admin's `ordering` says the order: one or more columns, which together are unique. Nothing is counted, and every
    page costs the same wherever it stands.
    """

    before: str | None = None
    older: str | None = None
    cursor = True

    @property
    def newest(self) -> str:
        """Where the list begins, with the same filters."""
        return self.get_query_string(remove=[BEFORE]) or "?"

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        """The rows that the filters leave, from the cursor on. Raises IncorrectLookupParameters on a broken cursor."""
        if BEFORE in self.params:
            # Out of the parameters, so that a filter or a search starts at the newest again.
            self.before = self.params.pop(BEFORE)
            self.filter_params.pop(BEFORE)
        rows = super().get_queryset(request, exclude_parameters)
        return rows if self.before is None else rows.filter(self._after(self.before))

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        """The admin's; a query string has no say."""
        return list(self.model_admin.get_ordering(request))

    def get_results(self, request: HttpRequest) -> None:
        """One page, and whether there is another."""
        rows = list(self.queryset[: self.list_per_page + 1])
        page = rows[: self.list_per_page]
        if len(rows) > len(page):
            self.older = self.get_query_string({BEFORE: self._cursor_of(page[-1])})
        self.result_list = page
        self.result_count = len(page)
        self.full_result_count = len(page)
        self.show_full_result_count = False
        self.show_admin_actions = True
        self.can_show_all = False
        self.multi_page = False
        self.paginator = Paginator(page, self.list_per_page)

    def _columns(self) -> list[tuple[str, bool]]:
        names = self.model_admin.ordering or ()
        return [(str(name).lstrip("-"), str(name).startswith("-")) for name in names]

    def _cursor_of(self, row: Any) -> str:
        values = (getattr(row, name) for name, _ in self._columns())
        return "_".join(value.isoformat() if isinstance(value, datetime) else str(value) for value in values)

    def _after(self, cursor: str) -> Q:
        columns = self._columns()
        given = cursor.split("_")
        if len(given) != len(columns):
            raise IncorrectLookupParameters
        condition, equal = Q(), Q()
        try:
            for (name, descending), text in zip(columns, given, strict=True):
                value: Any = self.lookup_opts.get_field(name).to_python(text)  # type: ignore[union-attr]
                if isinstance(value, datetime):
                    # Only what a cursor of ours holds: a moment with its zone, which UTC can express.
                    if value.tzinfo is None:
                        raise IncorrectLookupParameters
                    value = value.astimezone(UTC)
                condition |= equal & Q(**{f"{name}__{'lt' if descending else 'gt'}": value})
                equal &= Q(**{name: value})
        except (ValidationError, ValueError, OverflowError) as error:
            raise IncorrectLookupParameters from error
        return condition
