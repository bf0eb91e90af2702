"""A real Chromium for tests of the dashboard. Elements are found anew for each look and click: the page is drawn anew
whenever the server says something."""

import contextlib
import os
import shutil

import pytest
from support import eventually

try:
    from selenium import webdriver
    from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
except ImportError:
    webdriver = By = Keys = None

SECONDS = 30


class Page:
    def __init__(self, driver, address):
        self.driver = driver
        self.address = address

    def open(self, hash_):
        """A page by its address behind the '#'."""
        self.driver.get(f"http://{self.address}/{hash_}")

    def go(self, hash_):
        """The same without loading again."""
        self.driver.execute_script("location.hash = arguments[0]", hash_)

    def text(self):
        return self.driver.find_element(By.TAG_NAME, "body").text

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def sees(self, wanted, where="main"):
        def there():
            try:
                return wanted in self.find(where).text
            except (NoSuchElementException, StaleElementReferenceException):
                return False
        try:
            eventually(there, SECONDS, f"the page shows {wanted!r}", every=0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.text()}") from None

    def click(self, selector):
        """Found, focused and clicked in one step of the page's own: it may be drawn anew at any moment."""
        eventually(lambda: self.driver.execute_script("""
            const button = document.querySelector(arguments[0]);
            if (!button || button.disabled || !button.checkVisibility()) return false;
            button.focus();
            button.click();
            return true;""", selector), SECONDS, f"{selector} can be clicked", every=0.1)

    def fill(self, selector, text):
        """A field gets a value, as if it were typed."""
        eventually(lambda: self.driver.execute_script("""
            const field = document.querySelector(arguments[0]);
            if (!field || !field.checkVisibility()) return false;
            field.focus();
            field.value = arguments[1];
            for (const name of ["input", "change"]) field.dispatchEvent(new Event(name, {bubbles: true}));
            return true;""", selector, str(text)), SECONDS, f"{selector} can be filled", every=0.1)

    def has(self, wanted, where="main"):
        """Now, without waiting."""
        return self.driver.execute_script(
            "return document.querySelector(arguments[0])?.innerText.includes(arguments[1]) ?? false", where, wanted)

    def cells(self):
        """The texts of all rows of tables, at one moment."""
        return self.driver.execute_script("""
            return [...document.querySelectorAll("tbody tr")].map(
                row => [...row.querySelectorAll("td")].map(cell => cell.innerText.trim()))""")

    def size(self, width, dark):
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500})
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]})

    def complaints(self):
        return [entry for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]


@contextlib.contextmanager
def browser(platform, directory):
    if webdriver is None or not shutil.which("chromium") or not shutil.which("chromedriver"):
        pytest.skip("no browser: install chromium, chromium-driver and python3-selenium")
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,900",
                     f"--user-data-dir={directory}/browser", *(["--no-sandbox"] if os.geteuid() == 0 else [])):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(service=Service(shutil.which("chromedriver")), options=options)
    try:
        driver.set_page_load_timeout(60)
        yield Page(driver, platform.server()["http"].replace("http://", ""))
    finally:
        driver.quit()


@pytest.fixture
def page(embedded, tmp_path):
    with browser(embedded, tmp_path) as opened:
        yield opened


def row(number):
    return f'.version[data-version="{number}"]'
