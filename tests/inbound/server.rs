//! Over a real socket.

use crate::rig::{Account, Does, Rig, soon};
use axum::body::Body;
use http::Request;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A server that ends with its test.
struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn of(rig: &Rig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // Stands for authentication.
        let authenticate = tower::util::MapRequestLayer::new(|mut request: Request<Body>| {
            let account = request.headers().get("authorization");
            let account = account.map(|value| Account(value.to_str().unwrap().to_owned()));
            if let Some(account) = account {
                request.extensions_mut().insert(account);
            }
            request
        });
        let router = rig.router.clone().layer(authenticate);
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, task }
    }

    async fn send(&self, key: &str, body: &str) -> TcpStream {
        send(self.address, key, body).await
    }

    async fn ask(&self, key: &'static str, body: &'static str) -> String {
        ask(self.address, key, body).await
    }
}

async fn send(address: SocketAddr, key: &str, body: &str) -> TcpStream {
    let request = format!(
        "POST /bills/7/pay HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: me\r\nidempotency-key: {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    write(address, request).await
}

async fn write(address: SocketAddr, request: String) -> TcpStream {
    let written = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    });
    written.await.unwrap()
}

async fn ask(address: SocketAddr, key: &'static str, body: &'static str) -> String {
    let mut stream = send(address, key, body).await;
    let read = tokio::task::spawn_blocking(move || {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    read.await.unwrap()
}

fn rig() -> (tempfile::TempDir, Rig) {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::sqlite(&folder.path().join("inbound.db"));
    (folder, rig)
}

#[tokio::test]
async fn thirty_two_clients_with_one_key_are_one_payment() {
    let (_folder, rig) = rig();
    let server = Server::of(&rig).await;
    let answers = soon(async {
        let mut running = tokio::task::JoinSet::new();
        for _ in 0..32 {
            running.spawn(ask(server.address, "\"k\"", "{}"));
        }
        running.join_all().await
    })
    .await;
    assert_eq!(rig.till.runs(), 1);
    for answer in &answers {
        let paid = answer.starts_with("HTTP/1.1 201") && answer.ends_with("run 1: me paid 7");
        assert!(paid || answer.starts_with("HTTP/1.1 409"), "{answer}");
    }
    let again = soon(server.ask("k", "{}")).await;
    assert!(again.contains("idempotent-replayed: true"), "{again}");
    assert!(again.ends_with("run 1: me paid 7"), "{again}");
    let other = soon(server.ask("k", "{\"x\":1}")).await;
    assert!(other.starts_with("HTTP/1.1 422"), "{other}");
    assert_eq!(rig.till.runs(), 1);
}

#[tokio::test]
async fn a_client_that_hangs_up_is_paid_once_and_finds_its_answer_later() {
    let (_folder, rig) = rig();
    let server = Server::of(&rig).await;
    rig.till.next([Does::Waits]);
    let stream = soon(server.send("k", "{}")).await;
    soon(rig.till.entered.notified()).await;
    drop(stream);
    rig.till.go_on.notify_one();
    let again = soon(async {
        loop {
            let again = server.ask("k", "{}").await;
            if !again.starts_with("HTTP/1.1 409") {
                return again;
            }
        }
    })
    .await;
    assert!(again.ends_with("run 1: me paid 7"), "{again}");
    assert_eq!(rig.till.runs(), 1);
}

#[tokio::test]
async fn a_body_that_never_comes_whole_runs_nothing_and_leaves_the_key_free() {
    let (_folder, rig) = rig();
    let server = Server::of(&rig).await;
    let head = "POST /bills/7/pay HTTP/1.1\r\nhost: x\r\nauthorization: me\r\nidempotency-key: k\r\ncontent-length: 9\r\n\r\n{";
    drop(soon(write(server.address, head.to_owned())).await);
    let paid = soon(server.ask("k", "{\"whole\":1}")).await;
    assert!(paid.starts_with("HTTP/1.1 201"), "{paid}");
    assert_eq!(rig.till.runs(), 1);
}
