//! Connections that a core makes: in its control plane, so that it does not wait for them.
#![allow(unsafe_code)]

use crate::{spawn_control, tcp};
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::rc::Rc;
use std::task::{Poll, Waker};

/// Gives a dial up.
#[derive(Debug, Default)]
struct Abandon {
    is_given_up: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// Dials that have ended, as the tasks tell it.
type Ended<K> = Rc<RefCell<Vec<(K, io::Result<OwnedFd>)>>>;

/// The dials of one core, each under a key of its own.
#[derive(Debug)]
pub struct Dials<K> {
    ended: Ended<K>,
    under_way: Vec<(K, Rc<Abandon>)>,
}

impl<K> Default for Dials<K> {
    fn default() -> Self {
        Self { ended: Rc::default(), under_way: Vec::new() }
    }
}

impl<K: Copy + PartialEq + 'static> Dials<K> {
    /// Dials, from address `source` if there is one and it can be had; to be called on a core's thread. The outcome
    /// comes with [`take`](Self::take), in a later turn of the data loop, unless [`give_up`](Self::give_up) comes first.
    pub fn dial(&mut self, key: K, address: SocketAddr, source: Option<IpAddr>) {
        let (abandon, ended) = (Rc::<Abandon>::default(), self.ended.clone());
        self.under_way.push((key, abandon.clone()));
        spawn_control(async move {
            let mut connect = std::pin::pin!(connect(address, source));
            let socket = poll_fn(|context| {
                if abandon.is_given_up.get() {
                    return Poll::Ready(Err(io::ErrorKind::Interrupted.into()));
                }
                abandon.waker.replace(Some(context.waker().clone()));
                connect.as_mut().poll(context)
            });
            let socket = socket.await;
            ended.borrow_mut().push((key, socket));
        });
    }

    /// A connection is wanted no more.
    pub fn give_up(&mut self, key: K) {
        let Some(place) = self.under_way.iter().position(|&(other, _)| other == key) else { return };
        let (_, abandon) = self.under_way.swap_remove(place);
        abandon.is_given_up.set(true);
        if let Some(waker) = abandon.waker.take() {
            // In a task, so that the data loop knows that the control plane has something to do.
            spawn_control(async move { waker.wake() });
        }
    }

    /// The dials that have ended since the last call: the connection, or why there is none.
    pub fn take(&mut self) -> Vec<(K, io::Result<OwnedFd>)> {
        let mut ended = std::mem::take(&mut *self.ended.borrow_mut());
        ended.retain(|&(key, _)| {
            let place = self.under_way.iter().position(|&(other, _)| other == key);
            place.map(|place| self.under_way.swap_remove(place)).is_some()
        });
        ended
    }
}

async fn connect(address: SocketAddr, source: Option<IpAddr>) -> io::Result<OwnedFd> {
    let socket = tcp::begin_connect(address, source)?;
    let stream = monoio::net::TcpStream::from_std(socket.into())?;
    stream.writable(false).await?;
    // SAFETY: `into_raw_fd` has just given the descriptor up, so that it is nobody else's.
    tcp::end_connect(unsafe { OwnedFd::from_raw_fd(stream.into_raw_fd()) })
}
