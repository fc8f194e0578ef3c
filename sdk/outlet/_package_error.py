"""Why a plugin cannot be a package."""


class PackageError(ValueError):
    """A plugin that cannot be built or opened. The message names the file, the key and what to do."""
