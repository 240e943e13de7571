//! A simulated fleet: machines with correlated channels and a daily shape, and faults of several kinds. For the demo; a
//! detector that only ever saw this would prove nothing.

use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg32;

/// The channels of every machine.
pub const CHANNELS: [&str; 6] = ["current", "flow", "pressure", "speed", "temperature", "vibration"];
/// Rows of a day: a row is six minutes.
const DAY: f64 = 240.0;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A few rows far off in one channel.
    Spike,
    /// Two channels jump to another level.
    Shift,
    /// One channel walks away.
    Drift,
    /// One channel shows the same value for ever.
    Stuck,
    /// A channel no longer follows the others.
    Decoupled,
}

impl Fault {
    /// All kinds, in the order in which the demo injects them.
    pub const ALL: [Self; 5] = [Self::Shift, Self::Spike, Self::Decoupled, Self::Drift, Self::Stuck];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spike => "spike",
            Self::Shift => "level shift",
            Self::Drift => "drift",
            Self::Stuck => "stuck sensor",
            Self::Decoupled => "lost correlation",
        }
    }

    /// Rows it lasts.
    #[must_use]
    pub const fn rows(self) -> u64 {
        match self {
            Self::Spike => 3,
            Self::Shift | Self::Decoupled => 60,
            Self::Drift | Self::Stuck => 90,
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Machine {
    load: f64,
    fault: Option<(Fault, u64)>,
    held: f64,
}

/// The fleet. The same seed gives the same rows.
pub struct Fleet {
    rng: Pcg32,
    machines: Vec<Machine>,
    tick: u64,
}

impl Fleet {
    /// So many machines, at row 0.
    #[must_use]
    pub fn new(seed: u64, machines: usize) -> Self {
        Self { rng: Pcg32::seed_from_u64(seed), machines: vec![Machine::default(); machines], tick: 0 }
    }

    /// Rows every machine has given.
    #[must_use]
    pub fn n_rows(&self) -> u64 {
        self.tick
    }

    /// Breaks a machine, unless it is broken already.
    pub fn inject(&mut self, machine: usize, fault: Fault) -> bool {
        let Some(machine) = self.machines.get_mut(machine) else { return false };
        if machine.fault.is_some() {
            return false;
        }
        machine.fault = Some((fault, 0));
        true
    }

    /// The next six minutes: one row per machine.
    pub fn tick(&mut self) -> Vec<[f64; CHANNELS.len()]> {
        self.tick += 1;
        let n = self.machines.len();
        (0..n).map(|machine| self.row(machine)).collect()
    }

    fn row(&mut self, machine: usize) -> [f64; CHANNELS.len()] {
        let noise: [f64; CHANNELS.len() + 1] = std::array::from_fn(|_| self.noise());
        let phase = (self.tick as f64 / DAY + machine as f64 / 7.0) * std::f64::consts::TAU;
        let machine = &mut self.machines[machine];
        machine.load += 0.1 * (noise[6] - 0.2 * machine.load);
        let load = 50.0 + 15.0 * libm::sin(phase) + 6.0 * machine.load;
        let speed = 20.0 * load + 4.0 * noise[3];
        let mut row = [
            0.4 * load + 0.3 * noise[0],
            1.5 * load + 0.8 * noise[1],
            2.0 + 0.05 * load + 0.05 * noise[2],
            speed,
            35.0 + 0.3 * load + 0.3 * noise[4],
            0.5 + 0.0004 * speed + 0.02 * noise[5],
        ];
        if let Some((fault, age)) = &mut machine.fault {
            if *age == 0 {
                machine.held = row[2];
            }
            match fault {
                Fault::Spike => row[0] += 15.0,
                Fault::Shift => {
                    row[4] += 12.0;
                    row[5] += 0.4;
                }
                Fault::Drift => row[4] += 0.25 * *age as f64,
                Fault::Stuck => row[2] = machine.held,
                Fault::Decoupled => row[1] = 75.0 + 12.0 * noise[1],
            }
            *age += 1;
            if *age >= fault.rows() {
                machine.fault = None;
            }
        }
        row
    }

    /// About normal, of variance 1/3.
    fn noise(&mut self) -> f64 {
        (0..4).map(|_| f64::from(self.rng.next_u32()) / f64::from(u32::MAX) - 0.5).sum()
    }
}

/// A row as JSON, as `[input] format = "json_wide"` reads it.
#[must_use]
pub fn json(millis: i64, row: &[f64; CHANNELS.len()]) -> String {
    let values: Vec<String> = CHANNELS.iter().zip(row).map(|(name, value)| format!("\"{name}\":{value:.4}")).collect();
    format!("{{\"ts\":{millis},\"values\":{{{}}}}}", values.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_changes_its_machine_while_it_lasts_and_no_other() {
        let (mut broken, mut whole) = (Fleet::new(1, 2), Fleet::new(1, 2));
        assert!(broken.inject(0, Fault::Shift));
        assert!(!broken.inject(0, Fault::Spike));
        for tick in 0..Fault::Shift.rows() + 10 {
            let (a, b) = (broken.tick(), whole.tick());
            assert_eq!(a[1], b[1]);
            assert_eq!(a[0] != b[0], tick < Fault::Shift.rows(), "tick {tick}");
        }
    }
}
