"""How a call into the sandbox can end badly. What the plugin itself failed is a PluginFailed (services.common)."""


class PluginInterrupted(Exception):
    """The guest ended with several calls in it, so nobody can say which one was to blame.

    Nothing of the call may be kept. Call again with ``alone=True`` for a fair verdict.
    """


class SandboxUnavailable(OSError):
    """No guest could be started: the platform's failure, not the plugin's. Trying again may help."""
