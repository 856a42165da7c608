"""Notices that say the same in the same words mean something each time they come."""

from provisioning.models import PhoneLine
from provisioning.services import read_lines
from routing.models import Account
from tests.messaging.conftest import Hub


def test_a_line_that_is_blocked_a_second_time_stops_its_account_again(hub: Hub) -> None:
    line = PhoneLine.objects.get(account=hub.accounts[0])

    def health() -> str:
        return str(PhoneLine.objects.get(pk=line.pk).health)

    assert line.phone_number is not None
    for _ in range(2):
        hub.sandbox.set_line_status(line.phone_number, "BLOCKED")
        hub.sandbox.drain_webhooks()
        hub.work_until(lambda: health() == "blocked")
        assert Account.objects.get(pk=hub.accounts[0].pk).line_blocked
        hub.sandbox.set_line_status(line.phone_number, "ONLINE")
        read_lines(setup=line.setup)
        assert health() == "online"
