use super::*;
use slotmesh_keyspace::Loose;
use slotmesh_keyspace::{End, PackedLimit};

/// The number of words of each command, and the elements in all of them.
fn pieces(elements: &[&[u8]]) -> (Vec<usize>, Vec<Vec<u8>>) {
    let loose = Loose::list(|list| list.push(End::Back, elements.iter().copied(), PackedLimit::default()));
    let (mut sizes, mut all) = (Vec::new(), Vec::new());
    recreate(b"key", &Entry { value: loose.value(), expires_at: None }, &mut |words| {
        assert_eq!(words[..2], [&b"RPUSH"[..], b"key"]);
        sizes.push(words.len() - 2);
        all.extend(words[2..].iter().map(|word| word.to_vec()));
    });
    (sizes, all)
}

#[test]
fn lists_come_in_pieces_of_bounded_length() {
    let small: Vec<Vec<u8>> = (0..200).map(|number: i32| number.to_string().into_bytes()).collect();
    let (half, huge) = (vec![b'x'; RECREATE_BYTES_MAX / 2], vec![b'y'; RECREATE_BYTES_MAX * 3]);
    let views = |elements: &'static str| elements.split(' ').map(str::as_bytes).collect::<Vec<_>>();
    let table: [(Vec<&[u8]>, &[usize]); 5] = [
        (small.iter().map(Vec::as_slice).collect(), &[64, 64, 64, 8]),
        (small[..64].iter().map(Vec::as_slice).collect(), &[64]),
        (vec![&half, &half, &half, b"", b"1"], &[2, 3]),
        (vec![b"1", &huge, b"2", &huge, &huge], &[1, 1, 1, 1, 1]),
        (views("a -5 b 007"), &[4]),
    ];
    for (elements, sizes) in table {
        let (made, all) = pieces(&elements);
        assert_eq!(made, sizes);
        assert!(all.iter().map(Vec::as_slice).eq(elements), "all elements in order");
    }
}
