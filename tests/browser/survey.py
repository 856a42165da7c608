"""Walks the admin as a person does, by its links, and measures one page of each kind."""

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from django.urls import Resolver404, resolve
from playwright.sync_api import Page

from tests.browser.rig import MIDDLE, NARROW, WIDE

SERIOUS = {"serious", "critical"}
FILES = re.compile(r"\.(csv|xlsx)$|/export/|/csv/|^/files/")
"""Addresses that answer with a file."""

WIDEST = (
    "Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) - document.documentElement.clientWidth"
)
LINKS = "Array.from(document.querySelectorAll('a[href]'), (link) => link.href)"


@dataclass
class Finding:
    """What one page is like. Empty lists and zeros are good."""

    address: str
    source: str = ""
    """The page that linked to it."""
    status: int = 200
    axe: list[str] = field(default_factory=list)
    too_wide: dict[int, int] = field(default_factory=dict)
    """Pixels that stick out, by width of the window."""
    layout_shift: float = 0.0
    headings: int = 1


def kind(address: str) -> str:
    """The name of the address in the URL map; "" for what is no page of the admin."""
    path = urlsplit(address).path
    if not path.startswith("/admin/") or FILES.search(path):
        return ""
    try:
        match = resolve(path)
    except Resolver404:
        return ""
    # Operations are told apart: each asks something of its own.
    return ":".join(filter(None, [match.url_name or "", str(match.kwargs.get("name", ""))]))


def pages(page: Page, *, start: str = "/admin/", most: int = 120) -> dict[str, tuple[str, str]]:
    """An address for each kind of page that links lead to, and the page with the first link to it."""
    found: dict[str, tuple[str, str]] = {}
    queue = [(start, "")]
    while queue and len(found) < most:
        address, source = queue.pop(0)
        name = kind(address)
        if not name or name in found:
            continue
        found[name] = address, source
        page.goto(address)
        queue += [(link, address) for link in page.evaluate(LINKS) if kind(link) not in found]
    return found


def look_at(page: Page, address: str, source: str = "") -> Finding:
    """Measure a page, light and dark, at three widths."""
    page.set_viewport_size({"width": WIDE, "height": 900})
    page.emulate_media(color_scheme="light")
    answer = page.goto(address)
    page.wait_for_load_state("load")
    page.wait_for_timeout(150)  # what moves, moves now
    finding = Finding(address, source, status=answer.status if answer else 0)
    finding.layout_shift = round(page.evaluate("window.layoutShift"), 4)
    finding.headings = page.locator("h1").count()
    finding.axe = violations(page, "light")
    page.emulate_media(color_scheme="dark")
    finding.axe += violations(page, "dark")
    for width in (WIDE, MIDDLE, NARROW):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(50)
        if (out := int(page.evaluate(WIDEST))) > 0:
            finding.too_wide[width] = out
    finding.axe += [f"{line} at {NARROW} px" for line in violations(page, "dark") if line not in finding.axe]
    return finding


def violations(page: Page, theme: str) -> list[str]:
    return [
        f"{theme}: {rule['id']} ({rule['impact']}): {rule['nodes'][0]['html'][:160]} [{len(rule['nodes'])}×]"
        for rule in Axe().run(page).response["violations"]
        if rule["impact"] in SERIOUS
    ]
