"""Functions that an operator adds by name, without a change of this service."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from chassis.errors import Invalid


def load_plugins(text: str, field: str) -> dict[str, Callable[..., Any]]:
    """`name=package.module:function,...` as a mapping.

    Raises: Invalid naming `field` when an entry is misspelt, or names nothing that can be called.
    """
    found = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, _, path = entry.partition("=")
        module, _, function = path.partition(":")
        if not (name and module and function):
            raise Invalid(f"plug-in {entry!r} must look like name=package.module:function", field=field)
        try:
            plugin = getattr(import_module(module), function)
        except (ImportError, AttributeError) as error:
            raise Invalid(f"plug-in {name!r}: {error}", field=field) from error
        if not callable(plugin):
            raise Invalid(f"plug-in {name!r}: {path} cannot be called", field=field)
        found[name] = plugin
    return found
