"""The T5 with bottlenecks passes the contract."""

import torch
from transformers import AutoModelForSeq2SeqLM

from excise import CodebookT5ForConditionalGeneration
from tests.helpers import tiny
from tests.helpers.model_contract import CodebookContract


class TestCodebookT5(CodebookContract):
    model_class = CodebookT5ForConditionalGeneration
    auto_class = AutoModelForSeq2SeqLM

    def make(self, **settings):
        return tiny.codebook_t5(layers=(1, 2), **settings)

    def batch(self):
        return tiny.batch()

    def without_loss(self):
        batch = tiny.batch()
        return {**batch, "labels": None, "decoder_input_ids": torch.zeros((3, 1), dtype=torch.long)}

    def disk_map(self):
        names = ("shared", "encoder.embed_tokens", "encoder.final_layer_norm", "decoder", "lm_head")
        blocks = {f"encoder.block.{i}": "disk" if i else "cpu" for i in range(3)}
        return dict.fromkeys(names, "cpu") | blocks
