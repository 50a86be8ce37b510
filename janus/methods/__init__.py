"""The zoo: one file and one YAML per method. `make_method` is the only way the loop creates one."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from janus import plugins
from janus.config.method_spec import method_spec

if TYPE_CHECKING:
    from janus.methods.base.method import Context, Method


def method_class(name: str) -> type[Method]:
    """The class that the method's YAML names in `code: module:Class`."""
    module, _, cls = method_spec(name).code.partition(":")
    found: type[Method] = getattr(import_module(module), cls)
    return found


def make_method(context: Context) -> Method:
    """A fresh method for the context's cell.

    Raises ConfigError where the cell was planned with another source of what is from outside.
    """
    cell = context.cell
    used = {"method": cell.method.name, "bench": cell.bench.name, "backbone": cell.backbone.name}
    plugins.check_unchanged(cell.sources, used)
    return method_class(context.cell.method.name)(context)
