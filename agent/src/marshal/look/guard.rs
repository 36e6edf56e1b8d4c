//! Libraries that panic on damaged content, and what becomes of it.

use std::{
    cell::Cell,
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Calls a library that trusts some of what it is given; `None` where it panicked.
///
/// Nothing is printed for such a panic, on this thread: the caller knows better what is wrong. What `read` borrows must
/// be thrown away or be whole after a panic at any point.
pub(super) fn guarded<T>(read: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                usual(info);
            }
        }));
    });
    let outer = GUARDED.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(read));
    GUARDED.set(outer);
    result.ok()
}

#[cfg(test)]
mod tests {
    use super::{GUARDED, guarded};

    #[test]
    fn a_panic_is_none_and_guards_nest() {
        assert_eq!(guarded(|| 1), Some(1));
        let inner = guarded(|| {
            assert_eq!(guarded(|| panic!("inside")), None::<()>);
            assert!(GUARDED.get(), "the outer guard still holds");
            2
        });
        assert_eq!((inner, GUARDED.get()), (Some(2), false));
    }
}
