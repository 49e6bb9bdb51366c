//! Signals to the processes of a cluster.
//!
//! On Linux and macOS they are those of the kernel. Windows has none: there a node can be killed, and neither be made
//! to stand still nor be asked to leave.

/// What a process is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NodeSignal {
    /// kill -9.
    Kill,
    /// It stands still, and its connections stay open.
    Stop,
    /// It goes on.
    Continue,
    /// It is to leave in order.
    Terminate,
}

#[cfg(unix)]
mod kernel {
    use rustix::process::{Pid, Signal, kill_process};

    use super::NodeSignal;

    /// Tells the process of that number, which runs.
    pub(in crate::cluster) fn send(process: u32, signal: NodeSignal) {
        let signal = match signal {
            NodeSignal::Kill => Signal::KILL,
            NodeSignal::Stop => Signal::STOP,
            NodeSignal::Continue => Signal::CONT,
            NodeSignal::Terminate => Signal::TERM,
        };
        if let Some(pid) = i32::try_from(process).ok().and_then(Pid::from_raw) {
            // The only failure left is that it has ended just now, and then it needs no signal.
            let _ = kill_process(pid, signal);
        }
    }
}

#[cfg(not(unix))]
mod kernel {
    use std::process::{Command, Stdio};

    use super::NodeSignal;

    /// Ends the process of that number; whoever was to leave in order is found dead instead.
    pub(in crate::cluster) fn send(process: u32, signal: NodeSignal) {
        if let NodeSignal::Kill | NodeSignal::Terminate = signal {
            let id = process.to_string();
            let mut kill = Command::new("taskkill");
            let _ = kill.args(["/F", "/PID", &id]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }
}

pub(super) use kernel::send;

/// Has the kernel kill this process when the one that started it ends, however that ends. Only Linux can; elsewhere a
/// node may outlive an `up` that is killed.
#[cfg(target_os = "linux")]
pub(super) fn die_with(parent: &str) -> Result<(), String> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};

    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|e| e.to_string())?;
    // It may have ended before the line above.
    match getppid().map(|pid| pid.as_raw_nonzero().to_string()).as_deref() == Some(parent) {
        true => Ok(()),
        false => Err("the process that started this one has ended".to_owned()),
    }
}

/// Nothing can be done about it here.
#[cfg(not(target_os = "linux"))]
pub(super) fn die_with(_parent: &str) -> Result<(), String> {
    Ok(())
}
