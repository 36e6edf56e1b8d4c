//! What the containers of a pod have in common, whichever engine makes it: mounts, volumes, variables, the first init
//! container.

use super::{
    error::InjectError,
    plan::{Plan, View},
    settings::{BIN_DIR, IMAGE_BIN, NAME, STORE_VOLUME, Settings, StepSettings, Volume},
    yaml::{edit::Place, value::Value},
};

/// The container that puts the agent into the pod's volume, in words that Kubernetes and Argo share.
pub(super) fn init_container(settings: &Settings) -> Value {
    let yes = || Value::Plain("true".to_owned());
    let no = || Value::Plain("false".to_owned());
    let resources = |cpu: &str, memory: &str| Value::map([("cpu", Value::text(cpu)), ("memory", Value::text(memory))]);
    Value::map([
        ("name", Value::text(NAME)),
        ("image", Value::text(&settings.image)),
        ("command", Value::texts([IMAGE_BIN, "install", BIN_DIR])),
        ("volumeMounts", Value::Seq(vec![mount(NAME, BIN_DIR, false)])),
        ("resources", Value::map([("requests", resources("10m", "32Mi")), ("limits", resources("500m", "128Mi"))])),
        (
            "securityContext",
            Value::map([
                ("allowPrivilegeEscalation", no()),
                ("readOnlyRootFilesystem", yes()),
                ("capabilities", Value::map([("drop", Value::texts(["ALL"]))])),
                ("seccompProfile", Value::map([("type", Value::text("RuntimeDefault"))])),
            ]),
        ),
    ])
}

/// A mount of a volume.
pub(super) fn mount(volume: &str, path: &str, read_only: bool) -> Value {
    let mut pairs = vec![("name", Value::text(volume)), ("mountPath", Value::text(path))];
    if read_only {
        pairs.push(("readOnly", Value::Plain("true".to_owned())));
    }
    Value::map(pairs)
}

/// What each step mounts.
pub(super) fn mounts(settings: &Settings) -> Vec<Value> {
    let store = settings.volume.as_ref().map(|(_, path)| mount(STORE_VOLUME, path, false));
    [mount(NAME, BIN_DIR, true)].into_iter().chain(store).collect()
}

/// The volumes that the mounts need.
pub(super) fn volumes(settings: &Settings) -> Vec<Value> {
    let agent = Value::map([("name", Value::text(NAME)), ("emptyDir", Value::Map(Vec::new()))]);
    let store = settings.volume.as_ref().map(|(volume, _)| {
        let source = match volume {
            Volume::Claim(claim) => ("persistentVolumeClaim", Value::map([("claimName", Value::text(claim))])),
            Volume::Host(path) => {
                ("hostPath", Value::map([("path", Value::text(path)), ("type", Value::text("Directory"))]))
            }
        };
        Value::map([("name", Value::text(STORE_VOLUME)), source])
    });
    [agent].into_iter().chain(store).collect()
}

/// A variable that holds a field of the pod.
pub(super) fn field(name: &str, path: &str) -> Value {
    let field = Value::map([("fieldRef", Value::map([("fieldPath", Value::text(path))]))]);
    Value::map([("name", Value::text(name)), ("valueFrom", field)])
}

impl Plan<'_, '_> {
    /// Mounts and variables of one container; `run` is the field of the pod that names the run.
    pub(super) fn equip(
        &mut self,
        container: View,
        settings: &StepSettings,
        run: Option<&str>,
        mounted: bool,
    ) -> Result<(), InjectError> {
        let all = self.settings;
        if mounted {
            self.free_of_ours(container, "volumeMounts", "the mount")?;
            for there in self.list(container, "volumeMounts")? {
                self.free_place(there, self.text_of(there, "mountPath")?.unwrap_or_default())?;
            }
            self.extend(container, "volumeMounts", Place::Back, mounts(all))?;
        }
        let mut env = Vec::new();
        let mut there = Vec::new();
        for variable in self.list(container, "env")? {
            let name = self.text_of(variable, "name")?.unwrap_or_default().to_owned();
            there.push((name, self.text_of(variable, "value")?.map(str::to_owned)));
        }
        let has = |name: &str| there.iter().find(|variable| variable.0 == name);
        let work = all.store.is_some() || settings.is_work();
        if let Some(path) = run
            && work
            && all.run.is_none()
            && has("KALE_RUN").is_none()
        {
            let run = field("KALE_RUN", path);
            // In a list of ours it is known by what it is; in one of the user's it could be theirs.
            env.push(if self.get(container, "env")?.is_none() { run } else { run.marked() });
        }
        for secret in &all.secrets {
            for key in secret.keys.iter().filter(|key| has(key).is_none()) {
                let key_ref = Value::map([("name", Value::text(&secret.name)), ("key", Value::text(key))]);
                let source = Value::map([("secretKeyRef", key_ref)]);
                env.push(Value::map([("name", Value::text(key)), ("valueFrom", source)]).marked());
            }
        }
        for (name, value) in &settings.env {
            match has(name) {
                None => env.push(Value::map([("name", Value::text(name)), ("value", Value::text(value))]).marked()),
                Some((_, Some(own))) if own == value => {}
                Some(_) => {
                    return Err(InjectError::Clash {
                        line: self.line(container),
                        what: format!("the container sets {name} itself"),
                        remedy: "leave it out of the mapping file",
                    });
                }
            }
        }
        self.extend(container, "env", Place::Back, env)?;
        let mut from = Vec::new();
        for secret in all.secrets.iter().filter(|secret| secret.keys.is_empty()) {
            let mut there = false;
            for source in self.list(container, "envFrom")? {
                if let Some(reference) = self.map(source, "secretRef")? {
                    there |= self.text_of(reference, "name")? == Some(&secret.name);
                }
            }
            if !there {
                let reference = Value::map([("name", Value::text(&secret.name))]);
                from.push(Value::map([("secretRef", reference)]).marked());
            }
        }
        self.extend(container, "envFrom", Place::Back, from)
    }

    /// An error if something is mounted where we mount.
    pub(super) fn free_place(&self, there: View, path: &str) -> Result<(), InjectError> {
        let path = path.trim_end_matches('/');
        let store = self.settings.volume.as_ref().is_some_and(|(_, own)| own.trim_end_matches('/') == path);
        if path != BIN_DIR && !store {
            return Ok(());
        }
        Err(InjectError::Clash {
            line: self.line(there),
            what: format!("something is mounted at {path}"),
            remedy: "mount it elsewhere, or give the store another place with --store-claim CLAIM:PATH",
        })
    }

    /// Volumes, with what the engine calls them.
    pub(super) fn add_volumes(&mut self, owner: View, key: &str) -> Result<(), InjectError> {
        self.free_of_ours(owner, key, "the volume")?;
        self.extend(owner, key, Place::Back, volumes(self.settings))
    }

    /// The init container, before all others. Its name is no other container's: a pod has each once.
    pub(super) fn add_init_container(&mut self, owner: View) -> Result<(), InjectError> {
        let kinds =
            [("initContainers", "the init container"), ("containers", "the container"), ("sidecars", "the sidecar")];
        for (key, what) in kinds {
            self.free_of_ours(owner, key, what)?;
        }
        self.extend(owner, "initContainers", Place::Front, vec![init_container(self.settings)])
    }

    /// An error if a list has something with a name that only ours may have.
    pub(super) fn free_of_ours(&self, owner: View, key: &str, what: &str) -> Result<(), InjectError> {
        for item in self.list(owner, key)? {
            let name = self.text_of(item, "name")?.unwrap_or_default();
            if name == NAME || name == STORE_VOLUME {
                return Err(InjectError::Clash {
                    line: self.line(item),
                    what: format!("{what} is called {name}"),
                    remedy: "give it another name: this one is what kale-agent calls its own",
                });
            }
        }
        Ok(())
    }

    /// The annotations below `metadata` of a map.
    pub(super) fn annotations(&self, owner: View) -> Result<Vec<(String, String)>, InjectError> {
        let Some(metadata) = self.map(owner, "metadata")? else { return Ok(Vec::new()) };
        let Some(annotations) = self.map(metadata, "annotations")? else { return Ok(Vec::new()) };
        Ok(self.said(annotations))
    }

    /// The pairs of a map of texts.
    pub(super) fn said(&self, map: View) -> Vec<(String, String)> {
        let pairs = self.pairs(map).into_iter();
        pairs.filter_map(|(key, value)| Some((key, self.text(value)?.to_owned()))).collect()
    }

    /// The name of a manifest: `name`, or what `generateName` begins with.
    pub(super) fn name_of(&self, root: View) -> Result<Option<String>, InjectError> {
        let Some(metadata) = self.map(root, "metadata")? else { return Ok(None) };
        if let Some(name) = self.text_of(metadata, "name")? {
            return Ok(Some(name.to_owned()));
        }
        let generated = self.text_of(metadata, "generateName")?;
        Ok(generated.map(|name| name.trim_end_matches('-').to_owned()).filter(|name| !name.is_empty()))
    }
}
