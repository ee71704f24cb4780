use super::*;
use crate::remote::{FileKind, Metadata, Modified};
use crate::vfs::cache::blocks::BLOCK_BYTES;
use crate::vfs::cache::disk::segment::SEGMENT_BLOCKS;
use proptest::prelude::*;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::sync::atomic::{AtomicU64, Ordering};

const PLENTY: u64 = 1 << 30;
const BLOCK_LEN: usize = 128 * 1024;
/// Two segments, the second with a short block at its end.
const SIZE: u64 = (SEGMENT_BLOCKS + 2) * BLOCK_BYTES + 77;
const INDICES: [u64; 5] = [0, 1, 15, 16, 18];
const PATHS: [&str; 3] = ["/a", "/d/a", "/d/b"];

/// A directory that goes when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ftpsfs-blocks-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path.canonicalize().unwrap())
    }

    fn store(&self) -> Store {
        Store::open(&self.0, PLENTY, b"joe@host:21/").unwrap()
    }

    /// Every segment, in the order of their names.
    fn segments(&self) -> Vec<PathBuf> {
        let list = |path: &Path| -> Vec<PathBuf> { fs::read_dir(path).unwrap().map(|e| e.unwrap().path()).collect() };
        let directories = list(&self.0.join(NAME)).into_iter().filter(|path| path.is_dir());
        let mut segments: Vec<PathBuf> = directories.flat_map(|directory| list(&directory)).collect();
        segments.sort();
        segments
    }

    fn bytes(&self) -> u64 {
        self.segments().iter().map(|path| fs::metadata(path).unwrap().blocks() * 512).sum()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn path(text: &str) -> RemotePath {
    RemotePath::parse(text.as_bytes()).unwrap()
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn stamp(version: u64) -> Stamp {
    let modified = Some(Modified { time: at(1000 + version), precision: Duration::from_secs(1) });
    let metadata = Metadata { size: Some(SIZE), modified, ..Metadata::of_kind(FileKind::File) };
    Stamp::new(&metadata, at(1_000_000), Duration::ZERO).unwrap()
}

fn key(store: &Store, name: &str, version: u64) -> Key {
    Key { id: store.id(&path(name)), stamp: stamp(version), epoch: (0, 0) }
}

/// The one right content of a block.
fn content(name: &str, version: u64, index: u64) -> Vec<u8> {
    let seed = name.bytes().fold(version * 31 + index * 7, |seed, byte| seed * 131 + u64::from(byte));
    let len = BlockIndex(index).len(SIZE) as u64;
    (0..len).map(|at| ((at / 255 + at + seed).wrapping_mul(seed | 1) >> 3).to_le_bytes()[0]).collect()
}

fn load_at(store: &Store, key: &Key, index: u64, wall: SystemTime) -> Option<Vec<u8>> {
    let index = BlockIndex(index);
    let segment = store.segment(key, Segment::of(index), wall).unwrap().filter(|segment| segment.holds(index))?;
    let mut bytes = vec![0; index.len(SIZE)];
    segment.load(index, &mut bytes).unwrap().then_some(bytes)
}

fn load(store: &Store, name: &str, version: u64, index: u64) -> Option<Vec<u8>> {
    load_at(store, &key(store, name, version), index, SystemTime::now())
}

fn put(store: &Store, name: &str, version: u64, index: u64) -> bool {
    store.store(&key(store, name, version), BlockIndex(index), &content(name, version, index)).unwrap()
}

#[test]
fn what_was_stored_is_read_by_the_next_mount_of_the_same_account_only() {
    let scratch = Scratch::new();
    let store = scratch.store();
    for index in INDICES {
        assert_eq!(load(&store, "/a", 1, index), None);
        assert!(put(&store, "/a", 1, index));
    }
    drop(store);
    let (again, ann) = (scratch.store(), Store::open(&scratch.0, PLENTY, b"ann@host:21/").unwrap());
    for index in INDICES {
        assert_eq!(load(&again, "/a", 1, index), Some(content("/a", 1, index)));
        assert_eq!((load(&ann, "/a", 1, index), load(&again, "/d/a", 1, index)), (None, None));
    }
    assert_eq!((load(&again, "/a", 2, 0), load(&again, "/a", 1, 2)), (None, None));
    assert!(put(&again, "/a", 2, 0));
    assert_eq!((load(&again, "/a", 2, 0), load(&again, "/a", 1, 0)), (Some(content("/a", 2, 0)), None));
    again.forget(again.id(&path("/a")), true).unwrap();
    assert!(scratch.segments().is_empty());
}

#[test]
fn nobody_else_may_see_it_and_what_is_not_ours_is_left_alone() {
    let scratch = Scratch::new();
    fs::write(scratch.0.join("letter"), "mine").unwrap();
    assert!(put(&scratch.store(), "/a", 1, 0));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let segment = &scratch.segments()[0];
    let directories = [segment.parent().unwrap(), &scratch.0.join(NAME)];
    assert_eq!((mode(segment), directories.map(mode)), (0o600, [0o700; 2]));
    assert_eq!(fs::read(scratch.0.join("letter")).unwrap(), b"mine");
}

#[test]
fn a_directory_that_others_may_write_to_is_refused() {
    let scratch = Scratch::new();
    let refused = |path: &Path| Store::open(path, PLENTY, b"").unwrap_err().to_string();
    let (shared, link, file) = (scratch.0.join("shared"), scratch.0.join("link"), scratch.0.join("file"));
    fs::create_dir(&shared).unwrap();
    for mode in [0o770, 0o702, 0o1777] {
        fs::set_permissions(&shared, fs::Permissions::from_mode(mode)).unwrap();
        assert!(refused(&shared).contains("others than its owner"), "{mode:o}");
    }
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o755)).unwrap();
    symlink(&shared, &link).unwrap();
    assert!(refused(&link).contains("a symbolic link"));
    fs::write(&file, "").unwrap();
    assert!(refused(&file).contains("exists"));
    drop(Store::open(&shared, PLENTY, b"").unwrap());
    fs::set_permissions(shared.join(NAME), fs::Permissions::from_mode(0o750)).unwrap();
    assert!(refused(&shared).contains("others than its owner"));
    fs::remove_dir_all(shared.join(NAME)).unwrap();
    symlink(&scratch.0, shared.join(NAME)).unwrap();
    assert!(refused(&shared).contains("a symbolic link"));
}

/// A segment's name may lead elsewhere only if we, or root, made it so.
#[test]
fn no_symbolic_link_is_followed() {
    let scratch = Scratch::new();
    let store = scratch.store();
    assert!(put(&store, "/a", 1, 0));
    let (segment, elsewhere) = (scratch.segments().remove(0), scratch.0.join("elsewhere"));
    fs::rename(&segment, &elsewhere).unwrap();
    symlink(&elsewhere, &segment).unwrap();
    assert!(store.segment(&key(&store, "/a", 1), 0, at(0)).is_err());
    store.store(&key(&store, "/a", 1), BlockIndex(1), b"x").unwrap_err();
}

#[test]
fn all_who_share_it_stay_within_the_bound_and_what_was_used_last_stays() {
    let scratch = Scratch::new();
    let bytes_max = 24 * BLOCK_BYTES;
    let open = |scope: &[u8]| Store::open(&scratch.0, bytes_max, scope).unwrap();
    let (one, other) = (open(b"one"), open(b"other"));
    assert!(put(&one, "/a", 1, 0));
    for number in 0..100 {
        // As time goes by: what is written now was used now.
        let wall = SystemTime::now() + USED_PRECISION * 2;
        assert_eq!(load_at(&one, &key(&one, "/a", 1), 0, wall), Some(content("/a", 1, 0)), "after {number}");
        let store = if number % 2 == 0 { &one } else { &other };
        assert!(put(store, &format!("/{number}"), 1, number % SEGMENT_BLOCKS));
        assert!(scratch.bytes() <= bytes_max, "{} bytes after {number}", scratch.bytes());
    }
    assert!(scratch.bytes() > bytes_max / 2);
    assert_eq!((load(&other, "/99", 1, 3).is_some(), load(&one, "/0", 1, 0)), (true, None));
    let used = scratch.bytes();
    one.make_room().unwrap();
    assert!(scratch.bytes() < used && scratch.bytes() > used / 2);
    // A count that is wrong, or not there, is made anew.
    for text in [&b""[..], b"0123456789abcdef", b"x"] {
        fs::write(scratch.0.join(NAME).join("room"), text).unwrap();
        assert!(put(&one, "/b", 1, 0));
        assert!(scratch.bytes() <= bytes_max);
        one.forget(one.id(&path("/b")), false).unwrap();
    }
}

#[test]
fn a_block_that_is_larger_than_the_bound_is_not_stored() {
    let scratch = Scratch::new();
    let store = Store::open(&scratch.0, BLOCK_BYTES, b"").unwrap();
    assert!(!put(&store, "/a", 1, 0));
    assert!(scratch.segments().is_empty());
}

#[test]
fn a_renamed_directory_takes_what_was_stored_below_it_away_for_all_mounts_to_come() {
    let scratch = Scratch::new();
    let store = scratch.store();
    for name in PATHS {
        assert!(put(&store, name, 1, 0));
    }
    store.moved(&[&path("/d"), &path("/e")]).unwrap();
    let held = |store: &Store| PATHS.map(|name| load(store, name, 1, 0).is_some());
    assert_eq!(held(&store), [true, false, false]);
    assert!(put(&store, "/d/a", 1, 0));
    for store in [scratch.store(), scratch.store()] {
        assert_eq!(held(&store), [true, true, false]);
    }
    let note = fs::read_dir(scratch.0.join(NAME)).unwrap().map(|entry| entry.unwrap().path());
    let note = note.into_iter().find(|path| path.extension().is_some()).unwrap();
    fs::write(note, "{").unwrap();
    assert_eq!(held(&scratch.store()), [false; 3]);
    assert_eq!(held(&scratch.store()), [false; 3]);
}

/// The precision of a time rotted so that it could be another version's as well: that one's blocks were stored beside the
/// first one's, and given for them.
#[test]
fn a_stamp_that_rotted_joins_no_two_versions() {
    let scratch = Scratch::new();
    let store = scratch.store();
    assert!(put(&store, "/a", 1, 0));
    let segment = File::options().write(true).open(&scratch.segments()[0]).unwrap();
    segment.write_all_at(&10_000_000_000_u64.to_le_bytes(), 28).unwrap();
    assert!(put(&store, "/a", 2, 1));
    assert_eq!((load(&store, "/a", 1, 1), load(&store, "/a", 1, 0)), (None, None));
    assert_eq!(load(&store, "/a", 2, 1), Some(content("/a", 2, 1)));
}

/// What happens to the disk or to the machine.
#[derive(Debug, Clone)]
enum Harm {
    /// One bit at a place that is chosen by its kind.
    Flip(usize, u64, u8),
    /// A page that was never written.
    Zero(u64),
    /// Cut off there: the file's size outlived a crash, or its end did not.
    Cut(u64),
    /// Longer than what was written of it.
    Grow(u64),
    /// A block's content lies in another's place.
    SwapBlocks(usize, usize),
    /// And its checksum too.
    SwapSums(usize, usize),
    /// Another segment lies in its place.
    SwapSegments(usize),
    /// The header outlived a crash and the content is an older one's.
    OldContent(usize),
    /// All but the header is another's, checksums too.
    OtherBody(usize),
    /// The header is that of another version.
    OtherStamp(u64),
}

#[derive(Debug, Clone)]
enum Step {
    Store(usize, u64, usize),
    Load(usize, u64, usize),
    Forget(usize),
    Moved,
    Reopen,
    Harm(usize, Harm),
}

/// Where bytes of each kind lie: form, stamp, nothing, checksums, nothing, blocks.
const KINDS: [std::ops::Range<u64>; 8] = [
    0..8,
    8..56,
    56..128,
    128..144,
    128..384,
    384..HEADER_BYTES,
    HEADER_BYTES..HEADER_BYTES + BLOCK_BYTES,
    HEADER_BYTES..HEADER_BYTES + SEGMENT_BLOCKS * BLOCK_BYTES,
];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let places = || (0..PATHS.len(), 0..3u64, 0..INDICES.len());
    let block = || 0..INDICES.len();
    let harm = prop_oneof![
        6 => (0..KINDS.len(), any::<u64>(), 0..8u8).prop_map(|(kind, place, bit)| Harm::Flip(kind, place, bit)),
        1 => (0..600u64).prop_map(Harm::Zero),
        1 => (0..3_000_000u64).prop_map(Harm::Cut),
        1 => (0..5000u64).prop_map(Harm::Cut),
        1 => (0..3_000_000u64).prop_map(Harm::Grow),
        1 => (block(), block()).prop_map(|(one, other)| Harm::SwapBlocks(one, other)),
        1 => (block(), block()).prop_map(|(one, other)| Harm::SwapSums(one, other)),
        2 => any::<usize>().prop_map(Harm::SwapSegments),
        1 => block().prop_map(Harm::OldContent),
        2 => any::<usize>().prop_map(Harm::OtherBody),
        2 => (0..3u64).prop_map(Harm::OtherStamp),
    ];
    let step = prop_oneof![
        8 => places().prop_map(|(path, version, index)| Step::Store(path, version, index)),
        8 => places().prop_map(|(path, version, index)| Step::Load(path, version, index)),
        1 => (0..PATHS.len()).prop_map(Step::Forget),
        1 => Just(Step::Moved),
        1 => Just(Step::Reopen),
        6 => (any::<usize>(), harm).prop_map(|(segment, harm)| Step::Harm(segment, harm)),
    ];
    proptest::collection::vec(step, 1..40)
}

fn harm(segments: &[PathBuf], which: usize, harm: &Harm) {
    let path = &segments[which % segments.len()];
    let file = File::options().read(true).write(true).open(path).unwrap();
    let place = |block: usize| HEADER_BYTES + INDICES[block] % SEGMENT_BLOCKS * BLOCK_BYTES;
    let sum = |block: usize| 128 + INDICES[block] % SEGMENT_BLOCKS * 16;
    let swap = |one: u64, other: u64, len: usize| {
        let read = |at| {
            let mut bytes = vec![0; len];
            let _ = file.read_at(&mut bytes, at).unwrap();
            bytes
        };
        let (first, second) = (read(one), read(other));
        file.write_all_at(&second, one).unwrap();
        file.write_all_at(&first, other).unwrap();
    };
    match *harm {
        Harm::Flip(kind, place, bit) => {
            let at = KINDS[kind].start + place % (KINDS[kind].end - KINDS[kind].start);
            let mut byte = [0];
            let _ = file.read_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 1 << bit], at).unwrap();
        }
        Harm::Zero(page) => file.write_all_at(&[0; 4096], page * PAGE_BYTES).unwrap(),
        Harm::Cut(len) => file.set_len(file.metadata().unwrap().len().min(len)).unwrap(),
        Harm::Grow(len) => file.set_len(file.metadata().unwrap().len().max(len)).unwrap(),
        Harm::SwapBlocks(one, other) => swap(place(one), place(other), BLOCK_LEN),
        Harm::SwapSums(one, other) => {
            swap(place(one), place(other), BLOCK_LEN);
            swap(sum(one), sum(other), 16);
        }
        Harm::SwapSegments(other) => {
            let (other, aside) = (&segments[other % segments.len()], path.with_extension("aside"));
            fs::rename(path, &aside).unwrap();
            if other != path {
                fs::rename(other, path).unwrap();
            }
            fs::rename(&aside, other).unwrap();
        }
        Harm::OtherBody(other) => {
            let body = fs::read(&segments[other % segments.len()]).unwrap();
            file.write_all_at(body.get(128..).unwrap_or_default(), 128).unwrap();
        }
        Harm::OtherStamp(version) => file.write_all_at(&stamp(version).to_bytes().unwrap(), 8).unwrap(),
        Harm::OldContent(block) => file.write_all_at(&content("/a", 7, 0), place(block)).unwrap(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Whatever becomes of the disk: a block is what it must be, or it is not there.
    #[test]
    fn a_wrong_byte_is_never_given(steps in steps()) {
        let scratch = Scratch::new();
        let mut store = scratch.store();
        for step in steps {
            match step {
                Step::Store(name, version, index) => {
                    put(&store, PATHS[name], version, INDICES[index]);
                }
                Step::Load(name, version, index) => {
                    let found = load(&store, PATHS[name], version, INDICES[index]);
                    let right = content(PATHS[name], version, INDICES[index]);
                    prop_assert!(found.is_none_or(|found| found == right), "{} {version} {index}", PATHS[name]);
                }
                Step::Forget(name) => store.forget(store.id(&path(PATHS[name])), true).unwrap(),
                Step::Moved => store.moved(&[&path("/d")]).unwrap(),
                Step::Reopen => store = scratch.store(),
                Step::Harm(which, done) => {
                    let segments = scratch.segments();
                    if !segments.is_empty() {
                        harm(&segments, which, &done);
                    }
                }
            }
        }
        for name in PATHS {
            for (version, index) in (0..3).flat_map(|version| INDICES.map(|index| (version, index))) {
                let found = load(&store, name, version, index);
                prop_assert!(found.is_none_or(|found| found == content(name, version, index)));
            }
        }
    }
}
