//! Requests as bytes, and bytes as something to read.

/// A request as a client sends it: an array of bulk strings.
pub fn request<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        let arg = arg.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// The request whose arguments are the words of a line.
pub fn words(line: &str) -> Vec<u8> {
    request(&line.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>())
}

/// Longest text that [`show`] prints in full, in bytes.
const SHOWN_BYTES_MAX: usize = 400;

/// Bytes, escaped for a terminal; long ones are cut.
pub fn show(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(SHOWN_BYTES_MAX)];
    let rest = bytes.len() - shown.len();
    let text = shown.escape_ascii().to_string();
    if rest == 0 { text } else { format!("{text}… ({rest} bytes more)") }
}
