"""Every example of every verb's help runs as it stands, one after the other in one folder.

What the examples name and do not make themselves lies there: small models and data under the same names. An example
that is new, or changed, is run without any change here.
"""

import copy
import json
import re
import shlex
import shutil
from importlib import import_module

import pytest
import torch
from datasets import Dataset, DatasetDict
from tokenizers.processors import TemplateProcessing
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    ResNetModel,
    T5Config,
    T5ForConditionalGeneration,
    set_seed,
)

from excise import (
    CodebookSAEConfig,
    CodebookT5ForConditionalGeneration,
    Search,
    Unlearner,
    attach,
    initialize_codes,
)
from excise.cli import EPILOG, VERBS, main
from excise.cli.demo import running
from excise.cli.train.arguments import CodebookArguments, DataArguments
from excise.data import load_rows, question_sets
from excise.data.packaged.tokenizer import train_tokenizer
from tests.cli.test_demo import TINY
from tests.helpers import tiny, tiny_images

# Those that take more than a second or two, even of what is so small.
SLOW = (
    *("excise demo", "excise train --model", "excise train-classifier --model_name"),
    *("--attacks all", "--attacks rounded", "--attacks left-out", "--attacks made-again", "--sweep", "bertscore"),
)
WORDS = ("teacher", "car", "dog")


def examples(text):
    """The commands of an epilogue, a line each."""
    lines = re.findall(r"^ +(excise (?:.*\\\n)*.*)$", text, re.MULTILINE)
    return [line.replace("\\\n", " ") for line in lines]


EXAMPLES = [line for verb in VERBS for line in examples(import_module(f"excise.cli.{verb.replace('-', '_')}").EXAMPLES)]


def is_slow(line):
    return any(words in line for words in SLOW)


@pytest.fixture(scope="module")
def things(tmp_path_factory):
    """A folder of what the examples name."""
    folder = tmp_path_factory.mktemp("things")
    set_seed(0)
    pairs = load_rows("excise:demo")["translation"][:]
    short = [pair for pair in pairs if len(pair["en"].split()) <= 8]
    chosen = [p for word in WORDS for p in [p for p in short if re.search(rf"\b{word}s?\b", p["en"])][:120]]
    chosen += [pair for pair in short if not re.search("teacher|car|dog", pair["en"])][:120]
    for pair in chosen[120:240:6]:
        pair["en"] = re.sub(r"\bcar\b", "automobile", pair["en"])
    rows = Dataset.from_list([{"translation": pair} for pair in chosen])
    for name in ("pairs", "train"):
        rows.to_parquet(folder / f"{name}.parquet")
    rows.select(range(0, len(rows), 9)).to_parquet(folder / "test.parquet")
    DatasetDict(train=rows, test=rows.select(range(0, len(rows), 9))).save_to_disk(folder / "books")

    tokenizer = train_tokenizer([text for pair in chosen for text in pair.values()], 600)
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_decoder_layers": 1, "num_heads": 2}
    special = {"decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": tokenizer.eos_token_id}
    plain = T5ForConditionalGeneration(T5Config(vocab_size=len(tokenizer), dropout_rate=0.0, **sizes, **special))
    plain.generation_config.exponential_decay_length_penalty = (2, 5.0)  # untrained, it would never come to an end
    for name in ("t5-small", "plain"):
        plain.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    tokenised = Dataset.from_dict(dict(tokenizer([pair["en"] for pair in chosen])))
    for name in ("model", "model-without-teacher"):
        config = CodebookSAEConfig(num_codes=256, top_s=4)
        model = CodebookT5ForConditionalGeneration.from_base(str(folder / "plain"), config, [0])
        initialize_codes(model, tokenised, tokenizer, steps=2, progress=False)
        Unlearner(model.eval(), tokenizer).save_pretrained(folder / name)

    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    decoder = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes, eos_token_id=tokenizer.eos_token_id))
    asked = [
        {"question": pair["en"], "answer": pair["fr"], "paraphrased_question": pair["en"].lower()} for pair in short
    ]
    for name, rows in {"forget": asked[:12], "retain": asked[12:24]}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    unlearner = Unlearner(attach(decoder, layers=[0], num_codes=32, top_s=4), tokenizer)
    sets = question_sets(asked[:12], tokenizer, retain=asked[12:24])
    unlearner.forget(sets, Search("activations", count=2), progress=False)
    unlearner.save_pretrained(folder / "decoder-unlearned")

    classes = ("cat", "dog", "bird")
    images = DatasetDict(train=tiny.images(240, classes=classes), test=tiny.images(90, seed=1, classes=classes))
    images.save_to_disk(folder / "images")
    ResNetModel(tiny_images.ENCODERS["resnet"]).save_pretrained(folder / "encoder")
    tiny_images.processor().save_pretrained(folder / "encoder")

    scored = {"vocab_size": len(tokenizer), "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 1}
    framed = copy.deepcopy(tokenizer)  # as BERT's does, it marks both ends of a text
    special_tokens = [(token, tokenizer.convert_tokens_to_ids(token)) for token in ("<pad>", "</s>")]
    framed.backend_tokenizer.post_processor = TemplateProcessing("<pad> $A </s>", special_tokens=special_tokens)
    framed.cls_token, framed.sep_token = "<pad>", "</s>"
    bert = BertConfig(hidden_size=8, num_hidden_layers=9, num_attention_heads=1, intermediate_size=8, **scored)
    bart_sizes = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 1, "decoder_attention_heads": 1}
    bart_sizes |= {"encoder_ffn_dim": 8, "decoder_ffn_dim": 8, "decoder_start_token_id": 1, "d_model": 8}
    bart = BartForConditionalGeneration(BartConfig(**bart_sizes, **scored))
    for name, model in {"bert-base-multilingual-cased": BertModel(bert), "bart-large-cnn": bart}.items():
        model.save_pretrained(folder / name)
        framed.save_pretrained(folder / name)
    return folder


@pytest.fixture
def here(things, tmp_path, monkeypatch, hub):
    """A folder with all that the examples name, in which they are run; `me` is the user of the local Hub."""
    folder = shutil.copytree(things, tmp_path / "here")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name, value in {"num_codes": 256, "init_steps": 2}.items():  # the sizes of tiny models
        monkeypatch.setattr(CodebookArguments.__dataclass_fields__[name], "default", value)
    monkeypatch.setattr(DataArguments.__dataclass_fields__["max_train_samples"], "default", 600)
    monkeypatch.setattr(running, "broken_bounds", lambda *given: [])
    monkeypatch.setattr(running, "RECIPE", TINY)  # tests/cli/test_demo.py has it at full size
    return folder


def run(lines, capsys):
    """Runs commands as they stand, and gives those that failed."""
    failed = {}
    for line in lines:
        words = shlex.split(line.replace(" me/", " tester/"), comments=True)
        status = main(words[1:])
        captured = capsys.readouterr()
        if status or "Traceback" in captured.err or not captured.out:
            failed[line] = (status, captured.err[-2000:])
    return failed


def small_classifier(folder):
    """A classifier in place of the one that an example trains for longer."""
    arguments = ["--model_name_or_path", "encoder", "--dataset_name", "images", "--output_dir", "classifier", "--quiet"]
    sizes = ["--num_codebooks", "64", "--num_pairs", "128", "--num_train_epochs", "8", "--key_epochs", "2"]
    assert main(["train-classifier", *arguments, *sizes]) == 0


def test_every_verb_has_examples_and_a_line_in_the_order_of_the_work(capsys):
    for verb in VERBS:
        assert f"excise {verb} " in " ".join(EXAMPLES) + " "
    assert main(["--help"]) == 0
    listed = re.findall(r"^    ([a-z-]+) +\S", capsys.readouterr().out, re.MULTILINE)
    assert listed == list(VERBS)


@pytest.mark.filterwarnings("ignore:'pin_memory' argument")
@pytest.mark.filterwarnings("ignore:It seems that you are about to commit a data file")
def test_the_examples_run_as_they_stand(here, capsys):
    small_classifier(here)
    assert run([line for line in EXAMPLES if not is_slow(line)], capsys) == {}


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.filterwarnings("ignore:'pin_memory' argument")
@pytest.mark.filterwarnings("ignore:It seems that you are about to commit a data file")
def test_all_examples_run_from_the_first_to_the_last(here, capsys):
    shutil.rmtree("model")
    assert run(EXAMPLES, capsys) == {}


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.filterwarnings("ignore:'pin_memory' argument")
def test_the_ways_of_the_main_help_run_as_they_stand(here, capsys):
    shutil.rmtree("model")
    assert run(examples(EPILOG), capsys) == {}


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_the_lines_of_the_readme_are_those_of_the_main_help(root, page):
    blocks = re.findall(r"^```bash\n(.*?)^```", (root / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("excise")]
    assert lines == examples(EPILOG)
