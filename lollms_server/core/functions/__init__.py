"""Functions: found in folders, described by their signatures, and run for scripts and models."""

from lollms_server.core.functions.manager import FunctionManager

__all__ = ["FunctionManager"]
