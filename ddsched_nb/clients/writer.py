"""A small rule-based writer: plausible answers that are a function of the prompt.

Decides what the embedded endpoint answers: a choice where the prompt lists options, a number where
it names a scale, JSON where it wants JSON, a question where it asks for one, otherwise sentences
about the prompt's own words. The same prompt, model and seed always give the same text. Must not
know of HTTP, time or load.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ddsched_nb.clients.schema import fill

__all__ = ["Answer", "Dice", "count_tokens", "write"]

_CHARACTERS_A_TOKEN = 4

_ABOUT = re.compile(
    r"\b(?:about|describes?|advertis\w+|introduc\w+|summari[sz]e\w*|called|named|regarding)\b:?\s+"
    r"(?!in\b|briefly\b|\w+:)([^.?!,;:\n]{2,70})",
    re.IGNORECASE,
)
_LABELLED = re.compile(r":\s*([^\n]{2,})")
_SENTENCE_END = re.compile(r"[.!:\n]")
_BRACES = re.compile(r"\{[^{}]*\}")
_QUOTED = re.compile(r"[\"\u201c\u2018']([^\"\u201d\u2019'\n]{2,60})[\"\u201d\u2019']")
_OPTIONS = re.compile(r"\bone of\b(?: these)?(?: \w+)?:?\s*([^.?\n]{3,200})", re.IGNORECASE)
_SCALE = re.compile(
    r"\b(?:from|between|scale of)?\s*\b(\d{1,3})\s*(?:-|\u2013|to|and)\s*(\d{1,4})\b", re.IGNORECASE
)
_WANTS_NUMBER = re.compile(r"\b(?:rate|score|grade|number only|only (?:a|the) number)\b", re.I)
_WANTS_QUESTION = re.compile(r"\b(?:ask|(?:write|pose|invent|make up)\b.{0,30}\bquestion)\b", re.I)
_WANTS_TITLE = re.compile(r"\b(?:title|headline|slogan|tagline)\b", re.I)
_WANTS_JSON = re.compile(r"\bJSON\b")
_KEY = re.compile(r'"(\w{1,40})"\s*:')
_WORD = re.compile(r"[^\W\d_][\w'-]{3,}")

_SEPARATOR = re.compile(r"\s*(?:,|;|\||/|\bor\b)\s*")
_INSTRUCTION_WORDS = """
    about above after answer before below between brief briefly classify combine compare describe
    does each ever explain following from give good have headline into least made make matter more
    most name never only other overlook people please question rate reply score sentence sentences
    shaped short should slogan some someone summarise summarize than that their them then there
    these they thing this title today trade-off translate what when where which while with word
    words would write years your
"""
_INSTRUCTIONS = frozenset(_INSTRUCTION_WORDS.split())

_QUESTIONS = (
    "What is the one thing most people overlook about {topic}?",
    "How would you explain {topic} to someone new?",
    "Why might {topic} matter more today than it did ten years ago?",
    "Which trade-off shaped {topic} the most?",
    "What would you compare {topic} with, and why?",
)
_TITLES = (
    "{topic}: more than it seems",
    "The quiet strength of {topic}",
    "{topic}, seen from up close",
    "A second look at {topic}",
)
_OPENINGS = (
    "Much of {topic} comes down to {word}.",
    "What sets {topic} apart is {word}.",
    "Seen closely, {topic} can teach a lot about {word}.",
    "At the heart of {topic} lies {word}.",
    "The case for {topic} rests on {word}.",
)
_MIDDLES = (
    "Most of the difference comes down to {word} and {other}.",
    "There is a little less {word} than elsewhere and a lot more {other}.",
    "Those who know the subject well mention {word} first and {other} second.",
    "Next to its {word}, even the {other} seems modest.",
)
_CLOSINGS = (
    "For everyday use that is usually enough.",
    "That balance is hard to find elsewhere.",
    "It is worth a second look.",
    "On the whole the evidence is in its favour.",
)
_QUALITY_WORDS = (
    "balance character clarity comfort detail economy patience precision range reach rhythm scale"
    " simplicity strength timing value weight"
)
_QUALITIES = tuple(_QUALITY_WORDS.split())


class Answer(NamedTuple):
    """What was written, and what it counts for; `number` is the same for the same prompt."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str
    number: int


class Dice:
    """Choices that are a function of the text they are made for, on any platform."""

    __slots__ = ("_left",)

    def __init__(self, key: str) -> None:
        digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=32).digest()
        self._left = int.from_bytes(digest, "big")

    def below(self, n: int) -> int:
        """A whole number in 0..n-1; n >= 1."""
        self._left, drawn = divmod(self._left, n)
        return drawn

    def pick(self, options: Sequence[str]) -> str:
        """One of the options."""
        return options[self.below(len(options))]


def count_tokens(text: str) -> int:
    """About as many tokens as a tokenizer would find in English text."""
    return -(-len(text) // _CHARACTERS_A_TOKEN)


def write(
    prompt: str,
    *,
    model: str,
    seed: int = 0,
    asked: str | None = None,
    max_tokens: int | None = None,
    response_format: Mapping[str, Any] | None = None,
) -> Answer:
    """Writes an answer.

    Args:
        prompt: The whole conversation; decides the answer and is what counts as prompt tokens.
        model: Who answers: models differ.
        seed: Another seed, another answer.
        asked: The last message of the user, whose words the answer takes up; the prompt if None.
        max_tokens: Where to stop; JSON is never cut.
        response_format: As OpenAI takes it: `json_object` and `json_schema` are heeded.
    """
    dice = Dice(f"{seed}|{model}|{prompt}")
    number = dice.below(2**64)
    text, whole = _compose(prompt if asked is None else asked, dice, response_format)
    finish = "stop"
    if max_tokens is not None and not whole and count_tokens(text) > max_tokens:
        text, finish = text[: max_tokens * _CHARACTERS_A_TOKEN].rstrip(), "length"
    return Answer(text, count_tokens(prompt), count_tokens(text), finish, number)


def _compose(asked: str, dice: Dice, response_format: Mapping[str, Any] | None) -> tuple[str, bool]:
    """The text, and whether it must not be cut."""
    if response_format and response_format.get("type") == "json_schema":
        schema = (response_format.get("json_schema") or {}).get("schema") or {}
        return json.dumps(fill(schema, dice, _phrase(asked, dice))), True
    if _WANTS_JSON.search(asked) or (response_format or {}).get("type") == "json_object":
        return json.dumps(_object(asked, dice)), True
    options = _options(asked)
    if options:
        return dice.pick(options), False
    if _WANTS_NUMBER.search(asked):
        return _rating(asked, dice), False
    return _prose(asked, dice), False


def _options(asked: str) -> list[str]:
    found = _OPTIONS.search(asked)
    listed = _SEPARATOR.split(found[1].strip()) if found else []
    options = [option.strip(" '\"`()") for option in listed]
    options = [option for option in options if option and len(option) <= 40]
    return options if len(options) > 1 else []


def _rating(asked: str, dice: Dice) -> str:
    low, high = 1, 5
    found = _SCALE.search(asked)
    if found and int(found[1]) < int(found[2]):
        low, high = int(found[1]), int(found[2])
    # The better of two draws: judges are kind.
    span = high - low + 1
    return str(low + max(dice.below(span), dice.below(span)))


def _object(asked: str, dice: Dice) -> dict[str, Any]:
    keys = list(dict.fromkeys(_KEY.findall(asked))) or ["answer", "score"]
    return {key: _value(key, asked, dice) for key in keys}


def _value(key: str, asked: str, dice: Dice) -> Any:
    if re.search(r"score|rating|grade|rank|count|number|age|year|price", key, re.IGNORECASE):
        return int(_rating(asked, dice))
    if re.match(r"is_|has_|ok$|valid", key, re.IGNORECASE):
        return dice.below(2) == 1
    return _phrase(asked, dice)


def _prose(asked: str, dice: Dice) -> str:
    topic = _topic(asked)
    if _WANTS_QUESTION.search(asked):
        return _capital(dice.pick(_QUESTIONS).format(topic=topic))
    if _WANTS_TITLE.search(asked):
        return _capital(dice.pick(_TITLES).format(topic=topic))
    sentences = [_phrase(asked, dice)]
    if dice.below(3):
        sentences.append(_comparison(dice))
    if not dice.below(3):
        sentences.append(dice.pick(_CLOSINGS))
    return " ".join(sentences)


def _comparison(dice: Dice) -> str:
    first = dice.below(len(_QUALITIES))
    second = first + 1 + dice.below(len(_QUALITIES) - 1)
    other = _QUALITIES[second % len(_QUALITIES)]
    return dice.pick(_MIDDLES).format(word=_QUALITIES[first], other=other)


def _phrase(asked: str, dice: Dice) -> str:
    return _capital(dice.pick(_OPENINGS).format(topic=_topic(asked), word=dice.pick(_QUALITIES)))


def _topic(asked: str) -> str:
    """What the prompt is about, in its own words."""
    asked = _BRACES.sub(" ", asked)
    for pattern in (_ABOUT, _QUOTED):
        found = pattern.search(asked)
        if found:
            return _shortened(found[1])
    before, question, _ = asked.partition("?")
    found = _LABELLED.search(asked)
    if question:
        asked = _SENTENCE_END.split(before)[-1]
    elif found:
        asked = found[1]
    return " ".join(_content_words(asked)[:3]) or "this"


def _shortened(text: str) -> str:
    return " ".join(text.split()[:8]).strip(" .,;:?!\"'{}[]()") or "this"


def _content_words(asked: str) -> list[str]:
    found = (word for word in _WORD.findall(asked) if word.lower() not in _INSTRUCTIONS)
    return list(dict.fromkeys(found))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
