//! Huge pages that nobody asked for: `disable-thp`. Reference: `linuxMemoryWarnings` of Redis 7.0, `checkTHPEnabled` and
//! `THPDisable` of 7.2.

use crate::log::Log;
use slotmesh_conf::{Settings, directive};
use slotmesh_io::process as os;

/// What the kernel does for all processes.
const FILE: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// Has the kernel leave us alone where it gives huge pages to everybody, and warns where it does not. To be called before
/// there is data.
pub(crate) fn disable(settings: &Settings, log: &Log) {
    let is_for_all = std::fs::read_to_string(FILE).is_ok_and(|text| text.contains("[always]"));
    if !is_for_all || settings.value(directive::DISABLE_THP) && os::disable_huge_pages().is_ok() {
        return;
    }
    log.warning(format_args!(
        "WARNING The kernel gives huge pages to all processes, which costs memory and time. To mend it, run 'echo madvise > {FILE}' as root, keep that for the next boot, and start slotmesh again."
    ));
}
