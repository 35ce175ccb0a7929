//! One connection: unadmitted it speaks hello and nothing else, admitted it feeds a session.
//!
//! Whoever dialled speaks first. After the answer the dialler opens the control stream, which is what makes both ends
//! count the peer as up. A refusal of any cause closes the connection by one path, [`Handler::end`].

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use libp2p::swarm::handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p::swarm::{ConnectionHandler, ConnectionHandlerEvent, Stream, SubstreamProtocol};
use samara_protocol::id::{NodeId, ProductId};
use samara_protocol::limits::{EARLY_STREAMS_PER_CONNECTION_MAX, HELLO_TIMEOUT};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Sleep;

use super::hello::{self, Admission, HelloError};
use super::places::Place;
use super::protocol::{Offer, Protocol};
use super::session::{self, Port};
use super::shared::Shared;

/// What a handler tells the behaviour.
#[derive(Debug)]
pub(super) enum ToBehaviour {
    /// The peer is up: the connection is no stranger's any more.
    Admitted,
    /// Close the connection. Before admission with the reason, for the dialler's log.
    Close(Option<End>),
}

/// How a connection ended before admission.
#[derive(Debug)]
pub(super) struct End {
    pub(super) reason: String,
    /// The other has no place for this node now, and would let it in otherwise.
    pub(super) is_busy: bool,
}

/// Whom a stream that we open is for.
#[derive(Debug)]
pub(super) enum OpenInfo {
    Hello(ProductId),
    Control,
    Session(oneshot::Sender<Stream>),
}

/// A stream that overtook the control stream, and its place among all of these.
struct Early {
    protocol: Protocol,
    stream: Stream,
    _place: OwnedSemaphorePermit,
}

type Event = ConnectionHandlerEvent<Offer, OpenInfo, ToBehaviour>;

/// See the module.
pub(super) struct Handler {
    shared: Arc<Shared>,
    peer: NodeId,
    remote: String,
    dialled: bool,
    /// Whether more than hello is offered; set by the exchange itself.
    open: Arc<AtomicBool>,
    exchange: Option<BoxFuture<'static, Result<Admission, HelloError>>>,
    /// The exchange's result, until the control stream is there.
    admission: Option<Admission>,
    /// Streams of a peer that was answered, until the control stream is there: the dialler opens that first, but nothing
    /// keeps the order of streams.
    early: Vec<Early>,
    session: Option<Port>,
    /// Until when the session must have begun.
    deadline: Option<Pin<Box<Sleep>>>,
    events: VecDeque<Event>,
    closing: bool,
}

impl Handler {
    /// A handler that speaks first about `dialled_for`, or listens.
    pub(super) fn new(shared: Arc<Shared>, peer: NodeId, remote: String, dialled_for: Option<ProductId>) -> Self {
        let mut handler = Self {
            shared,
            peer,
            remote,
            dialled: dialled_for.is_some(),
            open: Arc::new(AtomicBool::new(false)),
            exchange: None,
            admission: None,
            early: Vec::new(),
            session: None,
            deadline: Some(Box::pin(tokio::time::sleep(HELLO_TIMEOUT))),
            events: VecDeque::new(),
            closing: false,
        };
        if let Some(product) = dialled_for {
            handler.open_stream(Protocol::Hello, OpenInfo::Hello(product));
        }
        handler
    }

    fn open_stream(&mut self, protocol: Protocol, info: OpenInfo) {
        let protocol = SubstreamProtocol::new(Offer::one(protocol), info).with_timeout(HELLO_TIMEOUT);
        self.events
            .push_back(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
    }

    fn fail(&mut self, reason: &str) {
        self.end(reason, false);
    }

    fn end(&mut self, reason: &str, is_busy: bool) {
        if self.closing {
            return;
        }
        self.closing = true;
        self.exchange = None;
        tracing::debug!(peer = %self.peer, address = %self.remote, reason, "closing the connection");
        let end = self.session.is_none().then(|| End {
            reason: reason.to_owned(),
            is_busy,
        });
        self.events
            .push_back(ConnectionHandlerEvent::NotifyBehaviour(ToBehaviour::Close(end)));
    }

    fn on_inbound(&mut self, protocol: Protocol, stream: Stream) {
        match (protocol, &self.session) {
            (Protocol::Hello, None) if !self.dialled && self.exchange.is_none() && self.admission.is_none() => {
                let (shared, peer, open) = (Arc::clone(&self.shared), self.peer, Arc::clone(&self.open));
                self.exchange = Some(
                    async move {
                        let may_join = |seat| {
                            let dialled_by_us = false;
                            shared.may_join(peer, Place { seat, dialled_by_us })
                        };
                        hello::listen(stream, &shared, peer, may_join, open).await
                    }
                    .boxed(),
                );
            }
            (Protocol::Control, None) if self.admission.is_some() && !self.dialled => self.begin_dialled(stream),
            (Protocol::Hello | Protocol::Control | Protocol::Data, None) if self.has_answered() => {
                self.hold(protocol, stream);
            }
            (Protocol::Hello | Protocol::Data, Some(port)) => {
                // A full queue means more streams than the limits allow: dropped, which resets it.
                let _ = port.inbound.try_send((protocol, stream));
            }
            (Protocol::Hello | Protocol::Control | Protocol::Data, _) => self.fail("a stream that has no place"),
        }
    }

    /// Whether the dialler may have had its answer, and so may open any stream.
    fn has_answered(&self) -> bool {
        !self.dialled && self.open.load(Ordering::Acquire)
    }

    /// Keeps a stream until the control stream is there.
    fn hold(&mut self, protocol: Protocol, stream: Stream) {
        let has_room = self.early.len() < EARLY_STREAMS_PER_CONNECTION_MAX;
        let place = Arc::clone(&self.shared.early).try_acquire_owned();
        match place.ok().filter(|_| has_room) {
            Some(place) => self.early.push(Early {
                protocol,
                stream,
                _place: place,
            }),
            None => self.fail("more streams than the limits allow before the control stream"),
        }
    }

    /// Begins the session of a peer that dialled and was answered, and gives it the streams that came before.
    fn begin_dialled(&mut self, control: Stream) {
        let Some(admission) = self.admission.take() else { return };
        self.begin(admission, control);
        for early in std::mem::take(&mut self.early) {
            self.on_inbound(early.protocol, early.stream);
        }
    }

    /// The control stream, if it came before the answer was known to be out.
    fn take_early_control(&mut self) -> Option<Stream> {
        let is_control = |early: &Early| early.protocol == Protocol::Control;
        let control = self.early.iter().position(is_control)?;
        Some(self.early.remove(control).stream)
    }

    fn begin(&mut self, admission: Admission, control: Stream) {
        self.deadline = None;
        let (shared, remote) = (Arc::clone(&self.shared), self.remote.clone());
        match session::spawn(shared, self.peer, self.dialled, remote, admission, control) {
            Ok(port) => {
                self.session = Some(port);
                self.events
                    .push_back(ConnectionHandlerEvent::NotifyBehaviour(ToBehaviour::Admitted));
            }
            Err(error) => self.fail(&error.to_string()),
        }
    }

    fn on_exchange(&mut self, result: Result<Admission, HelloError>) {
        let result = match result {
            Ok(admission) if self.dialled => {
                let (seat, dialled_by_us) = (admission.seat, true);
                let joined = self.shared.may_join(self.peer, Place { seat, dialled_by_us });
                joined.map(|()| admission)
            }
            other => other,
        };
        match result {
            Ok(admission) => {
                self.admission = Some(admission);
                if self.dialled {
                    self.open.store(true, Ordering::Release);
                    self.open_stream(Protocol::Control, OpenInfo::Control);
                } else if let Some(control) = self.take_early_control() {
                    self.begin_dialled(control);
                }
            }
            Err(error) => self.end(&error.to_string(), matches!(error, HelloError::Busy)),
        }
    }

    fn on_opened(&mut self, stream: Stream, info: OpenInfo) {
        match info {
            OpenInfo::Hello(product) => {
                let (shared, peer) = (Arc::clone(&self.shared), self.peer);
                self.exchange = Some(async move { hello::speak(stream, &shared, peer, product).await }.boxed());
            }
            OpenInfo::Control => {
                if let Some(admission) = self.admission.take() {
                    self.begin(admission, stream);
                }
            }
            OpenInfo::Session(opened) => {
                // The session may have given up waiting; then the stream is reset.
                let _ = opened.send(stream);
            }
        }
    }

    fn poll_session(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(port) = &mut self.session else { return false };
        if port.closed.poll_unpin(cx).is_ready() {
            self.fail("the session is over");
            return true;
        }
        match port.opens.poll_recv(cx) {
            Poll::Ready(Some((protocol, opened))) => {
                self.open_stream(protocol, OpenInfo::Session(opened));
                true
            }
            Poll::Ready(None) | Poll::Pending => false,
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = std::convert::Infallible;
    type ToBehaviour = ToBehaviour;
    type InboundProtocol = Offer;
    type OutboundProtocol = Offer;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = OpenInfo;

    fn listen_protocol(&self) -> SubstreamProtocol<Offer> {
        let open = self.open.load(Ordering::Acquire);
        let offer = if open { Offer::ADMITTED } else { Offer::STRANGER };
        SubstreamProtocol::new(offer, ()).with_timeout(HELLO_TIMEOUT)
    }

    fn connection_keep_alive(&self) -> bool {
        true
    }

    fn on_behaviour_event(&mut self, event: Self::FromBehaviour) {
        match event {}
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Offer, Offer, (), OpenInfo>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (protocol, stream),
                ..
            }) => {
                self.on_inbound(protocol, stream);
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: (_, stream),
                info,
            }) => {
                self.on_opened(stream, info);
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error })
                if !matches!(info, OpenInfo::Session(_)) =>
            {
                self.fail(&format!("a stream could not be opened: {error}"));
            }
            _ => {}
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Poll::Ready(event);
            }
            if self.closing {
                return Poll::Pending;
            }
            if let Some(exchange) = &mut self.exchange
                && let Poll::Ready(result) = exchange.poll_unpin(cx)
            {
                self.exchange = None;
                self.on_exchange(result);
                continue;
            }
            if let Some(deadline) = &mut self.deadline
                && deadline.poll_unpin(cx).is_ready()
            {
                self.deadline = None;
                self.fail("not admitted in time");
                continue;
            }
            if self.poll_session(cx) {
                continue;
            }
            return Poll::Pending;
        }
    }
}
