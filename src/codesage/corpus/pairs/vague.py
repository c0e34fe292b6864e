"""Recognises texts of functions that are true and too vague to find the code by ("Get the agent", "Handle the event").

A text has one point for each word, and two more for each word that is not common in such texts. Too few points mean that the
text fits the code of many functions. A text that begins with a verb needs fewer points than one that does not: "Handler for
the blur event" says less than "Restore focus after the blur event". Where the limits and the common words come from is in
docs/log.md.
"""

from codesage.corpus.pairs.stems import stem
from codesage.corpus.pairs.verbs import begins_with_verb, may_be_verb
from codesage.words import split_names

ACTION, OTHER = 7, 8  # fewest points of a text that begins with a verb, and of any other text
_POINTS = 2  # of a word that is not common, beside the one of each word
_DETERMINERS = frozenset("a an the all any each every this these those its one two another".split())
_RESULT = ("return", "returns")  # "Return true on usable data" says only what comes back
_FUNCTION_WORDS = frozenset(
    "a an the this that these those of for to from in on at by with and or is are be been being was were it its as if when "
    "whether which who whom whose what where how why not no nor into onto over under so can could will would may might must "
    "should shall has have had do does did done than then there here their them they we us you your our i my me he she his "
    "her any all some each every other another one once only also just even both either neither same such own but while "
    "until till after before between within without during through about against above below across along among around "
    "because since via per out off up down again further more most less least much many few very too yet already still now "
    "next last first second two three s t".split()
)
# In equal shares by language, each of these words occurs in at least 0.5% of the texts of functions of the release corpus
# (in any form), and in a quarter of its packages. Left out are verbs of definite work (parse, sort, delete) and names of
# formats and protocols (JSON, URL). The last three lines name what a function is for others ("helper", "handler").
_WORDS = (
    "action add address allow append apply argument array associated attempt attribute available base bind bit block bound "
    "bucket buffer build byte cache calculate call case change character check class clear client close code collection column "
    "command component config configure configuration connection construct contain container content context control "
    "corresponding create current date data database default define determine device directory display document element empty "
    "enable end entity entry error event exception execute exist expression field file form get given group handle header id "
    "image include index indicate info information initialize input instance integer item job key length level like line list "
    "local log loop make manager mapped matrix memory message metadata mode model module name need new node non null number "
    "object offset open operation option order output package page parameter parent part passed path perform point position "
    "process processes properties property provided provider query queue range record reference report represent "
    "representation request require reset resource response result retrieve return root row rule schema sequence server "
    "service session set single size source space specified specific stack state statement store string stream structure "
    "support system table tag take target test text time token transform tree true type update use used user using valid "
    "value variable vector version view "
    "actual callback common constructor convenience core factory function guts handler helper hook implement implementation "
    "interface internal listener main method private routine simple step subroutine utility variant wrapper"
)
COMMON = frozenset(stem(word) for word in (*_FUNCTION_WORDS, *_WORDS.split()))


def is_vague(text: str) -> bool:
    """Whether a cleaned text of a function has too few points."""
    count = text.count(" ") + 1
    if count >= OTHER:
        return False
    telling = {stem(word) for word in split_names(text) if len(word) > 1} - COMMON
    points = count + _POINTS * len(telling)
    return points < ACTION or (points < OTHER and not _begins_with_action(text))


def _begins_with_action(text: str) -> bool:
    """Whether a text begins with a verb (a known one, or a word as in "Mute a finding") that tells more than its result."""
    first, _, rest = text.lower().partition(" ")
    if first not in _FUNCTION_WORDS and rest.partition(" ")[0] in _DETERMINERS:
        return True
    return first not in _RESULT and (may_be_verb(first) or begins_with_verb(text))
