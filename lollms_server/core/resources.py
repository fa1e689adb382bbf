"""What a call holds while it runs."""

from __future__ import annotations

from lollms_server.core.bindings import Binding
from lollms_server.core.scheduler import GPU, instance_resource

__all__ = ["resources_of"]


def resources_of(instance: str, binding: Binding, model: str) -> frozenset[str]:
    """The names of what a call needs: a place in the instance where those are counted, and the card if it needs it."""
    needed = set()
    if binding.capacity is not None:
        needed.add(instance_resource(instance))
    if binding.get_resource_requirements(model or None).get("gpu_required"):
        needed.add(GPU)
    return frozenset(needed)
