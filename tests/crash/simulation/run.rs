//! One run: processes live, die and begin again until everything has settled.

use super::boundary::{Boundary, Count, Next};
use super::disk::Disk;
use super::host::{Answer, Running, Shared};
use super::judge::judge;
use super::power::Crashes;
use super::script::{Kind, Remains, Script};
use super::world::{Effect, Sent, World};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tower_sturdy::clock::Clock;
use tower_sturdy::journal::{Record, State};

/// What one run was.
#[derive(Debug, Default)]
pub struct Outcome {
    pub wrong: Vec<String>,
    pub seen: Count,
    pub hits: Count,
    /// Of every boundary in its order.
    pub digest: u64,
    /// How long it took, in milliseconds of its own time.
    pub took: u64,
    /// How its operations ended.
    pub ends: Vec<State>,
    /// What was sent, done and told, in order.
    pub story: (Vec<Sent>, Vec<Effect>, Vec<Answer>),
}

/// The processes by their number; a place is empty while its process is dead.
type Hosts = Arc<Mutex<Vec<Option<Running>>>>;

/// How long a run may take to settle, in its own time: the horizon and all look-ups after the last crash fit many times.
const LONGEST: Duration = Duration::from_secs(40_000);

/// Runs one seed with these crashes.
pub fn run(seed: u64, kind: Kind, crashes: &Crashes) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(live(seed, kind, crashes))
}

async fn live(seed: u64, kind: Kind, crashes: &Crashes) -> Outcome {
    let script = Script::new(seed, kind);
    let world = World::new(seed ^ 0x5eed, script.retention());
    let shared = Arc::new(Shared {
        disk: Disk::new(kind.sqlite, &script, Arc::clone(&world)),
        script,
        world,
        crashes: crashes.clone(),
        answers: Mutex::default(),
    });
    let clock = shared.world.lock().unwrap().clock;
    let began = clock.wall();
    let hosts: Hosts = Arc::new(Mutex::new((0..kind.hosts).map(|_| None).collect()));
    for host in 0..kind.hosts {
        let seed = seed.wrapping_mul(31).wrapping_add(host as u64);
        let (shared, hosts) = (Arc::clone(&shared), Arc::clone(&hosts));
        tokio::spawn(keep(shared, hosts, host, seed, kind.remains));
    }
    tokio::spawn(instant(Arc::clone(&hosts), crashes.clone()));
    tokio::spawn(stop(Arc::clone(&shared), Arc::clone(&hosts)));
    tokio::spawn(weather(Arc::clone(&shared)));
    click(&shared, &hosts, clock).await;
    let mut wrong = settle(&shared, &hosts, clock).await;
    if shared.script.asks_again {
        ask_again(&shared, &hosts);
        wrong.extend(settle(&shared, &hosts, clock).await);
    }
    let took = clock.wall().as_millis() - began.as_millis();
    wrong.extend(judge(&shared));
    for host in hosts.lock().unwrap().iter_mut().filter_map(Option::take) {
        host.bury();
    }
    let story = {
        let mut world = shared.world.lock().unwrap();
        let answers = shared.answers.lock().unwrap().clone();
        let world = &mut *world;
        (
            std::mem::take(&mut world.sends),
            std::mem::take(&mut world.effects),
            answers,
        )
    };
    Outcome {
        wrong,
        story,
        seen: crashes.seen(),
        hits: crashes.hits(),
        digest: crashes.digest(),
        took,
        ends: shared.disk.records().iter().map(Record::state).collect(),
    }
}

/// Starts a process, and another one whenever it dies.
async fn keep(shared: Arc<Shared>, hosts: Hosts, host: usize, seed: u64, remains: Remains) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut left_lying = Vec::new();
    loop {
        let wrong_by = if shared.script.jumps {
            [0, rng.i64(-20_000..20_000), rng.i64(-7_200_000..7_200_000)][rng.usize(0..3)]
        } else {
            0
        };
        let running = Running::start(&shared, rng.u64(..), wrong_by);
        let power = running.power.clone();
        hosts.lock().unwrap()[host] = Some(running);
        power.lost().await;
        let dead = hosts.lock().unwrap()[host].take();
        let drawn = rng.u32(0..8) == 0;
        let lies = remains == Remains::Lying || (remains == Remains::Either && drawn);
        match dead {
            Some(dead) if lies => left_lying.push(dead),
            Some(dead) => dead.bury(),
            None => {}
        }
        let down = [rng.u64(0..200), rng.u64(0..8_000), rng.u64(0..60_000)][rng.usize(0..3)];
        tokio::time::sleep(Duration::from_millis(down)).await;
    }
}

/// The crash at a point in time.
async fn instant(hosts: Hosts, crashes: Crashes) {
    let Next::Instant(at) = crashes.next() else {
        return;
    };
    tokio::time::sleep(Duration::from_millis(at)).await;
    let power = {
        let hosts = hosts.lock().unwrap();
        let mut running = hosts.iter().flatten();
        running.next().map(|running| running.power.clone())
    };
    if let Some(power) = power {
        power.at(Boundary::Instant);
    }
}

/// Shuts the first process down as an operator would; it may die while it drains.
async fn stop(shared: Arc<Shared>, hosts: Hosts) {
    let Some((at, limit)) = shared.script.stops else {
        return;
    };
    tokio::time::sleep(Duration::from_millis(at)).await;
    let running = {
        let hosts = hosts.lock().unwrap();
        let running = hosts[0].as_ref();
        running.map(|running| (running.power.clone(), running.stack.clone()))
    };
    if let Some((power, stack)) = running {
        tokio::select! {
            _ = power.while_on(Boundary::Drains, stack.shutdown(limit)) => power.ends(),
            () = power.lost() => {}
        }
    }
}

/// The storm ends some time.
async fn weather(shared: Arc<Shared>) {
    tokio::time::sleep(Duration::from_millis(shared.script.calm)).await;
    shared.world.lock().unwrap().stormy = false;
}

async fn click(shared: &Arc<Shared>, hosts: &Hosts, clock: Clock) {
    let began = clock.now();
    for click in &shared.script.clicks {
        tokio::time::sleep_until(began + Duration::from_millis(click.at)).await;
        // Nobody answers where the process is dead.
        if let Some(host) = &mut hosts.lock().unwrap()[click.host] {
            host.click(shared, click.operation, click.patience);
        }
    }
}

fn ask_again(shared: &Arc<Shared>, hosts: &Hosts) {
    for operation in 0..shared.script.operations.len() {
        if let Some(host) = &mut hosts.lock().unwrap()[0] {
            host.click(shared, operation, Duration::from_millis(300));
        }
    }
}

/// Waits until nothing is left to do; tells what is stuck.
async fn settle(shared: &Shared, hosts: &Hosts, clock: Clock) -> Vec<String> {
    let until = clock.now() + LONGEST;
    let mut wait = Duration::from_secs(1);
    loop {
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(Duration::from_secs(60));
        let left = unsettled(shared, hosts);
        if left.is_empty() || clock.now() > until {
            return left;
        }
    }
}

fn unsettled(shared: &Shared, hosts: &Hosts) -> Vec<String> {
    let mut left = Vec::new();
    for host in &*hosts.lock().unwrap() {
        match host {
            None => left.push("a process is dead".to_owned()),
            Some(host) => {
                if host.callers.iter().any(|caller| !caller.is_finished()) {
                    left.push("a caller waits".to_owned());
                }
                if host.stack.book().live() > 0 {
                    left.push("an operation stays in the book".to_owned());
                }
            }
        }
    }
    let world = shared.world.lock().unwrap();
    if world.stormy || world.sends.iter().any(|send| send.done.is_none()) {
        left.push("the upstream is not done".to_owned());
    }
    for record in shared.disk.records() {
        let progress = &record.progress;
        let settled = match record.state() {
            State::Completed | State::Rejected => progress.due.is_none(),
            // Looked up at least once more since.
            State::Parked => progress.checks > 0,
            State::Ready => progress.due.is_none(),
            State::Claimed | State::Sending | State::Unknown => false,
        };
        if !settled {
            left.push(format!(
                "{} is {} and due {:?}",
                record.id(),
                record.state(),
                progress.due
            ));
        }
    }
    left
}
