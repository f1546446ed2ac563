//! Which clients CLIENT LIST shows and CLIENT KILL closes; and the same as words, for other cores.

use crate::Client;

/// The types of clients, as `client-output-buffer-limit` and CLIENT LIST tell them apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientKind {
    /// Those that are none of the others.
    Normal,
    /// Those that hear messages.
    PubSub,
    /// Replicas, of which there are none.
    Replica,
    /// Our master, which we do not have.
    Master,
}

impl ClientKind {
    const ALL: [Self; 4] = [Self::Normal, Self::PubSub, Self::Replica, Self::Master];

    /// The type with that name in any case.
    pub(super) fn find(name: &[u8]) -> Option<Self> {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        let known = |kind: &Self| match kind {
            Self::Normal => is(b"normal"),
            Self::PubSub => is(b"pubsub"),
            Self::Replica => is(b"replica") || is(b"slave"),
            Self::Master => is(b"master"),
        };
        Self::ALL.into_iter().find(known)
    }
}

impl Client {
    /// Its type.
    pub fn kind(&self) -> ClientKind {
        if self.is_attached() {
            ClientKind::Replica
        } else if self.is_subscriber() {
            ClientKind::PubSub
        } else {
            ClientKind::Normal
        }
    }
}

/// A choice of clients: those whom every part of it fits.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClientFilter {
    /// Only these ids, if any are named.
    pub ids: Vec<u64>,
    /// Only those of this type.
    pub kind: Option<ClientKind>,
    /// Only those with this address.
    pub address: Option<Vec<u8>>,
    /// Only those that came to this address.
    pub local_address: Option<Vec<u8>>,
    /// All but this client.
    pub but: Option<u64>,
}

impl ClientFilter {
    /// Whether the filter chooses a client.
    pub fn fits(&self, client: &Client) -> bool {
        let is = |wanted: &Option<Vec<u8>>, address: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == address.as_bytes())
        };
        self.kind.is_none_or(|kind| kind == client.kind())
            && (self.ids.is_empty() || self.ids.contains(&client.id))
            && self.but != Some(client.id)
            && is(&self.address, &client.address)
            && is(&self.local_address, &client.local_address)
    }

    /// The filter as words.
    pub fn to_words(&self) -> Vec<Vec<u8>> {
        let number = |sign: u8, number: u64| [&[sign], number.to_string().as_bytes()].concat();
        let text = |sign: u8, text: &Vec<u8>| [&[sign], &text[..]].concat();
        let mut words: Vec<Vec<u8>> = self.ids.iter().map(|&id| number(b'i', id)).collect();
        words.extend(self.kind.map(|kind| vec![b't', kind as u8]));
        words.extend(self.address.as_ref().map(|address| text(b'a', address)));
        words.extend(self.local_address.as_ref().map(|address| text(b'l', address)));
        words.extend(self.but.map(|id| number(b'b', id)));
        words
    }

    /// The filter of [`to_words`](Self::to_words).
    ///
    /// # Panics
    /// If the words are no filter: they come from a core of the same process.
    pub fn of_words<'a>(words: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut filter = Self::default();
        for word in words {
            let (sign, rest) = word.split_first().expect("a sign");
            let number = || str::from_utf8(rest).ok().and_then(|digits| digits.parse().ok()).expect("a number");
            match sign {
                b'i' => filter.ids.push(number()),
                b't' => filter.kind = ClientKind::ALL.into_iter().find(|&kind| [kind as u8] == rest),
                b'a' => filter.address = Some(rest.to_vec()),
                b'l' => filter.local_address = Some(rest.to_vec()),
                b'b' => filter.but = Some(number()),
                other => panic!("{other} is no part of a filter"),
            }
        }
        filter
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::NOW;

    #[test]
    fn filters_choose_and_travel() {
        let mut client = Client::new(7, NOW);
        client.address = "127.0.0.1:50000".to_owned();
        client.local_address = "127.0.0.1:6379".to_owned();
        let address = |text: &str| Some(text.as_bytes().to_vec());
        let all = ClientFilter::default;
        let table = [
            (all(), true),
            (ClientFilter { ids: vec![1, 7], ..all() }, true),
            (ClientFilter { ids: vec![1, 8], ..all() }, false),
            (ClientFilter { kind: Some(ClientKind::Normal), ..all() }, true),
            (ClientFilter { kind: Some(ClientKind::PubSub), ..all() }, false),
            (ClientFilter { kind: Some(ClientKind::Replica), ..all() }, false),
            (ClientFilter { kind: Some(ClientKind::Master), ..all() }, false),
            (ClientFilter { address: address("127.0.0.1:50000"), ..all() }, true),
            (ClientFilter { address: address("127.0.0.1:5000"), ..all() }, false),
            (ClientFilter { local_address: address("127.0.0.1:6379"), but: Some(8), ..all() }, true),
            (ClientFilter { local_address: address(""), ..all() }, false),
            (ClientFilter { ids: vec![7], but: Some(7), ..all() }, false),
        ];
        for (filter, fits) in table {
            assert_eq!(filter.fits(&client), fits, "{filter:?}");
            let words = filter.to_words();
            assert_eq!(ClientFilter::of_words(words.iter().map(Vec::as_slice)), filter);
        }
    }
}
