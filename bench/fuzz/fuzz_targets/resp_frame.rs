//! Any bytes, cut anywhere: the scanner of replies finds the same ends at once and in pieces, and a reply that
//! it calls whole can be split into elements. The first byte chooses the pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use slotmesh_resp::{FrameError, ReplyScanner, elements, reply_length};

fuzz_target!(|data: &[u8]| {
    let Some((&choice, stream)) = data.split_first() else {
        return;
    };
    let piece = usize::from(choice).max(1);
    let (ends, result) = scan(stream, stream.len().max(1));
    assert_eq!((&ends, result), (&scan(stream, piece).0, scan(stream, piece).1));
    let mut start = 0;
    for end in ends {
        assert_eq!(reply_length(&stream[start..]), Ok(Some(end - start)));
        if let Ok(parts) = elements(&stream[start..end]) {
            assert!(parts.map(<[u8]>::len).sum::<usize>() < end - start);
        }
        start = end;
    }
});

fn scan(stream: &[u8], piece: usize) -> (Vec<usize>, Result<(), FrameError>) {
    let (mut scanner, mut ends) = (ReplyScanner::default(), Vec::new());
    for (index, chunk) in stream.chunks(piece).enumerate() {
        let mut position = 0;
        loop {
            match scanner.next_end(chunk, &mut position) {
                Ok(Some(end)) => ends.push(index * piece + end.offset),
                Ok(None) => break,
                Err(error) => return (ends, Err(error)),
            }
        }
    }
    (ends, Ok(()))
}
