//! How many replicas have what a client has written to nodes of other hosts (WAIT).
//!
//! A node answers WAIT about what the same connection has written. Over a link that clients share it would hold up the
//! others, and over one of its own it would be about nothing. So INFO is asked, which holds up nobody: first where the
//! stream of a master ends, which is behind all that its client was told to be done, then how far its replicas are, until
//! enough of them are there. So that they say it soon and not once a second only, the master gets one WAIT that cannot
//! succeed, over a link of its own: it asks them then.

use slotmesh_base::{Monotonic, Slot};
use slotmesh_resp::parse_integer;

/// Time between two questions to a node, in nanoseconds.
const REST_NANOS: u64 = 10_000_000;

/// What a client that waits for replicas knows of those of each master.
#[derive(Debug)]
pub struct ReplicaPoll {
    wanted: usize,
    /// When its time is over.
    until: Option<Monotonic>,
    /// Masters of other hosts.
    masters: Vec<MasterPoll>,
    /// What each shard of this process has said.
    ours: Vec<Option<usize>>,
}

/// A master that is asked.
#[derive(Debug)]
struct MasterPoll {
    /// One of its slots.
    slot: Slot,
    /// The stream that the client has written to, and where it ended then.
    goal: Option<(Vec<u8>, u64)>,
    /// Replicas that were there when it last answered.
    count: usize,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// It is asked next at that instant.
    Rests(Monotonic),
    /// It owes an answer.
    Asked,
    /// Enough replicas are there.
    Done,
    /// It is another one by now, or is not reached: what was written may be lost.
    Lost,
}

/// What INFO says.
struct Info<'a> {
    stream: &'a [u8],
    offset: u64,
    /// How far the replicas are that follow.
    replicas: Vec<u64>,
}

impl ReplicaPoll {
    /// Of the masters that have these slots, and of so many shards of this process.
    pub fn new(wanted: usize, until: Option<Monotonic>, slots: impl Iterator<Item = Slot>, ours: usize) -> Self {
        let phase = Phase::Rests(Monotonic(0));
        let masters = slots.map(|slot| MasterPoll { slot, goal: None, count: 0, phase }).collect();
        Self { wanted, until, masters, ours: vec![None; ours] }
    }

    /// The masters that are to be asked now, by number and slot: each owes an answer from now on.
    pub fn take_due(&mut self, now: Monotonic) -> Vec<(usize, Slot)> {
        let is_due = |master: &MasterPoll| matches!(master.phase, Phase::Rests(at) if at <= now);
        let due = self.masters.iter_mut().enumerate().filter(|(_, master)| is_due(master));
        due.map(|(number, master)| {
            master.phase = Phase::Asked;
            (number, master.slot)
        })
        .collect()
    }

    /// A master could not be asked just now.
    pub fn postpone(&mut self, number: usize, now: Monotonic) {
        self.masters[number].phase = Phase::Rests(Monotonic(now.0 + REST_NANOS));
    }

    /// Takes a master's answer to `INFO replication` (RESP2). Gives its slot if it is to ask its replicas.
    pub fn note_info(&mut self, number: usize, reply: &[u8], now: Monotonic) -> Option<Slot> {
        let master = self.masters.get_mut(number)?;
        let Some(info) = Info::read(reply) else {
            master.phase = Phase::Lost;
            return None;
        };
        let is_first = master.goal.is_none();
        let (stream, goal) = master.goal.get_or_insert_with(|| (info.stream.to_vec(), info.offset));
        if *stream != info.stream || info.offset < *goal {
            master.phase = Phase::Lost;
            return None;
        }
        master.count = info.replicas.iter().filter(|&offset| offset >= goal).count();
        let is_enough = master.count >= self.wanted;
        master.phase = if is_enough { Phase::Done } else { Phase::Rests(Monotonic(now.0 + REST_NANOS)) };
        (is_first && !is_enough).then_some(master.slot)
    }

    /// Takes what a shard of this process says at the end of its wait.
    pub fn note_ours(&mut self, number: usize, count: usize) {
        if let Some(ours) = self.ours.get_mut(number) {
            *ours = Some(count);
        }
    }

    /// The answer, if the wait is over: at least so many replicas of each master have all that was written.
    pub fn outcome(&self, now: Monotonic) -> Option<usize> {
        let is_late = self.until.is_some_and(|until| until <= now);
        (is_late || self.is_settled()).then(|| self.count())
    }

    fn is_settled(&self) -> bool {
        let is_whole = self.masters.iter().all(|master| master.phase == Phase::Done) && !self.ours.contains(&None);
        is_whole || self.is_lost()
    }

    /// How many it is as far as is known.
    pub fn count(&self) -> usize {
        let of = |master: &MasterPoll| if master.phase == Phase::Lost { 0 } else { master.count };
        let ours = self.ours.iter().map(|count| count.unwrap_or(0));
        self.masters.iter().map(of).chain(ours).min().unwrap_or(0)
    }

    /// Whether what was written may be lost with its master.
    pub fn is_lost(&self) -> bool {
        self.masters.iter().any(|master| master.phase == Phase::Lost)
    }

    /// When there is something to do at the latest.
    pub fn deadline(&self) -> Monotonic {
        if self.is_settled() {
            return Monotonic(0);
        }
        let rests = self.masters.iter().filter_map(|master| match master.phase {
            Phase::Rests(at) => Some(at),
            Phase::Asked | Phase::Done | Phase::Lost => None,
        });
        rests.chain(self.until).min().unwrap_or(Monotonic(u64::MAX))
    }
}

impl<'a> Info<'a> {
    /// Reads the reply of a master.
    fn read(reply: &'a [u8]) -> Option<Self> {
        let fields = || {
            reply.split(|&byte| byte == b'\n').filter_map(|line| {
                let colon = line.iter().position(|&byte| byte == b':')?;
                Some((&line[..colon], line[colon + 1..].trim_ascii_end()))
            })
        };
        let field = |name: &[u8]| fields().find(|(known, _)| *known == name).map(|(_, value)| value);
        let number = |text: &[u8]| u64::try_from(parse_integer(text)?).ok();
        if !reply.starts_with(b"$") || field(b"role")? != b"master" {
            return None;
        }
        let replicas = fields().filter(|(name, _)| {
            name.strip_prefix(b"slave")
                .is_some_and(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit))
        });
        let offset_of = |line: &[u8]| {
            let part = |name: &[u8]| line.split(|&byte| byte == b',').find_map(|part| part.strip_prefix(name));
            (part(b"state=")? == b"online").then(|| number(part(b"offset=")?)).flatten()
        };
        Some(Self {
            stream: field(b"master_replid")?,
            offset: number(field(b"master_repl_offset")?)?,
            replicas: replicas.filter_map(|(_, line)| offset_of(line)).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "0123456789abcdef";

    /// What a master says at an offset, with replicas that are so far.
    fn info(stream: &str, offset: u64, replicas: &[u64]) -> Vec<u8> {
        let mut text = format!("# Replication\r\nrole:master\r\nconnected_slaves:{}\r\n", replicas.len());
        for (number, offset) in replicas.iter().enumerate() {
            text += &format!("slave{number}:ip=::1,port=7,state=online,offset={offset},lag=0\r\n");
        }
        text += "slave9:ip=::1,port=8,state=wait_bgsave,offset=999999,lag=0\r\n";
        text += &format!("master_replid:{stream}\r\nmaster_repl_offset:{offset}\r\n");
        format!("${}\r\n{text}\r\n", text.len()).into_bytes()
    }

    fn poll(wanted: usize, masters: u16, ours: usize) -> ReplicaPoll {
        let mut poll =
            ReplicaPoll::new(wanted, Some(Monotonic(1_000_000_000)), (0..masters).map_while(Slot::new), ours);
        assert_eq!(poll.take_due(Monotonic(1)).len(), usize::from(masters));
        poll
    }

    #[test]
    fn enough_replicas_of_each_master_have_what_was_written() {
        let mut poll = poll(2, 2, 1);
        let now = Monotonic(2);
        assert_eq!(poll.note_info(0, &info(STREAM, 100, &[100, 120]), now), None);
        assert_eq!(poll.note_info(1, &info(STREAM, 50, &[50, 49]), now), Slot::new(1), "it asks its replicas");
        assert_eq!((poll.outcome(now), poll.take_due(now)), (None, Vec::new()));
        let now = Monotonic(REST_NANOS + 2);
        assert_eq!(poll.take_due(now), [(1, Slot::new(1).unwrap())]);
        // What has been written since by others is not waited for.
        assert_eq!(poll.note_info(1, &info(STREAM, 90, &[70, 50, 49]), now), None);
        assert_eq!(poll.outcome(now), None, "ours");
        poll.note_ours(0, 3);
        assert_eq!(poll.outcome(now), Some(2));
    }

    #[test]
    fn at_the_end_of_its_time_it_counts_what_is_there() {
        let mut poll = poll(2, 2, 0);
        poll.note_info(0, &info(STREAM, 100, &[100, 99]), Monotonic(2));
        assert_eq!(poll.outcome(Monotonic(1_000_000_000)), Some(0), "one has not said anything");
        poll.note_info(1, &info(STREAM, 100, &[100, 100, 100]), Monotonic(2));
        assert_eq!(poll.outcome(Monotonic(3)), None);
        assert_eq!(poll.outcome(Monotonic(1_000_000_000)), Some(1));
    }

    #[test]
    fn a_master_that_is_another_one_has_nothing() {
        let replica = b"$30\r\n# Replication\r\nrole:slave\r\n...\r\n".to_vec();
        let nobody = b"-CLUSTERDOWN The node that has the slot was not reached in time\r\n".to_vec();
        for answer in [info("other", 100, &[100]), info(STREAM, 99, &[99]), replica, nobody] {
            let mut poll = poll(1, 1, 0);
            poll.note_info(0, &info(STREAM, 100, &[1]), Monotonic(2));
            poll.note_info(0, &answer, Monotonic(3));
            assert_eq!((poll.outcome(Monotonic(4)), poll.is_lost()), (Some(0), true));
        }
    }
}
