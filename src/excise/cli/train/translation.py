"""Training of a T5 to translate: a plain one from a config, one that is there, or one with a bottleneck.

In the style of transformers' `run_translation.py`: models and data sets are Hub ids or local paths. It is what
`excise train` runs, and reads from top to bottom; `examples/train/train_translation.py` has its steps in short.
"""

import logging
import random
import sys
from collections.abc import Sequence
from typing import Any, cast

import torch
from datasets import Dataset, DatasetDict
from transformers import (
    AutoConfig,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    set_seed,
)

from excise.bottlenecks.site import bottlenecks
from excise.cli.loading import check_there
from excise.cli.train.arguments import (
    OWN_ARGUMENTS,
    CodebookArguments,
    DataArguments,
    ModelArguments,
    encoder_blocks,
    is_new,
    new_config,
    trained_config,
)
from excise.cli.train.options import parsed
from excise.data.columns import arrow_column, find_column, texts_at
from excise.data.reading import load_rows
from excise.data.reading import load_splits as read_splits
from excise.data.truncation import cut_rows, tell_cut
from excise.evaluation.metrics import Bleu
from excise.models.bottlenecked import tied_names
from excise.models.codebook_t5 import CodebookT5Config, CodebookT5ForConditionalGeneration
from excise.storage.extras import require
from excise.training.callback import BottleneckCallback
from excise.training.initialize import initialize_codes
from excise.training.interruptions import interruptions_wait, last_whole_checkpoint
from excise.training.optimizer import adamw
from excise.training.similarity import set_min_similarity

logger = logging.getLogger(__name__)

# Columns that pairs are made into, two of which tell what was cut off.
MADE = ("input_ids", "attention_mask", "labels", "length", "source_cut", "target_cut")
# Rows whose columns are looked at before the model is loaded.
ROWS_CHECKED = 1_000
ALL_ARGUMENTS: Any = (*OWN_ARGUMENTS, Seq2SeqTrainingArguments)


def main(argv: Sequence[str], progress: bool = True, prog: str | None = None) -> dict[str, float]:
    """Trains, and writes the model and its metrics into `--output_dir`.

    A run that was cut off goes on from its last checkpoint when the same arguments are given again.

    Args:
        argv: the arguments.
        progress: show progress bars.
        prog: what the program is called in messages about its arguments.

    Returns:
        The metrics of training and evaluation.

    Raises:
        MissingExtraError: if BLEU is asked for and the extra `text` is not installed.
        ValueError: if arguments do not go together.
    """
    model_args, codebook_args, data_args, args = parsed(ALL_ARGUMENTS, argv, prog)
    if args.predict_with_generate:
        require("text", purpose="--predict_with_generate, which scores by BLEU,")
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO, stream=sys.stderr)
    set_seed(args.seed)
    args.disable_tqdm = args.disable_tqdm or not progress
    if args.bf16 and not torch.cuda.is_available() and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        logger.warning("This CPU has no fast bf16; training in fp32.")
        args.bf16 = False
        args.mixed_precision = "no"
    args.generation_max_length = args.generation_max_length or data_args.max_length

    checkpoint = args.resume_from_checkpoint
    if checkpoint is None and args.do_train:
        checkpoint = last_whole_checkpoint(args.output_dir)
    if checkpoint:
        logger.info("Going on from %s.", checkpoint)

    splits = load_splits(data_args, args.seed)  # before a model is loaded, which takes its time
    check_model(model_args)
    tokenizer = AutoTokenizer.from_pretrained(
        model_args.tokenizer_name or model_args.model_name_or_path or model_args.config_name
    )
    model, new_codes = load_model(model_args, codebook_args, tokenizer, resuming=checkpoint is not None)
    train, validation = (tokenize_pairs(splits[name], tokenizer, data_args) for name in ("train", "validation"))
    if new_codes and args.do_train and codebook_args.init_tokens:
        errors = initialize_codes(
            model,
            train,
            tokenizer,
            max_tokens=codebook_args.init_tokens,
            steps=codebook_args.init_steps,
            seed=args.seed,
            progress=progress,
        )
        logger.info("Codes initialised; unexplained variance by site: %s", errors)

    def bleu(prediction):
        # Generated rows and labels are padded with -100.
        texts = [
            tokenizer.batch_decode([[t for t in row if t >= 0] for row in ids], skip_special_tokens=True)
            for ids in (prediction.predictions, prediction.label_ids)
        ]
        return {"bleu": Bleu().compute(predictions=texts[0], references=texts[1])["bleu"]}

    rates = model_args.embedding_learning_rate, codebook_args.codebook_learning_rate
    has_codebook = isinstance(model, CodebookT5ForConditionalGeneration)
    if not has_codebook:  # of its tied weights a checkpoint has one, and the Trainer would warn of the others
        model._keys_to_ignore_on_save = tied_names(model)
    trainer = Seq2SeqTrainer(
        model=model,
        args=args,
        train_dataset=train,
        eval_dataset=validation,
        processing_class=tokenizer,
        data_collator=DataCollatorForSeq2Seq(tokenizer, model=model),
        compute_metrics=bleu if args.predict_with_generate else None,
        callbacks=[BottleneckCallback(codebook_args.revive_every or None)] if has_codebook else None,
        optimizers=(adamw(model, args, *rates) if any(rates) else None, None),
    )
    metrics: dict[str, float] = {}
    quantile = codebook_args.similarity_quantile
    measured = has_codebook and quantile and not model.config.unlearning
    measured = measured and all(hasattr(of, "min_similarity") for of in bottlenecks(model).values())
    if args.do_train:
        if measured:
            for bottleneck in cast(dict[str, Any], bottlenecks(model)).values():
                bottleneck.min_similarity.fill_(-1.0)  # what an earlier training has measured
        result = trainer.train(resume_from_checkpoint=checkpoint)
        if measured:
            least = set_min_similarity(model, train, tokenizer, quantile=quantile, seed=args.seed, progress=progress)
            logger.info("Least similarity at which a token is passed on, by site: %s", least)
        with interruptions_wait():
            trainer.save_model()
            trainer.save_state()
            trainer.log_metrics("train", result.metrics)
            trainer.save_metrics("train", result.metrics)
        metrics |= result.metrics
    if args.do_eval:
        evaluated = trainer.evaluate()
        trainer.log_metrics("eval", evaluated)
        trainer.save_metrics("eval", evaluated)
        metrics |= evaluated
    return metrics


def load_splits(args: DataArguments, seed: int) -> DatasetDict:
    """The rows to train on and to evaluate on; a tenth of those not excluded is held out where no split is for it.

    Raises:
        ValueError: if there is no data set or more than one, it cannot be read, or a column has no texts.
    """
    if (args.dataset_name is None) == (args.train_file is None):
        raise ValueError("Give either --dataset_name or --train_file.")
    if args.train_file:
        splits = DatasetDict({"train": load_rows(args.train_file, encoding=args.encoding)})
        if args.validation_file:
            splits["validation"] = load_rows(args.validation_file, split="validation", encoding=args.encoding)
    else:
        named = read_splits(args.dataset_name, args.dataset_config, encoding=args.encoding)
        splits = DatasetDict(named if isinstance(named, dict) else {"train": named})
    if "train" not in splits:
        raise ValueError(f"{args.dataset_name} has no split 'train'; it has {', '.join(splits)}.")
    for name in {"train", "validation"}.intersection(splits):
        for column in (args.source, args.target):  # before hours of training rather than after a model is loaded
            arrow_column(splits[name].select(range(min(len(splits[name]), ROWS_CHECKED))), column)
    train = splits["train"]

    def listed(file):
        return set(load_rows(file)["row"]) if file else set()

    # Row numbers are split and drawn rather than rows: the lists name rows of the split as it was loaded.
    rows = sorted(set(range(len(train))) - listed(args.exclude_rows))
    if "validation" not in splits:
        parts = Dataset.from_dict({"row": rows}).train_test_split(0.1, seed=seed)
        rows = sorted(parts["train"]["row"])
        splits["validation"] = train.select(parts["test"]["row"])
    if args.max_train_samples is not None and args.max_train_samples < len(rows):
        kept = listed(args.keep_rows).intersection(rows)
        others = [row for row in rows if row not in kept]
        rows = sorted([*kept, *random.Random(seed).sample(others, max(0, args.max_train_samples - len(kept)))])
    splits["train"] = train.select(rows)
    if args.max_eval_samples is not None and args.max_eval_samples < len(splits["validation"]):
        splits["validation"] = splits["validation"].shuffle(seed=seed).select(range(args.max_eval_samples))
    return splits


def check_model(args: ModelArguments) -> None:
    """Makes sure that a model is named, and that it is there if it is named as a folder."""
    if (args.model_name_or_path is None) == (args.config_name is None):
        raise ValueError("Give either --model_name_or_path or --config_name.")
    for name in (args.model_name_or_path, args.config_name, args.tokenizer_name):
        if name:
            check_there(name)


def load_model(
    args: ModelArguments, codebook: CodebookArguments, tokenizer: PreTrainedTokenizerBase, resuming: bool
) -> tuple[PreTrainedModel, bool]:
    """The model to train, and whether its codes are still to be initialised."""
    if args.config_name:
        config = AutoConfig.from_pretrained(args.config_name)
        if args.config_overrides:
            config.update_from_string(args.config_overrides)
        config.vocab_size = len(tokenizer)
        if is_new(codebook):
            base = config.to_dict() | {"model_type": "codebook_t5", "architectures": None}
            bottleneck = new_config(codebook, config.d_model)
            config = CodebookT5Config(**base, bottleneck=bottleneck, bottleneck_layers=encoder_blocks(codebook))
        return AutoModelForSeq2SeqLM.from_config(config), is_new(codebook) and not resuming
    name = cast(str, args.model_name_or_path)
    config = AutoConfig.from_pretrained(name)
    if isinstance(config, CodebookT5Config):
        config.bottleneck = trained_config(codebook, config)
    elif is_new(codebook):
        bottleneck = new_config(codebook, config.d_model)
        model = CodebookT5ForConditionalGeneration.from_base(
            name, bottleneck, encoder_blocks(codebook), dtype=torch.float32
        )
        return model, not resuming
    return AutoModelForSeq2SeqLM.from_pretrained(name, config=config, dtype=torch.float32), False


def tokenize_pairs(dataset: Dataset, tokenizer: PreTrainedTokenizerBase, args: DataArguments) -> Dataset:
    """Pairs of texts as `input_ids`, `attention_mask` and `labels`, and the longer side's `length`.

    Rows without a text on either side are left out. Batches that are grouped by length
    (`--train_sampling_strategy group_by_length`) have a fifth less padding than by the source's alone.

    Raises:
        ValueError: if no row has both texts.
    """
    places = {"source": find_column(dataset, args.source), "target": find_column(dataset, args.target)}
    columns = list(dict.fromkeys(place.column for place in places.values()))

    def rows(batch):
        pairs = [texts_at(batch.column(place.column), place).to_pylist() for place in places.values()]
        both = [
            (one, other) for one, other in zip(*pairs, strict=True) if (one or "").strip() and (other or "").strip()
        ]
        if not both:
            return {name: [] for name in MADE}
        sources, targets = [args.source_prefix + source for source, _ in both], [target for _, target in both]
        options = {"max_length": args.max_length}
        encoded = tokenizer(sources, truncation=True, **options)
        labels = tokenizer(text_target=targets, truncation=True, **options)
        sides = zip(encoded["input_ids"], labels["input_ids"], strict=True)
        return {
            **encoded,
            "labels": labels["input_ids"],
            "length": [max(len(source), len(target)) for source, target in sides],
            "source_cut": cut_rows(tokenizer, sources, encoded, options),
            "target_cut": cut_rows(tokenizer, targets, labels, options),
        }

    chosen = dataset.select_columns(columns).with_format("arrow")
    made = chosen.map(rows, batched=True, remove_columns=columns, desc="tokenising").with_format(None)
    if not len(made):
        raise ValueError(f"None of {len(dataset)} rows has a text in both {args.source!r} and {args.target!r}.")
    if len(made) < len(dataset):
        logger.info("%d rows without a text on either side are left out.", len(dataset) - len(made))
    parts = [(side, len(made), sum(made[f"{side}_cut"])) for side in ("source", "target")]
    tell_cut([(f"{side}s", total, cut) for side, total, cut in parts], args.max_length)
    return made.remove_columns(["source_cut", "target_cut"])
