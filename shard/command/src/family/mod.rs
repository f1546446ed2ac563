//! The families of commands: rows and handlers, one file each.
