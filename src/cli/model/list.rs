//! `offkey model list`.

use super::{ConfigArgs, Failed, Seen, json, snapshots, tell_held_back};
use crate::cli::{print, shown};
use crate::wire::model_v1::Summary;
use std::fmt::Write as _;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// As a JSON array.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Failed> {
    let config = args.config.load()?;
    let (found, held_back) =
        snapshots(&config, |id, entity, value| Some(Seen::of(&config, id, entity, value).summary))?;
    let lines: Vec<Summary> = found.into_values().collect();
    print(&if args.json { json(&lines)? } else { table(&lines) })?;
    tell_held_back(&held_back);
    Ok(())
}

/// Columns as wide as their widest cell, the entity last: its name may be long.
fn table(lines: &[Summary]) -> String {
    let head = ["PARTITION", "STATE", "KIND", "GEN", "CHANNELS", "ROWS", "AS OF", "BYTES", "ENTITY"].map(str::to_owned);
    let rows = lines.iter().map(|line| {
        let Summary { topic, partition, entity, as_of, rows, state, kind, generation, channels, bytes, .. } = line;
        [
            format!("{topic}/{partition}"),
            state.clone(),
            kind.clone().unwrap_or_else(|| "-".to_owned()),
            generation.to_string(),
            channels.to_string(),
            rows.to_string(),
            as_of.to_string(),
            bytes.to_string(),
            shown(entity),
        ]
    });
    let all: Vec<[String; 9]> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 8] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &all {
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            // Numbers stand at the right.
            let written = if (3..8).contains(&column) {
                write!(text, "{cell:>width$}  ")
            } else {
                write!(text, "{cell:<width$}  ")
            };
            written.expect("a String takes everything");
        }
        text.push_str(&row[8]);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn a_table_is_as_wide_as_its_widest_cells() {
        let line = |entity: &str, rows| Summary {
            rows,
            as_of: 12_345,
            kind: Some("sparse".to_owned()),
            ..Summary::unreadable(("telemetry", 3, entity), b"", "ready")
        };
        expect![[r"
            PARTITION    STATE  KIND    GEN  CHANNELS   ROWS  AS OF  BYTES  ENTITY
            telemetry/3  ready  sparse    0         0      7  12345      0  pump-1
            telemetry/3  ready  sparse    0         0  70000  12345      0  a much longer name
        "]]
        .assert_eq(&table(&[line("pump-1", 7), line("a much longer name", 70_000)]));
    }

    #[test]
    fn a_name_does_not_reach_the_terminal_as_a_command() {
        let summary = Summary::unreadable(("telemetry", 3, "a\u{1b}[2J\u{202e}°\n\u{9b}b"), b"", "ready");
        let text = table(&[summary]);
        assert!(text.ends_with(" a\\u{1b}[2J\\u{202e}°\\n\\u{9b}b\n") && text.lines().count() == 2, "{text:?}");
    }
}
