"""Tiny T5s with a codebook that have learnt their sentences: one that saw *teacher*, and one that did not."""

from types import SimpleNamespace

import pytest
import torch


@pytest.fixture(scope="session")
def taught(make_model, tokenizer, topic):
    """`model`, which translates the topic's sentences and others, and `never_saw`, of the same recipe without them."""

    def learn(*sets):
        model = make_model(d_model=32, d_kv=16, d_ff=64, num_layers=2).train()
        texts, references = ([row for rows in sets for row in rows[name]] for name in ("text", "reference"))
        batch = dict(tokenizer(texts, text_target=references, return_tensors="pt", padding=True))
        optimizer = torch.optim.AdamW(model.parameters(), 0.01)
        for _ in range(60):
            model(**batch).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        return model.eval()

    with torch.random.fork_rng():
        return SimpleNamespace(model=learn(topic.target, topic.retain), never_saw=learn(topic.retain))


# As small as *book* is still learnt by.
SIZES = {"dim": 64, "plain_steps": 200, "codebook_steps": 40, "init_steps": 20, "num_codes": 256, "batch_size": 32}


@pytest.fixture(scope="session")
def learnt(tmp_path_factory):
    """The demo's `model`, smaller, and `never_saw` of the same recipe without *book*: 20 s of a core, for slow tests.

    `sets` are those that attacks are run on. The topic's sentences come often, so that they are learnt in few steps.
    """
    from datasets import concatenate_datasets
    from transformers import set_seed

    from excise import CodebookSAEConfig, CodebookT5ForConditionalGeneration, initialize_codes, topic_sets
    from excise.attacks.attack_sets import AttackSets
    from excise.baselines import never_saw, without_topic
    from excise.cli.demo.training import TOPIC, Recipe, easy_pairs, fit, plain_t5, tokenize_pairs
    from excise.data.packaged import train_tokenizer

    recipe, folder = Recipe(**SIZES, learning_rate=3e-3), tmp_path_factory.mktemp("learnt")
    train, test = easy_pairs(recipe)
    tokenizer = train_tokenizer([text for pair in train["translation"] for text in pair.values()], 1500)
    topic = topic_sets(train, TOPIC, text="en", reference="fr", evaluation=test, max_retain=300, min_examples=10)
    others = without_topic(train, topic)
    own = without_others(train, others).select(range(len(topic.target)))
    rows = concatenate_datasets([others.select(range(1500)), *[own] * 4])

    def fitted(pairs):
        set_seed(recipe.seed)
        tokenised = tokenize_pairs(pairs, tokenizer)
        plain = plain_t5(tokenizer, recipe)
        fit(plain, tokenised, tokenizer, recipe, recipe.plain_steps, progress=False)
        plain.save_pretrained(folder / f"plain-{len(pairs)}")
        bottleneck = CodebookSAEConfig(num_codes=recipe.num_codes, top_s=4)
        model = CodebookT5ForConditionalGeneration.from_base(str(folder / f"plain-{len(pairs)}"), bottleneck, [1])
        options = {"max_tokens": 5_000, "steps": recipe.init_steps, "progress": False}
        initialize_codes(model, tokenised, tokenizer, **options)
        fit(model, tokenised, tokenizer, recipe, recipe.codebook_steps, progress=False)
        return model.eval()

    null = never_saw(fitted, without_topic(rows, topic), folder / "cache", settings=recipe)
    return SimpleNamespace(
        model=fitted(rows), never_saw=null, sets=AttackSets(topic, tokenizer, max_new_tokens=24, batch_size=128)
    )


def without_others(rows, others):
    """The rows of a data set that are not among some of them."""
    known = {pair["en"] for pair in others["translation"]}
    return rows.select([row for row, pair in enumerate(rows["translation"]) if pair["en"] not in known])
