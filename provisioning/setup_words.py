"""How the admin speaks of setups and their lines: a tone and a sentence for each state."""

from provisioning.models import LineStatus, Setup, SetupStatus
from provisioning.providers.base import Health
from provisioning.services.upkeep import PAYMENT_REQUIRED
from routing.admin_look import BAD, BUSY, GOOD, QUIET, WARN

STATUS_TONES = {
    SetupStatus.PROVISIONING: BUSY,
    SetupStatus.PENDING: BUSY,
    SetupStatus.ACTIVE: GOOD,
    SetupStatus.UNKNOWN: WARN,
    SetupStatus.FAILED: BAD,
    SetupStatus.CLOSED: QUIET,
}
STATUS_WORDS = {
    SetupStatus.PROVISIONING: "The provider is being asked.",
    SetupStatus.PENDING: "The account at the provider is there; its first phone line is still to come.",
    SetupStatus.ACTIVE: "At least one phone line is assigned.",
    SetupStatus.UNKNOWN: (
        "The provider's answer was lost, so the account may be there or not. Look at the provider, then attach its"
        " credentials, retry as new, or abandon. Nothing is repeated by itself."
    ),
    SetupStatus.FAILED: "The provider refused. Mend what it says and retry, or abandon.",
    SetupStatus.CLOSED: "Retired: nothing is sent or received; the history stays.",
}
LINE_TONES = {LineStatus.PENDING: BUSY, LineStatus.ASSIGNED: GOOD, LineStatus.RELEASED: QUIET}
HEALTH_TONES = {
    Health.UNKNOWN: QUIET,
    Health.ONLINE: GOOD,
    Health.DEGRADED: WARN,
    Health.OFFLINE: BAD,
    Health.BLOCKED: BAD,
}
STUCK = frozenset({SetupStatus.FAILED, SetupStatus.UNKNOWN})
EVENT_WORDS = {
    "line_assigned": "A line got its number",
    "line_blocked": "A line was blocked",
    "receive": "A message came in",
    "outbound": "News of a message we sent",
}
"""What the known types of events say; another type is shown as the provider writes it."""


def refusal_words(setup: Setup) -> str:
    """Why the provider takes nothing from the setup's accounts, in few words; "" where it does."""
    if setup.credentials_rejected_at is None or setup.status == SetupStatus.CLOSED:
        return ""
    return "payment required at the provider" if setup.problem_code == PAYMENT_REQUIRED else "credentials rejected"
