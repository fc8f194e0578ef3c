"""The documents a point of sale publishes: the value of an event record, one entity as JSON.

Members are camelCase. Amounts, quantities and rates are decimal strings (``"12.90"``, ``"0.482"``, ``"0.0825"``), so
that no reader has to pass money through a binary float. Times are RFC 3339 in UTC. Prices are without tax.
"""

from typing import Literal, TypedDict

SaleStatus = Literal["completed", "voided", "parked"]
LineKind = Literal["merchandise", "gift_card"]
TaxCategory = Literal["standard", "reduced", "exempt"]
SoldBy = Literal["piece", "kilogram"]
TenderMethod = Literal["cash", "card", "gift_card"]


class Store(TypedDict):
    """A shop, with the tax rate its goods carry by tax category."""

    id: str
    name: str
    city: str
    currency: str
    timezone: str
    registers: list[str]
    taxRates: dict[TaxCategory, str]


class Employee(TypedDict):
    """Somebody who works in one store."""

    id: str
    storeId: str
    name: str
    role: Literal["cashier", "manager"]


class Product(TypedDict):
    """An article of the range. ``kind`` tells merchandise from stored value, which is not turnover."""

    id: str
    sku: str
    name: str
    category: str
    kind: LineKind
    price: str
    soldBy: SoldBy
    taxCategory: TaxCategory


class Customer(TypedDict):
    """A known customer, with the store that signed them up."""

    id: str
    storeId: str
    name: str
    email: str


class Discount(TypedDict):
    """A reduction of one line; a discount on the whole ticket is spread over its lines. Negative on a refund."""

    code: str
    amount: str


class Line(TypedDict):
    """One line of a ticket. ``netAmount`` is ``grossAmount`` less the discounts, and carries ``taxAmount`` on top."""

    kind: LineKind
    productId: str
    sku: str
    name: str
    quantity: str
    unitPrice: str
    grossAmount: str
    discounts: list[Discount]
    netAmount: str
    taxRate: str
    taxAmount: str


class Totals(TypedDict):
    """Sums over the lines: ``net`` = ``gross`` - ``discount``; ``total`` = ``net`` + ``tax``."""

    gross: str
    discount: str
    net: str
    tax: str
    total: str


class Tender(TypedDict):
    """A payment. ``amount`` = ``tendered`` - ``change``; the amounts of a ticket's tenders add up to its total."""

    method: TenderMethod
    amount: str
    tendered: str
    change: str


class Sale(TypedDict):
    """One ticket.

    A refund is a ticket of its own: it is completed, names the earlier sale in ``refundOf`` and carries lines of that
    sale with quantities and amounts negated. A voided ticket keeps its lines but was never paid; a parked one waits at
    the till.
    """

    id: str
    number: str
    status: SaleStatus
    channel: Literal["store", "online"]
    storeId: str
    registerId: str
    cashierId: str
    customerId: str | None
    refundOf: str | None
    currency: str
    createdAt: str
    completedAt: str | None
    lines: list[Line]
    totals: Totals
    tenders: list[Tender]
