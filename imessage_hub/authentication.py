"""Who calls the HTTP API: a program with a key, or a person who is signed in to the admin and tries the docs."""

import re
from datetime import datetime
from typing import Final

from django.db.models import Q
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from imessage_hub.sign_in.sessions import lacks_second_factor
from routing.models import ApiKey, User
from routing.services import api_key_digest

_BEARER: Final = re.compile(r"Bearer +([\x21-\x7E]{1,200})", re.IGNORECASE)


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer <key>`. One query finds the key and its location; `request.user` is the key."""

    def authenticate(self, request: Request) -> tuple[ApiKey, ApiKey] | None:
        """The key that was shown; None when none was. Raises AuthenticationFailed, the same for unknown, revoked and
        expired ones."""
        header = request.META.get("HTTP_AUTHORIZATION")
        if header is None:
            return None
        now = timezone.now()
        shown = _BEARER.fullmatch(header.strip())
        if shown is None:
            raise AuthenticationFailed("Show an API key: Authorization: Bearer <key>.")
        keys = ApiKey.objects.usable(now).select_related("location")
        key = keys.filter(digest=api_key_digest(shown[1])).first()
        if key is None:
            raise AuthenticationFailed("This key does not open anything.")
        note_use(key, now)
        return key, key

    def authenticate_header(self, request: Request) -> str:
        """What a 401 asks for."""
        return 'Bearer realm="iMessage Hub"'


def note_use(key: ApiKey, now: datetime) -> None:
    """Write down that the key was used, at most once in `ApiKey.LAST_USED_RESOLUTION`."""
    stale = now - ApiKey.LAST_USED_RESOLUTION
    if key.last_used_at is None or key.last_used_at <= stale:
        outdated = Q(last_used_at=None) | Q(last_used_at__lte=stale)
        ApiKey.objects.filter(outdated, pk=key.pk).update(last_used_at=now)


class DocsSession(SessionAuthentication):
    """The session of somebody who may enter the admin, so that the docs page can be tried; with CSRF enforced."""

    def authenticate(self, request: Request) -> tuple[User, None] | None:
        """The signed-in person; None when there is none, when they may not enter the admin, or when they lack the
        second factor that is asked of them. Raises PermissionDenied without the CSRF token."""
        user = getattr(request._request, "user", None)
        if not isinstance(user, User) or not (user.is_active and user.is_staff):
            return None
        if lacks_second_factor(request._request, user):
            return None
        try:
            self.enforce_csrf(request)
        except PermissionDenied:
            raise PermissionDenied("Send the CSRF token of this session.", code="csrf_failed") from None
        return user, None
