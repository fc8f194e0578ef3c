"""What each method of the Plugin API takes: one module per group, for the host and for the test kit alike."""

import msgspec


class Arguments(msgspec.Struct, forbid_unknown_fields=True):
    """What one method takes. Whatever a plugin sends is converted to this, or refused."""
