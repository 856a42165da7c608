"""Does what the plan says goes wrong, and notes which of it landed where it hurts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import requests
from django.db import Error, connections

from messaging import desk
from messaging.models import Message
from routing.errors import Refused
from routing.models import User
from tests.chaos.estate import ANSWER_DELAY_S, DEADLINE_S, HANG_S, LEASE_S, Crew, Postgres
from tests.chaos.plan import MIX, Blow, Plan
from tests.chaos.witness import Witness

Steps = Generator[None, None, None]
AIMED_S = 3.0
"""How long a kill in the moment after a claim waits for such a moment."""
FOREVER_S = 1e9
AGAIN_WITHIN_S = 25.0
"""Until what a person had sent again leaves: the breakers of its setup may have to close first."""
TOLD_WITHIN_S = 5.0
SWEPT_WITHIN_S = LEASE_S + 12
NOTHING_IS_TAKEN_ON = {"timeout_not_sent": 1.0}


@dataclass
class Monkey:
    """Call `tick` often; it returns at once, except while PostgreSQL is stopped or started."""

    plan: Plan
    crew: Crew
    postgres: Postgres
    witness: Witness
    sandbox: str
    clerk: User
    """The person who decides at the desk."""
    done: Counter[str] = field(default_factory=Counter)
    """How often each kind was done."""
    in_flight_at_restarts: int = 0
    overtaken: int = 0
    """Messages that another was sending at the moment when their first, frozen, worker came back."""
    is_down: bool = False
    refusals: Callable[[], int] = lambda: 0
    """How often clients were told to come back."""
    _next: int = 0
    _under_way: list[Steps] = field(default_factory=list)
    _alone: bool = False

    def begin(self) -> None:
        """Tell the sandbox what to do wrong from now on."""
        self._trouble(mix=dict(MIX), seed=self.plan.seed, hang_s=HANG_S, late_s=2.0, retry_after_s=1)
        lookup = {"method": "GET", "path": "/api/v2/messages", "status": 500, "times": 5}
        requests.post(f"{self.sandbox}/_sandbox/fail-endpoint", json=lookup, timeout=30).raise_for_status()

    @property
    def is_done(self) -> bool:
        """Whether all of the plan was done."""
        return self._next >= len(self.plan.blows) and not self._under_way

    def tick(self, progress: float) -> None:
        """Begin what is due, go on with what has begun."""
        blows = self.plan.blows
        while self._next < len(blows) and blows[self._next].at <= progress and len(self._under_way) < 3:
            blow = blows[self._next]
            self._next += 1
            self._under_way.append(getattr(self, f"_{blow.kind}")(blow))
        for steps in list(self._under_way):
            try:
                next(steps)
            except StopIteration:
                self._under_way.remove(steps)

    # Kills and pauses

    def _kill(self, blow: Blow) -> Steps:
        yield from self._wait(blow.seconds)
        while (place := self._busy(blow.order)) is None:
            yield
        self.crew.kill(place)
        self.done["kill"] += 1

    def _kill_claimed(self, blow: Blow) -> Steps:
        """Any who holds something that it has claimed and not begun; whoever is busy, when that does not come about."""
        until = time.monotonic() + AIMED_S
        while (place := self._busy(blow.order, "claimed")) is None and time.monotonic() < until:
            yield
        while place is None:
            yield
            place = self._busy(blow.order)
        self.crew.kill(place)
        self.done["kill"] += 1

    def _pause(self, blow: Blow) -> Steps:
        if (place := (yield from self._freeze_one(blow.order, FOREVER_S))) is None:
            return
        yield from self._wait(LEASE_S + blow.seconds)
        self.crew.thaw(place)
        self.done["pause"] += 1

    def _freeze_one(self, order: Sequence[int], within_s: float) -> Generator[None, None, int | None]:
        """Freeze a worker in the middle of a send; which one, or None when none was to be had."""
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            if (place := self._busy(order)) is not None:
                self.crew.freeze(place)
                # What it had asked the database for may still come to pass.
                yield from self._wait(0.1)
                if self.witness.held(self.crew.names[place], "sending"):
                    return place
                self.crew.thaw(place)
            yield
        return None

    def _busy(self, order: Sequence[int], state: str = "sending") -> int | None:
        """The first worker in the order that holds a message in this state; None when there is none."""
        for place in order:
            if place not in self.crew.frozen and self.witness.held(self.crew.names[place], state):
                return place
        return None

    # PostgreSQL

    def _restart(self, blow: Blow) -> Steps:
        while self._alone:
            yield
        self._alone = True
        rows = None
        while not rows or not rows[0][0]:
            yield
            rows = self.witness.database.rows("SELECT count(*) FROM chaos_held WHERE state = 'sending'")
        self.in_flight_at_restarts += rows[0][0]
        before = self.refusals()
        self.is_down = True
        self.postgres.down(crash=blow.crash)
        yield from self._wait(blow.seconds)
        yield from self._until(lambda: self.refusals() > before, TOLD_WITHIN_S)
        self.postgres.up()
        self.is_down = self._alone = False
        self.done["restart"] += 1

    # A worker that comes back when a person has decided and another is sending already

    def _late_hand(self, blow: Blow) -> Steps:
        while self._alone:
            yield
        self._alone = True
        self._trouble(mix=NOTHING_IS_TAKEN_ON)
        # What was begun before may still be taken on.
        yield from self._wait(ANSWER_DELAY_S * 2 + 0.3)
        place = yield from self._freeze_one(blow.order, 15)
        self._trouble(mix=dict(MIX))
        if place is not None:
            orphans = set(self.witness.held(self.crew.names[place], "sending") or ())
            yield from self._until(lambda: not self._held_by(orphans, self.crew.names[place]), SWEPT_WITHIN_S)
            self._trouble(answer_delay_s=DEADLINE_S - 0.4)
            again = {message for message in orphans if self._send_again(message)}
            yield from self._until(lambda: self._sending_elsewhere(again, self.crew.names[place]) > 0, AGAIN_WITHIN_S)
            self.overtaken += self._sending_elsewhere(again, self.crew.names[place])
            self.crew.thaw(place)
            yield from self._wait(DEADLINE_S)
            self._trouble(answer_delay_s=ANSWER_DELAY_S)
            self.done["late_hand"] += 1
        self._alone = False

    def _held_by(self, messages: set[str], who: str) -> bool:
        held = self.witness.held(who, "sending")
        return held is None or bool(messages & set(held))

    def _sending_elsewhere(self, messages: set[str], not_by: str) -> int:
        statement = "SELECT message FROM chaos_held WHERE who <> %s AND state = 'sending'"
        rows = self.witness.database.rows(statement, [not_by]) or []
        return len(messages & {str(row[0]) for row in rows})

    def _send_again(self, pk: str) -> bool:
        """As the clerk: nothing of the first try was taken on, so nobody gets it twice."""
        try:
            message = Message.objects.get(pk=pk)
            desk.send_again(message=message, by=self.clerk, reason="The provider says that it never had it.")
        except (Refused, Message.DoesNotExist):
            return False
        except Error:
            connections.close_all()
            return False
        self.witness.decided.add(message.text)
        self.done["sent again by a person"] += 1
        return True

    # Tools

    def _trouble(self, **settings: Any) -> None:
        requests.post(f"{self.sandbox}/_sandbox/trouble", json=settings, timeout=30).raise_for_status()

    @staticmethod
    def _wait(seconds: float) -> Steps:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            yield

    @staticmethod
    def _until(condition: Callable[[], bool], within_s: float) -> Steps:
        until = time.monotonic() + within_s
        while not condition() and time.monotonic() < until:
            yield
