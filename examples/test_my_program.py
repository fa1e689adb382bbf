"""Testing a program that uses a model, without one: `pytest test_my_program.py`."""

from lollms_client.testing import scripted_client
from lollms_core.errors import Refused


def headline(client, article):
    """The program under test: a headline, or the first words when no model is there."""
    answer = client.generate_text(f"Write a headline for: {article}", n_predict=20)
    return answer.strip().title() if isinstance(answer, str) else article[:20] + "..."


def test_the_headline_is_in_title_case():
    client = scripted_client([" rain expected tomorrow \n"])
    assert headline(client, "It will rain.") == "Rain Expected Tomorrow"
    assert client.binding.calls[0].messages[-1].text == "Write a headline for: It will rain."


def test_without_a_model_the_first_words_do():
    client = scripted_client([Refused("Nobody there.")])
    assert headline(client, "It will rain tomorrow, and then some more.") == "It will rain tomorro..."
