"""`manage.py line_pace`: what a line may bear, shown and changed."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from provisioning.models import PhoneLine
from routing.models import AuditEntry
from tests.factories import Clinic


def run(clinic: Clinic, *arguments: str) -> str:
    """What the command prints for the clinic's line."""
    output = StringIO()
    call_command("line_pace", clinic.line.phone_number, *arguments, stdout=output)
    return " ".join(output.getvalue().split())


def test_a_line_gets_limits_of_its_own_and_gives_them_back(clinic: Clinic) -> None:
    assert "pace per second 10000 (provider)" in run(clinic)
    shown = run(clinic, "--pace-per-second", "0.5", "--new-contacts-per-day", "20")
    assert "pace per second 0.5 (its own)" in shown
    assert "new contacts per day 20 (its own)" in shown
    assert PhoneLine.objects.get(pk=clinic.line.pk).pace.per_second == 0.5
    [entry] = AuditEntry.objects.filter(object_type="provisioning.phoneline")
    assert entry.changes == {"pace_per_second": ["", "0.5"], "new_contacts_per_day": ["", "20"]}
    assert "new contacts per day no limit (provider)" in run(clinic, "--new-contacts-per-day", "provider")


@pytest.mark.parametrize(
    ("option", "value"),
    [("--pace-per-second", "0"), ("--pace-per-second", "nan"), ("--pace-per-second", "quick"), ("--pace-burst", "0"),
     ("--pace-burst", "1.5"), ("--new-contacts-per-day", "-1"), ("--new-contacts-per-hour", "1000000")],
)  # fmt: skip
def test_what_is_no_limit_is_refused_and_changes_nothing(clinic: Clinic, option: str, value: str) -> None:
    with pytest.raises(CommandError):
        run(clinic, f"{option}={value}")
    line = PhoneLine.objects.get(pk=clinic.line.pk)
    assert (line.pace_per_second, line.pace_burst, line.new_contacts_per_hour, line.new_contacts_per_day) == (None,) * 4


def test_a_number_that_no_line_has_is_told(clinic: Clinic) -> None:
    with pytest.raises(CommandError, match="No assigned line"):
        call_command("line_pace", "+15550000000")
