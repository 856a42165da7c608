"""What of a location's setups and lines a person should look at, worst first."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q

from provisioning.models import LineStatus, PhoneLine, Setup, SetupStatus
from provisioning.providers.base import Health
from routing.admin_look import BAD, BUSY, WARN
from routing.models import Location

MOST = 12
"""So many troubles are told of a location; there may be more."""

LATE = timedelta(days=2)
"""A line that waits for its number longer than this is worth a question to the provider."""

_WORST_FIRST = (BAD, WARN, BUSY)

_SETUPS = {
    SetupStatus.UNKNOWN: (WARN, "Nobody knows whether the provider made it. Open it and say how to go on."),
    SetupStatus.FAILED: (BAD, "The provider did not make it. Open it to see why, then try again."),
}
_HEALTH = {
    Health.BLOCKED: (BAD, "The provider blocked this number; it sends nothing. Ask the provider's support."),
    Health.OFFLINE: (BAD, "The line is off at the provider; messages wait for it or leave from another number."),
    Health.DEGRADED: (WARN, "The line works with difficulty; messages may be late."),
}


@dataclass(frozen=True)
class Trouble:
    """One thing to look at: of a setup, or of one of its lines. `since`: when it began, where that is known."""

    setup: Setup
    line: PhoneLine | None
    word: str
    tone: str
    sentence: str
    since: datetime | None = None

    @property
    def waits(self) -> bool:
        """Whether it is something that was asked for and has not come yet."""
        return self.line is not None and self.line.status == LineStatus.PENDING


def troubles(location: Location, *, now: datetime) -> list[Trouble]:
    """What needs attention at the location, worst and oldest first, at most MOST; in two queries."""
    found = [*_setups(location), *_lines(location, now)]
    begin = {trouble: trouble.since or now for trouble in found}
    return sorted(found, key=lambda trouble: (_WORST_FIRST.index(trouble.tone), begin[trouble]))[:MOST]


def _setups(location: Location) -> list[Trouble]:
    open_ones = Setup.objects.filter(location=location).exclude(status=SetupStatus.CLOSED)
    bad = open_ones.filter(Q(status__in=list(_SETUPS)) | Q(credentials_rejected_at__isnull=False))
    found = []
    for setup in bad.order_by("created_at")[:MOST]:
        if setup.status in _SETUPS:
            tone, sentence = _SETUPS[SetupStatus(setup.status)]
            found.append(Trouble(setup, None, setup.get_status_display(), tone, sentence, setup.created_at))
        if setup.credentials_rejected_at is not None:
            words = "The provider refuses the setup's credentials; its lines send nothing until they are renewed."
            found.append(Trouble(setup, None, "credentials rejected", BAD, words, setup.credentials_rejected_at))
    return found


def _lines(location: Location, now: datetime) -> list[Trouble]:
    lines = PhoneLine.objects.filter(location=location).exclude(setup__status=SetupStatus.CLOSED)
    ill = Q(status=LineStatus.ASSIGNED, health__in=list(_HEALTH))
    found = []
    # Assigned ones first: many that wait must not hide one that is blocked.
    for line in lines.filter(ill | Q(status=LineStatus.PENDING)).select_related("setup").order_by("status")[:MOST]:
        if line.status == LineStatus.PENDING:
            late = now - line.requested_at > LATE
            words = "This takes longer than usual; ask the provider's support." if late else "The number is on its way."
            found.append(Trouble(line.setup, line, "pending", WARN if late else BUSY, words, line.requested_at))
        else:
            tone, words = _HEALTH[Health(line.health)]
            found.append(Trouble(line.setup, line, line.health, tone, words))
    return found
