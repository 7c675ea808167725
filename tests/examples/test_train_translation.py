"""The example that trains a T5 to translate runs at tiny size, with a codebook and without, and goes on."""

import json
import runpy

import pytest
from transformers import T5ForConditionalGeneration

from excise import Unlearner
from tests.helpers import tiny

QUIET = ["--disable_tqdm=True", "--use_cpu=True", "--dataloader_pin_memory=False", "--logging_steps=1"]


@pytest.fixture
def train(request, tmp_path):
    tiny.base_t5().save_pretrained(tmp_path / "t5")
    tiny.tokenizer().save_pretrained(tmp_path / "t5")
    rows = [{"translation": {"en": f"the cat sat {'a dog ' * i}", "fr": "the teacher ran"}} for i in range(12)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    main = runpy.run_path(str(request.config.rootpath / "examples" / "train" / "train_translation.py"))["main"]
    data = [f"--model_name_or_path={tmp_path / 't5'}", f"--dataset_name={tmp_path / 'pairs.jsonl'}"]

    def run(out, *more):
        main([*data, *QUIET, f"--output_dir={tmp_path / out}", *more])
        return tmp_path / out

    return run


def test_a_codebook_is_trained_and_goes_on_where_it_was_cut_off(train):
    more = ["--codebook", "--num_codes=40", "--bottleneck_layers", "1", "--save_steps=2"]
    train("out", *more, "--max_steps=2")
    out = train("out", *more, "--max_steps=4")
    state = json.loads((out / "checkpoint-4" / "trainer_state.json").read_text())
    assert [log["step"] for log in state["log_history"] if "loss" in log] == [1, 2, 3, 4]
    ((site, bottleneck),) = Unlearner.from_pretrained(out).sites.items()
    assert site == "encoder.block.1" and bottleneck.num_codes == 40 and bottleneck.min_similarity > -1


def test_the_same_is_trained_without_a_codebook(train):
    assert T5ForConditionalGeneration.from_pretrained(train("plain", "--max_steps=1")).config.model_type == "t5"
