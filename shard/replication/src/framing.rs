//! How an image stands in the bytes of a link: with its length in front, or with a mark behind it.

/// Bytes of the mark behind an image whose length is not known before.
pub const MARK_BYTES: usize = 40;

/// What the line in front of an image says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// It has so many bytes.
    Length(u64),
    /// It ends with this mark.
    Mark([u8; MARK_BYTES]),
}

impl Framing {
    /// Reads the line in front of an image, without its line end.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let rest = line.strip_prefix(b"$")?;
        if let Some(mark) = rest.strip_prefix(b"EOF:") {
            return Some(Self::Mark(mark.get(..MARK_BYTES)?.try_into().ok()?));
        }
        let digits = std::str::from_utf8(rest).ok()?;
        digits.parse().ok().map(Self::Length)
    }

    /// The line in front of an image.
    pub fn line(&self) -> Vec<u8> {
        match self {
            Self::Length(bytes) => format!("${bytes}\r\n").into_bytes(),
            Self::Mark(mark) => [b"$EOF:".as_slice(), mark, b"\r\n"].concat(),
        }
    }
}

/// An image that is on its way to us.
#[derive(Debug)]
pub struct ImageFrame {
    framing: Framing,
    taken: u64,
    /// The last bytes that have come, if they may be the mark.
    held: Vec<u8>,
}

impl ImageFrame {
    /// Nothing of it has come.
    pub fn new(framing: Framing) -> Self {
        Self { framing, taken: 0, held: Vec::new() }
    }

    /// Takes bytes that have come, and shows those of the image; how many of them were taken, and whether the image is
    /// whole. As in Redis a mark counts where bytes end, since nobody sends anything behind it before we ask.
    pub fn take<E>(&mut self, bytes: &[u8], show: &mut dyn FnMut(&[u8]) -> Result<(), E>) -> Result<(usize, bool), E> {
        match self.framing {
            Framing::Length(length) => {
                let now = bytes.len().min(usize::try_from(length - self.taken).unwrap_or(usize::MAX));
                if now > 0 {
                    show(&bytes[..now])?;
                }
                self.taken += now as u64;
                Ok((now, self.taken == length))
            }
            Framing::Mark(mark) => {
                self.held.extend_from_slice(bytes);
                let surplus = self.held.len().saturating_sub(MARK_BYTES);
                if surplus > 0 {
                    show(&self.held[..surplus])?;
                    self.held.drain(..surplus);
                    self.taken += surplus as u64;
                }
                Ok((bytes.len(), self.held == mark))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(framing: Framing, stream: &[u8], piece: usize) -> (Vec<u8>, usize, bool) {
        let (mut frame, mut image, mut used) = (ImageFrame::new(framing), Vec::new(), 0);
        for bytes in stream.chunks(piece) {
            let mut show = |bytes: &[u8]| {
                image.extend_from_slice(bytes);
                Ok::<(), ()>(())
            };
            let (taken, is_whole) = frame.take(bytes, &mut show).unwrap();
            used += taken;
            if is_whole {
                return (image, used, true);
            }
        }
        (image, used, false)
    }

    #[test]
    fn lines_say_how_an_image_ends() {
        assert_eq!(Framing::parse(b"$18"), Some(Framing::Length(18)));
        let mark = [b'a'; MARK_BYTES];
        assert_eq!(Framing::parse(&[b"$EOF:".as_slice(), &mark].concat()), Some(Framing::Mark(mark)));
        for framing in [Framing::Length(7), Framing::Mark(mark)] {
            assert_eq!(Framing::parse(framing.line().strip_suffix(b"\r\n").unwrap()), Some(framing));
        }
        for bad in [&b"18"[..], b"$", b"$-1", b"$EOF:short", b"$x", b""] {
            assert_eq!(Framing::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn an_image_ends_where_it_says() {
        let mark = *b"0123456789abcdefghijklmnopqrstuvwxyzABCD";
        for piece in [1, 3, 39, 40, 41, 1000] {
            let (image, used, is_whole) = run(Framing::Length(10), b"abcdefghijSTREAM", piece);
            assert_eq!((image.as_slice(), used, is_whole), (&b"abcdefghij"[..], 10, true), "{piece}");
            let stream = [b"an image".as_slice(), &mark].concat();
            let (image, used, is_whole) = run(Framing::Mark(mark), &stream, piece);
            assert_eq!((image.as_slice(), used, is_whole), (&b"an image"[..], 48, true), "{piece}");
            assert!(!run(Framing::Mark(mark), &stream[..47], piece).2);
        }
        assert!(!run(Framing::Length(11), b"abcdefghij", 4).2);
    }
}
