"""What is shown while a verb works."""


def hide_library_bars() -> None:
    """Hides the bars that libraries show by themselves; excise's own are made or not, as asked."""
    from datasets import disable_progress_bars
    from transformers.utils import logging

    disable_progress_bars()
    logging.disable_progress_bar()
