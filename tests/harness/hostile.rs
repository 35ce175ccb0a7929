//! A peer that means harm: a site with a grant and an enrolment like any other, whose node is this instead of ours.
//!
//! It is made of stock libp2p parts and of the wire types of `samara-protocol`, holds the true bytes of a release, and
//! serves them as its [`Conduct`] says. It dials its victims and, when they hang up, dials them again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use samara_protocol::id::NodeId;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

mod conduct;
mod floods;
mod hoards;
mod insider;
mod link;
mod session;
mod takers;
mod visit;
mod wares;

pub use conduct::Conduct;
pub use insider::{Insider, seed_in};
pub use link::{CONTROL, DATA, Link};
pub use visit::Visit;
pub use wares::Wares;

/// What one victim has done with it so far.
#[derive(Debug, Default)]
pub struct Seen {
    admitted: AtomicU64,
    refused: AtomicU64,
    asks: AtomicU64,
    files: AtomicU64,
    taken: AtomicU64,
    held: AtomicU64,
    held_most: AtomicU64,
}

impl Seen {
    /// How often it was let in.
    #[must_use]
    pub fn admitted(&self) -> u64 {
        self.admitted.load(Ordering::SeqCst)
    }

    /// How often the victim answered the connection and not the hello.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::SeqCst)
    }

    /// How many asks for groups came.
    #[must_use]
    pub fn asks(&self) -> u64 {
        self.asks.load(Ordering::SeqCst)
    }

    /// How many asks for files came.
    #[must_use]
    pub fn files(&self) -> u64 {
        self.files.load(Ordering::SeqCst)
    }

    /// Bytes of payload that it was sent and has read.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::SeqCst)
    }

    /// How many connections with it were past their handshake and not yet closed at one time.
    #[must_use]
    pub fn held_most(&self) -> u64 {
        self.held_most.load(Ordering::SeqCst)
    }

    fn holds_one_more(&self) {
        let held = self.held.fetch_add(1, Ordering::SeqCst) + 1;
        self.held_most.fetch_max(held, Ordering::SeqCst);
    }

    fn holds_one_less(&self) {
        self.held.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A running one; ends on drop.
#[derive(Debug)]
pub struct Hostile {
    node: NodeId,
    seen: Vec<Arc<Seen>>,
    last: Arc<Mutex<String>>,
    lured: Arc<AtomicU64>,
    runtime: Option<Runtime>,
}

impl Hostile {
    /// Starts one that dials every victim until it is dropped.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(insider: Insider, wares: Wares, conduct: Conduct, victims: &[String]) -> Result<Self> {
        let runtime = runtime()?;
        let (node, shared) = (insider.node(), Arc::new((insider, wares)));
        let last = Arc::new(Mutex::new(String::new()));
        let lured = Arc::new(AtomicU64::new(0));
        let lure = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = lure.local_addr()?;
        runtime.spawn(count(lure, Arc::clone(&lured)));
        let mut seen = Vec::new();
        for victim in victims {
            let one = Arc::new(Seen::default());
            seen.push(Arc::clone(&one));
            let (shared, victim, last) = (Arc::clone(&shared), victim.clone(), Arc::clone(&last));
            runtime.spawn(async move {
                loop {
                    let ended = match conduct {
                        Conduct::HoardConnections => hoards::connections(&shared.0, &victim, &one).await,
                        _ => session::run(&shared.0, &shared.1, conduct, &victim, &one, address).await,
                    };
                    if let Err(error) = ended {
                        *last.lock().unwrap_or_else(PoisonError::into_inner) = format!("{victim}: {error:#}");
                    }
                    tokio::time::sleep(conduct.rest()).await;
                }
            });
        }
        Ok(Self {
            node,
            seen,
            last,
            lured,
            runtime: Some(runtime),
        })
    }

    /// Its name.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// What each victim has done with it, in the order that they were named.
    #[must_use]
    pub fn seen(&self) -> &[Arc<Seen>] {
        &self.seen
    }

    /// How often somebody has dialled what its contacts name.
    #[must_use]
    pub fn lured(&self) -> u64 {
        self.lured.load(Ordering::SeqCst)
    }

    /// How its last connection ended, for people.
    #[must_use]
    pub fn last_error(&self) -> String {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn count(lure: TcpListener, lured: Arc<AtomicU64>) {
    while lure.accept().await.is_ok() {
        lured.fetch_add(1, Ordering::SeqCst);
    }
}

/// Where what is asynchronous here runs.
///
/// # Errors
/// When no thread can be started.
pub fn runtime() -> Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all();
    builder.build().context("starting a runtime")
}
