//! The contract, and the only way between it and core.
//!
//! The `.proto` files beside this crate's sources are the contract; [`v1`] and [`store_v1`] are
//! generated from them. [`convert`] takes a message apart into core's valid-once-held values, with
//! every problem reported at once, and puts such values into messages. Nothing behind it sees a
//! wire type.

pub mod convert;

pub use generated::store::v1 as store_v1;
pub use generated::v1;

/// The encoded descriptors of [`v1`] with all they import, comments included, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/fusebox_v1.bin"));

/// Nested like the packages, because generated code refers from one to another by `super`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
mod generated {
    /// What operators and SDKs speak.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/fusebox.v1.rs"));
    }

    pub mod store {
        /// What a server writes to its own disk; no service speaks it.
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/fusebox.store.v1.rs"));
        }
    }
}
