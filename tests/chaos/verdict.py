"""What came of it all, held against what is promised."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from messaging import desk_evidence
from messaging.models import Message
from routing.models import User
from tests.chaos.estate import Crew
from tests.chaos.load import Load
from tests.chaos.monkey import Monkey
from tests.chaos.plan import MIX
from tests.chaos.witness import Move, Witness

DESK_PAGE = 200


@dataclass(frozen=True)
class Row:
    """One line of the table; `holds` None: told, and nothing depends on it."""

    what: str
    must: str
    found: str
    holds: bool | None = None


@dataclass(frozen=True)
class Landed:
    """How many messages each kind of blow hit between claim and end, by the worker that held them."""

    killed_claimed: int
    killed_sending: int
    killed_placed: int
    frozen_claimed: int
    frozen_sending: int


def landed(moves: Sequence[Move], crew: Crew, placed: Callable[[str], bool]) -> Landed:
    """From the history: who held a message when it was killed, or frozen until another moved it on."""
    count: Counter[str] = Counter()
    for move in moves:
        if move.old not in ("claimed", "sending") or move.holder in (None, move.who):
            continue
        holder = move.holder or ""
        if crew.killed_at.get(holder, float("inf")) <= move.at:
            count[f"killed {move.old}"] += 1
            count["killed placed"] += move.old == "sending" and placed(move.message)
        elif any(since <= move.at <= until for since, until in crew.frozen_from.get(holder, ())):
            count[f"frozen {move.old}"] += 1
    return Landed(
        count["killed claimed"],
        count["killed sending"],
        count["killed placed"],
        count["frozen claimed"],
        count["frozen sending"],
    )


def judge(
    *, load: Load, witness: Witness, monkey: Monkey, crew: Crew, desk: User, seconds: float, thorough: bool
) -> list[Row]:
    """The table. `thorough`: every kind of blow has to have landed; a short run may miss the rarest."""
    rows = list(
        Message.objects.filter(direction="outbound").values("id", "text", "dispatch_state", "status", "provider_id")
    )
    by_text: dict[str, Mapping[str, Any]] = {row["text"]: row for row in rows}
    text_of = {str(row["id"]): row["text"] for row in rows}
    ends = {text: _end(by_text.get(text), witness.placed.get(text, 0)) for text in load.accepted}
    count = Counter(ends.values())
    twice = [text for text, times in witness.placed.items() if times > 1]
    by_person = [text for text in twice if text in witness.decided]
    waiting, without = _on_the_desk(desk)
    hits = landed(witness.moves, crew, lambda message: witness.placed.get(text_of.get(message, ""), 0) > 0)
    strikes = witness.tally()["landed"]
    missed = [name for name in MIX if not strikes.get(name)]
    foreign = sum(move.is_foreign for move in witness.moves)
    strangers = [text for text in witness.placed if text not in by_text]
    statuses = Counter(row["status"] for row in rows)
    done = monkey.done
    lost = count["lost"] + len(strangers)

    def must(what: str, wanted: int, found: int, more: str = "") -> Row:
        return Row(what, f"{wanted:,}", f"{found:,}{more}", found == wanted)

    def some(what: str, found: int, *, needed: bool = True) -> Row:
        return Row(what, "> 0" if needed else "–", f"{found:,}", found > 0 if needed else None)

    return [
        must("messages accepted", load.plan.sizes.messages, len(load.accepted)),
        must("stored twice for one request and its repeats", 0, len(rows) - len(by_text)),
        must("lost", 0, lost),
        Row("placed on a phone, once", "–", f"{count['placed']:,}"),
        Row("refused by the provider for good", "–", f"{count['refused']:,}"),
        must("sent twice, without a person's word", 0, len(twice) - len(by_person)),
        must("out of order, as the phones saw them", 0, len(witness.disorder), f" of {len(load.plan.talks):,} talks"),
        must("uncertain, and neither resolved nor on the desk with its evidence", 0, without),
        Row("uncertain on the desk, with evidence", "–", f"{waiting:,}"),
        must("moved by a worker that did not hold it", 0, foreign),
        must("workers that ended by themselves", 0, len(crew.ended_by_themselves)),
        must("clients that were told something else than to wait", 0, len(load.problems)),
        some(f"SIGKILL × {done['kill']}: hit between claim and intent", hits.killed_claimed, needed=thorough),
        some(f"SIGKILL × {done['kill']}: hit between intent and outcome", hits.killed_sending),
        some("… of these, after the provider had taken it", hits.killed_placed),
        some(
            f"SIGSTOP × {done['pause'] + done['late_hand']}: its claims taken over", hits.frozen_claimed, needed=False
        ),
        some(f"SIGSTOP × {done['pause'] + done['late_hand']}: its sends given up by others", hits.frozen_sending),
        some(f"came back × {done['late_hand']} while another sent the same", monkey.overtaken),
        some(f"PostgreSQL gone × {done['restart']}: calls in flight", monkey.in_flight_at_restarts),
        some("clients' repeats answered from the first", load.counts["replayed"]),
        some("clients told to come back (503) or cut off", load.refusals),
        some("batches stored again after trouble", load.counts["batches stored again"], needed=False),
        Row(
            "the provider's faults, by kind",
            "each > 0" if thorough else "–",
            ", ".join(f"{name} {strikes.get(name, 0)}" for name in MIX),
            not missed if thorough else None,
        ),
        Row("statuses in the end", "–", ", ".join(f"{name} {number:,}" for name, number in sorted(statuses.items()))),
        Row("seconds; messages a second", "–", f"{seconds:.0f}; {len(load.accepted) / seconds:.1f}"),
    ]


def _end(row: Mapping[str, Any] | None, placed: int) -> str:
    """What became of one accepted message: placed, refused, desk or lost."""
    if row is None:
        return "lost"
    if row["dispatch_state"] == "uncertain":
        return "placed" if placed else "desk"
    if placed:
        return "placed" if row["dispatch_state"] == "accepted" else "lost"
    return "refused" if row["dispatch_state"] == "rejected" else "lost"


def _on_the_desk(person: User) -> tuple[int, int]:
    """How many uncertain messages wait for a person, and how many have nothing that the person could go by."""
    rows = desk_evidence.uncertain_messages(person)
    total, without = rows.count(), 0
    for begin in range(0, total, DESK_PAGE):
        for case in desk_evidence.cases(rows, begin=begin, end=begin + DESK_PAGE):
            told = case.attempts and case.message.code and case.message.uncertain_at
            without += not told or case.asking_until is not None
    return total, without


def table(rows: Sequence[Row]) -> str:
    """In Markdown, its columns aligned; a line that does not hold is marked."""
    head = ("what", "must be", "is")
    lines = [(row.what, row.must, row.found + ("" if row.holds is not False else "  ← NOT SO")) for row in rows]
    widths = [max(len(line[place]) for line in (head, *lines)) for place in range(2)]

    def shown(line: tuple[str, str, str]) -> str:
        return f"| {line[0].ljust(widths[0])} | {line[1].rjust(widths[1])} | {line[2]} |"

    return "\n".join([shown(head), f"| {'-' * widths[0]} | {'-' * (widths[1] - 1)}: | --- |", *map(shown, lines)])
