"""User errors. Each message is one clear sentence that names the value and the remedy."""


class OvsegError(Exception):
    """Base of all user errors. The page, the endpoint and the command line display the message.

    The message says in one or two sentences what was given, what was expected and what to do.
    """


class ImageError(OvsegError):
    """A file or array is no image that can be segmented: unknown format, damaged, empty or too large."""


class VocabularyError(OvsegError):
    """Class names that cannot be used: none, too many, or one too long."""


class CheckpointError(OvsegError):
    """A weights file is missing, truncated, unsafe, or of another kind than expected."""


class DownloadError(OvsegError):
    """A weights file could not be downloaded, or its content is not what was expected."""


class ModelError(OvsegError):
    """A model, generator, classifier or setting that does not exist or that this model lacks."""


class DeviceError(OvsegError):
    """The machine lacks the device, or the device cannot compute in the precision."""


class MissingDependencyError(OvsegError):
    """An optional package is absent; the message names the command that installs it."""


class ServerError(OvsegError):
    """The page cannot be served with these settings."""


class DatasetError(OvsegError):
    """A data set's folder lacks files, or holds labels outside its vocabulary."""


class Cancelled(OvsegError):  # noqa: N818 (not a failure: the visitor asked for it)
    """Raised by a progress callback to stop a running segmentation; caches stay valid."""
