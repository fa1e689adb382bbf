"""A JSON Schema brought down to what a provider understands, and a receipt that says how.

Three rules decide what becomes of a part that the provider does not understand. What can be said in other words is
rewritten (`oneOf`, `const`, `allOf`, references). What only restricts a value is left out and said in the description,
where the model still reads it: every answer that the schema allows stays allowed. What would leave the model no way to
give the answer that was asked for is refused with `UnsupportedFeature`, a map of free names where objects must be
closed, say.

Objects that say nothing of other properties are closed where a provider demands it; and there a property that may be
left out must be there, and is null instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from lollms_core.errors import UnsupportedFeature
from lollms_core.protocols import schema_reduction_parts as parts
from lollms_core.protocols.schema_reduction_check import checked
from lollms_core.protocols.schema_reduction_merge import Nothing, both, is_annotation, types_of
from lollms_core.protocols.schema_reduction_notes import Notes, keep_limits
from lollms_core.protocols.schema_reduction_parts import KINDS, in_words, kind_of, unique
from lollms_core.protocols.schema_reduction_refs import Definitions
from lollms_core.protocols.schema_reduction_rules import (
    ANTHROPIC_SCHEMAS,
    GEMINI_SCHEMAS,
    OPENAI_SCHEMAS,
    OPENAPI_SCHEMAS,
    SchemaRules,
)
from lollms_core.types import ReceiptItem

__all__ = ["ANTHROPIC_SCHEMAS", "GEMINI_SCHEMAS", "OPENAI_SCHEMAS", "OPENAPI_SCHEMAS", "SchemaRules", "reduced"]

_DEEPEST = 64
_MOST_STEPS = 20_000
_MOST_COPIED = 500_000
_INFERRED = "the type was not stated and is taken from the other keywords"
_SILENT = frozenset({"$defs", "definitions"})
_MEANT = frozenset({"default", "examples", "example"})
_OBJECT = frozenset({"properties", "required", "additionalProperties", "patternProperties"})
_ARRAY = frozenset({"items", "prefixItems", "additionalItems"})
_UNIONS = frozenset({"$ref", "allOf", "oneOf"})
_WIDE = ("properties", "required", "enum", "anyOf")


def reduced(schema: Mapping[str, Any], rules: SchemaRules) -> tuple[dict[str, Any], tuple[ReceiptItem, ...]]:
    """The schema in the words of `rules`, and what the receipt says of it. `schema` is left as it is.

    Raises `InvalidRequest` for what is no JSON Schema or is nested too deep, `UnsupportedFeature` for one that the
    provider cannot be held to. The cost is bounded by the size of the schema.
    """
    checked(schema)
    return _Reduction(schema, rules).run()


class _Reduction:
    """One reduction while it is made."""

    def __init__(self, root: Mapping[str, Any], rules: SchemaRules) -> None:
        self._root = root
        self._rules = rules
        self._notes = Notes(rules.name)
        self._refs = Definitions(root)
        self._user = ""  # the definition that is being reduced
        self._depth = 0
        self._steps = 0
        self._copied = 0  # properties, names and values in all schemas that were joined

    def run(self) -> tuple[dict[str, Any], tuple[ReceiptItem, ...]]:
        rules = self._rules
        body = self._schema(self._root, "", whole=True)
        if rules.root_object and body.get("type") != "object":
            raise self._refusal("", "wants an object as the whole answer; put yours into a property of one")
        definitions: dict[str, Any] = {}
        while waiting := self._refs.waiting():
            for name, target in waiting:
                self._user = name
                definitions[name] = self._schema(target, f"/$defs/{name}", whole=True)
        if definitions:
            body["$defs"] = definitions
        if not rules.recursion and (circle := self._refs.circle()) is not None:
            raise self._refusal(f"/$defs/{circle}" if circle else "", "takes no definition that refers to itself")
        keep_limits(body, rules)
        return body, self._notes.receipt()

    def _refusal(self, path: str, words: str) -> UnsupportedFeature:
        where = f"The JSON Schema at {path[:200]}" if path else "The JSON Schema"
        return UnsupportedFeature(
            f"{where} cannot be asked for: {self._rules.name} {words}.", provider=self._rules.name, param="schema"
        )

    def _spend(self) -> None:
        self._steps += 1
        if self._steps > _MOST_STEPS or self._copied > _MOST_COPIED or self._depth > _DEEPEST:
            raise self._refusal("", "would get it too large or too deep; perhaps a definition refers to itself")

    def flat(self, schema: Any) -> Mapping[str, Any]:
        """See `Work`."""
        if schema is False:
            raise Nothing
        if schema is True:
            return {}
        if not any(key in schema for key in _UNIONS):
            return schema  # type: ignore[no-any-return]
        merged: Mapping[str, Any] = {key: value for key, value in schema.items() if key not in _UNIONS}
        if "$ref" in schema:
            merged = self.join(merged, self._refs.target(schema["$ref"]))
        for part in schema.get("allOf", ()):
            merged = self.join(merged, part)
        if "oneOf" in schema:
            merged = self.join(merged, {"anyOf": schema["oneOf"]})
        return merged

    def join(self, a: Any, b: Any) -> dict[str, Any]:
        """See `Work`."""
        self._depth += 1
        self._spend()
        try:
            made = both(a, b, self)
            self._copied += sum(len(made[key]) for key in _WIDE if key in made)
            return made
        finally:
            self._depth -= 1

    def _schema(self, schema: Any, path: str, *, whole: bool = False) -> dict[str, Any]:
        """One schema in the provider's words; `whole` is one that must not be a mere reference."""
        self._depth += 1
        self._spend()
        try:
            if not whole and isinstance(schema, Mapping) and "$ref" in self._rules.keywords:
                reference = self._reference(schema, path)
                if reference is not None:
                    return reference
            flat = self.flat(schema)
            self._note_unions(schema, path)
            return self._union(flat, path) if "anyOf" in flat else self._plain(flat, path)
        except Nothing:
            raise self._refusal(path, "cannot be asked for what no value can be") from None
        finally:
            self._depth -= 1

    def _note_unions(self, schema: Any, path: str) -> None:
        if not isinstance(schema, Mapping):
            return
        if "$ref" in schema:
            self._notes.add("rewritten", "a definition is put in where it is referred to", path)
        if "allOf" in schema:
            self._notes.add("rewritten", "allOf is written as one schema", path)
        if "oneOf" in schema:
            self._notes.add("rewritten", "oneOf is written as anyOf", path)

    def _reference(self, schema: Mapping[str, Any], path: str) -> dict[str, Any] | None:
        """A schema that is a reference and nothing beside it that restricts; None for any other."""
        if len(schema.get("allOf", ())) == 1 and "$ref" not in schema and isinstance(schema["allOf"][0], Mapping):
            inner = schema["allOf"][0]
            if set(inner) != {"$ref"}:
                return None
            schema = {**{key: value for key, value in schema.items() if key != "allOf"}, "$ref": inner["$ref"]}
            self._notes.add("rewritten", "allOf is written as one schema", path)
        if "$ref" not in schema or any(not is_annotation(key) for key in schema if key != "$ref"):
            return None
        if isinstance(self._refs.target(schema["$ref"]), bool):
            return None
        sent = {"$ref": self._refs.sent_as(schema["$ref"], self._user)}
        if sent["$ref"] != schema["$ref"]:
            self._notes.add("rewritten", "what is referred to stands in $defs", path)
        beside = self._annotated({}, schema, path)
        if not beside:
            return sent
        self._notes.add("rewritten", "what describes a reference stands around it", path)
        return {"anyOf": [sent], **beside}

    def _union(self, flat: Mapping[str, Any], path: str) -> dict[str, Any]:
        """`anyOf`, alone: what stands beside it is put into each of its schemas."""
        rules = self._rules
        beside = {
            key: value for key, value in flat.items() if not is_annotation(key) and key not in ("anyOf", "nullable")
        }
        branches: list[Any] = []
        for branch in flat["anyOf"]:
            with suppress(Nothing):
                branches += [self.join(beside, branch)] if beside else [branch] if branch is not False else []
        if beside:
            self._notes.add("rewritten", "what stands beside anyOf is written into each of its schemas", path)
        null, folded = flat.get("nullable") is True, False
        if "nullable" in rules.keywords:
            others = [each for each in branches if not self._is_null(each)]
            if others and len(others) < len(branches):
                null = folded = True
                self._notes.add("rewritten", "null is written as nullable", path)
            branches = others or branches
        elif null and not any(map(parts.is_null, branches)):
            branches.append({"type": "null"})
            self._notes.add("rewritten", "nullable is written as the type null", path)
        if not branches:
            raise Nothing
        made = unique(self._schema(each, f"{path}/anyOf/{place}") for place, each in enumerate(branches))
        if len(made) < len(branches):
            self._notes.add("dropped", "a schema stood in anyOf twice", path)
        out: dict[str, Any] = {"anyOf": made}
        if null and "nullable" in rules.keywords:
            alone = folded and len(made) == 1 and "anyOf" not in made[0]
            out = {"nullable": True, **made[0]} if alone else {**out, "nullable": True}
        return self._annotated(out, flat, path)

    def _is_null(self, schema: Any) -> bool:
        try:
            return parts.is_null(self.flat(schema))
        except Nothing:
            return False

    def _annotated(
        self, out: dict[str, Any], flat: Mapping[str, Any], path: str, words: Iterable[str] = ()
    ) -> dict[str, Any]:
        """`out` with the title and description of `flat`; `words` and what is no restriction stand in the latter."""
        said = [str(out["description"])] if "description" in out else []
        more = list(words)
        for key, value in flat.items():
            if not is_annotation(key) or key in _SILENT:
                continue
            if key == "description":
                said.insert(0, str(value))
            elif key == "title" and "title" in self._rules.keywords:
                out.setdefault("title", value)
            elif key in self._rules.keywords:
                out[key] = value
            elif key in _MEANT:
                more.append(in_words(key, value))
                self._notes.add("rewritten", f"{key} is not understood and stands in the description", path)
            else:
                self._notes.add("dropped", f"{key[:40]} is not understood", path)
        if more:
            said.append(f"({'; '.join(more)})")
        if said:
            out["description"] = "\n\n".join(said)
        return out

    def _plain(self, flat: Mapping[str, Any], path: str) -> dict[str, Any]:
        """A schema that is neither a reference nor a union."""
        rules = self._rules
        values = parts.values_of(flat)
        if values is not None and len(values) < len(flat.get("enum", ())) and "const" not in flat:
            self._notes.add("dropped", "a value stood in enum twice", path)
        types = types_of(flat)
        if not types and rules.typed:
            types = parts.stated_types(flat, values)
            if not types:
                raise self._refusal(path, "must be told of what type it is")
            self._notes.add("rewritten", _INFERRED, path)
        null = flat.get("nullable") is True
        if null and "nullable" not in rules.keywords:
            self._notes.add("rewritten", "nullable is written as the type null", path)
            types = (*types, "null") if types and "null" not in types else types
            values = [*values, None] if values is not None and None not in values else values
        if "nullable" in rules.keywords and len(types) > 1 and "null" in types:
            self._notes.add("rewritten", "null is written as nullable", path)
            types = tuple(each for each in types if each != "null")
            values = [each for each in values if each is not None] if values is not None else None
            null = True
        if values is not None and types and len(fitting := parts.fitting(values, types)) < len(values):
            self._notes.add("dropped", "a value of enum is of no type that is stated", path)
            values = fitting
        told = values is None or all(kind_of(each) in rules.enums for each in values)
        if not types and not told:
            types = parts.stated_types(flat, values)
            self._notes.add("rewritten", _INFERRED, path)
        if len(types) > 1 and not (rules.type_lists and told):
            return self._split(flat, types, values, null, path)
        return self._typed(flat, types, values, null, path)

    def _split(
        self, flat: Mapping[str, Any], types: tuple[str, ...], values: list[Any] | None, null: bool, path: str
    ) -> dict[str, Any]:
        """A union with one schema for each of the types."""
        branches = parts.by_type(flat, types, values)
        self._notes.add("rewritten", "a list of types is written as anyOf", path)
        rest = {key: value for key, value in flat.items() if is_annotation(key)}
        return self._union({**rest, "anyOf": branches} | ({"nullable": True} if null else {}), path)

    def _typed(
        self, flat: Mapping[str, Any], types: tuple[str, ...], values: list[Any] | None, null: bool, path: str
    ) -> dict[str, Any]:
        out: dict[str, Any] = {}
        words: list[str] = []
        if types:
            if len(types) == 1 and not isinstance(flat.get("type", ""), str):
                self._notes.add("rewritten", "a list of types is written as one type", path)
            out["type"] = types[0] if len(types) == 1 else list(types)
        for key, value in flat.items():
            if key in parts.APART or key in _OBJECT or key in _ARRAY or is_annotation(key):
                continue
            if types and key in KINDS and not set(KINDS[key]) & set(types):
                self._notes.add("dropped", f"{key} means nothing for this type", path)
            elif parts.takes(self._rules, key, value):
                out[key] = value
            else:
                self._notes.add("rewritten", f"{key[:40]} is not understood and stands in the description", path)
                words.append(in_words(key, value))
        if values is not None:
            self._literal(out, flat, values, words, path)
        if "object" in types or (not types and any(key in flat for key in _OBJECT)):
            self._object(out, flat, words, path)
        if "array" in types or (not types and any(key in flat for key in _ARRAY)):
            self._array(out, flat, words, path)
        if null and "nullable" in self._rules.keywords:
            out["nullable"] = True
        return self._annotated(out, flat, path, words)

    def _literal(
        self, out: dict[str, Any], flat: Mapping[str, Any], values: list[Any], words: list[str], path: str
    ) -> None:
        rules = self._rules
        if not values:
            raise Nothing
        if out.get("type") == "null":
            return
        if not all(kind_of(each) in rules.enums for each in values):
            self._notes.add("rewritten", "enum has values of a type that is not understood; it is described", path)
            words.append(in_words("one of", values))
        elif "const" in flat and len(values) == 1 and "const" in rules.keywords:
            out["const"] = values[0]
        else:
            if "const" in flat:
                self._notes.add("rewritten", "const is written as enum", path)
            out["enum"] = values

    def _object(self, out: dict[str, Any], flat: Mapping[str, Any], words: list[str], path: str) -> None:
        rules = self._rules
        rest = flat.get("additionalProperties")
        properties = {name: each for name, each in flat.get("properties", {}).items() if each is not False}
        patterns = "patternProperties" in flat
        for name in flat.get("required", ()):
            if flat.get("properties", {}).get(name) is False:
                raise Nothing
            properties.setdefault(name, rest if isinstance(rest, Mapping) and not patterns else True)
        named = bool(rest) and isinstance(rest, Mapping)
        if patterns:
            words.append(in_words("patternProperties", flat["patternProperties"]))
            self._notes.add("rewritten", "patternProperties is not understood and stands in the description", path)
        open_ends = named or patterns
        knows = "additionalProperties" in rules.keywords and not rules.closed
        if not knows and open_ends:
            raise self._refusal(path, "knows no objects with names that are not given")
        if not properties and rest is not False and not knows:
            raise self._refusal(path, "must be told the properties of an object")
        required = list(dict.fromkeys(flat.get("required", ())))
        made: dict[str, Any] = {}
        for name, each in properties.items():
            place = f"{path}/properties/{name.replace('~', '~0').replace('/', '~1')}"
            made[name] = self._schema(each, place)
            if rules.optional != "kept" and name not in required:
                made[name] = self._needed(made[name], place)
        if rules.optional != "kept":
            required += [name for name in properties if name not in set(required)]
        if made or "properties" in flat or rules.closed:
            out["properties"] = made
        if required or "required" in flat or rules.optional != "kept":
            out["required"] = required
        if rules.closed:
            out["additionalProperties"] = False
            if rest is not False:
                self._notes.add("rewritten", "an object must forbid properties that are not given", path)
        elif knows and patterns and rest is not None:  # it would hold for names of the patterns, too
            words.append(in_words("additionalProperties", rest))
        elif knows and rest is not None:
            out["additionalProperties"] = (
                self._schema(rest, f"{path}/additionalProperties") if named else bool(rest is not False)
            )
        elif rest is not None:
            self._notes.add("dropped", "additionalProperties is not understood", path)

    def _needed(self, schema: dict[str, Any], path: str) -> dict[str, Any]:
        """A property that could be left out, now one that is null instead."""
        if parts.admits_null(schema):
            self._notes.add("rewritten", "a property that may be null must be there", path)
            return schema
        if self._rules.optional == "refused":
            raise self._refusal(path, "has no properties that may be left out")
        self._notes.add("rewritten", "a property that may be left out must be there, and is null instead", path)
        return parts.or_null(schema, self._rules)

    def _array(self, out: dict[str, Any], flat: Mapping[str, Any], words: list[str], path: str) -> None:
        rules = self._rules
        first = flat.get("prefixItems", ())
        rest = flat.get("items", True)
        if isinstance(rest, list | tuple):  # how tuples were written before 2020
            first, rest = rest, flat.get("additionalItems", True)
        if first and flat.get("maxItems", len(first) + 1) <= len(first):
            rest = False
        if first and "prefixItems" in rules.keywords:
            out["prefixItems"] = [self._schema(each, f"{path}/prefixItems/{place}") for place, each in enumerate(first)]
            if rest is False:
                out["maxItems"] = min(out.get("maxItems", len(first)), len(first))
        elif first:
            words.append(in_words("items in this order", list(first)))
            self._notes.add("rewritten", "prefixItems is not understood; the items are any of them", path)
            rest = {"anyOf": [*first, *([] if rest is False else [rest])]}
        if rest is False:
            if not first:
                out |= {"maxItems": 0} if "maxItems" in rules.keywords else {}
                words += [] if "maxItems" in rules.keywords else ["no items"]
        elif isinstance(rest, Mapping) and rest:
            out["items"] = self._schema(rest, f"{path}/items")
        elif rules.typed:
            raise self._refusal(path, "must be told what an array holds")
