//! The control groups that this process is in: cgroup v1, one tree a controller; v2, one tree.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

/// A group's folder, and which version of files lies in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// One of the trees of version 1.
    V1(PathBuf),
    /// The tree of version 2.
    V2(PathBuf),
}

impl Group {
    /// What one of its files says.
    pub(super) fn read(&self, file: &str) -> Option<String> {
        let (Self::V1(folder) | Self::V2(folder)) = self;
        fs::read_to_string(folder.join(file)).ok()
    }
}

/// The groups of a controller, the innermost first, up to the root.
///
/// In a container the root that is mounted is often the container's own group, and the path that `/proc` tells does not
/// exist below it: then the root is all there is to ask.
pub(super) fn groups(mounted: &Path, own: &Path, controller: &str) -> Vec<Group> {
    let mut found = Vec::new();
    for line in fs::read_to_string(own).unwrap_or_default().lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        if controllers.is_empty() {
            // Beside trees of version 1 the one of version 2 is mounted in a folder of its own.
            for root in [mounted.to_owned(), mounted.join("unified")] {
                found.extend(upwards(&root, path).into_iter().map(Group::V2));
            }
        } else if controllers.split(',').any(|one| one == controller) {
            let roots = [mounted.join(controllers), mounted.join(controller)];
            let distinct = if controllers == controller { 1 } else { 2 };
            for root in &roots[..distinct] {
                found.extend(upwards(root, path).into_iter().map(Group::V1));
            }
        }
    }
    found.dedup();
    found
}

fn upwards(root: &Path, path: &str) -> Vec<PathBuf> {
    let mut folder = root.to_owned();
    let mut folders = vec![folder.clone()];
    for part in Path::new(path).components() {
        // Seen from a namespace below, a path may begin with "..": nothing above our root is ours to read.
        if let Component::Normal(part) = part {
            folder.push(part);
            folders.push(folder.clone());
        }
    }
    folders.reverse();
    folders
}
