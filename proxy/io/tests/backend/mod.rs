//! The same tests on every backend.

/// Makes of each function that takes a backend one test per backend: `io_uring::name`, `epoll::name`.
macro_rules! each {
    ($($name:ident)+) => {
        mod io_uring {
            $( #[test] fn $name() { super::$name(slotmesh_io::Backend::IoUring); } )+
        }
        mod epoll {
            $( #[test] fn $name() { super::$name(slotmesh_io::Backend::Epoll); } )+
        }
    };
}

pub(crate) use each;
