"""The regions of a georeferenced image as GeoJSON: longitude and latitude in degrees (RFC 7946).

The optional rasterio reads the georeference of the image's file.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ovseg_demo.errors import ImageError, MissingDependencyError
from ovseg_demo.export.files import ExportFile, to_json
from ovseg_demo.export.label_map import FIRST_ID
from ovseg_demo.export.polygons import Polygon, Ring, trace_polygons
from ovseg_demo.export.sized import SizedSegmentation
from ovseg_demo.visualization.palette import class_colors, hex_color

INSTALL_COMMAND = "pip install rasterio"

_DEGREES = "EPSG:4326"
_LONGEST = 32  # pixels; a longer edge gets points between its ends, as it is no straight line in degrees
_DECIMALS = 9  # of a degree: a tenth of a millimetre


def write(sized: SizedSegmentation) -> Iterator[ExportFile]:
    """Yield a collection of features: a polygon for each connected part of a class.

    Raises:
        MissingDependencyError: rasterio is not installed.
        ImageError: the image's file has no georeference, or there is no file.
    """
    rasterio = _import_rasterio()
    reference = _Georeference.read(rasterio, sized)
    colors = class_colors(sized.class_names)
    features = [
        {
            "type": "Feature",
            "properties": {
                "class": sized.class_names[polygon.label],
                "id": polygon.label + FIRST_ID,
                "color": hex_color(colors[polygon.label]),
                "score": float(sized.segmentation.scores[polygon.label]),
                "image": sized.options.image_name,
            },
            "geometry": {"type": "Polygon", "coordinates": reference.coordinates(polygon)},
        }
        for polygon in trace_polygons(sized.label_map)
    ]
    collection = {"type": "FeatureCollection", "features": features}
    yield ExportFile(f"{sized.options.file_stem}.geojson", to_json(collection, indent=None))


class _Georeference:
    """Where on the earth the pixels of an image are.

    Args:
        rasterio: the package.
        crs: the coordinate reference system of the file.
        transform: from columns and rows to its coordinates.
    """

    def __init__(self, rasterio: ModuleType, crs: Any, transform: Any):
        self._rasterio = rasterio
        self._crs = crs
        self._transform = transform

    @classmethod
    def read(cls, rasterio: ModuleType, sized: SizedSegmentation) -> _Georeference:
        """Return the georeference of the file that was segmented."""
        file, source = sized.options.file, sized.options.source
        if file is None or source is None:
            raise ImageError("GeoJSON needs the file of the image, a GeoTIFF; segment a file.")
        if source.is_turned:
            raise ImageError(
                f'"{source.file_name}" has an orientation tag, which turns its pixels away from its '
                "georeference; save it without the tag."
            )
        crs, transform = _read_georeference(rasterio, file)
        if crs is None or transform.is_identity:
            raise ImageError(
                f'"{source.file_name}" has no georeference; give a GeoTIFF with a coordinate reference '
                "system, or choose another format, such as coco."
            )
        return cls(rasterio, crs, transform)

    def coordinates(self, polygon: Polygon) -> list[list[list[float]]]:
        """Return a polygon's rings as GeoJSON has them: closed, the outer one counter-clockwise."""
        rings = [self._in_degrees(ring) for ring in (polygon.exterior, *polygon.holes)]
        if _signed_area(rings[0]) < 0:
            rings = [ring[::-1] for ring in rings]
        return [ring.tolist() for ring in rings]

    def _in_degrees(self, ring: Ring) -> np.ndarray:
        columns, rows = _densify(ring.points).T
        a, b, c, d, e, f, *_ = self._transform
        x, y = a * columns + b * rows + c, d * columns + e * rows + f
        longitude, latitude = self._rasterio.warp.transform(self._crs, _DEGREES, x, y)
        return np.round(np.column_stack([longitude, latitude]), _DECIMALS)


def _read_georeference(rasterio: ModuleType, file: str | Path | bytes) -> tuple[Any, Any]:
    """Return the coordinate reference system and the transform of a file; (None, …) where it has none."""
    try:
        with warnings.catch_warnings():  # that there is no georeference: the caller says so
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(io.BytesIO(file) if isinstance(file, bytes) else Path(file)) as opened:
                return opened.crs, opened.transform
    except rasterio.errors.RasterioIOError:  # a format that GDAL does not read has no georeference
        return None, None


def _densify(points: np.ndarray) -> np.ndarray:
    """Return a closed line through the points of a ring; float64 (n, 2), the last point equals the first."""
    ends = np.roll(points, -1, axis=0)
    pieces = np.maximum(1, np.ceil(np.abs(ends - points).max(axis=1) / _LONGEST)).astype(np.int64)
    first = np.repeat(np.arange(len(points)), pieces)
    step = np.arange(len(first)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    part = (step / pieces[first])[:, None]
    return np.concatenate([points[first] + part * (ends - points)[first], points[:1]])


def _signed_area(line: np.ndarray) -> float:
    x, y = (line - line[0]).T
    return float(x[:-1] @ y[1:] - x[1:] @ y[:-1])


def _import_rasterio() -> ModuleType:
    try:
        import_module("rasterio.warp")
        return import_module("rasterio")
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f'GeoJSON needs the package rasterio; install it with "{INSTALL_COMMAND}".'
        ) from error
