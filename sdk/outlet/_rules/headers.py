"""The headers of a plugin's request: what it may set, and secrets put in place of their names."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from outlet._rules.refusal import ApiRefusal

MAX_HEADERS = 64
MAX_HEADER_BYTES = 16 * 1024

NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
VALUE = re.compile(r"[\t\x20-\x7e]*")
SECRET = re.compile(r"\{\{secret:([^{}]*)\}\}")

# What frames the message or speaks to proxies is the platform's; so is what it can decompress.
RESERVED = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "forwarded",
        "host",
        "http2-settings",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
    }
)
RESERVED_PREFIXES = ("proxy-", "sec-", "x-forwarded-")
HARMLESS = frozenset({"accept", "accept-language", "content-type", "user-agent"})
"""What follows a redirect to another origin. Anything else may be a credential."""


@dataclass(frozen=True, slots=True)
class RequestHeaders:
    """Headers ready to be sent, names in lower case. ``injected``: the values of secrets among them, by their names."""

    items: list[tuple[str, str]]
    injected: dict[str, str]

    def has(self, name: str) -> bool:
        """Whether a header is set; ``name`` in lower case."""
        return any(found == name for found, _ in self.items)


Secrets = Callable[[str], str | None]
"""The value of the secret with this name, None when there is none. Raises ApiRefusal when it cannot be read."""


def request_headers(given: Mapping[str, str], secrets: Secrets) -> RequestHeaders:
    """Check headers and put secrets in where values say ``{{secret:name}}``. Raises ApiRefusal."""
    items: list[tuple[str, str]] = []
    injected: dict[str, str] = {}
    for name, value in given.items():
        lower = name.lower()
        if not NAME.fullmatch(name):
            raise ApiRefusal("invalid_header", f"{name[:60]!r} is no name of a header")
        if lower in RESERVED or lower.startswith(RESERVED_PREFIXES):
            raise ApiRefusal("invalid_header", f"the platform sets {lower} itself; leave it out")
        if not VALUE.fullmatch(value):
            raise ApiRefusal("invalid_header", f"the value of {lower} must be printable ASCII")
        items.append((lower, _with_secrets(value, secrets, injected)))
    size = sum(len(name) + len(value) + 4 for name, value in items)
    if len(items) > MAX_HEADERS or size > MAX_HEADER_BYTES:
        raise ApiRefusal("invalid_header", f"at most {MAX_HEADERS} headers with {MAX_HEADER_BYTES} bytes together")
    return RequestHeaders(items, injected)


def _with_secrets(value: str, secrets: Secrets, injected: dict[str, str]) -> str:
    def inject(found: re.Match[str]) -> str:
        name = found[1]
        secret = secrets(name)
        if secret is None:
            raise ApiRefusal("unknown_secret", f"there is no secret setting {name[:60]!r}, or it has no value")
        if not secret or not VALUE.fullmatch(secret):
            raise ApiRefusal("unusable_secret", f"the secret {name[:60]!r} is not printable ASCII")
        injected[name] = secret
        return secret

    return SECRET.sub(inject, value)
