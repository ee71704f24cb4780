#![allow(missing_docs, clippy::unwrap_used)]
use ftpsfs::ftp::client::Client;
use ftpsfs::ftp::settings::*;
use ftpsfs::path::RemotePath;
use ftpsfs::remote::*;
use ftpsfs::secret::Secret;
use std::time::*;
fn p(s: &str) -> RemotePath {
    RemotePath::parse(s.as_bytes()).unwrap()
}
struct L;
impl log::Log for L {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, r: &log::Record<'_>) {
        eprintln!("{} {}", r.level(), r.args())
    }
    fn flush(&self) {}
}
fn main() {
    let a: Vec<String> = std::env::args().collect();
    if std::env::var("V").is_ok() {
        log::set_logger(&L).unwrap();
        log::set_max_level(std::env::var("V").unwrap().parse().unwrap());
    }
    let s = Settings {
        host: "localhost".into(),
        port: a[1].parse().unwrap(),
        tls: if a[2] == "implicit" { TlsMode::Implicit } else { TlsMode::Explicit },
        user: a[3].clone(),
        password: Secret::new(a[4].as_str()),
        directory: Directory::FromLogin(vec![]),
        trust: Trust::Pem(std::fs::read(&a[5]).unwrap()),
        connections_max: std::env::var("N").map_or(4, |n| n.parse().unwrap()).try_into().unwrap(),
        timeout: Duration::from_secs(10), verify: Verify::Hash,
        idle_timeout: Duration::from_secs(60),
    };
    let c = Client::connect(s).unwrap();
    println!("mkdir {:?}", c.create_directory(&p("/w")));
    println!("mkdir again {:?}", c.create_directory(&p("/w")));
    let mut bad = 0;
    let t = Instant::now();
    for i in 0..60usize {
        let n = [0usize, 1, 1000, 100_000, 1_000_000, 8_000_000][i % 6];
        let data: Vec<u8> = (0..n).map(|k| (k * 31 + i) as u8).collect();
        let path = p(&format!("/w/f{i}"));
        let mut u = c.write_to(&path, Start::Beginning).unwrap();
        for b in data.chunks(300_000) {
            u.write(b).unwrap();
        }
        if let Err(e) = u.finish() {
            println!("{i} {n}: {e}");
            bad += 1;
        }
    }
    println!("60 uploads bad={bad} {:?}", t.elapsed());
    let mut u = c.write_to(&p("/w/f1"), Start::End(1)).unwrap();
    u.write(b"hello").unwrap();
    println!("append {:?}", u.finish());
    match c.write_to(&p("/w/f1"), Start::End(0)) {
        Ok(mut u) => {
            u.write(b"x").unwrap();
            println!("append wrong {:?}", u.finish())
        }
        Err(e) => println!("append {e}"),
    }
    println!("rename {:?}", c.rename(&p("/w/f2"), &p("/w/f3")));
    println!("rename missing {:?}", c.rename(&p("/w/nope"), &p("/w/f3")));
    println!("mtime {:?}", c.set_modified(&p("/w/f3"), UNIX_EPOCH + Duration::from_secs(1_000_000_000)));
    println!("mode {:?}", c.set_mode(&p("/w/f3"), 0o600));
    println!("stat {:?}", c.stat(&p("/w/f3")));
    println!("symlink {:?}", c.create_symlink(&p("/w/ln"), b"f3"));
    println!("rmdir full {:?}", c.remove_directory(&p("/w")));
    println!("dele missing {:?}", c.remove_file(&p("/w/nope")));
    match c.write_to(&p("/nodir/x"), Start::Beginning) {
        Ok(u) => println!("nodir {:?}", u.finish()),
        Err(e) => println!("nodir {:?} {e}", e.kind),
    }
    for e in c.list(&p("/w")).unwrap() {
        c.remove_file(&p(&format!("/w/{}", e.name))).unwrap();
    }
    println!("rmdir {:?}", c.remove_directory(&p("/w")));
    // ten writers at limit N
    let t = Instant::now();
    std::thread::scope(|s| {
        for w in 0..10 {
            let c = &c;
            s.spawn(move || {
                let path = p(&format!("/par{w}"));
                let mut u = match c.write_to(&path, Start::Beginning) {
                    Ok(u) => u,
                    Err(e) => {
                        println!("{w}: open {e}");
                        return;
                    }
                };
                for _ in 0..100 {
                    if let Err(e) = u.write(&vec![w as u8; 300_000]) {
                        println!("{w}: {e}");
                        return;
                    }
                }
                if let Err(e) = u.finish() {
                    println!("{w}: fin {e}")
                }
                let _ = c.remove_file(&path);
            });
        }
    });
    println!("10 writers {:?}", t.elapsed());
    println!("{}", c.summary());
    c.close();
}
