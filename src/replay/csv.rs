//! A CSV file as rows: header `timestamp,<channels...>[,label]`, gzipped or not.

use crate::detector::row::EventTime;
use crate::wire::bounds::number;
use crate::wire::channels::Selection;
use crate::wire::timestamp::{Unit, parse_rfc3339};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Integers below this are steps, not times: no telemetry is from before 1973.
const STEPS: i64 = 100_000_000;
/// The column with the labels, if no other is named.
const LABEL: &str = "label";
/// What a step is taken for as long as nobody says, in microseconds.
const SECOND: i64 = 1_000_000;

/// A table of one entity.
pub struct Table {
    /// Names of the channels, as in the header and in its order.
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
    /// How far apart rows are is known: by a clock, or by a step that was given. Else a step is taken for a second, and nothing
    /// may be told by the day.
    pub timed: bool,
}

impl Table {
    /// Rows.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.times.len()
    }
}

/// Which columns are what.
#[derive(Clone, Copy, Debug)]
pub struct Columns<'a> {
    /// The row's time.
    pub time: &'a str,
    /// The row's label; `None`: a column `label`, if there is one.
    pub label: Option<&'a str>,
    /// Which of the others are channels; those that are not are not looked at.
    pub channels: &'a Selection,
    /// How long a step is, in microseconds, where the time is no clock; `None`: not known.
    pub step: Option<i64>,
}

/// Reads a file.
///
/// # Errors
/// What is wrong, with the line.
pub fn read(path: &Path, columns: Columns<'_>) -> Result<Table, String> {
    let fault = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let file = File::open(path).map_err(|error| fault(&error))?;
    let gzipped = path.extension().is_some_and(|extension| extension == "gz");
    let bytes: Box<dyn Read> = if gzipped { Box::new(flate2::read::MultiGzDecoder::new(file)) } else { Box::new(file) };
    read_from(bytes, columns).map_err(|error| fault(&error))
}

fn read_from(bytes: impl Read, Columns { time, label, channels, step }: Columns<'_>) -> Result<Table, String> {
    let mut reader = csv::Reader::from_reader(bytes);
    let header = reader.headers().map_err(|error| error.to_string())?.clone();
    let mut names: Vec<&str> = header.iter().collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("two columns are named `{}`", pair[0]));
    }
    if let Some(column) = header.iter().position(|name| name.trim().is_empty()) {
        // Such as the index that a data frame is written with: as a channel it would grow for ever.
        return Err(format!("column {} has no name: name it, or leave it out", column + 1));
    }
    let position = |name: &str| header.iter().position(|column| column == name);
    let missing = |name: &str, option: &str| {
        let there = header.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        format!("there is no column `{name}` ({option}); there are {there}")
    };
    let time_at = position(time).ok_or_else(|| missing(time, "--time-column"))?;
    // Who names a column means it: labels by another name would be a channel.
    let label_at = match label {
        Some(label) => Some(position(label).ok_or_else(|| missing(label, "--label-column"))?),
        None => position(LABEL),
    };
    let columns: Vec<usize> =
        (0..header.len()).filter(|column| *column != time_at && Some(*column) != label_at).collect();
    if columns.is_empty() {
        return Err("there is no channel beside time and label".to_owned());
    }
    let there = columns.iter().map(|column| format!("`{}`", &header[*column])).collect::<Vec<_>>();
    let columns: Vec<usize> = columns.into_iter().filter(|column| channels.selects(&header[*column])).collect();
    if columns.is_empty() {
        let (wanted, there) = (channels.patterns().join("`, `"), there.join(", "));
        return Err(format!("input.channels (`{wanted}`) selects none of its columns; there are {there}"));
    }
    let mut table = Table {
        channels: columns.iter().map(|column| header[*column].to_owned()).collect(),
        times: Vec::new(),
        time_texts: Vec::new(),
        values: Vec::new(),
        labels: label_at.map(|_| Vec::new()),
        clock: true,
        timed: true,
    };
    for (row, record) in reader.records().enumerate() {
        let record = record.map_err(|error| error.to_string())?;
        let line = record.position().map_or(0, csv::Position::line);
        let text = record[time_at].trim();
        if row == 0 {
            table.clock = text.parse::<f64>().map_or(true, |number| number >= STEPS as f64);
            table.timed = table.clock || step.is_some();
        }
        let at = time_of(text, (!table.clock).then_some(step.unwrap_or(SECOND)))
            .ok_or_else(|| format!("line {line}: `{text}` is no time"))?;
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
            labels.push(label_of(&record[label_at]).ok_or_else(|| {
                format!(
                    "line {line}: `{}` in column `{}` is no label: write 1 or true, 0, false or nothing, or name another column (--label-column)",
                    &record[label_at], &header[label_at]
                )
            })?);
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

fn label_of(text: &str) -> Option<bool> {
    let text = text.trim();
    if text.is_empty() || text.eq_ignore_ascii_case("false") {
        return Some(false);
    }
    if text.eq_ignore_ascii_case("true") {
        return Some(true);
    }
    match text.parse::<f64>() {
        Ok(0.0) => Some(false),
        Ok(1.0) => Some(true),
        Ok(_) | Err(_) => None,
    }
}

/// `step`: the length of a step in microseconds, if the time is one.
fn time_of(text: &str, step: Option<i64>) -> Option<EventTime> {
    if let Ok(number) = text.parse::<i64>() {
        return match step {
            None => Unit::Auto.of_integer(number),
            Some(step) => Some(EventTime::from_micros(number.checked_mul(step)?)),
        };
    }
    if let (Some(step), Ok(number)) = (step, text.parse::<f64>()) {
        return number.is_finite().then(|| EventTime::from_micros((number * step as f64) as i64));
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
    use std::sync::LazyLock;

    #[test]
    fn a_table_with_gaps_and_labels() {
        let table = read_from(
            "timestamp,b,a,label\n2024-01-01 00:00:00,1.5,,0\n2024-01-01T00:00:01Z,2,3e2,1\n".as_bytes(),
            columns("timestamp"),
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

    static ALL: LazyLock<Selection> = LazyLock::new(Selection::all);

    fn columns(time: &str) -> Columns<'_> {
        Columns { time, label: None, channels: &ALL, step: None }
    }

    #[test]
    fn columns_are_selected_as_channels_are_and_the_others_are_not_looked_at() {
        let select = |patterns: &[&str], label| {
            let channels = Selection::new(&patterns.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
            let columns = Columns { channels: &channels, label, ..columns("t") };
            read_from("t,b1,note,a,b2,bad\n0,1,dry,2,3,1\n1,4,wet,,6,0\n".as_bytes(), columns)
        };
        let table = select(&["b*", "a"], Some("bad")).unwrap();
        assert_eq!(table.channels, ["b1", "a", "b2"]);
        assert_eq!((table.values[2], table.values[3]), (3.0, 4.0));
        assert_eq!(table.labels, Some(vec![true, false]));
        let told = select(&["zzz", "t", "bad"], Some("bad")).err().unwrap();
        let expected =
            "input.channels (`zzz`, `t`, `bad`) selects none of its columns; there are `b1`, `note`, `a`, `b2`";
        assert_eq!(told, expected);
        assert!(select(&[], None).err().unwrap().contains("`dry` in column `note`"));
    }

    #[test]
    fn steps_are_no_clock_and_tell_of_no_day_until_they_are_given_a_length() {
        let steps = "t,x\n0,1\n2,2\n2.5,2\n";
        let table = read_from(steps.as_bytes(), columns("t")).unwrap();
        assert!(!table.clock && !table.timed);
        let minutes = Columns { step: Some(60_000_000), ..columns("t") };
        let table = read_from(steps.as_bytes(), minutes).unwrap();
        assert!(!table.clock && table.timed);
        assert_eq!(table.times.iter().map(|at| at.micros()).collect::<Vec<_>>(), [0, 120_000_000, 150_000_000]);
        let table = read_from("t,x\n1700000000,1\n".as_bytes(), columns("t")).unwrap();
        assert!(table.clock && table.timed);
    }

    #[test]
    fn a_label_is_a_truth_value_or_nothing() {
        let labels = |words: &[&str]| {
            let rows: String = words.iter().enumerate().map(|(row, word)| format!("{row},1,{word}\n")).collect();
            read_from(format!("t,x,label\n{rows}").as_bytes(), columns("t")).map(|table| table.labels.unwrap())
        };
        assert_eq!(labels(&["1", "1.0", "true", "True", " TRUE "]).unwrap(), [true; 5]);
        assert_eq!(labels(&["0", "0.0", "false", "False", ""]).unwrap(), [false; 5]);
        for word in ["yes", "2", "-1", "0.5", "anomaly", "nan"] {
            let told = labels(&["0", word]).unwrap_err();
            assert!(told.contains("line 3") && told.contains(&format!("`{word}` in column `label`")), "{told}");
        }
    }

    #[test]
    fn a_column_that_is_named_has_to_be_there() {
        let labels = |label| {
            let named = Columns { label, ..columns("t") };
            read_from("t,x,anomaly\n0,1,1\n".as_bytes(), named).map(|table| table.labels)
        };
        assert_eq!(labels(None), Ok(None));
        assert_eq!(labels(Some("anomaly")), Ok(Some(vec![true])));
        for name in ["lable", "label"] {
            let told = labels(Some(name)).unwrap_err();
            let expected = format!("there is no column `{name}` (--label-column); there are `t`, `x`, `anomaly`");
            assert_eq!(told, expected);
        }
    }

    #[test]
    fn two_columns_of_one_name_are_refused() {
        for header in ["t,x,x", "t,t,x", "t,x,label,label"] {
            let told = read_from(format!("{header}\n").as_bytes(), columns("t")).err().unwrap();
            assert!(told.contains("two columns are named"), "{told}");
        }
    }

    #[test]
    fn a_column_without_a_name_is_refused() {
        let told = read_from(",t,x\n0,0,1\n".as_bytes(), columns("t")).err().unwrap();
        assert!(told.contains("column 1 has no name"), "{told}");
    }

    #[test]
    fn lines_are_those_of_the_file() {
        let told = read_from("t,x\n0,\"1\n\"\n1,abc\n".as_bytes(), columns("t")).err().unwrap();
        assert!(told.contains("line 4"), "{told}");
    }

    #[test]
    fn what_is_no_number_is_told_with_its_line() {
        let told = read_from("t,x\n0,1\n1,abc\n".as_bytes(), columns("t")).err().unwrap();
        assert!(told.contains("line 3") && told.contains("abc"), "{told}");
    }
}
