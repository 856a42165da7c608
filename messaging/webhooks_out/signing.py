"""Signatures of the Standard Webhooks format, version 1: HMAC-SHA256 over id, timestamp and body.

Source: https://www.standardwebhooks.com, the specification, read 2026-11.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

PREFIX = "whsec_"
SECRET_BYTES = 32


def new_secret() -> str:
    """A secret as receivers are given it: its prefix and 256 random bits in base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def headers(*, event_id: UUID, body: str, secrets_now: Sequence[str], at: datetime) -> dict[str, str]:
    """The three headers of one try at the time `at`; one signature for each secret that is valid then."""
    timestamp = int(at.timestamp())
    signed = f"{event_id}.{timestamp}.{body}".encode()
    signatures = (_signature(secret, signed) for secret in secrets_now)
    return {
        "webhook-id": str(event_id),
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def _signature(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX))
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
