"""The page in a real browser: it shows everything, says nothing in the console, fits phone and desk, obeys keys."""

from __future__ import annotations

import base64
import re

import pytest

from browsing import complaints, open_page, set_media, set_script, set_width
from edge_dendrite.report.boards import build_boards_report
from edge_dendrite.report.html import render_boards_html, render_html
from edge_dendrite.report.rows import build_report
from full_study import make_full_study, make_history

pytestmark = pytest.mark.needs("chromium")

HOSTILE_NAME = 'kws-dense <script>document.title = "taken over"</script>'


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The address of the page of one board, and of that of two."""
    folder = tmp_path_factory.mktemp("pages")
    study = make_full_study(2, 300)
    study[0]["bundle"]["name"] = HOSTILE_NAME
    study[3]["invalid"] = ["throttled during the run: cooling device fan went from 0 to 1; cool it"]
    report = build_report(study, title="Keywords", history=make_history(), provenance={"seed": "0"})
    (folder / "report.html").write_text(render_html(report), "utf-8")
    groups = {board: make_full_study(2, 100, board) for board in ("Nano", "Orin")}
    boards = build_boards_report(groups, title="Two boards")
    (folder / "boards.html").write_text(render_boards_html(boards), "utf-8")
    return {"report": (folder / "report.html").as_uri(), "boards": (folder / "boards.html").as_uri()}


@pytest.fixture
def page(browser, pages):
    # Lines of the console that an earlier test did not read are not this one's.
    browser.get_log("browser")
    set_media(browser)
    set_width(browser, 1280)
    return pages["report"]


def press(browser, *keys):
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(browser).send_keys(*keys).perform()


def hover(browser, element):
    from selenium.webdriver.common.action_chains import ActionChains

    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
    ActionChains(browser).move_to_element(element).perform()


def find(browser, selector):
    return browser.find_elements("css selector", selector)


def tip_text(browser):
    """What the tooltip says, or None where there is none; it never leaves the window."""
    (tip,) = find(browser, "#tip")
    if not tip.is_displayed():
        return None
    box = browser.execute_script("return arguments[0].getBoundingClientRect().toJSON()", tip)
    size = browser.execute_script("return [document.documentElement.clientWidth, innerHeight]")
    assert box["left"] >= 0
    assert box["top"] >= 0
    assert box["right"] <= size[0]
    assert box["bottom"] <= size[1]
    return tip.get_attribute("textContent")


def selected(browser):
    return [tab.get_attribute("aria-controls") for tab in find(browser, "[role=tab][aria-selected=true]")]


@pytest.mark.parametrize("which", ["report", "boards"])
@pytest.mark.parametrize("width", [390, 1280])
def test_everything_fits_and_nothing_is_in_the_console(browser, page, pages, which, width):
    set_width(browser, width)
    open_page(browser, pages[which])
    for tab in find(browser, "[role=tab]") or [None]:
        if tab:
            tab.click()
        pictures = [picture for picture in find(browser, "svg") if picture.is_displayed()]
        assert pictures
        for picture in pictures:
            assert picture.rect["width"] > 250
            assert picture.rect["height"] > 150
            assert picture.rect["x"] >= 0
            assert picture.rect["x"] + picture.rect["width"] <= width
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.title == {"report": "Keywords", "boards": "Two boards"}[which]
    assert complaints(browser) == []


def test_the_page_has_all_its_parts(browser, page):
    open_page(browser, page)
    assert len(find(browser, "#networks tbody tr")) == 4
    assert len(find(browser, "#state tbody tr")) == 8
    assert len(find(browser, "figure svg")) >= 5
    for link in find(browser, "nav.sections a"):
        assert len(find(browser, link.get_attribute("hash"))) == 1


def test_the_table_scrolls_in_its_own_region_and_keeps_the_names_in_sight(browser, page):
    set_width(browser, 390)
    open_page(browser, page)
    (region,) = find(browser, "#networks .scroll")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", region)
    sizes = browser.execute_script("return [arguments[0].scrollWidth, arguments[0].clientWidth]", region)
    assert sizes[0] > sizes[1]
    browser.execute_script("arguments[0].scrollLeft = 200", region)
    left = region.rect["x"]
    for cell in find(browser, "#networks th:first-child"):
        assert cell.rect["x"] == pytest.approx(left, abs=2)
        assert cell.rect["width"] < 0.5 * 390


# ---- Tabs


def test_tabs_by_mouse(browser, page):
    open_page(browser, page)
    tabs = find(browser, "[role=tab]")
    assert [tab.text.split()[0] for tab in tabs[:2]] == ["Networks", "Latency"]
    assert selected(browser) == ["pictures-networks"]
    tabs[1].click()
    assert selected(browser) == ["pictures-latency"]
    assert [panel.get_attribute("id") for panel in shown_panels(browser)] == ["pictures-latency"]
    assert browser.current_url.endswith("#pictures-latency")


def shown_panels(browser):
    """Panels whose pictures take room; the picture of a hidden one is not displayed."""
    return [panel for panel in find(browser, "[role=tabpanel]") if panel.get_attribute("hidden") is None]


def test_tabs_by_keys(browser, page):
    from selenium.webdriver.common.keys import Keys

    open_page(browser, page)
    names = [tab.get_attribute("aria-controls") for tab in find(browser, "[role=tab]")]
    browser.execute_script("document.querySelector('[role=tab]').focus()")
    walk = [
        (Keys.ARROW_RIGHT, names[1]),
        (Keys.END, names[-1]),
        (Keys.ARROW_RIGHT, names[0]),
        (Keys.ARROW_LEFT, names[-1]),
        (Keys.HOME, names[0]),
    ]
    for key, name in walk:
        press(browser, key)
        assert selected(browser) == [name]
        assert browser.switch_to.active_element.get_attribute("id") == f"{name}-tab"
    # One stop of Tab for all tabs; the next is in the panel, or the panel where it has none.
    press(browser, Keys.TAB)
    inside = "return document.activeElement.closest('[role=tabpanel]').id"
    assert browser.execute_script(inside) == names[0]


def test_the_address_opens_a_tab(browser, page):
    open_page(browser, f"{page}#pictures-training")
    assert selected(browser) == ["pictures-training"]
    browser.execute_async_script("setTimeout(arguments[0], 100)")
    # The tabs stand below the bar of sections, not under it.
    bar_end = browser.execute_script("return document.querySelector('.sections').getBoundingClientRect().bottom")
    assert browser.execute_script("return document.querySelector('.tablist').getBoundingClientRect().top") >= bar_end
    browser.execute_script("location.hash = 'pictures-latency-1'")
    browser.execute_async_script("setTimeout(arguments[0], 100)")
    assert selected(browser) == ["pictures-latency"]
    browser.execute_script("location.hash = '%E0%A4%A'")
    open_page(browser, f"{page}#%E0%A4%A\"'<x>")
    assert selected(browser) == ["pictures-networks"]
    assert complaints(browser) == []


def test_tabs_and_panels_name_each_other(browser, page):
    open_page(browser, page)
    for tab in find(browser, "[role=tab]"):
        (panel,) = find(browser, f"#{tab.get_attribute('aria-controls')}")
        assert panel.get_attribute("role") == "tabpanel"
        assert panel.get_attribute("aria-labelledby") == tab.get_attribute("id")


def test_the_search_of_the_browser_finds_what_other_tabs_hold(browser, page):
    open_page(browser, page)
    browser.execute_script("document.getElementById('pictures-training').dispatchEvent(new Event('beforematch'))")
    assert selected(browser) == ["pictures-training"]


def test_without_script_everything_stands_one_below_the_other(browser, page):
    set_script(browser, enabled=False)
    try:
        open_page(browser, page)
        assert find(browser, "[role=tab]") == []
        assert all(picture.is_displayed() for picture in find(browser, "figure svg"))
        assert len(find(browser, "#networks td[title]")) > 0
        assert len(find(browser, "svg [data-tip] > title")) > 0
        assert complaints(browser) == []
    finally:
        set_script(browser, enabled=True)


# ---- Tooltips


def test_tooltips_by_pointer(browser, page):
    open_page(browser, f"{page}#pictures-latency")
    assert tip_text(browser) is None
    cell = find(browser, "#networks td[data-tip]")[0]
    hover(browser, cell)
    assert tip_text(browser) == cell.get_attribute("data-tip")
    # The first picture's: marks of others may lie below each other, and the pointer finds the upper one.
    mark = find(browser, "#pictures-latency figure")[0].find_elements("css selector", "svg [data-tip]")[-1]
    hover(browser, mark)
    assert tip_text(browser) == mark.get_attribute("data-tip")
    hover(browser, find(browser, "#pictures-latency figcaption")[0])
    browser.execute_async_script("setTimeout(arguments[0], 400)")
    assert tip_text(browser) is None


def test_tooltips_by_keys(browser, page):
    from selenium.webdriver.common.keys import Keys

    open_page(browser, page)
    browser.execute_script("document.querySelector('[role=tab]').focus()")
    press(browser, Keys.TAB)
    mark = browser.switch_to.active_element
    assert mark.get_attribute("data-tip") == tip_text(browser)
    assert mark.get_attribute("aria-label") == tip_text(browser)
    holder = browser.execute_script("return arguments[0].closest('svg')", mark)
    tips = [element.get_attribute("data-tip") for element in holder.find_elements("css selector", "[data-tip]")]
    for key, at in ((Keys.ARROW_RIGHT, 1), (Keys.ARROW_DOWN, 2), (Keys.ARROW_LEFT, 1), (Keys.END, -1), (Keys.HOME, 0)):
        press(browser, key)
        assert tip_text(browser) == tips[at]
    press(browser, Keys.ESCAPE)
    assert tip_text(browser) is None
    # A picture is one stop of Tab.
    press(browser, Keys.TAB)
    assert not browser.execute_script("return arguments[0].contains(document.activeElement)", holder)


def test_tooltips_of_a_table_by_keys(browser, page):
    from selenium.webdriver.common.keys import Keys

    open_page(browser, page)
    browser.execute_script("document.querySelector('#networks .scroll').focus()")
    press(browser, Keys.TAB)
    first = browser.switch_to.active_element
    assert first.tag_name == "th"
    assert tip_text(browser) == first.get_attribute("data-tip")
    assert first.get_attribute("aria-describedby") == "tip"
    assert first.get_attribute("title") in (None, "")
    press(browser, Keys.ARROW_DOWN)
    below = browser.switch_to.active_element
    assert below.tag_name == "th"
    assert below != first
    assert first.get_attribute("aria-describedby") is None
    press(browser, Keys.ARROW_RIGHT)
    assert browser.switch_to.active_element.tag_name == "td"


def test_tooltips_by_touch(browser, page):
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    set_width(browser, 390)
    try:
        open_page(browser, page)
        cell = find(browser, "#networks th[data-tip]")[0]
        browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", cell)
        box = browser.execute_script("return arguments[0].getBoundingClientRect().toJSON()", cell)
        tap(browser, box["left"] + 20, box["top"] + 10)
        assert tip_text(browser) == cell.get_attribute("data-tip")
        tap(browser, 200, 5)
        assert tip_text(browser) is None
    finally:
        browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})


def tap(browser, x, y):
    browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    browser.execute_async_script("setTimeout(arguments[0], 400)")


# ---- Keys, names, motion


def test_the_whole_page_by_tab_alone(browser, page):
    """Every stop is seen, shows where it is, lies under no bar, and none is a trap."""
    from selenium.webdriver.common.keys import Keys

    open_page(browser, page)
    stops = []
    for _ in range(80):
        press(browser, Keys.TAB)
        browser.execute_async_script("setTimeout(arguments[0], 30)")
        stop = browser.execute_script(
            "const e = document.activeElement; if (e === document.body) return null;"
            "e.scrollIntoView({block: 'nearest', behavior: 'instant'});"
            "const box = e.getBoundingClientRect(), style = getComputedStyle(e);"
            "return [e.tagName.toLowerCase() + '.' + (e.id || e.getAttribute('href') || e.dataset.tip || ''),"
            "  style.outlineStyle, parseFloat(style.outlineWidth), box.bottom, box.width]"
        )
        if stop is None:
            break
        stops.append(stop)
        assert stop[1] == "solid", stop
        assert stop[2] >= 2, stop
        assert stop[3] > 0, stop
    assert 15 < len(stops) < 80
    assert stops[0][0] == "a.#main"
    assert sum(name.startswith("button.") for name, *_ in stops) == 1


def test_the_skip_link_leads_past_the_navigation(browser, page):
    from selenium.webdriver.common.keys import Keys

    open_page(browser, page)
    press(browser, Keys.TAB)
    (link,) = find(browser, ".skip")
    assert browser.switch_to.active_element == link
    assert link.rect["y"] >= 0
    press(browser, Keys.ENTER)
    press(browser, Keys.TAB)
    assert not browser.execute_script("return document.activeElement.closest('nav')")


@pytest.mark.parametrize("which", ["report", "boards"])
def test_landmarks_and_names(browser, page, pages, which):
    open_page(browser, pages[which])
    nodes = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    seen = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]
    roles = [role for role, _ in seen]
    for role in ("banner", "main", "contentinfo", "navigation"):
        assert roles.count(role) == 1, role
    for role in ("navigation", "region", "tab", "tablist", "tabpanel", "figure", "link", "button", "table", "image"):
        assert all(name.strip() for found, name in seen if found == role), role
    pictures = [
        node for node in nodes if node["role"]["value"] in ("image", "group", "img") and node.get("description")
    ]
    assert len(pictures) >= 2
    assert all(len(node["description"]["value"]) > 40 for node in pictures)


def test_the_section_in_view_is_marked(browser, page):
    open_page(browser, page)
    browser.execute_script("document.getElementById('method').scrollIntoView({behavior: 'instant'})")
    browser.execute_async_script("setTimeout(arguments[0], 300)")
    (link,) = find(browser, ".sections a[aria-current]")
    assert link.get_attribute("hash") == "#method"
    (bar,) = find(browser, ".sections")
    top = browser.execute_script("return arguments[0].getBoundingClientRect().top", bar)
    assert top == 0
    heading = browser.execute_script("return document.querySelector('#method h2').getBoundingClientRect().top")
    assert heading >= bar.rect["height"]


@pytest.mark.parametrize(("motion", "behaviour"), [("reduce", "auto"), ("no-preference", "smooth")])
def test_who_wants_no_motion_gets_none(browser, page, motion, behaviour):
    set_media(browser, motion=motion)
    open_page(browser, page)
    script = "return getComputedStyle(document.documentElement).scrollBehavior"
    assert browser.execute_script(script) == behaviour
    moving = browser.execute_script(
        "return [...document.querySelectorAll('*')].filter(e => { const s = getComputedStyle(e);"
        "return s.animationName !== 'none' || parseFloat(s.transitionDuration) > 0 }).length"
    )
    assert moving == 0


# ---- Colours


@pytest.mark.parametrize("which", ["report", "boards"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_stand_out_from_what_is_behind_them(browser, page, pages, theme, which):
    set_media(browser, theme)
    set_script(browser, enabled=False)  # so that all pictures are there
    try:
        open_page(browser, pages[which])
        found = browser.execute_script(COLOURS)
    finally:
        set_script(browser, enabled=True)
    assert len(found) > 200
    low = [(text, *pair) for text, *pair in found if contrast(*pair) < 4.5]
    assert low == []


COLOURS = """
const found = [];
const solid = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
  if (!c.endsWith(', 0)')) return c; } return 'rgb(255, 255, 255)'; };
const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  const text = walk.currentNode.textContent.trim(), parent = walk.currentNode.parentElement;
  if (!text || ['SCRIPT', 'STYLE', 'title'].includes(parent.tagName)) continue;
  const style = getComputedStyle(parent);
  found.push([text.slice(0, 40), parent instanceof SVGElement ? style.fill : style.color, solid(parent)]);
}
return found;
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_marks_tooltip_and_focus_have_contrast(browser, page, theme):
    set_media(browser, theme)
    open_page(browser, page)
    names = ["s0", "s1", "s2", "s3", "s4", "s5", "ink", "muted", "gain", "cost", "even", "page", "card", "surface"]
    names += ["focus", "tip", "on-tip", "edge"]
    colours = browser.execute_script(
        "const style = getComputedStyle(document.documentElement), probe = document.body.appendChild("
        "document.createElement('p')); return arguments[0].map(n => {"
        "  probe.style.color = style.getPropertyValue('--' + n); return getComputedStyle(probe).color })",
        names,
    )
    colour = dict(zip(names, colours, strict=True))
    for name in names[:11]:
        for back in ("page", "card", "surface"):
            assert contrast(colour[name], colour[back]) >= 4.5, (name, back)
    assert contrast(colour["tip"], colour["on-tip"]) >= 4.5
    assert min(contrast(colour[name], colour["page"]) for name in ("focus", "edge")) >= 3


def contrast(colour, other):
    """The contrast ratio of WCAG 2 between two CSS colours of the form rgb(r, g, b)."""
    lighter, darker = sorted((luminance(colour), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour):
    shares = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [share / 12.92 if share <= 0.03928 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("which", ["report", "boards"])
def test_texts_of_a_picture_do_not_cover_each_other(browser, page, pages, which):
    set_script(browser, enabled=False)
    try:
        open_page(browser, pages[which])
        boxes_of_pictures = browser.execute_script(
            "return [...document.querySelectorAll('svg')].map(svg => [...svg.querySelectorAll('text')].map(text => {"
            "  const box = text.getBoundingClientRect();"
            "  return [text.textContent, box.left, box.top, box.right, box.bottom] }))"
        )
    finally:
        set_script(browser, enabled=True)
    assert len(boxes_of_pictures) >= 2
    for boxes in boxes_of_pictures:
        for index, (text, *box) in enumerate(boxes):
            for other_text, *other in boxes[index + 1 :]:
                width = min(box[2], other[2]) - max(box[0], other[0])
                height = min(box[3], other[3]) - max(box[1], other[1])
                # Boxes of lines of text touch; letters do not, as long as no third of a line is shared.
                assert width <= 1 or height <= 6, (text, other_text)


# ---- Print


def test_print_has_the_pictures_of_all_tabs_and_no_controls(browser, page):
    open_page(browser, page)
    set_media(browser, "dark", media="print")
    shown = browser.execute_script(
        "return [...document.querySelectorAll('figure svg')].map(e => "
        "  e.checkVisibility({contentVisibilityAuto: true}) && e.getBoundingClientRect().height > 50)"
    )
    assert len(shown) == len(find(browser, "figure")) >= 5
    assert all(shown)
    for selector in (".sections", ".tablist", "#tip"):
        assert not find(browser, selector)[0].is_displayed()
    assert browser.execute_script("return getComputedStyle(document.body).color") == "rgb(27, 31, 36)"


def test_printing_gives_a_document_with_all_pictures(browser, page):
    open_page(browser, page)
    tagged = {"generateTaggedPDF": True, "printBackground": False}
    with_tabs = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", tagged)["data"])
    set_script(browser, enabled=False)
    try:
        open_page(browser, page)
        without = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", tagged)["data"])
    finally:
        set_script(browser, enabled=True)
    assert with_tabs.startswith(b"%PDF-")
    # The same pages as those of a page without tabs.
    assert num_pages(with_tabs) == num_pages(without) >= 3
    assert with_tabs.count(b"/S /Figure") == without.count(b"/S /Figure") >= 5


def num_pages(document):
    return len(re.findall(rb"/Type\s*/Page\b", document))
