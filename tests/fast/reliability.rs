//! docs/reliability.md and docs/semantics.md name a test for each promise, and each test that they name is there and runs.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::fs;
use std::path::Path;

#[test]
fn each_promise_names_a_test_that_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (document, least) in [("docs/reliability.md", 12), ("docs/semantics.md", 90)] {
        let text = fs::read_to_string(root.join(document)).unwrap();
        let promises: Vec<&str> = text.split("\n- ").skip(1).map(|item| item.split("\n\n").next().unwrap()).collect();
        assert!(promises.len() > least, "{document}: {} promises", promises.len());
        for promise in promises {
            let tests: Vec<&str> = promise.split('`').skip(1).step_by(2).filter(|word| is_test(word)).collect();
            assert!(!tests.is_empty(), "no test is named: {promise}");
            for test in tests {
                assert!(exists(root, test), "{document}: {test} is not there, or does not run");
            }
        }
    }
}

#[test]
fn a_test_that_is_not_there_is_seen() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert!(exists(root, "fast::reliability::a_test_that_is_not_there_is_seen"));
    assert!(exists(root, "lib::workers::a_panic_ends_one_piece_of_work_only"));
    assert!(!exists(root, "fast::reliability::a_test_that_is_not_there"));
    assert!(!exists(root, "fast::nowhere::a_test_that_is_not_there_is_seen"));
    assert!(exists(root, "e2e::servers::reads_anywhere_are_right"), "a macro makes it a test");
    assert!(!exists(root, "fast::reliability::is_test"), "it is a part of a test");
}

fn is_test(word: &str) -> bool {
    ["e2e::", "fast::", "lib::"].iter().any(|binary| word.starts_with(binary))
}

/// `binary::module::name`, where a module may be a directory of modules.
fn exists(root: &Path, test: &str) -> bool {
    let (module, name) = test.rsplit_once("::").unwrap();
    let (binary, module) = module.split_once("::").unwrap();
    let directory = if binary == "lib" { root.join("src") } else { root.join("tests").join(binary) };
    let module = directory.join(module.replace("::", "/"));
    [module.with_extension("rs"), module.join("mod.rs")]
        .iter()
        .any(|file| fs::read_to_string(file).is_ok_and(|text| runs(&text, name)))
}

/// Whether `name` is a function with `#[test]`, or one that stands in the list of a macro which makes tests.
fn runs(text: &str, name: &str) -> bool {
    let Some((before, _)) = text.split_once(&format!("fn {name}(")) else { return false };
    let attributes = before.lines().rev().map(str::trim).skip_while(|line| line.is_empty() || line.starts_with("pub"));
    let mut attributes = attributes.take_while(|line| line.starts_with("#[") || line.starts_with("//"));
    let is_in_a_list = |line: &str| {
        let line = line.trim();
        !line.starts_with("//") && line.split([',', ' ', '[', ']']).any(|word| word == name)
    };
    attributes.any(|line| line == "#[test]") || text.lines().any(is_in_a_list)
}
