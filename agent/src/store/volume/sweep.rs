//! Sweeping: what writers that were killed have left.

use super::{Volume, failed, is_absent, publish};
use crate::store::StoreError;
use std::{fs, path::PathBuf, time::SystemTime};

impl Volume {
    /// Removes temporary files that were last written before a time, by the volume's clock; returns how many.
    ///
    /// A writer that is alive and was silent for so long loses its file, and is told so when it publishes: the time
    /// has to lie before the start of every step that may still run. Links are not followed.
    pub fn sweep(&self, older_than: SystemTime) -> Result<u64, StoreError> {
        let mut removed = 0;
        let mut folders: Vec<PathBuf> = vec![self.root.to_path_buf()];
        while let Some(folder) = folders.pop() {
            let entries = match fs::read_dir(&folder) {
                Err(error) if is_absent(&error) => continue,
                other => other.map_err(failed("list", &folder))?,
            };
            for entry in entries {
                let entry = entry.map_err(failed("list", &folder))?;
                let path = entry.path();
                // Without following: of a link, the link itself.
                let found = match entry.metadata() {
                    Err(error) if is_absent(&error) => continue,
                    other => other.map_err(failed("look at", &path))?,
                };
                let temporary = entry.file_name().to_string_lossy().starts_with(publish::TEMPORARY);
                let modified = found.modified().map_err(failed("look at", &path))?;
                if found.is_dir() {
                    folders.push(path);
                } else if temporary && modified < older_than {
                    match fs::remove_file(&path) {
                        Err(error) if is_absent(&error) => {}
                        other => {
                            other.map_err(failed("remove", &path))?;
                            removed += 1;
                        }
                    }
                }
            }
        }
        Ok(removed)
    }
}
