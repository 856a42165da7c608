"""Delivery: messages a second against bare calls, several workers, how soon one leaves, commits, and a long queue."""

import json
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack

from benchmarks.bench import Bench, Cost, cost, middle, percentile, ratio, say
from benchmarks.goals import Found, Goal, Growth
from benchmarks.load import post, send_paced
from benchmarks.processes import Processes, ProviderControl, Running
from benchmarks.world import Place, make_places, queue, unsettled
from messaging.models import DispatchState, Message

CONCURRENCY = 16
"""Calls at once in each worker, and in the bare pool."""
FAST_MS, SLOW_MS = 5, 200
WAIT_S = 120.0


def run(bench: Bench) -> Found:
    """The rows of delivery."""
    found = Found()
    with bench.database("deliver") as processes, processes.provider() as provider:
        places = make_places(4, accounts=10, contacts=50)
        found.goals += _speed(bench, processes, provider, places)
        found.goals += _commits(bench, processes, provider, places)
        found.growth.append(_backlog(bench, processes, provider, places))
        found.goals[2:2] = _latency(bench, processes, provider, places)
    return found


# --- messages a second ------------------------------------------------------------------------------------------------
def _speed(bench: Bench, processes: Processes, provider: ProviderControl, places: Sequence[Place]) -> list[Goal]:
    fast, slow = bench.size(2_000, 600), bench.size(480, 240)
    bare: list[float] = []
    bare_cpu_us: list[float] = []
    fast_costs: dict[int, list[Cost]] = defaultdict(list)
    slow_costs: dict[int, list[Cost]] = defaultdict(list)
    counts = bench.size((1, 2, 4), (1, 4))
    for number in range(min(bench.rounds, bench.size(3, 1))):
        say(f"deliver: round {number + 1}: bare calls, then {', '.join(map(str, counts))} workers …")
        provider.set_latency(FAST_MS)
        told = processes.run("benchmarks.bare_calls", str(fast), str(CONCURRENCY))
        bare.append(fast / told["seconds"])
        bare_cpu_us.append(told["cpu_s"] / fast * 1e6)
        with ExitStack() as stack:
            workers: list[Running] = []
            for count in counts:
                while len(workers) < count:
                    workers.append(stack.enter_context(processes.worker(concurrency=CONCURRENCY)))
                provider.set_latency(FAST_MS)
                _deliver(bench, workers, provider, places, CONCURRENCY * 4 * count)  # warm
                fast_costs[count].append(_deliver(bench, workers, provider, places, fast))
                provider.set_latency(SLOW_MS)
                slow_costs[count].append(_deliver(bench, workers, provider, places, slow * count))
    first, last = counts[0], counts[-1]
    rates = {count: [one.per_second for one in costs] for count, costs in fast_costs.items()}
    slow_rates = {count: [one.per_second for one in costs] for count, costs in slow_costs.items()}
    return [
        Goal(
            f"deliver, provider {FAST_MS} ms: messages/s ÷ bare HTTP calls of the same pool",
            ratio(rates[first], bare),
            must=0.4,
            goal=0.7,
            least=True,
            beside=(
                f"{middle(fast_costs[first])} (worker + database);"
                f" bare {statistics.median(bare_cpu_us):,.0f} µs, {statistics.median(bare):,.0f}/s"
            ),
        ),
        Goal(
            f"deliver, provider {SLOW_MS} ms: {last} workers ÷ 1",
            ratio(slow_rates[last], slow_rates[first]),
            must=3,
            goal=3.8,
            least=True,
            beside=_per_workers(slow_costs),
        ),
        Goal(
            f"deliver, provider {FAST_MS} ms: {last} workers ÷ 1",
            ratio(rates[last], rates[first]),
            least=True,
            beside=_per_workers(fast_costs),
        ),
        Goal(
            f"deliver, provider {SLOW_MS} ms: messages/s ÷ what {CONCURRENCY} calls at once allow",
            statistics.median(slow_rates[first]) / (CONCURRENCY * 1000 / SLOW_MS),
            least=True,
            beside=str(middle(slow_costs[first])),
        ),
    ]


def _per_workers(costs: dict[int, list[Cost]]) -> str:
    return "; ".join(f"{count}: {middle(these).per_second:,.0f}/s" for count, these in costs.items())


def _deliver(
    bench: Bench, workers: Sequence[Running], provider: ProviderControl, places: Sequence[Place], count: int
) -> Cost:
    """Queue so many messages at once; what each costs until the last one is settled."""
    provider.reset()
    sources = [(lambda worker=worker: worker.cpu_s) for worker in workers]
    meter = bench.cpu_of("deliver", *sources)
    queue_evenly(places, count, tag=f"speed-{time.monotonic_ns()}")
    wait_until_settled(provider, count)
    return cost(meter.read(), count)


def queue_evenly(places: Sequence[Place], count: int, *, tag: str) -> None:
    """So many messages, spread over the places."""
    for number, place in enumerate(places):
        queue(place, count // len(places) + (number < count % len(places)), tag=f"{tag}-{number}")


def wait_until_settled(provider: ProviderControl, count: int) -> None:
    """Return when so many messages came and none is on its way. Raises RuntimeError when that takes too long."""
    until = time.monotonic() + WAIT_S
    while provider.count < count or unsettled():
        if time.monotonic() > until:
            raise RuntimeError(f"After {WAIT_S:.0f} s {provider.count} of {count} messages had come.")
        time.sleep(0.02)


# --- commits ----------------------------------------------------------------------------------------------------------
def _commits(bench: Bench, processes: Processes, provider: ProviderControl, places: Sequence[Place]) -> list[Goal]:
    """Over a worker's whole life, its start and its looking around included: only when its connections are closed has
    the server counted all."""
    count = bench.size(2_000, 500)
    say(f"deliver: commits of {count:,} messages …")
    provider.set_latency(FAST_MS)
    provider.reset()
    before = _counted(bench)
    with processes.worker(concurrency=CONCURRENCY):
        queue_evenly(places, count, tag="commits")
        wait_until_settled(provider, count)
    after = _counted(bench)
    commits, ids, statements = ((late - early) / count for late, early in zip(after, before, strict=True))
    return [
        Goal(
            "deliver: commits a message, beyond the one that accepted it",
            commits,
            must=3,
            goal=2,
            beside=f"{ids:.2f} transaction ids taken, {statements:.1f} statements a message",
        )
    ]


def _counted(bench: Bench) -> tuple[int, int, int]:
    """Transactions that were committed in the database, ids that they took to write, statements."""
    commits = "SELECT xact_commit FROM pg_stat_database WHERE datname = 'deliver'"
    ids = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
    return bench.cluster.ask(commits), bench.cluster.ask(ids), statements_of(bench, "deliver")


def statements_of(bench: Bench, database: str) -> int:
    """How many statements the database was given so far, BEGIN and COMMIT among them."""
    asked = (
        "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements"
        " JOIN pg_database ON pg_database.oid = dbid WHERE datname = %s"
    )
    return int(bench.cluster.ask(asked, database))


# --- a long queue -----------------------------------------------------------------------------------------------------
def _backlog(bench: Bench, processes: Processes, provider: ProviderControl, places: Sequence[Place]) -> Growth:
    """How long one message takes at the head of a queue of so many."""
    sizes = bench.size((1_000, 10_000, 100_000), (400, 4_000))
    looked_at = bench.size(1_000, 400)
    provider.set_latency(FAST_MS)
    figures = []
    with processes.worker(concurrency=CONCURRENCY):
        for size in sizes:
            say(f"deliver: the first {looked_at:,} of {size:,} …")
            provider.reset()
            queue(places[0], size, tag=f"backlog-{size}")
            until = time.monotonic() + WAIT_S
            while provider.count < looked_at and time.monotonic() < until:
                time.sleep(0.05)
            cancel_queued()
            times = sorted(at for _, at in provider.arrivals())[:looked_at]
            figures.append((times[-1] - times[0]) / (len(times) - 1) * 1000)
            wait_until_settled(provider, 0)
    return Growth("messages that are due", f"ms a message, 1 worker, provider {FAST_MS} ms", sizes, figures)


def cancel_queued() -> None:
    """Nothing waits any more."""
    Message.objects.filter(dispatch_state=DispatchState.QUEUED).update(
        dispatch_state=DispatchState.CANCELLED, due_at=None
    )


# --- how soon ---------------------------------------------------------------------------------------------------------
def _latency(bench: Bench, processes: Processes, provider: ProviderControl, places: Sequence[Place]) -> list[Goal]:
    """From before the request is sent until the provider has its first byte: the accepting is in it."""
    count = bench.size(400, 120)
    say(f"deliver: how soon each of {count} leaves an idle hub …")
    provider.set_latency(FAST_MS)
    provider.reset()
    with processes.web() as web, processes.worker(concurrency=CONCURRENCY):
        warm, measured = (
            send_paced(web.url, requests(places, many, tag), expected=202, every_s=0.08)
            for many, tag in ((20, "warm"), (count, "soon"))
        )
        wait_until_settled(provider, len(warm.times) + count)
    came = {text: at for text, at in provider.arrivals() if text.startswith("soon")}
    waits = [(came[f"soon {number}"] - sent) * 1000 for number, (sent, _) in enumerate(measured.times)]
    after = [(came[f"soon {number}"] - answered) * 1000 for number, (_, answered) in enumerate(measured.times)]
    accepting = statistics.median((answered - sent) * 1000 for sent, answered in measured.times)
    return [
        Goal(
            f"accept → first byte at the provider, idle hub, p{percent}",
            percentile(waits, percent),
            must=must,
            goal=goal,
            unit="ms",
            beside=f"from the 202 on {percentile(after, percent):.0f} ms; answered after {accepting:.0f} ms (p50)",
        )
        for percent, must, goal in ((50, 100, 25), (99, 500, 100))
    ]


def requests(places: Sequence[Place], count: int, tag: str) -> list[bytes]:
    """Requests to send one message each, over all places and contacts in turn; text number n is "`tag` n"."""
    made = []
    for number in range(count):
        place = places[number % len(places)]
        to = place.numbers[number // len(places) % len(place.numbers)]
        body = json.dumps({"to": to, "text": f"{tag} {number}"}).encode()
        made.append(post("/api/v1/messages/", body, Authorization=f"Bearer {place.key}"))
    return made
