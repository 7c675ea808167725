"""CLIP with codebook bottlenecks in its vision tower."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "configuration_codebook_clip": ["CodebookCLIPConfig", "CodebookCLIPVisionConfig"],
        "modeling_codebook_clip": [
            "CodebookCLIPForImageClassification",
            "CodebookCLIPModel",
            "CodebookCLIPOutput",
            "CodebookCLIPVisionModel",
            "CodebookCLIPVisionOutput",
            "CodebookImageClassifierOutput",
        ],
    },
)
