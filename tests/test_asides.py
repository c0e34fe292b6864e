"""Texts of functions that refer to other code, tell an occasion, define a term or describe what comes in give no pair."""

from collections import Counter

import pytest

from codesage.corpus.pairs.asides import is_aside
from codesage.corpus.pairs.remarks import is_of_class, is_remark
from codesage.corpus.pairs.rules import pairs_of
from codesage.records import Document
from codesage.syntax import functions, parse

REFERENCES = """\
Destructive version of #normalize
Private version of H5Awrite()
A faster version of inspect.stack()
The iterator version of the #each_node method
DTrace equivalent of maybe_call_line_trace
This implements 'svn_opt_subcommand_t'
This implements svn_wc_notify_func2_t'
This implements the fs_library_vtable_t.open() API
Implements the PacketConn WriteTo method
Implementation of ReadAt - call with lock held
Wraps syscall.ConnectEx
Wrap the call to emulated_roku.close
A caching wrapper around modload.MatchInModule
This is a wrapper around poll()
Like tf.math.reduce_logsumexp
Undoes the effects of stopTheWorld
this method reverses CreateTokenBindingElement() logic
Actual implementation of svn_object_pool__lookup
The main loop of ReceiveXlogStream
Recursive subroutine for ShowTransactionState
Common subroutine for num_nulls() and num_nonnulls()
Helper function used by other glXCreateContext functions
This is the console signal handler
This is the xEof method of the virtual table
This is a helper function for the COPY command"""
NO_REFERENCES = """\
Get the version of OpenSSL
Return a controlled version of the CU1Gate
Returns a modified version of $config
Query the version of the GLX_ARB extension
Like parse_str(), but preserves dots in variable names
Wrapper around os.urandom that raises if no source of randomness is found
Wraps text.lines to the width of the terminal
Implements the flexible BiCGStab method with right preconditioning
Implementation of the "geopoly_bbox(X)" SQL function
Implements r.doExecute using the one-pass execution engine
Implement a smoothing filter of second order
An implementation of Map.equals
Main loop that reads events of the display until it closes
Helper function for finding the tag of bootstrap_node
Helper for emitting declarations of temp_registers
This is the reader of the lines that signal handlers write
This is a helper function to sort the keys of a map
Reverses the order of the rows
Undoes the last edit of the buffer"""
OCCASIONS = """\
Proc to call when the input is evaluated and output in irb
The function to call when the iframe loads
Callback function to be executed when the program is exiting
Function executed when the icon is clicked
Method to be called by subclasses when a move animation is done
This method is executed on a timer thread
Callback invoked upon completion of a given scroller
This gets called whenever data is received from the fifo
This only gets called from fastgetattr() macro"""
NO_OCCASIONS = """\
Registers a function to call when the server stops
Sets a callback to be invoked when a packet arrives
Method called to construct the fallback of unknown properties
Callback executed when the program exits to remove the lock file
Callback invoked when a row is read, decodes its columns
This method is executed at the end of a frame and clears the queue
Calls the function when the key is pressed"""
TERMS = """\
The pickle key is a string of unspecified length and format
A free identifier is an identifier that can be looked up as a local variable
The argument is an IN operator with a list on the right-hand side
A Hermite spline is a cubic interpolating spline"""
NO_TERMS = """\
This function is the inverse of the cumulative distribution
The method is a shortcut to all validators
The number of rows that are an exact match
Check that the key is a string of hexadecimal digits
The list of names that are the keys of a table"""
EXPECTATIONS = """\
expects configs in the format CONFIG_NAME:TARGET_NAME
Expects a relative path starting after the content directory
This method expects path to already be normalized"""
NO_EXPECTATIONS = """\
Expects that all given expectations are met
Expects a filename and returns the name and extension
Expects a work item to be outstanding
Reads what the caller expects in the buffer"""
REMARKS = """\
This function is a no-op if the recover handle contains an error
No-op unless the module is compiled with debugging
This method does nothing since connections have no two-phase commit
BC layer for a wide-spread use-case of old DBAL APIs
Compatibility wrapper for line_search_armijo
special case, do not send a backslash to the client
Special case where the matrix was ILU(0) factored in the natural ordering
Careful! any evalf of polar numbers is flaky
Stuff to do before stopping
Exported so that it can be called from the projection volume driver
Extracted from softfloat_roundPackToF32()
Exposed as public strictly for tests
Added in Spring 2.6.0, the parameter names files of overrides
First, we visit the definitions of aggregates"""
NO_REMARKS = """\
Replaces the hook with a no-op if the feature is off
Compatibility function to transform the public options to the internal form
Compatibility mode of the parser for old manifests
Special case conversion function to swap red and blue channels
Special characters that need an escape in a pattern
Stuff bits into the stream until it is aligned to bytes
Visible columns of the table in their order
Split out the columns of a table by their type
Separated values of a line in a CSV file
Added lines of a patch in the order of the file
First derivative of the link function
First item with a key greater than k"""


@pytest.mark.parametrize("text", "\n".join((REFERENCES, OCCASIONS, TERMS, EXPECTATIONS)).splitlines())
def test_an_aside_goes(text):
    assert is_aside(text)


@pytest.mark.parametrize("text", "\n".join((NO_REFERENCES, NO_OCCASIONS, NO_TERMS, NO_EXPECTATIONS)).splitlines())
def test_a_text_that_says_what_the_code_does_stays(text):
    assert not is_aside(text)


@pytest.mark.parametrize("text", REMARKS.splitlines())
def test_a_remark_goes(text):
    assert is_remark(text, "function")


@pytest.mark.parametrize("text", NO_REMARKS.splitlines())
def test_a_text_with_the_words_of_a_remark_stays(text):
    assert not is_remark(text, "function")


@pytest.mark.parametrize(
    ("text", "goes"),
    [
        ("Class that holds a generation configuration for BarkModel", True),
        ("Base class for drift detection", True),
        ("Helper class to collect the combinations of streams", True),
        ("Class constructor for the equalizer of two bands", False),
        ("Classify the points of a cloud", False),
    ],
)
def test_a_constructor_is_not_described_by_what_its_class_is(text, goes):
    assert is_of_class(text, "__init__", "Config") == goes


def test_a_class_may_be_described_by_a_term_and_a_function_may_not():
    text = "A palette is a grid of swatches"
    sources = {
        "class": f"class Palette:\n    '{text}.'\n    size = 3\n    def f(self):\n        return 1\n",
        "function": f"def palette(x):\n    '{text}.'\n    y = x + 1\n    return save(y)\n",
    }
    outcomes = {}
    for kind, source in sources.items():
        drops: Counter = Counter()
        document = Document("a", "python", source, "")
        outcomes[kind] = [pair.text for pair in pairs_of(functions(parse(source, "python")), document, drops)]
        assert drops["says nothing"] == (kind == "function")
    assert outcomes == {"class": [text], "function": []}
