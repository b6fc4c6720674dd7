"""Options as a configuration gives them, checked; Kedro checks those that a pipeline reads, and these are of others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from excise.errors import UserError, first_wrong

if TYPE_CHECKING:
    from pydantic import BaseModel

    Options = TypeVar("Options", bound=BaseModel)


def options_of(catalog: Any, name: str, kind: type[Options]) -> Options:
    """The parameter of this name.

    Raises:
        UserError: a value is not what it must be; the sentence says where it stands.
    """
    from pydantic import ValidationError

    try:
        return kind.model_validate(catalog[f"params:{name}"].load())
    except ValidationError as error:
        place, wrong = first_wrong(error)
        raise UserError(f"Parameter '{'.'.join(filter(None, (name, place)))}' {wrong}.") from error
