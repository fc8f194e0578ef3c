"""How a worker's sessions at the database behave."""

MARGIN_SECONDS = 5.0


def session_settings(longest_call: float) -> dict[str, str]:
    """Server parameters for a worker's connections; ``longest_call`` is the longest deadline of a plugin's call (s).

    A worker that is frozen, or cut off, keeps its transactions open, and with them the inbox rows of the events it was
    at: whoever gets these events next would wait for it, as long as that takes. A plugin's call is over by its
    deadline; the server ends a session that has its transaction idle for longer, and what the worker did is undone.
    """
    return {"idle_in_transaction_session_timeout": str(round((longest_call + MARGIN_SECONDS) * 1000))}  # milliseconds
