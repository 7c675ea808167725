import json
import shutil

import pytest
from transformers import AutoModelForSeq2SeqLM

from excise.cli import main
from excise.codes.enrichment import Enrichment
from excise.codes.selection import Selection
from excise.codes.topic_counts import TopicCounts
from excise.data import DigestKey
from excise.data.topics import TopicSets
from excise.unlearner import Unlearner

SITE = "encoder.block.1"


@pytest.fixture(scope="module")
def forgot(saved, tmp_path_factory):
    """A model whose codes 3 and 7 are masked for the topic."""
    from transformers import AutoTokenizer

    model = AutoModelForSeq2SeqLM.from_pretrained(saved / "model")
    unlearner = Unlearner(model, AutoTokenizer.from_pretrained(saved / "model"))
    unlearner.mask(Selection({SITE: [3, 7]}, {"q": 0.05}), TopicSets.load(saved / "topic"))
    folder = tmp_path_factory.mktemp("forgot") / "model"
    unlearner.save_pretrained(folder)
    return folder


def live(folder):
    return AutoModelForSeq2SeqLM.from_pretrained(folder).encoder.block[1].layer[0].bottleneck.live


def test_count_saves_the_counts_and_the_table_that_the_api_makes(excise, saved, tmp_path, make_model, tokenizer, topic):
    counts, table = tmp_path / "counts", tmp_path / "table.parquet"
    data = excise("count", saved / "model", saved / "topic", "--out", counts, "--table", table, "--top-s", 4)
    expected = Unlearner(make_model(), tokenizer).enrich(topic, top_s=4, retain=True, progress=False)
    assert Enrichment.load(table).to_pandas().equals(expected.to_pandas())
    assert TopicCounts.load(counts).enrich(4).to_pandas().equals(expected.to_pandas())
    assert data["codes_seen"] == len(expected)
    assert data["max_top_s"] == 32  # all codes that this model has


def test_unlearn_masks_the_codes_that_the_api_selects_and_leaves_the_model_alone(
    excise, saved, tmp_path, make_model, tokenizer, topic
):
    before = (saved / "model" / "config.json").read_text()
    out, codes = tmp_path / "out", tmp_path / "codes.json"
    data = excise(
        "unlearn", saved / "model", saved / "topic", "--out", out, "--codes-out", codes, "--count", 2, "--q", 0.5
    )
    selection = Unlearner(make_model(), tokenizer).enrich(topic, progress=False).select(q=0.5, count=2)
    assert Selection.from_dict(json.loads(codes.read_text())).codes == selection.codes
    assert (~live(out)).nonzero().flatten().tolist() == list(selection.codes[SITE])
    assert data["request"]["codes"] == {SITE: list(selection.codes[SITE])}
    assert data["request"]["data"] == topic.digest()
    assert data["seconds"]["count"] > 0
    assert (saved / "model" / "config.json").read_text() == before


def test_unlearn_takes_the_counts_that_count_wrote_and_refuses_others(excise, failing, saved, tmp_path):
    excise("count", saved / "model", saved / "topic", "--out", tmp_path / "counts")
    arguments = ["unlearn", saved / "model", saved / "topic", "--q", 0.5]
    anew = excise(*arguments, "--out", tmp_path / "anew")["request"]
    data = excise(*arguments, "--counts", tmp_path / "counts", "--out", tmp_path / "out")["request"]
    assert (data["codes"], data["thresholds"], data["data"]) == (anew["codes"], anew["thresholds"], anew["data"])
    other = [*arguments, "--positions", "all", "--counts", tmp_path / "counts", "--out", tmp_path / "none"]
    assert "the search asks for 'all'" in failing(*other)
    assert not (tmp_path / "none").exists()


def test_unlearn_within_a_budget_keeps_to_it(excise, saved, tmp_path):
    arguments = ["unlearn", saved / "model", saved / "topic", "--q", 0.5]
    every = excise(*arguments, "--out", tmp_path / "every")["request"]
    some = excise(*arguments, "--max-loss-rise", 1e-4, "--out", tmp_path / "some")["request"]
    assert some["thresholds"]["loss_rise"] <= some["thresholds"]["max_loss_rise"] == 1e-4
    assert 0 < some["num_codes"] < every["num_codes"]


def test_undo_brings_the_codes_back_and_keeps_the_request_in_the_ledger(excise, forgot, tmp_path):
    data = excise("undo", forgot, "--request", 1, "--out", tmp_path / "again")
    assert live(tmp_path / "again").all()
    assert not live(forgot).all()
    assert data["request"]["undone"]


def test_delete_of_a_request_erases_the_rows_of_its_mask_and_tells_of_the_same_data(excise, saved, forgot, tmp_path):
    data = excise("delete", forgot, "--request", 1, "--out", tmp_path / "final")
    assert data["request"]["data"] == TopicSets.load(saved / "topic").digest()
    bottleneck = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "final").encoder.block[1].layer[0].bottleneck
    assert not bottleneck.codebook[[3, 7]].any()
    assert bottleneck.codebook[4].any()
    assert data["request"]["kind"] == "delete"
    assert {"q": 0.05, "deletes_request": 1}.items() <= data["request"]["thresholds"].items()


def test_undo_and_delete_tell_what_came_of_it_and_what_was_deleted_is_not_undone(
    excise, failing, saved, forgot, tmp_path, capsys
):
    excise("delete", forgot, "--request", 1, "--out", tmp_path / "final")
    message = failing("undo", tmp_path / "final", "--request", 1, "--out", tmp_path / "none")
    assert "No code of request 1 (teacher) can come back: request 2 deleted them for good." in message
    assert not (tmp_path / "none").exists()
    unlearner = Unlearner.from_pretrained(forgot)
    unlearner.mask(Selection({SITE: [3, 7, 9]}), "more")
    unlearner.save_pretrained(tmp_path / "more")
    assert excise("undo", tmp_path / "more", "--request", 1, "--out", tmp_path / "json")["held_by"] == {"2": 2}
    for verb, number, text in [
        ("undo", 1, "0 of 2 codes came back: request 2 masks them too."),
        ("undo", 2, "1 of 3 codes came back: request 1 masks 2 of them too."),
        (
            "delete",
            2,
            "3 of 3 codes were erased now. Undoing request 1 will not bring back 2 of its codes. Undoing request 2 "
            "will not bring back 3 of its codes.",
        ),
    ]:
        capsys.readouterr()
        assert main([verb, str(tmp_path / "more"), "--request", str(number), "--out", str(tmp_path / text[:3])]) == 0
        assert text in capsys.readouterr().out.splitlines()
        shutil.rmtree(tmp_path / text[:3])


def test_delete_of_a_topic_erases_what_unlearn_would_mask(excise, saved, tmp_path):
    arguments = [saved / "model", saved / "topic", "--q", 0.5, "--count", 3]
    masked = excise("unlearn", *arguments, "--out", tmp_path / "masked")["request"]
    deleted = excise("delete", *arguments, "--out", tmp_path / "deleted")["request"]
    assert masked["codes"] == deleted["codes"]
    assert (masked["kind"], deleted["kind"]) == ("mask", "delete")


def test_inspect_counts_live_masked_and_deleted_codes(excise, forgot, tmp_path):
    counts = {"num_codes": 32, "top_s": 2}
    assert excise("inspect", forgot)["sites"] == {SITE: counts | {"live": 30, "masked": 2, "deleted": 0}}
    excise("delete", forgot, "--request", 1, "--out", tmp_path / "final")
    data = excise("inspect", tmp_path / "final")
    assert data["sites"] == {SITE: counts | {"live": 30, "masked": 0, "deleted": 2}}
    assert [request["kind"] for request in data["requests"]] == ["mask", "delete"]


def test_inspect_finds_the_tokens_that_select_a_code_even_a_masked_one(excise, forgot, tmp_path, make_model, tokenizer):
    texts = ["the teacher reads a book .", "", "a cat sees the dog ."]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"en": text}) + "\n" for text in texts))
    unmasked = make_model()
    expected = []
    for text in (text for text in texts if text):
        encoded = tokenizer(text, return_tensors="pt")
        codes = unmasked(**encoded, labels=encoded["input_ids"]).codes[SITE][0]
        words = [*text.split(), "(end of text)"]
        expected += [(code, word) for word, row in zip(words, codes.tolist(), strict=True) for code in row]
    code = next((code for code, _ in expected if code in (3, 7)), None) or 3
    data = excise("inspect", forgot, "--code", f"{SITE}:{code}", "--dataset", tmp_path / "texts.jsonl", "--text", "en")
    words = [word for found, word in expected if found == code]
    assert data["state"] == "masked"
    assert data["selected"] == len(words)
    assert data["top_tokens"] == {word: words.count(word) for word in set(words)}
    similarities = [row["similarity"] for row in data["contexts"]]
    assert similarities == sorted(similarities, reverse=True)
    assert all(row["before"] + row["token"] + row["after"] in texts for row in data["contexts"])


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["unlearn", "{model}", "{topic}", "--out", "{out}", "--q", "1e-9"], 1, "Nothing is selected"),
        (["unlearn", "{model}", "{topic}", "--out", "{model}"], 1, "is not an empty folder"),
        (["unlearn", "{model}", "{out}", "--out", "{out}"], 1, "No topic sets"),
        (["unlearn", "{model}", "{topic}", "--out", "{out}", "--q", "much"], 2, "invalid float"),
        (["unlearn", "{model}", "{topic}", "--out", "{out}", "--unknown", "1"], 2, "unrecognized arguments: --unknown"),
        (["unlearn", "{model}", "{topic}", "--out", "{out}", "--count", "1", "--max-loss-rise", "1"], 2, "leave out"),
        (["unlearn", "/no/such/model", "{topic}", "--out", "{out}"], 1, "There is no folder /no/such/model"),
        (["count", "{model}", "{topic}", "--out", "{out}", "--max-top-s", "33"], 1, "has 32 live codes"),
        (["undo", "{model}", "--request", "1", "--out", "{out}"], 1, "There is no request 1"),
        (["delete", "{model}", "--request", "1", "--out", "{out}"], 1, "There is no request 1"),
        (["delete", "{model}", "--out", "{out}"], 2, "give either a TOPIC or --request"),
        (["inspect", "{model}", "--code", "7", "--dataset", "x.csv", "--text", "en"], 2, "expected SITE:ID"),
        (["inspect", "{model}", "--code", "a:7"], 2, "give --dataset and --text"),
        (["inspect", "{model}", "--code", "a:7", "--dataset", "x.csv", "--text", "en"], 1, "There is no file x.csv"),
        (
            ["inspect", "{model}", "--code", "a:7", "--dataset", "excise:demo", "--text", "en"],
            1,
            "There is no code a:7",
        ),
        (["unlearn", "{model}", "{topic}", "--out", "{out}", "--codes-out", "{model}"], 1, "model is a folder"),
        (
            ["count", "{model}", "{topic}", "--out", "{out}", "--table", "{file}/t.parquet"],
            1,
            "config.json is no folder",
        ),
        (["forget"], 2, "invalid choice: 'forget'"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line_and_writes_nothing(
    failing, saved, tmp_path, arguments, status, says
):
    places = {"model": saved / "model", "topic": saved / "topic", "out": tmp_path / "out"}
    places["file"] = saved / "model" / "config.json"
    assert says in failing(*(argument.format(**places) for argument in arguments), status=status)
    assert list(tmp_path.iterdir()) == []


def test_a_model_without_a_bottleneck_is_refused(failing, saved, tokenizer, tmp_path):
    from transformers import T5Config, T5ForConditionalGeneration

    sizes = {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2, "decoder_start_token_id": 0}
    T5ForConditionalGeneration(T5Config(vocab_size=len(tokenizer), **sizes)).save_pretrained(tmp_path / "plain")
    tokenizer.save_pretrained(tmp_path / "plain")
    message = failing("unlearn", tmp_path / "plain", saved / "topic", "--out", tmp_path / "out")
    assert "T5ForConditionalGeneration has no bottleneck" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
def test_an_adapter_is_unlearned_as_a_model_is(excise, saved, tokenizer, tmp_path):
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(task_type="SEQ_2_SEQ_LM", r=2, target_modules=["q", "v"], modules_to_save=["bottleneck"])
    base = AutoModelForSeq2SeqLM.from_pretrained(saved / "model")
    Unlearner(get_peft_model(base, lora), tokenizer).save_pretrained(tmp_path / "adapter")
    options = ["--q", 0.5, "--count", 2, "--out", tmp_path / "out"]
    request = excise("unlearn", tmp_path / "adapter", saved / "topic", *options)["request"]
    assert (tmp_path / "out" / "adapter_config.json").is_file()
    unlearner = Unlearner.from_pretrained(tmp_path / "out")
    assert unlearner.ledger.removed(SITE) == request["codes"][SITE]


def test_an_undone_or_deleted_request_is_not_deleted_again(excise, failing, forgot, tmp_path):
    excise("undo", forgot, "--request", 1, "--out", tmp_path / "undone")
    out = tmp_path / "out"
    assert "was undone" in failing("delete", tmp_path / "undone", "--request", 1, "--out", out)
    excise("delete", forgot, "--request", 1, "--out", tmp_path / "final")
    assert "deleted its codes" in failing("delete", tmp_path / "final", "--request", 2, "--out", tmp_path / "out")


@pytest.mark.parametrize("verb", ["count", "unlearn", "undo"])
def test_an_interrupted_run_leaves_nothing_and_says_so(failing, saved, forgot, tmp_path, monkeypatch, verb):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    arguments = {
        "count": ["count", saved / "model", saved / "topic", "--max-top-s", 8],
        "unlearn": ["unlearn", saved / "model", saved / "topic", "--count", 2, "--q", 0.5],
        "undo": ["undo", forgot, "--request", 1],
    }[verb]
    # In the middle of the writing: part of the folder is there already.
    last = "excise.codes.counts.CodeCounts.save" if verb == "count" else "excise.sharing.bundle.writing.check_written"
    monkeypatch.setattr(last, interrupt)
    assert failing(*arguments, "--out", tmp_path / "deep" / "out", status=130) == "excise: interrupted"
    assert list(tmp_path.rglob("*out*")) == []


def test_a_private_topic_goes_by_its_label_and_the_key_lies_beside_the_model(excise, saved, tmp_path, topic):
    out = tmp_path / "out"
    private = ["--private", "--label", "request-17", "--count", 2, "--q", 0.5]
    data = excise("unlearn", saved / "model", saved / "topic", "--out", out, *private)
    assert (data["request"]["topic"], data["request"]["private"]) == ("request-17", True)
    assert "teacher" not in json.dumps(data) + (out / "config.json").read_text()
    assert data["key"] == str(tmp_path / "out.private.key")
    assert topic.is_data_of(data["request"]["data"], DigestKey.load(data["key"]))
    again = excise(
        "delete", saved / "model", saved / "topic", "--out", tmp_path / "two", *private, "--key", data["key"]
    )
    assert again["request"]["data"] == data["request"]["data"]


def test_of_sets_that_are_private_the_key_is_their_own(excise, saved, tmp_path, topic):
    sets, options = topic.private_as("request-17").save(tmp_path / "sets"), ["--count", 2, "--q", 0.5, "--private"]
    data = excise("delete", saved / "model", sets, "--out", tmp_path / "out", *options)
    assert data["request"]["data"]["key"] == DigestKey.load(sets / "private.key").id
    assert "key" not in data and not (tmp_path / "out.private.key").exists()


def test_a_label_without_private_is_wrong_usage(failing, saved, tmp_path):
    argv = ["unlearn", saved / "model", saved / "topic", "--out", tmp_path / "out", "--label", "request-17"]
    assert "go with --private" in failing(*argv, status=2)
    assert not list(tmp_path.iterdir())


def test_an_index_counts_what_the_model_would_and_goes_with_every_verb_that_counts(excise, failing, saved, tmp_path):
    rows = tmp_path / "rows.json"
    texts = [*TopicSets.load(saved / "topic").target["text"], *TopicSets.load(saved / "topic").retain["text"]]
    rows.write_text("\n".join(json.dumps({"en": text}) for text in texts))
    made = excise("index", saved / "model", rows, "--text", "en", "--out", tmp_path / "index")
    again = excise("index", saved / "model", rows, "--text", "en", "--out", tmp_path / "index")
    assert made == again and made["texts"] == len(set(texts)) and made["max_top_s"] == 6
    for name, options in {"plain": (), "indexed": ("--index", tmp_path / "index")}.items():
        excise("count", saved / "model", saved / "topic", "--out", tmp_path / name, "--max-top-s", 6, *options)
        out = ("--out", tmp_path / f"{name}-model", "--codes-out", tmp_path / f"{name}.json")
        excise("unlearn", saved / "model", saved / "topic", *out, "--count", 2, "--q", 0.5, *options)
    tables = [TopicCounts.load(tmp_path / name).enrich(4).to_pandas() for name in ("plain", "indexed")]
    assert tables[0].equals(tables[1])
    assert (tmp_path / "plain.json").read_bytes() == (tmp_path / "indexed.json").read_bytes()
    code = ("--code", f"{SITE}:3", "--dataset", rows, "--text", "en")
    found = [excise("inspect", saved / "model", *code, *options) for options in ((), ("--index", tmp_path / "index"))]
    assert found[0]["selected"] == found[1]["selected"] and found[0]["top_tokens"] == found[1]["top_tokens"]
    message = failing("count", saved / "model", saved / "topic", "--out", tmp_path / "x", "--index", tmp_path)
    assert message.endswith("holds no code index (code_index.json is missing). Build one: `CodeIndex.build`.")


def test_a_deletion_goes_as_deep_as_it_is_told(excise, saved, tmp_path):
    arguments = [saved / "model", saved / "topic", "--q", 0.5, "--count", 3]
    deep = excise("delete", *arguments, "--out", tmp_path / "deep")["request"]
    codes = excise("delete", *arguments, "--out", tmp_path / "codes", "--depth", "codes")["request"]
    assert {name: len(rows) for name, rows in deep["rows"].items()} == {"shared.weight": 2}
    assert codes["rows"] == {} and codes["codes"] == deep["codes"]
