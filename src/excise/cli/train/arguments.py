"""Arguments of a training beside transformers' `Seq2SeqTrainingArguments`."""

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from excise.cli.options import ENCODING
from excise.cli.train.options import at_least
from excise.data.text_encodings import known_encoding

if TYPE_CHECKING:  # the arguments are shown without loading a model
    from transformers import HfArgumentParser, PreTrainedConfig

    from excise.models.codebook_t5 import CodebookT5Config

# By what they are called here, `model_type` of the settings of the bottlenecks that sit in a layer.
BOTTLENECKS = {"codebook": "codebook_sae", "sparse_units": "sparse_units"}


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
    """The bottleneck. What is not given is as its kind's settings have it, or as a trained bottleneck has it."""

    codebook: bool = field(default=False, metadata={"help": "Put a codebook bottleneck in a plain model."})
    bottleneck: str | None = field(
        default=None,
        metadata={
            "help": "Put a bottleneck of this kind in a plain model; `sparse_units`: a top-k sparse autoencoder.",
            "choices": list(BOTTLENECKS),
        },
    )
    preset: str = field(
        default="default",
        metadata={
            "help": "`paper`: CodeUnlearn's block, widths, raw squared error and random codes.",
            "choices": ["default", "paper"],
        },
    )
    num_codes: int | None = field(default=None, metadata={"help": "Number of codes or units; 25,000, or 16,384 units."})
    top_s: int | None = field(default=None, metadata={"help": "Codes summed for each token, S; 8 if not given."})
    code_dim: int | None = field(
        default=None, metadata={"help": "Width of the codes; four times the model's, or `paper`: the model's own."}
    )
    active: int | None = field(
        default=None,
        metadata={"help": "Units that stay active for a token; 32 if not given, or `paper`: all. Of sparse units: k."},
    )
    l1_weight: float | None = field(
        default=None, metadata={"help": "Weight of the L1 norm of the selected codes; 1e-6 if not given. Of units; 0."}
    )
    reconstruction_weight: float | None = field(
        default=None, metadata={"help": "Weight of the reconstruction loss; 1 if not given."}
    )
    auxiliary_weight: float | None = field(
        default=None, metadata={"help": "Weight of the loss that brings unused units to life; 0 if not given."}
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
        at_least(self, 0, "auxiliary_weight")
        at_least(self, 0, "codebook_learning_rate", "similarity_quantile")
        for block in self.bottleneck_layers or ():
            if block < 0:
                raise ValueError(f"Argument --bottleneck_layers: {block} is no encoder block, which count from 0.")
        if self.similarity_quantile > 1:
            raise ValueError(f"Argument --similarity_quantile: {self.similarity_quantile} is no share from 0 to 1.")
        if self.codebook and self.bottleneck == "sparse_units":
            raise ValueError("Argument --codebook: --bottleneck names another kind, and a model gets one of them.")
        if self.preset == "paper" and self.bottleneck == "sparse_units":
            raise ValueError("Argument --preset: `paper` has settings of a codebook, and none of sparse units.")
        if self.bottleneck == "codebook":
            self.codebook = True
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
    encoding: str | None = field(default=None, metadata={"help": ENCODING[0].upper() + ENCODING[1:]})
    source: str = field(default="en", metadata={"help": "Column to translate from, or key in `translation`."})
    target: str = field(default="fr", metadata={"help": "Column to translate to, or key in `translation`."})
    source_prefix: str = field(default="", metadata={"help": "Put before each source text (T5: a task)."})
    max_length: int = field(default=128, metadata={"help": "Tokens at which both sides are cut off."})
    max_train_samples: int | None = field(default=None, metadata={"help": "Train on so many rows, drawn by seed."})
    max_eval_samples: int | None = field(default=1000, metadata={"help": "Evaluate on so many rows, drawn by seed."})

    def __post_init__(self) -> None:
        at_least(self, 1, "max_length", "max_train_samples", "max_eval_samples")
        if self.encoding is not None:
            self.encoding = known_encoding(self.encoding)


# `Any`: what transformers asks for, a `DataClassType`, is none of the types of dataclasses.
OWN_ARGUMENTS: Any = (ModelArguments, CodebookArguments, DataArguments)


def own_arguments() -> "HfArgumentParser":
    """A parser of what is added to transformers' `Seq2SeqTrainingArguments`."""
    from transformers import HfArgumentParser

    return HfArgumentParser(OWN_ARGUMENTS, usage="", add_help=False)


# What may be another in a further training; all else is fixed by the weights.
OF_THE_LOSS = ("l1_weight", "reconstruction_weight", "auxiliary_weight", "detach_target")


def is_new(args: CodebookArguments) -> bool:
    """Whether a plain model gets a bottleneck."""
    return args.codebook or args.bottleneck is not None


def new_config(args: CodebookArguments, hidden_size: int) -> "PreTrainedConfig":
    """The settings of a new bottleneck, for activations of a width.

    Raises:
        ValueError: if a setting is given that its kind has not.
    """
    from excise.bottlenecks.registry import kind_class

    settings: Any = kind_class(BOTTLENECKS[args.bottleneck or "codebook"]).config_class
    make = settings.paper if args.preset == "paper" else settings
    return make(hidden_size=hidden_size, **_given(args, settings))


def encoder_blocks(args: CodebookArguments) -> list[int]:
    """The encoder blocks that get a new bottleneck."""
    return args.bottleneck_layers or [2 if args.preset == "paper" else 0]


def trained_config(args: CodebookArguments, config: "CodebookT5Config") -> "PreTrainedConfig":
    """The settings of a trained bottleneck, with what is given for the loss.

    Raises:
        ValueError: if another setting is given than the one that it was trained with.
    """
    from excise.models.settings import sub_config

    before: PreTrainedConfig = sub_config(config.bottleneck)
    if args.bottleneck and BOTTLENECKS[args.bottleneck] != before.model_type:
        raise ValueError(
            f"The model has a trained bottleneck of type {before.model_type!r}, and --bottleneck {args.bottleneck} is "
            "another. Leave it out, or start from a plain model."
        )
    given, trained = _given(args, type(before)), before.to_dict()
    layers = {"bottleneck_layers": args.bottleneck_layers} if args.bottleneck_layers else {}
    has = trained | {"bottleneck_layers": list(config.bottleneck_layers)}
    other = {n: value for n, value in (given | layers).items() if n not in OF_THE_LOSS and value != has[n]}
    if other:
        raise ValueError(
            f"The model has a trained bottleneck with { {name: has[name] for name in other} }, not {other}. "
            "Leave these out, or start from a plain model."
        )
    return type(before)(**trained | {name: given[name] for name in OF_THE_LOSS if name in given})


# Settings of one kind or another.
OF_A_KIND = ("num_codes", "top_s", "code_dim", "active", "standardize", *OF_THE_LOSS)


def _given(args: CodebookArguments, settings: type) -> dict[str, Any]:
    given = {name: value for name, value in asdict(args).items() if name in OF_A_KIND and value is not None}
    if other := [f"--{name}" for name in given if not hasattr(settings, name)]:
        raise ValueError(f"{', '.join(other)}: {settings.__name__} has no such setting. Leave it out.")
    return given
