//! How many control connections the server gives to one client.

use crate::ftp::check::data::Line;
use crate::ftp::check::facts::Connections;
use crate::ftp::control::Control;
use crate::ftp::counters::Counters;
use crate::ftp::error::Error;
use crate::ftp::settings::Settings;
use crate::ftp::tls::Tls;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Opens one after the other until one is refused or there are more than a mount would open, then closes them all.
pub(super) fn count(settings: &Settings) -> Connections {
    let most = settings.connections_max.get().clamp(TRIED_MIN, TRIED_MAX);
    let mut open = Vec::new();
    let refused = Tls::new(settings).and_then(|tls| {
        let counters = Arc::new(Counters::default());
        // The one that said goodbye a moment ago may still be counted.
        open.push(Line::open(settings, &tls, &counters)?.control);
        while open.len() < most {
            open.push(Control::connect(settings, &tls, &counters)?);
            thread::sleep(PAUSE);
        }
        Ok(())
    });
    let connections = Connections { opened: open.len(), refused: refused.err().map(|error| words(&error)) };
    open.into_iter().for_each(Control::quit);
    connections
}

fn words(error: &Error) -> String {
    match error {
        Error::Busy { why } => why.trim_start_matches("the server said: ").to_owned(),
        other => other.to_string(),
    }
}

/// At least so many are tried, and so many at most.
const TRIED_MIN: usize = 8;
const TRIED_MAX: usize = 16;
/// Nobody shall take us for an attack.
const PAUSE: Duration = Duration::from_millis(50);
