"""TOML -> typed config: reading, overriding and writing it, and saying what is wrong with it."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from ..errors import UserError
from .sections import Config, Section


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a config file and apply ``a.b=c`` overrides.

    Raises ``UserError`` naming the file, the key, the value and the nearest valid key.
    """
    path = Path(path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError("no such config file", where=path, fix="name a .toml file, see configs/") from None
    except IsADirectoryError:
        inside = path / "config.toml"
        fix = f"name {inside}" if inside.is_file() else "name a .toml file, see configs/"
        raise UserError("is a folder, not a config", where=path, fix=fix) from None
    except UnicodeDecodeError:
        raise UserError("is not UTF-8", where=path, fix="save it as UTF-8") from None
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror or error}", where=path) from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"is not TOML: {error}", where=path, fix="mend that line") from None
    _resolve_paths(values, path.resolve().parent)
    sources: dict[str, str] = {}
    for override in overrides:
        key, value = parse_override(override)
        _put(values, key, value, override)
        sources[".".join(key)] = f"--set {override}"
    return config_from(values, path, sources)


def config_from(values: Mapping[str, Any], where: object, sources: Mapping[str, str] | None = None) -> Config:
    """A config of plain values, as TOML holds them. Raises ``UserError`` naming ``where`` they stand."""
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        raise _explain(error, where, sources or {}) from None
    lacking = "data.val is empty" if not config.data.val else "train.eval_every = 0"
    if config.train.patience and not (config.data.val and config.train.eval_every):
        raise UserError(
            f"train.patience = {config.train.patience} counts validations, and {lacking}",
            where=(sources or {}).get("train.patience", where),
            fix="name a split in data.val" if not config.data.val else "set train.eval_every = 1",
        )
    return config


def parse_override(text: str) -> tuple[list[str], Any]:
    """``a.b=c`` -> (["a", "b"], c): a TOML literal, or a bare word as a string.

    A path is taken from the current folder. Raises ``UserError``.
    """
    key, separator, literal = text.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not separator or len(parts) != 2 or not all(parts):
        raise UserError(
            f"{text!r} is not section.key=value", where="--set", fix="write it like --set train.epochs=5"
        )
    try:
        value: Any = tomllib.loads(f"value = {literal}")["value"]
    except tomllib.TOMLDecodeError:
        value = literal.strip()
    if isinstance(value, str) and value and tuple(parts) in _path_keys():
        value = str(Path(value).expanduser().resolve())
    return parts, value


def dump_config(config: Config) -> str:
    """The whole config, defaults included, as TOML; reading it back gives an equal config."""
    return tomli_w.dumps(config.model_dump(mode="json"))


def _path_keys() -> set[tuple[str, str]]:
    return {
        (section, key)
        for section, model in _sections()
        for key, info in model.model_fields.items()
        if any(getattr(part, "json_schema_extra", None) for part in info.metadata)
        or (isinstance(info.json_schema_extra, dict) and info.json_schema_extra.get("path"))
    }


def _sections() -> Iterator[tuple[str, type[Section]]]:
    for name, info in Config.model_fields.items():
        assert isinstance(info.annotation, type)
        yield name, info.annotation


def _resolve_paths(values: dict[str, Any], folder: Path) -> None:
    for section, key in _path_keys():
        table = values.get(section)
        if isinstance(table, dict) and isinstance(table.get(key), str) and table[key]:
            table[key] = str((folder / Path(table[key]).expanduser()).resolve())


def _put(values: dict[str, Any], key: list[str], value: Any, override: str) -> None:
    section, name = key
    table = values.setdefault(section, {})
    if not isinstance(table, dict):
        raise UserError(f"{section!r} is not a section", where=f"--set {override}")
    table[name] = value


def _explain(error: ValidationError, path: object, sources: Mapping[str, str]) -> UserError:
    """The first complaint, as one line: an unknown key before everything else."""
    complaints = sorted(error.errors(), key=lambda item: item["type"] != "extra_forbidden")
    first = complaints[0]
    location = [str(part) for part in first["loc"]]
    key = ".".join(location[:2])
    named = (source for name, source in sources.items() if name == key or name.startswith(f"{key}."))
    where = next(named, str(path))
    if first["type"] == "extra_forbidden":
        nearest = _nearest(location)
        remedy = f"did you mean {nearest!r}?" if nearest else "remove it"
        return UserError(f"unknown key {'.'.join(location)!r}", where=where, fix=remedy)
    value = first.get("input")
    if first["type"] == "model_type":
        return UserError(
            f"{key} = {value!r}: is not a section", where=where, fix=f"write [{key}] above its keys"
        )
    message = first["msg"].removeprefix("Value error, ")
    message = f"{message[:1].lower()}{message[1:]}"
    if len(location) == 1:  # a complaint about keys of a section together, which it names itself
        return UserError(f"[{key}] {message}", where=where, fix="see the keys of that section in configs/")
    return UserError(f"{key} = {value!r}: {message}", where=where, fix=_default(location))


def _default(location: list[str]) -> str:
    info = dict(_sections())[location[0]].model_fields[location[1]]
    return f"the default is {info.default!r}"


def _nearest(location: list[str]) -> str:
    """The valid key most like an unknown one: the same name elsewhere, its own section's, then all."""
    models = dict(_sections())
    key = location[-1]
    everywhere = {
        name: f"{section}.{name}" for section, model in models.items() for name in model.model_fields
    }
    if key in everywhere:
        return everywhere[key]
    own = list(models) if len(location) == 1 else list(models[location[0]].model_fields)
    close = difflib.get_close_matches(key, own, 1, 0.5)
    if close:
        return ".".join([*location[:-1], close[0]])
    close = difflib.get_close_matches(key, list(everywhere), 1, 0.6)
    return everywhere[close[0]] if close else ""
