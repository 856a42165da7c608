"""The hub's settings as on a server, without TLS and without a `.env`, and the floors' views beside the hub's."""

import os

os.environ["HUB_ENV_FILE"] = ""
os.environ["HUB_HTTPS"] = "0"

from imessage_hub.settings import *  # noqa: F403
from imessage_hub.settings import INSTALLED_APPS as HUB_APPS

INSTALLED_APPS = [*HUB_APPS, "benchmarks.floor"]
ROOT_URLCONF = "benchmarks.floor.urls"
