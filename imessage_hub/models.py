"""What the roof itself keeps: people's second factors."""

from binascii import unhexlify
from typing import Any, ClassVar, Self

from django.conf import settings
from django.db import models
from django_otp.models import Device, ThrottlingMixin, TimestampMixin
from django_otp.oath import TOTP

from provisioning.fields import SecretTextField

STEP_S = 30
DIGITS = 6
TOLERANCE = 1
"""Steps that a code may be early or late: 30 s each way."""


class SecondFactor(ThrottlingMixin, TimestampMixin, Device):  # type: ignore[misc]
    """An authenticator app of a user: one each. Until its first code was right it is not `confirmed`.

    Wrong codes slow the device down, 1, 2, 4, 8 … seconds; a code works once.
    """

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    seed = SecretTextField()
    drift = models.SmallIntegerField(default=0)
    """Steps that the app's clock is off."""
    last_t = models.BigIntegerField(default=-1)
    """The step of the last code that was right; only later ones are taken."""

    objects: ClassVar[models.Manager[Self]] = models.Manager()

    def __str__(self) -> str:
        return f"second factor of {self.user}"

    def get_throttle_factor(self) -> int:
        """Seconds to wait after the first wrong code."""
        return 1

    def verify_token(self, token: Any) -> bool:
        """Whether `token` is the code of this moment; the caller holds the row's lock and has a transaction open."""
        allowed, _ = self.verify_is_allowed()
        if not allowed:
            return False
        totp = TOTP(unhexlify(self.seed.reveal()), step=STEP_S, digits=DIGITS, drift=self.drift)
        right = token.isascii() and token.isdigit() and len(token) == DIGITS
        if right and totp.verify(int(token), TOLERANCE, self.last_t + 1):
            self.last_t, self.drift = totp.t(), totp.drift
            self.throttle_reset(commit=False)
            self.set_last_used_timestamp(commit=False)
            self.save()
            return True
        self.throttle_increment()
        return False


class RecoveryCode(models.Model):
    """A code that stands in for the app once, where the phone is lost. Only a keyed digest of it is kept."""

    device = models.ForeignKey(SecondFactor, on_delete=models.CASCADE, related_name="recovery_codes")
    digest = models.CharField(max_length=64)
    used_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["device", "digest"], name="recovery_code_once")]

    def __str__(self) -> str:
        return "recovery code"
