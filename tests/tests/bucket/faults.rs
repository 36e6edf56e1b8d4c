//! Stores in buckets when something breaks: the agent, an answer, the server.

use kale_tests::{
    relay::{Moment, Relay},
    running::Running,
    sandbox::{Sandbox, Told},
    server::{BUCKET, S3Server},
    tree,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs::File,
    process::{Command, Stdio},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

const STORE: &str = "store";
/// More than fits one part, a tree, a saved value, a log.
const SHELL: &str = "echo working; cat $KALE_IN_T; cp noise $KALE_OUT_BIG; mkdir $KALE_OUT_TREE; \
    for i in 1 2 3; do echo $i > $KALE_OUT_TREE/$i; done; echo v | kale-agent save value -";
/// Of the big output: two parts.
const BYTES: usize = 9 << 20;
const ARGUMENTS: [&str; 10] = ["run", "--step", "s", "--in", "t=p/r/prep:t", "--out", "big", "--out", "tree", "--run"];

struct Case {
    server: S3Server,
    relay: Relay,
    /// Goes to the server itself.
    place: Sandbox,
}

impl Case {
    fn new(test: &str) -> Option<Self> {
        let server = S3Server::start(test)?;
        let place = Sandbox::with_store_at(&format!("s3://{BUCKET}/{STORE}"), server.variables());
        place.step("prep", ["--out", "t"], "echo t > $KALE_OUT_T");
        place.write("noise", tree::noise(0, BYTES));
        Some(Self { relay: Relay::to(server.port()), server, place })
    }

    /// Another big output from now on: what was stored once is not stored again.
    fn renew(&self, seed: u64) {
        // Seeds that differ in the lowest bit alone make the same noise.
        self.place.write("noise", tree::noise(seed * 2, BYTES));
    }

    /// The step, by way of the relay.
    fn step(&self, run: &str) -> Command {
        let mut command = self.place.agent();
        command.env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", self.relay.port()));
        command.args(ARGUMENTS).args([run, "--", "sh", "-c", SHELL]);
        command
    }

    /// Everything that the step made is there, and as it should be.
    fn is_whole(&self, run: &str) {
        assert_eq!(self.place.ok(["cat", &format!("p/{run}/s:value")]), "v\n");
        self.place.ok(["load", &format!("p/{run}/s:big"), run]);
        let same = |name: &str| std::fs::read(self.place.path(name)).expect("a file");
        assert!(same(run) == same("noise"), "another output was restored than was made");
        assert_eq!(self.place.ok(["cat", &format!("p/{run}/s:tree/2")]), "2\n");
        let told = self.place.ok(["verify", &format!("p/{run}")]);
        assert!(told.contains("all is well"), "{told}");
    }
}

/// The agent is killed at each request that changes the bucket, in turn.
fn killed_everywhere(test: &str, moment: Moment) {
    let Some(case) = Case::new(test) else { return };
    let mut hits = Vec::new();
    for nth in 1..100_u8 {
        let run = format!("run{nth}");
        case.renew(nth.into());
        let pid = Arc::new(OnceLock::new());
        let victim = Arc::clone(&pid);
        let act = move || kill(*victim.wait(), Signal::SIGKILL).expect("our own child");
        case.relay.plan(nth.into(), moment, Arc::new(act));
        let mut agent = case.step(&run);
        let child = agent.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the agent starts");
        pid.set(Pid::from_raw(i32::try_from(child.id()).expect("a small number"))).expect("set once");
        let told = Told::of(&child.wait_with_output().expect("it ends"));
        let Some(hit) = case.relay.hit() else {
            assert_eq!(told.status, 0, "{told}");
            case.is_whole(&run);
            break;
        };
        assert_eq!(told.status, 137, "killed at {hit}: {told}");
        let verified = case.place.call(["verify"]);
        assert_eq!(verified.status, 0, "after a kill at {hit}: {verified}");
        let again = case.place.try_step("s", [&ARGUMENTS[3..], &[run.as_str()]].concat(), SHELL);
        assert_eq!(again.status, 0, "after a kill at {hit}: {again}");
        case.is_whole(&run);
        hits.push(hit);
    }
    assert!((6..99).contains(&hits.len()), "{hits:#?}");
    has_each_kind(&hits);
}

/// The store's ways of writing were all met.
fn has_each_kind(hits: &[String]) {
    for (kind, part) in [("POST", "uploads"), ("PUT", "partNumber"), ("POST", "uploadId"), ("PUT", "/commit")] {
        assert!(hits.iter().any(|hit| hit.starts_with(kind) && hit.contains(part)), "no {kind} of {part}: {hits:#?}");
    }
}

#[test]
fn killed_before_each_request() {
    killed_everywhere("killed_before_each_request", Moment::Before);
}

#[test]
fn killed_after_each_request() {
    killed_everywhere("killed_after_each_request", Moment::After);
}

/// Each request in turn is lost, or its answer is: nobody notices, and nothing is there twice.
#[test]
fn what_is_lost_on_the_way_is_sent_again() {
    let Some(case) = Case::new("what_is_lost_on_the_way_is_sent_again") else { return };
    for moment in [Moment::Before, Moment::After] {
        let mut hits = Vec::new();
        for nth in 1..100_u8 {
            let run = format!("{moment:?}{nth}");
            case.renew(u64::from(nth) + if moment == Moment::After { 100 } else { 0 });
            case.relay.plan(nth.into(), moment, Arc::new(|| {}));
            let told = Told::of(&case.step(&run).output().expect("the agent starts"));
            assert_eq!(told.status, 0, "{moment:?} {:?}: {told}", case.relay.hit());
            assert_eq!(told.stderr, "", "it is the attempt that committed");
            case.is_whole(&run);
            let Some(hit) = case.relay.hit() else { break };
            hits.push(hit);
        }
        has_each_kind(&hits);
    }
}

#[test]
fn a_server_that_is_gone_ends_the_step() {
    let Some(case) = Case::new("a_server_that_is_gone_ends_the_step") else { return };
    let mut agent = case.place.agent();
    agent.args(["run", "--step", "s", "--out", "x", "--", "sh", "-c", "echo ready; read line; echo x > $KALE_OUT_X"]);
    let log = case.place.path("told");
    let mut step = Running::start(agent.stderr(File::create(&log).expect("a file")));
    assert_eq!(step.line(), "ready");
    drop(case.server);
    let begin = Instant::now();
    step.close_stdin();
    // The output, and then the record of the failed attempt: each is given up after 20 seconds at most, and a busy machine
    // was seen to take over 60 for both.
    assert_eq!(step.status_within(Duration::from_secs(120)), 195);
    assert!(case.place.read("told").contains("cannot be reached"), "{}", case.place.read("told"));
    assert!(begin.elapsed() < Duration::from_secs(110), "{:?}", begin.elapsed());
}

#[test]
fn a_server_that_is_overloaded_is_asked_again_and_not_for_ever() {
    let Some(case) = Case::new("a_server_that_is_overloaded_is_asked_again_and_not_for_ever") else { return };
    case.relay.refuse(5);
    let told = Told::of(&case.step("patient").output().expect("the agent starts"));
    assert_eq!(told.status, 0, "{told}");
    case.is_whole("patient");
    case.relay.refuse(usize::MAX);
    let told = Told::of(&case.step("lost").output().expect("the agent starts"));
    assert_eq!(told.status, 195, "{told}");
    assert!(told.stderr.contains("SlowDown: the server asks for fewer requests"), "{told}");
}
