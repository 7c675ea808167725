"""Attacks on erased embedding rows."""

import copy
import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSeq2SeqLM

from excise import Ledger, MaskMismatchError, Selection, Unlearner
from excise.ledger.embeddings import rows_left, vocabulary_tables
from excise.ledger.masks import enforce
from excise.deletion import drop_erased_pieces

SITE = "encoder.block.1"
CODES = Selection({SITE: (3, 4, 5)}, {"q": 0.05})


def deleted(make_model, tokenizer, topic, **options):
    unlearner = Unlearner(make_model(), tokenizer)
    request = unlearner.delete(CODES, topic, **options)
    return unlearner, torch.tensor(request.rows["shared.weight"])


def test_untied_head(make_model, tokenizer, topic, tmp_path):
    old = make_model().shared.weight.detach().clone()
    u, rows = deleted(make_model, tokenizer, topic)
    u.model.lm_head.weight = torch.nn.Parameter(old)
    u.model.config.tie_word_embeddings = False
    with pytest.warns(UserWarning, match="embedding rows were back"):
        u.save_pretrained(tmp_path / "s")
    state = load_file(tmp_path / "s/model.safetensors")
    for k, v in state.items():
        if v.shape == old.shape:
            print(k, rows_left(v, rows))
            assert not rows_left(v, rows)


def test_untied_between_mask_and_delete(make_model, tokenizer, topic, tmp_path):
    u = Unlearner(make_model(), tokenizer)
    m = u.mask(CODES, topic)
    u.model.lm_head.weight = torch.nn.Parameter(u.model.shared.weight.detach().clone())
    u.model.config.tie_word_embeddings = False
    r = u.delete_request(m)
    rows = torch.tensor(m.rows["shared.weight"])
    assert not rows_left(u.model.lm_head.weight, rows)


def test_untied_between_mask_and_bundle(make_model, tokenizer, topic, tmp_path):
    u = Unlearner(make_model(), tokenizer)
    m = u.mask(CODES, topic)
    u.model.lm_head.weight = torch.nn.Parameter(u.model.shared.weight.detach().clone())
    u.model.config.tie_word_embeddings = False
    rows = torch.tensor(m.rows["shared.weight"])
    u.save_bundle(tmp_path / "b", remote_code=False)
    for k, v in load_file(tmp_path / "b/model.safetensors").items():
        if v.shape == u.model.shared.weight.shape:
            assert not rows_left(v, rows), k


def test_tied_between_mask_and_delete(make_model, tokenizer, topic, tmp_path):
    model = make_model()
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    u = Unlearner(model, tokenizer)
    m = u.mask(CODES, topic)
    model.lm_head.weight = model.shared.weight
    u.save_bundle(tmp_path / "b", remote_code=False)
    r = u.delete_request(m)
    u.save_pretrained(tmp_path / "s")


def test_deleted_untied_then_tied_saves(make_model, tokenizer, topic, tmp_path):
    model = make_model()
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    u = Unlearner(model, tokenizer)
    m = u.delete(CODES, topic)
    model.lm_head.weight = model.shared.weight
    u.save_pretrained(tmp_path / "s")
    AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "s")


@pytest.mark.parametrize("size", [64, 30, 26])
def test_resize_grow(make_model, tokenizer, topic, tmp_path, size):
    u, rows = deleted(make_model, tokenizer, topic)
    print(len(u.model.shared.weight), rows)
    u.model.resize_token_embeddings(size, mean_resizing=False)
    u.save_pretrained(tmp_path / "s")
    again = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "s")
    assert not rows_left(again.shared.weight, rows)


def test_resize_then_old_rows_written(make_model, tokenizer, topic, tmp_path):
    old = make_model().shared.weight.detach().clone()
    u, rows = deleted(make_model, tokenizer, topic)
    u.model.resize_token_embeddings(30)
    with torch.no_grad():
        u.model.shared.weight[: len(old)] = old
    with pytest.warns(UserWarning, match="rows were back"):
        u.model.generate(**tokenizer(["the teacher ."], return_tensors="pt"), max_new_tokens=2)
    assert not rows_left(u.model.shared.weight, rows)


def test_resize_shrink(make_model, tokenizer, topic, tmp_path):
    u, rows = deleted(make_model, tokenizer, topic)
    u.model.resize_token_embeddings(int(rows.max()))
    with pytest.raises(MaskMismatchError, match="all from 0 to"):
        u.save_pretrained(tmp_path / "s")


def test_resize_train_save(make_model, tokenizer, topic, tmp_path):
    u, rows = deleted(make_model, tokenizer, topic)
    m = u.model
    m.resize_token_embeddings(30)
    opt = torch.optim.AdamW(m.parameters(), lr=0.05)
    b = tokenizer(["the cat sees a dog ."], text_target=["le livre lit ."], return_tensors="pt")
    for _ in range(5):
        m(**{k: v for k, v in b.items() if k != "token_type_ids"}).loss.backward()
        opt.step(); opt.zero_grad()
    u.save_pretrained(tmp_path / "s")
    AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "s")


@pytest.mark.parametrize("bad", [[-1], [-(10**15)], list(range(24)), [10**15], ["5"], [5, 5], [True]])
@pytest.mark.parametrize("kind", ["delete", "mask"])
def test_hostile_ledger(make_model, tokenizer, topic, tmp_path, bad, kind):
    u = Unlearner(make_model(), tokenizer)
    getattr(u, kind)(CODES, topic)
    size = len(u.model.shared.weight)
    bad = list(range(size)) if len(bad) == 24 else bad
    u.save_pretrained(tmp_path / "s")
    f = tmp_path / "s/config.json"
    c = json.loads(f.read_text())
    c["unlearning"]["requests"][0]["rows"] = {"shared.weight": bad}
    f.write_text(json.dumps(c))
    try:
        m = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "s")
    except MaskMismatchError as e:
        print("refused", e)
        return
    if kind == "delete":
        assert bad == [5, 5]
    v = Unlearner(m, tokenizer)
    before = copy.deepcopy({k: t for k, t in v.model.state_dict().items()})
    config = json.dumps(v.model.config.unlearning)
    try:
        v.save_bundle(tmp_path / "b", remote_code=False)
    except ValueError as e:
        print("bundle refused:", e)
    try:
        v.delete_request(1)
    except ValueError as e:
        print("refused:", e)
        if kind == "mask":
            assert config == json.dumps(v.model.config.unlearning)
            for k, t in v.model.state_dict().items():
                assert torch.equal(before[k], t), k


@pytest.mark.parametrize("kind", ["delete", "mask"])
def test_hostile_table(make_model, tokenizer, topic, tmp_path, kind):
    u = Unlearner(make_model(), tokenizer)
    getattr(u, kind)(CODES, topic)
    u.save_pretrained(tmp_path / "s")
    f = tmp_path / "s/config.json"
    c = json.loads(f.read_text())
    c["unlearning"]["requests"][0]["rows"] = {"nope.weight": [5]}
    f.write_text(json.dumps(c))
    try:
        m = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "s")
    except MaskMismatchError as e:
        print("refused", e)
        return
    assert kind == "mask"
    v = Unlearner(m, tokenizer)
    with pytest.raises(ValueError):
        v.save_bundle(tmp_path / "b", remote_code=False)
    with pytest.raises(ValueError):
        v.delete_request(1)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_in_another_row_hides(make_model, tokenizer, topic, tmp_path, value):
    old = make_model().shared.weight.detach().clone()
    u, rows = deleted(make_model, tokenizer, topic)
    u.save_pretrained(tmp_path / "s")
    f = tmp_path / "s/model.safetensors"
    state = load_file(f)
    name = next(n for n in state if n.endswith("shared.weight"))
    state[name] = old.clone()
    state[name][2, 0] = value
    save_file(state, f, metadata={"format": "pt"})
    with pytest.raises(MaskMismatchError):
        AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "s")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_in_own_row(make_model, tokenizer, topic, tmp_path, value):
    m = make_model()
    t = tokenizer.convert_tokens_to_ids("teacher")
    with torch.no_grad():
        m.shared.weight[t] = value
    u = Unlearner(m, tokenizer)
    u.delete(CODES, topic)
    assert m.shared.weight.isfinite().all()


def test_nan_elsewhere_at_deletion(make_model, tokenizer, topic, tmp_path):
    m = make_model()
    with torch.no_grad():
        m.shared.weight[2] = float("nan")
    u = Unlearner(m, tokenizer)
    before = m.shared.weight.clone()
    live = m.state_dict()[f"{SITE}.bottleneck.live"].clone() if f"{SITE}.bottleneck.live" in m.state_dict() else None
    with pytest.raises(ValueError, match="finite"):
        u.delete(CODES, topic)
    assert torch.equal(before.nan_to_num(7), m.shared.weight.nan_to_num(7))
    assert not u.ledger.requests


def test_average_residue(make_model, tokenizer, topic, tmp_path):
    old = make_model().shared.weight.detach().clone()
    u, rows = deleted(make_model, tokenizer, topic)
    new = u.model.shared.weight.detach()
    avg = {k: v.clone() for k, v in u.model.state_dict().items()}
    for k, v in avg.items():
        if v.shape == old.shape:
            v.copy_(0.97 * new + 0.03 * old)
    u.model.save_pretrained(tmp_path / "s", state_dict=avg)
    state = load_file(tmp_path / "s/model.safetensors")
    name = next(n for n in state if n.endswith("shared.weight"))
    got = state[name][rows] - new[rows]
    cos = torch.nn.functional.cosine_similarity(got, old[rows] - new[rows])
    print(cos)
    assert (cos.abs() < 0.9).all() or got.abs().max() < 1e-4


def test_given_optimizer_with_loaded_state(make_model, tokenizer, topic, tmp_path):
    a = make_model()
    opt = torch.optim.AdamW(a.parameters(), lr=0.01)
    b = tokenizer(list(topic.target["text"]), text_target=list(topic.target["reference"]), return_tensors="pt")
    b = {k: v for k, v in b.items() if k != "token_type_ids"}
    a(**b).loss.backward(); opt.step()
    m = make_model()
    other = torch.optim.AdamW(m.parameters(), lr=0.01)
    other.load_state_dict(copy.deepcopy(opt.state_dict()))
    u = Unlearner(m, tokenizer)
    r = u.delete(CODES, topic, optimizer=other)
    rows = torch.tensor(r.rows["shared.weight"])
    assert not other.state[m.shared.weight]["exp_avg"][rows].any()


def test_lbfgs_on_embeddings_only(make_model, tokenizer, topic):
    m = make_model()
    opt = torch.optim.LBFGS([m.shared.weight], max_iter=2)
    b = tokenizer(list(topic.target["text"]), text_target=list(topic.target["reference"]), return_tensors="pt")
    b = {k: v for k, v in b.items() if k != "token_type_ids"}
    def closure():
        opt.zero_grad(); loss = m(**b).loss; loss.backward(); return loss
    opt.step(closure)
    u = Unlearner(m, tokenizer)
    with pytest.raises(ValueError, match="LBFGS"):
        u.delete(CODES, topic)
    assert not u.ledger.requests


def test_torch_save_after_overwriting(make_model, tokenizer, topic, tmp_path):
    old = make_model().shared.weight.detach().clone()
    u, rows = deleted(make_model, tokenizer, topic)
    with torch.no_grad():
        u.model.shared.weight.copy_(old)
    with pytest.warns(UserWarning, match="rows were back"):
        torch.save(u.model, tmp_path / "m.pt")
    m = torch.load(tmp_path / "m.pt", weights_only=False)
    assert not rows_left(m._parameters.get("x", m.shared.weight), rows)


def test_deepcopy_trained(make_model, tokenizer, topic, tmp_path, recwarn):
    u, rows = deleted(make_model, tokenizer, topic)
    m = copy.deepcopy(u.model)
    opt = torch.optim.AdamW(m.parameters(), lr=0.05)
    b = tokenizer(["the cat sees a dog ."], text_target=["le livre lit ."], return_tensors="pt")
    for _ in range(5):
        m(**{k: v for k, v in b.items() if k != "token_type_ids"}).loss.backward()
        opt.step(); opt.zero_grad()
    assert not [w for w in recwarn if "back" in str(w.message)], [str(w.message) for w in recwarn]


@pytest.mark.parametrize("where", ["disk", "cpu"])
def test_offload(make_model, tokenizer, topic, tmp_path, where):
    old = make_model().shared.weight.detach().clone()
    u, rows = deleted(make_model, tokenizer, topic)
    u.save_pretrained(tmp_path / "s")
    device_map = {"shared": where, "encoder": where, "decoder": where, "lm_head": where}
    ok = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "s", device_map=device_map, offload_folder=str(tmp_path / "o"))
    print(ok.shared.weight.device)
    ok.generate(**tokenizer(["the cat ."], return_tensors="pt"), max_new_tokens=2)
    f = tmp_path / "s/model.safetensors"
    state = load_file(f)
    name = next(n for n in state if n.endswith("shared.weight"))
    state[name] = old.clone()
    save_file(state, f, metadata={"format": "pt"})
    with pytest.raises(MaskMismatchError):
        AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "s", device_map=device_map, offload_folder=str(tmp_path / "o2"))


def test_bf16_with_offset(make_model, tokenizer, topic, tmp_path):
    m = make_model()
    with torch.no_grad():
        m.shared.weight.mul_(0.02).add_(1)
    u = Unlearner(m, tokenizer)
    u.delete(CODES, topic)
    u.save_pretrained(tmp_path / "s")
    AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "s", dtype=torch.bfloat16)


def test_drop_pieces_keeps_planned_rows(make_model, tokenizer, topic, tmp_path):
    u = Unlearner(make_model(), tokenizer)
    from dataclasses import replace
    d = u.delete(CODES, topic)
    cat = tokenizer.convert_tokens_to_ids("maison")
    ledger = u.ledger.add("mask", "house", {SITE: (9,)}, rows={"shared.weight": (cat,)})
    enforce(u.model, ledger)
    smaller = drop_erased_pieces(u.model, tokenizer)
    r = Ledger.from_dict(u.model.config.unlearning).requests[1]
    assert r.rows == {"shared.weight": (smaller.convert_tokens_to_ids("maison"),)}


def test_depth_distilled(make_model, tokenizer, topic):
    u = Unlearner(make_model(), tokenizer)
    with pytest.raises(ValueError):
        print(u.delete(CODES, topic, depth="distilled").depth)


def test_tokens_beyond_table(make_model, tokenizer, topic, tmp_path):
    t = copy.deepcopy(tokenizer)
    m = make_model(vocab_size=tokenizer.convert_tokens_to_ids("professeur"))
    u = Unlearner(m, t)
    r = u.mask(CODES, topic)
    print(r.rows)
    u.delete_request(r)


def test_padded(make_model, tokenizer, topic, tmp_path):
    m = make_model(vocab_size=128)
    u = Unlearner(m, tokenizer)
    r = u.delete(CODES, topic)
    assert r.num_rows == 2
    u.save_pretrained(tmp_path / "s")
    Unlearner.from_pretrained(tmp_path / "s")


def test_base_alone(make_model, tokenizer, topic, tmp_path):
    m = make_model()
    from transformers import T5ForConditionalGeneration, T5Config
    base = T5ForConditionalGeneration(T5Config(**{k: v for k, v in m.config.to_dict().items() if k in T5Config().to_dict() and k not in ("model_type", "architectures", "unlearning")}))
    base.load_state_dict({k: v for k, v in m.state_dict().items() if "bottleneck" not in k})
    base.save_pretrained(tmp_path / "base")
    u = Unlearner(m, tokenizer)
    u.mask(CODES, topic)
    with pytest.raises(ValueError) as e:
        u.save_bundle(tmp_path / "b", base=(tmp_path / "base", None), remote_code=False)
    print(e.value)
    u.delete_request(1)
    with pytest.raises(ValueError) as e:
        u.save_bundle(tmp_path / "b", base=(tmp_path / "base", None), remote_code=False)
    print(e.value)
    u2 = Unlearner(make_model(), tokenizer)
    u2.delete(CODES, topic, depth="codes")
    u2.save_bundle(tmp_path / "b", base=(tmp_path / "base", None), remote_code=False)


def lora(model, **kw):
    from peft import LoraConfig, get_peft_model
    return get_peft_model(model, LoraConfig(r=2, **kw))


@pytest.mark.parametrize("kw", [dict(target_modules=["q"], modules_to_save=["bottleneck"]), dict(target_modules=["q", "shared"], modules_to_save=["bottleneck"]), dict(target_modules=["q"], modules_to_save=["bottleneck", "shared", "lm_head"])])
def test_peft(make_model, tokenizer, topic, tmp_path, kw):
    make_model().save_pretrained(tmp_path / "base")
    m = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "base")
    old = m.shared.weight.detach().clone()
    tokenizer.save_pretrained(tmp_path / "base")
    w = lora(m, **kw)
    with torch.no_grad():
        for n, p in w.named_parameters():
            if "lora" in n:
                p.copy_(torch.randn_like(p))
    u = Unlearner(w, tokenizer)
    r = u.delete(CODES, topic)
    print(r.rows)
    rows = torch.tensor(next(iter(r.rows.values())))
    ids = torch.arange(25)
    eff = u.model.get_input_embeddings()(ids)
    print("left effective", rows_left(eff, rows))
    u.save_pretrained(tmp_path / "s")
    for f in (tmp_path / "s").glob("*.safetensors"):
        for k, v in load_file(f).items():
            if 25 in v.shape: print(k, v.shape, rows_left(v, rows) if v.shape[0] == 25 else v[:, rows])
    again = Unlearner.from_pretrained(tmp_path / "s")
    eff = again.model.get_input_embeddings()(ids)
    print("left effective again", rows_left(eff, rows))
    merged = Unlearner(again.whole.merge_and_unload(), tokenizer)
    merged.save_pretrained(tmp_path / "m")
    third = Unlearner.from_pretrained(tmp_path / "m")
    print("left merged", rows_left(third.model.shared.weight, rows))
    assert not rows_left(third.model.shared.weight, rows)


def test_threads(make_model, tokenizer, topic):
    import threading
    u, rows = deleted(make_model, tokenizer, topic)
    old = make_model().shared.weight.detach()
    b = tokenizer(["the teacher ."], return_tensors="pt")
    errors = []
    def run():
        try:
            for _ in range(5):
                u.model.generate(**b, max_new_tokens=2)
        except Exception as e:
            errors.append(e)
    ts = [threading.Thread(target=run) for _ in range(2)]
    [t.start() for t in ts]; [t.join() for t in ts]
    assert not errors
    assert not rows_left(u.model.shared.weight, rows)


def test_private_tells_nothing(make_model, tokenizer, topic, tmp_path, caplog):
    u = Unlearner(make_model(), tokenizer)
    r = u.delete(CODES, topic, private=True)
    assert r.rows == {} and "rows" not in r.thresholds
    assert "teacher" not in json.dumps(u.model.config.unlearning)
    u = Unlearner(make_model(), tokenizer)
    r = u.mask(CODES, topic.private_as("a") if hasattr(topic, "private_as") else topic)
    print(r, r.rows, r.thresholds)


def test_one_and_none(make_model, tokenizer, topic, caplog):
    from excise.deletion import choose_rows
    from tests.deletion.test_rows import _with
    one = _with(topic, target=topic.target.select([0]), retain=topic.retain.select([0]))
    print(choose_rows(make_model(), tokenizer, one).reason)
    none = _with(topic, target=topic.target.select([]))
    print(choose_rows(make_model(), tokenizer, none, words=["professeur"]))
    try:
        print(choose_rows(make_model(), tokenizer, none))
    except ValueError as e:
        print("refused", e)
    none = _with(topic, retain=topic.retain.select([]))
    print(choose_rows(make_model(), tokenizer, none, words=["professeur"]))


def test_overlap(make_model, tokenizer, topic, tmp_path):
    u, rows = deleted(make_model, tokenizer, topic)
    m = u.mask(Selection({SITE: (7,)}), topic)
    print(m.rows)
    u.undo(m)
    r = u.delete(Selection({SITE: (8, 3)}), topic)
    u.compact()
    u.save_bundle(tmp_path / "b", compact=False)
    Unlearner.from_pretrained(tmp_path / "b")
    for d in (torch.bfloat16, torch.float16):
        AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "b", dtype=d)


def test_assign(make_model, tokenizer, topic, tmp_path):
    old = {k: v.clone() for k, v in make_model().state_dict().items()}
    u, rows = deleted(make_model, tokenizer, topic)
    with pytest.warns(UserWarning):
        u.model.load_state_dict(old, assign=True)
    u.save_pretrained(tmp_path / "s")
    for k, v in load_file(tmp_path / "s/model.safetensors").items():
        if v.shape == old["shared.weight"].shape:
            assert not rows_left(v, rows)


def test_remote_code(make_model, tokenizer, topic, tmp_path):
    import subprocess, sys, os
    u, rows = deleted(make_model, tokenizer, topic)
    u.save_bundle(tmp_path / "b")
    import shutil
    shutil.copytree(tmp_path / "b", tmp_path / "t")
    f = tmp_path / "t/model.safetensors"
    s = load_file(f)
    n = next(k for k in s if k.endswith("shared.weight"))
    s[n] = make_model().shared.weight.detach().clone()
    save_file(s, f, metadata={"format": "pt"})
    b = dict(tokenizer(["the teacher ."], return_tensors="pt")); b.pop("token_type_ids", None); b["labels"] = b["input_ids"]
    torch.save(b, tmp_path / "i.pt")
    (tmp_path / "c.json").write_text(json.dumps({"x": {"auto": "AutoModelForSeq2SeqLM", "folder": str(tmp_path / "b"), "inputs": str(tmp_path / "i.pt"), "saved": str(tmp_path / "sv"), "tampered": str(tmp_path / "t")}}))
    p = subprocess.run([sys.executable, "tests/helpers/without_excise.py", str(tmp_path / "c.json"), str(tmp_path / "o.pt")], capture_output=True, text=True)
    assert p.returncode == 0, p.stderr[-3000:]
    out = torch.load(tmp_path / "o.pt", weights_only=False)["x"]
    print(out.get("refused"))
    assert out["refused"] == "MaskMismatchError"
    with torch.no_grad():
        assert torch.allclose(out["output"], u.model(**b).logits)
