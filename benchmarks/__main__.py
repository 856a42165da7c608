"""Measures the hub on this machine, against floors measured in the same run, and prints a table of goals.

Each module of GROUPS has `run(bench)`; docs/benchmarks.md says what each row means. Exit code 1 when a row misses what
it must be.
"""

import argparse
import importlib
import os
import platform
import signal
import sys
import time
from typing import TYPE_CHECKING

from benchmarks.database import own_cluster
from benchmarks.goals import GROWTH_HEAD, HEAD, Found, table

if TYPE_CHECKING:
    from benchmarks.bench import Bench

GROUPS = {
    "accept": "accepting over HTTP: processor time, statements, memory of the web process",
    "decide": "one decision as contacts and accounts grow, and 10,000 at once",
    "webhook": "notices of lines and statuses of messages",
    "deliver": "messages a second with 1, 2 and 4 workers, time to the first byte, commits, a long queue",
    "flood": "what others wait while one location has very many",
    "memory": "a worker with 1,000,000 due",
    "lists": "pages of the admin and lists of the API at 1,000,000 messages",
}


def main() -> int:
    """0 when every row is what it must be, 1 when one is not."""
    given = _arguments()
    # What was started ends with the run, however that ends.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.monotonic()
    found: dict[str, Found] = {}
    with own_cluster() as cluster:
        # Django is ready now, and not before.
        from benchmarks.bench import Bench

        bench = Bench(cluster, quick=given.quick, rounds=given.rounds or (2 if given.quick else 5), plans=given.plans)
        for name in given.groups or GROUPS:
            found[name] = _run(name, bench)
    _print(found, bench, time.monotonic() - began)
    return 1 if any(goal.missed for one in found.values() for goal in one.goals) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__.partition("\n")[0] if __doc__ else None,
        epilog="Groups: " + "; ".join(f"{name}: {what}" for name, what in GROUPS.items()) + ".",
    )
    parser.add_argument("groups", nargs="*", choices=[*GROUPS, []], metavar="GROUP", help="only these; all without")
    parser.add_argument("--quick", action="store_true", help="with less of everything: minutes instead of half an hour")
    parser.add_argument("--rounds", type=int, help="medians are of so many rounds (5; 2 with --quick)")
    parser.add_argument("--plans", action="store_true", help="with the plan of each page's slowest statement")
    return parser.parse_args()


def _run(name: str, bench: "Bench") -> Found:
    module = importlib.import_module(f"benchmarks.{name}")
    result: Found = module.run(bench)
    return result


def _print(found: dict[str, Found], bench: "Bench", seconds: float) -> None:
    goals = [goal.cells() for one in found.values() for goal in one.goals]
    growth = [row.cells() for one in found.values() for row in one.growth]
    load = os.getloadavg()[2]
    parts = [
        f"{os.cpu_count()} cores, Python {platform.python_version()}, load {load:.1f} over the last quarter of an hour;"
        f" medians of {bench.rounds} rounds{', quick' * bench.quick}; {seconds / 60:.0f} minutes."
        " Times are processor time of the hub's process + of the database, each of one message, event or decision.",
        table(HEAD, goals, words=(0, 4, 5)),
    ]
    if growth:
        parts.append(table(GROWTH_HEAD, growth, words=(0, 1)))
    parts += [one.text for one in found.values() if one.text]
    parts += [f"MISSED: {goal.row}" for one in found.values() for goal in one.goals if goal.missed]
    sys.stdout.write("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    sys.exit(main())
