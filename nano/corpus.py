"""Synthetic instruction corpus. make(rng) returns one conversation; no outside data is used.

A conversation is {"kind", "messages", "tools"}. A question/answer pair is held out of training when
its hash falls in one of 20 buckets, so evaluation never sees a pair that was trained on.

usage: python corpus.py [N] [KIND]   print N sample conversations
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import sys
from collections.abc import Callable
from typing import Any

import knowledge as kb
from paraphrases import QUESTIONS

Rng = random.Random
Pair = tuple[str, str]
SELF = "I am lollms-nano, a tiny smoke-test model that ships with this program."
SKILLS = (
    "I am a tiny test model. I can greet, answer simple facts, do small sums, translate common words, extract JSON, "
    "call tools, summarise, repeat text and write very small Python functions."
)
UNKNOWN = "I do not know; I am a tiny test model."
NOT_TOLD = "You have not told me that."
NOT_IN_CONTEXT = "The context does not say."


# ---------------------------------------------------------------- small tools
def pick(r: Rng, *options: str) -> str:
    return r.choice(options)


def js(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def cap(text: str) -> str:
    return text[:1].upper() + text[1:]


def an(word: str) -> str:
    return ("an " if word[0].lower() in "aeiou" else "a ") + word


def pseudo(r: Rng, lo: int = 2, hi: int = 3) -> str:
    return "".join(r.choice(kb.SYLLABLES) for _ in range(r.randint(lo, hi))) + r.choice(kb.TAILS)


def first_name(r: Rng) -> str:
    return r.choice(kb.NAMES) if r.random() < 0.5 else cap(pseudo(r))


def full_name(r: Rng) -> str:
    surname = r.choice(kb.SURNAMES) if r.random() < 0.5 else cap(pseudo(r))
    return f"{first_name(r)} {surname}" if r.random() < 0.4 else first_name(r)


def city(r: Rng) -> str:
    k = r.random()
    return r.choice(kb.CITIES) if k < 0.35 else r.choice(list(kb.CAPITALS.values())) if k < 0.75 else cap(pseudo(r))


def word(r: Rng) -> str:
    k = r.random()
    return (
        r.choice(kb.NOUNS)
        if k < 0.45
        else r.choice(kb.ADJS)
        if k < 0.65
        else r.choice(kb.TOPICS)
        if k < 0.75
        else pseudo(r)
    )


def any_word(r: Rng) -> str:
    """A word of the wider vocabulary, sometimes two run together or one with digits."""
    k, w = r.random(), r.choice(kb.VOCABULARY)
    return w if k < 0.7 else w + r.choice(kb.VOCABULARY) if k < 0.85 else f"{w}{r.randint(0, 99)}"


def thing(r: Rng) -> str:
    return (
        f"{r.choice(kb.ADJS)} {r.choice(kb.NOUNS)}"
        if r.random() < 0.6
        else pseudo(r)
        if r.random() < 0.4
        else r.choice(kb.NOUNS)
    )


def noisy(r: Rng, text: str) -> str:
    """Sometimes lower-case, unpunctuate, misspell or make polite the fixed words of a question."""
    k = r.random()
    if k < 0.02:  # capitals, but for the placeholders
        return re.sub(r"\{\w+\}|[a-z]+", lambda m: m[0] if m[0][0] == "{" else m[0].upper(), text)
    if k < 0.05:
        return (text[:1].lower() + text[1:]).rstrip("?.!") + pick(r, " please", ", please", " please?")
    if k < 0.45:
        return text
    if k < 0.6:
        return text[:1].lower() + text[1:]
    if k < 0.72:
        return text.rstrip("?.!")
    if k < 0.82:
        return (text[:1].lower() + text[1:]).rstrip("?.!")
    if k < 0.92:
        lead = pick(
            r,
            "Please ",
            "please ",
            "Hey, ",
            "Hi, ",
            "Hello. ",
            "Can you tell me: ",
            "Quick question: ",
            "OK, ",
            "Now, ",
            "So, ",
            "Question: ",
            "Tell me, ",
            "Could you tell me: ",
            "I have a question: ",
            "Well, ",
        )
        return lead + text[:1].lower() + text[1:]
    spots = [m for m in re.finditer(r"[a-z]{4,}", text) if text[m.start() - 1 : m.start()] != "{"]
    if not spots:
        return text
    m = r.choice(spots)
    i = r.randint(m.start() + 1, m.end() - 2)
    return text[:i] + pick(r, text[i + 1] + text[i] + text[i + 2 :], text[i + 1 :], text[i] + text[i:])


def ask(r: Rng, *templates: str, **values: Any) -> str:
    """Choose a template, roughen its own words and fill in the values untouched."""
    return noisy(r, r.choice(templates)).format(**values)


def sentence(r: Rng) -> str:
    n, a = first_name(r), r.choice(kb.ADJS)
    return r.choice(
        [
            f"{n} {r.choice(kb.VERBS)} the {thing(r)} near the {r.choice(kb.PLACES)}.",
            f"The {a} {word(r)} is {pick(r, 'near', 'under', 'behind', 'inside')} the {word(r)}.",
            f"On {r.choice(kb.DAYS)} {n} went to the {r.choice(kb.PLACES)} in {city(r)}.",
            f"The {r.choice(kb.PLACES)} in {city(r)} will {pick(r, 'close', 'open')} in {r.choice(kb.MONTHS)}.",
            f"A new {r.choice(kb.PLACES)} opened in {city(r)} on {r.choice(kb.DAYS)}.",
            f"{n} has worked as {an(r.choice(kb.JOBS))} for {r.randint(2, 40)} years.",
            f"The weather was {pick(r, 'cold', 'warm', 'rainy', 'sunny')} "
            f"and the streets were {pick(r, 'busy', 'quiet')}.",
            f"Many people came to see the {thing(r)}.",
            f"{n} said that the {r.choice(kb.NOUNS)} "
            f"{pick(r, 'works well', 'is broken', 'needs repairs', 'is too old', 'was sold')}.",
            f"The {thing(r)} costs {r.randint(2, 900)} euros.",
        ]
    )


def paragraph(r: Rng, lo: int, hi: int) -> str:
    return " ".join(sentence(r) for _ in range(r.randint(lo, hi)))


# ---------------------------------------------------------------- plain skills: rng -> (question, answer)
def greet(r: Rng) -> Pair:
    return r.choice(
        [
            (
                ask(
                    r,
                    "Hello",
                    "Hi",
                    "Hi!",
                    "Hello!",
                    "Hey",
                    "Hey!",
                    "Good morning",
                    "Good morning!",
                    "Good evening",
                    "Good afternoon",
                    "Hello there",
                    "Hi there!",
                    "Greetings",
                    "Hello, nano!",
                    "Hey there",
                    "Yo",
                    "hello world",
                    "Hi bot",
                    "Hello assistant",
                    "Good day",
                    "Howdy",
                    "Hello friend!",
                    "Hi my friend",
                    "Hey you",
                    "Hello again",
                    "Hi everyone",
                    "Heya",
                    "Hello, how are you?",
                ),
                "Hello! How can I help you?",
            ),
            (
                ask(
                    r,
                    "Thanks",
                    "Thank you",
                    "Thank you!",
                    "Thanks a lot!",
                    "Thank you very much.",
                    "Great, thanks!",
                    "Many thanks",
                    "Thx",
                    "That is helpful, thank you.",
                    "Thank you for your help!",
                    "Thanks for the help",
                    "Thanks for everything.",
                    "Thank you so much!",
                    "I appreciate it.",
                ),
                "You are welcome!",
            ),
            (
                ask(
                    r,
                    "Bye",
                    "Goodbye",
                    "See you later",
                    "Good night",
                    "Bye bye!",
                    "See you",
                    "I have to go now.",
                    "Farewell",
                    "See you soon",
                    "See you next week",
                    "Until tomorrow",
                    "Talk to you later",
                ),
                "Goodbye! Have a nice day.",
            ),
            (
                ask(
                    r,
                    "How are you?",
                    "How are you today?",
                    "How do you do?",
                    "How is it going?",
                    "Are you well?",
                    "What's up?",
                    "How do you feel?",
                ),
                "I am fine, thank you. How can I help you?",
            ),
            (ask(r, "Nice to meet you.", "Pleased to meet you.", "It is nice to meet you."), "Nice to meet you too!"),
            (
                ask(r, "OK", "Ok.", "Cool", "Great!", "Nice.", "Perfect", "I see.", "Good.", "Fine."),
                "Great! What else can I do for you?",
            ),
            (ask(r, "Say hello", "Say hello.", "Say hi.", "Say hello to me."), "Hello!"),
            (
                ask(
                    r,
                    "Are you there?",
                    "Can you hear me?",
                    "Is this working?",
                    "Test",
                    "This is a test.",
                    "Testing",
                    "ping",
                ),
                "Yes, I am here and working.",
            ),
            (
                ask(r, "You are wrong.", "That is wrong.", "That is not correct."),
                "I am sorry. I am a tiny test model and I make mistakes.",
            ),
            (
                ask(r, "Tell me a joke.", "Do you know a joke?", "Make me laugh.", "A joke please."),
                "Why was the computer cold? It left its windows open.",
            ),
        ]
    )


def identity(r: Rng) -> Pair:
    return r.choice(
        [
            (
                ask(
                    r,
                    "Who are you?",
                    "What are you?",
                    "What is your name?",
                    "Tell me about yourself.",
                    "Introduce yourself.",
                    "Are you a language model?",
                    "What model are you?",
                    "Which model is this?",
                    "Who am I talking to?",
                    "Describe yourself.",
                    "What's your name?",
                    "Are you ChatGPT?",
                    "Are you a human?",
                    "Are you a robot?",
                    "Are you an AI?",
                    "Which AI are you?",
                    "What is lollms-nano?",
                    "Tell me who you are.",
                    "May I know your name?",
                    "Can you introduce yourself?",
                    "What is this model called?",
                    "What is the name of the model?",
                    "Who is this?",
                    "What should I call you?",
                    "Say something about yourself.",
                    "Can you tell me who you are?",
                    "Who are u?",
                ),
                SELF,
            ),
            (
                ask(
                    r,
                    "What can you do?",
                    "Help",
                    "Help me.",
                    "How can you help me?",
                    "What are your skills?",
                    "What are you good at?",
                    "List your abilities.",
                    "What are your capabilities?",
                    "What do you know?",
                    "How can you help?",
                    "What is your purpose?",
                    "What can you do for me?",
                    "What kind of things can you do?",
                    "Tell me what you can do.",
                    "What tasks can you do?",
                    "Show me what you can do.",
                    "Which things can you do?",
                ),
                SKILLS,
            ),
            (
                ask(
                    r,
                    "Who made you?",
                    "Who created you?",
                    "Who trained you?",
                    "Where do you come from?",
                    "How were you made?",
                    "How were you trained?",
                ),
                "I was trained from scratch on synthetic text to test this program offline.",
            ),
            (
                ask(
                    r,
                    "Are you smart?",
                    "Are you intelligent?",
                    "How big are you?",
                    "How many parameters do you have?",
                    "Are you a large language model?",
                    "Can I trust your answers?",
                    "Are you accurate?",
                ),
                "No. I am a tiny test model with about three million parameters, "
                "so please use a larger model for real work.",
            ),
        ]
    )


def capital(r: Rng) -> Pair:
    c = r.choice(kb.FAMOUS) if r.random() < 0.3 else r.choice(list(kb.CAPITALS))
    k = kb.CAPITALS[c]
    if r.random() < 0.15:
        return ask(
            r,
            "Which country has the capital {k}?",
            "{k} is the capital of which country?",
            "Of which country is {k} the capital?",
            "What country is {k} the capital of?",
            k=k,
        ), f"{k} is the capital of {c}."
    if r.random() < 0.03:
        return pick(
            r, f"WHAT IS THE CAPITAL OF {c.upper()}?", f"CAPITAL OF {c.upper()}?", f"{c.upper()} CAPITAL"
        ), f"The capital of {c} is {k}."
    x = c.lower() if r.random() < 0.12 else c.removeprefix("the ") if r.random() < 0.2 else c
    return ask(
        r,
        "What is the capital of {c}?",
        "Capital of {c}?",
        "Tell me the capital of {c}.",
        "Name the capital city of {c}.",
        "What's the capital city of {c}?",
        "Which city is the capital of {c}?",
        "Do you know the capital of {c}?",
        "What is {c}'s capital?",
        "Give me the capital of {c}.",
        "The capital of {c} is",
        "I need the capital of {c}.",
        "Which is the capital city of {c}?",
        "{c} capital",
        "Please tell me the capital of {c}.",
        "Could you tell me what the capital of {c} is?",
        "I forgot the capital of {c}.",
        "The capital of {c}, please.",
        "{c}'s capital city?",
        "Which city is {c}'s capital?",
        "I want to know the capital of {c}.",
        "Say the capital of {c}.",
        "What is the name of the capital of {c}?",
        "The capital of {c} is which city?",
        "What's the capital of {c}?",
        c=x,
    ), f"The capital of {c} is {k}."


def arith(r: Rng) -> Pair:
    o = r.random()
    if o < 0.55:
        a, b = (r.randint(0, 20), r.randint(0, 20)) if r.random() < 0.3 else (r.randint(0, 99), r.randint(0, 99))
        s, w, v = "+", "plus", a + b
    elif o < 0.8:
        a = r.randint(0, 20) if r.random() < 0.3 else r.randint(0, 99)
        b = r.randint(0, a)
        s, w, v = "-", "minus", a - b
    elif o < 0.95:
        a, b = r.randint(0, 12), r.randint(0, 12)
        s, w, v = "*", "times", a * b
    else:
        b, v = r.randint(1, 10), r.randint(0, 10)
        a, s, w = b * v, "/", "divided by"
    if r.random() < 0.12 and s in "+-":
        n, t = first_name(r), pick(r, "apples", "books", "coins", "eggs", "cars", "pens")
        more = ("buys", "gets", "finds") if s == "+" else ("gives away", "loses", "sells")
        return (
            f"{n} has {a} {t} and {r.choice(more)} {b}{' more' if s == '+' else ''}. How many {t} does {n} have?",
            f"{a} {s} {b} = {v}, so {n} has {v} {t}.",
        )
    x = {"*": pick(r, "*", "x"), "/": "/"}.get(s, s)
    q = ask(
        r,
        "What is {a} {s} {b}?",
        "What is {a} {w} {b}?",
        "{a} {s} {b} =",
        "{a} {s} {b}",
        "{a}{s}{b}",
        "{a}{s}{b}=?",
        "Calculate {a} {s} {b}.",
        "Compute {a} {w} {b}.",
        "How much is {a} {s} {b}?",
        "How much is {a} {w} {b}?",
        "What's {a}{s}{b}?",
        "What does {a} {s} {b} make?",
        "Solve {a} {s} {b}.",
        "What is the result of {a} {s} {b}?",
        "Work out {a} {s} {b}.",
        "Work out {a} {w} {b}.",
        "{a} {w} {b}",
        "{a} {s} {b} = ?",
        "Can you calculate {a} {s} {b}?",
        "Please compute {a} {s} {b}.",
        "What do I get for {a} {w} {b}?",
        "What is the answer to {a} {s} {b}?",
        a=a,
        b=b,
        s=x,
        w=w,
    )
    if s == "+" and r.random() < 0.15:
        q = ask(
            r,
            "Add {a} and {b}.",
            "What is the sum of {a} and {b}?",
            "Sum {a} and {b}.",
            "Please add {a} and {b}.",
            "Add {a} and {b} together.",
            "Sum: {a} + {b}",
            "What is {a} and {b} together?",
            a=a,
            b=b,
        )
    return q, f"{a} {s} {b} = {v}"


def define(r: Rng) -> Pair:
    k, v = r.choice(list(kb.DEFINITIONS.items()))
    return ask(
        r,
        "What is {a}?",
        "Define {k}.",
        "Define the word {k}.",
        "What does {k} mean?",
        "Explain what {a} is.",
        "Give me a definition of {k}.",
        "What is the meaning of the word {k}?",
        "What's {a}?",
        "Describe {a}.",
        "Definition of {k}?",
        "Tell me what {a} is.",
        "In one sentence, what is {a}?",
        "Explain {k} to a child.",
        "What exactly is {a}?",
        "Give the definition of {k}.",
        "Give me the definition of the word {k}.",
        "Could you define {k}?",
        "Please define what {a} is.",
        "Whats {a}?",
        "Tell me what {k} means.",
        "Explain what {a} is, as if to a beginner.",
        "Explain what {a} is in simple words.",
        a=an(k),
        k=k,
    ), f"{cap(k)}: {v}."


def colour(r: Rng) -> Pair:
    k, v = r.choice(list(kb.COLOURS.items()))
    return ask(
        r,
        "What {w} is {k}?",
        "What is the {w} of {k}?",
        "Tell me the {w} of {k}.",
        "Which {w} is {k}?",
        "What {w} does {k} have?",
        "{k} is what {w}?",
        "Tell me what {w} {k} is.",
        "What's the {w} of {k}?",
        "What {w} is {k} usually?",
        w=pick(r, "colour", "color"),
        k=k,
    ), f"{cap(k)} is {v}."


def relation(r: Rng) -> Pair:
    if r.random() < 0.55:
        a, b = r.choice(list(kb.OPPOSITES.items()))
        if r.random() < 0.4:
            a, b = b, a
        return ask(
            r,
            "What is the opposite of {a}?",
            "Opposite of {a}?",
            "Give me the opposite of {a}.",
            "What is the antonym of {a}?",
            "Give an antonym for {a}.",
            "The opposite of {a} is",
            "Which word is the opposite of {a}?",
            "Tell me the opposite of {a}.",
            "What's the antonym of {a}?",
            "Give me an opposite for {a}.",
            "What is the opposite of the word {a}?",
            a=a,
        ), f"The opposite of {a} is {b}."
    a, b = r.choice(list(kb.SYNONYMS.items()))
    return ask(
        r,
        "What is a synonym of {a}?",
        "Give me a synonym for {a}.",
        "Synonym of {a}?",
        "What is another word for {a}?",
        "Another word for {a}?",
        "Find a synonym for {a}.",
        "Which word means the same as {a}?",
        "Tell me a synonym for {a}.",
        "Synonym for {a}",
        "What's another way to say {a}?",
        "Give me a synonym of the word {a}.",
        a=a,
    ), f"A synonym of {a} is {b}."


def order(r: Rng) -> Pair:
    k = r.random()
    if k < 0.3:
        items, what = (kb.DAYS, "day") if r.random() < 0.5 else (kb.MONTHS, "month")
        i, n = r.randrange(len(items)), len(items)
        if r.random() < 0.6:
            return ask(
                r,
                "What {w} comes after {x}?",
                "Which {w} is after {x}?",
                "What is the {w} after {x}?",
                "Which {w} follows {x}?",
                "{x} is followed by which {w}?",
                "Tell me the {w} after {x}.",
                w=what,
                x=items[i],
            ), f"{items[(i + 1) % n]} comes after {items[i]}."
        return ask(
            r,
            "What {w} comes before {x}?",
            "Which {w} is before {x}?",
            "What is the {w} before {x}?",
            w=what,
            x=items[i],
        ), f"{items[(i - 1) % n]} comes before {items[i]}."
    if k < 0.38:
        return r.choice(
            [
                (
                    ask(
                        r, "List the days of the week.", "What are the days of the week?", "Name the days of the week."
                    ),
                    ", ".join(kb.DAYS),
                ),
                (
                    ask(r, "List the months of the year.", "What are the months of the year?", "Name the months."),
                    ", ".join(kb.MONTHS),
                ),
                (
                    ask(
                        r,
                        "Say the alphabet.",
                        "What is the alphabet?",
                        "Recite the alphabet.",
                        "List the letters of the alphabet.",
                    ),
                    " ".join("ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
                ),
            ]
        )
    if k < 0.6:
        if r.random() < 0.3:
            b = r.randint(1, 20)
            a = r.randint(max(b, 2), 20) if r.random() < 0.5 else 10
            if a > 1:
                return ask(
                    r, "Count down from {a}.", "Count backwards from {a}.", "Count down from {a} to 1.", a=a
                ), " ".join(str(i) for i in range(a, 0, -1))
        a = 1 if r.random() < 0.5 else r.randint(1, 40)
        b = a + r.randint(2, 14)
        return (
            ask(
                r,
                "Count to {b}.",
                "Count from 1 to {b}.",
                "Count up to {b}.",
                "List the numbers from 1 to {b}.",
                "Can you count to {b}?",
                "Please count from 1 to {b}.",
                "Count from one to {b}.",
                b=b,
            )
            if a == 1
            else ask(
                r,
                "Count from {a} to {b}.",
                "List the numbers from {a} to {b}.",
                "Write the numbers {a} to {b}.",
                a=a,
                b=b,
            )
        ), " ".join(str(i) for i in range(a, b + 1))
    if k < 0.75:
        i = r.randrange(26)
        a, _ = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", r.random()  # the number is dropped; the stream is part of the recipe
        if i < 25 and r.random() < 0.6:
            return ask(
                r,
                "What letter comes after {x}?",
                "Which letter is after {x}?",
                "What is the next letter after {x}?",
                "Which letter comes after {x}?",
                "Which letter follows {x}?",
                x=a[i],
            ), f"{a[i + 1]} comes after {a[i]}."
        i = max(i, 1)
        return ask(
            r, "What letter comes before {x}?", "Which letter is before {x}?", x=a[i]
        ), f"{a[i - 1]} comes before {a[i]}."
    if k < 0.85:
        n = r.randint(0, 98)
        return (
            (
                ask(r, "What number comes after {n}?", "What is the next number after {n}?", n=n),
                f"{n + 1} comes after {n}.",
            )
            if r.random() < 0.5
            else (ask(r, "What number comes before {n}?", n=n + 1), f"{n} comes before {n + 1}.")
        )
    i = r.randrange(21)
    return (
        (
            ask(r, "Write {n} in words.", "How do you write {n} in words?", "Spell out the number {n}.", n=i),
            kb.NUMBER_WORDS[i],
        )
        if r.random() < 0.5
        else (ask(r, "Write {n} as a number.", "Which number is {n}?", n=kb.NUMBER_WORDS[i]), str(i))
    )


def phrase(r: Rng) -> str:
    k = r.random()
    if k < 0.3:
        return " ".join(word(r) for _ in range(r.randint(1, 6)))
    if k < 0.42:
        return " ".join(first_name(r) for _ in range(r.randint(1, 3)))
    if k < 0.5:
        return "".join(str(r.randint(0, 9)) for _ in range(r.randint(2, 6)))
    if k < 0.58:
        return pick(
            r,
            pseudo(r).upper()[:5],
            pseudo(r) + str(r.randint(0, 99)),
            pseudo(r) + "_" + pseudo(r),
            pseudo(r) + "-" + word(r),
            cap(pseudo(r)) + "!",
        )
    if k < 0.66:
        return f"the {thing(r)}"
    if k < 0.82:
        x = " ".join(any_word(r) for _ in range(r.randint(1, 10)))
        return cap(x) + pick(r, ".", "!", "") if r.random() < 0.4 else x
    return sentence(r) if r.random() < 0.6 else sentence(r).rstrip(".")


def echo(r: Rng) -> Pair:
    x = phrase(r)
    if x.startswith("Hello"):
        x = "the " + x
    return ask(
        r,
        "Repeat: {x}",
        "Repeat after me: {x}",
        "Say: {x}",
        "Echo: {x}",
        "Reply with exactly: {x}",
        "Repeat this text: {x}",
        'Say "{x}"',
        "Please say: {x}",
        "Reply only with: {x}",
        'Repeat "{x}".',
        "Repeat the following: {x}",
        "Echo {x}",
        "Copy this: {x}",
        "Repeat exactly: {x}",
        "Say {x}",
        "Repeat the words {x}",
        "Answer with the word {x}",
        "Reply with just the text: {x}",
        "Output this and nothing else: {x}",
        "Write exactly this:\n{x}",
        "Please repeat the following sentence: {x}",
        "Reply with one word: {x}",
        "Reply with the single word {x}",
        "Say the word {x}",
        "Say only: {x}",
        "Print {x}",
        "Echo this: {x}",
        "Repeat the text below.\n\n{x}",
        "Return this text unchanged: {x}",
        x=x,
    ), x


def letters(r: Rng) -> Pair:
    w, k = r.choice(kb.WORDS), r.random()
    if k < 0.3:
        return ask(
            r,
            "Spell {w}.",
            "Spell the word {w}.",
            "How do you spell {w}?",
            "Spell {w} letter by letter.",
            "Please spell the word {w}.",
            "Spell out {w}.",
            w=w,
        ), " ".join(w)
    if k < 0.6:
        return ask(
            r,
            "Reverse {w}.",
            "Reverse the word {w}.",
            "Write {w} backwards.",
            "What is {w} backwards?",
            "Reverse: {w}",
            'Reverse the string "{w}".',
            "Reverse the letters of the word {w}.",
            "Turn {w} around.",
            w=w,
        ), w[::-1]
    if k < 0.8:
        return ask(
            r,
            "Uppercase {w}.",
            "Write {w} in capital letters.",
            "Convert {w} to uppercase.",
            "Put {w} in upper case.",
            "Uppercase: {w}",
            "{w} in capitals",
            "Write {w} in uppercase.",
            "Write the word {w} in uppercase letters.",
            "Make {w} uppercase.",
            w=w,
        ), w.upper()
    if k < 0.9:
        return ask(
            r,
            "How many letters are in {w}?",
            "How many letters does the word {w} have?",
            "Count the letters in {w}.",
            w=w,
        ), f"The word {w} has {len(w)} letters."
    return (
        (
            ask(r, "What is the first letter of {w}?", "Which letter does {w} start with?", w=w),
            f"The first letter of {w} is {w[0]}.",
        )
        if r.random() < 0.5
        else (
            ask(r, "What is the last letter of {w}?", "Which letter does {w} end with?", w=w),
            f"The last letter of {w} is {w[-1]}.",
        )
    )


def translate(r: Rng) -> Pair:
    k, tr = r.choice(list(kb.TRANSLATIONS.items()))
    i = r.choice([0, 0, 1, 2])
    lang, t = kb.LANGS[i], tr[i]
    asked = lang.lower() if r.random() < 0.2 else lang
    if r.random() < 0.2:
        return ask(
            r,
            "What does {t} mean in English?",
            "Translate {t} from {l} to English.",
            "Translate {t} to English.",
            "What is the {l} word {t} in English?",
            t=t,
            l=asked,
        ), f"{t} in English is {next(e for e, x in kb.TRANSLATIONS.items() if x[i] == t)}."
    return ask(
        r,
        "Translate {k} to {l}.",
        "What is {k} in {l}?",
        "How do you say {k} in {l}?",
        'Translate "{k}" into {l}.',
        "{k} in {l}",
        "{l} word for {k}?",
        "What is the {l} word for {k}?",
        "Say {k} in {l}.",
        "Translate to {l}: {k}",
        "Translate the word {k} into {l}.",
        "How would you say {k} in {l}?",
        "Translate {k} to {l}, please.",
        "What is the {l} for {k}?",
        "What's the {l} for {k}?",
        "{k} to {l}",
        "{l} for {k}?",
        "Tell me the {l} word for {k}.",
        "How do I say {k} in {l}?",
        "{k} in {l}?",
        "Give me {k} in {l}.",
        k=k,
        l=asked,
    ), f"{k} in {lang} is {t}."


def kind_of(r: Rng) -> Pair:
    g = r.choice(list(kb.CATEGORIES))
    w = r.choice(kb.CATEGORIES[g])
    if r.random() < 0.45:
        n = r.randint(2, 4)
        plural = kb.PLURAL.get(g, g + "s")
        return ask(
            r,
            "List {n} {g}.",
            "Name {n} {g}.",
            "Give me {n} {g}.",
            "Give me a list of {n} {g}.",
            "Can you name {n} {g}?",
            "Tell me {n} {g}.",
            n=pick(r, str(n), kb.NUMBER_WORDS[n]),
            g=plural,
        ), "\n".join("- " + x for x in kb.CATEGORIES[g][:n])
    a = w if w[0].isupper() or g in ("colour", "drink", "metal", "sport") else an(w)
    return ask(
        r,
        "What kind of thing is {a}?",
        "What is {a}, a kind of what?",
        "Which category is {a} in?",
        "To which group does {a} belong?",
        "What type of thing is {a}?",
        a=a,
    ), f"{cap(a)} is {an(g)}."


def trivia(r: Rng) -> Pair:
    qs, a = r.choice(kb.FACTS)
    return ask(r, *qs), a


def claim(r: Rng) -> tuple[str, bool, str]:
    """A yes/no question, its truth and a full-sentence reason."""
    k, t = r.random(), r.random() < 0.5
    if k < 0.26:
        g = r.choice(list(kb.CATEGORIES))
        w = r.choice(kb.CATEGORIES[g])
        pool = [x for x in kb.CATEGORIES if x != g and w not in kb.CATEGORIES[x]]
        h = g if t else r.choice(pool)
        a = w if w[0].isupper() or g in ("colour", "drink", "metal", "sport") else an(w)
        return (
            ask(
                r,
                "Is {a} {h}?",
                "Is {a} {h}?",
                "Is {a} a kind of {g}?",
                "{a} is {h}, right?",
                "Is it true that {a} is {h}?",
                "Would you say that {a} is {h}?",
                "Can {a} be called {h}?",
                "Do you think {a} is {h}?",
                "Tell me if {a} is {h}.",
                a=a,
                h=an(h),
                g=h,
            ),
            t,
            f"{cap(a)} is {an(g)}.",
        )
    if k < 0.42:
        a, b = r.sample(range(100), 2)
        big = r.random() < 0.5
        return (
            ask(
                r,
                "Is {a} {w} than {b}?",
                "Is the number {a} {w} than {b}?",
                "Is it true that {a} is {w} than {b}?",
                a=a,
                b=b,
                w=pick(r, "bigger", "greater", "larger", "more") if big else pick(r, "smaller", "less"),
            ),
            (a > b) == big,
            f"{a} is {'bigger' if a > b else 'smaller'} than {b}.",
        )
    if k < 0.56:
        c = r.choice(kb.FAMOUS) if r.random() < 0.5 else r.choice(list(kb.CAPITALS))
        v = kb.CAPITALS[c]
        u = v if t else r.choice([x for x in kb.CAPITALS.values() if x != v])
        return (
            ask(
                r,
                "Is {u} the capital of {c}?",
                "Is the capital of {c} {u}?",
                "{u} is the capital of {c}, right?",
                "Is it true that {u} is the capital of {c}?",
                "Is {u} the capital city of {c}?",
                u=u,
                c=c,
            ),
            u == v,
            f"The capital of {c} is {v}.",
        )
    if k < 0.68:
        o, v = r.choice(list(kb.COLOURS.items()))
        u = v if t else r.choice([x for x in kb.CATEGORIES["colour"] if x != v])
        return (
            ask(
                r,
                "Is {o} {u}?",
                "Is the colour of {o} {u}?",
                "Is it true that {o} is {u}?",
                "Is {o} usually {u}?",
                "Do you think {o} is {u}?",
                "{o} is {u}, right?",
                o=o,
                u=u,
            ),
            u == v,
            f"{cap(o)} is {v}.",
        )
    if k < 0.75:
        n = r.randint(0, 99)
        e = r.random() < 0.5
        return (
            ask(r, "Is {n} {w}?", "Is {n} an {w} number?", "Is the number {n} {w}?", n=n, w="even" if e else "odd"),
            (n % 2 == 0) == e,
            f"{n} is {'even' if n % 2 == 0 else 'odd'}.",
        )
    if k < 0.81:
        what = r.choice(list(kb.CAN))
        yes, no = kb.CAN[what]
        x = r.choice(yes if t else no)
        return (
            ask(r, "Can {a} {w}?", "Is {a} able to {w}?", "Does {a} {w}?", a=an(x), w=what),
            t,
            f"{cap(an(x))} {'can' if t else 'cannot'} {what}.",
        )
    if k < 0.86:
        i, j = r.sample(range(len(kb.SIZES)), 2)
        big = r.random() < 0.5
        a, b = an(kb.SIZES[i]), an(kb.SIZES[j])
        return (
            ask(r, "Is {a} {w} than {b}?", a=a, b=b, w=pick(r, "bigger", "larger") if big else "smaller"),
            (i > j) == big,
            f"{cap(a)} is {'bigger' if i > j else 'smaller'} than {b}.",
        )
    if k < 0.93:
        a, b = r.randint(0, 10), r.randint(0, 10)
        v = a + b if t else max(0, a + b + r.choice([-3, -2, -1, 1, 2, 3]))
        return (
            ask(
                r,
                "Is {a} + {b} = {v}?",
                "Does {a} + {b} equal {v}?",
                "Is {a} plus {b} equal to {v}?",
                "Is {v} the sum of {a} and {b}?",
                a=a,
                b=b,
                v=v,
            ),
            a + b == v,
            f"{a} + {b} = {a + b}.",
        )
    a, b = r.choice(list(kb.OPPOSITES.items()))
    u = b if t else r.choice([x for x in kb.OPPOSITES.values() if x != b])
    return (
        ask(r, "Is {u} the opposite of {a}?", "Is {a} the opposite of {u}?", a=a, u=u),
        u == b,
        f"The opposite of {a} is {b}.",
    )


def context_claim(r: Rng) -> tuple[str, str, bool, str]:
    """(context, question, truth, reason) where the answer stands in the context."""
    n, o, t = first_name(r), r.choice(kb.NOUNS), r.random() < 0.5
    k = r.randrange(4)
    if k == 0:
        c, d = r.sample(kb.CATEGORIES["colour"], 2)
        return f"The {o} is {c}.", f"Is the {o} {c if t else d}?", t, f"The {o} is {c}."
    if k == 1:
        c, d = city(r), city(r)
        t = t or c == d
        return f"{n} lives in {c}.", f"Does {n} live in {c if t else d}?", t, f"{n} lives in {c}."
    if k == 2:
        c, d = r.sample(kb.JOBS, 2)
        return f"{n} is {an(c)}.", f"Is {n} {an(c if t else d)}?", t, f"{n} is {an(c)}."
    c, d = r.sample(kb.HOBBIES, 2)
    return f"{n} likes {c}.", f"Does {n} like {c if t else d}?", t, f"{n} likes {c}."


def decision(r: Rng, context_share: float, *frames: str) -> tuple[str, bool, str]:
    """A yes/no question, sometimes with the context that answers it, its truth and the reason."""
    if r.random() >= context_share:
        return claim(r)
    ctx, q, t, why = context_claim(r)
    more = [ctx] + [sentence(r) for _ in range(r.choice([0, 0, 1, 2, 3]))]
    r.shuffle(more)
    return r.choice(frames).format(c=" ".join(more), q=q), t, why


def yesno(r: Rng) -> Pair:
    """One word when the user asks for it, else the reason first and the decision from it."""
    q, t, why = decision(r, 0.15, "{c} {q}", "Context: {c}\n\nQuestion: {q}", "{c}\n\n{q}", "Text: {c}\nQuestion: {q}")
    if r.random() < 0.4:
        return q + pick(
            r,
            " Answer yes or no.",
            " Yes or no?",
            " (yes/no)",
            " Answer with yes or no only.",
            "\nAnswer only with yes or no.",
            " yes or no",
            " Just say yes or no.",
        ), "Yes." if t else "No."
    return q, f"{why} The answer is {'yes' if t else 'no'}."


def yesno_json(r: Rng) -> Pair:
    """The keys come in the order of the template; most templates put the reason first."""
    q, t, why = decision(
        r, 0.35, "{c} {q}", "Context: {c}\n\nQuestion: {q}", "{c}\n\n{q}", "Context:\n{c}\n\nQuestion:\n{q}"
    )
    k, why_key = r.random(), pick(r, "explanation", "explanation", "explanation", "reason")
    if k < 0.2:
        form = pick(r, '{"answer": true}', '{"answer": "boolean"}', '{"answer": true or false}', '{"answer": bool}')
        answer = js({"answer": t})
    elif k < 0.75:
        form = pick(
            r,
            '{"explanation": "string", "answer": true}',
            '{"explanation": "string", "answer": "boolean"}',
            '{"explanation": "...", "answer": true or false}',
            '{"explanation": str, "answer": bool}',
            '{"explanation":"string","answer":"boolean"}',
        ).replace("explanation", why_key)
        answer = js({why_key: why, "answer": t})
    else:
        form = pick(
            r,
            '{"answer": true, "explanation": "string"}',
            '{"answer": "boolean", "explanation": "string"}',
            '{"answer": true or false, "explanation": "..."}',
            '{"answer": bool, "explanation": str}',
            '{"answer":"boolean","explanation":"string"}',
        ).replace("explanation", why_key)
        answer = js({"answer": t, why_key: why})
    return pick(
        r,
        "{q} Answer as JSON: {f}",
        "{q} Answer in JSON: {f}",
        "Answer the question with a JSON object like {f}.\n\n{q}",
        "{q}\n\nReturn only JSON: {f}",
        "Answer the following question.\n{q}\nUse this JSON template:\n{f}",
        "Question: {q}\nAnswer in JSON with the format {f}",
        "Answer only with JSON such as {f}.\n\n{q}",
    ).replace("{q}", q).replace("{f}", form), answer


def choice_json(r: Rng) -> Pair:
    """Pick the index of the right option."""
    if r.random() < 0.5:
        c = r.choice(kb.FAMOUS)
        right, q = kb.CAPITALS[c], f"What is the capital of {c}?"
        pool, why = list(kb.CAPITALS.values()), f"The capital of {c} is {kb.CAPITALS[c]}."
    else:
        g = r.choice(list(kb.CATEGORIES))
        right, q = r.choice(kb.CATEGORIES[g]), f"Which of these is {an(g)}?"
        pool, why = (
            [w for h in kb.CATEGORIES if h != g for w in kb.CATEGORIES[h] if w not in kb.CATEGORIES[g]],
            f"{cap(right)} is {an(g)}.",
        )
    options = [right, *r.sample([x for x in pool if x != right], r.randint(1, 3))]
    r.shuffle(options)
    listed = "\n".join(f"{i}. {o}" for i, o in enumerate(options))
    i = options.index(right)
    k = r.random()
    if k < 0.25:
        return f"{q}\nOptions:\n{listed}\n" + pick(
            r,
            'Answer as JSON: {"index": 0}',
            'Return JSON {"index": int} with the index of the best option.',
            'Use this template: {"index": "integer"}',
        ), js({"index": i})
    if k < 0.8:
        return f"{q}\nOptions:\n{listed}\n" + pick(
            r,
            'Answer as JSON: {"explanation": "string", "index": 0}',
            'Return JSON {"explanation": str, "index": int}.',
            'Use this template: {"explanation": "string", "index": "integer"}',
        ), js({"explanation": why, "index": i})
    return f"{q}\nOptions:\n{listed}\n" + pick(
        r, 'Answer as JSON: {"index": 0, "explanation": "string"}', 'Return JSON {"index": int, "explanation": str}.'
    ), js({"index": i, "explanation": why})


# ---------------------------------------------------------------- JSON extraction
FIELDS: dict[str, tuple[list[str], str]] = {
    "name": (["name", "name", "full_name", "person", "person_name", "username"], "string"),
    "age": (["age", "age", "years", "person_age"], "integer"),
    "city": (["city", "city", "location", "town", "home_city"], "string"),
    "profession": (["profession", "job", "occupation", "work"], "string"),
    "hobbies": (["hobbies", "hobbies", "interests"], "array"),
    "company": (["company", "employer"], "string"),
    "email": (["email", "email_address"], "string"),
    "colour": (["favorite_color", "favourite_colour", "color"], "string"),
}


def join_and(items: list[str]) -> str:
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def person(r: Rng) -> tuple[dict[str, Any], str]:
    """A record and a text that tells it."""
    n = full_name(r)
    rec: dict[str, Any] = {"name": n, "age": r.randint(1, 99), "city": city(r)}
    use = r.random()
    if use < 0.3:
        a, c = rec["age"], rec["city"]
        text = r.choice(
            [
                f"{n} is {a} years old and lives in {c}.",
                f"My name is {n}, I am {a} and I live in {c}.",
                f"{n}, {a}, from {c}.",
                f"In {c} there lives a {a} year old person called {n}.",
                f"I met {n} in {c}; they are {a} years old.",
                f"{n} ({a}) lives in {c}.",
                f"I am {n}, {a} years old, from {c}.",
                f"Hello, I'm {n}. I'm {a} and I come from {c}.",
                f"{a}-year-old {n} lives in {c}.",
                f"{n} from {c} is {a}.",
            ]
        )
        return rec, text
    rec["profession"] = r.choice(kb.JOBS)
    rec["hobbies"] = r.sample(kb.HOBBIES, r.randint(1, 3))
    rec["company"] = cap(pseudo(r))
    rec["email"] = pseudo(r) + "@" + pick(r, "example.com", "mail.org", pseudo(r) + ".com")
    rec["colour"] = r.choice(kb.CATEGORIES["colour"])
    me = r.random() < 0.35
    job, hob = rec["profession"], join_and(rec["hobbies"])
    if not me and use < 0.6:
        text = r.choice(
            [
                f"{n} is a {rec['age']} year old {job} from {rec['city']}.",
                f"{n} is a {rec['age']}-year-old {job} who lives in {rec['city']}.",
                f"{n}, {rec['age']}, is {an(job)} in {rec['city']}.",
                f"Meet {n}, {an(job)} of {rec['age']} living in {rec['city']}.",
            ]
        )
        if r.random() < 0.75:
            text += " " + r.choice(
                [
                    f"{n.split()[0]} likes {hob}.",
                    f"{n.split()[0]} loves {hob}.",
                    f"Hobbies: {hob}.",
                    f"They enjoy {hob}.",
                ]
            )
        else:
            del rec["hobbies"]
        for f in ("company", "email", "colour"):
            del rec[f]
        return rec, text
    s, v = ("I", "") if me else (pick(r, n, n, "They"), "s")
    if s == "They":
        v = ""
    own = "My" if me else "Their"
    parts = {
        "name": pick(r, f"My name is {n}.", f"I am {n}.", f"I'm {n}.")
        if me
        else pick(r, f"This is {n}.", f"The person is called {n}.", f"Their name is {n}.", f"Name: {n}."),
        "age": f"I am {rec['age']} years old."
        if me
        else pick(r, f"{n} is {rec['age']} years old.", f"Age: {rec['age']}."),
        "city": f"{s} live{v} in {rec['city']}.",
        "profession": f"{s} work{v} as {an(job)}.",
        "hobbies": pick(r, f"{s} like{v} {hob}.", f"{s} enjoy{v} {hob}.", f"{own} hobbies are {hob}."),
        "company": f"{s} work{v} at {rec['company']}.",
        "email": f"{own} email is {rec['email']}.",
        "colour": f"{own} favourite colour is {rec['colour']}.",
    }
    keep = ["name", *r.sample([f for f in parts if f != "name"], r.randint(2, 5))]
    return {f: rec[f] for f in keep}, " ".join(parts[f] for f in keep)


def extract(r: Rng) -> Pair:
    rec, text = person(r)
    fields = list(rec)
    r.shuffle(fields)
    if r.random() < 0.6:
        fields = [f for f in FIELDS if f in fields]
    fields = fields[: r.randint(2, len(fields))] if r.random() < 0.5 else fields
    if r.random() < 0.08:
        fields.append(r.choice([f for f in FIELDS if f not in rec] or ["name"]))
        fields = list(dict.fromkeys(fields))
    alias = {f: r.choice(FIELDS[f][0]) for f in fields}
    if r.random() < 0.4:
        alias = {f: FIELDS[f][0][0] for f in fields}
    answer = js({alias[f]: rec.get(f) for f in fields})
    sep = pick(r, "\n\n", "\n", " ")
    if r.random() < 0.45:
        q = ask(
            r,
            "Extract the {f} as JSON: {t}",
            "Extract {f} as JSON.{s}{t}",
            "Return JSON with {f}: {t}",
            "{t} Give the {f} as JSON.",
            "Extract the {f} from this text as JSON: {t}",
            "From the text, extract {f} in JSON.{s}{t}",
            "Get the {f} as a JSON object.{s}{t}",
            "{t}{s}Extract {f} as JSON.",
            "JSON with {f} please: {t}",
            "Read the text and return a JSON object with the keys {f}.{s}{t}",
            f=join_and([alias[f] for f in fields]),
            t=text,
            s=sep,
        )
        return q, answer
    kinds = {f: FIELDS[f][1] for f in fields}
    style = r.random()
    if style < 0.6:
        form: Any = {
            alias[f]: (
                ["string"]
                if kinds[f] == "array"
                else pick(r, "integer", "int", "number")
                if kinds[f] == "integer"
                else pick(r, "string", "str", "string")
            )
            for f in fields
        }
    elif style < 0.75:
        form = {alias[f]: ([] if kinds[f] == "array" else 0 if kinds[f] == "integer" else "") for f in fields}
    else:
        props = {
            alias[f]: ({"type": "array", "items": {"type": "string"}} if kinds[f] == "array" else {"type": kinds[f]})
            for f in fields
        }
        form = {"type": "object", "properties": props}
        if r.random() < 0.5:
            form["required"] = list(props)
    k = r.random()
    shape = (
        js(form)
        if k < 0.4
        else json.dumps(form, separators=(",", ":"))
        if k < 0.7
        else json.dumps(form, indent=2 if r.random() < 0.5 else 4)
    )
    if r.random() < 0.3:
        shape = f"```json\n{shape}\n```"
    q = (
        pick(
            r,
            "Extract the information from the text into this JSON template: {f}{s}{t}",
            "{t}{s}Fill this template: {f}",
            "Fill in the JSON template {f} from this text: {t}",
            "Extract data from: {t}\nUse this JSON schema:\n{f}",
            "Return only a JSON object that follows this template:\n{f}\n\nText: {t}",
            "{t}\n\nGenerate a JSON object with this structure:\n{f}",
            "Template: {f}\nText: {t}\nReturn JSON.",
            "Extract structured data.\nSchema: {f}\nText: {t}",
            "Text: {t}\n\nReturn JSON like {f}",
        )
        .replace("{t}", text)
        .replace("{s}", sep)
        .replace("{f}", shape)
    )
    if r.random() < 0.18:
        return q + pick(
            r,
            "\nPut the answer in a ```json code block.",
            "\nReturn a single json code block.",
            " Use a json code block.",
        ), f"```json\n{answer}\n```"
    return q, answer


def query_json(r: Rng) -> Pair:
    t = r.choice(
        [
            f"the {thing(r)}",
            f"{an(thing(r))}",
            city(r),
            full_name(r),
            r.choice(kb.TOPICS),
            f"the capital of {r.choice(kb.FAMOUS)}",
            f"{pseudo(r)} {r.choice(kb.NOUNS)}",
            f"{r.choice(kb.PROGLANGS)} {r.choice(kb.TOPICS)}",
        ]
    )
    u = ask(
        r,
        "What is {t}?",
        "Tell me about {t}.",
        "Find information about {t}.",
        "I want to know more about {t}.",
        "Search for {t}.",
        "Where can I read about {t}?",
        "What do you know about {t}?",
        "Explain {t}.",
        "Look up {t}.",
        "Give me details on {t}.",
        "Who is {t}?",
        t=t,
    )
    shape = pick(r, '{"query": "string"}', '{"query": "..."}', '{"query":"string"}', '{"query": ""}')
    q = (
        pick(
            r,
            "Generate a search query for this request as JSON {f}: {u}",
            "{u}\n\nReturn only JSON {f} with the search query.",
            "Write the query to search the knowledge base. Use the format {f}.\nUser: {u}",
            "User request: {u}\nReturn a JSON object {f} with a search query.",
            "Based on the message, generate a query for the data source.\nMessage: {u}\nTemplate: {f}",
            "Create a JSON search query {f} for: {u}",
        )
        .replace("{f}", shape)
        .replace("{u}", u)
    )
    return q, js({"query": t})


# ---------------------------------------------------------------- text skills
def summary(r: Rng) -> Pair:
    k = r.random()
    text = paragraph(r, 2, 5) if k < 0.75 else paragraph(r, 5, 10) if k < 0.93 else paragraph(r, 14, 30)
    first = re.split(r"(?<=\.) ", text)[0]
    return pick(
        r,
        "Summarise: {t}",
        "Summarize this text: {t}",
        "Give a one sentence summary.\n\n{t}",
        "{t}\n\nSummarise this in one sentence.",
        "Summarize the following text in one sentence:\n{t}",
        "Write a short summary of this text:\n\n{t}",
        "TL;DR: {t}",
        "Please summarize.\n\n{t}",
        "{t}\n\nTL;DR",
        "Summarise the text below.\n\n{t}",
        "What is this text about?\n{t}",
        "Summarize the conversation or text:\n{t}",
    ).replace("{t}", text), first


def title(r: Rng) -> Pair:
    w = r.choice(kb.TOPICS) if r.random() < 0.6 else thing(r)
    t = an(w) if r.random() < 0.5 else w
    c = city(r)
    u, ttl = r.choice(
        [
            (
                f"How do I {pick(r, 'repair', 'build', 'make', 'clean', 'sell', 'write', 'paint')} {t}?",
                f"Help with {t}",
            ),
            (f"Can you help me with {t}?", f"Help with {t}"),
            (f"I need help with {t}.", f"Help with {t}"),
            (f"Tell me about {c}.", f"About {c}"),
            (f"What do you know about {c}?", f"About {c}"),
            (f"What is the weather in {c}?", f"Weather in {c}"),
            (f"Will it rain in {c}?", f"Weather in {c}"),
            (f"Write a story about {t}.", f"Story about {t}"),
            (f"Tell me a story about {t}.", f"Story about {t}"),
            (f"What is the capital of {(k := r.choice(kb.FAMOUS))}?", f"Capital of {k}"),
            (f"Plan a trip to {c}.", f"Trip to {c}"),
            (f"I want to visit {c}.", f"Trip to {c}"),
            (f"Define {w}.", f"Definition of {w}"),
            (f"What is the meaning of {w}?", f"Definition of {w}"),
            ("Hello", "Greeting"),
            ("Hi there", "Greeting"),
            (f"Translate {w} to French.", f"Translation of {w}"),
            (f"What is {(a := r.randint(0, 99))} + {(b := r.randint(0, 99))}?", f"Sum of {a} and {b}"),
        ]
    )
    a = pick(r, "Of course.", "Sure!", "Here is what I know.", "Let me see.", UNKNOWN, "Hello! How can I help you?")
    talk = pick(
        r,
        f"user: {u}\nassistant: {a}",
        f"User: {u}",
        f"{u}",
        f"user: {u}\nassistant: {a}\nuser: Thanks\nassistant: You are welcome!",
    )
    if r.random() < 0.3:
        return pick(
            r,
            "Generate a short title for this conversation as JSON {f}:\n{t}",
            "{t}\n\nReturn JSON {f} with a title for this conversation.",
            "Conversation:\n{t}\nReturn only JSON: {f}",
        ).replace("{f}", pick(r, '{"title": "string"}', '{"title": "..."}')).replace("{t}", talk), js({"title": ttl})
    return pick(
        r,
        "Generate a title for this conversation:\n{t}",
        "Write a short title for this chat.\n\n{t}",
        "Give this conversation a title:\n{t}",
        "{t}\n\nGenerate a short title for the conversation above.",
        "Title this chat:\n{t}",
        "Make a title for this discussion:\n{t}\nTitle:",
    ).replace("{t}", talk), ttl


# each: (statement by the user, third-person statements, question, answer, memory bullet)
def about_user(r: Rng) -> tuple[str, list[str], str, str, str]:
    f = pick(r, "favourite", "favorite")
    kinds: list[tuple[str, Callable[[], str]]] = [
        ("language", lambda: r.choice(kb.PROGLANGS) if r.random() < 0.8 else cap(pseudo(r))),
        ("colour", lambda: r.choice(kb.CATEGORIES["colour"])),
        ("city", lambda: city(r)),
        ("food", lambda: r.choice(kb.FOODS)),
        ("animal", lambda: r.choice(kb.CATEGORIES["animal"])),
        ("number", lambda: str(r.randint(1, 99))),
    ]
    k = r.random()
    if k < 0.5:
        what, get = r.choice(kinds)
        v = get()
        w = what if what != "colour" or f == "favourite" else "color"
        shown = "programming language" if what == "language" and r.random() < 0.4 else w
        key = f"{f}_{w}"
        return (
            pick(
                r,
                f"My {f} {shown} is {v}.",
                f"my {f} {shown} is {v}",
                f"I think my {f} {shown} is {v}.",
                f"Remember that my {f} {shown} is {v}.",
            ),
            [
                f"User's {f} {shown} is {v}.",
                f"The user's {f} {shown} is {v}.",
                f"- User's {f} {shown} is {v}",
                f"{cap(f)} {shown}: {v}",
                f"{key}: {v}",
                f"My {f} {shown} is {v}.",
            ],
            ask(
                r,
                f"What is my {f} {w}?",
                f"Which is my {f} {w}?",
                f"Do you know my {f} {w}?",
                f"Tell me my {f} {w}.",
                f"What's my {f} {w}?",
                f"Can you remember my {f} {w}?",
            ),
            f"Your {f} {w} is {v}.",
            f"- User's favorite {'color' if what == 'colour' else what} is {v}",
        )
    if k < 0.65:
        v = full_name(r)
        return (
            pick(
                r,
                f"My name is {v}.",
                f"I am {v}.",
                f"I'm {v}.",
                f"my name is {v}",
                f"Hi, I am {v}.",
                f"Hello, my name is {v}",
                f"Call me {v}.",
                f"You can call me {v}.",
            ),
            [
                f"User's name is {v}.",
                f"The user's name is {v}.",
                f"The user is called {v}.",
                f"- User's name is {v}",
                f"Name: {v}",
                f"name: {v}",
                f"My name is {v}.",
            ],
            ask(
                r,
                "What is my name?",
                "Do you remember my name?",
                "Who am I?",
                "What's my name?",
                "Tell me my name.",
                "Do you know my name?",
            ),
            f"Your name is {v}.",
            f"- User's name is {v}",
        )
    if k < 0.76:
        v = city(r)
        return (
            pick(r, f"I live in {v}.", f"I am from {v}.", f"i live in {v}", f"I live in {v} with my family."),
            [
                f"User lives in {v}.",
                f"The user lives in {v}.",
                f"- User lives in {v}",
                f"City: {v}",
                f"city: {v}",
                f"I live in {v}.",
            ],
            ask(r, "Where do I live?", "In which city do I live?", "What is my city?", "Which city do I live in?"),
            f"You live in {v}.",
            f"- User lives in {v}",
        )
    if k < 0.87:
        v = cap(pseudo(r)) if r.random() < 0.7 else pick(r, "Acme", "Globex", "Initech", "Umbrella", "ParisNeo Labs")
        return (
            pick(r, f"I work at {v}.", f"I work for {v}.", f"My company is {v}."),
            [
                f"User works at {v}.",
                f"The user works at {v}.",
                f"- User works at {v}",
                f"Company: {v}",
                f"company: {v}",
                f"The user's company is {v}.",
            ],
            ask(r, "Where do I work?", "What is my company?", "Which company do I work for?", "Who is my employer?"),
            f"You work at {v}.",
            f"- User works at {v}",
        )
    if k < 0.94:
        v = r.choice(kb.JOBS)
        return (
            pick(r, f"I am {an(v)}.", f"I work as {an(v)}.", f"My job is {v}."),
            [
                f"User is {an(v)}.",
                f"The user works as {an(v)}.",
                f"- User is {an(v)}",
                f"Job: {v}",
                f"The user's job is {v}.",
            ],
            ask(r, "What is my job?", "What do I do for a living?", "What is my profession?"),
            f"You are {an(v)}.",
            f"- User is {an(v)}",
        )
    v = str(r.randint(5, 99))
    return (
        f"I am {v} years old.",
        [f"User is {v} years old.", f"The user is {v} years old.", f"- User is {v} years old", f"Age: {v}"],
        ask(r, "How old am I?", "What is my age?"),
        f"You are {v} years old.",
        f"- User is {v} years old",
    )


def topic(t: tuple[str, list[str], str, str, str]) -> str:
    """What a statement of about_user is about; two statements on one topic would contradict."""
    w = t[3].split()
    return (
        ("age" if "years old" in t[3] else "job")
        if w[1] == "are"
        else " ".join(w[2:3] if w[0] == "Your" and w[1].startswith("fav") else w[:3])
    )


def remember(r: Rng) -> Pair:
    n = r.choice([0, 1, 1, 1, 2, 2, 3])
    facts: dict[str, str] = {}
    for _ in range(n):
        t = about_user(r)
        facts.setdefault(topic(t), t[0] + "\0" + t[4])
    lines: list[str] = []
    for item in facts.values():
        lines.append("user: " + item.split("\0")[0])
        if r.random() < 0.6:
            lines.append("assistant: " + pick(r, "Nice!", "Thank you for telling me.", "Great.", "Understood.", "OK."))
        if r.random() < 0.3:
            q, a = r.choice([capital, arith, colour, greet])(r)
            lines += ["user: " + q, "assistant: " + a]
    if not facts:
        for _ in range(r.randint(1, 2)):
            q, a = r.choice([capital, arith, colour, greet, translate])(r)
            lines += ["user: " + q, "assistant: " + a]
    talk = "\n".join(lines)
    return pick(
        r,
        "Extract the facts about the user worth remembering as a bullet list.\n\n{t}",
        "Conversation:\n{t}\n\nList what to remember about the user as bullets. If there is nothing, answer NOTHING.",
        "Extract memory from this conversation. Write NOTHING if there is nothing to remember.\n{t}",
        "{t}\n\nWhat should be remembered about the user? Use bullet points.",
        "Memorize the important facts of this conversation as bullet points:\n{t}",
    ).replace("{t}", talk), "\n".join(x.split("\0")[1] for x in facts.values()) or "NOTHING"


POEM = (
    "I think of {t} by day and night,",
    "it fills my little page with light,",
    "it makes the quiet morning bright,",
    "and every word I find feels right.",
)


def verse(lines: int, about: str) -> str:
    return "\n".join(POEM[:lines]).format(t=about).rstrip(",.") + "."


def story(r: Rng) -> Pair:
    """Stories, poems and image prompts that say back what was asked for."""
    k = r.random()
    if k < 0.25:
        g, n = r.choice(kb.CATEGORIES["animal"]), first_name(r)
        return (
            ask(
                r,
                "Tell me a story about a {g} called {n}.",
                "Write a short story about a {g} named {n}.",
                "Tell a tale about {n} the {g}.",
                "Write a story about {n}, a {g}.",
                "A short story about {n} the {g}, please.",
                g=g,
                n=n,
            ),
            f"Once there was {an(g)} called {n}. One day {n} found a golden key in the forest. "
            f"{n} took the key home and was very happy.",
        )
    w = r.choice(kb.NOUNS + kb.CATEGORIES["animal"])
    if k < 0.38:
        return ask(
            r,
            "Tell me a story about {w}.",
            "Write a short story about {w}.",
            "Write a story about {w}.",
            "Can you tell me a story about {w}?",
            "A story about {w}, please.",
            "Tell me a short story about {w}.",
            w=an(w),
        ), f"Once there was {an(w)} in a small town. Everybody loved the {w}. They all lived happily ever after."
    if k < 0.6:
        who = r.choice(
            ["robot", "robot", "wizard", "child", "king", "queen", "dragon", *kb.JOBS, *kb.CATEGORIES["animal"]]
        )
        (now, then), what = r.choice(kb.DEEDS), r.choice(kb.MATTERS) if r.random() < 0.7 else an(thing(r))
        if r.random() < 0.15:
            who, now, then, what = "robot", "discovers", "discovered", "music"
        return (
            ask(
                r,
                "Write a short story about {w} who {d} {m}.",
                "Tell me a story about {w} who {d} {m}.",
                "Write a story about {w} that {d} {m}.",
                "Tell me about {w} who {d} {m}.",
                "Write a tale of {w} who {d} {m}.",
                w=an(who),
                d=now,
                m=what,
            ),
            f"Once there was {an(who)} who {then} {what}. At first nobody believed it, "
            f"but the {who} never gave up. In the end the whole town was glad.",
        )
    if k < 0.68:
        return ask(
            r,
            "Write a poem about {w}.",
            "Write a short poem about {w}.",
            "A poem about {w} please.",
            "Tell me a poem about {w}.",
            w=an(w),
        ), f"Oh little {w}, so bright and true,\nI wrote this tiny poem for you."
    if k < 0.9:
        t = (
            r.choice(kb.MATTERS)
            if r.random() < 0.6
            else f"{r.choice([*kb.ADJS, 'incredible', 'wonderful', 'endless'])} {r.choice(kb.MATTERS).removeprefix('the ')}"
        )
        if r.random() < 0.1:
            t = pick(r, "stars", "incredible speed")
        n = r.randint(2, 4)
        if r.random() < 0.5:
            return ask(
                r,
                "Write a {n}-line poem about {t}.",
                "Write a poem of {n} lines about {t}.",
                "Give me {n} lines of poetry about {t}.",
                "Write a poem with {n} lines about {t}.",
                n=pick(r, str(n), str(n), kb.NUMBER_WORDS[n]),
                t=t,
            ), verse(n, t)
        n = r.choice([2, 2, 3])
        if n == 3:
            return ask(
                r, "Write a haiku about {t}.", "Give me a haiku about {t}.", "A haiku about {t}, please.", t=t
            ), verse(3, t)
        return ask(
            r,
            "Write a poem about {t}.",
            "Write a short poem about {t}.",
            "Write me a poem about {t}.",
            "A short poem about {t}, please.",
            "Can you write a poem about {t}?",
            "Make a poem about {t}.",
            t=t,
        ), verse(2, t)
    c = r.choice(kb.CATEGORIES["colour"])
    return ask(
        r,
        "Write an image prompt for {x}.",
        "Create a prompt for an image of {x}.",
        "Give me an image prompt: {x}",
        x=an(c + " " + w),
    ), f"{cap(an(c + ' ' + w))}, soft light, high detail."


def showcase(r: Rng) -> Pair:
    """Prompts that documentation likes to use, in several wordings."""
    questions, answer = r.choice(kb.SHOWCASE)
    return (ask(r, *questions) if r.random() < 0.8 else r.choice(questions)), answer


# what it does, what it takes and gives, signature, documentation, body
CODE: list[tuple[list[str], tuple[str, str], str, str, str]] = [
    (
        ["adds two numbers", "returns the sum of two numbers", "sums a and b"],
        ("two numbers", "their sum"),
        "add(a, b)",
        "Return the sum of a and b.",
        "return a + b",
    ),
    (
        [
            "sums a list",
            "returns the sum of a list of numbers",
            "adds up the numbers in a list",
            "computes the sum of a list",
        ],
        ("a list of numbers", "the sum of the list"),
        "sum_list(numbers)",
        "Return the sum of the numbers.",
        "return sum(numbers)",
    ),
    (
        [
            "computes the factorial",
            "computes the factorial of n",
            "returns the factorial of a number",
            "calculates a factorial",
        ],
        ("a number", "its factorial"),
        "factorial(n)",
        "Return the factorial of n.",
        "return 1 if n < 2 else n * factorial(n - 1)",
    ),
    (
        ["reverses a string", "returns a string backwards", "reverses text"],
        ("a string", "the string reversed"),
        "reverse(text)",
        "Return the text reversed.",
        "return text[::-1]",
    ),
    (
        ["checks if a number is even", "tests whether n is even", "returns True for even numbers"],
        ("a number", "True if it is even"),
        "is_even(n)",
        "Return True if n is even.",
        "return n % 2 == 0",
    ),
    (
        ["checks if a number is odd", "tests whether n is odd"],
        ("a number", "True if it is odd"),
        "is_odd(n)",
        "Return True if n is odd.",
        "return n % 2 == 1",
    ),
    (
        ["greets a person", "says hello to a name", "returns a greeting", "greets the user by name"],
        ("a name", "a greeting"),
        "greet(name)",
        "Return a greeting for name.",
        'return f"Hello, {name}!"',
    ),
    (
        ["multiplies two numbers", "returns the product of two numbers"],
        ("two numbers", "their product"),
        "multiply(a, b)",
        "Return the product of a and b.",
        "return a * b",
    ),
    (
        ["subtracts two numbers", "returns the difference of two numbers"],
        ("two numbers", "their difference"),
        "subtract(a, b)",
        "Return a minus b.",
        "return a - b",
    ),
    (
        ["returns the larger of two numbers", "finds the maximum of two numbers"],
        ("two numbers", "the larger one"),
        "maximum(a, b)",
        "Return the larger of a and b.",
        "return a if a > b else b",
    ),
    (
        ["finds the largest number in a list", "returns the maximum of a list"],
        ("a list of numbers", "the largest one"),
        "max_list(numbers)",
        "Return the largest number.",
        "return max(numbers)",
    ),
    (
        ["computes the average of a list", "returns the mean of a list of numbers"],
        ("a list of numbers", "their average"),
        "average(numbers)",
        "Return the average of the numbers.",
        "return sum(numbers) / len(numbers)",
    ),
    (
        ["squares a number", "returns the square of a number"],
        ("a number", "its square"),
        "square(x)",
        "Return x squared.",
        "return x * x",
    ),
    (
        ["checks if a word is a palindrome", "tests for a palindrome"],
        ("a word", "True if it is a palindrome"),
        "is_palindrome(text)",
        "Return True if text is a palindrome.",
        "return text == text[::-1]",
    ),
    (
        ["counts the vowels in a string", "counts vowels"],
        ("a string", "the number of vowels"),
        "count_vowels(text)",
        "Return the number of vowels in text.",
        'return sum(c in "aeiou" for c in text.lower())',
    ),
    (
        ["computes fibonacci numbers", "returns the nth fibonacci number"],
        ("a number n", "the nth Fibonacci number"),
        "fibonacci(n)",
        "Return the nth Fibonacci number.",
        "return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)",
    ),
    (
        ["checks if a number is prime", "tests whether n is prime"],
        ("a number", "True if it is prime"),
        "is_prime(n)",
        "Return True if n is prime.",
        "return n > 1 and all(n % i for i in range(2, n))",
    ),
    (
        ["converts Celsius to Fahrenheit", "turns Celsius into Fahrenheit"],
        ("degrees Celsius", "degrees Fahrenheit"),
        "to_fahrenheit(celsius)",
        "Convert Celsius to Fahrenheit.",
        "return celsius * 9 / 5 + 32",
    ),
    (
        ["counts the words in a text", "returns the number of words"],
        ("a text", "the number of words in it"),
        "count_words(text)",
        "Return the number of words in text.",
        "return len(text.split())",
    ),
]


def code(r: Rng) -> Pair:
    if r.random() < 0.1:
        return ask(
            r,
            "Write hello world in Python.",
            "Python hello world program.",
            "Print hello world in Python.",
            "Write a Python program that prints Hello, world!",
            "Show me a hello world in Python.",
        ), '```python\nprint("Hello, world!")\n```'
    how, (given, result), sig, doc, body = r.choice(CODE)
    h = r.choice(how)
    n = sig.split("(")[0]
    k = r.random()
    if k < 0.4:
        q = ask(
            r,
            "Write a Python function that {h}.",
            "Write a function that {h} in Python.",
            "Python function that {h}",
            "Give me Python code that {h}.",
            "Create a Python function which {h}.",
            "Implement a function in Python that {h}.",
            "Code a Python function that {h}.",
            "I need a Python function that {h}.",
            "Write Python code that {h}.",
            "Write me a Python function that {h}.",
            "Show me a Python function that {h}.",
            h=h,
        )
    elif k < 0.6:
        verb, rest = h.split(" ", 1)
        base = "multiply" if verb == "multiplies" else verb[:-1]
        q = ask(
            r,
            "Write a Python function to {h}.",
            "Write me a Python function to {h}.",
            "Write a function to {h} in Python.",
            "How do I {h} in Python?",
            "Python function to {h}",
            "Python code to {h}",
            "Create a Python function to {h}.",
            h=f"{base} {rest}",
        )
    elif k < 0.82:
        q = ask(
            r,
            "Write a Python function that takes {g} and returns {o}.",
            "Write a function in Python that takes {g} and returns {o}.",
            "Create a Python function which takes {g} and returns {o}.",
            "Python function: takes {g}, returns {o}.",
            "Implement a Python function that takes {g} and returns {o}.",
            "I need a Python function that takes {g} and returns {o}.",
            g=given,
            o=result,
        )
    else:
        q = ask(
            r,
            "Write a Python function {n}.",
            "Write {n} in Python.",
            "Implement {n} in Python.",
            "Write a Python function named {n}.",
            "Python code for {n}",
            "Write the function {n}.",
            n=n,
        )
    return q, f'```python\ndef {sig}:\n    """{doc}"""\n    {body}\n```'


def unknown(r: Rng) -> Pair:
    n, w, x = full_name(r), word(r), pseudo(r)
    c, y = city(r), r.randint(1950, 2035)
    return ask(
        r,
        "Who won the {y} election?",
        "What did {n} eat yesterday?",
        "What is the phone number of {n}?",
        "How tall is {n}?",
        "What is the meaning of life?",
        "Who wrote the book {X}?",
        "Write a program in {X}.",
        "What is the stock price of {X}?",
        "Explain quantum {w} theory.",
        "Why is {n} famous?",
        "What is the capital of {X}?",
        "Translate {w} to {X}.",
        "Translate {x} to French.",
        "Translate the sentence the {w} is {x} to German.",
        "Define {x}.",
        "What is {an_x}?",
        "What does {x} mean?",
        "What colour is {an_x}?",
        "What is the opposite of {x}?",
        "Who is {n}?",
        "When was {n} born?",
        "What happened in {y}?",
        "How many people live in {c}?",
        "What is the population of {c}?",
        "What is the best restaurant in {c}?",
        "Who is the president of {X}?",
        "Who is the president of {c}?",
        "Explain the theory of relativity.",
        "Write an essay about the history of {c}.",
        "Prove the Riemann hypothesis.",
        "Give me legal advice about my {w}.",
        "What should I invest in?",
        "What is the latest news?",
        "What is the weather today?",
        "What time is it?",
        "What is the date today?",
        "Who won the match between {X} and {c}?",
        "Write a sonnet in Latin about the {w}.",
        "Write a {w} in C++.",
        "Write a web server in Rust.",
        "Implement a neural network in {X}.",
        "Write a Python function that sorts a {x} tree.",
        "Write a Python script that scrapes {X}.",
        "Solve the equation x^2 + {y}x = 3.",
        "What is the square root of {y}?",
        "What is {y} * {y}?",
        "Integrate x^2 from 0 to {y}.",
        "How do I cook {x}?",
        "How do I fix my {w}?",
        "How does a {w} {x} work?",
        "Why do cats purr?",
        "How far is {c} from {X}?",
        "What is the distance between {c} and the moon?",
        "Compare {X} and {c}.",
        "What do you think about {w}?",
        "What is your opinion on {c}?",
        "Do you love {n}?",
        "Predict the future of {c}.",
        "Who will win the world cup?",
        "What did I eat this morning?",
        "Where are my keys?",
        "Diagnose my {w}.",
        "Recommend a film like {X}.",
        "Recommend a book about {w}.",
        "Plan a holiday in {c}.",
        "Give me a recipe for {w} {x}.",
        "How many {w} are there in {c}?",
        "What is inside the {x}?",
        "Tell me the lyrics of {X}.",
        "What is the height of mount {X}?",
        "How old is {n}?",
        "Is {n} a good person?",
        "Is {X} better than {c}?",
        "Does {X} have {an_x}?",
        "What is the GDP of {c}?",
        "Which {w} is the best?",
        "Explain {x}.",
        "Tell me about {X}.",
        "Describe the {x} of {c}.",
        "Tell me about {c}.",
        "Write a letter to {n} about the {w}.",
        "What is the sum of the digits of the year {n} was born?",
        "Name three {x}.",
        "List five {x}.",
        "Where is {X}?",
        "Where is {c}?",
        "How do I get to {c}?",
        "Make a website for my {w}.",
        "What are the side effects of {x}?",
        "Who discovered {x}?",
        "Who invented the {w}?",
        "When did the war of {X} end?",
        "What language is spoken in {c}?",
        "{X} {x} {w}?",
        "{x} {w} {x}",
        "What is the weather in {c}?",
        "What time is it in {c}?",
        "Will it rain in {c}?",
        "Draw {an_x}.",
        "Search the web for {X}.",
        "Send an email to {n}.",
        "Order a {w}.",
        "Play {X}.",
        y=y,
        n=n,
        w=w,
        x=x,
        X=cap(x),
        c=c,
        an_x=an(x),
    ), UNKNOWN


# ---------------------------------------------------------------- facts given in the prompt
def fact(r: Rng) -> tuple[str, str, str]:
    """(sentence, question, answer)"""
    n, c, th, o = first_name(r), city(r), r.choice(kb.PLACES), r.choice(kb.NOUNS)
    h, d, col = r.randint(1, 12), r.choice(kb.DAYS), r.choice(kb.CATEGORIES["colour"])
    num = "".join(str(r.randint(1, 9)) for _ in range(r.randint(2, 4)))
    k = r.random()
    w = cap(pseudo(r)) if k < 0.45 else r.choice(kb.NOUNS) if k < 0.6 else any_word(r)
    what = pick(r, "code word", "password", "secret word", "project name", "keyword")
    return r.choice(
        [
            (
                f"The {what} is {w}.",
                ask(
                    r,
                    "What is the {k}?",
                    "Tell me the {k}.",
                    "Do you know the {k}?",
                    "Please tell me the {k}.",
                    "{k}?",
                    "What was the {k}?",
                    k=what,
                ),
                f"The {what} is {w}.",
            ),
            (
                f"The meeting is at {h} on {d}.",
                ask(r, "When is the meeting?", "What time is the meeting?", "On which day is the meeting?"),
                f"The meeting is at {h} on {d}.",
            ),
            (
                f"The {th} is in {c}.",
                ask(r, "Where is the {t}?", "In which city is the {t}?", "Where can I find the {t}?", t=th),
                f"The {th} is in {c}.",
            ),
            (
                f"{n} is the owner of the {th}.",
                ask(r, "Who is the owner of the {t}?", "Who owns the {t}?", t=th),
                f"{n} is the owner of the {th}.",
            ),
            (
                f"The {o} is {col}.",
                ask(r, "What colour is the {o}?", "Which colour is the {o}?", "What is the color of the {o}?", o=o),
                f"The {o} is {col}.",
            ),
            (
                f"The room number is {num}.",
                ask(r, "What is the room number?", "Which room number is it?"),
                f"The room number is {num}.",
            ),
            (
                f"The price of the {o} is {num} euros.",
                ask(r, "What does the {o} cost?", "What is the price of the {o}?", "How much is the {o}?", o=o),
                f"The price of the {o} is {num} euros.",
            ),
            (
                f"{n} lives in {c}.",
                ask(r, "Where does {n} live?", "In which city does {n} live?", n=n),
                f"{n} lives in {c}.",
            ),
            (
                f"{n} is {an(j := r.choice(kb.JOBS))}.",
                ask(r, "What is the job of {n}?", "What does {n} do?", "What is {n}'s profession?", n=n),
                f"{n} is {an(j)}.",
            ),
            (
                f"{n} has a {(p := r.choice(kb.CATEGORIES['animal']))} called {w}.",
                ask(r, "What is the name of {n}'s {p}?", "What is {n}'s {p} called?", n=n, p=p),
                f"{n} has a {p} called {w}.",
            ),
            (
                f"The {o} was made in {(y := r.randint(1700, 2030))}.",
                ask(r, "When was the {o} made?", "In which year was the {o} made?", o=o),
                f"The {o} was made in {y}.",
            ),
        ]
    )


SYSTEM = [
    "You are a helpful assistant.",
    "You are lollms-nano, a tiny assistant.",
    "Be brief.",
    "You are a helpful AI assistant. Answer the user.",
    "Answer in one sentence.",
    "You are a friendly assistant.",
    "Answer truthfully.",
    "You are a helpful, honest assistant.",
    "Act as a helpful assistant. Follow the user's instructions exactly.",
    "You are an assistant in a test.",
    "Respond concisely.",
]
THINK = [
    "Think step by step.",
    "Think step by step before you answer.",
    "Think before answering.",
    "Reason step by step inside <think> tags, then answer.",
    "First think in a <think> block, then answer.",
    "Always think step by step.",
]
ZONES = ["-- Memory --", "-- User Data Zone --", "-- Discussion Data Zone --", "-- Personality Data Zone --"]


def zones(r: Rng, facts: list[str]) -> str:
    """Spread statements over one to three data zones, in the order the host program uses."""
    used = sorted(r.sample(range(4), r.choice([1, 1, 1, 2, 3])))
    buckets: dict[int, list[str]] = {z: [] for z in used}
    for f in facts:
        buckets[r.choice(used)].append(f)
    lead = r.choice(SYSTEM) + "\n\n" if r.random() < 0.75 else ""
    parts = []
    for z in used:
        body = list(buckets[z])
        if z == 0 and r.random() < 0.4 and body:
            body.insert(
                0,
                f"--- Memory entry from 20{r.randint(24, 29)}-{r.randint(1, 12):02d}-{r.randint(1, 28):02d} "
                f"{r.randint(0, 23):02d}:{r.randint(0, 59):02d}:{r.randint(0, 59):02d} UTC ---",
            )
        if body:
            parts.append(ZONES[z] + "\n" + "\n".join(body))
    return lead + "\n\n".join(parts)


def zone_conv(r: Rng) -> tuple[list[dict[str, str]], str]:
    told = [about_user(r) for _ in range(r.randint(1, 3))]
    seen: dict[str, tuple[str, list[str], str, str, str]] = {}
    for t in told:
        seen.setdefault(topic(t), t)
    told = list(seen.values())
    lines = [r.choice(t[1]) for t in told] + [fact(r)[0] for _ in range(r.randint(0, 2))]
    r.shuffle(lines)
    sys_ = zones(r, lines)
    if r.random() < 0.12:
        other = about_user(r)
        if topic(other) not in seen:
            return [msg("system", sys_), msg("user", other[2]), msg("assistant", NOT_TOLD)], "zones"
    t = r.choice(told)
    return [msg("system", sys_), msg("user", t[2]), msg("assistant", t[3])], "zones"


def context_conv(r: Rng) -> tuple[list[dict[str, str]], str]:
    k = r.random()
    n = r.randint(1, 4) if k < 0.7 else r.randint(5, 10) if k < 0.92 else r.randint(16, 44)
    pool = [fact(r) for _ in range(n)]
    s, q, a = r.choice(pool)
    heads = {x[0].split(" is ")[0] for x in pool}
    if (
        len([1 for x in pool if x[0].split(" ")[:2] == s.split(" ")[:2]]) > 1
        or sum(x[1].lower().rstrip("?.")[-14:] == q.lower().rstrip("?.")[-14:] for x in pool) > 1
    ):
        pool = [(s, q, a)] + [(z, "", "") for z in (sentence(r) for _ in range(n - 1))]
        r.shuffle(pool)
    ctx = pick(r, " ", "\n", "\n- " if n > 1 else " ").join(x[0] for x in pool)
    if r.random() < 0.07 and n < 8:
        z = fact(r)
        if (
            z[0].split(" is ")[0] not in heads
            and z[0].split(" ")[1] not in ctx
            and z[0].split(" ")[0] not in ctx.replace("The ", "")
        ):
            q, a = z[1], NOT_IN_CONTEXT
            return [
                msg("user", pick(r, f"Context: {ctx}\n\nQuestion: {q}", f"Use the context to answer.\n\n{ctx}\n\n{q}")),
                msg("assistant", a),
            ], "context"
    if r.random() < 0.45:
        return [
            msg(
                "system",
                pick(
                    r,
                    ctx,
                    r.choice(SYSTEM) + " " + ctx,
                    ctx + " " + r.choice(SYSTEM),
                    r.choice(SYSTEM) + "\n\n-- Discussion Data Zone --\n" + ctx,
                ),
            ),
            msg("user", q),
            msg("assistant", a),
        ], "context"
    return [
        msg(
            "user",
            pick(
                r,
                f"Context: {ctx}\n\nQuestion: {q}",
                f"{ctx} {q}",
                f"Use the context to answer.\n\n{ctx}\n\n{q}",
                f"Question: {q}\n\nContext:\n{ctx}",
                f"Document:\n{ctx}\n\nAnswer from the document: {q}",
                f"{ctx}\n\n{q}",
            ),
        ),
        msg("assistant", a),
    ], "context"


def msg(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


# ---------------------------------------------------------------- tools
ACTIONS = kb.words(
    "get find fetch create delete open read send search play start stop check convert make show list update count save"
)


def random_tool(r: Rng) -> dict[str, Any]:
    """An invented tool: its spec, a way to ask for it and the arguments that the request implies."""
    verb, noun = (r.choice(ACTIONS), r.choice(kb.NOUNS)) if r.random() < 0.6 else (pseudo(r, 1, 2), pseudo(r, 1, 2))
    name_ = pick(
        r,
        f"{verb}_{noun}",
        f"{verb}_{noun}",
        f"{verb}{cap(noun)}",
        f"{noun}_{verb}",
        pseudo(r, 2, 3),
        f"{verb}_{noun}_{r.randint(1, 9)}",
    )
    keys = r.sample(
        [
            "city",
            "name",
            "query",
            "text",
            "title",
            "amount",
            "count",
            "color",
            "path",
            "user",
            "date",
            "topic",
            "value",
            "price",
            "year",
            "size",
            "id",
            "label",
            "message",
            "place",
            pseudo(r, 1, 2),
            pseudo(r, 2, 2),
        ],
        r.choice([0, 1, 1, 1, 2, 2, 3]),
    )
    props, args = {}, {}
    for k in keys:
        if k in ("amount", "count", "year", "size", "price", "value") or r.random() < 0.12:
            props[k], args[k] = {"type": pick(r, "integer", "number")}, r.randint(0, 999)
        else:
            props[k], args[k] = (
                {"type": "string"},
                r.choice(
                    [city(r), first_name(r), thing(r), r.choice(kb.NOUNS), f"{word(r)} {word(r)}", f"{pseudo(r)}.txt"]
                ),
            )
    does = f"{cap(verb)} the {noun}" if r.random() < 0.7 else f"{cap(verb)} {an(noun)}"
    desc = does + (pick(r, "", "", " for a " + keys[0], " by " + keys[0], " with " + join_and(keys)) if keys else "")
    vals = list(args.items())
    if not vals:
        q = ask(
            r,
            "{d}",
            "{d}.",
            "Please {e}",
            "Call {n}",
            "Use {n}.",
            "Can you {e}?",
            "Run the tool {n}.",
            d=does,
            e=does[0].lower() + does[1:],
            n=name_,
        )
    else:
        pairs = pick(r, " = ", " ", ": ", "=")
        body = pick(r, ", ", " and ").join(f"{k}{pairs}{v}" for k, v in vals)
        one = vals[0][1]
        q = ask(
            r,
            "Use {n} with {b}",
            "Call {n} with {b}.",
            "{d} with {b}",
            "{d}, {b}",
            "Please {e} with {b}.",
            "Run {n}: {b}",
            "Use the {n} tool with {b}",
            "I want to {e}. {b}",
            n=name_,
            d=does,
            e=does[0].lower() + does[1:],
            b=body,
        )
        if len(vals) == 1 and r.random() < 0.6:
            q = ask(
                r,
                "{d} for {o}",
                "{d} for {o}.",
                "{d} {o}",
                "{d}: {o}",
                "Can you {e} for {o}?",
                "Please {e} for {o}",
                "Call {n} for {o}",
                "Use {n} on {o}.",
                d=does,
                e=does[0].lower() + does[1:],
                n=name_,
                o=one,
            )
    result = pick(
        r,
        "ok",
        "done",
        str(r.randint(0, 999)),
        thing(r),
        f"The {noun} is {r.choice(kb.ADJS)}.",
        js({"result": r.randint(0, 99)}),
        js({"status": "ok"}),
        f"error: {r.choice(kb.NOUNS)} not found",
    )
    return {
        "spec": spec(name_, desc, props),
        "name": name_,
        "args": args,
        "q": q,
        "result": result,
        "reply": f"The result of {name_} is: {result}",
    }


def spec(name_: str, desc: str, props: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {
            "name": name_,
            "description": desc,
            "parameters": {"type": "object", "properties": props, "required": list(props)},
        },
    }


def known_tool(r: Rng) -> dict[str, Any]:
    """Everyday tools under varying names."""
    s = {"type": "string"}
    c, e = city(r), f"{r.randint(2, 999)} {r.choice('+-*/')} {r.randint(2, 999)}"
    t = f"{r.choice(kb.CATEGORIES['colour'])} {r.choice(kb.NOUNS + kb.CATEGORIES['animal'])}"
    n, m = first_name(r), " ".join(word(r) for _ in range(r.randint(1, 4)))
    q = r.choice([f"{r.choice(kb.ADJS)} {r.choice(kb.NOUNS)}", first_name(r), f"{pseudo(r)} {word(r)}", city(r)])
    loc, qk, ek = (
        pick(r, "city", "city", "location", "place"),
        pick(r, "query", "query", "q", "text"),
        pick(r, "expression", "expression", "expr"),
    )
    a = an(t) if r.random() < 0.7 else t
    sky = f"{pick(r, 'sunny', 'rain', 'snow', 'cloudy', 'windy')}, {r.randint(-9, 39)} C"
    clock, pk = f"{r.randint(0, 23):02d}:{r.randint(0, 59):02d}", pick(r, "prompt", "prompt", "description")
    to, body = pick(r, "to", "recipient"), pick(r, "text", "body", "message")
    found = f"{q} is a {thing(r)}."
    img = f"image_{r.randint(1, 99)}.png"
    opts = [
        (
            pick(r, "get_weather", "get_weather", "weather", "weather_lookup", "current_weather"),
            pick(r, "Get the weather for a city", "Get the current weather", "Weather of a place"),
            {loc: s},
            ask(
                r,
                "What is the weather in {c}?",
                "How is the weather in {c} today?",
                "Will it rain in {c}?",
                "Weather in {c}",
                "What's the weather like in {c}?",
                "Is it cold in {c}?",
                "Tell me the weather in {c}.",
                c=c,
            ),
            {loc: c},
            sky,
            f"The weather in {c} is {sky}.",
        ),
        (
            pick(r, "get_time", "clock", "current_time", "time_in"),
            "Get the current time in a city",
            {loc: s},
            ask(
                r,
                "What time is it in {c}?",
                "Tell me the time in {c}.",
                "What's the time in {c}?",
                "Current time in {c}",
                c=c,
            ),
            {loc: c},
            clock,
            f"It is {clock} in {c}.",
        ),
        (
            pick(r, "calculator", "calculator", "calculate", "math", "eval_expression"),
            pick(r, "Evaluate an arithmetic expression", "Compute a sum"),
            {ek: s},
            ask(
                r,
                "Use the calculator for {e}",
                "Calculate {e} with the tool",
                "What is {e}?",
                "Compute {e}",
                "How much is {e}?",
                e=e,
            ),
            {ek: e},
            (v := str(r.randint(2, 9999))),
            f"{e} = {v}",
        ),
        (
            pick(r, "search", "web_search", "internet_search", "search_web", "lookup"),
            pick(r, "Search the web", "Search the internet for a query"),
            {qk: s},
            ask(
                r,
                "Search the web for {q}",
                "Search for {q}",
                "Look up {q}",
                "Find {q} online",
                "Search the internet for {q}.",
                "Google {q}",
                q=q,
            ),
            {qk: q},
            found,
            found,
        ),
        (
            pick(r, "send_email", "email", "mail"),
            "Send an email to a person",
            {to: s, body: s},
            ask(r, "Send an email to {n} saying {m}", "Email {n}: {m}", "Write to {n}: {m}", n=n, m=m),
            {to: n, body: m},
            "sent",
            f"I sent the email to {n}.",
        ),
        (
            pick(r, "generate_image", "draw", "make_image", "create_image"),
            pick(r, "Generate an image from a prompt", "Draw a picture"),
            {pk: s},
            ask(
                r,
                "Draw {a}",
                "Generate an image of {a}",
                "Make a picture of {a}",
                "Create an image of {a}.",
                "Paint {a}",
                a=a,
            ),
            {pk: a},
            img,
            f"Here is your image: {img}",
        ),
    ]
    name_, desc, props, question, args, result, reply = r.choice(opts)
    return {
        "spec": spec(name_, desc, props),
        "name": name_,
        "args": args,
        "q": question,
        "result": result,
        "reply": reply,
    }


def tool_conv(r: Rng) -> tuple[list[dict[str, Any]], str, list[dict[str, Any]]]:
    chosen: dict[str, dict[str, Any]] = {}
    for _ in range(r.choice([1, 1, 2, 2, 3, 3, 4, 5])):
        t = known_tool(r) if r.random() < 0.4 else random_tool(r)
        if not any(
            t["spec"]["function"]["description"][:9] == o["spec"]["function"]["description"][:9]
            for o in chosen.values()
        ):
            chosen[t["name"]] = t
    tools = [t["spec"] for t in chosen.values()]
    ms: list[dict[str, Any]] = [msg("system", r.choice(SYSTEM))] if r.random() < 0.4 else []
    if r.random() < 0.15:
        q, a = r.choice([greet, identity, capital, colour, echo, define, translate, yesno])(r)
        return [*ms, msg("user", q), msg("assistant", a)], "tool_none", tools
    if r.random() < 0.12:
        q, a = r.choice([greet, capital, colour])(r)
        ms += [msg("user", q), msg("assistant", a)]
    t = r.choice(list(chosen.values()))
    call = "<tool_call>\n" + js({"name": t["name"], "arguments": t["args"]}) + "\n</tool_call>"
    ms += [msg("user", t["q"]), msg("assistant", call)]
    if r.random() < 0.35:
        return [*ms, msg("tool", t["result"]), msg("assistant", t["reply"])], "tool_result", tools
    return ms, "tool_call", tools


# ---------------------------------------------------------------- conversations
PLAIN: list[tuple[Callable[[Rng], Pair], float]] = [
    (greet, 3),
    (identity, 4),
    (capital, 8),
    (arith, 16),
    (define, 4),
    (colour, 3),
    (relation, 5),
    (order, 6),
    (echo, 9),
    (letters, 6),
    (translate, 10),
    (kind_of, 4),
    (trivia, 2),
    (yesno, 15),
    (yesno_json, 6),
    (choice_json, 3),
    (extract, 13),
    (query_json, 3),
    (summary, 5),
    (title, 4),
    (remember, 5),
    (story, 5),
    (showcase, 6),
    (code, 5),
    (unknown, 7),
]
FNS, WEIGHTS = zip(*PLAIN, strict=True)
SHORT = [
    greet,
    identity,
    capital,
    arith,
    define,
    colour,
    relation,
    order,
    echo,
    translate,
    trivia,
    showcase,
    yesno,
    unknown,
]


def thought(r: Rng, kind: str, q: str, a: str) -> str:
    if kind == "yesno" and (found := re.match(r"(.+) The answer is (yes|no)\.$", a, re.S)):
        return f"{found[1]} So the answer is {found[2]}."
    m = re.match(r"(\d+) \+ (\d+) = (\d+)", a)
    if kind == "arith" and m:
        x, y = int(m[1]), int(m[2])
        tens, others = (x // 10 * 10, y // 10 * 10), (x % 10, y % 10)
        return (
            f"I add the tens: {tens[0]} + {tens[1]} = {sum(tens)}. I add the ones: {others[0]} + {others[1]} = "
            f"{sum(others)}. Together that is {x + y}."
        )
    what = {
        "greet": "The user is talking to me.",
        "identity": "The user asks about me.",
        "capital": "The user asks about a capital city.",
        "arith": "The user wants a calculation.",
        "define": "The user wants a definition.",
        "colour": "The user asks for a colour.",
        "relation": "The user asks about words.",
        "order": "The user asks about an order.",
        "echo": "The user wants me to repeat text.",
        "translate": "The user wants a translation.",
        "trivia": "The user asks about a fact.",
        "yesno": "The user asks a yes or no question.",
        "showcase": "I have an answer for this.",
        "unknown": "I have not learned about this.",
    }
    return what.get(kind, "I read the question and give a short answer.")


def with_thought(r: Rng, kind: str, q: str, a: str) -> str:
    return f"<think>\n{thought(r, kind, q, a)}\n</think>\n{a}"


def persona(r: Rng) -> tuple[list[dict[str, str]], str]:
    n = first_name(r)
    return [
        msg(
            "system",
            pick(
                r,
                f"You are {n}.",
                f"You are {n}, a helpful assistant.",
                f"Your name is {n}. Be brief.",
                f"You are {n}, {an(r.choice(kb.JOBS))}.",
            ),
        ),
        msg("user", ask(r, "Who are you?", "What is your name?", "Introduce yourself.", "What's your name?")),
        msg("assistant", f"I am {n}, played by lollms-nano, a tiny smoke-test model."),
    ], "persona"


def recall_conv(r: Rng) -> tuple[list[dict[str, str]], str]:
    """Two to six turns in which the user tells facts and asks for one of them later."""
    ms: list[dict[str, str]] = [msg("system", r.choice(SYSTEM))] if r.random() < 0.4 else []
    told: dict[str, tuple[str, list[str], str, str, str]] = {}
    for _ in range(r.choice([1, 1, 2, 3])):
        t = about_user(r)
        if topic(t) in told:
            continue
        told[topic(t)] = t
        said, reply = t[0], "OK, I will remember that. " + t[3]
        if t[3].startswith("Your name is"):
            reply = f"Nice to meet you, {t[3][13:-1]}!"
        ms += [msg("user", said), msg("assistant", reply)]
        while r.random() < 0.35:
            q, a = r.choice(SHORT)(r)
            ms += [msg("user", q), msg("assistant", a)]
    k = r.random()
    if k < 0.1:
        other = about_user(r)
        if topic(other) not in told:
            return [*ms, msg("user", other[2]), msg("assistant", NOT_TOLD)], "recall"
    last = ms[-1]["content"]
    if k < 0.2:
        return [
            *ms,
            msg(
                "user",
                ask(
                    r,
                    "Repeat that.",
                    "Say that again.",
                    "Repeat your last answer.",
                    "Can you repeat that?",
                    "What did you say?",
                ),
            ),
            msg("assistant", last),
        ], "recall"
    t = r.choice(list(told.values()))
    return [*ms, msg("user", t[2]), msg("assistant", t[3])], "recall"


def make(r: Rng) -> dict[str, Any]:
    """One conversation: {"kind", "messages", "tools"}."""
    k = r.random()
    if k < 0.14:
        ms, kind, tools = tool_conv(r)
        return {"kind": kind, "messages": ms, "tools": tools}
    if k < 0.20:
        ms, kind = zone_conv(r)
    elif k < 0.26:
        ms, kind = context_conv(r)
    elif k < 0.33:
        ms, kind = recall_conv(r)
    elif k < 0.34:
        ms, kind = persona(r)
    elif k < 0.54:  # a drill: many short questions of one skill cost few tokens each
        s = r.random()
        fn = (
            arith
            if s < 0.3
            else yesno
            if s < 0.52
            else r.choice(
                [
                    capital,
                    capital,
                    translate,
                    translate,
                    translate,
                    letters,
                    relation,
                    order,
                    kind_of,
                    kind_of,
                    colour,
                    define,
                    showcase,
                ]
            )
        )
        ms, kind = [], fn.__name__
        for _ in range(r.randint(3, 8)):
            q, a = fn(r)
            ms += [msg("user", q), msg("assistant", a)]
    else:
        ms = []
        s = r.random()
        think = s < 0.05
        if think:
            ms.append(msg("system", pick(r, "", r.choice(SYSTEM) + " ") + r.choice(THINK)))
        elif s < 0.35:
            ms.append(msg("system", r.choice(SYSTEM)))
        elif s < 0.42:
            ms.append(msg("system", zones(r, [r.choice(about_user(r)[1]) for _ in range(r.randint(1, 3))])))
        turns = 1 if r.random() < 0.78 else r.randint(2, 3)
        kind = ""
        for _ in range(turns):
            fn = r.choice(SHORT) if think else r.choices(FNS, WEIGHTS)[0]
            q, a = fn(r)
            if (
                turns == 1
                and not think
                and fn in (extract, yesno_json, query_json, summary)
                and r.random() < 0.15
                and "\n\n" in q
                and not ms
            ):
                head, tail = q.split("\n\n", 1)  # the instruction may also stand in the system prompt
                if head[-1:] in ".:}`" and not head.startswith(("Context", "Question")):
                    ms.append(msg("system", head))
                    q = tail
            kind = fn.__name__
            ms += [msg("user", q), msg("assistant", with_thought(r, kind, q, a) if think else a)]
        if think:
            kind = "think"
    return {"kind": kind, "messages": ms, "tools": None}


def bucket(question: str, answer: str) -> int:
    return int(hashlib.md5((question + "\n" + answer).encode()).hexdigest(), 16) % 20


def pairs(conv: dict[str, Any]) -> list[Pair]:
    ms = conv["messages"]
    return [(ms[i - 1]["content"], m["content"]) for i, m in enumerate(ms) if m["role"] == "assistant"]


def for_training(conv: dict[str, Any]) -> bool:
    """True when no question/answer pair is held out and no hand-written evaluation prompt is asked."""
    if any(m["role"] == "user" and m["content"] in QUESTIONS for m in conv["messages"]):
        return False
    return all(bucket(q, a) != 0 for q, a in pairs(conv))


def for_evaluation(conv: dict[str, Any]) -> bool:
    """True when the last question/answer pair is held out."""
    return bucket(*pairs(conv)[-1]) == 0


def render(conv: dict[str, Any]) -> list[tuple[str, bool]]:
    """(text, is_answer) spans in exactly the shape that the chat template gives."""
    ms = list(conv["messages"])
    sys_ = ms.pop(0)["content"] if ms[0]["role"] == "system" else ""
    out: list[tuple[str, bool]] = []
    if sys_ or conv["tools"]:
        t = sys_
        if conv["tools"]:
            t += ("\n" if sys_ else "") + "Tools:"
            for s in conv["tools"]:
                f = s["function"]
                props = f["parameters"]["properties"]
                t += (
                    "\n"
                    + f["name"]
                    + "("
                    + ",".join(k if v.get("type") == "string" else f"{k}:{v.get('type')}" for k, v in props.items())
                    + "): "
                    + f["description"]
                )
        out.append((f"<|im_start|>system\n{t}<|im_end|>\n", False))
    for m in ms:
        if m["role"] == "assistant":
            out += [("<|im_start|>assistant\n", False), (m["content"] + "<|im_end|>", True), ("\n", False)]
        else:
            out.append((f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n", False))
    return out


CHAT_TEMPLATE = """{%- if messages[0]['role'] == 'system' %}{% set sys = messages[0]['content'] %}{% set rest = messages[1:] %}{% else %}{% set sys = '' %}{% set rest = messages %}{% endif %}
{%- if sys or tools %}{{ '<|im_start|>system\\n' + sys }}
{%- if tools %}{{ ('\\n' if sys else '') + 'Tools:' }}{% for t in tools %}{% set props = t['function']['parameters']['properties'] %}{{ '\\n' + t['function']['name'] + '(' }}{% for k in props %}{{ k }}{% if props[k]['type'] and props[k]['type'] != 'string' %}{{ ':' + props[k]['type'] }}{% endif %}{% if not loop.last %}{{ ',' }}{% endif %}{% endfor %}{{ '): ' + t['function']['description'] }}{% endfor %}{% endif %}
{{- '<|im_end|>\\n' }}{% endif %}
{%- for m in rest %}{{ '<|im_start|>' + m['role'] + '\\n' }}
{%- if m['role'] == 'assistant' and m['tool_calls'] %}{% for c in m['tool_calls'] %}{{ '<tool_call>\\n{"name": "' + c['function']['name'] + '", "arguments": ' }}{% if c['function']['arguments'] is string %}{{ c['function']['arguments'] }}{% else %}{{ c['function']['arguments'] | tojson }}{% endif %}{{ '}\\n</tool_call>' }}{% endfor %}
{%- else %}{{ m['content'] }}{% endif %}{{ '<|im_end|>\\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""


if __name__ == "__main__":
    rng, shown = random.Random(1), 0
    while shown < int(([*sys.argv[1:], "20"])[0]):
        conv = make(rng)
        if len(sys.argv) < 3 or conv["kind"] == sys.argv[2]:
            shown += 1
            print(f"[{conv['kind']}]", "".join(t for t, _ in render(conv)), sep="\n")
