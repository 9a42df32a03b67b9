"""Addresses that somebody else made: a token that is not the right one, and caps that nobody asked for.

    links.py CONFIG.json     {"url": gateway with the token, "folder": scratch, "shared": cap of somebody's folder that can be written, "file": cap of a file}
"""
import json, pathlib, sys, urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "misc"))
from browser import browser

WRONG = "0" * 64

def visit(page, url):
    """Opens an address anew, as a link from another site does, in a tab that stays."""
    page.open("about:blank")
    page.open(url)

def calls(page):
    """What of the grid was asked for since the page was opened, but for what needs no cap."""
    names = page.run("return performance.getEntriesByType('resource').map((one) => new URL(one.name).pathname)")
    return [name for name in names if name.startswith(("/api/", "/t/", "/uri")) and name not in ("/api/aliases", "/api/grid")]

def tokens(page, config, base):
    """A wrong token is refused; one that works is not given up for it, neither in this tab nor for others."""
    visit(page, f"{base}/#token={WRONG}")
    page.sees("This token is not the right one")
    assert page.run("return sessionStorage.length + localStorage.length") == 0
    page.find(".welcome input[type=text]").send_keys(f"{base}/#token={WRONG}\n")
    page.sees("This token is not the right one.", ".welcome .wrong")
    visit(page, config["url"])
    page.find("a.alias", "home")
    page.click("#token")
    page.click(".menu button", "Keep the token in this browser")
    for wrong in (WRONG, "%0d%0aX: y", "", "%F0%9F%98%80"):
        visit(page, f"{base}/#token={wrong}")
        page.sees("The one from before stays")
        page.find("a.alias", "home")
        assert "token" not in page.driver.current_url
    page.run("sessionStorage.clear()")
    visit(page, base)
    page.find("a.alias", "home")

def asks(page, base, cap, words, path=""):
    """A cap in an address is asked about, and nothing of it is fetched before."""
    visit(page, f"{base}/#/{cap}{path}")
    page.sees("This link opens something that somebody shared")
    page.sees(words)
    assert calls(page) == [], calls(page)
    assert "URI" not in page.driver.current_url + page.driver.title and cap not in page.text()

def caps(page, base, config):
    asks(page, base, config["file"], "a file, to read")
    page.click("button", "Do not open it")
    page.find("a.alias", "home")
    assert calls(page) == [] and page.run("return Object.values({ ...sessionStorage }).every((value) => !value.includes('URI'))")
    asks(page, base, urllib.parse.quote(config["shared"], safe=""), "with the right to change what is in it", "/letters")
    page.sees("“letters”")
    page.run("location.reload()")
    page.sees("This link opens something")
    assert calls(page) == [], "whoever loads the page again has not agreed"
    page.click("button", "Open it")
    page.sees("secret plan", "#list")
    page.sees("Opened by cap", ".crumbs")
    # In this tab it has been opened: it is not asked about again, here or above.
    visit(page, f"{base}/#/{config['shared']}")
    page.sees("letters", "#list")
    # Titles stay in the history.
    for odd in ("uri:dir2:abc", "%20URI:nothing", "home/URI:DIR2:abc"):
        visit(page, f"{base}/#/{odd}")
        page.until("a page", lambda: page.text("main") != "")
        assert "uri" not in page.driver.title.lower(), odd

def own(page, base):
    """The cap of one's own folder leads there, under its name."""
    cap = page.run_async("const { get } = await import('/ui/api.js'); return (await get('aliases')).aliases.find((one) => one.name === 'home').cap")
    page.run("for (const key of Object.keys({ ...sessionStorage })) if (key !== 'token') sessionStorage.removeItem(key)")
    visit(page, f"{base}/#/{cap}")
    page.until("its own address", lambda: page.driver.current_url.endswith("#/home"))
    page.sees("Nothing in here yet")

    # The one that reads it is nobody else's either: it opens, and grants no more than it says.
    read = page.run_async("const { get } = await import('/ui/api.js'); return (await get('aliases')).aliases.find((one) => one.name === 'home').read")
    visit(page, f"{base}/#/{read}")
    page.sees("read only", ".bar-left")
    assert "URI" not in page.driver.current_url

def friend(page, base, config):
    """Who has no token opens a link that somebody gave away, by the field that comes first."""
    page.run("sessionStorage.clear(); localStorage.clear()")
    visit(page, base)
    page.sees("Open something shared with you")
    assert page.run("return document.querySelector('main input').closest('.open-cap') !== null")
    assert page.text(".sample") == f"{base}/#token=…", page.text(".sample")
    page.find(".open-cap input").send_keys("nothing\n")
    page.sees("There is no cap in that", ".open-cap .wrong")
    page.run("document.querySelector('.open-cap input').value = ''")
    page.find(".open-cap input").send_keys(f"http://127.0.0.1:1/#/{config['shared']}/letters\n")
    page.sees("secret plan", "#list")
    assert "URI" not in page.driver.current_url

def uploads(page, base, config):
    """Who puts something into somebody's folder is told so; into one's own nothing is said."""
    file = pathlib.Path(config["folder"]) / "private.txt"
    file.write_text("mine")
    for address, foreign in ((f"{base}/#/home", False), (f"{base}/#/{config['shared']}/letters", True)):
        visit(page, address)
        if foreign:
            page.click("button", "Open it")
        page.until("the folder", lambda: "Upload" in page.text(".bar-left"))
        page.driver.find_element("css selector", "#pick-files").send_keys(str(file))
        page.sees("1 file uploaded", "#uploads")
        said = page.text(".uploads-foreign")
        assert said == ("Into “Opened by cap / letters”, which is not below one of your folders: others can read it." if foreign else ""), said
        page.click("#uploads button", "Clear")

def scriptless(page, base, config):
    """Without script: the first page has a form for a cap, and from there all is links; on a phone too."""
    page.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": 390, "height": 800, "deviceScaleFactor": 2, "mobile": True})
    visit(page, base)
    page.find("noscript input").send_keys(config["shared"], "\n")
    page.click("a", "letters/")
    page.sees("secret plan")
    assert page.run("return document.documentElement.scrollWidth <= innerWidth"), "it fits"
    assert page.run("return getComputedStyle(document.body).maxWidth") == "960px", "it has its style"
    assert page.find("a", "Download secret plan").get_attribute("href").endswith("?save=true")
    page.find("input[type=file]").send_keys(str(pathlib.Path(config["folder"]) / "private.txt"))
    page.click("button", "Upload")
    page.click("a", "Top")
    page.click("a", "letters/")
    page.click("a", "private.txt")
    page.sees("mine")

def main():
    config = json.loads(pathlib.Path(sys.argv[1]).read_text())
    base = config["url"].split("/#")[0]
    with browser() as page:
        try:
            tokens(page, config, base)
            caps(page, base, config)
            own(page, base)
            uploads(page, base, config)
            friend(page, base, config)
            scriptless(page, base, config)
        except BaseException:
            page.driver.save_screenshot(str(pathlib.Path(config["folder"]) / "failed.png"))
            raise

main()
