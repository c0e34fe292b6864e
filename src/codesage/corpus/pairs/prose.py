"""Turns docstrings into plain language: the summary sentence, and a description with the rest.

The input is a docstring without comment marks (syntax.docstrings) and its language. The output is text without URLs, HTML,
doc tags and inline markup, with broken Unicode repaired. docblocks.py makes the blocks. Every pattern takes time linear in
the text.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from codesage.corpus.pairs.declarations import is_signature, may_begin_signature
from codesage.corpus.pairs.docblocks import blocks_of
from codesage.corpus.pairs.docreader import ITEM, Block
from codesage.corpus.pairs.english import is_code
from codesage.corpus.pairs.markup import clean
from codesage.corpus.pairs.openings import is_empty, next_action
from codesage.corpus.pairs.ownname import tells_what_it_does, without_name
from codesage.corpus.pairs.remarks import is_remark
from codesage.corpus.pairs.sentences import first_sentence
from codesage.corpus.pairs.templates import is_banner, says_nothing, without_stamp

_TOKEN = re.compile(r"\w+|[^\w\s]")
_TYPED = re.compile(r"[A-Z]+[A-Z\d]\w{0,60} \w{1,60}\s*$")
_SIGNATURE = re.compile(r"[\w.:*&\[\]]{1,200}\s?\([^()]{0,2000}\)\s*(?:->\s*[^,;()]{0,60}(?:\([^()]{0,200}\)[^,;()]{0,60})?)?$")
_SQL_SIGNATURE = re.compile(  # SQL function f(a, b) -> c
    r"SQL [Ff]unctions?:? \w{1,80}\s?\([^()]{0,300}\)(?:\s?->\s?\w{1,60}(?:\[\])?)?[.:]?(?:\s+|$)"
)
_JOINT = re.compile(r"(?<=[\w)\]])(?:\s--?|\s?[–—:;])\s+(?=[^\W\d])")  # between a signature and what the function does
_LONE_NAME = re.compile(r"[\w.:#~*&-]{1,120}+(?:\(\))?\s*(?:[-–:]{1,3})?$")
_COMMAND = re.compile(r"[A-Z][A-Z_.]{2,40}(?: [\w<>\[\]|.:-]{1,30}){0,8}? ?--? (?=[A-Z])")  # FSL.PUSH <key> - Push a key
_NAME_DASH = re.compile(
    r"(?!(?i:todo|tbd|wip|fixme|xxx|hack|bug|notes?|nb|warning|caution|important|attention|deprecated)\b)(?:(?:struct|union|enum|typedef|function|class|macro)\s+)?[\w.:]{1,120}\s?(?:\([^()]{0,200}\))?\s*"
    r"(?:\s[-–—]{1,2}\s|--\s|:\s)\s*(?=\S)"
)
_SECTION = re.compile(r"\s(?:USAGE|INPUTS)(?:$|\s(?=[a-zA-Z_]))")  # of HDF5's comments, whose line break is lost
_PROTOTYPE = re.compile(r"\s\^ (?:static|extern|const|struct|unsigned|void|int|char)\b")  # a line of Henry Spencer's comments
_DASH = re.compile(r"(?:[-–—]{1,3}|[-=]?>)\s+(?=[A-Za-z\"'`(])")
_ARTICLES = {"the", "a", "an", "of", "to", "this"}
_NAME_PARTS = re.compile(r"[_\W]+")
_WHOLE = re.compile(r"(?:returns?|yields?|this|there|it|if|when|on|otherwise|see|same)\b", re.IGNORECASE)
_CONDITION = re.compile(r"(?:if|when|on|in|for|unless|whenever|because|to|where|as)\b", re.IGNORECASE)
_RETURNS = re.compile(r"(?:returns?|yields?)\s+", re.IGNORECASE)
_NO_RESULT = re.compile(  # descriptions of a result that do not say what the code does
    r"(?:if|when|where|containing|contains|formatted|by|based|resolved|resolves|rejected|only|with|for|on|in|as|from|"
    r"which|that|to|"
    r"and|or|see|same|not|do not|also|after|before|because|otherwise|depending|void|nothing|undefined|null|none|this|self|"
    r"empty|\$this|"
    r"(?:non-?)?zero|errors?|errno|success|status|negative|positive|ok|exit|error_code|[A-Z]+_[A-Z_]+|\W|\d)(?!\w)|"
    r".*(?:\b(?:TODO|FIXME)\b|\{\})"
)
_VAGUE_RESULT = re.compile(  # what it is about is said nowhere: "true when the two are equal", "the wrapped bytes"
    r"(?:(?:true|false|whether|if|when|iff) )*"
    r"(?:it(?!'s| is (?:\w+ ){1,2}to )|they|these|"
    r"(?:both|the (?:two|three|former|latter))(?= (?:are|were|is|was|have|can|may)\b))\b|"
    r"(?:the|an?) (?:(?:\w+(?:ed|ing)|new|same|final|whole|actual) )?(?:bytes?|values?|results?|objects?|data|strings?|nodes?|"
    r"lists?|arrays?|instances?|responses?|outputs?|fields?|items?|elements?)(?:$|, \w+$)|"
    r"(?:(?:true|false|whether|if|on|for|when) )+(?:(?:the|this|an?) )?(?:\w+ ){0,2}(?:(?:is|was|were|has been) )?"
    r"(?:success|successful|succeeded|succeeds|handled|consumed|completed)(?=$|[,;]| (?:and|or|else|false|otherwise)\b)|"
    r"[\w-]+ on success\b"
)
_RESULT_TYPE = re.compile(
    r"(?i:boolean|bool|int|integer|string|str|object|array|number|float|double|long)\s?[-–:]\s|"
    r"(?:\w+\.[\w.]+|(?=\w*[a-z][A-Z])\w+|tuple|list|dict)(?:\[[^:]{0,80}\])?(?: (?:or|\|) [\w.]{1,60}){0,3}:\s|"
    r"(?:\w+\.)?\w{0,20}(?:[tT]ensor|ndarray)(?: of(?: the same)? shape)? ?(?:as \w+|\((?:[^()]|\([^()]{0,80}\)){0,120}\)|"
    r"\[[^\[\]]{0,120}\])(?::\s|$|\s(?=[A-Z]))"  # torch.Tensor of shape (batch, length): the scores
)
_CONDITIONAL_TYPE = re.compile(r"(?:an? )?(?=\w*[a-z\d][A-Z])[\w.]+ (?:(?:or \w+ )?if\b|or tuple$)")
_ENDS_IN_AIR = re.compile(
    r"\b(?:to|of|is|are|as|for|by|with|in|on|from|like|the|be|this|these|and|or|if|using)\s?:+$", re.IGNORECASE
)
_LEAD_IN = re.compile(  # words at the end that lead to a list or code outside the sentence
    r"[\s,;(-]*(?:\b(?:that is|namely|as follows|for example|for instance|e\.g\.?|i\.e\.?|such as|including|"
    r"as in|see|examples?|ex|usage|so (?:that )?(?:you|we|one) can (?:do|write|say|use)|"
    r"in the following (?:way|manner|order|form|format))\b)?\s*:+$",
    re.IGNORECASE,
)
_DANGLING = ("e.g", "i.e", "such as", "for example", "that is", "namely")
_DANGLES = re.compile(r"[\s,;(]*\b(?:e\.g|i\.e|such as|for example|that is|namely)$", re.IGNORECASE)
_MOST_WORDS_OF_LIST = 40  # of a sentence that ends with a list
_MOST_TRIED = 8  # sentences that say nothing; then the rest of the paragraph is skipped


class Opening(NamedTuple):
    """The summary of a docstring and its position: its block, the sentence, and the rest of the block."""

    number: int  # of the block; the paragraphs before it are left out
    sentence: str
    rest: str
    template: str  # the first skipped sentence that says nothing, cleaned


def summary(docstring: str, language: str, *, name: str = "") -> str:
    """The first sentence of a docstring that says more than a name, a signature or a template, cleaned.

    `name` is that of the definition; it is removed from the beginning of the sentence. If no paragraph says anything, the
    summary is "Returns" with the description of the result, or else the template or the name in the docstring. It is "" if
    there is no paragraph at all.
    """
    docstring = _without_declaration(docstring, name) if language == "ruby" else docstring
    opening = _opening(docstring, language, name)
    if opening.sentence or opening.template:
        return opening.sentence or opening.template
    names = (block.text for block in blocks_of(docstring, language) if block.kind == "text" and _LONE_NAME.match(block.text))
    return next(filter(None, (clean(name, language) for name in names)), "")


def description(docstring: str, language: str, *, name: str = "") -> str:
    """The rest of a docstring in plain sentences: paragraphs, parameters, results and errors, without code. It may be ""."""
    docstring = _without_declaration(docstring, name) if language == "ruby" else docstring
    opening = _opening(docstring, language, name)
    sentences = []
    for number, block in enumerate(blocks_of(docstring, language)):
        if number == opening.number:
            text = clean(opening.rest, language)
        elif block.kind == "text" and number < opening.number:
            continue
        else:
            text = _plain(block, language)
        if " " in text and not is_code(text) and not (text.endswith(":") and len(text) < 40):
            sentences.append(text if text[-1] in ".!?:" else text + ".")
    return " ".join(sentences)


def _without_declaration(docstring: str, name: str) -> str:
    """A docstring without a first line that only declares `name` with its type: "BSTR title" above "the title of the page"."""
    first, _, rest = docstring.lstrip().partition("\n")
    declared = name and rest.strip() and _TYPED.match(first) and first.split()[1] == name.rstrip("=")
    return rest if declared else docstring


@lru_cache(maxsize=1024)  # summary and description both use it
def _opening(docstring: str, language: str, name: str) -> Opening:
    blocks = blocks_of(docstring, language)
    template, sure = "", True
    for number, block in enumerate(blocks):
        if block.kind != "text" or (block.name == ITEM and not sure):
            continue
        text = _without_signature(block.text, language)
        text = without_stamp(text) if text else ""
        sentence, rest, passed, sure = _telling_sentence(text, language, name, sure=sure)
        template = template or passed
        if sentence:
            if is_empty(sentence, name) and (better := _better(rest, blocks, number, language)):
                number, sentence, rest = better
            return Opening(number, _completed(sentence, blocks, number, language), rest, template)
    for number, block in enumerate(blocks):
        if block.kind == "return":
            sentence = _result(block.text, language)
            rest = block.text[len(first_sentence(block.text)) :]
            return Opening(number if sentence else len(blocks), sentence, rest, template)
    return Opening(len(blocks), "", "", template)


def _better(rest: str, blocks: tuple[Block, ...], number: int, language: str) -> tuple[int, str, str] | None:
    """The (block, sentence, rest) after an empty sentence of a block, if the next sentence says what the code does."""
    if not rest:
        number += 1
        if number == len(blocks) or blocks[number].kind != "text" or blocks[number].name == ITEM:
            return None
        rest = blocks[number].text
    sentence, rest = next_action(rest)
    cleaned = clean(sentence, language) if sentence else ""
    unclear = not cleaned or cleaned[-1] == ":" or says_nothing(cleaned) or is_remark(cleaned) or is_code(cleaned)
    return None if unclear else (number, cleaned, rest)


def _telling_sentence(text: str, language: str, name: str, *, sure: bool) -> tuple[str, str, str, bool]:
    """Returns (first sentence that says something, rest, first sentence that says nothing, whether still sure).

    After a sentence that says nothing the search is no longer `sure`: what follows may be a note, so a sentence becomes the
    summary only if it says what the code does.
    """
    template = ""
    for _ in range(_MOST_TRIED):
        if not text:
            break
        first = first_sentence(text)
        cleaned = clean(first, language)
        sentence = _without_marks(without_name(_without_marks(cleaned), name, language)) if " " in cleaned else ""
        text = text[len(first) :].lstrip()
        if sentence and is_code(sentence):
            return "", "", template or sentence, False
        says = sentence and not (says_nothing(sentence) or is_remark(sentence))
        in_air = bool(sentence) and sentence[-1] == ":" and _ENDS_IN_AIR.search(f"{_LEAD_IN.sub('', sentence)}:") is not None
        if says and not in_air and (sure or tells_what_it_does(sentence)):
            return sentence, text, template, sure
        template, sure = template or ("" if in_air else sentence or cleaned), sure and not sentence
    return "", "", template, sure


def _without_marks(sentence: str) -> str:
    """A sentence without a dash or an arrow before it, and without a quotation mark that is never closed."""
    sentence = sentence[match.end() :] if (match := _DASH.match(sentence)) else sentence
    return sentence[1:] if sentence[:1] == '"' and sentence.count('"') == 1 else sentence


def _completed(sentence: str, blocks: tuple[Block, ...], number: int, language: str) -> str:
    """A summary with a proper end. If it ends with a colon before a list, a short list is appended and a long one dropped."""
    if sentence.isupper() and sentence.count(" ") > 2 and not is_banner(sentence):
        return sentence.capitalize()
    if sentence[-1] != ":":
        return (_DANGLES.sub("", sentence) or sentence) if sentence.endswith(_DANGLING) else sentence
    shorter = _LEAD_IN.sub("", sentence)
    if not shorter.endswith("following"):
        return shorter or sentence
    items = []
    for block in blocks[number + 1 :]:
        if block.name != ITEM or block.kind != "text":
            break
        items.append(clean(block.text, language))
    joined = f"{shorter}: {'; '.join(items)}"
    return joined if items and len(joined.split()) <= _MOST_WORDS_OF_LIST else ""  # "one of the following" alone says nothing


def _result(text: str, language: str) -> str:
    """The summary made of the description of a result: "Returns the number of files"; "" if it only names a type."""
    sentence = clean(first_sentence(text), language).rstrip(":")
    sentence = sentence[match.end() :] if (match := _RETURNS.match(sentence)) else sentence
    sentence = sentence[match.end() :] if (match := _RESULT_TYPE.match(sentence)) else sentence
    if sentence.count(" ") < 2 or _NO_RESULT.match(_lower_first(sentence)) or says_nothing(sentence) or is_code(sentence):
        return ""
    if _VAGUE_RESULT.match(_lower_first(sentence)) or _CONDITIONAL_TYPE.match(sentence):
        return ""
    keeps = language == "python" and sentence.startswith(("True", "False", "None"))
    return f"Returns {sentence if keeps else _lower_first(sentence)}"


def _plain(block: Block, language: str) -> str:
    """A block as a sentence, or "" if it says no more than its name."""
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


def _without_signature(text: str, language: str) -> str:
    """A paragraph without the name at its beginning (kernel-doc, TomDoc); "" if it is only a name or a signature."""
    if text.startswith(("SQL function", "SQL Function")):
        text = _SQL_SIGNATURE.sub("", text, count=1)
    head = text[:400]
    if _LONE_NAME.match(text) or ((text.endswith(")") or "->" in head) and _SIGNATURE.match(text)):
        return ""
    if "(" in head and may_begin_signature(text):
        if is_signature(text):
            return ""
        if joints := [joint for joint in _JOINT.finditer(head) if is_signature(text[: joint.start()])]:
            return text[joints[-1].end() :]
    if language == "c" and " ^ " in text:
        text = _PROTOTYPE.split(text, maxsplit=1)[0]
        head = text[:400]
    if language == "c" and (" USAGE" in text or " INPUTS" in text):
        text = _SECTION.split(text, maxsplit=1)[0]
        head = text[:400]
    if language == "c" and head[:2].isupper() and (match := _COMMAND.match(head)):
        return text[match.end() :]
    match = _NAME_DASH.match(head) if language in ("c", "ruby", "go") else None
    if match is None or (language != "c" and not {"_", "("} & set(match.group()) and not head[match.end()].isupper()):
        return text
    return text[match.end() :]


def count_tokens(text: str) -> int:
    """Number of words and punctuation marks in a text. The paper's limits of 3 and 256 tokens are counted this way."""
    return len(_TOKEN.findall(text))
