"""The pictures of the README: `make pictures` runs a demo of its own and takes them with the system's Chromium."""

import json
import sys
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from imessage_hub.demo import environment as env
from imessage_hub.demo.__main__ import bring_up
from imessage_hub.demo.messages import Client, send_all
from imessage_hub.demo.processes import Processes

PICTURES = Path(__file__).parent / "pictures"
CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def main() -> int:
    """Take them all."""
    env.ensure_env_file()
    variables = env.environment(web_port=env.free_port(0), sandbox_port=env.free_port(0))
    with Processes(variables, env.FILES) as processes, sync_playwright() as playwright:
        clinic = bring_up(processes, variables)
        send_all(Client(variables["HUB_PUBLIC_URL"], clinic["api_key"]), clinic)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        _phones(browser, variables["SENDBLUE_BASE_URL"])
        _admin(browser, variables["HUB_PUBLIC_URL"], clinic, variables["HUB_DEMO_PASSWORD"])
    sys.stdout.write(f"{json.dumps(sorted(path.name for path in PICTURES.glob('*.png')))}\n")
    return 0


def _page(browser: Browser, *, dark: bool = False) -> Page:
    return browser.new_page(viewport={"width": 1440, "height": 900}, color_scheme="dark" if dark else "light")


def _phones(browser: Browser, url: str) -> None:
    page = _page(browser)
    page.goto(url)
    page.get_by_text("Delivered").first.wait_for()
    page.screenshot(path=PICTURES / "phones.png")


def _admin(browser: Browser, hub: str, clinic: dict[str, str], password: str) -> None:
    page = _page(browser)
    page.goto(f"{hub}/admin/")
    page.fill("#id_username", clinic["admin"])
    page.fill("#id_password", password)
    page.click("[type=submit]")
    page.goto(f"{hub}/admin/provisioning/setup/{clinic['pending_setup']}/change/")
    page.screenshot(path=PICTURES / "setup.png")


if __name__ == "__main__":
    sys.exit(main())
