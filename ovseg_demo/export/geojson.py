"""The regions of a georeferenced image as GeoJSON: longitude and latitude in degrees (RFC 7946).

The optional rasterio reads the georeference of the image's file and transforms coordinates.
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
    """Yield a collection of features: one for each connected part of a class.

    A part that the 180th meridian crosses is cut there into several polygons (RFC 7946, section 3.1.9).

    Raises:
        MissingDependencyError: rasterio is not installed.
        ImageError: there is no file, it has no georeference, or a part lies outside its projection.
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
            "geometry": reference.geometry(polygon),
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
        file_name: of the image, for messages.
    """

    def __init__(self, rasterio: ModuleType, crs: Any, transform: Any, file_name: str):
        self._rasterio = rasterio
        self._crs = crs
        self._transform = transform
        self._file_name = file_name

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
        return cls(rasterio, crs, transform, source.file_name)

    def geometry(self, polygon: Polygon) -> dict[str, Any]:
        """Return a polygon as GeoJSON has it: closed rings, outer ones counter-clockwise, holes clockwise.

        Raises:
            ImageError: a part of it lies outside the projection.
        """
        rings = [self._in_file(ring).tolist() for ring in (polygon.exterior, *polygon.holes)]
        found = self._in_degrees({"type": "Polygon", "coordinates": rings})
        is_cut = found["type"] == "MultiPolygon"
        polygons = [
            _oriented(rings) for rings in (found["coordinates"] if is_cut else [found["coordinates"]])
        ]
        return {"type": found["type"], "coordinates": polygons if is_cut else polygons[0]}

    def _in_file(self, ring: Ring) -> np.ndarray:
        """Return a ring in the coordinates of the file: float64 (n, 2)."""
        columns, rows = _densify(ring.points).T
        a, b, c, d, e, f, *_ = self._transform
        return np.column_stack([a * columns + b * rows + c, d * columns + e * rows + f])

    def _in_degrees(self, geometry: dict[str, Any]) -> dict[str, Any]:
        try:
            return self._rasterio.warp.transform_geom(
                self._crs, _DEGREES, geometry, antimeridian_cutting=True, precision=_DECIMALS
            )
        except self._rasterio._err.CPLE_BaseError as error:
            raise ImageError(
                f'"{self._file_name}" has regions outside its projection; cut the image, or choose another '
                "format, such as coco."
            ) from error


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


def _oriented(rings: list[list[tuple[float, float]]]) -> list[list[tuple[float, float]]]:
    """Return the rings of a polygon, the first one counter-clockwise and the others clockwise."""
    return [
        ring if (_signed_area(ring) > 0) == (index == 0) else ring[::-1] for index, ring in enumerate(rings)
    ]


def _signed_area(ring: list[tuple[float, float]]) -> float:
    x, y = (np.array(ring) - ring[0]).T
    return float(x[:-1] @ y[1:] - x[1:] @ y[:-1])


def _import_rasterio() -> ModuleType:
    try:
        import_module("rasterio.warp")
        return import_module("rasterio")
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f'GeoJSON needs the package rasterio; install it with "{INSTALL_COMMAND}".'
        ) from error
