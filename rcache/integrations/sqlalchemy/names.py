"""What the rows of tracked tables are called in tags.

A model says its name as `__cache_tag__`, the columns whose values make tags as `__cache_values__` (all that can, where it says
nothing), and further tags as `__cache_tags_of__ = ("customer:{customer_id}:orders",)`. A table without a model says the same in
`Table(info={"cache_tag": ..., "cache_values": ..., "cache_tags_of": ...})`.

A row belongs to every class that it is an instance of: with joined inheritance a change of `manager` 5 is one of `employee` 5,
and the other way round where the discriminator says so, or says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import LargeBinary, MetaData, Table, event
from sqlalchemy.orm import Mapper, mapperlib

from rcache.core.changes import Change, TableTags, template_family
from rcache.core.tags import Template


class _Mappings:
    """Which mappers there are; made anew when another one appears."""

    def __init__(self) -> None:
        self.version = 0
        event.listen(Mapper, "after_mapper_constructed", self._on_mapper)

    def _on_mapper(self, *_: Any) -> None:
        self.version += 1

    @staticmethod
    def by_table(metadata: MetaData) -> dict[str, list[Mapper[Any]]]:
        """The mappers of each table: its own, and those that share it."""
        found: dict[str, list[Mapper[Any]]] = {}
        for registry in mapperlib._all_registries():
            for manager in registry._managers:
                if not manager.is_mapped:  # a class that could not be mapped, which its application survived
                    continue
                mapper = manager.mapper
                table = mapper.local_table
                if isinstance(table, Table) and table.metadata is metadata:
                    found.setdefault(table.key, []).append(mapper)
        for mappers in found.values():  # the table's own first, then those that share it
            mappers.sort(key=lambda mapper: len(list(mapper.iterate_to_root())))
        return found

    @staticmethod
    def associations(mappers: Iterable[Mapper[Any]]) -> set[Table]:
        """The tables that only tie rows of others together."""
        return {
            relation.secondary
            for mapper in mappers
            for relation in mapper.relationships
            if isinstance(relation.secondary, Table)
        }


_mappings = _Mappings()


def mappings_version() -> int:
    """Another number each time a class has been mapped."""
    return _mappings.version


class Names:
    """The names of one metadata's tables."""

    def __init__(self, metadata: MetaData) -> None:
        self.metadata = metadata
        self._version = (-1, -1)
        self._mappers: dict[str, list[Mapper[Any]]] = {}
        self._described: dict[tuple[str, object], TableTags] = {}
        self._by_name: dict[str, Table] = {}

    def find(self, name: str, schema: str | None = None) -> Table | None:
        """The tracked table of that name."""
        return self.metadata.tables.get(f"{schema}.{name}" if schema else name)

    def tables(self) -> list[Table]:
        """All of them, as of now."""
        return list(self.metadata.tables.values())

    def model(self, table: Table, image: Mapping[str, object] | None) -> type[Any] | None:
        """The class of a row of the table."""
        self._refresh()
        mappers = self._mappers.get(table.key, [])
        chosen = _of_row(mappers, image) if mappers else []
        model: type[Any] | None = chosen[0].class_ if chosen else None
        return model

    def describe(self, change: Change) -> TableTags | None:
        """How a changed row of these tables is named; None where there is no such table."""
        table = self.metadata.tables.get(change.table)
        if table is None:
            table = self._named(change.table)
        if table is None:
            return None
        self._refresh()
        mappers = self._mappers.get(table.key, [])
        discriminators = _discriminators(mappers, (change.old, change.new))
        key = (table.key, discriminators)
        found = self._described.get(key)
        if found is None:
            found = self._described[key] = self._describe(table, mappers, discriminators)
        return found

    def tag(self, table: Table) -> str:
        """The table's own name in tags: whatever its rows are called besides, changes of them carry it."""
        found = self.describe(Change(table.key, None))
        return found.names[0] if found is not None else table.name

    def behind(self, table: Table) -> tuple[str, ...] | None:
        """The tables that it was declared to be a view of, by name; None where it was not."""
        self._refresh()
        for mapper in self._mappers.get(table.key, []):
            declared = mapper.class_.__dict__.get("__cache_reads__")
            if declared is not None:
                return tuple(declared)
        declared = table.info.get("cache_reads")
        return None if declared is None else tuple(declared)

    def _refresh(self) -> None:
        version = (_mappings.version, len(self.metadata.tables))
        if version != self._version:
            self._mappers = _mappings.by_table(self.metadata)
            self._described = {}
            self._by_name = {}
            self._version = version

    def _named(self, name: str) -> Table | None:
        """The table that is called so in tags, or whose bare name it is."""
        self._refresh()
        if not self._by_name:
            for table in self.tables():
                self._by_name.setdefault(table.name, table)
            for table in self.tables():
                for mapper in self._mappers.get(table.key, []):
                    self._by_name.setdefault(_name_of(mapper), table)
        return self._by_name.get(name)

    def _describe(
        self, table: Table, mappers: list[Mapper[Any]], discriminators: frozenset[object] | None
    ) -> TableTags:
        columns = frozenset(column.key for column in table.columns if makes_tags(column.type))
        if not mappers:
            own = table.info.get("cache_tag", table.name)
            texts = table.info.get("cache_tags_of")
            if texts is None:
                texts = self._ends(table)
            chosen = table.info.get("cache_values")
            return TableTags((own,), columns if chosen is None else columns & frozenset(chosen), _templates(texts))
        lineage = _lineage(mappers, discriminators)
        names = dict.fromkeys(_name_of(mapper) for mapper in lineage)
        texts = [text for mapper in lineage for text in mapper.class_.__dict__.get("__cache_tags_of__", ())]
        inherited = getattr(mappers[0].class_, "__cache_tags_of__", ())
        chosen = getattr(mappers[0].class_, "__cache_values__", None)
        values = columns if chosen is None else columns & frozenset(chosen)
        return TableTags(tuple(names), values, _templates(dict.fromkeys([*texts, *inherited])))

    def _ends(self, table: Table) -> list[str]:
        """A row that only ties two others together is a change of both."""
        everybody = [mapper for mappers in self._mappers.values() for mapper in mappers]
        if table not in _mappings.associations(everybody):
            return []
        texts = []
        for constraint in table.foreign_key_constraints:
            ends = self._mappers.get(constraint.referred_table.key, [])
            if ends and len(constraint.elements) == 1:
                name = _name_of(ends[0])
                texts += [f"{name}:{{{constraint.elements[0].parent.key}}}"]
        return texts


def makes_tags(kind: Any) -> bool:
    """Whether values of the type can stand in a tag at all."""
    return not is_binary(kind)


def is_binary(kind: Any) -> bool:
    """Whether the type is one of bytes, which are never read for an image."""
    return isinstance(getattr(kind, "impl", kind), LargeBinary)


def _templates(texts: Iterable[str]) -> tuple[Template, ...]:
    templates = tuple(Template(text) for text in texts)
    for template in templates:
        template_family(template)
    return templates


def _name_of(mapper: Mapper[Any]) -> str:
    chosen = getattr(mapper.class_, "__cache_tag__", None)
    if isinstance(chosen, str):
        return chosen
    table = mapper.local_table
    return str(getattr(table, "name", None) or mapper.class_.__name__.lower())


def _discriminators(
    mappers: list[Mapper[Any]], images: Iterable[Mapping[str, object] | None]
) -> frozenset[object] | None:
    """What the row says of its class; None where it does not."""
    for mapper in mappers:
        column = mapper.polymorphic_on
        if column is not None:
            said = {image[column.key] for image in images if image is not None and column.key in image}
            return frozenset(said) or None
    return None


def _lineage(mappers: list[Mapper[Any]], discriminators: frozenset[object] | None) -> list[Mapper[Any]]:
    """The mappers of which the row may be an instance, nearest first."""
    known = []
    if discriminators is not None:
        identities = mappers[0].polymorphic_map
        known = [identities[each] for each in discriminators if each in identities]
    if not known:
        known = [each for mapper in mappers for each in mapper.self_and_descendants if _shares_rows(each, mapper)]
    found: dict[Mapper[Any], None] = dict.fromkeys(mappers[:1])
    for mapper in known:
        found.update(dict.fromkeys(mapper.iterate_to_root()))
    return list(found)


def _shares_rows(mapper: Mapper[Any], base: Mapper[Any]) -> bool:
    """Whether a row of the base's table may be part of an instance; a concrete class has rows of its own alone."""
    between = [each for each in mapper.iterate_to_root() if each is not base and each.isa(base)]
    return not any(each.concrete for each in between)


def _of_row(mappers: list[Mapper[Any]], image: Mapping[str, object] | None) -> list[Mapper[Any]]:
    discriminators = _discriminators(mappers, (image,))
    identities = mappers[0].polymorphic_map
    for each in discriminators or ():
        if each in identities:
            return [identities[each]]
    return mappers
