"""A CLIP in open_clip's folder layout against open_clip's own forward passes, in float32."""

import numpy as np
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch.nn import functional as F

from ovseg_demo.classification.clip.open_clip_model import build_open_clip
from ovseg_demo.classification.clip.padded_names import PaddedNames, make_tokenizer
from ovseg_demo.models.clip_sources import read_clip_source
from ovseg_demo.runtime.devices import Runtime
from tests.parity.kits import kits, load_kit, unpack_folder

FLOAT32 = Runtime(torch.device("cpu"), torch.float32)
IMAGE_KITS = kits("open_clip_timm", arrays=("crop_boxes_xyxy",))
TEXT_KITS = kits("open_clip_timm", arrays=("token_ids",))


def load(folder):
    source = read_clip_source(unpack_folder(folder))
    return source, build_open_clip(source.model, source.tensors, FLOAT32), load_kit(folder)


@pytest.mark.parametrize("folder", IMAGE_KITS)
@torch.inference_mode()
def test_image_tower(folder):
    source, model, kit = load(folder)
    image = Image.fromarray(kit.image)
    transform = image_transform_v2(PreprocessCfg(size=model.visual.image_size, **source.preprocessing), False)
    crops = torch.stack([transform(image.crop(box)) for box in kit.outputs["crop_boxes_xyxy"].tolist()])
    kit.assert_close("preprocessed", crops.numpy())
    features = model.encode_image(crops)
    kit.assert_close("image_features_not_normalised", features.numpy())
    kit.assert_close("image_features", F.normalize(features, dim=-1).numpy())
    tokens = model.visual.trunk.forward_features(transform(image)[None])[0]
    kit.assert_close("trunk_tokens_of_whole_picture", tokens.numpy())


@pytest.mark.parametrize("folder", TEXT_KITS)
@torch.inference_mode()
def test_text_tower_and_logits(folder):
    pytest.importorskip("tokenizers", reason='needs the package "tokenizers"')
    source, model, kit = load(folder)
    tokenizer = make_tokenizer(source.model["text_cfg"], source.tokenizer)
    ids = [tokenizer(text) for text in kit.config["texts"]]
    np.testing.assert_array_equal(ids, kit.outputs["token_ids"])
    features = PaddedNames(model, tokenizer, source.tensors, FLOAT32).encode(torch.tensor(ids))
    kit.assert_close("text_features_not_normalised", features.numpy())
    texts = F.normalize(features, dim=-1)
    kit.assert_close("text_features", texts.numpy())
    cosines = torch.from_numpy(kit.outputs["image_features"]) @ texts.T
    logits = model.logit_scale.exp() * cosines + model.logit_bias
    kit.assert_close("logits", logits.numpy())
    kit.assert_close("probabilities", logits.sigmoid().numpy())
