"""T5 with codebook bottlenecks in its encoder."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "configuration_codebook_t5": ["CodebookT5Config"],
        "modeling_codebook_t5": ["CodebookSeq2SeqLMOutput", "CodebookT5ForConditionalGeneration"],
    },
)
