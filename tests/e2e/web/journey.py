"""A way through the web page in a real browser, on a real grid: upload, browse, rename, preview, share, and watch servers die.

    journey.py CONFIG.json     {"url": gateway with the token in the fragment, "folder": scratch, "pids": {server: process}}
"""
import json, os, pathlib, signal, struct, sys, time, zlib

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "misc"))
from browser import browser
from selenium.webdriver.common.keys import Keys

def picture(path, width, height):
    """A PNG of some colours."""
    rows = b"".join(b"\0" + bytes(value for x in range(width) for value in (x % 256, y % 256, 128)) for y in range(height))
    part = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b""))

def make_tree(folder):
    tree = folder / "stones & <b>bones"
    (tree / "deep" / "deeper").mkdir(parents=True)
    (tree / "empty").mkdir()
    picture(tree / "map.png", 320, 200)
    (tree / "notes.txt").write_text("Grey stones.\n<script>document.title = 'RAN'</script>\n")
    (tree / "deep" / "deeper" / "found.txt").write_text("here it is")
    (tree / "big.bin").write_bytes(os.urandom(3_000_000))
    for number in range(12):
        (tree / f"file {number}.txt").write_text(f"number {number}")
    return tree

def address(page):
    """What stands in the address and in the title, and everything that was asked for: none of it shows a cap or the token."""
    asked = page.run("return performance.getEntriesByType('resource').map((one) => one.name)")
    for text in [page.driver.current_url, page.driver.title, *asked]:
        assert "URI" not in text and "token=" not in text, text

def first_run(page, config):
    bare = config["url"].split("#")[0]
    page.open(bare)
    page.sees("Welcome to Sarsen")
    page.open(config["url"])
    page.sees("Make your first folder")
    # Where too few servers answer it says so before anybody tries, and until enough do.
    page.run("""
        window.real = fetch;
        const servers = Array.from({ length: 10 }, (_, at) => ({ answers: at < 3 }));
        window.fetch = (url, options) => (url === "/api/grid" ? Promise.resolve(Response.json({ servers, happy: 7, can_store: 0 })) : real(url, options));
        dispatchEvent(new HashChangeEvent("hashchange"));
    """)
    page.sees("3 of 10 servers answer. Too few to store anything: 7 are needed.", ".glance.bad")
    assert page.run("return document.querySelector('.welcome button').disabled")
    page.run("window.fetch = real")
    page.until("enough servers", lambda: page.text(".glance.bad") == "" and not page.run("return document.querySelector('.welcome button').disabled"))
    page.click("button", "Create")
    page.sees("Nothing in here yet")
    address(page)

def drop(page, path):
    """Drops a folder from elsewhere, as a person does."""
    files = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        page.driver.execute_cdp_cmd("Input.dispatchDragEvent", {"type": kind, "x": 500, "y": 400, "data": files})

def clear(page):
    """Takes what is uploaded off the queue, so that what is said there next is of what comes next."""
    page.click("#uploads button", "Clear")
    page.until("the queue is empty", lambda: page.run("return document.getElementById('uploads').hidden"))

def upload(page, tree):
    drop(page, tree)
    page.sees("16 files uploaded", "#uploads")
    clear(page)
    page.click("[data-deed=open]", tree.name)
    page.sees("file 11.txt")
    page.sees("17 entries")
    shown = page.text("#list")
    assert shown.index("file 2.txt") < shown.index("file 10.txt"), "numbers are ordered by value"
    page.driver.find_element("css selector", "#pick-files").send_keys(str(tree / "notes.txt"))
    page.sees("There is one of this name already", "#uploads")
    page.click(".upload button", "Replace")
    page.sees("1 file uploaded", "#uploads")
    clear(page)
    page.until("the empty folder", lambda: "empty" in page.text("#list"))

def browse(page):
    page.click("[data-deed=open]", "deep")
    page.click("[data-deed=open]", "deeper")
    page.click("[data-deed=open]", "found.txt")
    page.sees("here it is", ".stage pre")
    page.find("dialog").send_keys(Keys.ESCAPE)
    page.click(".crumbs a", "bones")
    page.sees("17 entries")
    page.find("#search").send_keys("FOUND", Keys.ENTER)
    page.sees("/deep/deeper", "dialog")
    page.find("dialog").send_keys(Keys.ESCAPE)
    page.find("#search").send_keys(Keys.ESCAPE)
    page.sees("17 entries")

def change(page):
    grid = page.find("#list")
    grid.send_keys("file 3", Keys.F2)
    field = page.find("dialog input")
    field.send_keys(Keys.CONTROL + "a")
    field.send_keys("third.txt", Keys.ENTER)
    page.sees("third.txt", "#list")
    grid.send_keys(Keys.DELETE)
    page.sees("Deleted “third.txt”")
    page.until("it is gone", lambda: "third.txt" not in page.text("#list"))
    page.click(".toast button", "Undo")
    page.sees("third.txt", "#list")
    page.click(".bar-left button", "Move")
    page.click(".picker button", "empty")
    page.sees("/ empty", ".picker-here")
    page.click("dialog button", "Move here")
    page.sees("Moved “third.txt”")
    page.until("it is gone", lambda: "third.txt" not in page.text("#list"))
    page.run("location.reload()")
    page.sees("16 entries")
    assert "file 3.txt" not in page.text("#list") and "third.txt" not in page.text("#list")
    page.click("[data-deed=open]", "empty")
    page.sees("third.txt", "#list")
    page.find("#list").send_keys(Keys.BACKSPACE)
    page.sees("16 entries")

def pick(page, *words):
    """Chooses these entries and no others, by their ticks. The whole cell is the target."""
    page.find("#list").send_keys(Keys.ESCAPE)
    for word in words:
        page.until(f"the tick of {word}", lambda: page.run("""
            const row = [...document.querySelectorAll('.rows .row')].find((one) => one.querySelector('.label').textContent === arguments[0]);
            row?.querySelector('.cell.tick').click();
            return row !== undefined;
        """, word))
    page.sees(f"{len(words)} chosen", ".count")

def copies(page):
    """Into a folder that is made on the way: Enter makes it, and does not copy yet."""
    pick(page, "file 4.txt", "file 5.txt")
    page.click(".bar-left button", "More for what is chosen")
    assert page.find(".bar-left [aria-expanded=true]").get_attribute("aria-label") == "More for what is chosen"
    page.click(".menu button", "Copy")
    page.click(".picker button", "empty")
    page.sees("/ empty", ".picker-here")
    page.find("dialog .inline input").send_keys("made here", Keys.ENTER)
    page.sees("/ empty / made here", ".picker-here")
    page.click("dialog button", "Copy here")
    page.sees("Copied 2 entries")
    page.until("the dialogue is closed", lambda: page.text("dialog") == "")
    page.sees("16 entries")
    page.find("#list").send_keys(Keys.ESCAPE)
    page.click("[data-deed=open]", "empty")
    page.click("[data-deed=open]", "made here")
    page.sees("2 entries", ".foot")
    page.sees("file 5.txt", "#list")

def deletes(page):
    """In a folder with two files: the keyboard goes on where they were; undo works from elsewhere; what is refused stays."""
    grid = page.find("#list")
    grid.send_keys(Keys.END, Keys.DELETE)
    page.until("it is gone", lambda: "file 5.txt" not in page.text("#list"))
    grid.send_keys(Keys.SPACE)
    page.sees("1 chosen", ".count")
    grid.send_keys(Keys.ENTER)
    page.sees("file 4.txt", "dialog .preview-name")
    page.find("dialog").send_keys(Keys.ESCAPE)
    page.run("history.back()")
    page.sees("made here", "#list")
    page.run("history.forward()")
    page.sees("1 entry", ".foot")
    page.click(".toast button", "Undo")
    page.sees("file 5.txt", "#list")
    page.run("""
        window.real = window.fetch;
        window.fetch = async (url, options) => {
            if (url !== "/api/delete") return real(url, options);
            const asked = JSON.parse(options.body);
            const answer = await (await real(url, { ...options, body: JSON.stringify({ ...asked, names: asked.names.slice(0, 1) }) })).json();
            return Response.json({ ...answer, problems: asked.names.slice(1).map((name) => ({ name, problem: { detail: "it is somebody's" } })) });
        };
    """)
    pick(page, "file 4.txt", "file 5.txt")
    page.find("#list").send_keys(Keys.DELETE)
    page.sees("Deleted “file 4.txt”")
    page.sees("file 5.txt: it is somebody's", ".toast[role=alert]")
    page.until("one of them is gone", lambda: "file 4.txt" not in page.text("#list") and "file 5.txt" in page.text("#list"))
    page.run("window.fetch = real; document.querySelectorAll('.toast').forEach((one) => one.remove())")
    page.find("#list").send_keys(Keys.ESCAPE, Keys.BACKSPACE)
    page.sees("made here", "#list")
    page.find("#list").send_keys(Keys.BACKSPACE)
    page.sees("16 entries")

def zips(page):
    """A zip of the whole folder names nobody."""
    page.run("""
        window.real = window.fetch;
        window.fetch = (url, options) => {
            if (url !== "/api/tickets") return real(url, options);
            window.asked = JSON.parse(options.body);
            return Promise.resolve(Response.json({ detail: "no zip today" }, { status: 503 }));
        };
    """)
    page.click(".bar-left button", "More for this folder")
    page.click(".menu button", "Download as zip")
    page.sees("no zip today")
    asked = page.run("window.fetch = real; document.querySelectorAll('.toast').forEach((one) => one.remove()); return asked")
    assert asked["as"] == "zip" and "names" not in asked, list(asked)

def uploads(page, folder):
    """Paused and taken up again, cancelled, and into a folder that is not there any more."""
    def speed(rate):
        page.driver.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": rate})
    page.driver.execute_cdp_cmd("Network.enable", {})
    files = [folder / f"slow {number}.bin" for number in range(2)]
    for path in files:
        path.write_bytes(os.urandom(2_000_000))
    speed(100_000)
    page.find("#search")
    page.driver.find_element("css selector", "#pick-files").send_keys("\n".join(map(str, files)))
    page.until("some of it is sent", lambda: page.run("return [...document.querySelectorAll('.upload.sending progress')].every((one) => one.value > 0.02)"))
    page.click(".upload button", "Cancel slow 1.bin")
    page.until("it is cancelled", lambda: "slow 1.bin" not in page.text("#uploads"))
    page.click(".upload button", "Pause slow 0.bin")
    page.sees("paused", ".upload.paused")
    sent = page.text(".upload.paused .upload-state")
    time.sleep(1)
    assert sent == page.text(".upload.paused .upload-state")
    speed(-1)
    page.click(".upload button", "Resume slow 0.bin")
    page.sees("1 file uploaded", "#uploads")
    page.sees("slow 0.bin", "#list")
    assert "slow 1.bin" not in page.text("#list")
    clear(page)
    (folder / "again" / "below").mkdir(parents=True)
    (folder / "again" / "below" / "one.txt").write_text("one")
    for _ in range(2):
        drop(page, folder / "again")
        page.sees("1 file uploaded", "#uploads")
        clear(page)
        page.sees("again", "#list")
        pick(page, "again")
        page.find("#list").send_keys(Keys.DELETE)
        page.until("it is gone", lambda: "again" not in page.text("#list"))
    pick(page, "slow 0.bin")
    page.find("#list").send_keys(Keys.DELETE)
    page.sees("16 entries")

def hurries(page, tree):
    """Whoever goes on to another folder before the first one is there sees that other one. Rows stay what they are while others change."""
    page.run("""
        window.real = window.fetch;
        let first = true;
        window.fetch = async (url, options) => {
            if (url !== "/api/aliases" || !first) return real(url, options);
            first = false;
            const answer = await (await real(url, { ...options, signal: undefined })).text();
            await new Promise((yes) => setTimeout(yes, 1000));
            window.late = true;
            return new Response(answer);
        };
        location.hash = "#/home";
    """)
    page.until("the first is on its way", lambda: page.driver.title.startswith("home"))
    page.run("location.hash = '#/home/' + encodeURIComponent(arguments[0])", tree.name)
    page.sees("16 entries")
    page.until("the first is there", lambda: page.run("return window.late === true"))
    time.sleep(0.5)
    page.sees("16 entries")
    assert page.text("h1") == tree.name
    page.run("window.fetch = real; window.kept = document.getElementById('row-3')")
    page.find("#list").send_keys(Keys.HOME, Keys.ARROW_DOWN)
    assert page.run("return kept.isConnected && kept.id === 'row-3'")
    page.click("#row-3 .tools button")
    for key in (Keys.ESCAPE, Keys.ARROW_DOWN):
        page.driver.switch_to.active_element.send_keys(key)
    assert page.find("#list").get_attribute("aria-activedescendant") == "row-4", "after a menu the keys go on"
    page.find("#list").send_keys(Keys.ESCAPE)

def look(page):
    page.click("[data-deed=open]", "map.png")
    page.until("the picture", lambda: page.run("return document.querySelector('.stage img')?.naturalWidth") == 320)
    page.find("dialog").send_keys(Keys.ARROW_RIGHT)
    page.sees("Grey stones.\n<script>", ".stage pre")
    page.find("dialog").send_keys(Keys.ESCAPE)
    assert page.driver.title != "RAN"

def share(page):
    page.click(".bar-left button", "Share")
    page.sees("Can read", "dialog")
    caps = page.run("return [...document.querySelectorAll('.cap')].map((one) => [one.value, one.checkVisibility(), one.closest('.writes') !== null])")
    assert caps[0][1] and not caps[0][2] and caps[0][0].startswith("URI:DIR2-RO:"), caps[0][1:]
    assert all(writes and not visible for cap, visible, writes in caps if cap.startswith("URI:DIR2:")), "what writes is marked, and not shown at first"
    page.click("dialog button", "QR code")
    page.until("the code", lambda: page.run("return document.querySelector('.qr img')?.naturalWidth > 0"))
    page.find("dialog").send_keys(Keys.ESCAPE)
    return caps[0][0]

def open_cap(page, cap):
    page.run("location.hash = '#/'")
    page.find(".open-cap input").send_keys(cap, Keys.ENTER)
    page.sees("16 entries")
    page.sees("read only", ".toolbar")
    page.sees("Opened by cap", ".crumbs")
    assert not page.run("return [...document.querySelectorAll('.bar-left button')].some((one) => one.textContent.includes('Upload'))")
    address(page)

def watch(page, pids):
    """The map is alive: servers that are killed show, and so does the moment when too few are left."""
    page.find("#list").send_keys("big", Keys.SHIFT + Keys.F10)
    page.run("window.real = fetch; window.fetch = (url, options) => { if (url === '/api/map') window.asked = JSON.parse(options.body).where; return real(url, options); }")
    page.click(".menu button", "Where it is")
    page.sees("10 of 10 shares can be reached, 3 are needed", ".map-words")
    assert page.run("return asked.path.length === 0 && asked.cap.startsWith('URI:CHK:')"), "no folder on the way is needed"
    page.find("#map-slider").send_keys(Keys.END)
    page.sees("Not readable: 0 of 10", ".map-words")
    page.find("#map-slider").send_keys(Keys.HOME)
    page.sees("7 more servers may fail", ".map-words")
    names = sorted(pids)
    for name in names[:3]:
        os.kill(pids[name], signal.SIGKILL)
    page.sees("7 of 10 shares can be reached", ".map-words")
    assert page.run("return document.querySelectorAll('.knot.dead').length") == 3
    for name in names[3:8]:
        os.kill(pids[name], signal.SIGKILL)
    page.sees("Not readable: 2 of 10 shares can be reached", ".map-words")
    page.find("dialog").send_keys(Keys.ESCAPE)
    page.run("location.hash = '#/:grid'")
    page.sees("2 of 10", ".figure.bad")
    assert page.run("return document.activeElement.id") == "main"
    assert page.text(".state").count("no answer") == 8

def logic(page):
    """The parts without a page, held against what they are to say."""
    said = page.run_async("""
        const { verdict, sentence, remembering } = await import("/ui/mapmodel.js");
        const servers = ["a", "b", "c", "d"].map((id) => ({ id, name: id, answers: true }));
        const map = { k: 2, n: 4, servers, shares: [{ number: 0, servers: ["a"] }, { number: 1, servers: ["a"] }, { number: 2, servers: ["b", "c"] }, { number: 3, servers: ["d"] }] };
        const slot = { members: ["a", "b", "c"], quorum: 2, servers };
        const { bytes, duration, sortKey } = await import("/ui/format.js");
        const { toHeader, fromHeader } = await import("/ui/api.js");
        const off = (...ids) => new Set(ids);
        const silent = { ...map, servers: servers.map((one) => ({ ...one, answers: one.id !== "d" })), shares: map.shares.slice(0, 3) };
        return [remembering(silent, map).shares[3].servers[0], verdict(remembering(silent, map), off()).present, remembering(map, null).shares.length, verdict(map, off()).spare, verdict(map, off("a")).readable, verdict(map, off("a", "d")).readable, sentence(slot, off("a")), verdict(slot, off("a", "b")).readable,
                bytes(0), bytes(999), bytes(1000), bytes(1234567), duration(3725), sortKey("IMG 10") > sortKey("img 9"), fromHeader(toHeader({ name: "ä/ö 😀" })).name];
    """)
    want = ["d", 3, 4, 1, True, False, "Readable, but no further server may fail: 2 of 3 members of its slot can be reached, 2 are needed.", False,
            "0 B", "999 B", "1.0 kB", "1.2 MB", "1 h 2 min", True, "ä/ö 😀"]
    assert said == want, said
    said = page.run_async("""
        const { verdict, sentence, remembering, holders, aboutPieces } = await import("/ui/mapmodel.js");
        const servers = ["a", "b", "c", "d"].map((id) => ({ id, name: id, answers: true, pieces: id === "d" ? 2 : 5 }));
        const groups = [{ count: 3, k: 2, n: 3, holders: [[0], [1], [2]] }, { count: 2, k: 2, n: 3, holders: [[0, 3], [1, 3], [2]] }];
        const map = { k: 2, n: 3, servers, shares: [], pieces: { total: 5, looked_at: 5, closed: 0, groups } };
        const off = (...ids) => new Set(ids);
        const gone = { ...map, servers: servers.map((one) => ({ ...one, answers: one.id !== "a", pieces: one.id === "a" ? 0 : one.pieces })) };
        const twice = { k: 1, n: 1, servers, shares: [{ number: 0, servers: ["a", "b"] }] };
        const part = { pieces: { total: 9000, looked_at: 2000, closed: 1 } };
        return [sentence(map, off()), sentence(map, off("d")), sentence(map, off("a", "c")), sentence(map, off("a", "b", "c")), verdict(map, off("a", "c")).pieces.readable,
                holders(remembering(gone, map)).map((one) => one.pieces), sentence(remembering(gone, map), off()), verdict(twice, off()).spare, aboutPieces(part), aboutPieces({})];
    """)
    want = ["5 of 5 pieces readable. One more server may fail, whichever it is.", "5 of 5 pieces readable. One more server may fail, whichever it is.",
            "Not readable as a whole: 2 of 5 pieces readable.", "Not readable as a whole: 2 of 5 pieces readable.", 2,
            [5, 5, 5, 2], "5 of 5 pieces readable, but no further server may fail.", 1,
            ["2,000 of about 9,000 pieces looked at", "what hangs off 1 part of its index is not known"], []]
    assert said == want, said
    said = page.run_async("""
        const { Selection } = await import("/ui/selection.js");
        const { Listing } = await import("/ui/listing.js");
        const { pieces } = await import("/ui/pieces.js");
        const { summary } = await import("/ui/health.js");
        const shown = (...names) => names.map((name) => ({ name }));
        const one = new Selection(() => {});
        one.only(shown("a", "b", "c"), 1);
        const at = [one.at(shown("0", "a", "b", "c")), one.at(shown("a", "c")), one.at(shown("a", "b"))];
        for (const left of [shown("a", "c"), shown("a"), shown()]) { one.settle(left); at.push(one.at(left)); }
        one.all(shown("a", "b"));
        const all = [one.isAll(shown("a", "b")), one.isAll(shown("b", "c")), one.isAll([])];
        const listing = new Listing({ cap: "", path: [] });
        listing.done = true;
        const entry = (name, size) => ({ name, size, kind: "file" });
        listing.put([entry("b", 1), entry("a", 1), entry("d", 1)]);
        listing.put([entry("c", 1), entry("b", 2)]);
        listing.remove(["d", "x"]);
        const sizes = (names) => pieces(names).map((piece) => piece.length);
        const well = { unhealthy: 0, unrecoverable: 0, repaired: 0, unknown: 0, root_only: 0, bad_shares: 0, problems: [] };
        return [at, all, listing.shown.map((one) => one.name + one.size).join(" "), sizes([]), sizes(Array(25000).fill("n")), sizes(Array(3).fill("ä".repeat(200000))),
                summary(well), summary({ ...well, unknown: 2, root_only: 1 }), summary({ ...well, problems: [{}] })[1], summary({ ...well, bad_shares: 1, repaired: 1, problems: [{}] }), summary({ ...well, unrecoverable: 1 })[1]];
    """)
    want = [[2, -1, 1, 1, 0, -1], [True, False, False], "a1 b2 c1", [], [10000, 10000, 5000], [1, 1, 1],
            ["All of it is there.", "good"], ["It could not all be checked: 2 objects are of a kind that is not known here, of 1 large file or folder only the root was reached.", "thin"],
            "thin", ["All of it is there now: 1 object was repaired.", "good"], "bad"]
    assert said == want, said

def slices(page):
    """More names than a request may have go in several, one after the other, whatever is done with them; what fails stops the rest."""
    said = page.run_async("""
        const { moveTo } = await import("/ui/actions.js");
        const { onChange } = await import("/ui/changes.js");
        const real = window.fetch;
        const asked = [];
        window.fetch = async (url, options) => {
            if (url !== "/api/move") return real(url, options);
            const { names, from } = JSON.parse(options.body);
            asked.push([from.path[0] ?? "", names.length]);
            if (names.includes("entry 24999") && from.path[0] === "to") return Response.json({ detail: "that is enough" }, { status: 503 });
            return Response.json({ moved: names.slice(1), problems: [{ name: names[0], problem: { detail: "it is somebody's" } }] });
        };
        const [from, to] = [{ cap: "", path: ["from"] }, { cap: "", path: ["to"] }];
        const entries = Array.from({ length: 25000 }, (_, i) => ({ name: `entry ${i}`, kind: "file" }));
        const told = [];
        const end = new AbortController();
        for (const where of [from, to]) onChange(where, ({ removed, put }) => told.push(`${where.path[0]} -${removed?.length ?? 0} +${put?.length ?? 0}`), end.signal);
        document.querySelectorAll(".toast").forEach((one) => one.remove());
        const words = () => [...document.querySelectorAll(".toast > span")].map((one) => one.textContent);
        await moveTo({ where: from }, entries, to);
        const first = words();
        [...document.querySelectorAll(".toast button")].find((one) => one.textContent === "Undo").click();
        while (told.length < 4) await new Promise((yes) => setTimeout(yes, 10));
        window.fetch = real;
        end.abort();
        const all = [asked, told, first, words().at(-1)];
        document.querySelectorAll(".toast").forEach((one) => one.remove());
        return all;
    """)
    want = [[["from", 10000], ["from", 10000], ["from", 5000], ["to", 10000], ["to", 10000], ["to", 4997]],
            ["from -24997 +0", "to -0 +0", "to -19998 +0", "from -0 +19998"],
            ["Moved 24,997 entries to “to”.", "entry 0: it is somebody's So it is with 2 more entries."],
            "entry 1: it is somebody's So it is with 2 more entries."]
    assert said == want, said

def many(page):
    """100,000 entries: all there, few of them drawn, and the page never busy for long."""
    page.run("""
        const real = window.fetch;
        window.fetch = (url, options) => {
            if (url !== "/api/list" || !JSON.parse(options.body).where.path.includes("many")) return real(url, options);
            const text = new TextEncoder();
            let next = 0;
            return Promise.resolve(new Response(new ReadableStream({ pull(to) {
                if (next === 0) to.enqueue(text.encode('{"dir": {"writable": false}}\\n'));
                let lines = "";
                for (let i = 0; i < 2000; i += 1, next += 1) lines += JSON.stringify({ name: `file ${next * 7919 % 100000}`, kind: "file", size: next, modified: 1.7e9, cap: "", writable: false }) + "\\n";
                to.enqueue(text.encode(lines));
                if (next < 100000) return;
                to.enqueue(text.encode('{"end": true, "count": 100000}\\n'));
                to.close();
            } })));
        };
        window.longest = 0;
        new PerformanceObserver((list) => list.getEntries().forEach((one) => { longest = Math.max(longest, one.duration); })).observe({ type: "longtask" });
        location.hash = "#/home/" + "many";
    """)
    loads = []
    for _ in range(3):
        page.sees("100,000 entries")
        loads.append(page.run("return longest"))
        page.run("longest = 0; location.hash = '#/'")
        page.find("a.alias", "home")
        page.run("longest = 0; location.hash = '#/home/' + 'many'")
    page.sees("100,000 entries")
    loading = min(loads)
    page.driver.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
    passes = best_of(lambda: scrolled(page), lambda one: one["work"] < 25 and one["longest"] < 50)
    assert "file 99999" in page.text("#list")
    rows, longest, work = (min(one[part] for one in passes) for part in ("rows", "longest", "work"))
    print(f"100,000 entries: {rows} rows at most; the longest task took {loading:.0f} ms while they came; a frame of scrolling {work:.1f} ms, and at most {longest:.0f} ms")
    # Frames are counted in time of the processor. Tasks can be timed by the clock only, which runs for whatever else the machine does: of
    # them the best is taken, and the bar is several times what a quiet machine shows.
    assert rows < 100 and work < 25 and longest < 250, passes
    assert loading < 500, loads
    filters = min(best_of(lambda: filtered(page), lambda longest: longest < 50))
    print(f"filtering at a quarter of the speed: the longest task took {filters:.0f} ms")
    assert filters < 250, filters
    page.find("#list").send_keys(Keys.CONTROL + "a")
    page.sees("100,000 chosen", ".count")
    assert page.run("return document.querySelector('.bar-left').dataset.key.length") < 200
    page.find("#list").send_keys(Keys.ESCAPE)

def best_of(measure, good):
    """Measures until it is good: on a machine that is busy with something else, a while."""
    passes = []
    while len(passes) < 30 and not any(map(good, passes)):
        passes.append(measure())
    return passes

def filtered(page):
    """Filters and shows all again on a slow processor: the longest task, in milliseconds."""
    page.driver.execute_cdp_cmd("Emulation.setCPUThrottlingRate", {"rate": 4})
    took = page.run_async("""
        const field = document.getElementById("search");
        longest = 0;
        for (const [text, words] of [["99", "3,691 entries of 100,000,"], ["", "100,000 entries,"]]) {
            field.value = text;
            field.dispatchEvent(new Event("input"));
            while (!document.querySelector(".foot").textContent.startsWith(words)) await new Promise((yes) => setTimeout(yes, 20));
            await new Promise((yes) => setTimeout(yes, 200));
        }
        return longest;
    """)
    page.driver.execute_cdp_cmd("Emulation.setCPUThrottlingRate", {"rate": 1})
    return took

def scrolled(page):
    """Goes through the list from end to end: the most rows, the longest task, and the work of a frame, in milliseconds."""
    def worked():
        return next(one["value"] for one in page.driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"] if one["name"] == "TaskDuration") * 1000
    before = worked()
    said = page.run_async("""
        const list = document.getElementById("list");
        let rows = 0;
        longest = 0;
        for (let step = 0; step <= 100; step += 1) {
            list.scrollTop = list.scrollHeight * step / 100;
            await new Promise(requestAnimationFrame);
            rows = Math.max(rows, list.querySelectorAll(".row").length);
        }
        await new Promise((yes) => setTimeout(yes, 100));
        return { rows, longest };
    """)
    return {**said, "work": (worked() - before) / 101}

def main():
    config = json.loads(pathlib.Path(sys.argv[1]).read_text())
    tree = make_tree(pathlib.Path(config["folder"]))
    with browser() as page:
        try:
            first_run(page, config)
            logic(page)
            upload(page, tree)
            browse(page)
            change(page)
            copies(page)
            deletes(page)
            zips(page)
            uploads(page, pathlib.Path(config["folder"]))
            hurries(page, tree)
            look(page)
            address(page)
            slices(page)
            many(page)
            page.run("location.hash = '#/home/' + encodeURIComponent(arguments[0])", tree.name)
            page.sees("16 entries")
            open_cap(page, share(page))
            complaints = [line for line in page.complaints() if "409" not in line]
            assert complaints == [], complaints
            watch(page, config["pids"])
        except BaseException:
            page.driver.save_screenshot(str(pathlib.Path(config["folder"]) / "failed.png"))
            print(page.complaints(), file=sys.stderr)
            raise

main()
