"""Every error that a user can cause or meet: one clear sentence that names the value and the remedy."""


class OvsegError(Exception):
    """Base of all errors that are shown to users as they are.

    The message is one sentence (or two) that says what was given, what was expected and what to do.
    """


class ImageError(OvsegError):
    """A file or array is no image that can be segmented: foreign, truncated, empty or too large."""


class VocabularyError(OvsegError):
    """Class names that cannot be used: none, too many, or one too long."""


class CheckpointError(OvsegError):
    """A weights file is missing, cut off, unsafe, or not of the kind that was expected."""


class DownloadError(OvsegError):
    """A weights file could not be fetched, or what came is not what was announced."""


class ModelError(OvsegError):
    """A model, generator, classifier or setting that does not exist or that this model lacks."""


class DeviceError(OvsegError):
    """The device that was asked for is not there, or cannot run the precision that was asked for."""


class MissingDependencyError(OvsegError):
    """An optional package is absent; the message names the command that installs it."""


class ServerError(OvsegError):
    """The page cannot be served as it was asked for."""


class DatasetError(OvsegError):
    """A data set's folder lacks files, or holds labels outside its vocabulary."""


class Cancelled(OvsegError):  # noqa: N818 (not a failure: the visitor asked for it)
    """Raised by a progress callback to stop a running segmentation; caches stay valid."""
