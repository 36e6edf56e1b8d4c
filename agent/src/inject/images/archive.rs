//! What an image in a file runs: an OCI layout, as a folder or a tar file, or what `docker save` writes.

use super::{
    Known,
    content::{Descriptor, ImageConfig, Manifest},
    name,
    platform::{self, Platform},
};
use crate::inject::error::InjectError;
use serde::{Deserialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufReader, Read, Seek, SeekFrom},
    path::Path,
};

/// The largest index, manifest or configuration, in bytes.
const LIMIT: u64 = 8 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

/// Where the small files of an archive are.
enum Files<'p> {
    Folder(&'p Path),
    Tar(BufReader<File>, BTreeMap<String, (u64, u64)>),
}

/// What the image of this (normal) name runs, or without a name the only one there; `None` if it is not there. Of
/// several platforms this one is taken, or else the first.
pub(super) fn look_up(path: &Path, wanted: Option<&str>, platform: &Platform) -> Result<Option<Known>, InjectError> {
    let fail = |source: io::Error| match source.kind() {
        io::ErrorKind::InvalidData => InjectError::Content { path: path.to_owned(), why: source.to_string() },
        _ => InjectError::File { what: "cannot read", path: path.to_owned(), source },
    };
    let mut files = Files::open(path).map_err(fail)?;
    search(&mut files, wanted, platform).map_err(fail)
}

fn search(files: &mut Files<'_>, wanted: Option<&str>, platform: &Platform) -> io::Result<Option<Known>> {
    if let Some(saved) = files.json::<Vec<Saved>>("manifest.json")? {
        let only = saved.len() == 1;
        let found = saved.into_iter().find(|image| match wanted {
            Some(wanted) => image.repo_tags.iter().flatten().any(|tag| name::normal(tag) == wanted),
            None => only,
        });
        if let Some(image) = found {
            return files.config(&image.config).map(Some);
        }
        if wanted.is_none() {
            return Err(invalid("it holds several images: say which, --image-archive NAME=FILE"));
        }
    }
    let Some(index) = files.json::<Index>("index.json")? else { return Ok(None) };
    let only = index.manifests.len() == 1;
    let found = index.manifests.into_iter().find(|image| match wanted {
        Some(wanted) => {
            let names = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];
            let named = names.iter().filter_map(|key| image.annotations.get(*key)).any(|n| name::normal(n) == wanted);
            named || wanted.ends_with(&format!("@{}", image.digest))
        }
        None => only,
    });
    match found {
        Some(image) => files.manifest(&image.digest, platform, 0).map(Some),
        None if wanted.is_none() => Err(invalid("it holds several images, and none is named")),
        None => Ok(None),
    }
}

impl<'p> Files<'p> {
    fn open(path: &'p Path) -> io::Result<Self> {
        if fs::metadata(path)?.is_dir() {
            return Ok(Self::Folder(path));
        }
        let mut file = BufReader::new(File::open(path)?);
        let entries = tar_entries(&mut file)?;
        Ok(Self::Tar(file, entries))
    }

    fn read(&mut self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        let size = match self {
            Self::Folder(folder) => match File::open(folder.join(name)) {
                Ok(file) => file.take(LIMIT + 1).read_to_end(&mut bytes)? as u64,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            },
            Self::Tar(file, entries) => {
                let Some((offset, size)) = entries.get(name).copied() else { return Ok(None) };
                file.seek(SeekFrom::Start(offset))?;
                file.take(size.min(LIMIT + 1)).read_to_end(&mut bytes)?;
                size
            }
        };
        if size > LIMIT { Err(invalid(&format!("{name} in it is larger than {LIMIT} bytes"))) } else { Ok(Some(bytes)) }
    }

    fn json<T: DeserializeOwned>(&mut self, name: &str) -> io::Result<Option<T>> {
        let Some(bytes) = self.read(name)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| invalid(&format!("{name} in it is broken: {error}")))
    }

    fn config(&mut self, name: &str) -> io::Result<Known> {
        let missing = || invalid(&format!("{name} is missing in it"));
        let config: ImageConfig = self.json(name)?.ok_or_else(missing)?;
        Ok(config.config.unwrap_or_default().into())
    }

    fn manifest(&mut self, digest: &str, platform: &Platform, depth: u32) -> io::Result<Known> {
        let name = blob(digest)?;
        let manifest: Manifest = self.json(&name)?.ok_or_else(|| invalid(&format!("{name} is missing in it")))?;
        if let Some(config) = manifest.config {
            return self.config(&blob(&config.digest)?);
        }
        // Entries for `unknown/unknown` are attestations, no images.
        let real = |entry: &&Descriptor| entry.platform.as_ref().is_none_or(Platform::is_linux);
        let fits = platform::choose(&manifest.manifests, platform);
        match fits.or_else(|| manifest.manifests.iter().find(real)) {
            Some(entry) if depth < 4 => self.manifest(&entry.digest, platform, depth + 1),
            _ => Err(invalid("it holds no image for linux")),
        }
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}

/// Where the content of a digest lies. Digests come from the file and are no paths.
fn blob(digest: &str) -> io::Result<String> {
    match digest.split_once(':') {
        Some((kind, hex)) if [kind, hex].iter().all(|part| part.bytes().all(|byte| byte.is_ascii_alphanumeric())) => {
            Ok(format!("blobs/{kind}/{hex}"))
        }
        _ => Err(invalid(&format!("{digest:?} is no digest"))),
    }
}

/// The files of a tar by name, with offset and size: ustar, with GNU's and pax's long names passed over.
fn tar_entries(file: &mut BufReader<File>) -> io::Result<BTreeMap<String, (u64, u64)>> {
    let mut entries = BTreeMap::new();
    let mut header = [0; 512];
    let mut at = 0;
    loop {
        file.seek(SeekFrom::Start(at))?;
        match file.read_exact(&mut header) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && at > 0 => break,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(invalid("it is no tar file")),
            other => other?,
        }
        if header.iter().all(|byte| *byte == 0) {
            break;
        }
        let sum: u32 =
            header.iter().enumerate().map(|(i, b)| if (148..156).contains(&i) { 32 } else { u32::from(*b) }).sum();
        let (Some(size), Some(stored)) = (octal(&header[124..136]), octal(&header[148..156])) else {
            return Err(invalid("it is no tar file"));
        };
        if u64::from(sum) != stored {
            return Err(invalid("it is no tar file, or one that is compressed"));
        }
        if matches!(header[156], b'0' | 0) {
            let text = |range: &[u8]| {
                let end = range.iter().position(|byte| *byte == 0).unwrap_or(range.len());
                String::from_utf8_lossy(&range[..end]).into_owned()
            };
            let prefix = if &header[257..262] == b"ustar" { text(&header[345..500]) } else { String::new() };
            let name = text(&header[..100]);
            let name = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
            entries.insert(name.trim_start_matches("./").to_owned(), (at + 512, size));
        }
        at = at.checked_add(512 + size.div_ceil(512) * 512).ok_or_else(|| invalid("it is no tar file"))?;
    }
    Ok(entries)
}

fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok().filter(|size| *size < 1 << 50) }
}
