"""Names that a file itself suggests for a hidden one.

In: the occurrences of a unit. Out: names, each with the rules that gave it. A rule is a source (the declared type, what is
called or read in the assignment, the key or field that takes the value, the collection that is looped over, the parameter that
an argument is passed to, ...), and what is made of its words (all of them, the last one, their initials, the singular, ...)
in the way that names of the kind are written in the language. How often each rule is right is learned (scripts/names_table.py).
"""

from collections.abc import Iterator

from codesage.names.others import Others
from codesage.names.surroundings import BREAK, DOTS, END, HOLE, TEXT, Occurrences
from codesage.words import split_words

_CAMEL, _SNAKE, _UPPER, _FIELD = "camel", "snake", "upper", "field"  # userName, user_name, UserName, _userName
_STYLES = {  # of functions, classes, and the others
    "python": ((_SNAKE,), (_UPPER,), (_SNAKE,)),
    "ruby": ((_SNAKE,), (_UPPER,), (_SNAKE,)),
    "java": ((_CAMEL,), (_UPPER,), (_CAMEL,)),
    "javascript": ((_CAMEL,), (_UPPER,), (_CAMEL, _FIELD)),
    "typescript": ((_CAMEL,), (_UPPER,), (_CAMEL, _FIELD)),
    "csharp": ((_UPPER,), (_UPPER,), (_CAMEL, _UPPER, _FIELD)),
    "go": ((_CAMEL, _UPPER), (_UPPER, _CAMEL), (_CAMEL, _UPPER)),
    "c": ((_SNAKE, _CAMEL), (_SNAKE, _UPPER), (_SNAKE, _CAMEL)),
    "php": ((_CAMEL, _SNAKE), (_UPPER,), (_CAMEL, _SNAKE)),
}
_BEFORE_VALUE = {"await", "&", "*", "(", "!", "yield", "ref", "this", "self", "$", "@", "copy", "clone", "move"}
_NO_TYPE = frozenset(
    "return new throw else case in of await yield not and or is as if while const let var val final static function def class "
    "func public private protected goto async delete typeof struct enum type import from global out ref".split()
)

Source = tuple[str, str]  # a rule's source, and the identifier that it found


def suggested(around: Occurrences, others: Others) -> dict[str, list[str]]:
    """Names for the unit that is hidden, each with the rules that gave it; `others`: the units of the file."""
    suggestions: dict[str, list[str]] = {}
    language, kind = around.tokens.language, around.unit.kind
    functions, classes, remaining = _STYLES[language]
    styles = functions if kind == "function" else classes if kind == "class" else remaining
    sources = dict.fromkeys(source for place in around.places for source in _sources(around, place))
    if kind == "function":
        sources.update(dict.fromkeys(_of_function(around)))
    for source, text in sources:
        for shape, name in _shapes(text, styles):
            rules = suggestions.setdefault(name, [])
            if (rule := f"{source} {shape}") not in rules:
                rules.append(rule)
    for one in others.of(around.unit):
        rule = f"other {min(one.same, 3)} {min(one.every, 3)} {'seen' if one.seen else 'apart'}"
        suggestions.setdefault(one.name, []).append(rule)
    return {name: rules for name, rules in suggestions.items() if name not in around.tokens.words and name.isidentifier()}


def _sources(around: Occurrences, place: int) -> Iterator[Source]:
    """Where an occurrence gets its name from."""
    yield from _types(around, place)
    after, before = around.text(place + 1), around.text(place - 1)
    if after in ("=", ":=", "=>", ":"):
        yield from _values(around, place + 2, "key" if after in (":", "=>") else "value")
    if before in ("=", ":", "=>", ":="):
        yield from _taken_by(around, place - 2, "field" if before == "=" else "key")
    if before in DOTS and around.text(place - 2) in ("this", "self") and after == "=":
        yield from _values(around, place + 2, "own value")
    yield from _loops(around, place)
    yield from _passed(around, place)
    if before == "return" or (before in DOTS and around.text(place - 3) == "return"):
        definition = around.text(around.tokens.defined[place])
        yield "returned by", definition
    if before in ("$", "@"):
        yield from ((f"{source}", text) for source, text in _marked(around, place))


def _marked(around: Occurrences, place: int) -> Iterator[Source]:
    """As `_sources`, for a name that stands after a mark such as `$`."""
    before = around.text(place - 2)
    if before in ("=", "=>"):
        yield from _taken_by(around, place - 3, "field" if before == "=" else "key")
    if before == "return":
        yield "returned by", around.text(around.tokens.defined[place])


def _types(around: Occurrences, place: int) -> Iterator[Source]:
    """The declared type: `Type name`, `name: Type`, `name Type`; of a function, what it gives."""
    language, after = around.tokens.language, around.text(place + 1)
    if language in ("java", "csharp", "c", "php"):
        yield from _type_before(around, place, "gives" if after == "(" else "type")
    elif language == "go":
        yield from _type_after(around, place)
    elif after == ":" or (after == "?" and around.text(place + 2) == ":"):
        chain = around.chain(place + (2 if after == ":" else 3), 1)
        yield from (("type", word) for word in chain[-1:])


def _type_before(around: Occurrences, place: int, what: str) -> Iterator[Source]:
    at = place - 1
    while around.text(at) in ("*", "&", "$", "const", "...", "?", "]", "["):
        at -= 1
    if around.text(at) == ">":
        if _is_name(around.text(at - 1)):
            yield "type of items", around.text(at - 1)
        at = _before_angle(around, at)
    if _is_name(around.text(at)) and around.text(at) not in _NO_TYPE:
        yield what, around.text(at)


def _type_after(around: Occurrences, place: int) -> Iterator[Source]:
    at = place + 1
    while around.text(at) in ("*", "[", "]", "...", "0"):
        at += 1
    chain = around.chain(at, 1)
    if chain and chain[0] not in _NO_TYPE and around.text(place + 1) not in DOTS:
        yield "types" if around.text(place + 1) == "[" else "type", chain[-1]


def _before_angle(around: Occurrences, at: int) -> int:
    """The place before the `<` that belongs to the `>` at `at`."""
    depth = 0
    for place in range(at, max(-1, at - 24), -1):
        depth += (around.text(place) == ">") - (around.text(place) == "<")
        if not depth:
            return place - 1
    return at - 1


def _values(around: Occurrences, place: int, what: str) -> Iterator[Source]:
    """What is assigned: `getUser()`, `new Foo`, `a.items`, `"text"`, `args["limit"]`."""
    made = False
    while around.text(place) in _BEFORE_VALUE or around.text(place) == "new":
        made |= around.text(place) == "new"
        if around.text(place) in ("this", "self") and around.text(place + 1) in DOTS:
            place += 1
        place += 1
    text = around.text(place)
    if text.startswith('"') and text != TEXT:
        yield f"{what} text", text[1:-1]
        return
    chain = around.chain(place, 1)
    if not chain or chain[-1] == HOLE:
        return
    end = place
    while around.text(end) != chain[-1] or around.text(end + 1) in DOTS:
        end += 1
        if end > place + 16:
            return
    after = around.text(end + 1)
    form = "new" if made else "call" if after == "(" else "item" if after == "[" else "read" if len(chain) > 1 else "name"
    yield f"{what} {form}", chain[-1]
    if len(chain) > 1 and form == "call":
        yield f"{what} of", chain[-2]
    if after in ("(", "[") and around.text(end + 2).startswith('"') and around.text(end + 2) != TEXT:
        yield f"{what} {form} text", around.text(end + 2)[1:-1]
    elif after in ("(", "[") and _is_name(around.text(end + 2)):
        yield f"{what} {form} argument", around.chain(end + 2, 1)[-1]
    yield from _further(around, end + 1, what)


def _further(around: Occurrences, place: int, what: str) -> Iterator[Source]:
    """The last call of `a(b).c(d).e`."""
    last, steps = END, 0
    while around.text(place) in ("(", "[") and steps < 4:
        place = around.tokens.partner.get(place, place) + 1
        if around.text(place) not in DOTS:
            break
        chain = around.chain(place + 1, 1)
        if not chain:
            break
        last, steps = chain[-1], steps + 1
        place += 2 * len(chain)
    if last not in (END, HOLE):
        yield f"{what} then", last


def _taken_by(around: Occurrences, place: int, what: str) -> Iterator[Source]:
    """What takes the value: `it.name = _`, `name: _`, `"name" => _`."""
    text = around.text(place)
    if text.startswith('"') and text != TEXT:
        yield f"{what} text", text[1:-1]
    elif text == "]" and around.text(place - 1).startswith('"') and around.text(place - 1) != TEXT:
        yield f"{what} index", around.text(place - 1)[1:-1]
    else:
        chain = around.chain(place, -1)
        if chain and chain[-1] != HOLE and chain[-1] not in around.tokens.words:
            yield f"{what} {'member' if len(chain) > 1 else 'name'}", chain[-1]


def _loops(around: Occurrences, place: int) -> Iterator[Source]:
    """The collection that is looped over, for its items, and the reverse."""
    after = around.text(place + 1)
    if after in ("in", "of", ":") and (chain := around.chain(_skipped(around, place + 2), 1)):
        yield ("loop" if after != ":" else "loop or type"), chain[-1]
    if around.text(place + 1) == ":=" and around.text(place + 2) == "range" and (chain := around.chain(place + 3, 1)):
        yield "loop", chain[-1]
    if around.text(place - 1) in ("in", "of", "range") and _is_name(around.text(place - 2)):
        yield "items", around.text(place - 2)
    if around.text(place - 1) == "$" and around.text(place - 2) == "as" and (chain := around.chain(place - 3, -1)):
        yield "loop", chain[-1]
    if around.text(place - 1) == "|" and around.text(place - 2) in ("do", "{"):
        chain = around.chain(place - 3, -1)
        if len(chain) > 1:
            yield "block", chain[-2]
    bracket = around.tokens.opened[place]
    if after == "=>" and around.text(place - 1) == "(" and (chain := around.chain(place - 2, -1)) and len(chain) > 1:
        yield "block", chain[-2]
    if after == ")" and bracket > 0 and around.text(bracket - 1) == "(" and (chain := around.chain(bracket - 2, -1))[1:]:
        yield "block", chain[-2]


def _skipped(around: Occurrences, place: int) -> int:
    while around.text(place) in ("$", "@", "(", "*", "&"):
        place += 1
    if around.text(place) in ("this", "self") and around.text(place + 1) in DOTS:
        place += 2
    return place


def _passed(around: Occurrences, place: int) -> Iterator[Source]:
    """For an argument, the parameter of a function of the file; for a parameter, the arguments of its calls."""
    called, number = around.callee(place)
    if not called or called[-1] == HOLE:
        return
    if around.text(place + 1) in (",", ")") or around.text(place - 1) in ("(", ","):
        yield "callee", called[-1]
    bracket = around.tokens.opened[place]
    own = around.tokens.defined[bracket] == bracket - 1
    for other in around.tokens.places.calls.get(called[-1], ())[:8]:
        if other == bracket:
            continue
        text = _argument(around, other, number)
        if text not in (END, HOLE):
            yield ("argument" if own else "parameter" if around.tokens.defined[other] == other - 1 else "same call"), text


def _argument(around: Occurrences, bracket: int, number: int) -> str:
    """The last word of an argument, END where it is no name."""
    place, end = bracket + 1, around.tokens.partner.get(bracket, bracket)
    while number and place < end:
        number -= around.text(place) == ","
        place = around.tokens.partner.get(place, place) + 1
    last = END
    while place < end and around.text(place) not in (",", "=", ":"):
        if around.text(place) in ("(", "[", "{"):
            return END
        if _is_name(around.text(place)) or around.text(place) == HOLE:
            last = around.text(place)
            if around.tokens.language == "go" and around.tokens.defined[bracket] == bracket - 1:
                break
        place += 1
    return last


def _of_function(around: Occurrences) -> Iterator[Source]:
    """For a function: what it returns, and what its results are called."""
    for place in around.places:
        if around.text(place + 1) != "(":
            continue
        at = place - 1
        while around.text(at) in DOTS or around.text(at) in ("$", "this", "self", "await"):
            at -= 1 if around.text(at) not in DOTS or not _is_name(around.text(at - 1)) else 2
        if around.text(at) in ("=", ":="):
            yield from (("result", word) for word in around.chain(at - 1, -1)[-1:] if word != HOLE)
        end = around.tokens.partner.get(place + 1, place)
        for inner in range(end + 1, min(end + 40, len(around.tokens.texts))):
            if around.tokens.defined[inner] != around.tokens.defined[end]:
                break
            if around.text(inner) == "return" and (chain := around.chain(_skipped(around, inner + 1), 1)):
                yield "returns", chain[-1]
                break
        inside = _argument(around, place + 1, 0)
        if inside not in (END, HOLE):
            yield "first argument", inside


def _is_name(text: str) -> bool:
    return text.isidentifier() and text != HOLE


def _shapes(text: str, styles: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Names that are made of an identifier, and how."""
    words = split_words(text)[:6]
    if not words or text in (HOLE, BREAK):
        return
    if text.isidentifier():
        yield "as it is", text
        yield "lower", text.lower()
    parts = {"whole": words, "last": words[-1:], "first": words[:1], "rest": words[1:], "but last": words[:-1]}
    parts["two"] = words[-2:]
    parts["one"] = [*words[:-1], singular(words[-1])]
    parts["last one"] = [singular(words[-1])]
    parts["many"] = [*words[:-1], plural(words[-1])]
    parts["last many"] = [plural(words[-1])]
    for verb in ("get", "set", "is", "create", "new"):
        parts[verb] = [verb, *words]
    seen = set()
    for shape, chosen in parts.items():
        for style in styles:
            name = written(chosen, style)
            if name and name not in seen:
                seen.add(name)
                yield f"{shape} {style}", name
    yield "initials", "".join(word[0] for word in words)
    yield "letter", words[-1][0]


def written(words: list[str], style: str) -> str:
    """Lower-case words as a name."""
    if not words:
        return ""
    if style == _SNAKE:
        return "_".join(words)
    capitals = "".join(word.capitalize() for word in words)
    if style == _UPPER:
        return capitals
    camel = words[0] + capitals[len(words[0]) :]
    return f"_{camel}" if style == _FIELD else camel


def singular(word: str) -> str:
    """An English noun without its plural."""
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 2 else word


def plural(word: str) -> str:
    """An English noun in the plural."""
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("s", "x", "ch", "sh")) else "s")
