"""Sample data: an invented retailer, the tickets of its tills, and what they are worth in loyalty points."""

from outlet.samples.documents import Customer, Employee, Product, Sale, Store
from outlet.samples.points import expected_points, points_of
from outlet.samples.retailer import Retailer, retailer
from outlet.samples.sales import sales

__all__ = [
    "Customer",
    "Employee",
    "Product",
    "Retailer",
    "Sale",
    "Store",
    "expected_points",
    "points_of",
    "retailer",
    "sales",
]
