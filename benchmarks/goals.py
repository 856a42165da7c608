"""A row of the table of goals: what was measured, what it must be, what it should be."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Goal:
    """One row. `least`: the figure has to be at least `must` and `goal`; at most otherwise. None: it is only told.

    `measured` None: it could not be measured, which misses a `must`. `beside`: figures that say where it comes from.
    """

    row: str
    measured: float | None
    must: float | None = None
    goal: float | None = None
    least: bool = False
    unit: str = ""
    beside: str = ""

    @property
    def missed(self) -> bool:
        """Whether it is worse than it must be."""
        return self.must is not None and not self._keeps(self.must)

    @property
    def verdict(self) -> str:
        """In a word."""
        if self.must is None and self.goal is None:
            return ""
        if self.missed:
            return "MISSED"
        return "goal" if self.goal is None or self._keeps(self.goal) else "must"

    def cells(self) -> tuple[str, ...]:
        """As they stand in the table."""
        return (
            self.row,
            "–" if self.measured is None else self._shown(self.measured),
            self._bound(self.must),
            self._bound(self.goal),
            self.verdict,
            self.beside,
        )

    def _keeps(self, bound: float) -> bool:
        if self.measured is None:
            return False
        return self.measured >= bound if self.least else self.measured <= bound

    def _bound(self, bound: float | None) -> str:
        return "" if bound is None else f"{'≥' if self.least else '≤'} {self._shown(bound)}"

    def _shown(self, figure: float) -> str:
        text = f"{figure:,.0f}" if abs(figure) >= 100 or figure == int(figure) else f"{figure:.2g}"
        if 1 < abs(figure) < 100 and figure != int(figure):
            text = f"{figure:.2f}".rstrip("0").rstrip(".")
        return f"{text} {self.unit}".strip()


HEAD = ("row", "measured", "must", "goal", "verdict", "beside it")


@dataclass(frozen=True)
class Growth:
    """A figure as the work grows: `sizes` and what was measured at each, in `unit`."""

    row: str
    unit: str
    sizes: Sequence[int]
    figures: Sequence[float]

    def cells(self) -> tuple[str, ...]:
        """As they stand in the table: what is counted, each size with its figure, and the last ÷ the first."""
        pairs = [f"{size:,}: {figure:,.3g}" for size, figure in zip(self.sizes, self.figures, strict=True)]
        pairs += [""] * (3 - len(pairs))
        return (self.row, self.unit, *pairs, f"{self.figures[-1] / self.figures[0]:.2f}")


GROWTH_HEAD = ("as this grows", "figure", "× 1", "× 10", "× 100", "last ÷ first")


@dataclass
class Found:
    """What a group found: rows of both tables, and text to print below them."""

    goals: list[Goal] = field(default_factory=list)
    growth: list[Growth] = field(default_factory=list)
    text: str = ""


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, words: Sequence[int] = (0,)) -> str:
    """In Markdown, its columns aligned; `words` are columns that are no figures."""
    widths = [max(len(line[place]) for line in (head, *rows)) for place in range(len(head))]

    def shown(line: Sequence[str]) -> str:
        cells = [
            cell.ljust(width) if place in words else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        return f"| {' | '.join(cells)} |"

    rule = [("-" * width) if place in words else "-" * (width - 1) + ":" for place, width in enumerate(widths)]
    return "\n".join([shown(head), f"| {' | '.join(rule)} |", *map(shown, rows)])
