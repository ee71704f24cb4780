//! Writing to a mount call by call, and what became of it.

use crate::support::mountpoint::Mount;
use crate::support::run::{PATIENCE, finish, within};
use nix::errno::Errno;
use nix::libc::{O_CREAT, O_TRUNC, O_WRONLY};
use nix::sys::statvfs::statvfs;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Lines, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> Errno {
    Errno::from_raw(result.unwrap_err().raw_os_error().unwrap())
}

pub(crate) fn close(file: File) -> io::Result<()> {
    nix::unistd::close(file).map_err(io::Error::from)
}

/// A process that writes a content to a file, call by call. Not ours: a process that another test starts in the middle would
/// have our file open for a moment, and its close would end an upload.
pub(crate) struct Writer {
    process: Child,
    said: Lines<BufReader<ChildStdout>>,
    source: PathBuf,
}

impl Writer {
    pub(crate) fn open(mount: &Mount, path: &Path, content: &[u8], flags: i32) -> io::Result<Self> {
        let source = mount.beside("source").join(path.file_name().unwrap());
        fs::write(&source, content).unwrap();
        let mut python = Command::new("/usr/bin/python3");
        python.args(["-c", WRITER]).args([&source, path]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = python.spawn().unwrap();
        let said = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut writer = Self { process, said, source };
        writer.ask(&format!("open {flags}"))?;
        Ok(writer)
    }

    pub(crate) fn write(&mut self, range: Range<usize>) -> io::Result<()> {
        self.ask(&format!("write {} {}", range.start, range.len()))
    }

    pub(crate) fn close(mut self) -> io::Result<()> {
        self.ask("close")
    }

    fn ask(&mut self, call: &str) -> io::Result<()> {
        writeln!(self.process.stdin.as_mut().unwrap(), "{call}").unwrap();
        match self.said.next().unwrap().unwrap().parse().unwrap() {
            0 => Ok(()),
            number => Err(io::Error::from_raw_os_error(number)),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
        let _ = fs::remove_file(&self.source);
    }
}

const WRITER: &str = "
import os, sys
source = os.open(sys.argv[1], os.O_RDONLY)
for line in sys.stdin:
    call, *numbers = line.split()
    try:
        if call == 'open':
            file = os.open(sys.argv[2], int(numbers[0]), 0o644)
        elif call == 'write':
            offset, end = int(numbers[0]), int(numbers[0]) + int(numbers[1])
            while offset < end:
                offset += os.pwrite(file, os.pread(source, end - offset, offset), offset)
        else:
            os.close(file)
        print(0, flush=True)
    except OSError as error:
        print(error.errno, flush=True)
";

pub(crate) const CREATE: i32 = O_WRONLY | O_CREAT | O_TRUNC;

/// Writes `content` and closes; how many bytes were taken, and what went wrong, wherever it did.
pub(crate) fn store_counting(mount: &Mount, name: &str, content: &[u8]) -> (usize, io::Result<()>) {
    let mut writer = match Writer::open(mount, &mount.path(name), content, CREATE) {
        Ok(writer) => writer,
        Err(error) => return (0, Err(error)),
    };
    let (mut taken, mut result) = (0, Ok(()));
    while taken < content.len() && result.is_ok() {
        let end = content.len().min(taken + 100_000);
        result = writer.write(taken..end);
        taken = if result.is_ok() { end } else { taken };
    }
    let closed = writer.close();
    (taken, result.and(closed))
}

pub(crate) fn store(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    let written = file.write_all(content);
    let closed = close(file);
    written.and(closed)
}

pub(crate) fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Every byte of `content` that was taken, `taken` at least, is kept: in the recovery directory or, up to where that begins, on the server,
/// beside the file or, of one that is written in place, in it.
pub(crate) fn assert_kept(mount: &Mount, disk: &Path, name: &str, content: &[u8], taken: usize) {
    // It is kept once nobody has the file open any more, which the kernel tells a moment after close.
    let deadline = Instant::now() + Duration::from_secs(10);
    let on_server =
        || -> Vec<Vec<u8>> { names(disk).iter().filter_map(|name| fs::read(disk.join(name)).ok()).collect() };
    let mut found = kept(mount, &on_server(), name, content, taken);
    while found.is_err() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
        found = kept(mount, &on_server(), name, content, taken);
    }
    found.unwrap_or_else(|why| panic!("{name}: {why}; on the server {:?}; {}", names(disk), mount.log()));
}

/// The same, where `on_server` is what the files of the directory hold.
pub(crate) fn kept(
    mount: &Mount,
    on_server: &[Vec<u8>],
    name: &str,
    content: &[u8],
    taken: usize,
) -> Result<(), String> {
    if taken == 0 {
        return Err("nothing was taken, of which nothing can be kept".to_owned());
    }
    if on_server.iter().any(|bytes| bytes.len() >= taken && content.starts_with(bytes)) {
        return Ok(());
    }
    let mut why = String::from("nothing was kept");
    for (path, sidecar) in mount.recovered().into_iter().filter(|(_, sidecar)| sidecar.contains(&format!("/{name}\"")))
    {
        let bytes = fs::read(&path).unwrap();
        let ranges = ranges(&sidecar);
        let here = ranges.iter().all(|(start, end)| bytes.get(*start..*end) == content.get(*start..*end));
        let first = ranges.iter().map(|(start, _)| *start).min().unwrap_or(taken);
        let whole = ranges.iter().map(|(start, end)| end - start).sum::<usize>() + first >= taken;
        let there = first == 0 || on_server.iter().any(|bytes| bytes.get(..first) == Some(&content[..first]));
        if here && whole && there {
            return Ok(());
        }
        let lengths: Vec<_> = on_server.iter().map(Vec::len).collect();
        why = format!(
            "{} of {taken} bytes in {}; right: {here}, to the end: {whole}, the beginning on the server: {there}, {lengths:?}; {sidecar}",
            bytes.len(),
            path.display()
        );
    }
    Err(why)
}

/// `"ranges": [[0, 5], [7, 9]]`
fn ranges(sidecar: &str) -> Vec<(usize, usize)> {
    let list = sidecar.split_once("\"ranges\": ").and_then(|(_, list)| list.lines().next()).unwrap_or_default();
    let numbers: Vec<usize> =
        list.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect();
    numbers.chunks(2).map(|pair| (pair[0], pair[1])).collect()
}

pub(crate) fn store_backwards(mount: &Mount, name: &str, content: &[u8]) -> io::Result<()> {
    let mut writer = Writer::open(mount, &mount.path(name), content, CREATE)?;
    let half = content.len() / 2;
    let written = writer.write(half..content.len()).and_then(|()| writer.write(0..half));
    let closed = writer.close();
    written.and(closed)
}

/// A tmpfs of 8 MiB, until it is dropped.
pub(crate) struct Small(pub(crate) PathBuf);

impl Small {
    pub(crate) fn mount(path: &Path) -> Self {
        finish(within(PATIENCE, "mount").args(["-t", "tmpfs", "-o", "size=8m,mode=755", "tmpfs"]).arg(path))
            .succeeded();
        Self(path.to_owned())
    }

    /// Waits until what was removed is gone: a server may have it open for a moment.
    pub(crate) fn wait_for_room(&self) {
        let room = || statvfs(&self.0).map(|told| told.blocks_available() * told.fragment_size()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while room() < 1 << 20 {
            assert!(Instant::now() < deadline, "{} bytes are free", room());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = within(PATIENCE, "umount").arg("-l").arg(&self.0).status();
    }
}
