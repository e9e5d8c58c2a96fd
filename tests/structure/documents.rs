//! What the documents say is so: commands, links, names, versions, and what a package holds.

use super::{files, read, root, rust_files};
use std::path::{Path, PathBuf};
use std::process::Command;

const MAIN_JOB: &str = "cargo run --release --features full --example fragility";
const ALL_TESTS: &str = "bash tests/all.sh";
const DOCUMENTS: [&str; 4] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
];

/// The commands in the `sh` blocks of a document, in order.
fn commands(document: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut inside = false;
    for line in document.lines() {
        let line = line.trim();
        if line.starts_with("```") {
            inside = line == "```sh";
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            let command = line.split(" #").next().unwrap_or(line);
            found.push(command.trim().to_owned());
        }
    }
    found
}

#[test]
fn the_readme_opens_with_the_two_commands() {
    let commands = commands(&read("README.md"));
    assert_eq!(commands[..2], [MAIN_JOB, ALL_TESTS]);
}

#[test]
fn ci_runs_the_readmes_test_command() {
    let run = read(".ci/run");
    let lines: Vec<&str> = run.lines().map(str::trim).collect();
    assert!(lines.contains(&ALL_TESTS), "{run}");
    let all = read("tests/all.sh");
    let whole = all.lines().any(|line| {
        line.contains("cargo test") && line.contains("--features full") && !line.contains("--test ")
    });
    assert!(
        whole,
        "tests/all.sh does not run `cargo test --features full` as a whole"
    );
    assert_eq!(all.lines().next(), Some("#!/usr/bin/env bash"));
    assert!(all.contains("set -euo pipefail"));
}

#[cfg(unix)]
#[test]
fn the_scripts_can_be_run() {
    use std::os::unix::fs::PermissionsExt;
    for script in [".ci/run", "tests/all.sh"] {
        let mode = std::fs::metadata(root().join(script))
            .unwrap()
            .permissions()
            .mode();
        assert!(mode & 0o111 != 0, "{script} is not executable");
    }
}

/// Names of examples: files and folders alike.
fn examples() -> Vec<String> {
    rust_files("examples")
        .iter()
        .filter_map(|path| {
            let inner = path.strip_prefix("examples").unwrap();
            match inner.components().count() {
                1 => Some(inner.with_extension("")),
                2 if inner.ends_with("main.rs") => inner.parent().map(Path::to_owned),
                _ => None,
            }
        })
        .map(|name| name.display().to_string())
        .collect()
}

#[test]
fn every_example_is_run_by_a_test() {
    let tests = read("tests/examples/main.rs");
    let examples = examples();
    assert!(
        examples.iter().any(|name| name == "fragility"),
        "the README's main job is not there: {examples:?}"
    );
    for name in examples {
        assert!(
            tests.contains(&format!("\"{name}\"")),
            "tests/examples/main.rs does not run the example {name}"
        );
    }
}

fn after<'a>(words: &[&'a str], flag: &str) -> Option<&'a str> {
    let at = words.iter().position(|word| *word == flag)?;
    words.get(at + 1).copied()
}

fn target_exists(folder: &str, name: &str) -> bool {
    let folder = root().join(folder);
    folder.join(format!("{name}.rs")).exists() || folder.join(name).join("main.rs").exists()
}

/// What is wrong with a command that a document shows.
fn broken(command: &str) -> Option<String> {
    let words: Vec<&str> = command.split_whitespace().collect();
    let (settings, words): (Vec<&str>, Vec<&str>) = words.iter().partition(|word| {
        word.split('=').next().is_some_and(|name| {
            word.contains('=') && name.chars().all(|c| c.is_ascii_uppercase() || c == '_')
        })
    });
    for setting in settings {
        let name = setting.split('=').next().unwrap_or(setting);
        let read_by_us = rust_files("tests")
            .iter()
            .chain(&rust_files("src"))
            .any(|path| read(path.to_str().unwrap()).contains(&format!("\"{name}\"")));
        let read_by_tools =
            name == "PROPTEST_CASES" || name == "RUSTDOCFLAGS" || name == "RUST_LOG";
        if !read_by_us && !read_by_tools {
            return Some(format!("nothing reads {name}"));
        }
    }
    let missing = |folder: &str, flag: &str| {
        after(&words, flag)
            .filter(|name| !target_exists(folder, name))
            .map(|name| format!("{folder}/{name} does not exist"))
    };
    let features = after(&words, "--features").unwrap_or_default();
    let manifest = read("Cargo.toml");
    let unknown = features
        .split([',', '"'])
        .find(|name| !name.is_empty() && !manifest.contains(&format!("\n{name} = [")))
        .map(|name| format!("no feature {name}"));
    let script = (words.first() == Some(&"bash"))
        .then(|| words.get(1).copied().unwrap_or_default())
        .filter(|script| !root().join(script).exists())
        .map(|script| format!("{script} does not exist"));
    let known_tool = ["bash", "cargo", "git"].contains(words.first().unwrap_or(&""));
    let tool = (!known_tool).then(|| "neither bash, cargo nor git".to_owned());
    tool.or(script)
        .or(unknown)
        .or_else(|| missing("examples", "--example"))
        .or_else(|| missing("tests", "--test"))
        .or_else(|| missing("benches", "--bench"))
        .or_else(|| missing("src/bin", "--bin"))
}

#[test]
fn every_command_in_the_documents_can_be_typed() {
    let mut seen = 0;
    for document in DOCUMENTS {
        for command in commands(&read(document)) {
            seen += 1;
            if let Some(why) = broken(&command) {
                panic!("{document}: `{command}`: {why}");
            }
        }
    }
    assert!(seen >= 4, "only {seen} commands seen");
}

#[test]
fn a_command_that_cannot_be_typed_is_noticed() {
    for command in [
        "cargo run --example nowhere",
        "cargo test --features nothing",
        "cargo test --features full --test nowhere",
        "bash tests/nowhere.sh",
        "NOBODY_READS_THIS_SETTING=1 cargo test"
            .replace("READS", "EVER_READS")
            .as_str(),
        "make all",
    ] {
        assert!(broken(command).is_some(), "{command}");
    }
    assert_eq!(broken("bash tests/all.sh"), None);
}

#[test]
fn every_link_in_the_documents_leads_somewhere() {
    for document in DOCUMENTS {
        let text = read(document);
        let targets = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            let path = target.split('#').next().unwrap_or(target);
            assert!(
                path.is_empty() || root().join(path).exists(),
                "{document} links to {target}"
            );
        }
    }
}

#[test]
fn every_room_is_in_the_code_map() {
    let map = read("ARCHITECTURE.md");
    for entry in std::fs::read_dir(root().join("src")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let word = if path.is_dir() {
            format!("{name}/")
        } else {
            name
        };
        assert!(
            map.contains(&word),
            "ARCHITECTURE.md does not tell what {word} is"
        );
    }
}

#[test]
fn every_feature_is_in_the_readme() {
    let manifest = read("Cargo.toml");
    let features = manifest.split("\n[features]\n").nth(1).unwrap();
    let features = features.split("\n[").next().unwrap();
    let readme = read("README.md");
    let names: Vec<&str> = features
        .lines()
        .filter_map(|line| Some(line.split_once(" = [")?.0))
        .collect();
    assert!(names.len() > 5, "{names:?}");
    for name in names.into_iter().filter(|name| *name != "default") {
        assert!(
            readme.contains(&format!("| `{name}` |")),
            "README.md's table lacks {name}"
        );
    }
}

/// Every text that is or could be tracked.
fn texts() -> Vec<PathBuf> {
    files("", |path| !path.ends_with("Cargo.lock"))
}

#[test]
fn no_text_names_a_machine() {
    // Written in halves, so that this file does not name them either.
    let mut words: Vec<String> = [
        ("/ro", "ot/"),
        ("/ho", "me/"),
        ("/Us", "ers/"),
        ("/wo", "rk/"),
        ("/tmp", "/w/"),
    ]
    .iter()
    .map(|(a, b)| format!("{a}{b}"))
    .collect();
    words.push(root().display().to_string());
    words.extend(registry_hosts());
    let mut seen = 0;
    for path in texts() {
        let Ok(text) = std::fs::read_to_string(root().join(&path)) else {
            continue;
        };
        seen += 1;
        for word in &words {
            assert!(!text.contains(word), "{} names {word}", path.display());
        }
    }
    assert!(seen > 50, "only {seen} files read");
}

/// Hosts that this machine's cargo fetches from instead of crates.io.
fn registry_hosts() -> Vec<String> {
    let homes = [
        std::env::var_os("CARGO_HOME").map(PathBuf::from),
        std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")),
    ];
    let configs = homes.into_iter().flatten().flat_map(|home| {
        ["config.toml", "config"]
            .map(|name| std::fs::read_to_string(home.join(name)).unwrap_or_default())
    });
    configs
        .flat_map(|config| {
            config
                .split("://")
                .skip(1)
                .filter_map(|rest| rest.split(['/', '"', ':', '\'']).next().map(str::to_owned))
                .collect::<Vec<_>>()
        })
        .filter(|host| {
            !host.is_empty()
                && !["github.com", "index.crates.io", "crates.io"].contains(&host.as_str())
        })
        .collect()
}

#[test]
fn no_text_but_manifest_and_changelog_names_our_version() {
    let version = env!("CARGO_PKG_VERSION");
    let short = version.rsplit_once('.').unwrap().0;
    for path in texts() {
        let inner = path.to_string_lossy();
        if inner == "Cargo.toml" || inner == "CHANGELOG.md" {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(root().join(&path)) else {
            continue;
        };
        for (number, line) in text.lines().enumerate() {
            let line = line.to_lowercase();
            let ours = line.contains("sturdy");
            let named = [
                format!("\"{short}"),
                format!("v{short}"),
                format!(" {version}"),
                format!("@{short}"),
                format!("/{version}"),
            ];
            assert!(
                !(ours && named.iter().any(|word| line.contains(word.as_str()))),
                "{inner}:{} names our version: write it in Cargo.toml alone",
                number + 1
            );
        }
    }
}

/// What `cargo package` would pack.
fn packed() -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args(["package", "--list", "--allow-dirty", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_package_holds_what_it_needs_and_nothing_else() {
    let packed = packed();
    let has = |name: &str| packed.iter().any(|file| file == name);
    for needed in [
        "Cargo.toml",
        "README.md",
        "CHANGELOG.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "src/lib.rs",
    ] {
        assert!(has(needed), "{needed} is not packed");
    }
    for folder in [
        "tests/",
        "benches/",
        ".ci/",
        "target/",
        "fuzz/",
        "proptest-regressions/",
    ] {
        let stray = packed.iter().find(|file| file.starts_with(folder));
        assert_eq!(stray, None, "{folder} is packed");
    }
    // A file that the sources include must be packed with them.
    for path in rust_files("src") {
        let text = read(path.to_str().unwrap());
        for rest in text
            .split("include_str!(\"")
            .chain(text.split("include_bytes!(\""))
            .skip(1)
        {
            let Some((target, _)) = rest.split_once("\")") else {
                continue;
            };
            let target = root().join(path.parent().unwrap()).join(target);
            let Ok(target) = target.canonicalize() else {
                continue;
            };
            let inner = target.strip_prefix(root().canonicalize().unwrap()).unwrap();
            assert!(
                has(inner.to_str().unwrap()),
                "{} includes {}, which is not packed",
                path.display(),
                inner.display()
            );
        }
    }
}
