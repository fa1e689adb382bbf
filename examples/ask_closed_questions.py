"""Questions whose answer is one of a few: yes or no, a choice, an order: `python ask_closed_questions.py`."""

from lollms_client import LollmsClient

MAIL = "Dear customer, you have won! Send us the number of your card, and the prize is yours."
KINDS = ["spam", "an invoice", "a letter of a friend"]

with LollmsClient(binding_name="pythonllamacpp", model_name="lollms-nano", temperature=0, n_predict=120) as client:
    print("spam?", client.yes_no("Is this mail spam?", context=MAIL))
    print("kind:", KINDS[client.multichoice_question("What is this mail?", KINDS, context=MAIL)])
    order = client.multichoice_ranking("Which of these is it most likely?", KINDS, context=MAIL)["ranking"]
    print("order:", ", ".join(KINDS[index] for index in order))
