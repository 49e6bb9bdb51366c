//! The format of what is stored, which stands in every store.

use std::io;

use coterie_common::codec::to_bytes;
use redb::{Database, ReadableTable};

use super::{LOG, META, disk, invalid, read};

/// The format of what is stored: what is in the tables, and what its bytes mean. Whatever changes either is another.
const FORMAT: u32 = 1;

/// A store that is new gets this program's format, and of any other nothing is read, let alone written.
pub(super) fn check(database: &Database) -> io::Result<()> {
    let write = database.begin_write().map_err(disk)?;
    {
        write.open_table(LOG).map_err(disk)?;
        let mut meta = write.open_table(META).map_err(disk)?;
        let format = meta.get("format").map_err(disk)?.map(|value| read::<u32>(value.value())).transpose()?;
        let is_new = meta.get("identity").map_err(disk)?.is_none();
        match format {
            Some(FORMAT) => {}
            Some(other) => {
                return Err(invalid(format!(
                    "it is of format {other}, and this program knows format {FORMAT}"
                )));
            }
            None if is_new => drop(meta.insert("format", to_bytes(&FORMAT).as_slice()).map_err(disk)?),
            None => return Err(invalid("it has no format: it is from before the first release".to_owned())),
        }
    }
    write.commit().map_err(disk)
}
