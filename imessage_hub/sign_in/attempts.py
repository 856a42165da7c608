"""Who guesses passwords or codes is slowed and locked out: django-axes, with limits and records of our own."""

import ipaddress
import math
import unicodedata
from datetime import datetime, timedelta
from typing import Any

import structlog
from axes.handlers.database import AxesDatabaseHandler
from axes.handlers.proxy import AxesProxyHandler
from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.auth.signals import user_login_failed
from django.db import transaction
from django.db.models import F, Max, Q, Sum
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.crypto import salted_hmac

from routing.models import User

log = structlog.get_logger("hub.sign_in")

IPV6_NETWORK_BITS = 64
"""Who has one address of IPv6 has the whole network of it."""


def client_address(request: HttpRequest) -> str | None:
    """Where the request comes from: what the outermost of our `HUB_PROXY_COUNT` proxies saw; None when nobody knows.

    Without proxies, or with fewer entries than proxies, it is the connection's own other end: the header is anybody's
    to write.
    """
    given = request.META.get("REMOTE_ADDR", "")
    count = settings.HUB_PROXY_COUNT
    hops = [hop.strip() for hop in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",") if hop.strip()]
    if count and len(hops) >= count:
        given = hops[-count]
    try:
        address = ipaddress.ip_address(given)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        network = ipaddress.ip_network((int(address), IPV6_NETWORK_BITS), strict=False)
        return str(network.network_address)
    return str(address)


def name_digest(request: HttpRequest, credentials: dict[str, Any] | None = None) -> str:
    """What is kept of the user name that was typed: people type their passwords there."""
    typed = (credentials or {}).get("username")
    if typed is None:
        typed = request.POST.get("username", "")
    same = unicodedata.normalize("NFKC", str(typed)).casefold()
    return salted_hmac("imessage_hub.sign_in.name", same, algorithm="sha256").hexdigest()


class AttemptHandler(AxesDatabaseHandler):  # type: ignore[misc]
    """Locks a user name from one address; and, at wider limits, an address and a user name alone against spraying.

    Existing and absent users are alike. Nothing of the request is kept but the address and a digest of the user name.
    """

    def get_failures(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> int:
        """Failures of the user name from the address; at least AXES_FAILURE_LIMIT where a wider limit is reached."""
        counts = self._recent(request, credentials)
        pair: int = counts["pair"] or 0
        wide = settings.HUB_SIGN_IN_WIDE_LIMIT
        if (counts["address"] or 0) >= wide or (counts["name"] or 0) >= wide:
            return max(pair, settings.AXES_FAILURE_LIMIT)
        return pair

    def user_login_failed(self, sender: Any, credentials: dict[str, Any], request: Any = None, **kwargs: Any) -> None:
        """Write the failure down and tell the request whether it is locked out now."""
        if request is None:
            return
        if not request.axes_locked_out:  # what is refused unseen prolongs nothing
            self._write_down(request, credentials)
            request.axes_locked_out = self.is_locked(request, credentials)
            log.warning("sign-in failed", locked=request.axes_locked_out)
        request.axes_credentials = credentials

    def locked_for(self, request: HttpRequest, credentials: dict[str, Any] | None) -> timedelta:
        """How long until somebody who is locked out may try again."""
        last: datetime | None = self._recent(request, credentials)["last"]
        over = (last or timezone.now()) + settings.AXES_COOLOFF_TIME - timezone.now()
        return max(over, timedelta(seconds=1))

    def _write_down(self, request: Any, credentials: dict[str, Any]) -> None:
        which = {
            "username": name_digest(request, credentials),
            "ip_address": request.axes_ip_address,
            "user_agent": "",
        }
        fresh = {
            "get_data": "",
            "post_data": "",
            "http_accept": "",
            "path_info": "",
            "failures_since_start": 1,
            "attempt_time": request.axes_attempt_time,
        }
        with transaction.atomic():
            # Older than the cool-off: no longer counted, here or anywhere.
            AccessAttempt.objects.filter(attempt_time__lt=timezone.now() - settings.AXES_COOLOFF_TIME).delete()
            attempt, made = AccessAttempt.objects.select_for_update().get_or_create(**which, defaults=fresh)
            if not made:
                AccessAttempt.objects.filter(pk=attempt.pk).update(
                    failures_since_start=F("failures_since_start") + 1, attempt_time=request.axes_attempt_time
                )

    def _recent(self, request: Any, credentials: dict[str, Any] | None) -> dict[str, Any]:
        """Sums of the failures within the cool-off, and when the last was; one query."""
        name = Q(username=name_digest(request, credentials))
        address = Q(ip_address=request.axes_ip_address)
        rows = AccessAttempt.objects.filter(
            name | address, attempt_time__gte=timezone.now() - settings.AXES_COOLOFF_TIME
        )
        found: dict[str, Any] = rows.aggregate(
            pair=Sum("failures_since_start", filter=name & address),
            address=Sum("failures_since_start", filter=address),
            name=Sum("failures_since_start", filter=name),
            last=Max("attempt_time"),
        )
        return found


def is_locked(request: HttpRequest, user: User) -> bool:
    """Whether this user may not even try from here now; asked before a code is looked at."""
    locked = not AxesProxyHandler.is_allowed(request, {"username": user.get_username()})
    if locked:
        request.axes_locked_out = True  # type: ignore[attr-defined]
        request.axes_credentials = {"username": user.get_username()}  # type: ignore[attr-defined]
    return locked


def note_failure(request: HttpRequest, username: str) -> bool:
    """Count a wrong code, or a refused sign-in, like a wrong password; True when that locks."""
    user_login_failed.send(sender=__name__, credentials={"username": username}, request=request)
    return bool(getattr(request, "axes_locked_out", False))


def locked_words(request: HttpRequest, credentials: dict[str, Any] | None) -> str:
    """What somebody is told who is locked out."""
    left = AxesProxyHandler.get_implementation().locked_for(request, credentials)
    minutes = math.ceil(left.total_seconds() / 60)
    return f"Too many tries. Wait {minutes} minute{'' if minutes == 1 else 's'}, then try again."


def answer_locked(request: HttpRequest, answer: HttpResponse, credentials: Any = None) -> HttpResponse:
    """The page that says so, as 429 with the time to wait."""
    left = AxesProxyHandler.get_implementation().locked_for(request, credentials)
    answer.status_code = 429
    answer["Retry-After"] = str(math.ceil(left.total_seconds()))
    return answer
