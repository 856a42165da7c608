"""Quiet hours as people set them: a row of days and two times for each window."""

import re
from collections.abc import Mapping
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.template.loader import render_to_string

from routing.quiet_hours import DAY_NAMES, DAYS, MAX_WINDOWS, validate_quiet_hours

EMPTY_ROWS = 2
"""Rows to fill in, below those that are filled."""

_NAME = re.compile(r"([0-9]{1,2})-(days|from|to|remove)")


class QuietHoursWidget(forms.Widget):
    """Rows of seven boxes and two times. What it gives is the rows as they were typed, each a dict with days, from, to
    and remove; None when the form sent none."""

    use_fieldset = True

    class Media:
        css = {"all": ("hub/locations.css",)}

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> Any:
        """All rows, and some empty ones."""
        rows = [row for row in value or () if isinstance(row, dict)]
        rows += [{}] * min(EMPTY_ROWS, MAX_WINDOWS - len(rows))
        prefix = (attrs or {}).get("id", name)
        context = {
            "name": name,
            "id": prefix,
            "described_by": (attrs or {}).get("aria-describedby", f"{prefix}_helptext"),
            "rows": [self._row(place, row) for place, row in enumerate(rows)],
        }
        return render_to_string("admin/routing/location/quiet_hours.html", context)

    def _row(self, place: int, row: Mapping[str, Any]) -> dict[str, Any]:
        chosen = row.get("days") or ()
        return {
            "place": place,
            "number": place + 1,
            "days": [(day, DAY_NAMES[day], day in chosen) for day in DAYS],
            "from": row.get("from", ""),
            "to": row.get("to", ""),
            "remove": row.get("remove", False),
            "filled": bool(chosen or row.get("from") or row.get("to")),
        }

    def value_from_datadict(self, data: Any, files: Any, name: str) -> Any:
        """The rows of a submitted form in their order."""
        rows: dict[int, dict[str, Any]] = {}
        for key in data:
            found = _NAME.fullmatch(key.removeprefix(f"{name}-")) if key.startswith(f"{name}-") else None
            if found is None:
                continue
            row = rows.setdefault(int(found[1]), {"days": [], "from": "", "to": "", "remove": False})
            if found[2] == "days":
                row["days"] = data.getlist(key) if hasattr(data, "getlist") else list(data[key])
            else:
                row[found[2]] = bool(data[key]) if found[2] == "remove" else data[key].strip()
        return [rows[place] for place in sorted(rows)] if rows else None

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        """A form without any row was not the whole form: it changes nothing."""
        return self.value_from_datadict(data, files, name) is None


class QuietHoursField(forms.Field):
    """Gives windows as they are stored; rows without anything in them, and those to be removed, are left out."""

    widget = QuietHoursWidget

    def clean(self, value: Any) -> list[dict[str, Any]]:
        """Raises ValidationError, which names the row by its number on the page."""
        windows = []
        for number, row in enumerate(value or (), 1):
            if row["remove"] or not (row["days"] or row["from"] or row["to"]):
                continue
            # A browser may send seconds where somebody typed none.
            times = {edge: re.sub(r"^([0-9]{2}:[0-9]{2}):00$", r"\1", row[edge]) for edge in ("from", "to")}
            if not row["days"] or not all(times.values()):
                missing = "the days it starts on" if not row["days"] else "when it begins and when it ends"
                raise ValidationError(f"Window {number}: choose {missing}.", code="incomplete")
            window = {"days": sorted(row["days"], key=lambda day: (*DAYS, day).index(day)), **times}
            try:
                validate_quiet_hours([window | {"days": list(window["days"])}])
            except ValidationError as error:
                if "whole week" in error.message:
                    raise
                raise ValidationError(error.message.replace("Window 1", f"Window {number}")) from error
            windows.append(window)
        validate_quiet_hours(windows)
        return windows

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Whether other windows come of it than there are; rows that are wrong count as a change."""
        if data is None:
            return False
        try:
            return bool(self.clean(data) != (initial or []))
        except ValidationError:
            return True
