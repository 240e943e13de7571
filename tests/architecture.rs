//! The house as ARCHITECTURE.md draws it: what each part may import, what the core never touches, and links that lead somewhere.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Files with this ending below a folder.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" && name != "node_modules" {
                found.extend(files(&path, ending));
            }
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
    found
}

/// `(part, file, code)` of every source file of a part: comments are taken out. `lib.rs` and `main.rs` are the map.
fn sources() -> Vec<(String, PathBuf, String)> {
    let src = root().join("src");
    let part = |file: &Path| {
        let first = file.strip_prefix(&src).unwrap().components().next().unwrap();
        first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
    };
    let code = |file: &Path| {
        let text = std::fs::read_to_string(file).unwrap();
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
    };
    let all = files(&src, ".rs").into_iter().map(|file| (part(&file), file.clone(), code(&file)));
    all.filter(|(part, _, _)| part != "lib" && part != "main").collect()
}

/// The table under "What may import what": a line is `| part | parts |`.
fn arrows() -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let section = text.split("## What may import what").nth(1).expect("the section with the table");
    let rows =
        section.lines().skip_while(|line| !line.starts_with("| ---")).skip(1).take_while(|line| line.starts_with('|'));
    let words = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').collect();
        (words(cells[1]).remove(0), words(cells[2]).into_iter().collect())
    })
    .collect()
}

/// The first words of all `crate::word` paths.
fn imports(code: &str) -> BTreeSet<String> {
    let is_word = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
    code.split("crate::").skip(1).map(|rest| rest.chars().take_while(is_word).collect()).collect()
}

#[test]
fn every_import_follows_an_arrow() {
    let arrows = arrows();
    let mut wrong = Vec::new();
    // Tests may set things up as they like: the arrows are those of the product.
    for (part, file, code) in sources().into_iter().filter(|(_, file, _)| !file.ends_with("tests.rs")) {
        let Some(allowed) = arrows.get(&part) else {
            wrong.push(format!("`{part}` is not in the table of ARCHITECTURE.md"));
            continue;
        };
        for import in imports(&code) {
            if import != part && !allowed.contains(&import) {
                wrong.push(format!("{}: `{part}` may not import `{import}`", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_part_of_the_table_is_there_and_no_arrows_form_a_ring() {
    let arrows = arrows();
    let parts: BTreeSet<String> = sources().into_iter().map(|(part, _, _)| part).collect();
    assert_eq!(arrows.keys().cloned().collect::<BTreeSet<_>>(), parts);
    let mut left = arrows;
    while !left.is_empty() {
        let free: Vec<String> = left
            .iter()
            .filter(|(_, to)| !to.iter().any(|part| left.contains_key(part)))
            .map(|(part, _)| part.clone())
            .collect();
        assert!(!free.is_empty(), "a ring among {:?}", left.keys());
        free.iter().for_each(|part| drop(left.remove(part)));
    }
}

#[test]
fn the_core_has_no_clock_no_threads_no_files_and_fuses_nothing() {
    let banned = [
        "rdkafka",
        "tokio",
        "prometheus::",
        "axum",
        "tracing::",
        "Instant",
        "SystemTime",
        "std::thread",
        "std::fs",
        "std::net",
        "std::env",
        "mul_add",
        "println!",
    ];
    let mut wrong = Vec::new();
    for (part, file, code) in sources() {
        if ["detector", "wire", "lane"].contains(&part.as_str()) && !is_test(&file) {
            let code = code.split("#[cfg(test)]").next().unwrap();
            let found = banned.iter().filter(|word| code.contains(**word));
            wrong.extend(found.map(|word| format!("{}: {word}", file.display())));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn only_the_kafka_part_names_what_librdkafka_decides() {
    for (part, file, code) in sources() {
        if part != "kafka" {
            for word in ["BaseProducer", "BaseConsumer", "KafkaError", "RDKafkaErrorCode"] {
                assert!(!code.contains(word), "{}: {word}", file.display());
            }
        }
    }
}

fn is_test(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name == "tests.rs") || file.components().any(|part| part.as_os_str() == "tests")
}

#[test]
fn relative_links_of_the_documents_lead_somewhere() {
    let mut wrong = Vec::new();
    let mut n_links = 0;
    for file in files(&root(), ".md") {
        let text = std::fs::read_to_string(&file).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            n_links += 1;
            if !file.parent().unwrap().join(target).exists() {
                wrong.push(format!("{}: {link}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(n_links > 3, "the documents link to the tree: {n_links}");
}

#[test]
fn the_documents_name_every_metric_and_no_other() {
    let metrics = std::fs::read_to_string(root().join("src/metrics.rs")).unwrap();
    let is_word = |c: &char| c.is_ascii_lowercase() || *c == '_' || c.is_ascii_digit();
    let names = |text: &str, before: &str| -> BTreeSet<String> {
        let after = text.split(before).skip(1);
        after.map(|rest| format!("offkey_{}", rest.chars().take_while(is_word).collect::<String>())).collect()
    };
    let registered = names(&metrics, "(\"offkey_");
    let documented = names(&std::fs::read_to_string(root().join("docs/metrics.md")).unwrap(), "| `offkey_");
    assert_eq!(registered, documented);
}
