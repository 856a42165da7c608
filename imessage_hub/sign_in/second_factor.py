"""Second factors: set up, asked for, turned off, reset."""

import secrets
from base64 import b32encode
from binascii import unhexlify
from datetime import datetime
from io import BytesIO
from urllib.parse import quote, urlencode

import segno
from django.conf import settings
from django.db import transaction
from django.utils.crypto import salted_hmac
from django.utils.safestring import SafeString, mark_safe

from imessage_hub.models import DIGITS, STEP_S, RecoveryCode, SecondFactor
from routing import audit, team
from routing.errors import Refused
from routing.models import AuditAction, User

ISSUER = "iMessage Hub"
SEED_BYTES = 20
RECOVERY_CODES = 10
LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
"""Without those that are taken for one another."""


def is_demanded(user: User) -> bool:
    """Whether the user must have a second factor: a location of theirs, or the hub of its operators, asks for one."""
    return user.must_have_second_factor or (user.is_superuser and settings.HUB_REQUIRE_SECOND_FACTOR_FOR_OPERATORS)


def has_one(user: User) -> bool:
    """Whether the user has one that works."""
    return SecondFactor.objects.filter(user=user, confirmed=True).exists()


@transaction.atomic
def begin(user: User, *, waiting: int | None) -> SecondFactor:
    """The user's device that waits for its first code: the one with the id `waiting`, which this session began, or else
    a new one in place of any other: whoever saw another session's seed must not know this one.

    Raises Refused when one works already.
    """
    User.objects.select_for_update().get(pk=user.pk)
    if has_one(user):
        raise Refused("second_factor_is_on", "Your second factor is set up already.", status=409)
    begun = SecondFactor.objects.filter(user=user, pk=waiting).first() if waiting is not None else None
    if begun is not None:
        return begun
    SecondFactor.objects.filter(user=user).delete()
    made = SecondFactor.objects.create(user=user, name="app", confirmed=False, seed=secrets.token_hex(SEED_BYTES))
    return SecondFactor.objects.get(pk=made.pk)


def key_in_text(device: SecondFactor) -> str:
    """The seed as authenticator apps take it typed, in groups of four."""
    key = b32encode(unhexlify(device.seed.reveal())).decode()
    return " ".join(key[at : at + 4] for at in range(0, len(key), 4))


def qr_code(device: SecondFactor) -> SafeString:
    """The QR code that an authenticator app scans, as SVG without styles."""
    label = f"{ISSUER}:{device.user.get_username()}"
    key = key_in_text(device).replace(" ", "")
    query = urlencode({"secret": key, "issuer": ISSUER, "digits": DIGITS, "period": STEP_S}, quote_via=quote)
    drawing = BytesIO()
    code = segno.make(f"otpauth://totp/{quote(label)}?{query}", error="m")
    code.save(drawing, kind="svg", xmldecl=False, svgns=False, omitsize=True, border=1, svgclass=None, lineclass=None)
    return mark_safe(drawing.getvalue().decode())  # noqa: S308  (squares, made here)


@transaction.atomic
def confirm(*, user: User, waiting: int, code: str) -> list[str] | None:
    """Turn on the waiting device by its first code; the recovery codes, shown this once, or None for a wrong code."""
    device = SecondFactor.objects.select_for_update().filter(user=user, pk=waiting, confirmed=False).first()
    if device is None or not device.verify_token(tidy(code)):
        return None
    SecondFactor.objects.filter(pk=device.pk).update(confirmed=True)
    # Sessions that began without it end; the caller keeps the one at hand.
    team.end_sessions(user)
    _record(user, by=user, detail="Turned on.")
    return _new_codes(device)


@transaction.atomic
def verify(*, user: User, code: str, now: datetime) -> bool:
    """Whether the code is the app's of this moment, or a recovery code that was not used; either works once."""
    device = SecondFactor.objects.select_for_update().filter(user=user, confirmed=True).first()
    if device is None:
        return False
    given = tidy(code)
    if given.isdigit():
        return bool(device.verify_token(given))
    allowed, _ = device.verify_is_allowed()
    if not allowed:
        return False
    unused = RecoveryCode.objects.filter(device=device, digest=_digest(given), used_at=None)
    if unused.update(used_at=now):
        device.throttle_reset()
        _record(user, by=user, detail="A recovery code was used.")
        return True
    device.throttle_increment()
    return False


@transaction.atomic
def renew_codes(*, user: User) -> list[str]:
    """Ten new recovery codes in place of the old ones."""
    device = SecondFactor.objects.select_for_update().get(user=user, confirmed=True)
    _record(user, by=user, detail="New recovery codes were made.")
    return _new_codes(device)


@transaction.atomic
def turn_off(*, user: User, by: User) -> bool:
    """Forget the user's device and its recovery codes, and sign the user out everywhere; False when there is none."""
    found, _ = SecondFactor.objects.filter(user=user, confirmed=True).delete()
    SecondFactor.objects.filter(user=user).delete()
    if not found:
        return False
    team.end_sessions(user)
    _record(user, by=by, detail="Turned off." if by == user else "Reset by somebody else.")
    return True


def codes_left(user: User) -> int:
    """How many recovery codes the user has left."""
    return RecoveryCode.objects.filter(device__user=user, used_at=None).count()


def tidy(code: str) -> str:
    """The code as it is compared: without the spaces and dashes that it is shown or typed with."""
    return "".join(letter for letter in code.lower() if letter not in " -\t")


def _new_codes(device: SecondFactor) -> list[str]:
    codes = ["".join(secrets.choice(LETTERS) for _ in range(10)) for _ in range(RECOVERY_CODES)]
    RecoveryCode.objects.filter(device=device).delete()
    RecoveryCode.objects.bulk_create([RecoveryCode(device=device, digest=_digest(code)) for code in codes])
    return [f"{code[:5]}-{code[5:]}" for code in codes]


def _digest(code: str) -> str:
    return salted_hmac("imessage_hub.sign_in.recovery", code, algorithm="sha256").hexdigest()


def _record(user: User, *, by: User, detail: str) -> None:
    """In the trail of each of the user's locations, so that its admins read it; of an operator, in the hub's."""
    for location_id in user.roles or [None]:
        audit.record(
            by=by,
            action=AuditAction.CHANGED,
            obj=user,
            location_id=location_id,
            name=f"second factor of {user.get_username()}",
            detail=detail,
        )
