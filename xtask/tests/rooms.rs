// SPDX-License-Identifier: MIT OR Apache-2.0
//! Compares the `use` lines of every crate with the tables of docs/architecture.md: a module must use exactly the
//! modules that its row lists. Modules of `xtask` must not use each other in a cycle, and modules of `cases` must not
//! use each other at all. A module here is a top-level module with everything in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;
use walkdir::WalkDir;

/// Arrows from each module to the modules that it uses.
type Arrows = BTreeMap<String, BTreeSet<String>>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns the tables of the document, by the directory of the crate. Each table follows a heading that begins with
/// "### `DIRECTORY`".
fn tables(document: &str) -> BTreeMap<String, Arrows> {
    let mut tables = BTreeMap::new();
    for section in document.split("\n### `").skip(1) {
        let (directory, text) = section.split_once('`').expect("the heading has two `");
        let rows = text.lines().skip_while(|line| !line.starts_with("|---"));
        let rows = rows.skip(1).take_while(|line| line.starts_with('|'));
        let row = |line: &str| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').collect();
            let names =
                |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            let module: Vec<String> = names(cells[0]);
            let uses: Vec<String> = names(cells[cells.len() - 1]);
            (module[0].clone(), uses.into_iter().collect())
        };
        tables.insert(directory.to_owned(), rows.map(row).collect());
    }
    tables
}

/// Returns the code of a source file without comments and without the module of its unit tests.
fn code(text: &str) -> String {
    let tests =
        text.find("#[cfg(test)]\nmod tests").or(text.find("#[cfg(test)]\npub(crate) mod tests"));
    let text = &text[..tests.unwrap_or(text.len())];
    let comment = Regex::new(r"(?m)^\s*//.*$|\s// .*$").unwrap();
    comment.replace_all(text, "").into_owned()
}

/// Returns the names that follow `prefix` in paths: `a` and `b` in `crate::{a::X, b}`.
fn first_names(code: &str, prefix: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let start = Regex::new(&format!(r"(^|[^:\w]){prefix}::(\w+|\{{)")).unwrap();
    for found in start.captures_iter(code) {
        let (first, end) = (&found[2], found.get(0).unwrap().end());
        if first != "{" {
            names.insert(first.to_owned());
            continue;
        }
        let mut depth = 1;
        let mut name = String::new();
        let mut is_first = true;
        for c in code[end..].chars() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 1 && is_first && (c.is_alphanumeric() || c == '_') {
                name.push(c);
            } else if depth <= 1 && (c == ',' || c == '}') {
                names.insert(std::mem::take(&mut name));
                is_first = true;
            } else if !c.is_whitespace() {
                is_first = false;
            }
            if depth == 0 {
                break;
            }
        }
    }
    names.remove("");
    names
}

/// Returns the arrows between the modules in the directory `source`, whose path in the code is `prefix`: `crate`, or
/// `crate::cases` for a module with modules of its own.
fn arrows(source: &Path, prefix: &str) -> Arrows {
    let mut files = Vec::new();
    for entry in WalkDir::new(source) {
        let path = entry.unwrap().into_path();
        let relative = path.strip_prefix(source).unwrap().to_owned();
        let parts: Vec<String> = relative
            .with_extension("")
            .iter()
            .map(|part| part.to_str().unwrap().to_owned())
            .collect();
        let is_test = |part: &String| part == "tests" || part == "samples";
        let is_root = ["lib", "main", "mod"].iter().any(|root| parts == [*root]);
        if relative.extension().is_some_and(|ext| ext == "rs")
            && !parts.iter().any(is_test)
            && !is_root
        {
            files.push((parts, code(&fs::read_to_string(&path).unwrap())));
        }
    }
    let modules: BTreeSet<String> = files.iter().map(|(parts, _)| parts[0].clone()).collect();
    let mut arrows: Arrows =
        modules.iter().map(|module| (module.clone(), BTreeSet::new())).collect();
    for (parts, code) in &files {
        let mut used = first_names(code, prefix);
        // A module that is `depth` levels below the root reaches the root through `depth` times `super`.
        let depth = parts.len() - usize::from(parts.last().is_some_and(|part| part == "mod"));
        used.extend(first_names(code, &vec!["super"; depth].join("::")));
        let others = used.into_iter().filter(|name| modules.contains(name) && *name != parts[0]);
        arrows.get_mut(&parts[0]).unwrap().extend(others);
    }
    arrows
}

/// Returns the modules of a cycle, if there is one.
fn cycle(arrows: &Arrows) -> Option<Vec<String>> {
    fn visit(
        module: &str,
        arrows: &Arrows,
        path: &mut Vec<String>,
        done: &mut BTreeSet<String>,
    ) -> bool {
        if let Some(start) = path.iter().position(|seen| seen == module) {
            path.drain(..start);
            return true;
        }
        if !done.insert(module.to_owned()) {
            return false;
        }
        path.push(module.to_owned());
        for next in arrows.get(module).into_iter().flatten() {
            if visit(next, arrows, path, done) {
                return true;
            }
        }
        path.pop();
        false
    }
    let mut done = BTreeSet::new();
    arrows.keys().find_map(|module| {
        let mut path = Vec::new();
        visit(module, arrows, &mut path, &mut done).then_some(path)
    })
}

/// Returns the differences between the code and the document, one line for each arrow.
fn differences(of: &str, code: &Arrows, document: &Arrows) -> Vec<String> {
    let pairs = |arrows: &Arrows| -> BTreeSet<(String, String)> {
        let pairs = arrows.iter().flat_map(|(module, uses)| {
            // A module that uses nothing still has a row.
            let none = uses.is_empty().then(|| (module.clone(), String::new()));
            uses.iter().map(|used| (module.clone(), used.clone())).chain(none)
        });
        pairs.collect()
    };
    let (code, document) = (pairs(code), pairs(document));
    let text = |(module, used): &(String, String)| match used.as_str() {
        "" => format!("{module}, which uses nothing"),
        used => format!("{module} -> {used}"),
    };
    let undocumented = code
        .difference(&document)
        .map(|pair| format!("{of}: missing in the document: {}", text(pair)));
    let unused = document
        .difference(&code)
        .map(|pair| format!("{of}: only in the document: {}", text(pair)));
    undocumented.chain(unused).collect()
}

/// Returns the arrows between the crates of the workspace, from the `[dependencies]` in their manifests.
fn crate_arrows(directories: &[&str]) -> Arrows {
    let name =
        |directory: &str| directory.replace("oracle/wire", "oracle-wire").replace("suites/", "");
    let crates: BTreeSet<String> = directories.iter().map(|directory| name(directory)).collect();
    let arrows = directories.iter().map(|directory| {
        let manifest = fs::read_to_string(root().join(directory).join("Cargo.toml")).unwrap();
        let (_, section) = manifest.split_once("\n[dependencies]\n").unwrap_or_default();
        let lines = section.lines().take_while(|line| !line.starts_with('['));
        let uses = lines.filter_map(|line| line.split(['.', ' ', '=']).next().map(str::to_owned));
        (name(directory), uses.filter(|used| crates.contains(used)).collect())
    });
    arrows.collect()
}

/// Directories of the workspace's crates.
const CRATES: [&str; 8] = [
    "xtask",
    "oracle",
    "oracle/wire",
    "suites/protocol",
    "suites/sys",
    "suites/server",
    "suites/workloads",
    "suites/init",
];

#[test]
fn code_and_document_have_the_same_arrows() {
    let document = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let tables = tables(&document);
    let empty = Arrows::new();
    let listed = |place: &str| tables.get(place).unwrap_or(&empty);
    let mut wrong = differences("Cargo.toml", &crate_arrows(&CRATES), listed("Cargo.toml"));
    for place in CRATES {
        let arrows = arrows(&root().join(place).join("src"), "crate");
        wrong.extend(differences(place, &arrows, listed(place)));
    }
    assert!(
        wrong.is_empty(),
        "change the code, or the table in docs/architecture.md:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn modules_of_xtask_form_no_cycle() {
    assert_eq!(cycle(&arrows(&root().join("xtask/src"), "crate")), None);
}

#[test]
fn modules_of_cases_do_not_use_each_other() {
    let arrows = arrows(&root().join("suites/workloads/src/cases"), "crate::cases");
    let shared: Vec<_> = arrows.iter().filter(|(_, uses)| !uses.is_empty()).collect();
    assert!(arrows.len() > 5 && shared.is_empty(), "{shared:?}");
}

#[test]
fn arrows_are_found_in_every_form_of_use() {
    let text = "use crate::{a::{x, y}, b, c::Z};\nuse crate::d;\nfn f() { crate::e::g() }\n// use crate::comment;\n\
                use crate::f::{\n    g,\n};\n#[cfg(test)]\nmod tests {\n    use crate::tested;\n}\n";
    let found = first_names(&code(text), "crate");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["a", "b", "c", "d", "e", "f"]);
    let cycle_of = |pairs: &[(&str, &str)]| {
        let mut arrows = Arrows::new();
        for (from, to) in pairs {
            arrows.entry((*from).into()).or_default().insert((*to).into());
        }
        cycle(&arrows)
    };
    assert_eq!(cycle_of(&[("a", "b"), ("a", "c"), ("b", "c")]), None);
    let found = cycle_of(&[("a", "b"), ("b", "c"), ("c", "b")]).unwrap();
    assert_eq!(found, ["b", "c"]);
}
