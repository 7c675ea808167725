import json
import signal

import pytest
from transformers import AutoModelForSeq2SeqLM

from excise.training.interruptions import interruptions_wait, last_whole_checkpoint

SENTENCES = [("the teacher reads .", "le professeur lit ."), ("a cat sees the dog .", "une maison voit .")] * 6


@pytest.fixture
def arguments(tmp_path, tokenizer, saved):
    rows = [{"translation": {"en": en, "fr": fr}} for en, fr in SENTENCES]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = {
        "train_file": tmp_path / "rows.jsonl",
        "validation_file": tmp_path / "rows.jsonl",
        "output_dir": tmp_path / "out",
        "max_steps": 4,
        "per_device_train_batch_size": 4,
        "save_steps": 2,
        "logging_steps": 1,
        "max_length": 8,
        "report_to": "none",
    }
    return [
        "train",
        "--do_train",
        "--use_cpu",
        *(word for key, value in options.items() for word in (f"--{key}", value)),
    ]


@pytest.fixture
def plain(tmp_path, tokenizer):
    from transformers import T5Config, T5ForConditionalGeneration

    sizes = {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 2, "num_heads": 2, "decoder_start_token_id": 0}
    T5ForConditionalGeneration(T5Config(vocab_size=len(tokenizer), **sizes)).save_pretrained(tmp_path / "plain")
    tokenizer.save_pretrained(tmp_path / "plain")
    return tmp_path / "plain"


CODEBOOK = ["--codebook", "--num_codes", 16, "--top_s", 2, "--bottleneck_layers", 1, "--init_steps", 2]


def test_train_puts_a_codebook_in_a_plain_model_and_saves_it(excise, arguments, plain, tmp_path):
    options = ["--model_name_or_path", plain, *CODEBOOK, "--do_eval", "--predict_with_generate"]
    metrics = excise(*arguments, *options)["metrics"]
    assert {"train_loss", "eval_bleu"} <= set(metrics)
    model = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "out")
    assert model.encoder.block[1].layer[0].bottleneck.config.num_codes == 16


def test_train_makes_a_model_from_a_config(excise, arguments, plain, tmp_path):
    options = ["--config_name", plain, "--tokenizer_name", plain, "--config_overrides", "d_ff=12", *CODEBOOK]
    excise(*arguments, *options)
    assert AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "out").config.d_ff == 12


def test_a_training_goes_on_from_its_last_whole_checkpoint(excise, arguments, plain, tmp_path):
    excise(*arguments, "--model_name_or_path", plain, *CODEBOOK)
    out = tmp_path / "out"
    assert last_whole_checkpoint(out) == str(out / "checkpoint-4")
    (out / "checkpoint-4" / "trainer_state.json").unlink()  # as when the writing of the checkpoint was cut off
    assert last_whole_checkpoint(out) == str(out / "checkpoint-2")
    (out / "model.safetensors").unlink()
    excise(*arguments, "--model_name_or_path", plain, *CODEBOOK)
    assert (out / "model.safetensors").is_file()
    assert json.loads((out / "trainer_state.json").read_text())["global_step"] == 4


def test_there_is_no_checkpoint_where_there_is_no_folder(tmp_path):
    (tmp_path / "cut" / "checkpoint-9").mkdir(parents=True)
    (tmp_path / "cut" / "checkpoint-9" / "trainer_state.json").write_text('{"global_step": 9, "log_h')
    assert last_whole_checkpoint(tmp_path / "cut") is None
    assert last_whole_checkpoint(tmp_path / "none") is None
    assert last_whole_checkpoint(None) is None


@pytest.mark.parametrize(
    ("options", "status", "says"),
    [
        ([], 1, "Give either --model_name_or_path or --config_name"),
        (["--no_such_option", "1"], 2, "unrecognized arguments: --no_such_option"),
        (["--max_steps", "many"], 2, "invalid int"),
    ],
)
def test_wrong_arguments_of_a_training_are_refused(failing, arguments, plain, options, status, says):
    named = ["--tokenizer_name", plain]
    assert says in failing(*arguments, *named, *options, status=status)


def test_an_interruption_waits_until_what_is_being_written_is_written(tmp_path):
    def write():
        with interruptions_wait():
            signal.raise_signal(signal.SIGINT)
            (tmp_path / "whole").touch()

    outer = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore the signal
    try:
        with pytest.raises(KeyboardInterrupt):
            write()
        assert (tmp_path / "whole").exists()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, outer)
