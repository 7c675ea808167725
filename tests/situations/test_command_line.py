"""Situations at the command line: what people type, and what is made of it or said of it in a line.

Each row is a situation in words, the words typed, the exit status, and what the line on stderr says. `{model}` and the
like are folders of tiny things; `{out}` is where nothing is, and where nothing may be left.
"""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from datasets import Array3D, Dataset, Features
from transformers import ResNetModel

from excise import ClassSets, Search, Unlearner, class_sets
from excise.cli import VERBS, main
from excise.codes.selection import Selection
from excise.evaluation.classes import evaluate_classes
from tests.helpers import tiny_images

SITE = "encoder.block.1"


@pytest.fixture(scope="module")
def places(make_model, tokenizer, topic, tmp_path_factory):
    """Folders and files to type, none of which a command may change."""
    folder = tmp_path_factory.mktemp("places")
    unlearner = Unlearner(make_model(), tokenizer)
    unlearner.save_pretrained(folder / "model")
    topic.save(folder / "topic")
    unlearner.mask(Selection({SITE: [3, 7]}), topic)
    unlearner.save_pretrained(folder / "masked")
    other = Unlearner(make_model(seed=5, num_codes=16), tokenizer)
    other.save_pretrained(folder / "other")
    tiny_images.key_value_model().eval().save_pretrained(folder / "classifier")
    tiny_images.processor().save_pretrained(folder / "classifier")
    ResNetModel(tiny_images.ENCODERS["resnet"]).save_pretrained(folder / "encoder")
    tiny_images.processor().save_pretrained(folder / "encoder")
    class_sets(tiny_images.images(120), "green", min_examples=1).save(folder / "green")
    tiny_images.images(120).to_parquet(folder / "images.parquet")
    files = {
        "broken.json": '{"codes": {',
        "list.json": "[1, 2]",
        "words.json": '{"codes": {"encoder.block.1": ["three"]}, "thresholds": {}}',
        "evaluation.json": '{"topic": "teacher", "scores": {}}',
        "nan.json": '{"codes": {"encoder.block.1": [1]}, "thresholds": {"q": NaN}}',
        "elsewhere.json": '{"codes": {"decoder.block.9": [1]}, "thresholds": {}}',
        "beyond.json": '{"codes": {"encoder.block.1": [4711]}, "thresholds": {}}',
        "negative.json": '{"codes": {"encoder.block.1": [-1]}, "thresholds": {}}',
        "binary.json": "\x00\x01",
        "pairs.jsonl": "".join(json.dumps({"en": "the cat .", "fr": "le chat ."}) + "\n" for _ in range(8)),
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    rows = "".join(f"the teacher {i} .;le caf\u00e9 {i} .\nthe car {i} .;l'\u00e9t\u00e9 {i} .\n" for i in range(80))
    for name, encoding in {"western.csv": "cp1252", "marked.csv": "utf-8-sig", "plain.csv": "utf-8"}.items():
        (folder / name).write_text(f"en;fr\n{rows}", encoding=encoding)
    (folder / "other.csv").write_text("en;fr\n" + rows.replace(" .", " again ."))
    np.save(folder / "rows.npy", np.arange(50))
    wide = tiny_images.images(120)
    pixels = [(np.asarray(row["img"]).astype(np.int32) * 4095 // 255).tolist() for row in wide]
    columns = {"img": pixels, "label": wide["label"][:]}
    types = Features({"img": Array3D((*np.shape(pixels[0]),), "int32"), "label": wide.features["label"]})
    Dataset.from_dict(columns, features=types).to_parquet(folder / "wide.parquet")
    chosen = Unlearner(make_model(), tokenizer).choose(topic, progress=False)
    (folder / "codes.json").write_text(json.dumps(chosen.to_dict()))
    return folder


UNLEARN = "unlearn {model} {topic} --out {out}"
EVALUATE = "evaluate {model} {topic} --word professeur --out {out}.json"
TRAIN = "train --model_name_or_path {model} --train_file {pairs.jsonl} --do_train --output_dir {out}"
CLASSIFY = "train-classifier --model_name_or_path {classifier} --dataset_name {images.parquet} --output_dir {out}"
REFUSED = {
    # words and images
    "words for a model of images": ("unlearn {classifier} {topic} --out {out}", 1, "words, and the model takes images"),
    "a class for a model of texts": ("unlearn {model} {green} --out {out}", 1, "images, and the model takes texts"),
    "words counted in images": ("count {classifier} {topic} --out {out}", 1, "words, and the model takes images"),
    "a class measured on texts": ("evaluate {model} {green} --out {out}.json", 1, "images, and the model takes texts"),
    "a class attacked in texts": ("attack {model} --topic {green}", 1, "images, and the model takes texts"),
    "a mistyped folder of a model": ("unlearn {model}/modle {topic} --out {out}", 1, "There is no folder"),
    # counts and rates
    "a negative number of codes": (f"{UNLEARN} --count -5", 2, "--count: -5 is too small: expected a whole number, 1"),
    "no codes at all": (f"{UNLEARN} --count 0", 2, "--count: 0 is too small"),
    "half a code": (f"{UNLEARN} --count 2.5", 2, "'2.5' is an invalid int value"),
    "a negative S'": (f"{UNLEARN} --top-s -1", 2, "--top-s: -1 is too small"),
    "a negative batch": (f"{UNLEARN} --batch-size -32", 2, "--batch-size: -32 is too small"),
    "an empty batch": ("count {model} {topic} --batch-size 0 --out {out}", 2, "--batch-size: 0 is too small"),
    "a rate that is no number": (f"{UNLEARN} --q nan", 2, "--q: nan is out of range: expected a rate, from 0 to 1"),
    "an infinite rate": (f"{UNLEARN} --q inf", 2, "--q: inf is out of range"),
    "a rate in percent": (f"{UNLEARN} --q 5", 2, "--q: 5 is out of range"),
    "a negative rate": (f"{UNLEARN} --q=-0.05", 2, "--q: -0.05 is out of range"),
    "a negative effect": (f"{UNLEARN} --effect=-1", 2, "--effect: -1 is out of range"),
    "an infinite ratio": (f"{UNLEARN} --max-retain-ratio inf", 2, "--max-retain-ratio: inf is out of range"),
    "an allowance that is no number": (f"{UNLEARN} --max-loss-rise nan", 2, "--max-loss-rise: nan is out of range"),
    "a sweep over 0": (f"{EVALUATE} --sweep 0,8", 2, "'0,8': expected whole numbers from 1"),
    "a sweep over nothing": (f"{EVALUATE} --sweep ,", 2, "expected whole numbers from 1"),
    "no beam": (f"{EVALUATE} --beams 0", 2, "--beams: 0 is too small"),
    "outputs of no length": (f"{EVALUATE} --max-new-tokens 0", 2, "--max-new-tokens: 0 is too small"),
    "fewer than no examples": (f"{EVALUATE} --examples -1", 2, "--examples: -1 is too small"),
    "request 0": ("undo {masked} --request 0 --out {out}", 2, "--request: 0 is too small"),
    "a negative request": ("delete {masked} --request -1 --out {out}", 2, "--request: -1 is too small"),
    "fewer than no sentences": (
        "topic --dataset excise:demo --text en --word dog --max-examples -1 --out {out}",
        2,
        "--max-examples: -1 is too",
    ),
    "fewer than no images": (
        "classes --dataset {images.parquet} --class green --min-examples -1 --out {out}",
        2,
        "--min-examples: -1 is too",
    ),
    "a negative seed": (f"{UNLEARN} --seed -1", 2, "--seed: -1 is too small"),
    "a seed of 40 bits": (f"{EVALUATE} --seed 1099511627776", 2, "--seed: 1099511627776 is too large"),
    "a training with a negative codebook": (f"{TRAIN} --codebook --num_codes -8", 2, "--num_codes: -8 is too small"),
    "a training on no rows": (f"{TRAIN} --max_train_samples 0", 2, "--max_train_samples: 0 is too small"),
    "a training with a weight of nan": (f"{TRAIN} --l1_weight nan", 2, "--l1_weight: nan is too small"),
    "a training of block -1": (f"{TRAIN} --bottleneck_layers=-1", 2, "--bottleneck_layers: -1 is no encoder block"),
    "a classifier with no pairs": (f"{CLASSIFY} --num_pairs 0", 2, "--num_pairs: 0 is too small"),
    # options
    "an option with an underscore": (
        f"{UNLEARN} --top_s 8",
        2,
        "unrecognized arguments: --top_s 8 (did you mean --top-s?)",
    ),
    "an option with a letter lost": (f"{UNLEARN} --batchsize 8", 2, "did you mean --batch-size?"),
    "an option of a training with a letter lost": (f"{TRAIN} --num_code 8", 2, "did you mean --num_codes?"),
    "a needed option with a letter changed": (
        "topic --dataset excise:demo --text en --wird dog --out {out}",
        2,
        "required: --word; unrecognized arguments: --wird",
    ),
    "an option that is near to none": (f"{UNLEARN} --xyzzy", 2, "unrecognized arguments: --xyzzy"),
    "a shortened option": (f"{UNLEARN} --codes x.json", 2, "did you mean --codes-out"),
    "a verb with a letter changed": ("unlern {model} {topic}", 2, "did you mean unlearn?"),
    "a verb in capitals": ("Evaluate {model} {topic}", 2, "did you mean evaluate?"),
    "a preset with a letter lost": (f"{UNLEARN} --preset papr", 2, "did you mean paper?"),
    # devices
    "a device that is none": (f"{UNLEARN} --device gpu", 2, "'gpu' is no device: expected cpu, cuda"),
    "a GPU where there is none": (f"{UNLEARN} --device cuda", 1, "There is no GPU cuda here: of GPUs there is none"),
    "a second GPU where there is none": (f"{EVALUATE} --device cuda:1", 1, "There is no GPU cuda:1 here"),
    "a Mac's device elsewhere": ("inspect {model} --device mps", 1, "There is no device mps here"),
    "a training on a GPU where there is none": (f"{TRAIN} --device cuda:1", 1, "There is no GPU cuda"),
    # encodings of texts, and the values of black and white
    "an encoding that there is not": (
        "topic --dataset {western.csv} --text en --word dog --encoding cp1525 --out {out}",
        2,
        "--encoding: 'cp1525' is none of texts that Python knows",
    ),
    "an encoding of bytes": (
        "index {model} {western.csv} --text en --encoding base64 --out {out}",
        2,
        "expected one such as utf-8, utf-16, latin-1",
    ),
    "an encoding with a letter lost": ("inspect {model} --encoding latn-1", 2, "did you mean latin-1"),
    "an encoding that is needed and left out": (
        "index {model} {western.csv} --text en --out {out}",
        1,
        "on the command line `--encoding cp1252`",
    ),
    "another encoding than a file's": (
        "index {model} {western.csv} --text en --encoding ascii --out {out}",
        1,
        "is not in ascii: byte 0xe9 in line 2",
    ),
    "another encoding than a file begins with": (
        "index {model} {marked.csv} --text en --encoding latin-1 --out {out}",
        1,
        "begins with the mark of utf-8, so that it is not in iso8859-1",
    ),
    "a training in an encoding that there is not": (f"{TRAIN} --encoding utf9", 2, "'utf9' is none of texts"),
    "a classifier in an encoding that there is not": (f"{CLASSIFY} --encoding utf9", 2, "'utf9' is none of texts"),
    "white before black": (
        "classes --dataset {images.parquet} --class green --value-range 255 0 --out {out}",
        2,
        "--value-range: 255 0: expected the values of black and of white, the lower first, such as 0 1",
    ),
    "white alone": ("inspect {classifier} --value-range 255", 2, "--value-range: expected 2 arguments"),
    "a white that is no number": ("inspect {classifier} --value-range 0 nan", 2, "--value-range: 0 nan: expected"),
    "a classifier with white before black": (f"{CLASSIFY} --value_range 1 0", 2, "the values of black and of white"),
    "a white that is too dark": (
        "classes --dataset {images.parquet} --class green --value-range 0 99 --out {out}",
        1,
        "out of the range of 0 to 99",
    ),
    "the values of black and white in texts": (
        "inspect {model} --code encoder.block.1:3 --dataset {pairs.jsonl} --text en --value-range 0 9",
        2,
        "--value-range is for models of images",
    ),
    # codes of a file
    "codes that are not there": (f"{EVALUATE} --codes no.json", 1, "There is no file no.json of codes"),
    "codes that are cut off": (f"{EVALUATE} --codes {{broken.json}}", 1, "broken.json holds no codes"),
    "codes that are a list": (f"{EVALUATE} --codes {{list.json}}", 1, "list.json holds no codes"),
    "codes that are words": (f"{EVALUATE} --codes {{words.json}}", 1, "words.json holds no codes"),
    "codes that are an evaluation": (f"{EVALUATE} --codes {{evaluation.json}}", 1, "evaluation.json holds no codes"),
    "codes with NaN": (f"{EVALUATE} --codes {{nan.json}}", 1, "nan.json holds no codes"),
    "codes that are no text": (f"{EVALUATE} --codes {{binary.json}}", 1, "binary.json holds no codes"),
    "negative codes": (f"{EVALUATE} --codes {{negative.json}}", 1, "negative.json holds no codes"),
    "codes in a folder": (f"{EVALUATE} --codes {{topic}}", 1, "topic of codes. Give what"),
    "codes of another site": (
        f"{EVALUATE} --codes {{elsewhere.json}}",
        1,
        "elsewhere.json holds codes of 'decoder.block.9'",
    ),
    "codes beyond the codebook": (f"{EVALUATE} --codes {{beyond.json}}", 1, "beyond.json holds code 4711"),
    "codes of another model": (
        "evaluate {other} {topic} --word professeur --codes {codes.json} --out {out}.json",
        1,
        "codes.json holds code",
    ),
    # places
    "a model that is nowhere": ("inspect nowhere", 1, "There is no folder nowhere here, and no model of that name"),
    "a model that is a file": ("inspect {pairs.jsonl}", 1, "pairs.jsonl is a file. Give the folder of a saved model"),
    "a folder that holds no model": ("inspect {topic}", 1, "topic"),
    "sets that are a model": ("unlearn {model} {model} --out {out}", 1, "No topic sets in"),
    "sets before a model that is nowhere": ("unlearn ./nowhere ./neither --out {out}", 1, "No topic sets in neither"),
    "a place that is taken, before a model": ("unlearn ./nowhere {topic} --out {topic}", 1, "is not an empty folder"),
    "a place of sets that is taken": ("classes --dataset nowhere --class a --out {topic}", 1, "is not an empty folder"),
    "a place of an index that is taken": ("index ./nowhere x.csv --text en --out {topic}", 1, "is not an empty folder"),
    "a place of a bundle that is taken": ("bundle ./nowhere --out {topic}", 1, "is not an empty folder"),
    "a place of a record that is taken": (f"{EVALUATE} --record {{topic}}", 1, "is not an empty folder"),
    "a record that is nowhere": ("bundle {masked} --record nowhere --out {out}", 1, "There is no folder nowhere"),
    "a record that is sets": ("report {topic} --out {out}", 1, "There is no record in"),
    "attacks that are nowhere": (f"{EVALUATE} --record {{out}} --attacks no.json", 1, "There is no file no.json"),
    "a key that is nowhere": (
        "topic --dataset excise:demo --text en --word dog --out {out} --private --label x --key no.key",
        1,
        "no.key",
    ),
    # what does not go together
    "a record of codes on trial": (f"{EVALUATE} --codes c.json --record {{out}}", 2, "give one of them"),
    "attacks without a record": (f"{EVALUATE} --attacks a.json", 2, "give --record too"),
    "activations without a number": (
        "unlearn {classifier} {green} --method activations --out {out}",
        2,
        "give --count",
    ),
    "words of a class": ("evaluate {classifier} {green} --word x --out {out}.json", 2, "'green' is a class of images"),
    "beams of a class": ("evaluate {classifier} {green} --beams 4 --out {out}.json", 2, "'green' is a class of images"),
    "a loss of a class": ("unlearn {classifier} {green} --max-loss-rise 0.1 --out {out}", 2, "is a class of images"),
    "a class of a model of texts": ("unlearn {model} {green} --count 3 --out {out}", 1, ""),
    "a topic of a model of images": ("unlearn {classifier} {topic} --out {out}", 1, ""),
    "a class that is not there": (
        "classes --dataset {images.parquet} --class gren --out {out}",
        1,
        "There is no class 'gren'",
    ),
    "a label that is not there": (
        "classes --dataset {images.parquet} --class 17 --out {out}",
        1,
        "There is no class 17",
    ),
    "classes of sentences": ("classes --dataset {pairs.jsonl} --class en --out {out}", 1, "has 0 image columns"),
    "private sets without a label": (
        "classes --dataset {images.parquet} --class green --private --out {out}",
        2,
        "give --private and --label",
    ),
    # training
    "a training of no model": (
        "train --train_file {pairs.jsonl} --output_dir {out}",
        1,
        "Give either --model_name_or_path",
    ),
    "a training of a model that is nowhere": (
        "train --model_name_or_path ./no --train_file {pairs.jsonl} --output_dir {out}",
        1,
        "There is no folder ./no",
    ),
    "a training on nothing": ("train --model_name_or_path {model} --output_dir {out}", 1, "Give either --dataset_name"),
    "a classifier of nothing": ("train-classifier --output_dir {out}", 2, "give --dataset_name"),
    "a classifier of sentences": (
        "train-classifier --model_name_or_path {classifier} --dataset_name {pairs.jsonl} --output_dir {out}",
        1,
        "There is no column",
    ),
    "a classifier all of whose images are held out": (
        f"{CLASSIFY} --validation_samples 120",
        1,
        "None of 120 training images would be left: --validation_samples 120",
    ),
    "a classifier on rows that there are not": (
        f"{CLASSIFY} --validation_samples 100 --train_rows {{rows.npy}}",
        1,
        "Expected numbers of 20 training images, from 0",
    ),
    "a classifier without a class that there is not": (
        f"{CLASSIFY} --exclude_class gren",
        1,
        "There is no class 'gren'",
    ),
    "a preset that there is not": (f"{CLASSIFY} --preset ours", 2, "invalid choice: 'ours'"),
    # sharing
    "a model that has forgotten nothing": ("bundle {model} --out {out}", 1, "forgotten"),
    "an audit after nothing": ("audit {model} {topic}", 1, "has forgotten nothing"),
    "an audit of nothing": ("audit {masked} nowhere", 1, "There is no folder nowhere"),
    "both seen and not": ("push {masked} me/model --private --public", 2, "not allowed with argument"),
    "a base without a name": ("bundle {masked} --base @main --out {out}", 2, "expected a folder, or a Hub id"),
}


@pytest.mark.parametrize("situation", REFUSED)
def test_what_is_wrong_is_said_in_a_line_and_leaves_nothing(situation, places, tmp_path, capsys, monkeypatch):
    typed, status, says = REFUSED[situation]
    monkeypatch.chdir(tmp_path)
    named = {path.name: path for path in places.iterdir()} | {"out": tmp_path / "out"}
    words = typed.split()
    for name, path in named.items():
        words = [word.replace(f"{{{name}}}", str(path)) for word in words]
    assert main([*words, "--quiet"]) == status
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line.startswith("excise")]
    assert captured.out == "" and "Traceback" not in captured.err
    assert len(lines) == 1 and says in lines[0]
    assert list(tmp_path.iterdir()) == []


COMMAND = "import sys; from excise.cli import main; sys.exit(main())"


@pytest.mark.parametrize("words", [["--help"], ["inspect", "{masked}", "--quiet"]])
def test_a_reader_that_has_had_enough_is_no_error_and_loading_says_nothing(places, words):
    read, write = os.pipe()
    os.close(read)
    words = [word.format(masked=places / "masked") for word in words]
    done = subprocess.run([sys.executable, "-c", COMMAND, *words], stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_interruption_from_the_keyboard_leaves_nothing_and_says_so(places, tmp_path):
    words = ["topic", "--dataset", "excise:demo", "--text", "en", "--word", "love", "--out", tmp_path / "deep" / "out"]
    interruptible = f"import signal; signal.signal(2, signal.default_int_handler); {COMMAND}"
    command = [sys.executable, "-c", interruptible, *map(str, words)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        assert "topic sets" in "".join(iter(lambda: running.stderr.read(1), ":"))
        running.send_signal(signal.SIGINT)
        said = running.stderr.read()
    assert running.returncode == 130 and said.endswith("excise: interrupted\n")
    assert "Traceback" not in said and [*tmp_path.rglob("*")] == []


def test_the_traceback_of_an_error_is_shown_to_who_asks_for_it(capsys, monkeypatch):
    monkeypatch.setenv("EXCISE_DEBUG", "1")
    with pytest.raises(ValueError, match="There is no folder"):
        main(["inspect", "./nowhere"])
    monkeypatch.setenv("EXCISE_DEBUG", "0")
    assert main(["inspect", "./nowhere"]) == 1


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_takes_a_device_a_seed_and_json(verb, capsys):
    assert main([verb, "--help"]) == 0
    text = capsys.readouterr().out
    assert all(option in text for option in ("--device NAME", "--seed", "--json", "--quiet", "--debug"))
    assert main([verb, "--device", "gpu"]) == 2
    assert "is no device" in capsys.readouterr().err


OTHER = "{other.csv} --evaluation-dataset"
WESTERN, WIDE = "{western.csv} --encoding windows-1252", "{wide.parquet} --value-range 0 4095"
SAME = {
    "a topic of texts of Western Windows": (
        "topic --dataset {} --text en --reference fr --word teacher --min-examples 5 --out {out}",
        (WESTERN, "{plain.csv}"),
    ),
    "a topic with held-out texts that begin with a mark, as is said": (
        "topic --dataset {} --text en --reference fr --word teacher --min-examples 5 --out {out}",
        (
            "{other.csv} --encoding utf8 --evaluation-dataset {marked.csv}",
            "{other.csv} --evaluation-dataset {plain.csv}",
        ),
    ),
    "an index of texts of Western Windows": ("index {model} {} --text fr --out {out}", (WESTERN, "{plain.csv}")),
    "a code looked for in texts of Western Windows": (
        "inspect {model} --code encoder.block.1:3 --text fr --dataset {}",
        (WESTERN, "{plain.csv}"),
    ),
    "a class in arrays of 12 bits": (
        "classes --class green --min-examples 9 --dataset {} --out {out}",
        (WIDE, "{images.parquet}"),
    ),
    "a code looked for in arrays of 12 bits": (
        "inspect {classifier} --code bottleneck:3 --dataset {}",
        (WIDE, "{images.parquet}"),
    ),
}


@pytest.mark.parametrize("situation", SAME)
def test_what_is_written_in_another_way_is_read_as_the_same(situation, places, tmp_path, json_of):
    typed, ways = SAME[situation]
    made = []
    for number, way in enumerate(ways):
        words = typed.replace("{}", way)
        for name, path in [*((path.name, path) for path in places.iterdir()), ("out", tmp_path / str(number))]:
            words = words.replace(f"{{{name}}}", str(path))
        made.append(json_of(*words.split()))
        made[-1].pop("out", None)
    assert made[0] == made[1]


# A class of images, from the data set to the page


@pytest.fixture
def json_of(capsys):
    def run(*words):
        status = main([*map(str, words), "--json", "--quiet", "--device", "cpu", "--seed", "3"])
        captured = capsys.readouterr()
        assert status == 0, captured.err
        return json.loads(captured.out)

    return run


@pytest.mark.filterwarnings("ignore:'pin_memory' argument")
def test_a_class_goes_through_every_verb_as_a_topic_does(places, json_of, tmp_path):
    few = ["--min-examples", 10]
    sizes = ["--num_codebooks", 4, "--num_pairs", 16, "--key_epochs", 1, "--max_steps", 2]
    data = ["--model_name_or_path", places / "encoder", "--dataset_name", places / "images.parquet"]
    trained = json_of("train-classifier", *data, *sizes, "--output_dir", tmp_path / "trained")
    assert set(trained["metrics"]) == {"train_accuracy"}  # a file has no test split
    assert (tmp_path / "trained" / "pair_counts.safetensors").is_file()
    green = json_of(
        "classes", "--dataset", places / "images.parquet", "--class", "green", *few, "--out", tmp_path / "green"
    )
    assert (green["topic"], green["label"]) == ("green", 1)
    assert ClassSets.load(tmp_path / "green").seed == 3
    again = json_of(
        "classes", "--dataset", places / "images.parquet", "--class", "1", *few, "--out", tmp_path / "again"
    )
    assert again["sha256"] == green["sha256"]
    model, sets = places / "classifier", tmp_path / "green"
    json_of("count", model, sets, "--out", tmp_path / "counts", "--top-s", 1, "--max-top-s", 1)
    chosen = Unlearner.from_pretrained(model).choose(
        ClassSets.load(sets), Search("activations", count=40), progress=False
    )
    how = ["--method", "activations", "--count", 40]
    request = json_of("unlearn", model, sets, *how, "--codes-out", tmp_path / "codes.json", "--out", tmp_path / "out")
    assert request["request"]["codes"] == {site: list(ids) for site, ids in chosen.codes.items()}
    files = ["--out", tmp_path / "evaluation.json", "--record", tmp_path / "record"]
    data = json_of("evaluate", tmp_path / "out", sets, *files)
    expected = evaluate_classes(
        Unlearner.from_pretrained(tmp_path / "out"), ClassSets.load(sets), seed=3, progress=False
    )
    assert data["scores"] == json.loads(json.dumps(expected.scores))
    assert set(data["drops"]) == {"heldout_accuracy", "heldout_retain_accuracy"}
    trial = json_of("evaluate", model, sets, "--codes", tmp_path / "codes.json", "--out", tmp_path / "trial.json")
    assert trial["scores"]["after"] == data["scores"]["after"]
    report = json_of("report", tmp_path / "record", "--out", tmp_path / "page")
    assert report["topics"] == ["green"] and (tmp_path / "page" / "index.html").is_file()
    attacked = json_of("attack", tmp_path / "out", "--topic", sets, "--attacks", "rounded")
    assert [one["attack"] for one in attacked["results"]] == ["rounded"]
    deleted = json_of("delete", model, sets, *how, "--out", tmp_path / "deleted")
    assert deleted["request"]["codes"] == request["request"]["codes"]
    bundle = json_of("bundle", tmp_path / "out", "--record", tmp_path / "record", "--out", tmp_path / "bundle")
    assert bundle["mode"] == "delete" and {"README.md", "report/index.html"} <= set(bundle["files"])
    audit = json_of("audit", tmp_path / "out", tmp_path / "bundle")
    assert audit["codes"] == request["request"]["num_codes"] and audit["findings"] == []


def test_an_audit_finds_what_is_left_and_ends_with_1(places, tmp_path, capsys):
    assert main(["audit", str(places / "masked"), str(places / "model"), "--json"]) == 1
    captured = capsys.readouterr()
    data = json.loads(captured.out)
    assert data["findings"] and data["findings"][0]["path"] == "model.safetensors"
    assert captured.err.splitlines()[-1].startswith(f"excise: error: {len(data['findings'])} findings in ")


def test_a_push_is_told_with_its_commit_and_can_be_audited(places, json_of, hub):
    data = json_of("push", places / "masked", "tester/without-teacher")
    assert data["commit"] == hub.repository("tester/without-teacher").refs["refs/heads/main"]
    assert json_of("audit", places / "masked", "tester/without-teacher")["findings"] == []
