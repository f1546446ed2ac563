//! Any bytes as a manifest and as an increment of an append-only file: the readers do not panic, a manifest that is read is
//! the same when it is printed and read again, and an increment ends the same whether its bytes come at once or in pieces.
//! The first byte chooses.
#![no_main]

use libfuzzer_sys::fuzz_target;
use slotmesh_persistence::{Manifest, ReadEnd, Reader};

fn read(bytes: &[u8], piece: usize) -> Option<(Vec<u8>, ReadEnd)> {
    let (mut reader, mut taken) = (Reader::new(0), Vec::new());
    for piece in bytes.chunks(piece) {
        reader.feed(piece, &mut |_, bytes| taken.extend_from_slice(bytes)).ok()?;
    }
    assert_eq!(reader.offset(), bytes.len() as u64);
    Some((taken, reader.finish()))
}

fuzz_target!(|data: &[u8]| {
    let Some((&choice, bytes)) = data.split_first() else {
        return;
    };
    if choice & 1 == 0 {
        if let Ok(manifest) = Manifest::parse(bytes)
            && manifest != Manifest::default()
        {
            assert_eq!(Manifest::parse(manifest.print().as_bytes()), Ok(manifest));
        }
        return;
    }
    let whole = read(bytes, bytes.len().max(1));
    let pieces = read(bytes, usize::from(choice >> 1) + 1);
    let (Some(whole), Some(pieces)) = (whole, pieces) else { return };
    assert_eq!(whole.1, pieces.1);
    match whole.1 {
        ReadEnd::Whole => assert_eq!(whole.0, pieces.0),
        ReadEnd::Truncated { valid, .. } => {
            let kept = read(&bytes[..valid as usize], bytes.len()).expect("it was read before");
            assert_eq!(kept.1, ReadEnd::Whole, "what is left after a cut is whole");
            // How much is passed on of the command that is cut off depends on the pieces.
            assert!(whole.0.starts_with(&kept.0) && pieces.0.starts_with(&kept.0));
        }
    }
});
