"""What every model with bottlenecks must do, whatever it is a model of. Modelled on transformers' own common tests.

A subclass is a test class that says how to make its tiny model, and inherits the tests. `ModelContract` asks of a
model's bottlenecks only what `Bottleneck` promises; `CodebookContract` is for models with codebooks and losses.
"""

import copy
import json
import pickle
import threading

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch.torch_version import TorchVersion
from transformers import PreTrainedModel

import excise
from excise.bottlenecks.site import bottlenecks
from excise.bottlenecks.tracing import current_trace
from excise.models import bottlenecked
from tests.helpers.tiny import delete_codes, mask_codes

# transformers 5.23 calls activation checkpointing what was gradient checkpointing before.
CHECKPOINTING = "activation" if hasattr(PreTrainedModel, "activation_checkpointing_enable") else "gradient"


def enable_checkpointing(model, options=None) -> None:
    getattr(model, f"{CHECKPOINTING}_checkpointing_enable")(options)


def is_checkpointing(model) -> bool:
    return getattr(model, f"is_{CHECKPOINTING}_checkpointing")


def masks(model) -> dict[str, torch.Tensor]:
    return {site: module.live for site, module in bottlenecks(model).items()}


def assert_same(a, b):
    """Two models have the same masks and weights."""
    a, b = a.state_dict(), b.state_dict()
    assert a.keys() == b.keys()
    for key in a:
        torch.testing.assert_close(a[key].float(), b[key].float(), rtol=0, atol=0, msg=key, check_device=False)


def gradients(model) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def first_rows(batch: dict, count: int) -> dict:
    return {key: value[:count] if isinstance(value, torch.Tensor) else value for key, value in batch.items()}


def smaller(batch: dict) -> dict:
    """A row less, and a token less where there are tokens."""
    rows = first_rows(batch, 2)
    tokens = {key: value[:, :-1].contiguous() for key, value in rows.items() if getattr(value, "ndim", 0) == 2}
    return rows | tokens


class ModelContract:
    """The tests of any model with bottlenecks. A subclass gives the first four, and the rest where it differs."""

    model_class: type
    auto_class: type

    def make(self, **settings):
        """A tiny model in eval mode, with dropout 0 and buffers that are not at their defaults."""
        raise NotImplementedError

    def batch(self) -> dict:
        """Inputs of three rows, with padding where there can be any, and whatever else a loss needs."""
        raise NotImplementedError

    def disk_map(self) -> dict[str, str]:
        """A device map that has bottlenecks on disk."""
        raise NotImplementedError

    imports = "excise"  # what must be imported where the model is loaded
    result = "logits"  # the field of the output that the model is there for
    attentions: tuple[str, ...] = ("eager", "sdpa")  # kinds of attention that there are
    exported = True  # whether it is exported in the suite; one of each kind of look-up is
    unused: tuple[str, ...] = ()  # parts of the names of weights that no loss depends on

    def codes(self, output) -> dict[str, torch.Tensor]:
        """The codes that a batch was passed on as, by site; -1 for none."""
        return output.codes

    def loss(self, output) -> torch.Tensor:
        """What is trained on."""
        return output.loss

    def ledger_holder(self, config: dict) -> dict:
        """The part of config.json that has `unlearning`."""
        return config

    def add_a_code(self, config: dict) -> None:
        """Changes config.json to that of a model with more codes."""
        config["bottleneck"]["num_codes"] += 1

    def trainer_options(self) -> dict:
        """What a `Trainer` of this model needs beside the usual."""
        return {}

    def run(self, model) -> torch.Tensor:
        """The result on the batch."""
        return model(**self.batch())[self.result]

    @pytest.fixture
    def model(self):
        return self.make()

    @pytest.fixture
    def masked(self, model):
        """A model with a mask in its ledger, and codes that this mask changes the batch's result by."""
        before = self.run(model)
        site, codes = next(iter(self.codes(model(**self.batch())).items()))
        mask_codes(model, codes[codes >= 0].unique()[:4].tolist(), site)
        assert not torch.allclose(self.run(model), before)
        return model

    # Saving and loading

    def test_a_saved_model_loads_with_every_weight_and_an_equal_result(self, model, tmp_path):
        model.save_pretrained(tmp_path)
        loaded, info = self.model_class.from_pretrained(tmp_path, output_loading_info=True)
        assert not any(info.values())
        assert_same(loaded, model)
        torch.testing.assert_close(self.run(loaded), self.run(model))

    def test_the_auto_classes_load_our_class(self, model, tmp_path):
        model.save_pretrained(tmp_path)
        assert type(self.auto_class.from_pretrained(tmp_path)) is self.model_class
        assert type(transformers.AutoConfig.from_pretrained(tmp_path)) is self.model_class.config_class
        assert type(self.auto_class.from_config(model.config)) is self.model_class

    def test_without_excise_the_auto_classes_refuse_it_loudly(self, model, tmp_path, without_excise):
        model.save_pretrained(tmp_path)
        code = f"from transformers import {self.auto_class.__name__} as A; A.from_pretrained({str(tmp_path)!r})"
        result = without_excise.run(code)
        assert result.returncode != 0
        assert model.config.model_type in result.stderr

    def test_reloading_never_initialises_codes_or_buffers_again(self, model, tmp_path, monkeypatch):
        # With nothing but zeros in the file, whatever is not zero afterwards was made up.
        model.save_pretrained(tmp_path)
        state = {key: torch.zeros_like(value) for key, value in load_file(tmp_path / "model.safetensors").items()}
        save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
        monkeypatch.setattr(bottlenecked, "check_model", lambda *_: None)
        assert not any(value.any() for value in self.model_class.from_pretrained(tmp_path).state_dict().values())

    @pytest.mark.parametrize("path", ["whole", "sharded", "bf16", "fp16"])
    def test_a_mask_survives_saving_and_loading(self, masked, tmp_path, path):
        masked.save_pretrained(tmp_path, **({"max_shard_size": "4KB"} if path == "sharded" else {}))
        assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == (path == "sharded")
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(path, torch.float32)
        loaded = self.auto_class.from_pretrained(tmp_path, dtype=dtype)
        for site, mask in masks(masked).items():
            assert torch.equal(masks(loaded)[site], mask) and mask.dtype == torch.bool
        if dtype == torch.float32:
            torch.testing.assert_close(self.run(loaded), self.run(masked))

    def test_a_mask_survives_casts_copies_and_pickles(self, masked, tmp_path):
        torch.save(masked, tmp_path / "model.pt")
        fresh = self.make()
        with pytest.warns(UserWarning, match="the ledger in the model's config does not tell of"):
            fresh.load_state_dict(masked.state_dict())
        others = {
            "deepcopy": copy.deepcopy(masked),
            "pickle": pickle.loads(pickle.dumps(masked)),
            "torch.save": torch.load(tmp_path / "model.pt", weights_only=False),
            "state_dict": fresh,
            "bf16": copy.deepcopy(masked).to(torch.bfloat16),
            "half": copy.deepcopy(masked).half(),
        }
        expected = self.codes(masked(**self.batch()))
        for name, other in others.items():
            for site, mask in masks(masked).items():
                assert torch.equal(masks(other)[site], mask), name
            codes = self.codes(other(**self.batch()))
            for site in expected:
                assert not set((~masks(masked)[site]).nonzero().flatten().tolist()) & set(codes[site].unique().tolist())

    def test_masked_codes_are_never_selected_again_after_a_reload(self, masked, tmp_path):
        masked.save_pretrained(tmp_path)
        codes = self.codes(self.auto_class.from_pretrained(tmp_path)(**self.batch()))
        for site, mask in masks(masked).items():
            selected = codes[site]
            assert mask[selected[selected >= 0]].all()

    @pytest.mark.parametrize("tampering", ["mask", "no mask", "ledger", "no ledger", "one code more", "version"])
    def test_a_checkpoint_whose_mask_is_not_its_ledgers_does_not_load(self, masked, tmp_path, tampering):
        masked.save_pretrained(tmp_path)
        weights, config = load_file(tmp_path / "model.safetensors"), json.loads((tmp_path / "config.json").read_text())
        key = next(key for key in weights if key.endswith("bottleneck.live"))
        holder = self.ledger_holder(config)
        ledger = holder["unlearning"]
        if tampering == "mask":
            weights[key] = torch.ones_like(weights[key])
        elif tampering == "no mask":
            del weights[key]
        elif tampering == "ledger":
            ledger["digest"] = "0" * 64
        elif tampering == "no ledger":
            del holder["unlearning"]
        elif tampering == "one code more":
            weights[key][weights[key].nonzero()[0]] = False
        else:
            ledger["version"] = 99
        save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
        (tmp_path / "config.json").write_text(json.dumps(config))
        for loader in (self.model_class, self.auto_class):
            with pytest.raises(excise.MaskMismatchError):
                loader.from_pretrained(tmp_path)

    def test_a_deleted_row_that_has_come_back_does_not_load(self, model, tmp_path):
        site = next(iter(bottlenecks(model)))
        delete_codes(model, [1, 2], site)
        model.save_pretrained(tmp_path)
        assert not masks(self.auto_class.from_pretrained(tmp_path))[site][[1, 2]].any()
        bottleneck = bottlenecks(model)[site]
        for name in bottleneck.code_tensors:
            assert not bottleneck.by_code(getattr(bottleneck, name))[[1, 2]].any()
            weights = load_file(tmp_path / "model.safetensors")
            key = next(key for key in weights if key.endswith(f"bottleneck.{name}"))
            bottleneck.by_code(weights[key])[1] = 1
            save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
            with pytest.raises(excise.MaskMismatchError, match="not zero"):
                self.auto_class.from_pretrained(tmp_path)
            model.save_pretrained(tmp_path)

    def test_a_checkpoint_of_another_shape_does_not_load(self, model, tmp_path):
        model.save_pretrained(tmp_path)
        config = json.loads((tmp_path / "config.json").read_text())
        self.add_a_code(config)
        (tmp_path / "config.json").write_text(json.dumps(config))
        with pytest.raises((RuntimeError, ValueError), match="mismatch"):
            self.model_class.from_pretrained(tmp_path)

    def test_it_can_be_built_without_memory(self, model):
        with torch.device("meta"):
            empty = self.model_class(model.config)
        assert {p.device.type for p in empty.parameters()} == {"meta"}

    @pytest.mark.parametrize("where", ["auto", "cpu", "disk"])
    def test_a_device_map_keeps_result_mask_and_deletion(self, masked, tmp_path, where):
        delete_codes(masked, [1, 2], next(iter(bottlenecks(masked))))
        masked.save_pretrained(tmp_path / "model")
        options = {"device_map": where}
        if where == "disk":
            options = {"device_map": self.disk_map(), "offload_folder": tmp_path / "offload"}
        loaded = self.auto_class.from_pretrained(tmp_path / "model", **options)
        torch.testing.assert_close(self.run(loaded), self.run(masked))
        found = self.codes(loaded(**self.batch()))
        for site, codes in self.codes(masked(**self.batch())).items():
            assert torch.equal(found[site], codes)

    # Number formats, compiling, copying, threads

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision_gives_a_finite_result_near_that_of_fp32(self, model, dtype):
        expected = model(**self.batch())
        output = model.to(dtype)(**self.batch())
        assert output[self.result].dtype == dtype
        assert output[self.result].isfinite().all()
        torch.testing.assert_close(self.loss(output).float(), self.loss(expected), rtol=0.1, atol=0.05)

    def test_autocast_trains_every_weight(self, model):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = self.loss(model(**self.batch()))
        loss.backward()
        assert loss.dtype == torch.float32
        for name, parameter in model.named_parameters():
            if any(part in name for part in self.unused) or not parameter.requires_grad:
                assert parameter.grad is None
            else:
                assert parameter.grad is not None and parameter.grad.isfinite().all(), name

    def test_one_graph_gives_the_same_result_and_loss_for_batches_of_any_size(self, model, tmp_path, with_compiler):
        model.save_pretrained(tmp_path)
        # What a T5 keeps for its next token is made of a copy of its config, which torch 2.9 cannot compile; 2.13 can.
        cached = torch.__version__ >= TorchVersion("2.13") or not model.config.is_encoder_decoder
        whole = self.batch() | ({} if cached else {"use_cache": False})
        cases = []
        for batch in (whole, smaller(whole)):
            output = model(**batch)
            names = (self.result, "loss")
            cases.append((batch, {name: output[name] for name in names if output.get(name) is not None}))
        torch.save(cases, tmp_path / "cases.pt")
        given = (self.imports, self.auto_class.__name__, str(tmp_path), self.exported)
        result = with_compiler.run(f"from tests.helpers.compiled import main; main(*{given!r})")
        assert result.returncode == 0, result.stderr[-3000:]

    def test_no_module_keeps_a_graph_after_a_forward_pass(self, model):
        first = self.loss(model.train()(**self.batch()))
        copied = copy.deepcopy(model)
        (first + self.loss(model(**self.batch()))).backward()
        assert_same(copied, model)
        assert current_trace().outputs == {}

    def test_threads_that_share_a_model_do_not_mix_their_batches(self, model):
        batches = [first_rows(self.batch(), count) for count in (1, 2, 3)]
        expected = [model(**batch) for batch in batches]
        wrong = []

        def work(batch, output):
            codes = self.codes(output)
            for _ in range(10):
                found = model(**batch)
                if not torch.allclose(self.loss(found), self.loss(output)) or any(
                    not torch.equal(self.codes(found)[site], codes[site]) for site in codes
                ):
                    wrong.append(len(output[self.result]))

        threads = [threading.Thread(target=work, args=pair) for pair in zip(batches, expected, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong

    # Training

    def test_a_plain_trainer_trains_it_and_a_mask_stays(self, masked, tmp_path):
        before = {name: p.detach().clone() for name, p in masked.named_parameters()}
        batch = self.batch()
        tensors = {key: value for key, value in batch.items() if isinstance(value, torch.Tensor)}
        rows = [{key: value[i] for key, value in tensors.items()} for i in range(3)]
        args = transformers.TrainingArguments(
            str(tmp_path / "run"),
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
            max_steps=2,
            learning_rate=0.01,
            per_device_train_batch_size=3,
            remove_unused_columns=False,
            dataloader_pin_memory=False,
        )
        trainer = transformers.Trainer(
            masked,
            args,
            train_dataset=rows,
            data_collator=lambda rows: batch | {key: torch.stack([row[key] for row in rows]) for key in rows[0]},
            **self.trainer_options(),
        )
        trainer.train()
        assert any(not torch.equal(p, before[name]) for name, p in masked.named_parameters())
        loaded = self.auto_class.from_pretrained(tmp_path / "run" / "checkpoint-2")
        assert_same(loaded, masked)
        for site, mask in masks(masked).items():
            assert torch.equal(masks(loaded)[site], mask)
        assert (~next(iter(masks(loaded).values()))).any()

    @pytest.mark.parametrize("preserve", [True, False])
    def test_activation_checkpointing_gives_the_same_gradients(self, model, preserve):
        self.loss(model.train()(**self.batch())).backward()
        expected = gradients(model)
        model.zero_grad()
        enable_checkpointing(model, {"preserve_rng_state": preserve})
        assert is_checkpointing(model)
        self.loss(model(**self.batch())).backward()
        found = gradients(model)
        assert found.keys() == expected.keys()
        for name, gradient in found.items():
            torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-4, msg=name)

    def test_activation_checkpointing_lets_one_go_backward_twice(self, model):
        enable_checkpointing(model.train())
        loss = self.loss(model(**self.batch()))
        loss.backward(retain_graph=True)
        once = gradients(model)
        loss.backward()
        for name, gradient in gradients(model).items():
            torch.testing.assert_close(gradient, 2 * once[name], msg=name)

    def test_reentrant_checkpointing_is_refused(self, model):
        with pytest.raises(ValueError, match="use_reentrant"):
            enable_checkpointing(model, {"use_reentrant": True})
        assert not is_checkpointing(model)

    def test_any_kind_of_attention_can_be_set(self, model):
        expected = self.run(model)
        for kind in self.attentions:
            model.set_attn_implementation(kind)
            torch.testing.assert_close(self.run(model), expected, rtol=1e-4, atol=1e-4)

    def test_outputs_as_a_tuple_are_the_same(self, model):
        output, plain = model(**self.batch()), model(**self.batch(), return_dict=False)
        assert isinstance(plain, tuple)
        torch.testing.assert_close(plain[list(output).index(self.result)], output[self.result])


LOSSES = ("loss", "task_loss", "reconstruction_loss", "l1_loss")


class CodebookContract(ModelContract):
    """The tests of models with codebooks, whose output has a joint loss, its parts and codes."""

    def without_loss(self) -> dict:
        """Inputs that the model runs on without a loss."""
        return {key: value for key, value in self.batch().items() if key != "labels"}

    def test_the_joint_loss_is_the_weighted_sum_of_its_parts(self):
        model = self.make(reconstruction_weight=0.3, l1_weight=0.02)
        output = model(**self.batch())
        expected = output.task_loss + 0.3 * output.reconstruction_loss + 0.02 * output.l1_loss
        torch.testing.assert_close(output.loss, expected)
        assert min(output[name].item() for name in LOSSES) > 0

    def test_without_labels_there_are_codes_but_no_losses(self, model):
        output = model(**self.without_loss())
        assert output.codes.keys() == bottlenecks(model).keys()
        assert all(output.get(name) is None for name in LOSSES)

    def test_the_loss_comes_first_in_a_tuple(self, model):
        torch.testing.assert_close(model(**self.batch(), return_dict=False)[0], model(**self.batch()).loss)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision_gives_finite_losses_near_those_of_fp32(self, model, dtype):
        expected = model(**self.batch())
        output = model.to(dtype)(**self.batch())
        for name in LOSSES:
            torch.testing.assert_close(output[name].float(), expected[name], rtol=0.1, atol=0.05)

    def test_codes_are_those_that_each_bottleneck_selects(self, model):
        selected = {}
        for site, module in bottlenecks(model).items():
            module.register_forward_hook(lambda module, args, output, site=site: selected.update({site: output.codes}))
        output = model(**self.batch())
        assert output.codes.keys() == selected.keys()
        for site, codes in selected.items():
            assert torch.equal(output.codes[site], codes)


class CompiledInTheSlowSuite:
    """Mixed in before a contract whose graph is that of another model of the suite: each compiles for ten seconds."""

    @pytest.mark.slow
    def test_one_graph_gives_the_same_result_and_loss_for_batches_of_any_size(self, model, tmp_path, with_compiler):
        super().test_one_graph_gives_the_same_result_and_loss_for_batches_of_any_size(model, tmp_path, with_compiler)
