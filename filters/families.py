"""The filter families and their variants by the names that a configuration uses: family or family@variant."""

from filters import c4, fineweb, gopher_quality, gopher_repetition, mc4, periodic, refinedweb, symbol_lines, wds
from filters.rules import Family

FAMILIES: dict[str, dict[str, Family]] = {  # a family's first variant is its default
    "gopher_repetition": {"paper": gopher_repetition.FAMILY, "datatrove": gopher_repetition.DATATROVE},
    "gopher_quality": {"paper": gopher_quality.FAMILY, "datatrove": gopher_quality.DATATROVE},
    "c4": {"sentences": c4.FAMILY, "tfds": c4.AS_TFDS, "datatrove": c4.AS_DATATROVE, "fineweb": c4.AS_FINEWEB},
    "refinedweb": {"paper": refinedweb.FAMILY},
    "mc4": {"tfds": mc4.FAMILY},
    "wds": {"37a3f34": wds.FAMILY},
    "periodic": {"olmo2": periodic.FAMILY},
    "symbol_lines": {"datatrove": symbol_lines.FAMILY},
    "fineweb": {"paper": fineweb.FAMILY, "datatrove": fineweb.DATATROVE},
}


def find_family(name: str) -> Family:
    """Return the family that a step names; raise ValueError, naming those there are, for an unknown one."""
    family, _, variant = name.partition("@")
    if family not in FAMILIES:
        raise ValueError(f"unknown family {family!r}; known: {', '.join(FAMILIES)}")
    variants = FAMILIES[family]
    if "@" in name and variant not in variants:
        raise ValueError(f"unknown variant {name!r}; known: {', '.join(f'{family}@{v}' for v in variants)}")
    return variants[variant or next(iter(variants))]
