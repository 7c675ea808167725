"""Transformers models with bottlenecks, one folder each."""
