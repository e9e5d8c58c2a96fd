//! What the dependencies may be, as `deny.toml` says. `cargo deny check` asks the same and more (advisories); these
//! run without it.
#![cfg(feature = "scenario")]

use super::{files, read, root};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use toml::{Table, Value};

fn deny() -> Table {
    read("deny.toml").parse().unwrap()
}

fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().unwrap();
    list.iter()
        .map(|text| text.as_str().unwrap().to_owned())
        .collect()
}

/// The folders of all packages here: each has a lock file of its own.
fn folders() -> Vec<PathBuf> {
    let locks = files("", |path| path.ends_with("Cargo.lock"));
    let folders = locks.iter().filter_map(|lock| lock.parent());
    folders.map(|folder| root().join(folder)).collect()
}

#[test]
fn every_lock_file_is_read() {
    let folders = folders();
    for known in ["", "tests/races"] {
        assert!(folders.contains(&root().join(known)), "{folders:?}");
    }
}

fn manifest(folder: &Path) -> Table {
    let text = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    text.parse().unwrap()
}

/// Every package that this platform's build of the one in `folder` can contain, by name, with its licence expression; not
/// the package itself where it says that it is published nowhere.
fn licences(folder: &Path) -> Vec<(String, Option<String>)> {
    let rustc = Command::new("rustc").arg("-vV").output().unwrap();
    let rustc = String::from_utf8(rustc.stdout).unwrap();
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: "));
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--all-features",
        ])
        .args(["--filter-platform", host.unwrap()])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let built: Vec<&str> = nodes
        .iter()
        .filter_map(|node| node["id"].as_str())
        .collect();
    let packages = metadata["packages"].as_array().unwrap();
    let unpublished = |package: &serde_json::Value| {
        package["source"].is_null() && package["publish"].as_array().is_some_and(Vec::is_empty)
    };
    packages
        .iter()
        .filter(|package| built.contains(&package["id"].as_str().unwrap()))
        .filter(|package| !unpublished(package))
        .map(|package| {
            let name = package["name"].as_str().unwrap().to_owned();
            (name, package["license"].as_str().map(str::to_owned))
        })
        .collect()
}

/// Whether an SPDX expression can be met with `allowed` licences. `/` is how old manifests write `OR`.
fn met(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let met = any(&words, &mut at, allowed);
    met && at == words.len()
}

fn any(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut met = all(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        met |= all(words, at, allowed);
    }
    met
}

fn all(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut met = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        met &= one(words, at, allowed);
    }
    met
}

fn one(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let Some(word) = words.get(*at) else {
        return false;
    };
    *at += 1;
    if *word == "(" {
        let met = any(words, at, allowed);
        *at += 1;
        return met;
    }
    let mut name = (*word).to_owned();
    if words.get(*at) == Some(&"WITH") {
        name = format!("{name} WITH {}", words.get(*at + 1).unwrap_or(&""));
        *at += 2;
    }
    allowed.contains(&name)
}

#[test]
fn every_dependency_has_an_allowed_licence() {
    let allowed = texts(&deny()["licenses"]["allow"]);
    let mut seen = 0;
    for folder in folders() {
        let packages = licences(&folder);
        seen += packages.len();
        let refused: Vec<_> = packages
            .iter()
            .filter(|(_, licence)| !licence.as_deref().is_some_and(|text| met(text, &allowed)))
            .collect();
        assert!(
            refused.is_empty(),
            "{}: not in deny.toml's [licenses].allow: {refused:?}",
            folder.display()
        );
    }
    assert!(seen > 100, "only {seen} packages seen");
}

#[test]
fn licence_expressions_are_read_as_written() {
    let allowed = ["MIT".to_owned(), "Zlib".to_owned(), "A WITH e".to_owned()];
    for good in [
        "MIT",
        "GPL-3.0 OR MIT",
        "GPL/MIT",
        "(GPL OR MIT) AND Zlib",
        "A WITH e",
    ] {
        assert!(met(good, &allowed), "{good}");
    }
    for bad in [
        "GPL-3.0",
        "MIT AND GPL",
        "(MIT OR Zlib) AND GPL",
        "A",
        "MIT WITH e",
        "",
        "MIT MIT",
    ] {
        assert!(!met(bad, &allowed), "{bad}");
    }
}

/// Names and versions in a lock file, and where each comes from.
fn locked(folder: &Path) -> Vec<(String, String, Option<String>)> {
    let lock = std::fs::read_to_string(folder.join("Cargo.lock")).unwrap();
    let lock: Table = lock.parse().unwrap();
    let text = |package: &Value, field: &str| {
        package
            .get(field)
            .map(|text| text.as_str().unwrap().to_owned())
    };
    lock["package"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| {
            let name = text(package, "name").unwrap();
            (
                name,
                text(package, "version").unwrap(),
                text(package, "source"),
            )
        })
        .collect()
}

#[test]
fn every_dependency_comes_from_crates_io() {
    for folder in folders() {
        let own = manifest(&folder)["package"]["name"].clone();
        let elsewhere: Vec<_> = locked(&folder)
            .into_iter()
            .filter(|(name, _, source)| {
                Some(name.as_str()) != own.as_str()
                    && source.as_deref()
                        != Some("registry+https://github.com/rust-lang/crates.io-index")
            })
            .collect();
        assert!(elsewhere.is_empty(), "{}: {elsewhere:?}", folder.display());
    }
}

#[test]
fn every_duplicate_dependency_is_known_and_explained() {
    let deny = deny();
    let skips = deny["bans"]["skip"].as_array().unwrap();
    let skips: Vec<(&str, &str)> = skips
        .iter()
        .map(|skip| {
            let named = skip["crate"].as_str().unwrap();
            let why = skip.get("reason").and_then(Value::as_str);
            assert!(
                why.is_some_and(|why| why.len() > 10),
                "{named} in deny.toml needs a reason"
            );
            named.split_once('@').expect("name@version")
        })
        .collect();
    let mut unused = skips.clone();
    // What only tests build in a package of their own costs nobody anything.
    let folder = root();
    {
        let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, version, _) in locked(folder) {
            versions.entry(name).or_default().push(version);
        }
        versions.retain(|_, versions| versions.len() > 1);
        for (name, version) in &skips {
            let Some(list) = versions.get_mut(*name) else {
                continue;
            };
            let before = list.len();
            list.retain(|have| have != version && !have.starts_with(&format!("{version}.")));
            if before >= 2 && list.len() < before {
                unused.retain(|skip| skip != &(*name, *version));
            }
        }
        versions.retain(|_, versions| versions.len() > 1);
        assert!(
            versions.is_empty(),
            "{}: duplicates without a reason in deny.toml: {versions:?}",
            folder.display()
        );
    }
    assert!(
        unused.is_empty(),
        "no longer duplicated, yet in deny.toml: {unused:?}"
    );
}
