//! A hermetic place to run the agent in: a folder, a store, and nothing of the caller's environment.

use crate::binary;
use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};
use tempfile::TempDir;

/// A temporary folder with a store in it.
#[derive(Debug)]
pub struct Sandbox {
    folder: TempDir,
    /// What the agent finds in its environment besides.
    variables: Vec<(String, String)>,
}

/// How a call of the agent ended.
#[derive(Debug)]
pub struct Told {
    /// The exit status; 128+n for a signal.
    pub status: i32,
    /// All of stdout.
    pub stdout: String,
    /// All of stderr.
    pub stderr: String,
}

impl Sandbox {
    /// A new folder with a new store.
    pub fn new() -> Self {
        let sandbox = Self::without_store();
        sandbox.ok(["init", "store"]);
        sandbox
    }

    /// A new folder without a store in it.
    pub fn without_store() -> Self {
        let folder = tempfile::Builder::new().prefix("kale-test-").tempdir().expect("a temporary folder");
        Self { folder, variables: Vec::new() }
    }

    /// A new folder with a new store elsewhere, which these variables lead to.
    pub fn with_store_at(store: &str, variables: Vec<(String, String)>) -> Self {
        let sandbox = Self::without_store().with("KALE_STORE", store);
        let sandbox = variables.iter().fold(sandbox, |sandbox, (name, value)| sandbox.with(name, value));
        sandbox.ok(["init", store]);
        sandbox
    }

    /// The same with a variable more in the agent's environment, or another value of one.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A path in the folder.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    /// The store's folder.
    pub fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// Writes a file, with its parent folders.
    pub fn write(&self, relative: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(relative);
        std::fs::create_dir_all(path.parent().expect("a path in the sandbox has a parent")).expect("parent folders");
        std::fs::write(&path, content).expect("a file in the sandbox");
        path
    }

    /// Reads a file as text.
    pub fn read(&self, relative: &str) -> String {
        let path = self.path(relative);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The agent, in this folder, with this store and nothing else in its environment but a search path.
    pub fn agent(&self) -> Command {
        let mut command = Command::new(binary::kale_agent());
        command
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.folder.path())
            .env("TMPDIR", self.folder.path())
            .env("KALE_STORE", self.store())
            .env("KALE_PIPELINE", "p")
            .env("KALE_RUN", "r")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Runs the agent with these arguments to its end.
    pub fn call<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Told {
        Told::of(&self.agent().args(arguments).output().expect("the agent starts"))
    }

    /// Runs the agent, which must succeed, and returns its stdout.
    pub fn ok<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> String {
        let told = self.call(arguments);
        assert_eq!(told.status, 0, "{told}");
        told.stdout
    }

    /// Runs the agent, which must exit with this status, and returns its stderr.
    pub fn fails<A: AsRef<OsStr>>(&self, status: i32, arguments: impl IntoIterator<Item = A>) -> String {
        let told = self.call(arguments);
        assert_eq!(told.status, status, "{told}");
        told.stderr
    }

    /// Runs a shell command as a step with these arguments of `run`; it must succeed.
    pub fn step<A: AsRef<str>>(&self, step: &str, arguments: impl IntoIterator<Item = A>, shell: &str) -> Told {
        let told = self.try_step(step, arguments, shell);
        assert_eq!(told.status, 0, "{told}");
        told
    }

    /// Runs a shell command as a step with these arguments of `run`.
    pub fn try_step<A: AsRef<str>>(&self, step: &str, arguments: impl IntoIterator<Item = A>, shell: &str) -> Told {
        let arguments: Vec<String> = arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
        let mut all = vec!["run".to_owned(), "--step".to_owned(), step.to_owned()];
        all.extend(arguments);
        all.extend(["--", "sh", "-c", shell].map(str::to_owned));
        self.call(all)
    }

    /// Runs the agent with `--json`, which must succeed, and parses what it says.
    pub fn json<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> serde_json::Value {
        let arguments: Vec<_> = arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
        let text = self.ok(arguments.iter().map(AsRef::as_ref).chain([OsStr::new("--json")]));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Every file below the store, by relative path and content, in order: to see that nothing changed.
    pub fn stored(&self) -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        collect(&self.store(), &self.store(), &mut files);
        files.sort();
        files
    }

    /// The relative path of every file below the store, while something may be changing it.
    pub fn stored_names(&self) -> Vec<String> {
        let (root, mut folders, mut names) = (self.store(), vec![self.store()], Vec::new());
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    names.push(path.strip_prefix(&root).expect("below its root").to_string_lossy().into_owned());
                }
            }
        }
        names
    }

    /// Bytes in the store's packs.
    pub fn packed_bytes(&self) -> u64 {
        self.stored().iter().filter(|(path, _)| path.starts_with("packs/")).map(|(_, bytes)| bytes.len() as u64).sum()
    }
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).expect("a folder of the store").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(root, &path, files);
        } else {
            let name = path.strip_prefix(root).expect("below its root").to_string_lossy().into_owned();
            files.push((name, std::fs::read(&path).expect("a file of the store")));
        }
    }
}

impl Told {
    /// What a finished process told.
    pub fn of(output: &Output) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let status = output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0));
        Self {
            status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "status {}\nstdout: {}\nstderr: {}", self.status, self.stdout, self.stderr)
    }
}
