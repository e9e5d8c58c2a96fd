//! Rust text without comments, strings and tests, and its tokens. Not a parser: just enough to see paths and braces.

/// The text with the contents of comments, strings and character literals blanked; every line keeps its number.
pub fn mask(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = comment(&chars, at)
            .or_else(|| raw_string(&chars, at))
            .or_else(|| string(&chars, at))
            .or_else(|| character(&chars, at));
        match end {
            Some(end) => {
                let end = end.min(chars.len());
                out.extend(
                    chars[at..end]
                        .iter()
                        .map(|c| if *c == '\n' { '\n' } else { ' ' }),
                );
                at = end;
            }
            None => {
                out.push(chars[at]);
                at += 1;
            }
        }
    }
    out
}

fn starts(chars: &[char], at: usize, with: &str) -> bool {
    with.chars()
        .enumerate()
        .all(|(n, c)| chars.get(at + n) == Some(&c))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn comment(chars: &[char], at: usize) -> Option<usize> {
    if starts(chars, at, "//") {
        return Some(
            (at..chars.len())
                .find(|n| chars[*n] == '\n')
                .unwrap_or(chars.len()),
        );
    }
    if !starts(chars, at, "/*") {
        return None;
    }
    let (mut n, mut depth) = (at + 2, 1);
    while n < chars.len() && depth > 0 {
        if starts(chars, n, "/*") {
            (depth, n) = (depth + 1, n + 2);
        } else if starts(chars, n, "*/") {
            (depth, n) = (depth - 1, n + 2);
        } else {
            n += 1;
        }
    }
    Some(n)
}

fn raw_string(chars: &[char], at: usize) -> Option<usize> {
    if chars[at] != 'r' {
        return None;
    }
    // `r`, `br` and `cr` open a raw string; an identifier that ends in `r` does not.
    let mut before = at;
    while before > 0 && is_word(chars[before - 1]) {
        before -= 1;
    }
    let prefix: String = chars[before..at].iter().collect();
    if !matches!(prefix.as_str(), "" | "b" | "c") {
        return None;
    }
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    if chars.get(at + 1 + hashes) != Some(&'"') {
        return None;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    let body = at + 2 + hashes;
    let end = (body..chars.len()).find(|n| starts(chars, *n, &close));
    Some(end.map_or(chars.len(), |n| n + 1 + hashes))
}

fn string(chars: &[char], at: usize) -> Option<usize> {
    if chars[at] != '"' {
        return None;
    }
    let mut n = at + 1;
    while n < chars.len() && chars[n] != '"' {
        n += if chars[n] == '\\' { 2 } else { 1 };
    }
    Some(n + 1)
}

fn character(chars: &[char], at: usize) -> Option<usize> {
    if chars[at] != '\'' {
        return None;
    }
    if chars.get(at + 1) == Some(&'\\') {
        // The escaped character itself may be a quote.
        return (at + 3..chars.len())
            .find(|n| chars[*n] == '\'')
            .map(|n| n + 1);
    }
    // Anything else with no closing quote two further is a lifetime.
    (chars.get(at + 2) == Some(&'\'')).then_some(at + 3)
}

/// A word, `::`, or one other sign, with its line counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    pub line: usize,
}

impl Token {
    pub fn is(&self, text: &str) -> bool {
        self.text == text
    }

    pub fn is_word(&self) -> bool {
        self.text.starts_with(is_word)
    }
}

/// The tokens of masked text.
pub fn tokens(masked: &str) -> Vec<Token> {
    let mut found: Vec<Token> = Vec::new();
    for (number, line) in masked.lines().enumerate() {
        let chars: Vec<char> = line.chars().collect();
        let mut at = 0;
        while at < chars.len() {
            let start = at;
            if is_word(chars[at]) {
                while at < chars.len() && is_word(chars[at]) {
                    at += 1;
                }
            } else if starts(&chars, at, "::") {
                at += 2;
            } else {
                at += 1;
            }
            let text: String = chars[start..at].iter().collect();
            if text != " " {
                found.push(Token {
                    text,
                    line: number + 1,
                });
            }
        }
    }
    found
}

/// What remains of a file without its tests.
#[derive(Debug)]
pub struct Untested {
    pub tokens: Vec<Token>,
    /// Lines that belong to tests.
    pub test_lines: usize,
    /// Modules declared for tests alone, which live in files of their own.
    pub test_modules: Vec<String>,
}

/// Takes out every item marked `#[cfg(test)]`.
pub fn without_tests(tokens: &[Token]) -> Untested {
    let mut rest = Untested {
        tokens: Vec::new(),
        test_lines: 0,
        test_modules: Vec::new(),
    };
    let mut at = 0;
    while at < tokens.len() {
        if !marks_test(&tokens[at..]) {
            rest.tokens.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let end = item_end(tokens, at);
        let item = &tokens[at..end];
        if let Some([_, name, _]) = item.windows(3).find(|w| w[0].is("mod") && w[2].is(";")) {
            rest.test_modules.push(name.text.clone());
        }
        rest.test_lines += item.last().map_or(0, |last| last.line - item[0].line + 1);
        at = end;
    }
    rest
}

fn marks_test(tokens: &[Token]) -> bool {
    ["#", "[", "cfg", "(", "test", ")", "]"]
        .iter()
        .enumerate()
        .all(|(n, text)| tokens.get(n).is_some_and(|token| token.is(text)))
}

/// Behind the item at `at`: its closing brace, or the semicolon that ends it. Attributes before it are part of it.
fn item_end(tokens: &[Token], at: usize) -> usize {
    let mut depth = 0_usize;
    for (n, token) in tokens.iter().enumerate().skip(at) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" => depth = depth.saturating_sub(1),
            "}" => {
                depth = depth.saturating_sub(1);
                // `use a::{b, c};` goes on behind its brace.
                let goes_on = tokens.get(n + 1).is_some_and(|next| next.is(";"));
                if depth == 0 && !goes_on {
                    return n + 1;
                }
            }
            ";" if depth == 0 => return n + 1,
            _ => {}
        }
    }
    tokens.len()
}

#[test]
fn comments_strings_and_characters_are_no_code() {
    let text = r##"
let a = "crate::cache"; // crate::retry
/* crate::mock /* nested */ crate::qbo */
let b = r#"crate::"stack""#; let c = '"'; let d = '\''; let e: &'static str = br"crate::x";
/// crate::event
crate::clock::now();
"##;
    let found: Vec<String> = tokens(&mask(text))
        .into_iter()
        .filter(|token| token.is_word())
        .map(|token| token.text)
        .collect();
    let code = "let a let b let c let d let e static str b crate clock now";
    assert_eq!(found.join(" "), code);
}

#[test]
fn lines_keep_their_numbers() {
    let masked = mask("\"a\nb\"\n/* c\n */ fn f() {}\n");
    let token = tokens(&masked).into_iter().find(|token| token.is("fn"));
    assert_eq!(token.unwrap().line, 4);
}

#[test]
fn items_for_tests_alone_are_taken_out() {
    let text = "
fn kept() {}
#[cfg(test)]
#[allow(dead_code)]
mod tests {
    fn gone() { let x = [1]; }
}
#[cfg(test)]
mod beside;
#[cfg(test)]
use a::{gone, too};
fn kept_too() {}
";
    let rest = without_tests(&tokens(text));
    let words: Vec<&str> = rest
        .tokens
        .iter()
        .filter(|token| token.is_word())
        .map(|token| token.text.as_str())
        .collect();
    assert_eq!(words, ["fn", "kept", "fn", "kept_too"]);
    assert_eq!(rest.test_modules, ["beside"]);
    assert_eq!(rest.test_lines, 5 + 2 + 2);
}
