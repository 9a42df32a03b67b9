#!/usr/bin/env python3
"""Pictures of the web page: its main views in light and dark, and on a phone, on a grid of its own with made-up content.

    screenshots.py OUT [--bin target/debug] [--only light,dark,phone] [--url URL]    writes OUT/VIEW-LIGHT.webp; needs selenium and Chromium

With --url it uses a running gateway (its address with the token) that has no aliases yet, and kills nothing.
"""
import argparse, base64, os, pathlib, re, signal, subprocess, sys, tempfile, time

from browser import browser
from selenium.webdriver.common.keys import Keys

NAMES = "anemone basalt cedar dune ember fjord granite heron iris juniper".split()
ZONES = ["attic", "cellar", "office"]
SEED = pathlib.Path(__file__).with_name("screenshots.js")

class Demo:
    """An introducer, ten servers in three zones, a client and its gateway."""
    def __init__(self, folder, program):
        self.folder, self.program, self.children = pathlib.Path(folder), program, {}
        self.log = open(self.folder / "log", "w")
        self.run("introducer", "init", f"{folder}/introducer", "--listen", "127.0.0.1:0")
        self.begin("introducer", "introducer", "run", f"{folder}/introducer")
        url = (self.folder / "introducer/introducer.url").read_text().strip()
        for number, name in enumerate(NAMES):
            self.run("server", "init", f"{folder}/{name}", "--introducer", url, "--listen", "127.0.0.1:0", "--nickname", name,
                     "--zone", ZONES[number % 3])
            self.begin(name, "server", "run", f"{folder}/{name}")
        self.run("--dir", f"{folder}/client", "init", "--introducer", url)
        for _ in range(200):
            status = subprocess.run([program, "--dir", f"{folder}/client", "status", "--json"], capture_output=True, text=True).stdout
            if len(re.findall(r'"connected": ?true', status)) >= len(NAMES):
                break
            time.sleep(0.2)
        self.begin("gateway", "--dir", f"{folder}/client", "gateway", "run", "--listen", "127.0.0.1:0")
        for _ in range(200):
            said = subprocess.run([program, "--dir", f"{folder}/client", "gateway", "url"], capture_output=True, text=True)
            if said.returncode == 0:
                break
            time.sleep(0.1)
        self.url = said.stdout.strip()

    def run(self, *args):
        subprocess.run([self.program, *args], check=True, stdout=self.log, stderr=self.log)

    def begin(self, name, *args):
        self.children[name] = subprocess.Popen([self.program, *args], stdout=self.log, stderr=self.log)

    def kill(self, name):
        self.children.pop(name).send_signal(signal.SIGKILL)

    def end(self):
        for child in self.children.values():
            child.kill()
        for child in self.children.values():
            child.wait()

def views(page, shot):
    """Goes through the page. The content is there."""
    page.run("location.hash = '#/'")
    page.sees("servers answer")
    shot("start")
    page.run("location.hash = '#/home'")
    page.sees("Letters", "#list")
    grid = page.find("#list")
    grid.send_keys("fi")
    grid.send_keys(Keys.SHIFT + Keys.ARROW_DOWN)
    shot("files")
    grid.send_keys(Keys.ESCAPE)
    page.run("location.hash = '#/home/Photos'")
    page.click("[data-deed=open]", "Blue hour")
    page.until("the picture", lambda: page.run("return document.querySelector('.stage img')?.naturalWidth > 0"))
    shot("preview")
    page.click("dialog button", "Where its shares are")
    page.sees("are needed", ".map-words")
    slider = page.find("#map-slider")
    for _ in range(4):
        slider.send_keys(Keys.ARROW_RIGHT)
    shot("map")
    page.run("document.querySelectorAll('dialog').forEach((one) => one.close())")
    page.click(".bar-left button", "Share")
    page.sees("Can read", "dialog")
    page.run("document.querySelectorAll('.share .cap').forEach((one) => { one.value = one.value.replace(/[a-z2-7]{20,}/g, (text) => text.slice(0, 8) + '…' + text.slice(-6)); })")
    page.run("document.querySelector('.share details.writes').open = true")
    page.run("document.querySelector('.share details.writes').scrollIntoView({ block: 'end' })")
    shot("share")
    page.run("document.querySelectorAll('dialog').forEach((one) => one.close())")

def grid_view(page, shot):
    """The grid page while something is on its way."""
    page.run("location.hash = '#/home'")
    page.sees("Letters", "#list")
    page.run_async(SEED.read_text() + "await stream(args[0]);", f"Recording {time.time_ns() % 1000}.flac")
    page.sees("MB/s", "#uploads")
    time.sleep(1.5)
    shot("uploading")
    page.run("location.hash = '#/:grid'")
    page.sees("You can still store")
    page.sees("Recording", ".transfers")
    page.run("for (const id of ['uploads', 'toasts']) document.getElementById(id).style.display = 'none'")
    time.sleep(1.5)
    shot("grid", 1200)
    page.run("for (const id of ['uploads', 'toasts']) document.getElementById(id).style.display = ''")
    if "to go" in page.text("#uploads"):
        page.click("#uploads button", "Cancel all")

def seed(page):
    """The first folder, and what is in it: drawn and written by the page itself."""
    page.sees("Make your first folder")
    page.click("button", "Create")
    page.sees("Nothing in here yet")
    page.run_async(SEED.read_text() + "await fill();")
    page.sees("files uploaded", "#uploads")
    page.click("#uploads button", "Clear")

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--bin", default="target/debug")
    parser.add_argument("--only", default="light,dark,phone")
    parser.add_argument("--url")
    asked = parser.parse_args()
    out = pathlib.Path(asked.out)
    out.mkdir(parents=True, exist_ok=True)
    kinds = {"light": {}, "dark": {"dark": True}, "phone": {"phone": True, "size": (390, 844)}}
    with tempfile.TemporaryDirectory(prefix="sarsen-pictures", dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        demo = None if asked.url else Demo(folder, f"{asked.bin}/sarsen")
        try:
            url = asked.url or demo.url
            for number, kind in enumerate(asked.only.split(",")):
                with browser(**kinds[kind]) as page:
                    def shot(view, height=None):
                        if height and kind != "phone":
                            page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": 1280, "height": height, "deviceScaleFactor": 1, "mobile": False})
                        time.sleep(0.7)
                        said = page.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "webp", "quality": 82})
                        (out / f"{view}-{kind}.webp").write_bytes(base64.b64decode(said["data"]))
                        if height and kind != "phone":
                            page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
                    page.open(url)
                    page.sees("Folders")
                    if number == 0:
                        seed(page)
                        if demo:
                            demo.kill("granite")
                    try:
                        views(page, shot)
                        grid_view(page, shot)
                    except BaseException:
                        page.driver.save_screenshot(str(out / "failed.png"))
                        raise
        finally:
            if demo:
                demo.end()

main()
