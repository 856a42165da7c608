"""Memory of a worker, with little and with very much to do."""

import time

from django.db import connection

from benchmarks.bench import Bench, say
from benchmarks.deliver import CONCURRENCY, SLOW_MS
from benchmarks.goals import Found, Goal, Growth
from benchmarks.processes import Processes
from benchmarks.world import make_places, queue


def run(bench: Bench) -> Found:
    """The most that a worker held while it worked on a queue of each size."""
    sizes = bench.size((1_000, 10_000, 100_000, 1_000_000), (1_000, 50_000))
    held = []
    with bench.database("memory") as processes, processes.provider() as provider:
        provider.set_latency(SLOW_MS)
        places = make_places(1, accounts=100, contacts=10_000)
        for size in sizes:
            say(f"memory: a worker with {size:,} due …")
            queue(places[0], size, tag=f"due-{size}")
            held.append(_most(processes, bench.size(10.0, 5.0)))
            _forget_all()
    low, high = held[0] / 2**20, held[-1] / 2**20
    name = f"memory of a worker with {sizes[-1]:,} due ÷ with {sizes[0]:,} due"
    return Found(
        [Goal(name, held[-1] / held[0], must=1.2, goal=1.05, beside=f"{high:.1f} ÷ {low:.1f} MiB")],
        [Growth("messages that are due", "MiB of a worker", sizes[:3], [most / 2**20 for most in held[:3]])],
    )


def _forget_all() -> None:
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE messaging_message CASCADE")


def _most(processes: Processes, seconds: float) -> int:
    """Bytes, over the first seconds of a worker."""
    most = 0
    with processes.worker(concurrency=CONCURRENCY) as worker:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            most = max(most, worker.memory)
            time.sleep(0.1)
    return most
