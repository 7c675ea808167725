"""Arguments of a training beside transformers' `Seq2SeqTrainingArguments`."""

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from excise.cli.train.options import at_least

if TYPE_CHECKING:  # the arguments are shown without loading a model
    from transformers import HfArgumentParser

    from excise.bottlenecks.codebook_sae.configuration import CodebookSAEConfig
    from excise.models.codebook_t5 import CodebookT5Config


@dataclass
class ModelArguments:
    """Where the model comes from."""

    model_name_or_path: str | None = field(default=None, metadata={"help": "Model to start from: Hub id or path."})
    config_name: str | None = field(default=None, metadata={"help": "Train from nothing, a model of this config."})
    config_overrides: str | None = field(
        default=None, metadata={"help": "Changes to it, as `d_model=256,num_layers=4`."}
    )
    tokenizer_name: str | None = field(default=None, metadata={"help": "Tokenizer, if not the model's own."})
    embedding_learning_rate: float | None = field(
        default=None, metadata={"help": "Learning rate of the embeddings, if another; new words need about 6 times."}
    )


@dataclass
class CodebookArguments:
    """The bottleneck. What is not given is as [`CodebookSAEConfig`] has it, or as a trained bottleneck has it."""

    codebook: bool = field(default=False, metadata={"help": "Put a codebook bottleneck in a plain model."})
    preset: str = field(
        default="default",
        metadata={
            "help": "`paper`: CodeUnlearn's block, widths, raw squared error and random codes.",
            "choices": ["default", "paper"],
        },
    )
    num_codes: int | None = field(default=None, metadata={"help": "Number of codes; 25,000 if not given."})
    top_s: int | None = field(default=None, metadata={"help": "Codes summed for each token, S; 8 if not given."})
    code_dim: int | None = field(
        default=None, metadata={"help": "Width of the codes; four times the model's, or `paper`: the model's own."}
    )
    active: int | None = field(
        default=None, metadata={"help": "Units of it that stay active for a token; 32 if not given, or `paper`: all."}
    )
    l1_weight: float | None = field(
        default=None, metadata={"help": "Weight of the L1 norm of the selected codes; 1e-6 if not given."}
    )
    reconstruction_weight: float | None = field(
        default=None, metadata={"help": "Weight of the reconstruction loss; 1 if not given."}
    )
    detach_target: bool | None = field(
        default=None, metadata={"help": "The reconstruction loss does not pull activations to the codes."}
    )
    bottleneck_layers: list[int] | None = field(
        default=None, metadata={"help": "Encoder blocks, from 0; 0 if not given, or `paper`: 2."}
    )
    standardize: bool | None = field(
        default=None, metadata={"help": "Loss in units of variance, unless `paper`; off: the paper's raw one."}
    )
    codebook_learning_rate: float | None = field(
        default=None, metadata={"help": "Learning rate of the codes, if another than that of the rest."}
    )
    init_tokens: int = field(
        default=131_072, metadata={"help": "Tokens that the codes are initialised on; 0 for random codes."}
    )
    init_steps: int = field(default=200, metadata={"help": "Steps that train the bottleneck alone, at first."})
    revive_every: int = field(default=0, metadata={"help": "Steps between revivals of dead codes; 0 for none."})
    similarity_quantile: float = field(
        default=0.005,
        metadata={"help": "Share of tokens, those least like any code, that a trained model passes nothing of."},
    )

    def __post_init__(self) -> None:
        at_least(self, 1, "num_codes", "top_s", "code_dim", "active")
        at_least(self, 0, "l1_weight", "reconstruction_weight", "init_tokens", "init_steps", "revive_every")
        at_least(self, 0, "codebook_learning_rate", "similarity_quantile")
        for block in self.bottleneck_layers or ():
            if block < 0:
                raise ValueError(f"Argument --bottleneck_layers: {block} is no encoder block, which count from 0.")
        if self.similarity_quantile > 1:
            raise ValueError(f"Argument --similarity_quantile: {self.similarity_quantile} is no share from 0 to 1.")
        if self.preset == "paper":
            self.init_tokens, self.revive_every, self.similarity_quantile = 0, 0, 0.0


@dataclass
class DataArguments:
    """The sentence pairs: rows with two columns of texts, or with both in a column `translation`."""

    dataset_name: str | None = field(default=None, metadata={"help": "Data set: Hub id or path."})
    dataset_config: str | None = field(default=None, metadata={"help": "Its configuration, as `en-fr`."})
    train_file: str | None = field(
        default=None, metadata={"help": "Parquet, CSV, TSV, JSON or text with tabs, in place of a name."}
    )
    validation_file: str | None = field(
        default=None, metadata={"help": "The same, to evaluate on; of any of these kinds."}
    )
    exclude_rows: str | None = field(
        default=None,
        metadata={"help": "Parquet with a column `row`: rows of the train split, as loaded, to leave out."},
    )
    keep_rows: str | None = field(
        default=None, metadata={"help": "The same: rows that stay in when --max_train_samples draws."}
    )
    source: str = field(default="en", metadata={"help": "Column to translate from, or key in `translation`."})
    target: str = field(default="fr", metadata={"help": "Column to translate to, or key in `translation`."})
    source_prefix: str = field(default="", metadata={"help": "Put before each source text (T5: a task)."})
    max_length: int = field(default=128, metadata={"help": "Tokens at which both sides are cut off."})
    max_train_samples: int | None = field(default=None, metadata={"help": "Train on so many rows, drawn by seed."})
    max_eval_samples: int | None = field(default=1000, metadata={"help": "Evaluate on so many rows, drawn by seed."})

    def __post_init__(self) -> None:
        at_least(self, 1, "max_length", "max_train_samples", "max_eval_samples")


# `Any`: what transformers asks for, a `DataClassType`, is none of the types of dataclasses.
OWN_ARGUMENTS: Any = (ModelArguments, CodebookArguments, DataArguments)


def own_arguments() -> "HfArgumentParser":
    """A parser of what is added to transformers' `Seq2SeqTrainingArguments`."""
    from transformers import HfArgumentParser

    return HfArgumentParser(OWN_ARGUMENTS, usage="", add_help=False)


# What may be another in a further training; all else is fixed by the weights.
OF_THE_LOSS = ("l1_weight", "reconstruction_weight", "detach_target")


def new_config(args: CodebookArguments, hidden_size: int) -> "CodebookSAEConfig":
    """The settings of a new bottleneck, for activations of a width."""
    from excise.bottlenecks.codebook_sae.configuration import CodebookSAEConfig

    make = CodebookSAEConfig.paper if args.preset == "paper" else CodebookSAEConfig
    return make(hidden_size=hidden_size, **_given(args, CodebookSAEConfig))


def encoder_blocks(args: CodebookArguments) -> list[int]:
    """The encoder blocks that get a new bottleneck."""
    return args.bottleneck_layers or [2 if args.preset == "paper" else 0]


def trained_config(args: CodebookArguments, config: "CodebookT5Config") -> "CodebookSAEConfig":
    """The settings of a trained bottleneck, with what is given for the loss.

    Raises:
        ValueError: if another setting is given than the one that it was trained with.
    """
    from excise.bottlenecks.codebook_sae.configuration import CodebookSAEConfig
    from excise.models.settings import sub_config

    given, trained = _given(args, CodebookSAEConfig), sub_config(config.bottleneck).to_dict()
    layers = {"bottleneck_layers": args.bottleneck_layers} if args.bottleneck_layers else {}
    has = trained | {"bottleneck_layers": list(config.bottleneck_layers)}
    other = {n: value for n, value in (given | layers).items() if n not in OF_THE_LOSS and value != has[n]}
    if other:
        raise ValueError(
            f"The model has a trained bottleneck with { {name: has[name] for name in other} }, not {other}. "
            "Leave these out, or start from a plain model."
        )
    return CodebookSAEConfig(**trained | {name: given[name] for name in OF_THE_LOSS if name in given})


def _given(args: CodebookArguments, settings: type) -> dict[str, Any]:
    return {name: value for name, value in asdict(args).items() if hasattr(settings, name) and value is not None}
