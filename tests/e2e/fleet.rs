//! Telemetry of a small fleet: a daily shape, noise, and faults, all from a seed.

use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg32;

pub const CHANNELS: [&str; 6] = ["current", "flow", "pressure", "speed", "temperature", "vibration"];

pub struct Fleet {
    rng: Pcg32,
    machines: u32,
    t: u64,
}

/// A row of a machine.
pub struct Row {
    pub entity: String,
    pub millis: i64,
    pub values: [f64; CHANNELS.len()],
}

impl Fleet {
    pub fn new(seed: u64, machines: u32) -> Self {
        Self { rng: Pcg32::seed_from_u64(seed), machines, t: 0 }
    }

    /// Goes on behind so many ticks of another.
    pub fn behind(mut self, ticks: u64) -> Self {
        self.t = ticks;
        self
    }

    fn noise(&mut self) -> f64 {
        (0..4).map(|_| f64::from(self.rng.next_u32()) / f64::from(u32::MAX) - 0.5).sum()
    }

    /// One row of every machine. Every second machine has a fault in the last 50 of every 1,200 rows.
    pub fn tick(&mut self) -> Vec<Row> {
        self.t += 1;
        let t = self.t;
        (0..self.machines)
            .map(|machine| {
                let shape = (t as f64 / 20.0 + f64::from(machine)).sin();
                let fault = if t % 1200 > 1150 && machine % 2 == 0 { 6.0 } else { 0.0 };
                let values = [
                    shape + 0.2 * self.noise() + fault,
                    2.0 * shape + 0.2 * self.noise(),
                    5.0 + self.noise() + fault,
                    shape * shape,
                    20.0 + self.noise(),
                    0.1 * self.noise() - shape,
                ];
                Row { entity: format!("pump-{machine}"), millis: 1_760_000_000_000 + t as i64 * 1000, values }
            })
            .collect()
    }
}

impl Row {
    pub fn json(&self) -> String {
        let values: Vec<String> =
            CHANNELS.iter().zip(self.values).map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{\"ts\":{},\"values\":{{{}}}}}", self.millis, values.join(","))
    }
}
