"""Stage 2, image: the head from pooled features to the text tower's space, first untrained, then adapted.

The untrained start names regions by the classifier's own 1,000 classes, as ConSE does (Norouzi et al. 2013):
the hidden layer of the head *is* ImageNet's classifier, GELU lets its larger logits pass, and the last layer
adds up the text embeddings of their names. Adaptation to masks changes these two layers by labelled regions,
while ImageNet's sample with the classifier's own probabilities as targets, an anchor to the start, and the
averaging of weights with the start (Wortsman et al. 2022) keep the open vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from timm.layers import Mlp
from torch import Tensor

from ovseg_demo.training.photos.region_features import RegionFeatures

_GAIN, _THRESHOLD = 2.0, 1.7
"""Of the start's GELU: logits less the threshold, multiplied; by COCO's regions."""


@dataclass(frozen=True)
class NamingSettings:
    """Hyper-parameters of the adaptation.

    Attributes:
        steps, batch_size: of AdamW.
        learning_rate: at the peak of a half cosine.
        weight_decay: towards zero.
        scale: of the cosines in the losses.
        shares: of each source in a batch; "imagenet" has soft targets.
        anchor: weight of the distance to the start's embeddings on ImageNet's regions.
        keep: share of the start in the averaged weights.
        noise: relative deviation of the noise on features.
        seed: of everything random.
    """

    steps: int = 150
    batch_size: int = 512
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    scale: float = 30.0
    shares: Mapping[str, float] = field(
        default_factory=lambda: {
            "coco": 0.5,
            "camvid": 0.2,
            "bsds500": 0.15,
            "ccp": 0.08,
            "stamps": 0.07,
            "kinds": 0.1,
            "imagenet": 0.15,
        }
    )
    anchor: float = 2.0
    keep: float = 0.05
    noise: float = 0.1
    seed: int = 0


OWN_NAMES_OF_IMAGENET = "imagenet"
"""The source whose targets are the classifier's own probabilities."""


@dataclass(frozen=True)
class Labelled:
    """Regions of one source, and the names to choose from.

    Attributes:
        features: float32 (N, C).
        targets: float32 (N, K), probabilities of the names.
        texts: float32 (K, D), normalized text embeddings of the names.
        weights: float32 (N,), how often each region is drawn.
    """

    features: Tensor
    targets: Tensor
    texts: Tensor
    weights: Tensor

    @classmethod
    def of_names(cls, regions: RegionFeatures, names: Sequence[str], texts: Tensor) -> Labelled:
        """Return the regions that have one of these names.

        Rare names are drawn more often than their share.
        """
        index = {name: number for number, name in enumerate(names)}
        kept = np.array([name in index for name in regions.names])
        labels = torch.tensor([index[name] for name in regions.names[kept]])
        counts = torch.bincount(labels, minlength=len(names)).float()
        return cls(
            torch.from_numpy(regions.features[kept].astype(np.float32)),
            F.one_hot(labels, len(names)).float(),
            texts,
            counts[labels] ** -0.5,
        )

    @classmethod
    def of_probabilities(
        cls,
        regions: RegionFeatures,
        classifier: tuple[Tensor, Tensor],
        texts: Tensor,
        sharpening: float = 1.0,
    ) -> Labelled:
        """Return regions whose targets are a classifier's own probabilities of its classes."""
        features = torch.from_numpy(regions.features.astype(np.float32))
        weight, bias = classifier
        targets = (sharpening * (features @ weight.T + bias)).softmax(dim=-1)
        return cls(features, targets, texts, torch.ones(len(features)))


def start_head(classifier: tuple[Tensor, Tensor], texts: Tensor, embed_dim: int) -> Mlp:
    """Return the untrained head, as open_clip builds it for ``timm_proj: mlp``.

    Args:
        classifier: weight (K, C) and bias (K,) of the ImageNet classifier.
        texts: normalized text embeddings of its classes (K, D) with D at most ``embed_dim``.
        embed_dim: width of the embeddings; the hidden layer has twice as many units, at least K.
    """
    weight, bias = classifier
    head = Mlp(weight.shape[1], 2 * embed_dim, embed_dim, bias=(True, False))
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.mul_(0.1)
        head.fc2.weight.zero_()
        head.fc1.weight[: len(weight)] = _GAIN * weight
        head.fc1.bias[: len(weight)] = _GAIN * (bias - _THRESHOLD)
        head.fc2.weight[: texts.shape[1], : len(weight)] = texts.T
    return head


def adapt(start: Mlp, sources: Mapping[str, Labelled], settings: NamingSettings) -> Mlp:
    """Return a head adapted to labelled regions; ``start`` stays as it is.

    Args:
        start: the untrained head.
        sources: by the names in ``settings.shares``; absent ones are left out.
        settings: hyper-parameters.
    """
    random = torch.Generator().manual_seed(settings.seed)
    head = deepcopy(start).train()
    frozen = deepcopy(start).eval()
    optimizer = torch.optim.AdamW(
        head.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    present = {name: share for name, share in settings.shares.items() if name in sources and share}
    total = sum(present.values())
    for _ in range(settings.steps):
        loss = torch.zeros(())
        for name, share in present.items():
            source = sources[name]
            count = max(1, round(settings.batch_size * share / total))
            some = source.weights.multinomial(count, replacement=True, generator=random)
            features = source.features[some]
            noise = torch.randn(features.shape, generator=random)
            features = features * (1 + settings.noise * noise)
            embeddings = F.normalize(head(features), dim=-1)
            logits = settings.scale * embeddings @ source.texts.T
            loss = loss + share / total * F.cross_entropy(logits, source.targets[some])
            if name == OWN_NAMES_OF_IMAGENET:
                with torch.no_grad():
                    wanted = F.normalize(frozen(features), dim=-1)
                distance = (1 - (embeddings * wanted).sum(dim=-1)).mean()
                loss = loss + settings.anchor * distance
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return average(start, head, settings.keep)


def average(start: Mlp, adapted: Mlp, keep: float) -> Mlp:
    """Return a head with the mean of two heads' weights; ``keep`` (0 to 1) is the first's share."""
    mean = deepcopy(adapted).eval()
    first = start.state_dict()
    mean.load_state_dict(
        {name: keep * first[name] + (1 - keep) * tensor for name, tensor in adapted.state_dict().items()}
    )
    return mean


@torch.inference_mode()
def name_scores(head: Mlp, features: np.ndarray, texts: Tensor) -> np.ndarray:
    """Return the cosines, float32 (N, K), of pooled features (N, C) and text embeddings (K, D)."""
    embeddings = F.normalize(head(torch.from_numpy(features.astype(np.float32))), dim=-1)
    return (embeddings @ texts.T).numpy()
