"""What of a setup moves while one looks at it: its state, its lines, its events, and the steps of its making."""

from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse

from provisioning.event_admin import OUTCOME_TONES
from provisioning.models import EventOutcome, LineStatus, PhoneLine, Setup, SetupStatus
from provisioning.providers.base import Health
from provisioning.services.upkeep import NOT_REGISTERED
from provisioning.setup_words import EVENT_WORDS, HEALTH_TONES, LINE_TONES, STATUS_TONES, STATUS_WORDS, STUCK

RECENT_EVENTS = 10
MOST_LINES = 200
"""Lines that one page shows; no setup known has as many."""

DONE, NOW, WAITING, FAILED = "done", "now", "waiting", "failed"
STEP_WORDS = {
    "stored": "Stored here",
    "asked": "The provider makes the account",
    "credentials": "Its credentials are kept, encrypted",
    "webhooks": "The provider knows where to report",
    "lines": "The phone lines are read",
}


def live_part(setup: Setup, request: HttpRequest) -> str:
    """The moving part of the setup's page, as HTML; three queries."""
    lines = list(setup.phone_lines.select_related("account")[:MOST_LINES])
    rows = [_line(line) for line in lines]
    events = setup.events.defer("body").order_by("-received_at", "id")[:RECENT_EVENTS]
    context = {
        "setup": setup,
        "location": setup.location,
        "status": SetupStatus(setup.status),
        "tone": STATUS_TONES[SetupStatus(setup.status)],
        "meaning": STATUS_WORDS[SetupStatus(setup.status)],
        "stuck": setup.status in STUCK,
        "lines": rows,
        "events": [_event(event) for event in events],
        "all_events": reverse("admin:provisioning_providerevent_changelist") + f"?setup__id__exact={setup.pk}",
        "moves": _moves(setup, lines),
        "said": summary(setup, lines),
        "url": reverse("admin:provisioning_setup_live", args=[setup.pk]),
    }
    return render_to_string("admin/provisioning/setup/live.html", context, request=request)


def summary(setup: Setup, lines: Sequence[PhoneLine]) -> str:
    """The state in one sentence, for those who hear it."""
    alive = [line for line in lines if line.status != LineStatus.RELEASED]
    assigned = sum(line.status == LineStatus.ASSIGNED for line in alive)
    return f"The setup is {setup.get_status_display()}; {assigned} of {len(alive)} phone lines assigned."


def steps_of(setup: Setup | None) -> list[dict[str, str]]:
    """How far the making has come: name, words, state (`done`, `now`, `waiting` or `failed`) of each step.

    None: a setup that is not stored yet, or not the reader's to see.
    """
    if setup is None:
        reached = dict.fromkeys(STEP_WORDS, False)
    else:
        reached = {
            "stored": True,
            "asked": setup.status not in (SetupStatus.PROVISIONING, *STUCK),
            "credentials": setup.credentials_set_at is not None,
            "webhooks": setup.webhooks_registered_at is not None,
            "lines": setup.lines_read_at is not None,
        }
    states = {name: DONE if done else WAITING for name, done in reached.items()}
    if setup is not None and setup.status in STUCK:
        states["asked"] = FAILED
    else:
        if setup is not None and setup.problem_code == NOT_REGISTERED and not reached["webhooks"]:
            states["webhooks"] = FAILED
        first = next((name for name, state in states.items() if state == WAITING), None)
        if first is not None:
            states[first] = NOW
    return [{"name": name, "words": words, "state": states[name]} for name, words in STEP_WORDS.items()]


def _moves(setup: Setup, lines: Sequence[PhoneLine]) -> bool:
    """Whether something is still to come by itself."""
    if setup.status == SetupStatus.CLOSED:
        return False
    waiting = any(line.status == LineStatus.PENDING for line in lines)
    return waiting or setup.status in (SetupStatus.PROVISIONING, SetupStatus.PENDING)


def _line(line: PhoneLine) -> dict[str, Any]:
    return {
        "line": line,
        "tone": LINE_TONES[LineStatus(line.status)],
        "health_tone": HEALTH_TONES[Health(line.health)],
    }


def _event(event: Any) -> dict[str, Any]:
    return {
        "event": event,
        "words": EVENT_WORDS.get(event.type, event.type),
        "tone": OUTCOME_TONES[EventOutcome(event.outcome)],
    }
