from excise import Unlearner
from excise.codes.meanings.tokens import code_tokens

SITE = "encoder.block.1"


def test_looking_a_code_up_leaves_the_model_in_the_mode_in_which_it_was(make_model, tokenizer):
    unlearner = Unlearner(make_model(), tokenizer)
    texts = ["the teacher reads a book .", "a cat sees the dog ."]
    found = code_tokens(unlearner, texts, SITE, 3, progress=False)
    assert not unlearner.model.training
    unlearner.model.train()
    assert code_tokens(unlearner, texts, SITE, 3, progress=False) == found
    assert unlearner.model.training
