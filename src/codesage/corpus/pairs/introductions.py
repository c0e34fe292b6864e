"""Paragraphs that introduce an example: the texts of pairs of kind "example"."""

import re

from codesage.corpus.pairs.markup import clean
from codesage.corpus.pairs.prose import count_tokens
from codesage.corpus.pairs.sentences import first_sentence
from codesage.corpus.pairs.verbs import begins_with_verb, hangs

_MOST_WORDS = 35
_MOST_TOKENS = 100  # of a paragraph; a longer one is cut at a sentence
# Words of a paragraph that only points at the code below it ("For example:", "You can use it like this:").
_POINTS = frozenset(
    "a an the this that these those it its you your we our they here's there is are be been was will would can could may might "
    "should must do does did done for of in on at as to from by with and or but if when then so now also just only simply very "
    "example examples sample snippet code usage use used uses using instance e g eg i ie see below above follow follows "
    "following like look looks such same way ways thing things simple basic some more another other one two first second next "
    "correct complete full typical common write written let s here call called need want note output outputs result results "
    "alternatively equivalent equivalently instead again still first finally otherwise works work how what which".split()
)
_WORDS = re.compile(r"[A-Za-z]+(?:'[a-z]+)?")
_EXAMPLE_LEAD = re.compile(
    r"(?:(?:(?:for|an|simple|basic|usage|code)\s+)*examples?(?:\s+usages?)?(?:\s*\([^()]{0,80}\))?\s*:\s*|e\.\s?g\.?[,:]?\s+)",
    re.IGNORECASE,
)
_EXAMPLE_TAIL = re.compile(
    r"[\s,;.(]+(?:e\.\s?g|i\.\s?e|(?:for|an|as in|see)(?: the| this)?(?: following)? (?:example|instance)"
    r"(?:,? the (?:following )?code)?|examples?|usage|like (?:so|this)|as follows|as below|see below)[\s.,:]*$",
    re.IGNORECASE,
)
_NO_EXAMPLE = re.compile(  # last sentences that introduce output, a declaration, a setting or a mistake
    r"\b(?:outputs?(?: (?:is|are|will|would|looks?|might)\b.*)?$|prototypes?|signatures?|grammar|wrong way|bad example|"
    r"do not use|don't do|error message|stack ?trace|deprecated|has been removed|"
    r"install(?:ed|ing|s)?\b.{0,60}(?:is|with|by|using|via))\b|^[\w-]+: [\w-]+$",
    re.IGNORECASE,
)
_NO_PROSE = re.compile(  # markup, a label, a setting, a heading
    r"\[!|\[[A-Z]\w+\]|[<>{}|]|%}|\w+:#|::|^\W*\w+(?:[-_:]\w+)+\W*$|^\w+(?: \w+)?: ?\w+(?: \(default\))?$|\bsnip\b|&\w+;|\\\w"
)
_NOTE = re.compile(  # remarks, restrictions, and text that depends on the text before it
    r"\b(?:must|should|shouldn't|cannot|can't|won't|might|may not|beware|caution|warning|note|notice|important|deprecated|"
    r"however|unlike|"
    r"although|though|unfortunately|in contrast|equivalent|the same (?:as|way|thing|result)|similar(?:ly)?|above|below|"
    r"previous(?:ly)?|earlier|aforementioned|as before|again|instead|also|too|as well|therefore|thus|hence|wrong|"
    r"incorrect|don't|do not|"
    r"we've|you've|we'll|now|still|never|recommended|discouraged|prefer\w*|no longer|since|because|our|us|you want|"
    r"do (?:this|that|so|it)|"
    r"this (?:package|page|section|tutorial|guide|chapter|document|article|case|example|repo\w*|step)|as simple as|"
    r"as usual|perhaps|maybe|"
    r"i(?!\.e)|my|see|etc|tbd|todo|fixme)\b|\?|!$|\.\.\.|…",
    re.IGNORECASE,
)
_HANGS = re.compile(
    r"(?:or|and|but|so|otherwise|then|next|finally|here|there|it|this|that|these|those|they|he|by default|for (?:example|"
    r"instance)|in (?:this|that|these|"
    r"the above|addition|particular|other|fact|general|some|most|such|which)|if|when|while|as|on|at|with(?:out)?|given|"
    r"suppose|assum\w+|"
    r"after|before|once|because|since|where|other|another|another|same|both|each|which|what|why|alternatively|"
    r"additionally|moreover|"
    r"furthermore|second(?:ly)?|third(?:ly)?|first(?:ly)?|lastly|last|let's|lets|let|now|yes|no|not|only|unless|until|"
    r"even|more|less|i|we|"
    r"result|output|returned|expected|following|throws?|raises?|will|would|can|could|is|are|was|has|have|had|be|been)\b(?!-)",
    re.IGNORECASE,
)
_SHOWS = re.compile(  # "The following example shows how to": the text behind it says what the code does
    r"(?:(?:here(?:'s| is| are)|(?:this|the|the following|the next|a|an|another)(?: (?:\w+ ){0,2})|following )?"
    r"(?:examples?|code|snippet|program|sample|listing|script)\b(?: code| snippet| program| below| function| above)?,? ?"
    r"(?:that |which )?(?:(?:also )?(?:shows?|demonstrates?|illustrates?|describes?|explains?)(?: you)?|of|is of)"
    r" (?:how to |how (?:you can|we can|one can|you|we) |the use of |usage of |use of |using )?|"
    r"(?:here(?:'s| is) |this is |let's see |see |you can see |we will see )?how (?:to|you can|we can|do you|do i) |"
    r"(?:you|we|one|users?|developers?|clients?|applications?) (?:can|could|may)(?: (?:also|then|now|easily|simply|just|"
    r"either))? |"
    r"(?:let us|let's|we'll|we will|we)(?: (?:now|first|then|also))? |"
    r"(?:then|next|now|finally|first|second|third|lastly|afterwards|here|simply|just|alternatively),? (?:we |you |let's |"
    r"(?:you|we) can )?)",
    re.IGNORECASE,
)
_USED_TO = re.compile(r"(?:[\w.'-]+ ){1,6}to \w")  # "the trace package to trace the execution"
_BEFORE_VERB = ("how to ", "can ", "could ", "may ", "easily ", "simply ", "you ", "we ", "let's ", "Let's ")
_GIVEN = re.compile(r"given [^,]{3,100}, (?=\w)", re.IGNORECASE)
_TO = re.compile(r"(?:in order )?to \w+\b[^,]{5,120}, (.+)$", re.IGNORECASE)
_FINITE = re.compile(
    r"\b(?<!that )(?<!which )(?<!who )(?<!what )(?<!if )(?:is|are|was|were|will|can|has|have|had|does|did|do|would|could|"
    r"may|needs?|takes|"
    r"provides|supports|allows|contains|returns|uses|gives|works|means|requires|accepts|behaves|expects|becomes|gets|"
    r"makes|raises|throws|represents?|encapsulates?|preserves?|depends?|corresponds?|aims?|leads?|lets|describes|defines|"
    r"involves?|causes?|"
    r"consists?|exists?|holds?|applies|refers?|serves|acts|looks?|affects?|determines|indicates|specifies|keeps|includes|"
    r"follows)\b",
    re.IGNORECASE,
)
_PHRASE = re.compile(
    r"(?:[\w'-]+ ){1,8}(?:of|for|that|which|to|over|from|with|between|using|by|in|on|as|into) \w",
    re.IGNORECASE,
)
_LOOKS = re.compile(
    r"(?:take a )?look|(?:can|could|may)\b|import the|consider|recall|remember|imagine|contrast|go (?:back|ahead)|refer|"
    r"read (?:more|on|the doc)|"
    r"try (?:it|this)\b|start (?:by|with)|"
    r"continue|learn|want|need|modify|edit|install",
    re.IGNORECASE,
)
_ENDS_OPEN = re.compile(
    r"\b(?:to|as|of|is|are|be|with|for|by|like|from|in|on|at|the|an?|using|and|or|such|so|looks?|something|that|this|"
    r"these|following)$"
)
_LAST_SENTENCE = re.compile(r"(?:^|(?<=[.!?] ))[^.!?](?:[^.!?]|[.!?](?! ))*$")


def introduction(paragraph: str, language: str) -> str | None:
    """What a paragraph says about the example below it, cleaned. Reads the sentences that fit _MOST_TOKENS, at least one.

    Returns "" if the paragraph only points at the example ("For example:"), and None if what follows is not an example
    ("The output is:").
    """
    paragraph = paragraph[:4_000]
    end = len(first := first_sentence(paragraph))
    while end < len(paragraph) and (following := first_sentence(paragraph[end:].lstrip())):
        longer = paragraph.index(following, end) + len(following)
        if longer > _MOST_TOKENS and count_tokens(paragraph[:longer]) > _MOST_TOKENS:
            break
        end = longer
    text = clean(paragraph[: max(end, len(first))], language).rstrip(": ")
    lower = text.lower()
    if "example" in lower or "e." in lower:
        text = _EXAMPLE_LEAD.sub("", text)
    text = _EXAMPLE_TAIL.sub("", text).rstrip(".,:; ")
    last = _LAST_SENTENCE.search(text)
    if last is not None and _NO_EXAMPLE.search(last.group()):
        return None
    if not _says(text):
        return ""
    return task(last.group() if last else text) or task(first_sentence(text)) or None


def task(sentence: str) -> str:
    """What a sentence says that an example does, without a lead such as "The following example shows how to"; or ""."""
    text = sentence.strip().rstrip(".,:; ")
    shows = _SHOWS.match(text)
    if shows and shows.group().endswith(("use of ", "usage of ")) and _USED_TO.match(text[shows.end() :]):
        return task(f"Use {text[shows.end() :]}")
    text = text[shows.end() :] if shows else text
    to = _TO.match(text)
    if to and not _says(to.group(1)):
        text = text[: to.start(1)].rstrip(", ")
    if not _says(text) or len(text.split()) > _MOST_WORDS or _LOOKS.match(text) or _ENDS_OPEN.search(text.rpartition(" ")[2]):
        return ""
    if to:
        begins = True
    elif shows and shows.group().endswith(_BEFORE_VERB):
        begins = not hangs(text)
    elif begins_with_verb(text[given.end() :] if (given := _GIVEN.match(text)) else text):
        begins = not hangs(text) and not (text.partition(" ")[0].endswith("ing") and _FINITE.search(text))
    else:
        named = shows is None or shows.group().endswith("of ")
        begins = named and not _HANGS.match(text) and bool(_PHRASE.match(text)) and not _FINITE.search(text)
    if not begins or _NO_PROSE.search(text) or _NOTE.search(text):
        return ""
    return text[0].upper() + text[1:] if shows else text


def _says(text: str) -> bool:
    """Whether a text says more than that an example follows."""
    return len({word for word in _WORDS.findall(text.lower()) if word not in _POINTS}) >= 2
