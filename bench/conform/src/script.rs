//! Scripts of several connections, as text and as values.
//!
//! A line is one move: the number of a connection, then its request. ` ; ` parts requests that are sent in one write.
//! `@2` stands for the id of connection 2. `1!` waits until connection 1 has all its replies, for requests that end
//! by their own time; `1?` leaves the move out if connection 1 still waits for replies (`1!` does so too). `1 CLOSE` closes connection 1 and opens a new one in its place.
//!
//! In a recording the replies that follow a move stand below it, each on a line that begins with two blanks: the
//! number of the connection, then the reply's bytes, escaped.

use crate::{Recorded, Replies, show};

/// What a connection does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Act {
    /// Sends requests in one write.
    Say {
        /// Each with its arguments.
        requests: Vec<Vec<Vec<u8>>>,
        /// How they go with what was said before.
        manner: Manner,
    },
    /// Closes, and opens anew.
    Close,
}

/// How requests of a connection go with those whose replies are outstanding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    /// They are sent behind them.
    Behind,
    /// They are left out if there are any.
    IfFree,
    /// As [`Manner::IfFree`]; and the next move waits for all replies, not only until nothing happens any more.
    Awaited,
}

/// One move of a script.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Move {
    /// Which connection moves.
    pub connection: usize,
    /// What it does.
    pub act: Act,
}

/// The moves of a text, one a line; empty lines and those that begin with `#` count for nothing.
///
/// # Panics
/// If a line does not begin with a number.
pub fn parse_script(text: &str) -> Vec<Move> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(parse_move).collect()
}

fn parse_move(line: &str) -> Move {
    let (who, rest) = line.split_once(' ').unwrap_or((line, ""));
    let number = who.trim_end_matches(['!', '?']).parse();
    let connection = number.unwrap_or_else(|_| panic!("a connection's number in {line:?}"));
    if rest == "CLOSE" {
        return Move { connection, act: Act::Close };
    }
    let words = |line: &str| line.split(' ').filter(|word| !word.is_empty()).map(|word| word.into()).collect();
    let requests = rest.split(" ; ").map(words).collect();
    let manner = match who.as_bytes().last() {
        Some(b'!') => Manner::Awaited,
        Some(b'?') => Manner::IfFree,
        _ => Manner::Behind,
    };
    Move { connection, act: Act::Say { requests, manner } }
}

/// The moves as a text that [`parse_script`] reads.
pub fn print_script(moves: &[Move]) -> String {
    moves.iter().map(|step| format!("{}\n", print_move(step))).collect()
}

fn print_move(step: &Move) -> String {
    match &step.act {
        Act::Close => format!("{} CLOSE", step.connection),
        Act::Say { requests, manner } => {
            let mark = match manner {
                Manner::Behind => "",
                Manner::IfFree => "?",
                Manner::Awaited => "!",
            };
            let line = |args: &Vec<Vec<u8>>| args.iter().map(|arg| show(arg)).collect::<Vec<_>>().join(" ");
            let lines: Vec<_> = requests.iter().map(line).collect();
            format!("{}{} {}", step.connection, mark, lines.join(" ; "))
        }
    }
}

/// The moves of a recording with their replies.
///
/// # Panics
/// If a line is neither.
pub fn parse_recording(text: &str) -> Vec<Recorded> {
    let mut recording: Vec<Recorded> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        let Some(answer) = line.strip_prefix("  ") else {
            recording.push(Recorded { step: parse_move(line), replies: Replies::default() });
            continue;
        };
        let (who, reply) = answer.split_once(' ').unwrap_or_else(|| panic!("a reply in {line:?}"));
        let last = recording.last_mut().expect("a move stands above its replies");
        let who: usize = who.parse().unwrap_or_else(|_| panic!("a connection's number in {line:?}"));
        last.replies[who].push(unescape(reply));
    }
    recording
}

/// The bytes behind what [`show`] prints.
fn unescape(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'\\' {
            bytes.push(first);
            continue;
        }
        let (&escaped, tail) = rest.split_first().expect("something is escaped");
        rest = tail;
        bytes.push(match escaped {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'x' => {
                let (digits, tail) = rest.split_at(2);
                rest = tail;
                let digits = std::str::from_utf8(digits).expect("ASCII");
                u8::from_str_radix(digits, 16).expect("hexadecimal digits")
            }
            other => other,
        });
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_that_is_printed_reads_the_same() {
        let text = "0 MULTI ; SET a 1 ; EXEC\n2! BLPOP a b 0.01\n1? GET a\n1 CLOSE\n3 CLIENT UNBLOCK @1 ERROR\n";
        assert_eq!(print_script(&parse_script(text)), text);
        let recording = parse_recording("1 LPUSH a \n  1 :1\\r\\n\n  2 $2\\r\\n\\xff\\\\\\r\\n\n");
        assert_eq!(recording[0].replies[2], [b"$2\r\n\xff\\\r\n"]);
        assert_eq!(parse_script("\n  # why\n  1 PING\n").len(), 1);
    }
}
