"""For who runs a Celery estate: `celery -A imessage_hub worker` does what is due whenever the doorbell rings.

Celery carries the ring and nothing else. What is due without anybody ringing (a retry, a quiet hour that ends, what a
dead worker held) is found by `manage.py deliver`, of which one runs beside, anywhere; it also delivers while the broker
is away.
"""

import os
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "imessage_hub.settings")
django.setup()

import structlog  # noqa: E402  (wants Django to be set up, as what follows)
from celery.signals import setup_logging  # noqa: E402
from django.conf import settings  # noqa: E402
from django.db import Error, connections  # noqa: E402

from messaging.delivery.doorbell.broker import DRAIN, make_app  # noqa: E402
from messaging.delivery.drain import drain as drain_due  # noqa: E402
from provisioning.checks import ensure_keys_open_secrets  # noqa: E402

log = structlog.get_logger("hub.celery")

DRAIN_FOR_S = 60.0
"""After so long a task rings for another and ends, so that Celery may stop its worker or renew the process."""

ensure_keys_open_secrets()
app = make_app(settings.HUB_CELERY_BROKER_URL)


@app.task(name=DRAIN)
def drain() -> int:
    """Do what is due; how many rows that were."""
    try:
        return drain_due(for_s=DRAIN_FOR_S)
    except Error:
        # Told by our own log, which leaves out the words: Celery's would tell whole rows.
        log.exception("database trouble")
        connections.close_all()
        return 0


@setup_logging.connect
def keep_our_logs(**kwargs: Any) -> None:
    """Somebody listens to this signal, so Celery leaves the logs as the settings have them."""
