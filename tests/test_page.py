"""A run's page: whole in one file, right in its figures, harmless whatever a record says."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import zlib
from pathlib import Path
from urllib.parse import unquote

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from harness.cli import main
from harness.errors import HarnessError
from harness.record.schema import Differing, KnownAnswer, Record, Worst
from harness.record.store import write
from harness.report import files, images, page
from harness.report import run as run_report
from harness.report.run import report
from harness.report.run_tables import Run
from harness.report.sections import Report, Section
from harness.text import clean
from harness.verdict.verdict import judge
from harness.workloads.reference.limits import RUNGS
from tests import make, pages
from tests.pages import Element, Page
from tests.test_report import HOSTILE, WARNED, hostile

MOST_BYTES = 6_000_000


def render(made: Record, folder: Path | None = None, **words: object) -> str:
    """The page without plotly's megabytes, which take long to pack and to parse."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "plotly_source", lambda: "/* plotly.js v0 */")
        return whole(made, folder or Path("/nonexistent"), **words)


def whole(made: Record, folder: Path, **words: object) -> str:
    """The page, plotly too."""
    return page.render(report(Run(made, judge(made), folder, **words), "page"))


@pytest.fixture(scope="module")
def rich() -> Page:
    """The whole page, plotly too."""
    return Page(whole(pages.rich(), Path("/nonexistent")))


# ---- one file, that opens anywhere ---------------------------------------------------------------


def test_a_page_is_one_file_below_six_megabytes(rich):
    assert len(rich.source.encode()) < MOST_BYTES / 2
    assert rich.source.count('id="plotly"') == 1
    assert rich.source.startswith("<!doctype html>\n")


def test_the_page_of_the_longest_run_stays_below_six_megabytes():
    """Ten labels, five seeds and five sessions of the profile full; noise, which packs badly."""
    made = pages.rich()
    names = [f"torch:{i}" for i in range(10)]
    made.plan = msgspec.structs.replace(made.plan, labels=dict.fromkeys(names, make.label("torch")))
    random = np.random.default_rng(0)
    steps = 2350
    long = [
        pages.training(seed, losses=random.random(steps).tolist(), rows=[256] * steps)
        for seed in pages.SEEDS
    ]
    made.reference = [msgspec.structs.replace(t, dtype="float64") for t in long]
    rounds = make.sessions(number=5, rounds=31)
    for each in rounds:
        each.step_ns = random.integers(10**6, 2 * 10**6, 12).tolist()
        each.warmup_ns = random.integers(10**6, 2 * 10**6, 18).tolist()
    results = msgspec.structs.replace(made.results["torch"], training=long, rounds=rounds)
    made.results, made.again = dict.fromkeys(names, results), {}
    pixels = base64.b64encode(random.bytes(784)).decode()
    made.differing = [msgspec.structs.replace(made.differing[0], pixels=pixels)] * 60
    source = whole(made, Path("/nonexistent"))
    assert len(re.findall('class="cell', source)) == 10 * len(RUNGS)
    assert len(re.findall("<[a-z]", source)) < 15_000
    assert len(source.encode()) < MOST_BYTES


def test_a_page_loads_nothing(rich):
    for tag, attribute in (("script", "src"), ("img", "src"), ("link", "href"), ("a", "href")):
        for element in rich.all(tag):
            address = element.attributes.get(attribute, "")
            assert address.startswith(("data:", "#", "./")) or (tag, address) == ("script", ""), (
                tag, address[:80])  # fmt: skip
    assert not {e.tag for t in ("iframe", "object", "embed", "video", "base") for e in rich.all(t)}
    style = "".join(part for e in rich.all("style") for part in e.parts)
    assert not re.search(r"@import|url\(", style)
    assert not [name for _, own in rich.tags for name in own if name.startswith("on")]


def test_the_policy_names_each_script_that_runs_and_no_other(rich):
    (policy,) = (
        e.attributes["content"]
        for e in rich.all("meta")
        if e.attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert rich.source.index("Content-Security-Policy") < rich.source.index("<script")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    (packed,) = (e for e in rich.all("script") if e.attributes.get("id") == "plotly")
    plotly = zlib.decompress(base64.b64decode("".join(packed.parts)))
    assert plotly.startswith(b"/**\n* plotly.js v")
    wanted = {
        f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'"
        for script in [plotly, *(script.encode() for script in rich.scripts)]
    }
    assert set(rules["script-src"].split()) == wanted
    assert len(wanted) == 3
    assert set(rules) == {"default-src", "script-src", "style-src", "img-src", "base-uri",
                          "form-action"}  # fmt: skip
    assert rules["img-src"] == "data:"


def test_the_same_record_gives_the_same_page(tmp_path):
    made = pages.diverging(tmp_path)
    assert render(made, tmp_path) == render(made, tmp_path)


def test_a_page_without_plots_does_without_plotly():
    source = page.render(Report("agree", "all is well", sections=[Section("One", id="one")]))
    assert len(source) < 200_000
    assert "sha256-" in source
    assert len(Page(source).scripts) == 2


def test_a_missing_plotly_is_a_failure_in_one_line(monkeypatch):
    monkeypatch.setattr(page.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(HarnessError, match=r"^no plotly\.min\.js for the page: plotly is not inst"):
        page.plotly_source()


# ---- data of plots -------------------------------------------------------------------------------


def decoded(value):
    """What plotly makes of an array."""
    array = np.frombuffer(base64.b64decode(value["bdata"]), dtype=f"<{value['dtype']}")
    return array.reshape([int(n) for n in value["shape"].split(",")]) if "shape" in value else array


@given(
    arrays.arrays(
        dtype=st.sampled_from(["f8", "f4", "i1", "u2", "i4", "u4", "i8", "u8", "?", "f2"]),
        shape=arrays.array_shapes(min_dims=1, max_dims=3, max_side=5),
    )
)
def test_an_array_arrives_as_it_was(array):
    value = json.loads(page.as_json({"y": array}))["y"]
    found = decoded(value)
    assert found.shape == array.shape
    wanted = array.astype(np.float64)  # of 64 bits, a browser has no more than that either
    assert np.array_equal(found.astype(np.float64), wanted, equal_nan=True)


def test_what_is_not_finite_is_null_in_a_list_and_itself_in_an_array():
    told = json.loads(
        page.as_json({"a": [1.5, float("nan"), float("inf")], "b": np.float64("nan")})
    )
    assert told == {"a": [1.5, None, None], "b": None}
    value = json.loads(page.as_json(np.array([np.nan, -np.inf])))
    assert np.isnan(decoded(value)[0])
    assert decoded(value)[1] == -np.inf


@given(st.text(max_size=50))
def test_any_text_in_data_reads_back_and_ends_no_tag(text):
    told = page.as_json({"name": text, text: 1})
    assert json.loads(told) == {"name": text, text: 1}
    assert not re.search("[<>&\u2028\u2029]", told)


# ---- the ladder and its evidence -----------------------------------------------------------------


def cells(parsed: Page) -> dict[tuple[str, str], Element]:
    """The cell of each label and rung; of a label without any the one that says why."""
    (matrix,) = (t for t in parsed.all("table") if "How many times below its limit" in t.text)
    header, *rows = matrix.all("tr")
    rungs = [cell.text for cell in header.inside[1:]]
    found = {}
    for row in rows:
        name, *of = row.inside
        told = name.text.split(" ")[0]
        found |= {(told, rung): cell for rung, cell in zip(rungs, of, strict=len(of) > 1)}
    return found


def test_the_matrix_has_every_label_and_rung_with_its_headroom(rich):
    found = cells(rich)
    verdict = judge(pages.rich())
    assert set(found) == {(name, rung) for name in pages.NAMES for rung in RUNGS}
    for (name, rung), cell in found.items():
        finding = verdict.labels[name].findings[rung]
        assert finding.verdict in cell.text
        # A limit divided by its value, taken here from the verdict itself.
        if finding.value and finding.limit and rung != "timing":
            times = finding.limit / finding.value
            told = re.search(r"([\d.e+-]+)× (below|over)", cell.text)
            assert told is not None, cell.text
            assert float(told[1]) == pytest.approx(times if times >= 1 else 1 / times, rel=0.06)
            assert told[2] == ("below" if times >= 1 else "over")
            shown = cell.all("span")[-3 if cell.all("span")[-1].attributes.get("style") else -1]
            assert shown.text == (">99×" if times > 99 else f"{told[1]}×")
    assert "✓" in found["numpy", "forward"].text


def test_a_cell_opens_its_value_and_limit(rich):
    for rung, told in (("forward", "1e-7 ≤ 5e-6"), ("accuracy", "3.8e-7 nats ≤ 0.001 nats"),
                       ("inputs", "0 ≤ 0"), ("timing", "1× ≤ 4×")):  # fmt: skip
        assert told not in cells(rich)["numpy", rung].text
        assert f"value {told}" in rich.by_id()[f"evidence-0-{rung}"].text


def test_a_cell_over_its_limit_says_so(tmp_path):
    parsed = Page(render(pages.diverging(tmp_path), tmp_path))
    assert "✗" in cells(parsed)["torch", "gradients"].text
    assert "0.0011 >limit 1e-5 111× over, float32" in cells(parsed)["torch", "gradients"].text


def test_timing_is_a_multiple_and_has_no_margin(rich):
    for name in ("numpy", "torch", "jax"):
        cell = cells(rich)[name, "timing"]
        assert re.search(r"\d×$", cell.text)
        assert "below" not in cell.text
        assert not [e for e in cell.all("span") if e.attributes.get("class") == "bar"]


def test_every_cell_leads_to_evidence_that_a_link_opens(rich):
    ids = rich.by_id()
    for (name, rung), cell in cells(rich).items():
        (link,) = cell.all("a")
        target = ids[link.attributes["href"].removeprefix("#")]
        assert target.within("details")
        assert target.above is ids[link.attributes["data-opens"]]
        assert target.above.all("summary")[0].text.endswith(f"{name} · {rung}")


def test_evidence_says_where_and_how_far_and_why(tmp_path):
    made = pages.diverging(tmp_path)
    parsed = Page(render(made, tmp_path))
    finding = judge(made).labels["torch"].findings["gradients"]
    text = parsed.by_id()["evidence-1-gradients"].text
    for told in ("batch step 0", "step 0", "dtype float32", "tensor W1", "worst element [245, 254]",
                 f"got {finding.first.got!r}", f"expected {finding.first.expected!r}",
                 "limit 1e-5", "between rounding in correct code", "seen in correct code <= 2e-6",
                 f"measured {finding.measured} tensors", f"hint {finding.hint}"):  # fmt: skip
        assert told in text, told


def test_the_evidence_of_timing_has_its_parts_and_that_of_accuracy_its_tests(rich):
    ids = rich.by_id()
    for part in ("itself", "clocks", "physics", "across"):
        assert part in ids["evidence-0-timing"].text
    assert "test accuracy, points" in ids["evidence-0-accuracy"].text
    assert "training loss, nats" in ids["evidence-0-accuracy"].text


def test_a_declared_difference_is_shown_as_declared(tmp_path):
    made = pages.diverging(tmp_path)
    from harness.plan.model import Expected

    known = (Expected(label="torch", rung="gradients", reason="its own way"),)
    made.plan = msgspec.structs.replace(made.plan, expect=known)
    parsed = Page(render(made, tmp_path))
    assert "as declared" in cells(parsed)["torch", "gradients"].text
    assert "its own way" in parsed.by_id()["evidence-1-gradients"].text


# ---- the first divergence ------------------------------------------------------------------------


def windows(parsed: Page) -> dict[str, list[list[str]]]:
    starts = ("got", "expected", "difference")
    return {name: rows for name, rows in parsed.tables().items() if name.startswith(starts)}


def test_the_neighbourhood_is_that_of_the_kept_tensors(tmp_path):
    from safetensors.numpy import load_file

    made = pages.diverging(tmp_path)
    parsed = Page(render(made, tmp_path))
    kept = load_file(tmp_path / "tensors" / "kept.safetensors")
    got, want = kept["got.grad.W1"].astype(float), kept["want.grad.W1"]
    # The worst element is one from the right edge: five rows, five of seven columns.
    found = windows(parsed)
    for caption, tensor, rel in (("got", got, 1e-6), ("expected", want, 1e-6),
                                 ("difference, got − expected", got - want, 1e-2)):  # fmt: skip
        header, *rows = found[caption]
        assert header[1:] == ["251", "252", "253", "254", "255"]
        assert [row[0] for row in rows] == ["243", "244", "245", "246", "247"]
        values = [[float(cell.split(" ")[0]) for cell in row[1:]] for row in rows]
        assert np.allclose(values, tensor[243:248, 251:256], rtol=rel, atol=0)
        assert rows[2][4].endswith("(the worst)")
        assert sum(cell.endswith("(the worst)") for row in rows for cell in row) == 1


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda made, folder: (folder / "tensors/kept.safetensors").unlink(), "no such file"),
        (lambda made, folder: (folder / "tensors/kept.safetensors").write_bytes(b"\xff" * 99),
         "cannot be read"),
        (lambda made, folder: setattr(made.kept[0], "file", "../../etc/passwd"), "own folder"),
        (lambda made, folder: made.kept.clear(), "no tensors were kept"),
        (lambda made, folder: setattr(
            make.find(made, "torch", "gradients", dtype="float32", step=0, tensor="W1"),
            "worst", Worst(index=[9999, 0], got=1.0, want=2.0, in_rms=1.0)), "outside"),
        (lambda made, folder: setattr(
            make.find(made, "torch", "gradients", dtype="float32", step=0, tensor="W1"),
            "worst", None), "not kept"),
    ],
)  # fmt: skip
def test_a_neighbourhood_that_cannot_be_shown_is_a_sentence(tmp_path, harm, told):
    made = pages.diverging(tmp_path)
    harm(made, tmp_path)
    parsed = Page(render(made, tmp_path))
    assert windows(parsed) == {}
    (section,) = (s for s in parsed.all("section") if s.attributes["id"] == "divergence")
    assert re.search(f"No neighbourhood: .*{told}", section.text)


def test_a_run_that_agrees_has_no_divergence(rich):
    assert "divergence" not in rich.by_id()
    assert rich.all("h1")[0].text == "✓ agree"


# ---- images --------------------------------------------------------------------------------------


def test_an_image_shows_the_pixels_of_the_record(rich):
    pixels = bytes(i % 251 for i in range(784))
    (image,) = (e for e in rich.all("img") if e.attributes["src"].startswith("data:image/png"))
    data = base64.b64decode(image.attributes["src"].partition(",")[2])
    opened = Image.open(io.BytesIO(data))
    assert (opened.size, opened.mode, opened.tobytes()) == ((28, 28), "L", pixels)
    assert image.attributes["alt"] == (
        "test image 123: true Sneaker; reference says Sneaker; numpy says Sneaker; "
        "torch says Sandal; jax says none (NaN)"
    )


def one(**changes: object) -> Differing:
    pixels = base64.b64encode(bytes(6)).decode()
    fields: dict[str, object] = {"index": 1, "true": 0, "reference": 0, "predicted": {}}
    return Differing(**(fields | {"shape": [2, 3], "pixels": pixels} | changes))


@pytest.mark.parametrize(
    "changes",
    [{"pixels": "%%%"}, {"pixels": ""}, {"shape": [2]}, {"shape": []}, {"shape": [3, 3]},
     {"shape": [0, 6]}, {"shape": [3, 1, 2]}, {"shape": [1, 10**6]}, {"pixels": "AAAA" * 10**5}],
)  # fmt: skip
def test_pixels_that_are_no_image_are_not_shown_as_one(changes):
    assert images.png(one()) != ""
    assert images.png(one(shape=[1, 2, 3])) not in ("", images.png(one()))  # in colour
    assert images.png(one(**changes)) == ""


def test_a_label_called_reference_hides_nothing_of_the_references_own_class():
    made = pages.rich()
    shown = images.image(made, one(reference=3, predicted={"reference": 5}))
    (_, dress), (_, sandal) = shown.facts[1:]
    assert (dress, sandal) == (made.dataset.class_names[3], made.dataset.class_names[5])


def pictured(source: str) -> list[str]:
    sources = [e.attributes["src"] for e in Page(source).all("img")]
    return [address for address in sources if address.startswith("data:image/png")]


def test_the_command_line_writes_the_page_and_leaves_images_out(tmp_path, monkeypatch):
    made = pages.rich()
    write(made, tmp_path)
    files.write(made, judge(made), tmp_path)
    assert len(pictured((tmp_path / "report.html").read_text())) == 1
    monkeypatch.setattr("sys.argv", ["harness", "report", str(tmp_path), "--without-images"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    source = (tmp_path / "report.html").read_text()
    assert pictured(source) == []
    assert "were left out of this page" in source
    assert "operators" in Page(source).data()


# ---- tables --------------------------------------------------------------------------------------


def test_every_table_has_a_caption_and_scopes_and_its_region_can_be_scrolled_by_keyboard(rich):
    for table in rich.all("table"):
        assert len(table.all("caption")) == 1
        assert all("scope" in th.attributes for th in table.all("th"))
        around = table.above
        assert around is not None
        assert around.attributes["tabindex"] == "0"
        assert around.attributes["role"] == "region"
        assert around.attributes["aria-label"]


def test_every_plot_has_a_caption_and_its_figures_in_a_table(rich):
    tiny = [
        Page(render(pages.tiny(name, (1.0, 2.0)))) for name in ("himmelblau", "linear-regression")
    ]
    for page_of, least in ((rich, 13), (tiny[0], 5), (tiny[1], 5)):
        data = page_of.data()
        assert len(data) >= least
        places = [of.attributes.get("data-plot") for of in page_of.all("div")]
        assert sorted(filter(None, places)) == sorted(data)
        for figure in page_of.all("figure"):
            assert figure.all("figcaption")[0].text
            assert len(figure.all("tr")) > 1
    assert "surface" in tiny[0].data()
    assert "line" in tiny[1].data()
    # Contours are the largest of what is drawn of a few numbers.
    assert max(len(of.source) for of in tiny) < 200_000


def test_the_environment_says_in_words_what_differs(rich):
    rows = {row[0]: row[1:] for row in rich.tables()["What the workers said of themselves"][1:]}
    assert rows["python"] == ["same", "3.11.2", "3.11.2", "3.11.2"]
    assert rows["precision:matmul"] == ["≠ differs", "ieee", "highest", "highest"]
    assert rows["version:torch"] == ["only there", "–", "1.2.3", "–"]


def test_processes_of_one_label_that_differ_are_told_apart():
    made = pages.rich()
    made.results["torch"].processes[1].facts["threads"] = "1"
    rows = Page(render(made)).tables()["What the workers said of themselves"]
    (threads,) = (row for row in rows if row[0] == "threads")
    assert threads == ["threads", "≠ differs", "2", "2 (float32); 1 (float64)", "2"]


def test_every_process_has_its_row_and_a_second_one_says_so():
    made = pages.rich()
    made.again["numpy"].processes = [
        msgspec.structs.replace(made.results["numpy"].processes[0], peak_rss_bytes=7 * 10**8)
    ]
    _, *rows = Page(render(made)).tables()["Start-up, compiling and memory of every process"]
    count = sum(len(results.processes) for results in made.results.values())
    assert len(rows) == count + 1
    (again,) = (row for row in rows if row[2] == "0, again")
    assert again[:2] == ["numpy", "float32"]
    assert "700 MB" in again


def test_the_page_has_one_main_heading_and_leads_to_every_section(rich):
    assert len(rich.all("h1")) == 1
    assert {e.attributes["href"] for e in rich.all("nav")[0].all("a")} == {
        f"#{s.attributes['id']}" for s in rich.all("section")
    }
    for section in rich.all("section"):
        level = "h3" if section.above.tag == "section" else "h2"
        named = section.attributes["aria-labelledby"]
        assert [h.attributes.get("id") for h in section.all(level)].count(named) == 1
    parts = {s.attributes["id"]: s.above.attributes.get("id") for s in rich.all("section")}
    owners = [parts[name] for name in ("agreement", "roofline", "environment")]
    assert owners == ["numbers", "speed", "stored"]


def test_what_several_pictures_draw_has_one_legend_above_the_first_of_them(rich):
    (legend,) = (of for of in rich.all("div") if of.attributes.get("id") == "labels")
    groups = [of.attributes["data-group"] for of in legend.all("span")]
    assert {*groups} == {"reference", *pages.NAMES}
    assert len(groups) == 4
    own = {
        (trace["name"], trace.get("showlegend", True))
        for plot in rich.data().values()
        for trace in plot["traces"]
        if trace.get("legendgroup") in groups
    }
    assert own == {(name, False) for name in groups}
    # What one picture alone has stays in its own.
    (limit,) = (t for t in rich.data()["trajectory"]["traces"] if t["name"] == "limit")
    assert limit["showlegend"]
    assert 'id="labels"' not in page.render(Report("agree", sections=[Section("One", id="one")]))
    assert rich.source.index('id="labels"') < rich.source.index('<section id="numbers"')


def test_a_text_of_any_length_is_cut():
    made = make.record()
    make.fail(made, "torch", "x" * 100_000)
    source = render(made)
    assert "… (cut)" in source
    assert "x" * (page.LONGEST_TEXT + 1) not in source


# ---- files ---------------------------------------------------------------------------------------


def test_raw_files_are_linked_relative_and_encoded(tmp_path):
    names = [
        "record.json",
        "logs/a b.txt",
        'logs/"><script>.txt',
        "logs/100%#?.txt",
        "javascript:x",
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "report.html").write_text("an older one")
    (tmp_path / ".hidden").write_text("x")
    os.symlink("/etc/passwd", tmp_path / "link")
    parsed = Page(render(make.record(), tmp_path))
    (section,) = (s for s in parsed.all("section") if s.attributes["id"] == "files")
    links = [a.attributes["href"] for a in section.all("a")]
    assert all(link.startswith("./") for link in links)
    assert sorted(unquote(link.removeprefix("./")) for link in links) == sorted(names)
    assert [a.text for a in section.all("a")] == [unquote(link[2:]) for link in links]


def test_a_folder_with_very_many_files_is_cut(tmp_path):
    for i in range(run_report.MOST_FILES + 5):
        (tmp_path / f"{i}.txt").touch()
    deep = tmp_path / "a" / "b" / "c" / "d" / "e"
    deep.mkdir(parents=True)
    (deep / "too-deep.txt").touch()
    source = render(make.record(), tmp_path)
    assert source.count('href="./') == run_report.MOST_FILES
    assert "too-deep" not in source


# ---- whatever a record holds ---------------------------------------------------------------------


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_record_gives_a_harmless_page(what):
    made = hostile(HOSTILE[what])
    source = render(made)
    parsed = Page(source)
    assert len(source.encode()) < MOST_BYTES / 6
    assert parsed.all("h1")[0].text == "✗ failed"
    assert clean(HOSTILE[what][:99]).split()[0] in parsed.root.text  # there to be read
    # Nothing of the record became a tag, an attribute or an address.
    clean_page = Page(render(hostile("harmless")))
    for tag in ("script", "img", "iframe", "a", "b", "style", "link", "meta"):
        assert len(parsed.all(tag)) == len(clean_page.all(tag)), tag
    ids = parsed.by_id()
    for link in parsed.all("a"):
        address = link.attributes["href"]
        assert address.startswith("./") or address[1:] in ids, address[:80]
    assert parsed.scripts == clean_page.scripts
    body = source[source.index("</style>") : source.rindex('<script type="application/json"')]
    assert not [c for c in body if not c.isprintable() and c != "\n"]
    for held in parsed.data().values():
        bad = [c for c in json.dumps(held, ensure_ascii=False) if not c.isprintable()]
        assert bad == []


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": None},
        {"results": {}, "cases": [], "dataset": None, "ended": "interrupted"},
        {"machine": {}},
        {"known_answers": [KnownAnswer(name="x", want="1", got="2")]},
        {"cases": [], "lockstep_steps": []},
    ],
)
def test_a_record_without_a_section_gives_a_page(changes):
    made = make.record(**changes)
    parsed = Page(render(made))
    assert parsed.all("h1")[0].text.split(" ")[1] == judge(made).verdict
    parsed.by_id()


def test_twelve_labels_give_a_page_and_what_failed_is_named_with_its_reason():
    names = ("numpy", "jax", *(f"torch:{i}" for i in range(10)))
    made = make.record(names)
    make.fail(made, "torch:0", "died of SIGSEGV")
    make.skip(made, "jax", "jax not installed")
    parsed = Page(render(made))
    assert {name for name, _ in cells(parsed)} == set(names)
    assert cells(parsed)["jax", "inputs"].text == "jax not installed"
    assert parsed.all("h1")[0].text == "✗ failed"
    for told in ("torch:0 failed: died of SIGSEGV", "jax skipped: jax not installed"):
        assert told in parsed.root.text


@pytest.mark.parametrize(("changes", "warning"), WARNED)
def test_warnings_stand_above_everything_else(changes, warning):
    (header,) = Page(render(make.record(**changes))).all("header")
    assert warning in header.text
    (clear,) = Page(render(make.record())).all("header")
    assert warning not in clear.text
