"""Every page of the admin costs as many queries with 10,000 rows of everything as with ten."""

import pytest
from django.db import connection

from imessage_hub.sign_in import sessions
from routing.models import User
from tests.admin.crawl import Address, Crowd, addresses
from tests.admin.crowds import fill
from tests.admin.world import World

FEW, MANY = 10, 10_000
MOST = 30
"""Queries of any page, whoever looks."""

IN_BATCHES = ("provisioning_setup_impact:", "routing_account_impact:")
"""These ask of every contact what number it would get: a few queries for each two thousand of them."""

ELSEWHERE = ("logout", "unnamed:")


@pytest.fixture
def watched(ours: World, operator: User) -> list[Address]:
    """Every address that answers with a page."""
    crowd = Crowd.of(operator=operator)
    return [
        address
        for address in addresses()
        if not address.name.startswith(ELSEWHERE) and crowd.ask("operator", "GET", address.path(ours)).status == 200
    ]


@pytest.mark.usefixtures("quiet")
def test_pages_cost_the_same_for_ten_rows_and_for_ten_thousand(
    ours: World, operator: User, watched: list[Address], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Once a minute a page writes down that its session is in use; filling takes longer than that.
    monkeypatch.setattr(sessions, "SEEN_RESOLUTION_S", 10**6)
    crowd = Crowd.of(operator=operator, admin=ours.admin)
    asked = [(who, address) for who in crowd.sessions for address in watched]

    def cost() -> dict[str, int]:
        for who, address in asked:
            crowd.ask(who, "GET", address.path(ours))  # what is remembered for long is remembered from here on
        return {f"{address.name} {who}": crowd.ask(who, "GET", address.path(ours)).queries for who, address in asked}

    fill(ours, range(1, FEW))
    few = cost()
    fill(ours, range(FEW, MANY))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")  # as the database does by itself, a little later
    many = cost()
    assert len(few) > 60
    # A page may have less to say to who has plenty: the first steps of a new location go.
    grown = {name: (few[name], many[name]) for name in few if many[name] > few[name]}
    assert {name: costs for name, costs in grown.items() if not name.startswith(IN_BATCHES)} == {}
    assert {name: number for name, number in many.items() if number > MOST} == {}
