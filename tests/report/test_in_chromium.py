"""The page in a browser, as a reader opens it: from a file, without a network."""

import json

import numpy as np
import pytest
from selenium.webdriver.common.keys import Keys

from excise.codes.enrichment import CountTable, enrich_counts
from excise.codes.selection import Selection
from excise.report import Record
from excise.report.page import page
from excise.report.sections import codes_section
from excise.unlearner import Unlearner
from tests.helpers.chromium import chromium, executables
from tests.helpers.evidence import SITE, class_evaluation, class_frontier, enrichment_of, text_evaluation

pytestmark = pytest.mark.skipif(executables() is None, reason="there is no Chromium with its driver on this machine")


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture
def opened(tab, record, tmp_path):
    """The page of a record, in the tab."""
    path = written(record, tmp_path)
    tab.open(path)
    return path


def written(record, folder):
    path = folder / "index.html"
    path.write_text(page(record), encoding="utf-8")
    return path


def selected(tab) -> str:
    return tab.run("document.querySelector('#panel h3').textContent")


def test_it_opens_without_a_complaint_and_asks_for_nothing_else(tab, opened):
    assert tab.complaints() == []
    assert tab.requests() == [opened.resolve().as_uri()]
    text = tab.run("document.body.innerText")
    for words in ("Partly forgotten: teacher", "Masked: reversible", "Not shown", "The ledger"):
        assert words in text
    assert tab.run("document.title") == "Partly forgotten: teacher"


def test_a_complaint_and_a_request_of_a_page_would_be_noticed(tab, tmp_path):
    path, picture = tmp_path / "page.html", tmp_path / "none.png"
    path.write_text(f"<img src='{picture.as_uri()}'><script>console.log('a word'); undefined.x</script>")
    tab.open(path)
    assert tab.requests() == [path.as_uri(), picture.as_uri()]
    complaints = "\n".join(tab.complaints())
    for words in ("a word", "Uncaught TypeError", "none.png"):
        assert words in complaints


def test_arrow_keys_move_among_the_codes_and_the_panel_tells_of_each(tab, opened):
    tab.run("document.getElementById('plot').focus()")
    assert selected(tab) == "Code 3: removed"  # the surest, from the start
    panel = "document.getElementById('panel')"
    assert tab.run(f"{panel}.getAttribute('aria-live')") == "polite"
    text = tab.run(f"{panel}.innerText")
    assert "new" in text and "20 ×" in text and "40 of 40" in text and "0 of 40" in text
    assert tab.run(f"{panel}.querySelector('img').alt") == "Images that select code 3"
    tab.press(Keys.ARROW_DOWN)
    assert selected(tab) == "Code 7: removed"
    tab.press(Keys.ARROW_UP)
    assert selected(tab) == "Code 3: removed"
    tab.press(Keys.END)
    assert "removed" not in (last := selected(tab))
    tab.press(Keys.ARROW_DOWN)
    assert selected(tab) == last  # there is none below
    tab.press(Keys.HOME)
    assert selected(tab) == "Code 3: removed"


def test_every_code_can_be_reached_from_left_to_right(tab, opened):
    tab.run("document.getElementById('plot').focus()")
    for _ in range(40):
        tab.press(Keys.ARROW_LEFT)
    seen = [selected(tab)]
    for _ in range(31):
        tab.press(Keys.ARROW_RIGHT)
        seen.append(selected(tab))
    assert len(set(seen)) == 32


def test_the_plot_is_reached_by_the_tabulator_and_shows_where_it_is(tab, opened):
    tab.run("document.getElementById('only').focus()")
    tab.press(Keys.TAB)
    assert tab.run("document.activeElement.id") == "plot"
    style = tab.run("getComputedStyle(document.activeElement).outlineStyle")
    assert style == "solid"


def test_pointing_at_a_code_tells_of_it(tab, opened):
    # where the ring is, is the surest code; elsewhere first
    tab.run("document.getElementById('plot').scrollIntoView()")
    place = "document.getElementById('ring').getBoundingClientRect()"
    home = tab.run(f"(() => {{ const b = {place}; return [b.x + b.width / 2, b.y + b.height / 2]; }})()")
    tab.run("document.getElementById('plot').focus()")
    tab.press(Keys.END)
    assert "removed" not in selected(tab)
    tab.point(*home)
    assert selected(tab).endswith(": removed")


def test_codes_are_found_by_their_tokens_and_numbers(tab, opened):
    def find(text):
        tab.run(f"document.getElementById('search').value = {json.dumps(text)}")
        tab.run("document.getElementById('search').dispatchEvent(new Event('input'))")
        return tab.run("document.getElementById('found').textContent")

    assert find("HOUSE") == "1 code"
    tab.run("document.getElementById('plot').focus()")
    tab.press(Keys.ARROW_RIGHT)
    assert selected(tab) == "Code 5"
    assert find("7") == "1 code"
    assert find("no such token") == "0 codes"
    assert find("") == ""
    tab.run("document.getElementById('only').click()")
    assert tab.run("document.getElementById('found').textContent") == "2 codes"
    assert tab.complaints() == []


def test_a_topic_is_chosen_and_its_codes_are_drawn(tab, forgetful, tmp_path):
    tables = {"teacher": enrichment_of(), "book": enrichment_of(own=(11, 12))}
    tab.open(written(Record.of(forgetful, enrichments=tables), tmp_path))
    assert selected(tab) == "Code 3: removed"
    tab.run("document.getElementById('topics').selectedIndex = 1")
    tab.run("document.getElementById('topics').dispatchEvent(new Event('change'))")
    assert selected(tab) == "Code 11"  # of another topic: not removed for this one
    assert tab.complaints() == []


def test_the_plot_is_drawn_in_the_colours_of_the_theme(tab, opened):
    grounds, drawn = [], []
    for dark in (False, True):
        tab.open(opened, dark=dark)
        grounds.append(tab.run("getComputedStyle(document.body).backgroundColor"))
        drawn.append(tab.run("document.getElementById('canvas').toDataURL()"))
        colours = "getComputedStyle(document.body).color"
        assert contrast(tab.run(colours), grounds[-1]) >= 7
    assert grounds[0] == "rgb(255, 255, 255)" and grounds[0] != grounds[1]
    assert drawn[0] != drawn[1] and len(drawn[0]) > 2_000


def test_quiet_words_and_marks_have_contrast_in_both_themes(tab, opened):
    for dark in (False, True):
        tab.open(opened, dark=dark)
        for selector in (".quiet", ".badge", "del", "ins", "thead th", ".example .out > :first-child"):
            found = tab.run(
                f"""(() => {{
                    let at = document.querySelector({json.dumps(selector)});
                    const colour = getComputedStyle(at).color;
                    while (getComputedStyle(at).backgroundColor === "rgba(0, 0, 0, 0)") at = at.parentElement;
                    return [colour, getComputedStyle(at).backgroundColor];
                }})()"""
            )
            assert contrast(*found) >= 3.2 if selector == ".badge" else contrast(*found) >= 4.5, (selector, dark)


def test_each_point_of_the_frontier_can_be_reached_and_says_what_it_is(tab, opened):
    tab.run("document.querySelector('figure.frontier summary').scrollIntoView()")
    points = tab.run("[...document.querySelectorAll('figure.frontier [tabindex]')].map((p) => p.ariaLabel)")
    assert len(points) == 4 + 3 and len(set(points)) == 7
    tab.run("document.querySelector('figure.frontier [tabindex]').focus()")
    for point in points:
        assert tab.run("document.activeElement.ariaLabel") == point
        assert tab.run("document.activeElement.querySelector('title').textContent") == point
        tab.press(Keys.TAB)
    assert tab.run("document.activeElement.localName") == "summary"


def test_the_frontier_is_drawn_in_the_colours_of_the_theme(tab, opened):
    for dark in (False, True):
        tab.open(opened, dark=dark)
        ground = tab.run("getComputedStyle(document.querySelector('figure.frontier')).backgroundColor")
        behind = "document.querySelector('figure.frontier > svg path')"
        assert tab.run(f"getComputedStyle({behind}).fill") == ground
        for selector, least in (("text", 4.5), ("[tabindex]", 3)):
            parts = f"[...document.querySelectorAll('figure.frontier > svg {selector}')]"
            paint = "fill" if selector == "text" else "stroke"
            for colour in tab.run(f"{parts}.map((part) => getComputedStyle(part).{paint})"):
                assert contrast(colour, ground) >= least, (selector, colour, dark)


def test_no_two_elements_have_the_same_name(tab, opened):
    names = tab.run("[...document.querySelectorAll('[id]')].map((part) => part.id)")
    assert len(names) == len(set(names)) > 50


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, 1 to 21, by the Web Content Accessibility Guidelines 2."""

    def luminance(colour):
        if colour.startswith("color(srgb "):  # a mixed one
            parts = [float(part) for part in colour.removeprefix("color(srgb ").removesuffix(")").split()]
        else:
            parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
        red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("kind", ["texts", "classes", "long words", "nothing"])
def test_nothing_sticks_out_on_a_phone(tab, make_model, tokenizer, forgetful, record, tmp_path, kind):
    long = "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen" * 2
    Unlearner(wordy := make_model(), tokenizer).mask(Selection({SITE: [3]}, {long: long}), long)
    records = {
        "texts": lambda: record,
        "classes": lambda: Record.of(forgetful, evaluations=[class_evaluation()] * 3, frontiers=[class_frontier()]),
        "long words": lambda: Record.of(
            wordy,
            evaluations=[text_evaluation(long, references={"heldout": [long] * 2, "heldout_retain": [long]})],
            enrichments={long: enrichment_of()},
            tokens={(SITE, 3): {long: 1}},
            data={long: long, "deep": {"x": long}},
            base_model={"id": long, "revision": long},
        ),
        "nothing": lambda: Record.of(forgetful),
    }
    tab.open(written(records[kind](), tmp_path), width=360, height=740)
    tab.run("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    assert tab.run("document.documentElement.scrollWidth") == 360
    assert tab.run("window.innerWidth") == 360
    assert tab.complaints() == []


def test_texts_of_a_record_are_never_run(tab, forgetful, tmp_path):
    bad = "</script><script>document.title = 'run'</script><img src=x onerror=\"document.title = 'run'\">"
    record = Record.of(
        forgetful,
        evaluations=[text_evaluation(bad)],
        enrichments={bad: enrichment_of()},
        tokens={(SITE, 3): {bad: 1}},
        settings={bad: bad},
    )
    tab.open(written(record, tmp_path))
    assert bad in tab.run("document.getElementById('panel').innerText")
    assert tab.run("document.title") == "Forgetting not measured: teacher"
    assert tab.complaints() == [] and len(tab.requests()) == 1


def test_the_page_of_25_000_codes_is_light_and_there_at_once(tab, forgetful, tmp_path):
    rng = np.random.default_rng(0)
    seen = rng.integers(1, 400, (2, 25_000))
    both = (seen.min(0) * rng.uniform(0.5, 1, 25_000)).astype(np.int64)
    table = CountTable(*seen, 500, 500, seen[0] - both, seen[1] - both)
    enrichment = enrich_counts({SITE: table}, top_s=24, positions="topic")
    words = ["".join(letters) for letters in rng.choice([*"abcdefghijklmnopqrstuvwxyz"], (8_000, 7)).tolist()]
    chosen, counts = rng.integers(0, 8_000, (25_000, 6)).tolist(), rng.integers(1, 9_999, (25_000, 6)).tolist()
    tokens = {
        (SITE, code): {words[i]: count for i, count in zip(chosen[code], counts[code], strict=True)}
        for code in range(25_000)
    }
    record = Record.of(forgetful, enrichments={"teacher": enrichment})
    record = Record(record.state | {"codes": codes_section(tokens, None)}, record.enrichments)  # unchecked: seconds
    path = written(record, tmp_path)
    assert path.stat().st_size <= 3_000_000
    tab.open(path)
    paints = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
    assert tab.run(paints) <= 1_000
    assert tab.complaints() == []
    assert "selected by the tokens" in tab.run("document.getElementById('panel').innerText")
