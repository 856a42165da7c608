"""The admin of accounts, with how much was said from each today."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import Count, Q
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html

from messaging.models import Direction, Message, MessageStatus
from routing.admin import AccountAdmin, StarredList
from routing.admin_look import icon, zone_of
from routing.models import Account, Location

LEFT = (MessageStatus.ACCEPTED, MessageStatus.SENT, MessageStatus.DELIVERED, MessageStatus.READ)
"""Statuses of a message that left."""


def day_began(location: Location) -> datetime:
    """When today began on the location's clocks."""
    return timezone.localtime(timezone=zone_of(location)).replace(hour=0, minute=0, second=0, microsecond=0)


def count_today(accounts: Sequence[Any]) -> None:
    """Note on each account, with its location, how many messages left and came in today: `sent_today`,
    `received_today`. One query, of today's messages only."""
    locations = {account.location for account in accounts}
    today = Q(pk__in=[])
    for location in locations:
        today |= Q(location=location, created_at__gte=day_began(location))
    counts = (
        Message.objects.filter(today, account__in=[account.pk for account in accounts])
        .order_by()
        .values_list("account")
        .annotate(
            sent=Count("pk", filter=Q(direction=Direction.OUTBOUND, status__in=LEFT)),
            received=Count("pk", filter=Q(direction=Direction.INBOUND)),
        )
    )
    found = {account_id: (sent, received) for account_id, sent, received in counts}
    for account in accounts:
        account.sent_today, account.received_today = found.get(account.pk, (0, 0))


class CountedList(StarredList):
    """A list whose accounts know their volume."""

    def get_results(self, request: HttpRequest) -> None:
        """One query more."""
        super().get_results(request)
        count_today(self.result_list)


@admin.register(Account)
class AccountWithVolumeAdmin(AccountAdmin):
    """Accounts with today's volume."""

    list_display = (*AccountAdmin.list_display, "today")
    fields = (*AccountAdmin.fields, "today")
    readonly_fields = (*AccountAdmin.readonly_fields, "today")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """With the volume."""
        return CountedList

    @admin.display(description="today")
    def today(self, account: Any) -> str:
        """Sent and received on the location's day so far."""
        if not hasattr(account, "sent_today"):
            count_today([account])
        return format_html(
            '<span class="hub-volume"><span title="sent today">{} {} <span class="visually-hidden">sent</span></span>'
            '<span class="hub-volume-down" title="received today">{} {} <span class="visually-hidden">received</span>'
            "</span></span>",
            icon("arrow-up"),
            account.sent_today,
            icon("arrow-up"),
            account.received_today,
        )
