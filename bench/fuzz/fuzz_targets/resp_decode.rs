//! Any bytes, cut anywhere: the decoder neither panics nor loops, and finds the same requests or the same
//! error whether the bytes come at once or in pieces. The first byte chooses limits and pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use slotmesh_resp::{Args, DecodeLimits, Decoder, ProtocolError, Step};

type Outcome = (Vec<Vec<Vec<u8>>>, Result<(), ProtocolError>);

fuzz_target!(|data: &[u8]| {
    let Some((&choice, stream)) = data.split_first() else {
        return;
    };
    let limits = DecodeLimits { bulk_bytes_max: 1 << 20, authenticated: choice & 1 == 0 };
    let piece = usize::from(choice >> 1).max(1);
    let whole = decode([stream], &limits);
    assert_eq!(whole, decode(stream.chunks(piece), &limits));
});

fn decode<'a>(chunks: impl IntoIterator<Item = &'a [u8]>, limits: &DecodeLimits) -> Outcome {
    let (mut decoder, mut kept, mut requests) = (Decoder::default(), Vec::new(), Vec::new());
    for chunk in chunks {
        kept.extend_from_slice(chunk);
        let (mut position, mut args) = (0, Vec::new());
        loop {
            match decoder.decode(&mut kept, &mut position, limits, &mut args) {
                Err(error) => return (requests, Err(error)),
                Ok(Step::Incomplete) => break,
                Ok(Step::Request) => {
                    assert!(!args.is_empty() && position <= kept.len());
                    requests.push(Args::new(&kept, &args).iter_from(0).map(<[u8]>::to_vec).collect());
                    args.clear();
                }
            }
        }
        assert!(args.is_empty());
        kept.drain(..position);
    }
    (requests, Ok(()))
}
