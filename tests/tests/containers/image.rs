//! An image with the agent and nothing else, and containers of it.

use kale_tests::{
    binary::kale_agent,
    running::until,
    sandbox::{Sandbox, Told},
    skip::skip,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs,
    path::Path,
    process::Command,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

/// What the image lacks for a shell: this machine's own, which nobody can write to.
const SYSTEM: [&str; 4] = ["/usr", "/bin", "/lib", "/lib64"];

/// Images share layers: one that is removed takes away what one that is being built has found there.
static ENGINE: Mutex<()> = Mutex::new(());
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// An image that is removed when dropped.
pub(crate) struct Image(String);

impl Image {
    /// Builds the image of images/scratch; `None`, said aloud, where no engine answers or the binary is not static.
    pub(crate) fn build(test: &str, place: &Sandbox) -> Option<Self> {
        match Command::new("docker").args(["version", "--format", "{{.Server.Version}}"]).output() {
            Ok(answer) if answer.status.success() => {}
            _ => {
                skip(test, "no Docker engine answers");
                return None;
            }
        }
        let linked = Command::new("ldd").arg(kale_agent()).output().expect("ldd comes with the C library");
        let said = String::from_utf8_lossy(&linked.stdout).into_owned() + &String::from_utf8_lossy(&linked.stderr);
        if !said.contains("statically linked") && !said.contains("not a dynamic executable") {
            skip(test, "the binary is not static: `make test` builds it so");
            return None;
        }
        let dockerfile = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images/scratch/Dockerfile");
        fs::create_dir(place.path("context")).expect("a new folder");
        fs::copy(dockerfile, place.path("context/Dockerfile")).expect("the files of the image");
        fs::copy(kale_agent(), place.path("context/kale-agent")).expect("the files of the image");
        Some(Self::made(
            format!("kale-test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed)),
            &place.path("context"),
            &[],
        ))
    }

    fn made(name: String, context: &Path, arguments: &[String]) -> Self {
        let mut docker = Command::new("docker");
        docker.args(["build", "--quiet", "--network", "none", "--tag", &name]);
        docker.args(arguments.iter().flat_map(|argument| ["--build-arg", argument])).arg(context);
        let alone = ENGINE.lock().unwrap_or_else(PoisonError::into_inner);
        let told = Told::of(&docker.output().expect("docker starts"));
        drop(alone);
        assert_eq!(told.status, 0, "{told}");
        Self(name)
    }

    /// Another image of the files that this one was made of, and what is beside them by now.
    pub(crate) fn again(&self, place: &Sandbox) -> Self {
        Self::made(format!("{}-again", self.0), &place.path("context"), &[])
    }

    pub(crate) fn run(&self, options: &[&str], arguments: &[&str]) -> Told {
        let mut docker = Command::new("docker");
        docker.args(["run", "--rm", "--network", "none"]).args(options).arg(&self.0).args(arguments);
        Told::of(&docker.output().expect("docker starts"))
    }

    /// An image that a folder of images/ makes from this one and from one with nothing in it.
    pub(crate) fn derived(&self, folder: &str, place: &Sandbox) -> Self {
        place.write("base/Dockerfile", "FROM scratch\nCOPY Dockerfile /base\n");
        let base = Self::made(format!("{}-base", self.0), &place.path("base"), &[]);
        let arguments = [format!("AGENT={}", self.0), format!("BASE={}", base.0)];
        let context = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images").join(folder);
        Self::made(format!("{}-{folder}", self.0), &context, &arguments)
    }

    /// A shell command as a step in a container of its own, to its end.
    pub(crate) fn step(&self, place: &Sandbox, options: &[&str], arguments: &[&str], shell: &str) -> Told {
        let [options, arguments] = [with_system(place, options), of_step(arguments, shell)];
        self.run(&words(&options), &words(&arguments))
    }

    /// The same, started and left to run.
    pub(crate) fn start(&self, place: &Sandbox, options: &[&str], arguments: &[&str], shell: &str) -> Container {
        let [options, arguments] = [with_system(place, options), of_step(arguments, shell)];
        let mut docker = Command::new("docker");
        docker.args(["run", "--detach", "--network", "none"]).args(options).arg(&self.0).args(arguments);
        let told = Told::of(&docker.output().expect("docker starts"));
        assert_eq!(told.status, 0, "{told}");
        Container(told.stdout.trim().to_owned())
    }

    /// Its own command as a step in a container, to its end.
    pub(crate) fn own(&self, place: &Sandbox, options: &[&str]) -> Told {
        self.run(&words(&with_system(place, options)), &[])
    }

    /// How long all of it is, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        let mut docker = Command::new("docker");
        let told = Told::of(
            &docker.args(["image", "inspect", "--format", "{{.Size}}", &self.0]).output().expect("docker starts"),
        );
        told.stdout.trim().parse().unwrap_or_else(|_| panic!("{told}"))
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _alone = ENGINE.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = Command::new("docker").args(["rmi", "-f", &self.0]).output();
    }
}

/// Mounts for a step with a shell, the sandbox's store, and `/place`, which is its folder `place`.
fn with_system(place: &Sandbox, options: &[&str]) -> Vec<String> {
    let folder = place.path("place");
    fs::create_dir_all(&folder).expect("a folder of the sandbox");
    // Whoever the step is.
    let open = Command::new("chmod").args(["-R", "a+rwX"]).args([&folder, &place.store()]).status();
    assert!(open.expect("chmod starts").success());
    let system = SYSTEM.iter().filter(|path| Path::new(path).exists()).map(|path| format!("{path}:{path}:ro"));
    let own = [format!("{}:/store", place.store().display()), format!("{}:/place", folder.display())];
    let mut all: Vec<String> = system.chain(own).flat_map(|volume| ["--volume".to_owned(), volume]).collect();
    let variables = ["KALE_STORE=/store", "KALE_PIPELINE=p", "KALE_RUN=r", "HOME=/tmp", "PATH=/usr/bin:/bin"];
    all.extend(variables.iter().flat_map(|variable| ["--env", *variable]).map(str::to_owned));
    all.extend(["--tmpfs", "/tmp", "--workdir", "/place"].map(str::to_owned));
    all.extend(options.iter().map(|&option| option.to_owned()));
    all
}

fn of_step(arguments: &[&str], shell: &str) -> Vec<String> {
    [&["run"][..], arguments, &["--", "sh", "-c", shell]].concat().into_iter().map(str::to_owned).collect()
}

fn words(all: &[String]) -> Vec<&str> {
    all.iter().map(String::as_str).collect()
}

/// A container that was started; removed, running or not, when dropped.
pub(crate) struct Container(String);

impl Container {
    /// Has the engine do something with it.
    pub(crate) fn docker(&self, words: &[&str]) -> Told {
        Told::of(&Command::new("docker").args(words).arg(&self.0).output().expect("docker starts"))
    }

    /// Waits until its step has printed a line.
    pub(crate) fn wait_for(&self, line: &str) {
        until(line, || self.docker(&["logs"]).stdout.lines().any(|one| one == line).then_some(()));
    }

    /// Ends it at once, where we may kill its first process; the engine takes some time for that, and does it elsewhere.
    pub(crate) fn killer(&self) -> impl FnOnce() + '_ {
        let pid = self.docker(&["inspect", "--format", "{{.State.Pid}}"]).stdout.trim().parse().expect("a number");
        move || {
            if pid == 0 || kill(Pid::from_raw(pid), Signal::SIGKILL).is_err() {
                self.docker(&["kill"]);
            }
        }
    }

    /// Its exit status, once it has ended, and what it printed.
    pub(crate) fn ended(&self) -> Told {
        let status = self.docker(&["wait"]).stdout.trim().parse().expect("a status");
        Told { status, ..self.docker(&["logs"]) }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.docker(&["rm", "--force"]);
    }
}
