"""How the admin says things: badges by colour and word, numbers, times in a location's zone, icons."""

import zoneinfo
from datetime import datetime
from functools import cache
from pathlib import Path

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from routing.models import Location
from routing.phones import national_format

GOOD, BUSY, WARN, BAD, QUIET = "good", "busy", "warn", "bad", "quiet"
"""The tones of a badge: fine, on its way, look at it, broken, over."""

ICONS = Path(__file__).parent / "icons"


def badge(word: str, tone: str) -> SafeString:
    """A word in a coloured pill; the word alone says it all, the colour only finds it faster."""
    return format_html('<span class="hub-badge hub-badge-{}">{}</span>', tone, word)


def phone(number: str | None) -> SafeString | str:
    """A number as people of its country write it, with its E.164 form in the tooltip; a dash for none."""
    if not number:
        return "–"
    return format_html('<span class="hub-phone" title="{}">{}</span>', number, national_format(number))


def zone_of(location: Location | None) -> zoneinfo.ZoneInfo | None:
    """The location's time zone; None, which is the request's, without a location."""
    return None if location is None else zoneinfo.ZoneInfo(location.time_zone)


def moment(at: datetime | None, where: Location | None = None, *, seconds: bool = False) -> SafeString | str:
    """A time on the clocks of `where`, or of the request's zone; with the seconds and the zone in the tooltip.

    The year is left out where it is this one. A dash for None.
    """
    if at is None:
        return "–"
    local = timezone.localtime(at, zone_of(where))
    this_year = local.year == timezone.localtime(timezone=local.tzinfo).year
    text = f"{local:%b} {local.day}{'' if this_year else f', {local.year}'}, {clock(local, seconds=seconds)}"
    full = f"{local:%A, %B} {local.day}, {local.year}, {clock(local, seconds=True)} {local.tzname()}"
    return format_html('<time datetime="{}" title="{}">{}</time>', at.isoformat(), full, text)


def clock(local: datetime, *, seconds: bool = False) -> str:
    """The time of day as people of the house say it: 8:05 AM."""
    return f"{local.hour % 12 or 12}:{local.strftime('%M:%S %p' if seconds else '%M %p')}"


def set_on(at: datetime | None) -> str:
    """All that is ever shown of a secret."""
    return "not set" if at is None else f"set on {at:%B} {at.day}, {at.year}"


@cache
def icon(name: str) -> SafeString:
    """The icon of that name in `routing/icons/`, to stand in the page itself; it says nothing to a screen reader."""
    drawing = (ICONS / f"{name}.svg").read_text(encoding="utf-8")
    inner = drawing.split(">", 2)[2].rsplit("</svg>", 1)[0]
    return mark_safe(  # noqa: S308  (our own file)
        '<svg class="hub-icon" width="20" height="20" viewBox="0 0 24 24" fill="none" stroke="currentColor"'
        f' stroke-width="1.75" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false">'
        f"{' '.join(inner.split())}</svg>"
    )
