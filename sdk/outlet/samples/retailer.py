"""An invented retailer: its stores, staff, range and customers. The same seed gives the same retailer."""

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from outlet.samples.documents import Customer, Employee, LineKind, Product, SoldBy, Store, TaxCategory

_CITIES = ("Portland", "Aurora", "Salem", "Fairview", "Bristol", "Clayton", "Milton", "Dayton")
_GIVEN = ("Ada", "Ben", "Chen", "Dara", "Elif", "Femi", "Gita", "Hugo", "Ines", "Jonas", "Kaya", "Liam", "Mira", "Noor")
_FAMILY = (
    "Abara",
    "Brandt",
    "Costa",
    "Duarte",
    "Ekman",
    "Fofana",
    "Garcia",
    "Hansen",
    "Ito",
    "Jensen",
    "Kaur",
    "Lindt",
)
_CASHIERS_PER_STORE = 5
_REGISTERS_PER_STORE = 4

# category, tax category, sold by, articles, lowest and highest price in cents
_RANGE: tuple[tuple[str, TaxCategory, SoldBy, tuple[str, ...], int, int], ...] = (
    ("produce", "exempt", "kilogram", ("Gala apples", "Bananas", "Vine tomatoes", "Carrots", "Red grapes"), 119, 699),
    ("bakery", "exempt", "piece", ("Sourdough loaf", "Butter croissant", "Rye rolls", "Cinnamon bun"), 99, 649),
    ("dairy", "exempt", "piece", ("Whole milk 1 l", "Greek yoghurt", "Aged cheddar", "Salted butter"), 129, 899),
    ("drinks", "reduced", "piece", ("Sparkling water", "Orange juice", "Cold brew", "Ginger ale"), 89, 599),
    ("household", "standard", "piece", ("Dish soap", "Paper towels", "Laundry detergent", "LED bulb"), 199, 2499),
    ("apparel", "reduced", "piece", ("Cotton T-shirt", "Wool socks", "Rain jacket", "Denim jeans"), 799, 12999),
    ("electronics", "standard", "piece", ("USB-C cable", "Desk lamp", "Bluetooth speaker", "Headphones"), 999, 24999),
)
_GIFT_CARDS = (2500, 5000)


@dataclass(frozen=True)
class Retailer:
    """Everything a sale can refer to."""

    stores: tuple[Store, ...]
    employees: tuple[Employee, ...]
    products: tuple[Product, ...]
    customers: tuple[Customer, ...]


def retailer(*, stores: int = 3, customers: int = 200, seed: int = 1) -> Retailer:
    """Make a retailer with so many stores (1 to 8) and customers."""
    if not 1 <= stores <= len(_CITIES):
        raise ValueError(f"stores: between 1 and {len(_CITIES)}, not {stores}")
    rng = random.Random(seed)  # noqa: S311 - repeatable samples, not secrets
    shops = tuple(_store(rng, number) for number in range(1, stores + 1))
    return Retailer(
        stores=shops,
        employees=tuple(person for shop in shops for person in _staff(rng, shop)),
        products=tuple(_products(rng)),
        customers=tuple(_customer(rng, number, rng.choice(shops)) for number in range(1, customers + 1)),
    )


def identifier(rng: random.Random) -> str:
    """A UUID drawn from the generator, so that it repeats with the seed."""
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def _store(rng: random.Random, number: int) -> Store:
    city = _CITIES[number - 1]
    standard = Decimal(rng.randrange(600, 1000, 25)) / 10000
    return {
        "id": f"store-{number}",
        "name": f"{city} Market",
        "city": city,
        "currency": "USD",
        "timezone": "America/Los_Angeles",
        "registers": [f"store-{number}-till-{till}" for till in range(1, _REGISTERS_PER_STORE + 1)],
        "taxRates": {"standard": f"{standard:.4f}", "reduced": f"{standard / 2:.4f}", "exempt": "0.0000"},
    }


def _staff(rng: random.Random, store: Store) -> Iterator[Employee]:
    for number in range(_CASHIERS_PER_STORE + 1):
        yield {
            "id": identifier(rng),
            "storeId": store["id"],
            "name": _name(rng),
            "role": "cashier" if number else "manager",
        }


def _products(rng: random.Random) -> Iterator[Product]:
    for category, tax, sold_by, names, low, high in _RANGE:
        for number, name in enumerate(names, start=1):
            sku = f"{category[:3].upper()}-{number:03}"
            # Prices end in 9, as on a shelf.
            yield _product(rng, sku, name, category, "merchandise", rng.randrange(low, high, 10), sold_by, tax)
    for cents in _GIFT_CARDS:
        name = f"Gift card {cents // 100}"
        yield _product(rng, f"GFT-{cents // 100:03}", name, "gift cards", "gift_card", cents, "piece", "exempt")


def _product(
    rng: random.Random,
    sku: str,
    name: str,
    category: str,
    kind: LineKind,
    cents: int,
    sold_by: SoldBy,
    tax: TaxCategory,
) -> Product:
    return {
        "id": identifier(rng),
        "sku": sku,
        "name": name,
        "category": category,
        "kind": kind,
        "price": f"{Decimal(cents) / 100:.2f}",
        "soldBy": sold_by,
        "taxCategory": tax,
    }


def _customer(rng: random.Random, number: int, store: Store) -> Customer:
    return {
        "id": f"customer-{number:04}",
        "storeId": store["id"],
        "name": _name(rng),
        "email": f"customer{number:04}@example.com",
    }


def _name(rng: random.Random) -> str:
    return f"{rng.choice(_GIVEN)} {rng.choice(_FAMILY)}"
