"""Mask proposals from any detectron2 model. The optional detectron2 is imported when a model is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from ovseg_demo.errors import CheckpointError, MissingDependencyError, ModelError
from ovseg_demo.progress import PROPOSING, ProgressCallback, no_progress
from ovseg_demo.proposals.types import Proposals
from ovseg_demo.runtime.devices import Runtime

SETUPTOOLS_COMMAND = "pip install 'setuptools<81'"
INSTALL_COMMAND = (
    f"{SETUPTOOLS_COMMAND} wheel && pip install --no-build-isolation -r requirements-detectron2.txt"
)


class Detectron2ProposalGenerator:
    """Proposes the instance or panoptic masks of a detectron2 model.

    This is a :class:`~ovseg_demo.proposals.types.ProposalGenerator`. It ignores the model's class labels;
    stage 2 names the masks. Masks have the image's own resolution. The score of a proposal is the instance's
    confidence, or 1 for a panoptic segment without one. Mask R-CNN and Panoptic FPN have been run.

    Args:
        config: a YAML file, the name of one in detectron2's model zoo
            ("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml"), or a ``CfgNode`` for models of projects
            that add their own settings. YAML that would execute code is refused.
        weights: a file, or an address that detectron2 reads ("detectron2://…", "https://…"). detectron2
            unpickles ``.pkl`` files, which may execute code: use only files from a source that you trust.
        runtime: the device; by default the CPU. detectron2 models run in float32.

    Raises:
        MissingDependencyError: detectron2, or the old setuptools that it imports, is not installed.
        ModelError: there is no such config, or it has settings that detectron2 does not know.
        CheckpointError: there is no such weights file.
    """

    name = "detectron2"

    def __init__(self, config: str | Path | Any, weights: str | Path, runtime: Runtime | None = None):
        runtime = runtime or Runtime(torch.device("cpu"))
        engine = _import("detectron2.engine")
        if "://" not in str(weights) and not Path(weights).is_file():
            raise CheckpointError(f"There is no file {weights} with weights for detectron2; check the path.")
        config = _read_config(config)
        self._settings = (self.name, config.dump())  # before the weights, whose path is no setting
        config.MODEL.WEIGHTS = str(weights)
        config.MODEL.DEVICE = str(runtime.device)
        self.predictor = engine.DefaultPredictor(config)

    @property
    def settings(self) -> tuple:
        """Everything except the image that determines the proposals."""
        return self._settings

    def __call__(self, image: np.ndarray, *, progress: ProgressCallback = no_progress) -> Proposals:
        """Return the proposals for an RGB image, uint8 (H, W, 3).

        Raises:
            ModelError: the model outputs neither instance nor panoptic masks.
        """
        progress(PROPOSING, 0, 1)
        bgr = np.ascontiguousarray(image[:, :, ::-1])  # what DefaultPredictor expects
        masks, scores = read_masks(self.predictor(bgr))
        nonempty = masks.any(axis=(1, 2))
        proposals = Proposals.from_masks(masks[nonempty], scores[nonempty], image, image.shape[:2], self.name)
        progress(PROPOSING, 1, 1)
        return proposals

    def fallbacks(self) -> Iterator[tuple[str, Detectron2ProposalGenerator]]:
        """Yield nothing: the config alone determines all sizes."""
        return iter(())


def read_masks(outputs: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return the masks, bool (N, H, W), and scores, float32 (N,), in one image's outputs of detectron2.

    Panoptic segments are preferred to instances, because they cover stuff as well as things.

    Raises:
        ModelError: the outputs have neither panoptic segments nor instances with masks.
    """
    if "panoptic_seg" in outputs:
        return _read_panoptic(*outputs["panoptic_seg"])
    if "instances" in outputs and outputs["instances"].has("pred_masks"):
        instances = outputs["instances"]
        return instances.pred_masks.bool().cpu().numpy(), instances.scores.float().cpu().numpy()
    raise ModelError(
        "This detectron2 model outputs no instance or panoptic masks, only "
        f"{', '.join(sorted(outputs))}; choose an instance or panoptic segmentation model."
    )


def _read_panoptic(segments: torch.Tensor, infos: list[dict] | None) -> tuple[np.ndarray, np.ndarray]:
    if infos is None:  # then every value except -1 (void) is a segment
        infos = [{"id": int(segment)} for segment in segments.unique() if segment >= 0]
    segments = segments.cpu().numpy()
    masks = np.zeros((len(infos), *segments.shape), dtype=bool)
    for mask, info in zip(masks, infos, strict=True):
        np.equal(segments, info["id"], out=mask)
    scores = np.array([info.get("score", 1.0) for info in infos], dtype=np.float32)
    return masks, scores


def _import(name: str) -> ModuleType:
    """Return a module of detectron2.

    Raises:
        MissingDependencyError: a package is missing; the message names the command that installs it.
    """
    try:
        import_module("detectron2")
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name == "detectron2":
            raise MissingDependencyError(
                f'detectron2 is not installed; run "{INSTALL_COMMAND}" once torch is installed, or choose '
                "another proposal generator."
            ) from error
        if error.name == "pkg_resources":
            raise MissingDependencyError(
                "detectron2 imports pkg_resources, which setuptools has not contained since version 81; run "
                f'"{SETUPTOOLS_COMMAND}".'
            ) from error
        raise


def _read_config(config: str | Path | Any) -> Any:
    if not isinstance(config, str | Path):
        return config.clone()
    model_zoo, get_cfg = _import("detectron2.model_zoo"), _import("detectron2.config").get_cfg
    path = Path(config)
    if not path.is_file():
        try:
            path = Path(model_zoo.get_config_file(str(config)))
        except RuntimeError as error:
            raise ModelError(
                f'There is no detectron2 config "{config}": it is neither a file nor a name in the model zoo.'
            ) from error
    node = get_cfg()
    try:
        node.merge_from_file(str(path), allow_unsafe=False)
    except (AssertionError, KeyError, ValueError) as error:
        raise ModelError(
            f'detectron2 cannot use the config "{config}" ({_reason(error)}); for a model of a project that '
            "adds settings of its own, such as Mask2Former, give a CfgNode in Python."
        ) from error
    return node


def _reason(error: Exception) -> str:
    """Return an error's message in one line, without the quotes that a ``KeyError`` puts around it."""
    return " ".join(str(error.args[0] if error.args else type(error).__name__).split())
