import copy
import dataclasses

import pytest
import torch
from excise import Unlearner
from excise.evaluation import Evaluation, evaluate, generate_texts
from excise.evaluation import evaluate as _  # noqa: F401
from excise.selection import Selection

SITE = "encoder.block.1"
