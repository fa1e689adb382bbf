"""What a model chose is read from its words where they can mean one thing only, and from nothing else."""

from __future__ import annotations

import itertools
import re
import time
from string import ascii_uppercase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lollms_core.text.choices import LONGEST, Choices, permutation, said_yes

CITIES = Choices(["London", "Paris", "Rome"])
MANY = Choices([f"Option number {index}" for index in range(30)])

YES = [
    "Yes",
    "yes.",
    "**YES**",
    '"yes"',
    "true",
    "True.",
    "Yes, because the sky is blue.",
    "Yes because it is.",
    "Yes. It is the capital of France.",
    "Yes\nIt is the capital of France.",
    "Yes - it is the capital.",
    "The answer is **yes**.",
    "Answer: yes",
    "3 is smaller than 5. So the answer is yes, because 3 is smaller.",
]
NO = [
    "No",
    "no!",
    "`false`",
    "No, because 3 is not larger than 5.",
    "No. The capital is Rome.",
    "32 is smaller than 40. The answer is no.",
    "The final answer is: false",
]
NEITHER = [
    "",
    " \n",
    "not true",
    "It is not true.",
    "It isn't true",
    "untrue",
    "no doubt, yes",
    "no doubt",
    "There is no doubt.",
    "No one knows.",
    "No. 5 is the largest.",
    "yes and no",
    "Yes/No",
    "yes or no",
    "Yes? I am not sure.",
    "Yes, but actually no.",
    "No, wait, it is.",
    "Yes, if it rains.",
    "It depends.",
    "Yes-men are boring.",
    "I cannot say yes.",
    "The answer is not no.",
    "I do not think that the answer is no.",
    "The answer is yes. The answer is no.",
    "yesterday",
    "nothing",
    "True love never dies",
    "Sorry, no.",
    "Yes, it is not true.",
    "No, never say no.",
    "No, I can not answer that.",
    "Yes, I can help you with that.",
    "The answer is blue. Yes.",
]


@pytest.mark.parametrize("said", YES)
def test_yes(said: str) -> None:
    assert said_yes(said) is True


@pytest.mark.parametrize("said", NO)
def test_no(said: str) -> None:
    assert said_yes(said) is False


@pytest.mark.parametrize("said", NEITHER)
def test_neither_yes_nor_no(said: str) -> None:
    assert said_yes(said) is None


@given(st.lists(st.sampled_from(["yes", "no", "true", "not", "because", "the answer is", ",", ".", "\n", "so", "it"])))
def test_both_words_are_neither(words: list[str]) -> None:
    said = " ".join(words)
    meant = {"yes": True, "true": True, "no": False}
    found = {meant[word] for word in words if word in meant}
    answer = said_yes(said)
    assert answer is None or found == {answer}
    if re.search(r"not (yes|no|true)", said):
        assert answer is None


@pytest.mark.parametrize(
    "said",
    [
        "B",
        "b",
        " B\n",
        "(B)",
        "B.",
        "[b]",
        "**B**",
        "'B'",
        "Option B",
        "option b.",
        "Answer: B",
        "B. Paris",
        "B) Paris.",
        "(B) Paris",
        "B - Paris",
        "Paris",
        "paris.",
        "“Paris”",
        "- Paris",
        "Option 2: Paris",
        "1) Paris",
        "The answer is B",
        "The correct answer is B) Paris.",
        "London is in England. So the answer is **Paris**.",
        "B, because it is the capital.",
        "Paris, because London is in England.",
        "B. Paris\nIt is the capital of France.",
    ],
)
def test_the_second_of_three(said: str) -> None:
    assert CITIES.index(said) == 1


@pytest.mark.parametrize(
    "said",
    [
        "",
        "D",
        "2",
        "(2)",
        "0",
        "A dog",
        "not B",
        "B or C",
        "B and C",
        "Paris or Rome",
        "I think it is Paris",
        "Parisian",
        "B. Rome",
        "Option 3: Paris",
        "A. London\nB. Paris\nC. Rome",
        "London\nParis\nRome",
        "The answer is B. The answer is C.",
        "The answer is B or C",
        "The answer is not B",
        "B, because it is. Wait, actually C.",
        "Is it B?",
        "B. Paris\nbut I am not sure",
        "9" * 5000,
        "B. Paris\n\nor\n\nC. Rome",
    ],
)
def test_none_or_several_of_three(said: str) -> None:
    assert CITIES.index(said) is None


def test_numbers_are_labels_of_many_and_count_from_one() -> None:
    assert MANY.labels == tuple(str(number) for number in range(1, 31))
    assert [MANY.index(said) for said in ("1", "(2)", "Option 30", "2. Option number 1")] == [0, 1, 29, 1]
    assert [MANY.index(said) for said in ("0", "31", "Option 2: Option number 2")] == [None, None, None]


def test_answers_that_are_equal_are_told_apart_by_their_labels_alone() -> None:
    twins = Choices(["same", "Same ", "other"])
    assert twins.index("SAME") is None
    assert twins.index("same") == 0
    assert (twins.index("A. same"), twins.index("B. same"), twins.index("B")) == (0, 1, 1)


def test_labels_are_never_the_text_of_another_answer() -> None:
    assert Choices(["B", "A"]).labels == ("1", "2")
    assert Choices(["A", "B"]).labels == ("A", "B")
    assert Choices(["2", "1"]).labels == ("A", "B")
    assert Choices(["Option B", "(a)."]).labels == ("1", "2")
    numbers = Choices([str(number) for number in range(30)])
    assert numbers.labels[:2] == ("N1", "N2")
    assert [numbers.chosen(said) for said in ("5", 5, "N6", "N6. 5", "(n6)")] == [5, 5, 5, 5, 5]
    assert numbers.order([f"N{number}" for number in range(30, 0, -1)]) == tuple(range(29, -1, -1))
    assert Choices(["B", "A", "1"]).labels == ("N1", "N2", "N3")
    torn = Choices(["B", "1", "N1"])  # then the labels stay letters, and words are not read where they mean two
    assert torn.labels == ("A", "B", "C")
    assert torn.index("B") is None
    assert torn.chosen("B") == 1
    assert torn.order("A > B > C") == (0, 1, 2)


@pytest.mark.parametrize("said", ["Ｂ", "（B）", "B。", "大阪。", "「大阪」", "B． 大阪"])
def test_signs_of_other_scripts_mean_the_same(said: str) -> None:
    assert Choices(["東京", "大阪", "京都"]).index(said) == 1


def test_further_lines_of_an_answer_are_no_answers() -> None:
    assert Choices(["x\nB. false", "y", ""]).listed() == "A. x\n   B. false\nB. y\nC. "


@pytest.mark.parametrize(
    "said",
    [
        "B > A > C",
        "Paris > London > Rome",
        "B, A, C",
        "[B, A, C]",
        "B\nA\nC",
        "1. Paris\n2. London\n3. Rome",
        "- Paris\n- London\n- Rome",
        "Ranking: B > A > C",
        "B > A",
        ["B", "A", "C"],
        ["b", "London", "(C)"],
        ["B", "A"],
        [1, 0, 2],
        [2, 1, 3],
    ],
)
def test_an_order(said: object) -> None:
    assert CITIES.order(said) == (1, 0, 2)


@pytest.mark.parametrize(
    "said",
    [
        "",
        [],
        "B",
        "B > B > A",
        "B > A > C > B",
        "A. London\nB. Paris\nC. Rome",
        "B is better than A and C",
        "\n".join(f"{'1' * 5000}. {label}" for label in "BAC"),
        ["B", "B", "A"],
        ["B", "A", "C", "D"],
        ["B"],
        [0, 1],
        [1, 2],
        [3, 2, 1, 0],
        [True, False, 2],
        [["B"], "A", "C"],
        {"B": 1},
        None,
        7,
    ],
)
def test_no_order(said: object) -> None:
    assert CITIES.order(said) is None


def test_numbers_that_are_answers_are_an_order_in_one_way_only() -> None:
    assert Choices(["10", "20", "30"]).order([30, 10, 20]) == (2, 0, 1)
    assert Choices(["3", "1", "2"]).order([3, 2, 1]) is None  # the answers themselves, or their places


@given(st.lists(st.integers(-1, 5) | st.none(), max_size=7), st.integers(0, 5))
def test_a_permutation_is_one(indices: list[int | None], many: int) -> None:
    found = permutation(indices, many)
    if found is not None:
        assert sorted(found) == list(range(many))
        assert list(found[: len(indices)]) == indices


LABELS = st.sampled_from([*ascii_uppercase[:5], "1", "2", "0", "London", "Paris", "yes", "no"])
WORDS = st.lists(LABELS | st.sampled_from([".", ")", ":", "\n", ">", ",", "because", "the answer is", "Option"]))
ANSWERS = st.lists(
    st.text(max_size=8) | st.sampled_from(["A", "B", "1", "2", "Paris", "Rome"]), min_size=1, max_size=30
)


@given(ANSWERS, WORDS.map(" ".join) | st.text(max_size=40))
def test_any_text_gives_one_of_the_answers_or_nothing(answers: list[str], said: str) -> None:
    choices = Choices(answers)
    assert choices.index(said) in {None, *range(len(answers))}
    assert choices.chosen(said) in {None, *range(len(answers))}
    order = choices.order(said)
    assert order is None or sorted(order) == list(range(len(answers)))
    assert said_yes(said) in (None, True, False)


@given(ANSWERS)
def test_every_label_means_its_own_answer(answers: list[str]) -> None:
    choices = Choices(answers)
    assert len(set(choices.labels)) == len(answers)
    assert [choices.chosen(label) for label in choices.labels] == list(range(len(answers)))
    assert choices.order(" > ".join(choices.labels)) == tuple(range(len(answers)))
    assert choices.order(list(choices.labels)) == tuple(range(len(answers)))
    for index, label in enumerate(choices.labels):
        assert choices.index(label) in (index, None)
        twins = {other for other, text in enumerate(answers) if Choices([text]).index(answers[index]) == 0}
        assert choices.index(answers[index]) in {None, *twins}


def test_all_orders_of_labels_are_read() -> None:
    for order in itertools.permutations(range(3)):
        assert CITIES.order([CITIES.labels[index] for index in order]) == order
        assert CITIES.order(" > ".join(CITIES.labels[index] for index in order)) == order


@pytest.mark.parametrize(
    "piece", [" ", "\n", "-", "because ", "the answer is ", "not ", "B. ", "1. ", "(", "*", ">", "no "]
)
def test_long_texts_cost_little(piece: str) -> None:
    said = (piece * LONGEST)[:LONGEST]
    started = time.process_time()
    CITIES.index(said)
    CITIES.order(said)
    said_yes(said)
    assert time.process_time() - started < 2
    longer = f"{said} "
    assert (CITIES.index(longer), CITIES.order(longer), said_yes(longer)) == (None, None, None)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("Yes, because there is no sun.", True),
        ("**Yes**, because no rain fell", True),
        ("Yes, no doubt.", True),
        ("No, there is no sun.", False),
        ("The answer is no because yes", None),
        ("Yes, no it is not", None),
        ("Yes, because no.", None),
    ],
)
def test_a_no_that_only_counts_decides_nothing(said: str, meant: bool | None) -> None:
    assert said_yes(said) is meant
