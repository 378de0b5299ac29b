"""What a FastAPI route declares: its parameters and security, nested dependencies included.

A declared header selects among answers, a declared cookie counts, and a security scheme means that an answer is somebody's own.
Templates are filled with the values that the endpoint gets, so FastAPI's own validators are run over the parameters again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

from starlette.requests import Request


@dataclass(frozen=True, slots=True)
class Declared:
    """The parameters of one FastAPI route, by what they are called in code and on the wire."""

    path_fields: tuple[Any, ...]
    query_fields: tuple[Any, ...]
    names: frozenset[str]
    query_aliases: Mapping[str, str]  # what a query parameter is called on the wire
    headers: tuple[str, ...]
    cookies: tuple[str, ...]
    has_security: bool

    def values(self, request: Request) -> dict[str, object]:
        """The path and query parameters as the endpoint gets them; those that do not validate are absent."""
        from fastapi.dependencies.utils import request_params_to_args

        values: dict[str, object] = dict(request.path_params)
        for fields, received in ((self.query_fields, request.query_params), (self.path_fields, request.path_params)):
            for field in fields:
                solved, errors = request_params_to_args([field], received)
                values.pop(field.name, None)
                if not errors:
                    values.update(_flat(solved))
        return values


def declared(dependant: Any, dependencies: Iterable[Any] = ()) -> Declared:
    """Reads a route's dependant, FastAPI's tree of parameters and dependencies, and those named beside the endpoint."""
    dependants = list(_walk(dependant))
    path_fields = tuple(field for each in dependants for field in each.path_params)
    query_fields = tuple(field for each in dependants for field in each.query_params)
    headers = {
        alias for each in dependants for field in each.header_params for _, alias in _named(field, is_header=True)
    }
    cookies = {alias for each in dependants for field in each.cookie_params for _, alias in _named(field)}
    return Declared(
        path_fields=path_fields,
        query_fields=query_fields,
        names=frozenset(name for field in (*path_fields, *query_fields) for name, _ in _named(field)),
        query_aliases={name: alias for field in query_fields for name, alias in _named(field)},
        headers=tuple(sorted(name.lower() for name in headers)),
        cookies=tuple(sorted(cookies)),
        has_security=any(map(_is_security, dependants)) or any(map(_says_security, dependencies)),
    )


def _walk(dependant: Any) -> Iterator[Any]:
    yield dependant
    for dependency in dependant.dependencies:
        yield from _walk(dependency)


def _is_security(dependant: Any) -> bool:
    from fastapi.dependencies.utils import get_typed_signature
    from fastapi.security.base import SecurityBase

    call = dependant.call
    while isinstance(call, partial):
        call = call.func
    if isinstance(call, SecurityBase) or getattr(dependant, "own_oauth_scopes", None):
        return True
    # A plain function under Security(...) leaves no trace in the tree, only in the signature of who depends on it.
    parameters = get_typed_signature(call).parameters.values() if call is not None else ()
    return any(map(_says_security, (each for one in parameters for each in (one.default, *get_args(one.annotation)))))


def _says_security(dependency: Any) -> bool:
    from fastapi.params import Security

    return isinstance(dependency, Security)


def _model(field: Any) -> Any | None:
    """The Pydantic model that groups several parameters in one field, where there is one."""
    from pydantic import BaseModel

    annotation = field.field_info.annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _named(field: Any, *, is_header: bool = False) -> Iterator[tuple[str, str]]:
    """Each parameter's name in code, and on the wire."""
    model = _model(field)
    if model is None:
        yield field.name, field.alias
        return
    for name, info in model.model_fields.items():
        alias = info.validation_alias if isinstance(info.validation_alias, str) else info.alias or name
        converted = alias.replace("_", "-") if is_header and alias == name else alias
        yield name, converted


def _flat(solved: Mapping[str, object]) -> dict[str, object]:
    from pydantic import BaseModel

    values: dict[str, object] = {}
    for name, value in solved.items():
        if isinstance(value, BaseModel):
            values.update({each: getattr(value, each) for each in type(value).model_fields})
        else:
            values[name] = value
    return values
