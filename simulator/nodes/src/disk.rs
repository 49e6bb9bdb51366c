//! A disk that loses what was not synced, tears what it was writing, fills up, and returns errors.
//!
//! Where its host ends, it does so between two operations of the disk, in the middle of a commit too.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coterie_seed::raft::store::StorageBackend;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

/// What a disk writes at once or not at all.
const SECTOR: usize = 512;

/// The disk of one host.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    state: Arc<Mutex<DiskState>>,
}

/// The file on it, opened by one process.
#[derive(Debug)]
struct File {
    disk: Disk,
    /// The process that opened it; what an ended one still writes does not count.
    opening: u64,
}

#[derive(Debug)]
struct DiskState {
    /// What a reader sees.
    content: Vec<u8>,
    /// What survives whatever happens.
    durable: Vec<u8>,
    /// What was done since the last sync, in this order.
    pending: Vec<DiskChange>,
    opening: u64,
    /// How its host is going to end, and after how many more operations.
    ends: Option<(End, u32)>,
    /// No room for more.
    is_full: bool,
    /// Every sync fails.
    is_broken: bool,
    /// It says that it has synced, and has not.
    lies: bool,
    rng: ChaCha8Rng,
}

/// How a process comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It is killed; what it wrote is safe with the operating system.
    Killed,
    /// The power is gone: of what was not synced, each sector is there or not.
    WithoutPower,
}

#[derive(Clone, Debug)]
enum DiskChange {
    Length(usize),
    Write(usize, Vec<u8>),
}

impl DiskChange {
    fn make(&self, content: &mut Vec<u8>) {
        match self {
            DiskChange::Length(length) => content.resize(*length, 0),
            DiskChange::Write(at, data) => {
                content.resize(content.len().max(at + data.len()), 0);
                content[*at..at + data.len()].copy_from_slice(data);
            }
        }
    }
}

impl Disk {
    /// An empty one, on which everything that is left to chance follows from `number`.
    pub(super) fn new(number: u64, lies: bool) -> Self {
        let state = DiskState {
            content: Vec::new(),
            durable: Vec::new(),
            pending: Vec::new(),
            opening: 0,
            ends: None,
            is_full: false,
            is_broken: false,
            lies,
            rng: ChaCha8Rng::seed_from_u64(number),
        };
        Disk { state: Arc::new(Mutex::new(state)) }
    }

    fn lock(&self) -> MutexGuard<'_, DiskState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the file on it, in the name of a new process.
    pub(super) fn open(&self) -> impl StorageBackend + use<> {
        File { opening: self.lock().opening, disk: self.clone() }
    }

    /// Its host ends in the middle of what it does there: after so many more operations.
    pub(super) fn end_after(&self, operations: u32, end: End) {
        self.lock().ends = Some((end, operations));
    }

    /// Its host ends now, if it has not already; returns whether it had.
    pub(super) fn end(&self, end: End) -> bool {
        let state = &mut *self.lock();
        let had_ended = state.ends.take().is_some_and(|(_, left)| left == 0);
        if !had_ended {
            state.end(end);
        }
        had_ended
    }

    /// Whether its host has ended as [`Disk::end_after`] wanted.
    pub(super) fn has_ended(&self) -> bool {
        self.lock().ends.is_some_and(|(_, left)| left == 0)
    }

    /// A new disk in its place.
    pub(super) fn replace(&self) {
        let state = &mut *self.lock();
        state.opening += 1;
        (state.ends, state.is_full, state.is_broken) = (None, false, false);
        (state.content, state.durable) = (Vec::new(), Vec::new());
        state.pending.clear();
    }

    /// Whether it takes what is written.
    pub(super) fn is_well(&self) -> bool {
        let state = self.lock();
        !state.is_full && !state.is_broken
    }

    pub(super) fn set_full(&self, is_full: bool) {
        self.lock().is_full = is_full;
    }

    /// Whether its syncs fail.
    pub(super) fn set_broken(&self, is_broken: bool) {
        self.lock().is_broken = is_broken;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().content.is_empty()
    }
}

impl File {
    /// The disk, for one operation of the process that has it open.
    fn state(&self) -> io::Result<MutexGuard<'_, DiskState>> {
        let mut state = self.disk.lock();
        if let Some((end, left)) = state.ends.filter(|(_, left)| *left > 0) {
            state.ends = Some((end, left - 1));
            if left == 1 {
                state.end(end);
            }
        }
        match state.opening == self.opening {
            true => Ok(state),
            false => Err(io::Error::other("the process has ended")),
        }
    }
}

impl StorageBackend for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state()?.content.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state()?;
        let from = offset as usize;
        let read = state.content.get(from..from + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(read);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state()?;
        if state.is_full && len as usize > state.content.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.change(DiskChange::Length(len as usize));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let state = &mut *self.state()?;
        if state.is_broken {
            // As PostgreSQL learned in 2018: what could not be written is forgotten, and the next sync succeeds.
            let rng = &mut state.rng;
            state.pending.retain(|_| rng.random_ratio(1, 2));
            return Err(io::Error::other("the disk returned an error"));
        }
        if !state.lies {
            for change in state.pending.drain(..) {
                change.make(&mut state.durable);
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state()?;
        if state.is_full {
            // A file system that copies on write has no room even for what is only overwritten.
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.change(DiskChange::Write(offset as usize, data.to_vec()));
        Ok(())
    }
}

impl DiskState {
    fn change(&mut self, change: DiskChange) {
        change.make(&mut self.content);
        self.pending.push(change);
    }

    fn end(&mut self, end: End) {
        self.opening += 1;
        if end == End::Killed {
            return;
        }
        let rng = &mut self.rng;
        for change in self.pending.drain(..) {
            match change {
                DiskChange::Length(_) => change.make(&mut self.durable),
                DiskChange::Write(at, data) => {
                    let sectors = data.chunks(SECTOR).enumerate().filter(|_| rng.random_ratio(1, 2));
                    for (number, sector) in sectors.collect::<Vec<_>>() {
                        DiskChange::Write(at + number * SECTOR, sector.to_vec()).make(&mut self.durable);
                    }
                }
            }
        }
        self.content.clone_from(&self.durable);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: usize = 64 * SECTOR;

    /// The content of the sectors.
    fn sectors(disk: &Disk) -> Vec<u8> {
        let mut read = vec![0; LENGTH];
        disk.open().read(0, &mut read).unwrap();
        read.chunks(SECTOR).map(|sector| sector[0]).collect()
    }

    /// A disk whose first sector was synced, and then all others written.
    fn written() -> Disk {
        let disk = Disk::new(1, false);
        let file = disk.open();
        file.set_len(LENGTH as u64).unwrap();
        file.write(0, &[1; SECTOR]).unwrap();
        file.sync_data().unwrap();
        file.write(SECTOR as u64, &[2; LENGTH - SECTOR]).unwrap();
        disk
    }

    #[test]
    fn only_what_was_synced_is_sure_to_survive() {
        let disk = written();
        let file = disk.open();
        disk.end(End::WithoutPower);
        assert!(file.write(0, &[3]).is_err(), "the process has ended");
        let sectors = sectors(&disk);
        assert_eq!(sectors[0], 1, "it was synced");
        let survived = sectors.iter().filter(|sector| **sector == 2).count();
        assert!(survived > 10 && survived < 50, "it was torn: {survived} of 63 sectors");
    }

    #[test]
    fn an_ended_process_loses_nothing_that_it_wrote() {
        let disk = written();
        disk.end(End::Killed);
        assert!(sectors(&disk)[1..].iter().all(|sector| *sector == 2));
    }

    #[test]
    fn a_host_ends_in_the_middle_of_what_it_does() {
        let disk = written();
        let file = disk.open();
        disk.end_after(3, End::WithoutPower);
        file.write(0, &[4; SECTOR]).unwrap();
        file.sync_data().unwrap();
        assert!(!disk.has_ended());
        assert!(file.write(0, &[5; SECTOR]).is_err());
        assert!(disk.has_ended());
        assert_eq!(sectors(&disk)[0], 4, "it was synced before the end");
        assert!(disk.end(End::WithoutPower), "it had ended");
    }

    #[test]
    fn what_a_failed_sync_was_to_write_may_be_lost_although_the_next_one_succeeds() {
        let disk = written();
        let file = disk.open();
        disk.set_broken(true);
        (0..20).for_each(|sector| file.write(sector * SECTOR as u64, &[7; SECTOR]).unwrap());
        assert!(file.sync_data().is_err());
        disk.set_broken(false);
        file.sync_data().unwrap();
        disk.end(End::WithoutPower);
        let survived = sectors(&disk)[..20].iter().filter(|sector| **sector == 7).count();
        assert!(survived > 2 && survived < 18, "{survived} of 20");
    }

    #[test]
    fn a_full_disk_takes_nothing_and_a_new_one_has_nothing() {
        let disk = written();
        disk.set_full(true);
        let full = disk.open().write(0, &[1]).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        disk.replace();
        assert!(disk.is_empty());
    }
}
