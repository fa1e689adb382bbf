"""Generate requests are answered by two routes, and every test that makes one is run with both.

With `LOLLMS_TEST_ROUTE=documented` in the environment, the servers of the tests have no quick route, and only the files
of `TWICE` are run. Any other run fails for a test that makes a generate request and stands neither there nor in `ONCE`.
A test that names the route of its server itself is not concerned.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

__all__ = ["ONCE", "TWICE", "Noting", "by_quick_route", "create_app", "generate_requests", "server_program"]

_ROOT = Path(__file__).resolve().parents[2]
_noted: list[str] = []

TWICE = frozenset(
    {
        "test_structured_answers_over_the_wire",
        "test_every_provider_answers_alike_on_every_face",
        "test_every_provider_keeps_its_key",
        "test_every_provider_fails_in_its_own_errors",
        "test_every_provider_waits_no_longer_than_told",
        "test_every_provider_closes_what_is_left",
        "test_every_provider_takes_images_or_says_no",
        "test_earlier_image_instances_load_and_answer_501",
        "test_responses_same_events_on_every_face",
        "test_huggingface_answers_alike_on_every_face",
        "test_gemini_speaks_on_every_face",
        "test_claude_answers_alike_on_every_face",
        "test_native_turns_reach_their_provider",
        "test_azure_in_library_and_server",
        "test_server_learns_what_a_model_refuses",
        "test_safety_unread_streams_cost_little",
        "test_idle_and_deaf_callers_cost_little",
        "test_engine_sees_images",
        "test_every_backend_answers_alike",
        "test_every_backend_fails_alike",
        "test_every_binding_answers_alike_on_every_face",
        "test_functions_offered_to_models",
        "test_http_bindings_keep_no_defects_of_old",
        "test_images_reach_backends",
        "test_import_probe_keeps_the_server_up",
        "test_logs_catch_what_plugins_print",
        "test_logs_hold_no_secret",
        "test_lollms_binding_forwards_to_another_server",
        "test_ollama_behind_the_server",
        "test_openapi_strangers_find_their_way",
        "test_personalities_that_are_shipped_work",
        "test_reload_swaps_engines",
        "test_reload_takes_keys_away",
        "test_reload_takes_up_changes",
        "test_safety_a_bindings_secrets_stay_inside",
        "test_safety_a_full_server_says_so",
        "test_safety_a_revoked_key_ends_everything",
        "test_safety_api_surface",
        "test_safety_bindings_that_give_up",
        "test_safety_bodies_share_one_limit",
        "test_safety_failed_requests_leave_no_memory",
        "test_safety_leaving_at_random_leaves_nothing",
        "test_safety_leaving_is_seen_on_a_busy_connection",
        "test_safety_names_choose_no_address",
        "test_safety_names_in_requests_open_nothing",
        "test_safety_no_error_shows_our_files",
        "test_safety_nothing_rides_along_with_a_request",
        "test_safety_nothing_writes_code_or_settings",
        "test_safety_odd_texts_of_plugins_are_sent",
        "test_safety_one_key_leaves_room_for_others",
        "test_safety_scripts_and_functions_tell_no_secret",
        "test_safety_settings_show_no_keys",
        "test_safety_texts_are_never_templates",
        "test_safety_unread_answers_are_dropped",
        "test_same_events_on_every_face",
        "test_scripts_share_card_and_modules",
        "test_scripts_use_operations_of_several_calls",
        "test_server_from_first_start_to_an_answer",
        "test_server_generate",
        "test_server_no_request_sees_anothers_data",
        "test_server_no_route_without_a_key",
        "test_server_one_key_cannot_take_everything",
        "test_server_over_http_backends",
        "test_server_statuses",
        "test_server_stops_in_order",
        "test_server_stops_when_the_caller_leaves",
        "test_server_streams_wait_politely",
        "test_status_table",
        "test_structured_answers_come_through_a_server",
        "test_third_party_bindings_answer_in_every_form",
        "test_third_party_bindings_faults_stay_theirs",
        "test_third_party_bindings_never_mix_models",
        "test_third_party_bindings_take_any_input",
        "test_workflows_ask_bindings_and_functions",
        "test_workflows_return_any_documented_form",
        "test_workflows_that_fail_are_contained",
    }
)
"""The files whose tests make generate requests, without `.py`."""

ONCE = {
    "test_cli_bindings_are_added_tested_and_served": "two requests show that what was added serves",
    "test_transformers_behind_the_server": "what answers is looked at, in the lane of large packages",
    "test_cli_lists_what_a_server_has": "two requests are there to be listed; nothing is said of their answers",
    "test_documented_script_of_operations_runs": "its requests name a personality, which the quick route never serves",
    "test_examples_run": "one request; what the examples print is looked at",
    "test_listings_say_what_is_there": "a few requests are there to be listed; nothing is said of their answers",
    "test_personalities_reload_keeps_what_works": "its requests name personalities, which the quick route never serves",
    "test_safety_stopping_with_scripts_and_functions": "its requests name personalities, too",
}
"""Files that make such requests all the same, and why one run is enough."""


def by_quick_route() -> bool:
    """Whether the servers of this run have the quick route."""
    wanted = os.environ.get("LOLLMS_TEST_ROUTE", "quick")
    assert wanted in ("quick", "documented"), f"LOLLMS_TEST_ROUTE is quick or documented, not {wanted!r}"
    return wanted == "quick"


def create_app(*arguments: Any, **named: Any) -> Noting:
    """`lollms_server.app.create_app`, with the route that this run wants."""
    from lollms_server import app  # it takes half a second, and most tests need none

    return Noting(app.create_app(*arguments, quick=by_quick_route(), **named))


class Noting:
    """A server's application that notes the generate requests made to it; for the rest it is `app`."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def __getattr__(self, name: str) -> Any:
        return getattr(self.app, name)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == "/api/v1/generate" and scope["method"] == "POST":
            _noted.append(scope["path"])
        await self.app(scope, receive, send)


def generate_requests() -> int:
    """How many generate requests have been made so far to servers of this process that the run's route concerns."""
    return len(_noted)


def server_program() -> Path:
    """The program that starts a server with the route that this run wants."""
    if by_quick_route():
        return _ROOT / "lollms_server" / "main.py"
    return Path(__file__).with_name("documented_server.py")
