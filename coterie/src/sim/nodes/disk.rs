//! A disk that loses what was not synced, tears what it was writing, fills up, and returns errors.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coterie_seed::raft::store::StorageBackend;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// What a disk writes at once or not at all.
const SECTOR: usize = 512;

/// The disk of one host.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    state: Arc<Mutex<State>>,
}

/// The file on it, opened by one process.
#[derive(Debug)]
struct File {
    disk: Disk,
    /// The process that opened it; what an ended one still writes does not count.
    opening: u64,
}

#[derive(Debug, Default)]
struct State {
    /// What a reader sees.
    content: Vec<u8>,
    /// What survives whatever happens.
    durable: Vec<u8>,
    /// What was done since the last sync, in this order.
    pending: Vec<Change>,
    opening: u64,
    /// No room for more.
    is_full: bool,
    /// Every sync fails.
    is_broken: bool,
    /// It says that it has synced, and has not.
    lies: bool,
}

#[derive(Clone, Debug)]
enum Change {
    Length(usize),
    Write(usize, Vec<u8>),
}

impl Change {
    fn make(&self, content: &mut Vec<u8>) {
        match self {
            Change::Length(length) => content.resize(*length, 0),
            Change::Write(at, data) => {
                content.resize(content.len().max(at + data.len()), 0);
                content[*at..at + data.len()].copy_from_slice(data);
            }
        }
    }
}

impl Disk {
    /// An empty one.
    pub(super) fn new(lies: bool) -> Self {
        Disk { state: Arc::new(Mutex::new(State { lies, ..State::default() })) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the file on it, in the name of a new process.
    pub(super) fn open(&self) -> impl StorageBackend + use<> {
        File { opening: self.lock().opening, disk: self.clone() }
    }

    /// The process has ended; what it wrote is safe with the operating system.
    pub(super) fn end_process(&self) {
        self.lock().opening += 1;
    }

    /// The power is gone: of what was not synced, each sector is there or not.
    pub(super) fn cut_power(&self, rng: &mut ChaCha8Rng) {
        let state = &mut *self.lock();
        state.opening += 1;
        let mut content = std::mem::take(&mut state.durable);
        for change in state.pending.drain(..) {
            match change {
                Change::Length(_) => change.make(&mut content),
                Change::Write(at, data) => {
                    let sectors = data.chunks(SECTOR).enumerate().filter(|_| rng.random_ratio(1, 2));
                    for (number, sector) in sectors.collect::<Vec<_>>() {
                        Change::Write(at + number * SECTOR, sector.to_vec()).make(&mut content);
                    }
                }
            }
        }
        (state.content, state.durable) = (content.clone(), content);
    }

    /// A new disk in its place.
    pub(super) fn replace(&self) {
        let state = &mut *self.lock();
        *state = State { opening: state.opening + 1, lies: state.lies, ..State::default() };
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
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.lock();
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
        state.change(Change::Length(len as usize));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state()?;
        if state.is_broken {
            // What happens to what was to be synced is not known: see what PostgreSQL learned in 2018.
            return Err(io::Error::other("the disk returned an error"));
        }
        if !state.lies {
            state.durable = state.content.clone();
            state.pending.clear();
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state()?;
        if state.is_full {
            // A file system that copies on write has no room even for what is only overwritten.
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.change(Change::Write(offset as usize, data.to_vec()));
        Ok(())
    }
}

impl State {
    fn change(&mut self, change: Change) {
        change.make(&mut self.content);
        self.pending.push(change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn only_what_was_synced_is_sure_to_survive() {
        let (disk, mut rng) = (Disk::new(false), ChaCha8Rng::seed_from_u64(1));
        let file = disk.open();
        file.set_len(64 * SECTOR as u64).unwrap();
        file.write(0, &[1; SECTOR]).unwrap();
        file.sync_data().unwrap();
        file.write(SECTOR as u64, &[2; 63 * SECTOR]).unwrap();
        disk.cut_power(&mut rng);
        assert!(file.write(0, &[3]).is_err(), "the process has ended");
        let (file, mut read) = (disk.open(), vec![0; 64 * SECTOR]);
        file.read(0, &mut read).unwrap();
        assert_eq!(read[..SECTOR], [1; SECTOR], "it was synced");
        let survived = read[SECTOR..].chunks(SECTOR).filter(|sector| sector[0] == 2).count();
        assert!(survived > 10 && survived < 50, "it was torn: {survived} of 63 sectors");
    }

    #[test]
    fn an_ended_process_loses_nothing_that_it_wrote() {
        let disk = Disk::new(false);
        let file = disk.open();
        file.write(0, &[7; 10]).unwrap();
        disk.end_process();
        let mut read = [0; 10];
        disk.open().read(0, &mut read).unwrap();
        assert_eq!(read, [7; 10]);
        disk.set_full(true);
        let full = disk.open().write(10, &[1]).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        disk.replace();
        assert!(disk.is_empty());
    }
}
