"""Fairness: how long the messages of other locations wait while one location has very many."""

import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack

from benchmarks.bench import Bench, percentile, say
from benchmarks.deliver import CONCURRENCY, FAST_MS, cancel_queued, requests, wait_until_settled
from benchmarks.goals import Found, Goal
from benchmarks.load import send_paced
from benchmarks.processes import ProviderControl, Running
from benchmarks.world import Place, make_places, queue

WORKERS = 2
EVERY_S = 0.05


def run(bench: Bench) -> Found:
    """One row."""
    flood, count = bench.size(100_000, 20_000), bench.size(400, 160)
    calm: list[float] = []
    flooded: list[float] = []
    late = 0
    with bench.database("flood") as processes, processes.provider() as provider, ExitStack() as stack:
        flooder, *others = make_places(5, accounts=10, contacts=200)
        web = stack.enter_context(processes.web())
        for _ in range(WORKERS):
            stack.enter_context(processes.worker(concurrency=CONCURRENCY))
        provider.set_latency(FAST_MS)
        _others(web, provider, others, 40, "warm")
        for number in range(bench.size(3, 1)):
            say(f"flood: round {number + 1}: {count} messages of {len(others)} others, without and with it …")
            waits, _ = _others(web, provider, others, count, f"calm-{number}")
            calm.append(percentile(waits, 99))
            queue(flooder, flood, tag=f"flood-{number}")
            waits, missing = _others(web, provider, others, count, f"flooded-{number}")
            flooded.append(percentile(waits, 99))
            late += missing
            cancel_queued()
            wait_until_settled(provider, 0)
    measured = statistics.median(with_it / without for with_it, without in zip(flooded, calm, strict=True))
    beside = f"{statistics.median(flooded):,.0f} ms ÷ {statistics.median(calm):,.0f} ms, {WORKERS} workers"
    if late:
        beside += f"; {late} of {count * len(flooded)} were still waiting when the run gave up: it is more than that"
    name = f"one location floods {flood:,}: the others' p99 accept → sent ÷ without the flood"
    return Found([Goal(name, measured, must=2, goal=1.2, beside=beside)])


def _others(
    web: Running, provider: ProviderControl, others: Sequence[Place], count: int, tag: str
) -> tuple[list[float], int]:
    """Milliseconds from before each request until its message reached the provider, and how many had not when they had
    had time enough: these count with what they had waited."""
    sent = send_paced(web.url, requests(others, count, tag), expected=202, every_s=EVERY_S)
    until = time.monotonic() + max(5.0, sent.seconds)
    while True:
        came = {text: at for text, at in provider.arrivals() if text.startswith(f"{tag} ")}
        now = time.monotonic()
        if len(came) == count or now > until:
            break
        time.sleep(0.1)
    waits = [(came.get(f"{tag} {number}", now) - began) * 1000 for number, (began, _) in enumerate(sent.times)]
    provider.reset()
    return waits, count - len(came)
