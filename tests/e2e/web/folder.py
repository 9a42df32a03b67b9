"""What a folder shows and does: names that play tricks, entries that are dragged.

    folder.py CONFIG.json     {"url": gateway with the token, "folder": scratch}
"""
import json, pathlib, sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "misc"))
from browser import browser
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

TRICKS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c\x07\x85\u2028"

def put(page, path, count=1):
    """Uploads a file by the button."""
    page.driver.find_element("css selector", "#pick-files").send_keys(str(path))
    page.sees(f"{count} file{'s' if count > 1 else ''} uploaded", "#uploads")
    page.click("#uploads button", "Clear")
    page.until("the queue is empty", lambda: page.run("return document.getElementById('uploads').hidden"))

def folder(page, name):
    """Makes a folder."""
    page.click(".bar-left button", "New folder")
    page.find("dialog input").send_keys(name, Keys.ENTER)
    page.until(f"the folder {name}", lambda: name in page.text("#list"))

def honest(page, what):
    """Nothing that is seen or heard turns its direction about or cannot be seen."""
    found = page.run("""
        const tricks = new RegExp(`[${arguments[0]}]`);
        const out = [document.title].filter((one) => tricks.test(one));
        for (const one of document.querySelectorAll("body *")) {
            for (const node of one.childNodes) if (node.nodeType === 3 && tricks.test(node.data)) out.push(node.data);
            for (const name of ["title", "aria-label", "alt", "placeholder"]) if (tricks.test(one.getAttribute(name) ?? "")) out.push(`${one.tagName} ${name}`);
        }
        return out;
    """, TRICKS)
    assert found == [], (what, found)

def names(page, scratch):
    bad = "report\u202egpj.exe"
    shown = "report⟨U+202E⟩gpj.exe"
    (scratch / bad).write_text("no picture")
    put(page, scratch / bad)
    page.sees(shown, "#list")
    honest(page, "the list")
    assert page.run("return getComputedStyle([...document.querySelectorAll('.rows .label')].find((one) => one.textContent.includes('gpj'))).unicodeBidi") == "isolate"
    page.click("[data-deed=open]", shown)
    page.sees("no picture", ".stage pre")
    page.sees(shown, ".preview-name")
    honest(page, "a preview")
    page.find("dialog").send_keys(Keys.ESCAPE)
    for key, words in ((Keys.F2, "signs in it that cannot be seen"), (Keys.SHIFT + Keys.F10, "Share")):
        page.find("#list").send_keys("rep", key)
        page.sees(words)
        honest(page, words)
        page.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    page.find("#search").send_keys("gpj", Keys.ENTER)
    page.sees(shown, ".results")
    honest(page, "results")
    page.find("dialog").send_keys(Keys.ESCAPE)
    page.find("#search").send_keys(Keys.ESCAPE)
    page.find("#list").send_keys("rep", Keys.DELETE)
    page.sees(f"Deleted “{shown}”")
    assert page.run("return document.querySelector('.toast bdi').textContent") == shown, "the name has a direction of its own in the sentence"
    honest(page, "a message")
    page.click(".toast button", "Undo")
    page.sees(shown, "#list")
    # A folder of such a name: in the address it stands as it is, and in what is seen it does not.
    made = page.run_async("""
        const { get, post } = await import("/ui/api.js");
        const cap = (await get("aliases")).aliases.find((one) => one.name === "home").cap;
        return (await post("mkdir", { where: { cap, path: [] }, name: args[0] })).name;
    """, "tricks " + TRICKS)
    page.run("location.hash = '#/home/' + encodeURIComponent(arguments[0])", made)
    page.sees("Nothing in here yet")
    assert "⟨U+202E⟩" in page.text(".crumbs") and "⟨U+2028⟩" in page.driver.title
    honest(page, "crumbs and title")
    page.run("history.back()")
    page.sees(shown, "#list")
    honest(page, "the list again")

def nicknames(page):
    said = page.run_async("""
        const { nicknames, middle } = await import("/ui/format.js");
        const names = ["oak (aaaaaaaa)", "ash (bbbbbbbb)", "ash (cccccccc)", "oak (aaaaaaaa) (dddddddd)", `${"long".repeat(20)} (eeeeeeee)`, "a\\u202eb (ffffffff)", "gggggggg"];
        return [...nicknames(names.map((name, id) => ({ id, name }))).values(), middle("😀".repeat(30), 10), middle("short", 5)];
    """)
    assert said == ["oak", "ash (bbbbbbbb)", "ash (cccccccc)", "oak (aaaaaaaa) (dddddddd)", "longlonglonglonglon…g (eeeeeeee)", "a⟨U+202E⟩b", "gggggggg",
                    "😀😀😀😀…😀😀😀😀😀", "short"], said

def drag(page, names, to, selector="#list .row"):
    """Drags what is chosen, by the last of these names, onto something, with a mouse as a person does."""
    for name in names if len(names) > 1 else []:
        page.run("[...document.querySelectorAll('.rows .row')].find((one) => one.querySelector('.label').textContent === arguments[0]).querySelector('.tick').click()", name)
    start, end = page.find(".rows .row", names[-1]), page.find(selector, to)
    ActionChains(page.driver).click_and_hold(start).move_by_offset(5, 5).move_to_element(end).move_by_offset(3, 3).release().perform()

def dragging(page, scratch):
    for name in ("box", "lid"):
        folder(page, name)
    for name in ("one.txt", "two.txt", "three.txt"):
        (scratch / name).write_text(name)
        put(page, scratch / name)
    listed = lambda: page.text(".rows .label").split("\n")
    # One that is not chosen is dragged alone.
    drag(page, ["three.txt"], "box")
    page.sees("Moved “three.txt” to “box”")
    page.until("it is gone", lambda: "three.txt" not in listed())
    page.click(".toast button", "Undo")
    page.until("it is back", lambda: "three.txt" in listed())
    # Of those that are chosen, all go; a folder onto another one; onto itself or a file nothing goes.
    drag(page, ["one.txt", "lid", "two.txt"], "box")
    page.sees("Moved 3 entries to “box”")
    page.until("they are gone", lambda: not {"one.txt", "two.txt", "lid"} & set(listed()))
    for onto in ("three.txt", "box"):
        drag(page, ["box"], onto)
    assert page.run("return document.querySelector('[data-drop]')") is None
    page.click("[data-deed=open]", "box")
    page.sees("3 entries", ".foot")
    assert listed() == ["lid", "one.txt", "two.txt"]
    drag(page, ["one.txt"], "home", ".crumbs a")
    page.sees("Moved “one.txt” to the top folder")
    page.until("it is gone", lambda: listed() == ["lid", "two.txt"])
    drag(page, ["two.txt"], "box", ".crumbs a")
    page.run("history.back()")
    page.until("above", lambda: {"box", "one.txt", "three.txt"} <= set(listed()))
    assert "two.txt" not in listed() and page.text(".toast.bad") == ""

def main():
    config = json.loads(pathlib.Path(sys.argv[1]).read_text())
    scratch = pathlib.Path(config["folder"])
    with browser() as page:
        try:
            page.open(config["url"])
            page.click("a.alias", "home")
            page.until("the folder", lambda: "Upload" in page.text(".bar-left"))
            nicknames(page)
            names(page, scratch)
            dragging(page, scratch)
            assert page.complaints() == []
        except BaseException:
            page.driver.save_screenshot(str(scratch / "failed.png"))
            raise

main()
