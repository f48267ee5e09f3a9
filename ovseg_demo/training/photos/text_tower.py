"""Stage 2, text: a small text tower of CLIP's kind learns a sentence encoder's embeddings of nouns.

The tower starts as a bag of words in the teacher's space: the embedding of each token is the teacher's
embedding of its text (projected to the tower's width by principal components), the words of the prompt
templates are at zero, and the first layer's attention is a plain mean. Distillation then teaches it phrases,
and words of several tokens. Whatever the template, the target is the embedding of the noun phrase itself.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from open_clip.model import CLIP
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from ovseg_demo.classification.clip.tokenizer import Tokenizer
from ovseg_demo.errors import CheckpointError
from ovseg_demo.models.checkpoints import read_tensors
from ovseg_demo.runtime.devices import Runtime
from ovseg_demo.runtime.tensors import check_names_and_shapes
from ovseg_demo.training.files import save_atomically
from ovseg_demo.training.loop import run_training
from ovseg_demo.training.optimizers import decay_groups
from ovseg_demo.training.photos.nouns import INDEX, phrases, shipped_names, wordnet_nouns
from ovseg_demo.training.photos.sources import read_imagenet_sample
from ovseg_demo.training.photos.teacher import WEIGHTS, SentenceEncoder
from ovseg_demo.training.resuming import check_checkpoint, describe_choice, name_choices
from ovseg_demo.training.schedule import LoopSettings
from ovseg_demo.training.task import TrainingTask
from ovseg_demo.vocabulary import TEMPLATES

_TEMPLATES = ("{}", *TEMPLATES["vild"], *TEMPLATES["photo"])
_COMMON_SHARE = 0.5
"""Of the phrases drawn: names of the shipped class lists and of ImageNet's classes."""

_WORD_END = "</w>"
_TOKENS = "token_embedding.weight"
_TEACHER_SCALE = 20.0
"""The contrastive loss's temperature: phrases that the teacher tells apart stay apart."""


@dataclass(frozen=True)
class TextSettings:
    """Sizes and hyper-parameters.

    Attributes:
        vocabulary_size: tokens, the first of CLIP's byte-pair encoding.
        context_length: the most tokens of a text, start and end included.
        width, layers, heads: of the transformer; a head is 64 wide.
        embed_dim: of the embeddings, at least the teacher's width; the rest stays at zero. Half as many as
            the image head's hidden units, which stand for ImageNet's 1,000 classes.
        loop: schedule and batch.
        learning_rate, weight_decay: of AdamW.
        phrase_count: adjective + noun phrases.
        everything: whether to use WordNet's rare nouns, too.
    """

    vocabulary_size: int = 7168
    context_length: int = 24
    width: int = 192
    layers: int = 2
    heads: int = 3
    embed_dim: int = 512
    loop: LoopSettings = field(
        default_factory=lambda: LoopSettings(
            steps=3000, batch_size=128, warmup_steps=50, log_every=50, evaluate_every=300, save_minutes=2.0
        )
    )
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    phrase_count: int = 6000
    everything: bool = False


PHOTO_MINI_TEXT = TextSettings()


@dataclass(frozen=True)
class TeacherNouns:
    """Noun phrases and what the teacher makes of them.

    Attributes:
        phrases: N texts.
        embeddings: float32 (N, D), normalized.
        token_embeddings: float32 (V, D) of the vocabulary's tokens; zero rows for templates' words and bytes.
    """

    phrases: list[str]
    embeddings: Tensor
    token_embeddings: Tensor

    @classmethod
    def prepare(
        cls, path: Path, teacher: SentenceEncoder, nouns: Sequence[str], settings: TextSettings
    ) -> TeacherNouns:
        """Read them from a file, or ask the teacher and write it."""
        if not path.exists():
            texts = sorted({*nouns, *phrases(nouns, settings.phrase_count, np.random.default_rng(0))})
            tokens = _token_texts(Tokenizer(settings.vocabulary_size, settings.context_length))
            spelled = [text for text in tokens if text]
            embedded = teacher(spelled)
            table = torch.zeros(len(tokens), embedded.shape[1])
            table[[i for i, text in enumerate(tokens) if text]] = embedded
            save_atomically([texts, teacher.names(texts), table], path)
        texts, embeddings, table = torch.load(path, weights_only=True)
        return cls(texts, F.pad(embeddings, (0, settings.embed_dim - embeddings.shape[1])), table)


def train(
    settings: TextSettings,
    root: Path,
    teacher: Path,
    wordnet: Path,
    folder: Path,
    runtime: Runtime,
    start: Path | None = None,
) -> Path:
    """Distil, going on from the folder's checkpoint; returns the file with CLIP's text tensors.

    Args:
        settings: sizes and hyper-parameters.
        root: folder of labelled photographs, for ImageNet's names.
        teacher: folder of the sentence encoder.
        wordnet: folder of WordNet's files.
        folder: of checkpoint, log, weights and the teacher's answers.
        runtime: device and precision.
        start: text tensors to start from, of the same sizes and at least as many tokens.

    Raises:
        CheckpointError: the teacher or the start is missing, cannot be read, or is another network; or the
            folder's checkpoint is of other inputs.
        DatasetError: WordNet's files or ImageNet's photographs are missing.
    """
    torch.manual_seed(settings.loop.seed)
    given = read_text(start) if start else None
    sources = {"root": root, "teacher": teacher / WEIGHTS, "wordnet": wordnet / INDEX}
    asked_with = {name: describe_choice(path) for name, path in sources.items()}
    inputs = asked_with | {"init": describe_choice(start)}
    check_checkpoint(folder, inputs)
    path = folder / f"nouns-{name_choices(asked_with)}.pt"
    common = {*shipped_names(), *(photograph.name.lower() for photograph in read_imagenet_sample(root))}
    nouns = sorted({*wordnet_nouns(wordnet, settings.everything), *common})
    asked = None if path.exists() else SentenceEncoder(teacher)
    task = TextTask(settings, TeacherNouns.prepare(path, asked, nouns, settings), common)
    if given:
        start_from(task.clip, given)
    return run_training(task, settings.loop, folder, runtime, inputs)


class TextTask(TrainingTask):
    """Distillation of the text tower."""

    def __init__(self, settings: TextSettings, nouns: TeacherNouns, common: Collection[str] = ()):
        super().__init__()
        self.phrases = nouns.phrases
        self._common = [number for number, phrase in enumerate(nouns.phrases) if phrase in set(common)]
        self.settings = settings
        self.clip = text_clip(settings)
        self.register_buffer("targets", nouns.embeddings, persistent=False)
        self.tokenizer = Tokenizer(settings.vocabulary_size, settings.context_length)
        start_as_bag_of_words(self.clip, nouns, self.tokenizer)

    def parameter_groups(self) -> list[dict]:
        """Return the text tower's groups alone, and freeze the rest.

        Its token embeddings, which know much already, learn slowly.
        """
        table = self.clip.token_embedding.weight
        settings = self.settings
        text = _text_parameters(self.clip)
        self.clip.requires_grad_(False)
        for parameter in text:
            parameter.requires_grad_(True)
        groups = decay_groups(self.clip, settings.learning_rate, settings.weight_decay, without=[table])
        return [*groups, {"params": [table], "lr": 0.3 * settings.learning_rate, "weight_decay": 0.0}]

    def dataset(self) -> Dataset:
        """Return phrases in templates, half of them of common names.

        Every 50th other phrase is for validation.
        """
        return _Phrases(self.phrases, self._common, self.tokenizer, self.settings.loop.seed)

    def collate(self, samples: Sequence[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
        """Return token ids (B, L), as long as the longest text, and the numbers of the phrases (B,)."""
        ids, numbers = default_collate(list(samples))
        return _without_padding(ids), numbers

    def forward(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and its terms: distance to the teacher, and contrast against the batch's others."""
        ids, numbers = batch
        found = F.normalize(encode_text(self.clip, ids).float(), dim=-1)
        wanted = self.targets[numbers]
        cosine = (found * wanted).sum(dim=-1)
        with torch.no_grad():
            soft = (_TEACHER_SCALE * wanted @ wanted.T).softmax(dim=-1)
        contrast = F.cross_entropy(_TEACHER_SCALE * found @ wanted.T, soft)
        loss = 4 * (1 - cosine).mean() + contrast
        return loss, {"cosine": cosine.mean().detach(), "contrast": contrast.detach()}

    def evaluate(self) -> dict[str, float]:
        """Return the cosine to the teacher on held-out phrases, and how often the right one is nearest."""
        common = set(self._common)
        kept = [number for number in range(0, len(self.phrases), 50) if number not in common]
        texts = [self.phrases[index] for index in kept]
        found = embed_names(self.clip, self.tokenizer, texts, ("a photo of a {}.",))
        similarity = found @ self.targets[kept].T
        right = similarity.argmax(dim=1) == torch.arange(len(kept), device=similarity.device)
        return {"cosine": similarity.diagonal().mean().item(), "nearest": right.float().mean().item()}

    def save(self, path: Path) -> None:
        """Write the text tensors under CLIP's names, in half precision."""
        tensors = {
            name: tensor.half()
            for name, tensor in self.clip.state_dict().items()
            if not name.startswith("visual.") and name != "attn_mask"
        }
        save_atomically(tensors, path)


class _Phrases(Dataset):
    def __init__(self, texts: Sequence[str], common: Sequence[int], tokenizer: Tokenizer, seed: int):
        self._texts, self._common = texts, common
        self._tokenizer, self._seed = tokenizer, seed
        self._room = tokenizer.context_length - 2

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        rng = np.random.default_rng([self._seed, index])
        while True:
            is_common = bool(self._common) and rng.random() < _COMMON_SHARE
            number = int(rng.choice(self._common) if is_common else rng.integers(len(self._texts)))
            template = _TEMPLATES[0 if rng.random() < 0.3 else rng.integers(len(_TEMPLATES))]
            text = template.format(self._texts[number])
            if (is_common or number % 50) and len(self._tokenizer.encode(text)) <= self._room:
                return self._tokenizer([text])[0], number


def text_clip(settings: TextSettings) -> CLIP:
    """Return a CLIP with random weights whose image tower is too small to matter."""
    return CLIP(
        settings.embed_dim,
        {"image_size": 32, "layers": 1, "width": 64, "patch_size": 32},
        {
            "context_length": settings.context_length,
            "vocab_size": settings.vocabulary_size,
            "width": settings.width,
            "heads": settings.heads,
            "layers": settings.layers,
        },
    )


def encode_text(clip: CLIP, ids: Tensor) -> Tensor:
    """Return text features (B, D), not normalized, of token ids (B, L) with L up to the context length."""
    length = ids.shape[1]
    x = clip.token_embedding(ids) + clip.positional_embedding[:length]
    x = clip.transformer(x, attn_mask=clip.attn_mask[:length, :length])
    texts, ends = torch.arange(len(ids), device=ids.device), ids.argmax(dim=-1)
    return clip.ln_final(x)[texts, ends] @ clip.text_projection


def _without_padding(ids: Tensor) -> Tensor:
    """Return token ids without the columns that are zero in every row, but for one."""
    return ids[:, : int((ids != 0).sum(dim=1).max()) + 1]


@torch.no_grad()  # what inference mode returns could not take part in the loss of the image head
def embed_names(clip: CLIP, tokenizer: Tokenizer, names: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Return the normalized mean (N, D) of the normalized embeddings of names in templates."""
    sums = 0.0
    for template in templates:
        ids = _without_padding(tokenizer([template.format(name) for name in names]))
        ids = ids.to(clip.token_embedding.weight.device)
        parts = [F.normalize(encode_text(clip, some).float(), dim=-1) for some in ids.split(256)]
        sums = sums + torch.cat(parts)
    return F.normalize(sums, dim=-1)


@torch.no_grad()
def start_as_bag_of_words(clip: CLIP, nouns: TeacherNouns, tokenizer: Tokenizer) -> None:
    """Let the tower return about the mean of its tokens' teacher embeddings."""
    width = clip.token_embedding.embedding_dim
    known = nouns.embeddings[:, : nouns.token_embeddings.shape[1]]
    centred = known - known.mean(dim=0)
    _, _, components = torch.pca_lowrank(centred, q=min(width, *centred.shape), center=False)  # (D, width)
    # The teacher may have been asked about a larger vocabulary, whose first merges are the same.
    table = nouns.token_embeddings[: tokenizer.start] @ components
    wide = components.shape[0]
    own = clip.token_embedding.weight
    own.zero_()
    own[: len(table), : table.shape[1]] = table * math.sqrt(width) / 8
    for template in _TEMPLATES:
        own[tokenizer.encode(template.format(""))] = 0.0
    own[[tokenizer.start, tokenizer.end]] = torch.randn(2, width) * 0.01
    clip.positional_embedding.normal_(std=0.01)
    for number, block in enumerate(clip.transformer.resblocks):
        block.mlp.c_proj.weight.mul_(0.1)
        block.attn.out_proj.weight.mul_(0.1)
        if number == 0:
            query_key_value = block.attn.in_proj_weight
            query_key_value[: 2 * width].mul_(0.1)
            query_key_value[2 * width :] = torch.eye(width)
            block.attn.out_proj.weight.copy_(torch.eye(width))
    clip.text_projection.zero_()
    clip.text_projection[: components.shape[1], :wide] = components.T


def start_from(clip: CLIP, tensors: dict[str, Tensor]) -> None:
    """Copy the text tensors of a tower of the same sizes, of whose tokens only the first are kept."""
    table = tensors[_TOKENS]
    kept = clip.token_embedding.num_embeddings - 2  # the start and the end token are the last two
    shorter = torch.cat([table[:kept], table[-2:]])
    load_text(clip, tensors | {_TOKENS: shorter})


def read_text(path: Path) -> dict[str, Tensor]:
    """Return the text tower's tensors, float32, of a file of this stage or of a whole CLIP.

    Raises:
        CheckpointError: the file is missing, cannot be read, or holds no text tower.
    """
    tensors = read_tensors(path)
    if _TOKENS not in tensors:
        raise CheckpointError(f'"{path}" holds no text tower; give the weights of the stage "text".')
    return {name: tensor.float() for name, tensor in tensors.items() if not name.startswith("visual.")}


def load_text(clip: CLIP, tensors: dict[str, Tensor]) -> None:
    """Load the tensors of a file of this stage into a CLIP; its image tower stays as it is.

    Raises:
        CheckpointError: they are those of another tower.
    """
    own = clip.state_dict()
    text = {name: tensor for name, tensor in own.items() if not name.startswith("visual.")}
    check_names_and_shapes(text, tensors, "the text tower of these sizes")
    clip.load_state_dict(own | tensors)


def _token_texts(tokenizer: Tokenizer) -> list[str]:
    """Return what each token of the vocabulary spells if it is a whole word of letters; else empty."""
    texts = []
    for index in range(tokenizer.end + 1):
        token = tokenizer.spelling(index)
        word = token.removesuffix(_WORD_END)
        texts.append(word if token.endswith(_WORD_END) and word.isascii() and word.isalpha() else "")
    return texts


def _text_parameters(clip: CLIP) -> list[torch.nn.Parameter]:
    modules = (clip.token_embedding, clip.transformer, clip.ln_final)
    return [
        clip.positional_embedding,
        clip.text_projection,
        *(parameter for module in modules for parameter in module.parameters()),
    ]
