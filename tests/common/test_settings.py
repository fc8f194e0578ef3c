import pytest
from pydantic import ValidationError

from services.common.secret_settings import new_key
from services.common.settings import SecretKeySettings


def test_nothing_starts_without_a_key_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OUTLET_SECRET_KEYS", raising=False)
    with pytest.raises(ValidationError, match="secret_keys"):
        SecretKeySettings()


def test_an_unusable_key_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTLET_SECRET_KEYS", f"{new_key()},not-a-key-but-somebodys-password")
    with pytest.raises(ValidationError, match="key 2") as refused:
        SecretKeySettings()
    assert "password" not in str(refused.value)


def test_keys_do_not_show_in_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTLET_SECRET_KEYS", key := new_key())
    assert key not in repr(SecretKeySettings())
