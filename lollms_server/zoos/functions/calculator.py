"""Exact arithmetic.

An expression is parsed and walked; nothing of it is ever run as code. Numbers are fractions, so that 0.1 + 0.2 is 0.3.
Size is bounded before each step: one power could otherwise fill the memory.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from decimal import Context, Decimal
from fractions import Fraction
from typing import Annotated

_MAX_LENGTH = 1000
_MAX_BITS = 4000
_MAX_EXPONENT = 4000
_DIGITS = 30

_BINARY: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: lambda one, other: Fraction(one // other),
    ast.Mod: operator.mod,
}


async def calculate(
    expression: Annotated[str, "An expression of numbers, + - * / // % ** and parentheses, such as (1 + 2) * 3 ** 4."],
) -> dict[str, str]:
    """Calculate an arithmetic expression exactly.

    Returns the value as a whole number or a fraction, and for a fraction also as a decimal number.
    """
    if len(expression) > _MAX_LENGTH:
        raise ValueError(f"The expression has more than {_MAX_LENGTH} characters.")
    try:
        tree = ast.parse(expression.strip().replace("^", "**"), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError("This is not an arithmetic expression.") from error
    value = _value(tree.body, expression.strip().replace("^", "**"))
    if value.denominator == 1:
        return {"value": str(value.numerator)}
    return {"value": str(value), "decimal": _decimal(value)}


def _value(node: ast.expr, text: str) -> Fraction:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return _bounded(Fraction(node.value))
    if isinstance(node, ast.Constant) and type(node.value) is float:
        return _bounded(_written(ast.get_source_segment(text, node) or ""))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.UAdd | ast.USub):
        value = _value(node.operand, text)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp):
        one, other = _value(node.left, text), _value(node.right, text)
        if isinstance(node.op, ast.Pow):
            return _power(one, other)
        if (combine := _BINARY.get(type(node.op))) is not None:
            if other == 0 and isinstance(node.op, ast.Div | ast.FloorDiv | ast.Mod):
                raise ValueError("This divides by zero.")
            return _bounded(combine(one, other))
    raise ValueError("Only numbers, + - * / // % ** and parentheses can be calculated.")


def _written(number: str) -> Fraction:
    """What is written, not the binary number that Python makes of it."""
    if len(number.lower().partition("e")[2]) > 4:
        raise ValueError(f"The number {number} is too large or too small.")
    return Fraction(number.replace("_", ""))


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1:
        raise ValueError("Only whole numbers can be exponents.")
    if base == 0 and exponent < 0:
        raise ValueError("This divides by zero.")
    if abs(exponent) > _MAX_EXPONENT or _bits(base) * abs(exponent) > _MAX_BITS:
        raise ValueError("The power is too large.")
    return Fraction(base ** int(exponent))


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def _bounded(value: Fraction) -> Fraction:
    if _bits(value) > _MAX_BITS:
        raise ValueError("A number in the calculation is too large.")
    return value


def _decimal(value: Fraction) -> str:
    context = Context(prec=_DIGITS)
    number = context.divide(Decimal(value.numerator), Decimal(value.denominator))
    return format(number.normalize(context), "f" if -12 < number.adjusted() < _DIGITS else "E")
