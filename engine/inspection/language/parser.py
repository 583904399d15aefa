"""The grammar of the slice language, by recursive descent.

From the loosest binding to the tightest, as in Python::

    query    = or [ "where" or ]
    or       = and { "or" and }
    and      = not { "and" not }
    not      = "not" not | compare
    compare  = bit-or [ ("<" | "<=" | ">" | ">=" | "==" | "!=") bit-or ]
    bit-or   = bit-and { "|" bit-and }
    bit-and  = sum { "&" sum }
    sum      = product { ("+" | "-") product }
    product  = unary { ("*" | "/") unary }
    unary    = ("-" | "+" | "~") unary | power
    power    = postfix [ "**" unary ]
    postfix  = atom { "[" index "]" | "." name [ "(" dims ")" ] | "@" number }
    atom     = number | name | function "(" query [ "," dims ] ")" | "(" query ")"
    index    = part { "," part } [ "," ]
    part     = "..." | number | [number] ":" [number] [ ":" [number] ] | query (a condition)
    dims     = [ "dim" "=" ] ( dim | "(" dim { "," dim } ")" )
    dim      = number | axis letter

``torch.exp(...)`` and ``x.exp()`` are ``exp(...)``, so that code can be pasted.
"""

from __future__ import annotations

from collections.abc import Callable

from .errors import ExpressionError
from .functions import FUNCTIONS, REDUCTIONS
from .lexer import WORDS, Token, tokenize
from .nearest import nearest
from .tree import (
    At,
    AtHead,
    Attribute,
    Binary,
    Call,
    Index,
    IndexPart,
    Mask,
    Name,
    Node,
    Number,
    Rest,
    Span,
    Unary,
    Where,
)

MAX_DEPTH = 24
"""Of brackets in brackets: more than anyone types, and far from the end of Python's own stack."""
MAX_CHAIN = 64
"""Of operators in a row: each is one level of the tree."""
COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")


def parse(text: str) -> Node:
    """Raises ``ExpressionError`` with the column of the first thing that does not fit."""
    parser = _Parser(tokenize(text))
    if parser.now.kind == "end":
        raise ExpressionError("nothing to evaluate, try pred[0, :, :, 0, 1:5]", 1)
    tree = parser.query()
    parser.expect_end()
    return tree


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    @property
    def now(self) -> Token:
        return self._tokens[self._at]

    def query(self) -> Node:
        self._enter()
        tree = self._either()
        if self._is("where"):
            column = self._take().column
            tree = Where(tree, self._either(), column)
            if self._is("where"):
                raise ExpressionError("one where at a time, join conditions with and", self.now.column)
        self._depth -= 1
        return tree

    def expect_end(self) -> None:
        token = self.now
        if token.kind == "end":
            return
        if token.text in (")", "]"):
            raise ExpressionError(f"{token.text!r} closes nothing", token.column)
        if token.text == "=":
            raise ExpressionError("= assigns nothing here, compare with ==", token.column)
        raise ExpressionError(f"{token.text!r} cannot follow here", token.column)

    def _either(self) -> Node:
        return self._chain(("or",), self._both)

    def _both(self) -> Node:
        return self._chain(("and",), self._negation)

    def _negation(self) -> Node:
        if self._is("not"):
            self._enter()
            column = self._take().column
            tree: Node = Unary("not", self._negation(), column)
            self._depth -= 1
            return tree
        return self._comparison()

    def _comparison(self) -> Node:
        tree = self._bit_or()
        if self._is(*COMPARISONS):
            sign = self._take()
            tree = Binary(sign.text, tree, self._bit_or(), sign.column)
            if self._is(*COMPARISONS):
                raise ExpressionError(
                    "comparisons do not chain: write a < b and b < c, or (a < b) & (b < c)", self.now.column
                )
        return tree

    def _bit_or(self) -> Node:
        return self._chain(("|",), self._bit_and)

    def _bit_and(self) -> Node:
        return self._chain(("&",), self._sum)

    def _sum(self) -> Node:
        return self._chain(("+", "-"), self._product)

    def _product(self) -> Node:
        return self._chain(("*", "/"), self._unary)

    def _chain(self, signs: tuple[str, ...], part: Callable[[], Node]) -> Node:
        tree = part()
        length = 0
        while self._is(*signs):
            sign = self._take()
            length += 1
            self._enter(length)
            self._depth -= 1
            tree = Binary(sign.text, tree, part(), sign.column)
        return tree

    def _unary(self) -> Node:
        if self._is("-", "+", "~"):
            self._enter()
            sign = self._take()
            tree: Node = Unary(sign.text, self._unary(), sign.column)
            self._depth -= 1
            return tree
        return self._power()

    def _power(self) -> Node:
        tree = self._postfix()
        if self._is("**"):
            sign = self._take()
            self._enter()
            tree = Binary("**", tree, self._unary(), sign.column)
            self._depth -= 1
        return tree

    def _postfix(self) -> Node:
        tree = self._atom()
        length = 0
        while True:
            length += 1
            self._enter(length)
            self._depth -= 1
            if self._is("["):
                column = self._take().column
                tree = Index(tree, self._index(), column)
            elif self._is("@"):
                column = self._take().column
                tree = AtHead(tree, self._whole("a head's number, as in pred@1"), column)
            elif self._is("."):
                self._take()
                tree = self._after_dot(tree)
            elif self.now.kind == "number" and self.now.text.startswith("."):
                raise ExpressionError(f"write @{self.now.text[1:]} for a head", self.now.column)
            else:
                return tree

    def _after_dot(self, tree: Node) -> Node:
        name = self._take_name("a channel's name")
        if isinstance(tree, Name) and tree.text == "torch":
            if name.text not in FUNCTIONS or not self._is("("):
                raise ExpressionError(
                    f"torch.{name.text} is not a function here{nearest(name.text, FUNCTIONS)}", name.column
                )
            return self._call(name)
        if not self._is("("):
            return Attribute(tree, name.text, name.column)
        if name.text not in FUNCTIONS:
            raise ExpressionError(f"no function {name.text!r}{nearest(name.text, FUNCTIONS)}", name.column)
        self._take()
        dims = None if self._is(")") else self._dims(name)
        self._close(")")
        return Call(name.text, tree, dims, name.column)

    def _atom(self) -> Node:
        token = self.now
        if token.kind == "number":
            self._take()
            return Number(float(token.text), token.column)
        if token.kind == "name" and token.text not in WORDS:
            self._take()
            if self._is("("):
                if token.text not in FUNCTIONS:
                    raise ExpressionError(
                        f"no function {token.text!r}{nearest(token.text, FUNCTIONS)}", token.column
                    )
                return self._call(token)
            return Name(token.text, token.column)
        if token.text == "(":
            self._take()
            tree = self.query()
            self._close(")")
            return tree
        if token.text == "[":
            raise ExpressionError("an index needs a tensor before it, as in pred[0]", token.column)
        if token.kind == "end":
            raise ExpressionError("something is missing at the end", token.column)
        raise ExpressionError(f"expected a tensor, a number or a function, got {token.text!r}", token.column)

    def _call(self, name: Token) -> Node:
        self._take()
        if self._is(")"):
            raise ExpressionError(f"{name.text}() of what?", self.now.column)
        of = self.query()
        dims = None
        if self._is(","):
            self._take()
            dims = self._dims(name)
        self._close(")")
        return Call(name.text, of, dims, name.column)

    def _dims(self, function: Token) -> tuple[tuple[int | str, int], ...]:
        if function.text not in REDUCTIONS:
            raise ExpressionError(f"{function.text} takes one thing", self.now.column)
        if self.now.text in ("dim", "axis"):
            self._take()
            if not self._is("="):
                raise ExpressionError("write dim=-1 or dim=c", self.now.column)
            self._take()
        if not self._is("("):
            return (self._dim(),)
        self._take()
        dims = [self._dim()]
        while self._is(","):
            self._take()
            if self._is(")"):
                break
            dims.append(self._dim())
        self._close(")")
        return tuple(dims)

    def _dim(self) -> tuple[int | str, int]:
        token = self.now
        if token.kind == "name" and token.text not in WORDS:
            self._take()
            return token.text, token.column
        return self._whole("an axis: a number or a letter of b y x a c"), token.column

    def _index(self) -> tuple[IndexPart, ...]:
        if self._is("]"):
            raise ExpressionError("an index is empty", self.now.column)
        parts = [self._index_part()]
        while self._is(","):
            self._take()
            if self._is("]"):
                break
            parts.append(self._index_part())
        self._close("]")
        dots = [part for part in parts if isinstance(part, Rest)]
        if len(dots) > 1:
            raise ExpressionError("an index has one ... at most", dots[1].column)
        return tuple(parts)

    def _index_part(self) -> IndexPart:
        column = self.now.column
        if self._is("..."):
            self._take()
            return Rest(column)
        if self._is(":") or self._ends_number():
            start = None if self._is(":") else self._whole("a whole number")
            if not self._is(":"):
                assert start is not None  # a number, or there was a colon
                return At(start, column)
            self._take()
            stop = None if self._is(":", ",", "]") else self._whole("where the slice ends")
            step = None
            if self._is(":"):
                self._take()
                step_column = self.now.column
                step = None if self._is(",", "]") else self._whole("the slice's step")
                if step is not None and step < 1:
                    raise ExpressionError("a step is 1 or more, as in torch", step_column)
            return Span(start, stop, step, column)
        if self.now.text in ("None", "True", "False"):
            raise ExpressionError(f"{self.now.text} is not taken as an index", column)
        return Mask(self.query(), column)

    def _ends_number(self) -> bool:
        """Whether a signed number is all of an index part or of a slice's start."""
        at = self._at
        while self._tokens[at].text in ("-", "+"):
            at += 1
        return self._tokens[at].kind == "number" and self._tokens[at + 1].text in (":", ",", "]", "")

    def _whole(self, what: str) -> int:
        """A whole number with its sign."""
        sign = 1
        while self._is("-", "+"):
            sign = -sign if self._take().text == "-" else sign
        token = self.now
        if token.kind != "number":
            raise ExpressionError(f"expected {what}", token.column)
        if not token.text.isdigit():
            raise ExpressionError(f"{token.text} is no whole number", token.column)
        if len(token.text) > 12:
            raise ExpressionError(f"{token.text[:12]}... is too large", token.column)
        self._take()
        return sign * int(token.text)

    def _is(self, *texts: str) -> bool:
        token = self.now
        return token.kind in ("sign", "name") and token.text in texts

    def _take(self) -> Token:
        token = self.now
        self._at += 1
        return token

    def _take_name(self, what: str) -> Token:
        if self.now.kind != "name" or self.now.text in WORDS:
            raise ExpressionError(f"expected {what}", self.now.column)
        return self._take()

    def _close(self, bracket: str) -> None:
        if not self._is(bracket):
            got = f", got {self.now.text!r}" if self.now.text else ""
            raise ExpressionError(f"expected {bracket!r}{got}", self.now.column)
        self._take()

    def _enter(self, chain: int = 0) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ExpressionError(f"nested deeper than {MAX_DEPTH}", self.now.column)
        if chain > MAX_CHAIN:
            raise ExpressionError(f"more than {MAX_CHAIN} operators in a row", self.now.column)
