"""The names a file defines, at every place they stand: what deobfuscation hides (paper section 3.1).

Per language one query captures leaves (every place a name can stand), definitions (class and function names,
arguments, locals, attributes, constants, type parameters) and imports. A leaf is hidden when its name is defined in
the file and not imported by it: imported names, aliases included, are somebody else's and stay, like builtins,
`self` and its kin, dunder names, keywords, strings, comments and attributes or keyword arguments the file does not
define. Marks such as `$`, `@` and `:` stay; the name behind them is hidden.
"""

import re

from codesage.records import Identifier
from codesage.syntax.tree import SourceTree

_SIGILS = "$@:#"
_KEPT = {
    "self", "cls", "this", "super", "base", "_", "GLOBALS", "_SERVER", "_GET", "_POST", "_FILES", "_COOKIE",
    "_SESSION", "_REQUEST", "_ENV", "arguments", "constructor", "prototype", "initialize",
}  # fmt: skip
_DUNDER = re.compile(r"__\w+__|__(?:construct|destruct|get|set|isset|unset|call|callStatic|toString|invoke|clone)$")

_ECMA = """
[(identifier) (property_identifier) (private_property_identifier) (shorthand_property_identifier)
 (shorthand_property_identifier_pattern) (statement_identifier)] @leaf
(function_declaration name: (_) @name) (generator_function_declaration name: (_) @name)
(function_expression name: (_) @name) (class_declaration name: (_) @name) (class name: (_) @name)
(method_definition name: [(property_identifier) (private_property_identifier)] @name)
(variable_declarator name: (identifier) @name)
(object_pattern (shorthand_property_identifier_pattern) @name)
(pair_pattern value: (identifier) @name) (array_pattern (identifier) @name)
(object_assignment_pattern left: (shorthand_property_identifier_pattern) @name)
(assignment_pattern left: (identifier) @name) (rest_pattern (identifier) @name)
(arrow_function parameter: (identifier) @name) (catch_clause parameter: (identifier) @name)
(for_in_statement left: (identifier) @name)
(assignment_expression left: (identifier) @name)
(assignment_expression left: (member_expression object: (this)
  property: [(property_identifier) (private_property_identifier)] @name))
(assignment_expression left: (member_expression property: (property_identifier) @name)
  right: [(arrow_function) (function_expression)])
(import_specifier name: (_) @import) (import_specifier alias: (_) @import)
(import_clause (identifier) @import) (namespace_import (identifier) @import)
"""

_QUERIES = {
    "python": """
(identifier) @leaf
(function_definition name: (_) @name) (class_definition name: (_) @name)
(parameters (identifier) @name) (lambda_parameters (identifier) @name)
(default_parameter name: (identifier) @name) (typed_parameter (identifier) @name)
(typed_default_parameter name: (identifier) @name)
(list_splat_pattern (identifier) @name) (dictionary_splat_pattern (identifier) @name)
(assignment left: (identifier) @name) (augmented_assignment left: (identifier) @name)
(pattern_list (identifier) @name) (tuple_pattern (identifier) @name) (list_pattern (identifier) @name)
(assignment left: (attribute object: (identifier) @_self attribute: (identifier) @name)
  (#match? @_self "^(self|cls)$"))
(pattern_list (attribute object: (identifier) @_self attribute: (identifier) @name) (#match? @_self "^(self|cls)$"))
(for_statement left: (identifier) @name) (for_in_clause left: (identifier) @name)
(named_expression name: (identifier) @name) (as_pattern_target (identifier) @name)
(type_parameter (type (identifier) @name))
(import_statement name: (dotted_name (identifier) @import))
(import_from_statement name: (dotted_name (identifier) @import))
(import_from_statement module_name: (dotted_name (identifier) @import))
(aliased_import name: (dotted_name (identifier) @import)) (aliased_import alias: (identifier) @import)
""",
    "java": """
[(identifier) (type_identifier)] @leaf
(class_declaration name: (_) @name) (interface_declaration name: (_) @name) (enum_declaration name: (_) @name)
(record_declaration name: (_) @name) (annotation_type_declaration name: (_) @name)
(method_declaration name: (_) @name) (constructor_declaration name: (_) @name)
(formal_parameter name: (identifier) @name) (variable_declarator name: (identifier) @name)
(catch_formal_parameter name: (identifier) @name) (enhanced_for_statement name: (identifier) @name)
(enum_constant name: (_) @name) (type_parameter (type_identifier) @name)
(lambda_expression parameters: (identifier) @name) (inferred_parameters (identifier) @name)
(resource name: (identifier) @name) (instanceof_expression name: (identifier) @name)
(import_declaration (scoped_identifier name: (identifier) @import))
""",
    "javascript": _ECMA
    + """
(formal_parameters (identifier) @name) (field_definition property: (_) @name)
""",
    "typescript": _ECMA
    + """
(type_identifier) @leaf
(required_parameter pattern: (identifier) @name) (optional_parameter pattern: (identifier) @name)
(public_field_definition name: [(property_identifier) (private_property_identifier)] @name)
(abstract_class_declaration name: (_) @name) (interface_declaration name: (_) @name)
(type_alias_declaration name: (_) @name) (enum_declaration name: (_) @name)
(enum_body name: (property_identifier) @name) (enum_assignment name: (property_identifier) @name)
(property_signature name: (property_identifier) @name) (method_signature name: (property_identifier) @name)
(abstract_method_signature name: (property_identifier) @name) (function_signature name: (_) @name)
(type_parameter name: (_) @name) (internal_module name: (identifier) @name)
""",
    "csharp": """
[(identifier) (implicit_parameter)] @leaf
(class_declaration name: (_) @name) (struct_declaration name: (_) @name) (interface_declaration name: (_) @name)
(enum_declaration name: (_) @name) (record_declaration name: (_) @name) (delegate_declaration name: (_) @name)
(method_declaration name: (identifier) @name) (constructor_declaration name: (_) @name)
(destructor_declaration name: (_) @name)
(local_function_statement name: (_) @name) (property_declaration name: (_) @name) (event_declaration name: (_) @name)
(parameter name: (identifier) @name) (parameter_list name: (identifier) @name)
(variable_declarator name: (identifier) @name) (implicit_parameter) @name
(foreach_statement left: (identifier) @name) (catch_declaration name: (identifier) @name)
(enum_member_declaration name: (_) @name) (type_parameter name: (identifier) @name)
(declaration_expression name: (identifier) @name) (declaration_pattern name: (identifier) @name)
(from_clause name: (identifier) @name) (let_clause (identifier) @name)
(using_directive name: (identifier) @import) (using_directive (identifier) @import)
(using_directive (qualified_name (identifier) @import))
""",
    "c": """
[(identifier) (field_identifier) (type_identifier) (statement_identifier)] @leaf
(preproc_arg) @raw
(function_declarator declarator: (identifier) @name) (init_declarator declarator: (identifier) @name)
(pointer_declarator declarator: [(identifier) (field_identifier) (type_identifier)] @name)
(array_declarator declarator: [(identifier) (field_identifier) (type_identifier)] @name)
(parenthesized_declarator (pointer_declarator declarator: (type_identifier) @name))
(declaration declarator: (identifier) @name) (parameter_declaration declarator: (identifier) @name)
(field_declaration declarator: (field_identifier) @name)
(struct_specifier name: (_) @name body: (_)) (union_specifier name: (_) @name body: (_))
(enum_specifier name: (_) @name body: (_)) (enumerator name: (_) @name)
(type_definition declarator: (type_identifier) @name)
(preproc_def name: (_) @name) (preproc_function_def name: (_) @name) (preproc_params (identifier) @name)
(labeled_statement label: (_) @name)
""",
    "ruby": """
[(identifier) (constant) (instance_variable) (class_variable) (global_variable) (simple_symbol) (hash_key_symbol)]
@leaf
(method name: [(identifier) (constant)] @name) (singleton_method name: [(identifier) (constant)] @name)
(method name: (setter name: (identifier) @name))
(class name: (constant) @name) (module name: (constant) @name)
(assignment left: [(identifier) (constant) (instance_variable) (class_variable) (global_variable)] @name)
(operator_assignment left: [(identifier) (instance_variable) (class_variable) (global_variable)] @name)
(left_assignment_list [(identifier) (instance_variable)] @name)
(method_parameters (identifier) @name) (block_parameters (identifier) @name) (lambda_parameters (identifier) @name)
(optional_parameter name: (_) @name) (keyword_parameter name: (_) @name) (splat_parameter name: (_) @name)
(hash_splat_parameter name: (_) @name) (block_parameter name: (_) @name) (destructured_parameter (identifier) @name)
(exception_variable (identifier) @name) (for pattern: (identifier) @name)
(call method: (identifier) @_attr arguments: (argument_list (simple_symbol) @name)
  (#match? @_attr "^attr_(accessor|reader|writer)$"))
""",
    "go": """
[(identifier) (field_identifier) (type_identifier) (label_name)] @leaf
(function_declaration name: (_) @name) (method_declaration name: (_) @name) (method_elem name: (_) @name)
(parameter_declaration (identifier) @name) (variadic_parameter_declaration name: (identifier) @name)
(short_var_declaration left: (expression_list (identifier) @name))
(range_clause left: (expression_list (identifier) @name)) (var_spec (identifier) @name)
(const_spec (identifier) @name) (type_spec name: (_) @name) (type_alias name: (_) @name)
(field_declaration (field_identifier) @name) (type_parameter_declaration name: (identifier) @name)
(receive_statement left: (expression_list (identifier) @name)) (type_switch_statement alias: (_ (identifier) @name))
(labeled_statement label: (_) @name)
(import_spec name: (package_identifier) @import)
""",
    "php": """
(name) @leaf
(function_definition name: (_) @name) (method_declaration name: (_) @name) (class_declaration name: (_) @name)
(interface_declaration name: (_) @name) (trait_declaration name: (_) @name) (enum_declaration name: (_) @name)
(enum_case name: (_) @name) (const_element (name) @name) (variable_name (name) @name)
(namespace_use_clause (name) @import) (namespace_use_clause (qualified_name (name) @import))
(namespace_use_clause alias: (name) @import)
""",
}


def identifiers(tree: SourceTree) -> list[Identifier]:
    """Every occurrence, in source order and never overlapping, of the names the file of `tree` defines."""
    captures = tree.captures(_QUERIES[tree.language])
    source = tree.source
    defined = {_name(source, node.start_byte, node.end_byte)[0] for node in captures.get("name", [])}
    imported = {_name(source, node.start_byte, node.end_byte)[0] for node in captures.get("import", [])}
    if tree.language == "go":
        imported |= _go_packages(source)
    hidden = {name for name in defined - imported - _KEPT if name and not _DUNDER.match(name)}
    spans = [_name(source, node.start_byte, node.end_byte) for node in captures.get("leaf", [])]
    for node in captures.get("raw", []):  # the body of a C macro is text to the parser
        spans += _names_in_macro(source, node.start_byte, node.end_byte)
    found, end = [], 0
    for name, start in sorted(spans, key=lambda span: span[1]):
        if name in hidden and start >= end:
            end = start + len(name.encode())
            found.append(Identifier(name, start, end))
    return found


_MACRO_TOKEN = re.compile(rb'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|//.*|/\*.*?\*/|[A-Za-z_]\w*', re.DOTALL)


def _names_in_macro(source: bytes, start: int, end: int) -> list[tuple[str, int]]:
    tokens = _MACRO_TOKEN.finditer(source, start, end)
    return [(token.group().decode("utf-8", "replace"), token.start()) for token in tokens]


def _name(source: bytes, start: int, end: int) -> tuple[str, int]:
    text = source[start:end].decode("utf-8", "replace")
    name = text.lstrip(_SIGILS)
    return name, start + len(text) - len(name)  # sigils are one byte each


def _go_packages(source: bytes) -> set[str]:
    """Go names an imported package by the last part of its path."""
    block = re.search(rb"^import\s*(\([^)]*\)|[^\n]*)", source, re.MULTILINE)
    paths = re.findall(rb'"([^"\n]+)"', block.group(1)) if block else []
    return {path.rsplit(b"/", 1)[-1].decode("utf-8", "replace") for path in paths}
