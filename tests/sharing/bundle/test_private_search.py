"""Private words and texts are found wherever they are written in a bundle, and no message tells them."""

import base64
import bz2
import gzip
import io
import json
import shutil
import zipfile
from urllib.parse import quote

import PIL.Image
import PIL.PngImagePlugin
import pyarrow
import pyarrow.parquet
import pytest
import torch
from datasets import Dataset
from safetensors.torch import save_file

from excise import Record, Selection, Unlearner, check_bundle
from excise.sharing.bundle.manifest import write_manifest
from excise.sharing.bundle.private_search import PrivateSearch
from tests.helpers import grep
from tests.helpers.evidence import SITE, class_frontier, enrichment_of, text_evaluation

NAME = "Zoë"
LONG = "Zoëlinde"
TEXT = "In May she wrote to him of the two houses by the sea"


@pytest.fixture(scope="module")
def written(make_model, tokenizer, tmp_path_factory):
    """The bundle of a model that forgot something private, all of whose words are withheld."""
    unlearner = Unlearner(make_model(), tokenizer)
    unlearner.mask(Selection({SITE: [3, 7]}, {"q": 0.05, "note": TEXT}), NAME, private=True)
    record = Record.of(
        unlearner.model,
        evaluations=[text_evaluation("request-1"), text_evaluation(NAME)],
        frontiers=[class_frontier("request-1")],
        enrichments={"request-1": enrichment_of()},
    )
    folder = tmp_path_factory.mktemp("private") / "bundle"
    unlearner.save_bundle(folder, record)
    return folder


@pytest.fixture
def bundle(written, tmp_path):
    return shutil.copytree(written, tmp_path / "bundle")


def check(folder, *private) -> None:
    """As `check_bundle`, of a bundle into which something was put and which is whole again."""
    manifest = json.loads((folder / "bundle.json").read_text())
    write_manifest(folder, manifest["mode"], manifest["masks"], manifest["base_checkpoint"])
    check_bundle(folder, private)


def png(text: str, packed: bool) -> bytes:
    about = PIL.PngImagePlugin.PngInfo()
    about.add_itxt("Comment", text, zip=packed)
    out = io.BytesIO()
    PIL.Image.new("RGB", (4, 4)).save(out, "PNG", pnginfo=about)
    return out.getvalue()


def jpeg(text: str) -> bytes:
    out = io.BytesIO()
    PIL.Image.new("RGB", (4, 4)).save(out, "JPEG", comment=text.encode())
    return out.getvalue()


def table(text: str, of_column: bool) -> bytes:
    column = pyarrow.array([text if of_column else "x"]).dictionary_encode()
    schema = pyarrow.schema([("a", column.type)], {} if of_column else {"about": text})
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table([column], schema), out, compression="zstd")
    return out.getvalue()


def archive(text: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("inner.txt", text)
    return out.getvalue()


def tensors(text: str, tmp_path) -> bytes:
    save_file({"a": torch.zeros(2)}, tmp_path / "t.safetensors", metadata={"about": text})
    return (tmp_path / "t.safetensors").read_bytes()


WRITTEN = {
    "plain": lambda text: text.encode(),
    "in capitals": lambda text: text.upper().encode(),
    "decomposed": lambda text: text.replace("ë", "e\u0308").encode(),
    "as JSON": lambda text: json.dumps(text).encode(),
    "as HTML": lambda text: "".join(f"&#x{ord(letter):x};" for letter in text).encode(),
    "as HTML, decimal": lambda text: "".join(f"&#{ord(letter)};" for letter in text).encode(),
    "with names of HTML": lambda text: text.replace("ë", "&euml;").encode(),
    "as URL": lambda text: quote(text).encode(),
    "as URL, all of it": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()).encode(),
    "as URL in HTML": lambda text: quote(quote(text)).replace("%", "&#37;").encode(),
    "as Python": lambda text: repr(text.encode()).encode(),
    "as JavaScript": lambda text: "".join(f"\\u{{{ord(letter):x}}}" for letter in text).encode(),
    "with tags": lambda text: "<b>".join(text).encode(),
    "with marks that are not seen": lambda text: "\u200b\u202e".join(text).encode(),
    "in UTF-16": lambda text: text.encode("utf-16"),
    "in base64": lambda text: base64.b64encode(f"it is {text}, is it".encode()),
    "in gzip": lambda text: gzip.compress(text.encode()),
    "in bzip2": lambda text: bz2.compress(text.encode()),
    "in zip": archive,
    "in zip in gzip": lambda text: gzip.compress(archive(text)),
    "in PNG": lambda text: png(text, packed=False),
    "packed in PNG": lambda text: png(text, packed=True),
    "in JPEG": jpeg,
    "in a column of Parquet": lambda text: table(text, of_column=True),
    "in metadata of Parquet": lambda text: table(text, of_column=False),
}


@pytest.mark.parametrize("way", WRITTEN)
@pytest.mark.parametrize("private", [NAME, TEXT], ids=["word", "text"])
def test_it_is_found_however_it_is_written(tmp_path, way, private):
    search = PrivateSearch("teacher", private if private == NAME else Dataset.from_dict({"text": [private]}))
    path = tmp_path / "more.bin"
    path.write_bytes(WRITTEN[way](private))
    assert search.in_file(path, "report/more.bin") == {("word", 1) if private == NAME else ("text", 0)}
    path.write_bytes(WRITTEN[way]("In June he wrote to her of the three houses by the sea"))
    assert not search.in_file(path, "report/more.bin")


@pytest.mark.parametrize(
    "name", ["config.json", "ledger.json", "generation_config.json", "README.md", "report/index.html"]
)
def test_it_is_found_in_the_files_of_a_bundle(bundle, name):
    path = bundle / name
    if path.suffix == ".json":
        state = json.loads(path.read_text())
        path.write_text(
            json.dumps({"mode": state.get("mode"), "masks": state.get("masks")} | {"more": [{"a": NAME}]} | state)
        )
    else:
        path.write_text(path.read_text() + NAME)
    with pytest.raises(ValueError, match=rf"{name}: a private word"):
        check(bundle, NAME)


def test_the_name_of_a_file_is_one_of_the_places_and_is_not_told(bundle):
    (bundle / f"letters-of-{NAME}.txt").write_text("x")
    with pytest.raises(ValueError, match=r"the name of a file \(\*\.txt\): a private word") as error:
        check(bundle, NAME)
    assert NAME not in str(error.value)


def test_metadata_of_tensors_is_looked_through(bundle, tmp_path):
    (bundle / "more.safetensors").write_bytes(tensors(f"of {NAME}", tmp_path))
    with pytest.raises(ValueError, match=r"more\.safetensors: a private word"):
        check(bundle, NAME)


def test_a_longer_word_is_found_in_others_and_a_short_one_as_a_whole(bundle):
    search = PrivateSearch(LONG, "it", "北京")
    assert search.in_text(f"my{LONG}s_model") and search.in_text("It's") and search.in_text("在北京的")
    assert not search.in_text("item bits 京北")
    assert not PrivateSearch(NAME).in_text("Zoës")


def test_vocabulary_may_hold_words_and_no_text(bundle):
    path = bundle / "tokenizer.json"
    path.write_text(path.read_text().replace('"book"', f'"{NAME}"'))
    check(bundle, NAME, "teacher")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"more": TEXT}))
    with pytest.raises(ValueError, match=r"tokenizer\.json: a private text"):
        check(bundle, Dataset.from_dict({"text": [TEXT]}))


def test_a_part_of_a_text_is_enough(bundle):
    with (bundle / "README.md").open("a") as card:
        card.write("\n| ... she *wrote* to him of\n the two ... |")
    with pytest.raises(ValueError, match=r"README\.md: a private text \(2 of 2\)"):
        check(bundle, Dataset.from_dict({"text": ["Hello", TEXT]}))


def test_words_that_every_report_has_are_looked_for_where_they_were_given(bundle, make_model, tokenizer, tmp_path):
    words = ["code", "it", "ledger", "nothing", "mask", "encoder", "seed"]
    check(bundle, *words)
    unlearner = Unlearner(make_model(), tokenizer)
    unlearner.mask(Selection({SITE: [3, 7]}), "the code", label="request-9", private=True)
    unlearner.save_bundle(tmp_path / "fine")
    with pytest.raises(ValueError, match=r"report/report\.json: a private word"):
        unlearner.save_bundle(tmp_path / "no", Record.of(unlearner.model, data={"name": "all that the code told"}))
    assert not (tmp_path / "no").exists()


def test_numbers_hold_no_short_words(bundle):
    generator = torch.Generator().manual_seed(0)
    torch.save(torch.randn(300_000, generator=generator), bundle / "more.bin")
    check(bundle, "it", "al", "zoe", "anna", "maria")


def test_sentences_of_a_report_are_found_there_though_every_report_of_the_record_has_them(
    make_model, tokenizer, topic, tmp_path
):
    unlearner = Unlearner(make_model(), tokenizer)
    unlearner.mask(Selection({SITE: [3, 7]}), "pupil")
    record = Record.of(unlearner.model, evaluations=[text_evaluation("pupil")])
    unlearner.save_bundle(tmp_path / "public", record)
    with pytest.raises(ValueError, match=r"report/report\.json: a private text"):
        check_bundle(tmp_path / "public", [Dataset.from_dict({"text": ["The teacher sees a house."]})])


def test_evaluations_of_private_sets_are_withheld_whatever_the_request_is_called(
    make_model, tokenizer, topic, tmp_path
):
    unlearner, private = Unlearner(make_model(), tokenizer), topic.private_as("request-17")
    unlearner.mask(Selection({SITE: [3, 7]}), "request-17")  # as of a selection that was chosen on the sets
    evaluation = text_evaluation("request-17")
    evaluation["settings"] |= {"data": private.digest()}
    record = Record.of(unlearner.model, evaluations=[evaluation])
    unlearner.save_bundle(tmp_path / "bundle", record, private_topics=[private])
    assert not grep.places(tmp_path / "bundle" / "report", ["professeur", "sees a house"])


def test_the_words_of_each_topic_under_one_label_are_looked_for(make_model, tokenizer, tmp_path):
    unlearner = Unlearner(make_model(), tokenizer)
    for words in (LONG, "June"):
        unlearner.mask(Selection({SITE: [3, 7]}), words, label="withheld", private=True)
    for words in (LONG, "June"):
        with pytest.raises(ValueError, match=r"report/report\.json: a private word"):
            unlearner.save_bundle(tmp_path / "no", Record.of(unlearner.model, data={"name": f"letters to {words}"}))


def test_a_word_that_is_given_alone_is_no_list_of_letters(bundle):
    (bundle / "more.txt").write_text(f"of {LONG}")
    for private in (LONG, [LONG], {LONG}, (word for word in [LONG])):
        with pytest.raises(ValueError, match=r"more\.txt: a private word"):
            PrivateSearch(private).check(bundle)
    manifest = json.loads((bundle / "bundle.json").read_text())
    write_manifest(bundle, manifest["mode"], manifest["masks"], manifest["base_checkpoint"])
    with pytest.raises(ValueError, match=r"more\.txt: a private word"):
        check_bundle(bundle, LONG)
