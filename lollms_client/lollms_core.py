"""The older place of `LollmsClient`; what it held is re-exported."""

from lollms_client.client import LollmsClient
from lollms_client.lollms_types import ELF_COMPLETION_FORMAT, ELF_GENERATION_FORMAT, MSG_TYPE

__all__ = ["ELF_COMPLETION_FORMAT", "ELF_GENERATION_FORMAT", "MSG_TYPE", "LollmsClient"]
