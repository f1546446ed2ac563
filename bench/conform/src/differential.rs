//! The same steps to two servers; where their replies differ; the shortest sequence that shows it.

use crate::{Comparison, Connection, FailsAt, Served, request, show, shrink};
use slotmesh_base::Rng;
use slotmesh_resp::elements;
use std::fmt;
use std::io::{self, Error, ErrorKind};

/// How a sequence is cut into pipelines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Batches {
    /// Draws the sizes.
    pub seed: u64,
    /// Most requests that are sent before their replies are read.
    pub max: u64,
}

/// One step of a sequence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// One request.
    Command(Vec<Vec<u8>>),
    /// A whole iteration of SCAN with these options; what counts is the set of keys.
    ScanAll(Vec<Vec<u8>>),
    /// RANDOMKEY; what counts is whether the key exists.
    RandomKey,
}

impl Step {
    /// The request that the rules of `difference.rs` are asked about.
    fn args(&self) -> &[Vec<u8>] {
        match self {
            Self::Command(args) => args,
            Self::ScanAll(_) | Self::RandomKey => &[],
        }
    }

    /// The requests that it comes to where they are queued, not executed.
    fn queued(&self) -> Vec<Vec<Vec<u8>>> {
        let words = |line: &str| line.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
        match self {
            Self::Command(args) => vec![args.clone()],
            Self::ScanAll(options) => vec![[words("SCAN 0"), options.clone()].concat()],
            Self::RandomKey => vec![words("RANDOMKEY"), words("KEYS *")],
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, args) = match self {
            Self::Command(args) => ("", args.as_slice()),
            Self::ScanAll(args) => ("(whole iteration) SCAN", args.as_slice()),
            Self::RandomKey => ("(membership) RANDOMKEY", [].as_slice()),
        };
        f.write_str(name)?;
        args.iter().try_for_each(|arg| write!(f, " \"{}\"", show(arg)))
    }
}

/// Where two servers differ.
pub struct Failure {
    /// Index of the step.
    pub at: usize,
    /// The oracle's reply.
    pub expected: Vec<u8>,
    /// Ours.
    pub got: Vec<u8>,
}

impl FailsAt for Failure {
    fn at(&self) -> usize {
        self.at
    }
}

/// Runs `steps` against both servers, from an empty store on new connections, pipelined in random batches (one by
/// one if `batches` is nothing), after the `opening` requests; the first difference, if any.
///
/// Where a server closes the connection, the rest of the batch counts as answered by that, and a new one is made.
///
/// # Panics
/// If a server is silent.
pub fn find_failure(
    oracle: &dyn Served,
    ours: &dyn Served,
    opening: &[Vec<u8>],
    steps: &[Step],
    batches: Option<Batches>,
) -> Option<Failure> {
    let mut sides = [oracle, ours].map(|server| Side::new(server, opening));
    let mut comparison = Comparison::default();
    let mut rng = batches.map(|batches| (Rng::new(batches.seed), batches.max));
    let mut at = 0;
    while at < steps.len() {
        let wanted = rng.as_mut().map_or(1, |(rng, max)| 1 + rng.below(*max));
        let batch = batch(&steps[at..], usize::try_from(wanted).expect("a small number"));
        let [expected, got] = sides.each_mut().map(|side| side.run(batch));
        let is_closed = expected.last().is_some_and(|reply| reply == CLOSED);
        for (index, (expected, got)) in expected.into_iter().zip(got).enumerate() {
            let is_same = if expected == QUEUED {
                let queued = batch[index].queued();
                queued.iter().all(|args| comparison.matches(args, &expected, &got))
            } else {
                comparison.matches(batch[index].args(), &expected, &got)
            };
            if !is_same {
                return Some(Failure { at: at + index, expected, got });
            }
        }
        if is_closed {
            sides = [oracle, ours].map(|server| Side::new(server, &[]));
            comparison = Comparison::default();
        }
        at += batch.len();
    }
    None
}

/// The steps that can be sent together. Those that take several round trips stand alone, and those that may end the
/// connection: a server that closes one with bytes unread resets it, and a reset overtakes replies.
fn batch(steps: &[Step], wanted: usize) -> &[Step] {
    let together = |step: &&Step| matches!(step, Step::Command(args) if !may_close(args));
    let commands = steps.iter().take(wanted).take_while(together).count();
    &steps[..commands.max(1)]
}

/// Whether a request may be answered by a close: QUIT, and what is too large for a client without authentication.
fn may_close(args: &[Vec<u8>]) -> bool {
    args[0].eq_ignore_ascii_case(b"quit") || args.len() > 10 || args.iter().any(|arg| arg.len() > 16 * 1024)
}

/// The shortest sequence found that still fails, with its failure.
///
/// # Panics
/// If a server is silent.
pub fn shrink_steps(
    oracle: &dyn Served,
    ours: &dyn Served,
    opening: &[Vec<u8>],
    steps: &[Step],
    batches: Batches,
    first: Failure,
) -> (Vec<Step>, Failure) {
    // Differences that need no pipelining are shown without.
    let pipelined = find_failure(oracle, ours, opening, steps, None).is_none().then_some(batches);
    shrink(steps, first, |steps| find_failure(oracle, ours, opening, steps, pipelined))
}

/// Runs `steps` against both as [`find_failure`] does.
///
/// # Panics
/// If they differ: with the shortest sequence found that shows it, and `subject` before it.
pub fn assert_same(
    oracle: &dyn Served,
    ours: &dyn Served,
    opening: &[Vec<u8>],
    steps: &[Step],
    batches: Batches,
    subject: &str,
) {
    let Some(first) = find_failure(oracle, ours, opening, steps, Some(batches)) else { return };
    let (steps, failure) = shrink_steps(oracle, ours, opening, steps, batches, first);
    let opening: Vec<_> = opening.iter().map(|bytes| format!("  {}\n", show(bytes))).collect();
    let steps: Vec<_> = steps.iter().map(|step| format!("  {step}\n")).collect();
    panic!(
        "{subject}, after\n{}{}expected {}\ngot      {}\n",
        opening.concat(),
        steps.concat(),
        show(&failure.expected),
        show(&failure.got),
    );
}

/// Stands for the reply that never comes.
const CLOSED: &[u8] = b"(closed)";

/// The reply to what a transaction will execute.
const QUEUED: &[u8] = b"+QUEUED\r\n";

fn closed(error: &Error) -> Vec<u8> {
    let is_close =
        matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe);
    assert!(is_close, "neither a reply nor a close: {error}");
    CLOSED.to_vec()
}

struct Side(Connection);

impl Side {
    fn new(server: &dyn Served, opening: &[Vec<u8>]) -> Self {
        let mut connection = server.connect();
        for bytes in opening {
            connection.send(bytes);
            connection.reply();
        }
        Self(connection)
    }

    fn run(&mut self, batch: &[Step]) -> Vec<Vec<u8>> {
        if let [Step::ScanAll(options)] = batch {
            return vec![self.scan_all(options).unwrap_or_else(|error| closed(&error))];
        }
        if let [Step::RandomKey] = batch {
            return vec![self.random_key().unwrap_or_else(|error| closed(&error))];
        }
        let bytes: Vec<u8> = batch.iter().flat_map(|step| request(step.args())).collect();
        // A server that closes the connection in between may refuse the rest.
        let _ = self.0.try_send(&bytes);
        let reply = |step: &Step| {
            self.0.try_reply().unwrap_or_else(|error| {
                // Shown should a server be silent.
                println!("no reply to {step} of a batch of {}", batch.len());
                closed(&error)
            })
        };
        batch.iter().map(reply).collect()
    }

    /// All keys of an iteration, sorted, each once; or the first error.
    fn scan_all(&mut self, options: &[Vec<u8>]) -> io::Result<Vec<u8>> {
        let (mut cursor, mut keys) = (b"0".to_vec(), Vec::new());
        loop {
            let args = [&[b"SCAN".to_vec(), cursor], options].concat();
            let reply = self.ask(&args)?;
            let Ok(mut parts) = elements(&reply) else { return Ok(reply) };
            let (Some(next), Some(found)) = (parts.next(), parts.next()) else { return Ok(reply) };
            keys.extend(elements(found).into_iter().flatten().map(<[u8]>::to_vec));
            cursor = next.split(|&byte| byte == b'\r').nth(1).unwrap_or_default()[1..].to_vec();
            if cursor == b"0" {
                keys.sort();
                keys.dedup();
                return Ok(keys.concat());
            }
        }
    }

    fn random_key(&mut self) -> io::Result<Vec<u8>> {
        let reply = self.ask(&["RANDOMKEY"])?;
        let keys = self.ask(&["KEYS", "*"])?;
        let mut keys = elements(&keys).into_iter().flatten();
        Ok(match reply.first() {
            Some(b'$') if keys.any(|key| key == reply) => b"one of the keys".to_vec(),
            _ => reply,
        })
    }

    fn ask<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<Vec<u8>> {
        self.0.try_send(&request(args))?;
        self.0.try_reply()
    }
}
