"""The filter families by the name that a configuration uses."""

from filters import c4, gopher_quality, gopher_repetition
from filters.rules import Family

FAMILIES: dict[str, Family] = {
    "gopher_repetition": gopher_repetition.FAMILY,
    "gopher_quality": gopher_quality.FAMILY,
    "c4": c4.FAMILY,
}
