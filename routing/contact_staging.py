"""Where an uploaded file waits between the look at what it would change and the word to do it.

A private file with a random name, in a directory that only the hub's own user may enter; what the browser gets is a
signed word that names it, its location and whose it is. It goes when it was used, and after `KEPT_FOR` in any case.
"""

import contextlib
import secrets
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.core import signing

from routing.models import Location, User

KEPT_FOR = timedelta(hours=1)
_SALT = "routing.contact-import"
_TAKEN = ".taken"


@dataclass(frozen=True)
class Staged:
    """One upload that waits."""

    name: str
    location_id: UUID

    @property
    def path(self) -> Path:
        """Where it lies."""
        return _directory() / self.name

    def content(self) -> bytes | None:
        """What was uploaded; None once it was used or its time is over."""
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return None

    def take(self) -> bytes | None:
        """The content, for the one who uses it: of two that ask at once, the other gets None, and so does every later
        one unless it is `put_back`."""
        taken = self.path.with_suffix(_TAKEN)
        try:
            self.path.rename(taken)
            return taken.read_bytes()
        except FileNotFoundError:
            return None

    def put_back(self) -> None:
        """It was not used after all."""
        self.path.with_suffix(_TAKEN).rename(self.path)

    def forget(self) -> None:
        """It was used."""
        self.path.with_suffix(_TAKEN).unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


def keep(*, content: bytes, location: Location, by: User) -> str:
    """Store an upload; the signed word that leads back to it. Sweeps those whose time is over."""
    sweep()
    name = secrets.token_hex(16)
    path = _directory() / name
    path.touch(mode=0o600, exist_ok=False)
    path.write_bytes(content)
    return signing.dumps({"file": name, "location": str(location.pk), "user": str(by.pk)}, salt=_SALT)


def find(word: str, *, by: User) -> Staged | None:
    """The upload that the word names; None when it is forged, too old, or somebody else's."""
    try:
        known = signing.loads(word, salt=_SALT, max_age=KEPT_FOR)
    except signing.BadSignature:
        return None
    if known["user"] != str(by.pk):
        return None
    return Staged(name=known["file"], location_id=UUID(known["location"]))


def sweep() -> None:
    """Remove every upload whose time is over."""
    oldest = time.time() - KEPT_FOR.total_seconds()
    directory = Path(settings.HUB_IMPORT_ROOT)
    for path in directory.iterdir() if directory.is_dir() else ():
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            if path.stat().st_mtime < oldest:
                path.unlink()


def _directory() -> Path:
    directory = Path(settings.HUB_IMPORT_ROOT)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory
