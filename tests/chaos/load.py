"""The customers' side: a hub's worth of locations, and clients that do not give up until a message is accepted."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import requests
from django.db import Error, close_old_connections, connections, transaction
from django.utils import timezone

from messaging import services
from messaging.models import Message
from messaging.services import NewMessage
from provisioning.models import PhoneLine
from provisioning.services import create_setup
from routing.models import Location
from routing.services import create_api_key
from tests.chaos.plan import LINES, LOCATIONS, Plan, Talk

AT_ONCE = "290"
"""The sandbox's area code for a number that is in the answer."""
QUICK = {"pace_per_second": 1000, "pace_burst": 1000, "new_contacts_per_hour": 2000, "new_contacts_per_day": 2000}
"""A line's own pace: this run is about faults, not about waiting."""
AT_ONCE_STORED = 25
CLIENTS = 6


@dataclass(frozen=True)
class Place:
    """A location, the key of its clients, and the numbers of its accounts by index."""

    location: Location
    key: str
    numbers: Mapping[int, str]


def make_places() -> list[Place]:
    """Locations with lines, connected through the provider as everybody's are."""
    places = []
    for number in range(LOCATIONS):
        location = Location.objects.create(name=f"Clinic {number + 1}")
        for line in range(LINES):
            create_setup(location=location, business_name=f"clinic-{number}-{line}", label=f"{line}", area_code=AT_ONCE)
        _, key = create_api_key(location=location, name="Clients")
        numbers = dict(location.accounts.values_list("index", "phone_number"))
        if len(numbers) != LINES:
            raise RuntimeError(f"{location} has {len(numbers)} lines instead of {LINES}.")
        places.append(Place(location, key, numbers))
    PhoneLine.objects.update(**QUICK)
    return places


@dataclass
class Load:
    """Stores and posts what the plan says, from threads of its own; `accepted` is what the hub has answered for."""

    plan: Plan
    places: Sequence[Place]
    url: str
    progress: Callable[[], float]
    accepted: dict[str, str] = field(default_factory=dict)
    """The id of the message by its text; "" where it was stored without HTTP."""
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Begin."""
        posted = [talk for talk in self.plan.talks if talk.over_http]
        # One that comes early in the plan must not wait behind one that comes late.
        queues = [posted[number::CLIENTS] for number in range(CLIENTS)]
        self._threads = [threading.Thread(target=self._guarded, args=(self._post_all, queue)) for queue in queues]
        stored = [talk for talk in self.plan.talks if not talk.over_http]
        self._threads.append(threading.Thread(target=self._guarded, args=(self._store_all, stored)))
        for thread in self._threads:
            thread.daemon = True
            thread.start()

    @property
    def refusals(self) -> int:
        """How often clients were told to come back, or cut off."""
        return self.counts["answered 503"] + self.counts["connections lost"]

    @property
    def is_done(self) -> bool:
        """Whether everything is accepted, or a client has given up."""
        return not any(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        """Give up what is not accepted yet."""
        self.stopping.set()
        for thread in self._threads:
            thread.join(30)

    def _guarded(self, work: Callable[[Sequence[Talk]], None], talks: Sequence[Talk]) -> None:
        try:
            work(talks)
        except Exception as error:  # noqa: BLE001 - told in the report
            self.problems.append(f"a client gave up: {type(error).__name__}: {error}")
        finally:
            connections.close_all()

    # Stored by the hub's own service

    def _store_all(self, talks: Sequence[Talk]) -> None:
        turns = max((len(talk.texts) for talk in talks), default=0)
        # Round by round, so that many conversations have something to send from the beginning.
        texts = [(talk, talk.texts[turn]) for turn in range(turns) for talk in talks if turn < len(talk.texts)]
        for first in range(0, len(texts), AT_ONCE_STORED):
            self._store(texts[first : first + AT_ONCE_STORED])

    def _store(self, batch: Sequence[tuple[Talk, str]]) -> None:
        """Once, whatever happens: after trouble, what is there already is not stored again."""
        while not self.stopping.is_set():
            close_old_connections()
            try:
                there = set(Message.objects.filter(text__in=[text for _, text in batch]).values_list("text", flat=True))
                with transaction.atomic():
                    for talk, text in batch:
                        if text not in there:
                            wanted = NewMessage(to=talk.customer, text=text, account=talk.account)
                            location = self.places[talk.location].location
                            services.send(location=location, wanted=wanted, now=timezone.now())
            except Error:
                self.counts["batches stored again"] += 1
                connections.close_all()
                time.sleep(0.3)
            else:
                self.accepted.update((text, "") for _, text in batch)
                return

    # Posted over HTTP

    def _post_all(self, talks: Sequence[Talk]) -> None:
        session = requests.Session()
        waiting = {id(talk): list(talk.texts) for talk in talks}
        by_id = {id(talk): talk for talk in talks}
        while any(waiting.values()) and not self.stopping.is_set():
            posted = False
            for key, texts in waiting.items():
                if texts and self.plan.gates[texts[0]] <= self.progress():
                    self._post(session, by_id[key], texts.pop(0))
                    posted = True
            if not posted:
                time.sleep(0.05)

    def _post(self, session: requests.Session, talk: Talk, text: str) -> None:
        """Until it is accepted: the same request under the same key, again and again."""
        place, rng = self.places[talk.location], random.Random(text)
        body = {"to": talk.customer, "text": text, "account": talk.account}
        headers = {"Authorization": f"Bearer {place.key}", "Idempotency-Key": text.replace(" ", "-")}
        wait_s = 0.02 if text in self.plan.impatient else 10.0
        while not self.stopping.is_set():
            try:
                answer = session.post(f"{self.url}/api/v1/messages/", json=body, headers=headers, timeout=(10, wait_s))
            except requests.RequestException as error:
                self.counts["given up" if isinstance(error, requests.ReadTimeout) else "connections lost"] += 1
            else:
                self.counts[f"answered {answer.status_code}"] += 1
                if answer.status_code == 202:
                    self.counts["replayed"] += answer.headers.get("Idempotent-Replayed") == "true"
                    self.accepted[text] = answer.json()["id"]
                    return
                if answer.status_code not in (409, 429, 503):
                    self.problems.append(f"a client was answered {answer.status_code}: {answer.text[:200]}")
                    if answer.status_code < 500:
                        return
            wait_s = 10.0
            self.stopping.wait(rng.uniform(0.1, 0.5))
