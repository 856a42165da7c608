"""What is done with setups and their lines; callers use these names, not the modules behind them."""

from provisioning.services.setups import (
    abandon_setup,
    attach_credentials,
    close_setup,
    connect_setup,
    create_setup,
    retry_setup,
    rotate_webhook_secret,
)
from provisioning.services.upkeep import (
    apply_line_hint,
    note_credentials_rejected,
    note_line_blocked,
    read_lines,
    run_setup_duty,
)
from provisioning.services.upstream import credentials_of, reference_of, webhook_url

__all__ = [
    "abandon_setup",
    "apply_line_hint",
    "attach_credentials",
    "close_setup",
    "connect_setup",
    "create_setup",
    "credentials_of",
    "note_credentials_rejected",
    "note_line_blocked",
    "read_lines",
    "reference_of",
    "retry_setup",
    "rotate_webhook_secret",
    "run_setup_duty",
    "webhook_url",
]
