"""The documentation of definitions: lines between, other comments, marks, Python's literals, and line ends."""

import ast
import re
import sysconfig
import warnings
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from codesage.corpus.distinct.duplicates import signatures
from codesage.corpus.pairs.passages import passages_of
from codesage.corpus.pairs.rules import pairs_of
from codesage.languages import language_of
from codesage.records import Document
from codesage.search.chunks import chunks
from codesage.syntax import functions, identifiers, parse
from codesage.syntax.docstrings import comment_before, python_docstring
from codesage.walk import read_text, text_of
from timing import takes_less

SAMPLES = [
    path
    for path in sorted((Path(__file__).parent / "samples").glob("sample.*"))
    if path.suffix not in (".functions", ".hidden")
]
DEFINITIONS = {
    "c": "int f(int a) { return a; }",
    "csharp": "class C {{\n{0}\nint F(int a) {{ return a; }} }}",
    "go": "func f(a int) int { return a }",
    "java": "class C {{\n{0}\nint f(int a) {{ return a; }} }}",
    "javascript": "function f(a) { return a; }",
    "php": "<?php\n{0}\nfunction f($a) {{ return $a; }}",
    "ruby": "def f(a)\n  a\nend",
    "typescript": "function f(a: number) { return a; }",
}


def docstring(comment: str, language: str) -> str:
    """The docstring of the function below `comment`."""
    definition = DEFINITIONS[language]
    text = definition.format(comment) if "{0}" in definition else f"{comment}\n{definition}"
    return [function for function in functions(parse(text, language)) if function.kind == "function"][-1].docstring


DIRECTIVES = {
    "c": """
        // NOLINTNEXTLINE(readability-identifier-naming)
        /* NOLINT */
        /* clang-format off */
        // clang-format on
        /*ARGSUSED*/
        /* NOTREACHED */
        /* VARARGS2 */
        /* fall through */
        /* FALLTHROUGH */
        /* LCOV_EXCL_START */
        // cppcheck-suppress unusedFunction
        /* coverity[leaked_storage] */
        /*lint -e534 */
        /*lint -save*/
        // IWYU pragma: keep
        //-V501
        /* *INDENT-OFF* */
        /* PRQA S 0857, 3201 */
        /* polyspace<MISRA-C3:8.7:Not a defect:Justify> */
        // parasoft-suppress MISRA2012-RULE-8_7
        // @suppress("Unused static function")
        /* !checksrc! disable TYPEDEFSTRUCT 1 */
        /** @cond INTERNAL */
        /** \\endcond */
        // MARK: - Helpers
        // NOSONAR the loop is needed
        // NOSONAR
        /* vim: set ts=4: */
        /* -*- mode: c -*- */
        /*@{*/
        /*@unused@*/
        /********************/
        // --------------------
        #pragma GCC diagnostic push
        __attribute__((noinline))
        SEC("kprobe/open")
        [[nodiscard]]
    """,
    "csharp": """
        // ReSharper disable once UnusedMember.Global
        #region Public methods
        #pragma warning disable CS0618
        #if NETSTANDARD
        #nullable enable
        // csharpier-ignore
        // NOSONAR
        // language=JSON
        // ncrunch: no coverage start
        //-V3022
    """,
    "go": """
        //go:noinline
        //go:build linux
        // +build linux,!windows
        //nolint
        // nolint:gosec,errcheck
        //nolint:gosec // it is not used
        // +k8s:deepcopy-gen=true
        // +optional
        //export goCallback
        //line f.y:10
        //sys	pipe(p *[2]_C_int) (err error)
        // #nosec G104
        //lint:ignore U1000 it is used by assembly
        //revive:disable-next-line:exported
        // coverage-ignore
        // swagger:route GET /pets pets listPets
        // swagger:model Pet
    """,
    "java": """
        // CHECKSTYLE:OFF
        // CHECKSTYLE.OFF: MagicNumber
        // checkstyle: stop
        //noinspection unchecked
        // NOPMD
        //$NON-NLS-1$
        // @formatter:off
        // NOSONAR
        /* CPD-OFF */
        // <editor-fold desc="Getters">
        //region Getters
        // endregion
        // language=RegExp
    """,
    "javascript": """
        // eslint-disable-next-line
        // eslint-disable-next-line no-console, @scope/plug-in/no-x -- we log here
        /* eslint-disable no-console */
        /* eslint quotes: ["error", "double"], curly: 2 */
        /* eslint-env node */
        /* istanbul ignore next */
        /* istanbul ignore next: the others are covered */
        /* c8 ignore start */
        // @ts-ignore
        /** @ts-ignore */
        // @ts-expect-error the types are wrong
        // tslint:disable-next-line:no-any
        // prettier-ignore
        // biome-ignore lint/style/noVar: it is old
        /* @__PURE__ */
        /* #__PURE__ */
        /* webpackIgnore: true */
        // @flow
        // $FlowFixMe[incompatible-type]
        /* global x */
        /* global $, jQuery:true */
        /* globals a, b, c */
        /* exported f */
        /* jshint node: true, esversion: 6 */
        // jshint ignore:line
        /*jslint browser: true */
        // deno-lint-ignore no-explicit-any
        /// <reference path="a.d.ts" />
        //#region Helpers
        // #region Helpers
        // #endregion
        //noinspection JSUnusedGlobalSymbols
        // NOSONAR
        // cspell:disable-next-line
    """,
    "php": """
        // @codingStandardsIgnoreStart
        // phpcs:ignore Generic.Files.LineLength
        /* phpcs:disable */
        // @phpstan-ignore-next-line
        /** @phpstan-ignore-next-line */
        // @psalm-suppress MixedArgument
        // @codeCoverageIgnoreStart
        /* @var Foo $x */
        /** @noinspection PhpUnused */
        /** @noRector */
        // @mago-expect lint:no-empty
        # NOSONAR
    """,
    "ruby": """
        # rubocop:disable Metrics/MethodLength
        # frozen_string_literal: true
        # typed: true
        # :nodoc:
        #:nodoc: all
        # :reek:FeatureEnvy
        # standard:disable Style/Foo
        # -*- coding: utf-8 -*-
        # encoding: utf-8
        #!/usr/bin/env ruby
        # ----------
        sig { params(a: Integer).returns(Integer) }
        sig(:final) { params(a: Integer).returns(Integer) }
        sig do params(a: Integer).void end
        T::Sig::WithoutRuntime.sig { params(a: Integer).void }
    """,
}
DIRECTIVES["typescript"] = DIRECTIVES["javascript"]
SAMPLE_MARKS = ("[START storage_upload]", "[END storage_upload]", "snippet-start:[s3.go.create]", "snippet-end:[s3.go.create]",
                "tag::reading[]", "end::reading[]", "<snippet_read>", "</snippet_read>")  # fmt: skip
CASES = [(language, line.strip()) for language, lines in DIRECTIVES.items() for line in lines.splitlines() if line.strip()]
DOCUMENTATION = {"ruby": "# Adds one.\n", "csharp": "/// Adds one.\n", "go": "// Adds one.\n"}


@pytest.mark.parametrize(("language", "line"), CASES)
def test_lines_between_comment_and_definition_are_skipped(language, line):
    above = DOCUMENTATION.get(language, "/** Adds one. */\n")
    assert docstring(above + line, language) == "Adds one."
    assert docstring(above + f"{line}\n{line}", language) == "Adds one."
    assert docstring(line, language) == ""
    assert docstring(above + "\n" + line, language) == ""  # a blank line detaches


@pytest.mark.parametrize(("language", "line"), [case for case in CASES if re.match(r"(?://|# )(?![/$]| ?---)", case[1])])
def test_directives_inside_a_block_are_dropped(language, line):
    mark = "#" if language == "ruby" else "//"
    assert docstring(f"{mark} Adds one,\n{line}\n{mark} or two.", language) in ("Adds one,\nor two.", "Adds one,\n\nor two.")
    text = line.lstrip("/#").strip()
    if language not in ("ruby", "go") and not line.startswith(("//-", "//lint")):
        assert docstring(f"/**\n * Adds one.\n *\n * {text}\n */", language) == "Adds one."


@pytest.mark.parametrize("mark", SAMPLE_MARKS)
@pytest.mark.parametrize("language", ["java", "ruby", "go", "csharp", "php", "c", "javascript"])
def test_marks_of_samples_are_no_documentation(language, mark):
    comment = "#" if language == "ruby" else "//"
    above = DOCUMENTATION.get(language, "/** Adds one. */\n")
    assert docstring(f"{above}{comment} {mark}", language) == "Adds one."
    assert docstring(f"{comment} {mark}", language) == ""
    assert docstring(f"{comment} {mark}\n{comment} Adds one.", language) == "Adds one."


def test_a_signature_of_many_lines_is_skipped():
    for first, last in (("sig do", "end"), ("sig {", "}"), ("sig(:final) do", "end"), ("T::Sig::WithoutRuntime.sig {", "}")):
        signature = f"{first}\n  params(\n    a: Integer\n  )\n\n    .returns(Integer)\n{last}"
        assert docstring(f"# Adds one.\n{signature}", "ruby") == "Adds one."
        assert docstring(f"# Adds one.\n{signature}\n# rubocop:disable all", "ruby") == "Adds one."
        assert docstring(f"# Adds one.\n\n{signature}", "ruby") == docstring(signature, "ruby") == ""
    for block in ("it do\n  b\nend", "B = {\n  b: 1\n}", "  sig do\n  void\nend", "sig do\n  void\nend\nend", "sig = b\nend"):
        assert docstring(f"# Not one.\n{block}", "ruby") == ""


def test_a_directive_of_many_lines_is_one():
    for directive in ("global a,\n b,\n c", "eslint-disable\n   no-console,\n   no-alert\n", "jshint\n  node: true\n"):
        assert docstring(f"/** Adds one. */\n/* {directive} */", "javascript") == "Adds one."


@pytest.mark.parametrize(
    ("language", "prose"),
    [
        ("c", "Lint the file that is open."), ("c", "EMPTY lists give 0."), ("c", "NOLINT comments are counted."),
        ("c", "fall through the list to its end"), ("c", "lint of the pocket"), ("c", "PUBLIC: who may read it"),
        ("c", "clang-format is run on the text"), ("c", "#define is read here"), ("c", "ex: the former wife"),
        ("csharp", "region of the page that is printed"), ("csharp", "pragma of the file"), ("csharp", "suppress the warning"),
        ("go", "export the table"), ("go", "line numbers start at one"), ("go", "go: the tool's name"),
        ("go", "nolint is read"), ("go", "note: it may fail"), ("go", "+ is the sum"), ("go", "http://go.dev explains it"),
        ("java", "Checkstyle reads the file"), ("java", "language of the text"), ("java", "region of memory that is free"),
        ("javascript", "global counter of calls"), ("javascript", "Global state, shared"), ("javascript", "c8 is a tool"),
        ("javascript", "eslint rules that are on"), ("javascript", "eslint-disable comments of a file are collected"),
        ("javascript", "property names, sorted"), ("javascript", "istanbul is a city"), ("javascript", "export data"),
        ("javascript", "prettier-ignore comments keep the text"), ("javascript", "webpack configuration of a module"),
        ("php", "phpcs reads the file"), ("php", "var_dump of a value"), ("php", "@param int $a the number"),
        ("ruby", "Type: the kind of token"), ("ruby", "typed: the text that was typed"), ("ruby", "rubocop is run"),
        ("go", "swagger: the tool that reads it"),
        ("ruby", "encoding: how the text is written"), ("ruby", "Coding style"), ("go", "[START of the list]"),
        ("java", "[END] marks the last row"), ("c", "tag::name of the row"), ("ruby", "snippet-start marks are read"),
    ],
)  # fmt: skip
def test_prose_that_begins_like_a_directive_is_kept(language, prose):
    mark = "#" if language == "ruby" else "//"
    assert docstring(f"{mark} {prose}", language) == prose
    if language not in ("ruby", "csharp"):
        assert docstring(f"/* {prose} */", language) == prose
        assert docstring(f"/**\n * It adds.\n * {prose}\n */", language) == f"It adds.\n{prose}"


@pytest.mark.parametrize(
    ("language", "comment", "text"),
    [
        ("javascript", "/** Adds one. */\n// TODO: add two", "Adds one."),
        ("java", "/** Adds one. */\n/* package */", "Adds one."),
        ("java", "/** Adds one. */\n// a note\n// CHECKSTYLE:OFF", "Adds one."),
        ("csharp", "/// Adds one.\n// a note", "Adds one."),
        ("c", "/* Adds one. */\n// a note", "a note"),  # neither has a documentation mark, so the nearest counts
        ("c", "/* Adds one. */\n#define LIMIT 3", ""),  # it documents the macro
        ("c", "/* Adds one. */\n#include <a.h>", ""),
        ("c", "/* Adds one. */\nint x;", ""),
        ("c", "int x; /* a count */", ""),
        ("c", "int x; // a count\n// NOLINT", ""),
        ("c", "/* a count */\n#endif", ""),  # about the code under the condition
        ("javascript", "/*! banner */\n// Adds one.", "Adds one."),
        ("ruby", "# Adds one.\n#--\n# internal note\n#++\n# It is slow.", "Adds one.\nIt is slow."),
        ("ruby", "#--\n# Adds one.\n#++", "Adds one."),
        ("ruby", "=begin\nAdds one.\n  indented\n=end\n# rubocop:disable all", "Adds one.\n  indented"),
        ("php", "/** Adds one. */\n#[Pure]", "Adds one."),
    ],
)
def test_which_comment_documents(language, comment, text):
    assert docstring(comment, language) == text


@pytest.mark.parametrize(
    ("language", "block"),
    [
        ("javascript", "/**\n * @typedef {Object} A\n * @property {string} b the name\n */"),
        ("javascript", "/**\n * The options of a reader.\n * @typedef {Object} A\n */"),
        ("javascript", "/** @typedef {import('a').A} A */"),
        ("javascript", "/**\n * @callback A\n * @param {string} b\n */"),
        ("javascript", "/**\n * @file Reads files.\n */"),
        ("typescript", "/**\n * @fileoverview Reads files.\n */"),
        ("typescript", "/** @overview Reads files. */"),
        ("php", "/**\n * @file\n * Reads files.\n */"),
        ("c", "/**\n * @file a.c\n * Reads files.\n */"),
        ("c", "/*!\n  \\file\n  Reads files.\n*/"),
        ("c", "/**\n * @defgroup sums Sums of numbers\n * Functions that add.\n * @{\n */"),
        ("c", "/**\n * \\addtogroup sums\n */"),
        ("c", "/** @mainpage Sums\n * How to add. */"),
        ("ruby", "# @!method open(name)\n#   Opens a file.\n#   @return [File] the file"),
        ("ruby", "# @!method self.open\n#   Opens a file."),
        ("ruby", "# @!attribute [r] name\n#   @return [String] the name"),
    ],
)
def test_a_block_about_something_else_does_not_document(language, block):
    assert docstring(block, language) == ""
    if language != "ruby":
        assert docstring(f"/** Adds one. */\n{block}", language) == "Adds one."


@pytest.mark.parametrize(
    ("language", "comment", "text"),
    [
        ("javascript", "/**\n * Adds one.\n * @param a the @typedef of a\n */", "Adds one.\n@param a the @typedef of a"),
        ("javascript", "/**\n * Adds one.\n * @filename a\n */", "Adds one.\n@filename a"),
        ("java", "/**\n * Adds one.\n * @file a\n */", "Adds one.\n@file a"),
        ("c", "/**\n * Adds one.\n * @ingroup sums\n */", "Adds one.\n@ingroup sums"),
        ("c", "/**\n * Adds one.\n * @pages the number of pages\n */", "Adds one.\n@pages the number of pages"),
        ("ruby", "# @!method f(a)\n#   Adds one.", "@!method f(a)\n  Adds one."),
        ("ruby", "# @!attribute [w] f\n#   Adds one.", "@!attribute [w] f\n  Adds one."),
        ("ruby", "# Adds one.\n# @!method g", "Adds one.\n@!method g"),
        ("ruby", "# @!visibility private\n# Adds one.", "@!visibility private\nAdds one."),
    ],
)  # fmt: skip
def test_a_block_with_such_a_tag_may_document(language, comment, text):
    assert docstring(comment, language) == text


@pytest.mark.parametrize(
    ("language", "comment", "text"),
    [
        ("c", "static int x = 0;  // a count of\n                   // all calls", ""),
        ("c", "static int x = 0;  /* a count of */\n                   /* all calls */", ""),
        ("c", "static int x = 0;  /* a count of */\n                   /* all\n                      calls */", ""),
        ("c", "int x; /**< a count of */\n       /**< all calls */", ""),
        ("c", "int x;\t\t// a count of\n\t\t// all calls", ""),
        ("c", "int x;      // a count of\n\t    // all calls", ""),  # a tab is 8 wide
        ("c", "char *x = \"ü\"; // a count of\n               // all calls", ""),
        ("c", "int x; // a count of\n       // calls\n       // and more\n// Adds one,\n  // or two.", "Adds one,\nor two."),
        ("c", "int x; // a count of\n  // Adds one.", "Adds one."),
        ("c", "int x; /* a count */\n  /* Adds one. */", "Adds one."),
        ("c", "  // Adds one,\n  // or two.", "Adds one,\nor two."),
        ("javascript", "let x = 1; // a count of\n           // all calls", ""),
        ("java", "int x = 1; // a count of\n           // all calls", ""),
        ("java", "int x = 1; // a count\n  /** Adds one. */", "Adds one."),
        ("go", "var x = 1 // a count of\n          // all calls", ""),
        ("php", "$x = 1; # a count of\n        # all calls", ""),
        ("ruby", "X = 1 # a count of\n      # all calls", ""),
        ("ruby", "X = 1 # a count of\n# Adds one.", "Adds one."),
    ],
)  # fmt: skip
def test_the_end_of_a_comment_behind_code_does_not_document(language, comment, text):
    assert docstring(comment, language) == text


MARKS = {  # language, comment, text
    "javadoc": ("java", "/**\n * Adds one.\n *\n * @param a n\n */", "Adds one.\n\n@param a n"),
    "without a space": ("java", "/**\n *Adds one,\n *or two.\n **/", "Adds one,\nor two."),
    "qt": ("c", "/*! Adds one. */", "Adds one."),
    "after": ("c", "/**< Adds one. */", "Adds one."),
    "qt after": ("c", "/*!< Adds one. */", "Adds one."),
    "sqlite": ("c", "/*\n** Adds one,\n** or two:\n**\n**    f(1)\n*/", "Adds one,\nor two:\n\n   f(1)"),
    "sqlite, one line": ("c", "/*\n** Adds one.\n*/", "Adds one."),
    "sqlite, a slip": ("c", "/*\n** Adds one.\n*\n** Or two.\n** Or three.\n*/", "Adds one.\n\nOr two.\nOr three."),
    "sqlite list": ("c", "/*\n** Adds:\n**\n**   *  one\n**   *  two\n*/", "Adds:\n\n  *  one\n  *  two"),
    "list": ("java", "/**\n * Adds:\n * * one\n * * two\n */", "Adds:\n* one\n* two"),
    "list without marks": ("java", "/**\n  Adds:\n  * one\n  * two\n  three\n*/", "Adds:\n* one\n* two\nthree"),
    "marks from the second line on": ("c", "/*\n  Adds one,\n* or two.\n*/", "Adds one,\nor two."),
    "bold": ("java", "/**\n * **Never** adds.\n * **Nor** more.\n */", "**Never** adds.\n**Nor** more."),
    "bold without marks": ("c", "/*\n**Never** adds\nmore than one.\n*/", "**Never** adds\nmore than one."),
    "some marks": ("c", "/* Adds one,\n * or two,\n   or three.\n */", "Adds one,\nor two,\nor three."),
    "name line": ("c", "/*\n - f - adds one\n * or two\n */", "f - adds one\nor two"),
    "no marks": ("c", "/* Adds one,\n   or two. */", "Adds one,\nor two."),
    "exclamation": ("c", "/* Adds!*/", "Adds!"),
    "petsc": ("c", "/*@\n   f - Adds one.\n\n   Level: beginner\n@*/", "f - Adds one.\n\nLevel: beginner"),
    "petsc with a letter": (
        "c",
        "/*@C\n   f - Adds one.\n\n   Level: beginner\n\n.seealso: g()\n@*/",
        "f - Adds one.\n\n   Level: beginner\n\n.seealso: g()",
    ),
    "petsc type": ("c", "/*E\n    f - Adds one.\n\n   Level: beginner\nE*/", "f - Adds one.\n\nLevel: beginner"),
    "petsc manual": ("c", "/*MC\n   f - Adds one.\n\n.seealso: g()\nM*/", "f - Adds one.\n\n.seealso: g()"),
    "capital": ("c", "/*E is added\n  to one.*/", "E is added\nto one."),
    "a tag in one line": ("c", "/** @return one */", "@return one"),
    "bsd": ("c", "/*-\n * Adds one.\n */", "Adds one."),
    "negative": ("c", "/*-1 for errors*/", "-1 for errors"),
    "box of stars": ("c", "/*********\n * Adds one. *\n *           *\n * Or two.   *\n *********/", "Adds one.\n\nOr two."),
    "box of numbers": ("c", "/*##########\n# Adds one. #\n# Or two.   #\n##########*/", "Adds one.\nOr two."),
    "box of bars": ("c", "/*----------+\n | Adds one. |\n | Or two.   |\n +----------*/", None),
    "box of comments": ("c", "/*************/\n/* Adds one, */\n/* or two.   */\n/*************/", "Adds one,\nor two."),
    "notes": ("c", "/* Adds one, */\n/* or two. */", "Adds one,\nor two."),
    "rulers": ("c", "/*-------\n * Adds one.\n *-------\n */", "Adds one."),
    "hdf5": ("c", "/*-------\n * Purpose: adds\n *\n * Return: one\n *\n *-------\n */", "Purpose: adds\n\nReturn: one"),
    "title": ("go", "// ====== Sums ======\n// Adds one.", "Sums\nAdds one."),
    "title at the left": ("java", "//---- Sums", "Sums"),
    "lines": ("go", "// Adds one,\n//\n//\tf(1)\n//or two.", "Adds one,\n\n\tf(1)\nor two."),
    "margin": ("go", "//   Adds one,\n//   or two.", "Adds one,\nor two."),
    "slashes": ("csharp", "/// <summary>\n///   Adds one.\n/// </summary>", "<summary>\n  Adds one.\n</summary>"),
    "glued tag": ("csharp", "///<summary>Adds one.</summary>", "<summary>Adds one.</summary>"),
    "doxygen lines": ("c", "//! Adds one,\n//! or two.", "Adds one,\nor two."),
    "doxygen after": ("c", "///< Adds one.", "Adds one."),
    "box of line comments": (
        "javascript",
        "//////////////\n// Adds one. //\n//           //\n// Or two.   //\n//////////////",
        "Adds one.\n\nOr two.",
    ),
    "box of one line": ("c", "//-----------//\n//Adds one.  //\n//-----------//", "Adds one."),
    "box without rulers": ("csharp", "/// Adds one. ///", "Adds one."),
    "box of number signs": ("ruby", "#############\n# Adds one. #\n# Or two.   #\n#############", "Adds one.\nOr two."),
    "right side on some lines": ("go", "// Adds one. //\n// Or two.", "Adds one. //\nOr two."),
    "end of a word": ("ruby", "# Reads C#", "Reads C#"),
    "end of an address": ("java", "// Opens http://", "Opens http://"),
    "rulers of slashes": ("csharp", "////////////\n// Adds one.\n////////////", "Adds one."),
    "frame": ("go", "// ---------\n// Adds one.\n// ---------", "Adds one."),
    "heading": ("go", "// Sums\n// ----\n// Adds one.", "Sums\n----\nAdds one."),
    "path": ("go", "// /etc/passwd is read.", "/etc/passwd is read."),
    "ruby": ("ruby", "##\n# Adds one.\n#\n#   f(1)", "Adds one.\n\n  f(1)"),
    "ruby frame": ("ruby", "#####\n# Adds one.\n#####", "Adds one."),
    "php": ("php", "# Adds one,\n# or two.", "Adds one,\nor two."),
    "fence": ("typescript", "/**\n * Adds one.\n * ~~~\n * f(1)\n * ~~~\n */", "Adds one.\n~~~\nf(1)\n~~~"),
    "sphinx": ("ruby", "#: Adds one,\n#: or two.", "Adds one,\nor two."),
    "stars behind slashes": ("javascript", "//* Adds one,\n//*\n//* or two.", "Adds one,\n\nor two."),
    "one star behind slashes": ("java", "//** Adds one.", "Adds one."),
    "a bar behind slashes": ("go", "//| Adds one.", "Adds one."),
    "a number behind slashes": ("c", "//-1 for errors", "-1 for errors"),
    "signs behind some marks": ("go", "//- one\n// two", "- one\ntwo"),
    "dashes in a block": ("c", "/*\n-- Adds one,\n--\n-- or two.\n*/", "Adds one,\n\nor two."),
    "semicolons in a block": ("java", "/*\n ; Adds one,\n ; or two.\n */", "Adds one,\nor two."),
    "quoted in a block": ("php", "/**\n * > Adds one,\n * > or two.\n */", "Adds one,\nor two."),
    "options in a block": ("c", "/*\n --one adds one\n --two adds two\n*/", "--one adds one\n--two adds two"),
    "opened on every line": ("c", "/* Adds one,\n/* or two. */", "Adds one,\nor two."),
    "opened below a ruler": ("c", "/*********\n  /* Adds one,\n  /*\n  /* or two.\n  */", "Adds one,\n\nor two."),
    "a pattern inside": ("c", "/* Adds one of src/*.c\n   or two. */", "Adds one of src/*.c\nor two."),
    "form feed": ("c", "/* Adds\x0cone. */", "Adds\x0cone."),
}


@pytest.mark.parametrize("name", MARKS)
def test_marks_are_stripped_as_the_language_writes_them(name):
    language, comment, text = MARKS[name]
    text_read = docstring(comment, language)
    if text is None:
        assert "Adds one." in text_read and "Or two." in text_read
    else:
        assert text_read == text


def test_indented_comments_are_read_like_others():
    text = "class C {\n\t/*\n\t** Adds one,\n\t** or two.\n\t*/\n\tint f(int a) { return a; } }"
    assert functions(parse(text, "java"))[-1].docstring == "Adds one,\nor two."


def test_the_first_byte_is_that_of_the_documentation():
    directive = "/** Adds. */\n// eslint-disable-next-line x\n"
    for above, language in ((directive, "javascript"), ("/* Adds. */\n#pragma once\n", "c")):
        source = b"x;\n\n" + above.encode()
        assert comment_before(source, len(source), language) == ("Adds.", 4)
    assert comment_before(b"x;\n// eslint-disable-line\nf", 26, "javascript") == ("", 3)
    assert comment_before(b"/* A section. */\n#ifdef A\nf", 26, "c") == ("", 26)


@pytest.mark.parametrize(
    "literal",
    [
        '"Adds one."', "'Adds one.'", '"""Adds\n    one.\n    """', "r'''Adds \\n one.'''", 'u"Adds"', 'R"a\\"b"',
        '"a" "b"',
        '"a"\'b\'', '"""a\n  b"""\n"c"', '("a"\n "b")', '("a"  # part\n # more\n "b"\n)', '"a" \\\n"b"', '"a\\\n   b"',
        '"a\\tb\\n c"',
        r'"\"quoted\" \\ \'"', r'"\x41\101\u00e9\U0001F600\N{BULLET}"', r'"\q \d \8"', '"" ""', '""',
        '"""  a\n\n   b\n  c\n\n"""',
        r'"""a "b" ""c"" \""""', r'r"\\" "\\n"', '"""a "quoted" text"""', "'it''s'", '"#" "no comment"', '"\\\\n"', '(("a"))',
        'b"a"', 'f"a"', 'rb"a"', 'Rf"a{1}"', '"a" f"b"', '"a" % b', '"a".format(b)', '"a" + "b"', "a", "", "()",
        '("a", "b")', "1",
    ],
)  # fmt: skip
def test_python_literals_are_read_as_python_does(literal):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about invalid escapes
        tree = ast.parse(f"({literal}\n)")
    assert python_docstring(literal) == (ast.get_docstring(tree) or "")


def test_a_lone_surrogate_stays_an_escape():
    assert python_docstring(r'"a \ud800 b"') == r"a \ud800 b"


def test_python_docstrings_equal_those_of_inspect():
    files = [file for file in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")) if file.stat().st_size < 60_000][:80]
    compared = 0
    for file in files:
        text = read_text(file, name=file.name)
        if not hasattr(text, "text") or "\x0c" in text.text:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text.text)
        lines = text.text.encode().splitlines(keepends=True)
        nodes = [tree]
        while nodes:
            node = nodes.pop()
            nodes += [inner for inner in node.body if isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))]
            if not node.body:
                continue
            first = node.body[0]
            if not isinstance(first, ast.Expr) or not isinstance(first.value, (ast.Constant, ast.JoinedStr)):
                continue
            piece = lines[first.lineno - 1 : first.end_lineno]
            piece[-1] = piece[-1][: first.end_col_offset]
            literal = b"".join(piece)[first.col_offset :].decode()
            expected = ast.get_docstring(node) or ""
            assert python_docstring(literal) == expected, (file, node.name)
            compared += bool(expected)
    assert compared > 700


BREAKS = {"CRLF": "\r\n", "CR": "\r"}


def _with_breaks(text: str, breaks: str) -> str:
    if breaks in BREAKS:
        return text.replace("\n", BREAKS[breaks])
    lines = text.split("\n")  # mixed, but no lone CR before an empty line that ends in LF: this would be CRLF
    ends = [
        "\r\n" if number % 3 == 0 else "\n" if number % 3 == 1 or not following else "\r"
        for number, following in enumerate([*lines[1:], ""])
    ]
    return "".join(line + end for line, end in zip(lines, [*ends[:-1], ""], strict=False))


@pytest.mark.parametrize("breaks", ["CRLF", "CR", "mixed"])
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.suffix[1:])
def test_line_ends_change_nothing(sample, breaks, tmp_path):
    language, text = language_of(sample.name), sample.read_text(encoding="utf-8")
    copy = tmp_path / sample.name
    copy.write_bytes(_with_breaks(text, breaks).encode())
    assert b"\r" in copy.read_bytes()
    read, original = read_text(copy, name=sample.name), read_text(sample, name=sample.name)
    assert read.text == original.text == text and read.sha256 != original.sha256
    documents = [Document(sample.name, language, bytes_read.text, "") for bytes_read in (read, original)]
    trees = [parse(document.text, language) for document in documents]
    assert functions(trees[0]) == functions(trees[1]) and identifiers(trees[0]) == identifiers(trees[1])
    assert chunks(documents[0]) == chunks(documents[1])
    pairs = [
        [*pairs_of(functions(tree), document, Counter()), *passages_of(tree, document)]
        for tree, document in zip(trees, documents, strict=True)
    ]
    assert pairs[0] == pairs[1]
    rows = signatures([document.text for document in documents])
    assert np.array_equal(rows[0], rows[1])


def test_line_ends_are_read_equally_in_every_encoding():
    text = "a\r\nb\rc\n\r\nd\r\r\u2028e\x0cf\x0b\x85g"
    want = "a\nb\nc\n\nd\n\n\u2028e\x0cf\x0b\x85g"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        assert text_of(text.encode(encoding), name="a.py").text == want


@pytest.mark.parametrize(
    "comment",
    [
        "/*" + "\n" * 20_000 + "*/",
        "/*" + "\n** a" * 20_000 + "\n*/",
        "/* a */\n" * 20_000,
        "// a ---\n" * 20_000,
        "// NOLINT\n" * 20_000,
        "/* NOLINT */\n" * 20_000,
        "#ifdef A\n" * 20_000,
        "/*" + " \n" * 20_000 + "- a */",
        "// ---- a" + " " * 90_000 + "b\n",
        "/* " + "- " * 40_000 + "a */",
        "/*" + "/" * 90_000 + "a */",
        "/*\n" + "*" * 90_000 + "\n a */",
        "int x; // a\n" + "       // a\n" * 20_000,
        "int x; /* a */\n" + "       /* a */\n" * 20_000,
    ],
    ids=range(14),
)
def test_hostile_comments_take_linear_time(comment):
    source = comment.rstrip("\n").encode() + b"\n"
    assert takes_less(1, lambda: comment_before(source, len(source), "c"))


@pytest.mark.parametrize(
    "code",
    ["end\n" * 20_000, "  end\n" * 20_000 + "end\n", "sig do\n  a\nend\n" * 9_000, "sig" + " " * 90_000 + "a\n"],
    ids=range(4),
)
def test_hostile_signatures_take_linear_time(code):
    source = code.encode()
    assert takes_less(1, lambda: comment_before(source, len(source), "ruby"))


def test_hostile_literals_take_linear_time():
    for literal in ('"a" ' * 5_000, '"' + "\\" * 30_001, '"""' + '"" ' * 10_000, "(" * 20_000, '"a" ' + "\n" * 20_000 + "+ 1"):
        assert takes_less(1, partial(python_docstring, literal))


@pytest.mark.parametrize(
    ("language", "comment", "docstring"),
    [
        ("javascript", "//////////////////\n// Counts boxes. //\n//////////////////", "Counts boxes."),
        ("java", "//////////////////\n// Counts all   //\n// of the boxes //\n//////////////////", "Counts all\nof the boxes"),
        ("c", "//add two lists//", "add two lists"),
        ("go", "// Counts boxes in C# //", "Counts boxes in C#"),
        ("php", "##################\n# Counts boxes   #\n##################", "Counts boxes"),
        ("ruby", "##################\n# Counts all     #\n# of the boxes   #\n##################", "Counts all\nof the boxes"),
        ("ruby", "# Counts boxes #", "Counts boxes"),
        ("c", "// Counts all //\n// of the boxes", "Counts all //\nof the boxes"),
        ("c", "// Counts http://", "Counts http://"),
        ("javascript", "// Counts boxes.\n// eslint-next-line no-console", "Counts boxes."),
        ("typescript", "// eslint-disable-nextline no-console\n// Counts boxes.", "Counts boxes."),
        ("javascript", "// eslint-next-line is what it counts", "eslint-next-line is what it counts"),
    ],
)
def test_sides_of_boxes_and_directives_are_no_text(language, comment, docstring):
    assert comment_before(f"\n{comment}\n".encode(), len(comment) + 2, language)[0] == docstring
