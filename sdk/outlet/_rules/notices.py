"""What a notification may be."""

from outlet._rules.refusal import ApiRefusal

PERMISSION = "notify:send"
MAX_USER = 256
MAX_TITLE = 200
MAX_MESSAGE = 2_000


def check_notice(user: str, title: str, message: str) -> None:
    """Raises ApiRefusal ``invalid_value``."""
    limited = (
        ("user_id", user, MAX_USER),
        ("title", title, MAX_TITLE),
        ("message", message, MAX_MESSAGE),
    )
    for name, text, most in limited:
        if not text.strip() or len(text) > most:
            raise ApiRefusal("invalid_value", f"{name}: 1 to {most} characters")
