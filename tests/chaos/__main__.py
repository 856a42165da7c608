"""`python -m tests.chaos`: run a hub in trouble, and hold what came of it against what is promised."""

import argparse
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

from tests.chaos.broken import BROKEN
from tests.chaos.estate import own_estate, say
from tests.chaos.plan import FULL, SHORT, WORKERS, Plan, Sizes, draw


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every promise was kept (with --broken: when each broken variant was caught), 1 otherwise."""
    given = _parser().parse_args(arguments)
    plan = _plan(given)
    say(f"Seed {plan.seed}, plan {plan.digest}: {_told(plan.sizes)}; doorbell {given.doorbell}.")
    if given.broken == "all":
        return _each_broken(plan.seed, given)
    worker = ["manage.py"] if given.broken is None else ["-m", "tests.chaos.broken", given.broken]
    with own_estate(doorbell=given.doorbell) as estate:
        from tests.chaos.run import run  # Django is ready now, and not before.

        outcome = run(
            estate,
            plan,
            worker=[*worker, "deliver", "--concurrency", str(given.concurrency)],
            limit_s=given.limit or (300 if given.short or given.broken else 3600),
            first_breach_ends_it=given.broken is not None,
            thorough=not (given.short or given.broken),
        )
        if given.broken is not None:
            how = "; ".join(outcome.problems[:2]) or "NOT CAUGHT"
            sys.stdout.write(f"| {given.broken} | {outcome.seconds:.0f} | {how} |\n")
            return 1 if outcome.holds else 0
        sys.stdout.write(f"\n{outcome.table}\n\n")
        sys.stdout.writelines(f"- {problem}\n" for problem in outcome.problems)
        if outcome.holds:
            sys.stdout.write("Every promise was kept.\n")
            return 0
        estate.is_kept = True
        sys.stdout.write(f"NOT every promise was kept. Seed {plan.seed}; the logs lie in {estate.folder}.\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description="Starts a PostgreSQL, a sandbox provider, a web server and four workers, sends many messages and "
        "kills, freezes, cuts off and lies to everything meanwhile. In the end nothing may be lost, sent twice or out "
        "of order.",
        epilog="The same seed draws the same plan: what is sent, what is hit after which share of the messages, and "
        "which message meets which fault of the provider.",
    )
    parser.add_argument("--short", action="store_true", help="a small run, for every change")
    parser.add_argument("--seed", type=int, default=None, help="of the plan; one by chance, and printed, without it")
    parser.add_argument("--messages", type=int, help=f"how many ({FULL.messages:,}; short {SHORT.messages})")
    parser.add_argument("--kills", type=int, help=f"how many SIGKILLs ({FULL.kills}; short {SHORT.kills})")
    parser.add_argument("--pauses", type=int, help=f"SIGSTOPs beyond the lease ({FULL.pauses}; short {SHORT.pauses})")
    parser.add_argument("--restarts", type=int, help=f"of PostgreSQL ({FULL.restarts}; short {SHORT.restarts})")
    parser.add_argument("--doorbell", choices=["poll", "notify", "celery"], default="notify", help="what wakes workers")
    parser.add_argument("--concurrency", type=int, default=8, metavar="N", help="calls of one worker at once (8)")
    parser.add_argument("--limit", type=float, metavar="S", help="seconds until it is given up (3600; short 300)")
    parser.add_argument(
        "--broken",
        nargs="?",
        const="all",
        choices=["all", *BROKEN],
        help="the short run on workers that are broken on purpose, which has to catch each",
    )
    return parser


def _plan(given: argparse.Namespace) -> Plan:
    sizes = SHORT if given.short or given.broken else FULL
    asked = {name: getattr(given, name) for name in ("messages", "kills", "pauses", "restarts")}
    sizes = replace(sizes, **{name: value for name, value in asked.items() if value is not None})
    return draw(random.SystemRandom().randrange(10**6) if given.seed is None else given.seed, sizes)


def _told(sizes: Sizes) -> str:
    return (
        f"{sizes.messages:,} messages, {WORKERS} workers, {sizes.kills} kills, {sizes.pauses + sizes.late_hands} "
        f"pauses, {sizes.restarts} restarts of PostgreSQL"
    )


def _each_broken(seed: int, given: argparse.Namespace) -> int:
    """One process for each: Django is set up once a process."""
    lines, caught = [], True
    for name in BROKEN:
        say(f"\nBroken on purpose: {name}")
        command = [sys.executable, "-m", "tests.chaos", "--broken", name, "--seed", str(seed)]
        command += ["--doorbell", given.doorbell, "--concurrency", str(given.concurrency)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        caught &= done.returncode == 0
        lines.append(done.stdout.strip() or f"| {name} | – | NOT CAUGHT: the run itself failed |")
    sys.stdout.write("\n".join(["| broken on purpose | caught after, s | by |", "| --- | ---: | --- |", *lines, ""]))
    sys.stdout.write("Each was caught.\n" if caught else "NOT each was caught.\n")
    return 0 if caught else 1


if __name__ == "__main__":
    sys.exit(main())
