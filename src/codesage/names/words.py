"""Words that a new name must not be: the keywords and builtins of a language.

In: a language. Out: a set of words. The list of builtins holds those that code calls by their bare name.
"""

import builtins
import keyword
from functools import cache

from codesage.syntax.names import RESERVED

_CONTEXTUAL = {
    "javascript": "async await let static yield of get set enum implements package protected interface private "
    "public undefined "
    "NaN Infinity eval arguments",
    "typescript": "async await let static yield of get set enum implements package protected interface private "
    "public undefined "
    "NaN Infinity eval arguments type declare namespace module abstract readonly any number string "
    "boolean unknown never object "
    "symbol keyof infer is asserts",
    "java": "true false null var record sealed permits yield module requires exports opens uses provides with",
    "csharp": "var dynamic async await get set value partial where yield from select group into orderby join let on equals by "
    "ascending descending add remove global record init nameof when",
    "c": "bool true false NULL inline restrict typeof asm",
    "ruby": "true false nil self __FILE__ __LINE__ __method__",
    "go": "true false nil iota",
    "php": "true false null self parent static this mixed void iterable object",
    "python": "match case type _",
}
_ECMA = (
    "Array Boolean Date Error Function JSON Map Math Number Object Promise Proxy Reflect RegExp Set String Symbol WeakMap "
    "WeakSet console document window global globalThis process require module exports parseInt parseFloat isNaN isFinite "
    "setTimeout setInterval clearTimeout clearInterval fetch alert location history navigator event name self top parent "
    "status length prototype constructor Buffer URL encodeURIComponent decodeURIComponent escape unescape"
)
_BUILTIN = {
    "javascript": _ECMA,
    "typescript": _ECMA + " Partial Readonly Record Pick Omit Exclude Extract",
    "java": "String Object Integer Long Double Float Boolean Character Byte Short Math System Thread "
    "Exception RuntimeException "
    "Error Override Iterable Class Runnable StringBuilder Number Enum Void",
    "csharp": "String Object Console Math Exception List Dictionary Task Int32 Boolean DateTime Type Array Guid",
    "c": "printf fprintf sprintf snprintf scanf malloc calloc realloc free memcpy memmove memset strlen "
    "strcpy strcmp strcat exit "
    "abort assert errno stdin stdout stderr main size_t FILE fopen fclose fread fwrite open close read write",
    "ruby": "puts print p gets require require_relative raise loop lambda proc format sprintf rand sleep "
    "attr_reader attr_writer "
    "attr_accessor Array Hash String Integer Float Object Class Module Kernel Struct",
    "go": "append cap clear close complex copy delete imag len make max min new panic print println real recover any bool byte "
    "comparable complex64 complex128 error float32 float64 int int8 int16 int32 int64 rune string "
    "uint uint8 uint16 uint32 uint64 "
    "uintptr main init",
    "php": "count strlen strpos substr array_map array_filter in_array isset empty list array echo print exit die unset",
    "python": " ".join(dir(builtins)),
}


@cache
def taken(language: str) -> frozenset[str]:
    """The keywords and builtins of a language."""
    words = RESERVED[language] | set(f"{_CONTEXTUAL[language]} {_BUILTIN[language]}".split())
    return frozenset(words | set(keyword.kwlist) if language == "python" else words)
