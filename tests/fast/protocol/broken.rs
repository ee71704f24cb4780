//! Connections that break at each step of a transfer, in each way: the caller sees the right bytes, or that it has to go on.

use super::ftpd::tree::pattern;
use super::ftpd::{Act, Behaviour, Content, Fault, Server, Step, Tree};
use super::{client, names, path, read_on};
use ftpsfs::ftp::client::Client;
use ftpsfs::remote::{self, ErrorKind, Remote as _, Start};

const SIZE: u64 = 300_000;

/// Before a byte of the content has come: another connection does it all again.
const BEFORE: [Step; 3] = [Step::Command("EPSV"), Step::DataAccept, Step::Preliminary];
const DURING: [Step; 4] = [Step::Byte(0), Step::Half, Step::LastByte, Step::CloseNotify];

fn server() -> Server {
    Server::start(
        Behaviour::default(),
        Tree::new().made_up("/b", SIZE).directory("/d").file("/d/x", "").file("/d/y", ""),
    )
}

/// Of the data connection during a transfer, else of the control connection; and of both at once.
fn losses() -> [Act; 6] {
    let goodbye = Act::SayAndHangUp("421 Going down.".to_owned());
    // A fatal decode_error (RFC 8446 section 6) of a server that has lost the keys, or whose process has another's connection.
    let alert = Act::Clear("\x15\x03\x03\x00\x02\x02\x32".to_owned());
    [Act::HangUp, Act::Reset, Act::End, goodbye, Act::PutAndHangUp(Vec::new()), alert]
}

fn for_each_loss(steps: &[Step], test: impl Fn(&Server, &Client, Step, &str)) {
    for &step in steps {
        for loss in losses() {
            let server = server();
            let client = client(&server);
            let story = format!("{step:?} {loss:?}");
            server.fault(Fault::new(step, loss).once());
            test(&server, &client, step, &story);
            assert!(server.connections() <= 3, "{story}: {} connections", server.connections());
        }
    }
}

#[test]
fn a_download_goes_on_at_the_byte_where_it_broke_off() {
    let steps = [&BEFORE[..], &[Step::Command("RETR"), Step::DataHandshake], &DURING, &[Step::FinalReply]].concat();
    let content: Vec<u8> = (0..SIZE).map(pattern).collect();
    for_each_loss(&steps, |server, client, step, story| {
        let (mut bytes, mut setbacks) = (Vec::new(), 0);
        while let Err(error) = read_on(client, "/b", Some(SIZE), &mut bytes) {
            assert_eq!(error.kind, ErrorKind::Lost, "{story}: {error}");
            setbacks += 1;
            assert!(setbacks < 3, "{story}: {error}");
        }
        assert!(bytes == content, "{story}: {} bytes", bytes.len());
        // Where nothing had begun, or only the server's goodbye was missing, nobody hears of it.
        let quiet = BEFORE.contains(&step) || step == Step::Command("RETR");
        assert!(!quiet || setbacks == 0, "{story}: {setbacks} setbacks");
        let restarts = server.lines().iter().filter(|(_, line)| line.starts_with("REST ")).count();
        assert!(restarts <= setbacks, "{story}");
    });
}

#[test]
fn a_listing_is_asked_for_again_without_a_word() {
    let steps = [
        &BEFORE[..],
        &[Step::Command("MLSD"), Step::DataHandshake],
        &[Step::Byte(0), Step::Half, Step::LastByte, Step::CloseNotify, Step::FinalReply],
    ]
    .concat();
    for_each_loss(&steps, |_, client, _, _| assert_eq!(names(client, "/d"), ["x", "y"]));
}

#[test]
fn a_question_is_asked_again_without_a_word() {
    for verb in ["MLST", "SIZE", "MDTM"] {
        for_each_loss(&[Step::Command(verb)], |_, client, _, story| {
            assert_eq!(client.stat(&path("/b")).unwrap().size, Some(SIZE), "{story}");
        });
    }
}

/// The size decides what became of one; that it is stored is never said of a part.
#[test]
fn an_upload_is_whole_or_has_to_be_sent_again() {
    let content: Vec<u8> = (0..SIZE).map(|position| pattern(position + 7)).collect();
    let store = |client: &Client| -> Result<(), remote::Error> {
        let mut upload = client.write_to(&path("/new"), Start::Beginning)?;
        content.chunks(64 * 1024).try_for_each(|chunk| upload.write(chunk))?;
        upload.finish()
    };
    let steps =
        [&BEFORE[..], &[Step::Command("STOR"), Step::DataHandshake, Step::FinalReply, Step::Command("SIZE")]].concat();
    for_each_loss(&steps, |server, client, step, story| {
        let mut setbacks = 0;
        while let Err(error) = store(client) {
            assert_eq!(error.kind, ErrorKind::Lost, "{story}: {error}");
            setbacks += 1;
            assert!(setbacks < 3, "{story}: {error}");
        }
        // Without the last reply nobody knows whether it is this content that has the size.
        let quiet = BEFORE.contains(&step) || matches!(step, Step::Command(_));
        assert!(!quiet || setbacks == 0, "{story}: {setbacks} setbacks");
        let tree = server.tree();
        let Some(Content::Bytes(stored)) = tree.get(b"/new").map(|node| &node.content) else { panic!("{story}") };
        assert!(**stored == content, "{story}: {} bytes", stored.len());
    });
}
