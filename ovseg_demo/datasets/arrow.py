"""pyarrow, an optional package, which is imported here alone: it reads tables and object stores."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from ovseg_demo.errors import MissingDependencyError


def import_arrow(name: str = "pyarrow") -> ModuleType:
    """Return pyarrow or a module of it, such as "pyarrow.fs".

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingDependencyError(
            "Tables and addresses such as s3://bucket/folder are read by pyarrow, which is not installed; "
            'install it with "pip install pyarrow".'
        ) from error
