"""Comments that say what the code below them does, by their first word.

A comment that begins with a verb ("Drop the rows", "Sorts by name", "Adding handlers", "If it is empty, return") nearly
always describes its block. One that begins otherwise explains why ("The caller may not know ..."), names a thing, or
points elsewhere. docs/log.md has the measurement. Only the first sentence is taken: what follows it explains.
"""

import re

from codesage.corpus.pairs.prose import first_sentence

# ruff: noqa: SIM905 - a word list is read as running text
_VERBS = frozenset(
    "abort accept accumulate acquire activate adapt add adjust advance aggregate align alloc allocate allow announce append "
    "apply arrange assemble assert assign attach attempt authenticate backup begin bind blend block boot branch broadcast "
    "browse build bump calculate call cancel canonicalize capitalize capture carry cast catch center chain change check "
    "choose chop clamp classify clean cleanup clear click clip clone close coalesce coerce collapse collect combine commit "
    "compact compare compile compose compress compute concat concatenate configure connect construct consume continue "
    "convert copy correct create crop cut deallocate decide declare decode decompose decompress decrease decrement decrypt "
    "deduce deduplicate define delay delegate delete deliver denormalize deploy dequeue derive deserialize destroy detach "
    "detect determine disable discard disconnect dispatch dispose distribute divide download drain draw drop dump duplicate "
    "echo eliminate emit emulate enable encode encrypt enforce enqueue ensure enter enumerate erase escape establish "
    "estimate evaluate examine exchange exclude execute exit expand expect expire export expose extend extract factor fail "
    "fetch fill filter finalize find finish fire fit fix flag flatten flip flush fold force forward free freeze gather "
    "generate get give go grab grow guess handle hash hide highlight identify ignore import include increase increment "
    "infer inform inherit init initialise initialize inject insert inspect install instantiate interpolate interpret "
    "intersect invalidate invert invoke issue iterate join jump keep kill launch leave let listen load locate look lookup "
    "loop lower make mark match merge migrate mimic modify move multiply mutate negate normalise normalize notify obtain "
    "omit open optimize order override overwrite pack pad paint parse partition pass patch peek perform persist pick place "
    "play plot point poll pop populate position post precompute prefix prepare prepend preserve print process produce "
    "project promote propagate prune publish pull purge push put quantize query queue quote raise randomize read rearrange "
    "rebuild recalculate receive recompute reconnect reconstruct recreate recurse recycle redirect redraw reduce refresh "
    "register reject release reload relocate remember remove rename render reorder repeat replace report request require "
    "reserve reset resize resolve respond restart restore restrict resume retain retrieve retry return reuse reverse revert "
    "revoke rewind rewrite rollback rotate round route run sample sanitize save scale scan schedule scroll search seek "
    "select send separate serialise serialize set setup shift shorten show shrink shuffle shut shutdown simplify simulate "
    "skip slice slide snap solve sort spawn specify split squash start stop store stringify strip submit subscribe "
    "substitute subtract suggest sum swap switch sync synchronise synchronize take tell terminate throw toggle tokenize "
    "track transfer transform translate transmit transpose traverse trigger trim truncate try turn uncompress undo unescape "
    "unfold uninstall union unload unlock unmap unmarshal unpack unregister unset unsubscribe unwrap unzip update upgrade "
    "upload use validate verify visit wait walk warn wire wrap write yank yield zero zip".split()
)
_ALSO_NOUNS = frozenset(  # a verb only before an article or a pronoun: in "cache the result", not in "cache size"
    "access backup block boot branch cache cancel center chain change cleanup color commit count crop cut default delay "
    "display dump end escape estimate exchange exit factor filter flag flip fold force format group hash index init issue "
    "jump kill label launch link list lock log look lookup loop lower map mark mask match name order pad patch place plot "
    "point poll position post prefix project push query queue quote record reload report request resize restart return "
    "reverse rewind rollback rotate round route sample scale schedule scroll setup shutdown sign slice start store sum "
    "switch test track union upgrade wire zero".split()
)
_AFTER_VERB = frozenset(
    "a additional against all an and any as at back between both by current default down each every existing first for from "
    "his how if in into it its last more multiple new next no not off old on one only or other our out over previous "
    "remaining same some that the their them these this those through to until up what when where whether which with "
    "your".split()
)
_NONE: frozenset[str] = frozenset()
_LEAD = re.compile(
    r"(?:(?:step|phase|part|case)\s+)?(?:#?\d{1,2}|[a-z])[.):]+\s+|(?:step|phase)\s+\d{1,2}\s*[-:.]?\s+|"
    r"(?:and|now|then|next|first|firstly|second|secondly|third|finally|lastly|last|also|otherwise|else|so|just|here|again|"
    r"ok|okay|well|therefore|thus|hence|afterwards|instead|please|let's|let us|in this case|if so|if not)\b[\s,:-]+|"
    r"(?:(?:now|here|so|then)\s+)?we(?:'ll| will| then| now| just| first)?\s+|(?:need|have|want) to\s+",
    re.IGNORECASE,
)
_ADVERB = re.compile(r"(?:\w+ly|always|lazily|only|possibly|maybe)\s+", re.IGNORECASE)
_CONDITION = re.compile(
    r"(?:if|when|unless|for each|for every|for all|while|until)\b[^,]{3,100},\s+(?:then\s+)?(?:we\s+)?(?:just\s+)?",
    re.IGNORECASE,
)
_WORD = re.compile(r"[A-Za-z]+(?:-[a-z]+)?(?![\w.(/'-])")
_EXPLAINS = re.compile(
    r"\?|\b(?:i|i'm|i've|above|hack\w*|work-?arounds?|todo|fixme|xxx|kludge|for now|not sure|see|sadly|unfortunately|hopefully|"
    r"legacy|ever|never|would|bugs?|issue|cve-\d+|don't know|ugly|annoying|stupid|weird|historical\w*)\b|"
    r"(?<!\w)#\d+|[-=*]{4}|\b2[.)]\s",
    re.IGNORECASE,
)


def deed(text: str) -> str:
    """What a cleaned comment says that the code below it does, without "Now", "Step 1:" or "We" before it, or ""."""
    for _ in range(3):
        lead = _LEAD.match(text)
        if lead is None:
            break
        text = text[lead.end() :]
    text = first_sentence(text)
    condition = _CONDITION.match(text)
    begins = _begins_with_verb(text[condition.end() :], _NONE) if condition else _begins_with_verb(text, _ALSO_NOUNS)
    return text if begins and not _EXPLAINS.search(text) else ""


def _begins_with_verb(text: str, also_nouns: frozenset[str]) -> bool:
    adverb = _ADVERB.match(text)
    text = text[adverb.end() :] if adverb else text
    match = _WORD.match(text)
    if match is None or match.end() == len(text):
        return False
    word = match.group().lower().replace("re-", "re").replace("pre-", "pre")
    following = text[match.end() :].split(maxsplit=1)[:1]
    if not following or following[0] == "of" or (word in also_nouns and following[0].lower() not in _AFTER_VERB):
        return False
    return word in also_nouns or any(base in _VERBS for base in _bases(word))


def _bases(word: str) -> tuple[str, ...]:
    """What the word can be a form of: "copies" of "copy", "dropping" of "drop"."""
    if word.endswith("ing") and len(word) > 5:
        stem = word[:-3]
        return word, stem, stem + "e", stem[:-1]
    if word.endswith("ies"):
        return word, word[:-3] + "y"
    if word.endswith("s") and not word.endswith("ss"):
        return word, word[:-1], word[:-2]
    return (word,)
