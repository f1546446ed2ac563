//! Carries the messages of loans between cores, and runs what was waiting for shards once they are in hand. Who gets
//! which shard when is decided by `slotmesh_shard::Desk`.

use crate::blocking::run_errand;
use crate::client::Wait;
use crate::engine::{Done, Engine, Hands};
use crate::hop::{ReplyKind, RequestKind, ReturnAddress};
use crate::meter::Sender;
use crate::post::{Errand, Freight};
use crate::replication::{Joint, StreamWork};
use slotmesh_command::{Outcome, Spec};
use slotmesh_io::SocketId;
use slotmesh_resp::{Args, Reply};
use slotmesh_shard::{
    Context, Desk, KeptRequests, Letter, LoanAction, Served, Shard, Ticket, Unblock, execute_together, loan_cores,
    serve_called_together,
};
use std::collections::VecDeque;

/// What is done with the shards of a loan.
#[derive(Debug)]
pub(crate) enum Work {
    /// A command whose keys lie on several shards.
    Command { socket: SocketId, ticket: u32, request: KeptRequests },
    /// The transaction of a connection.
    Exec { socket: SocketId, ticket: u32 },
    /// Serve a blocked client that needs several shards at once.
    Serve(Ticket),
    /// Something that is done to our stream.
    Stream(StreamWork),
}

/// A shard that has arrived.
#[derive(Debug)]
pub(crate) enum Arrival {
    Lent { from: u16, loan: u32, shard: Box<Shard> },
    GivenBack { shard: Box<Shard> },
    Called { from: u16, ticket: Ticket, shard: Box<Shard> },
}

/// The loans of one core, and its own shard.
#[derive(Debug)]
pub(crate) struct Lending {
    pub(crate) desk: Desk<Box<Shard>, Work>,
    pub(crate) arrivals: Vec<Arrival>,
    /// Waiters that our shard calls and that have not been sent for, since it is away.
    calls: VecDeque<Ticket>,
    /// Errands to our own shard that wait until it is at home.
    errands: Vec<Errand>,
    /// The core whose request last ended the serving of requests; the next one is served first.
    pub(crate) last_served: usize,
}

impl Lending {
    pub(crate) fn new(core: u16, shard: Option<Box<Shard>>) -> Self {
        Self {
            desk: Desk::new(core, shard),
            arrivals: Vec::new(),
            calls: VecDeque::new(),
            errands: Vec::new(),
            last_served: 0,
        }
    }

    /// Takes our shard out of the house, if it is at home; it comes back by [`Engine::return_home`].
    pub(crate) fn take_home(&mut self) -> Option<Box<Shard>> {
        self.desk.home()?;
        Some(self.desk.lend_unasked())
    }

    /// Our shard, if it is at home.
    #[inline]
    pub(crate) fn home(&mut self) -> Option<&mut Shard> {
        self.desk.home_mut().map(|shard| &mut **shard)
    }
}

impl Engine {
    /// Runs a command whose keys lie on several shards, when they are in hand.
    pub(crate) fn run_loaned(
        &mut self,
        hands: &mut Hands<'_>,
        index: u32,
        spec: &'static Spec,
        args: Args<'_>,
    ) -> Done {
        let cores = loan_cores(spec, args, &self.map);
        let request = KeptRequests::of_one(spec, args);
        let Some((socket, ticket)) = self.raise_barrier(index) else { return Done::Yes };
        self.begin_loan_for(hands, index, &cores, Work::Command { socket, ticket, request });
        Done::Yes
    }

    /// Takes a ticket for a connection whose next requests wait for the reply.
    pub(crate) fn raise_barrier(&mut self, index: u32) -> Option<(SocketId, u32)> {
        let connection = self.connection(index)?;
        let ticket = connection.pipeline.expect_reply();
        connection.stalled = true;
        connection.barrier = Some(ticket);
        Some((connection.socket, ticket))
    }

    /// Takes the shards of these cores, one after the other, and then does the work of a connection, which awaits it
    /// behind its barrier.
    pub(crate) fn begin_loan_for(&mut self, hands: &mut Hands<'_>, index: u32, cores: &[u16], work: Work) {
        // The ticket of the work itself is outstanding; if it is the only one, the work may join others'.
        let is_alone = self.connection(index).is_some_and(|connection| connection.pipeline.waiting() == 1);
        let work = if is_alone { self.lending.desk.join(cores, work) } else { Err(work) };
        if let Err(work) = work {
            self.begin_loan(hands, cores, work);
        }
    }

    /// Takes the shards of these cores, one after the other, and then does the work.
    pub(crate) fn begin_loan(&mut self, hands: &mut Hands<'_>, cores: &[u16], work: Work) {
        // Replies of this turn may tell of what it has done, and it cannot be asked when they are to leave.
        self.publish_own_gain();
        let mut actions = Vec::new();
        self.lending.desk.begin(cores, work, &mut actions);
        self.carry_out(hands, actions);
    }

    /// Lends our shard to a core that asks for it.
    pub(crate) fn lend(&mut self, hands: &mut Hands<'_>, by: u16, loan: u32) {
        self.lending.last_served = usize::from(by);
        // Replies of this turn may tell of what it has done, and it cannot be asked when they are to leave.
        self.publish_own_gain();
        let mut actions = Vec::new();
        self.lending.desk.asked(by, loan, &mut actions);
        self.carry_out(hands, actions);
    }

    /// Loans of our own that have waited for our shard.
    pub(crate) fn grant_loans(&mut self, hands: &mut Hands<'_>) {
        // Replies of this turn may tell of what it has done, and it cannot be asked when they are to leave.
        self.publish_own_gain();
        let mut actions = Vec::new();
        self.lending.desk.grant(&mut actions);
        self.carry_out(hands, actions);
    }

    fn carry_out(&mut self, hands: &mut Hands<'_>, actions: Vec<LoanAction<Box<Shard>, Work>>) {
        let mut actions = VecDeque::from(actions);
        while let Some(action) = actions.pop_front() {
            match action {
                LoanAction::Ask { core, loan } => {
                    let back = ReturnAddress::number(loan);
                    let errand = Errand { core, kind: RequestKind::Ask, back, words: Vec::new() };
                    self.post.run(hands.mail, errand);
                }
                LoanAction::Lend { to, loan, shard } => {
                    let back = ReturnAddress::number(loan);
                    self.post.send(hands.mail, to, ReplyKind::Lent, back, Freight::Shard(shard));
                }
                LoanAction::GiveBack { to, shard } => self.give_back(hands, to, shard),
                LoanAction::Run { mut shards, work, joined, .. } => {
                    // Whatever request has led here, a bug would be none of its own, and lose the shards.
                    self.running = None;
                    self.do_work(hands, &mut shards, None, work);
                    let mut joined = joined.into_iter();
                    self.look_at_clock();
                    // Whom a shard calls comes before all others, and can be served only when the shards are back. And a
                    // turn that has lasted long takes up nothing more.
                    while !self.is_late
                        && !shards.iter().any(|(_, shard)| shard.has_letters())
                        && let Some((cores, work)) = joined.next()
                    {
                        self.do_work(hands, &mut shards, Some(&cores), work);
                        self.look_at_clock();
                    }
                    let has_ours = shards.iter().any(|&(core, _)| core == self.core);
                    let mut more = Vec::new();
                    self.lending.desk.finish(shards, &mut more);
                    actions.extend(more.drain(..));
                    // What our shard has to say comes before a loan may take it again.
                    if has_ours {
                        self.post_letters(hands);
                    }
                    for (cores, work) in joined {
                        if let Err(work) = self.lending.desk.join(&cores, work) {
                            self.lending.desk.begin(&cores, work, &mut more);
                        }
                    }
                    actions.extend(more);
                }
            }
        }
    }

    fn give_back(&mut self, hands: &mut Hands<'_>, to: u16, shard: Box<Shard>) {
        self.post.send(hands.mail, to, ReplyKind::GivenBack, ReturnAddress::number(0), Freight::Shard(shard));
    }

    /// Deals with the shards that have arrived.
    pub(crate) fn take_arrivals(&mut self, hands: &mut Hands<'_>) {
        self.read_replication_mail(hands);
        for arrival in std::mem::take(&mut self.lending.arrivals) {
            match arrival {
                Arrival::Lent { from, loan, shard } => {
                    let mut actions = Vec::new();
                    self.lending.desk.lent(from, loan, shard, &mut actions);
                    self.carry_out(hands, actions);
                }
                Arrival::GivenBack { shard } => self.return_home(hands, shard),
                Arrival::Called { from, ticket, mut shard } => {
                    self.serve_called(hands, &mut shard, from, ticket);
                    self.give_back(hands, from, shard);
                }
            }
        }
    }

    /// Our shard is back. Before anybody else gets it, what was to be said to it is said, and those are served whom it
    /// calls.
    pub(crate) fn return_home(&mut self, hands: &mut Hands<'_>, mut shard: Box<Shard>) {
        // A bug in here would lose the shard: it is not to be laid at the door of a request.
        self.running = None;
        self.refresh_standing();
        for errand in std::mem::take(&mut self.lending.errands) {
            self.run_own_errand(&mut shard, &errand);
        }
        self.process.durability.publish(self.core, &shard, self.promises);
        loop {
            self.deliver_letters(hands, &mut shard);
            let Some(ticket) = self.lending.calls.pop_front() else { break };
            if ticket.core == self.core {
                self.serve_called(hands, &mut shard, self.core, ticket);
            } else {
                // It goes on, and comes back here.
                let back = ReturnAddress::of_ticket(ticket);
                return self.post.send(hands.mail, ticket.core, ReplyKind::Called, back, Freight::Shard(shard));
            }
        }
        let mut actions = Vec::new();
        self.lending.desk.returned(shard, &mut actions);
        self.shard_used = true;
        self.has_released = true;
        self.carry_out(hands, actions);
    }

    /// Looks after our shard once somebody here has worked on it: it may have something to say.
    #[cold]
    pub(crate) fn post_letters(&mut self, hands: &mut Hands<'_>) {
        if let Some(shard) = self.lending.take_home() {
            self.return_home(hands, shard);
        }
    }

    /// Delivers the letters of our shard, and takes down whom it calls.
    fn deliver_letters(&mut self, hands: &mut Hands<'_>, shard: &mut Shard) {
        for letter in shard.take_letters() {
            match letter {
                Letter::Call(ticket) => self.lending.calls.push_back(ticket),
                Letter::Stale { to, what, origin } => self.deliver_stale(hands, to, what, origin),
                Letter::Reply { to, served } => {
                    let back = ReturnAddress::of_ticket(to);
                    self.count_served(to, &served);
                    if to.core == self.core {
                        self.hand_over(hands.sockets, back, &served.reply);
                    } else {
                        self.post.send(hands.mail, to.core, ReplyKind::Late, back, Freight::Bytes(served.reply));
                    }
                }
            }
        }
    }

    /// Counts a command that had waited.
    fn count_served(&mut self, to: Ticket, served: &Served) {
        let Some(request) = served.request.next() else { return };
        let Some(spec) = request.spec else { return };
        let socket = ReturnAddress::of_ticket(to).socket;
        let ours = self.connections.get(socket.index as usize).and_then(Option::as_deref);
        let sender = match ours.filter(|connection| to.core == self.core && connection.socket == socket) {
            Some(connection) => Sender::Ours(&connection.client),
            None => Sender::Of(to.core, socket),
        };
        self.meter.end_wait_of(spec, served.request.args(request), &served.reply, sender);
    }

    /// Serves a client of ours that the shard of core `from` has called, if it still waits.
    fn serve_called(&mut self, hands: &mut Hands<'_>, shard: &mut Shard, from: u16, ticket: Ticket) {
        let (now, limits) = (self.now, self.hot_limits());
        let Some(wait) = self.waiting(ticket) else {
            return shard.unblock(ticket, Unblock::Silently, now, limits);
        };
        if !wait.together.is_empty() {
            let cores = wait.together.clone();
            // The shard that calls goes back first: shards are taken in ascending order.
            return self.begin_loan(hands, &cores, Work::Serve(ticket));
        }
        let served = shard.serve_called(ticket, now, limits);
        self.process.durability.publish(from, shard, self.promises);
        if let Some(served) = served {
            self.count_served(ticket, &served);
            self.end_shared_wait(hands, ticket, &[from]);
            self.hand_over(hands.sockets, ReturnAddress::of_ticket(ticket), &served.reply);
        }
    }

    /// The wait of a client of ours, if that ticket still waits.
    fn waiting(&mut self, ticket: Ticket) -> Option<&Wait> {
        let connection = self.connection(ticket.connection)?;
        let is_same = connection.socket.generation == ticket.generation && connection.barrier == Some(ticket.number);
        connection.wait.as_deref().filter(|_| is_same)
    }

    /// Does some work with the shards of a loan, or those of them that it asked for.
    fn do_work(&mut self, hands: &mut Hands<'_>, shards: &mut [(u16, Box<Shard>)], cores: Option<&[u16]>, work: Work) {
        let asked_for = shards.iter_mut().filter(|(core, _)| cores.is_none_or(|cores| cores.contains(core)));
        self.meter.begin();
        let (cores, mut in_hand): (Vec<u16>, Vec<&mut Shard>) =
            asked_for.map(|(core, shard)| (*core, &mut **shard)).unzip();
        // Another core may have become a replica's since the work was admitted.
        self.refresh_standing();
        self.publish_gain(&cores, &in_hand);
        let mut joint = Joint::begin(&mut in_hand, &work);
        match work {
            Work::Command { socket, ticket, request } => {
                self.run_in_hand(hands, &mut in_hand, socket, ticket, &request);
            }
            Work::Exec { socket, ticket } => {
                let (mut reply, mut questions) = (Vec::new(), Vec::new());
                let back = ReturnAddress { socket, ticket, part: 0 };
                if self.is_behind_barrier(socket, ticket) {
                    if !self.refuse_stale_exec(hands, socket.index, &mut reply) {
                        questions = self.exec_in_hand(hands.sockets, socket.index, &mut in_hand, &mut reply);
                    }
                    match questions.is_empty() {
                        true => self.hand_over(hands.sockets, back, &reply),
                        false => self.ask_questions(hands, back, reply, questions),
                    }
                    self.tell_said(hands, socket.index);
                }
            }
            Work::Serve(ticket) => {
                let (now, limits) = (self.now, self.hot_limits());
                let is_waiting = self.waiting(ticket).is_some();
                let served = is_waiting.then(|| serve_called_together(&mut in_hand, ticket, now, limits)).flatten();
                if let Some(served) = served {
                    self.count_served(ticket, &served);
                    self.end_shared_wait(hands, ticket, &cores);
                    self.hand_over(hands.sockets, ReturnAddress::of_ticket(ticket), &served.reply);
                }
            }
            Work::Stream(work) => self.work_on_stream(hands, &mut in_hand, &mut joint, work),
        }
        self.hand_in(hands, &cores, &mut in_hand, joint);
        self.publish_gain(&cores, &in_hand);
    }

    /// Tells what shards in hand have begun, before anybody hears of it.
    fn publish_gain(&self, cores: &[u16], shards: &[&mut Shard]) {
        for (&core, shard) in cores.iter().zip(shards) {
            self.process.durability.publish(core, shard, self.promises);
        }
    }

    /// Whether a connection is still there, and waits for that ticket. A client that has left before its command had its
    /// shards has asked for nothing.
    fn is_behind_barrier(&mut self, socket: SocketId, ticket: u32) -> bool {
        self.connection(socket.index)
            .is_some_and(|connection| connection.socket == socket && connection.barrier == Some(ticket))
    }

    fn run_in_hand(
        &mut self,
        hands: &mut Hands<'_>,
        shards: &mut [&mut Shard],
        socket: SocketId,
        ticket: u32,
        request: &KeptRequests,
    ) {
        if !self.is_behind_barrier(socket, ticket) {
            return;
        }
        let (now, limits) = (self.now, self.hot_limits());
        let Some(connection) = self.connection(socket.index) else { return };
        let (db, protocol) = (connection.client.db, connection.client.protocol);
        let Some(kept) = request.next() else { return };
        let Some(spec) = kept.spec else { return };
        let args = request.args(kept);
        let context = Context {
            db,
            protocol,
            now,
            first_key: None,
            limits,
            partial: false,
            is_node: false,
            may_block: true,
            tracked: connection.client.tracked(),
        };
        let back = ReturnAddress { socket, ticket, part: 0 };
        let mut reply = Vec::new();
        if let Some(error) = self.standing_for(socket.index, Some((spec, args))).refusal_of_write(spec) {
            Reply::new(&mut reply, protocol).error(error);
            return self.hand_over(hands.sockets, back, &reply);
        }
        match execute_together(shards, spec, args, &context, &mut reply) {
            Outcome::Replied => {
                if let Some(connection) = self.connections[socket.index as usize].as_deref() {
                    self.meter.end(spec, args, Sender::Ours(&connection.client));
                    if reply.first() == Some(&b'-') {
                        self.meter.note_failed(spec);
                    }
                }
                self.hand_over(hands.sockets, back, &reply);
            }
            Outcome::Blocks(wait) => {
                for shard in shards {
                    shard.block(back.to_ticket(self.core), spec, args, &context, &wait, true);
                }
                self.wait_on_several(hands.sockets, socket.index, spec, args, &wait);
            }
        }
    }

    /// Takes a wait of several shards out of all lines but those of `served`, whose shards know.
    fn end_shared_wait(&mut self, hands: &mut Hands<'_>, ticket: Ticket, served: &[u16]) {
        let Some(wait) = self.forget_wait(ticket.connection) else { return };
        for core in wait.cores.into_iter().filter(|core| !served.contains(core)) {
            self.send_unblock(hands, core, ReturnAddress::of_ticket(ticket), Unblock::Silently);
        }
    }

    /// Sends an errand, or runs it at home.
    pub(crate) fn send_errand(&mut self, hands: &mut Hands<'_>, errand: Errand) {
        if errand.core != self.core {
            return self.post.run(hands.mail, errand);
        }
        self.lending.errands.push(errand);
        self.post_letters(hands);
    }

    fn run_own_errand(&self, shard: &mut Shard, errand: &Errand) {
        let words: Vec<&[u8]> = errand.words.iter().map(Vec::as_slice).collect();
        run_errand(shard, (self.now, self.hot_limits()), self.core, (errand.kind, errand.back), &words);
    }
}
