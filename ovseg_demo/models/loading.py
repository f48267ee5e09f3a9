"""Build a segmenter from weights files.

The modules of the networks are imported when the first network is built. With open_clip, timm and
segment_anything the import takes seconds, and the page and the command line's help do not wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ovseg_demo.classification.clip.source import ClipSource
from ovseg_demo.errors import ModelError
from ovseg_demo.models.catalogue import (
    OPTIONAL_ROLES,
    MaskFormerSettings,
    ModelSpec,
    SamSettings,
    find_model,
    maskformer_settings_for,
)
from ovseg_demo.models.checkpoints import CheckpointKind, read_checkpoint
from ovseg_demo.models.clip_sources import find_clip_files, read_clip_source
from ovseg_demo.models.weights_files import OPEN_CLIP_PREFIX, WeightsFile, find_open_clip
from ovseg_demo.proposals.detectron2 import INSTALL_COMMAND, Detectron2ProposalGenerator
from ovseg_demo.proposals.types import ProposalGenerator
from ovseg_demo.runtime.caching import LazyModel
from ovseg_demo.runtime.devices import Runtime
from ovseg_demo.runtime.text_embedding_cache import TextEmbeddingCache
from ovseg_demo.segmenter import Caches, Segmenter
from ovseg_demo.vocabularies.class_lists import shipped_lists, suggestion_candidates
from ovseg_demo.vocabulary import LEARNED

if TYPE_CHECKING:
    from torch import Tensor

    from ovseg_demo.classification.building import Tuned
    from ovseg_demo.classification.types import RegionClassifier

C = TypeVar("C")
T = TypeVar("T")

DEFAULT_MODEL = "photo-mini"
DEFAULT_TEMPLATES = "vild"

Weights = str | Path | WeightsFile

_LACKING = {
    "sam": "This model has no Segment Anything; give its weights with sam=FILE.",
    "ovseg": "This model has no MaskFormer; give a full OVSeg checkpoint with ovseg=FILE.",
    "clip": "This model has no CLIP; give one with clip=FILE, or a full OVSeg checkpoint with ovseg=FILE.",
    "unadapted": "This model has no un-adapted CLIP to compare with; give one with unadapted=FILE.",
    "detectron2": (
        f'This model has no detectron2 generator; install detectron2 with "{INSTALL_COMMAND}" and give a '
        "model with --detectron2 CONFIG WEIGHTS (in Python: detectron2=(CONFIG, WEIGHTS))."
    ),
}

_NETWORK_MODULES = (
    "ovseg_demo.classification.building",
    "ovseg_demo.proposals.maskformer.generator",
    "ovseg_demo.proposals.sam.generator",
)
"""The modules that the first network to be built imports, unless :func:`import_networks` did."""

_ROLES = {"sam": "sam", "maskformer": "ovseg", "detectron2": "detectron2", "un-adapted": "unadapted"}
"""The role of the weights of each generator, and of the second classifier."""


def import_networks() -> None:
    """Import the modules of the networks ahead of their first use. It takes seconds and loads no weights."""
    for name in _NETWORK_MODULES:
        import_module(name)


def load_segmenter(
    name: str | None = None,
    *,
    ovseg: Weights | None = None,
    sam: Weights | None = None,
    clip: Weights | None = None,
    maskclippp: Weights | None = None,
    unadapted: Weights | None = None,
    detectron2: tuple[Any, str | Path] | None = None,
    folder: Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    quick_gelu: bool | None = None,
    regions: str | None = None,
    points_per_side: int | str | None = None,
    sam_options: Mapping[str, Any] | None = None,
    maskformer_options: Mapping[str, Any] | None = None,
    benchmark: str | None = None,
    caches: Caches | None = None,
) -> Segmenter:
    """Return a segmenter of a catalogue model, of weights files, or of a model with some files replaced.

    The files are read at once, so errors in them are raised here. A network is built when it is first needed.
    Text embeddings of the bundled class lists are cached in ``cache_folder()``.

    MaskFormer's settings and the prompt templates of a file that is given by path follow from its tensors
    (:func:`.catalogue.maskformer_settings_for`), not from its name.

    Args:
        name: of a model in :data:`.catalogue.CATALOGUE`; :data:`DEFAULT_MODEL` if no file is given.
        ovseg: a full OVSeg or SimSeg checkpoint: MaskFormer and CLIP.
        sam: a Segment Anything checkpoint.
        clip: a CLIP that replaces the one in ``ovseg``: a weights file, a folder in open_clip's layout, or
            "open_clip:NAME/TAG", a downloaded model of open_clip's registry.
        maskclippp: a MaskCLIP++ checkpoint, whose image tower replaces that of ``clip``.
        unadapted: a second CLIP, the classifier "un-adapted".
        detectron2: config and weights, the arguments of :class:`Detectron2ProposalGenerator`.
        folder: of the downloaded weights; by default
            :func:`ovseg_demo.models.weights_files.weights_folder`.
        device: "auto", "cpu", "cuda" or "mps".
        precision: "float32", "bfloat16" or "float16" for all networks. "auto" proposes masks in float32,
            because rounding moves their borders, and classifies in the device's fastest precision (more than
            99% of the labels stay the same).
        quick_gelu: whether the CLIPs have QuickGELU instead of GELU. ``None`` takes the catalogue's value for
            each file, or else what its configuration says, and ``True`` without one. (The published demo
            classified Segment Anything's masks with ``False``.)
        regions: how CLIP reads masked regions, one of :data:`ovseg_demo.classification.types.REGIONS`;
            ``None`` takes the model's own.
        points_per_side: of the grid of points at which Segment Anything looks for masks; ``None`` takes the
            model's own (32 for published models), "auto" takes 16 on a CPU and 32 on a GPU. Half as many are
            a quarter of the points: the masks come up to four times as fast, and small things may be missed.
        sam_options: arguments of :class:`SamProposalGenerator`; they override the model's settings.
        maskformer_options: arguments of :class:`MaskFormerProposalGenerator`, likewise.
        benchmark: name of a data set, for whose evaluation MaskFormer's settings and λ are chosen.
        caches: shared with other segmenters; by default the segmenter has its own.

    Raises:
        ModelError: the name is unknown, the model was not downloaded, or it has no generator or no CLIP.
        CheckpointError: a file is missing, damaged or of another kind.
        DeviceError: this machine does not have the device, or the device not the precision.
    """
    given = {"ovseg": ovseg, "sam": sam, "clip": clip, "maskclippp": maskclippp, "unadapted": unadapted}
    recipe = _read_recipe(
        name, {role: weights for role, weights in given.items() if weights is not None}, folder
    )
    files, runtime = recipe.files, Runtime.resolve(device, precision)
    proposing = runtime.with_float32() if precision == "auto" else runtime
    clip_file = files.get("clip") or files.get("ovseg")
    if clip_file is None:
        raise ModelError(recipe.lacking["clip"])
    reading = _ClipReading(quick_gelu, regions or recipe.regions)
    other_reading = _ClipReading(quick_gelu, regions or "auto")
    generators: dict[str, LazyModel[ProposalGenerator]] = {}
    if "sam" in files:
        options = recipe.sam.generator_options()
        if points_per_side is not None:
            options["points_per_side"] = points_per_side
        generators["sam"] = _share_sam(files["sam"], proposing, options | dict(sam_options or {}))
    if "ovseg" in files:
        options = recipe.maskformer.generator_options(evaluation=benchmark is not None)
        options |= maskformer_options or {}
        generators["maskformer"] = _share_maskformer(files["ovseg"], proposing, options)
    if detectron2 is not None:
        generators["detectron2"] = _share_detectron2(*detectron2, runtime)
    if not generators:
        raise ModelError(recipe.lacking["sam"])
    return Segmenter(
        generators,
        _share_clip(clip_file, runtime, reading, files.get("maskclippp")),
        _share_clip(files["unadapted"], runtime, other_reading) if "unadapted" in files else None,
        unavailable={name: recipe.lacking[role] for name, role in _ROLES.items()},
        templates=recipe.templates,
        clip_weight=recipe.maskformer.ensemble_weight_for(benchmark),
        caches=caches,
        text_embedding_cache=TextEmbeddingCache(shipped_lists),
        candidates=suggestion_candidates(recipe.world),
    )


@dataclass(frozen=True)
class _File:
    """A weights file or a CLIP's folder, and what the tensors of the CLIP in it do not tell."""

    path: Path
    quick_gelu: bool | None = None
    architecture: str = ""

    @classmethod
    def of(cls, weights: Weights, folder: Path | None) -> _File:
        if isinstance(weights, str) and weights.startswith(OPEN_CLIP_PREFIX):
            name, weights = weights, find_open_clip(weights)
            if not weights.present(folder):
                raise ModelError(f'"{name}" is not on this machine; get it with "ovseg download {name}".')
        if isinstance(weights, WeightsFile):
            return cls(weights.path(folder), weights.quick_gelu, weights.architecture)
        return cls(Path(weights).expanduser())

    @property
    def identity(self) -> tuple[str, int, int]:
        """Path, size and time of change: it differs between files, and between versions of a file."""
        status = self.path.stat()
        return str(self.path.resolve()), status.st_size, status.st_mtime_ns


@dataclass(frozen=True)
class _Recipe:
    """The files of a segmenter by role, and their settings.

    ``lacking`` has a sentence for each role without a file, ``world`` the class list of everything that the
    model knows.
    """

    files: Mapping[str, _File]
    lacking: Mapping[str, str]
    maskformer: MaskFormerSettings
    sam: SamSettings = field(default_factory=SamSettings)
    templates: str = DEFAULT_TEMPLATES
    regions: str = "auto"
    world: str = ""


class _ClipReading(NamedTuple):
    """How the CLIPs of a segmenter are built."""

    quick_gelu: bool | None
    regions: str


def _read_recipe(name: str | None, given: Mapping[str, Weights], folder: Path | None) -> _Recipe:
    files = {role: _File.of(weights, folder) for role, weights in given.items()}
    maskformer, templates = MaskFormerSettings(), DEFAULT_TEMPLATES
    if "ovseg" in files:
        checkpoint = read_checkpoint(files["ovseg"].path, CheckpointKind.OVSEG)
        maskformer = maskformer_settings_for(checkpoint.tensors)
        if "clip" not in files and checkpoint.has_learned_prompts:
            templates = LEARNED
    if name is None and files:
        return _Recipe(files, _LACKING, maskformer, templates=templates)
    spec, lacking = find_model(name or DEFAULT_MODEL), dict(_LACKING)
    for role in spec.parts.keys() - given.keys():
        if spec.parts[role].present(folder):
            files[role] = _File.of(spec.parts[role], folder)
        else:
            lacking[role] = _not_downloaded(spec, role, folder)
    if "ovseg" in spec.parts.keys() - given.keys():
        maskformer = spec.maskformer or maskformer
    if "ovseg" in spec.parts and "ovseg" not in files:
        lacking["clip"] = lacking["ovseg"]
    if not given.keys() & {"ovseg", "clip"}:
        templates = spec.templates
    regions = spec.regions if "clip" not in given else "auto"
    world = spec.world if not given.keys() & {"ovseg", "clip"} else ""
    return _Recipe(files, lacking, maskformer, spec.sam, templates, regions, world)


def _not_downloaded(spec: ModelSpec, role: str, folder: Path | None) -> str:
    everything = " --all" if role in OPTIONAL_ROLES else ""
    return (
        f'The model "{spec.name}" needs "{spec.parts[role].path(folder)}", which does not exist; '
        f'download it with "python -m ovseg_demo download {spec.name}{everything}".'
    )


def _share(
    read: Callable[[], C],
    build: Callable[[C, Runtime], T],
    runtime: Runtime,
    file: _File | None = None,
    files: Sequence[Path] = (),
) -> LazyModel[T]:
    """Return a network whose weights are read at once, with a second one on the CPU that reads them again.

    The network's key in caches is its ``file`` and runtime; without it, the runtime alone. ``files`` are
    those that it is read from, if there are more than the one.
    """
    tensors = read()
    key = runtime if file is None else (file.identity, runtime)
    files = files or [file.path]
    on_cpu = None
    if runtime.device.type != "cpu":
        on_cpu = LazyModel(lambda: build(read(), Runtime.resolve("cpu")), key)
    return LazyModel(lambda: build(tensors, runtime), key, on_cpu, files=files, runtime=runtime)


def _share_sam(file: _File, runtime: Runtime, options: Mapping[str, Any]) -> LazyModel[ProposalGenerator]:
    def build(tensors: Mapping[str, Tensor], runtime: Runtime) -> ProposalGenerator:
        from ovseg_demo.proposals.sam.generator import SamProposalGenerator, build_sam

        return SamProposalGenerator(build_sam(tensors), runtime=runtime, **options)

    return _share(lambda: read_checkpoint(file.path, CheckpointKind.SAM).sam(), build, runtime, file)


def _share_maskformer(
    file: _File, runtime: Runtime, options: Mapping[str, Any]
) -> LazyModel[ProposalGenerator]:
    def build(tensors: Mapping[str, Tensor], runtime: Runtime) -> ProposalGenerator:
        from ovseg_demo.proposals.maskformer.generator import MaskFormerProposalGenerator, build_maskformer

        return MaskFormerProposalGenerator(build_maskformer(tensors), runtime=runtime, **options)

    return _share(lambda: read_checkpoint(file.path, CheckpointKind.OVSEG).maskformer(), build, runtime, file)


def _share_detectron2(config: Any, weights: str | Path, runtime: Runtime) -> LazyModel[ProposalGenerator]:
    path = Path(weights)
    return LazyModel(
        lambda: Detectron2ProposalGenerator(config, weights, runtime),
        (str(weights), runtime),
        files=[path] if path.is_file() else (),  # or an address that detectron2 reads
        runtime=runtime,
    )


def _share_clip(
    file: _File, runtime: Runtime, reading: _ClipReading, maskclippp: _File | None = None
) -> LazyModel[RegionClassifier]:
    quick_gelu = file.quick_gelu if reading.quick_gelu is None else reading.quick_gelu

    def read() -> tuple[ClipSource, Tuned | None]:
        from ovseg_demo.classification.building import Tuned

        source = read_clip_source(file.path, quick_gelu=quick_gelu, architecture=file.architecture)
        if maskclippp is None:
            return source, None
        return source, Tuned(*read_checkpoint(maskclippp.path, CheckpointKind.MASKCLIPPP).maskclippp())

    def build(content: tuple[ClipSource, Tuned | None], runtime: Runtime) -> RegionClassifier:
        from ovseg_demo.classification.building import build_classifier

        source, tuned = content
        return build_classifier(source, runtime, reading.regions, tuned)

    files = [path for path in find_clip_files(file.path, file.architecture) if path is not None]
    if maskclippp is not None:
        files.append(maskclippp.path)
    # No file in the key: it has the fingerprint of the weights, so equal CLIPs in two files share the cache.
    return _share(read, build, runtime, files=files)
