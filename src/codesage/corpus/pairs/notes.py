"""Judges plain comments (`//`, `/* */`) above definitions in languages that have marks of their own for documentation.

C#, Java, JavaScript and TypeScript mark documentation with `///` or `/** */`. A plain comment above a definition documents it
too in older code, but is as often a note to other developers: a reason, a bug number, a question, the heading of a group. It
becomes the text of a pair only if it states an action, or if it says what a class is. Every pattern takes time linear in the
text.
"""

import re

from codesage.corpus.pairs.ownname import tells_what_it_does
from codesage.corpus.pairs.verbs import begins_with_verb
from codesage.records import Function

_LANGUAGES = frozenset(("csharp", "java", "javascript", "typescript"))
_PLAIN = re.compile(rb"//(?![/!])|/\*(?![*!])")
_NOTE = re.compile(
    r"[?!](?=\s|$)|\.\.\.$|…|\b(?:should|must|todo|fixme|hack|kludge|workaround|because|since|although|though|unfortunately|"
    r"probably|might|would|cannot|we|we'(?:ll|re|ve)|i|i'm|you|let's|can't|don't|won't|doesn't|isn't|shouldn't|how to|"
    r"bugs?|devdiv|vswhidbey|whidbey|orcas|sxs|msdn|fxcop|(?:asp )?compat|jit|only be|not be|for now|temporar\w+|nothing else|"
    r"no longer|borrowed|overridden|helper (?:methods|functions)|for (?:unit )?test(?:s|ing)?|test only|package-private|"
    r"optimi[sz]\w+ (?:for|of)|same as|similar to|identical to|equivalent (?:to|of)|callers?|legacy|backwards?|"
    r"compatibility)\b|(?<!\S)#\d|\b[A-Z][A-Za-z]+ ?#?\d{4,}\b",
    re.IGNORECASE,
)
_HEADING = re.compile(
    r"\b(?:methods|functions|properties|fields|members|constructors|ctors?|events|overrides|operators|helpers|routines|classes|"
    r"constants|variables|accessors|getters|setters|implementation|support|stuff|interface|section|region)$",
    re.IGNORECASE,
)
_LEAD = re.compile(
    r"(?:(?:this|the|an?) )?(?:(?:public|private|internal|static|simple|small|generic|common|utility|helper|convenience|"
    r"recursive|extension|async|callback) ){0,3}(?:function|method|routine|helper|utility|constructor|property|"
    r"class|interface|struct|enum|type|accessor|indexer|handler|operator|program|snippet|sample)s?"
    r"(?: (?:that|which|used to|to|will|can|is used to|helps? to|allows? to|is responsible for|for|simply|just|"
    r"attempts to|tries to))*[ ,:]+|"
    r"(?:is )?used (?:to|for) |actions: |(?:will|to|responsible for) ",
    re.IGNORECASE,
)
_THIRD = re.compile(  # Combines the, ReadAll reads all
    r"(?:[A-Za-z]*[a-z][A-Z]\w* )?[A-Z]?[a-z]+(?:-[a-z]+)?s (?:a|an|the|all|any|each|every|this|its|that|if|whether|up|out|one|"
    r"two|both|from|into|to)\b"
)
_CONDITION = re.compile(r"(?:if|when|given|for each)\b[^,]{3,100}, (?:then |this (?:method|function) )?", re.IGNORECASE)
_STATES = re.compile(
    r"(?:whether (?!it|this)|true (?:if|when|iff)|the (?:number|index|name|size|length|position|sum|list|set) of)\b",
    re.IGNORECASE,
)
_IS = re.compile(
    r"(?:this (?:class|interface|struct|enum|enumeration|type|object)? ?|\w+ )?(?:is |are )?(?:an?|the) "
    r"(?!(?:internal|private|public|following|above|below)\b)\w",
    re.IGNORECASE,
)
_RELATES = re.compile(r" (?:of|for|that|which|with|to|used|from|by|containing|representing|between|on|in|over|around) ")
_LEAST_WORDS = 3


def is_plain(function: Function) -> bool:
    """Whether a definition is documented by a plain comment, in a language that has another mark for documentation."""
    source, first, end = function.source, function.doc_start_byte, function.start_byte
    if function.language not in _LANGUAGES or first == end or not _PLAIN.match(source, first):
        return False
    return source.find(b"///", first, end) < 0


def is_note(text: str, kind: str) -> bool:
    """Whether the cleaned text of a plain comment is a note, and does not say what a definition of this kind does or is."""
    if _NOTE.search(text) or _HEADING.search(text):
        return True
    lead = _LEAD.match(text)
    bare = text[lead.end() :] if lead else text
    bare = bare[condition.end() :] if (condition := _CONDITION.match(bare)) else bare
    if begins_with_verb(bare) or tells_what_it_does(bare) or _THIRD.match(bare) or _STATES.match(bare):
        return bare.count(" ") < _LEAST_WORDS - 1
    if kind != "class":
        return True
    return text.count(" ") < _LEAST_WORDS or not (_IS.match(text) or (text.count(" ") > _LEAST_WORDS and _RELATES.search(text)))
