"""Reading weights files: what is recognised, what is refused, and that nothing in a file ever runs."""

import io
import json
import pickle
import sys
import warnings
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ovseg_demo.classification.clip.classifier import MaskAdaptedClip
from ovseg_demo.errors import CheckpointError
from ovseg_demo.models.checkpoints import IGNORED, Checkpoint, CheckpointKind, read_checkpoint
from ovseg_demo.proposals.maskformer.network import build_maskformer
from ovseg_demo.runtime.devices import Runtime
from tests.paths import DATA, SHARED

REFERENCE = SHARED / "reference"
PUBLISHED = ("ovseg_swinbase_vitL14_ft_mpt", "ovseg_R101c_vitB16_ft_mpt")

CLIP = {
    "visual.conv1.weight": torch.randn(8, 3, 4, 4),
    "visual.mask_embedding": torch.randn(3, 4, 8),
    "token_embedding.weight": torch.randn(10, 8).half(),
}
SAM = {
    "image_encoder.pos_embed": torch.randn(1, 4, 4, 8),
    "prompt_encoder.no_mask_embed.weight": torch.randn(1, 8),
    "mask_decoder.iou_token.weight": torch.randn(1, 8),
}
MASKFORMER = {
    "backbone.layers.0.weight": torch.randn(4, 3),
    "sem_seg_head.pixel_decoder.adapter_1.weight": torch.randn(4, 4, 1, 1),
    "sem_seg_head.predictor.query_embed.weight": torch.randn(5, 4),
    "clip_adapter.non_object_embedding": torch.randn(1, 8),
}
OVSEG = MASKFORMER | {f"clip_adapter.clip_model.{name}": tensor for name, tensor in CLIP.items()}


def save(path: Path, content: object, **options) -> Path:
    torch.save(content, path, **options)
    return path


def assert_same(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def complaint(path: Path, expect: CheckpointKind | None = None) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path, expect)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- what is recognised


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ({"model": OVSEG}, CheckpointKind.OVSEG),
        (OVSEG, CheckpointKind.OVSEG),
        ({"model": OVSEG, "iteration": 120000, "optimizer": {"state": {}}}, CheckpointKind.OVSEG),
        (CLIP, CheckpointKind.CLIP),
        ({"epoch": 5, "state_dict": {f"module.{name}": t for name, t in CLIP.items()}}, CheckpointKind.CLIP),
        ({f"module.model.{name}": t for name, t in CLIP.items()}, CheckpointKind.CLIP),
        (SAM, CheckpointKind.SAM),
        ({"model": {"state_dict": SAM}}, CheckpointKind.SAM),
    ],
)
def test_is_recognised_by_content_under_any_wrapper(tmp_path, content, kind):
    checkpoint = read_checkpoint(save(tmp_path / "weights.pth", content))
    assert checkpoint.kind is kind
    expected = {CheckpointKind.OVSEG: OVSEG, CheckpointKind.CLIP: CLIP, CheckpointKind.SAM: SAM}[kind]
    assert_same(checkpoint.tensors, expected)


def test_all_formats_read_alike(tmp_path):
    safetensors.torch.save_file(OVSEG, tmp_path / "weights.safetensors")
    files = [
        save(tmp_path / "today.pth", OVSEG),
        save(tmp_path / "before_torch_1_6.pth", OVSEG, _use_new_zipfile_serialization=False),
        tmp_path / "weights.safetensors",
    ]
    for path in files:
        assert_same(read_checkpoint(path, CheckpointKind.OVSEG).tensors, OVSEG)


def test_views_have_the_builders_names(tmp_path):
    checkpoint = read_checkpoint(save(tmp_path / "ovseg.pth", {"model": OVSEG}))
    assert_same(checkpoint.clip(), CLIP)
    maskformer = {name.removeprefix("clip_adapter."): tensor for name, tensor in MASKFORMER.items()}
    assert_same(checkpoint.maskformer(), maskformer)
    assert_same(read_checkpoint(save(tmp_path / "sam.pth", SAM)).sam(), SAM)


def test_old_spelling_of_the_pixel_decoder(tmp_path):
    old = {name.replace("pixel_decoder.", ""): tensor for name, tensor in OVSEG.items()}
    assert "sem_seg_head.adapter_1.weight" in old
    assert_same(read_checkpoint(save(tmp_path / "old.pth", old)).tensors, OVSEG)


def test_learned_prompts_belong_to_the_clip(tmp_path):
    learned = {"prefix_prompt": torch.randn(16, 8), "suffix_prompt": torch.randn(0, 8)}
    copies = {f"{token}_signal": torch.randn(1, 8) for token in ("start", "dot", "end", "pad")}
    prompts = {f"clip_adapter.prompt_learner.{name}": t for name, t in (learned | copies).items()}
    checkpoint = read_checkpoint(save(tmp_path / "simseg.pth", OVSEG | prompts))
    assert_same(checkpoint.clip(), CLIP | {f"prompt_learner.{name}": t for name, t in learned.items()})


def test_constants_and_derived_buffers_reach_no_builder(tmp_path):
    derived = {
        "criterion.empty_weight": torch.ones(172),
        "clip_adapter.pixel_mean": torch.zeros(1, 3, 1, 1),
        "clip_adapter.pixel_std": torch.ones(1, 3, 1, 1),
        "backbone.layers.0.blocks.0.attn.relative_position_index": torch.zeros(4, 4, dtype=torch.int64),
        "backbone.layers.0.blocks.1.attn_mask": torch.zeros(4, 4),
        "backbone.norm.num_batches_tracked": torch.tensor(0),
        "clip_adapter.clip_model.attn_mask": torch.zeros(77, 77),
    }
    checkpoint = read_checkpoint(save(tmp_path / "ovseg.pth", {"model": OVSEG | derived}))
    assert_same(checkpoint.clip(), CLIP)
    assert checkpoint.maskformer().keys() == {name.removeprefix("clip_adapter.") for name in MASKFORMER}
    assert all(IGNORED.values())


def test_an_ovseg_file_serves_as_a_clip(tmp_path):
    checkpoint = read_checkpoint(save(tmp_path / "ovseg.pth", {"model": OVSEG}), CheckpointKind.CLIP)
    assert_same(checkpoint.clip(), CLIP)


@given(st.lists(st.sampled_from(["module.", "model.", "_orig_mod."]), max_size=2, unique=True))
def test_prefixes_nest_in_any_order(tmp_path_factory, prefixes):
    path = tmp_path_factory.mktemp("nested") / "clip.pth"
    checkpoint = read_checkpoint(save(path, {"".join(prefixes) + name: t for name, t in CLIP.items()}))
    assert_same(checkpoint.tensors, CLIP)


# ---- published shapes


def shapes(name: str) -> dict[str, tuple[int, ...]]:
    lines = (DATA / f"{name}.shapes.txt").read_text().splitlines()
    return {line.split()[0]: tuple(map(int, line.split()[1:])) for line in lines}


def published(name: str, folder: Path) -> Checkpoint:
    """A file of exactly the published tensors; one stored zero serves each of them, so it stays small."""
    tensors = {tensor: torch.zeros(()).expand(shape) for tensor, shape in shapes(name).items()}
    return read_checkpoint(save(folder / "published.pth", {"model": tensors}), CheckpointKind.OVSEG)


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_tensor_goes_to_one_network(name, tmp_path):
    checkpoint = published(name, tmp_path)
    assert {tensor: tuple(t.shape) for tensor, t in checkpoint.tensors.items()} == shapes(name)
    used = {f"clip_adapter.clip_model.{tensor}" for tensor in checkpoint.clip()}
    used |= set(checkpoint.maskformer()) - {"non_object_embedding"} | {"clip_adapter.non_object_embedding"}
    left = {tensor for tensor in set(checkpoint.tensors) - used if "relative_position_index" not in tensor}
    assert left == {"criterion.empty_weight", "clip_adapter.pixel_mean", "clip_adapter.pixel_std"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_networks_take_all_published_tensors_and_miss_none(name, tmp_path):
    checkpoint = published(name, tmp_path)
    network = build_maskformer(checkpoint.maskformer())
    clip = MaskAdaptedClip.from_tensors(checkpoint.clip(), runtime=Runtime(torch.device("cpu")))
    assert sum(parameter.numel() for parameter in network.parameters()) > 40_000_000
    assert clip.has_mask_prompts and clip.input_size == 224


def test_the_networks_refuse_one_tensor_less_and_one_more(tmp_path):
    checkpoint = published("ovseg_R101c_vitB16_ft_mpt", tmp_path)
    runtime = Runtime(torch.device("cpu"))
    for tensors, build in (
        (checkpoint.maskformer(), build_maskformer),
        (checkpoint.clip(), lambda tensors: MaskAdaptedClip.from_tensors(tensors, runtime=runtime)),
    ):
        name = next(name for name in tensors if name.endswith("bias"))
        for wrong in (
            {n: t for n, t in tensors.items() if n != name},
            tensors | {f"{name}.2": tensors[name]},
        ):
            with pytest.raises(CheckpointError):
                build(wrong)


@pytest.mark.parametrize("name", PUBLISHED)
def test_shapes_are_those_of_the_reference_manifest(name):
    manifest = REFERENCE / f"{name}.manifest.json"
    if not manifest.exists():
        pytest.skip(f"no {manifest}")
    tensors = json.loads(manifest.read_text())["tensors"]
    assert shapes(name) == {tensor: tuple(shape) for tensor, (shape, _dtype) in tensors.items()}


# ---- TorchScript archives


class ImageTower(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 4, bias=False)
        self.ln_pre = nn.LayerNorm(8)
        self.proj = nn.Parameter(torch.randn(4, 8).t().half())
        self.sizes = [8, 4]

    def forward(self, image):
        return self.ln_pre(self.conv1(image).flatten(2).transpose(1, 2)) @ self.proj.float()


class TinyClip(nn.Module):
    def __init__(self):
        super().__init__()
        self.visual = ImageTower()
        self.token_embedding = nn.Embedding(10, 8)
        self.register_buffer("input_resolution", torch.tensor(8))

    def forward(self, image, tokens):
        return self.visual(image), self.token_embedding(tokens)


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> tuple[Path, dict[str, torch.Tensor]]:
    path = tmp_path_factory.mktemp("archive") / "ViT-tiny.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # TorchScript is going; OpenAI's files stay
        scripted = torch.jit.script(TinyClip())
        scripted.save(str(path))
    return path, scripted.state_dict()


def rewrite(archive: Path, path: Path, change) -> Path:
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return path


def test_torchscript_archive_is_a_clip(archive):
    path, state = archive
    checkpoint = read_checkpoint(path, CheckpointKind.CLIP)
    assert_same(checkpoint.tensors, dict(state))
    if sys.platform.startswith("linux"):
        assert str(path) in Path("/proc/self/maps").read_text()  # mapped into memory, not read
    assert "input_resolution" not in checkpoint.clip()
    assert checkpoint.clip()["visual.proj"].dtype == torch.float16


def test_the_program_of_an_archive_is_not_even_compiled(archive, tmp_path):
    path, state = archive
    spoilt = rewrite(path, tmp_path / "spoilt.pt", lambda n, content: b"?" if "/code/" in n else content)
    assert_same(read_checkpoint(spoilt).tensors, dict(state))


def test_a_view_beyond_an_archives_bytes_is_refused(archive, tmp_path):
    path, _ = archive
    short = rewrite(path, tmp_path / "short.pt", lambda n, content: content[:4] if "/data/" in n else content)
    assert "damaged" in complaint(short)


# ---- what is refused


class Intruder:
    """Unpickling it by the book writes a file."""

    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self):
        return open, (str(self.trace), "w")


def intruders(folder: Path, trace: Path) -> list[Path]:
    content = {"model": OVSEG | {"backbone.intruder": Intruder(trace)}}
    plain = folder / "plain.pkl"
    plain.write_bytes(pickle.dumps(content, protocol=2))
    modern = folder / "modern.pkl"
    modern.write_bytes(pickle.dumps(content, protocol=5))
    script = folder / "script.pt"
    with zipfile.ZipFile(script, "w") as file:
        file.writestr("script/data.pkl", pickle.dumps(Intruder(trace), protocol=2))
        file.writestr("script/constants.pkl", pickle.dumps((), protocol=2))
    return [
        save(folder / "zip.pth", content),
        save(folder / "legacy.pth", content, _use_new_zipfile_serialization=False),
        plain,
        modern,
        script,
    ]


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_file_that_would_run_code_is_refused_and_runs_none(tmp_path):
    trace = tmp_path / "trace"
    for path in intruders(tmp_path, trace):
        message = complaint(path)
        assert "was refused" in message and "could run code" in message, message
        assert "safetensors" in message
        assert not trace.exists()


def test_the_error_names_what_a_refused_file_contains(tmp_path):
    assert '"io.open"' in complaint(intruders(tmp_path, tmp_path / "trace")[0])
    assert '"io.open"' in complaint(intruders(tmp_path, tmp_path / "trace")[-1])


@pytest.mark.parametrize(
    ("content", "description"),
    [
        (b"", "is empty"),
        (b"\n \n", "is blank"),
        (b"<!DOCTYPE html><html><title>Google Drive - Quota exceeded</title>", "a web page"),
        (b"\n<html><body>404", "a web page"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "a web page"),
        (b'{"error": "Repository not found"}', "a JSON text"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "git lfs pull"),
        (b"Hello, this is a text.", "not a weights file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not a weights file"),
    ],
)
def test_files_that_are_no_weights_say_what_they_look_like(tmp_path, content, description):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    message = complaint(path)
    assert description in message and str(path) in message and "download it again" in message


def test_missing_file_and_folder(tmp_path):
    assert "There is no weights file" in complaint(tmp_path / "nowhere.pth")
    assert "is a folder" in complaint(tmp_path)


@pytest.mark.parametrize(
    ("content", "looks_like"),
    [
        ({"state_dict": {}}, "a file without any tensor"),
        ([torch.zeros(3)], "a file without any tensor"),
        ({"fc.weight": torch.zeros(2, 2)}, 'a foreign checkpoint of 1 tensors (such as "fc.weight")'),
        ({"visual.conv1.weight": torch.zeros(1)}, "without its text tower"),
        ({"sam_mask_decoder.weight": torch.zeros(1)}, "SAM 2"),
        ({"text_model.x": torch.zeros(1), "vision_model.x": torch.zeros(1)}, "Hugging Face transformers"),
        ({"backbone.res2.weight": torch.zeros(1), "roi_heads.x": torch.zeros(1)}, "detectron2"),
    ],
)
def test_foreign_checkpoints_say_what_they_look_like(tmp_path, content, looks_like):
    path = save(tmp_path / "foreign.pth", content)
    assert looks_like in complaint(path)
    message = complaint(path, CheckpointKind.SAM)
    assert "a Segment Anything checkpoint was expected" in message


def test_mixed_up_files_say_where_they_belong(tmp_path):
    sam = save(tmp_path / "sam.pth", SAM)
    message = complaint(sam, CheckpointKind.OVSEG)
    assert "looks like a Segment Anything checkpoint, but an OVSeg" in message
    assert "give it as sam=…" in message
    clip = save(tmp_path / "clip.pth", CLIP)
    assert "looks like a CLIP" in complaint(clip, CheckpointKind.OVSEG)
    assert "looks like an OVSeg" in complaint(save(tmp_path / "ovseg.pth", OVSEG), CheckpointKind.SAM)


def test_a_view_that_a_file_cannot_give_is_refused(tmp_path):
    clip = read_checkpoint(save(tmp_path / "clip.pth", CLIP))
    maskformer = read_checkpoint(save(tmp_path / "maskformer.pth", MASKFORMER))
    closed = {name: t for name, t in OVSEG.items() if "non_object" not in name}
    for view in (
        clip.sam,
        clip.maskformer,
        maskformer.clip,
        read_checkpoint(save(tmp_path / "closed.pth", closed)).maskformer,
        read_checkpoint(save(tmp_path / "sam.pth", SAM)).clip,
    ):
        with pytest.raises(CheckpointError, match="was expected"):
            view()


def test_tensors_of_another_variant_are_not_dropped_in_silence(tmp_path):
    variant = OVSEG | {"second_adapter.clip_model.visual.proj": torch.zeros(1)}
    assert '"second_adapter.clip_model.visual.proj"' in complaint(save(tmp_path / "variant.pth", variant))


def whole_files() -> dict[str, bytes]:
    zipped, legacy = io.BytesIO(), io.BytesIO()
    torch.save(SAM, zipped)
    torch.save(SAM, legacy, _use_new_zipfile_serialization=False)
    return {"zip": zipped.getvalue(), "legacy": legacy.getvalue(), "safetensors": safetensors.torch.save(SAM)}


WHOLE = whole_files()


@pytest.mark.parametrize("format_name", WHOLE)
@given(kept=st.floats(0, 1, exclude_max=True))
def test_a_cut_off_file_is_refused_wherever_it_was_cut(tmp_path_factory, format_name, kept):
    content = WHOLE[format_name]
    path = tmp_path_factory.mktemp("cut") / "weights.pth"
    path.write_bytes(content[: int(len(content) * kept)])
    complaint(path)


def test_a_cut_off_file_says_how_much_is_there(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(WHOLE["zip"][:1500])
    assert "cut off after 1,500 bytes" in complaint(path)


@pytest.mark.parametrize("keys", [("model",), ("state_dict",), ("model", "state_dict")])
def test_a_file_whose_mapping_contains_itself_is_refused(tmp_path, keys):
    content = inner = {"visual.proj": torch.zeros(1)}
    for key in keys[:-1]:
        inner[key] = {"visual.proj": torch.zeros(1)}
        inner = inner[key]
    inner[keys[-1]] = content
    torch.save(content, tmp_path / "loop.pth")
    with pytest.raises(CheckpointError, match=r'loop\.pth" has an entry that contains itself'):
        read_checkpoint(tmp_path / "loop.pth")
