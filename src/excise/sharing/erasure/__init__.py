"""Erasure: rows that must be nowhere, and the places where they still are."""

from excise.sharing.erasure.rows import ErasedRows, Leftover

__all__ = ["ErasedRows", "Leftover"]
