"""Numbers of pods that specs give as a count or as a percentage of a whole."""


def share(value: int | str | None, of: int, round_up: bool) -> int:
    """``3`` is 3 pods, ``"25%"`` that part of ``of``, ``None`` none; raises ValueError."""
    if not isinstance(value, str):
        return value or 0
    if not value.endswith("%"):
        raise ValueError("invalid value for IntOrString: invalid type: string is not a percentage")
    percent = int(value.removesuffix("%"))
    return -(-percent * of // 100) if round_up else percent * of // 100
