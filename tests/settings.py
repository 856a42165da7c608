"""The hub's settings for the suite: throw-away secrets, no `.env` of the developer's, an embedded database."""

import os

from cryptography.fernet import Fernet

os.environ["HUB_ENV_FILE"] = ""
os.environ.setdefault("SECRET_KEY", "only-for-the-suite-" + "x" * 50)
os.environ.setdefault("FIELD_ENCRYPTION_KEYS", Fernet.generate_key().decode())
os.environ.setdefault("DATABASE_URL", "sqlite:///var/test.sqlite3")
os.environ["HUB_HTTPS"] = "0"
os.environ["HUB_LOG_FORMAT"] = "console"

from imessage_hub.settings import *  # noqa: F403
from imessage_hub.settings import BASE_DIR, DATABASES

# A bell's own connection would keep the test database from being dropped; tests/messaging/test_doorbell.py rings one.
HUB_DOORBELL = "poll"
# Lines that bear everything; tests of pace and budgets set limits of their own.
SENDBLUE_PACE = {"per_second": 10_000.0, "burst": 10_000, "new_contacts_per_hour": None, "new_contacts_per_day": None}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file, not memory: threads and worker processes of the suite share it.
    name = os.environ.get("HUB_TEST_DB", str(BASE_DIR / "var" / "test.sqlite3"))
    DATABASES["default"]["TEST"] = {"NAME": name}
