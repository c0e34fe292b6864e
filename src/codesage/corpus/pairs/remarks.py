"""Recognises documentation that is true of the code but does not say what it does: remarks, and the bare name.

A remark gives a reason ("Because the cache may be stale, ..."), a duty of the caller ("Must be called once"), a state ("No
longer used") or a fact about something else ("The lock is held by ..."). A summary that only repeats the name of its class
("Task group graph" for `TaskGroupGraph`) says no more than the name. Every pattern takes time linear in the text.
"""

import re
from functools import lru_cache

from codesage.corpus.pairs.verbs import begins_with_verb, is_cut_off, may_be_verb
from codesage.words import split_names

_ADVERBS = (
    r"(?:only|just|also|still|now|not|always|never|currently|mainly|usually|really|actually|unfortunately|normally|being|"
    r"especially|particularly) "
)
_STATE = (  # after "is" and "are", if the subject is the code or a part of it
    rf"(?!(?:just|also|simply|actually|really|basically|only) (?:an?|the) )(?:{_ADVERBS})*"
    r"(?:not|only|just|also|still|now|intended|meant|needed|required|necessary|copied|kept|split|called(?! to)|run|"
    r"invoked|triggered|applied|stored|same|safe|unsafe|important|part|integral|for|where|why|because|based|in|on|private|"
    r"internal|public|deprecated|experimental|optional|temporary|complete|here|allowed|assumed|expected|supposed|guaranteed|"
    r"done|made|passed|returned|handled|populated|filled|held|owned|shared|embedded|inherited|derived|attached|much|"
    r"provided|supported|ignored|similar|identical|equivalent|comparable|an? (?:bit|little|hack|work-?around|"
    r"temporary|integral|quick|very)|the (?:same|opposite|counterpart))"
)
_OF_MAIN_CLAUSE = (  # before a word: not one that begins another clause
    r"(?!(?:that|which|who|whose|to|if|whether|when|where|while|how|what|used|once|after|until|for|given|will)\b)"
)
_NO_ACTION = r"(?!.* to (?!\w+\()[a-z]+ )(?!.* that )"  # what code is good for may follow
_OPENINGS = (  # first words of a remark, and a pattern for its beginning, in which `\w+` at the start is the first word
    ("because since although though unfortunately however but important importantly beware deprecated obsolete", r"\w+"),
    ("legacy historically currently sadly hopefully hack kludge nb as it they these those we you i he she", r"\w+"),
    ("never please must should shall cannot may might now no", r"\w+"),
    ("can don do be no internal user", r"can't|don't|do not|be careful|no longer|internal use|user beware"),
    ("even", "even (?:if|though|when)"),
    ("forward forwards backward backwards", r"\w+ compatib\w+"),
    ("keep", "keep (?:this|these|it|in sync|them)"),
    ("make", "make sure (?:you|to|we|it is)"),
    ("marked", "marked as"),
    ("why how what where who whose which should", r"\w+[^?.]{0,200}\?"),
    ("access", r"access to [^.]{0,100} (?:should|must) be"),
    ("when", r"when [^,]{0,80}, make sure"),
    ("used", r"used as an? \"?(?:hack|work-?around)"),
    ("put add insert paste include", r"\w+ the following"),
    ("is are", r"\w+ (?:not|deprecated|only|internal)"),
    ("will has have can could", r"\w+ (?:been|only|not|be(?! used (?:to|for)))"),
    ("can may might could will", r"\w+ (?:raise|throw)s?"),
    ("not", "not(?! null| empty)"),
    ("only", r"only(?! \w+s )"),
    ("warning caution attention note notes", r"\w+ ?:|note that"),
    (
        "inspired borrowed taken adapted ported copied stolen derived forked cribbed lifted",
        r"\w+ (?:by|from|directly|straight)",
    ),
    ("see", r"see(?! (?:if|whether|which|what|how|when|any)\b)"),
    ("cf", r"cf\.?"),
    ("this it assumes assumed", r"(?:this \w+ |it )?assume[sd](?! [^.]{0,80}\brole)"),
    ("this only exists", r"(?:this (?:\w+ )?)?(?:only )?exists (?:only|solely|purely|temporarily|for|as|so|because)"),
    ("kept provided", r"\w+ for"),
    (
        "both the",
        r"(?:both|the (?:first|second|third|last|(?:first )?two))(?: \([^()]{1,40}\))? (?:arguments?|parameters?)",
    ),
    ("this", rf"this (?:is|are|was|were) {_STATE}"),
    ("this", r"this (?:\w+ ){0,2}(?:should|must|needs?|cannot|can't|could|may|might|shall|was|has been|had)"),
    ("this", rf"this (?:{_OF_MAIN_CLAUSE}\w+ ){{3,4}}(?:should|must|cannot)"),
    (
        "each every all most many some",
        rf"\w+ (?:{_OF_MAIN_CLAUSE}[\w'-]+ ){{1,3}}(?:supports?|contains?|has|have|requires?|implements?|represents?|"
        r"corresponds?|uses?|is|are|gets?|will|must|should)",
    ),
    (
        "the",
        r"the [$\"'`*&]?\w+[\"'`]? (?:argument|arg|parameter|param) (?:is|are|can|may|must|should|will|specifies|indicates|"
        r"contains|holds|controls|determines|represents|allows|defines|tells)",
    ),
    (
        "the return returned",
        r"(?:the )?return(?:ed)? values? (?:is|are|can|will|must|should|means?|indicates?|has|may)",
    ),
    (
        "this it called",
        r"(?:(?:this|it) (?:is|gets|will be) )?called (?:with(?![^,]{0,60}, \w+s\b)|under|twice|explicitly|directly|inside|"
        r"both|concurrently|recursively|internally)",
    ),
    ("there", r"there(?:'s| is| are| isn't| aren't| was| were| may| might| can)"),
    ("need needs needed", r"\w+ (?:to|this|these|by|for|because|since|so|in|when|if|as)(?! check)"),
    ("also", r"also(?! (?:set|sets) \w+\[)"),
    ("due has have", r"due to|ha(?:s|ve) to be"),
    ("here", r"here,? (?!we |to )\w+(?: \w+)? (?:is|are|has|have|must|begins|happens)"),
    ("same like as similar identical equivalent", r"\w+ (?:as |to )?(?:the )?(?:above|below|previous|preceding)"),
    (
        "this",
        r"this (?:is|was) (?:(?:(?:only|also|just) )?(?:used (?:by|in|when|internally|during)|executed|performed|invoked)"
        r"(?![^.]* to [a-z])|an? (?:separate|implementation detail)|basically|how|"
        r"the (?:first|last|second|third) \w+ (?:in|of))",
    ),
    (
        "call",
        r"call (?:(?:when|whenever|once|upon|on)(?![^.]*,)|this (?:(?:method|function|routine) )?"
        r"(?:when|whenever|if|once|after|before|from|on|first|only)(?![^.]* (?:to (?!be)|so )[a-z]))",
    ),
    ("based", r"based (?:(?:heavily|loosely|closely|largely) )?(?:on|off)(?=[^,]*$)"),
    ("required needed intended meant necessary designed reserved", r"\w+ (?:by|for use|only|in)"),
    ("used", r"used (?:if|with)"),
    ("the", r"the following (?:\w+ ){0,3}(?:functions|routines|methods|macros|procedures|code|block|lines|section)"),
    ("a an", r"an? (?:error|warning|failure|exception|problem) (?:has )?(?:occurred|happened)(?=$|\.)"),
    ("this the", rf"\w+ (?:{_OF_MAIN_CLAUSE}\w+ ){{1,5}}(?:is|are) {_STATE}"),
    (
        "this the it is a no noop",
        r"(?:(?:(?:this|the) (?:function|method|routine|call|macro) |it )?is )?(?:an? )?no-?op "
        r"(?:if|unless|when|for|on)(?! \w+ing)",
    ),
    ("this the", r"\w+ (?:function|method|routine) does nothing"),
    (
        "this a the bc compat compatibility",
        rf"(?:this is )?(?:an? |the )?(?:bc|compat|compatibility) (?!mode|flag){_NO_ACTION}\w+",
    ),
    ("special", r"special[ -]cases?[,:]? (?:when|where|if|we|do|not|don't|for \S+ cannot)"),
    ("careful", r"careful"),
    ("stuff", r"stuff (?:to|that|which|we)"),
    (
        "exported exposed public visible extracted duplicated declared kept left separated split",
        r"\w+ (?:out )?(?:so|because|only|from|here|as|for|to allow)",
    ),
    ("added", r"added (?:in|for|by|to (?:allow|support|make|the))"),
    ("first", r"first(?:,? we|,|,? of all| pass)"),
)
_END_OF_WORD = r"(?![\w-])"
_OPENS = {  # the patterns by first word; two of three texts begin with none of the words
    word: re.compile(f"(?:{'|'.join(pattern for words, pattern in _OPENINGS if word in words.split())}){_END_OF_WORD}")
    for words, _ in _OPENINGS
    for word in words.split()
}
_ORIGIN = re.compile(
    r"(?:\w+ ){0,2}(?:class|function|method|code|implementation|routine)s? "
    rf"(?:adapted|borrowed|stolen|ported|copied|taken) from{_END_OF_WORD}"
)
_CONSTRUCTOR = re.compile(
    r"(?:this |an? |the )?(?:\w+[ -])?(?:constructor|ctor),? (?:(?:is|to be) )?(?:only |usually |solely )?"
    rf"(?:(?:called|used|needed|required|provided|reserved)(?: only)?(?! to (?!be\b))|not){_END_OF_WORD}"
)
_FIRST_WORD = re.compile(r"\w*")
_STATES = re.compile(  # a fact about a thing: "The lock is held by the caller"
    r"(?!this\b|(?:(?:the|an?) )?(?:function|method|routine|class|macro|handler|callback|procedure|exception|error|event)\b)"
    rf"(?:{_OF_MAIN_CLAUSE}[\w'`-]+ ){{1,5}}"
    r"(?:is|are|was|were|must|should|could|may|might|will|can|cannot|has|have|needs?|does|do|did)"
    r"(?! (?:used (?:to|for|as|when)|responsible|thrown|raised|an?|the|convert\w*))\b"
)
_LABELLED = re.compile(
    r"(?:assumption|bug|danger|devnote|future|lamespec|msdn|perf|prefer|requires|review|safety|section|security|undone) ?:"
)
_MENTIONS = re.compile(
    r"\b(?:(?:of|the|an) (?:of|with|is|are)|"  # a word is lost between these
    r"i'm|i am|i think|i don't|i've|i understand|i guess|unfortunately|not sure|for now|hopefully|sadly|in sync with|"
    r"for historical|(?:is|are|been|now) (?:deprecated|obsolete)|no longer (?:used|needed|supported|necessary)|"
    r"(?:to|will) be removed|should (?:only|never)|must (?:only|never|be called|be run|be held|be synced|also be|match)|"
    r"(?:only|just|solely) for debugging|users? should|bit of a hack|to get us started|has a side-?\s?effect|"
    r"why (?:do|does) (?:we|this|it|they)|without documentation|"
    r"do not use|don't use|do not call|don't call|not be called|not thread-?\s?safe)\b"
)
_SECTION = r"\b(?:NAME|PURPOSE|INPUTS|OUTPUTS|RETURNS|AUTHOR|SOURCE|SYNOPSIS)\b"
_SECTIONS = re.compile(rf"{_SECTION}.*{_SECTION}")  # labels of ROBODoc whose line breaks are lost
_CUT_CLAUSE = re.compile(  # a reference is lost behind these
    r"(?:(?:\bas|,) (?:described|defined|introduced|proposed|presented|given|explained|specified|outlined|implemented|adopted|"
    r"adapted|taken) (?:in|by|from|at)|\bis given by|\b(?:number|sum|union|product|names?|values?|size|length|list|set|form|"
    r"behalf|determinant|series|exception|processing|stepping|method) of|"
    r"(?<!the )\b(?:is|are|(?:expression|statement|insert|string|date|line|path|equation|message|response|candidate)s?|"
    r"quer(?:y|ies)) of the form)$"
)
_CUT_ENDS = (" in", " by", " from", " at", " of", " form")
_ANNOUNCES = re.compile(r"\bfollowing(?: \w+){0,2}$")  # a list that is lost
_BEFORE = re.compile(r"(?:if|when|for|on|in|while|after|before|at|by|with|once|upon|under|during|unless|until|to)\b(?!-)")
_MAIN = re.compile(r".{2,140}?,\s+(?:then\s+)?(?:(?:this|the) (?:method|function|routine)\s+|it\s+|we\s+)?(?=[a-z])")
_NAMELESS = frozenset("a an the this that is are of for and".split())
_NAMES = re.compile(r"(?<![\w.])\w+")  # in a signature; what follows a dot belongs to a type
_SUBJECT = re.compile(  # a name that may be that of a parameter, with a verb that describes it
    r"(?:(?:[Tt]he )?(?:[Aa]rgument|[Pp]arameter)s? )?"
    r"[\"'`*&]?(?!(?:this|it|that|function|method|class|def|get|set)\b)([a-z_]\w{0,60})[\"'`]?(?:\[[^\]]{0,20}\])?"
    r"(?: and [\"'`]?\w{1,60}(?:\[[^\]]{0,20}\])?[\"'`]?)? "
    r"(?:is|are|must|should|may|can|will|specif(?:y|ies)|indicates?|contains?|points to|holds|limits|controls|determines|"
    r"represents?|refers to|denotes|means|describes?|points (?:to|into))\b"
)
_MEMBERS = (
    "methods|functions|setters|getters|accessors|mutators|helpers|routines|constructors|destructors|callbacks|handlers|"
    "listeners|operators|subroutines|procedures|overrides|utilities|utils"
)
_MODIFIER = (  # a word before a noun: no article, preposition, or verb in the third person
    r"(?!(?:an?|of|to|for|from|on|in|with|that|which|by|as|at|is|are|was|if|when|all|these|those|each|any|both|some|two|three|"
    r"its|their|the|this|used|using|called|into|over|via|not|no|\w*[a-rt-z]s)\s)[\w/&'\".+-]+"
)
_SECTION_TITLE = re.compile(
    rf"(?:{_MODIFIER}\s+){{0,5}}(?:{_MEMBERS})"
    rf"(?:(?:\s+(?:and|or)\s+|\s*[/&,]\s*)(?:{_MODIFIER}\s+){{0,2}}(?:{_MEMBERS}|properties|fields|members|events|constants))*\W*",
    re.IGNORECASE,
)
_KINDS = frozenset(
    "class interface struct structure enum enumeration trait module type object record data definition implementation base "
    "abstract simple default main generic basic common new instance function method callback constructor sample example".split()
)
_MAKES = frozenset(
    "create creates construct constructs initialize initializes initialise initialises init make makes build builds setup set "
    "up instantiate instantiates allocate allocates return returns".split()
)
_BUILT = frozenset("entity component device initializer initialization".split())  # kinds of what a constructor builds
_CONSTRUCTORS = frozenset("__init__ __new__ constructor initialize __construct new create init".split())
_SURE_CONSTRUCTORS = _CONSTRUCTORS - {"new", "create", "init"}
_LONGEST_SECTION_TITLE = 100  # characters
_OF_CLASS = re.compile(  # what a class is: "An estimator for regression", "This class computes the losses"
    r"(?:an?|the) |(?:(?:base|abstract|helper|utility) )?class (?:for|representing|that|to|which) |"
    r"this (?!(?:is |will |can |method|function|constructor|takes|(?:create|initiali[sz]e|construct|set|make)s))"
)
_TELLS_CONSTRUCTOR = re.compile(
    r"\b(?:constructors?|ctor|initiali[sz]ers?|constructs|initiali[sz]es|creates|overload|version)\b"
)
_LABEL = re.compile(  # The pipe->draw_vbo() driver hook, The forward method of the UNet2DModel class
    r"(?:An?|The|This|the) (?=\S*(?:[_.>(]|[a-z\d][A-Z]))\S+(?: \w+)? (?:method|(?:driver )?hook)|"
    r"(?:This is )?(?:An?|The|an?|the) (?:\w+ )?(?:body|method|(?:main|work|actual|member) (?:function|routine)) (?:of|for) "
    r"(?:the )?\S+(?: class)?|"
    r"(?:The |the )?(?:[Ii]nverse|[Rr]everse|[Oo]pposite|[Cc]onverse|[Cc]omplementary) (?:of|to) "
    r"(?=\S*(?:[_.(]|[a-z][A-Z]))\S+|"  # Inverse of codes_to_indices
    r"[Ss]ome \S.*"
)
_BEFORE_LABEL = frozenset("a an the this inverse reverse opposite converse complementary some".split())  # first words
_LISTED = re.compile(r"([a-z_]\w{0,60})(?: \([^()]{1,60}\))?(?: ?:| --?) \S", re.IGNORECASE)  # x: array, data -- LongTensor
_DEMANDS = ("Requires ", "requires ")
_CHECKS = re.compile(r"requir|check|valid|ensure|assert|verif", re.IGNORECASE)  # in the name of a function
_MOST_BARE_WORDS = 3
_MOST_SPACES = 9  # in a text that may be only a name
_LEAST_PREFIX = 3  # letters of a word in a name that may stand for a longer one: spec, specification


def is_remark(text: str, kind: str = "") -> bool:
    """Whether a cleaned text is a remark. `kind` is that of the definition ("function" or "class"), "" if it is not known.

    A class cannot do what a text says for a case ("When the value is missing, ..."). A function can, if an action follows.
    """
    if _is_remark_of_any_kind(text):
        return True
    head = text[:300].lower()
    if not kind or not _BEFORE.match(head) or text.partition(" ")[0].isupper():  # not the FOR of a query
        return False
    main = _MAIN.match(head)
    return kind == "class" or main is None or not begins_with_verb(text[main.end() :])


@lru_cache(maxsize=256)  # a summary is checked when it is chosen, and again by the pair rules
def _is_remark_of_any_kind(text: str) -> bool:
    head = text[:300].lower()
    if _opens_remark(head) or (":" in head and _LABELLED.match(head)) or _MENTIONS.search(head) or is_cut_off(text):
        return True
    if text.endswith(_CUT_ENDS) and _CUT_CLAUSE.search(text[-40:]):
        return True
    if _SECTIONS.search(text[:300]) or ("following" in text and _ANNOUNCES.search(text)):
        return True
    return _STATES.match(head) is not None and not (begins_with_verb(text) or may_be_verb(head.partition(" ")[0]))


def _opens_remark(head: str) -> bool:
    """Whether the beginning of a text, in lower case, is that of a remark."""
    word = _FIRST_WORD.match(head)
    opens = _OPENS.get(word.group()) if word else None
    if opens is not None and opens.match(head):
        return True
    if " from" in head and _ORIGIN.match(head):
        return True
    return "ctor" in head and _CONSTRUCTOR.match(head) is not None


def is_about_parameter(text: str, parameters: str) -> bool:
    """Whether the subject of a cleaned text is a parameter of the function: "maxBytes limits the number of bytes".

    The subject is a word in lower case or in quotation marks before a verb that describes it. A list is about parameters too:
    "x: array". `parameters` is what follows the function's name in its signature.
    """
    subject = _SUBJECT.match(text)
    if subject is None and (": " in text or " -" in text):
        subject = _LISTED.match(text)
    return subject is not None and subject.group(1) in _NAMES.findall(parameters)


def is_demand(text: str, name: str) -> bool:
    """Whether a cleaned text says what must hold before a call, if the function does not check it: "Requires the lock"."""
    return text.startswith(_DEMANDS) and not text.startswith("that ", len(_DEMANDS[0])) and _CHECKS.search(name) is None


def heads_section(text: str, language: str) -> bool:
    """Whether a cleaned text is the title of several functions: "Helper methods", "Binary input/output functions".

    Such a comment stands above the first function of a section and does not say what that function does. In Python no comment
    documents a function.
    """
    if language == "python" or len(text) > _LONGEST_SECTION_TITLE or not _SECTION_TITLE.fullmatch(text):
        return False
    return not (begins_with_verb(text) or may_be_verb(text.partition(" ")[0].lower()))


def is_bare(text: str) -> bool:
    """Whether a text is a noun with at most two words before or after it ("Node data structure"): too little for a class."""
    words = text.lower().split(maxsplit=_MOST_BARE_WORDS + 2)
    words = words[1:] if words[:1] in (["a"], ["an"], ["the"]) else words
    return len(words) <= _MOST_BARE_WORDS and not begins_with_verb(text)


def is_of_class(text: str, name: str, parent: str) -> bool:
    """Whether the cleaned text of a constructor says what its class is, and not what the constructor does."""
    if not parent or (name != parent and name not in _SURE_CONSTRUCTORS):
        return False
    head = text[:300].lower()
    return _OF_CLASS.match(head) is not None and _TELLS_CONSTRUCTOR.search(head) is None


def is_label(text: str) -> bool:
    """Whether a cleaned text of a function only names what it belongs to, or other code: "The UNet2DModel forward method"."""
    return text.partition(" ")[0].lower() in _BEFORE_LABEL and _LABEL.fullmatch(text) is not None


def says_only_name(text: str, name: str, parent: str, kind: str) -> bool:
    """Whether a text has no word beside those of the name: "XML document" for a class, "Creates a Foo" for its constructor."""
    if text.count(" ") > _MOST_SPACES:
        return False
    builds = kind != "class" and (name in _CONSTRUCTORS or name == parent)
    if kind != "class" and not builds and begins_with_verb(text):
        return False
    own = split_names(parent if builds else name)
    left_out = _NAMELESS | _MAKES | _BUILT if builds else _NAMELESS
    words = [word for word in split_names(text) if word not in left_out]
    joined = "".join(own) if builds else ""
    return bool(own) and all(
        word in _KINDS or any(_same(word, known) for known in own) or (len(word) >= _LEAST_PREFIX and word in joined)
        for word in words
    )


def _same(word: str, known: str) -> bool:
    """Whether two words are equal apart from their endings, or one is short for the other."""
    return word == known or (
        len(min(word, known, key=len)) >= _LEAST_PREFIX and (word.startswith(known) or known.startswith(word.rstrip("s")))
    )
