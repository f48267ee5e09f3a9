"""The catalogue: the weights files of each named model, and the settings that belong to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from ovseg_demo.errors import ModelError
from ovseg_demo.models.kinds import CheckpointKind
from ovseg_demo.models.weights_files import (
    BundledSource,
    GoogleDriveSource,
    HuggingFaceSource,
    Source,
    UrlSource,
    WeightsFile,
)
from ovseg_demo.proposals.maskformer.config import MASK_THRESHOLD, MAX_SIZE, MIN_SIZE

if TYPE_CHECKING:
    from torch import Tensor

ROLES = MappingProxyType(
    {
        "ovseg": "MaskFormer (with a mask-adapted CLIP in OVSeg's files)",
        "sam": "Segment Anything",
        "clip": "CLIP",
        "maskclippp": "MaskCLIP++",
        "unadapted": "un-adapted CLIP, for comparison",
    }
)
"""What a weights file is used for in a model."""

OPTIONAL_ROLES = frozenset({"unadapted"})
"""Parts that a model runs without; they are downloaded only on request."""

CC_BY_NC = "CC-BY-NC 4.0 (non-commercial)"
APACHE = "Apache-2.0"
MIT = "MIT"


@dataclass(frozen=True)
class MaskFormerSettings:
    """Settings of a MaskFormer that its tensors do not contain (arXiv 2210.04150, implementation details).

    ``docs/explanation/method.md`` lists the values of each published model.

    Attributes:
        min_size: pixels to which the image's shorter side is resized.
        max_size: limit of the longer side in pixels; where it would be exceeded, the image is resized to it.
        mask_threshold: probability above which a pixel belongs to a mask, in the demo.
        evaluation_mask_threshold: the same for the evaluation on a benchmark.
        ensemble_weight: λ, CLIP's share in the ensemble of the evaluation rule (section 3.1), in [0, 1].
        ensemble_weights: λ of single data sets, by their names, where it differs.
    """

    min_size: int = MIN_SIZE
    max_size: int = MAX_SIZE
    mask_threshold: float = MASK_THRESHOLD
    evaluation_mask_threshold: float = 0.4
    ensemble_weight: float = 0.7
    ensemble_weights: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    def generator_options(self, *, evaluation: bool = False) -> dict[str, float]:
        """Return the keyword arguments for ``MaskFormerProposalGenerator``."""
        threshold = self.evaluation_mask_threshold if evaluation else self.mask_threshold
        return {"min_size": self.min_size, "max_size": self.max_size, "mask_threshold": threshold}

    def ensemble_weight_for(self, dataset: str | None) -> float:
        """Return λ for a data set's name, such as "pascal-voc-20"; ``None`` stands for other images."""
        return self.ensemble_weights.get(dataset, self.ensemble_weight)


@dataclass(frozen=True)
class SamSettings:
    """Settings of a Segment Anything model.

    Attributes:
        long_side: length in pixels to which the image's longer side is resized; None keeps the image's size.
        thresholds: arguments of ``SamProposalGenerator`` that differ from its defaults.
    """

    long_side: int | None = 1280
    thresholds: Mapping[str, float | str] = field(default_factory=lambda: MappingProxyType({}))

    def generator_options(self) -> dict[str, float | str | None]:
        """Return the keyword arguments for ``SamProposalGenerator``."""
        return {"long_side": self.long_side, **self.thresholds}


@dataclass(frozen=True, eq=False)
class ModelSpec:
    """A named model: its weights files and their settings.

    Attributes:
        name: the name that users give.
        title: the name in menus.
        description: one or two sentences on what the model is good for.
        parts: weights files by role (:data:`ROLES`).
        maskformer: settings of the MaskFormer, which is in the "ovseg" part; ``None`` without that part.
        sam: settings of the "sam" part.
        templates: prompt templates, a key of ``TEMPLATES`` or "learned".
        regions: how the CLIP reads masked regions, one of ``REGIONS``.
        knows_photographs: whether it was trained on photographs.
        larger: the name of the model to turn to where this one is not enough.
        world: the class list of everything that it knows; empty if it is not limited to a list.
        seconds: about what a first analysis takes on two processor cores, or the stage that the model has,
            for an image of 1024×768 pixels with 100 masks (``benchmarks/engines.py --table catalogue``). 0
            means unknown.
    """

    name: str
    title: str
    description: str
    parts: Mapping[str, WeightsFile]
    maskformer: MaskFormerSettings | None = None
    sam: SamSettings = field(default_factory=SamSettings)
    templates: str = "vild"
    regions: str = "auto"
    knows_photographs: bool = True
    larger: str = ""
    world: str = ""
    seconds: float = 0

    @property
    def required(self) -> dict[str, WeightsFile]:
        """The parts that the model needs to run, by role."""
        return {role: file for role, file in self.parts.items() if role not in OPTIONAL_ROLES}

    @property
    def generators(self) -> tuple[str, ...]:
        """The names of its proposal generators, the default first."""
        return tuple(name for name, role in (("sam", "sam"), ("maskformer", "ovseg")) if role in self.parts)

    @property
    def classifies(self) -> bool:
        """Whether its files include a CLIP."""
        return "ovseg" in self.parts or "clip" in self.parts

    @property
    def size(self) -> int:
        """Bytes of the required parts; an estimate if a file's exact size is unknown."""
        return sum(file.size for file in self.required.values())

    @property
    def licence(self) -> str:
        """The licences of the required parts, without repetition."""
        return ", ".join(dict.fromkeys(file.licence for file in self.required.values()))

    @property
    def bundled(self) -> bool:
        """Whether all required parts come with the program."""
        return all(file.bundled for file in self.required.values())

    def missing(self, folder: Path | None = None) -> dict[str, WeightsFile]:
        """Return the required parts whose files are absent, by role."""
        return {role: file for role, file in self.required.items() if not file.present(folder)}

    def present(self, folder: Path | None = None) -> bool:
        """Return whether the files of all required parts are present."""
        return not self.missing(folder)

    def path(self, role: str, folder: Path | None = None) -> Path:
        """Return the path of the weights file with a role.

        Raises:
            ModelError: the model has no such part, or its file is absent.
        """
        if role not in self.parts:
            raise ModelError(
                f'The model "{self.name}" has no {ROLES.get(role, role)}; it has {_roles(self)}.'
            )
        path = self.parts[role].path(folder)
        if not path.is_file():
            raise ModelError(
                f'The model "{self.name}" needs "{path}", which does not exist; '
                f'download it with "python -m ovseg_demo download {self._name_to_download(role)}".'
            )
        return path

    def _name_to_download(self, role: str) -> str:
        """Return the model to download for a part: for an optional one, a model that requires it."""
        file = self.parts[role]
        others = (spec.name for spec in CATALOGUE.values() if file in spec.required.values())
        return self.name if role in self.required else next(others, self.name)


def _roles(spec: ModelSpec) -> str:
    return " and ".join(ROLES[role] for role in spec.parts)


# ---- the published files

_OVSEG_SPACE = "facebook/ov-seg"


def _sam(name: str, size: int, sha256: str, *more: Source) -> WeightsFile:
    sources = (
        UrlSource(f"https://dl.fbaipublicfiles.com/segment_anything/{name}"),
        *more,
        HuggingFaceSource("ybelkada/segment-anything", f"checkpoints/{name}"),
    )
    return WeightsFile(name, CheckpointKind.SAM, sources, size, APACHE, size_is_exact=True, sha256=sha256)


def _openai_clip(name: str, size: int, sha256: str, *, size_is_exact: bool) -> WeightsFile:
    source = UrlSource(f"https://openaipublic.azureedge.net/clip/models/{sha256}/{name}")
    return WeightsFile(name, CheckpointKind.CLIP, (source,), size, MIT, size_is_exact, sha256)


# The six characters in these names are the first ones of the MD5; the SHA-256 is of the same files.
SAM_VIT_H = _sam(
    "sam_vit_h_4b8939.pth",
    2_564_550_879,
    "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
)
SAM_VIT_L = _sam(
    "sam_vit_l_0b3195.pth",
    1_249_524_607,
    "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
    HuggingFaceSource(_OVSEG_SPACE, "sam_vit_l_0b3195.pth", repo_type="space"),
)
SAM_VIT_B = _sam(
    "sam_vit_b_01ec64.pth",
    375_042_383,
    "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
)

# Other image encoders in front of SAM's decoder.
MOBILE_SAM = WeightsFile(
    "mobile_sam.pt",
    CheckpointKind.SAM,
    (
        HuggingFaceSource("dhkim2810/MobileSAM", "mobile_sam.pt"),
        UrlSource("https://raw.githubusercontent.com/ChaoningZhang/MobileSAM/master/weights/mobile_sam.pt"),
    ),
    40_728_226,
    APACHE,
    size_is_exact=True,
    sha256="6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
)
REPVIT_SAM = WeightsFile(
    "repvit_sam.pt",
    CheckpointKind.SAM,
    (UrlSource("https://github.com/THU-MIG/RepViT/releases/download/v1.0/repvit_sam.pt"),),
    110_000_000,
    APACHE,
)

# open_clip's ViT-L-14-quickgelu and ViT-B-16-quickgelu, pretrained "openai".
CLIP_VIT_L14 = _openai_clip(
    "ViT-L-14.pt",
    932_768_134,
    "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836",
    size_is_exact=True,
)
CLIP_VIT_B16 = _openai_clip(
    "ViT-B-16.pt",
    351_000_000,
    "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f",
    size_is_exact=False,
)

CLIP_VIT_L14_336 = _openai_clip(
    "ViT-L-14-336px.pt",
    934_000_000,
    "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02",
    size_is_exact=False,
)

# Convolutional CLIPs, and MaskCLIP++ on top.
CLIP_CONVNEXT_B = WeightsFile(
    "convnext_base_w_320-laion_aesthetic_s13b_b82k_augreg.safetensors",
    CheckpointKind.CLIP,
    (
        HuggingFaceSource(
            "laion/CLIP-convnext_base_w_320-laion_aesthetic-s13B-b82K-augreg", "open_clip_model.safetensors"
        ),
    ),
    717_600_000,
    MIT,
    quick_gelu=False,
    architecture="convnext_base_w_320/laion_aesthetic_s13b_b82k_augreg",
)
MASKCLIPPP_CONVNEXT_B = WeightsFile(
    "maskclippp_convnext_base_coco_stuff.pth",
    CheckpointKind.MASKCLIPPP,
    (GoogleDriveSource("1SekxdQPCMXLaAd8mM0P20DbHKhtIYL3u"),),
    361_000_000,
    "not stated (code: Apache-2.0)",
)

OVSEG_SWIN_B = WeightsFile(
    "ovseg_swinbase_vitL14_ft_mpt.pth",
    CheckpointKind.OVSEG,
    (
        HuggingFaceSource(_OVSEG_SPACE, "ovseg_swinbase_vitL14_ft_mpt.pth", repo_type="space"),
        GoogleDriveSource("1cn-ohxgXDrDfkzC1QdO-fi8IjbjXmgKy"),
    ),
    2_125_000_000,
    CC_BY_NC,
    md5="526080",
)
OVSEG_R101C = WeightsFile(
    "ovseg_R101c_vitB16_ft_mpt.pth",
    CheckpointKind.OVSEG,
    (GoogleDriveSource("1ZmeFMEkhuLqaWkhz4t4IlQ8YflrYja8q"),),
    845_000_000,
    CC_BY_NC,
    md5="c746f4",
)
OVSEG_SWIN_B_PROMPTS = WeightsFile(
    "ovseg_swinbase_vitL14_mpt_only.pt",
    CheckpointKind.OVSEG,
    (GoogleDriveSource("1LJGWFjHw76OGDNy9r9KQIaACfIm9KMhQ"),),
    2_125_000_000,
    CC_BY_NC,
    md5="2dd495",
)
OVSEG_CLIP_L = WeightsFile(
    "ovseg_clip_l_9a1909.pth",
    CheckpointKind.CLIP,
    (HuggingFaceSource(_OVSEG_SPACE, "ovseg_clip_l_9a1909.pth", repo_type="space"),),
    1_711_000_000,
    CC_BY_NC,
)
SIMSEG_CROSS_DATASET = WeightsFile(
    "simseg_R101c_vitB16_cross_dataset.pth",
    CheckpointKind.OVSEG,
    (GoogleDriveSource("1pb6UeXoMPy5xdEBtFcQYLOBKZt0xufKY"),),
    845_000_000,
    MIT,
)
SIMSEG_ZERO_SHOT = WeightsFile(
    "simseg_R101c_vitB16_zero_shot.pth",
    CheckpointKind.OVSEG,
    (GoogleDriveSource("1jDmR4fL5Wm0UyMDd5LhsOl6T2RX2X9R5"),),
    845_000_000,
    MIT,
)

# ---- the bundled files (weights/README.md lists their data and licences)

PHOTO_MINI_CLIP = WeightsFile(
    "open_clip_model.safetensors",
    CheckpointKind.CLIP,
    (BundledSource("photo-mini/open_clip_model.safetensors"),),  # open_clip_config.json lies beside it
    18_192_730,
    APACHE,
    quick_gelu=False,
)
PHOTO_MINI_MASKFORMER = WeightsFile(
    "photo_mini_maskformer.pth",
    CheckpointKind.OVSEG,
    (BundledSource("photo-mini/photo_mini_maskformer.pth"),),  # takes its trunk from photo_mini_sam.pth
    2_489_007,
    APACHE,
)
PHOTO_MINI_SAM = WeightsFile(
    "photo_mini_sam.pth",
    CheckpointKind.SAM,
    (BundledSource("photo-mini/photo_mini_sam.pth"),),
    8_567_272,
    APACHE,
)


def _sticker_world(part: str, kind: CheckpointKind, size: int) -> WeightsFile:
    name = f"sticker_world_{part}.pth"
    return WeightsFile(name, kind, (BundledSource(f"sticker-world/{name}"),), size, APACHE)


STICKER_WORLD_OVSEG = _sticker_world("ovseg", CheckpointKind.OVSEG, 16_365_295)
STICKER_WORLD_SAM = _sticker_world("sam", CheckpointKind.SAM, 7_795_291)
STICKER_WORLD_CLIP = _sticker_world("clip", CheckpointKind.CLIP, 5_516_029)

# ---- their settings (docs/explanation/method.md)

_OVSEG_ENSEMBLE = MappingProxyType(
    {
        "ade20k-150": 0.7,
        "ade20k-847": 0.7,
        "pascal-context-59": 0.6,
        "pascal-context-459": 0.6,
        "pascal-voc-20": 0.45,
    }
)
SWIN_B_SETTINGS = MaskFormerSettings(ensemble_weights=_OVSEG_ENSEMBLE)
R101C_SETTINGS = MaskFormerSettings(
    min_size=512, max_size=2048, evaluation_mask_threshold=0.5, ensemble_weights=_OVSEG_ENSEMBLE
)
SIMSEG_SETTINGS = MaskFormerSettings(
    min_size=512,
    max_size=2048,
    mask_threshold=0.5,
    evaluation_mask_threshold=0.5,
    ensemble_weight=0.8,
    ensemble_weights=MappingProxyType({"ade20k-150": 0.5, "ade20k-847": 0.5}),
)
_STICKER_WORLD_STEM = 16
"""Output channels of the first convolution of Sticker World's MaskFormer; a published R-101c has 64."""

STICKER_WORLD_SETTINGS = MaskFormerSettings(
    min_size=384,
    max_size=1536,
    mask_threshold=0.4,
    evaluation_mask_threshold=0.4,
    ensemble_weights=MappingProxyType({"sticker-world": 0.8}),
)
STICKER_WORLD_SAM_SETTINGS = SamSettings(
    long_side=None,
    thresholds=MappingProxyType(
        {"points_per_side": 16, "pred_iou_thresh": 0.4, "stability_score_thresh": 0.6}
    ),
)

PHOTO_MINI_SETTINGS = MaskFormerSettings(
    min_size=384, max_size=1024, mask_threshold=0.4, evaluation_mask_threshold=0.4
)
PHOTO_MINI_SAM_SETTINGS = SamSettings(
    long_side=None,
    thresholds=MappingProxyType(
        {"points_per_side": 16, "pred_iou_thresh": 0.3, "stability_score_thresh": 0.0, "box_nms_thresh": 0.85}
    ),
)

FAST_SAM_SETTINGS = SamSettings(thresholds=MappingProxyType({"points_per_side": "auto"}))
"""A grid of 256 points on a CPU and of 1,024 on a GPU."""

_MODELS = (
    ModelSpec(
        "photo-mini",
        "Photo mini",
        "The bundled model for photographs, small and quick: it knows everyday things, and is often wrong.",
        MappingProxyType({"clip": PHOTO_MINI_CLIP, "sam": PHOTO_MINI_SAM, "ovseg": PHOTO_MINI_MASKFORMER}),
        PHOTO_MINI_SETTINGS,
        PHOTO_MINI_SAM_SETTINGS,
        regions="mask-pooling",
        larger="fast-photo",
        seconds=1.1,
    ),
    ModelSpec(
        "sticker-world",
        "Sticker World",
        "The bundled model of a drawn world, small and quick: it knows scenes of stickers, not photographs.",
        MappingProxyType(
            {"ovseg": STICKER_WORLD_OVSEG, "sam": STICKER_WORLD_SAM, "unadapted": STICKER_WORLD_CLIP}
        ),
        STICKER_WORLD_SETTINGS,
        STICKER_WORLD_SAM_SETTINGS,
        knows_photographs=False,
        larger="photo-mini",
        world="sticker-world",
        seconds=1.5,
    ),
    ModelSpec(
        "fast-photo",
        "Fast photo",
        "For photographs on a CPU, also commercially: MobileSAM, and a CLIP that reads the image only once.",
        MappingProxyType({"clip": CLIP_CONVNEXT_B, "sam": MOBILE_SAM}),
        sam=FAST_SAM_SETTINGS,
        regions="fc-clip",
        seconds=7,
    ),
    ModelSpec(
        "maskclippp-convnext-b",
        "MaskCLIP++, ConvNeXt-B",
        "As fast-photo, with an image tower that was fine-tuned on masks of COCO-Stuff.",
        MappingProxyType({"clip": CLIP_CONVNEXT_B, "maskclippp": MASKCLIPPP_CONVNEXT_B, "sam": MOBILE_SAM}),
        sam=FAST_SAM_SETTINGS,
        regions="soft-pooling",
        seconds=6,
    ),
    ModelSpec(
        "textregion-vitl14-336",
        "TextRegion, CLIP ViT-L/14@336",
        "OpenAI's largest CLIP as it was trained; it reads the image in tiles, once for all masks.",
        MappingProxyType({"clip": CLIP_VIT_L14_336, "sam": MOBILE_SAM}),
        sam=FAST_SAM_SETTINGS,
        templates="imagenet",
        regions="text-region",
        seconds=12,
    ),
    ModelSpec(
        "ovseg-swinb-vitl14",
        "OVSeg, Swin-B + ViT-L/14",
        "The published model at its best: any class names on photographs.",
        MappingProxyType({"ovseg": OVSEG_SWIN_B, "sam": SAM_VIT_L, "unadapted": CLIP_VIT_L14}),
        SWIN_B_SETTINGS,
        seconds=87,
    ),
    ModelSpec(
        "ovseg-r101c-vitb16",
        "OVSeg, R-101c + ViT-B/16",
        "The smaller published model: less than half the download, several times faster, less accurate.",
        MappingProxyType({"ovseg": OVSEG_R101C, "sam": SAM_VIT_B, "unadapted": CLIP_VIT_B16}),
        R101C_SETTINGS,
        seconds=34,
    ),
    ModelSpec(
        "ovseg-swinb-vitl14-prompts",
        "OVSeg, mask prompts only",
        "CLIP's own weights with learned mask prompts, for comparison with the fine-tuned CLIP.",
        MappingProxyType({"ovseg": OVSEG_SWIN_B_PROMPTS, "sam": SAM_VIT_L}),
        SWIN_B_SETTINGS,
        seconds=87,
    ),
    ModelSpec(
        "ovseg-clip-vitl14",
        "OVSeg's CLIP with Segment Anything",
        "The fine-tuned CLIP ViT-L/14 alone, without mask prompts, on Segment Anything's masks.",
        MappingProxyType({"clip": OVSEG_CLIP_L, "sam": SAM_VIT_L, "unadapted": CLIP_VIT_L14}),
        seconds=87,
    ),
    ModelSpec(
        "simseg-cross-dataset",
        "SimSeg, R-101c + ViT-B/16",
        "The two-stage baseline with an un-adapted CLIP, trained on 156 classes of COCO-Stuff.",
        MappingProxyType({"ovseg": SIMSEG_CROSS_DATASET}),
        SIMSEG_SETTINGS,
        seconds=12,
    ),
    ModelSpec(
        "simseg-zero-shot",
        "SimSeg with learned prompts",
        "The two-stage baseline with learned prompts, for seen and unseen classes of COCO-Stuff.",
        MappingProxyType({"ovseg": SIMSEG_ZERO_SHOT}),
        SIMSEG_SETTINGS,
        templates="learned",
        seconds=12,
    ),
    ModelSpec(
        "sam-vit-h",
        "Segment Anything, ViT-H",
        "Proposals only: the largest and slowest masks; combine it with a CLIP.",
        MappingProxyType({"sam": SAM_VIT_H}),
        seconds=55,
    ),
    ModelSpec(
        "sam-vit-l",
        "Segment Anything, ViT-L",
        "Proposals only: the masks of the published demo; combine it with a CLIP.",
        MappingProxyType({"sam": SAM_VIT_L}),
        seconds=38,
    ),
    ModelSpec(
        "sam-vit-b",
        "Segment Anything, ViT-B",
        "Proposals only: the smallest and fastest of SAM's own image encoders; combine it with a CLIP.",
        MappingProxyType({"sam": SAM_VIT_B}),
        seconds=24,
    ),
    ModelSpec(
        "mobile-sam",
        "MobileSAM",
        "Proposals only: SAM's decoder behind a small image encoder, for CPUs; combine it with a CLIP.",
        MappingProxyType({"sam": MOBILE_SAM}),
        seconds=16,
    ),
    ModelSpec(
        "repvit-sam",
        "RepViT-SAM",
        "Proposals only: as MobileSAM, with a larger convolutional encoder and, in its paper, better masks.",
        MappingProxyType({"sam": REPVIT_SAM}),
        seconds=17,
    ),
    ModelSpec(
        "clip-vitl14-openai",
        "CLIP ViT-L/14, un-adapted",
        "OpenAI's CLIP as it is, for comparison: the classifier that OVSeg adapts to masks.",
        MappingProxyType({"clip": CLIP_VIT_L14}),
        seconds=49,
    ),
    ModelSpec(
        "clip-vitb16-openai",
        "CLIP ViT-B/16, un-adapted",
        "OpenAI's CLIP as it is, for comparison: SimSeg's classifier.",
        MappingProxyType({"clip": CLIP_VIT_B16}),
        seconds=10,
    ),
)

CATALOGUE: Mapping[str, ModelSpec] = MappingProxyType({spec.name: spec for spec in _MODELS})
"""Every model by its name, in the order of menus."""


def find_model(name: str) -> ModelSpec:
    """Return the model of a name.

    Raises:
        ModelError: the name is unknown; the message lists the known ones.
    """
    if name not in CATALOGUE:
        raise ModelError(f'There is no model "{name}"; choose one of {", ".join(CATALOGUE)}.')
    return CATALOGUE[name]


def maskformer_settings_for(tensors: Mapping[str, Tensor]) -> MaskFormerSettings:
    """Return the settings that belong to the tensors of a full checkpoint. The file's name is not used.

    A Swin backbone gets the settings of OVSeg's Swin-B, a ResNet as narrow as Sticker World's gets those of
    Sticker World, and an EfficientNet-Lite those of the bundled model for photographs. Another ResNet gets
    those of OVSeg's R-101c if its CLIP has mask prompts, else SimSeg's.

    Args:
        tensors: all tensors of the file, by their published names.
    """
    if "backbone.trunk.conv_stem.weight" in tensors:
        return PHOTO_MINI_SETTINGS
    stem = tensors.get("backbone.stem.conv1.weight")
    if stem is None:
        return SWIN_B_SETTINGS
    if len(stem) == _STICKER_WORLD_STEM:
        return STICKER_WORLD_SETTINGS
    has_mask_prompts = "clip_adapter.clip_model.visual.mask_embedding" in tensors
    return R101C_SETTINGS if has_mask_prompts else SIMSEG_SETTINGS
