"""Writes `values.schema.json` of every service's chart: its settings are the fields of the service's Config.

`python scripts/chart_schemas.py` writes, `--check` only says whether what is committed is up to date.
"""

import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from chassis.config import ServiceConfig

ROOT = Path(__file__).parents[1]
CHARTS = ROOT / "charts"
FILE_NAME = "values.schema.json"
STRING, INTEGER, BOOLEAN = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "boolean"}
NAME = {"type": "string", "minLength": 1}
OBJECTS = {"type": "array", "items": {"type": "object"}}
DURATION = {"type": "string", "pattern": "^([0-9]+(h|m|s))+$"}


def main(arguments: Sequence[str]) -> int:
    """Returns the exit status."""
    stale = []
    for chart in service_charts():
        path, text = chart / FILE_NAME, json.dumps(schema(chart), indent=1) + "\n"
        if path.exists() and path.read_text() == text:
            continue
        stale.append(str(path.relative_to(ROOT)))
        if "--check" not in arguments:
            path.write_text(text)
    sys.stdout.write("".join(f"{'stale' if '--check' in arguments else 'written'}: {name}\n" for name in stale))
    return int("--check" in arguments and bool(stale))


def service_charts() -> list[Path]:
    """Folders of the charts that deploy one service."""
    return [path.parent for path in sorted(CHARTS.glob("*/values.yaml")) if "envPrefix" in values(path.parent)]


def values(chart: Path) -> dict[str, Any]:
    """A chart's own values, without the defaults that it imports."""
    return dict(yaml.safe_load((chart / "values.yaml").read_text()))


def config_of(chart: Path) -> type[ServiceConfig]:
    """The Config of the chart's service."""
    config: type[ServiceConfig] = importlib.import_module(f"services.{values(chart)['service']}.config").Config
    return config


def schema(chart: Path) -> dict[str, Any]:
    """Of all values; an unknown one is refused, by its name."""
    fields = config_of(chart).model_json_schema()["properties"]
    names = list(fields)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": f"Values of {chart.name}",
        "type": "object",
        "additionalProperties": False,
        "required": ["service", "envPrefix", "ports"],
        "properties": {
            "enabled": {**BOOLEAN, "description": "For charts that depend on this one."},
            "corkboard-service": {"type": "object"},
            "global": _global(),
            "service": NAME,
            "envPrefix": {"type": "string", "pattern": "^[A-Z]+$"},
            "ports": _closed({"grpc": INTEGER, "admin": INTEGER}),
            "usesRedis": BOOLEAN,
            "peers": {
                "type": "object",
                "propertyNames": {"enum": names},
                "additionalProperties": _closed({"app": NAME, "port": INTEGER}),
            },
            "config": {**_closed({name: _field(fields[name]) for name in names}), "description": "Fields of Config."},
            "secrets": {
                "type": "object",
                "propertyNames": {"enum": names},
                "additionalProperties": _closed({"name": NAME, "key": NAME}),
            },
            "files": {"type": "object", "propertyNames": NAME, "additionalProperties": {"type": "object"}},
            "kafka": _closed({"secret": STRING}),
            "redis": _closed({"secret": STRING}),
            "network": _closed({"from": OBJECTS, "to": OBJECTS}),
            "image": _closed(
                {
                    "repository": STRING,
                    "tag": {"type": "string", "not": {"const": "latest"}},
                    "digest": {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
                    "pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
                }
            ),
            "replicas": INTEGER,
            "autoscaling": _closed(
                {
                    "enabled": BOOLEAN,
                    "kind": {"enum": ["cpu", "lag"]},
                    "minReplicas": INTEGER,
                    "maxReplicas": INTEGER,
                    "cpuUtilization": {"type": "integer", "minimum": 1, "maximum": 100},
                    "lag": _closed({"topic": NAME, "group": NAME, "records": INTEGER, "authentication": NAME}),
                }
            ),
            "resources": {"type": "object", "required": ["requests", "limits"]},
            "tls": _closed({"existingSecret": STRING}),
            "drainSeconds": INTEGER,
            "preStopSeconds": INTEGER,
            "startupSeconds": {"type": "integer", "minimum": 10},
            "persistence": _closed({"enabled": BOOLEAN, "size": NAME, "storageClass": STRING}),
            "serviceAccount": _closed({"automountToken": BOOLEAN, "annotations": {"type": "object"}}),
            "podAnnotations": {"type": "object"},
            "extraEnv": {"type": "array"},
            "nodeSelector": {"type": "object"},
            "tolerations": {"type": "array"},
        },
    }


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _global() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "zone": {"type": "string", "pattern": "^[a-z0-9][a-z0-9-]*$"},
            "zones": {"type": "array", "items": NAME, "minItems": 1, "uniqueItems": True},
            "imageRegistry": STRING,
            "imageTag": {"type": "string", "not": {"const": "latest"}},
            "kafkaBootstrap": NAME,
            "kafka": _closed(
                {
                    "protocol": {"enum": ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]},
                    "mechanism": {"enum": ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]},
                    "caSecret": NAME,
                }
            ),
            "redisUrl": NAME,
            "redis": _closed({"username": STRING, "caSecret": STRING}),
            "otlpEndpoint": STRING,
            "bundlesUri": NAME,
            "bundlesVolume": {"type": "object"},
            "monitoring": BOOLEAN,
            "network": _closed({"egress": BOOLEAN, "scrapers": OBJECTS}),
            "tls": _closed(
                {
                    "enabled": BOOLEAN,
                    "certManager": BOOLEAN,
                    "trustDomain": {"type": "string", "pattern": "^[a-z0-9._-]+$"},
                    "issuer": _closed({"name": NAME, "kind": NAME, "group": NAME}),
                    "duration": DURATION,
                    "renewBefore": DURATION,
                    "trustBundle": _closed({"configMap": NAME, "key": NAME}),
                    "aliases": {"type": "array", "items": {"type": "string", "pattern": "^[a-z-]+=spiffe://"}},
                }
            ),
        },
    }


def _field(field: dict[str, Any]) -> dict[str, Any]:
    """Type, bounds and meaning; defaults stay with the service."""
    return {name: value for name, value in field.items() if name not in ("title", "default")}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
