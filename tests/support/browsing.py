"""Headless Chromium: what tests, benchmarks and screenshots of pages share."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path
from typing import Any

ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def missing_program() -> str:
    """What of a browser is not on this machine; empty when all is there."""
    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"{' and '.join(missing)} not on this machine" if missing else ""


def start_browser(profile: Path) -> Any:
    """A driver of Chromium with its profile in that folder; the caller quits it."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in (*ARGUMENTS, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))


def set_width(browser: Any, width: int, height: int = 900) -> None:
    """The size of the window's inside; below 600 pixels it is a phone."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def set_media(browser: Any, theme: str = "light", motion: str = "reduce", media: str = "") -> None:
    """Without motion the page scrolls at once, so that what comes next is where it was seen."""
    features = [
        {"name": "prefers-color-scheme", "value": theme},
        {"name": "prefers-reduced-motion", "value": motion},
    ]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})


def set_script(browser: Any, *, enabled: bool) -> None:
    """Whether pages may run their scripts; what a test runs in them does so either way."""
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not enabled})


def open_page(browser: Any, address: str) -> None:
    """Always a new load, also where only the hash differs."""
    browser.get("about:blank")
    browser.get(address)


def complaints(browser: Any) -> list[Any]:
    """Errors and warnings of the console since it was last asked."""
    return [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


def screenshot(browser: Any, path: Path, *, whole: bool = True) -> None:
    """The page as PNG: all of it, or what the window shows."""
    wanted = {"format": "png", "captureBeyondViewport": whole}
    path.write_bytes(base64.b64decode(browser.execute_cdp_cmd("Page.captureScreenshot", wanted)["data"]))
