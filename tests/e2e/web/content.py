"""What files hold, as a browser shows and saves it: sound, films, PDF, zips.

    content.py CONFIG.json     {"url": gateway with the token, "folder": scratch}
"""
import base64, io, json, math, os, pathlib, re, struct, sys, wave, zipfile

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "misc"))
from browser import browser
from selenium.webdriver.common.keys import Keys

def sound(path, seconds):
    """A tone."""
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, 8000, 0, "NONE", ""))
        out.writeframes(b"".join(struct.pack("<h", int(9000 * math.sin(at / 4))) for at in range(8000 * seconds)))

def paper(path):
    """A page of PDF with a line on it."""
    text = b"BT /F1 24 Tf 40 100 Td (READ ME) Tj ET"
    parts = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
             b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
             b"<</Length %d>>stream\n%s\nendstream" % (len(text), text), b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"]
    out, places = b"%PDF-1.4\n", []
    for number, part in enumerate(parts, 1):
        places.append(len(out))
        out += b"%d 0 obj%s\nendobj\n" % (number, part)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    path.write_bytes(out + b"xref\n0 6\n0000000000 65535 f \n" + table + b"trailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % len(out))

def film(page, path):
    """Two seconds of colours, filmed by the browser itself."""
    page.open("about:blank")
    text = page.run_async("""
        const canvas = Object.assign(document.createElement("canvas"), { width: 160, height: 120 });
        const brush = canvas.getContext("2d");
        const recorder = new MediaRecorder(canvas.captureStream(20), { mimeType: "video/webm;codecs=vp8" });
        const pieces = [];
        recorder.ondataavailable = ({ data }) => pieces.push(data);
        const ended = new Promise((yes) => { recorder.onstop = yes; });
        recorder.start();
        for (let step = 0; step < 40; step += 1) {
            brush.fillStyle = `hsl(${step * 9} 80% 50%)`;
            brush.fillRect(0, 0, 160, 120);
            await new Promise((yes) => setTimeout(yes, 50));
        }
        recorder.stop();
        await ended;
        const bytes = new Uint8Array(await new Blob(pieces).arrayBuffer());
        return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
    """)
    path.write_bytes(base64.b64decode(text))

def upload(page, *paths):
    page.driver.find_element("css selector", "#pick-files").send_keys("\n".join(map(str, paths)))
    page.sees(f"{len(paths)} file{'s' if len(paths) > 1 else ''} uploaded", "#uploads")
    page.click("#uploads button", "Clear")

def played(page, name, kind, seconds):
    """Opens the preview, waits for what the file says of itself, and goes to a place in it, forth and back."""
    page.click("[data-deed=open]", name)
    page.find(f".stage {kind}[controls]")
    said = page.run_async("""
        const media = document.querySelector(`.stage ${args[0]}`);
        if (media.readyState < 1) await new Promise((yes, no) => { media.onloadedmetadata = yes; media.addEventListener("error", () => no(new Error("it cannot be shown"))); });
        const places = [];
        for (const place of [args[1] * 0.8, args[1] * 0.2]) {
            const there = new Promise((yes) => media.addEventListener("seeked", yes, { once: true }));
            media.currentTime = place;
            await there;
            places.push(media.currentTime);
        }
        return { length: media.duration, places, width: media.videoWidth, url: media.currentSrc };
    """, kind, seconds)
    assert all(abs(one - seconds * part) < 0.1 for one, part in zip(said["places"], (0.8, 0.2))), said
    assert "/t/" in said["url"] and "URI" not in said["url"]
    page.find("dialog").send_keys(Keys.ESCAPE)
    return said

def head(page, url):
    return page.run_async("const answer = await fetch(args[0], { headers: { range: 'bytes=1-3' } }); return { status: answer.status, text: await answer.text(), ...Object.fromEntries(answer.headers) }", url)

def previews(page, scratch):
    said = played(page, "tone.wav", "audio", 30)
    assert said["length"] == 30
    answer = head(page, said["url"])
    assert (answer["status"], answer["text"], answer["content-type"]) == (206, "IFF", "audio/wav"), answer
    assert "sandbox" in answer["content-security-policy"]
    said = played(page, "film.webm", "video", 2)
    assert said["width"] == 160
    assert head(page, said["url"])["content-type"] == "video/webm"
    # Whether a headless browser draws PDF is its own affair: the frame is there, and what it loads may be framed by our page alone.
    page.click("[data-deed=open]", "paper.pdf")
    url = page.find(".stage iframe.paper").get_attribute("src")
    answer = head(page, url)
    assert (answer["status"], answer["text"], answer["content-type"]) == (206, "PDF", "application/pdf"), answer
    assert "frame-ancestors 'self'" in answer["content-security-policy"] and "default-src 'none'" in answer["content-security-policy"]
    assert answer["content-disposition"].startswith("inline") and answer["x-content-type-options"] == "nosniff"
    page.find("dialog").send_keys(Keys.ESCAPE)

def pieces(page):
    """The map of a file in chunks counts them all."""
    page.until("the file", lambda: "many.bin" in page.text("#list"))
    page.find("#list").send_keys("many", Keys.SHIFT + Keys.F10)
    page.click(".menu button", "Where it is")
    page.until("the pieces", lambda: (found := re.match(r"(\d+) of (\d+) pieces readable. 7 more", page.text(".map-words"))) and found[1] == found[2] and int(found[1]) > 8)
    page.find("#map-slider").send_keys(Keys.END)
    page.sees("Not readable: 0 of", ".map-words")
    page.find("dialog").send_keys(Keys.ESCAPE)

def tree(scratch):
    """What goes into the zip, by its name there."""
    files = {"a/notes.txt": b"Grey stones.\n", "a/b/empty": b"", "a/b/ä 😀.bin": os.urandom(70_000), "large.bin": os.urandom(3_000_000)}
    for name, data in files.items():
        path = scratch / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return files

def zips(page, scratch):
    files = tree(scratch)
    saved = scratch / "saved"
    saved.mkdir()
    page.driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(saved)})
    page.driver.find_element("css selector", "#pick-folder").send_keys(str(scratch / "tree"))
    page.sees("4 files uploaded", "#uploads")
    page.click("#uploads button", "Clear")
    page.click("[data-deed=open]", "tree")
    page.sees("2 entries", ".foot")
    def download(so):
        so()
        path = page.until("a download", lambda: next(saved.glob("*.zip"), None))
        data = path.read_bytes()
        path.unlink()
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            assert packed.testzip() is None
            return {one.filename: packed.read(one) for one in packed.infolist() if not one.is_dir()}
    def whole():
        page.click(".bar-left button", "More for this folder")
        page.click(".menu button", "Download as zip")
    def one():
        page.find("#list").send_keys("a", Keys.SHIFT + Keys.F10)
        page.click(".menu button", "Download as zip")
    assert download(whole) == files
    assert download(one) == {name: data for name, data in files.items() if name.startswith("a/")}

def main():
    config = json.loads(pathlib.Path(sys.argv[1]).read_text())
    scratch = pathlib.Path(config["folder"])
    sound(scratch / "tone.wav", 30)
    paper(scratch / "paper.pdf")
    with browser() as page:
        try:
            film(page, scratch / "film.webm")
            page.open(config["url"])
            page.click("a.alias", "home")
            page.until("the folder", lambda: "Upload" in page.text(".bar-left"))
            upload(page, *(scratch / name for name in ("tone.wav", "film.webm", "paper.pdf")))
            previews(page, scratch)
            pieces(page)
            zips(page, scratch)
            assert page.complaints() == []
        except BaseException:
            page.driver.save_screenshot(str(scratch / "failed.png"))
            raise

main()
