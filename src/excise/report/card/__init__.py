"""Model card of an unlearned model, made of its record."""

from excise.report.card.card import model_card

__all__ = ["model_card"]
