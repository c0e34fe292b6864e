"""Recognises documentation that says nothing about the code: editor templates, placeholders, stamps, pointers elsewhere.

says_nothing() checks a cleaned sentence. without_stamp() removes dates, initials and issue numbers from the beginning of a
paragraph. Every pattern takes time linear in the text.
"""

import re
from functools import lru_cache

from codesage.corpus.pairs.verbs import begins_with_verb

_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.?"
_TIME = r"\d{1,2}:\d\d(?::\d\d(?:\.\d{1,9})?)?(?: ?(?:z|utc|gmt|[+-]\d\d:?\d\d)\b)?"
_DATE = (
    rf"(?:(?:\d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}}|\d{{1,2}}[-/.]\d{{1,2}}[-/.]\d{{2,4}})(?:[t ]{_TIME})?|"
    rf"\d{{1,2}}(?:st|nd|rd|th)?[-/. ]{_MONTH}[-/. ,]{{0,2}}\d{{2,4}}|"
    rf"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]{{0,6}},? )?{_MONTH} \d{{1,2}},? (?:{_TIME} )?\d{{4}}|"
    rf"{_MONTH},? (?:19|20)\d\d(?=\s?[:,-])|(?:19|20)\d\d[01]\d[0-3]\d(?=\s?[:,-]))"
)
_KIND = "(?:class|interface|struct|enum|trait|module|method|function|package|file|namespace|object|type|exception)"
_NAMES = (
    r"(?:the |this )?[^\s,]+(?:(?:,|,? and|,? or) (?:the )?[^\s,]+){0,3}"
    r"(?: (?:function|method|routine)s?(?: (?:above|below))?)?"
)
_FOR = r"for (?:testing|tests|debugging|legacy|(?:backwards?[ -])?compatibility)(?: reasons?| purposes?)?(?: only)?"
_BEGINNINGS = (  # texts with such a beginning say nothing, whatever follows
    r"(?:@?todos?|to[- ]do(?= ?:)|fixme|xxx+|hack|tbd|wip|n/?a|placeholder|undocumented|untested|deprecated)\b.*",
    r"\(?non[- ]javadoc\b.*",
    r"(?:get|post|put|delete|patch)(?:: ?/?\w| /\S).*",  # a route
    r"(?:code |file |automatically )?(?:auto-?)?generated (?:by|from|code)\b.*",
    r"(?:copyright|licen[cs]ed? (?:under|to)|all rights reserved|spdx|permission is hereby|@?license|©|\(c\)).*",
    r"(?:created|written|added|modified|updated|changed|coded|authored|last (?:modified|updated|edited|change)) (?:by|on|"
    r"at|with|"
    r"using|from|date)\b:?(?: (?:intellij|eclipse|netbeans|phpstorm|webstorm|pycharm|visual studio)| (?:\S+ ){0,5}\W?\d).*",
    rf"(?:last )?(?:modified|updated|changed|edited|revised):? {_DATE}.*",
    r"(?:created|(?:last )?modified|updated|edited) (?:by|on)\s?:.*|(?:original )?authors?\s?:.*",
    r"(?:user|date|time)\s?: .*\b(?:date|time|authors?)\s?:.*|(?:date|time|version|revision|since|user)\s?:? \S*\d\S*",
    r"_{2,}.*|(?:\S{1,20} )?__+ ?description__*",
    r"document me|doc(?:umentation)? (?:here|goes here|missing|pending)|lorem ipsum\b.*|blah\b.*|foo(?: bar(?: baz)?)?",
    r"to change this (?:generated |license )?(?:comment|header|template)s?\b.*",  # of NetBeans and Eclipse
    r"\[?\S{1,60} \[?description\]",  # of DocBlockr
    r"creates new form \S+|required designer variable",
    r"doc ?string (?:for|of) \S+",
    r"required (?:method )?for (?:the )?(?:windows form )?(?:designer|windows form)\b.*",
    r"[@\\]!?\w+.*",
    r"[-+*=]{2,}!.*",  # ++! start object
    r"(?:not|logically) collective\b.*|collective(?: on \S+)?",  # PETSc
    r"(?:part|section|chapter|appendix|table|figure|clause) \d.*",
    r"\(see \S.*",
    r"[a-z]{1,3}\* \S+/\S+.*",  # the header of a ROBODoc comment
    r"interaction logic for \S+",
    r"examples? ?: .*|e\.g\..*",
    r"usage ?: .*|synopsis ?: .*|signature ?: .*",
    r"\$(?:id|revision|date|author|header)\b.*",
    r"(?:inputs?|outputs?|args?|arguments?|params?|parameters?) ?: .*|\w+ \((?:[^()]|\([^()]{0,200}\)){1,200}, ?optional\).*|"
    r"\w+ \([^()]{1,80} of shape .*",
    r"(?:devdiv|dev1\d|vs ?whidbey|ddb|msrc|bpo|issue|bugs?)(?: bugs?)?[ #:-]{0,3}\d{3,}\b.*",
    r"-\*-.*",
    r"document-\w+ ?:.*",  # of RDoc, in C
    r"implementation (?:note|detail)s? ?[:-].*",
    r"definition for an? [\w -]{1,40}\. (?:class|def|function|public|struct|type)\b.*",
    r"< .*",  # a formula: < v, u >
    r"(?:callback|handler|hook|notification)(?: (?:function|method|routine|handler))? (?:when|once|after|upon|on)\b"
    r"(?!.*(?: to \w|, )).*",
)
_WHOLES = (
    r"\{?@?inherit(?:ed|s)?[ _-]?docs?\b.{0,40}",
    r"(?:bug|nb|obsolete)\b.{0,16}",
    r"\[?(?:tbd|to be (?:added|done|documented|completed|defined|determined|written|implemented|supplied))\b.{0,40}",
    r"(?:please )?(?:see|refer to|cf\.?) (?!if\b|whether\b)(?:also |the )?\S+(?: \S+){0,3}",
    r"(?:as )?(?:described|documented|defined|specified|explained) (?:in|by|at|above|below|elsewhere)\b(?: \S+){0,4}",
    r"(?:created|written|coded|authored|implemented|contributed) by:?(?: [\w.@<>-]+){1,3}",
    r"@?(?:authors?|version|since|date|created|package|copyright|license)\s?: \S+(?: \S+){0,3}",
    rf"(?:by )?(?:[\w.@<>-]+,? ){{1,3}}[\[(]?(?:{_DATE}|(?<=, )(?:19|20)\d\d)[\])]?",  # Ann Lee, 2011
    r"how to run (?:this|the) (?:test|example|sample|program|script)s?",
    r"\S+ (?:sec|sect|section|clause|chapter)\.? \d[\w.-]*",
    r"mocks base method",
    r"[a-z_][\w.]* (?:[-+*/%@^&|<>]|\*\*|//|<<|>>|[<>=!]=) [a-z_][\w.]*",  # self % other
    r"\d[\d./:-]*(?: \d[\d./:-]*)*",
    r"(?:the |a )?(?:\w+ ){0,2}(?:con|de)structors?(?: (?:for|of) (?:the )?[\w.<>]+)?(?: (?:class|object|instance|type))?"
    r"(?: with(?: no|out)(?: any)? (?:arguments?|parameters?|args))?",
    r"(?:create|construct|initiali[sz]e|instantiate)s? (?:a |an |the )?(?:new )?(?:instance|object)"
    r"(?: (?:of|for) (?:the |a |an )?[\w.<>,]+(?: (?:class|struct|record|object|type|exception))?)?",
    _KIND + r" [\w.\\<>:]+",
    r"(?:the |this )?[\w.\\<>:]+ (?:class|interface|struct|enum|trait|module|method|function|exception|tests?|model|"
    r"controller)",
    r"(?:an? |the )?(?:public|protected|private|internal|only)(?: (?:public|protected|private|internal|only))? "
    r"(?:method|property)",
    r"(?:this )?implement(?:s|ation|ing|ed)?(?: of| for)? (?:(?:the|an?) )?(?=[\w.:>-]*[_.:])[\w.:>-]+(?:\(\))?"
    r"(?: (?:method|interface|function|callback|protocol|property|type|hook))?",  # This implements svn_editor_cb_delete_t
    r"(?:summary|brief|short|long|method|class|function|general)? ?(?:description|summary)(?: (?:for|of|goes here)"
    r"(?: (?:the )?\S+)?(?: (?:class|method|function|module))?)?",
    r"(?:this|the) (?:method|function|class|type|interface|module|file|constructor)",
    r"(?:getter|setter|accessor|mutator|get|set|getter and setter|get/set|getter/setter)s?"
    r"(?: (?:method|function|property))?(?: (?:for|of) (?:the )?\S+(?: property)?)?",
    r"(?:implement(?:s|ation|ed)?|override(?:s|n)?|overridden|inherit(?:s|ed)?|overrides method)(?: (?:of|from|by|in|for))?"
    r"(?: (?:the|a|an|method|base|parent|super|default|abstract))* \S+"
    r"(?: (?:interface|method|class|function|contract|behaviou?r|implementation))*",
    r"(?:this is |it is )(?:an? |the )?(?:internal|private|helper|utility) (?:function|method|class|routine)",
    r"(?:this|the) (?:function|method|class|routine) (?:takes?|accepts?|expects?|has|will|does|is)",
    r"(?:paired|companion|counterpart|complement) (?:with|to|of|for) \S+",
    r"(?:\w+ )?(?:the |an? )?(?:\w+ )?(?:workhorse|guts) (?:of|for|behind) \S+",
    r"(?:delegates?|alias(?:es)?|wrapper|same as|equivalent to|shortcut|synonym|convenience (?:method|function)|"
    r"overload(?:ed)?(?: (?:method|version))?)(?: (?:of|from|to|for))?(?: (?:the )?\S+){0,2}",
    r"(?:(?:this|the) (?:method|function|class) )?(?:is )?(?:for )?"
    r"internal(?: (?:use|api|method|function|only|class|helper|to \S+))*",
    r"(?:is )?not (?:yet )?(?:implemented|supported|used|documented|tested)(?: yet)?",
    r"(?:nothing to do|nothing|none|empty|unused|ignored?|no-?op|does nothing|do nothing here)(?: here)?",
    r"(?:missing|no|add|put|insert|write|enter|fill|provide|document)(?:s| in)?(?: a| your| some| the| any)? "
    r"(?:short |brief |method |class |function )?"
    r"(?:documentation|description|docs?|comment|summary|doc ?string|javadoc)s?(?: (?:here|available|provided|yet|found|"
    r"given))*",
    r"(?:clean up any resources being used|windows form designer|component designer)\b.{0,40}",
    r"(?:a |the )?(?:helper|utility|main|test|private|public|static|description|documentation|docs?|comment)s?"
    r"(?: (?:function|method|class|string|helper|entry point|of \S+|for \S+))?",
    r"(?:the )?(?:(?:main|actual|shared|program|module) )?entry ?point(?: function)?(?: (?:of|for|to) (?:(?:the|this) )?\S+)?",
    r"(?:the )?main entry (?:of|for) (?:the|this) \S+",
    r"driver (?:program|code|function)(?: to test (?:the )?(?:above )?functions?)?",
    r"part of (?:the |an? )?\S+(?: (?:interface|api|protocol|procedure|contract))?",
    r"(?:returns?|param(?:eter)?s?|throws|raises|args|arguments|examples?|usage|notes?|since|version|author|inputs?|"
    r"outputs?|results?|remarks?|warnings?|overview|summary|methods?|properties|attributes|fields|imports?|helpers?)"
    r"(?: \S+)?",
    r"(?:this (?:test )?is an? |an? )?(?:(?:first|second|another|non|unit|simple|basic)[ -])?(?:regression )?tests?(?: "
    r"case)?(?: \d+)?"
    r"(?: (?:for|of))?(?: (?:bug|issue|ticket|gh|pr|#))*(?: ?[#\d][\w.-]*)?",
    r"(?:the )?(?:(?:additional|available|supported|possible|following|valid|accepted) )+"
    r"(?:options|values|parameters|arguments|keys)"
    r"(?: (?:are|is|include))?(?: (?:available|supported|as follows|accepted))*",
    r"(?:fix(?:es|ed)?|closes?|issue|bug|ticket|resolves?|gh|pr)[ #:-]+(?:[a-z]{1,10}[-#])?\d+",
    r"(?:[a-z]{2,12}-\d+[,\s]*)+",
    r"(?:get|post|put|patch|delete|head|options|match)(?:/\w+)? /\S*",
    r"(\w+)(?: \1)+",  # one word, repeated
    r"(?:an? |the )?(?:struct|structure|type|class|helper|enum|function|method|routine) used (?:by|in) [\w.:]+(?:\(\))?",
    r"(?:(?:similar|identical|analogous|equivalent)|corresponds?) to (?:the |problem |#)?\S+",
    r"(?:(?:this|it) is )?(?:an? |the )?(?:\w+ )?(?:(?:helper|worker|workhorse)(?: (?:function|method|routine))?|"
    r"(?:auxiliary|associated|utility|support|backend) (?:function|method|routine)) (?:for|of|(?:for use|used) by|used in) "
    + _NAMES,  # This is a helper function for foo() and bar()
    r"(?:this is )?(?:an? |the )?callback (?:(?:function|method) )?(?:for|from|used (?:with|by|in)) (?:the )?\S+(?: \w+)?",
    r"(?:(?:is|just|only|solely|purely) )+" + _FOR,
    r"abstract \w+ (?:method|property)",
    r"(?:init|initiali[sz]ation|set-?up|main|helper|utility|callback|internal) (?:function|method|routine|handler)"
    r"(?: (?:for|of) (?:the |this )?\w+)?",
    r"(?:the |an? )?(?:primary|main|public|private|internal|core|common|general) (?:\w+ )?(?:interface|entry point|class|"
    r"function|method|data|state|structure|struct|object|context|info|information|api)s?"
    r"(?: (?:to|for|of|in) (?:the |this |our )?\w+)?",
)
_CONTEXT = re.compile(  # says when it is called or by whom, and not what it does
    r"(?:(?:this|the|an?) )?"
    r"(?:(?:\w+ )?(?:method|function|routine|callback|hook|handler|event)(?: (?:that|which))?(?: is| gets| will be)? )?"
    r"(?:automatically |only |internally |usually |typically )?"
    r"(?:called|invoked|triggered|fired) (?:by|when|whenever|if|after|before|from|on|once|during|every|each|at|"
    r"automatically|only|internally|just|immediately|prior|right|via|as|in)\b"
    r"|(?:run|runs|executed|performed) (?:when|whenever|before|after|once) "
    r"|(?:is )?used (?:by|internally|only|when|during|here)\b|(?:is )?used in \S+(?: \S+){0,2}$"
    r"|(?:runs?|executed) (?:only )?(?:in|on) (?:(?:the|an?|its) )?(?:\S+ ){0,2}(?:threads?|goroutines?)$"
    rf"|(?:is )?(?:just )?used {_FOR}$"
    r"|(?:(?:this|the|an?) )?(?:(?:event|software|smi|mmi|callback|notification|interrupt|internal|main|helper) ){1,3}"
    r"(?:method|function|routine|callback|hook|handler)(?: (?:that|which))?(?: (?:is|gets|will be))? "
    r"(?:called|invoked|triggered|fired|executed|run) (?:by|when|whenever|if|after|before|once|during|at|upon)\b"
    r"(?!.*(?: to (?!be\b)\w|, ))"
)
_VAGUE = re.compile(  # an action on something that every program has
    r"(?:execute|run|perform|process|handle|start|stop|do|call|invoke|apply|build|make|load|print|initiali[sz]e|update|set ?up|"
    r"finish|prepare|configure|register|reset|validate|check|create|return|get|set|add|parse|read|write|save|send)(?:s|es)? "
    r"(?:(?:the|this|an?|all|any|above|below|following|preceding|its|our|your|some|given|actual|main|current|specified|provided|new|console|internal|required|"
    r"necessary|own) )*"
    r"(?:command|task|job|action|operation|work|event|request|message|data|input|output|query|test|method|function|callback|"
    r"handler|process|plugin|module|program|thing|stuff|result|class|object|instance|entity|element|item|value|state|option|entry|entrie|"
    r"argument|parameter|setting|service|component|device|system|environment|resource|application|app|script|step|call|logic|"
    r"property|field|attribute|list|array|string|number|node|model)s?[\s.!]*$"
)
_DETERMINERS = r"(?:(?:the|this|that|an?|any|all|its|our|your|current|latest|initial|internal|actual) )*"
_GENERIC = re.compile(  # "Retrieve the latest data", "Processes the provided key", "Returns a string representation of this"
    r"(?:update|initiali[sz]e|initiate|init|set ?up|refresh|get|fetch|return|retrieve|load)(?:s|es)? "
    rf"{_DETERMINERS}(?:(?:available|cached|device|extra|native|new|state|status|updated) )*"
    r"(?:states?|components?|platforms?|devices?|sensors?|config|configuration|data|info|information|status|values?|properties|"
    rf"attributes)(?: (?:from|of|for) {_DETERMINERS}(?:(?:device|sensor|component|platform|service|server|system)s?|entity|"
    r"entities|api))?[\s.!]*$|"
    r"process(?:es)? (?:(?:the|an?|all) )?(?:given|provided|specified|supplied|passed)(?: [\w.*#-]+){1,2}[\s.!]*$|"
    r"(?:(?:return|get|create|retrieve|generate|provide)s? (?:(?:an?|the) )?|(?:(?:an?|the) )?(?=string|object|text))"
    r"(?:(?:string|object|text|textual|printable|(?:human[ -])?readable) )?representation"
    r"(?: (?:of|for) (?:(?:the|this|an?) )?(?:object|instance|class|self|itself|value))?[\s.!]*$"
)
_DIRECTION = re.compile(r"\[(?:in|out)(?: ?[,/] ?out)?\]")  # of a parameter: a list of them, or a generated signature
_COMPLEXITY = re.compile(r"(?:.{0,60}\b)?(?:(?:time|space|runtime) complexity|time|space|t)\s?[:=]? ?o\(")
_MOST_WORDS = 10  # longer texts are not matched with _WHOLES
_CONTRACT = re.compile(r"(?:(?:requires|modifies)\s?:[^\n]{0,400}?\s)?effects\s?:\s+", re.IGNORECASE)  # of the Liskov style
_BANNER = re.compile(
    r" (?:BEGIN|CLASSES|DECLARATIONS|DEFINITIONS|END|FUNCTIONS|HELPERS|INSTANCES|MACROS|METHODS|OBJECTS|ROUTINES|START|TYPES|"
    r"UTILITIES|VARIABLES)$"
)
_MOST_WORDS_OF_BANNER = 7
_END = r"[\s.:;!\])]*$"
_LONG = re.compile(f"(?:{'|'.join(_BEGINNINGS)}){_END}", re.DOTALL)
_SHORT = re.compile(f"(?:{'|'.join((*_BEGINNINGS, *_WHOLES))}){_END}", re.DOTALL)
_TELLS = frozenset(  # a text that begins with one of these says something; two of five texts do
    "check checks adds convert converts register registers removes determines determine generates generate compute "
    "computes represents provides remove writes write reads read parse parses verify verifies find finds validates "
    "validate call calls "
    "delete deletes retrieve retrieves performs perform send sends load loads handle handles calculate calculates "
    "whether allows defines apply applies process processes contains makes make wraps wrap formats format ensure ensures "
    "build builds "
    "free frees run runs replace replaces copy copies describes starts start takes take store stores compare compares "
    "reports execute "
    "executes print prints used called given if when for".split()
)
_GENERATED = re.compile(r".{0,60}\b(?:auto[- ]?generated|do not edit|was generated by|is generated (?:by|from))\b", re.DOTALL)
_STAMP = re.compile(
    rf"(?:[\[(]?{_DATE}[\])]?(?:\s?[.,:;/–-]?\s+|:\s?|,\s?)(?:(?:by )?[<(\[]?[\w.@-]{{1,30}}[>)\]]?(?: "
    rf"[\w.@<>()-]{{1,30}}){{0,3}}\s?(?::|--?)\s+)?"
    r"|\$(?:id|revision|date|author|header|log)\b[^$]{0,200}\$\s*"
    r"|\[\w{2,20}[#-]\d{1,6}\](?:\s?[:,-]\s?|\s)|\((?:bug|issue|gh|#)[ #-]?\d{1,6}\)(?:\s?[:,-]\s?|\s)"
    r"|#\d{1,6}(?:\s?[:,-]\s|\s-\s)|\d{1,2}[.)]\s+(?=[A-Z]))+",
    re.IGNORECASE,
)
_BUG = re.compile(
    r"(?:devdiv|dev1\d|vs ?whidbey|ddb|msrc|bpo|issue|bugs?)(?: bugs?)?[ #-]{0,3}\d{3,7}(?:(?:,| and) #?\d{3,7})*"
    r"(?:\s?[:,]\s?|\s-\s|\s)",
    re.IGNORECASE,
)
_CHAPTER = re.compile(r"\d{1,2}(?:\.\d{1,2}){1,5}\s+(?=[A-Z][a-z])")
_SIGNED = re.compile(  # [bob, 2011-05-12] text; Ann Lee (2011-05-12): text
    rf"(?:[\[(]?(?:\w{{2,20}} )?[\w.@-]{{2,20}},? [\[(]?{_DATE}(?:[\])]\s?:?|:|\s--?)"
    r"|(?:[\w.'-]{1,30} ){1,3}<[\w.+-]{1,64}@[\w.-]{1,60}>,?:?)\s+",
    re.IGNORECASE,
)
_WEEKDAYS = ("Tue", "Wed", "Thu")  # the others begin with letters that months have too
_INITIALS = re.compile(r"\[[A-Z]{2,3}\]\s?:?\s+(?=[A-Z])")
_LABEL = re.compile(
    r"(?:\(?(?:non-?public|summary|description|descr|desc|purpose|abstract|brief|short description|synopsis|public|internal|"
    r"private|infra?structure|internal use only|helper|static|intent|overview|what it does|test objective)\)?\s?(?::|--)\s+|"
    r"\((?:public|internal|private|infra?structure)\):?\s+|"
    r"\([a-z][\w ]{2,40}:\)\s+|"  # (JDBC4 clarification:)
    r"\((?:bool|int|float|str|array|list|dict|tuple)(?: of \w{1,20})?\)\s+(?=[A-Z])|"  # the type of a result
    r"(?:warning|attention|important|note|nb|n\.b\.)\s?:\s+(?=(?:this|the) (?:method|function|class)\b))",
    re.IGNORECASE,
)


def without_stamp(paragraph: str) -> str:
    """A paragraph without dates, authors, initials, issue numbers, conditions and labels ("Purpose:") at its beginning."""
    if paragraph[0] in "0123456789[($#JFMASOND" or paragraph[:3] in _WEEKDAYS:
        paragraph = paragraph[match.end() :] if (match := _STAMP.match(paragraph)) else paragraph
        paragraph = paragraph[match.end() :] if (match := _INITIALS.match(paragraph)) else paragraph
        paragraph = paragraph[match.end() :] if (match := _CHAPTER.match(paragraph)) else paragraph
    if paragraph[:1] in "BDIMVbdimv" and (bug := _BUG.match(paragraph)) and begins_with_verb(paragraph[bug.end() :]):
        paragraph = paragraph[bug.end() :]
    head = paragraph[:40]
    if ("-" in head or "/" in head or "." in head) and (
        "]" in head or ")" in head or ":" in head or "- " in head or "@" in head
    ):
        paragraph = paragraph[match.end() :] if (match := _SIGNED.match(paragraph)) else paragraph
    head = paragraph[:24]
    if ":" in head or "--" in head or head[:1] == "(":
        paragraph = paragraph[match.end() :] if (match := _LABEL.match(paragraph) or _CONTRACT.match(paragraph)) else paragraph
    return paragraph


def is_title(text: str) -> bool:
    """Whether a text looks like a heading ("USB Hub Descriptor"): two to seven words, none beginning in lower case."""
    words = text.split()
    return 2 <= len(words) <= 7 and not any(word[0].islower() for word in words)


def is_banner(text: str) -> bool:
    """Whether a text is a title in capitals above a part of a file ("NUMERIC COMPARE FUNCTIONS", "PRIVATE CLASSES END")."""
    return (
        text[-2:].isupper() and text.isupper() and text.count(" ") < _MOST_WORDS_OF_BANNER and _BANNER.search(text) is not None
    )


@lru_cache(maxsize=256)  # a summary is checked when it is chosen, and again by the pair rules
def says_nothing(text: str) -> bool:
    """Whether a cleaned summary is a template or a placeholder ("Constructor", "TODO", "See Foo", "{@inheritDoc}")."""
    head = text[:300].lower()  # the patterns are in lower case: without IGNORECASE they take half the time
    word = head.partition(" ")[0]
    if (
        ("[" in head and _DIRECTION.search(head))
        or (("ed " in head or word in ("run", "runs")) and _CONTEXT.match(head))
        or ("o(" in head and _COMPLEXITY.match(head))
    ):
        return True
    if head.count(" ") <= _MOST_WORDS and (_VAGUE.match(head) or _GENERIC.match(head)):
        return True
    if word in _TELLS or (word in ("returns", "return") and head.count(" ") > 1):
        return False
    pattern = _SHORT if head.count(" ") <= _MOST_WORDS else _LONG
    return pattern.match(head) is not None or (("generated" in head or "edit" in head) and _GENERATED.match(head) is not None)
