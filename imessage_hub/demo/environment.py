"""The demo's own secrets, ports and files."""

import fcntl
import os
import secrets
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from cryptography.fernet import Fernet

BASE_DIR = Path(__file__).resolve().parent.parent.parent
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Place:
    """Where a demo keeps its things: `files` is emptied at each start, `env_file` holds the secrets."""

    files: Path
    env_file: Path

    @classmethod
    def within(cls, folder: Path) -> "Place":
        """A place of its own below a folder, beside the demo of this checkout."""
        return cls(files=folder / "demo", env_file=folder / "demo.env")


CHECKOUT = Place(files=BASE_DIR / "var" / "demo", env_file=BASE_DIR / ".env")


def ensure_env_file(place: Place = CHECKOUT) -> bool:
    """Write the env file with fresh secrets unless there is one; True when written. Only its owner may read it."""
    if place.env_file.exists():
        return False
    lines = [
        "# Made by the demo. Settings of this checkout; docs/operating.md lists them all.",
        f"SECRET_KEY={secrets.token_urlsafe(50)}",
        f"FIELD_ENCRYPTION_KEYS={Fernet.generate_key().decode()}",
        "HUB_HTTPS=0",
        "HUB_LOG_FORMAT=console",
        f"SENDBLUE_AGENCY_KEY_ID=sandbox-{secrets.token_hex(4)}",
        f"SENDBLUE_AGENCY_SECRET={secrets.token_urlsafe(32)}",
        f"HUB_DEMO_PASSWORD={secrets.token_urlsafe(9)}",
    ]
    descriptor = os.open(place.env_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write("\n".join(lines) + "\n")
    return True


def read_env_file(place: Place = CHECKOUT) -> dict[str, str]:
    """The variables of the env file."""
    pairs = (line.partition("=") for line in place.env_file.read_text().splitlines() if not line.startswith("#"))
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


def lock_files(place: Place = CHECKOUT) -> TextIO | None:
    """Keep the demo's files for this process, as long as the returned file is open; None when another has them."""
    place.files.parent.mkdir(parents=True, exist_ok=True)
    lock = (place.files.parent / "demo.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        return None
    return lock


def fresh_files(place: Place = CHECKOUT) -> None:
    """Begin with an empty database, media folder and sandbox."""
    shutil.rmtree(place.files, ignore_errors=True)
    place.files.mkdir(parents=True)


def free_port(wished: int) -> int:
    """The wished port, or another free one where it is taken."""
    for port in (wished, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise SystemExit("No port is free on this machine.")


def environment(*, web_port: int, sandbox_port: int, place: Place = CHECKOUT) -> dict[str, str]:
    """What the demo's processes run with: this process's variables, the env file, and the demo's ports and files."""
    kept = read_env_file(place)
    fallback = {"SENDBLUE_AGENCY_KEY_ID": "sandbox-demo", "SENDBLUE_AGENCY_SECRET": secrets.token_urlsafe(32)}
    known = {**fallback, **kept}
    return {
        **os.environ,
        **known,
        "DJANGO_SETTINGS_MODULE": "imessage_hub.settings",
        "HUB_ENV_FILE": str(place.env_file),
        "DATABASE_URL": f"sqlite:///{place.files / 'hub.sqlite3'}",
        "HUB_MEDIA_ROOT": str(place.files / "media"),
        "HUB_HTTPS": "0",
        "HUB_PROVIDER": "sendblue",
        "HUB_PUBLIC_URL": f"http://{HOST}:{web_port}",
        "HUB_MEDIA_TRUSTED_HOSTS": f"{HOST}:{sandbox_port}",
        "ALLOWED_HOSTS": f"{HOST},localhost",
        "SENDBLUE_BASE_URL": f"http://{HOST}:{sandbox_port}",
        "SENDBLUE_CONTACT_EMAIL": "setups@maple-street.example",
        # A visitor tries more numbers in an hour than a real line would bear.
        "SENDBLUE_NEW_CONTACTS_PER_HOUR": "0",
        "SENDBLUE_NEW_CONTACTS_PER_DAY": "0",
        "SANDBOX_AGENCY_KEY_ID": known["SENDBLUE_AGENCY_KEY_ID"],
        "SANDBOX_AGENCY_SECRET": known["SENDBLUE_AGENCY_SECRET"],
        "HUB_DEMO_PASSWORD": known.get("HUB_DEMO_PASSWORD") or secrets.token_urlsafe(9),
        "HUB_LINE_POLL_S": "60",
        "PYTHONUNBUFFERED": "1",
    }
