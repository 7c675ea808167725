"""The key-value classifier, on each kind of encoder."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    AutoModelForImageClassification,
    BertConfig,
    CLIPConfig,
    CLIPModel,
    ResNetForImageClassification,
    Trainer,
    TrainingArguments,
    ViTForImageClassification,
    pipeline,
)

from excise import KeyValueForImageClassification, encode_images, initialize_keys, select_pairs
from excise.models import KeyValueVisionConfig
from tests.helpers.model_contract import CompiledInTheSlowSuite, ModelContract
from tests.helpers.tiny_images import (
    CLIP,
    ENCODERS,
    NAMES,
    image_batch,
    images,
    key_value_config,
    key_value_model,
    processor,
)


class KeyValueContract(ModelContract):
    model_class = KeyValueForImageClassification
    auto_class = AutoModelForImageClassification
    encoder: str
    unused = ("encoder.",)
    exported = False

    def make(self, **settings):
        return key_value_model(self.encoder, **settings)

    def batch(self):
        return image_batch(3)

    def disk_map(self):
        return {"encoder": "cpu", "bottleneck": "disk"}

    def codes(self, output):
        return {"bottleneck": output.pairs}

    def add_a_code(self, config):
        config["bottleneck"]["num_pairs"] += 1


class TestOnResNet(KeyValueContract):
    encoder = "resnet"
    attentions = ("eager",)


class TestOnViT(CompiledInTheSlowSuite, KeyValueContract):
    encoder = "vit"
    exported = True


class TestOnCLIP(CompiledInTheSlowSuite, KeyValueContract):
    encoder = "clip"


class TestOnDINOv2(CompiledInTheSlowSuite, KeyValueContract):
    encoder = "dinov2"


class TestForwardPass:
    @pytest.mark.parametrize("encoder", list(ENCODERS))
    def test_encodings_and_pairs_in_the_place_of_pixels_give_the_same(self, encoder):
        model, batch = key_value_model(encoder), image_batch()
        whole = model(**batch)
        for part in ({"encodings": model.encode(batch["pixel_values"])}, {"pairs": whole.pairs.int()}):
            output = model(labels=batch["labels"], **part)
            assert torch.equal(output.logits, whole.logits) and torch.equal(output.loss, whole.loss)

    def test_exactly_one_of_pixels_encodings_and_pairs_is_taken(self):
        model, batch = key_value_model(), image_batch()
        for wrong in ({}, batch | {"encodings": torch.zeros(5, 16)}):
            with pytest.raises(ValueError, match="exactly one"):
                model(**wrong)

    def test_pairs_that_were_removed_since_are_refused(self):
        model = key_value_model()
        pairs = model(**image_batch()).pairs
        model.bottleneck.live[pairs[0, 0]] = False
        with pytest.raises(ValueError, match="Select pairs again"):
            model(pairs=pairs)

    @pytest.mark.parametrize(("pooling", "message"), [("pooler", "no pooled output"), ("first", "no tokens but a map")])
    def test_an_encoder_without_what_is_to_be_pooled_is_refused(self, pooling, message):
        if pooling == "pooler":
            model = key_value_model("vit")
            model.config.pooling = "pooler"
        else:
            model = key_value_model("resnet", pooling="first")
        with pytest.raises(ValueError, match=message):
            model(**image_batch())

    def test_the_mean_over_tokens_or_places_can_be_taken(self):
        for encoder in ("vit", "resnet"):
            assert key_value_model(encoder, pooling="mean")(**image_batch()).logits.shape == (5, 4)


class TestFrozenEncoder:
    @pytest.mark.parametrize("encoder", list(ENCODERS))
    def test_it_stays_in_eval_mode_and_as_it_was_while_values_are_trained(self, encoder, tmp_path):
        model = key_value_model(encoder).train()
        assert model.bottleneck.training and not any(module.training for module in model.encoder.modules())
        before = {key: value.clone() for key, value in model.state_dict().items()}
        args = TrainingArguments(
            tmp_path,
            max_steps=3,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            dataloader_pin_memory=False,
            remove_unused_columns=False,
        )
        rows = images(16).with_transform(
            lambda batch: {"pixel_values": list(processor()(batch["img"])["pixel_values"]), "labels": batch["label"]}
        )
        Trainer(model, args, train_dataset=rows).train()
        changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
        assert changed == {"bottleneck.values"}

    def test_only_values_require_a_gradient_also_after_loading(self, tmp_path):
        key_value_model().save_pretrained(tmp_path)
        loaded = KeyValueForImageClassification.from_pretrained(tmp_path)
        assert [name for name, p in loaded.named_parameters() if p.requires_grad] == ["bottleneck.values"]

    def test_training_on_pairs_has_the_loss_curve_of_training_on_pixels(self, tmp_path):
        dataset = images(48)
        losses = {}
        for kind in ("pixels", "pairs"):
            model = key_value_model("clip")
            encodings = encode_images(model, dataset, processor(), cache_dir=tmp_path, progress=False)
            initialize_keys(model, encodings, epochs=2, batch_size=16, progress=False)
            if kind == "pairs":
                rows = select_pairs(model, encodings, cache_dir=tmp_path, progress=False).with_format("torch")
            else:
                rows = dataset.with_transform(
                    lambda b: {"pixel_values": list(processor()(b["img"])["pixel_values"]), "labels": b["label"]}
                )
            args = TrainingArguments(
                tmp_path / kind,
                num_train_epochs=4,
                per_device_train_batch_size=16,
                learning_rate=0.5,
                lr_scheduler_type="constant",
                logging_steps=1,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                dataloader_pin_memory=False,
                remove_unused_columns=kind == "pairs",
                seed=3,
            )
            trainer = Trainer(model, args, train_dataset=rows)
            trainer.train()
            losses[kind] = [log["loss"] for log in trainer.state.log_history if "loss" in log]
        assert len(losses["pairs"]) == 12
        assert float(losses["pairs"][-1]) < 0.5 * float(losses["pairs"][0])
        assert [float(x) for x in losses["pairs"]] == pytest.approx([float(x) for x in losses["pixels"]], rel=1e-5)


class TestFromEncoder:
    @pytest.mark.parametrize("head", [True, False])
    @pytest.mark.parametrize("encoder", list(ENCODERS))
    def test_the_encoders_weights_are_those_of_the_checkpoint(self, encoder, head, tmp_path):
        classes = {"vit": ViTForImageClassification, "resnet": ResNetForImageClassification}
        if head and encoder == "clip":
            text = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
            base = CLIPModel(CLIPConfig(vision_config=CLIP, text_config=text | {"vocab_size": 50}))
            plain = base.vision_model
        else:
            config = ENCODERS[encoder]
            base = classes[encoder](config) if head and encoder in classes else AutoModel.from_config(config)
            plain = getattr(base, base.base_model_prefix, base)
        base.eval().save_pretrained(tmp_path)
        model = KeyValueForImageClassification.from_encoder(
            str(tmp_path), key_value_config(), id2label=dict(enumerate(NAMES))
        )
        pixels = image_batch()["pixel_values"]
        output = plain.eval()(pixel_values=pixels)
        expected = output.last_hidden_state[:, 0] if encoder == "vit" else output.pooler_output.flatten(1)
        torch.testing.assert_close(model.encode(pixels), expected)
        assert model.config.id2label[2] == "blue" and model.config.label2id["blue"] == 2

    def test_what_is_no_vision_encoder_or_lacks_weights_or_classes_is_refused(self, tmp_path):
        BertConfig(num_hidden_layers=1).save_pretrained(tmp_path)
        with pytest.raises(ValueError, match="'bert' model takes no images"):
            KeyValueForImageClassification.from_encoder(str(tmp_path), num_labels=3)
        AutoModel.from_config(ENCODERS["resnet"]).save_pretrained(tmp_path)
        for classes in ({}, {"num_labels": 0}, {"num_labels": 3, "id2label": {0: "a"}}):
            with pytest.raises(ValueError, match="give one, or both of the same number"):
                KeyValueForImageClassification.from_encoder(str(tmp_path), **classes)
        weights = load_file(tmp_path / "model.safetensors")
        weights.pop("embedder.embedder.convolution.weight")
        save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
        with pytest.raises(ValueError, match="lacks weights of a ResNetModel"):
            KeyValueForImageClassification.from_encoder(str(tmp_path), num_labels=3)

    def test_a_bottleneck_that_does_not_fit_is_refused(self):
        for wrong, message in (({"hidden_size": 5}, "needs 16"), ({"value_dim": 9}, "needs 4")):
            with pytest.raises(ValueError, match=message):
                KeyValueVisionConfig(encoder=ENCODERS["vit"], bottleneck=key_value_config(**wrong), num_labels=4)


def test_the_pipeline_classifies_with_the_processor_that_was_saved_beside_it(tmp_path):
    model = key_value_model()
    model.save_pretrained(tmp_path)
    processor().save_pretrained(tmp_path)
    image = images(1)[0]["img"]
    best = pipeline("image-classification", model=str(tmp_path))(image)[0]
    logits = model(pixel_values=processor()(image, return_tensors="pt")["pixel_values"]).logits[0]
    assert best["label"] == NAMES[logits.argmax()]
    assert best["score"] == pytest.approx(logits.softmax(0).max().item(), rel=1e-4)
