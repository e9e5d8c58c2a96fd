//! How long files and functions are. A report: a long file is a question for its reader, not an error.

use super::rust_files;
use super::source::{Token, mask, tokens, without_tests};

/// Lines of a file without its tests.
const FILE_LINES_MAX: usize = 300;
/// Lines of a function, from `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 60;

/// Name, line and length of every function with a body.
fn functions(code: &[Token]) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    for (at, pair) in code.windows(2).enumerate() {
        if !pair[0].is("fn") || !pair[1].is_word() {
            continue;
        }
        let (mut depth, mut sides) = (0_usize, 0_usize);
        for token in &code[at..] {
            match token.text.as_str() {
                "(" | "[" => sides += 1,
                ")" | "]" => sides = sides.saturating_sub(1),
                ";" if depth == 0 && sides == 0 => break,
                "{" => depth += 1,
                "}" if depth == 1 => {
                    found.push((
                        pair[1].text.clone(),
                        pair[0].line,
                        token.line - pair[0].line + 1,
                    ));
                    break;
                }
                "}" => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
    }
    found
}

fn report() -> Vec<String> {
    let mut lines = Vec::new();
    for path in rust_files("src") {
        if path.file_stem().is_some_and(|stem| stem == "tests") {
            continue;
        }
        let text = super::read(path.to_str().unwrap());
        let rest = without_tests(&tokens(&mask(&text)));
        let length = text.lines().count() - rest.test_lines;
        if length > FILE_LINES_MAX {
            lines.push(format!("{}: {length} lines without tests", path.display()));
        }
        for (name, line, length) in functions(&rest.tokens) {
            if length > FUNCTION_LINES_MAX {
                lines.push(format!(
                    "{}:{line}: `{name}` has {length} lines",
                    path.display()
                ));
            }
        }
    }
    lines
}

#[test]
fn sizes_are_reported() {
    let lines = report();
    println!(
        "over {FILE_LINES_MAX} lines a file or {FUNCTION_LINES_MAX} a function: {}",
        lines.len()
    );
    for line in lines {
        println!("  {line}");
    }
}

#[test]
fn a_function_is_measured_from_its_name_to_its_brace() {
    let text = "trait T {\n fn none(&self) -> [u8; 4];\n fn some() {\n  if a {\n  }\n }\n}\n";
    let code = tokens(&mask(text));
    assert_eq!(functions(&code), [("some".to_owned(), 3, 4)]);
}
