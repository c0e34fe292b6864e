"""Recognises texts of functions that only refer to other code, tell when they are called, or describe what they are given.

"Private version of H5Awrite()" and "This implements 'svn_opt_subcommand_t'" say nothing without the other code, "Callback
executed when the program exits" tells an occasion, "The pickle key is a string of unspecified length" defines a term, and
"expects secrets in the format NAME:TARGET" is about the arguments. Every pattern takes time linear in the text.
"""

import re

from codesage.corpus.pairs.verbs import begins_with_verb, may_be_verb

_MOST_SPACES = 9  # in a text that only refers to other code
_NAME = r"(?=[\w.:>#()-]*(?:_|\(|#|->|::|[a-z]\.[a-z]|[a-z][A-Z]))\S+"  # of code: foo_bar, foo(), #foo, A::b, a.b, fooBar
_THIS = r"(?:[Tt]his (?:(?:function|method|routine) )?(?:is )?|[Ii]t )?"
_VERSION = re.compile(  # Destructive version of #normalize
    rf"{_THIS}(?:(?:[Aa]n?|[Tt]he) )?(?:[\w/'-]+ ){{0,4}}(?:version|variant|counterpart|equivalent|overload|flavou?r|analogue?|"
    rf"sibling|form) (?:of|to|for) (?:the )?{_NAME}(?: (?:method|function|macro|API))?"
)
_REFERENCE = re.compile(
    rf"{_THIS}(?:(?:[Aa]n?|[Tt]he) )?(?:[\w-]+ ){{0,2}}(?:[Ww]raps?|[Ww]rapper (?:for|around|of|to|over|on)(?: the| an?)?)"
    rf"(?: (?:the |an? )?calls? to)? {_NAME}(?: (?:function|method|call))?|"
    rf"{_THIS}(?:[Ii]mplements?|[Ii]mplementation (?:of|for)) (?:the )?['\"`]?{_NAME}(?! SQL)"
    r"(?: [A-Z]\w+)?(?: ?['\"`]| - call.*)?(?: (?:method|interface|callback|function|api|API|protocol|hook|vtable|handler))*|"
    rf"(?:(?:[Ww]orks|[Bb]ehaves) )?(?:exactly |[Jj]ust )?[Ll]ike {_NAME}|[Tt]he same as {_NAME}|"
    rf"{_THIS}(?:[Rr]everses|[Uu]ndoes|[Mm]irrors|[Mm]imics|[Cc]omplements|[Ee]mulates) (?:the )?(?:\w+ of )?{_NAME}"
    r"(?: (?:logic|method|function|call|behaviou?r))?|"
    rf"{_THIS}(?:(?:[Aa]n?|[Tt]he) )?(?:[Mm]ain|[Cc]ore|[Aa]ctual|[Ii]nternal|[Ll]ow-?level|[Dd]efault|[Rr]eal|[Gg]eneric) "
    rf"(?:implementation|routine|function|body|code|part|loop|logic) (?:of|for) (?:the )?{_NAME}(?: (?:method|function))?|"
    rf"{_THIS}(?:(?:[Aa]n?|[Tt]he) )?(?:\w+ )?(?:[Hh]elper|[Ss]ubroutine|[Ww]orker|[Ss]upport|[Uu]tility|[Cc]onvenience)"
    r"(?: (?:function|method|routine|code))? (?:for|of|(?:used|shared|called) (?:by|from|in)) (?:the |other |all )?"
    rf"{_NAME}(?:(?: and| or| /)? {_NAME})?(?: (?:functions?|methods?|routines?|APIs?|apis?|calls?))?"
)
_IS_FUNCTION = re.compile(  # This is the console signal handler
    r"this is (?:an? |the )(?:[\w-]+ ){1,3}(?:function|routine|method|callback|handler)"
    r"(?: (?:of|for) (?:(?:the|this|an?) )?\S+(?: \w+)?)?"
)
_HAS_NAME = re.compile(r"[_(#>]|[a-z](?:[A-Z]|[.:]+[a-zA-Z])")  # of code
_CALLED = r"(?:called|run|executed|invoked|fired|triggered)"
_WHEN = (
    r"(?:when|whenever|after|before|once|if|upon|on|by|from|at|in|during|every|each|via|while|for)\b"
    r"(?!.* to (?!be )[a-z])(?!.*, )(?!.* and \w+s\b)"  # but what it does then
)
_OCCASION = re.compile(
    r"(?:(?:(?:the|an?|this|this is an?) )?(?:(?:callback|helper|utility|internal|private|async|event|handler|hook|default|"
    r"main|optional|static|protected|virtual|lifecycle|user|custom|simple|common) ){0,2}"
    r"(?:proc|block|lambda|callback|function|method|hook|routine|handler|delegate|closure|listener|action)s?"
    r"(?: (?:function|method|handler))? (?:(?:which|that) )?"
    rf"(?:to (?:call|run|execute|invoke)|(?:(?:is|gets|will be|should be|must be|to be) )?{_CALLED})|"
    rf"(?:this|it) (?:only |also )?gets {_CALLED}) {_WHEN}"
)
_TERM = re.compile(  # A free identifier is an identifier that ...
    r"(?:the|an?) (?!(?:\w+ )?(?:function|method|class|routine|macro|procedure|service|module|implementation|operator|callback|"
    r"handler)\b)(?:(?!(?:that|which|who|of|for|to)\b)[\w-]+ ){1,4}?(?:is|are) (?:an?|the|one of|any) "
)
_EXPECTS = re.compile(  # but "Expects a file name and returns its extension", "Expects that the call fails"
    r"(?:this (?:function|method) )?expects (?!that\b|all\b|no\b|an? (?:\w+ )?\w+ to\b)(?!.* and re(?:turns?|ads?)\b)"
)


def is_aside(text: str) -> bool:
    """Whether a cleaned text of a function is a reference, an occasion, the definition of a term or about its arguments."""
    head = text[:300].lower()
    if text.count(" ") <= _MOST_SPACES and (_refers(text) or _IS_FUNCTION.fullmatch(head)):
        return True
    if "expects " in head and _EXPECTS.match(head):
        return True
    if _TERM.match(head):
        return not may_be_verb(head.split(maxsplit=1)[0]) and ", this function" not in head
    return _OCCASION.match(head) is not None


def _refers(text: str) -> bool:
    if _HAS_NAME.search(text) is None:
        return False
    if _REFERENCE.fullmatch(text):
        return True
    return _VERSION.fullmatch(text) is not None and not (begins_with_verb(text) or may_be_verb(text.partition(" ")[0].lower()))
