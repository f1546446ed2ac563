//! A process in small: desks, the lanes between them, and clients with scripts, one atomic move at a time.

use super::{Desk, LoanAction, LoanNumber, Place};

/// Most cores of a model.
pub(super) const CORES_MAX: usize = 5;

/// One step of a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// A plain command on the shard of a core; its reply is not awaited.
    Command(u16),
    /// A loan of these shards; what follows waits for its end.
    Loan(&'static [u16]),
}

/// What does not change.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub(super) cores: u16,
    /// The clients: their core, and what they do.
    pub(super) scripts: Vec<(u16, Vec<Step>)>,
    /// Messages that a Requests lane holds.
    pub(super) capacity: usize,
    /// Times that each shard may be lent without being asked for.
    pub(super) unasked: u8,
    /// This core counts the cores from the other end, so that it takes shards in the wrong order.
    pub(super) reversed: Option<u16>,
    /// This core may stop at any time.
    pub(super) mortal: Option<u16>,
    /// The scripts begin again at their end.
    pub(super) endless: bool,
    /// Loans join those that are gathering; for clients without commands, who never have anything unanswered.
    pub(super) joins: bool,
}

/// A shard: what it has lived through.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Token {
    core: u16,
    /// Commands that ran on it, by sender.
    commands: [u32; CORES_MAX],
    /// Loans that had it, by coordinator.
    loans: [u32; CORES_MAX],
}

/// The work of a loan.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Work {
    client: usize,
    /// Commands that the coordinator had sent to each shard when the loan began.
    sent: [u32; CORES_MAX],
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Request {
    /// The how many-th it is from its sender to this shard, and how many loans of it the sender had finished.
    Command(u32, u32),
    Ask(LoanNumber),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Parcel {
    Lent(LoanNumber, Token),
    Back(Token),
    Unasked(Token),
}

/// A loan that has its shards, its work, and what has joined it.
type LoanRun = (Vec<(u16, Token)>, Work, Vec<(Vec<u16>, Work)>);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Core {
    pub(super) desk: Desk<Token, Work>,
    /// Loans that may be run.
    runs: Vec<LoanRun>,
    /// Commands sent, by shard.
    sent: [u32; CORES_MAX],
    /// Loans finished, by shard.
    finished: [u32; CORES_MAX],
    unasked: u8,
    dead: bool,
    /// What comes from each core, and what waits for room there.
    requests: Vec<Vec<Request>>,
    replies: Vec<Vec<Parcel>>,
    asks: Vec<Vec<LoanNumber>>,
}

/// Where a client stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Client {
    pub(super) at: usize,
    pub(super) in_loan: bool,
}

/// Everything that changes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Process {
    pub(super) clients: Vec<Client>,
    pub(super) cores: Vec<Core>,
}

/// What one core does without interruption.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Move {
    Client(usize),
    TakeReply { at: u16, from: u16 },
    Serve { at: u16, from: u16 },
    Grant(u16),
    LendUnasked { at: u16, to: u16 },
    AskAgain { at: u16, whom: u16 },
    Run(u16),
    Die(u16),
}

impl Scene {
    pub(super) fn new(cores: u16, scripts: Vec<(u16, Vec<Step>)>) -> Self {
        Self { cores, scripts, capacity: 1, unasked: 0, reversed: None, mortal: None, endless: false, joins: false }
    }

    /// All moves that there ever are.
    pub(super) fn moves(&self) -> Vec<Move> {
        let mut moves: Vec<Move> = (0..self.scripts.len()).map(Move::Client).collect();
        for at in 0..self.cores {
            moves.extend([Move::Grant(at), Move::Run(at), Move::Die(at)]);
            for other in (0..self.cores).filter(|&other| other != at) {
                moves.push(Move::TakeReply { at, from: other });
                moves.push(Move::Serve { at, from: other });
                moves.push(Move::LendUnasked { at, to: other });
                moves.push(Move::AskAgain { at, whom: other });
            }
        }
        moves
    }

    /// What a client does next.
    pub(super) fn step(&self, process: &Process, client: usize) -> Option<Step> {
        let (script, at) = (&self.scripts[client].1, process.clients[client].at);
        if self.endless { Some(script[at % script.len()]) } else { script.get(at).copied() }
    }

    /// The name that a core has at a core; its own inverse.
    fn name(&self, at: u16, core: u16) -> u16 {
        if self.reversed == Some(at) { self.cores - 1 - core } else { core }
    }
}

impl Process {
    pub(super) fn new(scene: &Scene) -> Self {
        let core = |core| {
            let token = Token { core, commands: [0; CORES_MAX], loans: [0; CORES_MAX] };
            Core {
                desk: Desk::new(scene.name(core, core), Some(token)),
                runs: Vec::new(),
                sent: [0; CORES_MAX],
                finished: [0; CORES_MAX],
                unasked: scene.unasked,
                dead: false,
                requests: vec![Vec::new(); usize::from(scene.cores)],
                replies: vec![Vec::new(); usize::from(scene.cores)],
                asks: vec![Vec::new(); usize::from(scene.cores)],
            }
        };
        let clients = vec![Client { at: 0, in_loan: false }; scene.scripts.len()];
        Self { clients, cores: (0..scene.cores).map(core).collect() }
    }

    pub(super) fn is_possible(&self, scene: &Scene, step: Move) -> bool {
        let core = |core: u16| &self.cores[usize::from(core)];
        let has_room = |from: u16, to: u16| core(to).requests[usize::from(from)].len() < scene.capacity;
        let is_home = |at: u16| core(at).desk.home().is_some();
        let (at, possible) = match step {
            Move::Client(client) => {
                let at = scene.scripts[client].0;
                let possible = match scene.step(self, client) {
                    Some(Step::Command(to)) if to == at => is_home(at),
                    Some(Step::Command(to)) => has_room(at, to),
                    Some(Step::Loan(_)) => true,
                    None => false,
                };
                (at, possible && !self.clients[client].in_loan)
            }
            Move::TakeReply { at, from } => (at, !core(at).replies[usize::from(from)].is_empty()),
            Move::Serve { at, from } => (at, is_home(at) && !core(at).requests[usize::from(from)].is_empty()),
            Move::Grant(at) => (at, core(at).desk.has_grant() || is_home(at) && core(at).desk.others_first),
            Move::LendUnasked { at, .. } => (at, is_home(at) && core(at).unasked > 0),
            Move::AskAgain { at, whom } => (at, !core(at).asks[usize::from(whom)].is_empty() && has_room(at, whom)),
            Move::Run(at) => (at, !core(at).runs.is_empty()),
            Move::Die(at) => (at, scene.mortal == Some(at)),
        };
        possible && !core(at).dead
    }

    /// Does what is possible.
    pub(super) fn apply(&mut self, scene: &Scene, step: Move) {
        let mut actions = Vec::new();
        let at = match step {
            Move::Client(client) => self.advance(scene, client, &mut actions),
            Move::TakeReply { at, from } => {
                self.take_reply(scene, at, from, &mut actions);
                at
            }
            Move::Serve { at, from } => {
                self.serve(scene, at, from, &mut actions);
                at
            }
            Move::Grant(at) => {
                self.core(at).desk.grant(&mut actions);
                at
            }
            Move::LendUnasked { at, to } => {
                let core = self.core(at);
                core.unasked -= u8::from(!scene.endless);
                let shard = core.desk.lend_unasked();
                self.core(to).replies[usize::from(at)].push(Parcel::Unasked(shard));
                at
            }
            Move::AskAgain { at, whom } => {
                let loan = self.core(at).asks[usize::from(whom)].remove(0);
                self.core(whom).requests[usize::from(at)].push(Request::Ask(loan));
                at
            }
            Move::Run(at) => {
                self.run(scene, at, &mut actions);
                at
            }
            Move::Die(at) => {
                self.core(at).dead = true;
                at
            }
        };
        self.carry_out(scene, at, actions);
    }

    fn core(&mut self, core: u16) -> &mut Core {
        &mut self.cores[usize::from(core)]
    }

    fn advance(&mut self, scene: &Scene, client: usize, actions: &mut Vec<LoanAction<Token, Work>>) -> u16 {
        let at = scene.scripts[client].0;
        match scene.step(self, client).expect("it has a next step") {
            Step::Command(to) => {
                let core = self.core(at);
                let (number, finished) = (core.sent[usize::from(to)], core.finished[usize::from(to)]);
                core.sent[usize::from(to)] += 1;
                if to == at {
                    execute(core.desk.home_mut().unwrap(), at, number, finished);
                } else {
                    self.core(to).requests[usize::from(at)].push(Request::Command(number, finished));
                }
                self.clients[client].at += 1;
            }
            Step::Loan(cores) => {
                let mut cores: Vec<u16> = cores.iter().map(|&core| scene.name(at, core)).collect();
                cores.sort_unstable();
                let work = Work { client, sent: self.core(at).sent };
                self.clients[client].in_loan = true;
                let desk = &mut self.core(at).desk;
                let work = if scene.joins { desk.join(&cores, work) } else { Err(work) };
                if let Err(work) = work {
                    desk.begin(&cores, work, actions);
                }
            }
        }
        at
    }

    fn take_reply(&mut self, scene: &Scene, at: u16, from: u16, actions: &mut Vec<LoanAction<Token, Work>>) {
        let core = self.core(at);
        match core.replies[usize::from(from)].remove(0) {
            Parcel::Lent(loan, shard) => core.desk.lent(scene.name(at, from), loan, shard, actions),
            Parcel::Back(shard) => core.desk.returned(shard, actions),
            Parcel::Unasked(shard) => self.core(from).replies[usize::from(at)].push(Parcel::Back(shard)),
        }
    }

    fn serve(&mut self, scene: &Scene, at: u16, from: u16, actions: &mut Vec<LoanAction<Token, Work>>) {
        let core = self.core(at);
        match core.requests[usize::from(from)].remove(0) {
            Request::Command(number, finished) => {
                execute(core.desk.home_mut().expect("it is served at home"), from, number, finished);
            }
            Request::Ask(loan) => core.desk.asked(scene.name(at, from), loan, actions),
        }
    }

    /// Runs the loan that has waited longest for it, with everything that a coordinator relies on.
    fn run(&mut self, scene: &Scene, at: u16, actions: &mut Vec<LoanAction<Token, Work>>) {
        let (mut shards, work, joined) = self.core(at).runs.remove(0);
        let Some(Step::Loan(wanted)) = scene.step(self, work.client) else { panic!("it is at a loan") };
        let mut got: Vec<u16> = shards.iter().map(|(_, shard)| shard.core).collect();
        assert!(shards.iter().all(|&(core, shard)| core == scene.name(at, shard.core)), "each by its own name");
        assert!(shards.is_sorted_by(|a, b| a.0 < b.0), "ascending");
        got.sort_unstable();
        assert_eq!(got, wanted, "a loan has the shards that it asked for");
        for (_, shard) in &mut shards {
            let owner = usize::from(shard.core);
            let ran = shard.commands[usize::from(at)];
            assert!(ran >= work.sent[owner], "what was sent before the loan ran before it");
            shard.loans[usize::from(at)] += 1;
            self.core(at).finished[owner] += 1;
        }
        self.end_loan(work.client);
        for (cores, work) in joined {
            let in_hand = |core: &u16| shards.iter().any(|(have, _)| have == core);
            assert!(cores.iter().all(in_hand), "what joins has its shards");
            let Some(Step::Loan(wanted)) = scene.step(self, work.client) else { panic!("it is at a loan") };
            assert_eq!(cores.len(), wanted.len(), "it asks for what it wants");
            self.end_loan(work.client);
        }
        self.core(at).desk.finish(shards, actions);
    }

    fn end_loan(&mut self, client: usize) {
        let client = &mut self.clients[client];
        assert!(client.in_loan, "work runs once");
        *client = Client { at: client.at + 1, in_loan: false };
    }

    fn carry_out(&mut self, scene: &Scene, at: u16, actions: Vec<LoanAction<Token, Work>>) {
        for action in actions {
            match action {
                LoanAction::Ask { core, loan } => {
                    let whom = usize::from(scene.name(at, core));
                    let waits = !self.core(at).asks[whom].is_empty();
                    let lane = &mut self.cores[whom].requests[usize::from(at)];
                    if waits || lane.len() >= scene.capacity {
                        self.core(at).asks[whom].push(loan);
                    } else {
                        lane.push(Request::Ask(loan));
                    }
                }
                LoanAction::Lend { to, loan, shard } => {
                    self.core(scene.name(at, to)).replies[usize::from(at)].push(Parcel::Lent(loan, shard));
                }
                LoanAction::Run { shards, work, joined, .. } => self.core(at).runs.push((shards, work, joined)),
                LoanAction::GiveBack { to, shard } => {
                    self.core(scene.name(at, to)).replies[usize::from(at)].push(Parcel::Back(shard));
                }
            }
        }
    }

    /// Asserts what holds at all times.
    pub(super) fn check(&self) {
        let mut seen = vec![0; self.cores.len()];
        let mut see = |shard: &Token| seen[usize::from(shard.core)] += 1;
        for core in &self.cores {
            let desk = &core.desk;
            desk.home().into_iter().for_each(&mut see);
            desk.gathering.values().flat_map(|loan| &loan.shards).for_each(|(_, shard)| see(shard));
            core.runs.iter().flat_map(|(shards, _, _)| shards).for_each(|(_, shard)| see(shard));
            for parcel in core.replies.iter().flatten() {
                let (Parcel::Lent(_, shard) | Parcel::Back(shard) | Parcel::Unasked(shard)) = parcel;
                see(shard);
            }
            assert_eq!(desk.home().is_some(), desk.place == Place::Home);
            assert_eq!(desk.running.len(), core.runs.len());
        }
        assert!(seen.iter().all(|&count| count == 1), "each shard is in one place: {seen:?}");
    }

    /// Whether everything has run and all shards are at home.
    pub(super) fn is_final(&self, scene: &Scene) -> bool {
        let clients_are_done = (0..self.clients.len()).all(|client| scene.step(self, client).is_none());
        let core_is_quiet = |(at, core): (usize, &Core)| {
            let all_ran = |shard: &Token| (0..self.cores.len()).all(|by| self.has_run(shard, by));
            let is_empty = core.requests.iter().all(Vec::is_empty)
                && core.replies.iter().all(Vec::is_empty)
                && core.asks.iter().all(Vec::is_empty);
            is_empty
                && core.desk.loans() == 0
                && core.desk.home().is_some_and(|s| usize::from(s.core) == at && all_ran(s))
        };
        clients_are_done && self.cores.iter().enumerate().all(core_is_quiet)
    }

    fn has_run(&self, shard: &Token, by: usize) -> bool {
        let (owner, core) = (usize::from(shard.core), &self.cores[by]);
        (shard.commands[by], shard.loans[by]) == (core.sent[owner], core.finished[owner])
    }

    pub(super) fn has_dead(&self) -> bool {
        self.cores.iter().any(|core| core.dead)
    }
}

fn execute(shard: &mut Token, sender: u16, number: u32, finished: u32) {
    let sender = usize::from(sender);
    assert_eq!(shard.commands[sender], number, "commands run in the order in which they were sent");
    assert!(shard.loans[sender] >= finished, "what was sent after a loan runs after it");
    shard.commands[sender] += 1;
}
