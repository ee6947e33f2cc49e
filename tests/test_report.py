"""The report of a demo run, made and opened in a browser without network."""

import shutil
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from playwright.sync_api import Frame, Locator, Page, sync_playwright

from tests.conftest import snakemake

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser():
    """A headless browser that plays H.264."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"needs a browser, one of {', '.join(BROWSERS)}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(browser, demo_run, tmp_path_factory) -> Path:
    """The report as a file that stands alone; nothing can be downloaded while it is made."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    with pytest.MonkeyPatch.context() as patch:
        for name in ("http_proxy", "https_proxy"):
            patch.setenv(name, "http://127.0.0.1:9")
        targets = "demo", "results/tables/own.csv"
        run = snakemake(demo_run, f"--report={path}", *targets)
    assert run.returncode == 0, run.stdout + run.stderr
    return path


@pytest.fixture
def page(browser, report):
    """The report, opened without network; it asks for nothing and has no errors."""
    page = browser.new_context(offline=True).new_page()
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(error))
    page.goto(report.as_uri())
    yield page
    page.context.close()
    assert not errors
    assert not [url for url in asked if not url.startswith((report.as_uri(), "data:", "blob:"))]


def show(page: Page, *menu: str, result: str) -> Frame:
    """The page of a result, opened by its line in the report's menu."""
    for item in menu:
        page.get_by_text(item, exact=True).click()
    page.locator("tr", has_text=result).locator("a").first.click()
    page.wait_for_selector("iframe")
    return page.frames[-1]


def test_every_result_has_a_category_and_a_caption(page):
    categories = page.evaluate("categories")
    assert set(categories) == {"Pictures", "Sequences", "Tables", "Training", "Videos"}
    for category in categories:
        assert page.get_by_text(category, exact=True).is_visible()
    assert page.evaluate("Object.values(results).every(result => result.caption)")
    files = sorted(Path(name).name for name in page.evaluate("Object.keys(results)"))
    assert files.count("comet.html") == files.count("seed0_curves.png") == 2


def test_it_says_what_was_run(page):
    text = page.inner_text("#app")
    assert "The preset was cpu, the sequences comet,box." in text
    assert "steps 30" in text
    rules = {row["rule"] for row in page.evaluate("runtimes_spec.data.values")}
    assert {"prepare", "flow", "tracks", "train", "segment", "score", "table"} <= rules
    page.get_by_text("Statistics", exact=True).click()
    assert page.locator("#runtimes canvas").is_visible()


def test_a_table_shows_and_sorts_its_numbers(page, demo_run):
    expected = pd.read_csv(demo_run / "results/demo_sequences.csv", dtype=str)["J"]
    table = show(page, "Sequences", result="scores")
    column = table.locator("th").all_inner_texts().index("J") + 1
    cells = table.locator(f"td:nth-child({column})")
    assert cells.all_inner_texts() == expected.tolist()
    table.get_by_text("J", exact=True).click()
    assert cells.all_inner_texts() == sorted(expected, key=float, reverse=True)


def test_an_overlay_plays(page):
    frame = show(page, "Videos", result="comet")
    video = frame.locator("video")
    video.evaluate("video => { video.currentTime = 0; return video.play(); }")
    assert video.evaluate("video => [video.videoWidth, video.videoHeight]") == [320, 180]
    early = picture_of(video)
    frame.wait_for_function("document.querySelector('video').currentTime > 0.5")
    later = picture_of(video)
    assert 0.01 < (early[..., 0] - early[..., 1] > 100).mean() < 0.5  # red, the foreground
    assert np.abs(early - later).mean() > 1


def picture_of(element: Locator) -> np.ndarray:
    """What the browser shows of an element, (H, W, 3)."""
    return np.asarray(Image.open(BytesIO(element.screenshot())).convert("RGB"), float)
