"""Secret settings at rest: sealed by the registry before it stores them, opened by the runtime to send a request.

A sealed value is ``{"sealed": "1.<key id>.<data>"}``; an unsealed one is text, so the two are never mistaken. The data
is AES-256-GCM (NIST SP 800-38D) with a random nonce of 96 bits. Where the value belongs is its associated data: copied
to another installation or setting it cannot be opened.
"""

import hashlib
import json
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from dataclasses import dataclass
from typing import Any, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
NONCE_BYTES = 12
FORMAT = "1"
MEMBER = "sealed"


class UnusableKeys(ValueError):
    """Text that is no list of keys; the message does not repeat it."""


class SecretUnreadable(Exception):
    """A sealed value that none of the keys opens here; the message says why, and tells nothing of the value."""


@dataclass(frozen=True, slots=True)
class SecretPlace:
    """Where a secret setting belongs."""

    organization: str
    plugin_id: str
    installation_id: str
    name: str

    def associated_data(self) -> bytes:
        return json.dumps(
            ["outlet-secret-setting", self.organization, self.plugin_id, self.installation_id, self.name]
        ).encode()


def new_key() -> str:
    """A random key, as settings hold it: 32 bytes in base64url."""
    return urlsafe_b64encode(os.urandom(KEY_BYTES)).decode().rstrip("=")


class SecretKeys:
    """The keys of an operator: the first one seals, each of them opens."""

    def __init__(self, keys: list[bytes]) -> None:
        self._ciphers = {_key_id(key): AESGCM(key) for key in keys}
        self._current = _key_id(keys[0])
        self._keys = tuple(keys)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Keys of 32 bytes in base64url, separated by commas. Raises :class:`UnusableKeys`."""
        keys = []
        for number, part in enumerate(text.split(","), 1):
            try:
                keys.append(_decode(part.strip()))
            except (NotBase64, ValueError):
                raise UnusableKeys(f"key {number} is not base64url") from None
            if len(keys[-1]) != KEY_BYTES:
                raise UnusableKeys(f"key {number} has {len(keys[-1])} bytes; a key has {KEY_BYTES}")
        return cls(keys)

    def derived(self, purpose: bytes) -> list[bytes]:
        """A key of 32 bytes for another purpose from each of the keys, in their order (HKDF-SHA-256, RFC 5869)."""
        return [HKDF(hashes.SHA256(), KEY_BYTES, salt=None, info=purpose).derive(key) for key in self._keys]

    def seal(self, value: str, place: SecretPlace) -> dict[str, str]:
        """``value`` as it may be stored and published."""
        nonce = os.urandom(NONCE_BYTES)
        data = nonce + self._ciphers[self._current].encrypt(nonce, value.encode(), place.associated_data())
        return {MEMBER: f"{FORMAT}.{self._current}.{urlsafe_b64encode(data).decode()}"}

    def open(self, stored: Any, place: SecretPlace) -> str:
        """The value that was sealed for ``place``. Raises :class:`SecretUnreadable`."""
        key_id, data = _parts(stored)
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise SecretUnreadable(f"it was sealed with the key {key_id}, which is none of OUTLET_SECRET_KEYS")
        try:
            return cipher.decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], place.associated_data()).decode()
        except (InvalidTag, ValueError):
            raise SecretUnreadable("it was changed, or sealed for another installation or setting") from None

    def is_current(self, stored: Any) -> bool:
        """Whether a stored value is sealed with the first key."""
        return is_sealed(stored) and _parts(stored)[0] == self._current


def is_sealed(stored: Any) -> bool:
    """Whether a stored value is a sealed one, opened by our keys or not."""
    return isinstance(stored, dict) and stored.keys() == {MEMBER}


def _parts(stored: Any) -> tuple[str, bytes]:
    text = stored[MEMBER] if is_sealed(stored) else ""
    version, _, rest = text.partition(".") if isinstance(text, str) else ("", "", "")
    key_id, _, data = rest.partition(".")
    if version != FORMAT:
        raise SecretUnreadable("it is not sealed as this version does it")
    try:
        return key_id, _decode(data)
    except (NotBase64, ValueError):
        raise SecretUnreadable("it is damaged") from None


def _key_id(key: bytes) -> str:
    """Tells keys apart without telling them."""
    return hashlib.sha256(b"outlet-secret-key-id" + key).hexdigest()[:12]


def _decode(text: str) -> bytes:
    return urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
