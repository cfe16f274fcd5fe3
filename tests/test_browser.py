"""A run's page in a real browser, from a disk and with the network off.

Debian's chromium with its driver, and axe-core: `tests/browser/install.sh` gets both. Skipped
where one is missing.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.record.schema import Record
from harness.report import diff as diff_pages
from harness.report import history as history_pages
from harness.report import matrix, page, scale
from harness.report.sections import Report
from harness.results import diff, history, store
from harness.verdict.verdict import judge
from tests import make, pages, test_scale, test_store
from tests.test_page import whole
from tests.test_report import HOSTILE, hostile

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
AXE = Path(__file__).parent / "browser" / ".cache" / "axe.min.js"

pytestmark = pytest.mark.skipif(
    BROWSER is None or DRIVER is None,
    reason="no chromium with chromedriver: tests/browser/install.sh gets them",
)
needs_axe = pytest.mark.skipif(
    not AXE.is_file(), reason="no axe-core: tests/browser/install.sh gets it"
)

WIDTHS = (390, 1600)
# What a script of a record would do is written down before it can run.
CANARY = """
window.sung = [];
for (const name of ["alert", "confirm", "prompt", "open"]) window[name] = (t) => sung.push(name);
"""
DRAWN = """
return document.documentElement.dataset.drawn === String(
  document.querySelectorAll("[data-plot]").length);
"""


# A busy machine takes its time to draw for another width.
FITS = """
return [...document.querySelectorAll("[data-plot]")].every((place) => {
  const drawing = place.querySelector("svg.main-svg");
  return !drawing || drawing.getBoundingClientRect().width <= place.clientWidth + 1;
});
"""


class Visitor:
    """A browser with one page open."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self.opened: Path | None = None

    def go(self, path: Path, *, keep: bool = False, drawn: bool = True) -> None:
        """Open a page, 1600 px wide and light, and wait until its plots are drawn.

        keep: as it is where it is open already, for tests that leave it as they find it.
        """
        if keep and self.opened == path:
            return
        self.opened = path if keep else None
        self.driver.get("about:blank")
        self.look(1600, wait=drawn)
        self.log("browser")
        self.log("performance")  # what was before counts no more
        self.driver.get(path.as_uri())
        if drawn:
            self.run("dispatchEvent(new Event('beforeprint'))")
            self.until(DRAWN)

    def look(self, width: int = 1600, *, dark: bool = False, wait: bool = True) -> None:
        """Change the window's width and the system's colours, and let the page answer."""
        tell = self.driver.execute_cdp_cmd
        tell("Emulation.setDeviceMetricsOverride",
             {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False})  # fmt: skip
        features = {
            "prefers-color-scheme": "dark" if dark else "light",
            "prefers-reduced-motion": "reduce",
        }
        told = [{"name": name, "value": value} for name, value in features.items()]
        tell("Emulation.setEmulatedMedia", {"features": told})
        if wait:
            self.wait()
            self.until(FITS)

    def until(self, script: str) -> None:
        """Until a script gives true; TimeoutException where it never does."""
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.driver, 120, 0.1).until(lambda of: of.execute_script(script))

    def wait(self) -> None:
        """Until two frames and what they set off are over."""
        self.driver.execute_async_script("""
          const done = arguments[arguments.length - 1];
          requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 50)));
        """)

    def log(self, kind: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.driver.get_log(kind)
        return found

    @property
    def errors(self) -> list[str]:
        """Errors on the console, of scripts, of the policy, of loading."""
        return [entry["message"] for entry in self.log("browser") if entry["level"] == "SEVERE"]

    @property
    def asked_for(self) -> set[str]:
        """Every address that was asked for, without what lies in the page itself."""
        events = [json.loads(entry["message"])["message"] for entry in self.log("performance")]
        found = {
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        }
        return {url for url in found if not url.startswith("data:")}

    def run(self, script: str, *words: Any) -> Any:
        return self.driver.execute_script(script, *words)

    def find(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)


@pytest.fixture(scope="module")
def visitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visitor]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for word in (
        "headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run",
        "disable-background-networking", "disable-component-update", "disable-sync",
        "disable-dev-shm-usage", "disable-default-apps", "disable-extensions",
        f"user-data-dir={tmp_path_factory.mktemp('profile')}",
        "host-resolver-rules=MAP * ~NOTFOUND", "proxy-server=127.0.0.1:9",
    ):  # fmt: skip
        options.add_argument(f"--{word}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": CANARY})
        yield Visitor(driver)
    finally:
        driver.quit()


PAGES = ("rich", "diverging", "tiny", "diff", "history", "scale", "matrix")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pages: of a record with a figure in every place, of one that diverges, of each other kind."""
    folder = tmp_path_factory.mktemp("pages")
    run, after = make.timed(), pages.diverging(folder)
    for number in (1, 2):
        test_store.put(folder, test_store.told(run), number)
    both = {"numpy": "numpy", "torch": "torch"}
    texts = {
        "rich": whole(pages.rich(), folder),
        "diverging": whole(after, folder),
        "tiny": whole(pages.tiny("himmelblau", (3.0, 2.0)), folder),
        "diff": page.render(diff_pages.report(diff.compare(run, after, only=both), "page")),
        "history": page.render(history_pages.report(history.trace(store.find(folder)), "page")),
        "scale": page.render(scale.report(test_scale.grid(test_scale.records()))),
        "matrix": page.render(matrix.report([*rows(run, "one"), *rows(after, "two")])),
    }
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in texts}


def rows(made: Record, workload: str) -> Iterator[matrix.Row]:
    """A sweep's row of one run; a label that could not take part, and one that was killed."""
    run = matrix.Run(made, judge(made), f"runs/{workload}")
    runs = dict.fromkeys(made.plan.labels, (run,))
    yield matrix.Row(workload, runs, reasons={"jax:scan": "killed"}, skipped={"mxnet": "missing"})


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_from_a_disk_without_an_error_and_asks_for_nothing(visitor, written, name):
    visitor.go(written[name], keep=True)
    assert visitor.errors == []
    assert visitor.asked_for == {written[name].as_uri()}
    drawn = visitor.run("return document.querySelectorAll('[data-plot] svg.main-svg').length")
    assert (drawn > 0) == (name not in ("diff", "matrix"))  # their tables show all of it


# Where each of the first sections ends, and whether all that it shows lies inside the window.
ENDS = """
return Object.fromEntries(["divergence", "ladder", "fastest", "trust"].flatMap((id) => {
  const section = document.getElementById(id);
  if (!section) return [];
  const every = ".matrix, .ranked td, li, code, svg, img, .told, summary";
  const parts = [...section.querySelectorAll(every)]
    .filter((part) => part.checkVisibility());
  const ends = parts.map((part) => part.getBoundingClientRect());
  return [[id, [Math.max(...ends.map((r) => r.bottom)) + scrollY,
    Math.max(...ends.map((r) => r.right))]]];
}));
"""


@pytest.mark.parametrize(("width", "most"), [(1600, 1000), (1000, 2000), (390, 2 * 844)])
@pytest.mark.parametrize("name", ["rich", "diverging"])
def test_the_first_screen_answers_the_three_questions(visitor, written, name, width, most):
    visitor.go(written[name], drawn=False)
    visitor.look(width, wait=False)
    ends = visitor.run(ENDS)
    assert {*ends} == {"ladder", "fastest", "trust", *(["divergence"] * (name == "diverging"))}
    for section, (bottom, right) in ends.items():
        assert 0 < bottom <= most, section
        assert right <= width, section
    assert visitor.run("return document.querySelectorAll('*').length") < 15_000


def test_times_of_a_run_that_fails_are_folded_and_where_it_went_wrong_is_open(visitor, written):
    visitor.go(written["diverging"], drawn=False)
    for selector, shown in ((".ranked", False), (".map", True), (".dots img", True),
                            (".field svg", True), (".window", False)):  # fmt: skip
        assert is_shown(visitor, visitor.find(selector)) == shown, selector
    # The picture is there, as large as it says, and its ring lies on it.
    assert visitor.run("return document.querySelector('.dots img').naturalWidth") == 128
    ring, dots = (
        visitor.run(f"return document.querySelector('{of}').getBoundingClientRect().toJSON()")
        for of in (".ring", ".dots")
    )
    assert dots["left"] <= ring["left"] + 7 <= dots["right"]
    assert dots["top"] <= ring["top"] + 7 <= dots["bottom"]
    visitor.go(written["rich"], drawn=False)
    assert is_shown(visitor, visitor.find(".ranked"))


@pytest.mark.parametrize("name", ["rich", "diverging", "matrix"])
def test_the_keyboard_reaches_every_fold_cell_and_command(visitor, written, name):
    from selenium.webdriver.common.keys import Keys

    visitor.go(written[name], drawn=False)
    wanted = visitor.run("""
      window.scrollTo(0, 0);
      const every = "summary, button, main a, nav a, .scroll";
      const shown = [...document.querySelectorAll(every)].filter((of) => of.checkVisibility());
      shown.forEach((of, place) => { of.dataset.place = place; });
      return shown.length;
    """)
    body = visitor.find("body")
    reached: set[str] = set()
    for _ in range(2 * wanted + 50):
        visitor.driver.switch_to.active_element.send_keys(Keys.TAB)
        at = visitor.run("return document.activeElement.dataset.place ?? ''")
        if at in reached:
            break
        reached |= {at} - {""}
    assert body is not None
    assert reached == {str(place) for place in range(wanted)}
    assert wanted > (6 if name == "matrix" else 60)


def test_a_command_is_copied_by_its_button(visitor, written):
    visitor.go(written["diverging"], drawn=False)
    command, button = (visitor.find(f"#divergence {of}") for of in ("code", "button.copy"))
    assert (command.text.split()[:2], button.text) == (["harness", "bundle"], "Copy")
    button.click()
    visitor.until("return document.querySelector('#divergence .copy').textContent !== 'Copy'")
    assert visitor.run("return getSelection().toString()") == command.text


def test_a_plot_is_drawn_when_it_is_seen_and_a_page_opens_with_few_nodes(visitor, written):
    visitor.go(written["rich"], drawn=False)
    visitor.wait()
    assert visitor.run("return document.querySelectorAll('*').length") < 15_000
    plots = visitor.run("return [...document.querySelectorAll('[data-plot]')].map((p) => p.id)")
    drawn = "return [...document.querySelectorAll('[data-plot]')].filter((p) => p.data).length"
    assert visitor.run(drawn) <= 2 < len(plots)  # those just below the first screen
    for done, plot in enumerate(plots, 1):
        visitor.run("document.getElementById(arguments[0]).scrollIntoView()", plot)
        visitor.until(f"return document.querySelector('#{plot} svg.main-svg') !== null")
        assert visitor.run("return Number(document.documentElement.dataset.drawn)") >= done
    visitor.until(DRAWN)
    assert visitor.errors == []


@pytest.mark.parametrize(("name", "least"), [("rich", 13), ("tiny", 5)])
def test_every_plot_is_drawn_with_every_trace(visitor, written, name, least):
    path = written[name]
    visitor.go(path, keep=True)
    shown = visitor.run("""
      return [...document.querySelectorAll("[data-plot]")].map((place) => [
        place.dataset.plot, place.data.length, place.querySelectorAll("svg.main-svg").length,
        place.getBoundingClientRect().height,
      ]);
    """)
    source = path.read_text(encoding="utf-8")
    blocks = re.findall(
        r'<script type="application/json" id="data-([^"]+)"[^>]*>(.*?)</script>', source
    )
    given = {name: len(json.loads(told)["traces"]) for name, told in blocks}
    assert {name: traces for name, traces, _, _ in shown} == given
    assert len(given) >= least
    for name, _, drawings, height in shown:
        assert drawings > 0, name
        assert height > 100, name


def test_a_picture_that_fails_leaves_the_others_and_its_own_figures(visitor, written):
    # What plotly itself would do to a picture it cannot draw.
    broken = """
      let real;
      const failing = (place, ...words) =>
        place.dataset.plot === "checkpoints"
          ? Promise.reject(new Error("no")) : drawn(place, ...words);
      let drawn;
      Object.defineProperty(window, "Plotly", {configurable: true, get: () => real, set(made) {
        drawn = made.newPlot;
        real = {...made, newPlot: failing};
      }});
    """
    tell = visitor.driver.execute_cdp_cmd
    added = tell("Page.addScriptToEvaluateOnNewDocument", {"source": broken})
    try:
        visitor.go(written["rich"])
        assert [message for message in visitor.errors if "checkpoints" not in message] == []
        assert visitor.find("#plot-checkpoints").text == "This picture could not be drawn."
        assert visitor.find("#plot-ratios svg").is_displayed()
        visitor.find("#theme").click()
        visitor.wait()
        assert visitor.errors == []
    finally:
        tell("Page.removeScriptToEvaluateOnNewDocument", {"identifier": added["identifier"]})


def test_a_label_is_pinned_or_hidden_in_all_pictures_by_one_legend(visitor, written):
    visitor.go(written["rich"])
    visitor.wait()
    look = """
      const found = {};
      for (const place of document.querySelectorAll("[data-plot]")) {
        for (const trace of place.data ?? []) {
          if (trace.legendgroup === arguments[0]) {
            (found[place.id] ??= []).push([trace.visible ?? true, (trace.opacity ?? 1) < 0.2]);
          }
        }
      }
      return found;
    """

    def looks(label: str) -> tuple[set[tuple[bool, bool]], int]:
        found = visitor.run(look, label)
        return {(bool(seen), faded) for of in found.values() for seen, faded in of}, len(found)

    def press(label: str, kind: str) -> None:
        visitor.find(f'#labels [data-group="{label}"] .{kind}').click()
        visitor.wait()

    assert looks("torch")[0] == {(True, False)}
    press("torch", "pin")
    assert looks("torch")[0] == {(True, False)}
    (others, plots) = looks("numpy")
    assert others == {(True, True)}
    assert plots > 3
    press("numpy", "hide")
    assert looks("numpy")[0] == {(False, True)}
    button = visitor.find('#labels [data-group="numpy"] .hide')
    assert button.get_attribute("aria-pressed") == "true"
    # One that is drawn later looks so from the beginning: here all are drawn anew.
    press("torch", "pin")
    press("numpy", "hide")
    assert looks("numpy")[0] == {(True, False)}
    # The legend stays in sight along the pictures, and covers no heading that a link leads to.
    visitor.run("location.hash = 'steps'")
    visitor.until(
        "return Math.abs(document.getElementById('steps').getBoundingClientRect().top) < 120"
    )
    bar, head = (
        visitor.run(f"return document.querySelector('{of}').getBoundingClientRect().toJSON()")
        for of in ("#labels", "#steps-title")
    )
    assert bar["top"] == pytest.approx(0, abs=1)
    assert head["top"] >= bar["bottom"] - 1
    assert visitor.errors == []


def is_shown(visitor: Visitor, element: Any) -> bool:
    return bool(visitor.run("return arguments[0].checkVisibility()", element))


@pytest.mark.parametrize("how", ["click", "Enter", "Space"])
def test_a_cell_opens_its_evidence_and_closes_it_again(visitor, written, how):
    from selenium.webdriver.common.keys import Keys

    visitor.go(written["diverging"], keep=True)
    cell = visitor.find('.cell[href="#evidence-1-gradients"]')
    body = visitor.find("#evidence-1-gradients")

    def press() -> None:
        if how == "click":
            cell.click()
        else:
            cell.send_keys(Keys.ENTER if how == "Enter" else Keys.SPACE)

    assert not is_shown(visitor, body)
    assert cell.get_attribute("aria-expanded") == "false"
    press()
    assert is_shown(visitor, body)
    assert cell.get_attribute("aria-expanded") == "true"
    assert visitor.find("#" + cell.get_attribute("aria-controls")).get_attribute("open")
    assert "[245, 254]" in body.text
    # The evidence has the focus, and its own summary closes it with the keyboard alone.
    focused = visitor.driver.switch_to.active_element
    assert focused.tag_name == "summary"
    focused.send_keys(Keys.ENTER)
    visitor.wait()
    assert not is_shown(visitor, body)
    assert cell.get_attribute("aria-expanded") == "false"
    assert visitor.driver.switch_to.active_element == cell


def test_every_cell_opens(visitor, written):
    visitor.go(written["rich"])
    opened = visitor.run("""
      return [...document.querySelectorAll(".cell")].map((cell) => {
        cell.click();
        return document.querySelector(cell.getAttribute("href")).checkVisibility();
      });
    """)
    assert opened == [True] * 27


def test_evidence_opens_from_its_address_and_all_of_it_by_a_button(visitor, written):
    visitor.go(written["diverging"])
    visitor.run("location.hash = 'evidence-0-loss'")
    visitor.wait()
    assert is_shown(visitor, visitor.find("#evidence-0-loss"))
    count = "return document.querySelectorAll('.evidence details[open]').length"
    assert visitor.run(count) == 1
    for wanted in (27, 0):
        visitor.find("#all-evidence").click()
        assert visitor.run(count) == wanted


def test_without_script_the_cells_are_links_to_evidence_that_is_there(visitor, written):
    tell = visitor.driver.execute_cdp_cmd
    tell("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        visitor.go(written["diverging"], drawn=False)
        cell = visitor.find('.cell[href="#evidence-1-gradients"]')
        assert not visitor.find("#evidence-1-gradients").is_displayed()
        cell.click()  # the browser itself opens a <details> that a link points into
        assert visitor.find("#evidence-1-gradients").is_displayed()
        assert visitor.find("#evidence-0-loss-all summary").is_displayed()
    finally:
        tell("Emulation.setScriptExecutionDisabled", {"value": False})


LOOKS = """
const plot = document.querySelector("[data-plot]");
return {
  paper: getComputedStyle(document.body).backgroundColor,
  ink: getComputedStyle(document.body).color,
  plot: plot.layout.font.color,
  grid: plot.layout.xaxis.gridcolor,
  grids: [...new Set([...document.querySelectorAll("[data-plot]")].flatMap((place) =>
    Object.keys(place.layout).filter((key) => /^[xy]axis/.test(key)).map(
      (key) => place.layout[key].gridcolor)))],
  papers: [...new Set([...document.querySelectorAll("[data-plot]")].map(
    (place) => place.layout.paper_bgcolor + place.layout.plot_bgcolor))],
  pressed: document.getElementById("theme").getAttribute("aria-pressed"),
};
"""


def brightness(colour: str) -> float:
    red, green, blue = map(float, re.findall(r"[\d.]+", colour)[:3])
    return (red + green + blue) / 3


def test_dark_and_light_follow_the_system_and_the_button(visitor, written):
    visitor.go(written["rich"])
    seen = {}
    for dark in (False, True):
        visitor.look(dark=dark)
        seen[dark] = visitor.run(LOOKS)
        assert seen[dark]["pressed"] == str(dark).lower()
        assert seen[dark]["plot"] == seen[dark]["ink"]
        assert seen[dark]["grids"] == [seen[dark]["grid"]]
        assert seen[dark]["papers"] == ["rgba(0,0,0,0)" * 2]
    assert brightness(seen[False]["paper"]) > 200 > 60 > brightness(seen[True]["paper"])
    assert brightness(seen[False]["ink"]) < 60 < 200 < brightness(seen[True]["ink"])
    visitor.find("#theme").click()  # from dark to light
    visitor.wait()
    assert visitor.run(LOOKS) == seen[False]
    assert visitor.errors == []


@pytest.mark.parametrize("name", [name for name in PAGES if name != "rich"])
def test_a_page_never_scrolls_sideways(visitor, written, name):
    visitor.go(written[name])
    visitor.run("for (const d of document.querySelectorAll('details')) d.open = true")
    wide = "return document.documentElement.scrollWidth"
    for width in WIDTHS:
        visitor.look(width)
        assert visitor.run("return innerWidth") == width
        assert width - 20 < visitor.run(wide) <= width  # less a scroll bar at most
        # Plots are as wide as their place, not as they were made.
        wider = visitor.run("""
          return [...document.querySelectorAll("[data-plot]")].filter((place) =>
            place.querySelector("svg").getBoundingClientRect().right > innerWidth).length;
        """)
        assert wider == 0
    visitor.run("document.body.insertAdjacentHTML('beforeend', '<div style=width:2000px>x</div>')")
    assert visitor.run(wide) > 1600


# Of every plot its height, that of its drawing, and by how much one reaches into what follows it.
HEIGHTS = """
return [...document.querySelectorAll("[data-plot]")].map((place) => {
  const [own, drawing] = [place, place.querySelector("svg.main-svg")].map(
    (of) => of.getBoundingClientRect());
  const next = (place.nextElementSibling ?? place.closest("figure").nextElementSibling);
  const below = next ? next.getBoundingClientRect() : { top: Infinity, left: 0 };
  return [place.dataset.plot, own.height, drawing.height,
    below.left < own.right ? drawing.bottom - below.top : 0];
});
"""


@pytest.mark.parametrize("name", ["rich", "tiny", "history", "scale"])
def test_every_plot_keeps_its_height_when_the_window_changes(visitor, written, name):
    visitor.go(written[name])
    before = visitor.run(HEIGHTS)
    assert len(before) > 0
    for width in (390, 844, 1600):
        visitor.look(width)
        for (plot, *then), (_, own, drawing, into) in zip(
            before, visitor.run(HEIGHTS), strict=True
        ):
            assert (own, drawing) == tuple(then[:2]), (plot, width)
            assert drawing > 100, (plot, width)
            assert into < 1, (plot, width)


@needs_axe
@pytest.mark.parametrize("name", [name for name in PAGES if name != "rich"])
def test_axe_finds_nothing_serious_in_light_and_dark(visitor, written, name):
    visitor.go(written[name])
    # One of each kind: of tables of figures there are as many as plots, all by one macro.
    one = ".evidence details:nth-of-type(-n + 9), #agreement .figures:first-of-type"
    visitor.run("for (const d of document.querySelectorAll(arguments[0])) d.open = true", one)
    visitor.run(AXE.read_text(encoding="utf-8"))
    assert serious(visitor) == []
    visitor.look(dark=True)
    assert serious(visitor, "color-contrast") == []  # the one rule that sees colours
    # And it does find what is wrong.
    wrong = "<img src='data:,'><p style='color:#999;background:#aaa'>faint</p>"
    visitor.run("document.body.innerHTML = arguments[0]", wrong)
    assert {rule for rule, *_ in serious(visitor)} >= {"image-alt", "color-contrast"}


def serious(visitor: Visitor, *rules: str) -> list[list[str]]:
    """axe's serious and critical findings by these rules or all: rule, help, first element."""
    visitor.driver.set_script_timeout(300)
    found: list[list[str]] = visitor.driver.execute_async_script(
        """
        const [rules, done] = arguments;
        const words = {resultTypes: ["violations"], ...(rules.length && {runOnly: rules})};
        axe.run(document, words).then((told) => done(told.violations
          .filter((v) => v.impact === "serious" || v.impact === "critical")
          .map((v) => [v.id, v.help, v.nodes[0].html.slice(0, 300)])));
        """,
        list(rules),
    )
    return found


# A page opens in a second: the texts stand in every place together, not one after the other.
OWN = (
    '"><script>alert(1)</script>',
    "' onerror=alert(1) x='",
    "</script><script>alert(1)</script>",
)
TOGETHER = "".join([*OWN, *(text for name, text in HOSTILE.items() if name != "long")])


@pytest.mark.parametrize("text", [TOGETHER, "../../x<b>"], ids=["together", "path"])
def test_a_hostile_record_runs_no_script_and_asks_for_nothing(visitor, tmp_path, text):
    made = hostile(text)
    path = tmp_path / "report.html"
    path.write_text(whole(made, tmp_path), encoding="utf-8")
    visitor.go(path)
    visitor.run("for (const d of document.querySelectorAll('details')) d.open = true")
    assert visitor.run("return sung") == []
    assert visitor.errors == []
    assert visitor.asked_for == {path.as_uri()}
    assert visitor.run("return document.querySelector('h1').innerText").split() == ["✗", "failed"]


def test_the_policy_stops_a_script_that_escaping_let_through(visitor, tmp_path):
    source = page.render(Report("agree", "all is well"))
    attack = HOSTILE["html"] + "<img src='http://example.invalid/x.png'>"
    path = tmp_path / "report.html"
    path.write_text(source.replace("<main", f"{attack}<main", 1), encoding="utf-8")
    visitor.go(path)
    visitor.wait()
    assert visitor.run("return sung") == []
    assert any("Content Security Policy" in error for error in visitor.errors)
    assert "http://example.invalid/x.png" in visitor.asked_for  # an attempt counts, too
    # Without the policy the same page does sing: the canary is alive.
    bare = re.sub('<meta http-equiv="Content-Security-Policy"[^>]*>', "", path.read_text())
    path.write_text(bare, encoding="utf-8")
    visitor.go(path)
    visitor.wait()
    assert visitor.run("return sung") == ["alert", "alert"]
