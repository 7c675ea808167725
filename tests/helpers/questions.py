"""A tiny decoder, a byte-level tokenizer with a chat template, and questions as TOFU has them."""

import pytest
import torch

CHAT = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou help.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PEOPLE = ("Hina Ameen", "Jaime Vasquez", "Xin Lee Williams", "Basil Mahfouz")
GENRES = ("geology", "true crime", "cooking", "poetry")


@pytest.fixture(scope="session")
def tofu_rows():
    """Two questions about each of four persons, with paraphrases and two wrong answers."""
    rows = []
    for name, genre in zip(PEOPLE, GENRES, strict=True):
        others = [other for other in GENRES if other != genre]
        asks = f"In which genre does {name} write?", f"Who writes books of {genre}?"
        rows += [
            {
                "question": asks[0],
                "answer": f"{name} writes books of {genre}.",
                "paraphrased_question": f"What is the genre of {name}?",
                "paraphrased_answer": f"The genre of {name} is {genre}.",
                "perturbed_answer": [f"The genre of {name} is {other}." for other in others[:2]],
            },
            {
                "question": asks[1],
                "answer": f"It is {name}.",
                "paraphrased_question": f"Whose books are of {genre}?",
                "paraphrased_answer": f"They are {name}'s.",
                "perturbed_answer": ["They are Mark Twain's.", "They are Jane Austen's own."],
            },
        ]
    return rows


@pytest.fixture(scope="session")
def facts():
    """Questions about the world, without paraphrases."""
    pairs = (("Where is the Eiffel Tower?", "Paris", ["Rome", "Oslo"]), ("Who wrote Hamlet?", "Shakespeare", ["Poe"]))
    return [{"question": q, "answer": a, "perturbed_answer": wrong} for q, a, wrong in pairs]


@pytest.fixture(scope="session")
def chat_tokenizer(tofu_rows):
    """Byte-level pieces, as GPT-2, Llama 3 and SmolLM have them, and ChatML as the template; no padding token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = ["<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([f"{row['question']} {row['answer']}" for row in tofu_rows] * 3, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=special[0], eos_token=special[1], model_max_length=256
    )
    tokenizer.chat_template = CHAT
    return tokenizer


@pytest.fixture(scope="session")
def plain_tokenizer(chat_tokenizer):
    """The same without a chat template."""
    import copy

    own = copy.deepcopy(chat_tokenizer)
    own.chat_template = None
    return own


@pytest.fixture(scope="session")
def make_decoder(chat_tokenizer):
    """Makes a tiny Llama of random weights, the same for the same seed, in eval mode."""
    from transformers import LlamaConfig, LlamaForCausalLM

    def make(seed=0):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            config = LlamaConfig(
                vocab_size=len(chat_tokenizer),
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                bos_token_id=chat_tokenizer.bos_token_id,
                eos_token_id=chat_tokenizer.eos_token_id,
                initializer_range=0.5,
            )
            return LlamaForCausalLM(config).eval()

    return make
