//! The system calls of a child process, in their order, as `strace` saw them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

const INSTALL: &str =
    "strace is missing: install it with `apt-get install -y strace` (tests/all.sh does)";

const PERMIT: &str = "strace may not trace a child here: allow ptrace (as root, or `sysctl kernel.yama.ptrace_scope=1` or \
     lower; in a container `--cap-add=SYS_PTRACE`)";

/// Whatever can change a file or send a byte. `?` passes over names that an architecture does not have.
const WATCHED: &str = "trace=?open,openat,?openat2,?creat,close,mmap,msync,write,writev,pwrite64,pwritev,?pwritev2,\
     ?truncate,ftruncate,fallocate,fsync,fdatasync,sync,syncfs,sync_file_range,?rename,?renameat,?renameat2,?unlink,\
     unlinkat,?link,linkat,copy_file_range,sendfile,splice,connect,sendto,sendmsg,sendmmsg";

/// One system call that came back.
#[derive(Debug)]
pub struct Call {
    pub name: String,
    /// As `strace -xx` writes them.
    pub arguments: Vec<String>,
    pub result: i64,
    /// The line of the log on which it began.
    pub began: usize,
    /// The line on which it came back: the same, unless another thread was at work meanwhile.
    pub ended: usize,
}

impl Call {
    /// The number of the descriptor in the first argument.
    pub fn descriptor(&self) -> Option<i32> {
        let argument = self.arguments.first()?;
        argument.split('<').next()?.parse().ok()
    }

    /// The path behind that descriptor, if it still has its name.
    pub fn behind(&self) -> Option<Vec<u8>> {
        let (_, path) = self.arguments.first()?.split_once('<')?;
        path.strip_suffix('>').map(bytes)
    }

    /// A string of the arguments, whole.
    pub fn text(&self, argument: usize) -> Vec<u8> {
        let text = &self.arguments[argument];
        let inside = text
            .strip_prefix('"')
            .and_then(|text| text.strip_suffix('"'));
        bytes(inside.unwrap_or_else(|| panic!("{} was cut short: {text:.60}", self.name)))
    }

    pub fn number(&self, argument: usize) -> u64 {
        let text = &self.arguments[argument];
        text.parse()
            .unwrap_or_else(|_| panic!("{}: no number: {text}", self.name))
    }
}

/// `\x2f\x74` as bytes; other text (`socket:[1]`) as it is.
fn bytes(text: &str) -> Vec<u8> {
    if !text.starts_with("\\x") {
        return text.as_bytes().to_vec();
    }
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => digit - b'0',
        _ => digit - b'a' + 10,
    };
    text.as_bytes()
        .chunks_exact(4)
        .map(|escape| digit(escape[2]) << 4 | digit(escape[3]))
        .collect()
}

/// Runs an ignored test of this binary as a process of its own under `strace`, to its end, and reads what it did.
pub fn record(log: &Path, test: &str, settings: &[(&str, String)]) -> Vec<Call> {
    let mut command = Command::new("strace");
    command
        .args(["-f", "--seccomp-bpf", "-y", "-xx", "-s", "16777216"])
        .args(["-e", "signal=none", "-e", WATCHED, "-o"])
        .arg(log)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .envs(settings.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null());
    let output = command
        .output()
        .unwrap_or_else(|why| panic!("{INSTALL}: {why}"));
    let told = String::from_utf8_lossy(&output.stderr);
    let refused = ["ptrace", "seccomp", "Operation not permitted"];
    assert!(
        output.status.success() || !refused.iter().any(|word| told.contains(word)),
        "{PERMIT}: {told}"
    );
    assert!(
        output.status.success(),
        "the traced process failed ({}): {told}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout)
    );
    let calls = read(log);
    assert!(!calls.is_empty(), "strace saw nothing: {told}");
    calls
}

fn read(log: &Path) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut unfinished: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for (number, line) in BufReader::new(File::open(log).unwrap()).lines().enumerate() {
        let line = line.unwrap();
        let (process, text) = line.split_once(' ').unwrap();
        let text = text.trim_start();
        if let Some(begin) = text.strip_suffix(" <unfinished ...>") {
            let begun = (number, begin.to_owned());
            assert!(unfinished.insert(process.to_owned(), begun).is_none());
        } else if let Some(resumed) = text.strip_prefix("<... ") {
            let (began, begin) = unfinished.remove(process).unwrap();
            let (_, end) = resumed.split_once(" resumed>").unwrap();
            calls.extend(call(&format!("{begin}{end}"), began, number));
        } else {
            calls.extend(call(text, number, number));
        }
    }
    calls
}

/// `name(argument, ...) = result`; `None` for what is no call (`+++ exited with 0 +++`) and for one without a result.
fn call(text: &str, began: usize, ended: usize) -> Option<Call> {
    if text.starts_with("+++") || text.starts_with("---") {
        return None;
    }
    let (name, rest) = text.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    let arguments = arguments.trim_end().strip_suffix(')')?;
    // `3<path>`, `-1 ENOENT (...)`, `0x7f..`; `?` where the process ended meanwhile.
    let result = result.split(['<', ' ']).next()?;
    let result = match result.strip_prefix("0x") {
        Some(address) => i64::from_str_radix(address, 16).ok()?,
        None => result.parse().ok()?,
    };
    Some(Call {
        name: name.to_owned(),
        arguments: split(arguments),
        result,
        began,
        ended,
    })
}

/// At the commas that stand in no bracket. With `-xx` no string holds a quote, a comma or a bracket.
fn split(arguments: &str) -> Vec<String> {
    let (mut depth, mut start, mut found) = (0_i32, 0, Vec::new());
    for (at, byte) in arguments.bytes().enumerate() {
        match byte {
            b'(' | b'[' | b'{' | b'<' => depth += 1,
            b')' | b']' | b'}' | b'>' => depth -= 1,
            b',' if depth == 0 => {
                found.push(arguments[start..at].trim().to_owned());
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(arguments[start..].trim().to_owned());
    found
}
