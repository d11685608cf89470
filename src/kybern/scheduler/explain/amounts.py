"""Amounts of resources as people write them."""

from kybern.api.quantity import Quantity

_BINARY = ((1 << 40, "Ti"), (1 << 30, "Gi"), (1 << 20, "Mi"), (1 << 10, "Ki"))
_WORDS = {"cpu": "CPU", "pods": "pod slots", "ephemeral-storage": "ephemeral storage"}


def readable(resource: str, amount: int) -> str:
    """A quantity, cpu in milli and others in units; bytes are cut to one decimal."""
    if resource == "cpu":
        return str(Quantity.parse(f"{amount}m").canonical())
    if resource in ("memory", "ephemeral-storage") or resource.startswith("hugepages-"):
        for size, suffix in _BINARY:
            if abs(amount) >= size:
                return f"{amount / size:.1f}".removesuffix(".0") + suffix
    return str(amount)


def words(resource: str) -> str:
    """What a resource is called in a sentence."""
    return _WORDS.get(resource, resource)
