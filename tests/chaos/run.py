"""One run, from the empty database to the verdict. Django has to be set up."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from django.conf import settings
from django.core.management import call_command
from django.db import connections

from imessage_hub.demo.processes import Processes
from routing.models import User
from tests.chaos import verdict
from tests.chaos.estate import Crew, Estate, Postgres, say, start_provider, start_web
from tests.chaos.load import Load, Place, make_places
from tests.chaos.monkey import Monkey
from tests.chaos.plan import KEPT, WORKERS, Plan
from tests.chaos.witness import TRIGGER, Database, Witness

TICK_S = 0.02
LOOK_EVERY_S = 1.0
TELL_EVERY_S = 5.0
LIVE = "('scheduled', 'queued', 'claimed', 'sending')"


@dataclass(frozen=True)
class Outcome:
    """How it went."""

    table: str
    holds: bool
    problems: Sequence[str]
    seconds: float


@dataclass
class _Clock:
    """Until when, and when what was last done."""

    limit_s: float
    started: float = field(default_factory=time.monotonic)
    _last: dict[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    @property
    def is_over(self) -> bool:
        return self.seconds > self.limit_s

    def every(self, seconds: float, what: str) -> bool:
        if self.seconds - self._last.get(what, -seconds) < seconds:
            return False
        self._last[what] = self.seconds
        return True


@dataclass
class _Stage:
    """All who take part."""

    plan: Plan
    crew: Crew
    monkey: Monkey
    witness: Witness
    load: Load
    share: float = 0.0
    left: str = ""

    def gate(self) -> float:
        """Up to which share clients post; while PostgreSQL is away they post all they have kept, to be told so."""
        return KEPT if self.monkey.is_down or self.monkey.is_done else self.share

    def measure(self) -> None:
        """How far it is: the share of all messages that has been done with."""
        rows = self.witness.database.rows(f"SELECT count(*) FROM messaging_message WHERE dispatch_state NOT IN {LIVE}")  # noqa: S608
        if rows:
            self.share = rows[0][0] / self.plan.sizes.messages

    def is_settled(self) -> bool:
        """Whether nothing is left to come: no message, look-up, event or callback."""
        if not (self.monkey.is_done and self.load.is_done):
            self.left = "load and blows"
            return False
        rows = self.witness.database.rows(
            f"""SELECT (SELECT count(*) FROM messaging_message WHERE dispatch_state IN {LIVE}),
                       (SELECT count(*) FROM messaging_message WHERE dispatch_state = 'uncertain'
                           AND (lookup_at IS NOT NULL OR uncertain_at > now() - %s * interval '1 second')),
                       (SELECT count(*) FROM provisioning_providerevent WHERE due_at <= now())""",  # noqa: S608
            [settings.HUB_UNCERTAIN_GRACE.total_seconds() + 1],
        )
        if rows is None:
            return False
        pending = self.witness.tally()["pending"]
        self.left = "{} on their way, {} asked after, {} events, {} callbacks".format(*rows[0], pending)
        return not any(rows[0]) and not pending


def run(
    estate: Estate,
    plan: Plan,
    *,
    worker: Sequence[str],
    limit_s: float,
    first_breach_ends_it: bool,
    thorough: bool,
) -> Outcome:
    """Do it all; the outcome. `thorough`: see `verdict.judge`."""
    say("Making the database …")
    call_command("migrate", verbosity=0)
    database = Database(estate.environment["DATABASE_URL"])
    with Processes(estate.environment, estate.folder) as processes:
        start_provider(processes, estate.folder)
        start_web(processes)
        places = make_places()
        database.surely(TRIGGER)
        witness = Witness(database, estate.environment["SENDBLUE_BASE_URL"])
        stage = _stage(estate, plan, places, witness, worker)
        try:
            return _play(stage, _Clock(limit_s), first_breach_ends_it=first_breach_ends_it, thorough=thorough)
        finally:
            stage.load.stop()
            stage.crew.stop()
            database.close()


def _stage(estate: Estate, plan: Plan, places: Sequence[Place], witness: Witness, worker: Sequence[str]) -> _Stage:
    clerk = User.objects.create_superuser("clerk")
    crew = Crew(estate.environment, estate.folder, worker)
    monkey = Monkey(plan, crew, Postgres(estate.folder / "postgres"), witness, witness.sandbox, clerk)
    stage = _Stage(plan, crew, monkey, witness, load=None)  # type: ignore[arg-type]
    stage.load = Load(plan, places, estate.environment["HUB_PUBLIC_URL"], stage.gate)
    monkey.refusals = lambda: stage.load.refusals
    return stage


def _play(stage: _Stage, clock: _Clock, *, first_breach_ends_it: bool, thorough: bool) -> Outcome:
    stage.monkey.begin()
    for place in range(WORKERS):
        stage.crew.start(place)
    stage.load.start()
    problems: list[str] = []
    while True:
        time.sleep(TICK_S)
        if clock.every(0.2, "measure"):
            stage.measure()
            if not stage.monkey.is_down:
                stage.crew.look_after()
        stage.monkey.tick(stage.share)
        if clock.every(LOOK_EVERY_S, "look"):
            stage.witness.look()
            if (first_breach_ends_it and stage.witness.breaches) or stage.is_settled():
                break
        if clock.every(TELL_EVERY_S, "tell"):
            say(_progress(stage, clock))
        if clock.is_over or (stage.load.problems and stage.load.is_done):
            problems.append(f"not settled after {clock.seconds:.0f} s: {stage.left}")
            break
    seconds = clock.seconds
    if first_breach_ends_it and stage.witness.breaches:
        return Outcome("", False, stage.witness.breaches, seconds)
    return _outcome(stage, problems, seconds, thorough=thorough)


def _progress(stage: _Stage, clock: _Clock) -> str:
    done = stage.monkey.done
    blows = ", ".join(f"{count} × {kind}" for kind, count in sorted(done.items())) or "nothing yet"
    return (
        f"{clock.seconds:5.0f} s  accepted {len(stage.load.accepted):6,}  done with {stage.share:4.0%}  "
        f"on phones {len(stage.witness.placed):6,}  {blows}  [{stage.left}]"
    )


def _outcome(stage: _Stage, problems: list[str], seconds: float, *, thorough: bool) -> Outcome:
    stage.witness.look()
    connections.close_all()  # what this process had before PostgreSQL went away
    rows = verdict.judge(
        load=stage.load,
        witness=stage.witness,
        monkey=stage.monkey,
        crew=stage.crew,
        desk=stage.monkey.clerk,
        seconds=seconds,
        thorough=thorough,
    )
    problems += [f"{row.what}: {row.found} instead of {row.must}" for row in rows if row.holds is False]
    problems += [*stage.witness.breaches[:10], *stage.load.problems[:10], *stage.crew.ended_by_themselves[:3]]
    return Outcome(verdict.table(rows), not problems, problems, seconds)
