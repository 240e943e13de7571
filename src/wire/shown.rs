//! Names from outside as people see them.

/// A name on one line, as a terminal may see it: without control characters, and without those that turn a line's direction.
#[must_use]
pub fn shown(name: &str) -> String {
    let is_command = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut shown = String::with_capacity(name.len());
    for c in name.chars() {
        if is_command(c) {
            shown.extend(c.escape_debug());
        } else {
            shown.push(c);
        }
    }
    shown
}
