"""Docstrings to plain language: the summary sentence, the rest in plain words, and what counts as saying nothing.

In: a docstring without comment marks (syntax.docstrings) and its language. Out: text without URLs, HTML, doc tags and
inline markup, with broken Unicode repaired. Blocks come from docblocks.py; every pattern here is linear in its text.
"""

import html
import re
import unicodedata
from contextlib import suppress
from functools import lru_cache

from codesage.corpus.pairs.docblocks import Block, blocks_of
from codesage.corpus.pairs.english import is_code, is_english

__all__ = ["clean", "count_tokens", "description", "first_sentence", "is_code", "is_english", "repair_unicode",
           "says_nothing", "summary"]  # fmt: skip

_TOKEN = re.compile(r"\w+|[^\w\s]")
_SIGNATURE = re.compile(r"[\w.:*&\[\]]{1,200}\s?\([^()]{0,2000}\)\s*(?:->.{0,200})?$", re.DOTALL)
_LONE_NAME = re.compile(r"[\w.:#~*&-]{1,120}+(?:\(\))?\s*(?:[-–:]{1,3})?$")
_NAME_DASH = re.compile(
    r"(?:(?:struct|union|enum|typedef|function|class|macro)\s+)?[\w.:]{1,120}\s?(?:\([^()]{0,200}\))?\s*"
    r"(?:\s[-–—]{1,2}\s|--\s|:\s)\s*(?=\S)"
)
_SENTENCE_END = re.compile(  # not after an abbreviation: each list is of words of one length, as re needs them
    r"[.!?。](?:(?<=。)|(?=[)\"']?\s+[\"'(`A-Z{<:@]|[)\"']?\s*$))(?<!\.\.\.)(?<!\b[A-Za-z]\.)"
    r"(?<!\b(?:al|cf|vs|Dr|Mr|Ms|St|No|Eq)\.)(?<!\b(?:e\.g|i\.e|etc|max|min|Fig|Sec)\.)(?<!\b(?:incl|excl|resp)\.)(?<!\bapprox\.)"
)
_HTML = re.compile(
    r"</?(?:a|abbr|b|big|blockquote|br|c|center|cite|code|dd|del|div|dl|dt|em|font|h[1-6]|hr|i|img|ins|kbd|li|list|ol|p|"
    r"para|pre|q|s|samp|small|span|strike|strong|sub|sup|table|tbody|td|th|thead|tr|tt|u|ul|var|summary|remarks|returns|"
    r"example|description|term|item|see|seealso|value|script|style|link|meta|body|head|html)\b[^<>]{0,300}>|<!--[^<>]{0,200}-->",
    re.IGNORECASE | re.DOTALL,
)
_SEE = re.compile(r"<(?:see|seealso|paramref|typeparamref)\s+\w+\s*=\s*[\"'](?:\w:)?([^\"'<>]{0,300})[\"']\s*/?>")
_INLINE_TAG = re.compile(r"\{@(\w{1,30})\s+([^{}]{0,400})\}")
_BARE_TAG = re.compile(r"\{@\w{1,30}\}|\{@\w{1,30}\s")
_ROLE = re.compile(r":[A-Za-z][\w:+-]{0,40}:`~?!?([^`<]{0,300}?)\s{0,3}(?:<[^`]{0,300}>)?`")
_REST_LINK = re.compile(r"`([^`<]{1,300}?)\s{0,3}<[^`<>]{0,300}>`_{0,2}|`([^`]{1,300})`_{1,2}")
_MARKDOWN_LINK = re.compile(r"!?\[([^\[\]]{0,200})\]\([^()\s]{0,400}\)|\[([^\[\]]{1,200})\]\[[^\[\]]{0,100}\]")
_GO_LINK = re.compile(r"(?<![\w\]])\[\*?([A-Za-z_][\w./]{0,120})\](?![\w(\[])")
_YARD_LINK = re.compile(r"\{([A-Z#][\w:#?!.]{0,120})(?:\s+([^{}]{1,200}))?\}")
_PLUS = re.compile(r"(?<![\w+])\+([\w:.@#?!\[\]=]{1,80})\+(?![\w+])")
_EMPHASIS = re.compile(r"(?<![\w*])(\*{1,2})([^\s*][^*\n]{0,120}?)\1(?![\w*])")
_DOXYGEN_WORD = re.compile(r"(?<![\w\\@])[\\@](?:c|p|a|e|em|b|ref|link|endlink|n|li|copybrief|copydoc)\b\s?#?")
_KERNEL_SIGIL = re.compile(
    r"(?<![\w&%@])(?:[%@&]|#(?!define|include|if|el|end|undef|pragma|error))(?=[A-Za-z_])(?:struct |enum |union )?"
)
_C_SIGIL = re.compile(r"[\\@%&#]")  # one of them is in every find of the two expressions above, which are slow to find nothing
_URL = re.compile(r"\(?\b(?:https?|ftp)://[^\s<>]{1,2000}|\bwww\.[^\s<>]{1,2000}")
_LONE_MARKS = frozenset(",.;:!?)")
_SPACE_BEFORE = re.compile(r" (?=[,.;:!?)](?: |$))")
_ARTICLES = {"the", "a", "an", "of", "to", "this"}
_NAME_PARTS = re.compile(r"[_\W]+")
_WHOLE = re.compile(r"(?:returns?|yields?|this|there|it|if|when|on|otherwise|see|same)\b", re.IGNORECASE)
_CONDITION = re.compile(r"(?:if|when|on|in|for|unless|whenever|because|to|where|as)\b", re.IGNORECASE)
_MOJIBAKE = ("Ã", "â€", "Â", "â\x80", "ï»¿")

# What a summary says when it says nothing of the code: templates of editors, placeholders, pointers elsewhere.
_NOTHING = re.compile(
    "(?:"
    + "|".join(
        (
            r"\{?@?inherit(?:ed)?[ _-]?docs?\b.{0,40}",
            r"(?:todo|fixme|xxx|hack|tbd|wip|n/?a|placeholder|undocumented|untested|deprecated)\b.*",
            r"\(?non[- ]javadoc\b.*",
            r"(?:please )?(?:see|refer to|cf\.?) (?!if\b|whether\b)(?:also |the )?\S+(?: \S+){0,3}",
            r"(?:code |file )?generated (?:by|from)\b.*",
            r"(?:copyright|licen[cs]ed? (?:under|to)|all rights reserved|spdx|permission is hereby|@?license|©|\(c\)).*",
            r"(?:\w+ ){0,2}(?:con|de)structor(?: (?:for|of) (?:the )?[\w.<>]+)?(?: (?:class|object|instance))?",
            r"(?:create|construct|initiali[sz]e|instantiate)s? (?:a |an |the )?(?:new )?(?:instance|object)"
            r"(?: (?:of|for) (?:the |a )?[\w.<>,]+(?: (?:class|struct|record|object|type|exception))?)?",
            r"(?:class|interface|struct|enum|trait|module|method|function|package|file|namespace) [\w.\\<>:]+",
            r"[\w.\\<>:]+ (?:class|interface|struct|enum|trait|module|method|function|exception|tests?|model|controller)",
            r"(?:getter|setter|accessor|get|set|getter and setter)s?(?: (?:method|function))?(?: for \S+)?",
            r"(?:implement(?:s|ation|ed)?|override(?:s|n)?|overridden|inherit(?:s|ed)?)(?: (?:of|from|by|in))?(?: the)? \S+",
            r"(?:delegates?|alias(?:es)?|wrapper|same as|equivalent to|shortcut|synonym|convenience method)"
            r"(?: (?:of|from|to|for))?(?: (?:the )?\S+){0,2}",
            r"(?:(?:this|the) (?:method|function|class) )?(?:is )?(?:for )?"
            r"internal(?: (?:use|api|method|function|only|class))*",
            r"(?:missing|no|add|put|insert|write|enter|fill)(?: in)?(?: a| your| some)? "
            r"(?:documentation|description|docs?|comment)s?(?: here)?",
            r"(?:a |the )?(?:helper|utility|main|test|private|public|static|description|documentation|docs?|comment)s?"
            r"(?: (?:function|method|class|string|helper|entry point|of \S+|for \S+))?",
            r"[@\\]\w+.*",
            r"(?:returns?|param(?:eter)?s?|throws|raises|args|arguments|examples?|usage|notes?|since|version|author)"
            r"(?: \S+)?",
            r"\$(?:id|revision|date|author|header)\b.*",
            r"-\*-.*",
        )
    )
    + r")[\s.:;!]*$",
    re.DOTALL,
)
_GENERATED = re.compile(r".{0,60}\b(?:auto[- ]?generated|do not edit|was generated by|is generated (?:by|from))\b", re.DOTALL)


def summary(docstring: str, language: str) -> str:
    """The first sentence of a docstring's first paragraph that says more than a name or a signature, cleaned.

    Where there is only a name, the name; "" when there is no paragraph at all.
    """
    _, said, _ = _opening(docstring, language)
    if said:
        return said
    names = (block.text for block in blocks_of(docstring, language) if block.kind == "text" and _LONE_NAME.match(block.text))
    return next(filter(None, (clean(name, language) for name in names)), "")


def description(docstring: str, language: str) -> str:
    """What follows the summary in plain sentences: paragraphs, parameters, results, errors; no code. "" when nothing."""
    opening, _, rest = _opening(docstring, language)
    sentences = []
    for number, block in enumerate(blocks_of(docstring, language)):
        if block.kind == "text" and number <= opening:
            text = clean(rest, language) if number == opening else ""
        else:
            text = _plain(block, language)
        if " " in text and not is_code(text) and not (text.endswith(":") and len(text) < 40):
            sentences.append(text if text[-1] in ".!?:" else text + ".")
    return " ".join(sentences)


@lru_cache(maxsize=1024)  # as blocks_of
def _opening(docstring: str, language: str) -> tuple[int, str, str]:
    """Of the paragraph that gives the summary: (its number among the blocks, its first sentence, cleaned, its rest)."""
    blocks = blocks_of(docstring, language)
    for number, block in enumerate(blocks):
        if block.kind == "text":
            text = _without_name(block.text, language)
            first = first_sentence(text)
            if said := clean(first, language):
                return number, said, text[len(first) :]
    return len(blocks), "", ""


def _plain(block: Block, language: str) -> str:
    """One block as a sentence; "" when it says no more than its name does."""
    if block.kind in ("code", "lead"):
        return ""
    text = clean(block.text, language)
    if block.kind == "text" or not text:
        return text
    if block.kind == "return":
        return text if _WHOLE.match(text) else f"Returns {_lower_first(text)}"
    name = block.name.lower()
    if {*_NAME_PARTS.split(name), name, *_ARTICLES}.issuperset(text.lower().split()):
        return ""
    if block.kind == "raise":
        name = re.split(r"[.\\]", block.name)[-1]
        return f"Raises {name} {_lower_first(text)}" if _CONDITION.match(text) else f"Raises {name}: {text}"
    return f"{block.name}: {text}" if block.name else text


def _lower_first(text: str) -> str:
    return text[0].lower() + text[1:] if text[1:2].islower() or text[1:2] == " " else text


def _without_name(text: str, language: str) -> str:
    """A first paragraph without the name it begins with (kernel-doc, TomDoc); "" when it is only a name or signature."""
    head = text[:400]
    if _LONE_NAME.match(text) or ((text.endswith(")") or "->" in head) and _SIGNATURE.match(text)):
        return ""
    match = _NAME_DASH.match(head) if language in ("c", "ruby", "go") else None
    if match is None or (language != "c" and not {"_", "("} & set(match.group()) and not head[match.end()].isupper()):
        return text
    return text[match.end() :]


def first_sentence(text: str) -> str:
    """The first sentence of a paragraph, its stop included; the whole paragraph when it has no end."""
    end = _SENTENCE_END.search(text)
    return text[: end.end()] if end else text


def clean(text: str, language: str = "") -> str:
    """Strip URLs, HTML and doc tags, give inline markup its text, repair Unicode, collapse white space, drop the stop."""
    text = repair_unicode(text)
    if "<" in text:
        text = _HTML.sub("", _SEE.sub(r"\1", text))
    if "`" in text:
        text = _ROLE.sub(r"\1", text) if ":`" in text else text
        text = _REST_LINK.sub(lambda match: match.group(1) or match.group(2), text)
    if "{" in text:
        for _ in range(3):  # innermost first
            text = _INLINE_TAG.sub(_inline, text) if "{@" in text else text
        text = _BARE_TAG.sub("", text)
        if language == "ruby":
            text = _YARD_LINK.sub(lambda match: match.group(2) or match.group(1), text)
    if "[" in text:
        text = _MARKDOWN_LINK.sub(lambda match: match.group(1) or match.group(2) or "", text)
        text = _GO_LINK.sub(r"\1", text) if language in ("go", "") else text
    if "+" in text and language in ("ruby", ""):
        text = _PLUS.sub(r"\1", text)
    if "*" in text:
        text = _EMPHASIS.sub(r"\2", text)
    if language == "c" and _C_SIGIL.search(text):
        text = _KERNEL_SIGIL.sub("", _DOXYGEN_WORD.sub("", text))
    if "://" in text or "www." in text:
        text = _URL.sub("", text)
    if "&" in text and ";" in text:
        text = html.unescape(text)
    words = text.replace("`", "").split()
    text = " ".join(words)
    if not _LONE_MARKS.isdisjoint(words):
        text = _SPACE_BEFORE.sub("", text)
    return text.rstrip(". ").lstrip("-–—:*|>,;! ")


def _inline(match: re.Match) -> str:
    tag, text = match.group(1), match.group(2).strip()
    if tag not in ("link", "linkplain", "see", "tutorial"):
        return text
    target, _, label = text.replace("|", " ").partition(" ")
    return label.strip() or target.partition("(")[0].replace("#", ".").lstrip(".")


def repair_unicode(text: str) -> str:
    """Undo UTF-8 read as Windows-1252 where that is reversible, normalise to NFC, drop control characters."""
    if text.isascii():
        return text if text.isprintable() else "".join(c for c in text if c.isprintable() or c in "\n\t")
    if any(mark in text for mark in _MOJIBAKE):
        with suppress(UnicodeError):  # not that kind of damage: the text stays as it is
            text = text.encode("cp1252").decode("utf-8")
    text = unicodedata.normalize("NFC", text).replace("\ufffd", "")
    return text if text.isprintable() else "".join(c for c in text if c in "\n\t" or unicodedata.category(c)[0] != "C")


def says_nothing(text: str) -> bool:
    """Whether a cleaned summary is a template or a placeholder ("Constructor", "TODO", "See Foo", "{@inheritDoc}")."""
    head = text[:300].lower()  # the expressions are in lower case: without IGNORECASE they take half of the time
    return _NOTHING.match(head) is not None or (("generated" in head or "edit" in head) and _GENERATED.match(head) is not None)


def count_tokens(text: str) -> int:
    """Words and marks of a text: the unit of the paper's limits of 3 and 256, counted without a tokenizer."""
    return len(_TOKEN.findall(text))
