import subprocess
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from ovseg_demo.errors import CheckpointError, MissingDependencyError, ModelError
from ovseg_demo.proposals.detectron2 import Detectron2ProposalGenerator, read_masks

REASON = "detectron2 is not installed (requirements-detectron2.txt has the command)"


class Instances(SimpleNamespace):
    """detectron2's Instances, as far as masks are concerned."""

    def has(self, name):
        return hasattr(self, name)


def disc_masks() -> torch.Tensor:
    masks = torch.zeros(3, 6, 8, dtype=torch.bool)
    masks[0, 1:3, 2:5] = True
    masks[2, 5, 7] = True
    return masks  # the second one is empty


def test_absent_detectron2_is_an_error_that_says_how_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "detectron2", None)
    with pytest.raises(
        MissingDependencyError, match="pip install --no-build-isolation -r requirements-detectron2"
    ):
        Detectron2ProposalGenerator("config.yaml", "weights.pth")


def test_a_setuptools_that_is_too_new_is_an_error_that_says_what_to_install(monkeypatch, tmp_path):
    package = tmp_path / "detectron2"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "engine.py").write_text("import pkg_resources\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "pkg_resources", None)
    for name in ("detectron2", "detectron2.engine"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(MissingDependencyError, match=r"pip install 'setuptools<81'"):
        Detectron2ProposalGenerator("config.yaml", "weights.pth")
    sys.modules.pop("detectron2", None)


def test_importing_the_module_does_not_import_detectron2():
    code = "import sys, ovseg_demo.proposals.detectron2; sys.exit('detectron2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_instances_become_masks():
    scores = torch.tensor([0.9, 0.8, 0.7])
    masks, read_scores = read_masks({"instances": Instances(pred_masks=disc_masks(), scores=scores)})
    np.testing.assert_array_equal(masks, disc_masks().numpy())
    np.testing.assert_allclose(read_scores, [0.9, 0.8, 0.7])


@pytest.mark.parametrize(
    ("infos", "ids", "scores"),
    [
        ([{"id": 1, "score": 0.5, "category_id": 3}, {"id": 7, "category_id": 0}], [1, 7], [0.5, 1]),
        ([], [], []),
        (None, [0, 1, 7], [1, 1, 1]),  # without a list every value but -1 is a segment
    ],
)
def test_panoptic_segments_become_masks(infos, ids, scores):
    segments = torch.tensor([[1, 1, 7], [0, -1, 7]])
    instances = Instances(pred_masks=torch.ones(1, 2, 3, dtype=torch.bool), scores=torch.ones(1))
    masks, read_scores = read_masks({"panoptic_seg": (segments, infos), "instances": instances})
    np.testing.assert_array_equal(masks, np.array([segments.numpy() == i for i in ids]).reshape(-1, 2, 3))
    np.testing.assert_allclose(read_scores, scores)


@pytest.mark.parametrize(
    "outputs", [{"sem_seg": torch.zeros(2, 4, 4)}, {"instances": Instances(scores=torch.ones(1))}]
)
def test_models_without_masks_are_refused_by_name_of_what_they_give(outputs):
    with pytest.raises(ModelError, match=next(iter(outputs))):
        read_masks(outputs)


class StandInConfig(SimpleNamespace):
    def clone(self):
        return StandInConfig(MODEL=SimpleNamespace(**vars(self.MODEL)))

    def dump(self):
        return str(self)


@pytest.fixture
def stand_in(monkeypatch):
    """A stand-in for detectron2 whose predictor remembers its image; the real one is tested below."""
    seen = []
    engine = ModuleType("detectron2.engine")
    instances = Instances(pred_masks=disc_masks(), scores=torch.tensor([0.9, 0.8, 0.7]))
    engine.DefaultPredictor = lambda config: lambda bgr: seen.append(bgr) or {"instances": instances}
    monkeypatch.setitem(sys.modules, "detectron2", ModuleType("detectron2"))
    monkeypatch.setitem(sys.modules, "detectron2.engine", engine)
    return seen


def test_generator_gives_bgr_and_drops_empty_masks(stand_in, tmp_path):
    weights = tmp_path / "weights.pth"
    weights.touch()
    generator = Detectron2ProposalGenerator(StandInConfig(MODEL=SimpleNamespace()), weights)
    image = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    reports = []
    proposals = generator(image, progress=lambda *report: reports.append(report[1:]))
    np.testing.assert_array_equal(stand_in[0], image[:, :, ::-1])
    np.testing.assert_array_equal(proposals.masks, disc_masks().numpy()[[0, 2]])
    np.testing.assert_array_equal(proposals.boxes, [[2, 1, 5, 3], [7, 5, 8, 6]])
    np.testing.assert_allclose(proposals.scores, [0.9, 0.7])
    assert (proposals.generator, proposals.image_size) == ("detectron2", (6, 8))
    assert reports == [(0, 1), (1, 1)]
    assert str(weights) not in str(generator.settings), "a moved file is the same model"
    hash(generator.settings)


def test_missing_weights_are_named(stand_in, tmp_path):
    with pytest.raises(CheckpointError, match=r"absent\.pth"):
        Detectron2ProposalGenerator(StandInConfig(MODEL=SimpleNamespace()), tmp_path / "absent.pth")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            KeyError("Non-existent config key: MODEL.MASK_FORMER"),
            "Non-existent config key: MODEL.MASK_FORMER",
        ),
        (AssertionError("Cannot merge a v3 config\ninto a v2 config."), "a v3 config into a v2 config"),
    ],
)
def test_a_config_with_settings_of_a_project_is_one_sentence(stand_in, tmp_path, monkeypatch, error, reason):
    def merge_from_file(path, allow_unsafe):
        raise error

    config = ModuleType("detectron2.config")
    config.get_cfg = lambda: SimpleNamespace(merge_from_file=merge_from_file)
    monkeypatch.setitem(sys.modules, "detectron2.config", config)
    monkeypatch.setitem(sys.modules, "detectron2.model_zoo", ModuleType("detectron2.model_zoo"))
    for name in ("mask2former.yaml", "weights.pth"):
        (tmp_path / name).touch()
    with pytest.raises(ModelError, match=r'"[^"]*mask2former\.yaml" \(.*give a CfgNode in Python') as raised:
        Detectron2ProposalGenerator(tmp_path / "mask2former.yaml", tmp_path / "weights.pth")
    assert reason in str(raised.value) and "\n" not in str(raised.value)


@pytest.fixture(scope="module")
def mask_rcnn(tmp_path_factory):
    """Config and weights of a small untrained Mask R-CNN that keeps its every guess."""
    pytest.importorskip("detectron2", reason=REASON)
    from detectron2 import model_zoo
    from detectron2.modeling import build_model

    config = model_zoo.get_config("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml")
    config.MODEL.RESNETS.DEPTH = 18
    config.MODEL.RESNETS.RES2_OUT_CHANNELS = 64
    config.MODEL.ROI_HEADS.SCORE_THRESH_TEST = 0.0
    config.MODEL.DEVICE = "cpu"
    config.INPUT.MIN_SIZE_TEST = 96
    config.TEST.DETECTIONS_PER_IMAGE = 5
    torch.manual_seed(0)
    weights = tmp_path_factory.mktemp("detectron2") / "weights.pth"
    torch.save({"model": build_model(config).state_dict()}, weights)
    return config, weights


def test_installed_detectron2_proposes_masks(mask_rcnn):
    image = np.random.default_rng(0).integers(0, 256, (80, 120, 3), dtype=np.uint8)
    proposals = Detectron2ProposalGenerator(*mask_rcnn)(image)
    assert len(proposals) > 0
    assert proposals.working_size == (80, 120)


def test_installed_detectron2_refuses_configs_that_run_code(mask_rcnn, tmp_path):
    import yaml

    config = tmp_path / "config.yaml"
    config.write_text('MODEL: !!python/object/apply:eval ["{}"]\n')
    with pytest.raises(yaml.YAMLError):
        Detectron2ProposalGenerator(config, mask_rcnn[1])


def test_installed_detectron2_names_unknown_settings(mask_rcnn, tmp_path):
    (tmp_path / "config.yaml").write_text("MODEL:\n  MASK_FORMER:\n    DROPOUT: 0.1\n")
    with pytest.raises(ModelError, match="MASK_FORMER"):
        Detectron2ProposalGenerator(tmp_path / "config.yaml", mask_rcnn[1])


def test_installed_detectron2_names_unknown_configs(mask_rcnn):
    with pytest.raises(ModelError, match="no-such-config"):
        Detectron2ProposalGenerator("no-such-config.yaml", mask_rcnn[1])
