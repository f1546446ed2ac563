//! The disk of one node: saves take time, and what is not synced is lost when the power goes.

use slotmesh_cluster::machine::Save;

/// nodes.conf of one node. One save at a time, as the real driver has it.
#[derive(Default)]
pub(crate) struct Disk {
    /// What a restart finds, and the number of the save that wrote it.
    durable: Option<(u64, String)>,
    /// What is being written.
    writing: Option<Save>,
    /// Something has changed since.
    pub(crate) is_stale: bool,
}

impl Disk {
    pub(crate) fn is_busy(&self) -> bool {
        self.writing.is_some()
    }

    pub(crate) fn begin(&mut self, save: Save) {
        self.is_stale = false;
        self.writing = Some(save);
    }

    /// The save with this number is on disk, if it is still the one that is being written.
    pub(crate) fn finish(&mut self, serial: u64) -> bool {
        let Some(save) = self.writing.take_if(|save| save.serial == serial) else { return false };
        self.put(save);
        true
    }

    /// Writes at once; an older save that is on its way does not undo it.
    pub(crate) fn write_now(&mut self, save: Save) {
        self.put(save);
    }

    fn put(&mut self, save: Save) {
        if self.durable.as_ref().is_none_or(|(serial, _)| *serial < save.serial) {
            self.durable = Some((save.serial, save.text));
        }
    }

    /// The power goes; the save under way may have come so far as to be found later.
    pub(crate) fn crash(&mut self, is_lucky: bool) {
        if let Some(save) = self.writing.take().filter(|_| is_lucky) {
            self.put(save);
        }
        self.is_stale = false;
        // The process that comes next counts anew.
        if let Some((serial, _)) = &mut self.durable {
            *serial = 0;
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        self.durable.as_ref().map(|(_, text)| text.as_str())
    }
}
