//! The messages that nearly all are: objects, numbers of up to eighteen digits, text without escapes. They are read here, byte
//! by byte and without a deserializer between. Anything else, and everything that is to be refused, is left to serde_json and
//! read from the beginning: what a message means is said in one place, [`super::json`]; this is its short cut to the same.

use super::fields::Mask;
use super::walk::{Leaf, Walk};

/// Levels that are followed.
const DEPTH: usize = 16;

/// The powers of ten that 64-bit floats hold exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// Reads a whole message. `None`: it is not plain, and what was noted of it means nothing.
pub(super) fn read(text: &str, walk: &mut Walk<'_>) -> Option<()> {
    let mut scan = Scan { text, at: 0 };
    let (mask, inside) = walk.begin();
    scan.blank();
    scan.expect(b'{')?;
    object(&mut scan, walk, mask, 0, inside)?;
    scan.blank();
    (scan.at == text.len()).then_some(())
}

/// The members of an object, from behind its brace.
fn object(scan: &mut Scan<'_>, walk: &mut Walk<'_>, mask: Mask, level: usize, inside: bool) -> Option<()> {
    let inside = walk.enter(mask, level) || inside;
    let length = walk.name_len();
    scan.blank();
    if scan.peek()? == b'}' {
        scan.at += 1;
        return Some(());
    }
    loop {
        scan.expect(b'"')?;
        let key = scan.text()?;
        scan.blank();
        scan.expect(b':')?;
        scan.blank();
        let below = walk.key(mask, level, inside, key);
        match scan.leaf()? {
            Some(leaf) => walk.leaf(below, level + 1, inside, leaf).ok()?,
            None if level < DEPTH => object(scan, walk, below, level + 1, inside)?,
            None => return None,
        }
        walk.leave(length);
        scan.blank();
        match scan.next()? {
            b',' => scan.blank(),
            b'}' => return Some(()),
            _ => return None,
        }
    }
}

struct Scan<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Scan<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    fn blank(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// Up to the quote that ends it.
    fn text(&mut self) -> Option<&'t str> {
        let start = self.at;
        loop {
            match self.next()? {
                b'"' => return self.text.get(start..self.at - 1),
                b'\\' | 0..=0x1f => return None,
                _ => {}
            }
        }
    }

    /// A value that is no object; `Some(None)`: an object begins.
    fn leaf(&mut self) -> Option<Option<Leaf<'t>>> {
        match self.next()? {
            b'{' => Some(None),
            b'"' => self.text().map(|text| Some(Leaf::Text(text))),
            b'-' => {
                let first = self.next()?;
                self.number(first, true).map(Some)
            }
            first @ b'0'..=b'9' => self.number(first, false).map(Some),
            b'n' => self.word("ull", Leaf::Null),
            b't' => self.word("rue", Leaf::Bool),
            b'f' => self.word("alse", Leaf::Bool),
            _ => None,
        }
    }

    fn word(&mut self, rest: &str, leaf: Leaf<'t>) -> Option<Option<Leaf<'t>>> {
        let end = self.at + rest.len();
        let is_it = self.text.as_bytes().get(self.at..end)? == rest.as_bytes();
        self.at = end;
        is_it.then_some(Some(leaf))
    }

    /// The same operations as serde_json's, so that the bits are the same.
    fn number(&mut self, first: u8, negative: bool) -> Option<Leaf<'t>> {
        let mut significand = match first {
            b'0' if self.peek().is_some_and(|byte| byte.is_ascii_digit()) => return None,
            b'0'..=b'9' => u64::from(first - b'0'),
            _ => return None,
        };
        self.digits(&mut significand)?;
        let (mut exponent, mut is_integer) = (0, true);
        if self.peek() == Some(b'.') {
            self.at += 1;
            let start = self.at;
            self.digits(&mut significand)?;
            let n_digits = self.at - start;
            if n_digits == 0 {
                return None;
            }
            (exponent, is_integer) = (-(i32::try_from(n_digits).ok()?), false);
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            exponent = self.exponent()?.checked_add(exponent)?;
            is_integer = false;
        }
        if is_integer && !(negative && significand == 0) {
            let number = i64::try_from(significand).ok()?;
            return Some(Leaf::Integer(if negative { -number } else { number }));
        }
        let power = POWERS.get(exponent.unsigned_abs() as usize)?;
        let number = if exponent >= 0 { significand as f64 * power } else { significand as f64 / power };
        Some(Leaf::Float(if negative { -number } else { number }))
    }

    /// As many digits as there are; none is fine.
    fn digits(&mut self, significand: &mut u64) -> Option<()> {
        while let Some(byte @ b'0'..=b'9') = self.peek() {
            if *significand >= 100_000_000_000_000_000 {
                return None;
            }
            *significand = *significand * 10 + u64::from(byte - b'0');
            self.at += 1;
        }
        Some(())
    }

    fn exponent(&mut self) -> Option<i32> {
        let sign = self.peek()?;
        if let b'-' | b'+' = sign {
            self.at += 1;
        }
        let (start, mut exponent) = (self.at, 0);
        self.digits(&mut exponent)?;
        if self.at == start {
            return None;
        }
        let exponent = i32::try_from(exponent).ok()?;
        Some(if sign == b'-' { -exponent } else { exponent })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::channels::{Channels, Selection};
    use super::super::fields::Fields;
    use super::super::format::{EntityFrom, Format, Settings, TimeFrom};
    use super::super::json::read_any;
    use super::super::path::Path;
    use super::super::timestamp::Unit;
    use super::super::walk::Scratch;
    use super::*;
    use proptest::prelude::*;

    fn fields(values: &str) -> (Fields, Selection) {
        let settings = Settings {
            format: Format::JsonWide { values: Path::new(values).unwrap() },
            entity: EntityFrom::Fields(vec![Path::new("id").unwrap()]),
            timestamp: TimeFrom::Field { path: Path::new("ts").unwrap(), unit: Unit::Auto },
            channels: Selection::all(),
            max_future: 0,
            max_record_size: 1 << 20,
        };
        (Fields::of(&settings), settings.channels)
    }

    /// Reads it twice, so that names are known the second time. `true`: it is plain, and serde_json has read the same.
    fn is_plain(values: &str, text: &str) -> bool {
        let (fields, selection) = fields(values);
        let read = |way: &dyn Fn(&mut Walk<'_>) -> bool| {
            let (mut channels, mut scratch, mut out) =
                (Channels::new(selection.clone()), Scratch::default(), Vec::new());
            let mut walk = Walk { fields: &fields, channels: &mut channels, scratch: &mut scratch, out: &mut out };
            let is_read = way(&mut walk) && way(&mut walk);
            let names: Vec<String> =
                (0..channels.len()).map(|n| channels.name(channels.id(n).unwrap()).to_owned()).collect();
            let bits: Vec<_> = out.iter().map(|(id, value)| (*id, value.to_bits())).collect();
            (is_read, names, bits, scratch)
        };
        let short = read(&|walk| super::read(text, walk).is_some());
        if short.0 {
            assert_eq!(short, read(&|walk| read_any(text, walk).is_ok()), "{text}");
        }
        short.0
    }

    #[test]
    fn what_sensors_send_is_plain() {
        for text in [
            r#"{"ts":1700000000123,"id":7,"values":{"a":1.5,"b":-2,"c":null}}"#,
            r#"{ "ts": "2026-01-01T00:00:00Z", "values": {"a": 1.5e-05, "b": 2E+3, "c": 0.1e3},
                "id": "x", "unit": {"a": "°C"}, "ok": true, "no": false, "more": {} }"#,
            r#"{"values":{"motor":{"temp":1,"rpm":-0},"motor.temp":0.1234567890123456},"id":"","ts":-1}"#,
            "{}",
        ] {
            assert!(is_plain("values", text), "{text}");
            assert!(is_plain(".", &text.replace(r#""°C""#, "1").replace("true", "1").replace("false", "2")), "{text}");
        }
    }

    #[test]
    fn the_rest_is_left_to_serde_json() {
        for text in [
            r#"{"a\n":1}"#,
            r#"{"a":[1]}"#,
            r#"{"a":01}"#,
            r#"{"a":-}"#,
            r#"{"a":1.}"#,
            r#"{"a":1e}"#,
            r#"{"a":.5}"#,
            r#"{"a":1e23}"#,
            r#"{"a":1234567890123456789}"#,
            r#"{"a":1,}"#,
            r#"{"a":1} x"#,
            r#"{"a":"x"}"#,
            r#"{"a" 1}"#,
            r#"{"a":tru}"#,
            r#"{a:1}"#,
            r#"{"a":1"#,
            "[]",
            "",
        ] {
            assert!(!is_plain(".", text), "{text}");
        }
        let nested = |depth| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
        assert!(is_plain("values", &nested(DEPTH)) && !is_plain("values", &nested(DEPTH + 2)));
    }

    fn number() -> impl Strategy<Value = String> {
        prop_oneof![
            "-?(0|[1-9][0-9]{0,19})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?",
            "-?(0|[1-9][0-9]{0,4})(\\.[0-9]{1,6})?",
            any::<f64>().prop_map(|number| number.to_string()),
            (-1e6..1e6).prop_map(|number: f64| number.to_string()),
        ]
    }

    proptest! {
        #[test]
        fn it_reads_the_same_bits(ts in number(), a in number(), b in number(), c in number(), gap in "[ \n]{0,2}") {
            let values = format!("{{\"a\":{a},{gap}\"b\"{gap}:{b},\"a\":{c},\"m\":{{\"x\":{a}}}}}");
            is_plain("values", &format!("{{{gap}\"ts\":{ts}, \"id\":{a}, \"values\":{gap}{values}{gap}}}"));
            is_plain(".", &values);
        }

        #[test]
        fn it_reads_the_same_of_damaged_messages(
            at in proptest::collection::vec((any::<prop::sample::Index>(), "[-+.eE0-9{}\",:\\\\a ntf\\[]"), 1..4)
        ) {
            let mut text = r#"{"ts": 1.5, "id": "x", "values": {"a": 1, "b": -2.5e3, "c": null}, "x": {"y": 0.5}}"#.to_owned();
            for (at, with) in at {
                let at = at.index(text.len());
                text.replace_range(at..=at, &with);
            }
            is_plain("values", &text);
            is_plain(".", &text);
        }
    }
}
