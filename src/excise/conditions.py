"""The conditions under which a model is evaluated, by the names that evaluations have for them."""

BEFORE, CUT, AFTER, RANDOM, REFERENCE = "before", "word cut out", "after", "random codes", "reference model"
# Those that do not depend on which codes are removed.
FIXED = (BEFORE, CUT, REFERENCE)
