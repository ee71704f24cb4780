//! Who a file belongs to here, made of who it belongs to on the server (`idmap=`).

use crate::accounts::Account;
use crate::remote::Metadata;
use crate::sys;
use crate::vfs::settings::IdMap;
use parking_lot::Mutex;
use std::collections::HashMap;

/// Finds the owners of files, and remembers those that had to be looked up.
#[derive(Debug)]
pub(crate) struct Owners {
    idmap: IdMap,
    users: Mutex<HashMap<Account, Option<u32>>>,
    groups: Mutex<HashMap<Account, Option<u32>>>,
}

impl Owners {
    pub(crate) fn new(idmap: IdMap) -> Self {
        Self { idmap, users: Mutex::default(), groups: Mutex::default() }
    }

    /// Leaves in `metadata` the numbers that are to be shown; `None` where the mount's own are. May wait for the system's
    /// list of accounts.
    pub(crate) fn settle(&self, metadata: &mut Metadata) {
        (metadata.uid, metadata.gid) = match self.idmap {
            IdMap::None => (None, None),
            IdMap::Numeric => (metadata.uid.filter(is_somebody), metadata.gid.filter(is_somebody)),
            IdMap::Name => (
                metadata.owner.and_then(|owner| look_up(&self.users, owner, sys::user_number)),
                metadata.group.and_then(|group| look_up(&self.groups, group, sys::group_number)),
            ),
        };
    }
}

/// The greatest number means "no change" to chown(2) and is nobody's.
fn is_somebody(id: &u32) -> bool {
    *id != u32::MAX
}

fn look_up(
    known: &Mutex<HashMap<Account, Option<u32>>>,
    account: Account,
    ask: fn(&[u8]) -> Option<u32>,
) -> Option<u32> {
    if let Some(known) = known.lock().get(&account) {
        return *known;
    }
    let id = ask(&account.name());
    known.lock().insert(account, id);
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::FileKind;

    #[test]
    fn owners_are_the_mounts_the_servers_numbers_or_its_names_here() {
        let told = Metadata {
            uid: Some(1001),
            gid: Some(u32::MAX),
            owner: Account::named(b"root"),
            group: Account::named(b"no such group here"),
            ..Metadata::of_kind(FileKind::File)
        };
        let ids = |idmap| {
            let mut metadata = told.clone();
            let owners = Owners::new(idmap);
            owners.settle(&mut metadata);
            (metadata.uid, metadata.gid)
        };
        assert_eq!(ids(IdMap::None), (None, None));
        assert_eq!(ids(IdMap::Numeric), (Some(1001), None));
        assert_eq!(ids(IdMap::Name), (Some(0), None));
    }
}
