"""What holds for every page that links of the admin lead to: accessible, in bounds, still, and content with the policy.

(Breaches of the policy, console errors and requests to other hosts are caught by the fixture `people`.)
"""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browser.rig import Hub, People, Trouble
from tests.browser.survey import Finding, look_at, pages, violations

MOST_SHIFT = 0.01
"""Of the score that browsers call layout shift; from 0.1 on people notice."""

Survey = dict[str, Finding]


@pytest.fixture(scope="module")
def survey(hub: Hub, chromium: Browser, signed_in: dict[str, Any]) -> Survey:
    """One page of each kind, as the location's admin sees it, and the page to sign in."""
    trouble = Trouble()
    people = People(hub, chromium, trouble, signed_in)
    page = people.as_("admin")
    found = {name: look_at(page, *where) for name, where in pages(page).items()}
    found["login"] = look_at(people.stranger(), "/admin/login/")
    people.close()
    found["trouble"] = Finding(address="", axe=trouble.found)
    return found


def told(survey: Survey, wrong: Callable[[Finding], Any]) -> str:
    """A line for each page where something is wrong."""
    lines = [f"{name} ({finding.address}): {wrong(finding)}" for name, finding in survey.items() if wrong(finding)]
    return "\n".join(lines)


def test_links_lead_to_pages_that_are_there(survey: Survey) -> None:
    assert len(survey) > 15
    assert (
        told(survey, lambda finding: f"{finding.status}, from {finding.source}" if finding.status != 200 else "") == ""
    )


def test_axe_finds_nothing_serious_in_light_and_dark(survey: Survey) -> None:
    assert told({**survey, "trouble": Finding("")}, lambda finding: "\n    ".join(finding.axe)) == ""


def test_no_page_is_wider_than_the_window(survey: Survey) -> None:
    assert told(survey, lambda finding: finding.too_wide) == ""


def test_nothing_shifts_while_a_page_loads(survey: Survey) -> None:
    assert told(survey, lambda finding: finding.layout_shift if finding.layout_shift > MOST_SHIFT else 0) == ""


def test_each_page_has_one_first_heading(survey: Survey) -> None:
    assert told(survey, lambda finding: f"{finding.headings} h1" if finding.headings != 1 else "") == ""


def test_no_page_breaks_the_policy_or_asks_another_host(survey: Survey) -> None:
    assert survey["trouble"].axe == []


def test_the_survey_would_see_it(hub: Hub, people: People) -> None:
    """A page that breaks each rule, to show that the measures work."""
    page = people.stranger()
    page.goto("/admin/login/")
    page.evaluate(
        """() => {
          const wide = document.createElement("div");
          wide.style.width = "3000px"; wide.textContent = "wide";
          document.body.prepend(wide);
          const image = document.createElement("img"); image.src = "/nothing"; document.body.append(image);
          document.body.insertAdjacentHTML("beforeend", '<button onclick="x()"></button>');
        }"""
    )
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") > 0
    assert page.evaluate("window.layoutShift") > MOST_SHIFT
    assert any("button-name" in line for line in violations(page, "light"))
    assert any("Content Security Policy" in line for line in people.trouble.found)
    people.trouble.found.clear()
