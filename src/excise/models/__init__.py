"""Transformers models with bottlenecks, one folder a model."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "activations": ["bottleneck_inputs"],
        "attached.attach": ["attach", "detach"],
        "attached.families": ["families"],
        "codebook_clip": [
            "CodebookCLIPConfig",
            "CodebookCLIPForImageClassification",
            "CodebookCLIPModel",
            "CodebookCLIPVisionConfig",
            "CodebookCLIPVisionModel",
        ],
        "codebook_t5": ["CodebookT5Config", "CodebookT5ForConditionalGeneration"],
        "key_value": ["KeyValueForImageClassification", "KeyValueVisionConfig"],
        "key_value.encodings": ["encode_images"],
        "key_value.masked_logits": ["MaskedLogits"],
        "key_value.pairs": ["select_pairs"],
        "image_inputs": ["image_inputs"],
        "plain": ["export_plain"],
        "remote_code": ["write_remote_code"],
    },
)
