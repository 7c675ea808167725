"""Training of an image classifier with key-value pairs on a frozen encoder."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import BaseImageProcessor, EvalPrediction, Trainer, TrainingArguments

from excise.codes.pair_counts import PairCounts
from excise.data.inputs import ENCODINGS
from excise.models.key_value import KeyValueForImageClassification
from excise.models.key_value.encodings import encode_images
from excise.models.key_value.pairs import select_pairs
from excise.storage.expected import expects
from excise.training.interruptions import interruptions_wait, last_whole_checkpoint
from excise.training.keys import initialize_keys
from excise.training.pair_counting import PairCountCallback

if TYPE_CHECKING:
    from datasets import Dataset

# In the folder of a trained classifier: what was selected in training, and the keys in the making.
COUNTS, KEYS = "pair_counts.safetensors", "keys.safetensors"


@expects("model", "processor", "args", train="dataset")
def train_classifier(
    model: KeyValueForImageClassification,
    processor: BaseImageProcessor,
    train: "Dataset",
    args: TrainingArguments,
    *,
    test: "Dataset | None" = None,
    image: str | None = None,
    label: str | None = None,
    dtype: torch.dtype | None = None,
    key_epochs: int = 10,
    components: int | None = None,
    cache_dir: str | None = None,
    progress: bool = True,
) -> dict[str, float]:
    """Trains the pairs of a classifier on a frozen encoder, and saves it with the counts of its classes.

    The encoder runs over each image once, and its encodings are kept (`encode_images`). A run that was cut off goes on
    from where it was, given the same arguments again. The counts, `pair_counts.safetensors`, are what a class can be
    forgotten by when its images are no longer at hand: `PairCounts.load(...).topic("cat")`.

    Args:
        model: made by `from_encoder`; it is trained in place.
        processor: the encoder's image processor.
        train: images with labels, or what `encode_images` made of them.
        args: of the training; `output_dir` gets the model, its counts and checkpoints.
        test: the same, to measure accuracy on.
        image: the image column; the only one if not given.
        label: the column of labels; that of type `ClassLabel` if not given.
        dtype: what the encoder computes in, as in `encode_images`.
        key_epochs: passes over the encodings to initialise the keys.
        components: as in `initialize_keys`.
        cache_dir: as in `encode_images`.
        progress: show progress bars.

    Returns:
        `train_accuracy` and, with a test set, `test_accuracy`.

    Raises:
        ValueError: as `encode_images` and `initialize_keys`.
    """
    cache: dict[str, Any] = {"cache_dir": cache_dir, "progress": progress}

    def encoded(images: "Dataset") -> "Dataset":
        if ENCODINGS in images.column_names:
            return images
        return encode_images(model, images, processor, image=image, label=label, dtype=dtype, **cache)

    folder = str(args.output_dir)
    encodings = {"train": encoded(train)} | ({} if test is None else {"test": encoded(test)})
    initialize_keys(
        model,
        encodings["train"],
        epochs=key_epochs,
        components=components,
        seed=args.seed,
        checkpoint=Path(folder, KEYS),
        progress=progress,
    )
    pairs = {name: select_pairs(model, part, **cache).with_format("torch") for name, part in encodings.items()}
    trainer = Trainer(
        model,
        args,
        train_dataset=pairs["train"],
        eval_dataset=pairs.get("test"),
        processing_class=processor,
        compute_metrics=_accuracy,
        callbacks=[PairCountCallback()],  # keeps what is deleted deleted; its counts are those of the last epoch alone
    )
    trainer.train(resume_from_checkpoint=last_whole_checkpoint(args.output_dir))
    counts = PairCounts.count(pairs["train"], model.bottleneck)
    with interruptions_wait():
        trainer.save_model()
        counts.save(Path(folder, COUNTS))
    metrics = {f"{name}_accuracy": trainer.evaluate(part)["eval_accuracy"] for name, part in pairs.items()}
    trainer.save_metrics("all", metrics)
    return metrics


def _accuracy(prediction: EvalPrediction) -> dict[str, float]:
    predictions: Any = prediction.predictions
    return {"accuracy": float((predictions.argmax(-1) == prediction.label_ids).mean())}
