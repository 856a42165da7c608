"""What every group is given: the server, how big and how often, and ways to measure."""

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from benchmarks.accounting import cpu_of_backends
from benchmarks.database import Cluster
from benchmarks.processes import Processes

Size = TypeVar("Size")


@dataclass(frozen=True)
class Bench:
    """One run. `rounds`: everything that is compared is done so many times, in turns."""

    cluster: Cluster
    quick: bool
    rounds: int
    plans: bool = False

    def size(self, full: Size, quick: Size) -> Size:
        """How much of something."""
        return quick if self.quick else full

    @contextmanager
    def database(self, name: str) -> Iterator[Processes]:
        """A fresh database for Django, and the means to start processes that work on it."""
        with self.cluster.fresh(name):
            yield Processes(self.cluster, name)

    def cpu_of(self, database: str, *processes: Callable[[], float]) -> "Meter":
        """A meter for what the database's backends and the processes use."""
        return Meter([lambda: cpu_of_backends(self.cluster.postmaster, database), *processes])


class Meter:
    """Processor seconds between two looks."""

    def __init__(self, sources: Sequence[Callable[[], float]]) -> None:
        self._sources = sources
        self._began = [source() for source in sources]
        self._at = time.monotonic()

    def read(self) -> "Used":
        """What was used since the meter was made."""
        parts = tuple(source() - began for source, began in zip(self._sources, self._began, strict=True))
        return Used(parts[0], sum(parts[1:]), time.monotonic() - self._at)


@dataclass(frozen=True)
class Used:
    """Processor seconds of the database and of the processes, and the seconds that passed."""

    database_s: float
    processes_s: float
    passed_s: float

    @property
    def cpu_s(self) -> float:
        """Of both."""
        return self.database_s + self.processes_s


@dataclass(frozen=True)
class Cost:
    """Processor time of one of something, in microseconds, and how many were done in a second."""

    database_us: float
    processes_us: float
    per_second: float

    @property
    def cpu_us(self) -> float:
        """Of both."""
        return self.database_us + self.processes_us

    def __str__(self) -> str:
        return f"{self.processes_us:,.0f} + {self.database_us:,.0f} µs, {self.per_second:,.0f}/s"


def cost(used: Used, count: int, *, seconds: float | None = None) -> Cost:
    """What one of `count` took."""
    return Cost(used.database_s / count * 1e6, used.processes_s / count * 1e6, count / (seconds or used.passed_s))


def middle(costs: Sequence[Cost]) -> Cost:
    """The median of each figure."""
    return Cost(
        statistics.median(one.database_us for one in costs),
        statistics.median(one.processes_us for one in costs),
        statistics.median(one.per_second for one in costs),
    )


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """The median over rounds of the one ÷ the other: what both share of a round's weather falls out."""
    return statistics.median(one / other for one, other in zip(above, below, strict=True))


def percentile(figures: Sequence[float], percent: float) -> float:
    """The figure that so many percent of the others do not exceed."""
    ordered = sorted(figures)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def say(words: str) -> None:
    """Tell how far it is, where it does not mix with the tables."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')}  {words}\n")
    sys.stderr.flush()
