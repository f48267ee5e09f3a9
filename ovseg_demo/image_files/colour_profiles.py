"""Colours of an ICC profile as those of sRGB."""

from __future__ import annotations

import io

from PIL import Image, ImageCms


def to_rgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return an image of mode L, RGB or CMYK in the colours of sRGB: mode RGB.

    A profile that is damaged, or of other colours than the image's, is ignored.
    """
    if not profile:
        return image.convert("RGB")
    try:
        source = ImageCms.getOpenProfile(io.BytesIO(profile))
        if _is_srgb(source):
            return image.convert("RGB")
        target = ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image.convert("RGB")


def _is_srgb(profile: ImageCms.ImageCmsProfile) -> bool:
    return "srgb" in (profile.profile.profile_description or "").lower()
