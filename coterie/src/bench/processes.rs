//! What processes take, as Linux counts it.

use std::time::Duration;

/// The time that processes have had on the processors.
#[derive(Debug)]
pub(super) struct ProcessorTime {
    processes: Vec<(u32, Spent)>,
}

/// What one has had.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spent {
    pub(super) in_all: Duration,
    /// Of that, in the kernel on its behalf.
    pub(super) in_kernel: Duration,
}

impl ProcessorTime {
    /// Of these, from now on.
    pub(super) fn of(processes: impl Iterator<Item = u32>) -> Self {
        ProcessorTime { processes: processes.map(|process| (process, processor_time(process))).collect() }
    }

    /// What each has had since this was asked last.
    pub(super) fn spent(&mut self) -> Vec<Spent> {
        let spent = |(process, before): &mut (u32, Spent)| {
            let now = processor_time(*process);
            let before = std::mem::replace(before, now);
            Spent {
                in_all: now.in_all.saturating_sub(before.in_all),
                in_kernel: now.in_kernel.saturating_sub(before.in_kernel),
            }
        };
        self.processes.iter_mut().map(spent).collect()
    }

    /// The same, for people.
    pub(super) fn since_last(&mut self) -> String {
        let spent = self.spent();
        spent
            .iter()
            .map(|spent| format!("{:.2} s", spent.in_all.as_secs_f64()))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// In hundredths of a second; nothing where it is not told.
fn processor_time(process: u32) -> Spent {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name, in brackets, may have spaces: what is counted is what follows.
    let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    let mut ticks = fields.skip(11).filter_map(|field| field.parse::<u64>().ok());
    let mut time = || Duration::from_millis(ticks.next().unwrap_or_default() * 10);
    let (own, in_kernel) = (time(), time());
    Spent { in_all: own + in_kernel, in_kernel }
}

/// The bytes that a process has in memory; nothing where it is not told.
pub(super) fn resident(process: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() << 10
}
