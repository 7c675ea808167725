"""Text of users is inert in page, card and figures: no link, no picture, no mark that turns the direction of others."""

import re
from html.parser import HTMLParser

import PIL.Image
import pytest
import yaml
from markdown_it import MarkdownIt

from excise import Selection, Unlearner
from excise.data.forget_sets import UNSEEN
from excise.report import Record, write_report
from excise.report.card import model_card
from excise.report.markdown import escaped, plain
from excise.report.page import page
from tests.helpers.evidence import SITE, class_evaluation, class_frontier, enrichment_of, text_evaluation

MARKDOWN = MarkdownIt("commonmark").enable("table")
MARKS = "".join(map(chr, [0x202A, 0x202B, 0x202C, 0x202D, 0x202E, 0x2066, 0x2067, 0x2068, 0x2069, 0x200E, 0x200F]))
MARKS += "".join(map(chr, [0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF, 0x61C, 0xAD]))
NASTY = [
    "[x](http://evil.example)",
    "![x](https://evil.example/x.png)",
    "<img src=https://evil.example/x.png onerror=alert(1)>",
    "<a href='https://evil.example'>x</a>",
    "<https://evil.example>",
    "see https://evil.example now",
    "HTTP://EVIL.EXAMPLE",
    "www.evil.example",
    "mailto:a@evil.example",
    "a@evil.example",
    "@user and @org/team",
    "#1 and owner/repo#12",
    "[x]: http://evil.example",
    "[^1] and [[x]]",
    f"a{MARKS}b",
    "\u202etxt.exe [x](http://evil.example) `@a` | @b",
]
LINKS = re.compile(r"://|www\.|@|#\d|mailto:", re.IGNORECASE)


class Links(HTMLParser):
    """What a page would load or lead to."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        names = {"href", "src", "srcset", "action", "xlink:href", "poster", "data"}
        self.found += [(tag, value) for name, value in attrs if name in names and not value.startswith(("#", "data:"))]
        self.found += [(tag, name) for name, _ in attrs if name.startswith("on")]


def record(make_model, tokenizer, text) -> Record:
    """A record in which a text stands wherever users put any."""
    unlearner = Unlearner(make_model(), tokenizer)
    unlearner.mask(Selection({SITE: [3, 7]}, {"q": 0.05, "note": text}), text)
    outputs = {"before": {"heldout": [f"{text} a"], "heldout_retain": [text]}}
    outputs |= {"after": {"heldout": [f"b {text}"], "heldout_retain": [f"{text} c"]}}
    texts = {"heldout": [text], "heldout_retain": [text]}
    about = {"outputs": outputs, "texts": texts, "references": texts, "words": [text]}
    classes = {"outputs": {c: {s: [text, "red"] for s in texts} for c in outputs}}
    return Record.of(
        unlearner.model,
        evaluations=[text_evaluation(text) | about, class_evaluation(text) | classes],
        frontiers=[class_frontier(text) | {"method": text}],
        enrichments={text: enrichment_of()},
        tokens={(SITE, 3): {text: 12}},
        thumbnails={(SITE, 3): PIL.Image.new("RGB", (8, 8))},
        data={"name": text, "split": text, "source": text},
        base_model={"id": text, "revision": text},
        settings={"command": text},
    )


@pytest.mark.parametrize("text", NASTY)
def test_no_text_acts_in_the_card(make_model, tokenizer, text):
    made = record(make_model, tokenizer, text)
    for card in (model_card(made, load_with=text), model_card(made)):
        assert not UNSEEN.search(str(card))
        assert yaml.safe_load(card.data.to_yaml())
        tokens = MARKDOWN.parse(card.text)
        children = [child for token in tokens for child in token.children or ()]
        own = {"report/index.html", "report/enrichment-"}
        for child in children:
            target = child.attrGet("href") or child.attrGet("src")
            assert target is None or target.startswith(("report/", *own))
            assert child.type not in ("html_inline", "html_block")
            # A site that makes links of addresses, users and numbers of issues does so in text, and not in code.
            if child.type == "text":
                assert not LINKS.search(child.content)
        assert not [token for token in tokens if token.type == "html_block"]


def test_no_text_acts_in_page_or_figures(make_model, tokenizer, tmp_path):
    write_report(record(make_model, tokenizer, NASTY[-1]), tmp_path / "report")
    drawn = [path.read_text() for path in (tmp_path / "report").glob("*.svg")]
    written = [(tmp_path / "report" / "index.html").read_text(), page(record(make_model, tokenizer, " ".join(NASTY)))]
    assert len(drawn) == 2
    for text in (*drawn, *written):
        links = Links()
        links.feed(text)
        assert links.found == [] and '<a href="h' not in text
        assert not UNSEEN.search(text)


def test_marks_of_direction_are_shown_as_escapes():
    assert plain("a\u202eb\u200bc") == r"a\u202eb\u200bc"
    assert MARKDOWN.render(escaped("a\u202eb")) == "<p>a\\u202eb</p>\n"


def test_what_is_no_link_stays_text():
    assert escaped("number 1, a_b, 5 % of C#") == r"number 1, a\_b, 5 % of C\#"
