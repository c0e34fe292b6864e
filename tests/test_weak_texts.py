"""Texts of documentation that say nothing: notes, lost references, markup, empty sentences."""

from collections import Counter

import pytest

from codesage.corpus.pairs.notes import is_note
from codesage.corpus.pairs.prose import summary
from codesage.corpus.pairs.remarks import is_about_parameter
from codesage.corpus.pairs.rules import pairs_of
from codesage.records import Document
from codesage.syntax import functions, parse

_CODE = {
    "csharp": "class A {{\n{0}\nvoid {1}(int x) {{\n  Open(x);\n  Close(x);\n}}\n}}\n",
    "java": "class A {{\n{0}\nvoid {1}(int x) {{\n  open(x);\n  close(x);\n}}\n}}\n",
    "javascript": "{0}\nfunction {1}(x) {{\n  open(x);\n  close(x);\n}}\n",
    "typescript": "{0}\nfunction {1}(x: number) {{\n  open(x);\n  close(x);\n}}\n",
    "c": "{0}\nvoid {1}(int x)\n{{\n  open(x);\n  close(x);\n}}\n",
    "go": "package a\n\n{0}\nfunc {1}(x int) {{\n\topen(x)\n\tclose(x)\n}}\n",
    "php": "<?php\n{0}\nfunction {1}($x) {{\n  open($x);\n  close($x);\n}}\n",
}


def texts(comment: str, language: str, name: str = "run") -> tuple[list[str], Counter]:
    """The texts of the pairs of a function below a comment, and what was dropped, for another reason than being vague."""
    drops: Counter = Counter()
    source = _CODE[language].format(comment, name)
    found = [pair.text for pair in pairs_of(functions(parse(source, language)), Document("a", language, source, ""), drops)]
    assert "vague" not in drops
    return found, drops


@pytest.mark.parametrize("language", ["csharp", "java", "javascript", "typescript"])
@pytest.mark.parametrize("mark", ["// {}", "/* {} */"])
def test_a_plain_comment_must_state_an_action_where_documentation_has_its_own_mark(language, mark):
    kept, _ = texts(mark.format("Takes a long and writes it as a long."), language)
    assert kept == ["Takes a long and writes it as a long"]
    note = "The rest of the numbers in the old format."
    dropped, drops = texts(mark.format(note), language)
    assert dropped == [] and drops["note in a plain comment"] == 1
    documented, _ = texts(f"/** {note} */", language)
    assert documented == ([note[:-1]] if language != "csharp" else documented)


@pytest.mark.parametrize("language", ["c", "go", "php"])
def test_a_plain_comment_is_documentation_in_other_languages(language):
    assert texts("// The rest of the numbers in the old format.", language)[0] == ["The rest of the numbers in the old format"]


@pytest.mark.parametrize(
    ("text", "kind", "note"),
    [
        ("javax.script.Compilable methods", "function", True),
        ("optimized for common signatures (string and ints)", "function", True),
        ("Return true as bug 17231 needs it", "function", True),
        ("Adds the pair, so the caller should lock", "function", True),
        ("SxS: This method uses resource names read from the document", "function", True),
        ("package-private for testing", "function", True),
        ("Encrypts our bytes before they are sent over the wire", "function", False),
        ("Helper method to check if the name is valid", "function", False),
        ("If the form posts to another page, render the referrer in a field", "function", False),
        ("CopyTo copies a collection into an array", "function", False),
        ("This is an internal expression class", "class", True),
        ("minEndOfLinePadding should always be larger than paddingHorizontally", "class", True),
        ("This class keeps track of the values of the members in a schema", "class", False),
        ("Instance of a map with two pairs", "class", False),
    ],
)
def test_notes_are_told_from_documentation(text, kind, note):
    assert is_note(text, kind) is note


@pytest.mark.parametrize(
    ("docstring", "language", "name", "text"),
    [
        (
            "SQL function jsonb_delete (jsonb, text)\n\nreturn a copy of the jsonb without the item.",
            "c",
            "jsonb_delete",
            "return a copy of the jsonb without the item",
        ),
        ("SQL function to_json(anyvalue)", "c", "to_json", ""),
        ("Handles the pagedown event. Selects the last item value.", "javascript", "onPageDown", "Selects the last item value"),
        (
            "Handles mousedown events. If the component is enabled, highlights and activates it.",
            "javascript",
            "handleMouseDown",
            "If the component is enabled, highlights and activates it",
        ),
        ("Handle webhook events. Use it with care.", "python", "handle_event", "Handle webhook events"),
        (
            "Blocking call to interact with the figure.\n\nWait for user input and return True if a key was pressed.",
            "python",
            "wait",
            "Wait for user input and return True if a key was pressed",
        ),
        (
            "Construct a ConnectionError. Reports a failure to reach the server.",
            "typescript",
            "ConnectionError",
            "Reports a failure to reach the server",
        ),
        (
            "Handles when an XhrIo object becomes available. Fires the READY event and sends the request.",
            "javascript",
            "handleAvailable",
            "Fires the READY event and sends the request",
        ),
        (
            "Visit a scanTable Op\n\nFlatten out the table's record into one column for each field.",
            "csharp",
            "Visit",
            "Flatten out the table's record into one column for each field",
        ),
        ("Visits the target and its package. Loads both.", "java", "visit", "Visits the target and its package"),
        (
            "Implements svn_atomic__init_once callback. Sets the FSFS memory cache size.",
            "c",
            "cache_init",
            "Sets the FSFS memory cache size",
        ),
        ("A protected property. Gets the name of the control tag.", "csharp", "TagName", "Gets the name of the control tag"),
    ],
)
def test_the_sentence_after_an_empty_one_is_the_summary(docstring, language, name, text):
    assert summary(docstring, language, name=name) == text


@pytest.mark.parametrize(
    ("text", "name", "kept"),
    [
        ("Handles the paste event", "onPaste", False),
        ("Handle key press events", "_keyPress", False),
        ("Handles the cleartext upgrade event", "run", True),
        ("Creates a new histogram object", "createHistogram", True),
        ("Handles when the dialog closes", "run", False),
        ("The UNet2DModel forward method", "forward", False),
        ("The pipe->draw_vbo() driver hook", "iris_draw_vbo", False),
        ("The Newton iteration method", "newton", True),
        ("The 2F1 hypergeometric function", "hyp2f1", True),
    ],
)
def test_a_name_read_aloud_is_no_documentation(text, name, kept):
    assert texts(f"/** {text}. */", "java", name)[0] == ([text] if kept else [])


@pytest.mark.parametrize(
    ("docstring", "language", "text"),
    [
        ("Attentional prototype network (TapNet), as described in [1]_.", "python", "Attentional prototype network (TapNet)"),
        (
            "Estimate lambda using the Guerrero method as described in [1]_ and [2]_.",
            "python",
            "Estimate lambda using the Guerrero method",
        ),
        (
            "Minimize a function with the interior point method of [4]_.",
            "python",
            "Minimize a function with the interior point method",
        ),
        ("Solve it as in [Smith2018]_ with less memory.", "python", "Solve it as in with less memory"),
        (
            '<summary>\nReads a sequential series of <typeparam name="T" />.\n</summary>',
            "csharp",
            "Reads a sequential series of T",
        ),
        ("Queues a task to dirty the nodes named by {@param keys}.", "java", "Queues a task to dirty the nodes named by keys"),
        (
            "<summary>\nUsed by the <![CDATA[XHashtable<XName>]]> to extract the name.\n</summary>",
            "csharp",
            "Used by the XHashtable<XName> to extract the name",
        ),
        (
            "Prepares [[link-eip-712]] payloads for %%signer%% to sign.",
            "typescript",
            "Prepares eip-712 payloads for signer to sign",
        ),
        ("devdiv 151914: Release session state before the request.", "csharp", "Release session state before the request"),
        ("Bug 56345, 56346: Reject merged regions of one cell.", "java", "Reject merged regions of one cell"),
    ],
)
def test_references_markup_and_bug_numbers_leave_whole_sentences(docstring, language, text):
    assert summary(docstring, language) == text


@pytest.mark.parametrize(
    "text",
    [
        "The Legendre integral of the first kind, defined by",
        "Compute the precision as defined in",
        "Creates a checker of the expected number of",
        "self % other",
        "try: name = x.name except AttributeError: return str(x)",
        "Why inversion for bigint inside Fp instead of Fp2?",
        "How does the new system work?",
        "devdiv 1038337: permission cannot be acquired under partial trust",
        "VSWhidbey Bug 560521",
    ],
)
def test_cut_sentences_code_questions_and_bug_numbers_give_no_pair(text):
    assert texts(f"/** {text} */", "java")[0] == []


@pytest.mark.parametrize(
    "text",
    [
        "Retrieve the latest data",
        "Init this sensor",
        "Set up the platform",
        "Processes the provided key",
        "Returns a string representation of the object",
        "Return string representation",
        "This implements svn_editor_cb_delete_t",
        "implementation for DbDataReader.HasRows property",
        "hidden_states (torch.Tensor of shape (batch_size, length), optional): Sequence of states",
        "Input: curve - Valid Curve Output: (Int, Point)",
        "Can raise RuntimeError",
    ],
)
def test_texts_that_fit_any_code_give_no_pair(text):
    assert texts(f"/** {text} */", "java")[0] == []


@pytest.mark.parametrize(
    "text",
    [
        "Retrieve the latest data from Transmission",
        "Process the specified command line switches",
        "Returns the matrix representation of the operator",
        "Returns a string representation of the state of the call",
        "This implements the classic algorithm of Dijkstra",
        "Draws an (optional) border",
        "Can undo the last edit",
    ],
)
def test_texts_that_name_their_object_stay(text):
    assert texts(f"/** {text} */", "java")[0] == [text]


@pytest.mark.parametrize(
    "text",
    [
        "Helper function for put and add",
        "This is a helper function for the parse_row() and parse_page() functions",
        "utility function for use by SendQuery() and PSQLexecWatch()",
        "Helper used by BindBufferRange() and BindBufferBase()",
        "This is a workhorse for ExecSeqScan",
        "Associated function for findSuggestionInText",
        "callback for task_probe timer",
        "Callback used with traverse()",
        "Corresponds to typecheck.tcPanic",
        "Runs in main thread",
        "Just for legacy",
        "used for testing only",
        "Abstract SettingsProvider property",
        'Object "contract" methods',
        "Requires breaking change",
        "Requires stream->recv_lock to be held",
        "Check to see if the argument is of the form",
        "Parses an SQL statement of the form",
        "Checks for expressions of the form",
    ],
)
def test_whom_code_helps_where_it_runs_and_what_it_requires_give_no_pair(text):
    assert texts(f"/** {text} */", "java")[0] == []


def test_a_helper_is_described_by_the_next_sentence():
    text = "Helper function for run_hook_cmd(). Wait for a hook to finish executing."
    assert summary(text, "c", name="check_hook_result") == "Wait for a hook to finish executing"


@pytest.mark.parametrize(
    "text",
    [
        "Helper function for reading the rows of a table",
        "Helper to split a path into its parts",
        "Utility for parsing of ISO dates",
        "Confirm support for transactions",
        "Callback for the timer that closes idle connections",
        "Corresponds to the lower bound of the interval",
        "Works with a request context and a Backoff",
        "Runs the callback in the main thread",
        "Runs in worker goroutines to pull chunks off of the channel",
        "Renders the end of the form",
        "Gets the hidden fields of the form",
        "Makes a blank version of the form",
    ],
)
def test_what_a_helper_does_stays(text):
    assert texts(f"/** {text} */", "java")[0] == [text]


def test_a_check_may_say_what_it_requires():
    assert texts("/** Requires the iterator to be non-null */", "java", "requiresNotNull")[0] == [
        "Requires the iterator to be non-null"
    ]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("An estimator for binary classification and regression.", False),
        ("This class computes the losses of all queries.", False),
        ("The constructor for a queue of two ends.", True),
        ("This takes a binary file for reading a stream.", True),
        ("Store the start and the end of the slice.", True),
    ],
)
def test_what_a_class_is_does_not_describe_its_constructor(text, kept):
    source = f'class Loss:\n    def __init__(self, x):\n        """{text}"""\n        self.x = x\n        self.y = open(x)\n'
    found = pairs_of(functions(parse(source, "python")), Document("a", "python", source, ""), Counter())
    assert [pair.text for pair in found] == ([text[:-1]] if kept else [])


def test_such_that_does_not_end_a_sentence():
    text = "Finds the first index j s.t. Mid is less than left. It takes logarithmic time."
    assert summary(text, "python") == "Finds the first index j s.t. Mid is less than left"


@pytest.mark.parametrize(
    "text", ["Returns the groups that the user is a member of", "Sets the name that it is defined in", "Is box1 left of box2?"]
)
def test_whole_sentences_with_such_words_stay(text):
    assert texts(f"/** {text} */", "java")[0] == [text]


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ("true when the two were folded into one", ""),
        ("whether it was consumed", ""),
        ("the wrapped bytes", ""),
        ("whether the two vertices are equal", "Returns whether the two vertices are equal"),
        ("true if it is safe to retry a request", "Returns true if it is safe to retry a request"),
        ("the value of the property", "Returns the value of the property"),
        ("torch.Tensor: The end logits for SQuAD", "Returns the end logits for SQuAD"),
        ("VelocityOutput or tuple: the predicted velocity field", "Returns the predicted velocity field"),
        ("PipelineOutput or tuple: If return_dict is True, a PipelineOutput, otherwise a tuple", ""),
        ("PipelineOutput or tuple: PipelineOutput if return_dict is True, otherwise a tuple", ""),
        ("true if the event was handled, else false", ""),
        ("whether the save succeeded", ""),
        ("non-negative on success, negative on failure", ""),
        ("PriorPipelineOutput or tuple", ""),
        ("true if the handled events are kept", "Returns true if the handled events are kept"),
        ("torch.Tensor of shape (batch_size, num_patches)", ""),
        ("torch.FloatTensor of shape (batch_size, length): The processed scores", "Returns the processed scores"),
        ("a score for a node: the sum of the weights", "Returns a score for a node: the sum of the weights"),
    ],
)
def test_the_result_alone_must_say_what_it_is(result, text):
    assert summary(f"@return {result}", "java") == text


@pytest.mark.parametrize(
    "text",
    [
        "Document-method: Zlib::GzipFile#finish",
        "Implementation note: Resizes are expensive",
        "< v, ru >",
        "Callback function when DHCP process finished",
        "Callback function executed when the EndOfDxe event group is signaled",
        "Event notification function that is invoked when the event is signaled",
        "Software SMI handler that is called when the EndOfS3Resume signal is triggered",
        "Entry point for this driver",
        "Main entry for this module",
        "Driver program to test above function",
        "Part of the volume.Detacher interface",
        "Additional options supported",
        "There's no float version of this at the moment",
        "Need this constructor since Exception implements it",
        "Also creates cells if they don't exist",
        "Due to float precision, the scale could be uniform",
        "Has to be called under the lock",
        "Here distance_code is an intermediate code",
        "Same as above, but for async commits",
        "This is used by consumers 4.4 and later",
        "This is an implementation detail of rb_intern()",
        "This exists only for use in testing",
        "Call when the entity is added to hass",
        "Call this after the last revision range",
        "Based heavily on code from runc",
        "Required by the Win Forms designer",
        "Used if we run into an error",
        "The following code executes when the parse fails",
        "The forward method of the UNet2DModel class",
        "The body of svn_wc__db_op_set_props()",
        "This is a method of the Search class",
        "Inverse of codes_to_indices",
        "Some devices split the components between partitions",
        "Fetch data from the device",
        "Return the state attributes of the entity",
    ],
)
def test_occasions_notes_and_references_to_other_code_give_no_pair(text):
    assert texts(f"/* {text} */", "c")[0] == []


@pytest.mark.parametrize(
    "text",
    [
        "Callback function to find the top of memory",
        "Entry point for reading a file in parts",
        "Parts of the date that are not set",
        "Convert the options that are supported",
        "Needed to check if an image needs resize",
        "Here we open the files of the cache",
        "This is used to find a tuple by its identifier",
        "Call this to free the rows",
        "Call this after drawing to mark which buffers need resolving",
        "Based on the key of a change, calculate a hash",
        "The body of a request that is sent twice",
        "Inverse of the cumulative distribution",
        "Fetch the longitude from the device",
    ],
)
def test_what_code_does_stays_beside_such_words(text):
    assert texts(f"/* {text} */", "c")[0] == [text]


@pytest.mark.parametrize(
    ("text", "name", "kept"),
    [
        ("Setter for property dateValue", "setDateValue", False),
        ("Internal handler for the close event", "_onClose", False),
        ("Getter for the precision matrix", "get_precision", True),
        ("Handler for requests that time out early", "onTimeout", True),
    ],
)
def test_a_setter_or_handler_must_say_more_than_its_name(text, name, kept):
    assert texts(f"/** {text}. */", "java", name)[0] == ([text] if kept else [])


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Initialize the Verisure lock.", False),
        ("Initialize a VerisureDoorlock entity.", False),
        ("Initializes a NetatmoCamera.", False),
        ("Initialize the lock and its battery.", True),
        ("door: name of the door code: list of digits", False),
        ("door - name of the door", False),
        ("Doors: open them all at once.", True),
    ],
)
def test_a_constructor_must_say_more_than_the_name_of_a_class_or_parameter(text, kept):
    body = "        self.x = door\n        self.y = open(door)\n"
    source = f'class VerisureDoorlock:\n    def __init__(self, door):\n        """{text}"""\n{body}'
    found = pairs_of(functions(parse(source, "python")), Document("a", "python", source, ""), Counter())
    assert [pair.text for pair in found] == ([text[:-1]] if kept else [])


def test_a_text_about_an_argument_gives_no_pair():
    assert texts("/* Argument x points to a buffer of text. */", "c")[0] == []
    assert not is_about_parameter("Argument lists are printed", "(int x)")


@pytest.mark.parametrize(
    ("docstring", "language", "name", "text"),
    [
        ("SQL function: decimal(X)\n\nConvert a value to a decimal.", "c", "decimalFunc", "Convert a value to a decimal"),
        ("VOID text\n  text content of the node", "ruby", "text=", "text content of the node"),
        ("(array) The residuals of the model", "python", "resid", "The residuals of the model"),
        ("(JDBC4 clarification:) Gets the size of a column.", "java", "getPrecision", "Gets the size of a column"),
        (
            "Creates a file at a path and writes data into it\nExpects the folder to exist",
            "go",
            "WriteFile",
            "Creates a file at a path and writes data into it",
        ),
        ("print_tl\n  print targetlist in a legible way", "c", "print_tl", "Print targetlist in a legible way"),
        (
            "SNESTR_Converged_Private -test convergence of the trust region",
            "c",
            "SNESTR_Converged_Private",
            "test convergence of the trust region",
        ),
        (
            "arkLsInitializeCounters and arkLsInitializeMassCounters",
            "c",
            "arkLsInitializeCounters",
            "arkLsInitializeCounters and arkLsInitializeMassCounters",
        ),
        ("checkLogPath does early checks of a path", "go", "checkLogPath", "Does early checks of a path"),
        ("addItems offers keyword candidates", "go", "addItems", "Offers keyword candidates"),
        ("readAt bytes of the file", "go", "readAt", "Read at bytes of the file"),
        (
            "Routine Description:\n\nArguments:\n\n  FileHandle - Handle of the file being invoked.\n\nReturns:\n\n  Status",
            "c",
            "InitializeCpu",
            "",
        ),
        ("@return do not return anything, modify head in-place instead", "javascript", "reorder", ""),
    ],
)
def test_signatures_types_names_and_joined_lines_leave_the_summary(docstring, language, name, text):
    assert summary(docstring, language, name=name) == text
