"""The second factor: set up, asked for, demanded by role, reset; never a way around it."""

import logging
import re
import time
from base64 import b32decode
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.conf import LazySettings
from django.contrib.auth import SESSION_KEY
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_otp.oath import TOTP

from imessage_hub.models import RecoveryCode, SecondFactor
from imessage_hub.sign_in import second_factor
from routing.models import AuditEntry, Location, Membership, Role, User
from tests.admin.world import World, operation, sign_in, url
from tests.factories import PASSWORD, make_location, make_member

PAGE, CODE, LOGIN = "/admin/account/second-factor/", "/admin/login/code/", "/admin/login/"


def code_of(user: User, *, steps: int = 0) -> str:
    """What the user's app shows now, or so many steps from now."""
    device = SecondFactor.objects.get(user=user)
    totp = TOTP(bytes.fromhex(device.seed.reveal()))
    totp.time = time.time() + 30 * steps
    return f"{totp.token():06}"


def set_up(user: User, client: Client | None = None) -> list[str]:
    """Turn the user's second factor on, through the page; the recovery codes."""
    client = client or sign_in(user)
    client.get(PAGE)
    codes: list[str] = client.post(PAGE, {"code": code_of(user, steps=-1)}).context["codes"]
    return codes


def first_step(user: User, **data: str) -> Client:
    """A browser where the password was right."""
    client = Client()
    answer = client.post(LOGIN, {"username": user.username, "password": PASSWORD, **data})
    assert (answer.status_code, answer["Location"]) == (302, CODE)
    return client


def demand(location: Location, policy: str) -> None:
    Location.objects.filter(pk=location.pk).update(second_factor=policy)


# --- set-up -----------------------------------------------------------------------------------------------------------


def test_it_is_set_up_by_a_qr_code_or_a_key_and_a_first_code(ours: World) -> None:
    client = sign_in(ours.agent)
    page = client.get(PAGE).content.decode()
    svg = re.search(r"<svg.*?</svg>", page, re.DOTALL)
    assert svg is not None
    assert "style" not in svg[0]
    key = re.search(r'data-copy="([A-Z2-7 ]+)"', page)
    assert key is not None
    device = SecondFactor.objects.get(user=ours.agent)
    assert b32decode(key[1].replace(" ", "")).hex() == device.seed.reveal()
    assert client.get(PAGE).context["key"] == key[1]  # looked at again: the same
    assert "is not right" in client.post(PAGE, {"code": "000000"}).content.decode()
    assert not second_factor.has_one(ours.agent)
    with time_machine.travel(timezone.now() + timedelta(seconds=5)):
        answer = client.post(PAGE, {"code": f" {code_of(ours.agent)[:3]} {code_of(ours.agent)[3:]} "})
    codes = answer.context["codes"]
    assert len(set(codes)) == 10
    assert all(code in answer.content.decode() for code in codes)
    assert "no-store" in answer["Cache-Control"]
    assert second_factor.has_one(ours.agent)


def test_a_seed_that_another_session_saw_is_not_the_one_that_counts(ours: World) -> None:
    """Or whoever had the password first could wait for the owner to turn on what they know already."""
    intruder, owner = sign_in(ours.agent), sign_in(ours.agent)
    seen = intruder.get(PAGE).context["key"]
    known = code_of(ours.agent, steps=-1)
    assert owner.get(PAGE).context["key"] != seen
    assert "is not right" in owner.post(PAGE, {"code": known}).content.decode()
    # The other way about: the owner's seed is not what the intruder's session turns on.
    assert "is not right" in intruder.post(PAGE, {"code": code_of(ours.agent, steps=-1)}).content.decode()
    assert not second_factor.has_one(ours.agent)


def test_seed_and_codes_are_not_in_the_database_in_clear(ours: World, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        codes = set_up(ours.agent)
    seed = SecondFactor.objects.get(user=ours.agent).seed.reveal()
    with connection.cursor() as cursor:
        cursor.execute("SELECT seed FROM imessage_hub_secondfactor")
        stored = str(cursor.fetchall())
        cursor.execute("SELECT digest FROM imessage_hub_recoverycode")
        stored += str(cursor.fetchall())
    trail = repr(list(AuditEntry.objects.values()))
    for secret in (seed, *codes, *(code.replace("-", "") for code in codes)):
        assert secret not in stored
        assert secret not in trail
        assert not any(secret in r.getMessage() for r in caplog.records if "db.backends" not in r.name)
    call_command("reencrypt_secrets", "--dry-run")


def test_no_later_page_shows_the_seed_or_the_codes(ours: World, operator: User) -> None:
    client = sign_in(ours.admin)
    codes = set_up(ours.admin, client)
    key = second_factor.key_in_text(SecondFactor.objects.get(user=ours.admin))
    pages = [PAGE, "/admin/account/", url("membership"), url("membership", "change", ours.membership(ours.admin).pk)]
    for who in (client, sign_in(operator)):
        for page in pages:
            content = who.get(page).content.decode()
            assert not any(word in content for word in (key, *codes)), page


def test_setting_it_up_ends_sessions_that_began_without_it(ours: World) -> None:
    here, there = sign_in(ours.agent), sign_in(ours.agent)
    set_up(ours.agent, here)
    assert here.get(url("contact")).status_code == 200
    assert there.get(url("contact")).status_code == 302


# --- asked for --------------------------------------------------------------------------------------------------------


def test_the_code_is_asked_for_after_the_password(ours: World) -> None:
    set_up(ours.agent)
    client = first_step(ours.agent, next=url("contact"))
    # Nobody is signed in between the steps: neither for pages nor for the API.
    assert SESSION_KEY not in client.session
    assert client.get(url("contact")).status_code == 302
    assert client.get("/api/v1/contacts/").status_code == 401
    assert client.get("/api/v1/docs/").status_code == 302
    assert b'autocomplete="one-time-code"' in client.get(CODE).content
    assert client.post(CODE, {"code": "123"}).status_code == 200
    with time_machine.travel(timezone.now() + timedelta(seconds=2)):
        answer = client.post(CODE, {"code": code_of(ours.agent)})
    assert answer["Location"] == url("contact")
    assert client.get(url("contact")).status_code == 200
    assert client.get("/api/v1/contacts/").status_code == 200


def test_a_code_works_once(ours: World) -> None:
    set_up(ours.agent)
    code = code_of(ours.agent)
    assert first_step(ours.agent).post(CODE, {"code": code}).status_code == 302
    answer = first_step(ours.agent).post(CODE, {"code": code})
    assert b"was used before" in answer.content
    with time_machine.travel(timezone.now() + timedelta(seconds=31)):
        assert first_step(ours.agent).post(CODE, {"code": code_of(ours.agent)}).status_code == 302


@pytest.mark.parametrize(("steps", "status"), [(-2, 200), (1, 302), (2, 200)])
def test_a_clock_may_be_off_by_one_step(ours: World, steps: int, status: int) -> None:
    set_up(ours.agent)
    SecondFactor.objects.update(last_t=-1, drift=0)
    assert first_step(ours.agent).post(CODE, {"code": code_of(ours.agent, steps=steps)}).status_code == status


@pytest.mark.parametrize("code", ["", "12345", "１２３４５６", "abcdef", "0" * 500, "\0", "-12345", "²²²²²²"])
def test_odd_codes_are_refused(ours: World, code: str) -> None:
    set_up(ours.agent)
    client = first_step(ours.agent)
    assert client.post(CODE, {"code": code}).status_code == 200
    assert SESSION_KEY not in client.session


def test_wrong_codes_lock_like_wrong_passwords(ours: World) -> None:
    set_up(ours.agent)
    with time_machine.travel(timezone.now(), tick=False) as clock:
        client = first_step(ours.agent)
        for number in range(5):
            clock.shift(timedelta(seconds=2**number))
            answer = client.post(CODE, {"code": "000000"})
        assert answer.status_code == 429
        assert b"Too many tries" in answer.content
        # Neither the right code, nor the right password again, nor both get around it.
        clock.shift(timedelta(minutes=1))
        assert client.post(CODE, {"code": code_of(ours.agent)}).status_code == 429
        data = {"username": ours.agent.username, "password": PASSWORD}
        assert Client().post(LOGIN, data).status_code == 429
        clock.shift(timedelta(minutes=15))
        assert first_step(ours.agent).post(CODE, {"code": code_of(ours.agent)}).status_code == 302


def test_the_right_password_resets_nothing_before_the_code_is_right(ours: World) -> None:
    set_up(ours.agent)
    with time_machine.travel(timezone.now(), tick=False) as clock:
        for number in range(4):
            clock.shift(timedelta(seconds=2**number))
            first_step(ours.agent).post(CODE, {"code": "000000"})
        clock.shift(timedelta(seconds=20))
        assert first_step(ours.agent).post(CODE, {"code": "000000"}).status_code == 429


def test_the_device_slows_guessing_from_many_addresses(ours: World) -> None:
    set_up(ours.agent)
    with time_machine.travel(timezone.now(), tick=False):
        first_step(ours.agent).post(CODE, {"code": "000000"})
        # Within the second the right one is not looked at.
        answer = first_step(ours.agent).post(CODE, {"code": code_of(ours.agent)}, REMOTE_ADDR="203.0.113.9")
        assert answer.status_code == 200
    with time_machine.travel(timezone.now() + timedelta(seconds=2)):
        assert first_step(ours.agent).post(CODE, {"code": code_of(ours.agent)}).status_code == 302


def test_the_code_must_come_soon_and_by_the_same_password(ours: World) -> None:
    assert Client().get(CODE)["Location"] == LOGIN
    set_up(ours.agent)
    client = first_step(ours.agent)
    with time_machine.travel(timezone.now() + timedelta(minutes=11)):
        assert client.post(CODE, {"code": code_of(ours.agent)})["Location"] == LOGIN
    client = first_step(ours.agent)
    user = User.objects.get(pk=ours.agent.pk)
    user.set_password("another long phrase")
    user.save()
    assert client.post(CODE, {"code": code_of(ours.agent)})["Location"] == LOGIN
    assert SESSION_KEY not in client.session


def test_a_deactivated_user_is_not_let_in_by_a_code(ours: World) -> None:
    set_up(ours.agent)
    client = first_step(ours.agent)
    User.objects.filter(pk=ours.agent.pk).update(is_active=False)
    assert client.post(CODE, {"code": code_of(ours.agent)})["Location"] == LOGIN


def test_the_way_on_stays_on_this_site(ours: World) -> None:
    set_up(ours.agent)
    client = first_step(ours.agent, next="https://evil.example/")
    assert client.post(CODE, {"code": code_of(ours.agent)})["Location"] == "/admin/"


# --- recovery codes ---------------------------------------------------------------------------------------------------


def test_a_recovery_code_works_once(ours: World) -> None:
    codes = set_up(ours.agent)
    assert first_step(ours.agent).post(CODE, {"code": codes[0].upper()}).status_code == 302
    assert first_step(ours.agent).post(CODE, {"code": codes[0]}).status_code == 200
    with time_machine.travel(timezone.now() + timedelta(seconds=3)):
        assert first_step(ours.agent).post(CODE, {"code": codes[1]}).status_code == 302
    assert second_factor.codes_left(ours.agent) == 8
    assert "A recovery code was used." in AuditEntry.objects.values_list("detail", flat=True)


def test_new_recovery_codes_replace_the_old_ones(ours: World) -> None:
    client = sign_in(ours.agent)
    old = set_up(ours.agent, client)
    assert client.post(PAGE, {"code": "wrong", "do": "codes"}).status_code == 200
    with time_machine.travel(timezone.now() + timedelta(seconds=3)):
        new = client.post(PAGE, {"code": code_of(ours.agent), "do": "codes"}).context["codes"]
    assert not set(old) & set(new)
    assert RecoveryCode.objects.count() == 10
    assert first_step(ours.agent).post(CODE, {"code": old[0]}).status_code == 200


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["app", "recovery"])
def test_of_many_who_show_one_code_at_once_one_is_let_in(ours: World, in_threads: Any, kind: str) -> None:
    codes = set_up(ours.agent)
    code = codes[0] if kind == "recovery" else code_of(ours.agent)
    clients = [first_step(ours.agent) for _ in range(4)]
    statuses = in_threads(4, lambda i: clients[i].post(CODE, {"code": code}).status_code)
    assert sorted(statuses) == [200, 200, 200, 302]


# --- turned off, reset ------------------------------------------------------------------------------------------------


def test_turning_it_off_takes_a_code(ours: World) -> None:
    client, other = sign_in(ours.agent), sign_in(ours.agent)
    set_up(ours.agent, client)
    client.post(PAGE, {"code": "000000", "do": "off"})
    assert second_factor.has_one(ours.agent)
    with time_machine.travel(timezone.now() + timedelta(seconds=3)):
        assert client.post(PAGE, {"code": code_of(ours.agent), "do": "off"}).status_code == 302
    assert not second_factor.has_one(ours.agent)
    assert not RecoveryCode.objects.exists()
    assert client.get("/admin/account/").status_code == 200
    assert other.get("/admin/account/").status_code == 302
    assert Client().post(LOGIN, {"username": ours.agent.username, "password": PASSWORD})["Location"] == "/admin/"


def test_an_admin_resets_the_device_of_a_member(ours: World) -> None:
    theirs = sign_in(ours.agent)
    set_up(ours.agent, theirs)
    door = operation("membership", ours.membership(ours.agent).pk, "reset-second-factor")
    client = sign_in(ours.admin)
    assert ">on</span>" in client.get(url("membership")).content.decode()
    assert b"really" in client.get(door).content
    assert client.post(door).status_code == 302
    assert not second_factor.has_one(ours.agent)
    assert theirs.get(url("contact")).status_code == 302
    entry = AuditEntry.objects.get(detail="Reset by somebody else.")
    assert (entry.user, entry.location) == (ours.admin, ours.location)


def test_the_device_of_who_works_elsewhere_too_is_not_for_one_admin_to_reset(ours: World, operator: User) -> None:
    set_up(ours.agent)
    second = make_location()
    make_member(second, user=ours.agent)
    membership = ours.membership(ours.agent).pk
    door = operation("membership", membership, "reset-second-factor")
    client = sign_in(ours.admin)
    assert door.encode() not in client.get(url("membership", "change", membership)).content
    assert client.post(door).status_code == 403
    assert second_factor.has_one(ours.agent)
    Membership.objects.create(location=second, user=ours.admin, role=Role.ADMIN)
    assert sign_in(User.objects.get(pk=ours.admin.pk)).post(door).status_code == 302
    assert not second_factor.has_one(ours.agent)
    set_up(User.objects.get(pk=ours.agent.pk))
    assert sign_in(operator).post(door).status_code == 302
    assert not second_factor.has_one(ours.agent)


def test_nobody_else_resets_a_device(ours: World, theirs: World, operator: User) -> None:
    for user in (ours.admin, ours.agent):
        set_up(user)
    make_member(ours.location, Role.ADMIN, user=operator)
    set_up(operator)
    door = operation("membership", ours.membership(ours.agent).pk, "reset-second-factor")
    assert sign_in(ours.viewer).post(door).status_code == 403
    assert sign_in(theirs.admin).post(door).status_code == 404
    admin = sign_in(User.objects.get(pk=ours.admin.pk))
    for who in (ours.admin, operator):  # one's own goes by a code; an operator's is not an admin's to take
        own = operation("membership", ours.membership(who).pk, "reset-second-factor")
        assert admin.post(own).status_code == 403
    assert SecondFactor.objects.count() == 3


# --- demanded ---------------------------------------------------------------------------------------------------------

GATED = ["/admin/", "/admin/account/", "/admin/password_change/", "/admin/autocomplete/", "/api/v1/docs/"]


@pytest.mark.parametrize(
    ("policy", "who", "led"),
    [
        ("nobody", "admin", False),
        ("admins", "admin", True),
        ("admins", "agent", False),
        ("everybody", "agent", True),
        ("everybody", "viewer", True),
    ],
)
def test_who_must_have_one_is_led_to_it_before_any_other_page(ours: World, policy: str, who: str, led: bool) -> None:
    user = getattr(ours, who)
    demand(ours.location, policy)
    client = sign_in(user)
    for page in [*GATED, url("contact"), url("contact", "change", ours.contact.pk)]:
        answer = client.get(page)
        assert (answer.get("Location") == PAGE) is led, page
    assert (client.post(url("contact", "change", ours.contact.pk), {}).get("Location") == PAGE) is led
    assert client.get("/api/v1/contacts/").status_code == (401 if led else 200)
    if led:
        assert b"Your team asks for a second factor" in client.get(PAGE).content
        set_up(user, client)
    assert client.get(url("contact")).status_code == 200
    assert client.get("/api/v1/contacts/").status_code == 200
    assert client.post("/admin/logout/").status_code in (200, 302)


def test_any_location_that_demands_it_counts(ours: World) -> None:
    make_member(make_location(second_factor="everybody"), user=ours.viewer)
    assert sign_in(ours.viewer).get("/admin/")["Location"] == PAGE


def test_a_demand_holds_for_sessions_that_are_open(ours: World) -> None:
    client = sign_in(ours.agent)
    assert client.get(url("contact")).status_code == 200
    demand(ours.location, "everybody")
    assert client.get(url("contact"))["Location"] == PAGE


def test_a_session_that_never_showed_the_device_must_sign_in_again(ours: World) -> None:
    set_up(ours.agent)
    demand(ours.location, "everybody")
    client = sign_in(User.objects.get(pk=ours.agent.pk))
    assert client.get(url("contact"))["Location"] == LOGIN
    assert SESSION_KEY not in client.session
    client = first_step(ours.agent)
    assert client.post(CODE, {"code": code_of(ours.agent)}).status_code == 302
    assert client.get(url("contact")).status_code == 200


@pytest.mark.parametrize("demanded", [False, True])
def test_operators_must_have_one_where_the_setting_says_so(
    operator: User, settings: LazySettings, demanded: bool
) -> None:
    settings.HUB_REQUIRE_SECOND_FACTOR_FOR_OPERATORS = demanded
    answer = sign_in(operator).get("/admin/")
    assert answer.get("Location") == (PAGE if demanded else None)


def test_the_demand_costs_no_query_for_whom_nobody_asks(ours: World) -> None:
    client = sign_in(ours.agent)
    with CaptureQueriesContext(connection) as queries:
        client.get(url("contact"))
    assert not any("secondfactor" in query["sql"] for query in queries)
