#!/usr/bin/env python
"""Train a T5 to translate: a plain one from a config, a plain one that is there, or one with a codebook bottleneck.

Models and data sets are Hub ids or local paths. A plain T5, from nothing:

    python examples/train_translation.py --config_name t5-small --tokenizer_name t5-small \
        --dataset_name opus_books --dataset_config en-fr --source en --target fr \
        --do_train --do_eval --predict_with_generate --output_dir out/plain

The same T5 with a codebook, jointly trained (CodeUnlearn, section 3.4):

    python examples/train_translation.py --model_name_or_path out/plain --codebook \
        --train_file train.parquet --validation_file validation.parquet \
        --do_train --do_eval --predict_with_generate --output_dir out/codebook

All of transformers' `Seq2SeqTrainingArguments` may be given. A run that was cut off goes on from its last checkpoint
when the command is given again. The steps, from data to `Seq2SeqTrainer`, are in `excise/training/translation.py`,
which is also what `excise train` runs.
"""

from excise.cli.train.translation import main

if __name__ == "__main__":
    main()
