"""The page in a real browser: it shows everything, says nothing in the console, and fits phone and desk."""

from __future__ import annotations

import shutil

import pytest

from edge_dendrite.report.html import render_html
from edge_dendrite.report.rows import build_report

pytestmark = pytest.mark.needs("chromium")

ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (extra: dev)")
    from selenium.webdriver.chrome.service import Service

    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("chromium or chromedriver is not on this machine")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in (*ARGUMENTS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(driver))
    yield started
    started.quit()


@pytest.fixture
def page(browser, tmp_path, study, history):
    study[0]["bundle"]["name"] = 'digits-dense <script>document.title = "taken over"</script>'
    # Lines of the console that an earlier test did not read are not this one's.
    browser.get_log("browser")
    path = tmp_path / "report.html"
    path.write_text(render_html(build_report(study, title="Digits", history=history)), "utf-8")
    return path.as_uri()


def set_width(browser, width):
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def set_theme(browser, theme):
    features = [{"name": "prefers-color-scheme", "value": theme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


@pytest.mark.parametrize("width", [390, 1280])
def test_everything_is_visible_and_fits(browser, page, width):
    set_width(browser, width)
    browser.get(page)
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    assert browser.title == "Digits"
    assert len(browser.find_elements("css selector", "#networks tbody tr")) == 4
    assert len(browser.find_elements("css selector", "#state tbody tr")) == 16
    pictures = browser.find_elements("css selector", "svg")
    assert len(pictures) == 6
    for picture in pictures:
        assert picture.is_displayed()
        assert picture.rect["width"] > 250
        assert picture.rect["height"] > 150
        assert picture.rect["x"] >= 0
        assert picture.rect["x"] + picture.rect["width"] <= width
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_of_pictures_stand_out_from_the_background(browser, page, theme):
    set_theme(browser, theme)
    browser.get(page)
    colours = browser.execute_script(
        "const back = getComputedStyle(document.querySelector('figure')).backgroundColor;"
        "return [...document.querySelectorAll('svg text')].map(e => [getComputedStyle(e).fill, back])"
    )
    assert len(colours) > 50
    assert min(contrast(*pair) for pair in map(tuple, colours)) >= 4.5


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_marks_of_pictures_have_contrast(browser, page, theme):
    set_theme(browser, theme)
    browser.get(page)
    colours = browser.execute_script(
        "const style = getComputedStyle(document.documentElement);"
        "const back = getComputedStyle(document.querySelector('figure')).backgroundColor;"
        "const probe = document.body.appendChild(document.createElement('p'));"
        "return [0, 1, 2, 3, 4, 5].map(n => {"
        "  probe.style.color = style.getPropertyValue('--s' + n); return [getComputedStyle(probe).color, back] })"
    )
    assert min(contrast(*pair) for pair in map(tuple, colours)) >= 4.5


def contrast(colour, other):
    """The contrast ratio of WCAG 2 between two CSS colours of the form rgb(r, g, b)."""
    lighter, darker = sorted((luminance(colour), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour):
    shares = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [share / 12.92 if share <= 0.03928 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_texts_of_a_picture_do_not_cover_each_other(browser, page):
    set_width(browser, 1280)
    browser.get(page)
    boxes_of_pictures = browser.execute_script(
        "return [...document.querySelectorAll('svg')].map(svg => [...svg.querySelectorAll('text')].map(text => {"
        "  const box = text.getBoundingClientRect();"
        "  return [text.textContent, box.left, box.top, box.right, box.bottom] }))"
    )
    for boxes in boxes_of_pictures:
        for index, (text, *box) in enumerate(boxes):
            for other_text, *other in boxes[index + 1 :]:
                width = min(box[2], other[2]) - max(box[0], other[0])
                height = min(box[3], other[3]) - max(box[1], other[1])
                # Boxes of lines of text touch; letters do not, as long as no third of a line is shared.
                assert width <= 1 or height <= 6, (text, other_text)


def test_printing_gives_pages(browser, page):
    set_theme(browser, "dark")
    browser.get(page)
    assert len(browser.print_page()) > 10_000
