"""What people do with a setup: each a button on its page; the services do the work."""

from collections.abc import Sequence
from typing import Any

from provisioning import services
from provisioning.forms import CredentialsForm
from provisioning.models import LineStatus, Setup, SetupStatus
from provisioning.providers.base import Credentials
from provisioning.setup_words import STUCK
from routing import impact
from routing.admin_operations import Operation
from routing.impact import Change
from routing.models import Account, User
from routing.selection import Blocker


def _refresh(user: User, setup: Setup, data: dict[str, Any]) -> str:
    services.read_lines(setup=setup)
    return "Phone lines read from the provider."


def _rotate(user: User, setup: Setup, data: dict[str, Any]) -> str:
    services.rotate_webhook_secret(setup=setup, by=user)
    return "Webhook secret rotated."


def _attach(user: User, setup: Setup, data: dict[str, Any]) -> str:
    credentials = Credentials(key_id=data["key_id"], secret=data["secret"])
    services.attach_credentials(setup=setup, credentials=credentials, by=user)
    return "Credentials attached."


def _retry(user: User, setup: Setup, data: dict[str, Any]) -> str:
    status = services.retry_setup(setup=setup, by=user).status
    return f"Asked the provider again; the setup is {status} now."


def _abandon(user: User, setup: Setup, data: dict[str, Any]) -> str:
    services.abandon_setup(setup=setup, by=user)
    return "Abandoned."


def _close(user: User, setup: Setup, data: dict[str, Any]) -> str:
    services.close_setup(setup=setup, by=user)
    return "Closed."


def accounts_of(setups: Sequence[Setup]) -> list[Account]:
    """The accounts that stop when the setups are closed, in the order of their indexes."""
    accounts = Account.objects.filter(phone_line__setup__in=setups, phone_line__status=LineStatus.ASSIGNED)
    return list(accounts.select_related("location").order_by("location", "index"))


def closing(setups: Sequence[Setup]) -> list[Change]:
    """What closing the setups means for their accounts."""
    return impact.stopping(accounts_of(setups), Blocker.LINE_RELEASED)


def _is_stuck(setup: Setup) -> bool:
    return setup.status in STUCK


def _runs(setup: Setup) -> bool:
    return setup.status in (SetupStatus.PENDING, SetupStatus.ACTIVE)


OPERATIONS = (
    Operation(
        name="refresh",
        label="Refresh from provider",
        run=_refresh,
        shown=lambda setup: _runs(setup) and setup.credentials_set_at is not None,
    ),
    Operation(
        name="retry",
        label="Retry as new",
        run=_retry,
        audited=True,
        shown=_is_stuck,
        question=(
            "The provider is asked for an account again. If the first request did arrive, there will be two and"
            " both may be charged: look at the provider first."
        ),
    ),
    Operation(
        name="attach-credentials",
        label="Attach credentials",
        run=_attach,
        audited=True,
        form=CredentialsForm,
        shown=lambda setup: _is_stuck(setup) or (_runs(setup) and setup.credentials_rejected_at is not None),
        question="The credentials of the account at the provider. They are stored encrypted and never shown again.",
    ),
    Operation(
        name="rotate-webhook-secret",
        label="Rotate webhook secret",
        run=_rotate,
        audited=True,
        shown=_runs,
        question="The provider is given a new secret; the old one works for a while, so that nothing is lost.",
    ),
    Operation(
        name="abandon",
        label="Abandon",
        run=_abandon,
        audited=True,
        shown=_is_stuck,
        question="The setup is given up. If the provider did make an account, it stays there and may be charged.",
        danger=True,
    ),
    Operation(
        name="close",
        label="Close",
        run=_close,
        audited=True,
        shown=_runs,
        question=(
            "Its phone lines are released and its accounts send nothing any more. Messages and events stay. This"
            " cannot be undone."
        ),
        danger=True,
    ),
)
