//! The table of faults names a test for each.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The names of all tests below a folder.
fn tests(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests(&path, names);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let after = |mark: &str| text.split(mark).skip(1).map(str::to_owned).collect::<Vec<_>>();
            for test in ["#[test]", "#[tokio::test]"].into_iter().flat_map(after) {
                let name = test.split("fn ").nth(1).and_then(|rest| rest.split('(').next());
                names.extend(name.map(str::to_owned));
            }
        }
    }
}

#[test]
fn every_fault_of_the_table_has_tests_that_exist() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut known = BTreeSet::new();
    for folder in ["tests", "../agent/src", "../agent/tests", "../shell/tests"] {
        tests(&here.join(folder), &mut known);
    }
    let table = fs::read_to_string(here.join("FAULTS.md")).unwrap();
    let rows: Vec<_> = table.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    let mut faults = 0;
    for row in rows {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        if cells[0].starts_with("**") {
            continue;
        }
        let [fault, outcome, named] = cells[..] else { panic!("three cells are wanted: {row}") };
        let named: Vec<_> = named.split('`').skip(1).step_by(2).collect();
        assert!(!outcome.is_empty() && !named.is_empty(), "'{fault}' has no test");
        for test in named {
            assert!(known.contains(test), "'{fault}' names a test that does not exist: {test}");
        }
        faults += 1;
    }
    println!("{faults} faults, each with its tests");
    assert!(faults > 30, "the table is read");
}
