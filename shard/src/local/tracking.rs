//! CLIENT TRACKING, CACHING, GETREDIR and TRACKINGINFO.
//!
//! Mirrors Redis 7.2 `networking.c` `clientCommand` and `tracking.c` `enableTracking`, in the order of its checks.

use super::{Node, client};
use crate::{Client, ClientTracking, TrackingMode};
use slotmesh_base::ReplyError;
use slotmesh_command::parse_integer;
use slotmesh_resp::{Args, Reply};
use std::collections::BTreeSet;

const OTHER_BROADCAST: &[u8] =
    b"ERR You can't switch BCAST mode on/off before disabling tracking for this client, and \
then re-enabling it with a different mode.";
const OTHER_OPTION: &[u8] =
    b"ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then \
re-enabling it with a different mode.";

/// The options of CLIENT TRACKING.
#[derive(Debug, Default)]
struct Options<'a> {
    redirect: Option<u64>,
    broadcasts: bool,
    opts_in: bool,
    opts_out: bool,
    no_loop: bool,
    prefixes: Vec<&'a [u8]>,
}

/// Why they are refused.
enum Refused {
    Known(ReplyError),
    Text(&'static [u8]),
    Long(Vec<u8>),
}

/// CLIENT TRACKING. Whether other cores must hear that a client wants to know of all keys is for the caller to see.
pub(super) fn tracking(client: &mut Client, args: Args<'_>, node: &dyn Node, reply: &mut Reply<'_>) {
    let wanted = Options::parse(args, node).and_then(|options| match client::switch(args.at(2)) {
        Some(true) => options.enable(client).map(Some),
        Some(false) => Ok(None),
        None => Err(Refused::Known(ReplyError::Syntax)),
    });
    match wanted {
        Ok(tracking) => {
            client.tracking = tracking.map(Box::new);
            reply.ok();
        }
        Err(Refused::Known(error)) => reply.error(error),
        Err(Refused::Text(text)) => reply.error_text(text),
        Err(Refused::Long(text)) => reply.error_text(&text),
    }
}

impl<'a> Options<'a> {
    fn parse(args: Args<'a>, node: &dyn Node) -> Result<Self, Refused> {
        let mut options = Self::default();
        let mut words = args.iter_from(3);
        while let Some(word) = words.next() {
            let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
            if is(b"redirect") && words.len() > 0 {
                let id = words.next().unwrap_or_default();
                if options.redirect.is_some() {
                    return Err(Refused::Text(b"ERR A client can only redirect to a single other client"));
                }
                let id = parse_integer(id).map_err(Refused::Known)? as u64;
                if !node.has_client(id) {
                    return Err(Refused::Text(b"ERR The client ID you want redirect to does not exist"));
                }
                options.redirect = Some(id);
            } else if is(b"prefix") && words.len() > 0 {
                options.prefixes.extend(words.next());
            } else if is(b"bcast") {
                options.broadcasts = true;
            } else if is(b"optin") {
                options.opts_in = true;
            } else if is(b"optout") {
                options.opts_out = true;
            } else if is(b"noloop") {
                options.no_loop = true;
            } else {
                return Err(Refused::Known(ReplyError::Syntax));
            }
        }
        Ok(options)
    }

    /// How the client is tracked from now on.
    fn enable(self, client: &Client) -> Result<ClientTracking, Refused> {
        let before = client.tracking.as_deref();
        let had = |mode: TrackingMode| before.is_some_and(|before| before.mode == mode);
        if !self.broadcasts && !self.prefixes.is_empty() {
            return Err(Refused::Text(b"ERR PREFIX option requires BCAST mode to be enabled"));
        }
        if before.is_some() && self.broadcasts != had(TrackingMode::Broadcast) {
            return Err(Refused::Text(OTHER_BROADCAST));
        }
        let mode = match (self.broadcasts, self.opts_in, self.opts_out) {
            (true, false, false) => TrackingMode::Broadcast,
            (true, ..) => return Err(Refused::Text(b"ERR OPTIN and OPTOUT are not compatible with BCAST")),
            (_, true, true) => {
                return Err(Refused::Text(b"ERR You can't specify both OPTIN mode and OPTOUT mode"));
            }
            (_, true, _) if had(TrackingMode::OptOut) => return Err(Refused::Text(OTHER_OPTION)),
            (_, _, true) if had(TrackingMode::OptIn) => return Err(Refused::Text(OTHER_OPTION)),
            (_, true, _) => TrackingMode::OptIn,
            (_, _, true) => TrackingMode::OptOut,
            _ => TrackingMode::Default,
        };
        let prefixes = match mode {
            TrackingMode::Broadcast => self.joined_prefixes(before)?,
            _ => BTreeSet::new(),
        };
        Ok(ClientTracking {
            tracker: client.tracker,
            mode,
            prefixes,
            no_loop: self.no_loop,
            redirect: self.redirect.filter(|&id| id != 0),
            is_broken: false,
            caching: false,
            was_used: false,
        })
    }

    /// The prefixes that it had and those that come, none of which may be the beginning of another.
    fn joined_prefixes(&self, before: Option<&ClientTracking>) -> Result<BTreeSet<Vec<u8>>, Refused> {
        let mut all = before.map(|before| before.prefixes.clone()).unwrap_or_default();
        let overlap = |one: &[u8], other: &[u8]| one.starts_with(other) || other.starts_with(one);
        let refuse = |prefix: &[u8], which: &[u8], other: &[u8]| {
            let (prefix, other) = (client::until_nul(prefix), client::until_nul(other));
            let end: &[u8] = b"'. Prefixes for a single client must not overlap.";
            Err(Refused::Long([b"ERR Prefix '", prefix, b"' overlaps with ", which, b" prefix '", other, end].concat()))
        };
        for (place, prefix) in self.prefixes.iter().enumerate() {
            if let Some(other) = all.iter().find(|other| overlap(prefix, other)) {
                return refuse(prefix, b"an existing", other);
            }
            if let Some(other) = self.prefixes[place + 1..].iter().find(|other| overlap(prefix, other)) {
                return refuse(prefix, b"another provided", other);
            }
        }
        all.extend(self.prefixes.iter().map(|prefix| prefix.to_vec()));
        if self.prefixes.is_empty() {
            all.insert(Vec::new());
        }
        Ok(all)
    }
}

/// CLIENT CACHING.
pub(super) fn caching(client: &mut Client, args: Args<'_>, reply: &mut Reply<'_>) {
    let Some(tracking) = &mut client.tracking else {
        return reply.error_text(
            b"ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
        );
    };
    let is = |name: &[u8]| args.at(2).eq_ignore_ascii_case(name);
    match tracking.mode {
        TrackingMode::OptIn if is(b"yes") => tracking.caching = true,
        TrackingMode::OptOut if is(b"no") => tracking.caching = true,
        _ if is(b"yes") => {
            return reply.error_text(b"ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.");
        }
        _ if is(b"no") => {
            return reply.error_text(b"ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.");
        }
        _ => return reply.error(ReplyError::Syntax),
    }
    reply.ok();
}

/// Whom a client redirects to: 0 nobody, -1 if it is not tracked.
pub(super) fn redirect_of(client: &Client) -> i64 {
    client.tracking.as_ref().map_or(-1, |tracking| tracking.redirect.unwrap_or(0) as i64)
}

/// CLIENT TRACKINGINFO.
pub(super) fn tracking_info(client: &Client, reply: &mut Reply<'_>) {
    let tracking = client.tracking.as_deref();
    let is = |mode: TrackingMode| tracking.is_some_and(|tracking| tracking.mode == mode);
    let has = |holds: fn(&ClientTracking) -> bool| tracking.is_some_and(holds);
    let flags: [(bool, &[u8]); 9] = [
        (tracking.is_none(), b"off"),
        (tracking.is_some(), b"on"),
        (is(TrackingMode::Broadcast), b"bcast"),
        (is(TrackingMode::OptIn), b"optin"),
        (is(TrackingMode::OptIn) && has(|tracking| tracking.caching), b"caching-yes"),
        (is(TrackingMode::OptOut), b"optout"),
        (is(TrackingMode::OptOut) && has(|tracking| tracking.caching), b"caching-no"),
        (has(|tracking| tracking.no_loop), b"noloop"),
        (has(|tracking| tracking.is_broken), b"broken_redirect"),
    ];
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(flags.iter().filter(|(holds, _)| *holds).count());
    flags.iter().filter(|(holds, _)| *holds).for_each(|(_, name)| reply.bulk(name));
    reply.bulk(b"redirect");
    reply.integer(redirect_of(client));
    reply.bulk(b"prefixes");
    let prefixes = tracking.map(|tracking| &tracking.prefixes);
    reply.array(prefixes.map_or(0, BTreeSet::len));
    prefixes.into_iter().flatten().for_each(|prefix| reply.bulk(prefix));
}
