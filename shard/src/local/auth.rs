//! AUTH and HELLO. There is one user, `default`, whose password is `requirepass`.

use super::{Node, REDIS_VERSION, client};
use crate::Client;
use slotmesh_base::ReplyError;
use slotmesh_command::parse_integer;
use slotmesh_conf::{Settings, directive};
use slotmesh_resp::{Args, Protocol, Reply};

/// Name of the only user.
const USER: &[u8] = b"default";

/// Whether a client must authenticate.
pub(super) fn needs_password(node: &dyn Node) -> bool {
    !node.settings().value(directive::REQUIREPASS).is_empty()
}

pub(super) fn auth(client: &mut Client, args: Args<'_>, node: &dyn Node, reply: &mut Reply<'_>) {
    let outcome = match args.len() {
        2 if !needs_password(node) => Err(ReplyError::NoPasswordSet),
        2 => authenticate(client, USER, args.at(1), node),
        3 => authenticate(client, args.at(1), args.at(2), node),
        _ => Err(ReplyError::Syntax),
    };
    match outcome {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

/// A failure leaves the client as it was, as in Redis.
fn authenticate(client: &mut Client, user: &[u8], password: &[u8], node: &dyn Node) -> Result<(), ReplyError> {
    check(user, password, node.settings())?;
    client.authenticated = true;
    Ok(())
}

/// Whether somebody is who he says.
fn check(user: &[u8], password: &[u8], settings: &Settings) -> Result<(), ReplyError> {
    let secret = settings.value(directive::REQUIREPASS);
    let known = secret.is_empty() || equal_in_constant_time(password, secret.as_bytes());
    if user == USER && known { Ok(()) } else { Err(ReplyError::WrongPassword) }
}

/// Whether `given` is the secret; takes a time that depends on `given` alone, so that nobody learns the secret, or
/// its length, by measuring.
fn equal_in_constant_time(given: &[u8], secret: &[u8]) -> bool {
    let mut difference = given.len() ^ secret.len();
    for (index, byte) in given.iter().enumerate() {
        let expected = secret[index % secret.len()];
        difference |= usize::from(std::hint::black_box(byte ^ expected));
    }
    std::hint::black_box(difference) == 0
}

/// What HELLO asks for.
struct Hello<'a> {
    protocol: Option<Protocol>,
    credentials: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

pub(super) fn hello(client: &mut Client, args: Args<'_>, node: &dyn Node, reply: &mut Reply<'_>) {
    let hello = match parse_hello(args) {
        Ok(hello) => hello,
        Err(HelloError::Known(error)) => return reply.error(error),
        Err(HelloError::Option(option)) => {
            let text = [b"ERR Syntax error in HELLO option '", client::until_nul(option), b"'"].concat();
            return reply.error_text(&text);
        }
    };
    if let Some((user, password)) = hello.credentials
        && let Err(error) = authenticate(client, user, password, node)
    {
        return reply.error(error);
    }
    if !client.authenticated {
        return reply.error(ReplyError::HelloUnauthenticated);
    }
    if let Some(name) = hello.name {
        client.name = name.to_vec();
    }
    client.protocol = hello.protocol.unwrap_or(client.protocol);
    write_hello(client, node, &mut Reply::new(reply.buffer(), client.protocol));
}

/// The version that a client will speak behind a HELLO, if that is not refused and names one. The client is known, as who
/// has begun a transaction is.
pub(crate) fn version_behind_hello(args: Args<'_>, settings: &Settings) -> Option<Protocol> {
    let hello = parse_hello(args).ok()?;
    let is_known = hello.credentials.is_none_or(|(user, password)| check(user, password, settings).is_ok());
    hello.protocol.filter(|_| is_known)
}

enum HelloError<'a> {
    Known(ReplyError),
    /// An option that HELLO does not know, or that lacks its arguments.
    Option(&'a [u8]),
}

fn parse_hello(args: Args<'_>) -> Result<Hello<'_>, HelloError<'_>> {
    let mut hello = Hello { protocol: None, credentials: None, name: None };
    let mut words = args.iter_from(1);
    hello.protocol = words.next().map(parse_protocol).transpose()?;
    while let Some(option) = words.next() {
        if option.eq_ignore_ascii_case(b"auth") && words.len() >= 2 {
            hello.credentials = words.next().zip(words.next());
        } else if option.eq_ignore_ascii_case(b"setname") && words.len() >= 1 {
            hello.name = words.next();
            if !hello.name.is_some_and(client::is_printable) {
                return Err(HelloError::Known(ReplyError::ClientNameCharacters));
            }
        } else {
            return Err(HelloError::Option(option));
        }
    }
    Ok(hello)
}

fn parse_protocol(version: &[u8]) -> Result<Protocol, HelloError<'_>> {
    match parse_integer(version) {
        Ok(2) => Ok(Protocol::Resp2),
        Ok(3) => Ok(Protocol::Resp3),
        Ok(_) => Err(HelloError::Known(ReplyError::UnsupportedProtocol)),
        Err(_) => Err(HelloError::Known(ReplyError::ProtocolNotAnInteger)),
    }
}

fn write_hello(client: &Client, node: &dyn Node, reply: &mut Reply<'_>) {
    reply.map(7);
    reply.bulk(b"server");
    reply.bulk(b"redis");
    reply.bulk(b"version");
    reply.bulk(REDIS_VERSION.as_bytes());
    reply.bulk(b"proto");
    reply.integer(client::protocol_number(client));
    reply.bulk(b"id");
    reply.integer(client.id as i64);
    reply.bulk(b"mode");
    reply.bulk(if node.cluster().is_some() { b"cluster" } else { b"standalone" });
    reply.bulk(b"role");
    reply.bulk(b"master");
    reply.bulk(b"modules");
    reply.array(0);
}

#[cfg(test)]
mod tests {
    use super::equal_in_constant_time;

    #[test]
    fn only_the_secret_equals_the_secret() {
        assert!(equal_in_constant_time(b"secret", b"secret"));
        for other in [&b""[..], b"secre", b"secretsecret", b"secret\0", b"sEcret", b"terces"] {
            assert!(!equal_in_constant_time(other, b"secret"), "{other:?}");
        }
    }
}
