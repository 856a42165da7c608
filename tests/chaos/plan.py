"""What is sent and what goes wrong when, all of it drawn from one seed."""

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LOCATIONS = 3
LINES = 3
"""Of each location, each of a setup of its own."""
WORKERS = 4
MIX: Mapping[str, float] = {
    "rate_limited": 0.015,
    "error_500_before": 0.008,
    "unavailable_503": 0.004,
    "error_500_after": 0.015,
    "timeout_sent": 0.01,
    "timeout_not_sent": 0.004,
    "reset_before": 0.006,
    "reset_after": 0.01,
    "reset_untold": 0.01,
    "closed_after": 0.01,
    "garbage": 0.01,
    "truncated": 0.01,
    "no_handle": 0.008,
    "invalid_number": 0.006,
    "duplicated": 0.04,
    "reordered": 0.04,
    "early": 0.02,
    "late": 0.02,
}
"""How often a send meets which of the sandbox's faults; see `provisioning/sandbox/faults.py`."""

KEPT, KEPT_SHARE = 2.0, 0.3
"""So many clients keep their last message until PostgreSQL is away, so that somebody always asks then."""


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    messages: int
    kills: int
    pauses: int
    restarts: int
    late_hands: int
    a_conversation: int
    over_http: float
    """The share that is posted over HTTP while all goes wrong; the rest is stored by the hub's own service."""


FULL = Sizes(
    messages=10_000, kills=44, pauses=8, restarts=3, late_hands=3, a_conversation=10, over_http=0.25
)  # fmt: skip
SHORT = Sizes(messages=480, kills=8, pauses=1, restarts=1, late_hands=1, a_conversation=5, over_http=0.3)


@dataclass(frozen=True)
class Talk:
    """One conversation: an account of a location (by index, from 1) and a customer, and what is said, in order."""

    location: int
    account: int
    customer: str
    texts: Sequence[str]
    over_http: bool


@dataclass(frozen=True)
class Blow:
    """Something that goes wrong once `at`, the share of all messages, has been done with.

    `kind`: kill, kill_claimed (in the moment after a claim), pause, restart, late_hand. `order`: which worker, or the
    next that can be hit. `seconds`: a delay before a kill; by how much a pause outlasts the lease; how long PostgreSQL
    is away. `crash`: PostgreSQL gets no time to end well.
    """

    at: float
    kind: str
    order: Sequence[int]
    seconds: float
    crash: bool


@dataclass(frozen=True)
class Plan:
    """The whole run."""

    seed: int
    sizes: Sizes
    talks: Sequence[Talk]
    blows: Sequence[Blow]
    gates: Mapping[str, float]
    """From which share of all messages on a text is posted; KEPT: while PostgreSQL is away."""
    impatient: frozenset[str]
    """Texts whose first request is given up before the answer comes, and repeated with its key."""

    @property
    def digest(self) -> str:
        """Equal for equal plans."""
        told = (self.talks, self.blows, sorted(self.gates.items()), sorted(self.impatient), sorted(MIX.items()))
        return hashlib.sha256(repr(told).encode()).hexdigest()[:12]


def draw(seed: int, sizes: Sizes) -> Plan:
    """The plan of a seed."""
    rng = random.Random(seed)
    talks = _talks(rng, sizes)
    posted = [text for talk in talks if talk.over_http for text in talk.texts]
    gates: dict[str, float] = {}
    for talk in talks:
        if talk.over_http:
            moments = sorted(rng.uniform(0, 0.7) for _ in talk.texts)
            if rng.random() < KEPT_SHARE:
                moments[-1] = KEPT
            gates.update(zip(talk.texts, moments, strict=True))
    impatient = frozenset(text for text in posted if rng.random() < 0.08)
    return Plan(seed, sizes, talks, _blows(rng, sizes), gates, impatient)


def _talks(rng: random.Random, sizes: Sizes) -> list[Talk]:
    count = max(sizes.messages // sizes.a_conversation, 1)
    lengths = [sizes.messages // count + (number < sizes.messages % count) for number in range(count)]
    talks = []
    for number, length in enumerate(lengths):
        location, place = number % LOCATIONS, number // LOCATIONS
        # Two conversations of each customer, from two accounts.
        customer = f"+1212{4_000_000 + location * 300_000 + place // 2}"
        texts = [f"{number:05} {turn:03} {rng.getrandbits(32):08x}" for turn in range(length)]
        talks.append(Talk(location, 1 + place % LINES, customer, texts, rng.random() < sizes.over_http))
    return talks


def _blows(rng: random.Random, sizes: Sizes) -> list[Blow]:
    kinds = ["kill_claimed" if number % 3 == 2 else "kill" for number in range(sizes.kills)]
    blows = [_blow(rng, kind, share) for kind, share in zip(kinds, _spread(rng, sizes.kills, 0.02, 0.9), strict=True)]
    for kind, count, first, last in (
        ("pause", sizes.pauses, 0.05, 0.7),
        ("restart", sizes.restarts, 0.15, 0.6),
        ("late_hand", sizes.late_hands, 0.1, 0.5),
    ):
        blows += [
            _blow(rng, kind, share, crash=number % 2 == 0)
            for number, share in enumerate(_spread(rng, count, first, last))
        ]
    return sorted(blows, key=lambda blow: blow.at)


def _spread(rng: random.Random, count: int, first: float, last: float) -> list[float]:
    """So many moments, one in each of equal parts."""
    part = (last - first) / max(count, 1)
    return [first + (number + rng.random()) * part for number in range(count)]


def _blow(rng: random.Random, kind: str, at: float, *, crash: bool = False) -> Blow:
    seconds = {"pause": rng.uniform(1, 3), "restart": rng.uniform(0.5, 3), "late_hand": 0.0}.get(
        kind, rng.uniform(0, 0.3)
    )
    return Blow(at, kind, rng.sample(range(WORKERS), WORKERS), seconds, crash)
