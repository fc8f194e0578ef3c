"""What a token allows its bearer to be."""

from typing import Literal

Role = Literal["owner", "admin", "manager", "cashier", "publisher", "reviewer", "mirror"]
