"""One tree-sitter query per language for the occurrences and definitions of names. identifiers() uses them.

The captures are: `leaf`, any occurrence of a name; `name`, a definition; `candidate`, a definition unless the same node is
also a `use` (a key in the options of a call belongs to the called function); `dotted`, a definition of each of its parts;
`import`, a name that an import binds; `outside`, import statements and package clauses, in which nothing is hidden; `path`,
the path of a module, which is never hidden where it is written out in full; `raw`, text that the parser does not parse.

A node with `of.name` or `of.pattern` has a definition in the field that is named so. A query that asks for a field behind
another that may hold a node of the same kind takes quadratic time: it keeps a state open for each node of a chain, and looks at
all of them at each step. For the same reason, arguments of calls in Ruby are found by the name before them and not by the call.
"""

from tree_sitter import Node

from codesage.syntax.tree import SourceTree

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
(pair key: (property_identifier) @name value: [(arrow_function) (function_expression) (generator_function) (class)])
(pair key: (property_identifier) @candidate) (arguments (object (pair key: (property_identifier) @use)))
(labeled_statement label: (statement_identifier) @name)
(import_specifier name: (_) @import !alias) (import_specifier alias: (_) @import)
(import_clause (identifier) @import) (namespace_import (identifier) @import)
(import_statement) @outside (export_statement (export_clause) source: (_)) @outside
"""

QUERIES = {
    "python": """
(identifier) @leaf
(function_definition name: (_) @name) (class_definition name: (_) @name)
(parameters (identifier) @name) (lambda_parameters (identifier) @name)
(default_parameter name: (identifier) @name) (typed_parameter (identifier) @name)
(typed_default_parameter name: (identifier) @name)
(list_splat_pattern (identifier) @name) (dictionary_splat_pattern (identifier) @name)
(assignment left: (identifier) @name) (augmented_assignment left: (identifier) @name)
(pattern_list (identifier) @name) (tuple_pattern (identifier) @name) (list_pattern (identifier) @name)
([(assignment left: (attribute object: (identifier) @_self attribute: (identifier) @name))
  (pattern_list (attribute object: (identifier) @_self attribute: (identifier) @name))
  (tuple_pattern (attribute object: (identifier) @_self attribute: (identifier) @name))
  (list_pattern (attribute object: (identifier) @_self attribute: (identifier) @name))
  (list_splat_pattern (attribute object: (identifier) @_self attribute: (identifier) @name))
  (for_statement left: (attribute object: (identifier) @_self attribute: (identifier) @name))
  (as_pattern_target (attribute object: (identifier) @_self attribute: (identifier) @name))
  (as_pattern_target [(tuple (attribute object: (identifier) @_self attribute: (identifier) @name))
                      (list (attribute object: (identifier) @_self attribute: (identifier) @name))])]
  (#any-of? @_self "self" "cls"))
(for_statement left: (identifier) @name) (for_in_clause left: (identifier) @name)
(named_expression name: (identifier) @name) (as_pattern_target (identifier) @name)
(as_pattern_target [(tuple (identifier) @name) (list (identifier) @name)])
(class_definition type_parameters: (type_parameter (type [
  (identifier) @candidate (splat_type (identifier) @name) (constrained_type . (type (identifier) @name))])))
(function_definition type_parameters: (type_parameter (type [
  (identifier) @candidate (splat_type (identifier) @name) (constrained_type . (type (identifier) @name))])))
(class_definition type_parameters: (type_parameter (ERROR (identifier) @name))) ; T = int: unknown to the grammar
(function_definition type_parameters: (type_parameter (ERROR (identifier) @name)))
(type_parameter (ERROR) . (type (identifier) @use))
(type_alias_statement left: (type [(identifier) @name (generic_type . (identifier) @name)]))
(type_alias_statement left: (type (generic_type (type_parameter (ERROR (identifier) @name)))))
(type_alias_statement left: (type (generic_type (type_parameter (type [
  (identifier) @candidate (splat_type (identifier) @name) (constrained_type . (type (identifier) @name))])))))
(case_pattern (dotted_name . (identifier) @name .)) (keyword_pattern (dotted_name . (identifier) @name .))
(as_pattern (case_pattern) (identifier) @name) (splat_pattern (identifier) @name)
(import_statement name: (dotted_name . (identifier) @import)) (import_statement name: (dotted_name) @path)
(import_from_statement name: (dotted_name (identifier) @import)) (aliased_import alias: (identifier) @import)
[(import_statement) (import_from_statement) (future_import_statement)] @outside
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
(resource name: (identifier) @name) (instanceof_expression) @of.name
(record_pattern_component (identifier) @name) (type_pattern (identifier) @name)
(annotation_type_element_declaration name: (identifier) @name) (labeled_statement . (identifier) @name)
(import_declaration (scoped_identifier name: (identifier) @import) .)
[(package_declaration (scoped_identifier) @path) (import_declaration (scoped_identifier) @path)]
[(package_declaration) (import_declaration)] @outside
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
(type_parameter name: (_) @name) (mapped_type_clause name: (type_identifier) @name)
(infer_type (type_identifier) @name) (index_signature name: (identifier) @name)
(required_parameter name: (identifier) @name) (optional_parameter name: (identifier) @name)
(internal_module name: [(identifier) (nested_identifier)] @dotted)
(module name: [(identifier) (nested_identifier)] @dotted)
(import_require_clause (identifier) @import)
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
(tuple_pattern name: (identifier) @name) (recursive_pattern name: (identifier) @name)
(list_pattern name: (identifier) @name)
(join_clause . (identifier) @name . "in") (join_clause type: (_) . (identifier) @name)
(join_into_clause (identifier) @name) (query_expression (identifier) @name)
(anonymous_object_creation_expression (identifier) @name . "=") (tuple_element name: (identifier) @name)
(tuple_expression (argument name: (identifier) @name)) (labeled_statement . (identifier) @name)
(using_directive name: (identifier) @import) (using_directive (identifier) @import)
(using_directive (qualified_name) @path) (namespace_declaration name: (qualified_name) @path)
(file_scoped_namespace_declaration name: (qualified_name) @path)
(using_directive) @outside (namespace_declaration name: (_) @outside)
(file_scoped_namespace_declaration name: (_) @outside)
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
(left_assignment_list [(identifier) (constant) (instance_variable) (class_variable) (global_variable)] @name)
(destructured_left_assignment [(identifier) (constant) (instance_variable) (class_variable) (global_variable)] @name)
(rest_assignment [(identifier) (constant) (instance_variable) (class_variable) (global_variable)] @name)
(as_pattern) @of.name (array_pattern (identifier) @name) (find_pattern (identifier) @name)
(keyword_pattern key: (hash_key_symbol) @name !value) (keyword_pattern value: (identifier) @name)
(in_clause pattern: (identifier) @name) (match_pattern) @of.pattern
(test_pattern pattern: (identifier) @name) (parenthesized_pattern (identifier) @name)
(alias name: [(identifier) (constant) (simple_symbol) (global_variable)] @name)
((identifier) @_names . (argument_list . (simple_symbol) @name)
  (#any-of? @_names "alias_method" "define_method" "define_singleton_method"))
(call receiver: (constant) @_record method: (identifier) @_new arguments: (argument_list (simple_symbol) @name)
  (#any-of? @_record "Struct" "Data") (#any-of? @_new "new" "define"))
(method_parameters (identifier) @name) (block_parameters (identifier) @name) (lambda_parameters (identifier) @name)
(optional_parameter name: (_) @name) (keyword_parameter name: (_) @name) (splat_parameter name: (_) @name)
(hash_splat_parameter name: (_) @name) (block_parameter name: (_) @name) (destructured_parameter (identifier) @name)
(exception_variable (identifier) @name) (for pattern: (identifier) @name)
((identifier) @_attr . (argument_list (simple_symbol) @name)
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
(named_label_statement (name) @name)
(namespace_use_clause . (name) @import !alias) (namespace_use_clause (qualified_name (name) @import) !alias)
(namespace_use_clause alias: (name) @import)
[(namespace_use_declaration) (namespace_name)] @outside
""",
}


def captures_of_names(tree: SourceTree) -> dict[str, list[Node]]:
    """What the query of a tree's language captures, in no particular order; `of.name` and the like are resolved."""
    captures = tree.unsorted_captures(QUERIES[tree.language])
    for field in ("name", "pattern"):
        parts = [node.child_by_field_name(field) for node in captures.pop(f"of.{field}", ())]
        captures.setdefault("name", []).extend([part for part in parts if part is not None and part.type == "identifier"])
    return captures
