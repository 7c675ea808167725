"""Situations of people who expect of a model what transformers has taught them: each is right, or refused by name."""

import copy
import inspect
import json
import re
import struct
from importlib import import_module
from pathlib import Path

import pytest
import torch
import yaml
from datasets import Dataset, DatasetDict
from huggingface_hub import ModelCardData
from peft import LoraConfig, get_peft_model
from tensorboardX.proto.event_pb2 import Event
from transformers import (
    AutoModelForSeq2SeqLM,
    BertConfig,
    BertModel,
    DataCollatorForSeq2Seq,
    GPT2Config,
    GPT2LMHeadModel,
    MT5Config,
    MT5ForConditionalGeneration,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    T5EncoderModel,
    TrainerCallback,
    UMT5Config,
    UMT5ForConditionalGeneration,
)

import excise
from excise import (
    BottleneckCallback,
    CodebookCLIPModel,
    CodebookSAEConfig,
    CodebookT5ForConditionalGeneration,
    Search,
    Selection,
    Unlearner,
    class_sets,
    evaluate,
    initialize_codes,
    topic_sets,
)
from excise.bottlenecks.site import bottlenecks, left_out
from excise.models import export_plain
from excise.report import Record, model_card
from tests.helpers import forgetting_in_processes
from tests.helpers.evidence import text_evaluation
from tests.helpers.tiny import T5, base_clip, base_t5, batch, codebook_clip, codebook_t5, copying, tokenizer
from tests.helpers.two_processes import launched

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")

SIZES = {"num_codes": 40, "top_s": 3}
FIRST = "encoder.block.0"


# ---------------------------------------------------------------------------------------------- what from_base takes


def plain(kind):
    """A tiny T5, mT5 or UMT5 whose weights are all at random, position biases too."""
    torch.manual_seed(0)
    gated = T5 | {"feed_forward_proj": "gated-gelu"}
    models = {
        "t5": lambda: base_t5(),
        "flan": lambda: base_t5(feed_forward_proj="gated-gelu"),
        "mt5": lambda: MT5ForConditionalGeneration(MT5Config(**gated)),
        "umt5": lambda: UMT5ForConditionalGeneration(UMT5Config(**gated)),
    }
    model = models[kind]().eval()
    for parameter in model.parameters():
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    return model


def inputs():
    return {key: value for key, value in batch().items() if key != "labels"}


@pytest.mark.parametrize("given", ["in memory", "a folder"])
@pytest.mark.parametrize("kind", ["t5", "flan", "mt5", "umt5"])
def test_a_base_of_every_kind_is_itself_with_bottlenecks(kind, given, tmp_path):
    base = plain(kind)
    base.save_pretrained(tmp_path / "plain")
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    model = CodebookT5ForConditionalGeneration.from_base(base if given == "in memory" else tmp_path / "plain", **SIZES)
    assert bottlenecks(model)[FIRST].num_codes == 40 and not model.training
    with left_out(model):
        torch.testing.assert_close(model(**batch()).logits, base(**batch()).logits)
        assert torch.equal(model.generate(**inputs(), max_new_tokens=5), base.generate(**inputs(), max_new_tokens=5))
    model(**batch()).loss.backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert all(torch.equal(tensor, before[name]) for name, tensor in base.state_dict().items())
    Unlearner(model, tokenizer()).mask(Selection({FIRST: [3]}, {"q": 0.05}), "a topic")
    model.save_pretrained(tmp_path / "ours")
    loaded = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "ours")
    assert type(loaded) is type(model) and loaded.config.plain_type == kind.replace("flan", "t5")
    torch.testing.assert_close(loaded(**batch()).logits, model(**batch()).logits)
    assert torch.equal(loaded.generate(**inputs(), max_new_tokens=5), model.generate(**inputs(), max_new_tokens=5))
    back = export_plain(loaded, brings_back_what_was_forgotten=True)
    assert type(back) is type(base)
    with left_out(loaded):
        torch.testing.assert_close(back(**batch()).logits, loaded(**batch()).logits)


def test_every_layer_of_a_umt5_keeps_a_position_bias_of_its_own():
    model = CodebookT5ForConditionalGeneration.from_base(plain("umt5"), layers=(0, 2), **SIZES)
    for stack in (model.encoder, model.decoder):
        biases = [block.layer[0].SelfAttention.relative_attention_bias.weight for block in stack.block]
        assert len({bias.data_ptr() for bias in biases}) == len(stack.block)


@pytest.mark.parametrize(
    ("given", "settings"),
    [
        ({"num_codes": 41}, {"num_codes": 41}),
        ({"num_codes": 41, "top_s": 2, "active": None}, {"num_codes": 41, "top_s": 2, "active": None}),
        ({"bottleneck": CodebookSAEConfig(top_s=5), "num_codes": 41}, {"num_codes": 41, "top_s": 5}),
        ({"bottleneck": {"num_codes": 41}}, {"num_codes": 41}),
    ],
    ids=["one field", "several", "on top of settings", "settings as a dict"],
)
def test_fields_of_the_settings_go_through_from_base(given, settings):
    model = CodebookT5ForConditionalGeneration.from_base(base_t5(), **given)
    assert {name: getattr(model.config.bottleneck, name) for name in settings} == settings
    assert bottlenecks(model)[FIRST].num_codes == 41
    assert CodebookCLIPModel.from_base(base_clip(), **given).config.vision_config.bottleneck.num_codes == 41


def test_fields_of_the_base_and_of_the_loading_go_through_from_base():
    model = CodebookT5ForConditionalGeneration.from_base(base_t5(), dropout_rate=0.3, dtype=torch.bfloat16, **SIZES)
    assert model.config.dropout_rate == 0.3 and model.encoder.dropout.p == 0.3 and model.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"num_code": 4096}, r"`num_code` is no setting .* Did you mean `num_codes`\?.*top_s.*dropout_rate"),
        ({"layer": (0,)}, r"Did you mean `layers`\?"),
        ({"codebook_size": 9}, r"`codebook_size` is no setting that from_base knows. Fields .* num_codes"),
        ({"num_layers": 2}, "`num_layers` is 3 in the base, whose weights are made for that"),
        ({"num_codes": "many"}, "'num_codes' expected int, got str"),
        ({"num_codes": 0}, "`num_codes` is 0; it must be at least 1"),
        ({"bottleneck": 4096}, "bottleneck=4096: expected settings.*num_codes=4096"),
        ({"revision": "main"}, "revision: a model in memory has one state"),
    ],
    ids=lambda value: "" if isinstance(value, str) else ", ".join(value),
)
def test_what_from_base_does_not_know_is_named_with_what_it_knows(given, message):
    with pytest.raises(ValueError, match=message):
        CodebookT5ForConditionalGeneration.from_base(base_t5(), **given)


class Pipeline:
    """What a pipeline of transformers looks like."""

    def __init__(self):
        self.model, self.preprocess = base_t5(), None


def plain_with_lora():
    return get_peft_model(base_t5(), LoraConfig(task_type="SEQ_2_SEQ_LM", r=2, target_modules=["q"]))


NO_BASE = {
    "nothing": (lambda: None, "None was given as the base; expected a plain T5"),
    "a number": (lambda: 25_000, r"25000 \(an int\) was given as the base"),
    "empty text": (lambda: "", "expected a plain T5: a Hub id, a local path, or a model in memory"),
    "a tokenizer": (tokenizer, "was given as the base"),
    "a data set": (lambda: Dataset.from_dict({"a": [1]}), "a Dataset was given as the base"),
    "a pipeline": (Pipeline, "Give its model: pipe.model"),
    "an adapter": (plain_with_lora, "merge_and_unload"),
    "one that has codes": (codebook_t5, "has bottlenecks already, so it needs no from_base"),
    "a CLIP": (base_clip, "is a 'clip' model; from_base takes a plain T5"),
    "a GPT-2": (lambda: GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=8, n_head=1, vocab_size=9)), "is a 'gpt2' model"),
    "half a T5": (lambda: T5EncoderModel(base_t5().config), "lacks weights of a T5: .*decoder"),
}


@pytest.mark.parametrize("situation", NO_BASE)
def test_what_is_no_base_is_named(situation):
    make, message = NO_BASE[situation]
    with pytest.raises(ValueError, match=message):
        CodebookT5ForConditionalGeneration.from_base(make())


@pytest.mark.parametrize(
    ("name", "remembered"),
    [("google/mt5-small", {"id": "google/mt5-small", "revision": None}), ("", None), ("a folder", None)],
    ids=["a name on the Hub", "none", "a folder"],
)
def test_a_model_remembers_the_base_that_others_can_have(name, remembered, tmp_path):
    base = base_t5()
    base.config.name_or_path = str(tmp_path) if name == "a folder" else name
    model = CodebookT5ForConditionalGeneration.from_base(base, **SIZES)
    assert model.name_or_path == base.config.name_or_path
    model.save_pretrained(tmp_path / "ours")
    loaded = CodebookT5ForConditionalGeneration.from_pretrained(tmp_path / "ours")
    assert getattr(loaded.config, "base_model", None) == remembered
    assert str(tmp_path) not in (tmp_path / "ours" / "config.json").read_text()


# ------------------------------------------------------------------------------------- LoRA on a model from from_base


def with_lora(model, **options):
    return get_peft_model(model, LoraConfig(task_type="SEQ_2_SEQ_LM", r=2, target_modules=["q", "v"], **options)).eval()


def test_an_adapter_on_a_model_fresh_from_from_base_loads_again(tmp_path):
    base_t5().save_pretrained(tmp_path / "plain")
    model = with_lora(
        CodebookT5ForConditionalGeneration.from_base(tmp_path / "plain", **SIZES), modules_to_save=["bottleneck"]
    )
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.add_(0.05 * torch.randn_like(parameter))
    unlearner = Unlearner(model, tokenizer())
    unlearner.mask(Selection({FIRST: [3, 5]}, {"q": 0.05}), "a topic")
    unlearner.save_pretrained(tmp_path / "adapter")
    again = Unlearner.from_pretrained(tmp_path / "adapter")
    torch.testing.assert_close(again.whole.eval()(**batch()).logits, model(**batch()).logits)
    assert again.ledger == unlearner.ledger
    with again.whole.disable_adapter():
        assert not bottlenecks(again.model)[FIRST].live[[3, 5]].any()


def test_an_adapter_without_bottlenecks_on_a_plain_model_is_refused_with_what_to_do(tmp_path):
    base_t5().save_pretrained(tmp_path / "plain")
    model = with_lora(CodebookT5ForConditionalGeneration.from_base(tmp_path / "plain", **SIZES))
    model.save_pretrained(tmp_path / "adapter")
    model.get_base_model().config.save_pretrained(tmp_path / "adapter")
    tokenizer().save_pretrained(tmp_path / "adapter")
    with pytest.raises(ValueError, match=r'a plain model, and holds no bottlenecks.*modules_to_save=\["bottleneck"\]'):
        Unlearner.from_pretrained(tmp_path / "adapter")


BASES = {
    "trained in memory": (lambda model: model.lm_head.weight.data.mul_(1.1), "was trained on other weights than"),
    "one layer trained in memory": (
        lambda model: model.encoder.block[0].layer[1].layer_norm.weight.data.add_(0.1),
        "such as encoder.block.0.layer.1.layer_norm.weight",
    ),
    "as it was saved": (lambda model: None, None),
}


@pytest.mark.parametrize("fresh", [True, False], ids=["of a plain model", "with bottlenecks"])
@pytest.mark.parametrize(("train", "said"), BASES.values(), ids=BASES)
def test_an_adapter_loads_on_the_weights_that_it_was_put_on_alone(tmp_path, caplog, fresh, train, said):
    (base_t5() if fresh else codebook_t5()).save_pretrained(tmp_path / "base")
    kind = CodebookT5ForConditionalGeneration
    base = kind.from_base(tmp_path / "base", **SIZES) if fresh else kind.from_pretrained(tmp_path / "base")
    train(base)
    unlearner = Unlearner(with_lora(base, modules_to_save=["bottleneck"]), tokenizer())
    unlearner.delete(Selection({next(iter(unlearner.sites)): [3, 5]}, {"q": 0.05}), "a topic", depth="codes")
    with caplog.at_level("WARNING"):
        unlearner.save_pretrained(tmp_path / "adapter")
    assert ("are in no file, and the adapter will not load" in caplog.text) is bool(said)
    if said is None:
        Unlearner.from_pretrained(tmp_path / "adapter")
    else:
        with pytest.raises(ValueError, match=said):
            Unlearner.from_pretrained(tmp_path / "adapter")


@pytest.mark.parametrize("gone", ["never saved", "moved"])
def test_an_adapter_whose_base_is_nowhere_says_what_to_do(tmp_path, gone):
    codebook_t5().save_pretrained(tmp_path / "base")
    model = CodebookT5ForConditionalGeneration.from_pretrained(tmp_path / "base")
    adapted = with_lora(model, modules_to_save=["bottleneck"])
    Unlearner(adapted, tokenizer()).save_pretrained(tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_config.json"
    name = "" if gone == "never saved" else str(tmp_path / "elsewhere")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": name}))
    with pytest.raises(ValueError, match="base_model_name_or_path"):
        Unlearner.from_pretrained(tmp_path / "adapter")


# ---------------------------------------------------------------------------------------- what is given to every verb


def gpt2():
    return GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=8, n_head=1, vocab_size=9))


def bert():
    return BertModel(
        BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=9)
    )


ROWS = Dataset.from_dict({"text": ["the cat sat"]})
SUPPORTED = r"excise works on T5, Flan-T5, mT5 and UMT5 .*CodebookT5.*from_base.*CLIP.*from_encoder"
NO_MODELS = {
    "a GPT-2": (gpt2, f"GPT2LMHeadModel has no bottleneck. {SUPPORTED}.* Put some into this 'gpt2' model by `attach"),
    "a BERT": (bert, f"BertModel has no bottleneck. {SUPPORTED}.* Put some into this 'bert' model by `attach"),
    "a plain T5": (base_t5, r"T5For.* has no bottleneck. Give it one by `CodebookT5.*from_base\(model\)` and train it"),
    "a plain mT5": (lambda: plain("mt5"), r"`CodebookT5ForConditionalGeneration.from_base\(model\)`"),
    "a plain CLIP": (base_clip, r"Give it one by `CodebookCLIPModel.from_base\(model\)`"),
    "a vision encoder": (lambda: base_clip().vision_model, r"from_base\(model\)|from_encoder"),
    "LoRA on a plain T5": (plain_with_lora, r"merge_and_unload\(\)`, then: Give it one by `CodebookT5"),
    "a layer of torch": (lambda: torch.nn.Linear(2, 2), f"Linear has no bottleneck. {SUPPORTED}"),
    "a pipeline": (Pipeline, "`model` is a Pipeline; expected a model"),
    "a path": (lambda: "some/path", r"`model` is 'some/path' \(a str\); .*`Unlearner.from_pretrained\(...\)`"),
    "a Path": (lambda: Path("model"), r"`model` is 'model' .*`Unlearner.from_pretrained\(...\)`"),
    "nothing": (lambda: None, "`model` is None; expected a model"),
    "a number": (lambda: 3, r"`model` is 3 \(an int\); expected a model"),
    "a list": (lambda: [base_t5()], "`model` is a list; expected a model"),
    "splits": (lambda: DatasetDict(train=ROWS), "`model` is a DatasetDict; expected a model"),
}


@pytest.mark.parametrize("situation", NO_MODELS)
def test_an_unlearner_says_what_it_works_on(situation):
    make, message = NO_MODELS[situation]
    for take in (lambda model: Unlearner(model, tokenizer()), lambda model: initialize_codes(model, ROWS, tokenizer())):
        with pytest.raises(ValueError, match=message):
            take(make())


def test_codes_of_a_model_that_has_none_are_refused_before_the_data_is_looked_at():
    with pytest.raises(ValueError, match="GPT2LMHeadModel has no bottleneck"):
        initialize_codes(gpt2(), None)
    with pytest.raises(ValueError, match="`processor` is None; expected the model's tokenizer"):
        initialize_codes(codebook_t5(), ROWS, None)
    with pytest.raises(ValueError, match="Expected a data set, got NoneType"):
        initialize_codes(codebook_t5(), None, tokenizer())


WRONG = {
    "text": "Tom",
    "nothing": None,
    "a number": 3,
    "a list": ["a"],
    "splits": DatasetDict(train=ROWS),
    "a path": Path("nowhere.txt"),
    "a dict": {"a": 1},
}
VERBS = ["forget", "mask", "delete", "choose", "count", "count_topic", "enrich", "trial", "attack"]
VERBS += ["delete_request", "undo", "save_pretrained", "save_bundle", "push_to_hub", "from_pretrained", "preset_top_s"]
RIGHT = {  # what a verb may be given of these, where it goes on to something else
    ("save_pretrained", "text"),
    ("save_pretrained", "a path"),
    ("save_bundle", "text"),
    ("save_bundle", "a path"),
    ("push_to_hub", "text"),
    ("from_pretrained", "text"),
    ("from_pretrained", "a path"),
}


@pytest.fixture(scope="module")
def unlearner():
    return Unlearner(codebook_t5(), tokenizer())


@pytest.mark.parametrize("given", WRONG)
@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_names_what_it_was_given_and_what_it_expects(unlearner, verb, given):
    if (verb, given) in RIGHT:
        return
    with pytest.raises(ValueError, match=r"expected|There is no request") as raised:
        getattr(unlearner, verb)(WRONG[given])
    names = {"text": "'Tom'", "nothing": "None", "a number": "3", "a path": "nowhere.txt"}
    assert names.get(given, type(WRONG[given]).__name__) in str(raised.value)
    assert not unlearner.ledger.requests


TEXTS = Dataset.from_dict({"en": [f"My soup has {n} peas." for n in range(9)]})


NUMBERS = {
    "a seed in quotation marks": (
        lambda one: topic_sets(TEXTS, "soup", text="en", seed="0"),
        r"`seed` is '0' \(a str\); expected a whole number, at least 0. Give it without quotation marks",
    ),
    "a seed below zero": (lambda one: topic_sets(TEXTS, "soup", text="en", seed=-1), "`seed` is -1"),
    "half an example": (
        lambda one: topic_sets(TEXTS, "soup", text="en", max_examples=1.5),
        r"`max_examples` is 1.5 \(a float\); expected a whole number. Give it without a fraction",
    ),
    "yes for a number": (lambda one: topic_sets(TEXTS, "soup", text="en", min_examples=True), "is True; expected"),
    "nothing for a number": (lambda one: topic_sets(TEXTS, "soup", text="en", max_retain=None), "is None; exp"),
    "no example": (lambda one: topic_sets(TEXTS, "soup", text="en", min_examples=0), "must be at least 1, got 0"),
    "a seed of classes": (lambda one: class_sets(ROWS, "cat", seed="0"), "`seed` is '0'"),
    "half an image": (lambda one: class_sets(ROWS, "cat", max_examples=1.5), "`max_examples` is 1.5"),
    "no image": (lambda one: class_sets(ROWS, "cat", max_retain=-1), "must be at least 1, got -1"),
    "no code for a token": (lambda one: one.forget(ROWS, top_s=0, name="x"), "`top_s` is 0 .*at least 1"),
    "codes for a token as text": (lambda one: one.mask(ROWS, "x", top_s="24"), "`top_s` is '24'"),
    "an empty batch": (lambda one: one.forget(ROWS, SEARCH, name="x", batch_size=0), "`batch_size` is 0"),
    "a seed of an evaluation": (lambda one: evaluate(one, None, seed="0"), "`seed` is '0'"),
    "no piece to make": (lambda one: evaluate(one, None, max_new_tokens=0), "`max_new_tokens` is 0"),
    "half a beam": (lambda one: evaluate(one, None, num_beams=0.5), "`num_beams` is 0.5"),
    "a seed of attacks": (lambda one: one.attack(None, seed=-1), "`seed` is -1"),
    "an empty batch of attacks": (lambda one: one.attack(None, batch_size=0), "`batch_size` is 0"),
}


@pytest.mark.parametrize(("call", "message"), NUMBERS.values(), ids=NUMBERS.keys())
def test_a_number_that_is_none_is_named_before_anything_is_done(unlearner, call, message):
    with pytest.raises(ValueError, match=message):
        call(unlearner)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda one: one.forget("Tom"), r"'Tom' \(a str\).*topic_sets\(dataset, \"Tom\", text=..., reference=...\)"),
        (lambda one: one.forget(["Tom", "Ann"]), r"a list, which is nothing .*topic_sets\(dataset"),
        (lambda one: one.forget(ROWS), "A Dataset does not tell what is forgotten. Name it"),
        (
            lambda one: one.forget(DatasetDict(train=ROWS)),
            r'a DatasetDict.*Take one of its splits, such as `\["train"\]`',
        ),
        (lambda one: evaluate("Tom", None), r"`finder` is 'Tom' .*`Unlearner.from_pretrained\(...\)`"),
        (lambda one: evaluate(one.model, None), r"Make one of the model: `Unlearner\(model, tokenizer\)`"),
        (lambda one: evaluate(one, "Tom"), r"topic is a str; expected sets as .*topic_sets\(dataset"),
        (lambda one: one.undo("book"), r"'book' \(a str\) is no request; expected a Request, or its id"),
        (lambda one: one.choose(ROWS, "most"), r"preset='most': expected one of default, paper"),
        (lambda one: one.choose(ROWS, 5), r"preset: 5 \(an int\) was given; expected one of default, paper"),
        (lambda one: Unlearner(one, tokenizer()), "Give its model: `unlearner.model`"),
        (lambda one: Unlearner(one.model, "t5-small").forget(ROWS, SEARCH, name="x"), r"AutoTokenizer.from_pretrained"),
        (lambda one: initialize_codes(one.model, "pairs.csv", tokenizer()), r"There is no file.*pairs\.csv"),
        (lambda one: initialize_codes(one.model, DatasetDict(train=ROWS), tokenizer()), "pick one split of it"),
    ],
)
def test_the_message_says_what_to_do(unlearner, call, message):
    with pytest.raises(ValueError, match=message):
        call(unlearner)


SEARCH = Search("activations", count=3)
# Columns of data sets and names of files are read by what `load_rows` reads; numbers are checked where they are used.
OF_DATA = {"topic_sets", "class_sets", "class_column", "image_column", "label_column", "load_rows", "train_tokenizer"}
OF_DATA |= {"class_labels", "question_rows", "image_inputs", "read_column", "text_pairs", "to_rgb"}
OF_NUMBERS = {
    "families",
    "auc_of_deleted",
    "class_membership_inference",
    "register_kind",
    "top_codes",
    "trace",
    "load_demo",
}
# A repository's name; paths to draw to or to look into.
GOES_ON = {("audit_repo", "text"), ("plot_frontier", "text")}
GOES_ON |= {(name, given) for name in ("check_bundle", "push_bundle", "read_sae_lens") for given in ("text", "a path")}


def face_functions():
    """Functions at the faces, by name, that take a model, data, a topic, a folder or a result."""
    rooms = [excise, *(import_module(f"excise.{room}") for room in excise.ROOMS if room != "statistics")]
    functions = {name: getattr(room, name) for room in rooms for name in getattr(room, "__all__", ())}
    left_out = OF_DATA | OF_NUMBERS
    return {name: one for name, one in functions.items() if inspect.isfunction(one) and name not in left_out}


FACES = face_functions()


@pytest.mark.parametrize("name", sorted(FACES))
def test_every_function_at_a_face_names_what_it_was_given_and_what_it_expects(name):
    needed = [p for p in inspect.signature(FACES[name]).parameters.values() if p.default is p.empty]
    needed = [p for p in needed if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    for given, wrong in WRONG.items():
        if (name, given) in GOES_ON or (name == "last_whole_checkpoint" and given in ("text", "nothing", "a path")):
            continue
        with pytest.raises(ValueError, match=r"expected|has no bottleneck") as raised:
            FACES[name](**{p.name: wrong for p in needed})
        names = {"text": "Tom", "nothing": "None", "a number": "3", "a path": "nowhere.txt"}
        assert names.get(given, type(wrong).__name__) in str(raised.value), given


# --------------------------------------------------------------------------------- trackers, and losses that get lost


PARTS = ("task_loss", "reconstruction_loss", "l1_loss")


class Tracker(TrainerCallback):
    """A tracker, such as TensorBoard's or Weights & Biases': it takes a log as it is when it is called."""

    def __init__(self):
        self.logs = []

    def on_log(self, args, state, control, logs=None, **kwargs):
        self.logs.append(dict(logs))


def seq2seq_trainer(model, folder, callbacks=(), **settings):
    defaults = {"max_steps": 4, "logging_steps": 2, "per_device_train_batch_size": 4, "use_cpu": True}
    defaults |= {"save_strategy": "no", "disable_tqdm": True, "report_to": "none", "learning_rate": 0.01}
    return Seq2SeqTrainer(
        model,
        Seq2SeqTrainingArguments(str(folder), **defaults | settings),
        DataCollatorForSeq2Seq(tokenizer(), model),
        copying(16),
        copying(6, seed=1),
        callbacks=list(callbacks),
    )


EVALUATED = {"eval_strategy": "steps", "eval_steps": 2, "per_device_eval_batch_size": 4}


@pytest.mark.parametrize("order", ["after the tracker", "before the tracker", "added later"])
def test_a_tracker_gets_the_parts_of_the_loss_wherever_the_callback_stands(order, tmp_path):
    tracker, callback = Tracker(), BottleneckCallback()
    first = {"after the tracker": [tracker, callback], "before the tracker": [callback, tracker]}
    run = seq2seq_trainer(codebook_t5(), tmp_path, first.get(order, [tracker]), **EVALUATED)
    if order == "added later":
        run.add_callback(callback)
    run.train()
    logs = [log for log in tracker.logs if "loss" in log]
    assert len(logs) == 2
    for log in logs:
        parts = [log[name] for name in PARTS]
        assert log["loss"] == pytest.approx(parts[0] + parts[1] + 1e-3 * parts[2], rel=1e-3)
        assert {"live_code_share", "code_perplexity"} <= log.keys()
    logs = [log for log in tracker.logs if "eval_loss" in log]
    assert len(logs) == 2
    for log in logs:
        parts = [log[f"eval_{name}"] for name in PARTS]
        assert log["eval_loss"] == pytest.approx(parts[0] + parts[1] + 1e-3 * parts[2], rel=1e-3)


def test_parts_at_a_tracker_are_the_same_in_one_batch_and_in_accumulated_ones(tmp_path):
    logs, start = [], codebook_t5()
    for size, steps in ((8, 1), (2, 4)):
        tracker, model = Tracker(), copy.deepcopy(start)
        settings = {"per_device_train_batch_size": size, "gradient_accumulation_steps": steps, "optim": "sgd"}
        seq2seq_trainer(model, tmp_path, [tracker, BottleneckCallback()], **settings).train()
        logs.append([log for log in tracker.logs if "loss" in log])
    for one, other in zip(*logs, strict=True):
        assert [one[name] for name in PARTS] == pytest.approx([other[name] for name in PARTS], rel=1e-3)


def test_tensorboard_gets_the_parts_of_the_loss(tmp_path, monkeypatch):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    run = seq2seq_trainer(codebook_t5(), tmp_path / "run", [BottleneckCallback()], report_to="tensorboard", **EVALUATED)
    run.train()
    (file,) = (tmp_path / "board").rglob("events.out.tfevents.*")
    values = {}
    for record in _records(file.read_bytes()):
        event = Event.FromString(record)
        for value in event.summary.value:
            values.setdefault(value.tag, {})[event.step] = value.simple_value
    for name in (*PARTS, "live_code_share", "code_perplexity"):
        assert values[f"train/{name}"].keys() == {2, 4}, name
    for name in PARTS:
        assert values[f"eval/{name}"].keys() == {2, 4}, name
    for log in run.state.log_history:
        if "task_loss" in log:
            assert values["train/task_loss"][log["step"]] == pytest.approx(log["task_loss"])


def _records(data):
    """The records of a file of events: length, its checksum, what is told, its checksum."""
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        yield data[12 : 12 + length]
        data = data[16 + length :]


@pytest.mark.parametrize("callbacks", [[], [BottleneckCallback()]], ids=["callback forgotten", "with the callback"])
@pytest.mark.parametrize("way", ["label smoothing", "compute_loss_func"])
def test_a_loss_without_the_codebooks_part_is_refused(way, callbacks, tmp_path):
    settings = {"label_smoothing_factor": 0.1} if way == "label smoothing" else {}
    run = seq2seq_trainer(codebook_t5(), tmp_path, callbacks, **settings)
    if way == "compute_loss_func":
        run.compute_loss_func = lambda outputs, labels, num_items_in_batch=None: outputs.logits.mean()
    with pytest.raises(ValueError, match=r"codebook.* loss would be lost"):
        run.train()


def test_logits_without_a_loss_are_still_to_be_had_in_training_mode():
    model = codebook_t5().train()
    assert model(**inputs(), decoder_input_ids=batch()["input_ids"]).loss is None


# ----------------------------------------------------------------------------------------------------------- devices


@pytest.fixture
def a_gpu(monkeypatch):
    """As if there were a GPU; what would be moved there stays."""
    moved = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(CodebookT5ForConditionalGeneration, "to", lambda self, device: moved.append(device) or self)
    return moved


def test_what_was_saved_is_loaded_to_the_gpu_where_there_is_one(tmp_path, a_gpu):
    Unlearner(codebook_t5(), tokenizer()).save_pretrained(tmp_path / "saved")
    assert a_gpu == []
    Unlearner.from_pretrained(tmp_path / "saved")
    assert a_gpu == ["cuda"]
    Unlearner.from_pretrained(tmp_path / "saved", device_map="cpu")
    assert a_gpu == ["cuda"]


def test_a_model_on_the_cpu_beside_a_gpu_is_told_of(a_gpu, caplog):
    Unlearner(codebook_t5(), tokenizer())
    assert 'on the CPU, and there is a GPU, on which all of this is faster: `model.to("cuda")`' in caplog.text
    assert a_gpu == []  # what the user has put somewhere stays there


# ------------------------------------------------------------------------------- masks: two processes, another model


@pytest.mark.slow
def test_forgetting_in_two_processes_gives_one_result_in_both_and_on_disk(tmp_path):
    launched("forgetting_in_processes", tmp_path).check_returncode()
    alone = json.loads(json.dumps(forgetting_in_processes.forgotten()))
    for rank in (0, 1):
        state = json.loads((tmp_path / f"process-{rank}.json").read_text())
        assert state == alone, rank
    saved = Unlearner.from_pretrained(tmp_path / "saved")
    assert [request.topic for request in saved.ledger.requests] == ["cats", "dogs"]
    for site, bottleneck in saved.sites.items():
        assert (~bottleneck.live).nonzero().flatten().tolist() == alone["masks"][site]


@pytest.mark.parametrize("way", ["in memory", "from a file", "counts"])
def test_codes_of_another_model_are_refused_by_name(way):
    rows = forgetting_in_processes.ROWS
    models = [codebook_t5(), codebook_t5()]
    for seed, model in enumerate(models):
        initialize_codes(model, rows, tokenizer(), steps=2, seed=seed, progress=False)
    own, other = (Unlearner(model, tokenizer()) for model in models)
    if way == "counts":
        counts = own.count(rows, SEARCH, progress=False)
        chosen = counts.select()
    else:
        chosen = own.choose(rows, SEARCH, progress=False)
    if way == "from a file":
        chosen = Selection.from_dict(json.loads(json.dumps(chosen.to_dict())))
    for verb in (other.mask, other.forget, other.delete):
        with pytest.raises(ValueError, match=r"another model|other codes|id ") as raised:
            verb(chosen, name="cats")
        assert all(model.config.bottleneck.codes_id in str(raised.value) for model in models)
    assert not other.ledger.requests and all(bool(b.live.all()) for b in other.sites.values())
    assert own.mask(chosen, name="cats").num_codes == 3


# -------------------------------------------------------------------------------------------------------------- cards


def card_of(texts=("the cat sat",), base=None, model=None, **data):
    """A card of a model that forgot, with an evaluation on some texts."""
    model = codebook_t5() if model is None else model
    Unlearner(model, tokenizer()).mask(Selection({next(iter(bottlenecks(model))): [3]}, {"q": 0.05}), "cats")
    evaluation = text_evaluation("cats") | {
        "removed": 1,
        "texts": {"heldout": list(texts), "heldout_retain": list(texts)},
    }
    return model_card(Record.of(model, evaluations=[evaluation], data=data, base_model=base))


PREFIX = "translate English to Romanian: "


@pytest.mark.parametrize(
    ("given", "tag", "languages"),
    [
        ({}, "text2text-generation", None),
        ({"language": ["en", "fr"]}, "translation", ["en", "fr"]),
        ({"language": "en"}, "text2text-generation", ["en"]),
        ({"texts": [f"{PREFIX}The cat.", f"{PREFIX}A dog."]}, "translation", ["en", "ro"]),
        ({"texts": [f"{PREFIX}The cat.", "translate English to German: A dog."]}, "text2text-generation", None),
        ({"texts": ["translate Klingon to English: nuqneH"]}, "text2text-generation", None),
        ({"texts": ["summarize: The cat sat."]}, "text2text-generation", None),
        ({"task": "summarization", "language": ["en", "fr"]}, "summarization", ["en", "fr"]),
        ({"texts": [f"{PREFIX}The cat."], "language": ["fr", "en"]}, "translation", ["fr", "en"]),
    ],
)
def test_a_text_models_card_is_filed_under_what_it_does(given, tag, languages):
    head = card_of(**given).data.to_dict()
    assert head["pipeline_tag"] == tag and head.get("language") == languages
    assert {result["task"]["type"] for result in head["model-index"][0]["results"]} == {tag}
    again = ModelCardData(**head)  # as the Hub's own library reads it
    assert again.to_dict() == head
    assert yaml.safe_load(again.to_yaml())["pipeline_tag"] == tag


def test_a_texts_card_says_nothing_of_images_and_has_a_title_that_one_can_read():
    text = str(card_of())
    assert not re.search(r"\bimages?\b|pictures?|photo|class_sets", text.replace("![", ""), re.IGNORECASE)
    assert "\n# T5 with a codebook (" in text
    assert "\n# CLIP with a codebook (" in str(card_of(model=codebook_clip()))


@pytest.mark.parametrize("base", [{"id": "google/mt5-small", "revision": "0" * 40}, None], ids=["given", "remembered"])
def test_a_card_names_the_base(base):
    plain_model = base_t5()
    plain_model.config.name_or_path = "google/mt5-small"
    model = CodebookT5ForConditionalGeneration.from_base(plain_model, **SIZES)
    card = card_of(model=model, base=base)
    head = card.data.to_dict()
    assert (head["base_model"], head["base_model_relation"]) == ("google/mt5-small", "finetune")
    assert "\n# mt5-small with a codebook (" in str(card)
