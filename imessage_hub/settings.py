"""Settings of iMessage Hub: one file; everything that differs between places comes from the environment.

`docs/operating.md` lists the variables. A `.env` file beside `manage.py` is read if it is there (`HUB_ENV_FILE` names
another, or none when empty); the process environment wins over it. What is missing or wrong is told at start, by
`imessage_hub/checks.py` and the checks of each app.
"""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import environ
import structlog
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from imessage_hub.logs import exception_without_values

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
env_file = os.environ.get("HUB_ENV_FILE", str(BASE_DIR / ".env"))
if env_file and Path(env_file).is_file():
    env.read_env(env_file)


def required(name: str, hint: str) -> str:
    """The variable's value; a missing or empty one stops the start and says how to make it."""
    value: str = env.str(name, default="")
    if not value:
        raise ImproperlyConfigured(f"{name} is not set. {hint}")
    return value


DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = required(
    "SECRET_KEY", 'Make one with: python -c "import secrets; print(secrets.token_urlsafe(50))" and keep it secret.'
)
# Newest first: the first key encrypts, all of them decrypt. `manage.py reencrypt_secrets` moves every row to the first.
FIELD_ENCRYPTION_KEY = [
    key.strip()
    for key in required(
        "FIELD_ENCRYPTION_KEYS",
        'Make one with: python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'
        " and keep it secret. Several are separated by commas, newest first.",
    ).split(",")
    if key.strip()
]

# Where the hub is reached from outside: providers send their webhooks there.
HUB_PUBLIC_URL = env.str("HUB_PUBLIC_URL", default="http://127.0.0.1:8000").rstrip("/")
# Off only where no TLS ends in front of the hub: the demo and the tests.
HUB_HTTPS = env.bool("HUB_HTTPS", default=True)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "imessage_hub.apps.HubConfig",
    "imessage_hub.apps.HubAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "axes",
    "csp",
    "django_filters",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "import_export",
    "routing",
    "provisioning",
    "messaging",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "imessage_hub.middleware.RequestLog",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "imessage_hub.middleware.LocationTime",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "imessage_hub.sign_in.sessions.SessionLimits",
    "imessage_hub.sign_in.sessions.SecondFactorGate",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "imessage_hub.urls"
WSGI_APPLICATION = "imessage_hub.wsgi.application"
APPEND_SLASH = False

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]


def database() -> dict[str, Any]:
    """The one database: SQLite embedded by default, PostgreSQL wherever more than one process group runs."""
    config: dict[str, Any] = env.db("DATABASE_URL", default=f"sqlite:///{BASE_DIR / 'var' / 'hub.sqlite3'}")
    # Persistent: a connection a request.
    config["CONN_MAX_AGE"] = None
    config["CONN_HEALTH_CHECKS"] = True
    options = config.setdefault("OPTIONS", {})
    if config["ENGINE"].endswith("sqlite3"):
        # With Django's defaults concurrent writers fail with "database is locked"; so they queue up.
        options.update(transaction_mode="IMMEDIATE", timeout=20, init_command="PRAGMA journal_mode=WAL;")
    return config


DATABASES = {"default": database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "routing.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
LOGOUT_REDIRECT_URL = "admin:login"

# --- signing in: imessage_hub/sign_in/ --------------------------------------------------------------------------------
# Sessions end when nothing was done for this long, and after SESSION_COOKIE_AGE whatever was done.
HUB_SESSION_IDLE = timedelta(minutes=env.float("HUB_SESSION_IDLE_MIN", default=30))
HUB_REQUIRE_SECOND_FACTOR_FOR_OPERATORS = env.bool("HUB_REQUIRE_SECOND_FACTOR_FOR_OPERATORS", default=False)
# How many proxies of ours a request passes; each adds to X-Forwarded-For whom it saw.
HUB_PROXY_COUNT = env.int("HUB_PROXY_COUNT", default=0)
# Failures of one address, or on one user name from anywhere, that lock it; AXES_FAILURE_LIMIT is that of both together.
HUB_SIGN_IN_WIDE_LIMIT = 50
AXES_HANDLER = "imessage_hub.sign_in.attempts.AttemptHandler"
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_USERNAME_CALLABLE = "imessage_hub.sign_in.attempts.name_digest"
AXES_CLIENT_IP_CALLABLE = "imessage_hub.sign_in.attempts.client_address"
AXES_LOCKOUT_CALLABLE = "imessage_hub.sign_in.attempts.answer_locked"
AXES_ENABLE_ADMIN = False
AXES_DISABLE_ACCESS_LOG = True
AXES_VERBOSE = False

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = True

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
# Until `collectstatic` was run, files come from where they lie.
STATIC_IS_COLLECTED = (STATIC_ROOT / "staticfiles.json").is_file()
WHITENOISE_USE_FINDERS = DEBUG or not STATIC_IS_COLLECTED
STORAGES = {
    # Pictures that patients sent: never under a public URL; messaging/api.py hands them out to who may see them.
    "default": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": env.str("HUB_MEDIA_ROOT", default=str(BASE_DIR / "var" / "media")), "base_url": None},
    },
    "staticfiles": {
        "BACKEND": (
            "whitenoise.storage.CompressedManifestStaticFilesStorage"
            if STATIC_IS_COLLECTED
            else "django.contrib.staticfiles.storage.StaticFilesStorage"
        )
    },
}

# --- security headers -------------------------------------------------------------------------------------------------
SECURE_SSL_REDIRECT = HUB_HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if HUB_HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HUB_HTTPS
SECURE_HSTS_PRELOAD = HUB_HTTPS
# Only where a proxy that sets this header stands in front; otherwise anybody could claim to have come by TLS.
if env.bool("HUB_BEHIND_TLS_PROXY", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
# Health checks come from the machine itself, in clear.
SECURE_REDIRECT_EXEMPT = [r"^health/"]
SESSION_COOKIE_SECURE = HUB_HTTPS
CSRF_COOKIE_SECURE = HUB_HTTPS
SESSION_COOKIE_AGE = 12 * 60 * 60
X_FRAME_OPTIONS = "DENY"
# What was done is told with names in it: kept here, not in a cookie.
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
# Lists of contacts, for the hour between the look at what an import would change and the word to do it. Where several
# machines serve the admin, they share it.
HUB_IMPORT_ROOT = env.str("HUB_IMPORT_ROOT", default=str(BASE_DIR / "var" / "imports"))

# --- the HTTP API -----------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "imessage_hub.authentication.ApiKeyAuthentication",
        "imessage_hub.authentication.DocsSession",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["imessage_hub.api.StrictJSONParser"],
    "DEFAULT_PAGINATION_CLASS": "imessage_hub.api.Pages",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_SCHEMA_CLASS": "imessage_hub.schema.HubSchema",
    "EXCEPTION_HANDLER": "imessage_hub.api.problem_for",
    "UNAUTHENTICATED_USER": None,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "iMessage Hub",
    "DESCRIPTION": "Send iMessages from the right number, and know why it was that one.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": r"/api/v1/",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENFORCE_NON_BLANK_FIELDS": True,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}

# --- providers --------------------------------------------------------------------------------------------------------
HUB_PROVIDER = env.str("HUB_PROVIDER", default="sendblue")
# Hosts and paths that the vendor's own documents disagree on are settings; see provisioning/providers/sendblue.py.
SENDBLUE = {
    "base_url": env.str("SENDBLUE_BASE_URL", default="https://api.sendblue.co").rstrip("/"),
    "agency_key_id": env.str("SENDBLUE_AGENCY_KEY_ID", default=""),
    "agency_secret": env.str("SENDBLUE_AGENCY_SECRET", default=""),
    "create_subaccount_path": env.str(
        "SENDBLUE_CREATE_SUBACCOUNT_PATH", default="/accounts/lines/request-child-account"
    ),
    "contact_email": env.str("SENDBLUE_CONTACT_EMAIL", default=""),
}
# What a Sendblue line may bear unless the line has limits of its own (the vendor's published ones for a dedicated
# number, as of 2026: 1 message/s with bursts of 10, 15 new contacts an hour and 50 a day). 0: no limit.
SENDBLUE_PACE = {
    "per_second": env.float("SENDBLUE_PACE_PER_SECOND", default=1.0),
    "burst": env.int("SENDBLUE_PACE_BURST", default=10),
    "new_contacts_per_hour": env.int("SENDBLUE_NEW_CONTACTS_PER_HOUR", default=15) or None,
    "new_contacts_per_day": env.int("SENDBLUE_NEW_CONTACTS_PER_DAY", default=50) or None,
}
# Hosts inbound media may be fetched from although their address is not public: the sandbox of the demo and the tests.
HUB_MEDIA_TRUSTED_HOSTS = env.list("HUB_MEDIA_TRUSTED_HOSTS", default=[])
# `host:port` that webhooks out may go to although it is plain http on this machine: the demo's and the tests'.
HUB_WEBHOOK_TRUSTED_HOSTS = env.list("HUB_WEBHOOK_TRUSTED_HOSTS", default=[])

# --- delivery ---------------------------------------------------------------------------------------------------------
# One provider call in total, from before the connect to the last byte; checked at start: deadline + settling < lease.
HUB_CALL_DEADLINE = timedelta(seconds=env.float("HUB_CALL_DEADLINE_S", default=15))
HUB_LEASE = timedelta(seconds=env.float("HUB_LEASE_S", default=60))
# What wakes an idle worker: "notify" (PostgreSQL's LISTEN/NOTIFY), "celery" (the broker below) or "poll"; the poll goes
# on in every case.
HUB_DOORBELL = env.str(
    "HUB_DOORBELL", default="notify" if DATABASES["default"]["ENGINE"].endswith("postgresql") else "poll"
)
HUB_CELERY_BROKER_URL = env.str("HUB_CELERY_BROKER_URL", default="")
HUB_POLL_INTERVAL = timedelta(seconds=env.float("HUB_POLL_INTERVAL_S", default=0.5))
HUB_MESSAGE_LIFETIME = timedelta(hours=env.float("HUB_MESSAGE_LIFETIME_H", default=24))
HUB_UNCERTAIN_GRACE = timedelta(seconds=env.float("HUB_UNCERTAIN_GRACE_S", default=900))
HUB_LINE_POLL = timedelta(seconds=env.float("HUB_LINE_POLL_S", default=180))

# --- logs -------------------------------------------------------------------------------------------------------------
LOG_FORMAT = env.str("HUB_LOG_FORMAT", default="json")
_shared_processors: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
structlog.configure(
    processors=[*_shared_processors, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
    logger_factory=structlog.stdlib.LoggerFactory(),
    cache_logger_on_first_use=True,
)
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "hub": {
            "()": structlog.stdlib.ProcessorFormatter,
            "processors": [
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                exception_without_values,
                structlog.processors.JSONRenderer()
                if LOG_FORMAT == "json"
                else structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
            ],
            "foreign_pre_chain": _shared_processors,
        }
    },
    "filters": {"without_path": {"()": "imessage_hub.logs.WithoutPath"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "hub"}},
    "root": {"handlers": ["stderr"], "level": env.str("HUB_LOG_LEVEL", default="INFO")},
    "loggers": {
        "django": {"handlers": [], "level": "WARNING", "propagate": True},
        # Refusals have their line already, by RequestLog; failures come with where they happened.
        "django.request": {"filters": ["without_path"], "level": "ERROR"},
        "django.security": {"filters": ["without_path"]},
        "django.security.csrf": {"filters": ["without_path"]},
        # DisallowedHost and its kin, each a logger of its own; the request's log line tells of them.
        "django.security.DisallowedHost": {"filters": ["without_path"]},
        # These write addresses, statements and values: never below WARNING, whatever the root says.
        "urllib3": {"level": "WARNING"},
        # It names the path, which may be the link of an invitation; imessage_hub/sign_in logs without.
        "axes": {"level": "ERROR"},
        "django.db.backends": {"level": "WARNING"},
        # Two lines for each ring of the doorbell say nothing.
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
    },
}
