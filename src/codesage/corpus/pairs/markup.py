"""Replaces inline markup by the words that it shows: HTML, doc tags, roles, links, emphasis, URLs and broken Unicode.

clean() works on one paragraph or sentence of any convention. Where a mark means different things in two languages, it checks
the language. Every pattern takes time linear in the text.
"""

import html
import re
import unicodedata
from contextlib import suppress

_INLINE_HTML = "a|abbr|b|big|c|cite|code|del|em|font|i|ins|kbd|q|s|samp|see|small|span|strike|strong|sub|sup|tt|u|var"
_BLOCK_HTML = (
    "blockquote|body|br|center|dd|description|div|dl|dt|example|h[1-6]|head|hr|html|img|item|li|link|list|meta|ol|p|para|pre|"
    "remarks|returns|script|seealso|style|summary|table|tbody|td|term|th|thead|tr|ul|value"
)
_HTML = re.compile(
    rf"</?(?:(?:{_INLINE_HTML})|({_BLOCK_HTML}))\b(?:\s[^<>]{{0,300}}|/)?>|(<!--(?:[^<>-]|-(?!->)){{0,300}}-->)", re.IGNORECASE
)
_DOCBOOK = re.compile(
    r"<(emphasis|literal|function|type|symbol|structname|structfield|parameter|varname|ulink|link|constant|filename|code)"
    r"(?:\s[^<>]{0,200})?>([^<>]{0,200})</\1>"
)
_SEE = re.compile(
    r"<(?:see|seealso|paramref|typeparamref)\s+\w+\s*=\s*[\"']?([^\"'<>]{0,300}?)[\"']?\s*(?:/>|>\s*</(?:see|seealso|"
    r"paramref|typeparamref)>)",
    re.IGNORECASE,
)
_BRACE = re.compile(r"\{@(\w{1,30})[ \t\n]*|[{}]")
_PHRASE = re.compile(r"\"([^\"]+)\"|(\S+)")  # what the tag "index" shows; a note for the index follows
_TARGET = re.compile(r"[^\s(<|]+(?:<[^<>]{0,100}>+)?(?:\([^()]{0,200}\))?")
_LABELLED_TAG = re.compile(r"\[([^\[\]]{1,200})\]\{@(?:link|linkcode|linkplain|tutorial)\s[^{}]{0,300}\}")
_ROLE = re.compile(r":[A-Za-z][\w:+-]{0,40}:`([~!]?!?)([^`<]{0,300}?)\s{0,3}(?:<[^`]{0,300}>)?`")
_REST_LINK = re.compile(r"`([^`<]{1,300}?)\s{0,3}<[^`<>]{0,300}>`_{0,2}|`([^`]{1,300})`_{1,2}")
_TILDE = re.compile(r"`~(?:[\w.]{0,200}\.)?(\w{1,100}(?:\(\))?)`")
_BANG = re.compile(r"`!(?=\w)")
_SUBSTITUTION = re.compile(r"(?<![\w|\\])\|(\w[\w. -]{0,60}\w)\|_?(?![\w|])")
_CITED = (
    r"(?:described|defined|introduced|proposed|presented|given|explained|specified|suggested|outlined|discussed|implemented|"
    r"adopted|adapted|derived|taken|found)"
)
_CITATION = re.compile(  # a clause that only leads to footnotes at its end: ", as described in [1]_ and [2]_."
    rf"(?:,?\s(?:(?:and|as|which|that|is|was|are)\s){{0,3}}{_CITED})?"
    r"(?:,?\s(?:in|by|from|at|of|to|on|per|with|see|following|via|after))?"
    r"(?:,?\s(?:(?:and|or)\s)?\[[\w#*.:-]{1,40}\]_(?!\w))+(?=\s?(?:[.,;:)]|$))"
)
_FOOTNOTE = re.compile(r"\s?\[[\w#*.:-]{1,40}\]_(?!\w)")
_IMAGE = re.compile(r"!\[[^\[\]]{0,200}\]\([^()\s]{0,400}\)")
_MARKDOWN_LINK = re.compile(
    r"\[([^\[\]]{0,200})\]\([^()\s]{0,400}(?:\([^()\s]{0,100}\)[^()\s]{0,100})?(?:\s\"[^\"]{0,100}\")?\)|"
    r"\[([^\[\]]{1,200})\]\[[^\[\]]{0,100}\]"
)
_GO_LINK = re.compile(r"(?<![\w\]])\[\*?([A-Za-z_][\w./]{0,120})\](?![\w(\[])")
_PARAMETER = re.compile(r"%%(\w{1,60})%%")  # of ethers
_WIKI_LINK = re.compile(r"\[\[(?:link-)?([A-Za-z_][\w.#:-]{0,120})(?:\|([^\[\]|]{1,120}))?\]\]")  # TypeDoc
_CLASS_LINK = re.compile(
    r"(?<![\w\]])\[(?:`([A-Za-z_][\w.]{0,120}(?:\(\))?)`|((?=\w{0,120}[a-z])[A-Z]\w{0,120}[A-Z]\w{0,120}))\](?![\w(\[])"
)
_YARD_LINK = re.compile(r"\{(?:file:|render:|include:)?([A-Z#.][\w:#?!.=/\[\]]{0,120})(?:\s+([^{}]{1,200}))?\}")
_RDOC_LINK = re.compile(
    r"(?:\{([^{}]{1,200})\}|(?<!\w)(\w{1,60}))\[(?:https?:|link:|rdoc-\w+:|mailto:|www\.|ftp:)[^\[\]\s]{0,300}\]"
)
_RDOC_ESCAPE = re.compile(r"(?<![\w\\`'\"/])\\(?=[A-Za-z_#][A-Za-z_#:])")
_RDOC_EMPHASIS = re.compile(r"(?<![\w`])_([A-Za-z]{1,40})_(?!\w)")
_PLUS = re.compile(r"(?<![\w+])\+([\w:.@#?!\[\]=]{1,80})\+(?:(?=s\b)|(?![\w+]))")
_PLUS_ORDINAL = re.compile(r"(?<![\w+])\+(\w{1,80})\+(?=(?:th|st|nd|rd)\b)")  # +index+th
_EMPHASIS = re.compile(r"(?<![\w*])(\*{1,3})([^\s*][^*\n]{0,120}?)\1(?![\w*])")
_UNDERSCORES = re.compile(r"(?<![\w_])__([A-Za-z][^_\n]{0,120}?[ ,.;:][^_\n]{0,80}?)__(?!\w)")
_HEADING_MARKS = re.compile(r"#{1,6}\s+(?=\w)")
_EPYDOC = re.compile(r"(?<![\w\\])[BCEGILMUX]\{(?![\d,]*\})([^{}<>]{1,300})(?:<[^{}<>]{0,300}>)?\}")  # L{Foo}, U{text<url>}
_EPYDOC_DEPTH = 3  # of tags within tags
_DOXYGEN_REF = re.compile(r"(?<![\w\\@])[\\@]ref\s+(?:[\w:#~.-]{1,120}(?:\(\))?)\s+\"([^\"]{1,120})\"")
_DOXYGEN_LINK = re.compile(r"(?<![\w\\@])[\\@]link\s+\S{1,120}\s+([^\\@]{1,200}?)\s*[\\@]endlink\b")
_DOXYGEN_WORD = re.compile(
    r"(?<![\w\\@])[\\@](?:c|p|a|e|em|b|ref|link|endlink|n|li|arg|copybrief|copydoc|emoji|htmlonly|endhtmlonly|"
    r"ingroup)\b\s?#?|\\f[$\[\]]|[\\@][{}]"
)
_DOXYGEN_END = re.compile(
    r"\s[\\@](?:sa|see|returns?|param|retval|note|warning|since|todo|author|version|brief|pre|post)\b.*", re.DOTALL
)
_LATE_TAG = re.compile(  # below a sentence, or a mark at the end
    r"(?:(?<=[.!?)])\s+@(?:deprecated|hide|internal|params?|returns?|rtype|see|template|throws|type)\b.*|"
    r"\s@(?:deprecated|hide|internal)\.?$)",
    re.DOTALL,
)
_SEE_TAG = re.compile(r"(?<=\w )@see (?=[A-Z])")
_KERNEL_SIGIL = re.compile(
    r"(?<![\w&%@#:])(?:[%@&]|::|#(?!define|include|if|el|end|undef|pragma|error|line|warning))(?=[A-Za-z_])(?:struct |"
    r"enum |union |typedef )?"
)
_C_SIGIL = re.compile(r"[\\@%&#]|::")  # every match of the patterns above has one; without one they need not run
_ESCAPED = re.compile(r"\\(?=[<>@{}*_`\[\]])")
_ADDRESS = r"(?:[^\s<>\"'()]{1,2000}+|\([^\s<>\"'()]{0,200}+\)?+){1,200}+"  # ends before a bracket that it does not open
_URL = re.compile(
    rf"([(<])?\b(?:https?|ftp|file)://{_ADDRESS}(?(1)[)>]?)|(?<![\"'.])\bwww\.{_ADDRESS}|"
    r"([(<])?\b(?:mailto:)?[\w.+-]{1,64}@[\w-]{1,63}\.[\w.-]{2,60}\b(?(2)[)>]?)"
)
_DANGLING = re.compile(
    r"[\s,;:(\[–-]*(?:\b(?:see(?: also)?|for(?: more)?(?: (?:information|info|details))?|at|from|in|of|by|via|to|on|"
    r"refer to|(?:as (?:described|defined|specified|documented|explained|introduced|outlined|presented|proposed)|described)"
    r"(?: (?:in|at|by|here))?|specified in|defined in|taken from|based on|as per|found (?:at|"
    r"in|here)|available (?:at|from)|"
    r"and|or|with|here|code|link|url|source|ref|reference|cf\.?|also|docs?|is|are|the)\b[\s.,;:)\]–-]*){1,4}$",
    re.IGNORECASE,
)
_LEAD_IN_BRACKETS = re.compile(  # words that only lead to an address, the last in brackets; it is U+FFFC here
    r"[\s,;:–-]*(?:\b(?:see(?: also)?|also|and|at|cf\.?|from|in|on|or|via)\b[\s.,:]*){0,3}\ufffc(?=\))", re.IGNORECASE
)
_SPACE_BEFORE = re.compile(r" (?=[,.;:!?)](?: |$))")
_EMPTY_BRACKETS = re.compile(r"\s?\((?:\s|see|see also|cf\.?|e\.g\.|at|[:,;])*\)(?=\s|$|[.,;:])", re.IGNORECASE)
_ANSI = re.compile(r"\x1b\[[\d;]{0,20}[A-Za-z]")
_CLASS_LINKED = ("python", "javascript", "typescript", "")  # languages whose documentation may have links such as [ClassName]
_MOJIBAKE = ("Ã", "â€", "Â", "â\x80", "ï»¿")
_SYMBOLS = "\u2300"  # from here on: emoji, boxes and variation selectors; before: letters, accents, arrows, degrees
_MARKED = re.compile(r"[<`{\[+*&|\\@%#:/\x1b_]")  # prose without one of these has no markup


def clean(text: str, language: str = "") -> str:
    """Remove URLs, HTML, doc tags, inline markup and the final full stop; repair Unicode; collapse white space."""
    if not text.isascii() or not text.isprintable():
        text = repair_unicode(text)
    if _MARKED.search(text):
        text = _without_markup(text, language)
    text = text.strip() if "  " not in text and text.isprintable() else " ".join(text.split())
    text = _SPACE_BEFORE.sub("", text)
    return text.rstrip(". ").rstrip(",").lstrip("-–—:*|>,;! ")


def _without_markup(text: str, language: str) -> str:
    if "<" in text:
        text = _DOCBOOK.sub(r"\2", text) if language == "c" and "</" in text else text
        text = _HTML.sub(_html, _SEE.sub(lambda match: reference(match.group(1)), text))
    if "`" in text:
        text = _without_roles(text)
    if "{@" in text:
        text = _inline_tags(_LABELLED_TAG.sub(r"\1", text) if "]{@" in text else text)
    text = _without_markdown(_without_own_markup(text, language), language)
    if language == "c" and _C_SIGIL.search(text):
        text = _DOXYGEN_LINK.sub(r"\1", _DOXYGEN_REF.sub(r"\1", text))
        text = _KERNEL_SIGIL.sub("", _DOXYGEN_WORD.sub("", _DOXYGEN_END.sub("", text)))
    if "\\" in text:
        text = _ESCAPED.sub("", text)
    if "://" in text or "www." in text or "@" in text:
        text = _without_urls(text)
    if "&" in text and ";" in text:
        text = html.unescape(text)
    return text.replace("`", "")


def _without_own_markup(text: str, language: str) -> str:
    """`text` without the markup of RDoc and Epydoc, and without doc tags that do not begin their line."""
    if language == "ruby":
        text = _without_rdoc(text)
    elif language == "python" and "{" in text:
        text = _without_epydoc(text)
    if " @" in text and language != "c":
        text = _SEE_TAG.sub("", _LATE_TAG.sub("", text))
    return text


def _without_markdown(text: str, language: str) -> str:
    if "[" in text:
        text = _IMAGE.sub("", text) if "![" in text else text
        text = _FOOTNOTE.sub("", _CITATION.sub("", text)) if "]_" in text else text
        text = _MARKDOWN_LINK.sub(lambda match: match.group(1) or match.group(2) or "", text)
        text = _WIKI_LINK.sub(lambda match: match.group(2) or match.group(1), text) if "[[" in text else text
        text = _GO_LINK.sub(r"\1", text) if language in ("go", "") else text
        text = _CLASS_LINK.sub(lambda match: match.group(1) or match.group(2), text) if language in _CLASS_LINKED else text
    if "%%" in text:
        text = _PARAMETER.sub(r"\1", text)
    if "+" in text and language in ("ruby", ""):
        text = _PLUS_ORDINAL.sub(r"\1-", text)
        text = _PLUS.sub(r"\1", text)
    if "*" in text:
        text = _EMPHASIS.sub(r"\2", text)
    if "__" in text:
        text = _UNDERSCORES.sub(r"\1", text)
    if "|" in text:
        text = _SUBSTITUTION.sub(r"\1", text)
    if text[:1] == "#":
        text = _HEADING_MARKS.sub("", text, count=1)
    return text


def _html(match: re.Match) -> str:
    return " " if match.lastindex else ""


def _without_roles(text: str) -> str:
    """`text` with reST's roles, default roles and links replaced by the words that Sphinx shows for them."""
    if ":`" in text:
        text = _ROLE.sub(
            lambda match: _last_part(match.group(2)) if "~" in match.group(1) else match.group(2).lstrip("."), text
        )
    if "`~" in text or "`!" in text:
        text = _BANG.sub("`", _TILDE.sub(r"\1", text))
    return _REST_LINK.sub(lambda match: match.group(1) or match.group(2), text) if "`_" in text or " <" in text else text


def _last_part(target: str) -> str:
    return target.rstrip("()").rpartition(".")[2]


def _without_rdoc(text: str) -> str:
    if "[" in text:
        text = _RDOC_LINK.sub(lambda match: match.group(1) or match.group(2), text)
    if "{" in text:
        text = _YARD_LINK.sub(lambda match: match.group(2) or match.group(1).lstrip("#."), text)
    if "_" in text:
        text = _RDOC_EMPHASIS.sub(r"\1", text)
    return _RDOC_ESCAPE.sub("", text) if "\\" in text else text


def _without_epydoc(text: str) -> str:
    """`text` with the words that Epydoc shows for its tags, the innermost first: `C{dict} of L{Foo}` is `dict of Foo`."""
    for _ in range(_EPYDOC_DEPTH):
        text, count = _EPYDOC.subn(r"\1", text)
        if not count:
            break
    return text


def _without_urls(text: str) -> str:
    """A text without URLs and mail addresses, and without words at its end that only lead to one."""
    bare = _URL.sub("\ufffc", text)
    if bare == text:
        return text
    while (stop := bare.rstrip(" .)>,;:")).endswith("\ufffc") and stop.count("\ufffc") * 2 <= len(stop.split()):
        bare = _DANGLING.sub("", stop[:-1])
    if "\ufffc)" in bare:
        bare = _LEAD_IN_BRACKETS.sub("", bare)
    return _EMPTY_BRACKETS.sub("", bare.replace("\ufffc", ""))


def _inline_tags(text: str) -> str:
    """Replace `{@code x}` and similar tags by what they show. Braces may nest; an unclosed tag loses its mark."""
    pieces, opened, at = [""], [], 0  # opened: the tag of each open brace, "" for a plain brace
    for match in _BRACE.finditer(text):
        pieces[-1] += text[at : match.start()]
        at = match.end()
        if match.group() != "}":
            opened.append(match.group(1) or "")
            pieces.append("" if match.group(1) else "{")
        elif opened:
            shown = pieces.pop()
            tag = opened.pop()
            pieces[-1] += _inline(tag, shown.strip()) if tag else shown + "}"
        else:
            pieces[-1] += "}"
    return "".join(pieces) + text[at:]


def _inline(tag: str, text: str) -> str:
    """What one inline tag shows."""
    tag = tag.lower()
    if tag == "index":
        phrase = _PHRASE.match(text)
        return phrase[1] or phrase[2] if phrase else ""
    if tag in ("link", "linkplain", "linkcode", "see", "tutorial", "value"):
        match = _TARGET.match(text)
        label = text[match.end() :].strip(" \n\t|") if match else text
        return label or (reference(match.group()) if match else "")
    if tag == "return":
        return f"Returns {text}"
    shown = ("code", "literal", "summary", "systemproperty", "plain", "term", "param", "paramref")
    return text if tag in shown else ""


def reference(target: str) -> str:
    """The readable form of a reference: `T:A.Type`: `Type`, `M:A.B.Do(System.Int32)`: `B.Do`, `Node#next()`: `Node.next`."""
    if target.startswith(("http:", "https:")):
        return ""
    kind, target = (target[0], target[2:]) if target[1:2] == ":" and target[2:3] != ":" else ("", target)
    target = target.partition("(")[0]
    if not kind:
        return target.replace("#", ".").lstrip(".")
    if target.endswith((".#ctor", ".#cctor")):  # a constructor is called as its class
        kind, target = "T", target.rpartition(".")[0]
    parts = target.split("`")[0].split("{")[0].split(".")
    return ".".join(parts[-2:] if kind in "MPF" else parts[-1:])


def repair_unicode(text: str) -> str:
    """Repair UTF-8 that was decoded as Windows-1252 if possible; normalise to NFC; drop control characters and emoji."""
    if "\x1b" in text:
        text = _ANSI.sub("", text)
    if text.isascii():
        return text if text.isprintable() else "".join(c for c in text if c.isprintable() or c in "\n\t")
    if any(mark in text for mark in _MOJIBAKE):
        with suppress(UnicodeError):  # other damage: the text stays unchanged
            text = text.encode("cp1252").decode("utf-8")
    text = unicodedata.normalize("NFC", text).replace("\ufffd", "").replace("\u00a0", " ")
    if text.isprintable() and max(text, default="") < _SYMBOLS:
        return text
    return "".join(c for c in text if c in "\n\t" or not _is_dropped(c))


def _is_dropped(character: str) -> bool:
    """Whether a character is not text: control characters, marks without width, symbols such as emoji and boxes."""
    category = unicodedata.category(character)
    return category[0] == "C" or (character >= _SYMBOLS and category in ("So", "Mn", "Sk"))
