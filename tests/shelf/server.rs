//! A Redis server of a test's own, which ends with it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const INSTALL: &str = "redis-server is missing: install it with `apt-get install -y redis-server` (tests/all.sh does)";

/// Nobody else's server on the same port would take it.
const PASSWORD: &str = "for-this-test-alone";

/// How often a server is asked whether it is up, [`PAUSE`] apart: 30 seconds on the slowest machine.
const LOOKS: u32 = 600;
const PAUSE: Duration = Duration::from_millis(50);

/// Ends its process when it is dropped, also by a test that fails.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    child: Child,
    directory: TempDir,
}

impl Server {
    /// A server without memory on a free port.
    pub(crate) async fn start() -> Self {
        // Somebody else may take the port between our look and the server's start: then another is tried.
        for _ in 0..5 {
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = free.local_addr().unwrap();
            drop(free);
            let directory = tempfile::tempdir().unwrap();
            let child = spawn(address, &directory);
            let mut server = Self {
                address,
                child,
                directory,
            };
            if server.is_up().await {
                return server;
            }
        }
        panic!("redis-server does not start: run it by hand to see why");
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://:{PASSWORD}@{}/", self.address)
    }

    /// Ends it, and all that it held.
    pub(crate) fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// An empty one at the same address.
    pub(crate) async fn start_again(&mut self) {
        self.stop();
        self.child = spawn(self.address, &self.directory);
        assert!(self.is_up().await, "redis-server did not come back");
    }

    /// `STOP` and it hangs with all its connections open; `CONT` and it goes on.
    pub(crate) fn signal(&self, name: &str) {
        let process = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &process]).status();
        assert!(sent.unwrap().success());
    }

    /// What it answers to one line.
    pub(crate) fn ask(&self, line: &str) -> std::io::Result<String> {
        let limit = Duration::from_secs(10);
        let mut stream = TcpStream::connect_timeout(&self.address, limit)?;
        stream.set_read_timeout(Some(limit))?;
        write!(stream, "AUTH {PASSWORD}\r\n{line}\r\nQUIT\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    async fn is_up(&mut self) -> bool {
        for _ in 0..LOOKS {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if self
                .ask("PING")
                .is_ok_and(|answer| answer.contains("+PONG"))
            {
                return true;
            }
            tokio::time::sleep(PAUSE).await;
        }
        false
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn spawn(address: SocketAddr, directory: &TempDir) -> Child {
    let port = address.port().to_string();
    let spawned = Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &port])
        .args(["--save", "", "--appendonly", "no"])
        .args(["--requirepass", PASSWORD])
        .arg("--dir")
        .arg(directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    spawned.unwrap_or_else(|why| panic!("{INSTALL}: {why}"))
}
