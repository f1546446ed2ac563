//! Links between the shards of a process: messages go by the mailboxes of their cores.
//!
//! A core that hangs does not read its mail. What the others have for it then is bounded: some letters lie in its mailbox,
//! messages wait here until those of a link are more than a link may hold, which ends it, and of what a shard tells all
//! its siblings only the newest is kept.

use crate::hop::{self, Parcel};
use crate::scatter::announce_parcel;
use slotmesh_base::UnixMillis;
use slotmesh_base::limits::{SIBLING_LETTERS_MAX, SIBLING_LINK_BYTES_MAX};
use slotmesh_cluster::machine::LinkId;
use slotmesh_cluster::{Host, NodeId};
use slotmesh_io::{Lane, Mail};
use std::collections::{BTreeMap, VecDeque};

/// A link between siblings, as a letter speaks of it: it has the name that the one gave it who dialled it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum SiblingLink {
    /// The sender of the letter has dialled it.
    OfSender(LinkId),
    /// The receiver has.
    OfReceiver(LinkId),
}

/// What one shard's bus says to another's.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum SiblingMail {
    /// A link of the sender's to us.
    Open(LinkId),
    /// A message.
    Frame(SiblingLink, Vec<u8>),
    /// The link is no more.
    Close(SiblingLink),
    /// Nodes that have answered the sender, and when.
    Heard(Vec<(NodeId, UnixMillis)>),
    /// The address of the host.
    Host(Host),
    /// The sender's name from now on.
    Id(NodeId),
}

/// Mail for one sibling that has found no room yet.
#[derive(Debug, Default)]
struct Line {
    /// What is said on links.
    letters: VecDeque<SiblingMail>,
    /// Bytes of the messages among them.
    bytes: usize,
    /// What the sibling shall know, sent behind the letters.
    heard: BTreeMap<NodeId, UnixMillis>,
    host: Option<Host>,
    id: Option<NodeId>,
}

impl Line {
    fn waits(&self) -> bool {
        !self.letters.is_empty() || !self.heard.is_empty() || self.host.is_some() || self.id.is_some()
    }

    fn next(&mut self) -> Option<SiblingMail> {
        if let Some(letter) = self.letters.pop_front() {
            self.bytes -= frame_len(&letter);
            return Some(letter);
        }
        if let Some(id) = self.id.take() {
            return Some(SiblingMail::Id(id));
        }
        if let Some(host) = self.host.take() {
            return Some(SiblingMail::Host(host));
        }
        let heard = std::mem::take(&mut self.heard);
        (!heard.is_empty()).then(|| SiblingMail::Heard(heard.into_iter().collect()))
    }

    /// The links whose messages take more than so many bytes.
    fn overflown(&self, limit: usize) -> Vec<SiblingLink> {
        let mut bytes = BTreeMap::<SiblingLink, usize>::new();
        for letter in &self.letters {
            if let SiblingMail::Frame(link, frame) = letter {
                *bytes.entry(*link).or_default() += frame.len();
            }
        }
        bytes.into_iter().filter(|&(_, bytes)| bytes > limit).map(|(link, _)| link).collect()
    }
}

fn frame_len(letter: &SiblingMail) -> usize {
    if let SiblingMail::Frame(_, frame) = letter { frame.len() } else { 0 }
}

/// Mail that has found no room yet, by core.
#[derive(Debug, Default)]
pub(crate) struct Outbox(BTreeMap<u16, Line>);

impl Outbox {
    fn line(&mut self, core: u16) -> &mut Line {
        self.0.entry(core).or_default()
    }

    /// Dials.
    pub(super) fn open(&mut self, core: u16, link: LinkId) {
        self.line(core).letters.push_back(SiblingMail::Open(link));
    }

    /// Says something on a link.
    pub(super) fn frame(&mut self, core: u16, link: SiblingLink, frame: Vec<u8>) {
        let line = self.line(core);
        line.bytes += frame.len();
        line.letters.push_back(SiblingMail::Frame(link, frame));
    }

    /// Closes a link; what waits on it is lost. Of one that has not been dialled yet nothing is left.
    pub(super) fn close(&mut self, core: u16, link: SiblingLink) {
        let line = self.line(core);
        let mut was_dialled = true;
        line.letters.retain(|letter| {
            let is_of_it = match letter {
                SiblingMail::Open(own) => SiblingLink::OfSender(*own) == link,
                SiblingMail::Frame(own, _) | SiblingMail::Close(own) => *own == link,
                SiblingMail::Heard(_) | SiblingMail::Host(_) | SiblingMail::Id(_) => false,
            };
            was_dialled &= !(is_of_it && matches!(letter, SiblingMail::Open(_)));
            !is_of_it
        });
        line.bytes = line.letters.iter().map(frame_len).sum();
        if was_dialled {
            line.letters.push_back(SiblingMail::Close(link));
        }
    }

    /// Tells who has answered us.
    pub(super) fn heard(&mut self, core: u16, heard: &[(NodeId, UnixMillis)]) {
        self.line(core).heard.extend(heard.iter().copied());
    }

    /// Tells the address of the host.
    pub(super) fn host(&mut self, core: u16, host: Host) {
        self.line(core).host = Some(host);
    }

    /// Tells our name.
    pub(super) fn id(&mut self, core: u16, id: NodeId) {
        self.line(core).id = Some(id);
    }

    pub(super) fn waits(&self) -> bool {
        self.0.values().any(Line::waits)
    }

    /// The links on which more waits than `limit` bytes (`cluster-link-sendbuf-limit`; 0 for none of the operator's), and
    /// the cores of their other ends.
    pub(super) fn overflown(&self, limit: u64) -> Vec<(u16, SiblingLink)> {
        let limit = if limit == 0 { SIBLING_LINK_BYTES_MAX } else { (limit as usize).min(SIBLING_LINK_BYTES_MAX) };
        let of_line = |(&core, line): (&u16, &Line)| {
            let links = if line.bytes > limit { line.overflown(limit) } else { Vec::new() };
            links.into_iter().map(move |link| (core, link))
        };
        self.0.iter().flat_map(of_line).collect()
    }

    /// Sends what there is room for, in order for each core.
    pub(super) fn send(&mut self, mail: &mut Mail<Parcel>) {
        let announcement = hop::request_len(std::iter::empty());
        for (&core, line) in self.0.iter_mut().filter(|(_, line)| line.waits()) {
            let core = usize::from(core);
            let mut unread = mail.unread_parcels(core, Lane::Requests);
            while unread < SIBLING_LETTERS_MAX && mail.has_room(core, Lane::Requests, 1, announcement) {
                let Some(letter) = line.next() else { break };
                mail.put_parcel(core, Lane::Requests, Parcel::Bus(Box::new(letter)));
                announce_parcel(mail, core);
                unread += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slotmesh_io::mesh;

    const LINK: SiblingLink = SiblingLink::OfSender(LinkId::accepted(1));
    const OTHER: SiblingLink = SiblingLink::OfReceiver(LinkId::accepted(1));

    fn id(digit: u64) -> NodeId {
        NodeId::of_random([digit; 3])
    }

    /// What the reader finds; it takes `count` letters.
    fn read(mail: &mut Mail<Parcel>, count: usize) -> Vec<SiblingMail> {
        let letter = |mail: &mut Mail<Parcel>| {
            mail.receive_batch::<1, _>(0, Lane::Requests, |_, parcel| match parcel() {
                Parcel::Bus(letter) => (1, *letter),
                other => panic!("{other:?}"),
            })
        };
        (0..count).map_while(|_| letter(mail)).collect()
    }

    #[test]
    fn mail_for_a_core_that_does_not_read_is_bounded() {
        let mut mails = mesh::<Parcel>(2);
        let (mut theirs, mut ours) = (mails.pop().unwrap(), mails.pop().unwrap());
        let mut outbox = Outbox::default();
        let frame = vec![7; 3000];
        let SiblingLink::OfSender(link) = LINK else { unreachable!("it is ours") };
        outbox.open(1, link);
        let mut said = 0;
        while outbox.overflown(0).is_empty() {
            said += 1;
            outbox.frame(1, LINK, frame.clone());
            outbox.heard(1, &[(id(1), UnixMillis(said))]);
            outbox.send(&mut ours);
        }
        assert_eq!(ours.unread_parcels(1, Lane::Requests), SIBLING_LETTERS_MAX);
        let waiting = outbox.0[&1].bytes;
        assert!(waiting <= SIBLING_LINK_BYTES_MAX + frame.len(), "{waiting}");
        assert_eq!(outbox.overflown(0), [(1, LINK)]);
        outbox.close(1, LINK);
        assert_eq!((outbox.0[&1].bytes, outbox.0[&1].letters.len()), (0, 1));
        // Links that come and go unread leave nothing.
        for number in 2..1000 {
            let link = LinkId::accepted(number);
            outbox.open(1, link);
            outbox.frame(1, SiblingLink::OfSender(link), frame.clone());
            outbox.send(&mut ours);
            outbox.close(1, SiblingLink::OfSender(link));
        }
        assert_eq!((outbox.0[&1].bytes, outbox.0[&1].letters.len()), (0, 1));
        // Then it reads: what was sent, then the end of the link, and the newest of what it shall know.
        ours.publish_awake();
        let letters = read(&mut theirs, SIBLING_LETTERS_MAX);
        let is_right = |letter: &SiblingMail| match letter {
            SiblingMail::Frame(own, text) => (own, text) == (&LINK, &frame),
            letter => matches!(letter, SiblingMail::Heard(_)),
        };
        assert!(letters[0] == SiblingMail::Open(link) && letters[1..].iter().all(is_right));
        outbox.send(&mut ours);
        ours.publish_awake();
        let rest = read(&mut theirs, 3);
        assert_eq!(rest, [SiblingMail::Close(LINK), SiblingMail::Heard(vec![(id(1), UnixMillis(said))])]);
        assert!(!outbox.waits());
    }

    #[test]
    fn each_link_is_measured_by_itself_and_the_operator_may_want_less() {
        let mut outbox = Outbox::default();
        outbox.frame(1, LINK, vec![0; 700]);
        outbox.frame(1, OTHER, vec![0; 500]);
        assert_eq!(outbox.overflown(600), [(1, LINK)]);
        assert_eq!(outbox.overflown(1100), []);
        assert_eq!(outbox.overflown(0), []);
        // Close of a link that the other has dialled is told.
        outbox.close(1, OTHER);
        assert_eq!(outbox.0[&1].letters.back(), Some(&SiblingMail::Close(OTHER)));
        assert_eq!(outbox.0[&1].bytes, 700);
    }

    #[test]
    fn of_what_a_sibling_shall_know_the_newest_is_sent() {
        let mut mails = mesh::<Parcel>(2);
        let (mut theirs, mut ours) = (mails.pop().unwrap(), mails.pop().unwrap());
        let mut outbox = Outbox::default();
        for number in 0..5 {
            outbox.id(1, id(number));
            outbox.host(1, Host::parse(format!("10.0.0.{number}").as_bytes()).unwrap());
            outbox.heard(1, &[(id(number % 2), UnixMillis(number as i64))]);
        }
        outbox.send(&mut ours);
        ours.publish_awake();
        let heard = [(id(0), UnixMillis(4)), (id(1), UnixMillis(3))];
        assert_eq!(
            read(&mut theirs, 9),
            [
                SiblingMail::Id(id(4)),
                SiblingMail::Host(Host::parse(b"10.0.0.4").unwrap()),
                SiblingMail::Heard(heard.to_vec()),
            ]
        );
    }
}
