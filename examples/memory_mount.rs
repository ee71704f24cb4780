#![allow(missing_docs, dead_code, unreachable_pub, clippy::all, clippy::unwrap_used)]
#[path = "../tests/support/memory.rs"]
mod memory;
use ftpsfs::fuse::Adapter;
use ftpsfs::vfs::{Settings, Vfs};
use std::sync::Arc;
struct Logger;
impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, r: &log::Record<'_>) {
        if r.target().starts_with("ftpsfs") || r.level() < log::Level::Info {
            eprintln!("{} {}", r.level(), r.args());
        }
    }
    fn flush(&self) {}
}
fn main() {
    let level = if std::env::var("DEBUG").is_ok() { log::LevelFilter::Debug } else { log::LevelFilter::Info };
    log::set_boxed_logger(Box::new(Logger)).unwrap();
    log::set_max_level(level);
    let memory = memory::Memory::new();
    let settings = Settings {
        umask: 0,
        spool_dir: "/tmp/mm.spool".into(),
        recovery_dir: "/tmp/mm.rec".into(),
        host: "box".into(),
        ..Settings::default()
    };
    let vfs = Arc::new(Vfs::new(Arc::new(memory.clone()), settings));
    let mut options = fuser::Config::default();
    options.n_threads = Some(2);
    options.clone_fd = true;
    options.acl = fuser::SessionACL::All;
    options.mount_options =
        vec![fuser::MountOption::DefaultPermissions, fuser::MountOption::CUSTOM("max_read=1048576".into())];
    let session = fuser::Session::new(
        Adapter::new(vfs.clone()),
        std::path::Path::new(&std::env::args().nth(1).unwrap()),
        &options,
    )
    .unwrap();
    Adapter::connect(&vfs, session.notifier());
    let b = session.spawn().unwrap();
    b.join().unwrap();
    for (k, v) in memory.tree() {
        println!("{k} {}", v.map_or("-".into(), |v| v.len().to_string()));
    }
    eprintln!("{} {:?}", vfs.summary(), memory.counts());
}
