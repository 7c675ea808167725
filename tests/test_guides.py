"""Code in the guides and in the README runs as it stands, block after block."""

import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
GUIDES = ROOT / "docs" / "guides"
# A block that is not run has its reason before it: <!-- not run: ... -->
BLOCK = re.compile(r"(?:<!-- not run: (?P<reason>.+?) -->\n+)?^```python\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL)
# These go on with the model and the topic that this one leaves.
WORD = "forget-a-word"
ATTACH = "attach-to-any-model"
GOING_ON = ["attacks", "share-it", "audit-a-repository", "go-on-from-a-published-mask", "several-processes"]

pytestmark = [
    pytest.mark.filterwarnings("ignore:'pin_memory' argument"),
    # The table of a record is Parquet; huggingface_hub wonders whether a data set is meant.
    pytest.mark.filterwarnings("ignore:It seems that you are about to commit a data file"),
]


def run(page: Path) -> dict:
    """Runs a page's blocks in the current folder, and gives the names that they leave."""
    text, names = page.read_text(encoding="utf-8"), {"__name__": "__main__"}
    for block in BLOCK.finditer(text):
        if not block["reason"]:
            lines = "\n" * text.count("\n", 0, block.start("code"))  # so that an error tells the line of the page
            exec(compile(lines + block["code"].replace('"me/', '"tester/'), str(page), "exec"), names)
    return names


@pytest.fixture(scope="module")
def word(tmp_path_factory):
    """The folder in which `forget-a-word` ran, and the names that it left."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder := tmp_path_factory.mktemp("word"))
        return folder, run(GUIDES / f"{WORD}.md")


def test_a_word_is_forgotten_in_the_guide(word):
    names = word[1]
    assert names["request"].num_codes and len(names["selection"]) == names["request"].num_codes
    with names["unlearner"].without_masks():
        assert names["unlearner"].index and names["unlearner"].choose(names["topic"]).codes == names["selection"].codes
    kinds = [(request.kind, bool(request.undone)) for request in names["again"].ledger.requests]
    assert kinds == [("mask", True), ("mask", False), ("delete", False)]


@pytest.mark.parametrize("guide", GOING_ON)
def test_a_guide_that_goes_on_from_there_runs(hub, word, guide, tmp_path, monkeypatch):
    shutil.copytree(word[0], tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    run(GUIDES / f"{guide}.md")


@pytest.mark.parametrize(
    "page",
    [
        pytest.param("forget-a-class-with-codebooks", marks=pytest.mark.slow),
        "forget-a-class-with-pairs",
    ],
)
def test_a_class_is_forgotten_in_the_guide(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run(GUIDES / f"{page}.md")
    assert names["request"].undone is None and names["unlearner"].ledger.requests[-1].undone


def test_a_bottleneck_is_attached_and_taken_off_in_the_guide(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run(GUIDES / f"{ATTACH}.md")
    assert type(names["plain"]).__name__ == "LlamaForCausalLM" and names["again"].config.unlearning


def test_a_language_model_is_measured_in_the_guide(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run(GUIDES / "measure-a-language-model.md")
    assert 0 < names["scores"]["forget_Q_A_Prob"] < 1
    assert len(names["sets"].target) == 1
    assert names["again"] == names["scores"]


def test_the_quickstart_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run(ROOT / "README.md")
    assert re.search(r"^after +\| 0\.0\d\d \[", capsys.readouterr().out, re.MULTILINE)


def test_the_first_page_of_the_site_has_the_same_quickstart():
    pages = [(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/index.md")]
    assert BLOCK.findall(pages[0]) == BLOCK.findall(pages[1]) != []


def test_every_guide_is_run():
    told = {WORD, ATTACH, *GOING_ON, "forget-a-class-with-codebooks", "forget-a-class-with-pairs"}
    told |= {"measure-a-language-model"}
    assert {page.stem for page in GUIDES.glob("*.md")} == told
