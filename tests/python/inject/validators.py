"""One function an engine: it raises if the engine would not take the documents."""

import copy
import importlib.util
import json
import os
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SCHEMAS = ROOT.parent / "shared" / "schemas"
ARGO = SCHEMAS / "argo-workflows-v4.1.2.schema.json"
TEKTON = SCHEMAS / "tekton-pipeline-v1.swagger.json"
KUBERNETES = "1.34"
BIN = "/kale/bin"
# Types that are several in one.
ARGO_ANY = {"IntOrString", "Quantity", "Item", "ParallelSteps", "MicroTime", "Time"}


class Skipped(Exception):
    """What is needed is not here."""


def need(module):
    if importlib.util.find_spec(module) is None:
        raise Skipped(f"this Python has no {module}")


def skip(test, reason):
    """Skips aloud: the reason is counted with those of the Rust tests."""
    path = os.environ.get("KALE_TEST_SKIPS")
    if path:
        with open(path, "a") as skips:
            skips.write(f"SKIPPED {test}: {reason}\n")


def strict(node):
    """A schema in which what is not named is not allowed."""
    if isinstance(node, dict):
        if "properties" in node and "additionalProperties" not in node:
            node["additionalProperties"] = False
        for value in node.values():
            strict(value)
    elif isinstance(node, list):
        for value in node:
            strict(value)
    return node


_loaded = {}


def schema(path, anything=()):
    """A file of definitions, those excepted that stand for several types."""
    if path not in _loaded:
        if not path.is_file():
            raise Skipped(f"{path.name} is not beside the project")
        loaded = json.loads(path.read_text())
        for name in loaded["definitions"]:
            if name.rsplit(".", 1)[-1] in anything:
                loaded["definitions"][name] = {}
        _loaded[path] = strict(loaded)
    return _loaded[path]


def against(definitions, name, document):
    need("jsonschema")
    import jsonschema

    document = copy.deepcopy(document)
    # The schema names the kinds that it knows of metadata, and nothing else is wrong with it.
    jsonschema.Draft7Validator({"$ref": f"#/definitions/{name}", "definitions": definitions}).validate(document)


def argo(documents):
    definitions = schema(ARGO, ARGO_ANY)["definitions"]
    for document in documents:
        against(definitions, f"io.argoproj.workflow.v1alpha1.{document['kind']}", document)


def tekton(documents):
    own = schema(TEKTON, {"ParamValue", "IntOrString", "Quantity", "Time", "Duration"})["definitions"]
    # Kubernetes' own types are not among them; Argo's file has them, by longer names.
    groups = ("io.k8s.api.core.v1", "io.k8s.apimachinery.pkg.apis.meta.v1")
    definitions = dict(schema(ARGO, ARGO_ANY)["definitions"])
    for name in set(re.findall(r"#/definitions/([\w.]+)", json.dumps(own))) - set(own):
        longer = [f"{group}.{name.removeprefix('v1.')}" for group in groups]
        found = [other for other in longer if other in definitions]
        definitions[name] = {"$ref": f"#/definitions/{found[0]}"} if found else {}
    definitions.update(own)
    # The schema wants a name that Tekton itself makes up where there is none.
    definitions["v1.Step"] = {**own["v1.Step"], "required": []}
    for document in documents:
        against(definitions, f"v1.{document['kind']}", document)


def kubernetes(documents):
    need("kubernetes_validate")
    import kubernetes_validate

    for document in documents:
        items = document["items"] if document["kind"] == "List" else [document]
        for item in items:
            kubernetes_validate.validate(item, KUBERNETES, strict=True)


def kfp(documents):
    """The SDK's own loader; the second document against the platform's messages, where they are installed."""
    need("kfp")
    import yaml
    from google.protobuf import json_format
    from kfp import components
    from kfp.pipeline_spec import pipeline_spec_pb2

    json_format.ParseDict(documents[0], pipeline_spec_pb2.PipelineSpec())
    components.load_component_from_text("---\n".join(yaml.safe_dump(document) for document in documents))
    executors = documents[0]["deploymentSpec"]["executors"]
    config = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"] if len(documents) > 1 else {}
    for name, executor in executors.items():
        command = executor.get("container", {}).get("command", [])
        if command[:1] == [f"{BIN}/kale-agent"]:
            mounts = {mount["volumeName"]: mount["mountPath"] for mount in config[name]["emptyDirMounts"]}
            first = config[name]["initContainers"][0]
            assert mounts["kale-agent"] == BIN, name
            assert first["volumeMounts"] == [{"volumeName": "kale-agent", "mountPath": BIN}], name
    need("kfp.kubernetes")
    from kfp.kubernetes import kubernetes_executor_config_pb2

    message = kubernetes_executor_config_pb2.KubernetesExecutorConfig
    for name, parts in config.items():
        assert name in executors, f"{name} is no executor"
        parts = copy.deepcopy(parts)
        if "init_containers" not in message.DESCRIPTOR.fields_by_name:
            # Younger than the SDK: what its message says, by hand.
            for container in parts.pop("initContainers", []):
                assert set(container) <= {"name", "image", "command", "args", "env", "volumeMounts", "restartPolicy", "resources"}
                assert all(set(mount) == {"volumeName", "mountPath"} for mount in container["volumeMounts"])
        json_format.ParseDict(parts, message())


def compose(documents):
    """What compose refuses: services and volumes that are not there, and words in wrong places."""
    (document,) = documents
    services = document["services"]
    known = {
        "build", "command", "depends_on", "deploy", "entrypoint", "environment", "env_file", "healthcheck", "image",
        "labels", "network_mode", "networks", "ports", "read_only", "restart", "stop_grace_period", "stop_signal",
        "tmpfs", "user", "volumes", "working_dir",
    }  # fmt: skip
    for name, service in services.items():
        assert set(service) <= known, f"{name}: {set(service) - known}"
        for key in ("entrypoint", "command"):
            words = service.get(key, "")
            assert isinstance(words, str) or all(isinstance(word, str) for word in words), f"{name}: {key}"
        for other in service.get("depends_on", {}):
            assert other in services, f"{name} depends on {other}"
        order = service.get("depends_on", {})
        if isinstance(order, dict):
            conditions = {"service_started", "service_healthy", "service_completed_successfully"}
            assert all(value["condition"] in conditions for value in order.values()), name
        targets = []
        for volume in service.get("volumes", []):
            source, target = (volume["source"], volume["target"]) if isinstance(volume, dict) else volume.split(":")[:2]
            assert source.startswith((".", "/")) or source in document["volumes"], f"{name}: {volume}"
            targets.append(target.rstrip("/"))
        tmpfs = service.get("tmpfs", [])
        for place in [tmpfs] if isinstance(tmpfs, str) else tmpfs:
            assert place.startswith("/"), f"{name}: {place}"
            targets.append(place.split(":")[0].rstrip("/"))
        assert len(targets) == len(set(targets)), f"{name} mounts twice at one place: {targets}"
    for volume in document.get("volumes", {}).values():
        assert set(volume or {}) <= {"name", "external", "driver", "driver_opts"}, volume


VALIDATORS = {"argo": argo, "compose": compose, "kfp": kfp, "kubernetes": kubernetes, "tekton": tekton}
