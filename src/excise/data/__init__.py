"""Topic sets and class sets: what is to be forgotten and what is to stay, read from data sets of texts or images."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "class_labels": ["class_labels"],
        "columns": ["read_column", "text_pairs"],
        "classes": ["ClassSets", "class_column", "class_sets"],
        "forget_sets": ["DigestKey", "ForgetSets"],
        "images": ["image_column", "label_column", "to_rgb"],
        "packaged": ["train_tokenizer"],
        "questions": ["PromptFormat", "QuestionSets", "question_inputs", "question_rows", "question_sets"],
        "reading": ["load_demo", "load_rows"],
        "topics": ["TopicSets", "null_sets", "topic_sets", "topic_words"],
    },
)
