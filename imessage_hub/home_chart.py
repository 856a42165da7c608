"""The chart of the home page: numbers in, the places of its bars out. The template draws them."""

from collections.abc import Sequence
from dataclasses import dataclass

from messaging.statistics import Volume

SLOT, HEIGHT = 100, 240
"""A day's width and the height of the whole, in units of the drawing, which is stretched to its place."""
BAR, FIRST, SECOND = 28, 20, 54
"""The width of a bar, and where the two of a day begin in its slot."""


@dataclass(frozen=True)
class Bar:
    """A rectangle in the drawing; `kind` is what it counts."""

    kind: str
    x: int
    y: int
    height: int
    width: int = BAR


@dataclass(frozen=True)
class Day:
    """A day with its bars; `words` say the same."""

    volume: Volume
    x: int
    bars: tuple[Bar, ...]
    words: str
    is_today: bool


@dataclass(frozen=True)
class Chart:
    """Everything that the template draws. `steps` are the figures beside the lines, from the top down."""

    days: tuple[Day, ...]
    steps: tuple[int, ...]
    sent: int
    received: int
    failed: int

    width: int = 0
    height: int = HEIGHT

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not (self.sent or self.received or self.failed) and all(day.volume.counted for day in self.days)

    @property
    def lines(self) -> tuple[int, ...]:
        """Where the lines lie, from the top down."""
        return (0, HEIGHT // 2, HEIGHT)


def draw(volumes: Sequence[Volume]) -> Chart:
    """The chart of the days, the last of which is today. Failed stands on sent, received beside them."""
    top = _round_up(max((max(volume.sent + volume.failed, volume.received) for volume in volumes), default=0))
    return Chart(
        days=tuple(
            Day(volume, place * SLOT, _bars(volume, place * SLOT, top), _words(volume), place == len(volumes) - 1)
            for place, volume in enumerate(volumes)
        ),
        steps=(top, top // 2, 0),
        sent=sum(volume.sent for volume in volumes),
        received=sum(volume.received for volume in volumes),
        failed=sum(volume.failed for volume in volumes),
        width=SLOT * len(volumes),
    )


def _bars(volume: Volume, x: int, top: int) -> tuple[Bar, ...]:
    if not volume.counted:
        return (Bar("unknown", x + FIRST, 0, HEIGHT, SECOND + BAR - FIRST),)
    sent, failed, received = (_tall(number, top) for number in (volume.sent, volume.failed, volume.received))
    bars = (
        Bar("sent", x + FIRST, HEIGHT - sent, sent),
        Bar("failed", x + FIRST, HEIGHT - sent - failed, failed),
        Bar("received", x + SECOND, HEIGHT - received, received),
    )
    return tuple(bar for bar in bars if bar.height)


def _tall(number: int, top: int) -> int:
    """As high as its share; what is there at all can be seen."""
    return max(round(HEIGHT * number / top), 3) if number else 0


def _round_up(number: int) -> int:
    """The next of 2, 4, 10, 20, 40, 100 …, which halve well."""
    power = 1
    while number > 10 * power:
        power *= 10
    return next(step * power for step in (2, 4, 10) if number <= step * power)


def _words(volume: Volume) -> str:
    if not volume.counted:
        return "not counted yet"
    return f"{volume.sent:,} sent, {volume.received:,} received, {volume.failed:,} failed"
