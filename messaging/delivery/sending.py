"""Many messages at providers at once, from one process: calls in threads, intents and outcomes in batches.

The caller's thread claims and records the intents; a thread for each call asks the provider and touches no database;
one thread writes the outcomes down, all that came while it wrote the last ones in one go. What is in memory is bounded
by the number of calls, whatever the backlog.
"""

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from uuid import UUID

import structlog
from django.conf import settings
from django.db import InterfaceError, OperationalError, close_old_connections, connections

from messaging.delivery import claiming, dispatch
from messaging.delivery.claiming import Turn
from messaging.delivery.dispatch import Departure, Outcome
from messaging.models import Message

log = structlog.get_logger("hub.worker")

FAIRNESS = 4
"""A setup has at most so many times as many calls as are free beside it (a dynamic threshold, as switches share their
memory): alone it gets four fifths of all, and however many providers are slow, the next setup finds a free one."""
SETTLE_AGAIN_S = 1.0
GATHER_CLAIMS_S = 0.02
GATHER_OUTCOMES_S = 0.01
"""While calls are under way, claims are so far apart, and an outcome waits so long for others: a statement for many
costs little more than a statement for one. What comes to an idle worker waits for nothing."""


class Sending:
    """The calls of one worker. `concurrency`: how many at once. `done` is called from any thread whenever some ended;
    `count` with the word on each."""

    def __init__(self, *, concurrency: int, done: Callable[[], None], count: Callable[[str, Departure], None]) -> None:
        self._concurrency = concurrency
        self._done, self._count = done, count
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="call")
        self._ended: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()
        self._settler = threading.Thread(target=self._settling, name="settle")
        self._turn = Turn()
        self._claimed_at = 0.0
        self._lock = threading.Lock()
        self._of_setup: Counter[UUID | None] = Counter()
        self._futures: dict[Future[None], Departure] = {}
        self._given_up = threading.Event()

    def start(self) -> None:
        """Ready to take messages."""
        self._settler.start()

    def take(self, decide: Callable[[Message], None]) -> int:
        """Claim as many messages as there are calls free, and send them off; how many were taken.

        `decide` gets those that are decided anew first, which takes its time: they are claimed, and no call of ours.
        Raises the database's errors; what was claimed until then comes back with its lease.
        """
        with self._lock:
            flying = self._of_setup.copy()
        if flying:
            time.sleep(max(0.0, self._claimed_at + GATHER_CLAIMS_S - time.monotonic()))
            with self._lock:
                flying = self._of_setup.copy()
        self._claimed_at = time.monotonic()
        free = self._concurrency - flying.total()
        if free <= 0:
            return 0

        def room(setup: UUID | None) -> int:
            # The most that leaves this setup at `FAIRNESS` times what is then free beside it.
            return max(0, min(free, -(-(FAIRNESS * free - flying[setup]) // (FAIRNESS + 1))))

        taken = claiming.claim_due(limit=free, lease=settings.HUB_LEASE, turn=self._turn, room=room)
        now = []
        for message in taken:
            if dispatch.needs_decision(message):
                decide(message)
            else:
                now.append(message)
        self._prepare(now)
        return len(taken)

    def decide(self, message: Message) -> str:
        """Decide a claimed message anew and send it off, if it is to leave now; a word for the log. In any thread."""
        return self._prepare([message])[0]

    def _prepare(self, messages: Sequence[Message]) -> list[str]:
        words = []
        for departure in dispatch.prepare(messages) if messages else ():
            if isinstance(departure, Departure):
                self._send_off(departure)
                words.append("sent off")
            else:
                words.append(departure)
        return words

    def _send_off(self, departure: Departure) -> None:
        with self._lock:
            self._of_setup[departure.setup.pk] += 1
            future = self._pool.submit(self._call, departure)
            self._futures[future] = departure

    def _call(self, departure: Departure) -> None:
        self._ended.put(dispatch.call(departure))

    def _settling(self) -> None:
        while (first := self._ended.get()) is not None:
            outcomes, last = [first], False
            if len(self._futures) > 1:
                time.sleep(GATHER_OUTCOMES_S)
            while not last:
                try:
                    more = self._ended.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    last = True
                else:
                    outcomes.append(more)
            self._settle(outcomes)
            if last:
                break
        connections.close_all()

    def _settle(self, outcomes: Sequence[Outcome]) -> None:
        """Until it is written down: what a provider answered is known to nobody else. A message whose lease runs out
        meanwhile is uncertain, until this is written after all."""
        while True:
            close_old_connections()
            try:
                words = dispatch.settle(outcomes)
                break
            except (OperationalError, InterfaceError) as error:
                log.warning("outcomes wait for the database", outcomes=len(outcomes), error=type(error).__name__)
                connections.close_all()
                if self._given_up.wait(SETTLE_AGAIN_S):
                    return
            except Exception:
                # The outermost net: one bad row stops no other.
                if len(outcomes) == 1:
                    log.exception("outcome not settled", message=str(outcomes[0].departure.message.pk))
                    words = ["failed"]
                    break
                for outcome in outcomes:
                    self._settle([outcome])
                return
        for outcome, word in zip(outcomes, words, strict=True):
            self._count(word, outcome.departure)
        self._forget(outcomes)

    def _forget(self, outcomes: Sequence[Outcome]) -> None:
        with self._lock:
            self._of_setup.subtract(outcome.departure.setup.pk for outcome in outcomes)
            for setup in {outcome.departure.setup.pk for outcome in outcomes}:
                if not self._of_setup[setup]:
                    del self._of_setup[setup]
            self._futures = {future: one for future, one in self._futures.items() if not future.done()}
        self._done()

    def stop(self, *, within_s: float) -> None:
        """Finish what is at providers, give back what is not, and write all of it down, as long as `within_s` lasts."""
        with self._lock:
            futures = list(self._futures.items())
        for future, departure in futures:
            if future.cancel():
                self._ended.put(dispatch.not_called(departure))
        self._pool.shutdown(wait=True)
        self._ended.put(None)
        self._settler.join(within_s)
        self._given_up.set()
        self._settler.join()
