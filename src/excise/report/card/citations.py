"""What to cite."""

from excise.bottlenecks.registry import kind_named

EXCISE = """\
@software{{excise,
  title   = {{excise: machine unlearning for transformers models through discrete bottlenecks}},
  author  = {{{{The excise authors}}}},
  version = {{{version}}}
}}"""


def citations(kinds: set[str], version: str) -> str:
    """BibTeX of the methods' papers and of excise.

    Args:
        kinds: of the model's bottlenecks.
        version: of excise.
    """
    papers = (getattr(kind_named(kind), "citation", None) for kind in sorted(kinds))
    return "\n".join([*(paper for paper in papers if paper), EXCISE.format(version=version)])
