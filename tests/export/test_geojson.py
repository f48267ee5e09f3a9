"""Rasterio burns GeoJSON back into the pixels of a GeoTIFF."""

import json
import sys

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.features import rasterize
from rasterio.transform import from_origin
from rasterio.warp import transform_geom

from ovseg_demo.errors import ImageError, MissingDependencyError
from ovseg_demo.export.formats import encode
from ovseg_demo.export.options import ExportOptions
from ovseg_demo.images import load_image, read_source
from tests.export.samples import SHAPES, with_label_map

CRS = "EPSG:32632"
TRANSFORM = from_origin(500_000, 5_500_000, 10, 10)  # pixels of 10 m in western Germany


def save_geotiff(path, image, **georeference):
    height, width, _ = image.shape
    with rasterio.open(path, "w", "GTiff", width, height, 3, dtype="uint8", **georeference) as file:
        file.write(image.transpose(2, 0, 1))
    return path


def export(segmentation, path, file=None):
    options = ExportOptions(source=read_source(path), file=file or path)
    return json.loads(encode(segmentation, "geojson", options))


@pytest.mark.parametrize("name", SHAPES)
def test_rasterio_burns_the_regions_back(tmp_path, name):
    segmentation = with_label_map(SHAPES[name])
    path = save_geotiff(tmp_path / "field.tif", segmentation.image, crs=CRS, transform=TRANSFORM)
    np.testing.assert_array_equal(load_image(path), segmentation.image)
    features = export(segmentation, path)["features"]
    shapes = [
        (transform_geom("EPSG:4326", CRS, feature["geometry"]), feature["properties"]["id"])
        for feature in features
    ]
    found = np.zeros(SHAPES[name].shape, np.int32)
    if shapes:
        found = rasterize(shapes, SHAPES[name].shape, transform=TRANSFORM, dtype="int32")
    np.testing.assert_array_equal(found - 1, SHAPES[name])


def test_a_region_across_the_180th_meridian_is_cut_there(tmp_path):
    segmentation = with_label_map(SHAPES["a ring"])
    _, width = SHAPES["a ring"].shape
    east = 3_339_584.7  # of 150° in this projection: 180°
    transform = from_origin(east - 1000 * (width // 2 + 0.5), 500_000, 1000, 1000)
    path = save_geotiff(tmp_path / "pacific.tif", segmentation.image, crs="EPSG:3832", transform=transform)
    (feature,) = export(segmentation, path)["features"]
    assert feature["geometry"]["type"] == "MultiPolygon"
    for polygon in feature["geometry"]["coordinates"]:
        longitudes = np.array(polygon[0])[:, 0]
        assert np.ptp(longitudes) < 1, "and does not go around the earth"
        assert np.isclose(np.abs(longitudes).max(), 180)


def test_a_region_outside_the_projection_is_an_error(tmp_path):
    segmentation = with_label_map(SHAPES["a ring"])
    height, width = SHAPES["a ring"].shape
    transform = from_origin(-6_000_000, 6_000_000, 12_000_000 / width, 12_000_000 / height)
    disk = "+proj=geos +h=35785831 +lon_0=0 +sweep=y"
    path = save_geotiff(tmp_path / "disk.tif", segmentation.image, crs=disk, transform=transform)
    with pytest.raises(ImageError, match="has regions outside its projection"):
        export(segmentation, path)


def test_features_have_the_class_and_lie_where_the_image_does(tmp_path):
    segmentation = with_label_map(SHAPES["a ring"])
    path = save_geotiff(tmp_path / "field.tif", segmentation.image, crs=CRS, transform=TRANSFORM)
    (feature,) = export(segmentation, path)["features"]
    (in_memory,) = export(segmentation, path, path.read_bytes())["features"]
    assert in_memory == feature
    assert feature["properties"]["class"] == "red"
    assert feature["properties"]["image"] == "field.tif"
    outer, hole = (np.array(ring) for ring in feature["geometry"]["coordinates"])
    assert (outer[0] == outer[-1]).all(), "rings are closed"
    assert np.abs(outer.mean(axis=0) - (9.002, 49.652)).max() < 0.01, "longitude, then latitude"
    assert signed_area(outer) > 0 > signed_area(hole), "counter-clockwise, and clockwise"


def test_long_edges_follow_the_projection(tmp_path):
    """A straight edge of 50 km in UTM is bent in degrees: without points between, it would be pixels away."""
    label_map = np.zeros((40, 2500), np.int32)
    transform = from_origin(500_000, 7_500_000, 20, 20)
    path = save_geotiff(
        tmp_path / "strip.tif", np.zeros((*label_map.shape, 3), np.uint8), crs=CRS, transform=transform
    )
    (feature,) = export(with_label_map(label_map), path)["features"]
    points = np.array(feature["geometry"]["coordinates"][0])
    longitudes, latitudes = (points[:-1] + points[1:]).T / 2
    xs, ys = rasterio.warp.transform("EPSG:4326", CRS, longitudes, latitudes)
    columns, rows = (np.array(xs) - 500_000) / 20, (7_500_000 - np.array(ys)) / 20
    outside = np.minimum(
        np.minimum(np.abs(columns), np.abs(columns - 2500)), np.minimum(np.abs(rows), np.abs(rows - 40))
    )
    assert outside.max() < 0.01


def signed_area(line):
    x, y = (line - line[0]).T
    return x[:-1] @ y[1:] - x[1:] @ y[:-1]


def test_an_image_without_georeference_is_refused(tmp_path):
    segmentation = with_label_map(SHAPES["a ring"])
    Image.fromarray(segmentation.image).save(tmp_path / "photo.png")
    Image.fromarray(segmentation.image).save(tmp_path / "scan.tif")
    for name in ("photo.png", "scan.tif"):
        with pytest.raises(ImageError, match=f'"{name}" has no georeference; give a GeoTIFF'):
            export(segmentation, tmp_path / name)
    with pytest.raises(ImageError, match="needs the file of the image"):
        encode(segmentation, "geojson")


def test_without_rasterio_a_sentence_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "rasterio.warp", None)
    with pytest.raises(MissingDependencyError, match='rasterio; install it with "pip install rasterio"'):
        encode(with_label_map(SHAPES["a ring"]), "geojson")
