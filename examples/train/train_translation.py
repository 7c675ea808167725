#!/usr/bin/env python
"""Train a T5 to translate, with a codebook in its encoder or without.

Models and data sets are Hub ids or local paths; a data set has two columns of texts, such as `en` and `fr`, or a column
`translation` with both. With a codebook, jointly trained
(CodeUnlearn, section 3.4), and the same without:

    python examples/train/train_translation.py --model_name_or_path t5-small --codebook \
        --dataset_name opus_books --dataset_config en-fr --output_dir out/codebook --num_train_epochs 3
    python examples/train/train_translation.py --model_name_or_path t5-small \
        --dataset_name opus_books --dataset_config en-fr --output_dir out/plain --num_train_epochs 3

All of transformers' `Seq2SeqTrainingArguments` may be given. A run that was cut off goes on from its last checkpoint
when the command is given again. `excise train` does the same and more: it starts from a config, holds rows out, goes on
training a codebook, and scores by BLEU.
"""

from dataclasses import dataclass, field

from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    HfArgumentParser,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    set_seed,
)

from excise import (
    BottleneckCallback,
    CodebookSAEConfig,
    CodebookT5ForConditionalGeneration,
    initialize_codes,
    set_min_similarity,
)
from excise.data import load_rows, text_pairs
from excise.training import last_whole_checkpoint


@dataclass
class Arguments:
    """The model, its codebook and the data."""

    model_name_or_path: str = field(metadata={"help": "A T5 or Flan-T5 to start from."})
    codebook: bool = field(default=False, metadata={"help": "Put a codebook in its encoder."})
    num_codes: int = field(default=25_000, metadata={"help": "Number of codes."})
    bottleneck_layers: list[int] = field(default_factory=lambda: [0], metadata={"help": "Encoder blocks, from 0."})
    dataset_name: str = field(default="excise:demo", metadata={"help": "Hub id, folder or file of sentence pairs."})
    dataset_config: str | None = field(default=None, metadata={"help": "Its configuration, as `en-fr`."})
    source: str = field(default="en", metadata={"help": "Column to translate from, or key in `translation`."})
    target: str = field(default="fr", metadata={"help": "Column to translate to, or key in `translation`."})
    source_prefix: str = field(default="", metadata={"help": "Put before each source text (T5: a task)."})
    max_length: int = field(default=128, metadata={"help": "Tokens at which both sides are cut off."})


def main(argv: list[str] | None = None) -> None:
    parser = HfArgumentParser((Arguments, Seq2SeqTrainingArguments))
    own, args = parser.parse_args_into_dataclasses(argv)
    set_seed(args.seed)
    checkpoint = last_whole_checkpoint(args.output_dir)

    tokenizer = AutoTokenizer.from_pretrained(own.model_name_or_path)
    pairs = text_pairs(load_rows(own.dataset_name, own.dataset_config), own.source, own.target)

    def tokenize(row):
        source = own.source_prefix + row["source"]
        return tokenizer(source, text_target=row["target"], max_length=own.max_length, truncation=True)

    rows = pairs.map(tokenize, remove_columns=pairs.column_names)
    if own.codebook:
        settings = CodebookSAEConfig(num_codes=own.num_codes)
        model = CodebookT5ForConditionalGeneration.from_base(own.model_name_or_path, settings, own.bottleneck_layers)
        if checkpoint is None:
            initialize_codes(model, rows, tokenizer, seed=args.seed, progress=not args.disable_tqdm)
    else:
        model = AutoModelForSeq2SeqLM.from_pretrained(own.model_name_or_path)

    trainer = Seq2SeqTrainer(
        model,
        args,
        train_dataset=rows,
        processing_class=tokenizer,
        data_collator=DataCollatorForSeq2Seq(tokenizer, model=model),
        callbacks=[BottleneckCallback()] if own.codebook else None,
    )
    trainer.train(resume_from_checkpoint=checkpoint)
    if own.codebook:  # a token that lost its codes is then passed on as nothing
        set_min_similarity(model, rows, tokenizer, seed=args.seed, progress=not args.disable_tqdm)
    trainer.save_model()


if __name__ == "__main__":
    main()
