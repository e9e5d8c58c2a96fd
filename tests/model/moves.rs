//! Everything that can happen next. The hosts do what `Book`, the gate and the worker do, a step at a time, and decide
//! by the crate's own `may_send`, `next`, `after_look` and the record's methods.

use super::upstream;
use super::world::{BOUND, Doing, Host, LEASE, MARGIN, Setup, WINDOW, World, settle, start, ticks};
use tower_sturdy::clock::Instant;
use tower_sturdy::journal::{
    After, Capability, Liveness, Moment, Next, OwnerId, Record, State, StoredAnswer, Watch,
    after_look, may_send, next, still_may_leave,
};
use tower_sturdy::outcome::{Outcome, Verdict};

/// How far clocks jump, in ticks: beyond every window and horizon.
const JUMP: i64 = 7;

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    Tick,
    Ask(usize),
    Begin(usize),
    Leave(usize),
    GiveUp(usize),
    Release(usize, bool),
    Record(usize),
    RecordingFails(usize, bool),
    Renew(usize),
    Work(usize),
    Look(usize, upstream::Seen),
    Crash(usize),
    Restart(usize),
    Jump(i64),
    Apply(usize),
    Answer(usize, upstream::Answer),
    RollBack,
    Forget,
}

/// Everything that can happen in this world.
pub fn moves(setup: &Setup, world: &World) -> Vec<Move> {
    let mut all = Vec::new();
    if world.is_over(setup) {
        return all;
    }
    for number in 0..world.hosts.len() {
        of_host(setup, world, number, &mut all);
    }
    for (number, sent) in world.sent.iter().enumerate() {
        if upstream::may_apply(setup, world, sent) {
            all.push(Move::Apply(number));
        }
        if sent.left.is_none() && !sent.answered {
            for answer in upstream::answers(setup, sent) {
                all.push(Move::Answer(number, answer));
            }
        }
    }
    if world.jumps < setup.jumps {
        all.extend([Move::Jump(JUMP), Move::Jump(-JUMP)]);
    }
    if setup.rolls_back && !world.rolled_back && world.before.is_some() {
        all.push(Move::RollBack);
    }
    let settled = world
        .journal
        .as_ref()
        .is_some_and(|record| record.state().is_final());
    if setup.forgets && settled {
        all.push(Move::Forget);
    }
    if world.now < setup.ends && may_tick(setup, world) {
        all.push(Move::Tick);
    }
    all
}

/// Time that goes by now goes by between two steps of this host.
const fn stops(host: &Host) -> bool {
    !matches!(host.doing, Doing::Nothing | Doing::Sending(..))
}

/// Timers fire when they are due, unless a host stands still; and only the first host is slow.
fn may_tick(setup: &Setup, world: &World) -> bool {
    let timely = |host: &Host| match host.doing {
        Doing::Sending(_, sent) => {
            world.now < world.sent[sent].at + BOUND && !lease_over(world, host)
        }
        _ => true,
    };
    let prompt = matches!(world.hosts[1].doing, Doing::Nothing | Doing::Sending(..));
    let [first, second] = &world.hosts;
    let stops = stops(first) && !world.sleeping;
    let awake = !stops || world.sleeps < setup.sleeps;
    prompt && awake && timely(second) && (setup.suspends || timely(first))
}

/// The lease of a keyed write ran out, as far as its host knows: it holds nothing any longer.
fn lease_over(world: &World, host: &Host) -> bool {
    let keyed = |record: &Record| matches!(record.asked.capability, Capability::Keyed { .. });
    let now = start().plus(ticks(world.now));
    host.known.as_ref().is_some_and(|record| {
        keyed(record) && (now >= record.progress.lease_until || record.progress.owner != host.owner)
    })
}

/// A renewal changes the lease, or records what is not on record.
fn renews(world: &World, host: &Host) -> bool {
    let until = start().plus(ticks(world.now + LEASE));
    let shorter = |record: &Record| record.progress.lease_until < until;
    host.off != 0 || host.dirty || host.known.as_ref().is_some_and(shorter)
}

fn of_host(setup: &Setup, world: &World, number: usize, all: &mut Vec<Move>) {
    let host = &world.hosts[number];
    if !host.alive {
        return all.push(Move::Restart(number));
    }
    // The crash of a host that does nothing is its restart, which only makes it more careful.
    let dies = number == 0 || setup.both_die;
    if world.crashes < setup.crashes && host.doing != Doing::Nothing && dies {
        all.push(Move::Crash(number));
    }
    match host.doing {
        Doing::Nothing => {
            // The hosts are alike until one of them is asked.
            if world.asks < setup.asks && (world.asks > 0 || number == 0) {
                all.push(Move::Ask(number));
            }
            if world.journal.is_some() {
                all.push(Move::Work(number));
            }
        }
        Doing::Driving => {
            if world.sent.len() < usize::from(setup.sends) {
                all.push(Move::Begin(number));
            }
            all.push(Move::Release(number, true));
            if setup.all_answers {
                all.push(Move::Release(number, false));
            }
        }
        Doing::Begun(..) => all.push(Move::Leave(number)),
        Doing::Sending(_, sent) => {
            if world.now >= world.sent[sent].at + BOUND || lease_over(world, host) {
                all.push(Move::GiveUp(number));
            }
            if renews(world, host) {
                all.push(Move::Renew(number));
            }
        }
        Doing::Looking => {
            let seen = upstream::seen(world);
            all.extend(seen.into_iter().map(|seen| Move::Look(number, seen)));
        }
        Doing::Recording => {
            all.push(Move::Record(number));
            if world.failures < setup.journal_failures {
                all.extend([
                    Move::RecordingFails(number, true),
                    Move::RecordingFails(number, false),
                ]);
            }
        }
    }
}

/// The first host goes on.
const fn wakes(what: Move) -> bool {
    match what {
        Move::Ask(host)
        | Move::Begin(host)
        | Move::Leave(host)
        | Move::GiveUp(host)
        | Move::Release(host, _)
        | Move::Record(host)
        | Move::RecordingFails(host, _)
        | Move::Renew(host)
        | Move::Work(host)
        | Move::Look(host, _)
        | Move::Crash(host)
        | Move::Restart(host) => host == 0,
        _ => false,
    }
}

/// The world after a move.
pub fn after(setup: &Setup, world: &World, what: Move, base: Instant) -> World {
    let mut next = world.clone();
    let step = Step {
        setup,
        world: &mut next,
        base,
    };
    step.make(what);
    next
}

struct Step<'a> {
    setup: &'a Setup,
    world: &'a mut World,
    base: Instant,
}

impl Step<'_> {
    fn make(mut self, what: Move) {
        if wakes(what) {
            self.world.sleeping = false;
        }
        match what {
            Move::Tick => {
                self.world.now += 1;
                let world = &mut *self.world;
                let stops = stops(&world.hosts[0]);
                world.sleeps += u8::from(stops && !world.sleeping);
                world.sleeping = stops;
            }
            Move::Ask(host) => self.ask(host),
            Move::Begin(host) => self.begin(host),
            Move::Leave(host) => self.leave(host),
            Move::GiveUp(host) => self.ended(host, Verdict::OPEN),
            Move::Release(host, promised) => self.release(host, promised),
            Move::Record(host) => self.record(host),
            Move::RecordingFails(host, made) => self.recording_fails(host, made),
            Move::Renew(host) => self.renew(host),
            Move::Work(host) => self.work(host),
            Move::Look(host, seen) => self.looked(host, seen),
            Move::Crash(host) => self.crash(host),
            Move::Restart(host) => self.restart(host),
            Move::Jump(by) => {
                self.world.jumps += 1;
                // The hosts are processes of one machine, or machines whose clocks agree.
                for host in &mut self.world.hosts {
                    host.off += by;
                }
            }
            Move::Apply(sent) => upstream::apply(self.world, sent),
            Move::Answer(sent, answer) => self.answered(sent, answer),
            Move::RollBack => {
                self.world.rolled_back = true;
                self.world.journal = self.world.before.take();
            }
            Move::Forget => {
                self.world.journal = None;
                self.world.before = None;
            }
        }
    }

    fn now(&mut self, host: usize) -> Moment {
        self.world.moment(self.setup, host, self.base)
    }

    /// Compare-and-swap. Returns whether the journal took it.
    fn commit(&mut self, host: usize, mut next: Record) -> bool {
        let Some(current) = &self.world.journal else {
            return false;
        };
        let ours = current.id() == next.id() && current.progress.version == next.progress.version;
        if !ours {
            let current = (current.id() == next.id()).then(|| current.clone());
            self.adopt(host, current);
            return false;
        }
        if current.state().is_final() && current.state() != next.state() {
            self.world.wrong = Some("a final state changed");
        }
        next.progress.version += 1;
        self.world.before = self.world.journal.replace(next.clone());
        let host = &mut self.world.hosts[host];
        host.known = Some(next);
        host.dirty = false;
        host.released = None;
        true
    }

    /// As `Book::adopt`: what the journal has, and what was seen here and is not in it yet.
    fn adopt(&mut self, host: usize, current: Option<Record>) {
        let now = self.now(host).at;
        let here = &mut self.world.hosts[host];
        let (ours, Some(mut record)) = (here.known.take(), current) else {
            here.doing = Doing::Nothing;
            here.dirty = false;
            return;
        };
        let mut changed = false;
        if let Some(ours) = ours.filter(|_| here.dirty) {
            changed = record.absorb(&ours, now);
            let working = matches!(record.state(), State::Claimed | State::Sending);
            if let Some(due) = here.released
                && record.progress.owner == here.owner
                && working
            {
                record.release(now, due);
                changed = true;
            }
        }
        here.dirty = changed;
        if !changed {
            here.released = None;
        }
        here.known = Some(record);
    }

    fn ask(&mut self, host: usize) {
        self.world.asks += 1;
        let now = self.now(host);
        if self.setup.new_key_each && self.world.journal.is_some() {
            self.world.journal = None;
            self.world.key += 1;
        }
        let Some(found) = self.world.journal.clone() else {
            let record = self.world.fresh(self.setup, host, now);
            self.world.journal = Some(record.clone());
            let here = &mut self.world.hosts[host];
            here.known = Some(record);
            here.doing = Doing::Driving;
            return;
        };
        match found.state() {
            State::Completed => self.world.told.completed = true,
            State::Rejected => self.world.told.rejected = true,
            State::Ready => self.own(host, found, Some(sending(self.setup)), Doing::Driving),
            State::Unknown => {
                let mut hastened = found;
                hastened.progress.due = Some(now.at);
                self.commit(host, hastened);
                self.world.hosts[host].known = None;
            }
            State::Claimed | State::Sending | State::Parked => {}
        }
    }

    /// As `Book::own`.
    fn own(&mut self, host: usize, mut record: Record, state: Option<State>, then: Doing) {
        let now = self.now(host).at;
        if let Some(state) = state {
            let _ = record.step(state, now, "taken up again", "owner");
        }
        let until = now.plus(ticks(LEASE));
        record.progress.owner = self.world.hosts[host].owner;
        record.progress.lease_until = until;
        record.progress.due = Some(until);
        if self.commit(host, record) {
            self.world.hosts[host].doing = then;
        }
    }

    /// As `Book::begin_attempt`.
    fn begin(&mut self, host: usize) {
        let now = self.now(host);
        let owner = self.world.hosts[host].owner;
        let Some(record) = self.world.hosts[host].known.clone() else {
            return;
        };
        let bound = ticks(BOUND) + MARGIN;
        if may_send(&record, owner, now, bound, MARGIN).is_err() {
            // Withheld: whoever drives it ends its work.
            return self.release(host, true);
        }
        let mut next = record;
        let here = matches!(next.asked.capability, Capability::Keyed { .. })
            && next.state() == State::Sending;
        let settles = now.at.plus(bound).plus(ticks(WINDOW));
        let Ok(number) = next.begin_attempt(owner, now.at, settles) else {
            return;
        };
        if here {
            let host_ = &mut self.world.hosts[host];
            host_.known = Some(next);
            host_.dirty = true;
            self.send(host, number);
        } else if self.commit(host, next) {
            self.world.hosts[host].doing = Doing::Begun(number, now.at);
        } else {
            self.release(host, true);
        }
    }

    fn leave(&mut self, host: usize) {
        let now = self.now(host);
        let here = &mut self.world.hosts[host];
        let (Doing::Begun(number, then), Some(record)) = (here.doing, here.known.as_mut()) else {
            return;
        };
        if still_may_leave(record.progress.lease_until, then, now, MARGIN) {
            return self.send(host, number);
        }
        record.end_attempt(
            here.owner,
            number,
            now.at,
            Verdict::UNSENT,
            ticks(WINDOW),
            None,
        );
        here.dirty = true;
        here.doing = Doing::Driving;
    }

    fn send(&mut self, host: usize, number: u32) {
        let sent = upstream::receive(self.setup, self.world, host);
        self.world.hosts[host].doing = Doing::Sending(number, sent);
    }

    fn answered(&mut self, sent: usize, answer: upstream::Answer) {
        // A connection that breaks closes nothing.
        self.world.sent[sent].answered = answer != upstream::Answer::Broke;
        let host = self.world.sent[sent].host;
        let waits = matches!(self.world.hosts[host].doing, Doing::Sending(_, mine) if mine == sent);
        if waits {
            self.ended(host, answer.verdict());
        }
    }

    /// As `Book::end_attempt`, and what follows in `finish`.
    fn ended(&mut self, host: usize, verdict: Verdict) {
        let now = self.now(host).at;
        let owner = self.world.hosts[host].owner;
        let Doing::Sending(number, sent) = self.world.hosts[host].doing else {
            return;
        };
        self.world.sent[sent].left.get_or_insert(self.world.now);
        let here = &mut self.world.hosts[host];
        let Some(record) = here.known.as_mut() else {
            return;
        };
        let answer = (verdict.outcome == Outcome::Applied).then(answer);
        record.end_attempt(owner, number, now, verdict, ticks(WINDOW), answer);
        let state = record.state();
        here.dirty = true;
        here.doing = match state {
            State::Claimed | State::Sending => Doing::Driving,
            _ => Doing::Recording,
        };
        if verdict.outcome == Outcome::Applied && state == State::Completed {
            // Told before it is recorded.
            self.world.told.completed = true;
        }
    }

    /// As `Book::release`: a caller was told to wait (`promised`), or that nothing happened.
    fn release(&mut self, host: usize, promised: bool) {
        let now = self.now(host).at;
        let here = &mut self.world.hosts[host];
        let Some(record) = here.known.as_mut() else {
            here.doing = Doing::Nothing;
            return;
        };
        let due = promised.then(|| now.plus(ticks(1)));
        let doubt = record.outcome() >= Outcome::Unknown;
        let due = if doubt { None } else { due };
        if record.state() == State::Unknown {
            record.progress.due = Some(now.plus(ticks(1)));
        }
        record.release(now, due);
        here.released = Some(due);
        here.dirty = true;
        here.doing = Doing::Recording;
    }

    /// As `Book::flush`, one try.
    fn record(&mut self, host: usize) {
        let Some(known) = self.world.hosts[host].known.clone() else {
            return;
        };
        let was_dirty = self.world.hosts[host].dirty;
        let committed = !was_dirty || self.commit(host, known);
        if !committed && self.world.hosts[host].dirty {
            return; // What came first is known now; the rest is recorded in the next turn.
        }
        let here = &mut self.world.hosts[host];
        here.doing = Doing::Nothing;
        if let Some(record) = here.known.take() {
            match record.state() {
                State::Completed => self.world.told.completed = true,
                State::Rejected => self.world.told.rejected = true,
                State::Ready if record.progress.due.is_none() => {
                    self.nothing_happened();
                }
                _ => {}
            }
        }
    }

    /// Somebody is told that nothing happened: then nothing has, and nothing will unless it is asked for again.
    fn nothing_happened(&mut self) {
        let (setup, world) = (self.setup, &mut *self.world);
        let lands = world
            .sent
            .iter()
            .any(|sent| upstream::may_apply(setup, world, sent));
        if lands || !world.effects.is_empty() {
            world.wrong = Some("told that nothing happened, and it did");
        }
    }

    /// The journal fails: the change is made, or not, and the host does not know. It gives up after a while.
    fn recording_fails(&mut self, host: usize, made: bool) {
        self.world.failures += 1;
        let known = self.world.hosts[host].known.clone();
        if made && let Some(known) = known.clone() {
            self.commit(host, known);
        }
        // It still has what it had, and finds out at its next try.
        let here = &mut self.world.hosts[host];
        here.known = known;
        here.dirty = true;
    }

    fn renew(&mut self, host: usize) {
        let now = self.now(host).at;
        let here = &self.world.hosts[host];
        let owner = here.owner;
        let Some(mut next) = here
            .known
            .clone()
            .filter(|record| record.progress.owner == owner)
        else {
            return;
        };
        let until = now.plus(ticks(LEASE));
        next.progress.lease_until = until;
        next.progress.due = Some(until);
        // What is in it beside the lease is recorded with it.
        self.commit(host, next);
    }

    /// As `Reconciler::check`.
    fn work(&mut self, host: usize) {
        let Some(record) = self.world.journal.clone() else {
            return;
        };
        let liveness = match record.state() {
            State::Claimed | State::Sending => {
                self.world.liveness(self.setup, host, record.progress.owner)
            }
            _ => Liveness::Unknown,
        };
        let now = self.now(host);
        match next(&record, now, liveness, &settle()) {
            Next::Nothing | Next::Wait(_) => {}
            Next::TakeOver => {
                let mut taken = record;
                if taken.take_over(now, liveness, ticks(WINDOW)) {
                    taken.progress.owner = self.world.hosts[host].owner;
                }
                self.commit(host, taken);
            }
            Next::Look => self.own(host, record, None, Doing::Looking),
            Next::Resume => {
                self.own(host, record, Some(sending(self.setup)), Doing::Driving);
            }
            Next::Park(why) => self.park(host, record, why),
            Next::Acknowledge => {
                let mut done = record;
                done.progress.acknowledged = true;
                done.progress.due = None;
                self.commit(host, done);
            }
        }
        let here = &mut self.world.hosts[host];
        if here.doing == Doing::Nothing {
            here.known = None;
        }
    }

    fn park(&mut self, host: usize, record: Record, why: &'static str) {
        let now = self.now(host).at;
        let refused_once =
            self.setup.capability == Capability::None && record.outcome() == Outcome::NoEffect;
        if record.outcome() < Outcome::Unknown && !refused_once {
            self.world.wrong = Some("parked though there is no doubt");
        }
        let mut parked = record;
        if parked.step(State::Parked, now, why, "worker").is_ok() {
            parked.progress.due = Some(now.plus(settle().parked_interval));
        }
        self.commit(host, parked);
    }

    /// As `Reconciler::look`, after the hook answered.
    fn looked(&mut self, host: usize, seen: upstream::Seen) {
        let now = self.now(host);
        let here = &mut self.world.hosts[host];
        here.doing = Doing::Nothing;
        let Some(record) = here.known.take() else {
            return;
        };
        let keyed = matches!(record.asked.capability, Capability::Keyed { .. });
        // The lease ran out while it looked: somebody else may look by now.
        if keyed && now.at >= record.progress.lease_until {
            return;
        }
        match after_look(&record, seen.observation(), now, &settle()) {
            After::Complete(proof) => {
                let mut done = record;
                if done
                    .step(State::Completed, now.at, proof.evidence, "worker")
                    .is_ok()
                {
                    done.answer = Some(proof.answer);
                    done.progress.due = None;
                }
                if self.commit(host, done) {
                    self.world.told.completed |=
                        self.world.journal.as_ref().map(Record::state) == Some(State::Completed);
                }
            }
            After::Resend => {
                self.world.hosts[host].known = Some(record);
                self.world.hosts[host].doing = Doing::Driving;
                return;
            }
            After::Weigh(_) => unreachable!("nobody resolves anything here"),
            After::Park(why) => self.park(host, record, why),
            After::LookAgain(at) => {
                let mut again = record;
                again.progress.due = Some(at);
                again.progress.checks = (again.progress.checks + 1).min(settle().looks_max);
                self.commit(host, again);
            }
        }
        self.world.hosts[host].known = None;
    }

    fn crash(&mut self, host: usize) {
        self.world.crashes += 1;
        let now = self.world.now;
        for sent in self.world.sent.iter_mut().filter(|sent| sent.host == host) {
            sent.left.get_or_insert(now);
        }
        let here = &mut self.world.hosts[host];
        here.alive = false;
        here.known = None;
        here.dirty = false;
        here.released = None;
        here.doing = Doing::Nothing;
    }

    fn restart(&mut self, host: usize) {
        let high = self.world.journal.as_ref().map(|record| {
            let steps = record.progress.history.last().map(|step| step.at);
            steps.unwrap_or(record.asked.at).max(record.asked.at)
        });
        let wall = self.world.wall(host);
        let mono = self.base + ticks(self.world.now);
        let here = &mut self.world.hosts[host];
        here.alive = true;
        here.owner = OwnerId(here.owner.0 + 2);
        here.watch = Watch::start(wall, mono, high, ticks(WINDOW), ticks(LEASE));
    }
}

const fn sending(setup: &Setup) -> State {
    match setup.capability {
        Capability::Keyed { .. } => State::Sending,
        Capability::Lookup | Capability::None => State::Claimed,
    }
}

pub fn answer() -> StoredAnswer {
    StoredAnswer {
        status: 200,
        headers: Vec::new(),
        body: bytes::Bytes::new(),
    }
}

impl World {
    /// The operation is settled, nobody works on it, and nothing that was sent can land: whatever follows is the same.
    fn is_over(&self, setup: &Setup) -> bool {
        let again = setup.forgets || setup.new_key_each || setup.rolls_back;
        let settled = self
            .journal
            .as_ref()
            .is_some_and(|record| record.state().is_final());
        let rest = self.hosts.iter().all(|host| host.doing == Doing::Nothing);
        let lands = self
            .sent
            .iter()
            .any(|sent| upstream::may_apply(setup, self, sent));
        settled && rest && !lands && !again
    }
}
