"""The WSGI application that the web server loads."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "imessage_hub.settings")

application = get_wsgi_application()

from provisioning.checks import ensure_keys_open_secrets  # noqa: E402  (wants Django to be set up)

# A hub with the wrong keys says so at start, and not at its first message.
ensure_keys_open_secrets()
