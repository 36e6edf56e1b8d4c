//! Who we are to a registry: what `docker login` wrote down. Programs that keep credentials are never run.

use super::error::RegistryError;
use base64::{Engine, prelude::BASE64_STANDARD};
use http::HeaderValue;
use serde_json::Value;
use std::{
    fs::File,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

/// Most bytes of a file of credentials.
const LIMIT: u64 = 1 << 20;
/// What Docker's own registry is called in such files.
const HUB: [&str; 3] = ["index.docker.io", "registry-1.docker.io", "docker.io"];

/// What is known of us at one registry. It is never shown.
pub(super) struct Login {
    /// A name and a password, as a header.
    pub(super) basic: Option<HeaderValue>,
    /// What the user may do if that is not enough.
    pub(super) advice: String,
}

/// Looks where docker and podman do: the first file that has something for the registry counts.
pub(super) fn find(variables: &[(String, String)], host: &str, path: &str) -> Result<Login, RegistryError> {
    let mut helper = None;
    for file in files(variables) {
        let Some(config) = read(&file)? else { continue };
        let helped = config["credHelpers"][host].as_str().or(config["credsStore"].as_str());
        let of_file = |why: String| RegistryError::Credentials { file: file.display().to_string(), why };
        if let Some((key, entry)) = entry(&config, host, path) {
            let named = |what: &str| of_file(format!("auths.{key}.{what} is no base64 of NAME:PASSWORD"));
            if text(entry, "identitytoken").is_some() {
                let advice = format!(
                    "{} has an identity token for it, which is not supported: log in with a name and a password",
                    file.display()
                );
                return Ok(Login { basic: None, advice });
            }
            let pair = match (text(entry, "auth"), text(entry, "username"), text(entry, "password")) {
                (Some(auth), ..) => Some(decoded(auth).ok_or_else(|| named("auth"))?),
                (None, Some(name), Some(password)) => Some(format!("{name}:{password}")),
                _ => None,
            };
            if let Some(pair) = pair {
                let mut basic = HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(pair)))
                    .expect("base64 is made of letters that a header takes");
                basic.set_sensitive(true);
                let advice = format!("the credentials in {} do not suffice, or not for this", file.display());
                return Ok(Login { basic: Some(basic), advice });
            }
        }
        helper = helper.or(helped.map(|helper| (helper.to_owned(), file)));
    }
    let advice = match helper {
        Some((helper, file)) => format!(
            "by {} its credentials are kept by the helper docker-credential-{}, and helpers are not run: write name and \
             password into `auths` of a file of its own, and name that with REGISTRY_AUTH_FILE",
            file.display(),
            helper.escape_debug()
        ),
        None => format!("no credentials for it were found: `docker login {host}` writes them down"),
    };
    Ok(Login { basic: None, advice })
}

fn files(variables: &[(String, String)]) -> Vec<PathBuf> {
    let value = |name: &str| variables.iter().find(|(there, value)| there == name && !value.is_empty());
    let folder = value("DOCKER_CONFIG").map(|(_, folder)| PathBuf::from(folder));
    let folder = folder.or_else(|| Some(Path::new(&value("HOME")?.1).join(".docker")));
    let named = value("REGISTRY_AUTH_FILE").map(|(_, file)| PathBuf::from(file));
    named.into_iter().chain(folder.map(|folder| folder.join("config.json"))).collect()
}

/// The file's content; `None` if it is not there.
fn read(path: &Path) -> Result<Option<Value>, RegistryError> {
    let fail = |why: String| RegistryError::Credentials { file: path.display().to_string(), why };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(fail(error.to_string())),
    };
    let mut bytes = Vec::new();
    file.take(LIMIT + 1).read_to_end(&mut bytes).map_err(|error| fail(error.to_string()))?;
    if bytes.len() as u64 > LIMIT {
        return Err(fail(format!("it has more than {LIMIT} bytes")));
    }
    // What the parser says could quote a secret: where it is must do.
    let broken =
        |error: serde_json::Error| fail(format!("line {}, column {} is no JSON", error.line(), error.column()));
    serde_json::from_slice(&bytes).map(Some).map_err(broken)
}

/// The entry for a registry, or the most of its names that has one of its own: `host/a` is more than `host`.
fn entry<'c>(config: &'c Value, host: &str, path: &str) -> Option<(&'c str, &'c Value)> {
    let whole = format!("{host}/{path}/");
    let matched = |key: &str| {
        let key = key.strip_prefix("https://").or(key.strip_prefix("http://")).unwrap_or(key).trim_end_matches('/');
        let key = key.strip_suffix("/v1").or(key.strip_suffix("/v2")).unwrap_or(key);
        let (named, below) = key.split_once('/').map_or((key, ""), |(named, below)| (named, below));
        let named = if HUB.contains(&named) { "docker.io" } else { named };
        let key = if below.is_empty() { named.to_owned() } else { format!("{named}/{below}") };
        whole.starts_with(&format!("{key}/")).then_some(key.len())
    };
    let entries = config["auths"].as_object()?.iter();
    let mine = entries.filter_map(|(key, entry)| Some((matched(key)?, (key.as_str(), entry))));
    mine.max_by_key(|(length, _)| *length).map(|(_, entry)| entry)
}

fn text<'v>(entry: &'v Value, key: &str) -> Option<&'v str> {
    entry[key].as_str().filter(|text| !text.is_empty())
}

/// `NAME:PASSWORD`; Docker fills the password up with zeros.
fn decoded(auth: &str) -> Option<String> {
    let text = String::from_utf8(BASE64_STANDARD.decode(auth.trim()).ok()?).ok()?;
    text.contains(':').then(|| text.trim_matches('\0').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::fs;

    fn login(config: &Value, host: &str, path: &str) -> Result<Login, RegistryError> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        find(&[("DOCKER_CONFIG".to_owned(), folder.path().display().to_string())], host, path)
    }

    fn pair(config: &Value, host: &str, path: &str) -> Option<String> {
        let basic = login(config, host, path).unwrap().basic?;
        assert!(basic.is_sensitive() && !format!("{basic:?}").contains("Basic"));
        let encoded = basic.to_str().unwrap().strip_prefix("Basic ").unwrap().to_owned();
        Some(String::from_utf8(BASE64_STANDARD.decode(encoded).unwrap()).unwrap())
    }

    #[test]
    fn entries_are_found_as_docker_and_podman_write_them() {
        let config = json!({"auths": {
            (format!("https://{}/v1/", HUB[0])): {"auth": BASE64_STANDARD.encode("hub:a:b\0\0")},
            "127.0.0.1:5000": {"username": "local", "password": "c"},
            "https://ghcr.io": {"auth": BASE64_STANDARD.encode("all:d")},
            "ghcr.io/team": {"auth": BASE64_STANDARD.encode("team:e")},
            "empty.example": {},
        }});
        assert_eq!(pair(&config, "docker.io", "library/python").as_deref(), Some("hub:a:b"));
        assert_eq!(pair(&config, "127.0.0.1:5000", "a").as_deref(), Some("local:c"));
        assert_eq!(pair(&config, "ghcr.io", "other/x").as_deref(), Some("all:d"));
        assert_eq!(pair(&config, "ghcr.io", "team/x").as_deref(), Some("team:e"));
        assert_eq!(pair(&config, "ghcr.io", "teams/x").as_deref(), Some("all:d"));
        assert_eq!(pair(&config, "127.0.0.1:500", "a"), None);
        assert_eq!(pair(&config, "empty.example", "a"), None);
        assert_eq!(pair(&json!({}), "empty.example", "a"), None);
    }

    #[test]
    fn what_is_not_used_is_said() {
        let helper = json!({"credHelpers": {"a.example": "pass"}, "credsStore": "desktop", "auths": {"b.example": {}}});
        let advice = |host: &str| login(&helper, host, "x").unwrap().advice;
        assert!(advice("a.example").contains("docker-credential-pass"), "{}", advice("a.example"));
        assert!(advice("b.example").contains("docker-credential-desktop"));
        let token = json!({"auths": {"a.example": {"auth": "dTo=", "identitytoken": "very-secret"}}});
        let login = login(&token, "a.example", "x").unwrap();
        assert!(login.basic.is_none() && login.advice.contains("identity token"));
        assert!(!login.advice.contains("very-secret"));
    }

    #[test]
    fn broken_files_are_named_and_secrets_are_not() {
        let told = |config: &Value| login(config, "a.example", "x").err().unwrap().to_string();
        let broken = told(&json!({"auths": {"a.example": {"auth": "very secret"}}}));
        assert!(broken.contains("config.json") && broken.contains("auths.a.example.auth"), "{broken}");
        assert!(!broken.contains("very secret"), "{broken}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("auth.json");
        fs::write(&file, "{\"auths\": \"very secret\" secret}").unwrap();
        let named = [("REGISTRY_AUTH_FILE".to_owned(), file.display().to_string())];
        let told = find(&named, "a.example", "x").err().unwrap().to_string();
        assert!(told.contains("auth.json") && told.contains("line 1") && !told.contains("secret"), "{told}");
    }

    #[test]
    fn the_file_that_is_named_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().display().to_string();
        fs::create_dir(folder.path().join(".docker")).unwrap();
        let write = |file: &str, name: &str| {
            let config = json!({"auths": {"a.example": {"username": name, "password": "p"}}});
            fs::write(folder.path().join(file), config.to_string()).unwrap();
        };
        write(".docker/config.json", "home");
        write("named.json", "named");
        let mut variables = vec![("HOME".to_owned(), home.clone())];
        let name = |variables: &[(String, String)]| {
            let basic = find(variables, "a.example", "x").unwrap().basic.unwrap();
            let text = BASE64_STANDARD.decode(basic.to_str().unwrap().replace("Basic ", "")).unwrap();
            String::from_utf8(text).unwrap()
        };
        assert_eq!(name(&variables), "home:p");
        variables.push(("REGISTRY_AUTH_FILE".to_owned(), format!("{home}/named.json")));
        assert_eq!(name(&variables), "named:p");
        variables[1].1 = format!("{home}/none.json");
        assert_eq!(name(&variables), "home:p");
    }
}
