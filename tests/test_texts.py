"""Texts of pairs: names, stamps, templates, markup, sentences, results, grammar, other languages."""

from collections import Counter

import pytest

from codesage.corpus.pairs.declarations import is_signature
from codesage.corpus.pairs.docblocks import blocks_of
from codesage.corpus.pairs.english import is_code, is_english
from codesage.corpus.pairs.markup import clean, repair_unicode
from codesage.corpus.pairs.ownname import without_name
from codesage.corpus.pairs.prose import description, summary
from codesage.corpus.pairs.remarks import heads_section, is_about_parameter, is_bare, is_remark, says_only_name
from codesage.corpus.pairs.rules import pairs_of, refusal
from codesage.corpus.pairs.sentences import first_sentence
from codesage.corpus.pairs.templates import says_nothing
from codesage.records import Document
from codesage.syntax import functions, parse
from timing import takes_less

XML = [
    ("<devdoc>\n<para>Gets the name.</para>\n</devdoc>", "Gets the name"),
    ("<devdoc>Opens a file. </devdoc>", "Opens a file"),
    ('<SUMMARY>Opens a <PARAMREF NAME="x"/> file.</SUMMARY>', "Opens a x file"),
    ("<summary>Opens a file.", "Opens a file"),
    ("<remarks>Slow.</remarks><summary>Opens a file.</summary>", "Opens a file"),
    ('<summary>Calls <see cref="M:A.B.Do(System.Int32)"/> twice.</summary>', "Calls B.Do twice"),
    ('<summary>Calls <see cref="M:A.B.Do">the doer</see> twice.</summary>', "Calls the doer twice"),
    ('<summary>Calls <see cref="M:A.B.Do"></see> twice.</summary>', "Calls B.Do twice"),
    ('<summary>Is <see langword="null"/> or <typeparamref name="T"/> now.</summary>', "Is null or T now"),
    ("<summary>Reads the <code>Length</code> of it.</summary>", "Reads the Length of it"),
    ("<summary>Reads <c>a &lt; b</c> &amp; so on.</summary>", "Reads a < b & so on"),
    ("<summary>Makes a List<T> of names.</summary>", "Makes a List<T> of names"),
    ("<content>Opens a file.</content>", "Opens a file"),
    ("<symmary>\nOpens a file.\n</symmary>", "Opens a file"),
    ("<summar>Opens a file.</summar>", "Opens a file"),
    ("<SecurityNote>Critical - Asserts to get a value</SecurityNote><summary>Opens a file.</summary>", "Opens a file"),
    ("<SecurityNote>\n Critical - Asserts to get a value\n</SecurityNote>", ""),
    ('<SecurityKernel Critical="True" Ring="0">\n<SatisfiesLinkDemand Name="A.B():C" />\n</SecurityKernel>', ""),
    (
        "<summary>\nConverts an error into an object\nReturn null if there is none\n</summary>",
        "Converts an error into an object",
    ),
    ("<remarks>\nConverts an error into an object\nThis is slow\n</remarks>", "Converts an error into an object"),
    (
        "<summary>\nConverts an error into the\nReturn object of it\n</summary>",
        "Converts an error into the Return object of it",
    ),
    ("<summary>\nConverts an error into\nan object.\n</summary>", "Converts an error into an object"),
    ("<overloads>Opens a file in some way.</overloads>", "Opens a file in some way"),
    ('<summary>Calls <see cref="M:A.B.#ctor(System.String)"/> twice.</summary>', "Calls B twice"),
    ("<internalonly/><summary>Opens a file.</summary><filterpriority>1</filterpriority>", "Opens a file"),
    ("<summary>Picks one:<list><item><term>A</term><description>first</description></item></list></summary>", "Picks one"),
]


@pytest.mark.parametrize(("docstring", "text"), XML)
def test_tags_of_csharp(docstring, text):
    assert summary(docstring, "csharp") == text


def test_inherited_and_included_documentation_of_csharp():
    assert refusal(summary("<inheritdoc/>", "csharp")) == "no sentence"
    assert refusal(summary("<include file='a.xml' path='b'/>", "csharp")) == "no sentence"


MARKUP = [
    ("java", "Calls {@link A#f(int, String) the maker} now", "Calls the maker now"),
    ("java", "Calls {@link A#f(int, String)} now", "Calls A.f now"),
    ("java", "Makes a {@code Map<String, {@link A}>} here", "Makes a Map<String, A> here"),
    ("java", "Makes {@code {a, b}} and {@literal x < y}", "Makes {a, b} and x < y"),
    ("java", "At most {@value #MAX} times", "At most MAX times"),
    ("java", 'Reads {@index file a file of the disk} and {@index "open file"} now', "Reads file and open file now"),
    ("java", "Reads the file {@snippet lang=java : read(file);} of it", "Reads the file of it"),
    ("java", "One<br>two lines", "One two lines"),
    ("javascript", "Opens [the door]{@link Door} and {@link https://x.y|the lock}", "Opens the door and the lock"),
    ("typescript", "Needs version \\>= 2 of \\{a\\}", "Needs version >= 2 of {a}"),
    ("javascript", "Draws ![a badge](http://x.y/z.png) and [text](http://x.y) **boldly**", "Draws and text boldly"),
    ("php", "Opens it with {@see Foo::bar()} twice", "Opens it with Foo::bar twice"),
    ("c", 'Opens \\ref Foo "the file" with @ref bar and \\c x, @p y', "Opens the file with bar and x, y"),
    ("c", "Opens @link foo the door @endlink now", "Opens the door now"),
    ("c", "Uses &struct foo, %NULL, #GList and @list of ::BAR", "Uses foo, NULL, GList and list of BAR"),
    ("c", "Frees the <type>GList</type> and its <literal>data</literal>", "Frees the GList and its data"),
    ("c", "Opens the file \\sa foo", "Opens the file"),
    ("ruby", "Returns the \\host with +code+ of {label}[http://x.y] here", "Returns the host with code of label here"),
    ("ruby", "Prevents attacks[https://x.y/z] on {Foo#bar the bar} and {#baz}", "Prevents attacks on the bar and baz"),
    ("ruby", "Splits lines at \\n only", "Splits lines at \\n only"),
    ("python", "Makes :meth:`label <a.b>` of :class:`~a.B` and `~c.D` or :meth:`.e`", "Makes label of B and D or e"),
    ("python", "Uses |subst|_ and ``x`` as in [1]_ and P(v|h)", "Uses subst and x as in and P(v|h)"),
    ("go", "Opens a [Foo.Bar] or [*os.File]", "Opens a Foo.Bar or os.File"),
    ("java", "Reads the data from http://x.y/z (see http://a.b)", "Reads the data"),
    ("java", "Opens it, see the docs at https://x.y.", "Opens it"),
    ("typescript", "Opens the door as per https://x.y,", "Opens the door"),
    ("java", "Mail bob@example.org on failure of the job", "Mail on failure of the job"),
    ("java", "Computes the closure (see https://x.y/z) of a graph", "Computes the closure of a graph"),
    ("php", "Formats dates (with patterns from http://x.y/z) of a user", "Formats dates (with patterns) of a user"),
    ("c", "Computes the closure (a set, see also www.x.y/z) of a graph", "Computes the closure (a set) of a graph"),
    ("java", "Mails it (from bob@x.org) at night", "Mails it at night"),
    ("java", "Reads https://x.y/a_(b)/c and <http://x.y/z> and (http://x.y/z) of it", "Reads and and of it"),
    ("ruby", 'Splits "www.x.org" and "dev.www.x.org" at a +dot+', 'Splits "www.x.org" and "dev.www.x.org" at a dot'),
    ("java", "Computes the closure as introduced here: https://x.y", "Computes the closure"),
    ("java", "Computes the closure as proposed in https://x.y", "Computes the closure"),
    ("java", "Computes the closure as presented by http://x.y", "Computes the closure"),
    ("java", "Computes the closure as explained at http://x.y", "Computes the closure"),
    ("java", "Computes the closure, as documented at http://x.y.", "Computes the closure"),
    ("java", "Clears the list of rows @hide", "Clears the list of rows"),
    ("typescript", "Clears the list of rows. @internal", "Clears the list of rows"),
    ("php", "Clears the list (of rows) @deprecated.", "Clears the list (of rows)"),
    ("javascript", "Clears the list. @param {!goog.iter.Iterator} it The list.", "Clears the list"),
    ("javascript", "Clears it all. @return {Foo", "Clears it all"),
    ("python", "Clears the list of rows. @rtype: int", "Clears the list of rows"),
    ("java", "Clears the list of rows. @see Foo#bar the other", "Clears the list of rows"),
    ("javascript", "Creates a row of @see Table in memory", "Creates a row of Table in memory"),
    ("php", "Adds @return annotations to @deprecated methods", "Adds @return annotations to @deprecated methods"),
    ("typescript", "Parses @param and a @see tag of a comment", "Parses @param and a @see tag of a comment"),
    (
        "python",
        "Fakes what L{_Traceback} via C{a.b} and L{the frame<a.Frame>} gives",
        "Fakes what _Traceback via a.b and the frame gives",
    ),
    ("python", "L{Foo} does B{I{many} C{bar}}s of it, U{docs<http://x.y>}", "Foo does many bars of it, docs"),
    ("python", "Matches [A-Z]B{2,3} or C{4} and \\L{x} in f{C}", "Matches [A-Z]B{2,3} or C{4} and \\L{x} in f{C}"),
    ("ruby", "Reads the C{a} of a set", "Reads the C{a} of a set"),
    ("java", "Wraps an <option> tag of a <form>", "Wraps an <option> tag of a <form>"),
    (
        "typescript",
        "Makes a [[Signer]] of [[a.Key|the key]] and a[Index] or [optional] [x]",
        "Makes a Signer of the key and a[Index] or [optional] [x]",
    ),
    (
        "python",
        "A [`Trainer`] of a [MarianModel] or [`a.B.run()`], with [NOTE] and [Index]",
        "A Trainer of a MarianModel or a.B.run(), with [NOTE] and [Index]",
    ),
    ("ruby", "Returns the +index+th of the +node+s, 1 + 2 + 3", "Returns the index-th of the nodes, 1 + 2 + 3"),
]


@pytest.mark.parametrize(("language", "text", "plain"), MARKUP)
def test_inline_markup(language, text, plain):
    assert clean(text, language) == plain


def test_broken_and_odd_characters():
    assert repair_unicode("a\x1b[31mred\x1b[0m \u200bb \U0001f600") == "ared b "
    assert repair_unicode("20 °C → “naïve”") == "20 °C → “naïve”"
    assert summary("RETURNS THE NUMBER OF FILES.", "c") == "Returns the number of files"


SENTENCES = [
    ("{@return the name of a {@code file}} It is short.", "{@return the name of a {@code file}}"),
    ("{@summary Opens {a} file. It stays open.} Then more.", "{@summary Opens {a} file. It stays open.}"),
    ("{@return the name of it. Then more.", "{@return the name of it."),
    ("Works in this order: 1. open it 2. close it. Then stop.", "Works in this order: 1. open it 2. close it."),
    ("Is set to 1. Otherwise it fails.", "Is set to 1."),
    ("See No. 5 of Dr. Who, J. Smith et al. in Fig. 3. More.", "See No. 5 of Dr. Who, J. Smith et al. in Fig. 3."),
    ("Loads files, dirs, etc. The rest is left.", "Loads files, dirs, etc."),
    ("Loads (e.g. Foo. Or Bar) now. Next.", "Loads (e.g. Foo. Or Bar) now."),
    ("Moves node n. If it is set, stop.", "Moves node n."),
    ("Loads index.js of v1.2.3. Next.", "Loads index.js of v1.2.3."),
    ("Shuts it down. this can be called twice.", "Shuts it down."),
    ("Waits... then goes vs. the rest.", "Waits... then goes vs. the rest."),
    ('Says "yes." Then stops.', 'Says "yes."'),
    ("返回总和。Then more.", "返回总和。"),
    ("Is it open? Then close it.", "Is it open?"),
]


@pytest.mark.parametrize(("text", "first"), SENTENCES)
def test_sentences(text, first):
    assert first_sentence(text) == first


BLOCKS = [
    ("c", "name - - opens the bar of it", "opens the bar of it"),
    ("c", "6.4.1.2.2 Data Stage TRB\nA Data Stage opens the bar of it.", "A Data Stage opens the bar of it"),
    ("c", "6.4.2.1 Transfer Event TRB: 16 bytes\nThe Transfer Event opens it.", "The Transfer Event opens it"),
    ("java", "2.2.4 Decoding of the word with the\nBerlekamp decoder.", "Decoding of the word with the Berlekamp decoder"),
    ("java", "3.5 million rows at most\nThe rest is kept.", "3.5 million rows at most"),
    ("javascript", "sample-metadata:\n  title: Redact\n  description: Redacts a file.\n  usage: node a.js", "Redacts a file"),
    ("javascript", "sample-metadata:\n  title: A\n  description: Redacts\n   a file of rows.", "Redacts a file of rows"),
    ("javascript", "title: Redact\ndescription: of a file", "title: Redact description: of a file"),
    ("python", '"Opens the bar of it.', "Opens the bar of it"),
    ("python", '"Open" the bar of it.', '"Open" the bar of it'),
    ("c", "Opens the file\nThis is slow.", "Opens the file"),
    ("java", "Opens one of the following:\n- a file\n- a pipe\n", "Opens one of the following: a file; a pipe"),
    ("java", "Opens in this order:\n1. a file\n2. a pipe\n", "Opens in this order"),
    ("java", "Opens one of the following:\n\nText about files that is long.", ""),
    ("java", "Does so, for example:\n<pre>x\n</pre>", "Does so"),
    ("python", "foo(bar, baz) -> Qux\nOpens the bar of it.", "Opens the bar of it"),
    ("c", "@fn int foo(void)\nOpens the bar of it.", "Opens the bar of it"),
    ("c", "@{\nOpens the bar of it.\n@}", "Opens the bar of it"),
    ("c", "Function:\tfoo\n\nPurpose:\tOpens a file.\n\nReturn:\tSuccess or not", "Opens a file"),
    ("typescript", "@public\nOptions for making a key.", "Options for making a key"),
    ("c", "FSL.PUSH <key> <int> - Push an integer to the list", "Push an integer to the list"),
    ("php", "<table>\n<tr><td>a b c\n</table>\nOpens the bar of it.", "Opens the bar of it"),
]


@pytest.mark.parametrize(("language", "docstring", "text"), BLOCKS)
def test_text_before_and_after_the_sentence(language, docstring, text):
    assert summary(docstring, language) == text


STAMPED = [
    "2004-03-12 John Doe: Opens the file.",
    "01-Dec-2016, tatu: Opens the file.",
    "[databind#265] Opens the file.",
    "[JD] Opens the file.",
    "[jdoe, 2011-05-12] Opens the file.",
    "(jdoe 12/05/2011): Opens the file.",
    "JJM 2007-07-25: Opens the file.",
    "2019-01-02: Opens the file.",
    "6.4.1.2 Opens the file.",
    "2004-03-12T10:00:00Z Opens the file.",
    "2004-03-12 10:00:00.123 +01:00: Opens the file.",
    "Fri Mar 12 10:00:00 2004 Opens the file.",
    "Tuesday, March 12, 2004. Opens the file.",
    "12th March 2004: Opens the file.",
    "12 Mar 2004 (jd): Opens the file.",
    "Mar. 2004 - Opens the file.",
    "20040312: Opens the file.",
    "JD 3/12/2004 - Opens the file.",
    "Ann Lee (3/12/2004): Opens the file.",
    "Ann Lee <ann@x.org>: Opens the file.",
    "Ann Lee, 2004-03-12\n\nOpens the file.",
    "By Ann Lee, 2004. Opens the file.",
    "Last modified 3/12/04. Opens the file.",
    "3.2 Opens the file.",
    "$Id: foo.c,v 1.2 2004/01/01 bob Exp $ Opens the file.",
    "Created by Bob on 12/3/2009. Opens the file.",
    "Created with IntelliJ IDEA.\nUser: bob Date: 1/2/13 Time: 3:04 PM\n\nOpens the file.",
    "(non-Javadoc)\n\n@see Foo\n\nOpens the file.",
    "INTERNAL: Opens the file.",
    "Nonpublic: Opens the file.",
    "Description: Opens the file.",
    "Constructor. Opens the file.",
    "TODO: make it quick\n\nOpens the file.",
    "Copyright (c) 2020 Some Firm\n\nOpens the file.",
    "{@inheritDoc}\n\nOpens the file.",
]


@pytest.mark.parametrize("docstring", STAMPED)
def test_leads_before_the_sentence_are_left_out(docstring):
    language = "java" if "@see" not in docstring else "c"
    assert summary(docstring, language) == "Opens the file"


NOTHING = """Created with IntelliJ IDEA|Created by Bob on 12/3/2009|TODO Auto-generated method stub|Method description|TODO
To do: write it|To change this template use File|To change this license header, choose License Headers
Creates new form MainFrame|Required designer variable|[getFoo description]|Docstring for parse|Date: 1/2/13 Author: bob Opens it
FIXME|User: bob Date: 1/2/13 Time: 3:04 PM|Enter description here|Summary description for Foo|XXX|HACK|BUG
NOTE|DOCUMENT ME!|[TBD]
Required method for Designer support - do not modify the contents of this method with the code editor
Missing documentation|No description provided|To be added|Class Foo|Constructor|Default constructor
The constructor|Insert documentation here|___ description|Usage: prog [options]|foo foo foo
Regression test for #123|GET /messages/1|Supported options|Implements the Query interface
A constructor with no arguments|Not implemented yet|Does nothing|JIRA-12, JIRA-13|Overloaded version of read
Clean up any resources being used
Execute the console command|Runs the current process|Handles the request|Initialize the class|Gets the current element
Get the value|Called when the window is closed|Called by the scheduler|This method is called after each frame|Used by the parser
Generic callback that is invoked when a page loads|Used internally|Not Collective, but parallel objects are returned
Time Complexity: O(n log n)|Two Pointer Time O(N) Space O(1)|(see Action#down)
Logically Collective on TS|Collective on DM|++! start object ++!|@!macro warn.edge|@!visibility private
if* H5Ff/h5close_c NAME h5close_c PURPOSE Call H5close|Node setItem set item by name Node arg0 --- item [IN]
[IN] column Number of it [IN] field Its name|used in Receive.Content|Private renderer data|The primary interface to this library
Interaction logic for Window.xaml|Example: foo(42) |Similar to 84|Run when an entity is added|Init function for the control
Register new entry
Overrides the base class|Implementation of the abstract interface|Part 2, section 5.12: the reply|Figure 3 shows the states"""
SOMETHING = """Creates new forms of a table|May 12 rows be read|March 2004 files in order|To change this, write a row
Created by the server on startup to hold sessions|Version of containerd|Check String-to-GUID conversion
Package manager for nodes|Tests whether a number is prime|Date and time of the last change
Converts the class to a table|Get the value of it|Time since the start|User that is logged in
Used to convert a path to a URL|Used for reading archives of any kind|Executes the command that the user typed
Runs the process with a limit of memory|Calls the listener once for each change|Collective noun of a species
Overrides the font of the widget with a larger one|Raised when the user has no right|Parts of a URL|Call the garbage collector
Run each test in a process|Used in place of a list that is empty|Private key of the user that signs
Register entries of the table
Updated once for each frame|The description of a column in words|Set the default options"""


def test_templates_say_nothing():
    assert [text for text in NOTHING.replace("\n", "|").split("|") if not says_nothing(text)] == []
    assert [text for text in SOMETHING.replace("\n", "|").split("|") if says_nothing(text)] == []


REMARKS = """Because modules are expensive, we cache one per thread|No longer used for new writes, but kept for old data
It needs to be defined by hand|We fall back to the raw client for licences|Keep these in sync with the header
This is unfortunately not concurrent|This extension is applied to fields that page|Must be called with the lock held
The lock is held by the caller|The overload is kept for web tests|This group is deprecated by the next version
Note: the name must be a resource name|As above, but more detailed|Important difference to the other: two iterators
This method should be called exactly once|You can call this yourself|Should only be instantiated by the service
Depth state is baked into the shader code|A row was inserted into the tree of the table|Only accessible from the chain
Every device must begin with the same members|This structure is passed directly to the shader|Inspired by the other toolkit
This special type of texture is intended for shaders|Polyfill of with a subclass|Note that the input is sorted
Moves the children of the row under|Converts the value into the
Loads a model as part of the extension with the following constraints|RETURNS >0 AUTHOR M. Scot August 18 SOURCE
Do not override this method|These values are arbitrary
The $password parameter can be a key, an agent or an array|The "new_format" parameter indicates whether it is new
The input argument is already checked for validity|The 'target' parameter is the final field
Internal use only, must be invoked within a lock"""
STATEMENTS = """Blocks until the lock is held|Returns the name used in logs|This class is used to represent cache entries
This will set the height of the font|The exception that is thrown when the buffer overflows|This is a helper that cleans up
Only returns paths inside the folder|The function will check whether it is on|Not null checks of a column|Notes of the chord
Weighs the items of a list|The interface that groups reading and writing|This is just a wrapper that adds a prefix
Check that the type is of the version|Asserts that two values are the same|The handler is used to do the authentication
Not null values of a row|The parameter that is checked by the caller|The argument parser of the command line
An error that is thrown when the input is wrong|Sent when a run has succeeded
Copies the rows that are marked|Exception thrown when decryption fails
Location of a tree relative to its parent|Rows which are marked by the user
Youngest child of a node|Italic style of the font|Cannon of the tank that is drawn"""
CASES = [  # text, whether a function and a class may have it
    ("If the list has one item, unpack it", True, False),
    ("When the channel goes inactive, release all frames", True, False),
    ("If called twice, this method returns the cached value", True, False),
    ("If any of the colors are None, they default to black", False, False),
    ("For X520 attribute types", False, False),
    ("For debugging only", False, False),
    ("On another thread", False, False),
    ("When looking for a path, this enum says which cost counts", False, False),
    ("FOR statement running over a cursor", True, True),
    ("In-place sum of two arrays", True, True),
    ("Format of a date", True, True),
]
BARE_NAMES = [  # text, name, parent, kind, whether it says only the name
    ("Task Group Graph", "TaskGroupGraph", "", "class", True),
    ("An XML document", "XMLDocument", "", "class", True),
    ("The specification of a StatefulSet", "StatefulSetSpec", "", "class", True),
    ("Interface for SQL loggers", "SQLLogger", "", "class", True),
    ("Module namespace promise", "moduleNamespacePromise", "Template", "function", True),
    ("Constructs a JumanppTokenizer", "__init__", "JumanppTokenizer", "function", True),
    ("Creates a new locale list", "LocaleList", "LocaleList", "function", True),
    ("Initializes an empty graph", "initialize", "Graph", "function", False),
    ("Add covariance to the report", "add_covariance", "Report", "function", False),
    ("Applies the settings", "applySettings", "", "function", False),
    ("Represents a Ruby module", "ModuleObject", "", "class", False),
    ("Logs an event", "Logger", "", "class", False),
]


def test_remarks_are_told_from_what_code_does():
    assert [text for text in REMARKS.replace("\n", "|").split("|") if not is_remark(text)] == []
    assert [text for text in STATEMENTS.replace("\n", "|").split("|") if is_remark(text)] == []


@pytest.mark.parametrize(("text", "of_function", "of_class"), CASES)
def test_a_case_describes_a_function_that_acts_and_no_class(text, of_function, of_class):
    assert (not is_remark(text, "function"), not is_remark(text, "class")) == (of_function, of_class)


@pytest.mark.parametrize(("text", "name", "parent", "kind", "bare"), BARE_NAMES)
def test_a_text_says_more_than_the_name(text, name, parent, kind, bare):
    assert says_only_name(text, name, parent, kind) == bare


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("Node data structure", True),
        ("The RMS current measurement", True),
        ("An open file", True),
        ("Reads XML files", False),
        ("A pool of threads that run tasks", False),
    ],
)
def test_a_class_needs_more_than_a_noun(text, bare):
    assert is_bare(text) == bare
    source = f'class Reader:\n    """{text}."""\n\n    def read(self):\n        self.x = 1\n        self.y = 2\n'
    document = Document("a.py", "python", source, "")
    assert bool(list(pairs_of(functions(parse(source, "python")), document, Counter()))) != bare


@pytest.mark.parametrize(
    ("text", "heads"),
    [
        ("Internal methods and properties", True),
        ("Binary Input / Output functions", True),
        ("XLOG resource manager's routines", True),
        ("Public property getters/setters", True),
        ("Implements the lineTo and curveTo methods", False),
        ("Removes stale event handlers", False),
        ("Gaussian probability density function", False),
        ("Utilities to convert a slow tokenizer", False),
        ("A decorator of abstract methods", False),
        ("Names of all overloaded methods", False),
    ],
)
def test_the_title_of_a_section_gives_no_pair(text, heads):
    assert heads_section(text, "c") == heads and not heads_section(text, "python")
    source = f"// {text}\nint run(int x)\n{{\n\tint y = next(x);\n\tlog_it(y);\n\treturn y;\n}}\n"
    document = Document("a.c", "c", source, "")
    assert bool(list(pairs_of(functions(parse(source, "c")), document, Counter()))) != heads


def test_a_sentence_after_a_remark_is_the_summary_if_it_says_what_is_done():
    assert summary("We do not trust the header. Reads the rows of a file.", "python") == "Reads the rows of a file"
    assert is_remark(summary("We do not trust the header. The header is long.", "python"))


@pytest.mark.parametrize(
    ("docstring", "text"),
    [
        ("Filters sequences by the last predicate\nDoes pop result values", "Filters sequences by the last predicate"),
        (f"Opens the {'very ' * 12}long file\nIf it is there, it is read.", f"Opens the {'very ' * 12}long file"),
        (
            "Compares two of all CultureInfos that are known to the system\nWARNING: the order matters",
            "Compares two of all CultureInfos that are known to the system",
        ),
        ("Subtracts a quaternion from this one\nExample Playground", "Subtracts a quaternion from this one"),
        ("Reads the header\nContent-Type of it", "Reads the header Content-Type of it"),
        ("Reads the value of the\nIf-Match header", "Reads the value of the If-Match header"),
        ("Opens a file of\nThis kind", "Opens a file of This kind"),
        ("Is true if it is a permutation\nRaises an error if it is not square", "Is true if it is a permutation"),
        (f"Calls {'very ' * 12}freeMeshes\nIt prevents the other calls", f"Calls {'very ' * 12}freeMeshes"),
        (f"Calls {'very ' * 12}of\nIt prevents", f"Calls {'very ' * 12}of It prevents"),
    ],
)
def test_a_line_break_ends_a_sentence_without_a_full_stop(docstring, text):
    assert summary(docstring, "c") == text


NAMES = [
    ("python", "SamConfig", "[SamConfig] is the configuration of a model", "The configuration of a model"),
    ("go", "readAt", "ReadAt bytes from the file at off", "Read at bytes from the file at off"),
    ("go", "readAll", "ReadAll reads bytes of the file", "Reads bytes of the file"),
    ("go", "readAll", "ReadAll slurp bytes of the file", "Slurp bytes of the file"),
    ("go", "ParseURL", "ParseURL parses a raw URL", "Parses a raw URL"),
    ("go", "parseURL", "ParseURL parses a raw URL", "Parses a raw URL"),
    ("go", "readAllBytes", "ReadAll reads all bytes", "Reads all bytes"),
    ("go", "Sort", "Sort sorts the keys", "Sorts the keys"),
    ("go", "Sort", "Sort keys by value", "Sort keys by value"),
    ("go", "Truncate", "Truncate changes the size of the named file", "Changes the size of the named file"),
    ("go", "Wait", "Wait blocks until the container has stopped", "Blocks until the container has stopped"),
    ("go", "Read", "Read blocks from the disk", "Read blocks from the disk"),
    ("go", "Read", "Read frobs of a file", "Read frobs of a file"),
    ("go", "Fuse", "Fuse frobs the blocks", "Frobs the blocks"),
    ("go", "Guess", "Guess less of them", "Guess less of them"),
    ("go", "Config", "A Config formulates a problem", "Formulates a problem"),
    ("go", "createJob", "createJob frobs the job that is named", "Frobs the job that is named"),
    ("go", "createJob", "createJob demonstrates running a job", "Demonstrates running a job"),
    ("java", "Truncate", "Truncate frobs the size of a file", "Truncate frobs the size of a file"),
    ("go", "Rule", "A Rule is a set of labels", "A set of labels"),
    ("go", "Cache", "Cache is the store of pages", "The store of pages"),
    ("go", "CopyFile", "CopyFile and MoveFile share it", "CopyFile and MoveFile share it"),
    ("c", "foo_bar", "foo_bar() - frobnicate the bar", "frobnicate the bar"),
    ("c", "foo_bar", "foo_bar() cleans up the data", "Cleans up the data"),
    ("c", "SDL_Foo", "The SDL_Foo function returns a foo", "Returns a foo"),
    ("python", "foo", "foo(x) -> y", ""),
    ("python", "pop", "D.pop(k[,d]) -> v, remove the key and return it", "remove the key and return it"),
    ("python", "foo", "foo -- does the bar", "does the bar"),
    ("php", "bar", "Foo::bar - opens the bar", "opens the bar"),
    ("javascript", "foo", "foo: opens the bar", "opens the bar"),
    ("java", "isSet", "isSet returns true when it is", "Returns true when it is"),
    ("java", "Digester", "A Digester processes a stream", "Processes a stream"),
    ("java", "parse", "Parse the header", "Parse the header"),
    ("java", "name", "The name of the person", "The name of the person"),
    ("ruby", "lookup_context", "LookupContext is the object that looks up", "The object that looks up"),
    ("ruby", "Suppressor", "ActiveRecord::Suppressor prevents saving", "Prevents saving"),
    ("php", "configure", "Configure command metadata", "Configure command metadata"),
]


@pytest.mark.parametrize(("language", "name", "sentence", "text"), NAMES)
def test_a_text_does_not_begin_with_its_own_name(language, name, sentence, text):
    assert without_name(sentence, name, language) == text
    assert summary(sentence + ".", language, name=name) == text or not text


def test_without_a_name_nothing_is_left_out():
    assert summary("ParseURL parses a raw URL", "go") == "ParseURL parses a raw URL"
    assert description("Foo opens it. Then it closes.", "go", name="Foo") == "Then it closes."


RESULTS = [
    ("java", "@return the number of open files", "Returns the number of open files"),
    ("java", "{@inheritDoc}\n@return the number of open files", "Returns the number of open files"),
    ("php", "@return array<int, string> The names of the files", "Returns the names of the files"),
    ("javascript", "@returns {Promise<void>} A promise of the end", "Returns a promise of the end"),
    ("python", "Returns:\n    dict: The names of the files.", "Returns the names of the files"),
    ("python", ":return: True if the file is open", "Returns True if the file is open"),
    ("csharp", "<returns>The names of the files.</returns>", "Returns the names of the files"),
    ("c", "Returns: (transfer full): the names of files", "Returns the names of files"),
    ("java", "@return boolean - true if the valve is open", "Returns true if the valve is open"),
    ("php", "@return string", ""),
    ("php", "@return string|null If it is not there, null", ""),
    ("c", "@return 0 on success", ""),
    ("typescript", "@returns Promise which resolves: {} an empty object", ""),
    ("java", "@param x the number of files", ""),
]


@pytest.mark.parametrize(("language", "docstring", "text"), RESULTS)
def test_only_the_result_is_documented(language, docstring, text):
    assert summary(docstring, language) == text
    assert text not in description(docstring, language) or not text


def test_grammar_synopses_and_declarations_are_code():
    code = (
        "expr ::= term '+' expr",
        "<expr> ::= <term>",
        "expr: expr '+' term",
        "UNSUBSCRIBE [channel ...]",
        "BITCOUNT key [start end]",
        "export interface Channel<In, Out>",
        "class Project < Base belongs_to :owner",
        '[Variation(Desc = "v1", Priority = 2)]',
    )
    prose = (
        "Note: the value is kept",
        "A rule: each 'a' is read before the rest of the text",
        "HTTP requests are sent",
        "class that reads and writes tables",
        "interface for nodes",
        "Return: 'x' if it is set and nothing else at all",
    )
    assert [text for text in code if not is_code(text)] == []
    assert [text for text in prose if is_code(text)] == []


def test_identifiers_do_not_make_a_text_foreign():
    english = (
        "Randomize coordinates: (X, Y, Z) -> (aX, bY, cZ) for l",
        "Sets fooBar of el_node_le to es6 des_key",
        "Calls do_as for die_hard",
    )
    foreign = (
        "Gibt den Namen der Datei zurück",
        "Retourne le nom du fichier",
        "Devuelve el nombre del archivo",
        "返回文件名",
        "Retorna o nome do arquivo",
    )
    assert [text for text in english if not is_english(text)] == []
    assert [text for text in foreign if is_english(text)] == []


HOSTILE = [
    "{@code " * 3_000 + "}" * 3_000, "( a. B" * 4_000, "{@a b. C " * 3_000, "<table\n" * 3_000, "|[\n" * 7_000, "A. " * 7_000,
    "1. a " * 5_000, "[a" * 10_000, "foo foo " * 3_000, "a_" * 10_000, "foo::" * 4_000, "<see cref=" * 2_500, "<code>a" * 3_000,
    "a: 'b' | " * 3_000, "2004-01-01 " * 2_000, "\\ref a " * 4_000, "|a " * 7_000, "a@" * 10_000, "x" * 20_000 + "@b.c",
    "(see " * 5_000, "C{" * 10_000, "C{a<" * 5_000, "L{" * 5_000 + "}" * 5_000, "https://x(" * 2_000, "www.(a" * 3_000,
    "a. @see " * 2_500, "expr: A|" + "a|" * 9_000, "6.4.1 " * 3_000, "(http://x.y) " * 1_500, "a ::= " * 3_000,
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts_take_linear_time(text):
    def read() -> None:
        for language in ("csharp", "c", "ruby", "python", "go"):
            refusal(summary(text, language, name="foo"))
            description(text, language, name="foo")

    assert takes_less(2, read)


def test_prefaces_and_pointers_are_no_summaries():
    for text in (
        "Assumes that the lock is held for writing",
        "This method assumes the list is sorted",
        "Assumed that this method is called under a lock",
        "This is especially important for large files",
        "See lnotab_notes.txt for a description of how tracing works",
        "cf. section 3.2 of the specification",
        "This method exists for backwards compatibility",
        "Kept for users of the old names",
        "Both (const char*) arguments point to nul-terminated strings",
        "The second argument points to a buffer n bytes in size",
        "LAMESPEC: the documentation says that this class is sealed",
        "PERF: Consider caching the collection",
        "ASSUMPTION: caller holds the lock of this list",
        "Return value indicates whether any data was written",
        "Each backend has a struct in shared memory",
        "Some lookups require the value to be prepared",
        "Called with the lock of the table held",
        "Called twice during file write",
        "This outgoing HTTP request should be captured by the tracer",
        "Constructor used when the view is loaded from a resource",
        "Internal constructor called by the factory",
        "An error occurred",
        "The compiler just uses the other one, why do we need this?",
        "Returns true iff",
        "Marked as SecurityCritical because it allocates a handle",
        "Now in local memory, since it is not updated once created",
        "Access to the list, the table and the counter should be guarded by the lock",
        "When called on the user thread, make sure to check the audio thread",
        'Used as a "workaround" for aliases in the factory',
        "Put the following line in your login script",
        "NameScope class adapted from PHPStan code",
    ):
        assert is_remark(text, "function"), text
    for text in (
        "See if any errors are held in the queue",
        "See whether a key is signed by one of the others",
        "Assuming that the list is sorted, finds the first match",
        "Assumes an AWS IAM role that allows access to a bucket",
        "Security scanner that opens every file",
        "Exists a lightweight way to determine if an image exists",
        "Returns the value indicated by the key",
        "Some function IDs that require special treatment",
        "Called with two arguments, evaluates the integral of the second kind",
        "Called when an application must pause to save its state",
        "Constructor that takes a list of names",
        "Constructor used to read an old binary table from a document",
        "This function frees what it must not keep",
        "An error handler that prints to the console",
        "Marks the node as visited",
        "Access to the list of open files",
        "When called on an empty list, makes a new one",
        "Options copied from the parent, by name",
    ):
        assert not is_remark(text, "function"), text


@pytest.mark.parametrize(
    "text",
    [
        "POST: Todos/Delete/5",
        "GET /callback/{provider} Called by the provider",
        "round(Vector parser.ValueTypeVector, toNearest=1 Scalar) Vector",
        '"LOWER" "(" StringPrimary ")"',
        '"IDENTITY" "(" SingleValuedAssociationPathExpression {"," string} ")"',
        "// Definition for a Node. public class Node { public int val;",
        "Parses a page directive with this syntax: PageDirective ::= ( S Attribute)*",
        "doesn't return null ::= <parenthesized value expression>",
        "expr: ID",
        "term : PI",
        "qasm: qasm QELIBINC",
        "gate_ops: gate_op gate_ops",
        "methodArgs: LPAREN!",
        "powerExpr: unaryExpression (POWER^ unaryExpression)?",
        "argumentList: classicalArgumentList | expressionList",
        "sf-item = bare-item parameters",
        'addr-spec = local-part "@" domain',
        "<restriction base = QName id = ID {any attributes} > Content: (annotation?, group)",
        "def old foo end",
        "def self.old? return 1 end",
        "class Foo include Bar end",
        "module Foo CODE end",
        "rows.each do |row| puts row end",
        "INSERT INTO t(a,b,c) VALUES ...; CREATE INDEX idx ON t(a,b,c);",
        "CREATE TABLE ex1( a INTEGER PRIMARY KEY, b INTEGER REFERENCES ex2(x) );",
        "CREATE TABLE segments(blockid INTEGER PRIMARY KEY, block BLOB)",
        "DELETE FROM c WHERE ck = old.pk;",
        "How to run this test:",
        "how to run the example",
        "Contributed by Andrei Draganescu",
        "T-REC-X.690-201508 sec 8.12",
        "RFC2616, Section 13.4",
        "[MS-SFU] Clause 2.2.2a",
        "Mocks base method",
        "PRIVATE CLASSES END",
        "NUMERIC COMPARE FUNCTIONS",
        "STANDARD PRINT FUNCTIONS FOR SYSTEM TYPES",
    ],
)
def test_routes_signatures_grammar_and_commented_code_are_no_texts(text):
    assert refusal(text) in ("says nothing", "code")


@pytest.mark.parametrize(
    "text",
    [
        "Posts a message to the channel",
        'Quotes "(" and ")" in the name of the file',
        "round(x) gives the nearest whole number",
        "Delete all rows of a table",
        "kind: the ID of it",
        "rule: each row has an ID",
        "Sets max-age = 3 in the header",
        "class of rows that have an end",
        "Selects the rows; the rest is kept",
        "INSERT INTO statement of the grammar",
        "CREATE TABLE statement with its columns",
        "How to run a query on many servers",
        "Mocks base methods of a class",
        "Prefer the loader of the thread for the loading of CLASSES",
        "Parses section 4 of the file",
        "PREFER THE LOADER OF THE THREAD FOR APPLICATION CLASSES",
    ],
)
def test_prose_near_routes_signatures_and_grammar_is_kept(text):
    assert refusal(text) == ""


@pytest.mark.parametrize(
    ("language", "name", "docstring", "text"),
    [
        ("csharp", "Find", "requires: the list is sorted\neffects: Returns the first match", "Returns the first match"),
        ("csharp", "Find", "Effects: Determines the slot numbers of the query", "Determines the slot numbers of the query"),
        (
            "c",
            "pullback",
            " - pullback - pull back constraints to the start\n ^ static void pullback(struct nfa *, FILE *);",
            "pull back constraints to the start",
        ),
        (
            "c",
            "dump",
            "dump - dump an RE in readable form ^ static void dump(regex_t *, FILE *);",
            "dump an RE in readable form",
        ),
        ("c", "get_loop_count", "get_loop_count\nChoose the estimate of loops to use", "Choose the estimate of loops to use"),
        ("c", "mpool_stat", "mpool_stat\n\tPrint out cache statistics.", "Print out cache statistics"),
        ("csharp", "DoFixup", "DoFixup Copies the value to the member", "Copies the value to the member"),
        (
            "php",
            "OpenSSL",
            "OpenSSL Modular Exponentiation Engine for big numbers",
            "OpenSSL Modular Exponentiation Engine for big numbers",
        ),
        ("ruby", "prefix", "BSTR prefix\nthe prefix for the namespace of the node", "the prefix for the namespace of the node"),
        ("ruby", "parser", "XML reader\nthat reads one node at a time", "XML reader that reads one node at a time"),
    ],
)
def test_declarations_conditions_and_names_above_a_text_are_cut(language, name, docstring, text):
    assert summary(docstring, language, name=name) == text


@pytest.mark.parametrize(
    ("text", "parameters", "about"),
    [
        ("maxBytes limits the number of bytes that are copied", "(Input input, int maxBytes)", True),
        ('"row" can be NULL to avoid the mode of tables', "(emitter_t *emitter, emitter_row_t *row)", True),
        ("x[0:m] and y[0:n] are vectors of digits", "(digit *x, Py_ssize_t m, digit *y, Py_ssize_t n)", True),
        ("iter is an iterator over pairs", "(self, iter)", True),
        ("bv describes the memory that starts at scanp", "(scanp unsafe.Pointer, bv *bitvector)", True),
        ("iter is an iterator over pairs", "(self, iterator)", False),
        ("limits the number of bytes", "(int limits)", False),
        ("maxBytes of the input are copied", "(Input input, int maxBytes)", False),
        ("this is read from the input", "(this Input input)", False),
        ("Rows are sorted by their key", "(Rows rows)", False),
    ],
)
def test_a_text_about_a_parameter_is_told_from_one_about_the_function(text, parameters, about):
    assert is_about_parameter(text, parameters) == about


def test_a_function_gives_no_pair_with_a_text_about_its_parameter():
    code = 'def copy(source, limit):\n    """limit is the number of bytes."""\n    data = source.read(limit)\n    return data\n'
    document = Document("a.py", "python", code, "MIT", "p")
    drops = Counter()
    assert not list(pairs_of(functions(parse(code, "python")), document, drops)) and drops == {"says nothing": 1}


@pytest.mark.parametrize(
    "text",
    [
        "This is an internal function",
        "This function takes",
        "Paired with send_bookmarks",
        "Counterpart to MPI_Comm_free",
        "Recursive guts of assign_collations",
        "The workhorse of writeFieldBegin",
        "Copy-constructor used for new instances",
        "ctor used in HttpRuntime",
        "A structure used by get_txn_key_body()",
        "Set the above values",
    ],
)
def test_what_code_is_beside_other_code_says_nothing(text):
    assert says_nothing(text) or is_remark(text)
    assert not says_nothing("The guts of the parser of command lines")
    assert not says_nothing("This function takes a square root")
    assert not says_nothing("A structure used by the garbage collector to mark what is alive")


@pytest.mark.parametrize("text", ["IActivator::Activate", "AdapterView#OnItemClickListener", "javax.sql.DataSource.setTimeout"])
def test_a_name_alone_is_no_text(text):
    assert refusal(text) == "too short"


def test_labels_of_sections_and_prototypes_do_not_join_the_text():
    assert summary("Gets the next node of a list\n USAGE\n  node *next(node)\n  node *node; IN: a node", "c") == (
        "Gets the next node of a list"
    )
    assert summary("Checks that the role has USAGE (lookup) rights in it", "c").endswith("USAGE (lookup) rights in it")
    assert summary("lua_encode; r:encode(string) - encodes a string to Base64", "c", name="lua_encode") == (
        "encodes a string to Base64"
    )


@pytest.mark.parametrize("label", ["TODO", "FIXME", "XXX", "HACK", "TODO(ann)", "TBD", "WIP", "To do"])
@pytest.mark.parametrize("language", ["c", "ruby", "go", "python", "java"])
def test_a_task_is_no_text_with_or_without_its_label(label, language):
    assert refusal(summary(f"{label}: Evaluate whether we should rely on labels", language, name="parse")) == "says nothing"


def test_options_of_rdoc_are_no_part_of_the_text():
    assert (
        summary("Sets up the plugin.\n\nOptions:\n:file :: The file to read\nname:: The name\n  of it", "ruby")
        == "Sets up the plugin"
    )
    assert refusal(summary("Plugin options:\n:file :: The file to read\n:name :: The name of it", "ruby")) == "too short"
    assert description("Sets it up.\n:file :: The file to read", "ruby") == "file: The file to read."


def test_statements_below_a_remark_are_no_text():
    docstring = "An instance of this structure can hold names,\nas in:\n\n    INSERT INTO t(a) VALUES ...;\n    {};\n"
    for statement in ("CREATE INDEX x ON t(a)", "DROP TABLE t", "SELECT * FROM t", "UPDATE t SET a = 1"):
        assert is_remark(summary(docstring.format(statement), "c"))


def test_a_lead_into_a_list_is_cut_or_the_text_is_refused():
    assert summary("Moves dates by methods, such as:\n* plus", "java") == "Moves dates by methods"
    assert summary("Makes a URL helper, so you can do:\n\n  foo_url(bar)", "ruby") == "Makes a URL helper"
    assert refusal(summary("Represents an edge as:", "javascript")) == "no sentence"


HEADER = """***
Function Name  : SetSysClock
Description    : Sets the clock of the chip.
Input          : None
Output         : The speed in hertz
Return         : None
***"""
CLOCK = "Sets the clock of the chip"
NAME_LABELS = [
    "Func Name", "FUNCTION NAME", "Procedure name", "Module name", "Method name", "Routine Name", "Class", "Method", "Function",
]  # fmt: skip


@pytest.mark.parametrize("label", ["Function Name", *NAME_LABELS])
@pytest.mark.parametrize("language", ["c", "java", "javascript", "typescript", "php", "csharp", "go", "ruby", "python"])
def test_a_header_made_of_labels_gives_its_description(label, language):
    header = HEADER.replace("Function Name", label)
    assert summary(header, language, name="SetSysClock") == CLOCK
    assert description(header, language, name="SetSysClock") == "The speed in hertz."


@pytest.mark.parametrize(
    ("language", "docstring", "text"),
    [
        ("c", "Class:     com_foo_Bar\nMethod:    open\nSignature: (Ljava/lang/String;)I", ""),
        ("c", "Input:  a - the number to open\nOutput: the handle of the file", ""),
        ("c", "Function: open_it(int a,\n                  int b)\nOpens the file.", ""),
        ("c", "Function: static int open_it(int a, int b)\nOpens the file.", "Opens the file"),
        ("c", "Module name: foo\nOpens the file.", "Opens the file"),
        ("c", "FUNCTION: Opens the file.", "Opens the file"),
        ("c", "Routine Description:\n\n  Opens the file.\n\nArguments:\n\n  None.", "Opens the file"),
        ("java", "Method: Opens the file.", "Opens the file"),
        ("java", "<p>Title: f4</p><p>Description: Opens the file.</p><p>Company: A firm of two</p>", "Opens the file"),
        ("java", "Function name: f0\n\nOpens the file.", "Opens the file"),
        ("java", "Title: f4", ""),
        ("c", "Function: H5PTset, H5PTget of HDF5\n\nPurpose: Opens the file.", "Opens the file"),
        (
            "python",
            "Refuse an entry that is in a denied\nmodule: a caller",
            "Refuse an entry that is in a denied module: a caller",
        ),
        ("php", "Function name: f0\nAuthor: Ann of the team\nDate: 1 May\n\nOpens the file.", "Opens the file"),
        ("javascript", "Usage: of the disk, by user\nand by group.", "Usage: of the disk, by user and by group"),
        ("java", "Opens the file\nof the given\nname: a path or a URL.", "Opens the file of the given name: a path or a URL"),
    ],
)
def test_labels_without_a_description_are_no_text(language, docstring, text):
    assert summary(docstring, language) == text


SIGNATURES = """static void f1(struct foo *p, int n)|public void f0(int a, String b)|public override Task<int> F2(int a)
func (s *S) f1(a int) (int, error)|func f0(a int) int|func Map[T any](a []T, f func(T) T) []T|function f0(a, b)
function f0 (a, b)|async function f2(a)|async f2(a)|static create(a, b)|public Foo(int a)|int f7 (int a)
void foo (struct a *b, int c)
public static function f0($a): string|export default function f(a: string): void|size_t foo(void)|const char *name_of (int id)
Foo *bar(int a)|List<String> names(int most)|protected void onCreate(Bundle saved) throws IOException
public <T> List<T> foo(T a)
int? Foo(int a)|int[] Foo(string a)|static inline int foo(int (*f)(int), void *p)|double foo(double in, double out)|void f()
unsigned long long foo_bar(a, b)"""
NO_SIGNATURES = """Opens files (or pipes)|Checks the name (or a path) of it (twice)|public key (RSA)|private keys (of the user)
default value(s)|static method (see above)|function pointer (see below)|function call (deferred)|short description (one line)
Object identifier (OID)|String representation (debug only)|double quotes (single ones)|Calls foo(a, b)|Returns the int (or -1)
struct that holds a list (of files)|List of names (sorted)|Map of keys(strings)|function that sorts rows (quickly, in place)"""


def test_signatures_are_told_from_prose():
    signatures, prose = (texts.replace("\n", "|").split("|") for texts in (SIGNATURES, NO_SIGNATURES))
    assert [text for text in signatures if not is_signature(text)] == []
    assert [text for text in prose if is_signature(text)] == []


@pytest.mark.parametrize("signature", SIGNATURES.replace("\n", "|").split("|"))
@pytest.mark.parametrize("language", ["c", "java", "go"])
def test_signatures_above_or_before_a_text_are_cut(language, signature):
    assert refusal(summary(signature, language)) in ("no sentence", "code", "too short")
    for joint in ("\n", "\n\n", ";\n\n", " - ", ": ", "\n--------\n"):
        assert summary(f"{signature}{joint}Opens the file for reading.", language) == "Opens the file for reading"
        assert description(f"{signature}{joint}Opens the file for reading.", language) == ""


@pytest.mark.parametrize(
    "first", ["static int\nf7(int a)", "void foo (struct a *b,\n          int c)", "int\nfoo(\n  int a,\n  int b\n)"]
)
@pytest.mark.parametrize("joint", ["\n", "\n\n"])
def test_a_signature_of_many_lines_is_cut(first, joint):
    assert summary(f"{first}{joint}Opens the file for reading.", "c") == "Opens the file for reading"


def test_commented_code_stays_code():
    code = "private void f(Rows r,\n               Table t)\n    throws IOException {\n    r.add(t);\n    r = t;\n}"
    assert refusal(summary(code, "java")) == "code"
    assert summary(code.partition(" {")[0] + "\nOpens the file.", "java") == "Opens the file"


@pytest.mark.parametrize("text", NO_SIGNATURES.replace("\n", "|").split("|"))
def test_prose_with_brackets_is_kept(text):
    assert summary(f"{text}\n\nThen more.", "java") == text


@pytest.mark.parametrize(
    ("docstring", "text", "rest"),
    [
        ("Args:\nx: the number to add to", "", "x: the number to add to."),
        ("Args:\nx (int): the number\n    to add to\ny: the name", "", "x: the number to add to. y: the name."),
        ("Raises:\nValueError: if it is small", "", "Raises ValueError if it is small."),
        ("Attributes:\nx: the number of rows", "", "x: the number of rows."),
        ("Returns:\nThe sum of all rows", "Returns the sum of all rows", ""),
        ("Raises:\nValueError: if it is small\n\nOpens the file.", "Opens the file", "Raises ValueError if it is small."),
        ("Arguments:\nOpens the file.", "Opens the file", ""),
        ("Keyword arguments:\nx -- the number of rows\ny -- the name", "", "x: the number of rows. y: the name."),
        (
            "Opens the file.\n\nKeyword arguments:\nx -- the number (default 0)\ny -- the name\n  of it\n\nIt is closed.",
            "Opens the file",
            "x: the number (default 0). y: the name of it. It is closed.",
        ),
        ("Opens it.\n\nArgs:\n    x -- the number\n    y - the name", "Opens it", "x: the number. y: the name."),
        (
            "Opens it.\n\nArgs:\nx: the number\n\nReturns:\n    the sum of it",
            "Opens it",
            "x: the number. Returns the sum of it.",
        ),
        ("Opens it.\n\nArgs:\nIt has many -- too many.", "Opens it", "It has many -- too many."),
    ],
)
def test_entries_in_the_column_of_their_header_are_no_text(docstring, text, rest):
    assert (summary(docstring, "python"), description(docstring, "python")) == (text, rest)


@pytest.mark.parametrize(
    ("language", "docstring", "text", "rest", "code"),
    [
        ("ruby", "Sums all rows.\n  sum([1, 2]) # => 3", "Sums all rows", "", "sum([1, 2]) # => 3"),
        ("ruby", "Sums all:\n  a = sum [1]\n  puts a\nIt is quick.", "Sums all", "It is quick.", "a = sum [1]\nputs a"),
        ("ruby", "Sums all\n  rows of the table.", "Sums all rows of the table", "", ""),
        ("go", "Sums all rows.\n\tsum(1, 2)", "Sums all rows", "", "sum(1, 2)"),
        ("go", "Sums all rows:\n\tone two\nIt is quick.", "Sums all rows", "It is quick.", "one two"),
        ("go", "Sums all rows if they are long,\n  or none.", "Sums all rows if they are long, or none", "", ""),
        ("go", "Sums all rows:\n  - the short ones\n  - the long ones", "Sums all rows", "the short ones. the long ones.", ""),
        ("go", "Sums all\n\tsum(1, 2)\nand more.", "Sums all sum(1, 2) and more", "", ""),
        ("ruby", "Sums all rows\n  sum([1, 2]) # => 3", "Sums all rows", "", "sum([1, 2]) # => 3"),
        ("ruby", "Sums rows of the table at:\n  http://x.y/z", "Sums rows of the table", "", ""),
        ("php", 'A ::=\n    "B" "(" C |\n    "D" "(" C', 'A ::= "B" "(" C | "D" "(" C', "", ""),
        ("php", "Sums all rows.\n    sum(1, 2);", "Sums all rows", "", "sum(1, 2);"),
        ("php", "Sums all\n    rows (or none).", "Sums all rows (or none)", "", ""),
        ("javascript", "Sums all rows.\n    sum(1, 2);", "Sums all rows", "", "sum(1, 2);"),
        ("java", "Sums all\n    rows of a = b.", "Sums all rows of a = b", "", ""),
    ],
)
def test_indented_code_below_a_sentence_is_no_text(language, docstring, text, rest, code):
    assert (summary(docstring, language), description(docstring, language)) == (text, rest)
    assert [block.text for block in blocks_of(docstring, language) if block.kind == "code"] == ([code] if code else [])


def test_what_a_block_of_ruby_gets_and_returns_is_not_the_result():
    assert summary("@yieldreturn [Boolean] whether the row is kept", "ruby") == ""
    assert summary("@yield the block that is called for each row", "ruby") == ""
    docstring = (
        "Reads it.\n\n@yield [row] Gives each row to the block.\n@yieldreturn [Boolean] whether it is kept\n@return the rows"
    )
    assert description(docstring, "ruby") == "Gives each row to the block. Returns the rows."
    assert summary("@yields {number} the number of rows", "javascript") == "Returns the number of rows"
