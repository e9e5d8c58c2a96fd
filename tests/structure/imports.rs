//! Who may import whom: the rules that ARCHITECTURE.md tells, kept.

use super::source::{Token, mask, tokens, without_tests};
use super::{read, rust_files};
use std::collections::BTreeSet;
use std::path::Path;

const VOCABULARY: &[&str] = &[
    "outcome", "clock", "random", "sync", "context", "payload", "error", "classify", "event",
];
const ROOMS: &[&str] = &[
    "collect",
    "cache",
    "idempotency",
    "retry",
    "rate_limit",
    "attempt",
    "reconcile",
    "problem",
    "transport",
];

/// What the modules of `from` may name; `None` where the table does not know `from`.
fn may_name(from: &str) -> Option<Vec<&'static str>> {
    let lists: &[&[&'static str]] = match from {
        // Within the vocabulary there is no order: `context` names the payload, `error` names the context.
        _ if VOCABULARY.contains(&from) => &[VOCABULARY],
        "journal" => &[VOCABULARY],
        _ if ROOMS.contains(&from) => &[VOCABULARY, &["journal"]],
        // A wrong belief about QBO must not be mirrored on both sides.
        "mock" => &[&["payload", "clock"]],
        "stack" | "inbound" => &[VOCABULARY, &["journal"], ROOMS],
        "qbo" => &[VOCABULARY, &["journal"], ROOMS, &["stack"]],
        "scenario" => &[VOCABULARY, &["journal"], ROOMS, &["stack", "qbo", "mock"]],
        _ => return None,
    };
    Some(lists.concat())
}

/// One path that leaves its own room.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Import {
    from: String,
    to: String,
    line: usize,
}

/// The module path of a file below `src`.
fn module_of(path: &Path) -> Vec<String> {
    let mut parts: Vec<String> = path
        .with_extension("")
        .components()
        .skip(1)
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect();
    parts.pop_if(|last| last == "mod" || last == "lib");
    parts
}

/// Every path through `crate`, `super` or `self` that ends in another room than its own.
fn imports(module: &[String], code: &[Token]) -> Vec<Import> {
    let mut found = Vec::new();
    let mut here = module.to_vec();
    let mut inline: Vec<usize> = Vec::new();
    let mut depth = 0;
    for at in 0..code.len() {
        match code[at].text.as_str() {
            "{" => {
                depth += 1;
                if at >= 2 && code[at - 2].is("mod") {
                    here.push(code[at - 1].text.clone());
                    inline.push(depth);
                }
            }
            "}" => {
                if inline.pop_if(|opened| *opened == depth).is_some() {
                    here.pop();
                }
                depth -= 1;
            }
            "crate" | "super" | "self" => {
                let inside = at > 0 && code[at - 1].is("::");
                let opens = code.get(at + 1).is_some_and(|next| next.is("::"));
                if opens && !inside {
                    let mut ends = Vec::new();
                    tree(code, at, Vec::new(), &mut ends);
                    found.extend(
                        ends.iter()
                            .filter_map(|(path, line)| leaves(&here, path, *line)),
                    );
                }
            }
            _ => {}
        }
    }
    found
}

/// Reads one use tree (or one path) at `at`; returns the place behind it.
fn tree(
    code: &[Token],
    mut at: usize,
    mut path: Vec<String>,
    ends: &mut Vec<(Vec<String>, usize)>,
) -> usize {
    let line = code.get(at).map_or(0, |token| token.line);
    loop {
        match code.get(at) {
            Some(token) if token.is("{") => {
                at += 1;
                while code.get(at).is_some_and(|token| !token.is("}")) {
                    at = tree(code, at, path.clone(), ends);
                    while code.get(at).is_some_and(|t| !t.is(",") && !t.is("}")) {
                        at += 1; // `as name`
                    }
                    if code.get(at).is_some_and(|token| token.is(",")) {
                        at += 1;
                    }
                }
                return at + 1;
            }
            Some(token) if token.is_word() => path.push(token.text.clone()),
            _ => break,
        }
        at += 1;
        if !code.get(at).is_some_and(|token| token.is("::")) {
            break;
        }
        at += 1;
    }
    ends.push((path, line));
    at
}

/// Resolves a path from the module `here`, and tells it if it ends in another room.
fn leaves(here: &[String], path: &[String], line: usize) -> Option<Import> {
    let mut full: Vec<&str> = match path[0].as_str() {
        "crate" => Vec::new(),
        _ => here.iter().map(String::as_str).collect(),
    };
    for part in path {
        match part.as_str() {
            "crate" | "self" => {}
            "super" => {
                full.pop();
            }
            part => full.push(part),
        }
    }
    let (from, to) = (here.first()?, *full.first()?);
    (from != to).then(|| Import {
        from: from.clone(),
        to: to.to_owned(),
        line,
    })
}

/// What `lib.rs` re-exports at the root, and from where.
fn re_exports() -> Vec<(String, String)> {
    let code = tokens(&mask(&read("src/lib.rs")));
    let mut found = Vec::new();
    for at in 0..code.len() {
        if code[at].is("use") {
            let mut ends = Vec::new();
            tree(&code, at + 1, Vec::new(), &mut ends);
            found.extend(
                ends.into_iter()
                    .filter(|(path, _)| path.len() > 1)
                    .map(|(path, _)| (path[path.len() - 1].clone(), path[0].clone())),
            );
        }
    }
    found
}

/// The files of the library with their modules and code, without those that are tests.
fn library() -> Vec<(String, Vec<String>, Vec<Token>)> {
    let read = |path: &Path| {
        let text = std::fs::read_to_string(super::root().join(path)).unwrap();
        without_tests(&tokens(&mask(&text)))
    };
    let all: Vec<_> = rust_files("src")
        .into_iter()
        .filter(|path| !path.starts_with("src/bin") && path != Path::new("src/lib.rs"))
        .map(|path| (module_of(&path), read(&path), path))
        .collect();
    let tests: BTreeSet<Vec<String>> = all
        .iter()
        .flat_map(|(module, rest, _)| {
            rest.test_modules
                .iter()
                .map(|name| [module.clone(), vec![name.clone()]].concat())
        })
        .collect();
    all.into_iter()
        .filter(|(module, ..)| !(1..=module.len()).any(|n| tests.contains(&module[..n])))
        .map(|(module, rest, path)| (path.display().to_string(), module, rest.tokens))
        .collect()
}

/// Why an import is against the rules, if it is.
fn complaint(import: &Import, re_exports: &[(String, String)]) -> Option<String> {
    let to = re_exports
        .iter()
        .find(|(name, _)| *name == import.to)
        .map_or(import.to.as_str(), |(_, from)| from);
    let from = import.from.as_str();
    let Some(allowed) = may_name(from) else {
        return Some(format!(
            "`{from}` has no place in tests/structure/imports.rs and ARCHITECTURE.md yet"
        ));
    };
    if from == to || allowed.contains(&to) {
        return None;
    }
    Some(format!(
        "`{from}` names `{to}`; it may name {}",
        allowed.join(", ")
    ))
}

#[test]
fn no_room_imports_what_it_must_not() {
    let re_exports = re_exports();
    let files = library();
    let mut broken = Vec::new();
    let mut seen = 0;
    for (file, module, code) in &files {
        for import in imports(module, code) {
            seen += 1;
            if let Some(why) = complaint(&import, &re_exports) {
                broken.push(format!("{file}:{}: {why}", import.line));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
    assert!(
        seen > 100,
        "only {seen} imports seen in {} files",
        files.len()
    );
}

#[test]
fn every_module_of_the_library_has_its_place() {
    let code = tokens(&mask(&read("src/lib.rs")));
    let modules: Vec<&str> = code
        .windows(3)
        .filter(|window| window[0].is("mod") && window[2].is(";"))
        .map(|window| window[1].text.as_str())
        .collect();
    assert!(modules.len() > 15, "{modules:?}");
    let unknown: Vec<_> = modules
        .into_iter()
        .filter(|module| may_name(module).is_none())
        .collect();
    assert!(unknown.is_empty(), "no place in the table: {unknown:?}");
}

#[cfg(test)]
mod rules {
    use super::*;

    fn named(module: &[&str], text: &str) -> Vec<String> {
        let module: Vec<String> = module.iter().map(|&part| part.to_owned()).collect();
        imports(&module, &without_tests(&tokens(&mask(text))).tokens)
            .into_iter()
            .map(|import| import.to)
            .collect()
    }

    #[test]
    fn every_way_to_name_another_room_is_seen() {
        let text = "
            use crate::cache::Cache;
            use crate::{attempt::{self, Attempt}, clock::Clock as C, event};
            use super::super::retry;
            use super::layer::X;
            fn f() -> crate::Error { crate::mock::run::<u8>() }
            mod inner { use super::super::super::qbo::Realm; use super::service; }
            pub(in crate::rate_limit) struct S;
        ";
        assert_eq!(
            named(&["rate_limit", "service"], text),
            [
                "cache", "attempt", "attempt", "clock", "event", "retry", "Error", "mock", "qbo"
            ]
        );
    }

    #[test]
    fn tests_may_name_anything() {
        let text = "#[cfg(test)] mod tests { use crate::cache::Cache; }";
        assert!(named(&["retry"], text).is_empty());
    }

    #[test]
    fn what_the_design_forbids_is_refused() {
        let name = |from: &str, to: &str| Import {
            from: from.to_owned(),
            to: to.to_owned(),
            line: 1,
        };
        let root = [("Error".to_owned(), "error".to_owned())];
        for (from, to) in [
            ("cache", "retry"),
            ("journal", "attempt"),
            ("clock", "journal"),
            ("mock", "qbo"),
            ("mock", "context"),
            ("mock", "Error"),
            ("transport", "attempt"),
            ("retry", "stack"),
            ("stack", "qbo"),
            ("qbo", "mock"),
            ("qbo", "scenario"),
            ("pantry", "clock"),
        ] {
            assert!(
                complaint(&name(from, to), &root).is_some(),
                "{from} -> {to}"
            );
        }
        for (from, to) in [
            ("cache", "Error"),
            ("context", "payload"),
            ("attempt", "journal"),
            ("mock", "payload"),
            ("stack", "cache"),
            ("qbo", "stack"),
            ("scenario", "mock"),
        ] {
            assert_eq!(complaint(&name(from, to), &root), None, "{from} -> {to}");
        }
    }
}
