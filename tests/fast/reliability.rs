//! docs/reliability.md names a test for each promise, and each test that it names is there.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::fs;
use std::path::Path;

#[test]
fn each_promise_names_a_test_that_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/reliability.md")).unwrap();
    let promises: Vec<&str> = text.split("\n- ").skip(1).map(|item| item.split("\n\n").next().unwrap()).collect();
    assert!(promises.len() > 12, "{} promises", promises.len());
    for promise in promises {
        let tests: Vec<&str> = promise.split('`').skip(1).step_by(2).filter(|word| is_test(word)).collect();
        assert!(!tests.is_empty(), "no test is named: {promise}");
        for test in tests {
            assert!(exists(root, test), "{test} is not there");
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
        .any(|file| fs::read_to_string(file).is_ok_and(|text| text.contains(&format!("fn {name}("))))
}
