"""Models with attached bottlenecks pass the contract of every model with bottlenecks: a decoder and an encoder."""

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    LlamaForCausalLM,
    RobertaForSequenceClassification,
)

from excise import CodebookSAEConfig
from excise.bottlenecks.site import bottlenecks
from excise.models.attached import attach
from excise.models.attached.subclasses import model_class
from tests.helpers.families import FAMILIES
from tests.helpers.model_contract import CodebookContract, CompiledInTheSlowSuite


class AttachedContract(CodebookContract):
    family: str
    layers = (1, 2)
    imports = "excise, tests.helpers.families"
    exported = False

    def make(self, **settings):
        model = FAMILIES[self.family].make()
        sizes = {"num_codes": 40, "code_dim": 32, "active": 8, "top_s": 3, "l1_weight": 1e-3} | settings
        attach(model, CodebookSAEConfig(**sizes), self.layers)
        torch.manual_seed(3)
        for bottleneck in bottlenecks(model).values():
            bottleneck.mean.normal_()
            bottleneck.scale.fill_(2.0)
            if bottleneck.first_token is not None:
                bottleneck.first_token.normal_()
        return model.eval()

    def batch(self):
        return FAMILIES[self.family].batch()

    def without_loss(self):
        return {**self.batch(), "labels": None}


class TestAttachedLlama(CompiledInTheSlowSuite, AttachedContract):
    family = "llama"
    model_class = model_class(LlamaForCausalLM)
    auto_class = AutoModelForCausalLM

    def disk_map(self):
        layers = {f"model.layers.{i}": "disk" if i else "cpu" for i in range(3)}
        return dict.fromkeys(("model.embed_tokens", "model.norm", "model.rotary_emb", "lm_head"), "cpu") | layers


class TestAttachedRoberta(CompiledInTheSlowSuite, AttachedContract):
    family = "roberta"
    model_class = model_class(RobertaForSequenceClassification)
    auto_class = AutoModelForSequenceClassification

    def disk_map(self):
        layers = {f"roberta.encoder.layer.{i}": "disk" if i else "cpu" for i in range(3)}
        return dict.fromkeys(("roberta.embeddings", "classifier"), "cpu") | layers
