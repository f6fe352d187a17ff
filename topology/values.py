"""Frozen values of which some are made for every mail.

A frozen dataclass sets its fields one by one through `object.__setattr__`: for one of fifteen fields that takes longer than what a stage
decides of them.
"""

from dataclasses import MISSING, fields
from typing import Any, TypeVar

T = TypeVar("T")


def quickly_made(kind: type[T]) -> type[T]:
    """Gives a frozen dataclass without slots another `__init__`, of the same parameters, that fills the instance's dict. Its values are as
    frozen as before. What has its default stays with the class: it takes no room, and orjson does not write it."""
    known: dict[str, Any] = {"MISSING": MISSING}
    parameters, lines = ["self"], ["own = self.__dict__"]
    for member in fields(kind):  # type: ignore[arg-type]  # a class that is no dataclass is refused when it is defined
        name = value = member.name
        if member.default_factory is not MISSING:
            known[f"new_{name}"] = member.default_factory
            parameters.append(f"{name}=MISSING")
            value = f"new_{name}() if {name} is MISSING else {name}"
        elif member.default is not MISSING:
            known[f"default_{name}"] = member.default
            parameters.append(f"{name}=default_{name}")
            lines.append(f"if {name} is not default_{name}: own[{name!r}] = {name}")
            continue
        else:
            parameters.append(name)
        lines.append(f"own[{name!r}] = {value}")
    exec(f"def __init__({', '.join(parameters)}):\n " + "\n ".join(lines), known)  # noqa: S102 - names of fields, as dataclasses does
    kind.__init__ = known["__init__"]  # type: ignore[method-assign]
    return kind
