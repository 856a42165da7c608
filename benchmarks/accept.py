"""Accepting a message over HTTP, against a plain DRF view and against its own statements without anything around."""

import itertools
import json
import time
from collections.abc import Sequence
from typing import Any

import psycopg

from benchmarks.bench import Bench, Cost, cost, middle, ratio, say
from benchmarks.database import Statement
from benchmarks.deliver import requests, statements_of
from benchmarks.goals import Found, Goal, Growth
from benchmarks.load import get, post, send_all
from benchmarks.processes import Processes, Running
from benchmarks.world import Place, make_places, queue

DATABASE = "accept"
CONTROL = {"BEGIN", "COMMIT", "ROLLBACK"}
_serial = itertools.count()


def run(bench: Bench) -> Found:
    """The rows of accepting."""
    found = Found()
    count = bench.size(600, 250)
    with bench.database(DATABASE) as processes:
        places = make_places(1, accounts=10, contacts=1_000)
        with processes.web() as web:
            _accept(bench, web, places, 200)
            _floor(bench, web, places[0], 200)
            began = web.memory
            hub, keyed, floor = _rounds(bench, web, places, count)
            before = statements_of(bench, DATABASE)
            send_all(web.url, _requests(places, count), expected=202)
            statements = (statements_of(bench, DATABASE) - before) / count
            held = web.memory
            found.growth.append(_growth(bench, web, places, count))
        recorded, bare = _bare(bench, processes, places, bench.size(400, 150))
    transaction = sum(statement.text.split()[0].upper() in CONTROL for statement in recorded.statements)
    without = statements - transaction / recorded.messages
    found.goals += [
        Goal(
            "accept: CPU (web + database) a message ÷ an authenticated DRF view that inserts one row by the ORM",
            ratio([one.cpu_us for one in hub], [one.cpu_us for one in floor]),
            must=0.8,
            goal=0.5,
            beside=f"{middle(hub)} ÷ {middle(floor)}",
        ),
        Goal(
            "accept with an Idempotency-Key ÷ the same view, which knows none",
            ratio([one.cpu_us for one in keyed], [one.cpu_us for one in floor]),
            beside=str(middle(keyed)),
        ),
        Goal(
            "accept: CPU a message ÷ its own statements bare on one connection",
            middle(hub).cpu_us / bare.cpu_us,
            beside=f"bare {bare} (client + database)",
        ),
        Goal(
            "accept: statements a message on PostgreSQL, key look-up included",
            statements,
            must=5,
            goal=3,
            beside=f"{without:.1f} without BEGIN and COMMIT",
        ),
        Goal(
            "memory of the web process under load ÷ before",
            held / began,
            beside=f"{held / 2**20:.1f} ÷ {began / 2**20:.1f} MiB",
        ),
    ]
    return found


def _rounds(
    bench: Bench, web: Running, places: Sequence[Place], count: int
) -> tuple[list[Cost], list[Cost], list[Cost]]:
    hub, keyed, floor = [], [], []
    for number in range(bench.rounds):
        say(f"accept: round {number + 1}: {count} messages each, the hub and the floor …")
        hub.append(_accept(bench, web, places, count))
        floor.append(_floor(bench, web, places[0], count))
        keyed.append(_accept(bench, web, places, count // 2, keyed=True))
    return hub, keyed, floor


def _accept(bench: Bench, web: Running, places: Sequence[Place], count: int, *, keyed: bool = False) -> Cost:
    meter = bench.cpu_of(DATABASE, lambda: web.cpu_s)
    sent = send_all(web.url, _requests(places, count, keyed=keyed), expected=202)
    return cost(meter.read(), count, seconds=sent.seconds)


def _requests(places: Sequence[Place], count: int, *, keyed: bool = False) -> list[bytes]:
    made = requests(places, count, f"accept-{next(_serial)}")
    if not keyed:
        return made
    name = b"\r\nIdempotency-Key: %d-%d\r\nContent-Length"
    return [one.replace(b"\r\nContent-Length", name % (time.monotonic_ns(), n), 1) for n, one in enumerate(made)]


def _floor(bench: Bench, web: Running, place: Place, count: int) -> Cost:
    made = []
    for number in range(count):
        body = json.dumps({"to": place.numbers[number % len(place.numbers)], "text": f"floor {number}"}).encode()
        made.append(post("/floor/messages/", body, Authorization=f"Bearer {place.key}"))
    meter = bench.cpu_of(DATABASE, lambda: web.cpu_s)
    sent = send_all(web.url, made, expected=201)
    return cost(meter.read(), count, seconds=sent.seconds)


def _growth(bench: Bench, web: Running, places: Sequence[Place], count: int) -> Growth:
    sizes = bench.size((5_000, 50_000, 500_000), (500, 5_000, 50_000))
    there, figures = 0, []
    for size in sizes:
        say(f"accept: with {size:,} messages stored …")
        queue(places[0], size - there, tag=f"stored-{size}", state="accepted")
        there = size
        _accept(bench, web, places, 100)
        figures.append(_accept(bench, web, places, count).cpu_us)
    return Growth("messages that are stored", "µs of CPU to accept one", sizes, figures)


# --- the same statements, bare ----------------------------------------------------------------------------------------
class Recorded:
    """What the hub had the database do for some messages, one after the other."""

    def __init__(self, statements: Sequence[Statement], messages: int) -> None:
        self.statements = statements
        self.messages = messages


def _bare(bench: Bench, processes: Processes, places: Sequence[Place], count: int) -> tuple[Recorded, Cost]:
    """Record from the server's log what accepting does, and repeat it on copies of the database as it was before: the
    same rows under the same ids."""
    say(f"accept: the statements of {count} messages, bare …")
    with bench.cluster.fresh("accept_before", like=DATABASE):
        bench.cluster.log_statements(DATABASE)
        with processes.web() as web:
            authorization = f"Bearer {places[0].key}"
            # Every thread of the server has its connection before anything is counted.
            send_all(web.url, [get("/api/v1/messages/?page_size=1", Authorization=authorization)] * 40, expected=200)
            since = bench.cluster.log_size()
            send_all(web.url, _requests(places, count), expected=202, connections=1)
            time.sleep(0.5)  # for the server's collector of log lines
            recorded = Recorded(bench.cluster.logged(DATABASE, since=since), count)
        costs = []
        for number in range(bench.rounds):
            name = f"accept_bare_{number}"
            with bench.cluster.fresh(name, like="accept_before"):
                costs.append(_replayed(bench, name, recorded))
    bench.cluster.use(DATABASE)
    return recorded, middle(costs)


def _replayed(bench: Bench, name: str, recorded: Recorded) -> Cost:
    prepared: dict[str, bytes] = {}
    with psycopg.connect(bench.cluster.url_of(name), autocommit=True) as connection:
        server = connection.pgconn
        meter = bench.cpu_of(name, time.process_time)
        for statement in recorded.statements:
            if statement.values is None:
                answer = server.exec_(statement.text.encode())
            else:
                known = prepared.get(statement.text)
                if known is None:
                    known = prepared[statement.text] = f"bare_{len(prepared)}".encode()
                    server.prepare(known, statement.text.encode())
                values: list[Any] = [None if value is None else value.encode() for value in statement.values]
                answer = server.exec_prepared(known, values)
            if answer.error_message:
                raise RuntimeError(f"{answer.error_message.decode()} in {statement.text[:200]}")
        return cost(meter.read(), recorded.messages)
