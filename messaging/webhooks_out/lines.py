"""What provisioning noted of lines, told to who wants to know."""

from collections.abc import Sequence

from django.conf import settings
from django.db import transaction

from messaging.webhooks_out.outbox import note_lines
from provisioning.duties import claim_due
from provisioning.models import LineNotice


def take_due(limit: int) -> Sequence[LineNotice]:
    """Claim up to `limit` notices that are to be told."""
    return claim_due(LineNotice.objects.all(), limit=limit, lease=settings.HUB_LEASE)


@transaction.atomic
def fan_out(notice: LineNotice) -> None:
    """Tell of all that waits of the notice's line, the earliest first, whichever of it was claimed: another worker may
    have taken the one before."""
    rows = LineNotice.objects.filter(line=notice.line_id, due_at__isnull=False).order_by("id")
    waiting = list(rows.select_for_update(no_key=True, of=("self",)).select_related("line"))
    note_lines(waiting)
    LineNotice.objects.filter(pk__in=[one.pk for one in waiting]).update(due_at=None, lease_until=None)
