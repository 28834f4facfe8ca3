"""As much of JSON Schema as audit.schema.json uses: what is wrong with a value, in words; an unknown keyword fails."""

import re

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
KNOWN = {
    *("$schema", "$defs", "$ref", "title", "type", "required", "additionalProperties", "properties", "items"),
    *("const", "enum", "pattern", "minItems", "maxItems"),
}


def problems(value, schema, root=None, at="audit"):
    """Return a line for each place that does not fit."""
    root = schema if root is None else root
    assert set(schema) <= KNOWN, set(schema) - KNOWN
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        return problems(value, root["$defs"][name], root, at)
    found = []
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if types and not any(_is(value, kind) for kind in types):
        return [f"{at}: {type(value).__name__}, not {types}"]
    if "const" in schema and value != schema["const"]:
        found.append(f"{at}: {value!r}")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{at}: {value!r} is none of {schema['enum']}")
    if "pattern" in schema and not re.search(schema["pattern"], value):
        found.append(f"{at}: {value!r} is not {schema['pattern']}")
    if isinstance(value, dict):
        parts = schema.get("properties", {})
        found += [f"{at}: no {name}" for name in schema.get("required", []) if name not in value]
        if schema.get("additionalProperties") is False:
            found += [f"{at}: {name} is unknown" for name in value if name not in parts]
        for name, part in parts.items():
            found += problems(value[name], part, root, f"{at}.{name}") if name in value else []
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            found.append(f"{at}: {len(value)} items")
        for i, each in enumerate(value):
            found += problems(each, schema.get("items", {}), root, f"{at}[{i}]")
    return found


def _is(value, kind):
    if kind in ("number", "integer"):
        return isinstance(value, int if kind == "integer" else int | float) and not isinstance(value, bool)
    return isinstance(value, TYPES[kind])
