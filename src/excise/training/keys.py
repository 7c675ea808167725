"""Initialisation of keys that cover the encodings of a data set."""

import copy
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from datasets import Dataset
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm.auto import tqdm

from excise.bottlenecks.identity import draw_codes_id
from excise.bottlenecks.key_value.bottleneck import KeyValueBottleneck
from excise.bottlenecks.key_value.lookup import nearest_keys
from excise.models.key_value import KeyValueForImageClassification
from excise.models.key_value.encodings import ENCODINGS, check_encodings, check_has_pairs
from excise.models.key_value.shards import description
from excise.storage.digests import digest
from excise.storage.expected import expects
from excise.storage.files import new_file
from excise.storage.processes import by_main_process


@dataclass
class _State:
    """Keys in the making.

    Args:
        keys: `(codebooks, num_pairs, key_dim)`.
        counts: moving average of how many encodings of a batch each key is nearest to, `(codebooks, num_pairs)`.
    """

    keys: Tensor
    counts: Tensor


@expects("model", encodings="dataset")
@torch.no_grad()
def initialize_keys(
    model: KeyValueForImageClassification,
    encodings: Dataset,
    *,
    epochs: int = 10,
    batch_size: int = 256,
    decay: float = 0.95,
    min_use: float = 0.1,
    components: int | None = None,
    seed: int = 0,
    checkpoint: str | os.PathLike | None = None,
    progress: bool = True,
) -> float:
    """Moves the keys to where the encodings of a data set are, by moving averages; labels are not looked at.

    Keys start as the heads of random encodings. In each batch every key moves to the moving average of the heads that
    it is nearest to (van den Oord et al., 2017, appendix A.1), and a key that is hardly ever the nearest starts again
    as the head of a random encoding of the batch. Codebooks do not know of each other: with several processes
    (`torchrun`) each does a part of them, and the keys are the same to the last bit. The pairs get an id, which
    selections, counts and records of them carry.

    Args:
        model: its keys are set when all is done; whatever fails leaves them as they were.
        encodings: what `encode_images` made with this model's encoder.
        epochs: passes over the encodings (table 4).
        batch_size: encodings a step.
        decay: of the moving averages.
        min_use: a key is replaced when its moving average of use falls below this share of what each key would have
            if all were used alike; 0 for never.
        components: project onto random directions of so many whitened principal components of the encodings rather
            than of the encodings as they are, where a few directions of large variance outweigh the rest. The paper
            does not; on the features of a ResNet-50 it classifies better (model_cards/). The projection is set too.
        seed: of the order of the encodings and of all draws.
        checkpoint: a file to keep the state in after each epoch; a run that was cut off goes on from it. It is left
            there, and what was made of the same encodings in the same way is not made again.
        progress: show a progress bar.

    Returns:
        Mean squared distance from heads to their nearest keys in the last epoch, divided by their variance.

    Raises:
        ValueError: if the encodings are none or another encoder's, a setting is out of range, the checkpoint is of
            another run or of more epochs, or the model has forgotten something already, which other keys would undo.
    """
    check_has_pairs(model)
    if getattr(model.config, "unlearning", None):
        raise ValueError("The model's ledger holds requests; new keys would bring back what it forgot.")
    width = model.config.encoding_size
    if components is not None and (not 1 <= components <= width or model.bottleneck.config.projection != "random"):
        raise ValueError(
            f"components={components}: expected 1 to {width}, the encodings' width, and random projections."
        )
    if epochs < 1 or batch_size < 1 or not 0 <= decay < 1 or not 0 <= min_use < 1:
        raise ValueError(
            f"epochs={epochs}, batch_size={batch_size}, decay={decay}, min_use={min_use}: expected at least 1 epoch "
            "and 1 encoding a batch, a decay and a share from 0 to below 1."
        )
    check_encodings(encodings, model)
    bottleneck, settings = model.bottleneck, model.bottleneck.config
    sizes = [settings.num_codebooks, settings.num_pairs, settings.key_dim]
    given = components is None and settings.projection == "random"
    run = digest(
        [description(encodings), encodings._fingerprint, batch_size, decay, min_use, seed, components, *sizes],
        {"projection": bottleneck.projection} if given else {},
    )
    vectors = encodings.select_columns(ENCODINGS).with_format("torch", device=model.device)
    processes = PartialState()
    mine = torch.arange(settings.num_codebooks).tensor_split(processes.num_processes)[processes.process_index]
    generator = torch.Generator()

    trial = copy.deepcopy(bottleneck)
    if components is not None:
        trial.projection.copy_(whitening(vectors, components) @ directions(components, trial, seed))

    def heads(rows: Tensor) -> Tensor:
        return trial.heads(vectors[rows.tolist()][ENCODINGS])[:, mine]

    done, error, state = _load(checkpoint, run, mine, model.device)
    if done > epochs:
        raise ValueError(
            f"{checkpoint} holds the keys of {done} epochs, more than the {epochs} asked for. Ask for "
            f"{done}, or give another file."
        )
    if state is None:
        generator.manual_seed(seed)
        repeats = -(-settings.num_pairs // len(encodings))
        rows = torch.cat([torch.randperm(len(encodings), generator=generator) for _ in range(repeats)])
        keys = torch.cat([heads(part) for part in rows[: settings.num_pairs].split(batch_size)])
        keys = keys.transpose(0, 1).contiguous()
        state = _State(keys, torch.full(keys.shape[:2], batch_size / settings.num_pairs, device=keys.device))
    for epoch in range(done, epochs):
        generator.manual_seed(seed + 1 + epoch)  # so that a resumed run draws what an uninterrupted one does
        order = torch.randperm(len(encodings), generator=generator)
        total = torch.zeros(2, dtype=torch.float64)
        label = f"keys, epoch {epoch + 1} of {epochs}"
        for rows in tqdm(order.split(batch_size), desc=label, unit="batch", disable=not progress, leave=False):
            batch = heads(rows)
            total += _step(state, batch, decay, min_use, generator)
        error = _over_processes(total)
        _save(checkpoint, run, epoch + 1, error, state)
    bottleneck.keys.copy_(_gathered(state.keys))
    if components is not None:
        bottleneck.projection.copy_(trial.projection)
    bottleneck.config.keys_id = model.config.bottleneck.keys_id = bottleneck.digest_keys()
    draw_codes_id(model)
    return error


def _step(state: _State, heads: Tensor, decay: float, min_use: float, generator: torch.Generator) -> Tensor:
    """Moves keys by a batch of heads, `(batch, codebooks, key_dim)`; gives the sums of squared distance and spread."""
    codebooks, num_pairs = state.counts.shape
    everything = torch.ones_like(state.counts, dtype=torch.bool)
    nearest = nearest_keys(heads, state.keys, 1, everything)
    # Few of a million keys are used in a batch: only these are touched. They are numbered over all codebooks.
    used = (nearest.keys[..., 0] + torch.arange(codebooks, device=heads.device) * num_pairs).flatten()
    keys, counts = state.keys.view(-1, heads.shape[2]), state.counts.view(-1)
    counts.mul_(decay)
    before = counts[used]
    counts.index_add_(0, used, torch.full_like(before, 1 - decay))
    # The moving average of heads is (decay * old count * key + (1 - decay) * sum of heads) / new count.
    keys[used] *= (before / counts[used])[:, None]
    keys.index_add_(0, used, heads.flatten(0, 1) * ((1 - decay) / counts[used])[:, None])
    mean_use = len(heads) / num_pairs
    # Drawn for all keys, whichever are dead, so that processes draw the same for the codebooks of each.
    drawn = torch.randint(len(heads), (num_pairs,), generator=generator).to(heads.device)
    codebook, dead = (state.counts < min_use * mean_use).nonzero(as_tuple=True)
    state.keys[codebook, dead] = heads[drawn[dead], codebook]
    state.counts[codebook, dead] = mean_use
    spread = (heads - heads.mean(0)).double().square().sum()
    return torch.stack([nearest.distances.double().sum(), spread]).cpu()


def _over_processes(total: Tensor) -> float:
    distance, spread = torch.stack(gather_object([total])).sum(0).tolist()
    return distance / spread if spread else 0.0


def _gathered(part: Tensor) -> Tensor:
    """The codebooks of all processes."""
    return torch.cat([other.to(part.device) for other in gather_object([part.cpu()])])


def _save(path: str | os.PathLike | None, run: str, done: int, error: float, state: _State) -> None:
    if path is None:
        return
    tensors = {"keys": _gathered(state.keys).cpu(), "counts": _gathered(state.counts).cpu()}
    _write(path, tensors, {"excise.keys": run, "epochs": str(done), "error": str(error)})


@by_main_process("path")
def _write(path: str | os.PathLike, tensors: dict[str, Tensor], about: dict[str, str]) -> None:
    with new_file(path) as partial:
        save_file(tensors, partial, about)


def _load(
    path: str | os.PathLike | None, run: str, mine: Tensor, device: torch.device
) -> tuple[int, float, _State | None]:
    """How many epochs are done, the error of the last one, and the state after it."""
    if path is None or not Path(path).exists():
        return 0, 0.0, None
    with safe_open(path, "pt") as file:
        about = file.metadata() or {}
        if about.get("excise.keys") != run:
            raise ValueError(
                f"{os.fspath(path)} is of another run: other encodings, projection, sizes, seed or settings. Give the "
                "same arguments as then to go on with it, or another file."
            )
        return (
            int(about["epochs"]),
            float(about["error"]),
            _State(*(file.get_tensor(name)[mine].to(device) for name in ("keys", "counts"))),
        )


def whitening(vectors: Dataset, components: int) -> Tensor:
    """What takes encodings to their largest principal components, each of variance 1, `(hidden_size, components)`."""
    count, total, products = 0, torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for part in vectors.iter(1_024):
        rows = part[ENCODINGS].double()
        count, total, products = count + len(rows), total + rows.sum(0), products + rows.T @ rows
    mean = total / count
    variances, axes = torch.linalg.eigh(products / count - torch.outer(mean, mean))
    largest = variances[-components:].clamp_min(1e-12 * variances[-1].clamp_min(1e-30))
    return (axes[:, -components:] / largest.sqrt()).float()


def directions(components: int, bottleneck: KeyValueBottleneck, seed: int) -> Tensor:
    """Random directions, `(components, num_codebooks * key_dim)`, the same for the same seed."""
    width = bottleneck.config.num_codebooks * bottleneck.config.key_dim
    drawn = torch.randn(components, width, generator=torch.Generator().manual_seed(seed))
    return (drawn * components**-0.5).to(bottleneck.keys.device)
