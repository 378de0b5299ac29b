"""Rules of the read side, each broken on purpose: what the proof is worth shows in whether it notices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

from sqlalchemy.sql import operators

from rcache.integrations.sqlalchemy.reads import entities, keyed, kinds, plan, probe, scopes, terms

Mutation = Callable[[], Any]


class Mutant(NamedTuple):
    """A broken rule, the shapes and kinds of writes that show it, and where."""

    name: str
    breaks: Mutation
    shapes: tuple[str, ...]
    writes: tuple[str, ...]
    url: str = "sqlite://"


MUTANTS: dict[str, Mutant] = {}


def breaking(shapes: str, writes: str) -> Any:
    def note(breaks: Mutation) -> Mutation:
        MUTANTS[breaks.__name__] = Mutant(
            breaks.__name__, contextmanager(breaks), tuple(shapes.split()), tuple(writes.split())
        )
        return breaks

    return note


def replaced(owner: Any, name: str, new: Any) -> Any:
    return patch.object(owner, name, new)


@breaking("outer outer_with_a_condition_in_on", "an_attribute several_attributes new_objects")
def on_of_an_outer_join_restricts_both_sides() -> Iterator[None]:
    original = scopes.Field._join

    def join(self: Any, joined: Any, scope: Any) -> None:
        if joined.isouter:
            scope.conditions.append(joined.onclause)
        original(self, joined, scope)

    with replaced(scopes.Field, "_join", join):
        yield


@breaking("anti_join anti_join_on_another_column", "new_objects a_foreign_key update_where_there_is a_cascade")
def is_null_restricts_what_may_be_missing() -> Iterator[None]:
    def alternatives(scope: Any, reader: Any) -> Any:
        return terms.both(reader.read(each) for scope in scope.chain() for each in scope.conditions)

    with replaced(plan, "alternatives", alternatives):
        yield


@breaking("full_join_where", "an_attribute new_objects a_new_label update_where")
def a_full_join_restricts() -> Iterator[None]:
    original = scopes.Field._join

    def join(self: Any, joined: Any, scope: Any) -> None:
        if joined.full:
            scope.conditions.append(joined.onclause)
            self.add(joined.left, scope)
            self.add(joined.right, scope)
        else:
            original(self, joined, scope)

    with replaced(scopes.Field, "_join", join):
        yield


@breaking("a_range_and_an_equality ordered_by_what_is_not_shown a_page", "an_attribute update_where several_attributes")
def only_what_is_shown_is_used() -> Iterator[None]:
    original = plan._Planning._used_of

    def used_of(self: Any, part: Any, table: Any) -> Any:
        used = original(self, part, table)
        shown = {
            each.key
            for block in self._sight.blocks
            for each in block.select.selected_columns
            if getattr(each, "table", None) == part
        }
        return used if used is None else used & shown

    with replaced(plan._Planning, "_used_of", used_of):
        yield


@breaking("joined_without_a_foreign_key", "a_member_that_notes_know")
def a_key_needs_no_foreign_key() -> Iterator[None]:
    def finds(self: Any, joined: Any, part: Any) -> bool:
        pairs = [keyed._pair(clause, part) for clause in keyed._flat(joined.condition)]
        own = {pair[0] for pair in pairs if pair is not None}
        return own == {each.key for each in self.tables[part].primary_key.columns}

    with replaced(keyed._Keys, "finds", finds):
        yield


@breaking("filtered_by_the_other ordered_by_the_other", "an_author several_attributes")
def a_key_may_be_filtered() -> Iterator[None]:
    with replaced(keyed, "_filters", lambda *_: set()):
        yield


@breaking("grouped_objects", "an_author several_attributes")
def a_key_may_be_grouped() -> Iterator[None]:
    with replaced(keyed, "_collapses", lambda _: False):
        yield


@breaking("an_object_beside_a_column", "an_author several_attributes")
def a_key_needs_no_object() -> Iterator[None]:
    with replaced(keyed, "_loaded", lambda _, tables: set(tables)):
        yield


@breaking("with_criteria_on_the_other", "an_author several_attributes")
def a_key_may_have_criteria() -> Iterator[None]:
    with replaced(keyed, "_ties", lambda *_: {}):
        yield


@breaking("full_join_of_objects", "new_objects")
def a_key_may_be_joined_in_full() -> Iterator[None]:
    def joins(self: Any, part: Any) -> bool:
        return any(self.finds(joined, part) for joined in self._field.joins)

    with replaced(keyed._Keys, "joins", joins):
        yield


@breaking("through_what_may_be_null", "a_foreign_key a_backref new_objects")
def a_null_leaves_no_row_out() -> Iterator[None]:
    with replaced(keyed, "_never_filters", lambda *_: True):
        yield


@breaking("joinedload_of_one", "an_author several_attributes")
def objects_add_no_tags() -> Iterator[None]:
    with replaced(entities.Entities, "_note", lambda *_: None):
        yield


@breaking("a_text_without_case", "an_author several_attributes executemany")
def texts_are_alike_in_any_collation() -> Iterator[None]:
    with replaced(kinds, "_is_binary_text", lambda kind, _: isinstance(kind, kinds.types.String)):
        yield


@breaking("an_unlike_value a_flag_for_a_number", "an_author several_attributes executemany")
def a_value_of_any_class_is_exact() -> Iterator[None]:
    with replaced(kinds.Kind, "has", lambda *_: True):
        yield


@breaking("joined_over_unlike_types", "unlike_texts")
def unlike_columns_are_tied() -> Iterator[None]:
    def equal(self: Any, column: Any, other: Any) -> Any:
        one, two = self._node(column), self._node(other)
        if one is not None and two is not None:
            return terms.Tied(one, two)
        return original(self, column, other)

    original = terms.Reader._equal
    with replaced(terms.Reader, "_equal", equal):
        yield


@breaking("from_the_same_table compared_with_all", "an_attribute update_where several_attributes bulk_update_by_key")
def every_subquery_is_correlated() -> Iterator[None]:
    original = probe._Eyes._compose_select_body

    def compose(self: Any, text: Any, select: Any, state: Any, inner: Any, froms: Any, *args: Any) -> Any:
        result = original(self, text, select, state, inner, froms, *args)
        around = {each for block in self._open[:-1] for part in block.froms for each in probe.iterate(part)}
        block = self._open[-1]
        block.froms = tuple(each for each in block.froms if each not in around)
        return result

    with replaced(probe._Eyes, "_compose_select_body", compose):
        yield


@breaking("equal_to_null_or_more", "update_where an_attribute new_objects")
def one_null_empties_the_whole_statement() -> Iterator[None]:
    original = plan.Asked.tell

    def tell(self: Any, reads: Any, parameters: Any) -> None:
        if None not in parameters.values():
            original(self, reads, parameters)

    with replaced(plan.Asked, "tell", tell):
        yield


@breaking("is_null null_or_equal", "a_foreign_key several_attributes an_author update_where_there_is a_cascade")
def is_null_matches_nothing() -> Iterator[None]:
    original = plan._choice

    def choice(found: Any, table: Any, dialect: Any) -> Any:
        fixed, empty = found
        return original(({**fixed, **dict.fromkeys(empty, (terms.Bound("none"),))}, frozenset()), table, dialect)

    rows = plan._rows
    with (
        replaced(plan, "_choice", choice),
        replaced(plan, "_rows", lambda choice, parameters: rows(choice, {"none": None, **parameters})),
    ):
        yield


@breaking("alternatives nested_alternatives", "an_attribute several_attributes new_objects update_where_there_is")
def or_is_read_as_and() -> Iterator[None]:
    with replaced(terms, "either", terms.both):
        yield


@breaking("unequal negated", "an_author several_attributes update_where new_objects")
def not_is_ignored() -> Iterator[None]:
    original = terms.Reader._term

    def term(self: Any, condition: Any, operator: Any) -> Any:
        return original(self, condition, operators.eq if operator is operators.ne else operator)

    with replaced(terms.Reader, "_term", term):
        yield


@breaking("among a_row_in_several among_and_equal", "an_attribute new_objects several_attributes a_foreign_key")
def only_the_first_of_a_list_counts() -> Iterator[None]:
    original = plan.Wanted.found

    def found(self: Any, parameters: Any) -> Any:
        each = original(self, parameters)
        return each[:1] if each else each

    with replaced(plan.Wanted, "found", found):
        yield


@breaking("a_union there_is", "an_attribute several_attributes new_objects")
def only_the_first_select_counts() -> Iterator[None]:
    original = plan._Planning._block

    def block(self: Any, each: Any) -> None:
        if each is self._sight.blocks[0]:
            original(self, each)

    with replaced(plan._Planning, "_block", block), replaced(plan._Planning, "_rest", lambda _: None):
        yield


@breaking("a_part_in_text_form", "an_attribute update_where bulk_update_by_key")
def texts_use_no_columns() -> Iterator[None]:
    with replaced(plan, "_is_literal", lambda _: True):
        yield


@breaking("bytes_shown", "bytes_and_more")
def bytes_are_seen_to_change() -> Iterator[None]:
    with replaced(plan, "is_binary", lambda _: False):
        yield


@breaking("there_is_none not_among_those_of", "bulk_insert delete_where an_attribute new_objects a_deleted_object")
def only_tables_outside_of_subqueries_count() -> Iterator[None]:
    original = plan._Planning._block

    def block(self: Any, each: Any) -> None:
        if each.is_whole:
            original(self, each)

    with replaced(plan._Planning, "_block", block), replaced(plan._Planning, "_rest", lambda _: None):
        yield
