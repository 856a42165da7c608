"""Every address of the admin, as everybody: what they get is what the table says, and never another tenant's.

The addresses come from the URL map: a new page fails here until it stands in `tests/admin/pages.py`.
"""

import re

import pytest

from routing.models import User
from tests.admin.crawl import OF_THEMSELVES, PEOPLE, WRITERS, Address, Crowd, addresses, normal, row_of
from tests.admin.pages import PAGES, Page
from tests.admin.world import World, make_world
from tests.factories import make_user
from tests.provisioning.fake_provider import FakeProvider

OURS, THEIRS = "HERON", "CANARY"
MEMBERS = ("admin", "agent", "viewer")


pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def worlds(db: None, provider: FakeProvider) -> tuple[World, World]:
    """Ours and theirs, each with a mark that no page has by chance."""
    return make_world(OURS), make_world(THEIRS)


@pytest.fixture
def crowd(worlds: tuple[World, World]) -> Crowd:
    """Everybody, signed in."""
    ours, theirs = worlds
    return Crowd.of(
        operator=make_user("operator", superuser=True),
        admin=ours.admin,
        agent=ours.agent,
        viewer=ours.viewer,
        other=theirs.admin,
        stranger=make_user("stranger"),
    )


def statuses(crowd: Crowd, method: str, address: Address, world: World) -> str:
    """What each gets, in the order of PEOPLE."""
    return " ".join(str(crowd.ask(who, method, address.path(world)).status) for who in PEOPLE)


def test_everybody_gets_what_the_table_says(crowd: Crowd, worlds: tuple[World, World]) -> None:
    ours, _ = worlds
    seen = {
        address.name: Page(statuses(crowd, "GET", address, ours), statuses(crowd, "POST", address, ours))
        for address in addresses()
    }
    missing = [page.row(name) for name, page in seen.items() if name not in PAGES]
    wrong = [
        f"{name} {method}\n      got  {got}\n      want {want}"
        for name, page in seen.items()
        if name in PAGES
        for method, got, want in (("GET", page.get, PAGES[name].get), ("POST", page.post, PAGES[name].post))
        if got != want
    ]
    gone = sorted(PAGES.keys() - seen.keys())
    assert not wrong, "Not what the table says, for {}:\n  {}".format(" ".join(PEOPLE), "\n  ".join(wrong))
    assert not missing, "Not in the table. Read each row, and if it is right put it into PAGES:\n" + "\n".join(missing)
    assert not gone, f"In the table, and nowhere else; take out: {gone}"


def test_the_table_is_sane() -> None:
    """Nobody in without signing in, no server error, and a location's people never less than its strangers."""
    for name, page in PAGES.items():
        if name in ("login", "jsi18n") or name.startswith(("join", "picture")):
            continue
        for row in (page.get, page.post):
            *others, nobody = row.split()
            assert nobody in ("302", "403", "404", "405"), name
            assert all(int(status) < 500 for status in others), name


def test_another_tenants_rows_are_answered_as_absent_ones(crowd: Crowd, worlds: tuple[World, World]) -> None:
    _, theirs = worlds
    tried, different = 0, []
    for address in addresses():
        if not address.has_object:
            continue
        there, absent = address.path(theirs), address.path(None)
        ids = _parts(there, absent)
        for method in ("GET", "POST"):
            for who in ("admin", "agent", "viewer", "stranger", "nobody"):
                tried += 1
                one, two = (crowd.ask(who, method, path, follow=True) for path in (there, absent))
                same = one.status == two.status and normal(one.body, there, *ids) == normal(two.body, absent, *ids)
                if not same or one.writes != two.writes:
                    different.append(f"{method} {address.name} as {who}: {one.status} and {two.status}")
    assert tried > 100
    assert not different, "\n".join(different)


def test_nothing_of_another_tenant_is_anywhere(crowd: Crowd, worlds: tuple[World, World]) -> None:
    """On no page about what is one's own; what comes for foreign ids is what comes for absent ones, see above."""
    ours, theirs = worlds
    leaks = []
    for address in addresses():
        for who in PEOPLE[1:]:
            mine, foreign, mark = (theirs, ours, OURS) if who not in MEMBERS else (ours, theirs, THEIRS)
            signs = [mark, foreign.contact.phone_number, foreign.account.phone_number, str(foreign.location.pk)]
            for method in ("GET", "POST"):
                path = address.path(mine if who in (*MEMBERS, "other") else None)
                seen = crowd.ask(who, method, path, follow=True)
                text = seen.body.decode(errors="replace") + seen.headers
                leaks += [f"{method} {path} as {who} shows {sign}" for sign in signs if sign in text]
                if seen.status >= 500:
                    leaks.append(f"{method} {path} as {who} answers {seen.status}")
    assert not leaks, "\n".join(leaks)


def test_who_may_only_read_writes_nothing(crowd: Crowd, worlds: tuple[World, World]) -> None:
    ours, _ = worlds
    written = []
    for address in addresses():
        if address.name in OF_THEMSELVES:
            continue
        for who in PEOPLE:
            methods = ("GET",) if who in WRITERS else ("GET", "POST")
            for method in methods:
                seen = crowd.ask(who, method, address.path(ours))
                if seen.writes and not (who in WRITERS and address.name in PAGES and PAGES[address.name].notes):
                    written.append(f"{method} {address.name} as {who}: {seen.writes[0][:120]}")
    assert not written, "\n".join(written)


def test_the_crawler_would_see_it(crowd: Crowd, worlds: tuple[World, World]) -> None:
    """Operators see both: the marks are where the crawler looks for them."""
    ours, theirs = worlds
    by_name = {address.name: address for address in addresses()}
    page = by_name["routing_contact_change"]
    assert THEIRS.encode() in crowd.ask("operator", "GET", page.path(theirs)).body
    assert OURS.encode() in crowd.ask("admin", "GET", page.path(ours)).body
    assert crowd.ask("admin", "POST", by_name["routing_contact_operation:opt-out"].path(ours)).writes
    assert User.objects.filter(pk=str(row_of(theirs, User))).exists()
    assert len(by_name) > 60


def _parts(one: str, two: str) -> set[str]:
    """The pieces in which two addresses differ."""
    return set(re.split("[/=]", one)) ^ set(re.split("[/=]", two))
