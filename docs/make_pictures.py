"""The pictures of the README: `make pictures` runs a demo of its own and takes them with the system's Chromium."""

import json
import sys
import time
from pathlib import Path

import requests
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
        api = Client(variables["HUB_PUBLIC_URL"], clinic["api_key"])
        send_all(api, clinic)
        _converse(variables["SENDBLUE_BASE_URL"], api, clinic)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        _phones(browser, variables["SENDBLUE_BASE_URL"])
        _admin(browser, variables["HUB_PUBLIC_URL"], clinic, variables["HUB_DEMO_PASSWORD"])
    sys.stdout.write(f"{json.dumps(sorted(path.name for path in PICTURES.glob('*.png')))}\n")
    return 0


def _converse(phones: str, api: Client, clinic: dict[str, str]) -> None:
    """A conversation with a question and an answer, so that the phones have something to show."""
    said = [("front", "nobody", "Can I park behind the building?"), ("billing", "tagged", "Got it, I'll pay today.")]
    accounts = {account["label"].split()[0].lower(): account for account in api.get("accounts/")["results"]}
    for label, who, text in said:
        body = {"line": accounts[label]["phone_number"], "customer": clinic[who], "text": text}
        requests.post(f"{phones}/_sandbox/reply", json=body, timeout=10).raise_for_status()
    answer = {"to": clinic["nobody"], "text": "Yes, the first two hours are free. See you tomorrow at 9!"}
    sent = api.post("messages/", answer)
    while api.get(f"messages/{sent['id']}/")["status"] != "delivered":
        time.sleep(0.1)


def _page(browser: Browser, *, dark: bool = False) -> Page:
    return browser.new_page(viewport={"width": 1440, "height": 900}, color_scheme="dark" if dark else "light")


def _phones(browser: Browser, url: str) -> None:
    page = _page(browser)
    page.goto(url)
    for name in ("0101", "0103", "0102"):
        page.locator("#phones").get_by_role("button", name=name).first.click()
    page.get_by_text("Delivered").first.wait_for()
    page.mouse.move(0, 0)
    page.screenshot(path=PICTURES / "phones.png")


def _admin(browser: Browser, hub: str, clinic: dict[str, str], password: str) -> None:
    page = _page(browser)
    page.goto(f"{hub}/admin/")
    page.fill("#id_username", clinic["admin"])
    page.fill("#id_password", password)
    page.click("[type=submit]")
    page.goto(f"{hub}/admin/provisioning/setup/{clinic['pending_setup']}/change/")
    page.screenshot(path=PICTURES / "setup.png", full_page=True)


if __name__ == "__main__":
    sys.exit(main())
