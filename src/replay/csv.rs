//! A CSV file as rows: header `timestamp,<channels...>[,label]`, gzipped or not.

use crate::detector::row::EventTime;
use crate::wire::decoder::number;
use crate::wire::timestamp::{Unit, parse_rfc3339};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Integers below this are steps, not times: no telemetry is from before 1973.
const STEPS: i64 = 100_000_000;

/// A table of one entity.
pub struct Table {
    /// Names of the channels, as in the header.
    pub channels: Vec<String>,
    /// Time of each row.
    pub times: Vec<EventTime>,
    /// The same as in the file.
    pub time_texts: Vec<String>,
    /// Row-major; NaN: an empty cell.
    pub values: Vec<f32>,
    /// One per row, if the file has labels.
    pub labels: Option<Vec<bool>>,
    /// The times are of a clock, and not steps.
    pub clock: bool,
}

impl Table {
    /// Rows.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.times.len()
    }
}

/// Reads a file. `time` and `label` name columns; without a column of the label's name there are no labels.
///
/// # Errors
/// What is wrong, with the line.
pub fn read(path: &Path, time: &str, label: &str) -> Result<Table, String> {
    let fault = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let file = File::open(path).map_err(|error| fault(&error))?;
    let gzipped = path.extension().is_some_and(|extension| extension == "gz");
    let bytes: Box<dyn Read> = if gzipped { Box::new(flate2::read::MultiGzDecoder::new(file)) } else { Box::new(file) };
    read_from(bytes, time, label).map_err(|error| fault(&error))
}

fn read_from(bytes: impl Read, time: &str, label: &str) -> Result<Table, String> {
    let mut reader = csv::Reader::from_reader(bytes);
    let header = reader.headers().map_err(|error| error.to_string())?.clone();
    let position = |name: &str| header.iter().position(|column| column == name);
    let time_at = position(time).ok_or_else(|| format!("there is no column `{time}` (--time-column)"))?;
    let label_at = position(label);
    let columns: Vec<usize> =
        (0..header.len()).filter(|column| *column != time_at && Some(*column) != label_at).collect();
    if columns.is_empty() {
        return Err("there is no channel beside time and label".to_owned());
    }
    let mut table = Table {
        channels: columns.iter().map(|column| header[*column].to_owned()).collect(),
        times: Vec::new(),
        time_texts: Vec::new(),
        values: Vec::new(),
        labels: label_at.map(|_| Vec::new()),
        clock: true,
    };
    for (row, record) in reader.records().enumerate() {
        let line = row + 2;
        let record = record.map_err(|error| error.to_string())?;
        let text = record[time_at].trim();
        if row == 0 {
            table.clock = text.parse::<f64>().map_or(true, |number| number >= STEPS as f64);
        }
        let at = time_of(text, table.clock).ok_or_else(|| format!("line {line}: `{text}` is no time"))?;
        table.times.push(at);
        table.time_texts.push(text.to_owned());
        for column in &columns {
            table.values.push(value_of(&record[*column]).ok_or_else(|| {
                format!(
                    "line {line}: `{}` in column `{}` is no number that fits into 32 bits",
                    &record[*column], &header[*column]
                )
            })?);
        }
        if let (Some(labels), Some(label_at)) = (&mut table.labels, label_at) {
            labels.push(matches!(record[label_at].trim(), "1" | "1.0" | "true" | "True"));
        }
    }
    Ok(table)
}

/// The same bits as the daemon reads from JSON: text to 64 bits to 32.
fn value_of(text: &str) -> Option<f32> {
    let text = text.trim();
    if text.is_empty() {
        return Some(f32::NAN);
    }
    number(text.parse().ok()?)
}

fn time_of(text: &str, clock: bool) -> Option<EventTime> {
    if let Ok(number) = text.parse::<i64>() {
        return if clock {
            Unit::Auto.of_integer(number)
        } else {
            Some(EventTime::from_micros(number.checked_mul(1_000_000)?))
        };
    }
    if let Ok(seconds) = text.parse::<f64>() {
        return Unit::Auto.of_float(seconds);
    }
    let text = text.replacen(' ', "T", 1);
    parse_rfc3339(text.as_bytes()).or_else(|| parse_rfc3339(format!("{text}Z").as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_with_gaps_and_labels() {
        let table = read_from(
            "timestamp,b,a,label\n2024-01-01 00:00:00,1.5,,0\n2024-01-01T00:00:01Z,2,3e2,1\n".as_bytes(),
            "timestamp",
            "label",
        )
        .unwrap();
        assert_eq!(table.channels, ["b", "a"]);
        assert_eq!(table.values[0], 1.5);
        assert!(table.values[1].is_nan());
        assert_eq!(table.values[3], 300.0);
        assert_eq!(table.labels.as_deref(), Some(&[false, true][..]));
        assert_eq!(table.times[1].micros() - table.times[0].micros(), 1_000_000);
        assert!(table.clock);
    }

    #[test]
    fn steps_are_no_clock() {
        assert!(!read_from("t,x\n0,1\n1,2\n".as_bytes(), "t", "label").unwrap().clock);
        assert!(read_from("t,x\n1700000000,1\n".as_bytes(), "t", "label").unwrap().clock);
    }

    #[test]
    fn what_is_no_number_is_told_with_its_line() {
        let told = read_from("t,x\n0,1\n1,abc\n".as_bytes(), "t", "label").err().unwrap();
        assert!(told.contains("line 3") && told.contains("abc"), "{told}");
    }
}
