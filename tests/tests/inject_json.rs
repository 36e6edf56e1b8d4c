//! Manifests in JSON, where no comment can say what was there: what was put in is told by names and by the agent's own flags.

use kale_tests::sandbox::Sandbox;
use serde_json::{Value, json};

const SCRIPT: &str = "#!/usr/bin/env bash\necho \"pid $$ of $(date)\"\n";

fn pod(grace: Option<u32>) -> Value {
    let mut spec = json!({"containers": [
        {"name": "main", "image": "i", "command": ["python3", "train.py"], "args": ["--n", "1"]},
        {"name": "logs", "image": "i", "command": ["tail"], "env": [{"name": "A", "value": "b"}],
         "volumeMounts": [{"name": "data", "mountPath": "/data"}]},
    ], "volumes": [{"name": "data", "emptyDir": {}}]});
    if let Some(grace) = grace {
        spec["terminationGracePeriodSeconds"] = grace.into();
    }
    spec
}

fn kubernetes() -> Vec<Value> {
    let of =
        |kind: &str, spec: Value| json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "p"}, "spec": spec});
    let templated = |grace| json!({"template": {"metadata": {"labels": {"a": "b"}}, "spec": pod(grace)}});
    let mut all = vec![of("Pod", pod(None)), of("Pod", pod(Some(45)))];
    all.extend(["Job", "Deployment", "StatefulSet", "DaemonSet"].map(|kind| of(kind, templated(Some(600)))));
    all.push(of("CronJob", json!({"schedule": "@daily", "jobTemplate": {"spec": templated(None)}})));
    all
}

fn argo() -> Value {
    let container = json!({"image": "i", "command": ["sh", "-c"], "args": ["echo"]});
    json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"generateName": "w-"}, "spec": {"templates": [
        {"name": "one", "container": container},
        {"name": "two", "script": {"image": "i", "command": ["python3"], "source": "print()"}, "podSpecPatch": "{}"},
        {"name": "three", "containerSet": {"containers": [{"name": "a", "image": "i", "command": ["a"]}]}},
        {"name": "four", "steps": [[{"name": "s", "inline": {"container": container}}]]},
        {"name": "five", "dag": {"tasks": [{"name": "t", "inline": {"container": container}}]}},
    ]}})
}

fn tekton() -> Value {
    let task = json!({"steps": [
        {"name": "bash", "image": "i", "script": SCRIPT},
        {"name": "plain", "image": "i", "script": "echo"},
        {"name": "words", "image": "i", "command": ["/bin/sh", "-e", "-c", "echo", "script", "more"]},
    ]});
    let template =
        json!({"stepTemplate": {"env": [{"name": "A", "value": "b"}]}, "steps": [{"image": "i", "command": ["a"]}]});
    json!({"apiVersion": "tekton.dev/v1", "kind": "Pipeline", "metadata": {"name": "p"}, "spec": {
        "tasks": [{"name": "t", "taskSpec": task}], "finally": [{"name": "f", "taskSpec": template}],
    }})
}

fn compose() -> Value {
    json!({"name": "c", "services": {
        "plain": {"image": "i", "entrypoint": ["a"], "command": ["b"]},
        "slow": {"image": "i", "entrypoint": ["a"], "stop_grace_period": "90s", "environment": ["A=b"],
                 "depends_on": {"plain": {"condition": "service_healthy"}}, "volumes": ["./d:/d"]},
    }})
}

fn read(text: &str) -> Value {
    serde_json::from_str(text).expect("what is said in JSON")
}

fn check(place: &Sandbox, value: &Value) {
    for text in [value.to_string(), format!("{value:#}\n")] {
        place.write("m.json", &text);
        let options = ["inject", "m.json", "--no-engine", "--image", "agent:1", "--store-claim", "kale"];
        let injected = place.ok(options);
        assert!(injected.contains("/kale/bin/kale-agent"), "{injected}");
        place.write("m.json", &injected);
        assert_eq!(read(&place.ok(options)), read(&injected), "twice is not once");
        assert_eq!(read(&place.ok(["inject", "--remove", "m.json"])), *value);
    }
}

#[test]
fn what_goes_into_json_comes_out_of_it() {
    let place = Sandbox::without_store();
    let mut all = kubernetes();
    all.extend([argo(), tekton()]);
    for value in &all {
        check(&place, value);
    }
    check(&place, &json!({"apiVersion": "v1", "kind": "List", "items": all}));
    check(&place, &compose());
}

#[test]
fn what_is_empty_takes_what_is_put_into_it() {
    let place = Sandbox::without_store();
    let empty = |value: &Value| value.to_string().replace("\"i\",", "\"i\",\"volumeMounts\":[],");
    let mut service = compose();
    service["volumes"] = json!({});
    service["services"]["plain"]["depends_on"] = json!({});
    service["services"]["plain"]["environment"] = json!({});
    let mut task = tekton();
    task["spec"]["tasks"][0]["taskSpec"]["stepTemplate"] = json!({});
    for text in [service.to_string(), task.to_string(), empty(&argo())] {
        place.write("m.json", &text);
        let options = ["inject", "m.json", "--no-engine", "--image", "agent:1", "--store-claim", "kale"];
        let injected = place.ok(options);
        // The same as YAML, where it comes back to the byte.
        let yaml = format!("# JSON is YAML\n{text}\n");
        place.write("m.json", &yaml);
        let once = place.ok(options);
        place.write("m.json", &once);
        assert_eq!(place.ok(["inject", "--remove", "m.json"]), yaml);
        place.write("m.json", &injected);
        assert_eq!(read(&place.ok(options)), read(&injected), "twice is not once");
    }
}

#[test]
fn what_came_from_an_image_goes_with_the_agent() {
    let place = Sandbox::without_store();
    place.write(
        "index.yaml",
        "whole: {entrypoint: [/e], cmd: [a, b], stop-signal: SIGUSR1}\nshort: {cmd: [c], stop-signal: SIGRTMIN+3}\n",
    );
    let template = |name: &str, container: Value| json!({"name": name, "container": container});
    let argo = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"name": "w"}, "spec": {
        "templateDefaults": {"container": {"command": ["lent"]}},
        "templates": [template("x", json!({"image": "whole", "args": ["own"]}))],
    }});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [
        {"name": "a", "image": "whole"},
        {"name": "b", "image": "whole", "args": ["own"]},
        {"name": "c", "image": "short"},
    ]}});
    let compose = json!({"name": "c", "services": {
        "a": {"image": "whole"}, "b": {"image": "whole", "command": ["own"]}, "c": {"image": "short"},
    }});
    for value in [argo, pod, compose] {
        place.write("m.json", value.to_string());
        let options = [
            "inject",
            "m.json",
            "--no-engine",
            "--image-index",
            "index.yaml",
            "--image",
            "agent:1",
            "--store-claim",
            "kale",
        ];
        let injected = place.ok(options);
        assert_eq!(injected.contains("--stop-signal=SIGUSR1"), !injected.contains("lent"), "{injected}");
        place.write("m.json", &injected);
        assert_eq!(read(&place.ok(options)), read(&injected), "twice is not once");
        assert_eq!(read(&place.ok(["inject", "--remove", "m.json"])), value);
    }
}
