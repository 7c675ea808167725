"""Chromium without a window, driven by selenium: it reads pages from files, presses keys and points."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium.webdriver import ActionChains, Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.support.wait import WebDriverWait

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
DRIVERS = ("chromedriver", "chromium.chromedriver")
OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --no-default-browser-check "
    "--disable-background-networking --disable-component-update --disable-sync --disable-extensions --hide-scrollbars"
).split()
PATIENCE = 120  # seconds for an answer, on a machine that is busy


def executables() -> tuple[str, str] | None:
    """The paths of a Chromium and of its driver, if both are there."""
    browser, driver = (next(filter(None, map(shutil.which, names)), None) for names in (BROWSERS, DRIVERS))
    return (browser, driver) if browser and driver else None


class Tab:
    """A page in Chromium."""

    def __init__(self, driver: Chrome):
        self.driver = driver

    def run(self, expression: str):
        """The value of an expression of JavaScript in the page."""
        return self.driver.execute_script(f"return {expression}")

    def open(self, path: Path, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Shows a file, and waits until its plot is drawn if it has one."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        for log in ("browser", "performance"):  # what was there before is of another page
            self.driver.get_log(log)
        self.driver.get(path.resolve().as_uri())
        if self.run("!!document.getElementById('code-data')"):
            WebDriverWait(self.driver, PATIENCE, 0.02).until(
                lambda _: self.run("document.body.dataset.ready === 'yes'")
            )

    def press(self, key: str) -> None:
        """Presses a key, one of selenium's `Keys`."""
        ActionChains(self.driver, duration=0).send_keys(key).perform()

    def point(self, x: float, y: float) -> None:
        """Moves the mouse."""
        actions = ActionBuilder(self.driver, duration=0)
        actions.pointer_action.move_to_location(round(x), round(y))
        actions.perform()

    def requests(self) -> list[str]:
        """The addresses that the page asked for since the last call; what is in the page itself is none."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
        return [url for url in asked if not url.startswith("data:")]

    def complaints(self) -> list[str]:
        """What the page wrote to the console since the last call, and errors in it."""
        return [entry["message"] for entry in self.driver.get_log("browser")]


@contextmanager
def chromium(profile: Path) -> Iterator[Tab]:
    """A tab of a new Chromium, which ends with the context.

    Args:
        profile: an empty folder for what the browser writes.
    """
    browser, driver = executables()
    options = ChromeOptions()
    options.binary_location = browser
    for option in (*OPTIONS, f"--user-data-dir={profile}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # Both paths are given, so selenium looks for nothing and downloads nothing.
    with Chrome(options, ChromeService(driver)) as opened:
        opened.set_script_timeout(PATIENCE)
        yield Tab(opened)
