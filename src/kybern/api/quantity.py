"""Resource quantities: exact numbers such as ``100m``, ``1.5Gi`` and ``12e6``.

``normalise`` asks for the canonical text of every quantity that enters the API; the scheduler,
quota and the kubelet compute with :class:`Quantity`. Values are kept as whole billionths (the
finest step that the API knows, finer input is rounded away from zero), so arithmetic is exact.
Exponents and digits are bounded, because a short text may otherwise name an astronomically large
number.
"""

import re
from dataclasses import dataclass
from functools import lru_cache, total_ordering

_FORM = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([eEinumkKMGTP]*[-+]?[0-9]*)")
_NANO = 10**9
_MOST_BINARY = (2**63 - 1) * _NANO
_MOST_DIGITS = 1000
_MOST_EXPONENT = 1000

_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY_SUFFIX = {power: suffix for suffix, power in _BINARY.items()}
_DECIMAL_SUFFIX = {exponent: suffix for suffix, exponent in _DECIMAL.items()}

BINARY_SI = "BinarySI"
DECIMAL_SI = "DecimalSI"
DECIMAL_EXPONENT = "DecimalExponent"

WRONG_FORM = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)
WRONG_NUMBER = "unable to parse numeric part of quantity"
WRONG_SUFFIX = "unable to parse quantity's suffix"


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Quantity:
    """``nano`` billionths, printed in the family of suffixes that ``format`` names."""

    nano: int
    format: str = DECIMAL_SI

    @classmethod
    def parse(cls, value: "str | int | float | Quantity") -> "Quantity":
        """Read a quantity as JSON carries it; raises ValueError with upstream's text."""
        if isinstance(value, Quantity):
            return value
        if isinstance(value, str):
            return _parse(value.strip())
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(WRONG_FORM)
        return _parse(str(value))

    def value(self) -> int:
        """Whole units, rounded up (away from zero)."""
        return _round_away(self.nano, _NANO)

    def milli(self) -> int:
        """Thousandths, rounded up (away from zero)."""
        return _round_away(self.nano, 10**6)

    def canonical(self) -> str:
        """The one text that upstream prints for this number and family."""
        if self.format == BINARY_SI and abs(self.nano) >= 1024 * _NANO and self.nano % _NANO == 0:
            return _binary_text(self.nano // _NANO)
        return _decimal_text(self.nano, exponent_form=self.format == DECIMAL_EXPONENT)

    def __str__(self) -> str:
        return self.canonical()

    def __add__(self, other: "Quantity") -> "Quantity":
        return Quantity(self.nano + other.nano, self._format_with(other))

    def __sub__(self, other: "Quantity") -> "Quantity":
        return Quantity(self.nano - other.nano, self._format_with(other))

    def __neg__(self) -> "Quantity":
        return Quantity(-self.nano, self.format)

    def __mul__(self, factor: int) -> "Quantity":
        return Quantity(self.nano * factor, self.format)

    def __bool__(self) -> bool:
        return self.nano != 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and self.nano == other.nano

    def __lt__(self, other: "Quantity") -> bool:
        return self.nano < other.nano

    def __hash__(self) -> int:
        return hash(self.nano)

    def _format_with(self, other: "Quantity") -> str:
        # A zero has no opinion: the sum is printed like the operand that counts.
        return self.format if self.nano else other.format


@lru_cache(maxsize=4096)
def canonical(value: str | int | float) -> str:
    """The canonical text of a quantity; raises ValueError. Kept, as few texts recur often."""
    return Quantity.parse(value).canonical()


@lru_cache(maxsize=4096)
def _parse(text: str) -> Quantity:
    form = _FORM.fullmatch(text)
    if not text or form is None:
        raise ValueError(WRONG_FORM)
    sign, whole, fraction, suffix = form.groups()
    fraction = fraction or ""
    if len(whole) + len(fraction) > _MOST_DIGITS:
        raise ValueError(WRONG_NUMBER)
    power, exponent, format = _scale(suffix)
    digits = int((whole + fraction) or "0") << (10 * power)
    nano = _times_power_of_ten(digits, 9 + exponent - len(fraction))
    if format == BINARY_SI:
        nano = min(nano, _MOST_BINARY)
        if 0 < nano < _NANO:
            format = DECIMAL_SI
    return Quantity(-nano if sign == "-" else nano, format)


def _scale(suffix: str) -> tuple[int, int, str]:
    """The power of 1024, the power of 10, and the family that a suffix stands for."""
    if suffix in _DECIMAL:
        return 0, _DECIMAL[suffix], DECIMAL_SI
    if suffix in _BINARY:
        return _BINARY[suffix], 0, BINARY_SI
    if suffix[:1] in ("e", "E") and re.fullmatch(r"[-+]?[0-9]{1,9}", suffix[1:]):
        exponent = int(suffix[1:])
        if abs(exponent) <= _MOST_EXPONENT:
            return 0, exponent, DECIMAL_EXPONENT
    raise ValueError(WRONG_SUFFIX)


def _times_power_of_ten(digits: int, exponent: int) -> int:
    if exponent >= 0:
        return digits * 10**exponent
    return _round_away(digits, 10**-exponent)


def _round_away(number: int, divisor: int) -> int:
    magnitude = -(-abs(number) // divisor)
    return magnitude if number >= 0 else -magnitude


def _binary_text(number: int) -> str:
    power = 0
    while power < 6 and number % 1024 == 0:
        number //= 1024
        power += 1
    return f"{number}{_BINARY_SUFFIX.get(power, '')}"


def _decimal_text(nano: int, exponent_form: bool) -> str:
    if nano == 0:
        return "0"
    exponent = -9
    while nano % 1000 == 0 and (exponent_form or exponent < 18):
        nano //= 1000
        exponent += 3
    if exponent_form:
        return f"{nano}e{exponent}" if exponent else str(nano)
    return f"{nano}{_DECIMAL_SUFFIX[exponent]}"
