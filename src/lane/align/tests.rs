#![allow(clippy::unwrap_used)]
use super::*;
use crate::wire::channels::{Channels, Lookup, Selection};
use proptest::prelude::*;

const CHANNELS: [&str; 3] = ["a", "b", "c"];

const AS_THEY_COME: Settings = Settings { merge: false, interval: None, max_lateness: 0, max_fill: 3 };
const IN_ORDER: Settings = Settings { max_lateness: 10, ..AS_THEY_COME };
const LONG: Settings = Settings { merge: true, ..AS_THEY_COME };
const GRID: Settings = Settings { interval: Some(10), ..AS_THEY_COME };

/// Time, channel, value.
type Record = (i64, usize, f32);
/// Time, offset, values by channel, why.
type Told = (i64, i64, Vec<(usize, f32)>, Why);

fn channels() -> Channels {
    let mut channels = Channels::new(Selection::all());
    CHANNELS.iter().for_each(|name| assert_ne!(channels.intern(name), Lookup::Full));
    channels
}

fn id(channel: usize) -> ChannelId {
    channels().id(channel).unwrap()
}

/// What an aligner says of records as an entity would take them; late ones by their time alone.
struct Run {
    aligner: Aligner,
    settings: Settings,
    told: Vec<Told>,
    late: Vec<i64>,
    most: usize,
}

impl Run {
    fn new(settings: Settings) -> Self {
        Self { aligner: Aligner::default(), settings, told: Vec::new(), late: Vec::new(), most: 0 }
    }

    fn record(&mut self, offset: i64, record: Record) {
        let (at, channel, value) = record;
        let (at, measured) = (EventTime::from_micros(at), [(id(channel), value)]);
        if self.aligner.lateness(at, &self.settings).is_some() {
            self.late.push(at.micros());
            if self.settings.interval.is_some() {
                self.aligner.hold(at, &measured);
            }
        } else if self.aligner.pass(at, &self.settings) {
            self.told.push((at.micros(), offset, vec![(channel, value)], Why::Due));
        } else {
            self.aligner.place(at, offset, &measured, &self.settings);
            self.take();
        }
    }

    fn take(&mut self) {
        let mut values = Vec::new();
        while let Some(Complete { at, offset, why }) = self.aligner.next(&self.settings, &mut values) {
            let mut values: Vec<_> = values.iter().map(|(id, value)| (id.index(), *value)).collect();
            values.sort_by_key(|(channel, _)| *channel);
            self.told.push((at.micros(), offset, values, why));
        }
        self.most = self.most.max(self.aligner.n_waiting());
    }

    fn end(mut self) -> Self {
        self.aligner.end();
        self.take();
        assert_eq!(self.aligner.n_waiting(), 0);
        self
    }

    /// Into bytes and back, as a snapshot would.
    fn restored(self) -> Self {
        let bytes = postcard::to_allocvec(&self.aligner.keep(&channels())).unwrap();
        let kept = postcard::from_bytes(&bytes).unwrap();
        // Another process, in which the channels have other numbers.
        let mut others = Channels::new(Selection::all());
        CHANNELS.iter().rev().for_each(|name| assert_ne!(others.intern(name), Lookup::Full));
        let aligner = Aligner::of(kept, &mut others).unwrap();
        let kept = postcard::from_bytes(&postcard::to_allocvec(&aligner.keep(&others)).unwrap()).unwrap();
        let aligner = Aligner::of(kept, &mut channels()).unwrap();
        assert_eq!(aligner, self.aligner);
        Self { aligner, ..self }
    }
}

/// The rows that some records of channel `a` make, as `time:value`, a filled one with a `+`, an early one with a `!`.
fn rows(settings: Settings, times: &[i64]) -> String {
    let mut run = Run::new(settings);
    times.iter().enumerate().for_each(|(offset, at)| run.record(offset as i64, (*at, 0, *at as f32)));
    let mark = |why: &Why| match why {
        Why::Due => "",
        Why::Filled => "+",
        Why::Early => "!",
    };
    let rows: Vec<String> =
        run.told.iter().map(|(at, _, values, why)| format!("{at}:{}{}", values[0].1, mark(why))).collect();
    format!("{} late {:?}", rows.join(" "), run.late)
}

#[test]
fn without_lateness_nothing_waits() {
    assert_eq!(rows(AS_THEY_COME, &[5, 7, 7, 6, 8]), "5:5 7:7 7:7 8:8 late [6]");
}

#[test]
fn rows_wait_and_go_out_in_order() {
    assert_eq!(rows(IN_ORDER, &[5, 9, 7, 15, 16, 20]), "5:5 7:7 9:9 late []");
}

#[test]
fn a_row_as_far_behind_as_is_allowed_is_in_time_and_one_further_is_late() {
    assert_eq!(rows(IN_ORDER, &[20, 10, 31, 21, 20, 42]), "10:10 20:20 21:21 31:31 late [20]");
}

#[test]
fn rows_of_one_time_keep_the_order_of_their_records() {
    let mut run = Run::new(IN_ORDER);
    [(5, 0, 1.0), (4, 0, 2.0), (5, 0, 3.0), (16, 0, 4.0)]
        .iter()
        .zip(0..)
        .for_each(|(record, n)| run.record(n, *record));
    let told: Vec<_> = run.told.iter().map(|(at, offset, ..)| (*at, *offset)).collect();
    assert_eq!(told, [(4, 1), (5, 0), (5, 2)]);
}

#[test]
fn measurements_of_one_time_are_one_row() {
    let mut run = Run::new(LONG);
    for (offset, record) in [(5, 0, 1.0), (5, 1, 2.0), (5, 0, 3.0), (6, 0, 4.0), (5, 1, 9.0)].into_iter().enumerate() {
        run.record(offset as i64, record);
    }
    assert_eq!(run.told, [(5, 2, vec![(0, 3.0), (1, 2.0)], Why::Due)]);
    assert_eq!(run.late, [5]);
}

#[test]
fn a_measurement_that_comes_after_a_later_one_joins_its_row_in_time() {
    let mut run = Run::new(Settings { max_lateness: 10, ..LONG });
    for (offset, record) in [(5, 0, 1.0), (9, 0, 4.0), (5, 1, 2.0), (16, 0, 0.0)].into_iter().enumerate() {
        run.record(offset as i64, record);
    }
    assert_eq!(run.told, [(5, 2, vec![(0, 1.0), (1, 2.0)], Why::Due)]);
}

#[test]
fn on_a_grid_a_silent_channel_holds_its_last_value() {
    let mut run = Run::new(GRID);
    for (offset, record) in [(3, 0, 1.0), (4, 1, 2.0), (14, 0, 5.0), (25, 0, 6.0)].into_iter().enumerate() {
        run.record(offset as i64, record);
    }
    let expected = [(0, 1, vec![(0, 1.0), (1, 2.0)], Why::Due), (10, 2, vec![(0, 5.0), (1, 2.0)], Why::Due)];
    assert_eq!(run.told, expected);
}

#[test]
fn within_a_step_the_newest_value_counts_and_not_the_last_to_come() {
    assert_eq!(rows(GRID, &[3, 7, 5, 11]), "0:7 late []");
}

#[test]
fn steps_in_which_nothing_came_are_filled_up_to_a_limit() {
    assert_eq!(rows(GRID, &[3, 25, 30]), "0:3 10:3+ 20:25 late []");
    assert_eq!(rows(GRID, &[3, 41, 50]), "0:3 10:3+ 20:3+ 30:3+ 40:41 late []");
    assert_eq!(rows(GRID, &[3, 51, 60]), "0:3 50:51 late []");
    assert_eq!(rows(GRID, &[3, 1_000_003, 1_000_013]), "0:3 1000000:1000003 late []");
}

#[test]
fn behind_a_break_nothing_is_held() {
    let mut run = Run::new(GRID);
    for (offset, record) in [(3, 0, 1.0), (4, 1, 2.0), (500, 0, 5.0), (510, 0, 6.0)].into_iter().enumerate() {
        run.record(offset as i64, record);
    }
    assert_eq!(run.told.last(), Some(&(500, 2, vec![(0, 5.0)], Why::Due)));
}

#[test]
fn a_late_value_on_a_grid_is_held_unless_something_newer_is() {
    let mut run = Run::new(GRID);
    // Channel b comes one step late each time.
    for (offset, record) in
        [(3, 0, 1.0), (14, 0, 2.0), (4, 1, 7.0), (22, 0, 3.0), (2, 1, 6.0), (31, 0, 4.0)].into_iter().enumerate()
    {
        run.record(offset as i64, record);
    }
    assert_eq!(run.late, [4, 2]);
    let values: Vec<_> = run.told.into_iter().map(|(at, _, values, _)| (at, values)).collect();
    assert_eq!(values, [(0, vec![(0, 1.0)]), (10, vec![(0, 2.0), (1, 7.0)]), (20, vec![(0, 3.0), (1, 7.0)])]);
}

#[test]
fn too_many_rows_do_not_wait() {
    let n = MAX_ROWS as i64 + 2;
    let mut run = Run::new(Settings { max_lateness: 1_000_000, ..AS_THEY_COME });
    (0..n).for_each(|at| run.record(at, (at, 0, 0.0)));
    let told: Vec<_> = run.told.iter().map(|(at, _, _, why)| (*at, *why)).collect();
    assert_eq!(told, [(0, Why::Early), (1, Why::Early)]);
    assert_eq!(run.aligner.n_waiting(), MAX_ROWS);
    // What went out early is not asked for again.
    run.record(n, (0, 0, 0.0));
    assert_eq!(run.late, [0]);
    run.restored().end();
}

#[test]
fn too_many_measurements_do_not_wait() {
    let mut run = Run::new(Settings { max_lateness: 1_000_000, ..AS_THEY_COME });
    let mut channels = Channels::new(Selection::all());
    let wide: Vec<_> = (0..512)
        .map(|n| match channels.intern(&format!("c{n}")) {
            Lookup::Channel(id) => (id, 0.0),
            other => panic!("{other:?}"),
        })
        .collect();
    for at in 0..100 {
        run.aligner.place(EventTime::from_micros(at), at, &wide, &run.settings);
        run.take();
    }
    assert_eq!(run.aligner.n_waiting() * 512, MAX_MEASUREMENTS);
}

#[test]
fn the_largest_snapshot_is_bounded_and_the_bound_is_near() {
    let mut channels = Channels::new(Selection::all());
    let wide: Vec<_> = (0..512)
        .map(|n| match channels.intern(&format!("{n:0>256}")) {
            Lookup::Channel(id) => (id, 1.5),
            other => panic!("{other:?}"),
        })
        .collect();
    let year = 31_536_000_000_000;
    let far = Settings { interval: Some(year), max_lateness: 3_000 * year, ..GRID };
    for n in [1, 512] {
        for settings in [IN_ORDER, LONG, GRID, far] {
            let mut aligner = Aligner::default();
            for at in 0..1_100 {
                let at = EventTime::from_micros(if settings == far { at * year + year - 1 } else { at / 200 });
                aligner.place(at, i64::MAX, &wide[..n], &settings);
                while aligner.next(&settings, &mut Vec::new()).is_some() {}
            }
            let size = postcard::to_allocvec(&aligner.keep(&channels)).unwrap().len();
            let bound = settings.largest_snapshot(n);
            assert!(size <= bound, "{n} channels, {settings:?}: {size} of {bound}");
            assert!(settings != far || 2 * size > bound, "{n} channels: {size} of {bound}");
        }
    }
}

#[test]
fn what_waited_under_other_settings_goes_out() {
    let mut run = Run::new(IN_ORDER);
    (0..3).for_each(|n| run.record(n, (5 + n, 0, 0.0)));
    run.settings = AS_THEY_COME;
    (3..6).for_each(|n| run.record(n, (5 + n, 0, 0.0)));
    let told: Vec<_> = run.told.iter().map(|(at, ..)| *at).collect();
    assert_eq!(told, [5, 6, 7, 8, 9, 10]);
}

#[test]
fn bytes_that_no_aligner_can_have_written_are_refused() {
    type Row = (i64, i64, Vec<(u16, f32, i64)>);
    type Raw = (i64, Option<(i64, i64)>, Vec<&'static str>, Vec<Row>, Vec<(u16, f32, i64)>);
    let read = |raw: Raw| {
        let kept = postcard::from_bytes(&postcard::to_allocvec(&raw).unwrap()).unwrap();
        Aligner::of(kept, &mut channels()).is_some()
    };
    let names = || vec!["a", "b"];
    assert!(read((0, None, names(), vec![(1, 1, vec![(0, 1.0, 0), (1, 1.0, 0)]), (2, 2, vec![])], vec![(1, 1.0, 1)])));
    assert!(!read((0, None, names(), vec![(2, 2, vec![]), (1, 1, vec![])], vec![])), "order");
    assert!(!read((0, None, names(), vec![(1, 1, vec![(2, 1.0, 0)])], vec![])), "no such name");
    assert!(!read((0, None, names(), vec![(1, 1, vec![(0, 1.0, 0), (0, 1.0, 0)])], vec![])), "twice");
    assert!(!read((0, None, names(), vec![(1, 1, vec![(0, f32::NAN, 0)])], vec![])), "not finite");
    assert!(!read((0, None, names(), vec![(1, 1, vec![(0, 1.0, -1)])], vec![])), "before its row");
    assert!(!read((0, None, names(), vec![], vec![(0, f32::INFINITY, 0)])), "held, not finite");
    assert!(!read((0, None, names(), vec![(0, 0, vec![]); MAX_ROWS + 1], vec![])), "too many");
}

/// Records in order of their time, and the same as they may come: none is more than `late` behind the newest before it.
fn shuffled(late: i64) -> impl Strategy<Value = (Vec<Record>, Vec<Record>)> {
    let record = (0i64..40, 0..CHANNELS.len(), 0i64..=late);
    prop::collection::vec(record, 0..150).prop_map(move |steps| {
        let mut at = 1_000_000;
        let sorted: Vec<Record> = steps
            .iter()
            .enumerate()
            .map(|(n, (step, channel, _))| {
                at += if *step == 39 { 300 } else { step / 4 };
                (at, *channel, n as f32)
            })
            .collect();
        let mut arriving: Vec<_> =
            sorted.iter().zip(&steps).map(|(record, (.., delay))| (record.0 + delay, *record)).collect();
        arriving.sort_by_key(|(at, _)| *at);
        (sorted, arriving.into_iter().map(|(_, record)| record).collect())
    })
}

fn all_settings() -> impl Strategy<Value = Settings> {
    (any::<bool>(), prop::option::of(1i64..30), 1i64..60, 0i64..5)
        .prop_map(|(merge, interval, max_lateness, max_fill)| Settings { merge, interval, max_lateness, max_fill })
}

proptest! {
    #[test]
    fn any_order_within_the_lateness_gives_the_rows_of_the_sorted_stream(
        (settings, (sorted, arriving)) in all_settings().prop_flat_map(|settings| (Just(settings), shuffled(settings.max_lateness))),
    ) {
        // Of one time and channel the later record counts: the order of those is not ours to restore.
        let mut distinct = std::collections::BTreeSet::new();
        let repeated: Vec<f32> = sorted.iter().filter(|(at, channel, _)| {
            !distinct.insert((*at, if settings.merge || settings.interval.is_some() { *channel } else { 0 }))
        }).map(|(.., value)| *value).collect();
        let rows = |records: &[Record]| {
            let mut run = Run::new(settings);
            records.iter().filter(|(.., value)| !repeated.contains(value)).enumerate()
                .for_each(|(offset, record)| run.record(offset as i64, *record));
            let run = run.end();
            prop_assert_eq!(run.late, Vec::<i64>::new());
            Ok(run.told.into_iter().map(|(at, _, values, why)| (at, values, why)).collect::<Vec<_>>())
        };
        let told = rows(&sorted)?;
        prop_assert_eq!(&told, &rows(&arriving)?);
        prop_assert!(told.is_sorted_by_key(|(at, ..)| *at));
    }

    #[test]
    fn a_restore_at_any_record_changes_nothing(
        settings in prop_oneof![all_settings(), Just(AS_THEY_COME), Just(LONG), Just(GRID)],
        (_, arriving) in shuffled(100),
        at in any::<prop::sample::Index>(),
    ) {
        let run = |restored_at: Option<usize>| {
            let mut run = Run::new(settings);
            for (offset, record) in arriving.iter().enumerate() {
                if restored_at == Some(offset) {
                    run = run.restored();
                }
                run.record(offset as i64, *record);
            }
            let run = run.end();
            (run.told, run.late)
        };
        prop_assert_eq!(run(None), run(Some(at.index(arriving.len() + 1))));
    }

    #[test]
    fn nothing_is_lost_and_little_waits(
        merge in any::<bool>(),
        (_, arriving) in shuffled(100),
        max_lateness in 0i64..50,
    ) {
        let mut run = Run::new(Settings { merge, max_lateness, ..AS_THEY_COME });
        arriving.iter().enumerate().for_each(|(offset, record)| run.record(offset as i64, *record));
        let run = run.end();
        let times = |rows: &mut dyn Iterator<Item = i64>| rows.collect::<std::collections::BTreeSet<_>>();
        let told = times(&mut run.told.iter().map(|(at, ..)| *at).chain(run.late.iter().copied()));
        prop_assert_eq!(told, times(&mut arriving.iter().map(|(at, ..)| *at)));
        if !merge {
            prop_assert_eq!(run.told.len() + run.late.len(), arriving.len());
        }
        prop_assert!(run.most <= MAX_ROWS);
    }

    #[test]
    fn no_settings_and_no_times_bring_it_down(
        settings in (any::<bool>(), prop::option::of(any::<i64>()), any::<i64>(), any::<i64>())
            .prop_map(|(merge, interval, max_lateness, max_fill)| Settings { merge, interval, max_lateness, max_fill: max_fill % 100 }),
        times in prop::collection::vec(any::<i64>(), 0..20),
    ) {
        let mut run = Run::new(settings);
        times.iter().enumerate().for_each(|(offset, at)| run.record(offset as i64, (*at, 0, 0.0)));
        run.end();
    }
}
