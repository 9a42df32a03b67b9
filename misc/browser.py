"""Headless Chromium (Debian: chromium, chromium-driver), for misc/screenshots.py and the browser tests."""
import contextlib, os, sys, tempfile, time

from selenium import webdriver
from selenium.common.exceptions import JavascriptException, StaleElementReferenceException, WebDriverException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

PATIENCE = float(os.environ.get("SARSEN_PATIENCE", "60"))
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars", "--force-color-profile=srgb"]

@contextlib.contextmanager
def browser(dark=False, size=(1280, 860), phone=False, binary="/usr/bin/chromium", driver="/usr/bin/chromedriver"):
    """A browser with a profile of its own that goes with it."""
    if not all(map(os.path.exists, (binary, driver))):
        sys.exit(f"no {binary} or no {driver} (Debian: chromium, chromium-driver)")
    with tempfile.TemporaryDirectory(prefix="sarsen-browser") as profile:
        options = Options()
        options.binary_location = binary
        for flag in [*FLAGS, f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}"]:
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        one = webdriver.Chrome(options=options, service=Service(driver))
        try:
            one.set_script_timeout(PATIENCE)
            one.set_page_load_timeout(PATIENCE)
            features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}, {"name": "prefers-reduced-motion", "value": "reduce"}]
            one.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
            if phone:
                one.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": size[0], "height": size[1], "deviceScaleFactor": 2, "mobile": True})
            yield Page(one)
        finally:
            one.quit()

class Page:
    """What tests do with a page. Every wait ends."""
    def __init__(self, driver):
        self.driver = driver

    def open(self, url):
        self.driver.get(url)

    def run(self, script, *args):
        return self.driver.execute_script(script, *args)

    def run_async(self, script, *args):
        """Runs the body of an async function and gives what it returns."""
        body = "const done = arguments[arguments.length - 1]; const args = [...arguments].slice(0, -1);" \
               "(async () => {" + script + "})().then((value) => done({value}), (error) => done({error: String(error)}));"
        said = self.driver.execute_async_script(body, *args)
        if "error" in said:
            raise AssertionError(said["error"])
        return said.get("value")

    def until(self, what, so, patience=PATIENCE):
        """Waits until `so()` gives something, and gives that."""
        end = time.monotonic() + patience
        while True:
            try:
                if (value := so()):
                    return value
            except (StaleElementReferenceException, JavascriptException):
                pass
            if time.monotonic() > end:
                raise AssertionError(f"in vain: {what}\n{self.text()[-2000:]}")
            time.sleep(0.05)

    def text(self, selector="body"):
        return self.run("return [...document.querySelectorAll(arguments[0])].map((one) => one.innerText).join('\\n')", selector)

    def sees(self, words, selector="body"):
        return self.until(f"“{words}” in {selector}", lambda: words in self.text(selector))

    def find(self, selector, words=None):
        """The first visible element of this selector, with these words in its text or label."""
        def one():
            for element in self.driver.find_elements(By.CSS_SELECTOR, selector):
                if element.is_displayed() and (words is None or words in element.text or words in (element.get_attribute("aria-label") or "")):
                    return element
        return self.until(f"{selector} {words or ''}", one)

    def click(self, selector, words=None):
        def clicked():
            try:
                self.find(selector, words).click()
                return True
            except StaleElementReferenceException:
                return False
            except WebDriverException as error:
                if "intercepted" in str(error):
                    return False
                raise
        self.until(f"a click on {selector} {words or ''}", clicked)

    def complaints(self):
        """What the browser logged as errors since it was last asked."""
        return [line["message"] for line in self.driver.get_log("browser") if line["level"] == "SEVERE"]
