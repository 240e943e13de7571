//! Where a record's meaning is found.

use crate::{check, offkey};
use expect_test::expect;

#[test]
fn a_field_has_one_meaning_and_a_name() {
    check(
        "[input]\nvalues = \"\"\nchannels = [\"\"]\ntimestamp = \"\"\nentity = [\"\", \"site\"]",
        expect![[r#"
            78
            offkey: offkey.toml has 4 mistakes:
              input.channels: one of them is empty; leave the list empty, or write "*", for all of them
              input.entity: is empty; write a field's path with dots: machine.id, or "key"
              input.timestamp: is empty; write a field's path with dots: machine.id, or "record"
              input.values: is empty; write the path of an object, or "." for the message itself
        "#]],
    );
    check(
        "[input]\nformat = \"json_long\"\nsensor = \"\"\nvalue = \".\"\n[[channel]]\nmatch = \"\"\n[[override]]\nmatch = \"\"",
        expect![[r#"
            78
            offkey: offkey.toml has 4 mistakes:
              channel[0].match: is empty, and no name is; `*` matches every name
              input.sensor: is empty; write a field's path with dots: machine.id
              input.value: `.` is the message itself, and no field of it; write a field's path with dots: machine.id
              override[0].match: is empty, and no name is; `*` matches every name
        "#]],
    );
    check(
        "[input]\nformat = \"json_long\"\nentity = [\"site\", \"m.id\"]\ntimestamp = \"site\"\nsensor = \"value\"",
        expect![[r#"
            78
            offkey: offkey.toml has 2 mistakes:
              input.timestamp: `site` is `input.entity` already; every use needs a field of its own
              input.value: `value` is `input.sensor` already; every use needs a field of its own
        "#]],
    );
    check(
        "[input]\nformat = \"json_long\"\nentity = \"value\"\ntimestamp = \".value\"",
        expect![[r#"
        78
        offkey: offkey.toml has 2 mistakes:
          input.timestamp: `value` is `input.entity` already; every use needs a field of its own
          input.value: `value` is `input.entity` already; every use needs a field of its own
    "#]],
    );
    check(
        "[input]\ntimestamp = \"values\"",
        expect![[r#"
        78
        offkey: offkey.toml has a mistake:
          input.values: `values` is `input.timestamp` already; every use needs a field of its own
    "#]],
    );
    check(
        "[input]\ntimestamp = \"ts\"\nvalues = \"ts.now\"\nentity = \"ts.now.id\"",
        expect![[r#"
        78
        offkey: offkey.toml has 2 mistakes:
          input.timestamp: `ts` is the object around `ts.now.id`, which is `input.entity`; a field is an object or a value, and not both
          input.values: `ts.now` lies within `ts`, which is `input.timestamp`; a field is an object or a value, and not both
    "#]],
    );
    check(
        "[input]\nvalues = \".\"\nchannels = [\"temp\", \"ts\"]",
        expect![[r#"
        78
        offkey: offkey.toml has a mistake:
          input.channels: `ts` is `input.timestamp`, and no channel; take it out
    "#]],
    );
}

#[test]
fn fields_that_have_one_meaning_each_are_fine() {
    for input in [
        "values = \"data\"\ntimestamp = \"data.ts\"\nentity = [\"data.id\", \"site\"]",
        "values = \".\"\nchannels = [\"t*\"]",
        "format = \"json_long\"\nentity = \"sensor\"",
        "format = \"json_long\"\nvalues = \"\"",
        "sensor = \"\"\nvalue = \"\"",
    ] {
        let output = offkey(&["check"], Some(("offkey.toml", &format!("[input]\n{input}"))), &[]);
        assert_eq!(output.status.code(), Some(0), "{input}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
