//! How mounts are, in the text exposition format of Prometheus (version 0.0.4): the samples of one metric stand together, below
//! what it means.

use crate::status::Document;
use std::fmt::{Display, Write as _};

/// One line of samples: labels besides the mount's own, and the value.
type Samples = Vec<(String, String)>;

/// Writes of all mounts.
pub(super) fn text(documents: &[Document]) -> String {
    let mut page = Page { text: String::new(), documents };
    page.state();
    page.connections();
    page.counts();
    page.caches();
    page.uploads();
    page.transfers();
    page.latency();
    page.text
}

struct Page<'a> {
    text: String,
    documents: &'a [Document],
}

impl Page<'_> {
    fn state(&mut self) {
        self.gauge("up", "Whether the server answers.", |document| u8::from(document.away.is_none()));
        self.gauge("mounted_timestamp_seconds", "When it was mounted.", |document| document.mounted_at);
        self.gauge("requests_waiting", "Requests that wait for the server.", |document| document.waiting.requests);
        self.gauge("requests_waiting_longest_seconds", "How long the oldest of them does.", |document| {
            document.waiting.longest_seconds
        });
    }

    fn connections(&mut self) {
        self.labelled("connections", "gauge", "Control connections by their state.", |document| {
            let connections = &document.server.connections;
            vec![label("state", "lent", connections.lent), label("state", "idle", connections.idle)]
        });
        self.gauge("connections_limit", "How many there may be.", |document| document.server.connections.limit);
        self.gauge("connections_waiting", "Requests that wait for one.", |document| {
            document.server.connections.waiting
        });
    }

    fn counts(&mut self) {
        self.counter("logins_total", "Control connections logged in.", |document| document.server.counts.logins);
        self.counter("connections_replaced_total", "Control connections that broke or were too old.", |document| {
            document.server.counts.replaced
        });
        self.labelled("data_handshakes_total", "counter", "TLS handshakes of data connections.", |document| {
            let counts = &document.server.counts;
            vec![label("kind", "resumed", counts.data_resumed), label("kind", "full", counts.data_full)]
        });
        self.counter("reuse_refused_total", "Data connections refused for their TLS session.", |document| {
            document.server.counts.reuse_refused
        });
        self.counter("requests_retried_total", "Requests tried again on another connection.", |document| {
            document.server.counts.retried
        });
        self.counter("requests_failed_total", "Requests that the server did not answer.", |document| document.failures);
    }

    fn caches(&mut self) {
        self.labelled("blocks_total", "counter", "Blocks of content read, by where they were.", |document| {
            let counts = &document.files.counts;
            vec![
                label("from", "memory", counts.blocks_known),
                label("from", "disk", counts.blocks_on_disk),
                label("from", "server", counts.blocks_waited),
            ]
        });
        self.labelled("names_total", "counter", "Questions about names, by who answered.", |document| {
            let counts = &document.files.counts;
            vec![label("from", "memory", counts.names_known), label("from", "server", counts.names_asked)]
        });
        self.counter("received_bytes_total", "Content received.", |document| document.files.counts.bytes);
        self.gauge("memory_cache_bytes", "Content in memory.", |document| document.files.memory.bytes);
        self.gauge("memory_cache_limit_bytes", "How much there may be.", |document| document.files.memory.bytes_max);
        self.optional("disk_cache_bytes", "Content on disk.", |document| Some(document.files.disk.as_ref()?.bytes));
        self.optional("disk_cache_limit_bytes", "How much there may be on disk.", |document| {
            Some(document.files.disk.as_ref()?.bytes_max)
        });
    }

    fn uploads(&mut self) {
        self.gauge("writing_files", "Files being written.", |document| document.files.writing.files);
        self.gauge("writing_bytes", "What they have so far.", |document| document.files.writing.bytes);
        self.gauge("uploads_waiting_files", "Closed files that wait for their upload.", |document| {
            document.files.backlog.files
        });
        self.gauge("uploads_waiting_bytes", "Their size.", |document| document.files.backlog.bytes);
        self.gauge("uploads_failed_files", "Those whose last upload failed.", |document| document.files.backlog.failed);
        self.optional("recovery_files", "Files kept because they could not be uploaded.", |document| {
            Some(document.recovery?.files)
        });
        self.optional("recovery_bytes", "Their size.", |document| Some(document.recovery?.bytes));
    }

    fn transfers(&mut self) {
        let by_direction = |document: &Document, value: fn(&Document, &str) -> f64| {
            ["down", "up"].map(|direction| label("direction", direction, value(document, direction))).to_vec()
        };
        let under_way = |document: &Document, direction: &str| {
            document.transfers.iter().filter(|transfer| transfer.direction == direction).map(|_| 1.0).sum()
        };
        let rate = |document: &Document, direction: &str| {
            let those = document.transfers.iter().filter(|transfer| transfer.direction == direction);
            those.map(|transfer| transfer.bytes_per_second).sum()
        };
        self.labelled("transfers", "gauge", "Transfers under way.", |document| by_direction(document, under_way));
        self.labelled("transfer_bytes_per_second", "gauge", "How fast they go together.", |document| {
            by_direction(document, rate)
        });
    }

    fn latency(&mut self) {
        let name = "ftpsfs_request_duration_seconds";
        self.head(name, "histogram", "How long the server took.");
        for document in self.documents {
            for (operation, times) in &document.latency {
                let operation = format!("{operation:?}").to_lowercase();
                let labels = format!("{},operation=\"{operation}\"", mount(document));
                for (bound, count) in times.histogram.cumulated() {
                    let _ = writeln!(self.text, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}");
                }
                let _ = writeln!(self.text, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", times.histogram.count());
                let _ = writeln!(self.text, "{name}_sum{{{labels}}} {}", times.histogram.sum_seconds());
                let _ = writeln!(self.text, "{name}_count{{{labels}}} {}", times.histogram.count());
            }
        }
    }

    fn gauge<T: Display>(&mut self, name: &str, help: &str, value: impl Fn(&Document) -> T) {
        self.labelled(name, "gauge", help, |document| vec![(String::new(), value(document).to_string())]);
    }

    fn counter<T: Display>(&mut self, name: &str, help: &str, value: impl Fn(&Document) -> T) {
        self.labelled(name, "counter", help, |document| vec![(String::new(), value(document).to_string())]);
    }

    fn optional<T: Display>(&mut self, name: &str, help: &str, value: impl Fn(&Document) -> Option<T>) {
        let sample = |value: T| (String::new(), value.to_string());
        self.labelled(name, "gauge", help, |document| value(document).map(sample).into_iter().collect());
    }

    fn labelled(&mut self, name: &str, kind: &str, help: &str, samples: impl Fn(&Document) -> Samples) {
        let name = format!("ftpsfs_{name}");
        self.head(&name, kind, help);
        for document in self.documents {
            for (labels, value) in samples(document) {
                let _ = writeln!(self.text, "{name}{{{}{labels}}} {value}", mount(document));
            }
        }
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }
}

fn label(name: &str, value: &str, sample: impl Display) -> (String, String) {
    (format!(",{name}=\"{value}\""), sample.to_string())
}

/// The labels that tell mounts apart. Backslashes, quotes and line ends are escaped.
fn mount(document: &Document) -> String {
    let escaped = |text: &str| text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
    format!("mountpoint=\"{}\",source=\"{}\"", escaped(&document.mountpoint), escaped(&document.source))
}
