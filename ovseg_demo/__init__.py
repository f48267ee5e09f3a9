"""Open-vocabulary semantic segmentation: type class names, see the map."""
