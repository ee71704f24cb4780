//! Names of accounts and groups on servers, each kept once: a million files may belong to one.

use parking_lot::RwLock;
use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Arc, LazyLock};

/// The name of an account or a group, in four bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Account(NonZeroU32);

impl Account {
    /// The account `name`; `None` for what is none, and for more of them than a server has.
    pub fn named(name: &[u8]) -> Option<Self> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains(&0) {
            return None;
        }
        let known = ACCOUNTS.read().numbers.get(name).copied();
        known.or_else(|| ACCOUNTS.write().add(name))
    }

    /// Its name.
    pub fn name(self) -> Arc<[u8]> {
        let accounts = ACCOUNTS.read();
        let name = usize::try_from(self.0.get()).ok().and_then(|number| accounts.names.get(number - 1));
        name.map_or_else(|| Arc::from(*b""), Arc::clone)
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", crate::path::escaped(&self.name()))
    }
}

#[derive(Default)]
struct Accounts {
    names: Vec<Arc<[u8]>>,
    numbers: HashMap<Arc<[u8]>, Account>,
}

impl Accounts {
    fn add(&mut self, name: &[u8]) -> Option<Account> {
        // Somebody else may have been quicker.
        if let Some(known) = self.numbers.get(name) {
            return Some(*known);
        }
        if self.names.len() >= ACCOUNTS_MAX {
            return None;
        }
        let name: Arc<[u8]> = name.into();
        self.names.push(Arc::clone(&name));
        let account = Account(NonZeroU32::new(u32::try_from(self.names.len()).ok()?)?);
        self.numbers.insert(name, account);
        Some(account)
    }
}

/// Of all servers of the process, which is one.
static ACCOUNTS: LazyLock<RwLock<Accounts>> = LazyLock::new(RwLock::default);

/// A server that tells of more must not choose our memory use.
const ACCOUNTS_MAX: usize = 4096;
/// Longer names (bytes) are none (`LOGIN_NAME_MAX` is 256).
const NAME_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_account_and_there_are_not_too_many() {
        let joe = Account::named(b"joe").unwrap();
        assert_eq!((Account::named(b"joe"), &*joe.name()), (Some(joe), &b"joe"[..]));
        assert_ne!(Account::named(b"ann"), Some(joe));
        for bad in [&b""[..], b"a\0b", &[b'x'; NAME_BYTES_MAX + 1]] {
            assert_eq!(Account::named(bad), None);
        }
        let mut accounts = Accounts::default();
        let added = (0..2 * ACCOUNTS_MAX).filter_map(|number| accounts.add(number.to_string().as_bytes())).count();
        assert_eq!(added, ACCOUNTS_MAX);
    }
}
