"""What to cite."""

CODEUNLEARN = """\
@misc{wu2024codeunlearn,
  title         = {{CodeUnlearn}: Amortized Zero-Shot Machine Unlearning in Language Models Using Discrete Concept},
  author        = {Wu, YuXuan and Dossou, Bonaventure F. P. and Liu, Dianbo},
  year          = {2024},
  eprint        = {2410.10866},
  archivePrefix = {arXiv}
}"""
SPARSE_REPRESENTATIONS = """\
@misc{shah2023unlearning,
  title         = {Unlearning via Sparse Representations},
  author        = {Shah, Vedant and Tr{\\"a}uble, Frederik and Malik, Ashish and Larochelle, Hugo and Mozer, Michael and
                   Arora, Sanjeev and Bengio, Yoshua and Goyal, Anirudh},
  year          = {2023},
  eprint        = {2311.15268},
  archivePrefix = {arXiv}
}"""
EXCISE = """\
@software{{excise,
  title   = {{excise: machine unlearning for transformers models through discrete bottlenecks}},
  author  = {{{{The excise authors}}}},
  version = {{{version}}}
}}"""
PAPERS = {"codebook": CODEUNLEARN, "key_value": SPARSE_REPRESENTATIONS}


def citations(kinds: set[str], version: str) -> str:
    """BibTeX of the methods' papers and of excise.

    Args:
        kinds: of the model's bottlenecks.
        version: of excise.
    """
    return "\n".join([*(PAPERS[kind] for kind in sorted(kinds)), EXCISE.format(version=version)])
