"""The model card: what it says is what the record says, and no text of a user breaks it."""

import ast
import importlib

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from excise import Unlearner
from excise.codes.asked import Asked, put_in_force
from excise.codes.enrichment import Enrichment
from excise.codes.search import PRESETS, Search
from excise.codes.selection import Selection, by_activations
from excise.ledger.embeddings import vocabulary_tables
from excise.models.remote_code import requirements
from excise.report import Record, write_report
from excise.report.card import model_card
from excise.report.card.metadata import license_fields
from excise.report.card.requests import how_found
from excise.report.context import context
from excise.report.markdown import code, escaped, plain
from tests.helpers import tiny, tiny_images
from tests.helpers.evidence import SITE, class_evaluation, class_frontier, enrichment_of, text_evaluation

MARKDOWN = MarkdownIt("commonmark").enable("table")
NASTY = [
    "a | b",
    "two\nlines | three\r\n---\n",
    "---\nlicense: mit\n---",
    "quotes \" and ' and : colons: yes",
    "*stars* _lines_ `ticks` ~~gone~~",
    "[link](http://127.0.0.1) ![image](x.png)",
    "<script>alert(1)</script> &amp; <!-- -->",
    "{{ 7 * 7 }} {% raw %}",
    "back\\slash \\| bar",
    "# heading",
    "1. list",
    "- item",
    "=====",
    "null",
    "no",
    "\u96e8\u2028\x07 rain",
    "$x$",
]


TOPICS = "water teacher car wish love Mary Boston book house".split()


def masked(topic="teacher", thresholds=None, kind="mask"):
    model = tiny.codebook_t5((1,))
    unlearner = Unlearner(model, None)
    selection = Selection({SITE: [3, 7]}, thresholds or {"method": "mcnemar", "q": 0.05})
    (unlearner.mask if kind == "mask" else unlearner.delete)(selection, topic)
    return model


def record(topic="teacher", mode="mask", kind="mask", **evidence) -> Record:
    evidence = {
        "evaluations": [text_evaluation(topic)],
        "enrichments": [(topic, enrichment_of())],
        "data": {"name": "sentence pairs", "split": "test"},
        "base_model": {"id": "someone/base", "revision": "0" * 40},
    } | evidence
    return Record.of(masked(topic, kind=kind), mode=mode, **evidence)


def classes(count=200, **evidence) -> Record:
    """Of a key-value model that forgot *red* by activations."""
    model = tiny_images.key_value_model()
    counts = [i % 7 for i in range(model.bottleneck.num_codes)]
    Unlearner(model, None).mask(by_activations({"bottleneck": np.array(counts)}, count), "red")
    return Record.of(model, **evidence)


def tables(text: str) -> list[list[list[str]]]:
    """The tables of a Markdown text: the text of each cell, row by row."""
    found, tokens = [], MARKDOWN.parse(text)
    for i, token in enumerate(tokens):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type == "inline" and tokens[i - 1].type in ("td_open", "th_open"):
            found[-1][-1].append(shown(token))
    return found


def shown(token) -> str:
    """What a reader sees of a line; a line break or raw HTML is none of it."""
    assert not {child.type for child in token.children} & {"html_inline", "softbreak", "hardbreak"}
    return "".join(child.content for child in token.children)


def code_blocks(text: str) -> list[str]:
    return [token.content for token in MARKDOWN.parse(text) if token.type == "fence" and token.info == "python"]


def body(card: ModelCard) -> str:
    return card.text.strip()


def test_the_first_line_of_a_mask_says_that_it_is_reversible_and_private():
    first = body(model_card(record())).splitlines()[0]
    assert "reversible" in first and "private" in first


def test_the_first_line_of_a_deletion_says_that_it_cannot_be_undone():
    first = body(model_card(record(mode="delete", kind="delete"))).splitlines()[0]
    assert "deleted" in first and "cannot be undone" in first and "reversible" not in first


def test_a_first_line_goes_by_what_is_in_force_and_not_by_the_mode():
    first = body(model_card(record(mode="mask", kind="delete"))).splitlines()[0]
    assert "cannot be undone" in first and "reversible" not in first
    model = masked()
    Unlearner(model, None).undo(1)
    first = body(model_card(Record.of(model))).splitlines()[0]
    assert "undone" in first and "reversible" not in first


def test_the_first_line_of_a_model_that_forgot_nothing_says_so():
    card = model_card(Record.of(tiny.codebook_t5(), mode="delete"))
    assert "Nothing was forgotten" in body(card).splitlines()[0]
    assert "It was not measured" in card.text


def test_a_card_comes_back_from_its_file_as_it_was(tmp_path):
    card = model_card(record(), load_with="someone/model")
    card.save(tmp_path / "README.md")
    again = ModelCard.load(tmp_path / "README.md")
    assert str(again) == str(card)
    assert again.data.to_dict() == card.data.to_dict()


def test_the_same_record_gives_the_same_card_saved_or_not(tmp_path):
    first = record()
    first.save(tmp_path / "report")
    cards = [str(model_card(one)) for one in (first, first, Record.load(tmp_path / "report"))]
    assert cards[0] == cards[1] == cards[2]


def test_the_head_tells_the_hub_what_it_is():
    data = {"name": "someone/pairs", "language": ["en", "fr"], "license": "Apache-2.0", "task": "translation"}
    head = model_card(record(data=data)).data.to_dict()
    assert head["library_name"] == "transformers"
    assert (head["base_model"], head["base_model_relation"]) == ("someone/base", "finetune")
    assert (head["pipeline_tag"], head["license"], head["language"]) == ("translation", "apache-2.0", ["en", "fr"])
    assert head["datasets"] == ["someone/pairs"]
    assert {"excise", "machine-unlearning", "codebook"} <= set(head["tags"])
    assert head["metrics"] == ["chrf", "sacrebleu"]


def test_what_the_hub_has_no_name_for_is_left_out_of_the_head():
    data = {"name": "sentence pairs", "language": "English", "license": "CC BY 2.0 FR"}
    head = model_card(record(data=data, base_model={"id": "/home/me/base", "revision": None})).data.to_dict()
    assert not {"datasets", "language", "base_model", "base_model_relation"} & head.keys()
    assert (head["license"], head["license_name"]) == ("other", "cc-by-2.0-fr")
    assert "license" not in model_card(record(data={})).data.to_dict()


@pytest.mark.parametrize(
    ("given", "identifier"), [("MIT", "mit"), ("CC-BY-4.0", "cc-by-4.0"), ("openrail++", "openrail++")]
)
def test_a_licence_is_found_by_its_identifier(given, identifier):
    assert license_fields(given) == {"license": identifier}


def test_the_model_index_has_the_numbers_after_forgetting():
    card = model_card(record(), load_with="someone/model")
    name, results = model_index_to_eval_results(yaml.safe_load(card.data.to_yaml())["model-index"])
    assert name == "model"
    numbers = {(result.dataset_config, result.metric_name): result.metric_value for result in results}
    assert numbers == {
        ("teacher, heldout", "BLEU with the codes removed"): 14.9,
        ("teacher, heldout", "chrF with the codes removed"): 34.9,
        ("teacher, heldout", "rest BLEU with the codes removed"): 14.9,
        ("teacher, heldout", "topic recall with the codes removed"): 0.1,
        ("teacher, heldout_retain", "BLEU with the codes removed"): 30.1,
        ("teacher, heldout_retain", "chrF with the codes removed"): 50.1,
    }
    assert {result.dataset_split for result in results} == {"test"}


def test_topics_do_not_mix_in_the_model_index():
    two = [text_evaluation("teacher"), text_evaluation("water")]
    two[1]["scores"]["after"]["heldout"]["recall"] = 0.25
    (index,) = model_card(record(evaluations=two)).data.to_dict()["model-index"]
    assert len(index["results"]) == 4
    recalls = {
        result["dataset"]["name"]: metric["value"]
        for result in index["results"]
        for metric in result["metrics"]
        if metric["type"] == "topic_recall"
    }
    assert recalls == {
        "sentence pairs, with the topic: teacher": 0.1,
        "sentence pairs, with the topic: water": 0.25,
    }


def test_a_score_that_is_no_number_is_not_in_the_index_and_a_dash_in_the_table():
    evaluation = text_evaluation()
    evaluation["scores"]["after"]["heldout"] |= {"bleu": float("nan"), "recall": float("nan")}
    card = model_card(record(evaluations=[evaluation]))
    names = [result.metric_name for result in card.data.eval_results if result.dataset_config == "teacher, heldout"]
    assert names == ["chrF with the codes removed", "rest BLEU with the codes removed"]
    after = next(row for table in tables(card.text) for row in table if row[0] == "after")
    assert after[1] == after[4] == "–"
    assert "nan" not in card.content


def test_a_class_without_an_evaluation_has_its_accuracies_from_the_frontier():
    card = model_card(classes(frontiers=[class_frontier()]))
    values = {result.dataset_config: result.metric_value for result in card.data.eval_results}
    assert values == {"red, heldout": 0.1, "red, heldout_retain": 0.79}
    assert card.data.metrics == ["accuracy"]


@pytest.mark.parametrize("count", [150, 160])
def test_a_frontier_tells_nothing_of_a_model_that_is_not_on_it(count):
    frontier = class_frontier()
    frontier["points"] = [point for point in frontier["points"] if point[0] != 100]
    assert model_card(classes(count, frontiers=[frontier])).data.eval_results is None


def test_an_evaluation_goes_before_a_frontier():
    evaluation = class_evaluation() | {"removed": 200}
    card = model_card(classes(evaluations=[evaluation], frontiers=[class_frontier()]))
    assert {r.dataset_config: r.metric_value for r in card.data.eval_results}["red, heldout"] == 0.0


def test_the_table_has_the_control_and_the_intervals_beside_the_scores():
    card = model_card(record())
    table = next(table for table in tables(card.text) if any(row[0] == "after" for row in table))
    assert table[0][1:] == [
        *(f"{name}, with the topic" for name in ("BLEU", "chrF", "rest BLEU", "topic recall")),
        *(f"{name}, without the topic" for name in ("BLEU", "chrF")),
    ]
    assert [row[0] for row in table[1:]] == ["before", "after", "control: as many random codes removed"]
    assert table[2][1:] == ["14.9", "34.9", "14.9", "0.100 (0.000 to 0.200)", "30.1", "50.1"]


def test_classes_are_told_by_their_accuracies():
    card = model_card(classes(evaluations=[class_evaluation()], frontiers=[class_frontier()]))
    evaluation, frontier = tables(card.text)[2:]
    assert evaluation[0][1:] == ["accuracy, of the class", "accuracy, of other classes"]
    assert evaluation[1][1] == "0.900 (0.810 to 0.990)"
    assert frontier[-1] == ["400", "300", "0.00 % (0.00 to 3.62)", "75.00 % (69.70 to 79.80)"]


def test_of_a_long_frontier_the_card_shows_a_few_points_and_the_ends():
    frontier = class_frontier()
    frontier["points"] = [[i, i, 1 - i / 100, 0.8] for i in range(100)]
    rows = tables(model_card(classes(frontiers=[frontier])).text)[-1]
    assert len(rows) == 13
    assert (rows[1][0], rows[-1][0]) == ("0", "99")


@pytest.mark.parametrize("topic", NASTY)
def test_no_topic_breaks_the_head_or_a_table_and_each_is_read_as_it_was_given(topic):
    evaluation = text_evaluation(topic)
    card = model_card(record(topic, evaluations=[evaluation], data={topic: topic, "name": topic, "split": topic}))
    again = ModelCard(str(card))
    assert again.data.to_dict() == card.data.to_dict()
    assert set(yaml.safe_load(card.data.to_yaml())) <= {
        *("base_model", "base_model_relation", "library_name", "metrics", "model-index", "pipeline_tag", "tags"),
    }
    _, requests, scores = tables(card.text)
    assert [len(row) for row in requests] == [6, 6]
    assert requests[1][1] == plain(topic)
    assert len({len(row) for row in scores}) == 1
    kinds = {token.type for token in MARKDOWN.parse(card.text)}
    assert not kinds & {"html_block", "hr", "ordered_list_open", "lheading_open", "blockquote_open"}
    headings = [token.tag for token in MARKDOWN.parse(card.text) if token.type == "heading_open"]
    assert headings == ["h1", *["h2"] * 8]


@given(st.text())
def test_any_text_is_read_in_a_table_as_it_was_given(text):
    ((_, row),) = tables(f"| a | b |\n|---|---|\n| {escaped(text)} | end |")
    assert row == [plain(text), "end"]


@given(st.text())
def test_any_text_is_read_in_a_line_as_it_was_given(text):
    tokens = MARKDOWN.parse(f"- {escaped(text)}")
    assert [token.type for token in tokens if token.nesting >= 0 and token.type != "inline"] in (
        ["bullet_list_open", "list_item_open", "paragraph_open"],
        ["bullet_list_open", "list_item_open"],
    )
    assert "".join(shown(token) for token in tokens if token.type == "inline") == plain(text)


@given(st.text(min_size=1))
def test_any_text_is_read_as_code_in_a_table_but_for_its_bars(text):
    ((_, row),) = tables(f"| a | b |\n|---|---|\n| {code(text)} | end |")
    assert row[0].strip() == plain(text).replace("|", "\N{DIVIDES}") and row[1] == "end"


THRESHOLDS = [
    ({}, ["chosen by hand"]),
    ({"method": "activations", "count": 200_000}, ["N_a = 200,000", "most often"]),
    ({"method": "examples", "count": 3_400, "seed": 5}, ["N_e = 3,400", "seed 5"]),
    (
        {"method": "fisher", "positions": "class_token", "codes_by_round": [419, 1_860]},
        ["at the class token", "searched again under the mask of what was found: 419 and 1,860 codes"],
    ),
    ({"method": "paper", "q": 0.05, "top_s": 104, "positions": "all"}, ["not corrected", "p at most 0.05", "S' = 104"]),
    ({"q": 0.05, "effect": 0.1, "count": 9}, ["at most 0.05", "at least 0.1", "at most 9 codes"]),
    ({"max_loss_rise": 0.01, "loss_rise": 0.0082}, ["loss on retained examples by at most 0.01", "0.0082"]),
    ({"max_probability_fall": 0.03, "probability_fall": 0.0281}, ["retained answers by at most 0.03", "0.0281"]),
    ({"heldout_loss_rise": 0.0071, "heldout_probability_fall": 0.031}, ["did not choose them, by 0.0071", "0.031"]),
    ({"method": "activations", "count": 9, "positions": "topic"}, ["N_a = 9 codes", "at the tokens of the topic's"]),
    ({"q": 0.01, "deletes_request": 3, "taken_out": 12}, ["the codes of request 3", "12 rows taken out"]),
    (
        {"searches": [{"method": "fisher"}, {"method": "chi2"}], "count": 5},
        ["Fisher", "chi-squared", "at most 5 codes"],
    ),
    ({"my_rule": "by ear"}, ["my_rule by ear"]),
]


@pytest.mark.parametrize(("thresholds", "words"), THRESHOLDS)
def test_thresholds_are_told_in_words(thresholds, words):
    said = how_found(thresholds)
    assert all(word in said for word in words), said


@pytest.mark.parametrize("search", [*PRESETS["default"], *PRESETS["paper"], Search(method="fisher", positions="all")])
def test_what_a_search_selects_by_has_words_for_all_of_it(search):
    table = enrichment_of()
    table = Enrichment(**vars(table) | {"method": search.method, "positions": search.positions or "topic"})
    said = how_found(search.select(table).thresholds)
    assert "40 target examples and 40 control examples" in said and "S' = 6" in said
    assert not any(key in said for key in ("num_target", "max_retain_ratio", "top_s", "None"))


def test_an_undone_request_is_told_and_not_offered_to_undo():
    model = masked()
    unlearner = Unlearner(model, None)
    unlearner.undo(1)
    unlearner.mask(Selection({SITE: [5]}), "water")
    card = model_card(Record.of(model))
    _, requests, *_ = tables(card.text)
    assert requests[1][-1].startswith("undone 20") and requests[2][-1] == "masked"
    assert "unlearner.undo(2)" in card.text and "unlearner.undo(1)" not in card.text
    assert "# T5 with a codebook (forgetting not measured: water)\n" in card.text


def test_a_mask_that_was_deleted_later_is_told_and_not_offered_to_undo():
    model = masked()
    unlearner = Unlearner(model, None)
    unlearner.mask(Selection({SITE: [5]}), "water")
    unlearner.delete_request(1)
    card = model_card(Record.of(model))
    _, requests, *_ = tables(card.text)
    assert [row[-1] for row in requests[1:]] == ["deleted by request 3", "masked", "deleted for good"]
    assert "1 request can be undone" in card.text and "unlearner.undo(2)" in card.text
    assert "undo(" not in model_card(Record.of(model, mode="delete")).text


def test_the_plain_class_is_warned_of_where_it_would_load_the_checkpoint():
    warning = "The plain class of the base model would load it"
    assert warning in model_card(record()).text
    assert warning not in model_card(record(), bottleneck_only=True).text
    assert warning not in model_card(classes()).text


def test_a_deletion_is_offered_no_undo():
    card = model_card(record(mode="delete", kind="delete"))
    assert "undo(" not in card.text and "cannot be undone" in card.text


def test_checks_and_what_is_not_shown_are_on_the_card():
    checks = [
        {"name": "read back", "passed": True, "detail": "0 of 2 rows | found"},
        {"name": "loads", "passed": False, "detail": ""},
    ]
    one = record().for_model(masked(), mode="mask", checks=checks)
    text = model_card(one).text
    assert "- passed: read back (0 of 2 rows \\| found)\n- **failed**: loads\n" in text
    lines = [shown(token) for token in MARKDOWN.parse(text) if token.type == "inline"]
    assert set(one.state["not_shown"]) <= set(lines)


def test_what_its_author_adds_is_on_the_card_as_it_is():
    notes = "### Each class\n\n| a | b |\n|---|---|\n| 1 | 2 |"
    text = model_card(record(data={"name": "pairs", "notes": notes})).text
    assert f"## Notes\n\n{notes}\n" in text and text.count("### Each class") == 1
    assert "## Notes" not in model_card(record()).text


def test_a_title_names_a_few_topics_and_counts_many():
    model = masked("water")
    unlearner = Unlearner(model, None)
    for number in range(8):
        text = model_card(Record.of(model)).text
        topics = ", ".join(TOPICS[: number + 1])
        assert f"# T5 with a codebook (forgetting not measured: {topics})\n" in text
        unlearner.mask(Selection({SITE: [number + 10]}), TOPICS[number + 1])
    title = "# T5 with a codebook (forgetting not measured: 9 topics)\n"
    assert title in model_card(Record.of(model)).text


def test_data_and_settings_are_told_as_far_as_they_are_words_and_numbers():
    text = model_card(record(data={"language": ["en", "fr"], "rows": 9}, settings={"seed": 0, "more": {"a": 1}})).text
    assert "- language: en, fr\n- rows: 9\n- seed: 0\n- excise" in text


def test_every_file_that_the_card_links_to_is_in_the_report(tmp_path):
    one = record(frontiers=[class_frontier()])
    write_report(one, tmp_path / "report")
    inline = [child for token in MARKDOWN.parse(model_card(one).text) for child in token.children or ()]
    links = [
        child.attrs.get("href") or child.attrs.get("src") for child in inline if child.type in ("link_open", "image")
    ]
    assert sorted(links) == [
        *("report/enrichment-teacher.parquet", "report/frontier.png", "report/index.html", "report/volcano-teacher.png")
    ]
    assert all((tmp_path / link).is_file() for link in links)


def test_tables_of_codes_are_linked():
    assert (
        "(report/enrichment-teacher.parquet), 32 codes seen in 40 targets and 40 controls" in model_card(record()).text
    )


def test_without_excise_it_loads_by_the_code_and_with_the_packages_that_the_card_names():
    text = model_card(record()).text
    assert all(code(line) in text for line in requirements("codebook_t5"))
    assert "trust_remote_code=True)" in text and "take `trust_remote_code=True` too" in text
    assert "trust_remote_code" not in model_card(record(), remote_code=False).text


def test_a_bottleneck_alone_names_its_base_and_the_revision_that_is_fetched():
    card = model_card(record(), bottleneck_only=True)
    assert card.data.base_model_relation == "adapter"
    assert f"fetched from `someone/base` at `{'0' * 40}`" in card.text
    for base in (None, {"id": "someone/base", "revision": None}):
        with pytest.raises(ValueError, match="needs its base model"):
            model_card(record(base_model=base), bottleneck_only=True)


@pytest.mark.parametrize("model", ["t5", "clip", "vision", "key-value"])
def test_the_code_on_the_card_loads_the_model_and_undoes_the_request(model, tmp_path):
    from excise import CodebookCLIPModel, CodebookCLIPVisionModel

    make, site, beside = {
        "t5": (lambda: tiny.codebook_t5((1,)), SITE, tiny.tokenizer),
        "clip": (lambda: tiny.codebook_clip(CodebookCLIPModel), "encoder.layers.2", tiny.clip_processor),
        "vision": (lambda: tiny.codebook_clip(CodebookCLIPVisionModel), "encoder.layers.2", tiny.image_processor),
        "key-value": (tiny_images.key_value_model, "bottleneck", tiny_images.processor),
    }[model]
    unlearner = Unlearner(make(), beside())
    unlearner.mask(Selection({site: [3, 7]}), "a topic")
    folder = tmp_path / 'a "new" folder'
    unlearner.save_pretrained(folder)
    card = model_card(Record.of(unlearner.model), load_with=str(folder))
    loads, trusted, goes_on = code_blocks(card.text)
    for block in (loads, trusted):
        names = {}
        exec(block, names)  # excise is imported here, so that its own classes are taken in the second, too
        assert type(names["model"]) is type(unlearner.model)
    *lines, more = goes_on.splitlines()
    names = {}
    exec("\n".join(lines), names)
    assert names["unlearner"].ledger.requests[0].undone
    (call,) = ast.parse(more).body
    assert hasattr(Unlearner, call.value.func.attr)


def test_what_the_card_imports_is_there():
    for block in code_blocks(model_card(record()).text):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom):
                assert all(hasattr(importlib.import_module(node.module), alias.name) for alias in node.names)


def test_erased_rows_and_a_distillation_are_told_in_words():
    rows = {"qvalue": 0.05, "min_share": 0.01, "min_own": 0.4, "budget": 0.005, "pieces": 2, "other_rows_with_them": 3}
    distilled = {"noise": 0.2, "rise": 0.0251, "budget": 0.05, "heldout": 300, "seconds": 9.0}
    said = how_found({"method": "fisher", "rows": rows, "distilled": distilled})
    assert "embedding rows of 2 pieces: oftener with it" in said and "at least 0.4 of their uses its own" in said
    assert "at most 0.005 of the others (3 other examples in the retain set)" in said
    assert "after noise of 0.2: the loss on held-out examples rose by 2.5%, 5.0% were allowed" in said
    assert "{" not in said and "other_rows" not in said
    assert how_found({"method": "fisher", "rows": rows | {"pieces": "2"}}) == "Fisher's exact test"
    model = tiny.codebook_t5((1,))
    overwritten = dict.fromkeys(vocabulary_tables(model), (3, 4))
    put_in_force(model, "delete", {SITE: (5,)}, Asked("water", {}, False), thresholds={"rows": rows}, rows=overwritten)
    _, requests, *_ = tables(model_card(made := Record.of(model, mode="delete")).text)
    assert requests[1][-1] == "deleted for good, embedding rows too" and "embedding rows of 2 pieces" in requests[1][3]
    assert "embedding rows of 2 pieces" in context(made)["requests"][0]["how"]
