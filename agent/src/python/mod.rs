//! The client for step code in Python, carried inside the binary: `kale_agent.py`.

use std::{fs, io, path::Path};

/// The module's name in the folder.
pub const MODULE_FILE: &str = "kale_agent.py";
/// The module's source.
const MODULE: &str = include_str!("kale_agent.py");

/// Writes the module into a folder, over what was there under its name.
///
/// The folder is made where it is missing, and is to be put on `PYTHONPATH`. Written in place: the folder must be
/// the agent's own.
pub fn install(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join(MODULE_FILE), MODULE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_is_written_whole_and_again() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("python");
        install(&place).unwrap();
        fs::write(place.join(MODULE_FILE), "old").unwrap();
        install(&place).unwrap();
        assert_eq!(fs::read_to_string(place.join(MODULE_FILE)).unwrap(), MODULE);
    }
}
