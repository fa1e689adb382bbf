"""The first configuration: safe to start, commented, and with one key that is shown once.

The order makes a crash harmless. The key is kept in the user's key file first, then the instance is written, and the
main configuration last: it alone says that the first start is over. Each file is created only if it does not exist,
in one step, so two starts at once agree on one key and one configuration, and nothing is ever overwritten. A key that
the user already has is used again, so that a second server on this machine does not shut the first one's door.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path

from lollms_core.errors import ConfigError, StorageError
from lollms_core.safety.names import check_file_name
from lollms_runtime.files import private_dir, write_atomic
from lollms_runtime.keys import key_file, remember_key, stored_key
from lollms_server.core.config import END_LINE, FIRST_LINE, find_main_config
from lollms_server.core.keyring import hashed

__all__ = ["INSTANCE", "FirstStart", "ensure_config", "new_key"]

INSTANCE = "lollms_nano"
_BINDING = "llamacpp_binding"
_MODEL = "lollms-nano"


@dataclass(frozen=True)
class FirstStart:
    """What a first start has made. `key` is for showing once; it is nowhere else but in `key_file`.

    `key_file` is None when the key could not be kept; `reason` then says why. `key_is_new` is False when the user's
    existing key was used.
    """

    file: Path
    instance_file: Path
    key: str = field(repr=False)
    key_file: Path | None
    key_is_new: bool
    reason: str = ""


def new_key() -> str:
    """A new API key: 256 random bits as 64 hexadecimal digits."""
    return secrets.token_hex(32)


def ensure_config(config_dir: Path) -> FirstStart | None:
    """Write a first configuration into a folder that has none; None when there is one already.

    Raises ConfigError when the user's key file cannot be trusted, and StorageError when nothing can be written.
    """
    if find_main_config(config_dir) is not None:
        return None
    private_dir(config_dir)
    instances = private_dir(config_dir / "bindings")
    key, kept, is_new, reason = _user_key()
    instance_file = instances / f"{check_file_name(INSTANCE)}.yaml"
    _create(instance_file, _INSTANCE_TEXT)
    file = config_dir / "main_config.yaml"
    if not _create(file, main_config_text(hashed(key))):
        return None
    return FirstStart(file, instance_file, key, kept, is_new, reason)


def _create(path: Path, text: str) -> bool:
    """Write a file unless it exists; True when it was written."""
    try:
        write_atomic(path, text, exclusive=True)
    except FileExistsError:
        return False
    return True


def _user_key() -> tuple[str, Path | None, bool, str]:
    """The user's key, its file, whether it is new, and why it could not be kept."""
    key = new_key()
    try:
        if existing := stored_key():
            return existing, key_file(), False, ""
        path = remember_key(key, replace=False)
    except FileExistsError:
        existing = stored_key()
        if not existing:
            raise ConfigError(f"{key_file()} is empty. Delete it and start again.") from None
        return existing, key_file(), False, ""
    except StorageError as error:
        return key, None, True, error.message
    return key, path, True, "" if path else "There is no home folder to keep it in."


_INSTANCE_TEXT = f"""\
# The embedded model: small enough to ship with the program, good for trying things out, not for real work.
type: {_BINDING}
binding_instance_name: {INSTANCE}

# lollms-nano, the path of a .gguf file, or the name of one in the models folder.
default_model: {_MODEL}
"""


def main_config_text(key: str) -> str:
    """The text of the first main configuration, with one allowed key (plain or hashed)."""
    return f"""\
{FIRST_LINE}
# Lines that start with # are explanations; a setting written after a # is its default.

server:
  # The address to listen on: localhost for this machine only, 0.0.0.0 for all of its networks.
  host: localhost
  port: 9601
  # Web pages that may use this server from a browser.
  # allowed_origins: [http://localhost, http://localhost:8000, http://localhost:5173,
  #   http://127.0.0.1, http://127.0.0.1:8000, http://127.0.0.1:5173]
  # Names under which the server is reached, besides localhost and its IP addresses.
  # allowed_hosts: []

# Folders. A relative one starts at the folder that holds this configuration folder.
paths:
  # Files of the binding instances, inside this configuration folder.
  instance_bindings_folder: bindings
  bindings_folder: personal_bindings
  personalities_folder: personal_personalities
  functions_folder: personal_functions
  models_folder: models
  # What comes with the program.
  example_bindings_folder: zoos/bindings
  example_personalities_folder: zoos/personalities
  example_functions_folder: zoos/functions

# Which instance serves a request that names none, for each kind of output.
defaults:
  ttt_binding: {INSTANCE}
  # tti_binding, tts_binding, stt_binding, ttv_binding, ttm_binding: null
  # Used only where a model does not state its own limits.
  default_context_size: 4096
  default_max_output_tokens: 1024

# Instances and their binding types. Each has a file of its name in the folder above.
bindings_map:
  {INSTANCE}: {_BINDING}

resource_manager:
  # semaphore (gpu_limit at once), simple_lock (one at a time) or none.
  gpu_strategy: semaphore
  gpu_limit: 1
  # Seconds that a request waits for its turn.
  queue_timeout: 120

webui:
  enable_ui: false

logging:
  # DEBUG, INFO, WARNING, ERROR or CRITICAL.
  log_level: INFO

limits:
  max_body_bytes: 33554432
  # max_item_bytes: 16777216
  # max_active_requests: 1024
  # failed_keys_per_minute: 20
  # header_timeout: 15
  # body_timeout: 30
  # keep_alive_timeout: 15
  # workflow_timeout: 600
  # function_timeout: 60
  # import_timeout: 30
  # max_function_rounds: 8

# Settings for single personalities by folder name, such as my_writer: {{enabled: false}}
personalities_config: {{}}

security:
  # Whether third-party folders may install packages while the server runs.
  allow_runtime_installs: false
  # Whether the server may be open to other machines without any key.
  allow_unauthenticated: false
  # Keys that callers send as X-API-Key: plain text, or sha256: and the hash, as here.
  allowed_api_keys:
    - {key}

{END_LINE}
"""
