//! The client for step code in Python, carried inside the binary: the package `kale_agent`.

use std::{fs, io, path::Path};

/// The package's name in the folder.
pub const PACKAGE: &str = "kale_agent";
/// The package's modules, one concern each.
const MODULES: [(&str, &str); 10] = [
    ("__init__.py", include_str!("kale_agent/__init__.py")),
    ("client.py", include_str!("kale_agent/client.py")),
    ("decode.py", include_str!("kale_agent/decode.py")),
    ("encode.py", include_str!("kale_agent/encode.py")),
    ("errors.py", include_str!("kale_agent/errors.py")),
    ("memory.py", include_str!("kale_agent/memory.py")),
    ("snapshot.py", include_str!("kale_agent/snapshot.py")),
    ("tables.py", include_str!("kale_agent/tables.py")),
    ("tensors.py", include_str!("kale_agent/tensors.py")),
    ("text.py", include_str!("kale_agent/text.py")),
];

/// Writes the package into a folder, over what was there under its name.
///
/// The folder is made where it is missing, and is to be put on `PYTHONPATH`. Written in place: the folder must be
/// the agent's own.
pub fn install(folder: &Path) -> io::Result<()> {
    let package = folder.join(PACKAGE);
    fs::create_dir_all(&package)?;
    MODULES.iter().try_for_each(|(name, source)| fs::write(package.join(name), source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_is_written_whole_and_again() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("python");
        install(&place).unwrap();
        fs::write(place.join(PACKAGE).join("client.py"), "old").unwrap();
        install(&place).unwrap();
        for (name, source) in MODULES {
            assert_eq!(fs::read_to_string(place.join(PACKAGE).join(name)).unwrap(), source);
        }
        // Whatever lies in the package has to be carried.
        let carried = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/python").join(PACKAGE);
        let there = fs::read_dir(carried).unwrap().map(|entry| entry.unwrap().file_name());
        let mut there: Vec<_> = there.filter(|name| name.to_string_lossy().ends_with(".py")).collect();
        there.sort();
        assert_eq!(there, MODULES.map(|(name, _)| name));
    }
}
