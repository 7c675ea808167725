"""Linear classifier on encodings: with the frozen backbone before it, the paper's baseline model."""

from typing import cast

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import ImageClassifierOutput


@strict
class LinearClassifierConfig(PreTrainedConfig):
    r"""Settings of a [`LinearClassifier`]. `num_labels` is the number of classes, as in any config.

    Args:
        hidden_size (`int`, defaults to 768): Width of the encodings; 768 is that of the pooled outputs of CLIP
            ViT-B/32's vision encoder, before the projection to 512 that texts are compared with. A key-value model
            takes the same (`pooling="pooler"`), so that the two are held against each other on the same numbers.
    """

    model_type = "linear_classifier"

    hidden_size: int = 768

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if self.hidden_size < 1:
            raise ValueError(f"`hidden_size` is {self.hidden_size}; it must be at least 1.")


class LinearClassifier(PreTrainedModel):
    """One linear layer that classifies encodings, such as a frozen backbone's pooled outputs.

    As the backbone does not change, a data set is encoded once, and this model stands for "backbone + linear layer".
    The paper trains it with a batch size of 256 for 2 epochs, with a learning rate of 0.001 on CIFAR-10 and 0.01 on
    CIFAR-100 and LACUNA-100: `hyperparameters.LINEAR`.

    Example:
        >>> model = LinearClassifier(LinearClassifierConfig(hidden_size=4, num_labels=3))
        >>> model(encodings=torch.ones(2, 4)).logits.shape
        torch.Size([2, 3])

    Source: *Unlearning via Sparse Representations*, section 5.1 and table 5.
    """

    config_class = LinearClassifierConfig
    base_model_prefix = "linear_classifier"
    main_input_name = "encodings"

    def __init__(self, config: LinearClassifierConfig):
        super().__init__(config)
        self.classifier = nn.Linear(config.hidden_size, cast(int, config.num_labels))
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            init.normal_(module.weight, std=0.02)
            init.zeros_(module.bias)

    def forward(self, encodings: Tensor, labels: Tensor | None = None) -> ImageClassifierOutput:
        """Classifies encodings.

        Args:
            encodings: `(batch, hidden_size)`.
            labels: classes, `(batch,)`; the loss is their cross-entropy.

        Returns:
            `logits`, `(batch, num_labels)`, and `loss` if there are labels.
        """
        logits = self.classifier(encodings.to(self.dtype))
        loss = None if labels is None else F.cross_entropy(logits.float(), labels)
        return ImageClassifierOutput(loss=loss, logits=logits)
