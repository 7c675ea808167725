"""Plain functions on tensors and arrays: torch, numpy and scipy only, testable without a model."""
