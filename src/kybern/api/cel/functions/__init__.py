"""The functions of expressions: the standard library and the ones that Kubernetes adds.

One file per library, each a table of overloads; ``KUBERNETES`` is what every expression of the API
may call (upstream's base environment of 1.36, without the authorizer).
"""

from kybern.api.cel.declarations import merge
from kybern.api.cel.functions import (
    addresses,
    arithmetic,
    comparison,
    conversion,
    formats,
    lists,
    optionals,
    quantities,
    regex,
    semver,
    sets,
    strings,
    times,
    urls,
)

STANDARD = merge(
    comparison.FUNCTIONS,
    arithmetic.FUNCTIONS,
    conversion.FUNCTIONS,
    times.FUNCTIONS,
    strings.STANDARD,
    regex.STANDARD,
    lists.STANDARD,
)

KUBERNETES = merge(
    STANDARD,
    optionals.FUNCTIONS,
    strings.EXTENDED,
    regex.EXTENDED,
    lists.EXTENDED,
    sets.FUNCTIONS,
    quantities.FUNCTIONS,
    semver.FUNCTIONS,
    urls.FUNCTIONS,
    addresses.FUNCTIONS,
    formats.FUNCTIONS,
)
