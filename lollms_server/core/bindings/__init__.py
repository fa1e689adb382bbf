"""Bindings: the documented base class, those that come with the server, and how they are found, loaded and asked."""

from lollms_server.core.bindings.base import Binding, ModelState, Surroundings, TokenCount

__all__ = ["Binding", "ModelState", "Surroundings", "TokenCount"]
