"""Baselines on answers: what models, rows, methods and settings they take, and what is said of others."""

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, TaskType, get_peft_model
from transformers import BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel, T5Config, T5ForConditionalGeneration

from excise.baselines import forget_answers, gradient_difference, npo
from excise.baselines.answers import answer_method
from excise.baselines.hyperparameters import Hyperparameters
from excise.data import PromptFormat, question_inputs, question_sets

BERT = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8, "vocab_size": 9}
T5 = {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2, "vocab_size": 9}


def arguments(**changes):
    args = Hyperparameters(0.001, 1, batch_size=2).arguments(use_cpu=True)
    for name, value in changes.items():
        setattr(args, name, value)
    return args


@pytest.fixture(scope="module")
def forgets(make_decoder, chat_tokenizer, tofu_rows):
    """Runs a method on two rows to forget and two to keep, or on others."""

    def run(model=None, forget=None, retain=None, **options):
        forget = tofu_rows[:2] if forget is None else forget
        retain = tofu_rows[2:4] if retain is None else retain
        options = {"tokenizer": chat_tokenizer, "args": arguments()} | options
        return forget_answers(model or make_decoder(), forget, retain, **options)

    return run


@pytest.fixture(scope="module")
def of_questions(forgets):
    """What it gives for rows with questions."""
    return forgets()


def tokens(rows, tokenizer, **columns):
    """Tokenised rows with other columns."""
    made = question_inputs(rows, tokenizer)
    for name, values in columns.items():
        made = made.remove_columns(name) if name in made.column_names else made
        made = made if values is None else made.add_column(name, values)
    return made


def padded_tokens(rows, tokenizer):
    """Rows as they are where a map has padded them on the left, with labels on the padding, too."""
    made = question_inputs(rows, tokenizer).to_list()
    return Dataset.from_list(
        [
            {
                "input_ids": [0] * 3 + row["input_ids"],
                "labels": [0] * 3 + row["labels"],
                "attention_mask": [0] * 3 + row["attention_mask"],
            }
            for row in made
        ]
    )


TAKEN = {
    "rows that are tokens already": lambda rows, tokenizer: question_inputs(rows, tokenizer),
    "tokens with their padding": padded_tokens,
    "a Dataset of questions": lambda rows, tokenizer: Dataset.from_list(rows),
    "prompts and completions": lambda rows, tokenizer: [
        {"prompt": row["question"], "completion": row["answer"]} for row in rows
    ],
}


@pytest.mark.parametrize("what", TAKEN)
def test_it_is_the_same_whether_given_questions_or(forgets, of_questions, chat_tokenizer, tofu_rows, what):
    given = TAKEN[what](tofu_rows[:2], chat_tokenizer)
    for epoch, other in zip(forgets(forget=given).history, of_questions.history, strict=True):
        assert epoch.loss == pytest.approx(other.loss, rel=1e-5)


WORKS = {
    "documents": {"forget": [{"text": "A document of some length."}]},
    "one row of each": {"forget": [{"question": "Who?", "answer": "I."}], "retain": [{"text": "Another document."}]},
    "more rows to forget than to keep": {"retain": [{"question": "Who?", "answer": "I."}]},
    "a plain form of questions": {"form": PromptFormat(chat=False)},
    "a method in small letters": {"method": "idkdpo"},
    "settings of one's own": {"method": "SimNPO", "settings": {"beta": 2, "delta": 0.1}},
    "other words for not knowing": {"method": "IdkDPO", "settings": {"answers": ["No."]}},
    "further rows to look at": {"evaluate_on": {"others": [{"question": "Who?", "answer": "I."}]}},
}


@pytest.mark.parametrize("what", WORKS)
def test_it_takes(forgets, what):
    run = forgets(**WORKS[what])
    assert len(run.history) == 2 and run.history[1].loss != run.history[0].loss
    assert {*run.loss} == {"forget", "retain", *WORKS[what].get("evaluate_on", ())}


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft asks it
@pytest.mark.parametrize("method", ["NPO", "RMU"])
def test_of_a_model_with_an_adapter_the_adapter_is_trained(method, forgets, make_decoder):
    adapted = get_peft_model(make_decoder(), LoraConfig(task_type=TaskType.CAUSAL_LM, target_modules=["q_proj"]))
    run = forgets(adapted, method=method, args=arguments(learning_rate=0.1, num_train_epochs=2))
    pairs = zip(adapted.named_parameters(), run.model.parameters(), strict=True)
    changed = {name for (name, parameter), other in pairs if not torch.equal(parameter, other)}
    assert changed and all("lora_" in name for name in changed)


@pytest.mark.parametrize("method", ["GradDiff", "UNDIAL"])
def test_mixed_precision_and_checkpointing_give_nearly_the_same(method, forgets):
    exact = forgets(method=method, args=arguments(learning_rate=0.002, num_train_epochs=2))
    for changes in ({"mixed_precision": "bf16"}, {"gradient_checkpointing": True}):
        run = forgets(method=method, args=arguments(learning_rate=0.002, num_train_epochs=2, **changes))
        assert run.loss == pytest.approx(exact.loss, rel=0.05)


REFUSED = {
    "a T5": (
        lambda run, rows, _: run(T5ForConditionalGeneration(T5Config(**T5))),
        "T5ForConditionalGeneration is no decoder language model.*`gradient_difference` and `npo`",
    ),
    "a BERT": (
        lambda run, rows, _: run(BertForMaskedLM(BertConfig(**BERT))),
        "BertForMaskedLM is no decoder language model",
    ),
    "a path": (lambda run, rows, _: run("models/llama"), "`model` is 'models/llama' .a str.; expected a model"),
    "nothing to forget": (lambda run, rows, _: run(forget=[]), "The forget set is empty"),
    "nothing to keep": (lambda run, rows, _: run(retain=[]), "The retain set is empty"),
    "rows to look at that are none": (
        lambda run, rows, _: run(evaluate_on={"others": []}),
        "The others set is empty",
    ),
    "an empty Dataset of tokens": (
        lambda run, rows, tokenizer: run(forget=tokens(rows[:1], tokenizer).select([])),
        "The forget set is empty",
    ),
    "question sets": (
        lambda run, rows, tokenizer: run(forget=question_sets(rows, tokenizer, [0, 1], heldout=0)),
        "The forget set is a QuestionSets, which has several.*questions.True.",
    ),
    "tokens without labels": (
        lambda run, rows, tokenizer: run(forget=tokens(rows[:1], tokenizer, labels=None)),
        "The forget set has `input_ids` and no `labels`",
    ),
    "labels of the prompt alone": (
        lambda run, rows, tokenizer: run(retain=tokens(rows[2:3], tokenizer, labels=[[-100] * 99])),
        "Row 0 of the retain set has .* input_ids and 99 labels",
    ),
    "no labels at all": (
        lambda run, rows, tokenizer: run(retain=Dataset.from_list([{"input_ids": [1, 2], "labels": [-100, -100]}])),
        "Row 0 of the retain set has no labels",
    ),
    "one token, which nothing foresees": (
        lambda run, rows, tokenizer: run(retain=Dataset.from_list([{"input_ids": [1], "labels": [1]}])),
        "Row 0 of the retain set has no labels",
    ),
    "rows to forget and to keep at once": (
        lambda run, rows, _: run(retain=rows[1:4]),
        "1 of 2 rows of the forget set are in the retain set, too",
    ),
    "the tokenizer of another model": (
        lambda run, rows, _: run(GPT2LMHeadModel(GPT2Config(vocab_size=20, n_embd=4, n_layer=1, n_head=1))),
        r"The forget set has token \d+, and GPT2LMHeadModel has 20",
    ),
    "rows to look at of a name that is taken": (
        lambda run, rows, _: run(evaluate_on={"retain": rows[4:]}),
        "evaluate_on has retain, which is recorded already",
    ),
    "not knowing the answer to a document": (
        lambda run, rows, _: run(forget=[{"text": "A document."}], method="IdkDPO"),
        "1 of 1 rows of the forget set have no question",
    ),
    "not knowing the answer to tokens": (
        lambda run, rows, tokenizer: run(forget=tokens(rows[:2], tokenizer), method="IdkDPO"),
        "2 of 2 rows of the forget set have no question",
    ),
    "one step, which warms up": (
        lambda run, rows, _: run(args=arguments(warmup_steps=0.1, lr_scheduler_type="linear")),
        "NPO would train one step, at a learning rate of 0",
    ),
    "a method that there is not": (
        lambda run, rows, _: run(method="SCRUB"),
        "method='SCRUB': expected one of GradAscent, GradDiff, NPO, SimNPO, IdkDPO, RMU, UNDIAL",
    ),
    "a layer that there is not": (
        lambda run, rows, _: run(method="RMU", settings={"layer": 2}),
        "RMU: layer=2, and LlamaForCausalLM has layers 0 to 1",
    ),
    "parameters that there are not": (
        lambda run, rows, _: run(method="RMU", settings={"parameters": "c_proj"}),
        "RMU: nothing is trained: no parameter of layers 0 to 1 that is not frozen has 'c_proj'",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_it_does_not_take(forgets, chat_tokenizer, tofu_rows, what):
    call, match = REFUSED[what]
    with pytest.raises(ValueError, match=f"(?s){match}"):
        call(forgets, tofu_rows, chat_tokenizer)


SETTINGS = {
    "a setting of another method": ("GradDiff", {"beta": 1.0}, "GradDiff has no setting 'beta'; it has gamma, alpha"),
    "a beta of 0": ("NPO", {"beta": 0}, "NPO: `beta` is 0; expected a finite number above 0"),
    "a weight below 0": ("SimNPO", {"gamma": -1}, "SimNPO: `gamma` is -1; expected a finite number of at least 0"),
    "a weight that is no number": ("UNDIAL", {"alpha": "1"}, "UNDIAL: `alpha` is '1'; expected a finite number"),
    "a weight that is infinite": ("NPO", {"alpha": float("inf")}, "NPO: `alpha` is inf; expected a finite number"),
    "nothing to minimise": ("GradAscent", {"gamma": 0}, "GradAscent: `gamma` and `alpha` are both 0"),
    "a layer that is no number": ("RMU", {"layer": "7"}, "RMU: `layer` is '7'; expected the number of a layer"),
    "an expression that is none": ("RMU", {"parameters": "("}, r"RMU: `parameters` is '\(', no regular expression"),
    "a coefficient below 0": ("RMU", {"coefficient": -2.0}, "RMU: `coefficient` is -2.0; expected a finite number"),
    "no words for not knowing": ("IdkDPO", {"answers": []}, r"IdkDPO: `answers` is \[\]; expected a list of texts"),
    "one text for a list of them": ("IdkDPO", {"answers": "No."}, "IdkDPO: `answers` is 'No.'; expected a list"),
    "a method that is no name": (None, {}, "method=None: expected one of GradAscent"),
}


@pytest.mark.parametrize("method", [npo, gradient_difference])
def test_a_decoder_is_sent_on_by_methods_of_encoder_decoders(method, make_decoder, chat_tokenizer, tofu_rows):
    rows = Dataset.from_list(tofu_rows)
    with pytest.raises(ValueError, match=r"For a decoder there is `forget_answers`"):
        method(make_decoder(), rows, rows, arguments(), tokenizer=chat_tokenizer)


@pytest.mark.parametrize("what", SETTINGS)
def test_a_method_does_not_have(what):
    method, settings, match = SETTINGS[what]
    with pytest.raises(ValueError, match=match):
        answer_method(method, settings)


def test_the_seed_of_torch_changes_nothing(forgets):
    runs = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        runs.append(forgets(method="RMU").loss)
    assert runs[0] == runs[1]
