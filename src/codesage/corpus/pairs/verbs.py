"""Recognises comments that say what the code below them does, by their first word.

A comment that begins with a verb ("Drop the rows", "Sorts by name", "Adding handlers", "If it is empty, return") nearly
always describes its block. Other comments explain a reason ("The caller may not know ..."), name a thing or point elsewhere.
docs/log.md has the measurement. Only the first sentence is used, because the others explain it.
"""

import re
from functools import lru_cache

from codesage.corpus.pairs.sentences import first_sentence

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
    "estimate evaluate examine exchange exclude execute exit expand expire export expose extend extract factor fail "
    "fetch fill filter finalize find finish fire fit fix flag flatten flip flush fold force forward free freeze gather "
    "generate get go grab grow guess handle hash hide highlight identify ignore import include increase increment "
    "infer inform inherit init initialise initialize inject insert inspect install instantiate interpolate interpret "
    "intersect invalidate invert invoke issue iterate join jump keep kill launch leave listen load locate look lookup "
    "loop lower make mark match measure merge migrate modify move multiply mutate negate normalise normalize notify obtain "
    "omit open optimize order override overwrite pack pad paint parse partition pass patch pause peek perform persist pick "
    "place play plot point poll pop populate position post precompute prefix prepare prepend preserve print process produce "
    "project promote propagate provide prune publish pull purge push put quantize query queue quote raise randomize read "
    "rearrange rebuild recalculate receive recompute reconnect reconstruct recreate recurse recycle redirect redraw reduce "
    "refresh register reject release reload relocate remember remove rename render renew reorder repeat replace report request "
    "require reserve reset resize resolve respond restart restore restrict resume retain retrieve retry return reuse reverse "
    "revert revoke rewind rewrite rollback rotate round route run sample sanitize save scale scan schedule scroll search seek "
    "select send separate serialise serialize set setup shift shorten show shrink shuffle shut shutdown simplify simulate "
    "skip slice slide snap solve sort spawn specify split squash start stop store stringify strip submit subscribe "
    "substitute subtract sum swap switch sync synchronise synchronize take tell terminate throw toggle tokenize "
    "track transfer transform translate transmit transpose traverse trigger trim truncate try turn uncompress undo unescape "
    "unfold uninstall union unload unlock unmap unmarshal unpack unregister unset unsubscribe unwrap unzip update upgrade "
    "upload use validate verify visit wait walk warn wire wrap write yank yield zero zip".split()
)
_ALSO_NOUNS = frozenset(  # verbs only before a word of _AFTER_VERB: "cache the result", not "cache size"
    "access backup block boot branch cache cancel center chain change cleanup color commit count crop cut default delay "
    "display dump end escape estimate exchange exit factor filter flag flip fold force format group hash index init issue "
    "jump kill label launch link list lock log look lookup loop lower map mark mask match name order pad patch place plot "
    "point poll position post prefix project push query queue quote record reload report request resize restart return "
    "reverse rewind rollback rotate round route sample scale schedule scroll setup shutdown sign slice start store sum "
    "switch test track union upgrade wire zero".split()
)
_ALL_VERBS = _VERBS | _ALSO_NOUNS
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
_ADVERB = re.compile(
    r"(?:(?!(?:re|mis)?apply|reply|supply|multiply|imply|comply|rely|fly|tally|rally)\w+ly|always|lazily|only|possibly|maybe)\s+",
    re.IGNORECASE,
)
_CONDITION = re.compile(
    r"(?:if|when|unless|for each|for every|for all|while|until)\b[^,]{3,100},\s+(?:then\s+)?(?:we\s+)?(?:just\s+)?",
    re.IGNORECASE,
)
_WORD = re.compile(r"[A-Za-z]+(?:-[a-z]+)?(?![\w.(/'-])")
_REASONS = frozenset(  # words about reasons, wishes or other places, which are not visible in the code
    "i i'm i've above hack hacks hacky workaround workarounds todo fixme xxx kludge see sadly unfortunately hopefully "
    "legacy ever  never would bug bugs issue ugly annoying stupid weird historical historically because since should "
    "shouldn't must might may  could couldn't cannot can't won't needn't probably actually anyway although though "
    "intentional intentionally deliberate  deliberately below later elsewhere subsequent subsequently afterwards "
    "again too similarly likewise yourself your you you're  please pretend i.e we're we've we'd we'll".split()
)
_EXPLAINS = re.compile(
    r"[?…;]|(?<!\w)#\d| (?:(?<!, )we|for now|not (?:sure|needed)|on purpose|in case|due to|so (?:we|it|they|this|don't)|"
    r"as (?:well|usual|before|when|it|they|we|this|that|there)|make sense|no (?:need|longer)|any that|don't know|"
    r"(?:this|other) (?:case|time)|(?:is|are) (?:ok|fine|enough|safe|wrong)|work-arounds?)\b|"
    r", (?:as|but|so|which|where|however|only|it|this|they|we|even|hence|thus|therefore|unlike|not)\b|[-=*]{4}|- - -|"
    r"\.\.\.| [-—–] |\b2[.)]\s|: \w+ \w+ \w+|<<|>>|<>|><|\d-[A-Za-z]{3}-\d{4}|CVE-\d",
)
_RUNS_ON = re.compile(  # joined lines, the first of which ended a sentence without a full stop
    r"[a-z)] (?:This|The|We|It|If|That|Note|So|Also|To|There|When|These|They|In|For|Then|Only|Not|But|And|As|Set|Get|Use|"
    r"Check|Determine)"
    r" [a-z]|\w\. [a-z]"
)
_CUT_OFF = re.compile(r"\b(?:the|an?|and|or|than|as|via|is|are|that|which|under|between|into|iff)$", re.IGNORECASE)
_HANGS = re.compile(  # needs the text around it: "remove it", "handle this", "do the same for the rest"
    r"(?!if|when|unless|while|until)(?:\w+ly )?\w+(?: (?:up|out|over|through|in|on|off|sure|if|that|all|of|for|with|to|the))* "
    r"(?:it|them|this|these|those|they|both|everything|anything|something|things?|stuff|one(?! \w)|ones|us|me|"
    r"him|rest|others?|same|remaining|here|there)(?![\w-])(?! (?:class|method|function|object|element|file|module|node)\b)",
    re.IGNORECASE,
)
_STATES = re.compile(  # the first word is a noun: "rounding errors can cause problems", "update has failed"
    r"(?!(?:if|when|unless|ensure|check|verify|make|assert|confirm|test|determine|wait|validate|while|until|for)(?:s|"
    r"ing)?\b)[\w-]+ "
    r"(?:(?!(?:if|that|whether|what|which|how|where|who|whose|when|until|while|once|after|before|unless|as|and|"
    r"or)\b)[\w-]+ ){0,2}"
    r"(?:can|will|is|are|was|were|has|have|does|do|did|had|requires|contains|needs|means)\b",
    re.IGNORECASE,
)
VAGUE = frozenset(  # words that fit many blocks; an action in these words alone describes none of them
    "a an and the of to for from in on with by as is are be any all each every new our its own some current given actual "
    "real request requests response responses result results value values data object objects variable variables var vars "
    "parameter parameters param params argument arguments arg args test tests case cases setup sample code work job app "
    "application stuff thing things input inputs output outputs function method call main example program operation "
    "operations process info information state instance item items element elements entry option options settings up out "
    "it if needed necessary required possible first next correct right proper ready default defaults local temporary "
    "simple basic error errors special edge common normal usual sure contents content".split()
)
_MOST_WORDS = 30
_LEADS = frozenset(  # first words of what _LEAD, _ADVERB and _CONDITION match, without those in "ly"
    "step phase part case and now then next first second third last also otherwise else so just here again ok okay well "
    "therefore thus hence afterwards instead please let in if not we need have want always only possibly maybe when unless for "
    "while until".split()
)


@lru_cache(maxsize=4096)
def may_begin_action(word: str) -> bool:
    """Whether a comment whose first word is `word`, all letters, may state an action. Two of five comments do not."""
    word = word.lower()
    return word in _LEADS or word.endswith("ly") or may_be_verb(word)


def stated_action(text: str) -> str:
    """The action that a cleaned comment states, without a lead such as "Now", "Step 1:" or "We"; "" if it states none."""
    for _ in range(3):
        lead = _LEAD.match(text)
        if lead is None:
            break
        text = text[lead.end() :]
    text = first_sentence(text)
    condition = _CONDITION.match(text)
    begins = _begins_with_verb(text[condition.end() :], _NONE) if condition else _begins_with_verb(text, _ALSO_NOUNS)
    return text if begins and _stands_alone(text) and not _EXPLAINS.search(text) else ""


def _stands_alone(text: str) -> bool:
    """Whether an action is complete in one sentence: it names the object and needs no other text."""
    words = text.lower().replace(",", " ").split()
    if len(words) > _MOST_WORDS or not _REASONS.isdisjoint(words) or hangs(text) or _runs_on(text) or is_cut_off(text):
        return False
    return any(word.strip("'\"`.,:;()") not in VAGUE for word in words[1:])


def _runs_on(text: str) -> bool:
    return (". " in text or not text[1:].islower()) and _RUNS_ON.search(text) is not None


def is_cut_off(text: str) -> bool:
    """Whether a text ends with a word that needs another one: "Move the children under"."""
    return _CUT_OFF.search(text.rpartition(" ")[2]) is not None


def hangs(text: str) -> bool:
    """Whether the object of an action is only named in the text around it, or the first word is a noun and no verb."""
    return bool(_HANGS.match(text) or _STATES.match(text))


def begins_with_verb(text: str) -> bool:
    """Whether the first word is a verb, and not a noun with the same spelling ("Cache size of the table")."""
    return _begins_with_verb(text, _ALSO_NOUNS)


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
    return word in also_nouns or not _VERBS.isdisjoint(bases(word))


def may_be_verb(word: str) -> bool:
    """Whether a word in lower case is a form of a known verb; it may be a noun too."""
    return not _ALL_VERBS.isdisjoint(bases(word))


def is_also_noun(word: str) -> bool:
    """Whether a word in lower case is a form of a verb that is often a noun: "changes", "blocks"."""
    return not _ALSO_NOUNS.isdisjoint(bases(word))


def bases(word: str) -> tuple[str, ...]:
    """Candidates for the base form of a word: "copies" may be a form of "copy", "dropping" of "drop"."""
    if word.endswith("ing") and len(word) > 5:
        stem = word[:-3]
        return word, stem, stem + "e", stem[:-1]
    if word.endswith("ies"):
        return word, word[:-3] + "y"
    if word.endswith("s") and not word.endswith("ss"):
        return word, word[:-1], word[:-2]
    return (word,)
