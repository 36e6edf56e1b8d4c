//! Steps that run more than once in a run: the first commit must not be taken for all of them.

use kale_tests::sandbox::{Sandbox, Told};

fn inject(manifest: &str) -> Told {
    let place = Sandbox::without_store();
    place.write("m.yaml", manifest);
    place.call(["inject", "m.yaml", "--no-engine", "--image", "agent:1", "--store-claim", "kale"])
}

/// The steps of a manifest that have to do with the store.
fn stored(manifest: &str) -> Vec<String> {
    let told = inject(manifest);
    assert_eq!(told.status, 0, "{told}");
    let flag = |line: &str| Some(line.split_once("--step=")?.1.split([',', ' ', '\'']).next()?.to_owned());
    let mut steps: Vec<String> = told.stdout.lines().filter_map(flag).collect();
    steps.sort();
    steps
}

const ARGO: &str = "apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {name: w}
spec:
  entrypoint: main
  onExit: once
  templates:
  - name: main
    dag:
      tasks:
      - {name: a, template: single}
      - {name: b, template: looped, withItems: [1, 2]}
      - {name: c, template: both}
      - {name: d, template: both}
      - {name: e, template: group, withParam: '{{x}}'}
      - {name: f, inline: {container: {image: i, command: [f]}}}
      - {name: g, withSequence: {count: 2}, inline: {container: {image: i, command: [g]}}}
  - name: group
    steps:
    - - {name: h, template: below}
      - {name: i, inline: {container: {image: i, command: [i]}}}
  - {name: single, container: {image: i, command: [a]}}
  - {name: looped, container: {image: i, command: [a]}}
  - {name: both, script: {image: i, command: [a], source: x}}
  - {name: below, container: {image: i, command: [a]}}
  - {name: once, container: {image: i, command: [a]}}
  - {name: uncalled, container: {image: i, command: [a]}}
";

#[test]
fn templates_of_argo_that_run_more_than_once_leave_the_store_alone() {
    assert_eq!(stored(ARGO), ["f", "once", "single", "uncalled"]);
    let told = inject(ARGO);
    for name in ["container looped", "script both", "container below", "container g", "container i"] {
        assert!(told.stderr.contains(&format!("{name} runs more than once in a run")), "{name}: {told}");
    }
    assert_eq!(told.stdout.matches("[/kale/bin/kale-agent, run, --, ").count(), 5, "{told}");
}

#[test]
fn with_outputs_it_is_an_error_and_with_a_shard_all_is_well() {
    let said = |words: &str| {
        let looped = "name: looped, container";
        ARGO.replace(looped, &format!("name: looped, metadata: {{annotations: {{{words}}}}}, container"))
    };
    let told = inject(&said("kale.dev/out: x"));
    assert_eq!((told.status, told.stdout.as_str()), (190, ""), "{told}");
    assert!(told.stderr.contains("line 23: container looped runs more than once"), "{told}");
    assert!(told.stderr.contains("give it kale.dev/shard or kale.dev/step"), "{told}");
    let shard = said("kale.dev/out: x, kale.dev/shard: '{{inputs.parameters.n}}/2'");
    assert_eq!(stored(&shard), ["f", "looped", "once", "single", "uncalled"]);
}

#[test]
fn so_do_tasks_of_a_matrix_and_jobs_that_complete_several_times() {
    let task = "{taskSpec: {steps: [{image: i, command: [a]}]}, name: a}";
    let pipeline = |tasks: &str| {
        format!("apiVersion: tekton.dev/v1\nkind: Pipeline\nmetadata: {{name: p}}\nspec:\n  tasks: [{tasks}]\n")
    };
    assert_eq!(stored(&pipeline(task)), ["a"]);
    let matrix = task.replace("name: a", "name: a, matrix: {params: [{name: x, value: [b, c]}]}");
    assert!(stored(&pipeline(&matrix)).is_empty());
    let job = |spec: &str| {
        let pod = "template: {spec: {containers: [{name: a, image: i, command: [a]}]}}";
        format!("apiVersion: batch/v1\nkind: Job\nmetadata: {{name: j}}\nspec: {{{spec}, {pod}}}\n")
    };
    assert_eq!(stored(&job("completions: 1")), ["a"]);
    assert_eq!(stored(&job("parallelism: 3")), ["a"], "one success is enough: which one does not matter");
    assert!(stored(&job("completions: 3")).is_empty());
    assert_eq!(stored(&job("completions: 3, completionMode: Indexed")), ["a"]);
}
