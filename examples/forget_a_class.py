"""Forget a class: key-value pairs learn digits on a frozen encoder, then all that knows one digit is masked.

    python examples/forget_a_class.py openai/clip-vit-base-patch32

The encoder is a Hub id or a folder. Without one it is small and untrained: seconds, and nothing is downloaded.
"""

import sys

from datasets import ClassLabel, Dataset, Features, Image
from sklearn.datasets import load_digits
from transformers import AutoImageProcessor, Trainer, TrainingArguments, ViTConfig, ViTImageProcessorPil, set_seed

from excise import KeyValueConfig, KeyValueForImageClassification, Search, Unlearner, evaluate_classes
from excise.data import class_sets
from excise.models import KeyValueVisionConfig, encode_images, select_pairs
from excise.training import PairCountCallback, initialize_keys

set_seed(0)
digits, names = load_digits(), [str(digit) for digit in range(10)]
columns = {"image": list((16 * digits.images).clip(0, 255).astype("uint8")), "label": digits.target}
images = Dataset.from_dict(columns, features=Features({"image": Image(), "label": ClassLabel(names=names)}))
images = images.train_test_split(0.3, seed=0)
settings = KeyValueConfig(num_codebooks=64, num_pairs=64)
if encoder := sys.argv[1:]:
    model = KeyValueForImageClassification.from_encoder(*encoder, settings, id2label=names)
    processor = AutoImageProcessor.from_pretrained(*encoder)
else:
    vit = ViTConfig(image_size=8, patch_size=8, hidden_size=128, num_hidden_layers=1, num_attention_heads=4)
    config = KeyValueVisionConfig(encoder=vit, bottleneck=settings, pooling="mean", id2label=names)
    model, processor = KeyValueForImageClassification(config), ViTImageProcessorPil(size={"height": 8, "width": 8})
encodings = encode_images(model, images["train"], processor)  # once: the encoder is frozen
initialize_keys(model, encodings)
pairs = select_pairs(model, encodings).with_format("torch")
training = TrainingArguments("training", num_train_epochs=8, per_device_train_batch_size=64, learning_rate=0.05)
counting = PairCountCallback()  # with its counts, a class is forgotten without its images
Trainer(model, training, train_dataset=pairs, callbacks=[counting]).train()
unlearner = Unlearner(model.eval(), processor)
request = unlearner.forget(counting.counts.topic("3"), Search("activations", count=1_000))  # or `undo(request)`
print(evaluate_classes(unlearner, class_sets(images["train"], "3", test=images["test"])))
