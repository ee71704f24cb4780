//! The server's side of TLS: sessions kept per control connection, and configurations that differ only in their tickets.

use super::certs::{Ca, Identity, Validity};
use super::{Behaviour, Groups, Versions};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{StoresServerSessions, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// The certificate authority of every test server in this process.
pub fn ca() -> &'static Ca {
    static CA: OnceLock<Ca> = OnceLock::new();
    CA.get_or_init(|| Ca::new("ftpsfs tests"))
}

/// A certificate for loopback by [`ca`].
pub fn identity() -> &'static Identity {
    static IDENTITY: OnceLock<Identity> = OnceLock::new();
    IDENTITY.get_or_init(|| ca().issue(&["localhost", "127.0.0.1", "::1"], Validity::Valid))
}

/// How long the server remembers the sessions of a control connection.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    /// From the control connection's handshake on; newer tickets of the same chain do not live longer.
    pub lifetime: Option<Duration>,
    /// How many resumptions in all.
    pub uses_max: Option<usize>,
    /// Whether a TLS 1.3 ticket is refused when it comes a second time.
    pub single_use: bool,
}

/// The sessions of one control connection and its data connections.
#[derive(Debug)]
pub struct Store {
    memory: Memory,
    born: Instant,
    expired: AtomicBool,
    uses: AtomicUsize,
    sessions: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
}

impl Store {
    pub fn new(memory: Memory) -> Arc<Self> {
        Arc::new(Self {
            memory,
            born: Instant::now(),
            expired: AtomicBool::new(false),
            uses: AtomicUsize::new(0),
            sessions: Mutex::default(),
        })
    }

    /// From now on nothing of this store is resumed.
    pub fn expire(&self) {
        self.expired.store(true, SeqCst);
    }

    fn is_over(&self) -> bool {
        self.expired.load(SeqCst)
            || self.memory.lifetime.is_some_and(|lifetime| self.born.elapsed() >= lifetime)
            || self.memory.uses_max.is_some_and(|max| self.uses.load(SeqCst) >= max)
    }
}

impl StoresServerSessions for Store {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.sessions.lock().unwrap().insert(key, value);
        true
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        if self.is_over() {
            return None;
        }
        let found = self.sessions.lock().unwrap().get(key).cloned()?;
        self.uses.fetch_add(1, SeqCst);
        Some(found)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        let found = self.get(key);
        if self.memory.single_use {
            self.sessions.lock().unwrap().remove(key);
        }
        found
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// What all control connections of one server have in common; making it parses PEM.
pub fn base(behaviour: &Behaviour, identity: &Identity) -> ServerConfig {
    let chain = CertificateDer::pem_slice_iter(identity.chain_pem.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).unwrap();
    let versions: &[_] = match behaviour.versions {
        Versions::Tls12 => &[&rustls::version::TLS12],
        Versions::Tls13 => &[&rustls::version::TLS13],
        Versions::Both => &[&rustls::version::TLS13, &rustls::version::TLS12],
    };
    let provider = Arc::new(provider(behaviour));
    let clients = match &behaviour.clients {
        None => WebPkiClientVerifier::no_client_auth(),
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap()
        }
    };
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)
        .unwrap()
}

/// `base` with the sessions of one control connection and `tickets` new ones after each TLS 1.3 handshake.
pub fn with_store(base: &ServerConfig, store: &Arc<Store>, tickets: usize) -> Arc<ServerConfig> {
    let mut config = base.clone();
    config.session_storage = Arc::clone(store) as _;
    config.send_tls13_tickets = tickets;
    Arc::new(config)
}

fn provider(behaviour: &Behaviour) -> CryptoProvider {
    let mut provider = ring::default_provider();
    if behaviour.groups == Groups::P256Only {
        provider.kx_groups = vec![ring::kx_group::SECP256R1];
    }
    // The record layer of records.rs copies traffic keys of 32 bytes only.
    provider.cipher_suites.retain(|suite| !format!("{suite:?}").contains("AES_128"));
    provider
}
