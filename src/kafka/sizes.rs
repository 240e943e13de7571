//! Sizes are held against the broker's limits at the start: a snapshot that the state topic would not take is an error before it
//! is a loss.

use crate::config::Config;
use crate::lane::size::{MAX_CHANNELS, largest_snapshot};

/// What the largest snapshot under a config is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `max.message.bytes` of the state topic.
    pub topic: usize,
    /// librdkafka's `message.max.bytes`.
    pub client: usize,
    /// Bytes of a record that are not its value.
    pub frame: usize,
}

/// How the largest snapshot and the limits go together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Every entity that the config allows can be kept.
    Fits,
    /// Entities of many channels cannot; whether there will be any is not known.
    Unless(String),
    /// No entity with a detector can, however few its channels are: only the input keeps them.
    Never(String),
    /// The config names its channels, and they are too many.
    TooLarge(String),
}

/// Holds the largest snapshot that the config can produce against the limits.
#[must_use]
pub fn fit(config: &Config, limits: &Limits) -> Fit {
    let named = named_channels(config);
    let channels = named.unwrap_or(MAX_CHANNELS);
    let (align, probation_rows) = (config.align(), config.state.probation_rows as usize);
    let size = |channels| largest_snapshot(&config.detector, &align, probation_rows, channels);
    let (room, largest) = (limits.topic.min(limits.client).saturating_sub(limits.frame), size(channels));
    if largest <= room {
        return Fit::Fits;
    }
    let mut text = format!(
        "`state.topic`: a snapshot of an entity of {channels} channels, {} rows in a window and up to {} units may have {largest} bytes; \
         topic `{}` takes records of {} bytes (max.message.bytes), the client sends {} (message.max.bytes)",
        config.detector.window_rows, config.detector.model.hidden, config.state.topic, limits.topic, limits.client
    );
    let needed = largest + limits.frame;
    for (limit, what) in [
        (limits.topic, format!("set max.message.bytes of the topic to {needed}")),
        (limits.client, format!("set \"message.max.bytes\" = \"{needed}\" in [kafka.properties]")),
    ] {
        if limit < needed {
            text = format!("{text}; {what}");
        }
    }
    if named.is_some() {
        return Fit::TooLarge(format!("{text}, or shorten [window], [model] hidden or the list of channels"));
    }
    let fitting = (1..=MAX_CHANNELS).take_while(|channels| size(*channels) <= room).last().unwrap_or(0);
    match fitting {
        0 => Fit::Never(format!("{text}; no entity fits as it is")),
        _ => Fit::Unless(format!("{text}; entities of up to {fitting} channels fit as it is")),
    }
}

/// How many channels an entity may have, if they are all named.
fn named_channels(config: &Config) -> Option<usize> {
    let patterns = config.input.decoder.channels.patterns();
    let plain = |name: &String| !name.contains(['*', '?', '[', ']', '{', '}', '!', '\\']);
    (!patterns.is_empty() && patterns.iter().all(plain)).then_some(patterns.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;
    use expect_test::{Expect, expect};

    fn check(text: &str, topic: usize, client: usize, expected: &Expect) {
        let config = Config::load(Source::Toml(text), []).unwrap();
        let told = match fit(&config, &Limits { topic, client, frame: 4096 }) {
            Fit::Fits => "fits".to_owned(),
            Fit::Unless(text) => format!("warning: {text}"),
            Fit::Never(text) => format!("never: {text}"),
            Fit::TooLarge(text) => format!("error: {text}"),
        };
        expected.assert_eq(&told);
    }

    #[test]
    fn sizes_are_told_with_the_keys_to_change() {
        const OURS: usize = 16 << 20;
        check("", OURS, OURS, &expect!["fits"]);
        check(
            "",
            1_048_588,
            OURS,
            &expect![
                "warning: `state.topic`: a snapshot of an entity of 1024 channels, 16 rows in a window and up to 32 units may have 15454708 bytes; topic `offkey-state` takes records of 1048588 bytes (max.message.bytes), the client sends 16777216 (message.max.bytes); set max.message.bytes of the topic to 15458804; entities of up to 68 channels fit as it is"
            ],
        );
        check(
            "",
            20_000,
            OURS,
            &expect![
                "never: `state.topic`: a snapshot of an entity of 1024 channels, 16 rows in a window and up to 32 units may have 15454708 bytes; topic `offkey-state` takes records of 20000 bytes (max.message.bytes), the client sends 16777216 (message.max.bytes); set max.message.bytes of the topic to 15458804; no entity fits as it is"
            ],
        );
        check("[input]\nchannels = [\"a\", \"b\"]", 1_048_588, OURS, &expect!["fits"]);
        check(
            "[input]\nchannels = [\"a\", \"b\"]",
            1_000,
            100_000,
            &expect![
                "error: `state.topic`: a snapshot of an entity of 2 channels, 16 rows in a window and up to 32 units may have 71798 bytes; topic `offkey-state` takes records of 1000 bytes (max.message.bytes), the client sends 100000 (message.max.bytes); set max.message.bytes of the topic to 75894, or shorten [window], [model] hidden or the list of channels"
            ],
        );
        check(
            "[input]\nchannels = [\"a*\"]\n[model]\nhidden = 256\n[window]\nrows = 64",
            OURS,
            OURS,
            &expect![[
                r#"warning: `state.topic`: a snapshot of an entity of 1024 channels, 64 rows in a window and up to 256 units may have 68978164 bytes; topic `offkey-state` takes records of 16777216 bytes (max.message.bytes), the client sends 16777216 (message.max.bytes); set max.message.bytes of the topic to 68982260; set "message.max.bytes" = "68982260" in [kafka.properties]; entities of up to 248 channels fit as it is"#
            ]],
        );
    }
}
