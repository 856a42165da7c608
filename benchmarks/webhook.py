"""The door for providers' webhooks, against a DRF view that looks up whose it is and inserts a row by the ORM."""

import itertools
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.bench import Bench, Cost, cost, middle, ratio, say
from benchmarks.goals import Found, Goal
from benchmarks.load import post, send_all
from benchmarks.processes import Running
from benchmarks.world import Place, make_places, queue
from messaging.delivery.outbox import token_digest
from messaging.models import Attempt, Message

DATABASE = "webhook"
_serial = itertools.count()


@dataclass(frozen=True)
class _Sent:
    """A message that was sent: the token of its attempt's address, and its id at the provider."""

    token: str
    handle: str


def run(bench: Bench) -> Found:
    """A row for notices of lines, at the setup's address, and one for statuses of messages, at the attempt's."""
    count = bench.size(1_000, 250)
    notices: dict[str, list[Cost]] = {"hub": [], "floor": []}
    statuses: dict[str, list[Cost]] = {"hub": [], "floor": []}
    with bench.database(DATABASE) as processes:
        (place,) = make_places(1, accounts=10, contacts=200)
        sent = _sent(place, count)
        with processes.web() as web:
            for number in range(bench.rounds + 1):
                say(f"webhook: round {number}: {count} of each, the hub and the floor …")
                # The first round makes them warm.
                for who, base in (("hub", "/hooks/sendblue/"), ("floor", "/floor/hooks/")):
                    address = f"{base}{place.setup.webhook_key}/"
                    for costs, made in (
                        (notices[who], _notices(place, address, count)),
                        (statuses[who], _statuses(sent, address)),
                    ):
                        one = _received(bench, web, made)
                        if number:
                            costs.append(one)
    return Found([_goal("line notice", notices), _goal("status callback", statuses)])


def _goal(name: str, costs: dict[str, list[Cost]]) -> Goal:
    return Goal(
        f"webhook, {name}: CPU an event ÷ a DRF view that looks up and inserts by the ORM",
        ratio([one.cpu_us for one in costs["hub"]], [one.cpu_us for one in costs["floor"]]),
        must=0.5,
        goal=0.25,
        beside=f"{middle(costs['hub'])} ÷ {middle(costs['floor'])}",
    )


def _received(bench: Bench, web: Running, made: Sequence[bytes]) -> Cost:
    meter = bench.cpu_of(DATABASE, lambda: web.cpu_s)
    sent = send_all(web.url, made, expected=200)
    return cost(meter.read(), len(made), seconds=sent.seconds)


def _notices(place: Place, address: str, count: int) -> list[bytes]:
    """Each of another number, so that none is a repetition."""
    secret = place.setup.webhook_secret.reveal()
    bodies = (json.dumps({"number": f"+1646{next(_serial):07}", "status": "assigned"}).encode() for _ in range(count))
    return [post(f"{address}?topic=line_assigned", body, sb_signing_secret=secret) for body in bodies]


def _statuses(sent: Sequence[_Sent], address: str) -> list[bytes]:
    """One for each message, each time another one."""
    made = []
    for one in sent:
        body = {
            "accountEmail": "bench@example.com",
            "content": "Hello, your appointment is confirmed.",
            "is_outbound": True,
            "status": "DELIVERED",
            "error_code": None,
            "message_handle": f"{one.handle}-{next(_serial)}",
            "date_sent": "2026-01-31T09:30:00.000Z",
            "date_updated": "2026-01-31T09:30:05.000Z",
            "from_number": "+15550000001",
            "number": "+12120000001",
            "service": "iMessage",
        }
        made.append(post(f"{address}{one.token}/", json.dumps(body).encode()))
    return made


def _sent(place: Place, count: int) -> list[_Sent]:
    """Messages that were handed to the provider, with their attempts."""
    queue(place, count, tag="sent", state="accepted")
    found, attempts = [], []
    for message in Message.objects.select_related("account"):
        token = secrets.token_urlsafe(32)
        found.append(_Sent(token, message.provider_id))
        attempts.append(
            Attempt(
                location_id=message.location_id,
                message_id=message.pk,
                account=message.sender,
                fence=1,
                token_digest=token_digest(token),
            )
        )
    Attempt.objects.bulk_create(attempts)
    return found
