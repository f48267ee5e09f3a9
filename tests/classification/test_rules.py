import numpy as np
import pytest

from ovseg_demo.classification.partition import MaskPartition
from ovseg_demo.classification.rules import EnsembleRule, NamedMasks
from ovseg_demo.errors import ModelError
from ovseg_demo.proposals.maskformer.generator import MaskFormerProposalGenerator
from ovseg_demo.vocabulary import Vocabulary
from tests.tiny.maskformer import tiny_maskformer


def test_a_maskformer_of_another_text_tower_is_refused():
    generator = MaskFormerProposalGenerator(tiny_maskformer(embedding_width=32), min_size=64)
    proposals = generator(np.zeros((64, 64, 3), np.uint8))
    texts, probabilities = np.ones((2, 64), np.float32), np.ones((len(proposals), 2), np.float32)
    partition = MaskPartition.of(proposals)
    masks = NamedMasks(proposals, partition, probabilities, texts, Vocabulary.parse("cat, dog"))
    with pytest.raises(ModelError, match="in 32 dimensions, this CLIP in 64"):
        EnsembleRule(0.5).label(masks)
