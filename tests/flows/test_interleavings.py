"""Random interleavings of what people do with a model: no removed code fires, and no deleted row is written.

With the guard switched off the same machine finds that codes come back, by each of the ways that it knows.
"""

import copy
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch
from weakref import WeakSet

import hypothesis.strategies as st
import pytest
import torch
from accelerate import load_checkpoint_in_model
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from safetensors.torch import load_file

from excise import CodebookT5ForConditionalGeneration, MaskMismatchError, Unlearner
from excise.bottlenecks.site import bottlenecks
from excise.codes.selection import Selection
from tests.helpers.tiny import batch, codebook_t5

# What is put right is told; tests/training/test_guarding.py asks for the words.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
WAYS = ("load_state_dict", "part", "average", "state to save", "resume", "dispatch", "train", "buffer", "merge")
# By these nothing ever came back.
HARMLESS = ("from_pretrained", "copy", "undo", "remember")
WEIGHTS = "model.safetensors"
SITE = "encoder.block.0"
SMALL = {"num_layers": 1, "num_decoder_layers": 1}


def way(name):
    """A rule that is tried only where the machine is to know this way."""
    return precondition(lambda self: name in self.ways)


class Interleavings(RuleBasedStateMachine):
    """A model, what its owner knows to be removed, and everything older that is still about."""

    ways = WAYS + HARMLESS

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.saved, self.states = [], []

    @initialize(seed=st.integers(0, 3), optimizer=st.sampled_from(["AdamW", "SGD", "Adafactor", "RMSprop"]))
    def start(self, seed, optimizer):
        torch.manual_seed(seed)
        self.model = codebook_t5(layers=(0,), t5=SMALL)
        self.removed: dict[int, tuple[str, frozenset[int]]] = {}
        self.optimizer_name = optimizer
        self._new_optimizer()
        self.remember()
        self.save()

    def teardown(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    # What is asked for

    @rule(codes=st.frozensets(st.integers(0, 39), min_size=1, max_size=3), kind=st.sampled_from(["mask", "delete"]))
    def request(self, codes, kind):
        if len(self.gone() | codes) > 30:
            return
        request = getattr(Unlearner(self.model, None), kind)(Selection({SITE: sorted(codes)}), "topic")
        self.removed[request.id] = kind, codes

    @precondition(lambda self: "undo" in self.ways and any(kind == "mask" for kind, _ in self.removed.values()))
    @rule(data=st.data())
    def undo(self, data):
        number = data.draw(st.sampled_from([n for n, (kind, _) in self.removed.items() if kind == "mask"]))
        if self.removed[number][1] <= self.gone("delete"):
            return  # nothing would come back
        Unlearner(self.model, None).undo(number)
        del self.removed[number]

    # What happens besides

    @way("train")
    @rule(steps=st.integers(1, 2))
    def train(self, steps):
        codebook = bottlenecks(self.model)[SITE].codebook
        for _ in range(steps):
            # Every row has a gradient, and so momentum, until its code is removed.
            live = bottlenecks(self.model)[SITE].live
            (self.model(**batch()).loss + (codebook - 1)[live].square().sum()).backward()
            self.optimizer.step()
            self.optimizer.zero_grad()

    @way("remember")
    @rule()
    def remember(self):
        self.states.append(copy.deepcopy(self.model.state_dict()))

    @way("load_state_dict")
    @rule(data=st.data(), strict=st.booleans())
    def load(self, data, strict):
        state = data.draw(st.sampled_from(range(len(self.states))))
        self.refusable(lambda: self.model.load_state_dict(self.states[state], strict=strict))

    @way("part")
    @rule(data=st.data())
    def load_part(self, data):
        state = self.states[data.draw(st.sampled_from(range(len(self.states))))]
        part = {name.removeprefix("encoder."): t for name, t in state.items() if name.startswith("encoder.")}
        self.refusable(lambda: self.model.encoder.load_state_dict(part))

    @way("average")
    @rule(data=st.data(), share=st.sampled_from([0.5, 1.0]))
    def average(self, data, share):
        state = self.states[data.draw(st.sampled_from(range(len(self.states))))]
        for name, parameter in self.model.named_parameters():
            parameter.data.lerp_(state[name], share)

    @way("buffer")
    @rule()
    def all_live(self):
        bottlenecks(self.model)[SITE].live = torch.ones(40, dtype=torch.bool)

    @way("merge")
    @rule()
    def merge(self):
        codebook = bottlenecks(self.model)[SITE].codebook  # as a LoRA on it does
        codebook.data += torch.outer(torch.linspace(0.1, 0.2, len(codebook)), torch.ones(codebook.shape[1]))

    @way("resume")
    @rule(data=st.data())
    def resume(self, data):
        folder, _ = data.draw(st.sampled_from(self.saved))
        self.refusable(lambda: self.model.load_state_dict(load_file(folder / WEIGHTS), strict=False))
        self.model.tie_weights()

    @way("dispatch")
    @rule(data=st.data())
    def dispatch(self, data):
        folder, _ = data.draw(st.sampled_from(self.saved))
        load_checkpoint_in_model(self.model, str(folder / WEIGHTS), device_map={"": "cpu"})
        self.model.tie_weights()
        self._new_optimizer()

    @way("from_pretrained")
    @rule(data=st.data())
    def from_pretrained(self, data):
        folder, removed = data.draw(st.sampled_from(self.saved))
        self.model = CodebookT5ForConditionalGeneration.from_pretrained(folder)
        self.removed = dict(removed)
        self._new_optimizer()

    @way("copy")
    @rule()
    def copy(self):
        self.model = copy.deepcopy(self.model)
        self._new_optimizer()

    # What must not be

    @rule(given=st.booleans(), data=st.data())
    def save(self, given=False, data=None):
        folder = self.folder / str(len(self.saved))
        options = {}
        if given and data is not None and "state to save" in self.ways:
            options["state_dict"] = self.states[data.draw(st.sampled_from(range(len(self.states))))]
        if not self.refusable(lambda: self.model.save_pretrained(folder, **options)):
            return
        weights = {name.removeprefix("excise."): t for name, t in load_file(folder / WEIGHTS).items()}
        site = next(name for name in weights if name.endswith("bottleneck.live")).removesuffix("live")
        assert not weights[site + "live"][sorted(self.gone())].any()
        assert not weights[site + "codebook"][sorted(self.gone("delete"))].any()
        assert (~weights[site + "live"]).sum() == len(self.gone())
        self.saved.append((folder, dict(self.removed)))

    @rule()
    def run(self):
        outputs = []
        if self.refusable(lambda: outputs.append(self.model.eval()(**batch()))):
            assert not self.gone() & set(outputs[0].codes[SITE].unique().tolist())
            state = self.model.state_dict()  # what whoever writes it reads
            codebook = next(tensor for name, tensor in state.items() if name.endswith("bottleneck.codebook"))
            assert not codebook[sorted(self.gone("delete"))].any()

    def refusable(self, action) -> bool:
        """Whether something was done; what is refused leaves the last state that was not."""
        before = copy.deepcopy(self.model)
        try:
            action()
        except MaskMismatchError:
            self.model = before
            self._new_optimizer()
            return False
        return True

    def gone(self, *kinds) -> set[int]:
        """The codes that are removed."""
        return set().union(*(codes for kind, codes in self.removed.values() if not kinds or kind in kinds))

    def _new_optimizer(self) -> None:
        options = {"momentum": 0.9} if self.optimizer_name in ("SGD", "RMSprop") else {}
        self.optimizer = getattr(torch.optim, self.optimizer_name)(self.model.parameters(), lr=0.01, **options)


def play(machine, runs, steps, phases=tuple(Phase)) -> None:
    options = {
        "phases": phases,
        "derandomize": True,
        "deadline": None,
        "suppress_health_check": list(HealthCheck),
        "database": None,
    }
    run_state_machine_as_test(machine, settings=settings(max_examples=runs, stateful_step_count=steps, **options))


def test_nothing_that_was_removed_comes_back():
    play(Interleavings, 15, 10)


@pytest.mark.slow
def test_nothing_that_was_removed_comes_back_in_many_runs():
    play(Interleavings, 300, 15)


@pytest.mark.slow
@pytest.mark.parametrize("name", WAYS)
def test_without_the_guard_the_machine_finds_every_way_back(name):
    with ExitStack() as switched_off:
        for target, value in {
            "excise.bottlenecks.guard.differences": lambda *_: "",
            "excise.ledger.masks.check_masks": lambda *_: None,
            "excise.models.bottlenecked.upheld_state": lambda _, state: dict(state),
            "excise.ledger.optimizers.WITH_DELETED": WeakSet(),
            "excise.unlearner.clearable_optimizers": lambda *_: [],
        }.items():
            switched_off.enter_context(patch(target, value))
        with pytest.raises((AssertionError, MaskMismatchError)):
            play(type("OneWay", (Interleavings,), {"ways": (name,)}), 600, 10, [Phase.generate])
